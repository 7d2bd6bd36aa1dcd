//! Aggregates many readings: medians of the quiet ones.

use std::collections::BTreeMap;

use crate::peers::Peer;
use crate::reading::Reading;
use crate::workload::{Better, FIGURES};

/// A reading is quiet if other programs used less than this share of the cores.
const QUIET: f64 = 0.10;

/// With this many quiet readings the others are ignored.
const ENOUGH: usize = 3;

#[derive(Debug, Clone, Copy)]
pub struct Median {
    pub value: f64,
    /// Readings in all, and the quiet ones among them.
    pub readings: usize,
    pub quiet: usize,
}

pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    pub medians: BTreeMap<Peer, Median>,
}

pub struct Summary {
    pub rows: Vec<Row>,
    /// Readings without figures: workload, peer, reason, how often.
    pub missing: BTreeMap<(&'static str, Peer, String), usize>,
}

impl Summary {
    pub fn of(readings: &[Reading]) -> Self {
        let mut values: BTreeMap<(&str, Peer), Vec<(f64, f64)>> = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for reading in readings {
            match &reading.outcome {
                Ok(figures) => {
                    for (name, value) in figures {
                        values.entry((name, reading.peer)).or_default().push((*value, reading.others));
                    }
                }
                Err(why) => {
                    *missing.entry((reading.workload.name(), reading.peer, why.clone())).or_default() += 1;
                }
            }
        }
        let rows = FIGURES.iter().map(|&(name, unit, better)| {
            let of_this = values.iter().filter(|((figure, _), _)| *figure == name);
            let medians = of_this.map(|(&(_, peer), all)| (peer, median(all))).collect();
            Row { name, unit, better, medians }
        });
        Self { rows: rows.filter(|row: &Row| !row.medians.is_empty()).collect(), missing }
    }
}

fn median(all: &[(f64, f64)]) -> Median {
    let quiet: Vec<f64> = all.iter().filter(|(_, others)| *others < QUIET).map(|(value, _)| *value).collect();
    let (readings, quiet_ones) = (all.len(), quiet.len());
    let mut used = if quiet_ones >= ENOUGH { quiet } else { all.iter().map(|(value, _)| *value).collect() };
    used.sort_by(f64::total_cmp);
    let middle = used.len() / 2;
    let value = if used.len() % 2 == 1 { used[middle] } else { (used[middle - 1] + used[middle]) / 2.0 };
    Median { value, readings, quiet: quiet_ones }
}

impl Row {
    /// Returns the ratio to `other`, such that less than one is better, whatever the unit.
    pub fn ratio(&self, peer: Peer, other: Peer) -> Option<f64> {
        let (this, other) = (self.medians.get(&peer)?.value, self.medians.get(&other)?.value);
        Some(match self.better {
            Better::Less => this / other,
            Better::More => other / this,
        })
    }

    /// Returns the best of all, or of all but one.
    pub fn best(&self, except: Option<Peer>) -> Option<Peer> {
        let rivals = self.medians.iter().filter(|(peer, _)| Some(**peer) != except);
        let best = rivals.min_by(|(_, a), (_, b)| match self.better {
            Better::Less => a.value.total_cmp(&b.value),
            Better::More => b.value.total_cmp(&a.value),
        });
        best.map(|(peer, _)| *peer)
    }
}
