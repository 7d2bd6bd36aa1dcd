//! The state shared by all processes of one script: the definitions, the started processes, and the log.
//! Also the translation of the library's results into the words of the scripts.

use std::collections::HashMap;

use parking_lot::Mutex;
use rethread::gen_server::{CallError, ServerRef};
use rethread::process::{self, ProcessState};
use rethread::supervisor::{ChildError, FailedToStartChild, SpecError};
use rethread::{ExitReason, Pid, StartError};

use super::boss::Boss;
use super::clients::Clients;
use super::script::{Flags, SupDef};
use super::server::Scripted;
use crate::scripted;

/// The role of a process, with its handle.
#[derive(Clone)]
pub(super) enum Role {
    Server(ServerRef<Scripted>),
    /// `Some` once its start has succeeded.
    Supervisor(Option<Boss>),
}

impl Role {
    pub(super) fn supervises(&self) -> bool {
        matches!(self, Self::Supervisor(_))
    }
}

/// One attempt to start a label.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) pid: Pid,
    pub(super) label: String,
    pub(super) attempt: u32,
    pub(super) role: Role,
    /// The dynamic supervisor of which it is a child.
    pub(super) crew: Option<String>,
    /// Its start has succeeded.
    pub(super) up: bool,
    /// It has exited, and all links and monitors have been notified.
    pub(super) gone: bool,
}

/// One line of the log.
pub(super) struct Line {
    /// The process that caused the line; `None` when a start failed.
    pub(super) pid: Option<Pid>,
    pub(super) label: String,
    /// 0: not about one attempt.
    pub(super) attempt: u32,
    pub(super) verb: &'static str,
    pub(super) text: String,
}

impl Line {
    /// Returns the sort key among lines whose order is not guaranteed.
    pub(super) fn place(&self) -> impl Ord {
        (self.label.clone(), self.attempt, self.verb == "dies", self.verb, self.text.clone())
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.label)?;
        if self.attempt > 0 {
            write!(f, "#{}", self.attempt)?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// The state shared by all processes of one script.
pub(super) struct Board {
    /// Names are global and scripts run side by side: each script has its own prefix.
    prefix: String,
    pub(super) clients: Clients,
    supervisors: Mutex<HashMap<String, SupDef>>,
    servers: Mutex<HashMap<String, Flags>>,
    attempts: Mutex<Vec<Attempt>>,
    log: Mutex<Vec<Line>>,
}

impl Board {
    pub(super) fn new(prefix: String) -> Self {
        Self {
            prefix,
            clients: Clients::default(),
            supervisors: Mutex::default(),
            servers: Mutex::default(),
            attempts: Mutex::default(),
            log: Mutex::default(),
        }
    }

    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn define_supervisor(&self, label: &str, definition: SupDef) {
        self.supervisors.lock().insert(label.to_owned(), definition);
    }

    pub(super) fn define_server(&self, label: &str, flags: Flags) {
        self.servers.lock().insert(label.to_owned(), flags);
    }

    /// Changes a supervisor's definition; returns `false` if there is none.
    pub(super) fn amend(&self, label: &str, change: impl FnOnce(&mut SupDef)) -> bool {
        self.supervisors.lock().get_mut(label).map(change).is_some()
    }

    pub(super) fn supervisor(&self, label: &str) -> Option<SupDef> {
        self.supervisors.lock().get(label).cloned()
    }

    pub(super) fn server(&self, label: &str) -> Option<Flags> {
        self.servers.lock().get(label).cloned()
    }
}

/// The known processes.
impl Board {
    /// Records a new attempt, at the very start of `init`; returns the next attempt number of the label.
    pub(super) fn starting(&self, pid: Pid, label: &str, role: Role, crew: Option<String>) -> u32 {
        let mut attempts = self.attempts.lock();
        let earlier = attempts.iter().filter(|entry| entry.label == label).count();
        let attempt = u32::try_from(earlier).expect("a short script") + 1;
        attempts.push(Attempt { pid, label: label.to_owned(), attempt, role, crew, up: false, gone: false });
        drop(attempts);
        self.note(pid, "starts", String::new());
        attempt
    }

    /// Records that a start has succeeded.
    pub(super) fn is_up(&self, pid: Pid, role: Role) {
        if let Some(entry) = self.attempts.lock().iter_mut().find(|entry| entry.pid == pid) {
            entry.up = true;
            entry.role = role;
        }
    }

    pub(super) fn mark_gone(&self, pid: Pid) {
        if let Some(entry) = self.attempts.lock().iter_mut().find(|entry| entry.pid == pid) {
            entry.gone = true;
        }
    }

    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    pub(super) fn entry(&self, pid: Pid) -> Option<Attempt> {
        self.attempts.lock().iter().find(|entry| entry.pid == pid).cloned()
    }

    /// Resolves `name`, `label#K` or `@name`.
    pub(super) fn pid(&self, word: &str) -> Option<Pid> {
        match word.split_once('#') {
            Some((label, attempt)) => {
                let attempts = self.attempts.lock();
                let meant = |entry: &&Attempt| entry.label == label && entry.attempt.to_string() == attempt;
                attempts.iter().find(meant).map(|entry| entry.pid)
            }
            None => process::whereis(&self.name(word.trim_start_matches('@'))),
        }
    }
}

/// The log of events.
impl Board {
    pub(super) fn note(&self, pid: Pid, verb: &'static str, text: String) {
        if let Some(Attempt { label, attempt, .. }) = self.entry(pid) {
            self.log.lock().push(Line { pid: Some(pid), label, attempt, verb, text });
        }
    }

    /// Records that a start returned no process.
    pub(super) fn fails(&self, label: &str, error: &StartError) {
        let text = self.start_error(error);
        self.log.lock().push(Line { pid: None, label: label.to_owned(), attempt: 0, verb: "fails", text });
    }

    /// Records the exit of a process, on its own thread and before any other process is notified.
    pub(super) fn note_exit(&self, pid: Pid) {
        let reason = match process::info(pid).map(|info| info.state) {
            Some(ProcessState::Exiting(reason) | ProcessState::Zombie(reason)) => self.reason(&reason),
            other => format!("while it is {other:?}"),
        };
        self.note(pid, "dies", reason);
    }

    pub(super) fn take_log(&self) -> Vec<Line> {
        std::mem::take(&mut *self.log.lock())
    }

    /// Returns a number that grows with every event.
    pub(super) fn extent(&self) -> usize {
        let attempts = self.attempts.lock().len();
        attempts + self.log.lock().len()
    }
}

/// The words of the scripts.
impl Board {
    pub(super) fn attempt_name(&self, pid: Pid) -> String {
        self.entry(pid).map_or_else(|| "?".to_owned(), |entry| format!("{}#{}", entry.label, entry.attempt))
    }

    pub(super) fn reason(&self, reason: &ExitReason) -> String {
        if let Some(FailedToStartChild { id, error, .. }) = reason.downcast_ref() {
            return format!("shutdown(failed_to_start_child({id},{}))", self.start_error(error));
        }
        match reason {
            ExitReason::Call(failure) => self.reason(&failure.reason),
            other => scripted::text(other),
        }
    }

    pub(super) fn start_error(&self, error: &StartError) -> String {
        match error {
            StartError::Ignored => "ignore".to_owned(),
            StartError::AlreadyStarted(pid) => format!("already_started({})", self.attempt_name(*pid)),
            StartError::AlreadyPresent => "already_present".to_owned(),
            StartError::Failed(reason) => self.reason(reason),
            StartError::Timeout { .. } => "timeout".to_owned(),
            StartError::BadSpec(error) => format!("start_spec({})", spec_error(error)),
            StartError::MaxChildren { .. } => "max_children".to_owned(),
            other => other.to_string(),
        }
    }

    pub(super) fn call_error(&self, error: &CallError) -> String {
        match error {
            CallError::NoProc { .. } => "exit noproc".to_owned(),
            CallError::Exited { reason, .. } => format!("exit {}", self.reason(reason)),
            CallError::Timeout { .. } => "exit timeout".to_owned(),
            CallError::CallingSelf { .. } => "exit calling_self".to_owned(),
            other => other.to_string(),
        }
    }

    pub(super) fn child_error(&self, error: &ChildError) -> String {
        match error {
            ChildError::NotFound => "error not_found".to_owned(),
            ChildError::Running => "error running".to_owned(),
            ChildError::Restarting => "error restarting".to_owned(),
            ChildError::Start(error) => format!("error {}", self.start_error(error)),
            ChildError::NoSupervisor(error) => self.call_error(error),
            other => other.to_string(),
        }
    }
}

pub(super) fn spec_error(error: &SpecError) -> String {
    match error {
        SpecError::DuplicateId(id) => format!("duplicate_child_name({id})"),
        SpecError::SignificantPermanent(_) | SpecError::SignificantWithoutAutoShutdown(_) => {
            "bad_combination".to_owned()
        }
        other => other.to_string(),
    }
}
