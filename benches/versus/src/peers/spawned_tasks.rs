use crate::measure::Outcome;
use crate::workload::{Scale, Workload};
pub fn run(_: Workload, _: Scale) -> Outcome {
    Err("not written yet")
}
