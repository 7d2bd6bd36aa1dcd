//! A system without available threads. The limit holds for the whole program, so the test runs in a
//! child program.

use std::time::Duration;

use crate::support::child::{Child, child_pid, states, up};
use crate::support::child_program::in_child_program;
use crate::support::{Journal, eventually, watchdog};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Builder, configure, settings};

// scenario: TH-15
#[test]
fn lack_of_threads_is_an_error_of_start_child_and_does_not_count() {
    in_child_program(body);
}

fn body() {
    let _watchdog = watchdog();
    let journal = Journal::new();
    let [a, b] = ["a", "b"].map(|id| Child::new(id, &journal));
    let plan = Supervisor::one_for_one().max_restarts(0, Duration::from_secs(60)).child(a.spec());
    let supervisor = up(plan);
    let before = settings();
    configure(|settings| settings.max_processes = 2);
    for _ in 0..3 {
        assert_eq!(supervisor.start_child(b.spec()), Err(StartError::SystemLimit { limit: 2 }));
    }
    // A supervisor cannot start either, and returns the same error.
    let refused = Supervisor::one_for_one().start().map(drop);
    assert_eq!(refused, Err(StartError::SystemLimit { limit: 2 }));
    configure(|settings| *settings = before);
    // More stack than there is address space: the operating system refuses.
    let error = supervisor.start_child(b.spec().process(Builder::new().stack_size(1 << 47)));
    assert!(matches!(error, Err(StartError::Thread(_))), "{error:?}");
    assert_eq!((states(&supervisor), b.attempts()), (vec![("a".into(), "running")], 0));
    assert_eq!(a.starts(), 1);
    assert_eq!(supervisor.start_child(b.spec()), Ok(b.await_start(1)));
    supervisor.stop().expect("it stops");

    // A restart without an available thread is retried, within the budget.
    let c = Child::new("c", &journal);
    let supervisor =
        up(Supervisor::one_for_one().max_restarts(u32::MAX, Duration::from_secs(60)).child(c.spec()));
    eventually("the earlier threads are gone", || process::processes().len() == 2);
    configure(|settings| settings.max_processes = 1);
    c.crash();
    let asked = supervisor.which_children().expect("it is running");
    assert_eq!(asked[0].pid(), None);
    configure(|settings| *settings = before);
    let second = c.await_start(2);
    assert_eq!(child_pid(&supervisor, "c"), second);
    supervisor.stop().expect("it stops");
}
