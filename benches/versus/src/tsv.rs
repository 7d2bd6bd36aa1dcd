//! The medians as tab-separated values for other programs.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::summary::Summary;

pub fn write(path: &Path, summary: &Summary) -> io::Result<()> {
    let mut text = String::from("workload\tpeer\tunit\tmedian\n");
    for row in &summary.rows {
        for (peer, median) in &row.medians {
            let _ = writeln!(text, "{}\t{}\t{}\t{}", row.name, peer.name(), row.unit, median.value);
        }
    }
    std::fs::write(path, text)
}
