//! The system as data for whoever looks from outside: the tree and the news as JSON, the numbers for Prometheus. `web`
//! sends it, `watch` draws it.

use std::time::{SystemTime, UNIX_EPOCH};

use rethread::ChildState;
use rethread::observer::{self, Branch, Change, LifeEvent, Node};
use rethread::process::{Activity, Kind, ProcessInfo, ProcessState};
use serde_json::{Value, json};

use super::list::Entry;
use super::metrics::{self, Metrics};
use super::shape::Shape;
use super::storm::Ledger;
use super::tree;

/// The tree and the numbers. What is above the system is left out.
pub(crate) fn tree(shape: Shape, allow_kill: bool, storm: Ledger) -> Value {
    let snapshot = observer::snapshot();
    let branches = snapshot.tree();
    let all: Vec<&Branch<'_>> = tree::of_the_system(&branches).collect();
    let above = all.iter().map(|branch| branch.depth).min().unwrap_or(0);
    let Metrics { uptime, processes, zombies, restarts, requests } = metrics::now();
    json!({
        "at": clock(snapshot.at),
        "shape": shape.name(),
        "uptime": uptime.as_secs(),
        "processes": processes,
        "zombies": zombies,
        "restarts": restarts,
        "requests": requests,
        "allow_kill": allow_kill,
        "storm": {
            "on": storm.on, "acknowledged": storm.acknowledged, "found": storm.found, "lost": storm.lost,
        },
        "tree": all.iter().map(|branch| row(branch, branch.depth - above)).collect::<Vec<_>>(),
    })
}

fn row(branch: &Branch<'_>, depth: usize) -> Value {
    match branch.node {
        Node::Process { process, restarts } => {
            let info = &process.info;
            let state = match &info.state {
                ProcessState::Running => "running",
                ProcessState::Waiting => "waiting",
                ProcessState::Exiting(_) => "exiting",
                _ => "zombie",
            };
            let kind = match info.kind {
                Kind::Supervisor => "supervisor",
                Kind::Server => "server",
                Kind::Task => "task",
                _ => "process",
            };
            let what =
                process.supervision.as_ref().map(|own| format!("{}, {}", tree::strategy(own), own.restarts));
            json!({
                "depth": depth,
                "pid": process.pid().to_string(),
                "name": process.title(),
                "kind": kind,
                "what": what.unwrap_or_else(|| process.module().to_owned()),
                "state": state,
                "activity": info.activity.to_string(),
                "busy_ms": if in_a_handler(info) { info.active_for.as_millis() as u64 } else { 0 },
                "mail": info.mailbox_len,
                "restarts": restarts,
                "handled": info.received,
                "thread": info.thread_name.as_deref().unwrap_or("?"),
            })
        }
        Node::Down(row) => json!({
            "depth": depth,
            "pid": null,
            "name": row.child.id.as_str(),
            "kind": "process",
            "what": if row.child.state == ChildState::Restarting { "to be started again" } else { "not running" },
            "state": "down",
            "activity": "",
            "busy_ms": 0,
            "mail": 0,
            "restarts": row.restarts,
            "handled": 0,
            "thread": "",
        }),
        _ => Value::Null,
    }
}

/// Whether it is at one certain message: whatever else runs, a loop of its own perhaps, may run for ever.
fn in_a_handler(info: &ProcessInfo) -> bool {
    info.state == ProcessState::Running && !matches!(info.activity, Activity::Body | Activity::Waiting)
}

/// One piece of news.
pub(crate) fn life(event: &LifeEvent) -> Value {
    let (kind, text) = match &event.change {
        Change::Started { .. } => ("started", "started".to_owned()),
        Change::Exited { reason } => {
            let reason = reason.to_string();
            ("exited", format!("exited: {}", reason.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
        Change::Restarted { times, .. } => {
            ("restarted", format!("takes the place of the last one, again x{times}"))
        }
        Change::GaveUp { why } => ("gave_up", format!("gave up: {why}")),
        Change::BecameZombie => ("zombie", "did not end in time: a zombie".to_owned()),
        _ => ("reaped", "ended after all, was a zombie".to_owned()),
    };
    json!({
        "at": clock(event.at),
        "pid": event.pid.to_string(),
        "name": event.name.as_deref().unwrap_or("process"),
        "text": text,
        "kind": kind,
    })
}

/// The entries of a list.
pub(crate) fn entries(entries: &[Entry]) -> Value {
    let one = |entry: &Entry| {
        json!({
            "id": entry.id, "date": entry.date.to_string(), "title": entry.title.as_str(), "done": entry.done,
        })
    };
    entries.iter().map(one).collect()
}

/// The numbers in the text format of Prometheus.
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

/// The time of day, in UTC.
fn clock(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
