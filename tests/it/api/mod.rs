//! The public types: auto traits, and their `Debug` and `Display` output.

mod auto_traits;
mod errors;
mod printed;
