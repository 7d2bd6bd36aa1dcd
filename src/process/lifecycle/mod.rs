//! The life of a process: its start, the top frame of its thread, and `attach`.

pub(crate) mod attach;
pub(crate) mod init_ack;
pub(crate) mod run;
pub(crate) mod spawn;
pub(crate) mod worker_result;
