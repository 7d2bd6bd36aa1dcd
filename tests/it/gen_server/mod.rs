//! Servers: start, calls, stop, and faults in their callbacks.

mod call;
mod deadlock;
mod faults;
mod start;
mod stop;
