//! Aliases: a message sent through a deactivated alias never arrives. Scenarios MN-19 to MN-23.

use std::time::Duration;

use crate::support::{Gate, attached, down, eventually, message, sleeper};
use rethread::process::{self, Alias, AliasMode, Event, Inbox};
use rethread::{ExitReason, MonitorRef, Pid};

/// A process that sends numbers through an alias on request, and confirms each.
struct Talker(process::Address<(Alias<u32>, u32, process::Address<&'static str>)>);

impl Talker {
    fn new() -> Self {
        let body = |inbox: &mut Inbox<(Alias<u32>, u32, process::Address<&'static str>)>| loop {
            let (alias, number, done) = message(inbox);
            alias.send(number);
            done.send("sent");
        };
        Self(process::spawn_receiver(body).expect("a free thread"))
    }

    /// Sends a number through an alias and waits for the confirmation.
    fn say(&self, alias: &Alias<u32>, number: u32) {
        let talker = self.0.clone();
        let alias = alias.clone();
        let waiting = process::spawn_receiver::<&'static str>(move |inbox| {
            talker.send((alias, number, inbox.address()));
            inbox.recv();
        });
        process::watch(waiting.expect("a free thread")).wait();
    }
}

fn monitored(inbox: &Inbox<u32>, mode: AliasMode) -> (Pid, MonitorRef, Alias<u32>) {
    let target = sleeper();
    let (monitor, alias) = inbox.monitor_alias(&target, mode);
    (target.pid(), monitor, alias)
}

// scenario: MN-19
#[test]
fn an_alias_ends_when_its_monitor_is_removed() {
    attached(|inbox: &mut Inbox<u32>| {
        let talker = Talker::new();
        let (_, monitor, alias) = monitored(inbox, AliasMode::Demonitor);
        talker.say(&alias, 1);
        assert!(process::demonitor(monitor));
        talker.say(&alias, 2);
        assert_eq!(message(inbox), 1);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-20
#[test]
fn an_alias_ends_when_its_monitor_fires() {
    attached(|inbox: &mut Inbox<u32>| {
        let talker = Talker::new();
        let (target, monitor, alias) = monitored(inbox, AliasMode::Demonitor);
        process::exit(target, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
        talker.say(&alias, 1);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-22
#[test]
fn an_explicit_alias_survives_the_down() {
    attached(|inbox: &mut Inbox<u32>| {
        let talker = Talker::new();
        let (target, monitor, alias) = monitored(inbox, AliasMode::Explicit);
        process::exit(target, "gone");
        assert_eq!(down(inbox), (monitor, "gone".into()));
        talker.say(&alias, 1);
        assert_eq!(message(inbox), 1);
        assert!(alias.unalias());
        assert!(!alias.unalias());
        talker.say(&alias, 2);
        assert_eq!(inbox.try_recv(), None);
    });
}

// scenario: MN-23
#[test]
fn a_removed_alias_takes_no_message_and_leaves_other_monitors_alone() {
    attached(|inbox: &mut Inbox<u32>| {
        let (target, monitor, alias) = monitored(inbox, AliasMode::ReplyDemonitor);
        let second = process::monitor(target);
        assert!(process::demonitor_flush(monitor));
        Talker::new().say(&alias, 1);
        process::exit(target, "done");
        assert_eq!(down(inbox), (second, "done".into()));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn the_first_message_through_a_reply_alias_removes_alias_and_monitor() {
    attached(|inbox: &mut Inbox<u32>| {
        let talker = Talker::new();
        let (target, monitor, alias) = monitored(inbox, AliasMode::ReplyDemonitor);
        talker.say(&alias, 1);
        talker.say(&alias, 2);
        assert_eq!(inbox.recv(), Event::Message(1));
        assert!(!process::demonitor(monitor));
        assert_eq!(process::info(target).map(|info| info.monitored_by), Some(vec![]));
        assert_eq!(inbox.try_recv(), None);
    });
}

#[test]
fn a_message_of_a_zombie_does_not_use_up_a_reply_alias() {
    attached(|inbox: &mut Inbox<u32>| {
        let (target, monitor, alias) = monitored(inbox, AliasMode::ReplyDemonitor);
        let (begun, gate) = (Gate::new(), Gate::new());
        let (started_gate, wait, own) = (begun.clone(), gate.clone(), alias.clone());
        let zombie = process::Builder::new().kill_grace(Duration::from_millis(1)).spawn(move || {
            struct Speaks(Alias<u32>);
            impl Drop for Speaks {
                fn drop(&mut self) {
                    self.0.send(1);
                }
            }
            let _last = Speaks(own);
            started_gate.open();
            wait.pass();
            process::checkpoint();
        });
        let zombie = zombie.expect("a free thread");
        begun.pass();
        let watch = process::watch(zombie);
        process::exit(zombie, ExitReason::Kill);
        watch.wait();
        gate.open();
        eventually("it is reaped", || process::zombies().iter().all(|other| other.pid != zombie));
        assert_eq!(inbox.try_recv(), None);
        alias.send(2);
        assert_eq!(message(inbox), 2);
        assert!(!process::demonitor(monitor), "gone with the first answer");
        process::exit(target, ExitReason::Kill);
    });
}

#[test]
fn a_reply_alias_that_was_switched_off_by_hand_leaves_its_monitor() {
    attached(|inbox: &mut Inbox<u32>| {
        let (target, monitor, alias) = monitored(inbox, AliasMode::ReplyDemonitor);
        assert!(alias.unalias());
        alias.send(1);
        assert_eq!(inbox.try_recv(), None);
        process::exit(target, ExitReason::Kill);
        assert_eq!(down(inbox), (monitor, ExitReason::Killed));
    });
}
