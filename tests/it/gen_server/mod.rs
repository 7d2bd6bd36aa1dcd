//! Servers: start, calls, stop, and faults in their callbacks.

mod call;
mod call_when_started;
mod deadlock;
mod faults;
mod start;
mod stop;
