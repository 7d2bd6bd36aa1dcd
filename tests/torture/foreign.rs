//! Foreign threads: one that attaches as a process and is a client, and one that never does.

use std::thread::{self, JoinHandle};

use rethread::prelude::*;
use rethread::process::{Inbox, LinkError, NameError};

use crate::client::Client;
use crate::hand::{Hand, SLACK};
use crate::keys::ROOMS;
use crate::naming::WILD;

/// Starts such a thread; `None` if the system refuses.
pub(crate) fn start(mut hand: Hand) -> Option<JoinHandle<()>> {
    let times = 50 + hand.dice.below(150);
    let body = move || if hand.dice.one_in(2) { attached(hand, times) } else { unattached(hand, times) };
    thread::Builder::new().name("foreign".into()).spawn(body).ok()
}

fn attached(hand: Hand, times: usize) {
    let books = std::sync::Arc::clone(&hand.books);
    let ended = process::attach_receiver(|inbox: &mut Inbox<u64>| Client::new(inbox, hand).run(times));
    match ended {
        Ok(()) => {}
        Err(process::AttachError::Spawn(rethread::process::SpawnError::SystemLimit { limit })) => {
            books.refused(limit);
        }
        Err(error) => books.breach(format!("an attached client ended: {error}")),
    }
}

fn unattached(mut hand: Hand, times: usize) {
    for _ in 0..times {
        let next = hand.dice.fork();
        match hand.dice.below(48) {
            0..16 => hand.call(),
            16..20 => hand.flood(),
            20 => hand.crash(),
            21..26 => hand.kill_and_send(),
            26..28 => hand.tie(),
            28 => hand.bomb(),
            29..31 => hand.take_over(),
            31 => hand.kill_supervisor(),
            32 => drop(hand.any_server().whereis_timeout(hand.dice.up_to_ms(2))),
            33 => {
                let n = hand.number();
                let timer = process::send_after(hand.dice.up_to_ms(2), *hand.dice.pick(&WILD), n);
                if hand.dice.one_in(2) {
                    process::cancel_timer(timer);
                }
            }
            34 => {
                let watch = hand.any_server().watch();
                watch.wait_timeout(hand.dice.up_to_ms(2));
            }
            35 => task(&mut hand),
            36 => {
                let n = hand.number();
                let lock = ROOMS.lock(1, move || n);
                assert_eq!(lock, n);
            }
            37..40 => hand.ask_an_agent(),
            40 | 41 => hand.ask_a_partition(),
            42 => hand.play_with_an_app(),
            43 => hand.restart_a_listening_server(),
            _ => refused(&mut hand),
        }
        hand.dice = next;
    }
}

/// Checks that operations reserved for processes are refused.
fn refused(hand: &mut Hand) {
    let Some(pid) = hand.any_server().whereis() else { return };
    let linked = process::link(pid);
    let registered = ROOMS.register(3000, 0);
    if linked != Err(LinkError::NotAProcess)
        || registered != Err(NameError::NotAProcess)
        || process::current().is_some()
    {
        hand.breach(format!("a foreign thread: linked {linked:?}, registered {registered:?}"));
    }
}

fn task(hand: &mut Hand) {
    let n = hand.number();
    match task::spawn(move || n).map(|task| task.join_timeout(SLACK)) {
        Ok(Ok(m)) if m == n => {}
        Ok(other) => hand.breach(format!("the task of a foreign thread came to {other:?}")),
        Err(error) => hand.no_spawn(&error),
    }
}
