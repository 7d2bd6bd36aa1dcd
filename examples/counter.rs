//! A server under a supervisor: it counts, it crashes, it is back under the same name.
//! Run it with `cargo run --example counter`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use rethread::prelude::*;

/// Keeps a number. `self` is the state of the process.
struct Counter {
    n: i64,
}

/// The requests, each with the typed handle for its answer.
enum CounterCall {
    Get(Caller<i64>),
    Divide(i64, Caller<i64>),
}

/// The messages that need no answer.
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
                self.n /= by; // by zero it panics: that ends this process, and no other
                from.reply(self.n)
            }
        }
    }

    fn handle_cast(&mut self, CounterCast::Add(k): CounterCast, _: &mut Context<Self>) -> Next {
        self.n += k;
        Next::wait()
    }
}

/// Whoever is the counter now: the name is looked up at every call, so this never goes stale.
const COUNTER: ServerRef<Counter> = ServerRef::named("counter");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = Supervisor::start_link([Counter::child_spec(10).name(COUNTER)], Strategy::OneForOne)?;
    println!("it starts with {}", COUNTER.call(CounterCall::Get)?);

    COUNTER.cast(CounterCast::Add(32));
    println!("10 + 32 is {}", COUNTER.call(CounterCall::Get)?);
    println!("42 / 2 is {}", COUNTER.call(|from| CounterCall::Divide(2, from))?);

    let first = COUNTER.watch();
    match COUNTER.call(|from| CounterCall::Divide(0, from)) {
        Err(CallError::Exited { reason: ExitReason::Panic(panic), .. }) => {
            println!("21 / 0 ends the counter: {}", panic.message());
        }
        other => return Err(format!("a panic was due, not {other:?}").into()),
    }

    first.wait(); // it is gone, and the supervisor knows;
    system.count_children()?; // before it answers, it starts another
    println!("a new counter has its name: {}", COUNTER.whereis() != Some(first.pid()));
    println!("it starts with {}", COUNTER.call(CounterCall::Get)?);

    system.stop()?;
    println!("after the end of the system there is none: {}", COUNTER.whereis().is_none());
    Ok(())
}
