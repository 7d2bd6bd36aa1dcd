//! The peers: each implements the workloads in the style of its own documentation.

pub mod actix;
pub mod beam;
pub mod kameo;
pub mod ractor;
pub mod rethread;
pub mod spawned_tasks;
pub mod spawned_threads;
pub mod threads;
pub mod tokio;

use clap::ValueEnum;

use crate::measure::Outcome;
use crate::workload::{Scale, Workload};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Peer {
    Rethread,
    /// rethread with the wait strategy `park`.
    RethreadPark,
    Threads,
    Tokio,
    Ractor,
    Kameo,
    Actix,
    SpawnedThreads,
    SpawnedTasks,
    Beam,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Rethread,
        Self::RethreadPark,
        Self::Threads,
        Self::Tokio,
        Self::Ractor,
        Self::Kameo,
        Self::Actix,
        Self::SpawnedThreads,
        Self::SpawnedTasks,
        Self::Beam,
    ];

    /// The peers of a comparison that names none: all, and beside neighbours rethread alone, with and without
    /// adaptive waiting.
    pub fn default_of(neighbours: usize) -> Vec<Self> {
        if neighbours > 0 {
            return vec![Self::Rethread, Self::RethreadPark];
        }
        Self::ALL.into_iter().filter(|peer| *peer != Self::RethreadPark).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Rethread => "rethread",
            Self::RethreadPark => "rethread_park",
            Self::Threads => "threads",
            Self::Tokio => "tokio",
            Self::Ractor => "ractor",
            Self::Kameo => "kameo",
            Self::Actix => "actix",
            Self::SpawnedThreads => "spawned_threads",
            Self::SpawnedTasks => "spawned_tasks",
            Self::Beam => "beam",
        }
    }
}

pub fn run(peer: Peer, workload: Workload, scale: Scale) -> Outcome {
    match peer {
        // The strategy is in the environment of the program.
        Peer::Rethread | Peer::RethreadPark => rethread::run(workload, scale),
        Peer::Threads => threads::run(workload, scale),
        Peer::Tokio => tokio::run(workload, scale),
        Peer::Ractor => ractor::run(workload, scale),
        Peer::Kameo => kameo::run(workload, scale),
        Peer::Actix => actix::run(workload, scale),
        Peer::SpawnedThreads => spawned_threads::run(workload, scale),
        Peer::SpawnedTasks => spawned_tasks::run(workload, scale),
        Peer::Beam => beam::run(workload, scale),
    }
}

/// Returns the CPU time of programs that a peer has started, in seconds.
pub fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let of_children = after_name.split_whitespace().skip(13).take(2);
    of_children.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns the versions in the lock file.
pub fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let wanted = ["crossbeam-channel", "tokio", "ractor", "kameo", "actix", "spawned-concurrency"];
    let lines: Vec<&str> = lock.lines().collect();
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let crates =
        lines.windows(2).filter_map(|two| Some((value(two[0], "name = ")?, value(two[1], "version = ")?)));
    let mut found: Vec<_> = crates
        .filter(|(name, _)| wanted.contains(&name.as_str()))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    found.push(beam::version());
    found.join(", ")
}
