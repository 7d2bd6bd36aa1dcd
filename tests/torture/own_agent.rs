//! Private agents, used by one client only: each function, and each exit, has exactly one right outcome.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rethread::StartError;
use rethread::agent::{Agent, AgentRef};
use rethread::gen_server::CallError;
use rethread::gen_server::DEFAULT_CALL_TIMEOUT;
use rethread::prelude::*;
use rethread::process::Event;

use crate::agents::PANIC;
use crate::client::Client;
use crate::hand::SLACK;
use crate::reasons;

/// Not `Send`, so it can only be created, changed and dropped inside the agent.
type Value = Rc<Vec<u64>>;
type Private = AgentRef<Value>;

fn push(value: &mut Value, n: u64) {
    Rc::make_mut(value).push(n);
}

impl Client<'_> {
    pub(crate) fn private_agent(&mut self) {
        let (first, linked) = (self.hand.number(), self.hand.dice.one_in(2));
        if self.hand.dice.one_in(8) {
            return self.no_agent(first, linked);
        }
        let begin = move || Rc::new(vec![first]);
        let agent = match if linked { Agent::start_link(begin) } else { Agent::start(begin) } {
            Ok(agent) => agent,
            Err(error) => return self.no_private_agent(&error),
        };
        let pid = agent.whereis().unwrap_or(self.hand.books.exited_pid);
        let mut model = vec![first];
        for _ in 0..self.hand.dice.below(20) {
            self.change_exactly(&agent, &mut model);
        }
        let found = agent.get_and_update_timeout(SLACK, |value| Vec::clone(value));
        if found.as_ref() != Ok(&model) {
            self.breach(format!("{pid} was to be {model:?} and is {found:?}"));
        }
        let reason = self.end_exactly(&agent, pid);
        let end = process::watch(pid).wait_timeout(SLACK); // callers see the exit before the cleanup completes
        let exits = self.take(|event| matches!(event, Event::Exit { from, .. } if *from == pid));
        let received =
            |event: &Event<u64>| matches!(event, Event::Exit { reason: received, .. } if *received == reason);
        let right = exits.len() == usize::from(linked) && exits.iter().all(received);
        agent.cast(|value| push(value, 0)); // sending to an exited agent is no error
        let after = agent.get(|value| value.len());
        if end.is_none() || !right || !matches!(after, Err(CallError::NoProc { .. })) {
            self.breach(format!(
                "{pid}, linked: {linked}, ended with {reason}; received {exits:?}, then {after:?}"
            ));
        }
    }

    /// Starts an agent whose first value cannot be created: the error says why, and no message does.
    fn no_agent(&mut self, n: u64, linked: bool) {
        let text = format!("no start of {n}");
        let odd =
            |reason: &ExitReason| matches!(reason, ExitReason::Panic(report) if report.message() == text);
        let said = text.clone();
        let begin = move || -> Value { panic!("{said}") };
        match if linked { Agent::start_link(begin) } else { Agent::start(begin) } {
            Err(StartError::Failed(reason)) if odd(&reason) => {}
            Err(error) => self.no_private_agent(&error),
            Ok(agent) => self.breach(format!("an agent without a value: {agent:?}")),
        }
        let received = self.take(|event| matches!(event, Event::Exit { reason, .. } if odd(reason)));
        if !received.is_empty() {
            self.breach(format!("an agent that did not start sent its exit: {received:?}"));
        }
    }

    fn no_private_agent(&mut self, error: &StartError) {
        match error {
            StartError::SystemLimit { .. } | StartError::Thread(_) => self.hand.no_start(error),
            error => self.breach(format!("a private agent did not start: {error}")),
        }
    }

    /// Performs one operation on the agent and on the model, and compares the results.
    fn change_exactly(&mut self, agent: &Private, model: &mut Vec<u64>) {
        let (n, kind, time) = (self.hand.number(), self.hand.dice.below(8), self.hand.dice.up_to_ms(2));
        let limit = if kind == 4 { time / 2 } else { DEFAULT_CALL_TIMEOUT };
        let began = Instant::now();
        let outcome = match kind {
            0 | 1 => {
                model.push(n);
                agent.cast(move |value| push(value, n));
                Ok(true)
            }
            2 => {
                model.push(n);
                agent.update(move |value| push(value, n)).map(|()| true)
            }
            3 => {
                let last = model.pop();
                agent.get_and_update(|value| Rc::make_mut(value).pop()).map(|popped| popped == last)
            }
            4 => {
                model.push(n);
                let slowly = move |value: &mut Value| {
                    process::sleep(time);
                    push(value, n);
                    value.len()
                };
                agent.get_and_update_timeout(limit, slowly).map(|length| length == model.len())
            }
            5 => {
                let this = agent.clone();
                let inner = agent.get(move |_| this.get(|value| value.len()));
                inner.map(|inner| matches!(inner, Err(CallError::CallingSelf { .. })))
            }
            _ => agent.get(|value| Vec::clone(value)).map(|found| found == *model),
        };
        let right = match &outcome {
            Ok(right) => *right,
            // It takes effect despite the timeout.
            Err(CallError::Timeout { after, .. }) => *after == limit && began.elapsed() >= limit,
            Err(_) => false,
        };
        if !right {
            self.breach(format!("{agent:?}, {model:?}, was asked {kind}: {outcome:?}"));
        }
    }

    /// Ends the agent in one of several ways, and checks that callers receive the reason.
    fn end_exactly(&mut self, agent: &Private, pid: Pid) -> ExitReason {
        let (odd, n) = (ExitReason::new("odd"), self.hand.number());
        let panicked =
            |reason: &ExitReason| matches!(reason, ExitReason::Panic(report) if report.message() == PANIC);
        let thrown = |reason: &ExitReason| matches!(reason, ExitReason::NoCatch(_));
        let kind = self.hand.dice.below(7);
        let watch = process::watch(pid);
        let failed = match kind {
            0 => agent.update(|_| panic!("{PANIC}")).err(),
            1 => agent.update(|_| process::exit_with("odd")).err(),
            2 => agent.update(move |_| process::throw(n)).err(),
            3 => {
                process::exit(pid, ExitReason::Kill);
                None
            }
            4 => {
                agent.cast(|_| panic!("{PANIC}"));
                None
            }
            5 => agent.stop().err().map(|_| CallError::Exiting), // it has to succeed
            _ => agent.stop_timeout(reasons::odd_shutdown(), SLACK).err().map(|_| CallError::Exiting),
        };
        let reason = watch.wait_timeout(SLACK).unwrap_or_else(|| {
            process::exit(pid, ExitReason::Kill); // otherwise the loop would wait for it again
            ExitReason::Timeout
        });
        let right = match kind {
            0 | 4 => panicked(&reason),
            1 => reason == odd,
            2 => thrown(&reason),
            3 => reason == ExitReason::Killed,
            5 => reason == ExitReason::Normal,
            _ => reason == reasons::odd_shutdown(),
        };
        let received = match (&failed, kind) {
            (Some(CallError::Exited { reason: received, .. }), 0..3) => *received == reason,
            (Some(CallError::Timeout { after, .. }), 0..3) => *after == DEFAULT_CALL_TIMEOUT,
            (failed, 3..) => failed.is_none(),
            _ => false,
        };
        if !right || !received {
            self.breach(format!(
                "{pid}, ended by {kind}, ended with {reason}, and its caller received {failed:?}"
            ));
        }
        reason
    }

    /// Runs an agent under its own supervisor: each incarnation starts with the first value.
    pub(crate) fn supervised_agent(&mut self) {
        let (first, number) = (self.hand.number(), self.hand.books.private_place());
        let name = AgentRef::<u64>::from_name(format!("{}agent {number}", self.hand.books.prefix()));
        let plan = Supervisor::one_for_one().max_restarts(1000, Duration::from_secs(5));
        let system = match plan.child(Agent::child_spec(move || first).name(name.clone())).start_link() {
            Ok(system) => system,
            Err(error) => return self.hand.no_system(&error),
        };
        let mut before = None;
        for round in 0..1 + self.hand.dice.below(4) {
            let Some(pid) = self.comes_back(&system, || name.whereis(), before) else { break };
            let (changes, kind) = (self.hand.dice.below(5) as u64, self.hand.dice.below(3));
            let found = name.get_and_update_timeout(SLACK, |n| *n);
            let add = |_| name.get_and_update_timeout(SLACK, |n| std::mem::replace(n, *n + 1));
            let changed = (0..changes).map(add);
            if found != Ok(first) || !changed.eq((first..first + changes).map(Ok)) {
                self.breach(format!("{pid}, life {round}, began with {found:?}, not with {first}"));
            }
            match kind {
                0 => process::exit(pid, ExitReason::Kill),
                1 => name.cast(|_| process::exit_with(ExitReason::Normal)), // it is permanent
                _ => drop(name.update(|_| panic!("{PANIC}"))),
            }
            if process::watch(pid).wait_timeout(SLACK).is_none() {
                self.breach(format!("{pid} does not end of {kind}"));
            }
            before = Some(pid);
        }
        let _ = system.stop();
        if name.whereis().is_some() {
            self.breach(format!("{name} is there without its supervisor"));
        }
    }

    /// Waits for the next incarnation of a supervised process; there is none only if the process limit
    /// makes the supervisor give up.
    pub(crate) fn comes_back(
        &mut self,
        system: &SupervisorRef,
        find: impl Fn() -> Option<Pid>,
        before: Option<Pid>,
    ) -> Option<Pid> {
        let (began, watch) = (Instant::now(), system.watch());
        while began.elapsed() < SLACK {
            let found = find();
            if found.is_some() && found != before {
                return found;
            }
            if watch.wait_timeout(Duration::from_micros(200)).is_some() {
                if !self.hand.books.is_narrow() {
                    self.breach(format!("{system:?} gave up, after {before:?}"));
                }
                return None;
            }
        }
        self.breach(format!("{before:?} does not come back"));
        None
    }
}
