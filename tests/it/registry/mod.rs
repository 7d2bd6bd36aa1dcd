//! Registries: entries, locks, takeovers, and user code that runs inside of them.

mod entries;
mod locks;
mod takeover;
mod user_code;
