//! Messages: the queue, the inbox that reads it, the addresses that write to it, flow control, aliases and timers.

pub(crate) mod address;
pub(crate) mod alias;
pub(crate) mod flow_control;
pub(crate) mod inbox;
pub(crate) mod queue;
pub(crate) mod timer;
