//! The to-do domain: what a list is, and how it is kept on disk. The commands in `main.rs` drive it; the
//! tests import this folder through `#[path]`.

pub(crate) mod date;
pub(crate) mod list;
pub(crate) mod name;
pub(crate) mod store;
