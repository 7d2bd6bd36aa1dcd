//! Throttling: short spins that keep a sender and a receiver on different cores from slowing each other down.
//! They change only speed; every message is delivered in the same order without them. They do not limit a
//! mailbox: it is unbounded, see `queue`.

use std::cell::Cell;
use std::hint;
use std::time::Instant;

use crate::process::park::backoff;
use crate::process::park::backoff::is_multi_core;
use crate::process::park::backoff::may_spin;

/// Length of a batching delay, in spin-loop hints: about 1 us.
const BATCHING_SPINS: u32 = 32;

/// A sender compares the backlog of its receiver with the threshold once per this many sent messages.
const CHECK_INTERVAL: u32 = 64;

/// A receiver with more messages than this in its mailbox has fallen behind.
const BACKLOG_THRESHOLD: usize = 1024;

/// Length of one delay of a sender, in spin-loop hints: 2 to 3 us.
const THROTTLE_SPINS: u32 = 100;

/// Waits about 1 us so that several messages can accumulate. A receiver that keeps up with its sender
/// contends for the same cache line on every message; with some messages in the queue both are twice as fast.
#[inline]
pub(crate) fn delay_for_batching(deadline: Option<Instant>) {
    // On a single core the sender cannot run during the delay. A receive with a timeout is not delayed.
    if deadline.is_none() && is_multi_core() && may_spin() {
        (0..BATCHING_SPINS).for_each(|_| hint::spin_loop());
    }
}

/// Delays a sender that has outrun its receiver, once per [`CHECK_INTERVAL`] messages: by 2 to 3 us if the receiver can
/// run on another core, otherwise by a yield.
///
/// `queue_len` returns the number of messages in the mailbox just sent to. A growing backlog costs both sides more than
/// the delay, because the allocator must get its memory from the kernel: with a short one the same blocks are used
/// again. (Earlier versions of the BEAM also slowed down such senders.)
#[inline]
pub(crate) fn throttle_sender(queue_len: impl FnOnce() -> usize) {
    thread_local! {
        /// Messages this thread has sent, to any mailbox.
        static SENT: Cell<u32> = const { Cell::new(0) };
    }
    // The thread-local is gone while the thread exits; such a sender is not delayed.
    let Ok(sent) = SENT.try_with(|sent| sent.replace(sent.get().wrapping_add(1))) else { return };
    // The queue length is read last: it takes the line that the receiver writes.
    if sent % CHECK_INTERVAL == 0 && queue_len() > BACKLOG_THRESHOLD {
        backoff::delay(THROTTLE_SPINS);
    }
}
