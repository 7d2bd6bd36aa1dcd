//! The costs of the runtime: messages, calls, starts, exits, restarts. Compare figures of one run only.

use divan::Bencher;
use rethread::prelude::*;
use rethread::process::{Event, Inbox};

fn main() {
    divan::main();
}

struct Counter(u64);

enum Ask {
    Next(Caller<u64>),
    Crash(#[expect(dead_code, reason = "the crash answers")] Caller<()>),
}

enum Tell {
    Bump,
}

impl GenServer for Counter {
    type Args = ();
    type Call = Ask;
    type Cast = Tell;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(0))
    }
    fn handle_call(&mut self, ask: Ask, _: &mut Context<Self>) -> Next {
        match ask {
            Ask::Next(from) => {
                self.0 += 1;
                from.reply(self.0)
            }
            Ask::Crash(_) => panic!("on request"),
        }
    }
    fn handle_cast(&mut self, Tell::Bump: Tell, _: &mut Context<Self>) -> Next {
        self.0 += 1;
        Next::wait()
    }
}

#[divan::bench]
fn call_by_pid(bencher: Bencher<'_, '_>) {
    let counter = Counter::start(()).expect("a free thread");
    bencher.bench_local(|| counter.call(Ask::Next));
    counter.stop().expect("it was running");
}

#[divan::bench]
fn call_by_name(bencher: Bencher<'_, '_>) {
    const COUNTER: ServerRef<Counter> = ServerRef::named("bench.counter");
    let counter = Counter::child_spec(()).name(COUNTER).start().expect("a free thread");
    bencher.bench_local(|| COUNTER.call(Ask::Next));
    counter.stop().expect("it was running");
}

#[divan::bench]
fn thousand_casts_and_a_call(bencher: Bencher<'_, '_>) {
    let counter = Counter::start(()).expect("a free thread");
    bencher.counter(divan::counter::ItemsCount::new(1000_u32)).bench_local(|| {
        for _ in 0..1000 {
            counter.cast(Tell::Bump);
        }
        counter.call(Ask::Next)
    });
    counter.stop().expect("it was running");
}

#[divan::bench]
fn message_there_and_back(bencher: Bencher<'_, '_>) {
    let echo = process::spawn_receiver::<process::Address<()>>(|inbox| {
        while let Event::Message(back) = inbox.recv() {
            back.send(());
        }
    })
    .expect("a free thread");
    let measured = process::attach_receiver(|inbox: &mut Inbox<()>| {
        let me = inbox.address();
        bencher.bench_local(|| {
            echo.send(me.clone());
            inbox.recv()
        });
    });
    measured.expect("nothing ended the bench");
    process::exit(&echo, ExitReason::Kill);
}

/// Runs `body` as a process.
fn attached(body: impl FnOnce(&mut Inbox<()>)) {
    process::attach_receiver(body).expect("nothing ends the bench");
}

#[divan::bench]
fn send_to_oneself_and_receive(bencher: Bencher<'_, '_>) {
    attached(|inbox| {
        let me = inbox.address();
        bencher.bench_local(|| {
            me.send(());
            inbox.recv()
        });
    });
}

#[divan::bench]
fn look_into_an_empty_mailbox(bencher: Bencher<'_, '_>) {
    attached(|inbox| bencher.bench_local(|| inbox.try_recv()));
}

#[divan::bench]
fn link_and_unlink(bencher: Bencher<'_, '_>) {
    attached(|_| {
        let other = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).expect("a free thread");
        bencher.bench_local(|| {
            process::link(&other).expect("it is running");
            process::unlink(&other);
        });
        process::exit(&other, ExitReason::Kill);
    });
}

#[divan::bench]
fn monitor_and_demonitor(bencher: Bencher<'_, '_>) {
    attached(|_| {
        let other = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).expect("a free thread");
        bencher.bench_local(|| process::demonitor(process::monitor(&other)));
        process::exit(&other, ExitReason::Kill);
    });
}

#[divan::bench]
fn arm_and_cancel_a_timer(bencher: Bencher<'_, '_>) {
    attached(|inbox| {
        let me = inbox.address();
        let hour = std::time::Duration::from_secs(3600);
        bencher.bench_local(|| process::cancel_timer(process::send_after(hour, &me, ())));
    });
}

#[divan::bench]
fn panic_to_down(bencher: Bencher<'_, '_>) {
    attached(|inbox| {
        bencher.bench_local(|| {
            let child = process::spawn_monitor(|| panic!("on request")).expect("a free thread");
            (child, inbox.recv())
        });
    });
}

#[divan::bench]
fn spawn_and_end(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let child = process::spawn(|| ()).expect("a free thread");
        process::watch(child).wait()
    });
}

#[divan::bench]
fn panic_to_watch(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let child = process::spawn(|| panic!("on request")).expect("a free thread");
        process::watch(child).wait()
    });
}

/// Measures with a window in milliseconds: with the long one the budget counts all crashes of the bench.
#[divan::bench(args = [1, 3_600_000])]
fn crash_to_next_answer_by_name(bencher: Bencher<'_, '_>, window: u64) {
    const COUNTER: ServerRef<Counter> = ServerRef::named("bench.restarted");
    let system = Supervisor::one_for_one()
        .max_restarts(u32::MAX, std::time::Duration::from_millis(window))
        .child(Counter::child_spec(()).name(COUNTER))
        .start_link()
        .expect("a free thread");
    bencher.bench_local(|| {
        let _ = COUNTER.call(Ask::Crash);
        while COUNTER.call(Ask::Next).is_err() {
            std::hint::spin_loop();
        }
    });
    system.stop().expect("it was running");
}

#[divan::bench]
fn find_a_name(bencher: Bencher<'_, '_>) {
    let held = process::Builder::new().name("bench.held").spawn_receiver::<()>(|inbox| drop(inbox.recv()));
    let held = held.expect("a free thread");
    bencher.bench_local(|| process::whereis("bench.held"));
    process::exit(&held, ExitReason::Kill);
}
