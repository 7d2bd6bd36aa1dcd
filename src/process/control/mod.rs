//! The data of a process: its control block, the table of all blocks, the current process of a thread, and
//! the settings.

pub(crate) mod activity;
pub(crate) mod block;
pub(crate) mod local;
pub(crate) mod settings;
pub(crate) mod table;
pub(crate) mod type_name;
