//! Links and monitors: one `Exit` a link, one `Down` a monitor, none once they are removed, each with the
//! right reason.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rethread::prelude::*;
use rethread::process::{Address, Event};

use crate::client::Client;
use crate::hand::SLACK;
use crate::reasons;

/// Trapping process, exited process and reason.
type Trapped = Arc<Mutex<Vec<(Pid, ExitReason)>>>;

impl Client<'_> {
    pub(crate) fn monitor(&mut self) {
        let Some(pid) = self.hand.any_server().whereis() else { return };
        let monitor = process::monitor(pid);
        let reasons = [ExitReason::Kill, ExitReason::new("monitored"), reasons::odd_shutdown()];
        let reason = self.hand.dice.pick(&reasons).clone();
        process::exit(pid, reason.clone());
        let mine =
            |event: &Event<u64>| matches!(event, Event::Down { monitor: fired, .. } if *fired == monitor);
        // A process that traps exits may keep running.
        let limit = if reason == ExitReason::Kill { SLACK } else { Duration::from_millis(5) };
        match self.inbox.recv_where_timeout(limit, mine) {
            Some(Event::Down { reason, .. }) => {
                if !self.take(mine).is_empty() {
                    self.breach(format!("two Downs for one monitor of {pid}"));
                }
                if !reasons::can_be(&reason) {
                    self.breach(format!("{pid} ended with {reason}, which was never sent"));
                }
            }
            Some(_) => unreachable!("nothing else is wanted"),
            None if reason == ExitReason::Kill => self.breach(format!("no Down for {pid}, which was killed")),
            None => drop(process::demonitor_flush(monitor)),
        }
        self.over.insert(monitor);
    }

    pub(crate) fn demonitor(&mut self) {
        let server = self.hand.any_server();
        let Some(pid) = server.whereis() else { return };
        let by_name = self.hand.dice.one_in(3);
        let monitor = if by_name { server.monitor() } else { process::monitor(pid) };
        if self.hand.dice.one_in(2) {
            process::exit(pid, ExitReason::Kill);
        }
        process::demonitor_flush(monitor);
        self.over.insert(monitor);
    }

    /// Checks that no `Exit` arrives after `unlink`.
    pub(crate) fn unlink(&mut self) {
        let Some(pid) = self.hand.any_server().whereis() else { return };
        if process::link(pid).is_err() {
            return;
        }
        let exiting = self.hand.dice.one_in(2);
        if exiting {
            process::exit(pid, ExitReason::Kill);
        }
        process::unlink(pid);
        // An event that arrived before stays in the mailbox.
        self.take(|event| matches!(event, Event::Exit { from, .. } if *from == pid));
        process::exit(pid, ExitReason::Kill);
        self.hand.exits(pid);
        if !self.take(|event| matches!(event, Event::Exit { from, .. } if *from == pid)).is_empty() {
            self.breach(format!("an Exit of {pid} after the unlink"));
        }
    }

    /// Checks that one link yields one `Exit`, however often it was made.
    pub(crate) fn bind(&mut self) {
        let Some(pid) = self.hand.any_server().whereis() else { return };
        let from_it = move |event: &Event<u64>| matches!(event, Event::Exit { from, .. } if *from == pid);
        process::unlink(pid);
        self.take(from_it);
        let times = 1 + self.hand.dice.below(3);
        let alive = process::is_alive(pid);
        for _ in 0..times {
            let _ = process::link(pid);
        }
        process::exit(pid, ExitReason::Kill);
        self.hand.exits(pid);
        // A monitor set during the exit cleanup may fire before a link made meanwhile is answered.
        let mut exits: Vec<_> = self.inbox.recv_where_timeout(SLACK, from_it).into_iter().collect();
        exits.extend(self.take(from_it));
        let noproc = exits
            .iter()
            .filter(|exit| matches!(exit, Event::Exit { reason, .. } if *reason == ExitReason::NoProc));
        // Each link with an exited process is answered, too.
        let (answers, ends) = (noproc.clone().count(), exits.len() - noproc.count());
        if exits.is_empty() || ends > 1 || ends + answers > times {
            self.breach(format!(
                "{} Exits of {pid} after {times} links, alive: {alive}: {exits:?}",
                exits.len()
            ));
        }
    }

    /// Links processes in a row, one of which may trap exits, and checks that the reason of one exit
    /// travels up to that process, and no further.
    pub(crate) fn chain(&mut self) {
        let length = 2 + self.hand.dice.below(5);
        let trapper = self.hand.dice.below(length * 2); // possibly none
        let trapped = Trapped::default();
        let mut row: Vec<Address<u64>> = Vec::new();
        for at in 0..length {
            let before = row.last().map(Address::pid);
            let again = self.hand.dice.one_in(2);
            let notes = (at == trapper).then(|| Arc::clone(&trapped));
            let ready = (self.inbox.address(), self.hand.number());
            let Some(next) = self.helper::<u64>(move |inbox| {
                process::trap_exit(notes.is_some());
                for pid in before.into_iter().chain(before.filter(|_| again)) {
                    let _ = process::link(pid);
                }
                ready.0.send(ready.1);
                loop {
                    match inbox.recv() {
                        Event::Exit { from, reason } => {
                            notes.iter().for_each(|notes| notes.lock().push((from, reason.clone())));
                        }
                        Event::Message(_) => return,
                        Event::Down { .. } => {}
                        event => panic!("unexpected event: {event:?}"),
                    }
                }
            }) else {
                break;
            };
            row.push(next);
            let linked = |event: &Event<u64>| matches!(event, Event::Message(n) if *n == ready.1);
            if self.inbox.recv_where_timeout(SLACK, linked).is_none() {
                self.breach("a helper does not begin".into());
            }
        }
        if row.is_empty() {
            return;
        }
        let first = self.hand.dice.below(row.len());
        let sent = if self.hand.dice.one_in(2) { ExitReason::Kill } else { ExitReason::new("chain") };
        let traps = first == trapper && sent != ExitReason::Kill;
        let watches: Vec<_> = row.iter().map(process::watch).collect();
        process::exit(&row[first], sent.clone());
        let passed = if sent == ExitReason::Kill { ExitReason::Killed } else { sent };
        let goes_on = |at: usize| {
            let way = first.min(at)..=first.max(at);
            traps || (at != first && trapper != first && way.contains(&trapper))
        };
        // First wait for the processes that exit: by then the trapping process has received the exit.
        let (lasting, exiting): (Vec<_>, Vec<_>) = (0..row.len()).partition(|at| goes_on(*at));
        for at in exiting.into_iter().chain(lasting) {
            let expected = if goes_on(at) { ExitReason::Normal } else { passed.clone() };
            if goes_on(at) {
                row[at].send(0); // exits now
            }
            let end = watches[at].wait_timeout(SLACK);
            if end.as_ref() != Some(&expected) {
                self.breach(format!("link {at} of {length}, {first} got {passed}, {trapper} traps: {end:?}"));
            }
        }
        let me = self.inbox.pid();
        let neighbours =
            [trapper.checked_sub(1), Some(trapper + 1)].into_iter().flatten().filter(|at| *at < row.len());
        let mut due: Vec<(Pid, ExitReason)> = if traps {
            vec![(me, passed.clone())]
        } else if trapper < row.len() && trapper != first {
            neighbours.filter(|at| !goes_on(*at)).map(|at| (row[at].pid(), passed.clone())).collect()
        } else {
            Vec::new()
        };
        let mut found = trapped.lock().clone();
        // The processes beyond the trapping one were ended by the test, before or after it.
        found.retain(|(_, reason)| *reason != ExitReason::Normal);
        due.sort_by_key(|(pid, _)| *pid);
        found.sort_by_key(|(pid, _)| *pid);
        if found != due {
            self.breach(format!("the trapping process received {found:?}, expected {due:?}"));
        }
    }
}
