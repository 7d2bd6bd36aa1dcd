//! One reading: a workload run by a peer, in a child process that is killed if it takes too long.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::host::Ticks;
use crate::measure::Figure;
use crate::peers::{self, Peer};
use crate::workload::{Scale, Workload};

pub struct Reading {
    pub workload: Workload,
    pub peer: Peer,
    /// Figures, or the reason for having none.
    pub outcome: Result<Vec<Figure>, String>,
    /// The share of the cores that other programs used meanwhile.
    pub others: f64,
}

/// The start of certain lines from the child.
const NONE: &str = "none";
const CPU: &str = "cpu";

/// Length of a reading beside neighbours: long enough that what happens once a second counts.
const SECONDS_BESIDE_NEIGHBOURS: &str = "10";

/// Endless loops of another program, until dropped.
struct Neighbours(Vec<Child>);

impl Neighbours {
    fn start(count: usize) -> io::Result<Self> {
        let mut neighbours = Self(Vec::new());
        for _ in 0..count {
            neighbours
                .0
                .push(Command::new(std::env::current_exe()?).arg("loop").stdin(Stdio::null()).spawn()?);
        }
        Ok(neighbours)
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for neighbour in &mut self.0 {
            let _ = neighbour.kill();
            let _ = neighbour.wait();
        }
    }
}

impl Reading {
    pub fn take(workload: Workload, peer: Peer, scale: Scale, neighbours: usize) -> io::Result<Self> {
        let running = Neighbours::start(neighbours)?;
        let ticks = Ticks::now();
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["one", workload.name(), peer.name(), scale.pick("quick", "full")]);
        if neighbours > 0 {
            child.arg(SECONDS_BESIDE_NEIGHBOURS);
        }
        if peer == Peer::RethreadPark {
            child.env("RETHREAD_WAIT_STRATEGY", "park");
        }
        let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let limit = Instant::now() + Duration::from_secs(scale.pick(20, 120) + 30 * neighbours as u64);
        let ended = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() > limit => break None,
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if ended.is_none() {
            child.kill()?;
            child.wait()?;
        }
        let mut said = String::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_string(&mut said)?;
        }
        let mut own = 0.0;
        let mut figures = Vec::new();
        let mut none = None;
        for line in said.lines() {
            match line.split_once(' ') {
                Some((NONE, why)) => none = Some(why.to_owned()),
                Some((CPU, seconds)) => own = seconds.parse().unwrap_or(0.0),
                Some((name, value)) => figures.extend(value.parse().map(|value| (name.to_owned(), value))),
                None => {}
            }
        }
        let outcome = match (ended, none) {
            (None, _) => Err("no end within the time limit".into()),
            (_, Some(why)) => Err(why),
            (Some(status), _) if !status.success() => Err(format!("ended with {status}")),
            _ => Ok(figures),
        };
        let others = ticks.others_since(own);
        drop(running);
        // Neighbours are part of the reading, not a disturbance.
        Ok(Self { workload, peer, outcome, others: if neighbours > 0 { 0.0 } else { others } })
    }
}

/// Runs the work in the child and prints the outcome: with `seconds`, as often as fits into this time, and the medians.
pub fn make(workload: Workload, peer: Peer, scale: Scale, seconds: Option<u64>) {
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    loop {
        match peers::run(peer, workload, scale) {
            Ok(figures) => {
                figures.into_iter().for_each(|(name, value)| all.entry(name).or_default().push(value))
            }
            Err(why) => {
                println!("{NONE} {why}");
                break;
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    for (name, mut values) in all {
        values.sort_by(f64::total_cmp);
        println!("{name} {}", values[values.len() / 2]);
    }
    println!("{CPU} {}", ProcessTime::now().as_duration().as_secs_f64() + peers::cpu_of_children());
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", self.workload.name(), self.peer.name())?;
        match &self.outcome {
            Ok(figures) => figures.iter().try_for_each(|(name, value)| write!(f, " {name} {value:.2}"))?,
            Err(why) => write!(f, " n/a, {why}")?,
        }
        write!(f, " (others {:.0} %)", self.others * 100.0)
    }
}
