//! Processes: exit signals, links, monitors, names, messages and timers.

mod aliases;
mod attempt;
mod exit_signals;
mod info;
mod knowledge;
mod links;
mod monitors;
mod names;
mod ordering;
mod thread_contract;
mod timers;
mod via;
