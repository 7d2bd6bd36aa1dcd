//! The background processes of a script: clients that wait for a result, and gates that hold a supervisor
//! up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use rethread::process::{self, Address, ProcessState};
use rethread::supervisor::{ChildSpec, Restart};
use rethread::{ExitReason, Pid, StartError};

use super::boss::Boss;
use crate::support::eventually;

struct Client {
    pid: Pid,
    target: Option<Pid>,
    result: Arc<Mutex<Option<String>>>,
}

/// Captured by a child spec that is never started: a supervisor at its maximum of children refuses to start
/// it, but drops it, which blocks until released.
struct Held {
    inside: mpsc::Sender<()>,
    gate: Address<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.inside.send(());
        drop(process::watch(&self.gate).wait());
    }
}

#[derive(Default)]
pub(super) struct Clients {
    running: Mutex<BTreeMap<String, Client>>,
    gates: Mutex<HashMap<Pid, Address<()>>>,
}

impl Clients {
    /// Runs `operation`, a request to `target`, in a process of its own.
    pub(super) fn start(
        &self,
        name: &str,
        target: Option<Pid>,
        operation: impl FnOnce() -> String + Send + 'static,
    ) {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let client = process::spawn(move || {
            let result = operation();
            *slot.lock() = Some(result);
        });
        let pid = client.expect("a free thread");
        self.running.lock().insert(name.to_owned(), Client { pid, target, result });
    }

    /// Waits until each client has finished, or waits for a running server that does not answer.
    pub(super) fn wait_until_idle(&self) {
        let busy = || self.running.lock().values().any(|client| !client.finished() && !client.idle());
        eventually("all clients have finished or wait", || !busy());
    }

    pub(super) fn finished(&self) -> usize {
        self.running.lock().values().filter(|client| client.finished()).count()
    }

    /// Removes the finished clients and returns their results, sorted by name.
    pub(super) fn take_finished(&self) -> Vec<(String, String)> {
        let mut done = Vec::new();
        self.running.lock().retain(|name, client| {
            let result = client.result.lock().take();
            done.extend(result.iter().map(|result| (name.clone(), result.clone())));
            result.is_none()
        });
        done
    }

    /// Blocks a supervisor until it is released, by the slow drop of a refused child.
    pub(super) fn hold(&self, pid: Pid, supervisor: Boss) {
        let gate = process::spawn_receiver::<()>(|inbox| drop(inbox.recv())).expect("a free thread");
        let (inside, holding) = mpsc::channel();
        let held = Held { inside, gate: gate.clone() };
        let child = ChildSpec::new("held", move || {
            let _ = &held;
            Err(StartError::Ignored)
        });
        let child = child.restart(Restart::Temporary);
        process::spawn(move || drop(supervisor.start_child(child))).expect("a free thread");
        holding.recv().expect("the supervisor throws the child away");
        self.gates.lock().insert(pid, gate);
    }

    pub(super) fn release(&self, pid: Pid) {
        let gate = self.gates.lock().remove(&pid);
        if let Some(gate) = gate {
            gate.send(());
        }
    }

    pub(super) fn holds(&self, pid: Pid) -> bool {
        self.gates.lock().contains_key(&pid)
    }

    /// Ends all clients; the script has ended.
    pub(super) fn end(&self) {
        let gates = self.gates.lock().drain().map(|(_, gate)| gate.pid()).collect::<Vec<_>>();
        let clients = self.running.lock().values().map(|client| client.pid).collect::<Vec<_>>();
        clients.into_iter().chain(gates).for_each(|pid| process::exit(pid, ExitReason::Kill));
    }
}

impl Client {
    fn finished(&self) -> bool {
        self.result.lock().is_some()
    }

    fn idle(&self) -> bool {
        let waits = || process::info(self.pid).is_some_and(|info| info.state == ProcessState::Waiting);
        self.target.is_some_and(process::is_alive) && waits()
    }
}
