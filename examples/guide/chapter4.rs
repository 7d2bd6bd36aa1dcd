//! Chapter 4, "Supervise": what crashes is restarted; what keeps crashing ends the system.

use crate::chapter3::{List, add};
use rethread::StartError;
use rethread::prelude::*;
use rethread::supervisor::{Shutdown, Supervise, SupervisorSpec};
use std::collections::HashMap;
use std::time::Duration;

/// Maps names to lists, and starts lists on demand.
struct Cache {
    lists: HashMap<&'static str, ServerRef<List>>,
}

struct Get(&'static str, Caller<ServerRef<List>>);

impl GenServer for Cache {
    type Args = ();
    type Call = Get;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Cache { lists: HashMap::new() })
    }
    fn handle_call(&mut self, Get(name, from): Get, _: &mut Context<Self>) -> Next {
        let list = self.lists.entry(name).or_insert_with(|| List::start_link(()).or_exit());
        from.reply(list.clone())
    }
}

/// Starts the system: callers need not know its parts.
fn start_link() -> Result<SupervisorRef, StartError> {
    Supervisor::start_link([Cache::child_spec(())], Strategy::OneForOne)
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let system = start_link()?;
    let first = system.which_children()?[0].pid().ok_or("not running")?;
    let alice = ServerRef::<Cache>::from_pid(first).call(|from| Get("alice", from))?;

    let watch = process::watch(first);
    assert!(add(&alice, "tomorrow Buy milk").is_err()); // ends the cache as well, through the link
    watch.wait();
    let second = system.which_children()?[0].pid().ok_or("not running")?;
    assert_ne!(first, second); // a new cache, in a new process
    system.stop()?;
    give_up()
}

struct System;

impl Supervise for System {
    type Args = ();
    type Spec = SupervisorSpec;

    /// Called at every start.
    fn init((): ()) -> Result<SupervisorSpec, InitError> {
        Ok(Supervisor::one_for_one()
            .max_restarts(3, Duration::from_secs(5)) // the default
            .child(Cache::child_spec(()).shutdown(Shutdown::Timeout(Duration::from_secs(1)))))
    }
}

fn give_up() -> Result<(), Box<dyn std::error::Error>> {
    let spec: ChildSpec = Cache::child_spec(()).into();
    assert_eq!((spec.options().id.as_str(), spec.options().restart), ("Cache", Restart::Permanent));
    let _by_hand = ChildSpec::new("Cache", || {
        Cache::start_link(())?.whereis().ok_or(StartError::Failed(ExitReason::NoProc))
    });
    let _any_blocking_function = ChildSpec::worker("clock", || process::sleep(Duration::MAX));

    let system = System::start_link(())?;
    let end = system.watch();
    for restarts in 0..4 {
        assert!(end.pid().is_some_and(process::is_alive), "{restarts} restarts are allowed");
        let cache = system.which_children()?[0].pid().ok_or("not running")?;
        let exit = process::watch(cache);
        process::exit(cache, ExitReason::Kill);
        exit.wait();
    }
    assert_eq!(end.wait(), ExitReason::Shutdown); // the fourth within five seconds was one too many
    Ok(())
}
