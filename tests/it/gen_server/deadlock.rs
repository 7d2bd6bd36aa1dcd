//! Calls that would deadlock: refused at once, and no others are.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::support::scripted_server::{
    Ask, Plan, ScriptedCalls, ScriptedServer, spawn_body, start_server, wait_until_calling,
};
use crate::support::{Gate, Journal, attached, eventually, unique};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Inbox, NameError, Via};

/// Returns a unique name.
fn name(stem: &str) -> ServerRef<ScriptedServer> {
    ServerRef::from_name(unique(stem))
}

const SHORT: Duration = Duration::from_millis(20);

/// Checks that the call returns much earlier than the default timeout of five seconds.
#[track_caller]
fn promptly<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = act();
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    value
}

/// A key in a custom name table that delegates to the runtime's.
#[derive(Debug)]
struct Key(&'static str);

impl Via for Key {
    fn whereis(&self) -> Option<Pid> {
        process::whereis(self.0)
    }
    fn register(&self, pid: Pid) -> Result<(), NameError> {
        process::register(self.0, pid)
    }
    fn unregister(&self, _: Pid) {}
}

/// Makes `first` call `second`, and so on, the last calling the first; returns the error of the last call.
#[track_caller]
fn close_cycle(servers: &[ServerRef<ScriptedServer>]) -> CallError {
    fn onward(chain: Vec<ServerRef<ScriptedServer>>, tx: std::sync::mpsc::Sender<CallError>) -> Next {
        let mut chain = chain.into_iter();
        let next = chain.next().expect("a server to call");
        let rest: Vec<_> = chain.collect();
        if rest.is_empty() {
            tx.send(next.get().expect_err("a wait cycle")).expect("the test receives");
        } else {
            next.call_with(move |_, from, _| {
                let _ = onward(rest, tx);
                from.reply(1)
            })
            .expect("the cycle is broken at its end");
        }
        Next::wait()
    }
    let (tx, rx) = channel();
    let mut chain = servers[1..].to_vec();
    chain.push(servers[0].clone());
    let answer = promptly(|| {
        servers[0].call_with(move |_, from, _| {
            let _ = onward(chain, tx);
            from.reply(1)
        })
    });
    assert_eq!(answer, Ok(1), "every call except the one that closed the cycle succeeds");
    rx.recv().expect("an error")
}

#[test]
fn two_servers_that_call_each_other() {
    attached(|_: &mut Inbox<()>| {
        let (a, b) = (start_server(), start_server());
        let error = close_cycle(&[a.clone(), b.clone()]);
        assert_eq!(error, CallError::Deadlock { cycle: vec![b.pid(), a.pid()] });
        let text = error.to_string();
        let due = format!("{b} waits for {a} waits for {b}");
        assert!(text.contains(&due), "{text}");
        assert_eq!((a.get(), b.get()), (Ok(0), Ok(0)));
    });
}

#[test]
fn a_wait_cycle_of_three_and_of_ten() {
    attached(|_: &mut Inbox<()>| {
        for size in [3, 10] {
            let servers: Vec<_> = (0..size).map(|_| start_server()).collect();
            let mut cycle: Vec<Pid> = servers.iter().map(ScriptedCalls::pid).collect();
            cycle.rotate_right(1);
            assert_eq!(close_cycle(&servers), CallError::Deadlock { cycle });
        }
    });
}

#[test]
fn a_wait_cycle_by_name_and_by_key() {
    attached(|_: &mut Inbox<()>| {
        let (by_name, by_key) = (name("cycle"), ServerRef::via(Key(unique("cycle"))));
        Plan::new(&Journal::new()).start_as(&by_name);
        Plan::new(&Journal::new()).start_as(&by_key);
        let cycle = vec![by_key.pid(), by_name.pid()];
        assert_eq!(close_cycle(&[by_name, by_key]), CallError::Deadlock { cycle });
    });
}

#[test]
fn or_exit_after_a_wait_cycle_carries_the_cycle() {
    attached(|_: &mut Inbox<()>| {
        let (a, b) = (start_server(), start_server());
        let (back, calls) = (a.clone(), b.clone());
        let result = a.call_with(move |_, from, _| {
            let failed = calls.call_with(move |_, from, _| from.reply(back.get().or_exit()));
            let Err(CallError::Exited { reason, .. }) = failed else { panic!("not {failed:?}") };
            let error: &CallError = reason.downcast_ref().expect("the error itself");
            assert!(matches!(error, CallError::Deadlock { cycle } if cycle.len() == 2));
            from.reply(1)
        });
        assert_eq!(result, Ok(1));
    });
}

/// Lets all servers call their neighbour at the same moment, in rounds, and checks the results.
fn close_at_once(size: usize, rounds: usize) {
    attached(|_: &mut Inbox<()>| {
        let servers: Vec<_> = (0..size).map(|_| start_server()).collect();
        for round in 0..rounds {
            let barrier = Arc::new(Barrier::new(size));
            let (tx, rx) = channel();
            for at in 0..size {
                let (next, barrier, tx) =
                    (servers[(at + 1) % size].clone(), Arc::clone(&barrier), tx.clone());
                servers[at].cast_with(move |_, _| {
                    barrier.wait();
                    tx.send(next.get()).expect("the test receives");
                    Next::wait()
                });
            }
            let results: Vec<_> = promptly(|| (0..size).map(|_| rx.recv().expect("a result")).collect());
            let refused = results.iter().filter(|r| matches!(r, Err(CallError::Deadlock { .. }))).count();
            let answered = results.iter().filter(|r| **r == Ok(0)).count();
            assert!(refused >= 1 && refused + answered == size, "round {round}: {results:?}");
        }
    });
}

#[test]
fn of_two_that_close_a_cycle_at_once_none_hangs() {
    close_at_once(2, 300);
}

#[test]
fn of_three_that_close_a_cycle_at_once_none_hangs() {
    close_at_once(3, 200);
}

#[test]
fn a_postponed_reply_is_no_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..20 {
            let (a, b) = (start_server(), start_server());
            let (tx, held) = channel();
            let (calls, answers) = (b.clone(), a.clone());
            // a calls b, b postpones the reply ...
            let caller = spawn_body(move |_| {
                answers.call_with(move |_, from, _| {
                    let value = calls.call_with(move |_, from, _| {
                        tx.send(from).unwrap();
                        Next::wait()
                    });
                    from.reply(value.unwrap())
                })
            });
            let held = held.recv().unwrap();
            b.get().unwrap(); // the handler that postponed it has returned
            // ... and calls a, which can answer as soon as another process has answered it.
            let (tx, rx) = channel();
            let back = a.clone();
            b.cast_with(move |_, _| {
                tx.send(back.get()).unwrap();
                Next::wait()
            });
            wait_until_calling(b.pid(), a.pid());
            held.reply_now(7);
            assert_eq!(rx.recv().unwrap(), Ok(0));
            assert_eq!(caller.join().unwrap(), Ok(7));
        }
    });
}

#[test]
fn a_call_back_after_the_reply_is_no_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        let (a, b) = (start_server(), start_server());
        for round in 0..500 {
            let (calls, back) = (b.clone(), a.clone());
            let (tx, rx) = channel();
            let result = a.call_with(move |_, from, _| {
                let value = calls.call_with(move |_, from, _| {
                    from.reply_now(7); // from here on a can continue
                    tx.send(back.get()).unwrap();
                    Next::wait()
                });
                from.reply(value.unwrap())
            });
            assert_eq!(result, Ok(7));
            assert_eq!(rx.recv().unwrap(), Ok(0), "round {round}");
        }
    });
}

#[test]
fn a_call_back_in_the_continuation_after_the_reply_is_no_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        let a = start_server();
        let (tx, rx) = channel();
        let back = a.clone();
        let b = Plan::new(&Journal::new())
            .on_continue(move |_| {
                tx.send(back.get()).unwrap();
                Next::wait()
            })
            .start();
        for round in 0..500 {
            let calls = b.clone();
            let result = a.call_with(move |_, from, _| {
                let value = calls.call_with(|_, from, _| from.reply(7).and_continue());
                from.reply(value.unwrap())
            });
            assert_eq!(result, Ok(7));
            assert_eq!(rx.recv().unwrap(), Ok(0), "round {round}");
        }
    });
}

#[test]
fn a_call_after_one_that_timed_out_is_no_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        let (a, b) = (start_server(), start_server());
        let gate = Gate::new();
        let (calls, back, pass) = (b.clone(), a.clone(), gate.clone());
        let (tx, rx) = channel();
        let result = a.call_with(move |_, from, _| {
            let late = calls.call_with_timeout(SHORT, move |_, from, _| {
                pass.pass(); // until a has timed out
                tx.send(back.get()).unwrap();
                from.reply(7)
            });
            assert!(matches!(late, Err(CallError::Timeout { .. })));
            from.reply(1)
        });
        assert_eq!(result, Ok(1));
        gate.open();
        assert_eq!(rx.recv().unwrap(), Ok(0));
    });
}

#[test]
fn a_child_that_calls_its_parent_in_init_is_refused() {
    attached(|_: &mut Inbox<()>| {
        for round in 0..200 {
            let parent = start_server();
            let (tx, rx) = channel();
            let (name, called) = (parent.clone(), parent.pid());
            let began = Instant::now();
            let started = parent.call_with(move |_, from, _| {
                let child = Plan::new(&Journal::new()).init(move |cx| {
                    tx.send((cx.pid(), name.get())).unwrap();
                    Ok(())
                });
                let child = if round % 2 == 0 { child.start_link() } else { child.start() };
                from.reply(i64::from(child.whereis().is_some()))
            });
            assert_eq!(started, Ok(1));
            let (child, result) = rx.recv().unwrap();
            assert_eq!(result, Err(CallError::Deadlock { cycle: vec![child, called] }), "round {round}");
            assert!(began.elapsed() < Duration::from_secs(4));
            parent.stop().unwrap();
            process::exit(child, ExitReason::Kill);
        }
    });
}

#[test]
fn a_child_that_calls_its_parent_in_init_and_crashes_fails_the_start() {
    attached(|_: &mut Inbox<()>| {
        let parent = Plan::new(&Journal::new()).trapping().start();
        let name = parent.clone();
        let result = promptly(|| {
            parent.call_with(move |_, from, _| {
                let child = Plan::new(&Journal::new()).init(move |_| {
                    name.get()?;
                    Ok(())
                });
                let error = child.spec().start_link().unwrap_err();
                let StartError::Failed(reason) = &error else { panic!("not {error}") };
                assert!(matches!(reason.downcast_ref(), Some(CallError::Deadlock { .. })), "{reason}");
                from.reply(1)
            })
        });
        assert_eq!(result, Ok(1));
    });
}

#[test]
fn wait_mark_of_a_process_is_visible_and_removed() {
    attached(|_: &mut Inbox<()>| {
        let (server, gate) = (start_server(), Gate::new());
        let (calls, pass) = (server.clone(), gate.clone());
        let caller = spawn_body(move |inbox| {
            let value = calls.call_with(move |_, from, _| {
                pass.pass();
                from.reply(1)
            });
            let me = process::info(inbox.pid()).expect("the test process is running");
            (value, me.waiting_on)
        });
        wait_until_calling(caller.pid, server.pid());
        let due = format!("waiting for {}", server.pid());
        eventually("its thread is parked", || {
            process::info(caller.pid).is_some_and(|info| info.to_string().contains(&due))
        });
        gate.open();
        assert_eq!(caller.join().unwrap(), (Ok(1), None));
    });
}

#[test]
fn a_call_back_from_a_handler_that_answers_an_earlier_call_is_no_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        // b keeps each call and answers the one before.
        let exchange = |state: &mut ScriptedServer, from: Caller<i64>, _: &mut Context<ScriptedServer>| {
            state.kept.push(from);
            if state.kept.len() > 1 { state.kept.remove(0).reply(7) } else { Next::wait() }
        };
        for _ in 0..20 {
            let (a, b) = (start_server(), start_server());
            let calls = b.clone();
            let first = spawn_body(move |_| calls.call_with(exchange));
            eventually("the first is kept", || {
                b.call_with(|state, from, _| {
                    let kept = state.kept.len() as i64;
                    from.reply(kept)
                }) == Ok(1)
            });
            let (calls, through) = (b.clone(), a.clone());
            let second = spawn_body(move |_| {
                through.call_with(move |_, from, _| {
                    let value = calls.call_with(exchange);
                    from.reply(value.unwrap())
                })
            });
            assert_eq!(first.join().unwrap(), Ok(7));
            b.get().unwrap(); // the handler that kept the call of a has returned
            let (tx, rx) = channel();
            let back = a.clone();
            b.cast_with(move |state, _| {
                let mine = state.kept.remove(0);
                // Another process answers a once b waits for it.
                let (me, other) = (process::current().unwrap(), back.pid());
                process::spawn(move || {
                    wait_until_calling(me, other);
                    mine.reply_now(8);
                })
                .unwrap();
                tx.send(back.get()).unwrap();
                Next::wait()
            });
            assert_eq!(rx.recv().unwrap(), Ok(0));
            assert_eq!(second.join().unwrap(), Ok(8));
        }
    });
}

#[test]
fn a_child_that_calls_its_parent_after_init_is_answered() {
    attached(|_: &mut Inbox<()>| {
        for round in 0..200 {
            let parent = start_server();
            let (tx, rx) = channel();
            let name = parent.clone();
            let started = parent.call_with(move |_, from, _| {
                let child = Plan::new(&Journal::new())
                    .init(|cx| {
                        cx.after_init(Next::wait().and_continue());
                        Ok(())
                    })
                    .on_continue(move |_| {
                        tx.send(name.get()).unwrap();
                        Next::stop(ExitReason::Normal)
                    });
                if round % 2 == 0 {
                    child.start_link()
                } else {
                    child.start()
                };
                from.reply(1)
            });
            assert_eq!(started, Ok(1));
            assert_eq!(rx.recv().unwrap(), Ok(0), "round {round}");
            parent.stop().unwrap();
        }
    });
}

#[test]
fn a_wait_cycle_through_a_start_and_another_server() {
    attached(|_: &mut Inbox<()>| {
        for _ in 0..50 {
            let (parent, other) = (start_server(), start_server());
            let (tx, rx) = channel();
            let (back, helper) = (parent.clone(), other.clone());
            let started = promptly(|| {
                parent.call_with(move |_, from, _| {
                    let child = Plan::new(&Journal::new()).init(move |cx| {
                        let me = cx.pid();
                        helper
                            .call_with(move |_, from, _| {
                                tx.send((me, back.get())).unwrap();
                                from.reply(1)
                            })
                            .map(drop)
                            .map_err(InitError::from)
                    });
                    let child = child.start();
                    let pid = child.pid();
                    from.reply(i64::from(process::is_alive(pid)))
                })
            });
            assert_eq!(started, Ok(1));
            let (child, result) = rx.recv().unwrap();
            let cycle = vec![other.pid(), parent.pid(), child];
            assert_eq!(result, Err(CallError::Deadlock { cycle }));
        }
    });
}

#[test]
fn call_to_process_waiting_in_stop_is_refused() {
    attached(|_: &mut Inbox<()>| {
        let (tx, rx) = channel();
        let parent = start_server();
        let back = parent.clone();
        let child = Plan::new(&Journal::new()).terminate(move |_| tx.send(back.get()).unwrap()).start();
        let stops = child.clone();
        let stopped = promptly(|| {
            parent.call_with(move |_, from, _| {
                stops.stop().unwrap();
                from.reply(1)
            })
        });
        assert_eq!(stopped, Ok(1));
        assert!(matches!(rx.recv().unwrap(), Err(CallError::Deadlock { .. })));
    });
}

#[test]
fn a_call_made_while_a_request_is_made_does_not_hide_a_wait_cycle() {
    attached(|_: &mut Inbox<()>| {
        let (a, b, other) = (start_server(), start_server(), start_server());
        let (calls, back) = (b.clone(), a.clone());
        let (tx, rx) = channel();
        let result = promptly(|| {
            a.call_with(move |_, from, _| {
                let value = calls.call(|from| {
                    assert_eq!(other.get(), Ok(0));
                    Ask::Run(
                        Box::new(move |_, from, _| {
                            tx.send(back.get()).unwrap();
                            from.reply(1)
                        }),
                        from,
                    )
                });
                from.reply(value.unwrap())
            })
        });
        assert_eq!(result, Ok(1));
        assert!(matches!(rx.recv().unwrap(), Err(CallError::Deadlock { .. })));
    });
}

#[test]
fn of_two_servers_that_stop_each_other_one_is_refused_and_none_hangs() {
    attached(|_: &mut Inbox<()>| {
        let (a, b) = (start_server(), start_server());
        let (of_a, of_b) = (a.clone(), b.clone());
        let result = promptly(|| {
            a.call_with(move |_, from, _| {
                let refused = of_b.call_with(move |_, from, _| {
                    from.reply(i64::from(matches!(
                        of_a.stop(),
                        Err(rethread::gen_server::StopError::Deadlock { .. })
                    )))
                });
                assert_eq!(refused, Ok(1));
                from.reply(1)
            })
        });
        assert_eq!(result, Ok(1));
        a.stop().unwrap();
        b.stop().unwrap();
    });
}

#[test]
fn late_reply_does_not_hide_the_next_wait_of_its_caller() {
    attached(|_: &mut Inbox<()>| {
        let (late, asker, other) = (start_server(), start_server(), start_server());
        let (to_late, to_other, to_asker) = (late.clone(), other.clone(), asker.clone());
        let (tx, rx) = channel();
        let answer = promptly(|| {
            asker.call_with(move |_, from, _| {
                // The first call has timed out, and its answer is still to come.
                let keep =
                    |state: &mut ScriptedServer, from: Caller<i64>, _: &mut Context<ScriptedServer>| {
                        state.kept.push(from);
                        Next::wait()
                    };
                let timeout = to_late.call_timeout(SHORT, |from| Ask::Run(Box::new(keep), from));
                assert!(matches!(timeout, Err(CallError::Timeout { .. })), "{timeout:?}");
                // The second waits for one that has the first answered, and then calls its caller.
                to_other
                    .call_with(move |_, from, _| {
                        let answer = |state: &mut ScriptedServer,
                                      from: Caller<i64>,
                                      _: &mut Context<ScriptedServer>| {
                            state.kept.drain(..).for_each(|kept| kept.reply_now(7));
                            from.reply(1)
                        };
                        to_late.call(|from| Ask::Run(Box::new(answer), from)).expect("it answers");
                        let _ = tx.send(promptly(|| to_asker.get()));
                        from.reply(2)
                    })
                    .expect("the cycle is broken at its end");
                from.reply(3)
            })
        });
        assert_eq!(answer, Ok(3));
        let refused = rx.recv().expect("an answer");
        assert!(matches!(refused, Err(CallError::Deadlock { .. })), "{refused:?}");
        [late, asker, other].iter().for_each(|server| server.stop().unwrap());
    });
}
