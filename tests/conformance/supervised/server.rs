//! The scripted server: follows its flags and requests, and logs its callbacks.

use std::sync::Arc;
use std::time::Duration;

use rethread::gen_server::{CallError, Caller, Context, GenServer, Info, InitError, Next, ServerRef};
use rethread::process;
use rethread::{ExitReason, Pid};

use super::board::{Board, Role};
use super::script::{Flags, Refusal, millis};
use crate::scripted::parse;

/// The arguments of a server.
pub(super) struct Part {
    pub(super) board: Arc<Board>,
    pub(super) label: String,
    pub(super) flags: Flags,
    /// The dynamic supervisor of which it is a child.
    pub(super) crew: Option<String>,
}

pub(super) enum Ask {
    /// From the driver; leaves no trace.
    Ping(Caller<()>),
    Do(String, Caller<String>),
}

pub(super) enum Tell {
    Do(String),
    /// A plain message.
    Word(String),
}

pub(super) struct Scripted {
    board: Arc<Board>,
    pid: Pid,
    me: String,
    flags: Flags,
    count: u32,
    held: Vec<Caller<String>>,
    /// It stops because of a request, and not because of its parent.
    by_itself: bool,
    /// The callback that requested the continuation.
    continues: &'static str,
}

impl GenServer for Scripted {
    type Args = Part;
    type Call = Ask;
    type Cast = Tell;

    fn init(args: Part, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let Part { board, label, flags, crew } = args;
        if ["trap", "stubborn", "slow_stop"].iter().any(|flag| flags.has(flag)) {
            cx.trap_exit(true);
        }
        let pid = cx.pid();
        let attempt = board.starting(pid, &label, Role::Server(cx.server_ref()), crew);
        if let Some(time) = flags.millis("slow_init") {
            process::sleep(time);
        }
        match flags.refusal(attempt) {
            Some(Refusal::Fail(reason)) => return Err(InitError::Stop(parse(&reason))),
            Some(Refusal::Raise(reason)) => std::panic::panic_any(reason),
            Some(Refusal::Leave(reason)) => process::exit_with(parse(&reason)),
            Some(Refusal::Ignore) => return Err(InitError::Ignore),
            Some(Refusal::Bad) => return Err(InitError::Stop(garbage())),
            None => {}
        }
        if flags.has("continue") {
            cx.cast(Tell::Word("early".to_owned()));
            cx.after_init(Next::wait().and_continue());
        }
        Ok(Self {
            board,
            pid,
            me: format!("{label}#{attempt}"),
            flags,
            count: 0,
            held: Vec::new(),
            by_itself: false,
            continues: "init",
        })
    }

    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        let (request, from) = match ask {
            Ask::Ping(from) => return from.reply(()),
            Ask::Do(request, from) => (request, from),
        };
        let (verb, arg) = request.split_once(':').unwrap_or((&request, ""));
        match verb {
            "count" => from.reply(self.counted()),
            "sleep" => {
                process::sleep(millis(arg));
                from.reply(self.counted())
            }
            "early" => {
                from.reply_now(self.counted());
                process::sleep(millis(arg));
                Next::wait()
            }
            "hold" => {
                self.held.push(from);
                Next::wait()
            }
            "release" => {
                let number = self.held.len().to_string();
                self.held.drain(..).for_each(|caller| caller.reply_now("released".to_owned()));
                from.reply(number)
            }
            "reply_stop" => {
                self.by_itself = true;
                from.reply("bye".to_owned()).and_stop(parse(arg))
            }
            "kill" => {
                process::exit(self.pid, ExitReason::Kill);
                Next::wait()
            }
            "self" => from.reply(self.asked(&cx.server_ref())),
            "call" => from.reply(self.asked(&ServerRef::from_name(self.board.name(arg)))),
            "continue" => {
                self.leave_early("call", cx);
                from.reply("continuing".to_owned()).and_continue()
            }
            _ => self.either(verb, arg),
        }
    }

    fn handle_cast(&mut self, tell: Tell, cx: &mut Context<Self>) -> Next {
        let request = match tell {
            Tell::Do(request) => request,
            Tell::Word(word) => {
                self.board.note(self.pid, "info", word);
                return Next::wait();
            }
        };
        let (verb, arg) = request.split_once(':').unwrap_or((&request, ""));
        match verb {
            "count" => drop(self.counted()),
            "note" => self.board.note(self.pid, "gets", arg.to_owned()),
            "sleep" => process::sleep(millis(arg)),
            "continue" => {
                self.leave_early("cast", cx);
                return Next::wait().and_continue();
            }
            _ => return self.either(verb, arg),
        }
        Next::wait()
    }

    fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Next {
        let text = match info {
            Info::Exit { reason, .. } => format!("EXIT {}", self.board.reason(&reason)),
            other => format!("{other:?}"),
        };
        self.board.note(self.pid, "info", text);
        Next::wait()
    }

    fn handle_continue(&mut self, _: &mut Context<Self>) -> Next {
        self.board.note(self.pid, "continues", self.continues.to_owned());
        Next::wait()
    }

    fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.board.note(self.pid, "terminates", self.board.reason(reason));
        if let Some(time) = self.flags.millis("slow_stop") {
            process::sleep(time);
        }
        while self.flags.has("stubborn") && *reason == ExitReason::Shutdown && !self.by_itself {
            process::sleep(Duration::from_secs(3600));
        }
        if let Some(reason) = self.flags.get("term_exit") {
            process::exit_with(parse(reason));
        }
    }
}

impl Scripted {
    fn counted(&mut self) -> String {
        self.count += 1;
        format!("{}:{}", self.me, self.count)
    }

    /// Calls another server and returns the result as text.
    fn asked(&self, other: &ServerRef<Self>) -> String {
        let answer = other.call_infinity(|from| Ask::Do("count".to_owned(), from));
        format!("({})", answered(&self.board, answer))
    }

    fn leave_early(&mut self, callback: &'static str, cx: &Context<Self>) {
        self.continues = callback;
        cx.cast(Tell::Word("early".to_owned()));
    }

    /// Handles the requests that end the server, as a call or as a cast.
    fn either(&mut self, verb: &str, arg: &str) -> Next {
        match verb {
            "stop" => {
                self.by_itself = true;
                Next::stop(parse(arg))
            }
            "error" => std::panic::panic_any(arg.to_owned()),
            "exit" => process::exit_with(parse(arg)),
            // A run-time error in Erlang, a compile-time error here.
            "bad" => Next::stop(garbage()),
            other => panic!("there is no request {other}"),
        }
    }
}

/// The state is dropped once the exit is decided, before any other process is notified.
impl Drop for Scripted {
    fn drop(&mut self) {
        self.board.note_exit(self.pid);
    }
}

/// Returns the result of a call as text.
pub(super) fn answered(board: &Board, answer: Result<String, CallError>) -> String {
    match answer {
        Ok(answer) => format!("ok {answer}"),
        Err(error) => board.call_error(&error),
    }
}

fn garbage() -> ExitReason {
    ExitReason::new("bad_return_value(garbage)")
}
