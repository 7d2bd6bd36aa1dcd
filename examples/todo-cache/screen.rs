//! The picture that `watch` draws: from what the server sends to lines of text, each with a colour. Pure: the time and the
//! size of the terminal are parameters.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a process counts as young, and a dead one is remembered.
const YOUNG: Duration = Duration::from_secs(3);
const GRAVE: Duration = Duration::from_secs(5);
/// A handler that takes longer is stuck.
const STUCK: u64 = 1000;
/// So many unread messages are a backlog.
const BACKLOG: u64 = 10;
/// How many looks back the little chart of the mail goes, and how many lines of news are kept.
const HISTORY: usize = 6;
const NEWS: usize = 100;

/// How a line is to stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    Young,
    Backlog,
    Dead,
    Grave,
}

/// One line of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) colour: Colour,
}

/// What was seen of one process.
struct Seen {
    since: Instant,
    mail: VecDeque<u64>,
}

/// A process that is gone, where it stood.
struct Grave {
    since: Instant,
    /// The row it stood below.
    after: Option<String>,
    depth: usize,
    name: String,
    pid: String,
    reason: String,
}

/// What is remembered from one picture to the next.
#[derive(Default)]
pub(crate) struct Screen {
    seen: HashMap<String, Seen>,
    graves: Vec<Grave>,
    rows: Vec<(String, usize, String)>,
    reasons: HashMap<String, String>,
    news: VecDeque<String>,
    counted: Option<(Instant, u64)>,
}

impl Screen {
    /// Takes note of a piece of news.
    pub(crate) fn hear(&mut self, life: &Value) {
        let text = |key: &str| life[key].as_str().unwrap_or_default();
        if text("kind") == "exited" {
            self.reasons.insert(text("pid").to_owned(), text("text").to_owned());
        }
        let name = text("name");
        if !name.starts_with("web.connection") {
            self.news.push_front(format!("{} {name} {} {}", text("at"), text("pid"), text("text")));
            self.news.truncate(NEWS);
        }
    }

    /// The picture of a tree, as wide and as high as the terminal is; all of it if that is not known.
    pub(crate) fn draw(&mut self, tree: &Value, now: Instant, size: Option<(usize, usize)>) -> Vec<Line> {
        let rows: Vec<&Value> = tree["tree"].as_array().map(|rows| rows.iter().collect()).unwrap_or_default();
        self.remember(&rows, now);
        let mut lines = vec![Line { text: self.headline(tree, now), colour: Colour::Plain }];
        for row in &rows {
            lines.push(self.row(row, now));
            let pid = row["pid"].as_str();
            let graves = self.graves.iter().filter(|grave| grave.after.as_deref() == pid);
            lines.extend(graves.map(|grave| grave.line(now)));
        }
        let rows: usize = lines.len();
        let room = size.map_or(10, |(_, height)| height.saturating_sub(rows + 1).min(10));
        lines.extend(
            self.news.iter().take(room).map(|text| Line { text: text.clone(), colour: Colour::Plain }),
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
        let rate = match self.counted.replace((now, requests)) {
            Some((then, before)) if now > then => {
                requests.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64()
            }
            _ => 0.0,
        };
        format!(
            "todo-cache  shape {}   up {:02}:{:02}   processes {}   restarts {}   zombies {}   {rate:.0} requests/s",
            tree["shape"].as_str().unwrap_or("?"),
            uptime / 60,
            uptime % 60,
            number("processes"),
            number("restarts"),
            number("zombies"),
        )
    }

    /// Compares with the picture before: who is new, who is gone.
    fn remember(&mut self, rows: &[&Value], now: Instant) {
        let first = self.rows.is_empty();
        let mut now_there = Vec::new();
        for row in rows {
            let Some(pid) = row["pid"].as_str() else { continue };
            // Whoever was there at the first look is not young.
            let since = if first { now.checked_sub(YOUNG).unwrap_or(now) } else { now };
            let seen =
                self.seen.entry(pid.to_owned()).or_insert_with(|| Seen { since, mail: VecDeque::new() });
            seen.mail.push_back(row["mail"].as_u64().unwrap_or(0));
            if seen.mail.len() > HISTORY {
                seen.mail.pop_front();
            }
            let depth = row["depth"].as_u64().unwrap_or(0) as usize;
            now_there.push((pid.to_owned(), depth, row["name"].as_str().unwrap_or_default().to_owned()));
        }
        let before = std::mem::replace(&mut self.rows, now_there);
        let mut above = None;
        for (pid, depth, name) in before {
            if self.rows.iter().any(|(other, ..)| *other == pid) {
                above = Some(pid);
            } else if !name.starts_with("web.connection") {
                self.seen.remove(&pid);
                let reason = self.reasons.remove(&pid).unwrap_or_else(|| "gone".to_owned());
                self.graves.push(Grave { since: now, after: above.clone(), depth, name, pid, reason });
            }
        }
        self.graves.retain(|grave| now.duration_since(grave.since) < GRAVE);
        // The reasons of those that were never seen in a tree are not kept.
        if self.reasons.len() > 10 * NEWS {
            self.reasons.clear();
        }
    }

    fn row(&self, row: &Value, now: Instant) -> Line {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let number = |key: &str| row[key].as_u64().unwrap_or(0);
        let (mail, busy) = (number("mail"), number("busy_ms"));
        let again = match number("restarts") {
            0 => String::new(),
            times => format!(" again x{times}"),
        };
        let name = format!("{}{}{again}", indent(number("depth"), "+- "), text("name"));
        let doing = match text("state") {
            "waiting" => "idle".to_owned(),
            "running" if busy > STUCK => {
                format!("STUCK {} for {:.1} s", text("activity"), busy as f64 / 1000.0)
            }
            "running" if busy > 0 => format!("{} {busy} ms", text("activity")),
            "running" => text("activity").to_owned(),
            other => other.to_owned(),
        };
        let what = if text("kind") == "supervisor" { text("what").to_owned() } else { doing };
        let seen = self.seen.get(text("pid"));
        let chart = seen.map(|seen| sparkline(&seen.mail)).unwrap_or_default();
        let young = seen.is_some_and(|seen| now.duration_since(seen.since) < YOUNG);
        let colour = match text("state") {
            "down" | "zombie" => Colour::Dead,
            _ if busy > STUCK => Colour::Dead,
            _ if mail >= BACKLOG => Colour::Backlog,
            _ if young => Colour::Young,
            _ => Colour::Plain,
        };
        Line { text: format!("{name:<30} {:<7} {what:<36} mail {mail:<4} {chart}", text("pid")), colour }
    }
}

impl Grave {
    fn line(&self, now: Instant) -> Line {
        let ago = now.duration_since(self.since);
        let name = format!("{}{}", indent(self.depth as u64, "x- "), self.name);
        let text = format!("{name:<30} {:<7} {}   {} s ago", self.pid, self.reason, ago.as_secs());
        Line { text, colour: if ago < Duration::from_secs(1) { Colour::Dead } else { Colour::Grave } }
    }
}

fn indent(depth: u64, last: &str) -> String {
    match depth {
        0 => String::new(),
        depth => format!("{}{last}", "|  ".repeat(depth as usize - 1)),
    }
}

/// Numbers as little bars, the highest one as high as there is.
fn sparkline(numbers: &VecDeque<u64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    numbers.iter().map(|number| BARS[(number * 7 / most) as usize]).collect()
}
