//! Agents that are called, changed and stopped concurrently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rethread::agent::{Agent, AgentRef};
use rethread::gen_server::CallError;
use rethread::prelude::*;

use crate::harness::{drained, end_of, race};

/// A number that records its drop.
struct Value {
    number: u64,
    gone: Arc<AtomicBool>,
}

impl Drop for Value {
    fn drop(&mut self) {
        let _ = process::whereis("races"); // a step that takes time
        self.gone.store(true, Ordering::SeqCst);
    }
}

fn agent(gone: &Arc<AtomicBool>) -> AgentRef<Value> {
    let gone = Arc::clone(gone);
    Agent::start(move || Value { number: 0, gone }).expect("it starts")
}

fn killer(agent: &AgentRef<Value>) -> Pid {
    let pid = agent.whereis().expect("it is running");
    process::spawn(move || process::exit(pid, ExitReason::Kill)).expect("a thread")
}

#[test]
fn update_is_done_or_fails_with_the_exit_of_the_agent() {
    race("agent: update, kill").run(|inbox| {
        let agent = agent(&Arc::default());
        let pid = agent.whereis().expect("it is running");
        let killer = killer(&agent);
        let done = Arc::new(AtomicU64::new(0));
        let doing = Arc::clone(&done);
        let result = agent.update(move |value| {
            value.number += 1;
            doing.fetch_add(1, Ordering::SeqCst);
        });
        let done = || done.load(Ordering::SeqCst);
        match &result {
            Ok(()) => assert_eq!(done(), 1),
            Err(CallError::Exited { reason, .. }) => assert!(*reason == ExitReason::Killed && done() <= 1),
            Err(CallError::NoProc { .. }) => assert_eq!(done(), 0),
            Err(other) => panic!("{other}"),
        }
        let at_once = done();
        end_of(pid);
        end_of(killer);
        assert!(done() == at_once, "it was done after the call");
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn value_is_dropped_before_a_failed_call_returns() {
    race("agent: get, kill").run(|_| {
        let gone = Arc::new(AtomicBool::new(false));
        let agent = agent(&gone);
        let killer = killer(&agent);
        match agent.get(|value| value.number) {
            Ok(number) => assert_eq!(number, 0),
            Err(CallError::Exited { .. } | CallError::NoProc { .. }) => {
                assert!(gone.load(Ordering::SeqCst), "its value is still there");
            }
            Err(other) => panic!("{other}"),
        }
        end_of(killer);
    });
}
