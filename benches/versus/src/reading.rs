//! One reading: a workload run by a peer, in a child process that is killed if it takes too long.

use std::fmt;
use std::io::{self, Read};
use std::process::{Command, Stdio};
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

impl Reading {
    pub fn take(workload: Workload, peer: Peer, scale: Scale) -> io::Result<Self> {
        let ticks = Ticks::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["one", workload.name(), peer.name(), scale.pick("quick", "full")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let limit = Instant::now() + Duration::from_secs(scale.pick(20, 120));
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
        Ok(Self { workload, peer, outcome, others: ticks.others_since(own) })
    }
}

/// Runs the work in the child and prints the outcome.
pub fn make(workload: Workload, peer: Peer, scale: Scale) {
    match peers::run(peer, workload, scale) {
        Ok(figures) => figures.iter().for_each(|(name, value)| println!("{name} {value}")),
        Err(why) => println!("{NONE} {why}"),
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
