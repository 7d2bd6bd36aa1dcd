#![forbid(unsafe_code)]
//! rethread
mod pid;
pub mod process;
mod reason;
mod unwind;
mod unwound;
pub use pid::*;
pub use reason::*;
