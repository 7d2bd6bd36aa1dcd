//! The system as data for clients: the process tree and the events as JSON, the metrics in the format of
//! Prometheus.

use std::time::{SystemTime, UNIX_EPOCH};

use rethread::observer::{self, Node, ProcessEvent, ProcessEventKind, TreeRow};
use rethread::process::{Activity, ProcessInfo, ProcessKind, ProcessState};
use rethread::supervisor::ChildState;
use serde_json::{Value, json};

use super::chaos::ChaosStatus;
use super::list::Entry;
use super::metrics::{self, Metrics};
use super::shape::Shape;
use super::tree;

/// Returns the process tree and the metrics. Processes above the system are omitted.
pub(crate) fn tree(shape: Shape, allow_kill: bool, chaos: ChaosStatus) -> Value {
    let snapshot = observer::snapshot();
    let rows = snapshot.tree();
    let all: Vec<&TreeRow<'_>> = tree::system_rows(&rows).collect();
    let above = all.iter().map(|row| row.depth).min().unwrap_or(0);
    let Metrics { uptime, processes, zombies, restarts, requests } = metrics::now();
    json!({
        "at": time_of_day(snapshot.at),
        "shape": shape.name(),
        "uptime": uptime.as_secs(),
        "processes": processes,
        "zombies": zombies,
        "restarts": restarts,
        "requests": requests,
        "allow_kill": allow_kill,
        "chaos": {
            "running": chaos.running, "acknowledged": chaos.acknowledged, "found": chaos.found, "lost": chaos.lost,
        },
        "tree": all.iter().map(|row| row_json(row, row.depth - above)).collect::<Vec<_>>(),
    })
}

fn row_json(row: &TreeRow<'_>, depth: usize) -> Value {
    match row.node {
        Node::Process { process, restarts } => {
            let info = &process.info;
            let state = match &info.state {
                ProcessState::Running => "running",
                ProcessState::Waiting => "waiting",
                ProcessState::Exiting(_) => "exiting",
                _ => "zombie",
            };
            let kind = match info.kind {
                ProcessKind::Supervisor => "supervisor",
                ProcessKind::Server => "server",
                ProcessKind::Task => "task",
                _ => "process",
            };
            let what =
                process.supervision.as_ref().map(|own| format!("{}, {}", tree::strategy(own), own.restarts));
            json!({
                "depth": depth,
                "pid": process.pid().to_string(),
                "name": process.display_name(),
                "kind": kind,
                "what": what.unwrap_or_else(|| process.type_name().to_owned()),
                "state": state,
                "activity": info.activity.to_string(),
                "busy_ms": if is_handling_message(info) { info.active_for.as_millis() as u64 } else { 0 },
                "message_queue_len": info.message_queue_len,
                "restarts": restarts,
                "handled": info.received,
                "thread": info.thread_name.as_deref().unwrap_or("?"),
            })
        }
        Node::NotRunning(status) => json!({
            "depth": depth,
            "pid": null,
            "name": status.child.id.as_str(),
            "kind": "process",
            "what": match status.child.state {
                ChildState::Running(_) => "not running".to_owned(), // it started while the snapshot was taken
                state => state.to_string(), // such as: restarting in 1.3 s
            },
            "state": "down",
            "activity": "",
            "busy_ms": 0,
            "message_queue_len": 0,
            "restarts": status.restarts,
            "handled": 0,
            "thread": "",
        }),
        _ => Value::Null,
    }
}

/// Returns `true` if the process is handling a message. Other activity, such as the body of a task, may be
/// long on purpose.
fn is_handling_message(info: &ProcessInfo) -> bool {
    info.state == ProcessState::Running && !matches!(info.activity, Activity::Body | Activity::Waiting)
}

/// Returns a process event as JSON.
pub(crate) fn event_json(event: &ProcessEvent) -> Value {
    let (kind, text) = match &event.kind {
        ProcessEventKind::Started { .. } => ("started", "started".to_owned()),
        ProcessEventKind::Exited { reason } => {
            let reason = reason.to_string();
            ("exited", format!("exited: {}", reason.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
        ProcessEventKind::Restarted { restarts: times, .. } => {
            ("restarted", format!("restarted (restart {times})"))
        }
        ProcessEventKind::GaveUp { why } => ("gave_up", format!("gave up: {why}")),
        ProcessEventKind::BecameZombie => ("zombie", "became a zombie".to_owned()),
        _ => ("reaped", "zombie reaped".to_owned()),
    };
    json!({
        "at": time_of_day(event.at),
        "pid": event.pid.to_string(),
        "name": event.display_name.as_deref().unwrap_or("process"),
        "text": text,
        "kind": kind,
    })
}

/// Returns the entries of a list as JSON.
pub(crate) fn entries(entries: &[Entry]) -> Value {
    let one = |entry: &Entry| {
        json!({
            "id": entry.id, "date": entry.date.to_string(), "title": entry.title.as_str(), "done": entry.done,
        })
    };
    entries.iter().map(one).collect()
}

/// Formats the metrics in the text format of Prometheus.
pub(crate) fn prometheus() -> String {
    let Metrics { uptime, processes, zombies, restarts, requests } = metrics::now();
    format!(
        "# TYPE todo_uptime_seconds gauge\ntodo_uptime_seconds {}\n\
         # TYPE todo_processes gauge\ntodo_processes {processes}\n\
         # TYPE todo_zombies gauge\ntodo_zombies {zombies}\n\
         # TYPE todo_restarts_total counter\ntodo_restarts_total {restarts}\n\
         # TYPE todo_requests_total counter\ntodo_requests_total {requests}\n",
        uptime.as_secs()
    )
}

/// Formats the time of day, in UTC, which the `Z` says (RFC 3339).
fn time_of_day(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
