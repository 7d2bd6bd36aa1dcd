//! Supervisors of tasks: they are stopped with it, can be listed, and need not take their owner along.

pub(crate) mod builder;
pub(crate) mod client;
pub(crate) mod order;
pub(crate) mod server;

pub use self::builder::TaskBuilder;
pub use self::server::TaskSupervisor;
