//! The parser of the scripts: steps, definitions of supervisors and children, flags of servers. Must stay
//! free of side effects.

use std::time::Duration;

use rethread::supervisor::{AutoShutdown, ChildType, Restart, Shutdown, Strategy};

/// Returns the lines that are steps, without comments and blank lines.
pub(super) fn steps(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" #").next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
}

/// `STRATEGY`
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Static(Strategy),
    /// Erlang's `simple_one_for_one`: a dynamic supervisor with a template for its children.
    Simple,
    /// Elixir's `DynamicSupervisor`.
    Dynamic,
}

/// `sup S STRATEGY ...`
#[derive(Clone)]
pub(super) struct SupDef {
    /// `None`: an unknown strategy.
    pub(super) kind: Option<Kind>,
    pub(super) intensity: u32,
    pub(super) period: Duration,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) max_children: Option<usize>,
    /// For `Simple`: the template.
    pub(super) children: Vec<ChildDef>,
}

impl SupDef {
    pub(super) fn parse(strategy: &str, options: &[&str]) -> Self {
        let option = |name: &str| options.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let numeric = |name: &str, default| option(name).map_or(default, number);
        Self {
            kind: match strategy {
                "one_for_one" => Some(Kind::Static(Strategy::OneForOne)),
                "one_for_all" => Some(Kind::Static(Strategy::OneForAll)),
                "rest_for_one" => Some(Kind::Static(Strategy::RestForOne)),
                "simple_one_for_one" => Some(Kind::Simple),
                "dynamic" => Some(Kind::Dynamic),
                _ => None,
            },
            intensity: u32::try_from(numeric("intensity", 1)).expect("a small number"),
            period: Duration::from_secs(numeric("period", 5)),
            auto_shutdown: match option("auto_shutdown") {
                Some("any_significant") => AutoShutdown::AnySignificant,
                Some("all_significant") => AutoShutdown::AllSignificant,
                _ => AutoShutdown::Never,
            },
            max_children: option("max_children")
                .map(|limit| usize::try_from(number(limit)).expect("a small number")),
            children: Vec::new(),
        }
    }
}

/// `LABEL RESTART SHUTDOWN TYPE [significant] [FLAG...]`
#[derive(Clone)]
pub(super) struct ChildDef {
    pub(super) label: String,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) child_type: ChildType,
    pub(super) significant: bool,
    pub(super) flags: Flags,
}

impl ChildDef {
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let [label, restart, shutdown, child_type, flags @ ..] = words else {
            return None;
        };
        Some(Self {
            label: (*label).to_owned(),
            restart: match *restart {
                "permanent" => Restart::Permanent,
                "transient" => Restart::Transient,
                "temporary" => Restart::Temporary,
                _ => return None,
            },
            shutdown: match *shutdown {
                "brutal" => Shutdown::BrutalKill,
                "infinity" => Shutdown::Infinity,
                ms => Shutdown::Timeout(millis(ms)),
            },
            child_type: match *child_type {
                "supervisor" => ChildType::Supervisor,
                _ => ChildType::Worker,
            },
            significant: flags.contains(&"significant"),
            flags: Flags::parse(flags),
        })
    }
}

/// How a server's `init` refuses to start.
pub(super) enum Refusal {
    Fail(String),
    Raise(String),
    Leave(String),
    Ignore,
    Bad,
}

/// The flags of a scripted server: `NAME` or `NAME=VALUE`.
#[derive(Clone, Default)]
pub(super) struct Flags(Vec<(String, String)>);

impl Flags {
    pub(super) fn parse(words: &[&str]) -> Self {
        let halves = |word: &&str| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(words.iter().map(halves).collect())
    }

    /// Combines two lists of flags; the first of a name counts.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the value of the first flag of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn millis(&self, name: &str) -> Option<Duration> {
        self.get(name).map(millis)
    }

    /// Returns how `init` is to refuse this attempt; `None` if it is to succeed.
    pub(super) fn refusal(&self, attempt: u32) -> Option<Refusal> {
        self.0.iter().find_map(|(name, value)| {
            let (range, reason) = value.split_once(':').unwrap_or((value, ""));
            let reason = reason.to_owned();
            let refusal = match name.as_str() {
                "fail" => Refusal::Fail(reason),
                "raise" => Refusal::Raise(reason),
                "leave" => Refusal::Leave(reason),
                "ignore" => Refusal::Ignore,
                "bad_init" => Refusal::Bad,
                _ => return None,
            };
            let (first, last) = range.split_once('-').expect("a range of attempts");
            (number(first)..=number(last)).contains(&attempt.into()).then_some(refusal)
        })
    }
}

/// Parses a timeout; a missing one means infinity.
pub(super) fn limit(words: &[&str]) -> Duration {
    match words {
        [] | ["infinity", ..] => Duration::MAX,
        [ms, ..] => millis(ms),
    }
}

pub(super) fn millis(word: &str) -> Duration {
    Duration::from_millis(number(word))
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}
