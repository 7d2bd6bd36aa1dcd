//! A client: a process that performs random operations on the system, one after the other. The operations
//! are in the other files of this folder.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rethread::MonitorRef;
use rethread::prelude::*;
use rethread::process::{Address, Builder, Event, Inbox, SpawnError, Watch};

use crate::hand::Hand;

pub(crate) struct Client<'a> {
    pub(crate) inbox: &'a mut Inbox<u64>,
    pub(crate) hand: Hand,
    /// Monitors that have fired or were removed: no `Down` may arrive for them.
    pub(crate) over: HashSet<MonitorRef>,
    /// Messages that must not arrive, or not a second time.
    pub(crate) strays: HashSet<u64>,
}

/// Starts a client that performs a few hundred operations.
pub(crate) fn start(mut hand: Hand) -> Result<Watch, SpawnError> {
    let times = 50 + hand.dice.below(250);
    let label = format!("{}client", hand.books.prefix());
    let client =
        Builder::new().label(label).spawn_receiver(move |inbox| Client::new(inbox, hand).run(times))?;
    Ok(process::watch(client))
}

impl<'a> Client<'a> {
    pub(crate) fn new(inbox: &'a mut Inbox<u64>, hand: Hand) -> Self {
        Self { inbox, hand, over: HashSet::new(), strays: HashSet::new() }
    }

    pub(crate) fn run(mut self, times: usize) {
        process::trap_exit(true);
        for _ in 0..times {
            // Forked, so that the outcome of one operation does not change the choice of the next.
            let next = self.hand.dice.fork();
            self.run_operations();
            self.hand.dice = next;
        }
        self.look();
    }

    fn run_operations(&mut self) {
        match self.hand.dice.below(120) {
            0..20 => self.hand.call(),
            20..28 => self.hand.flood(),
            28..30 => self.hand.crash(),
            30..35 => self.hand.kill_and_send(),
            35..38 => self.hand.tie(),
            38..40 => self.hand.bomb(),
            40 => self.hand.kill_supervisor(),
            41..47 => self.hand.take_over(),
            47..51 => self.monitor(),
            51..53 => self.demonitor(),
            53..56 => self.unlink(),
            56..59 => self.bind(),
            59..61 => self.chain(),
            61..64 => self.burst(),
            64..66 => self.outlived(),
            66..69 => self.by_name(),
            69..73 => self.hold_a_name(),
            73 => self.steal_a_name(),
            74..77 => self.hold_a_key(),
            77..79 => self.subscribe(),
            79..81 => self.exit_with_keys(),
            81..83 => self.lock(),
            83..86 => self.alias(),
            86..90 => self.bring_a_child(),
            90..92 => self.task(),
            92..94 => self.pooled_task(),
            94 => self.stream(),
            95..98 => self.private_server(),
            98 => self.look(),
            99..104 => self.hand.ask_an_agent(),
            104..106 => self.private_agent(),
            106 => self.supervised_agent(),
            107..111 => self.hand.ask_a_partition(),
            111 => self.private_partitions(),
            112..114 => self.hand.play_with_an_app(),
            114 => self.private_app(),
            115 => self.start_an_app_and_exit(),
            116 => self.hand.restart_a_listening_server(),
            117..119 => self.check_exact_events(),
            _ => process::sleep(self.hand.dice.up_to_ms(3)),
        }
    }

    pub(crate) fn breach(&self, what: String) {
        self.hand.breach(what);
    }

    /// Starts a plain process that runs `body`; the caller ends it.
    pub(crate) fn helper<M: Send + 'static>(
        &mut self,
        body: impl FnOnce(&mut Inbox<M>) + Send + 'static,
    ) -> Option<Address<M>> {
        let label = format!("{}helper", self.hand.books.prefix());
        let plan = Builder::new().label(label).kill_grace(Duration::from_millis(50));
        plan.spawn_receiver(body).map_err(|error| self.hand.no_spawn(&error)).ok()
    }

    /// Removes the matching events from the mailbox and returns them.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Event<u64>) -> bool) -> Vec<Event<u64>> {
        let mut taken = Vec::new();
        while let Some(event) = self.inbox.recv_where_timeout(Duration::ZERO, &wanted) {
            taken.push(event);
        }
        taken
    }

    /// Handles the events that no operation waits for.
    fn look(&mut self) {
        while let Some(event) = self.inbox.recv_timeout(Duration::ZERO) {
            match event {
                Event::Down { monitor, target, .. } if self.over.contains(&monitor) => {
                    self.breach(format!("a Down of {target} of a monitor that is over"));
                }
                Event::Message(n) if self.hand.own(n) && !self.strays.contains(&n) => {
                    self.breach(format!("the message {n} came late, or twice"));
                }
                // Sent by another client to the name that this one holds, or one of our own that is no
                // longer awaited.
                Event::Message(_) | Event::Down { .. } | Event::Exit { .. } => {}
                event => panic!("unexpected event: {event:?}"),
            }
        }
    }

    /// Waits until a helper has exited, or reports a violation.
    pub(crate) fn gone(&self, helper: Pid) {
        self.hand.exits(helper);
    }

    pub(crate) fn books(&self) -> Arc<crate::books::Books> {
        Arc::clone(&self.hand.books)
    }
}
