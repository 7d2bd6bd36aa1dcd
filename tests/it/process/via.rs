//! Custom name tables: their faults affect only the start that uses them.

use std::time::Duration;

use crate::support::child_program::in_child_program;
use crate::support::{Idle, attached, unique};
use rethread::StartError;
use rethread::prelude::*;
use rethread::process::{Inbox, NameError, Via};

/// A table that gives the new process a name of its own, then panics.
#[derive(Debug)]
struct Breaks(&'static str);

impl Via for Breaks {
    fn whereis(&self) -> Option<Pid> {
        None
    }
    fn register(&self, pid: Pid) -> Result<(), NameError> {
        process::register(self.0, pid)?;
        panic!("the table is broken")
    }
    fn unregister(&self, _: Pid) {}
}

/// A slow table, through which the new process is found and killed at once.
#[derive(Debug)]
struct Slow;

impl Via for Slow {
    fn whereis(&self) -> Option<Pid> {
        None
    }
    fn register(&self, pid: Pid) -> Result<(), NameError> {
        process::exit(pid, ExitReason::Kill);
        process::watch(pid).wait(); // becomes a zombie: its thread has not begun, and so does not exit in time
        Ok(())
    }
    fn unregister(&self, _: Pid) {}
}

#[test]
fn a_table_that_panics_leaves_no_phantom_process_behind() {
    attached(|_: &mut Inbox<()>| {
        let name = unique("via.phantom");
        let supervisor = Supervisor::one_for_one().start_link().unwrap();
        let refused = supervisor.start_child(Idle::child_spec(()).name(ServerRef::via(Breaks(name))));
        let Err(StartError::Failed(ExitReason::Panic(report))) = refused else { panic!("not {refused:?}") };
        assert_eq!(report.message(), "the table is broken");
        assert_eq!(process::whereis(name), None);
        assert_eq!(supervisor.which_children().unwrap(), []);
        supervisor.stop().unwrap();
    });
}

/// Found by the torture test: a permanent zombie that never had a thread.
#[test]
fn killed_before_its_thread_begins_and_refused_a_process_leaves_no_zombie() {
    in_child_program(|| {
        attached(|_: &mut Inbox<()>| {
            let spec = Idle::child_spec(())
                .process(process::Builder::new().kill_grace(Duration::from_millis(1)))
                .label(unique("via.killed before its start"));
            let refused = spec.name(ServerRef::via(Slow)).start();
            assert!(matches!(refused, Err(StartError::Name(NameError::NoProc))), "not {refused:?}");
            assert!(process::zombies_total() > 0);
            assert!(process::zombies().is_empty(), "{:?}", process::zombies());
        });
    });
}

/// A table with one entry, which cannot wait for another.
#[derive(Debug)]
struct Only(Option<Pid>);

impl Via for Only {
    fn whereis(&self) -> Option<Pid> {
        self.0
    }
    fn register(&self, _: Pid) -> Result<(), NameError> {
        Err(NameError::Unsupported("it is full"))
    }
    fn unregister(&self, _: Pid) {}
}

#[test]
fn a_table_that_cannot_wait_looks_just_once() {
    attached(|inbox: &mut Inbox<()>| {
        let (found, unregistered) =
            (ServerRef::<Idle>::via(Only(Some(inbox.pid()))), ServerRef::<Idle>::via(Only(None)));
        assert_eq!(found.whereis_timeout(Duration::MAX), Some(inbox.pid()));
        assert_eq!(unregistered.whereis_timeout(Duration::MAX), None);
    });
}
