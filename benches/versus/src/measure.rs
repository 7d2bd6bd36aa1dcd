//! Helpers for all peers: clocks, percentiles, memory, a paced client.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::workload::Workload;

/// One figure of a reading: its name as in `workload::FIGURES`, and its value.
pub type Figure = (String, f64);

/// The result of a peer: figures, or the reason for having none.
pub type Outcome = Result<Vec<Figure>, &'static str>;

/// Measures wall and CPU time.
pub struct Stopwatch {
    wall: Instant,
    cpu: ProcessTime,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: ProcessTime::now() }
    }

    pub fn lap(&self) -> Lap {
        Lap { wall: self.wall.elapsed(), cpu: self.cpu.elapsed() }
    }
}

/// The times measured by a stopwatch.
#[derive(Debug, Clone, Copy)]
pub struct Lap {
    pub wall: Duration,
    pub cpu: Duration,
}

impl Lap {
    /// Returns nanoseconds and CPU time for each of `count` operations.
    pub fn per_op(self, workload: Workload, count: usize) -> Vec<Figure> {
        let name = workload.name();
        vec![(name.into(), nanos(self.wall, count)), (format!("{name}_cpu"), nanos(self.cpu, count))]
    }

    /// Returns operations in a second, and the CPU time of each.
    pub fn rate(self, workload: Workload, count: usize) -> Vec<Figure> {
        let name = workload.name();
        let rate = count as f64 / self.wall.as_secs_f64();
        if matches!(workload, Workload::Cast1 | Workload::Cast4) {
            return vec![(name.into(), rate)];
        }
        vec![(name.into(), rate), (format!("{name}_cpu"), nanos(self.cpu, count))]
    }

    pub fn micros(self, workload: Workload, count: usize) -> Vec<Figure> {
        vec![(workload.name().into(), nanos(self.wall, count) / 1e3)]
    }
}

pub fn nanos(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count as f64
}

/// Returns the median and the 99th percentile, in microseconds.
pub fn percentiles(workload: Workload, mut times: Vec<Duration>) -> Vec<Figure> {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let name = workload.name();
    vec![(format!("{name}_p50"), at(0.5)), (format!("{name}_p99"), at(0.99))]
}

/// Returns the resident memory of this program, in bytes.
pub fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0
}

/// Many idle processes: time and memory for each, and the CPU they use while idle.
pub struct Crowd {
    before: f64,
    begun: Instant,
}

impl Crowd {
    pub fn before() -> Self {
        Self { before: rss(), begun: Instant::now() }
    }

    /// Measures once all have started; blocks for a while.
    pub fn there(self, workload: Workload, count: usize) -> Vec<Figure> {
        let took = self.begun.elapsed();
        let name = workload.name();
        std::thread::sleep(Duration::from_millis(300)); // until the last are asleep
        let memory = (rss() - self.before) / count as f64;
        let mut figures =
            vec![(format!("{name}_time"), nanos(took, count) / 1e3), (format!("{name}_rss"), memory)];
        if workload == Workload::SpawnMany10k {
            let (watch, time) = (ProcessTime::now(), Duration::from_secs(2));
            std::thread::sleep(time);
            figures.push((
                format!("{name}_idle_cpu"),
                watch.elapsed().as_secs_f64() / time.as_secs_f64() * 100.0,
            ));
        }
        figures
    }
}

/// A client that calls once a millisecond. A late reply also stands for the calls it delayed.
pub struct Pace {
    start: Instant,
    next: u32,
    length: Duration,
    latencies: Vec<Duration>,
}

impl Pace {
    pub fn new(length: Duration) -> Self {
        Self { start: Instant::now(), next: 0, length, latencies: Vec::new() }
    }

    /// Returns when the next call is due; `None` when the time is up.
    pub fn due(&self) -> Option<Instant> {
        let offset = Duration::from_millis(1) * self.next;
        (offset < self.length).then(|| self.start + offset)
    }

    pub fn answered(&mut self) {
        let now = Instant::now();
        loop {
            let due = self.start + Duration::from_millis(1) * self.next;
            self.latencies.push(now.saturating_duration_since(due));
            self.next += 1;
            if self.start + Duration::from_millis(1) * self.next >= now {
                break;
            }
        }
    }

    pub fn percentiles(self, workload: Workload) -> Vec<Figure> {
        percentiles(workload, self.latencies)
    }
}

/// Blocks the calling thread like a busy server: asleep, or computing.
pub fn block(workload: Workload) {
    let time = crate::workload::BLOCK;
    if workload == Workload::BlockSleep {
        std::thread::sleep(time);
    } else {
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// Pseudo-random numbers, the same in each run: they select the ping partners.
pub struct Random(u64);

impl Random {
    pub fn new(seed: usize) -> Self {
        Self(seed as u64 * 0x9E37_79B9_7F4A_7C15 + 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
