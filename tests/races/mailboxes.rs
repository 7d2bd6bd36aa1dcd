//! Messages that reach a mailbox while it is being closed: each is dropped exactly once, without effect on
//! other processes.

use rethread::process::{self, Address, Event};

use crate::harness::{drained, end_of, race};

/// Reports its drop.
struct ReportsDrop(Address<u64>);

impl Drop for ReportsDrop {
    fn drop(&mut self) {
        self.0.send(1);
    }
}

#[test]
fn message_to_exiting_process_is_dropped_while_its_address_is_kept() {
    race("message, end of the mailbox").run(|inbox| {
        let ending = process::spawn_receiver::<ReportsDrop>(|_| ()).expect("a thread");
        let (kept, test) = (ending.clone(), inbox.address());
        let sender = process::spawn(move || ending.send(ReportsDrop(test))).expect("a thread");
        assert_eq!(inbox.recv(), Event::Message(1));
        end_of(sender);
        end_of(&kept);
        assert_eq!(drained(inbox), []);
    });
}

#[test]
fn late_message_that_panics_when_dropped_does_not_disturb_the_receiver() {
    struct Hostile;
    impl Drop for Hostile {
        fn drop(&mut self) {
            panic!("a message that was not wanted");
        }
    }
    // The mailbox is that of the process that runs the race: its thread continues after the mailbox is
    // closed.
    race("hostile message, end of the mailbox").run_as(|inbox| {
        let ending = inbox.address();
        process::spawn(move || ending.send(Hostile)).expect("a thread");
    });
}
