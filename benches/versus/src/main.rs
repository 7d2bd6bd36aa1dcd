//! Compares rethread with the alternatives: the same workloads, interleaved, each reading in a child
//! process. `quick` takes under five minutes, `full` more than half an hour.
//!
//! ```text
//! cargo run --release --manifest-path benches/versus/Cargo.toml -- quick [--tsv FILE] [--plot FILE]
//! ```

mod host;
mod measure;
mod peers;
mod plot;
mod reading;
mod summary;
mod table;
mod tsv;
mod workload;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::peers::Peer;
use crate::reading::Reading;
use crate::summary::Summary;
use crate::workload::{Scale, Workload};

#[derive(Parser)]
#[command(about = "rethread and its rivals, side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Small sizes, a few rounds: under five minutes.
    Quick(Options),
    /// The sizes and rounds that published figures come from.
    Full(Options),
    /// What there is to choose from.
    List,
    /// One reading, in this very process; repeated for at least this many seconds, if given.
    #[command(hide = true)]
    One { workload: Workload, peer: Peer, scale: Scale, seconds: Option<u64> },
    /// A neighbour: an endless loop.
    #[command(hide = true)]
    Loop,
}

#[derive(Args)]
struct Options {
    /// Writes the medians here: workload, peer, unit, median.
    #[arg(long)]
    tsv: Option<PathBuf>,
    /// Draws the ratios here, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Only these peers.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// How often everything is run.
    #[arg(long)]
    rounds: Option<u32>,
    /// Runs this many endless loops of another program beside each reading, which then takes ten seconds. With one for
    /// each core: a busy machine. The peers are then rethread with and without adaptive waiting.
    #[arg(long, default_value_t = 0)]
    neighbours: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().command {
        Command::Quick(options) => compare(Scale::Quick, &options),
        Command::Full(options) => compare(Scale::Full, &options),
        Command::List => {
            let names = |names: Vec<&str>| names.join(" ");
            println!("workloads: {}", names(Workload::ALL.map(Workload::name).to_vec()));
            println!("peers:     {}", names(Peer::ALL.map(Peer::name).to_vec()));
            Ok(())
        }
        Command::One { workload, peer, scale, seconds } => {
            reading::make(workload, peer, scale, seconds);
            Ok(())
        }
        Command::Loop => loop {
            std::hint::spin_loop();
        },
    }
}

fn compare(scale: Scale, options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let workloads = chosen(&options.only, &Workload::ALL);
    let peers = chosen(&options.peers, &Peer::default_of(options.neighbours));
    let rounds = options.rounds.unwrap_or(scale.rounds());
    let mut readings = Vec::new();
    for round in 0..rounds {
        for &workload in &workloads {
            if round >= workload.rounds(scale, rounds) {
                continue;
            }
            // A different peer begins in each round.
            for turn in 0..peers.len() {
                let peer = peers[(turn + round as usize) % peers.len()];
                let reading = Reading::take(workload, peer, scale, options.neighbours)?;
                eprintln!("round {} of {rounds}: {reading}", round + 1);
                readings.push(reading);
            }
        }
    }
    let summary = Summary::of(&readings);
    print!("{}", table::render(&summary, &peers, options.neighbours, &host::describe()));
    if let Some(path) = &options.tsv {
        tsv::write(path, &summary)?;
    }
    if let Some(path) = &options.plot {
        plot::draw(path, &summary)?;
    }
    Ok(())
}

fn chosen<T: Copy>(wanted: &[T], all: &[T]) -> Vec<T> {
    if wanted.is_empty() { all.to_vec() } else { wanted.to_vec() }
}
