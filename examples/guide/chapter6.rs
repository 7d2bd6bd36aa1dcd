//! Chapter 6, "Isolate": each list is a child of its own, and the statistics have a supervisor of their own.

use crate::chapter1::parse;
use crate::chapter3::ListCall;
use rethread::StartError;
use rethread::agent::{Agent, AgentRef};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::registry::Registry;
use rethread::supervisor::{DynamicSupervisor, DynamicSupervisorRef, Supervise, SupervisorSpec};
use std::time::Duration;

/// The list of chapter 3, with the counter.
pub struct List(Vec<(u32, String)>);

impl GenServer for List {
    type Args = ();
    type Call = ListCall;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(List(Vec::new()))
    }
    fn handle_call(&mut self, call: ListCall, _: &mut Context<Self>) -> Next {
        match call {
            ListCall::Add(line, from) => {
                let (day, title) = parse(&line).or_exit();
                self.0.push((day, title.to_owned()));
                COUNT.cast(|n| *n += 1);
                from.reply(())
            }
            ListCall::On(day, from) => {
                let entries = self.0.iter().filter(|entry| entry.0 == day);
                from.reply(entries.map(|entry| entry.1.clone()).collect())
            }
        }
    }
}

pub fn add(list: &ServerRef<List>, line: &str) -> Result<(), CallError> {
    list.call(|from| ListCall::Add(line.to_owned(), from))
}
pub fn on(list: &ServerRef<List>, day: u32) -> Result<Vec<String>, CallError> {
    list.call(|from| ListCall::On(day, from))
}

pub const LISTS: DynamicSupervisorRef = DynamicSupervisorRef::named("lists");
static BY_NAME: Registry<String> = Registry::new();

/// Returns the list with that name; starts it unless it is running.
pub fn list(name: &str) -> Result<ServerRef<List>, StartError> {
    let list = BY_NAME.server(name.to_owned());
    let spec = List::child_spec(()).name(list.clone()).id(name).label(name);
    match LISTS.start_child(spec.restart(Restart::Temporary)) {
        Ok(_) | Err(StartError::AlreadyStarted(_)) => Ok(list),
        Err(error) => Err(error),
    }
}

const STATISTICS: SupervisorRef = SupervisorRef::named("statistics");
const COUNT: AgentRef<u64> = AgentRef::named("count");

pub struct System;

impl Supervise for System {
    type Args = ();
    type Spec = SupervisorSpec;

    fn init((): ()) -> Result<SupervisorSpec, InitError> {
        let count = Agent::child_spec(|| 0).name(COUNT);
        Ok(Supervisor::one_for_one()
            .child(DynamicSupervisor::child_spec().name(LISTS))
            .child(Supervisor::one_for_one().name(STATISTICS).child(count)))
    }
}

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::start_link(())?;
    let (alice, bob) = (list("alice")?, list("bob")?);
    add(&bob, "20261122 Dentist")?;
    assert_eq!(COUNT.get(|n| *n)?, 1);

    assert!(add(&alice, "tomorrow Buy milk").is_err()); // one list crashes:
    assert_eq!(on(&bob, 20261122)?, ["Dentist"]); // the other is not affected,
    add(&list("alice")?, "20261123 Buy milk")?; // and the first is started again on demand

    let statistics = STATISTICS.watch();
    for _ in 0..4 {
        let count = COUNT.watch();
        process::exit(count.pid().ok_or("not running")?, ExitReason::Kill);
        count.wait();
        COUNT.whereis_timeout(Duration::from_secs(5)).ok_or("not restarted")?;
    }
    assert_eq!(statistics.wait(), ExitReason::Shutdown); // this supervisor gave up, and was itself restarted
    assert_eq!(on(&bob, 20261122)?, ["Dentist"]); // the lists are not affected
    system.stop()?;
    Ok(())
}
