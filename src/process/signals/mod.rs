//! Erlang's signals: exits, links and monitors. `README.md` describes the order of an exit.

pub(crate) mod attempt;
pub(crate) mod cleanup;
pub(crate) mod current;
pub(crate) mod deliver;
pub(crate) mod effect;
pub(crate) mod exit;
pub(crate) mod link;
pub(crate) mod monitor;
