//! The workloads, their sizes, and the unit of each figure.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Workload {
    CallRoundtrip,
    CallContended,
    #[value(name = "cast_1")]
    Cast1,
    #[value(name = "cast_4")]
    Cast4,
    Pingpong,
    #[value(name = "ring_100")]
    Ring100,
    #[value(name = "ring_1000")]
    Ring1000,
    Big,
    SpawnExit,
    SpawnBatch,
    #[value(name = "spawn_many_1k")]
    SpawnMany1k,
    #[value(name = "spawn_many_10k")]
    SpawnMany10k,
    Restart,
    LinkFanout,
    BlockSleep,
    BlockSpin,
    NameCall,
    Timers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    Quick,
    Full,
}

impl Scale {
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }

    pub fn rounds(self) -> u32 {
        self.pick(3, 5)
    }
}

use Workload as W;

impl Workload {
    pub const ALL: [Self; 18] = [
        W::CallRoundtrip,
        W::CallContended,
        W::Cast1,
        W::Cast4,
        W::Pingpong,
        W::Ring100,
        W::Ring1000,
        W::Big,
        W::SpawnExit,
        W::SpawnBatch,
        W::SpawnMany1k,
        W::SpawnMany10k,
        W::Restart,
        W::LinkFanout,
        W::BlockSleep,
        W::BlockSpin,
        W::NameCall,
        W::Timers,
    ];

    pub fn name(self) -> &'static str {
        match self {
            W::CallRoundtrip => "call_roundtrip",
            W::CallContended => "call_contended",
            W::Cast1 => "cast_1",
            W::Cast4 => "cast_4",
            W::Pingpong => "pingpong",
            W::Ring100 => "ring_100",
            W::Ring1000 => "ring_1000",
            W::Big => "big",
            W::SpawnExit => "spawn_exit",
            W::SpawnBatch => "spawn_batch",
            W::SpawnMany1k => "spawn_many_1k",
            W::SpawnMany10k => "spawn_many_10k",
            W::Restart => "restart",
            W::LinkFanout => "link_fanout",
            W::BlockSleep => "block_sleep",
            W::BlockSpin => "block_spin",
            W::NameCall => "name_call",
            W::Timers => "timers",
        }
    }

    /// Returns the number of rounds: workloads that take seconds are run once in a quick comparison.
    pub fn rounds(self, scale: Scale, rounds: u32) -> u32 {
        let long = matches!(self, W::BlockSleep | W::BlockSpin | W::SpawnMany10k);
        if long && scale == Scale::Quick { 1 } else { rounds }
    }

    /// Returns the number of operations: calls for each client, messages for each producer, hops, rounds,
    /// crashes.
    pub fn count(self, scale: Scale) -> usize {
        match self {
            W::CallRoundtrip | W::Pingpong => scale.pick(20_000, 200_000),
            W::CallContended => scale.pick(5_000, 50_000),
            W::Cast1 => scale.pick(500_000, 5_000_000),
            W::Cast4 => scale.pick(100_000, 1_000_000),
            W::Ring100 | W::Ring1000 => scale.pick(10_000, 100_000),
            W::Big => scale.pick(100, 1_000),
            W::SpawnExit => scale.pick(2_000, 20_000),
            W::SpawnBatch => scale.pick(2, 20),
            W::SpawnMany1k => 1_000,
            W::SpawnMany10k => 10_000,
            W::Restart => scale.pick(300, 2_000),
            W::LinkFanout => scale.pick(1, 3),
            W::BlockSleep | W::BlockSpin => 0,
            W::NameCall => scale.pick(5_000, 50_000),
            W::Timers => 100_000,
        }
    }
}

/// Returns the number of processes in a ring.
pub fn ring_size(workload: Workload) -> usize {
    if workload == W::Ring1000 { 1_000 } else { 100 }
}

pub const CLIENTS: usize = 8;
pub const BIG: usize = 100;
pub const BATCH: usize = 1_000;
pub const WATCHERS: usize = 1_000;
pub const BUSY: usize = 16;
/// How long a busy server blocks for each message.
pub const BLOCK: std::time::Duration = std::time::Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

/// The figures, in the order of the table: name, unit, which is better.
pub const FIGURES: &[(&str, &str, Better)] = &[
    ("call_roundtrip", "ns", Better::Less),
    ("call_roundtrip_cpu", "ns", Better::Less),
    ("call_contended", "ops/s", Better::More),
    ("call_contended_cpu", "ns", Better::Less),
    ("cast_1", "ops/s", Better::More),
    ("cast_4", "ops/s", Better::More),
    ("pingpong", "ns/hop", Better::Less),
    ("pingpong_cpu", "ns/hop", Better::Less),
    ("ring_100", "ns/hop", Better::Less),
    ("ring_100_cpu", "ns/hop", Better::Less),
    ("ring_1000", "ns/hop", Better::Less),
    ("ring_1000_cpu", "ns/hop", Better::Less),
    ("big", "ops/s", Better::More),
    ("big_cpu", "ns", Better::Less),
    ("spawn_exit", "us", Better::Less),
    ("spawn_batch", "us", Better::Less),
    ("spawn_many_1k_time", "us/proc", Better::Less),
    ("spawn_many_1k_rss", "B/proc", Better::Less),
    ("spawn_many_10k_time", "us/proc", Better::Less),
    ("spawn_many_10k_rss", "B/proc", Better::Less),
    ("spawn_many_10k_idle_cpu", "%", Better::Less),
    ("restart_p50", "us", Better::Less),
    ("restart_p99", "us", Better::Less),
    ("link_fanout", "us", Better::Less),
    ("block_sleep_p50", "us", Better::Less),
    ("block_sleep_p99", "us", Better::Less),
    ("block_spin_p50", "us", Better::Less),
    ("block_spin_p99", "us", Better::Less),
    ("name_call_pid", "ns", Better::Less),
    ("name_call_name", "ns", Better::Less),
    ("timers_arm", "ns", Better::Less),
    ("timers_cancel", "ns", Better::Less),
];
