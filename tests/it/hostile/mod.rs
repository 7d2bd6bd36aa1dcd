//! User code that panics, blocks or misuses the runtime.

mod drops;
mod links;
mod moments;
mod unwinding;
mod user_code;
