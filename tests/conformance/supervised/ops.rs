//! The steps of a script: the effect of each, and the text of its result. The driver and its clients run
//! them.

use std::sync::Arc;
use std::time::Duration;

use rethread::gen_server::{CallError, ServerRef, StopError};
use rethread::process;
use rethread::supervisor::{
    ChildCount, ChildError, ChildInfo, ChildState, ChildType, DynamicSupervisorRef, SpecError, SupervisorRef,
};
use rethread::{Pid, StartError};

use super::board::{Board, Role, spec_error};
use super::boss::Boss;
use super::script::{ChildDef, Flags, Kind, SupDef, limit, millis};
use super::server::{Ask, Scripted, Tell, answered};
use super::tree;
use crate::scripted::parse;

/// Runs one step and returns its result as text.
pub(super) fn operate(board: &Arc<Board>, words: &[&str]) -> String {
    let noproc = "noproc".to_owned();
    match words {
        ["sup" | "child" | "server", ..] => define(board, words),
        ["start", label] => started(board, start(board, label, true)),
        ["start_nolink", label] => started(board, start(board, label, false)),
        ["crash", word, reason] => {
            let request = match reason.strip_prefix("error(").and_then(|rest| rest.strip_suffix(')')) {
                Some(error) => format!("error:{error}"),
                None => format!("stop:{reason}"),
            };
            cast_to(board, word, Tell::Do(request)).unwrap_or(noproc)
        }
        ["info", word, text] => cast_to(board, word, Tell::Word((*text).to_owned())).unwrap_or(noproc),
        ["cast", word, request] => match server(board, word) {
            Some(server) => {
                server.cast(Tell::Do((*request).to_owned()));
                ok()
            }
            None => noproc,
        },
        ["call", word, request, time @ ..] => match server(board, word) {
            Some(server) => {
                let answer = server.call_timeout(limit(time), |from| Ask::Do((*request).to_owned(), from));
                answered(board, answer)
            }
            None => noproc,
        },
        ["exit", word, reason] => board.pid(word).map_or(noproc, |pid| {
            process::exit(pid, parse(reason));
            ok()
        }),
        ["sexit", word, reason] => board.pid(word).map_or(noproc, |pid| {
            let reason = parse(reason);
            let unrelated = process::spawn(move || process::exit(pid, reason));
            drop(process::watch(unrelated.expect("a free thread")).wait());
            ok()
        }),
        ["stop", word, reason, time @ ..] => stop(board, word, reason, limit(time)).unwrap_or(noproc),
        ["whereis", name] => board.pid(name).map_or("undefined".to_owned(), |pid| board.attempt_name(pid)),
        ["sleep", ms] => {
            process::sleep(millis(ms));
            ok()
        }
        ["hold", word] => match (board.pid(word), supervisor(board, word)) {
            (Some(pid), Some(supervisor)) => {
                board.clients.hold(pid, supervisor);
                ok()
            }
            _ => noproc,
        },
        ["release", word] => board.pid(word).map_or(noproc, |pid| {
            board.clients.release(pid);
            ok()
        }),
        ["async", client, operation @ ..] => {
            let target = operation.get(1).and_then(|word| board.pid(word));
            let operation: Vec<String> = operation.iter().map(|word| (*word).to_owned()).collect();
            let own = Arc::clone(board);
            board.clients.start(client, target, move || {
                let words: Vec<&str> = operation.iter().map(String::as_str).collect();
                operate(&own, &words)
            });
            ok()
        }
        [operation, word, args @ ..] => {
            match supervisor(board, word) {
                // Unknown processes are detected before any request is sent.
                _ if args.iter().any(|arg| arg.contains(['@', '#']) && board.pid(arg).is_none()) => noproc,
                Some(Boss::Static(supervisor)) => supervise(board, operation, &supervisor, args),
                Some(Boss::Dynamic(supervisor)) => {
                    let crew = board.pid(word).and_then(|pid| board.entry(pid)).map(|entry| entry.label);
                    let crew = crew.as_deref().unwrap_or(word);
                    supervise_dynamic(board, operation, &supervisor, crew, args)
                }
                None => noproc,
            }
        }
        _ => "bad line".to_owned(),
    }
}

fn ok() -> String {
    "ok".to_owned()
}

fn define(board: &Board, words: &[&str]) -> String {
    match words {
        ["sup", label, strategy, options @ ..] => {
            board.define_supervisor(label, SupDef::parse(strategy, options));
            ok()
        }
        ["child", label, spec @ ..] => {
            let child = ChildDef::parse(spec);
            let added =
                child.is_some_and(|child| board.amend(label, |supervisor| supervisor.children.push(child)));
            if added { ok() } else { "bad line".to_owned() }
        }
        ["server", label, flags @ ..] => {
            board.define_server(label, Flags::parse(flags));
            ok()
        }
        _ => "bad line".to_owned(),
    }
}

/// Starts the definition of a label; `None` if there is none.
fn start(board: &Arc<Board>, label: &str, linked: bool) -> Option<Result<Pid, StartError>> {
    if let Some(definition) = board.supervisor(label).filter(|_| linked) {
        return Some(tree::start_supervisor(board, label, definition.kind));
    }
    board.server(label).map(|flags| tree::start_server(board, label, &flags, None, linked))
}

fn started(board: &Board, result: Option<Result<Pid, StartError>>) -> String {
    match result {
        Some(Ok(pid)) => format!("ok {}", board.attempt_name(pid)),
        Some(Err(StartError::Ignored)) => "ignore".to_owned(),
        Some(Err(error)) => format!("error {}", board.start_error(&error)),
        None => "skipped(no such definition)".to_owned(),
    }
}

/// Resolves a word to a server: a name to its holder, otherwise a certain process. `None`: there never was
/// one.
fn server(board: &Board, word: &str) -> Option<ServerRef<Scripted>> {
    if !word.contains(['@', '#']) {
        return Some(ServerRef::from_name(board.name(word)));
    }
    match board.entry(board.pid(word)?)?.role {
        Role::Server(server) => Some(server),
        Role::Supervisor(_) => None,
    }
}

/// Resolves a word to a supervisor, like `server`.
fn supervisor(board: &Board, word: &str) -> Option<Boss> {
    if !word.contains(['@', '#']) {
        let name = board.name(word);
        return Some(match board.supervisor(word).and_then(|definition| definition.kind) {
            Some(Kind::Simple | Kind::Dynamic) => Boss::Dynamic(DynamicSupervisorRef::from_name(name)),
            Some(Kind::Static(_)) | None => Boss::Static(SupervisorRef::from_name(name)),
        });
    }
    match board.entry(board.pid(word)?)?.role {
        Role::Server(_) => None,
        Role::Supervisor(supervisor) => supervisor,
    }
}

/// Casts to a process that must exist, or have existed.
fn cast_to(board: &Board, word: &str, message: Tell) -> Option<String> {
    board.pid(word)?;
    if let Some(server) = server(board, word) {
        server.cast(message);
    }
    Some(ok())
}

fn stop(board: &Board, word: &str, reason: &str, time: Duration) -> Option<String> {
    let holder = board.pid(word).and_then(|pid| board.entry(pid));
    let stopped = if holder.is_some_and(|entry| entry.role.supervises()) {
        supervisor(board, word)?.stop_timeout(parse(reason), time)
    } else {
        server(board, word)?.stop_timeout(parse(reason), time)
    };
    Some(match stopped {
        Ok(()) => ok(),
        Err(StopError::NoProc) => "exit noproc".to_owned(),
        Err(StopError::Timeout) => "exit timeout".to_owned(),
        Err(StopError::Exited(actual)) => format!("exit {}", board.reason(&actual)),
        Err(other) => other.to_string(),
    })
}

fn supervise(board: &Arc<Board>, operation: &str, supervisor: &SupervisorRef, args: &[&str]) -> String {
    match (operation, args) {
        ("start_child", spec) => match ChildDef::parse(spec) {
            Some(spec) => {
                child_started(board, &spec.label, supervisor.start_child(tree::child(board, &spec, None)))
            }
            None => "bad line".to_owned(),
        },
        // A pid is no id of a child, so it is not found.
        ("terminate_child", [id]) => done(board, supervisor.terminate_child(id).map(|()| None)),
        ("restart_child", [id]) => done(board, supervisor.restart_child(id).map(Some)),
        ("delete_child", [id]) => done(board, supervisor.delete_child(id).map(|()| None)),
        ("which_children", []) => match supervisor.which_children() {
            Ok(children) => {
                // Newest first, the order of Erlang.
                let children: Vec<String> =
                    children.iter().rev().map(|child| child_text(board, child)).collect();
                format!("[{}]", children.join(" "))
            }
            Err(error) => board.call_error(&error),
        },
        ("count_children", []) => counted(board, supervisor.count_children()),
        _ => "bad line".to_owned(),
    }
}

/// Performs an operation on a dynamic supervisor, whose own label is `crew`.
fn supervise_dynamic(
    board: &Arc<Board>,
    operation: &str,
    supervisor: &DynamicSupervisorRef,
    crew: &str,
    args: &[&str],
) -> String {
    let definition = board.supervisor(crew);
    let template = definition
        .filter(|definition| matches!(definition.kind, Some(Kind::Simple)))
        .and_then(|definition| definition.children.first().cloned());
    match (operation, args, template) {
        ("start_child", spec, None) => match ChildDef::parse(spec) {
            Some(spec) => match supervisor.start_child(tree::child(board, &spec, Some(crew))) {
                Err(StartError::Ignored) => "ignore".to_owned(),
                started => child_started(board, &spec.label, started),
            },
            None => "bad line".to_owned(),
        },
        ("start_dyn", [label, flags @ ..], Some(template)) => {
            let flags = template.flags.and(Flags::parse(flags));
            let spec = ChildDef { label: (*label).to_owned(), flags, ..template };
            child_started(board, label, supervisor.start_child(tree::child(board, &spec, Some(crew))))
        }
        ("terminate_child", [word], template) if word.contains(['@', '#']) => {
            let Some(pid) = board.pid(word) else { return "noproc".to_owned() };
            match supervisor.terminate_child(pid) {
                // Erlang treats any exited process as a former child.
                Err(ChildError::NotFound) if template.is_some() && !process::is_alive(pid) => ok(),
                result => done(board, result.map(|()| None)),
            }
        }
        // These do not compile here; Erlang reports them at run time.
        ("terminate_child" | "restart_child" | "delete_child", [_], Some(_)) => {
            let reached = supervisor.count_children();
            reached.map_or_else(|error| board.call_error(&error), |_| "error simple_one_for_one".to_owned())
        }
        ("which_children", [], _) => match supervisor.which_children() {
            Ok(children) => {
                let mut children: Vec<String> =
                    children.iter().map(|child| process_and_type(board, child)).collect();
                children.sort();
                format!("[{}]", children.join(" "))
            }
            Err(error) => board.call_error(&error),
        },
        // Erlang counts the template, Elixir the children.
        ("count_children", [], template) => {
            let count = supervisor.count_children();
            let simple = |mut count: ChildCount| {
                count.specs = 1;
                count
            };
            counted(board, if template.is_some() { count.map(simple) } else { count })
        }
        _ => "bad line".to_owned(),
    }
}

fn counted(board: &Board, count: Result<ChildCount, CallError>) -> String {
    match count {
        Ok(ChildCount { specs, active, supervisors, workers, .. }) => {
            format!("specs={specs} active={active} supervisors={supervisors} workers={workers}")
        }
        Err(error) => board.call_error(&error),
    }
}

fn child_started(board: &Board, label: &str, result: Result<Pid, StartError>) -> String {
    match result {
        Ok(pid) => process_text(board, Some(pid)),
        Err(StartError::Ignored) => process_text(board, None),
        // Only its own spec is refused here, not one in the plan of a nested supervisor.
        Err(StartError::BadSpec(error)) if refuses(&error, label) => format!("error {}", spec_error(&error)),
        Err(StartError::NoSupervisor(reason)) => format!("exit {}", board.reason(&reason)),
        Err(error) => format!("error {}", board.start_error(&error)),
    }
}

fn refuses(error: &SpecError, label: &str) -> bool {
    match error {
        SpecError::SignificantPermanent(id) | SpecError::SignificantWithoutAutoShutdown(id) => {
            id.as_str() == label
        }
        _ => false,
    }
}

fn done(board: &Board, result: Result<Option<Pid>, ChildError>) -> String {
    match result {
        Ok(None) => ok(),
        Ok(Some(pid)) => process_text(board, Some(pid)),
        Err(ChildError::Start(StartError::Ignored)) => process_text(board, None),
        Err(error) => board.child_error(&error),
    }
}

fn process_text(board: &Board, pid: Option<Pid>) -> String {
    format!("ok {}", pid.map_or("undefined".to_owned(), |pid| board.attempt_name(pid)))
}

fn child_text(board: &Board, child: &ChildInfo) -> String {
    format!("{}={}", child.id, process_and_type(board, child))
}

fn process_and_type(board: &Board, child: &ChildInfo) -> String {
    let process = match child.state {
        ChildState::Running(pid) => board.attempt_name(pid),
        ChildState::Restarting => "restarting".to_owned(),
        ChildState::Stopped => "undefined".to_owned(),
        state => panic!("unexpected state: {state:?}"),
    };
    let kind = match child.child_type {
        ChildType::Worker => "worker",
        ChildType::Supervisor => "supervisor",
        kind => panic!("unexpected type: {kind:?}"),
    };
    format!("{process}/{kind}")
}
