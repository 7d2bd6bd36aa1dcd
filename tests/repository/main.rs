//! Checks of the repository itself: imports, language, documents, scenarios, examples, the build.

mod differences;
mod examples;
mod guide;
mod layers;
mod panic_abort;
mod readability;
mod scenarios;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod wall_clock;
