//! The machine: its description, and the share of its cores used by other programs.

use std::fs;

/// The time of all cores since boot, in ticks: total, and busy (the host's stealing counts as busy).
#[derive(Debug, Clone, Copy)]
pub struct Ticks {
    total: f64,
    busy: f64,
}

/// The kernel's unit in /proc.
const TICKS_PER_SECOND: f64 = 100.0;

impl Ticks {
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let total: f64 = ticks.iter().sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Self { total, busy: total - idle }
    }

    /// Returns the share of the cores since then that was used by neither idling nor a child that used
    /// `own` seconds.
    pub fn others_since(self, own: f64) -> f64 {
        let now = Self::now();
        let total = now.total - self.total;
        if total <= 0.0 {
            return 0.0;
        }
        ((now.busy - self.busy - own * TICKS_PER_SECOND) / total).max(0.0)
    }
}

/// Returns one line about the machine.
pub fn describe() -> String {
    let first = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let model = first("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    format!(
        "{cores} cores ({}), Linux {}",
        model.map_or("unknown", |(_, model)| model),
        first("/proc/sys/kernel/osrelease")
    )
}
