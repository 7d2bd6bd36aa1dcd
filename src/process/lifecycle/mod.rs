//! Starting a process, and running it to its end.

pub(crate) mod attach;
pub(crate) mod spawn;
