//! Mailboxes: the queue, the inbox that reads it, throttling, and the addresses, aliases and timers that write to it.

pub(crate) mod address;
pub(crate) mod alias;
pub(crate) mod discard;
pub(crate) mod inbox;
pub(crate) mod queue;
pub(crate) mod throttle;
pub(crate) mod timer;
