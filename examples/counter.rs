//! A server under a supervisor: it counts, it crashes, and is restarted under the same name.
//! Run it with `cargo run --example counter`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use rethread::gen_server::CallError;
use rethread::prelude::*;

/// Keeps a number. `self` is the state of the process.
struct Counter {
    n: i64,
}

/// The requests, each with the typed handle for its reply.
enum CounterCall {
    Get(Caller<i64>),
    Divide(i64, Caller<i64>),
}

/// The messages that get no reply.
enum CounterCast {
    Add(i64),
}

impl GenServer for Counter {
    type Args = i64;
    type Call = CounterCall;
    type Cast = CounterCast;

    fn init(n: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Counter { n })
    }

    fn handle_call(&mut self, call: CounterCall, _: &mut Context<Self>) -> Next {
        match call {
            CounterCall::Get(from) => from.reply(self.n),
            CounterCall::Divide(by, from) => {
                self.n /= by; // division by zero panics: only this process exits
                from.reply(self.n)
            }
        }
    }

    fn handle_cast(&mut self, CounterCast::Add(k): CounterCast, _: &mut Context<Self>) -> Next {
        self.n += k;
        Next::wait()
    }
}

/// The counter, by name. The name is looked up at every call, so the reference survives restarts.
const COUNTER: ServerRef<Counter> = ServerRef::named("counter");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = Supervisor::start_link([Counter::child_spec(10).name(COUNTER)], Strategy::OneForOne)?;
    println!("the counter starts with {}", COUNTER.call(CounterCall::Get)?);

    COUNTER.cast(CounterCast::Add(32));
    println!("10 + 32 is {}", COUNTER.call(CounterCall::Get)?);
    println!("42 / 2 is {}", COUNTER.call(|from| CounterCall::Divide(2, from))?);

    let first = COUNTER.watch();
    match COUNTER.call(|from| CounterCall::Divide(0, from)) {
        Err(CallError::Exited { reason: ExitReason::Panic(panic), .. }) => {
            println!("21 / 0 crashes the counter: {}", panic.message());
        }
        other => return Err(format!("expected a panic, got {other:?}").into()),
    }

    first.wait(); // the counter has exited, and the supervisor has been notified;
    system.count_children()?; // it starts a new counter before it replies to this call
    println!("a new counter has the name: {}", COUNTER.whereis() != first.pid());
    println!("the counter starts with {}", COUNTER.call(CounterCall::Get)?);

    system.stop()?;
    println!("after the stop there is none: {}", COUNTER.whereis().is_none());
    Ok(())
}
