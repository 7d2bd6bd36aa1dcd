//! Exit signals, calls and takeovers at the worst moment: one regression test for each former fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::support::child::{self, Child, states, up};
use crate::support::scripted_server::{Plan, ScriptedCalls, start_server, wait_until_calling};
use crate::support::{Gate, Journal, attached, eventually, unique, watchdog};
use rethread::StartError;
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::{self, Builder, Event, Inbox, ProcessState, attempt};
use rethread::supervisor::AutoShutdown::AllSignificant;

const LONG: Duration = Duration::from_secs(60);

fn state(pid: impl Into<Pid>) -> Option<ProcessState> {
    process::info(pid).map(|info| info.state)
}

#[test]
fn a_start_that_fails_because_of_a_kill_during_init_sends_no_exit_besides() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let (tx, rx) = channel::<Pid>();
        let gate = Gate::new();
        let held = gate.clone();
        let killer = Builder::new().spawn(move || {
            let starting = rx.recv().unwrap();
            process::exit(starting, ExitReason::Kill);
            release_and_await_exit(starting, &gate);
        });
        let killer = process::watch(killer.unwrap());
        let plan = Plan::new(&Journal::new()).init(move |cx| {
            tx.send(cx.pid()).unwrap();
            held.pass();
            Ok(())
        });
        let refused = plan.spec().process(process::Builder::new().kill_grace(LONG)).start_link();
        assert!(matches!(refused, Err(StartError::Failed(ExitReason::Killed))), "{:?}", refused.err());
        assert_eq!(killer.wait(), ExitReason::Normal);
        let stray = inbox.recv_timeout(Duration::ZERO);
        assert!(stray.is_none(), "{stray:?}");
    });
}

/// Releases a process that is to exit, and waits until all its links have been notified.
fn release_and_await_exit(of: Pid, gate: &Gate) {
    let end = process::watch(of);
    gate.open();
    end.wait();
}

#[test]
fn a_hook_of_another_process_that_panics_does_not_doom_the_sender_of_the_signal() {
    let _watchdog = watchdog();
    let hooked = process::spawn_receiver::<()>(|inbox| {
        let _hook = process::on_exit_request(|| panic!("the hook of another"));
        inbox.recv();
    });
    let hooked = hooked.unwrap();
    eventually("the hook is there", || state(&hooked) == Some(ProcessState::Waiting));
    let (sent, gate) = (Gate::new(), Gate::new());
    let (done, held) = (sent.clone(), gate.clone());
    let sender = Builder::new().exit_timeout(Duration::from_millis(10)).spawn(move || {
        process::exit(&hooked, ExitReason::Kill);
        done.open();
        held.pass();
    });
    let sender = sender.unwrap();
    let end = process::watch(sender);
    sent.pass();
    // The timer thread keeps the order: when this arrives, an earlier deadline of the sender would have
    // passed.
    let later = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).unwrap();
    let reached = process::watch(&later);
    process::send_after(Duration::from_millis(50), &later, ());
    assert_eq!(reached.wait(), ExitReason::Normal);
    assert_eq!(state(sender), Some(ProcessState::Running));
    gate.open();
    assert_eq!(end.wait(), ExitReason::Normal);
}

/// A reason that counts its copies.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Blocks an unwinding thread until the gate opens.
struct Holds(Gate);

impl Drop for Holds {
    fn drop(&mut self) {
        self.0.pass();
    }
}

#[test]
fn name_taken_over_many_times_does_not_keep_former_holders() {
    let _watchdog = watchdog();
    let name = unique("moments.relay");
    let kept = Arc::new(AtomicUsize::new(0));
    let mut before: Option<(Gate, process::Watch)> = None;
    for _ in 0..300 {
        // It takes the name over while the previous holder is exiting.
        let (ready, gate) = (Gate::new(), Gate::new());
        let (registered, held) = (ready.clone(), gate.clone());
        let holder = process::spawn_receiver::<()>(move |inbox| {
            let _holds = Holds(held);
            process::register(name, inbox.pid()).unwrap();
            registered.open();
            inbox.recv();
        });
        let holder = holder.unwrap();
        ready.pass();
        if let Some((gate, end)) = before.take() {
            gate.open();
            end.wait();
        }
        let end = process::watch(&holder);
        kept.fetch_add(1, Ordering::SeqCst);
        process::exit(&holder, ExitReason::new(Counted(Arc::clone(&kept))));
        before = Some((gate, end));
    }
    let (gate, end) = before.unwrap();
    gate.open();
    drop(end.wait());
    eventually("exited processes are removed", || kept.load(Ordering::SeqCst) < 10);
}

fn relay(left: usize, last: Sender<usize>) {
    if left == 0 {
        let ancestors = process::current().and_then(process::info).map(|info| info.ancestors.len());
        let _ = last.send(ancestors.expect("it is running"));
        return;
    }
    process::spawn(move || relay(left - 1, last)).expect("a free thread");
}

#[test]
fn a_process_that_starts_its_successor_hands_on_a_bounded_list_of_ancestors() {
    let _watchdog = watchdog();
    for (generations, expected) in [(3, 2), (100, 32)] {
        let (last, ancestors) = channel();
        relay(generations, last);
        assert_eq!(ancestors.recv().unwrap(), expected);
    }
}

#[test]
fn a_handler_that_returns_late_does_not_hide_the_cycle_its_callers_next_call_makes() {
    let _watchdog = watchdog();
    let (first, second) = (start_server(), start_server());
    let (tx, outcome) = channel();
    let (answered, gate) = (Gate::new(), Gate::new());
    let (has_answer, held) = (answered.clone(), gate.clone());
    let (callee, caller) = (second.clone(), first.clone());
    first.cast_with(move |_, _| {
        let early = callee.call_with(move |_, from, _| {
            from.reply_now(1);
            held.pass();
            Next::wait()
        });
        assert_eq!(early, Ok(1));
        has_answer.open();
        let back = callee.call_with(move |_, from, _| {
            let _ = tx.send(caller.call_with_timeout(Duration::from_secs(1), |_, from, _| from.reply(2)));
            from.reply(3)
        });
        assert_eq!(back, Ok(3));
        Next::wait()
    });
    answered.pass();
    wait_until_calling(first.pid(), second.pid());
    gate.open(); // the handler of the first call returns in the middle of the second one
    let outcome = outcome.recv().unwrap();
    assert!(matches!(outcome, Err(CallError::Deadlock { .. })), "{outcome:?}");
}

#[test]
fn an_unnoticed_kill_does_not_cut_the_cleanup_of_an_attempt_short() {
    let _watchdog = watchdog();
    let (begun, gate, cleaned) = (Gate::new(), Gate::new(), Gate::new());
    let (begins, held, cleans) = (begun.clone(), gate.clone(), cleaned.clone());
    let busy = Builder::new().kill_grace(LONG).spawn(move || {
        let body = || {
            begins.open();
            held.pass();
        };
        let after = || {
            process::checkpoint();
            cleans.open();
        };
        attempt(body).after(after).rescue(|_| ());
    });
    let busy = busy.unwrap();
    let end = process::watch(busy);
    begun.pass();
    process::exit(busy, ExitReason::Kill);
    gate.open();
    assert_eq!(end.wait(), ExitReason::Killed);
    assert!(cleaned.is_open());
}

#[test]
fn a_reply_dropped_by_a_resumed_unwinding_is_a_no_reply_at_once() {
    let _watchdog = watchdog();
    let helper = process::spawn_receiver::<Caller<i64>>(|inbox| {
        loop {
            if let Event::Message(from) = inbox.recv() {
                drops_resuming(from);
            }
        }
    });
    let helper = helper.unwrap();
    let server = start_server();
    let outcome = server.call_with_timeout(LONG / 2, move |_, from, _| {
        helper.send(from);
        Next::wait()
    });
    assert!(matches!(outcome, Err(CallError::NoReply { .. })), "{outcome:?}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "as a thread pool hands on the panic of a job: no panic hook runs"
)]
fn drops_resuming(from: Caller<i64>) {
    let job = move || {
        let _from = from;
        std::panic::resume_unwind(Box::new("from a job"))
    };
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
}

#[test]
fn a_significant_child_that_is_being_restarted_keeps_the_supervisor_up() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let gate = Gate::new();
    let may_start = gate.clone();
    let failing = Child::new("failing", &journal).starts_as(move |attempt| {
        if attempt == 1 || may_start.is_open() { child::Begin::Up } else { child::Begin::Quiet("not yet") }
    });
    let ending = Child::new("ending", &journal);
    let significant = |child: &Child| child.spec().restart(Restart::Transient).significant(true);
    let plan = Supervisor::one_for_one()
        .auto_shutdown(AllSignificant)
        .max_restarts(1_000_000, LONG)
        .child(significant(&failing))
        .child(significant(&ending));
    let supervisor = up(plan);
    let watch = supervisor.watch();
    failing.crash();
    eventually("it does not start again", || failing.attempts() > 2);
    ending.end(ExitReason::Normal);
    eventually("the supervisor knows", || {
        states(&supervisor) == [("failing".into(), "restarting"), ("ending".into(), "stopped")]
    });
    gate.open();
    failing.await_start(2);
    failing.end(ExitReason::Normal);
    assert_eq!(watch.wait(), ExitReason::Shutdown);
}
