//! What other threads can see of processes: snapshots, events, zombies and crash reports.

pub(crate) mod crash_report;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod os_thread;
pub(crate) mod zombie;
