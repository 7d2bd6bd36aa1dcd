//! The to-do system: lists as values, their storage on disk, and the processes that serve them. The commands
//! in `main.rs` use it; the tests import this folder through `#[path]`.
//!
//! It follows the to-do system that Saša Jurić develops in *Elixir in Action*, below called the Elixir
//! original. Each [`Shape`](shape::Shape) is a state of the original:
//!
//! | shape | chapter |
//! | --- | --- |
//! | `unsupervised` | 7, "Building a concurrent system" |
//! | `supervised-cache`, `linked` | 8, "Fault-tolerance basics" |
//! | `supervised-database`, `supervised-workers`, `supervised-lists` | 9, "Isolating error effects" |
//!
//! The agent is from chapter 10, "Beyond GenServer"; the web server and the idle timeout are from chapter 11,
//! "Working with components".
//!
//! | | |
//! | --- | --- |
//! | `date` `name` `list` `store` `store_error` `store_file` | values and files; no processes |
//! | `worker` `database` `server` `agent` `cache` `list_supervisor` | the processes, from the disk upward |
//! | `shape` `system` | the supervision trees |
//! | `client` `error` | the client functions and their errors |
//! | `tree` `metrics` `view` | observation |
//! | `fault` `inject` `chaos` | fault injection |
//! | `http` `routes` `web` | the web server |

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
pub(crate) mod list_supervisor;
pub(crate) mod metrics;
pub(crate) mod name;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod shape;
pub(crate) mod store;
pub(crate) mod store_error;
pub(crate) mod store_file;
pub(crate) mod system;
pub(crate) mod tree;
pub(crate) mod view;
pub(crate) mod web;
pub(crate) mod worker;
