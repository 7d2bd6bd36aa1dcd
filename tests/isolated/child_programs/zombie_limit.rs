//! How many zombies a supervisor replaces: as many as the settings allow, and not one more. They hold for
//! the whole program, so the test runs in a child program.

use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{self, Gate, watchdog};
use rethread::prelude::*;
use rethread::process::{self, Builder};

#[test]
fn a_supervisor_gives_up_at_the_first_zombie_too_many() {
    in_child_program(body);
}

fn body() {
    let _watchdog = watchdog();
    process::configure(|settings| settings.max_zombies = 2);
    let (gate, (tx, started)) = (Gate::new(), channel());
    let held = gate.clone();
    let child = ChildSpec::new("stuck", move || {
        let (gate, tx) = (held.clone(), tx.clone());
        Ok(Builder::new().kill_grace(Duration::from_millis(1)).spawn_link(move || {
            let _ = tx.send(process::current().expect("it is a process"));
            gate.pass();
        })?)
    });
    let plan = Supervisor::one_for_one().max_restarts(100, Duration::from_secs(1000)).child(child);
    let supervisor = plan.start().expect("it starts");
    let watch = supervisor.watch();
    let counts = || (process::zombies().len() as u64, process::zombies_total());
    for zombies in 0..=2 {
        let child: Pid = started.recv_timeout(Duration::from_secs(10)).expect("it was started again");
        assert_eq!(counts(), (zombies, zombies));
        process::exit(child, ExitReason::Kill);
    }
    assert_eq!(watch.wait(), ExitReason::Shutdown);
    assert_eq!(counts(), (3, 3));
    assert!(process::zombies().iter().all(|zombie| zombie.age() > Duration::ZERO));
    gate.open();
    support::eventually("all are reaped", || process::zombies().is_empty());
    assert_eq!(counts(), (0, 3), "the total includes the reaped ones");
}
