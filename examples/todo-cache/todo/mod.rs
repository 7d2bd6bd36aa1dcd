//! The to-do system: what a list is, how it is kept on disk, and the processes that serve it. The commands
//! in `main.rs` drive it; the tests import this folder through `#[path]`.
//!
//! | | |
//! | --- | --- |
//! | `date` `name` `list` `store` | values and files; no processes |
//! | `worker` `database` `server` `agent` `cache` | the processes, from the disk upward |
//! | `shape` `system` | how they are wired |
//! | `client` `error` | how the system is used, and what can go wrong |
//! | `tree` `metrics` `view` | looking at it |
//! | `fault` `inject` `chaos` | hurting it |
//! | `http` `routes` `web` | serving it |

pub(crate) mod agent;
pub(crate) mod cache;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod date;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod http;
pub(crate) mod inject;
pub(crate) mod list;
pub(crate) mod metrics;
pub(crate) mod name;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod shape;
pub(crate) mod store;
pub(crate) mod system;
pub(crate) mod tree;
pub(crate) mod view;
pub(crate) mod web;
pub(crate) mod worker;
