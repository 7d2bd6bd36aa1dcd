//! Chapter 5, "Name": a handle by name or key stays valid when the process behind it is replaced.

use crate::chapter3::{List, add, on};
use rethread::StartError;
use rethread::prelude::*;
use rethread::registry::Registry;
use std::time::Duration;

const CACHE: ServerRef<Cache> = ServerRef::named("cache");
static BY_NAME: Registry<String> = Registry::new();

/// Starts lists on demand.
struct Cache;

struct Get(&'static str, Caller<ServerRef<List>>);

impl GenServer for Cache {
    type Args = ();
    type Call = Get;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Cache)
    }
    fn handle_call(&mut self, Get(name, from): Get, _: &mut Context<Self>) -> Next {
        let list = BY_NAME.server(name.to_owned());
        match List::child_spec(()).name(list.clone()).start_link() {
            Ok(_) | Err(StartError::AlreadyStarted(_)) => from.reply(list),
            Err(error) => process::exit_with(ExitReason::error(error)),
        }
    }
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let system = Supervisor::start_link([Cache::child_spec(()).name(CACHE)], Strategy::OneForOne)?;
    let alice = CACHE.call(|from| Get("alice", from))?;
    add(&alice, "20261122 Dentist")?;

    let first = CACHE.watch();
    process::exit(first.pid().ok_or("not running")?, ExitReason::Kill);
    first.wait();
    let second = CACHE.whereis_timeout(Duration::from_secs(5)); // waits for the restart
    assert!(second.is_some() && second != first.pid());

    CACHE.call(|from| Get("alice", from))?; // the same constant
    add(&alice, "20261123 Buy milk")?; // and the same handle: it reaches the new list
    assert!(on(&alice, 20261122)?.is_empty()); // which starts empty
    system.stop()?;
    Ok(())
}
