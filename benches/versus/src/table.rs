//! The medians for readers: one row a figure, one column a peer, the best in bold, and rethread's ratios.

use std::fmt::Write;

use crate::peers::{self, Peer};
use crate::summary::{Row, Summary};

/// The peers rethread is compared with, beside the best of all.
const RIVALS: [Peer; 4] = [Peer::RethreadPark, Peer::Threads, Peer::Tokio, Peer::Beam];

pub fn render(summary: &Summary, peers: &[Peer], neighbours: usize, machine: &str) -> String {
    let mut text = String::new();
    let head: String = peers.iter().map(|peer| format!(" {} |", peer.name())).collect();
    let _ = writeln!(
        text,
        "\n| | unit |{head} to the best | to park | to threads | to tokio | to beam | quiet |"
    );
    let _ = writeln!(text, "|{}", "---|".repeat(peers.len() + 8));
    for row in &summary.rows {
        let _ = writeln!(text, "{}", line(row, peers));
    }
    let _ = writeln!(
        text,
        "\nThe columns \"to ..\" are rethread's figure as a multiple of the rival's, for rates the"
    );
    let _ = writeln!(
        text,
        "inverse: below 1 rethread is better. \"quiet\": readings during which others took less than"
    );
    let _ = writeln!(text, "10 % of the cores; medians are of these where there are three, else of all.\n");
    for ((workload, peer, why), times) in &summary.missing {
        let _ = writeln!(text, "n/a: {workload} {} ({times} times): {why}", peer.name());
    }
    if neighbours > 0 {
        let _ = writeln!(
            text,
            "\nBeside {neighbours} endless loops of another program, readings of ten seconds."
        );
    }
    let _ = writeln!(text, "\n{machine}\n{}", peers::versions());
    text
}

fn line(row: &Row, peers: &[Peer]) -> String {
    let best = row.best(None);
    let mut text = format!("| {} | {} |", row.name, row.unit);
    for peer in peers {
        let cell = row.medians.get(peer).map_or_else(|| "-".into(), |median| short(median.value));
        let _ = if Some(*peer) == best { write!(text, " **{cell}** |") } else { write!(text, " {cell} |") };
    }
    let ratio = |rival: Option<Peer>| {
        let ratio = rival.and_then(|rival| row.ratio(Peer::Rethread, rival));
        ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"))
    };
    let _ = write!(text, " {} |", ratio(row.best(Some(Peer::Rethread))));
    for rival in RIVALS {
        let _ = write!(text, " {} |", ratio(Some(rival)));
    }
    let quiet: usize = row.medians.values().map(|median| median.quiet).sum();
    let readings: usize = row.medians.values().map(|median| median.readings).sum();
    let _ = write!(text, " {quiet} of {readings} |");
    text
}

/// Formats a value with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1e4 => format!("{:.1}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
