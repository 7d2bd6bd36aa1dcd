//! What a script says: its steps, its definitions of supervisors and children, the flags of servers. Pure.

use std::time::Duration;

use rethread::{AutoShutdown, ChildType, Restart, Shutdown, Strategy};

/// The lines that are steps, without comments and blanks.
pub(super) fn steps(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" #").next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
}

/// `sup S STRATEGY ...`
#[derive(Clone)]
pub(super) struct SupDef {
    /// `None`: one that the library does not have.
    pub(super) strategy: Option<Strategy>,
    pub(super) intensity: u32,
    pub(super) period: Duration,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) children: Vec<ChildDef>,
}

impl SupDef {
    pub(super) fn parse(strategy: &str, options: &[&str]) -> Self {
        let option = |name: &str| options.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let number = |name: &str, default| option(name).map_or(default, number);
        Self {
            strategy: match strategy {
                "one_for_one" => Some(Strategy::OneForOne),
                "one_for_all" => Some(Strategy::OneForAll),
                "rest_for_one" => Some(Strategy::RestForOne),
                _ => None,
            },
            intensity: u32::try_from(number("intensity", 1)).expect("a small number"),
            period: Duration::from_secs(number("period", 5)),
            auto_shutdown: match option("auto_shutdown") {
                Some("any_significant") => AutoShutdown::AnySignificant,
                Some("all_significant") => AutoShutdown::AllSignificant,
                _ => AutoShutdown::Never,
            },
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

/// What a server's `init` does instead of making a state.
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

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of the first flag of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn millis(&self, name: &str) -> Option<Duration> {
        self.get(name).map(millis)
    }

    /// What `init` is to do at this attempt, unless it is to succeed.
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

/// A time-out that may be missing: then it is for ever.
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
