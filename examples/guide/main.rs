//! The programs of the guide (docs/guide.md), one module for each chapter. The code blocks of the guide are excerpts of
//! these files.
//!
//! ```text
//! cargo run --example guide             # all chapters
//! cargo run --example guide -- 4        # one chapter
//! cargo run --example guide -- serve    # the program at the end of chapter 8: runs until SIGTERM or Ctrl-C
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(unreachable_pub, reason = "the code reads as it does in a library")]

mod chapter1;
mod chapter2;
mod chapter3;
mod chapter4;
mod chapter5;
mod chapter6;
mod chapter7;
mod chapter8;

use std::process::ExitCode;

type Chapter = fn() -> Result<(), Box<dyn std::error::Error>>;

const CHAPTERS: [(&str, Chapter); 8] = [
    ("Crash", chapter1::run),
    ("Link", chapter2::run),
    ("Monitor", chapter3::run),
    ("Supervise", chapter4::run),
    ("Name", chapter5::run),
    ("Isolate", chapter6::run),
    ("Observe", chapter7::run),
    ("The limits of threads", chapter8::run),
];

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    #[cfg(unix)]
    if argument.as_deref() == Some("serve") {
        return Ok(std::process::Termination::report(chapter8::sigterm::serve()?));
    }
    let only: Option<usize> = argument.map(|number| number.parse()).transpose()?;
    for (number, (title, run)) in (1..).zip(CHAPTERS) {
        if only.is_none_or(|only| only == number) {
            run().map_err(|error| format!("chapter {number}: {error}"))?;
            println!("chapter {number} ({title}): all assertions hold");
        }
    }
    Ok(ExitCode::SUCCESS)
}
