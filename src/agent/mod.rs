//! `Agent`: a value in a process of its own, read and changed by functions that run in that process.

#[expect(clippy::module_inception, reason = "the API of the type Agent")]
pub(crate) mod agent;
pub(crate) mod server;

pub use self::agent::{Agent, AgentRef, AgentSpec};
