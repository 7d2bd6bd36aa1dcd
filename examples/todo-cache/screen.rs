//! The screen of `watch`: converts the data of the server to lines of text, each with a color. No I/O: the
//! time and the size of the terminal are parameters. The data may be anything: texts are clipped, numbers limited.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::text::{clip, printable};

/// How long a process counts as new.
const NEW_PROCESS_AGE: Duration = Duration::from_secs(3);
/// How long an exited process is shown.
const EXITED_RETENTION: Duration = Duration::from_secs(5);
/// A handler that takes longer counts as stuck.
const STUCK_AFTER_MS: u64 = 1000;
/// A queue of this length counts as a backlog.
const BACKLOG: u64 = 10;
/// The number of queue lengths in the chart of a process.
const HISTORY_LEN: usize = 6;
/// The number of events that are kept.
const MAX_EVENTS: usize = 100;
/// The number of rows that are shown.
const MAX_ROWS: usize = 5000;
/// The number of exited processes that are shown.
const MAX_EXITED: usize = 200;
/// The depth in the tree from which rows are no longer indented.
const MAX_DEPTH: u64 = 30;
/// The number of characters of a name, a pid or another text.
const MAX_TEXT_CHARS: usize = 200;

/// The color of a line, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    New,
    Backlog,
    Dead,
    Exited,
}

/// A line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) colour: Colour,
}

/// The history of a process.
struct ProcessHistory {
    since: Instant,
    queue_lens: VecDeque<u64>,
}

/// A process that has exited, with its place in the tree.
struct ExitedProcess {
    since: Instant,
    /// The row above it.
    after: Option<String>,
    depth: u64,
    name: String,
    pid: String,
    reason: String,
}

/// The state that is kept between two frames.
#[derive(Default)]
pub(crate) struct Screen {
    histories: HashMap<String, ProcessHistory>,
    exited: Vec<ExitedProcess>,
    rows: Vec<(String, u64, String)>,
    reasons: HashMap<String, String>,
    events: VecDeque<String>,
    last_request_count: Option<(Instant, u64)>,
}

impl Screen {
    /// Records an event.
    pub(crate) fn on_event(&mut self, event: &Value) {
        let text = |key: &str| text_of(event, key);
        if text("kind") == "exited" {
            self.reasons.insert(text("pid"), text("text"));
        }
        let name = text("name");
        if !name.starts_with("web.connection") {
            self.events.push_front(format!("{} {name} {} {}", text("at"), text("pid"), text("text")));
            self.events.truncate(MAX_EVENTS);
        }
    }

    /// Returns the lines for a tree, clipped to the size of the terminal, if that is known.
    pub(crate) fn draw(&mut self, tree: &Value, now: Instant, size: Option<(usize, usize)>) -> Vec<Line> {
        let all = tree["tree"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rows: Vec<&Value> = all.iter().take(MAX_ROWS).collect();
        self.update(&rows, now);
        let mut lines = vec![Line { text: self.headline(tree, now), colour: Colour::Plain }];
        for row in &rows {
            lines.push(self.row(row, now));
            let pid = row["pid"].as_str().map(|_| text_of(row, "pid"));
            let exited = self.exited.iter().filter(|process| process.after == pid);
            lines.extend(exited.map(|process| process.line(now)));
        }
        if all.len() > rows.len() {
            let text = format!(".. and {} more processes", all.len() - rows.len());
            lines.push(Line { text, colour: Colour::Plain });
        }
        let rows: usize = lines.len();
        let max_events = size.map_or(10, |(_, height)| height.saturating_sub(rows + 1).min(10));
        lines.extend(
            self.events
                .iter()
                .take(max_events)
                .map(|text| Line { text: text.clone(), colour: Colour::Plain }),
        );
        if let Some((width, height)) = size {
            lines.truncate(height.saturating_sub(1));
            for line in &mut lines {
                line.text = line.text.chars().take(width).collect();
            }
        }
        lines
    }

    fn headline(&mut self, tree: &Value, now: Instant) -> String {
        let number = |key: &str| tree[key].as_u64().unwrap_or(0);
        let (uptime, requests) = (number("uptime"), number("requests"));
        let rate = match self.last_request_count.replace((now, requests)) {
            Some((then, before)) if now > then => {
                requests.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64()
            }
            _ => 0.0,
        };
        format!(
            "todo-cache  shape {}   up {:02}:{:02}   processes {}   restarts {}   zombies {}   {rate:.0} requests/s",
            tree["shape"].as_str().map_or("?".to_owned(), |_| text_of(tree, "shape")),
            uptime / 60,
            uptime % 60,
            number("processes"),
            number("restarts"),
            number("zombies"),
        )
    }

    /// Compares the rows with those of the last frame, to find new and exited processes.
    fn update(&mut self, rows: &[&Value], now: Instant) {
        let first = self.rows.is_empty();
        let mut current_rows = Vec::new();
        for row in rows {
            if !row["pid"].is_string() {
                continue; // a child that is not running
            }
            let pid = text_of(row, "pid");
            // Processes of the first frame do not count as new.
            let since = if first { now.checked_sub(NEW_PROCESS_AGE).unwrap_or(now) } else { now };
            let history = self
                .histories
                .entry(pid.clone())
                .or_insert_with(|| ProcessHistory { since, queue_lens: VecDeque::new() });
            history.queue_lens.push_back(row["message_queue_len"].as_u64().unwrap_or(0));
            if history.queue_lens.len() > HISTORY_LEN {
                history.queue_lens.pop_front();
            }
            let depth = row["depth"].as_u64().unwrap_or(0);
            current_rows.push((pid, depth, text_of(row, "name")));
        }
        // Rows that are gone become exited processes below the last row that is still there.
        let before = std::mem::replace(&mut self.rows, current_rows);
        let current: HashSet<&str> = self.rows.iter().map(|(pid, ..)| pid.as_str()).collect();
        let mut above = None;
        for (pid, depth, name) in before {
            if current.contains(pid.as_str()) {
                above = Some(pid);
                continue;
            }
            self.histories.remove(&pid);
            if !name.starts_with("web.connection") && self.exited.len() < MAX_EXITED {
                let reason = self.reasons.remove(&pid).unwrap_or_else(|| "exited".to_owned());
                self.exited.push(ExitedProcess {
                    since: now,
                    after: above.clone(),
                    depth,
                    name,
                    pid,
                    reason,
                });
            }
        }
        self.exited.retain(|process| now.duration_since(process.since) < EXITED_RETENTION);
        // Processes that exited between two frames leave reasons that are never used: limit their number.
        if self.reasons.len() > 10 * MAX_EVENTS {
            self.reasons.clear();
        }
    }

    fn row(&self, row: &Value, now: Instant) -> Line {
        let text = |key: &str| text_of(row, key);
        let number = |key: &str| row[key].as_u64().unwrap_or(0);
        let (queue_len, busy) = (number("message_queue_len"), number("busy_ms"));
        let restarts = match number("restarts") {
            0 => String::new(),
            times => format!(" restarts: {times}"),
        };
        let name = format!("{}{}{restarts}", indent(number("depth"), "+- "), text("name"));
        let state = text("state");
        let activity = match state.as_str() {
            "waiting" => "idle".to_owned(),
            "running" if busy > STUCK_AFTER_MS => {
                format!("STUCK {} for {:.1} s", text("activity"), busy as f64 / 1000.0)
            }
            "running" if busy > 0 => format!("{} {busy} ms", text("activity")),
            "running" => text("activity"),
            other => other.to_owned(),
        };
        let what = if text("kind") == "supervisor" { text("what") } else { activity };
        let history = self.histories.get(&text("pid"));
        let chart = history.map(|history| sparkline(&history.queue_lens)).unwrap_or_default();
        let is_new = history.is_some_and(|history| now.duration_since(history.since) < NEW_PROCESS_AGE);
        let colour = match state.as_str() {
            "down" | "zombie" => Colour::Dead,
            _ if busy > STUCK_AFTER_MS => Colour::Dead,
            _ if queue_len >= BACKLOG => Colour::Backlog,
            _ if is_new => Colour::New,
            _ => Colour::Plain,
        };
        Line {
            text: format!("{name:<30} {:<7} {what:<36} messages {queue_len:<4} {chart}", text("pid")),
            colour,
        }
    }
}

impl ExitedProcess {
    fn line(&self, now: Instant) -> Line {
        let ago = now.duration_since(self.since);
        let name = format!("{}{}", indent(self.depth, "x- "), self.name);
        let text = format!("{name:<30} {:<7} {}   {} s ago", self.pid, self.reason, ago.as_secs());
        Line { text, colour: if ago < Duration::from_secs(1) { Colour::Dead } else { Colour::Exited } }
    }
}

fn indent(depth: u64, last: &str) -> String {
    match depth.min(MAX_DEPTH) {
        0 => String::new(),
        depth => format!("{}{last}", "|  ".repeat(depth as usize - 1)),
    }
}

/// Formats numbers as bars, scaled to the highest one.
fn sparkline(numbers: &VecDeque<u64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = numbers.iter().copied().max().unwrap_or(0).max(1);
    let bar = |number: u64| (u128::from(number) * 7 / u128::from(highest)) as usize; // at most 7
    numbers.iter().map(|number| BARS[bar(*number)]).collect()
}

/// Returns a text from the data of the server: clipped, and without what a terminal would execute.
fn text_of(data: &Value, key: &str) -> String {
    printable(clip(data[key].as_str().unwrap_or_default(), MAX_TEXT_CHARS)).into_owned()
}
