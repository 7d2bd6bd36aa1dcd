//! Dynamic supervisors: for children that come and go while the program runs.

pub(crate) mod children;
pub(crate) mod client;
pub(crate) mod limits;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod supervise;
