//! Dynamic supervisors: for children that come and go while the program runs.

pub(crate) mod children;
pub(crate) mod client;
pub(crate) mod limits;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod supervise;

pub use self::request::{DynamicSupervisorCall, DynamicSupervisorCast};
pub use self::server::{DynamicSupervisor, DynamicSupervisorInit};
pub use self::spec::DynamicSupervisorSpec;
pub use self::supervise::SuperviseDynamic;
