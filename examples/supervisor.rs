//! A supervisor as a type of its own, over two servers and a plain blocking loop. A child that exits is
//! restarted; the others are not affected. Run it with `cargo run --example supervisor`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use rethread::prelude::*;
use rethread::supervisor::{Supervise, SupervisorSpec};

/// Counts the beats it receives. There are two drums, each with a name.
struct Drum(u64);

struct Beats(Caller<u64>);
struct Beat;

impl GenServer for Drum {
    type Args = ();
    type Call = Beats;
    type Cast = Beat;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Drum(0))
    }
    fn handle_call(&mut self, Beats(from): Beats, _: &mut Context<Self>) -> Next {
        from.reply(self.0)
    }
    fn handle_cast(&mut self, Beat: Beat, _: &mut Context<Self>) -> Next {
        self.0 += 1;
        Next::wait()
    }
}

const LEFT: ServerRef<Drum> = ServerRef::named("left drum");
const RIGHT: ServerRef<Drum> = ServerRef::named("right drum");

/// Beats both drums. Any blocking function can be a child; it exits at its next runtime call when asked to.
fn drummer() {
    loop {
        LEFT.cast(Beat);
        RIGHT.cast(Beat);
        process::sleep(Duration::from_millis(1));
    }
}

struct Band;

impl Supervise for Band {
    type Args = u32; // given to `init` at every start
    type Spec = SupervisorSpec;

    fn init(max_restarts: u32) -> Result<SupervisorSpec, InitError> {
        Ok(Supervisor::one_for_one()
            .max_restarts(max_restarts, Duration::from_secs(5))
            .child(Drum::child_spec(()).id("left").name(LEFT))
            .child(Drum::child_spec(()).id("right").name(RIGHT))
            .child(ChildSpec::worker("drummer", drummer)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let band = Band::start_link(3)?;
    for victim in ["left", "drummer"] {
        let before = band.which_children()?;
        let pid = before.iter().find(|child| child.id == victim).and_then(|child| child.pid());
        let pid = pid.ok_or("it is not running")?;
        let watch = process::watch(pid);
        process::exit(pid, ExitReason::Kill);
        println!("the {victim} child exited: {}", watch.wait());
        for (old, new) in before.iter().zip(band.which_children()?) {
            println!("  {} {}", new.id, if old.pid() == new.pid() { "is unchanged" } else { "is new" });
        }
    }
    let count = RIGHT.call(Beats)?;
    while RIGHT.call(Beats)? == count {
        process::sleep(Duration::from_millis(1));
    }
    println!("the new drummer is drumming");
    Ok(band.stop()?)
}
