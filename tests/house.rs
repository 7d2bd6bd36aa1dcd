//! Which file of `src/` may import which: fails on an upward, circular or roundabout import, with file and line.
//! `cargo test` runs it; whoever adds a file to `src/` gives it its place in [`FLOORS`].

#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;

use std::path::Path;

use rules::{Floors, breaches};

/// Every file of `src/`, floor by floor. A file may import lower floors and *earlier* files of its own floor.
/// Faces are not listed: a `mod.rs` counts as the last file of its folder, `lib.rs` stands above everything.
#[rustfmt::skip]
const FLOORS: Floors<'static> = &[
    /* 0 */ &["unwind", "model/schedule", "model/scheduler", "model/primitives", "model/explore", "sync", "pid", "reason", "unwound",
              "logger"],
    /* 1 */ &["process/linger", "process/wait", "process/queue", "process/threads", "process/settings", "process/signal",
              "process/shards", "process/clock", "process/activity",
              "process/block", "process/table", "process/me", "process/names", "process/feed", "process/zombie", "process/report",
              "process/exit", "process/link", "process/watch", "process/inbox", "process/address", "process/alias",
              "process/timer", "process/spawn", "process/attach", "process/attempt", "process/own", "process/info"],
    /* 2 */ &["child_spec",
              "gen_server/handle", "gen_server/reply", "gen_server/behaviour", "gen_server/cycle",
              "gen_server/call", "gen_server/run", "gen_server/start", "task/error", "or_exit",
              "task/callers", "task/slot", "task/work", "task/handle", "task/start", "task/many",
              "task/crew", "task/stream"],
    /* 3 */ &["supervisor/spec", "supervisor/budget", "supervisor/decide", "supervisor/request",
              "supervisor/children", "supervisor/account", "supervisor/server", "supervisor/client", "supervisor/supervise",
              "dynamic_supervisor/limits", "dynamic_supervisor/request", "dynamic_supervisor/children",
              "dynamic_supervisor/server", "dynamic_supervisor/spec", "dynamic_supervisor/client",
              "dynamic_supervisor/supervise", "task_supervisor/server", "task_supervisor/order",
              "task_supervisor/builder", "task_supervisor/client", "agent",
              "registry/told", "registry/event", "registry/locks", "registry/store", "registry/key", "registry/unique",
              "registry/duplicate", "partition_supervisor",
              "application/error", "application/ending", "application/record", "application/master",
              "application/client", "application/plan"],
    /* 4 */ &["observer"],
];

#[test]
fn every_import_in_src_goes_down() {
    let tree = source::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = breaches(FLOORS, &tree);
    assert!(
        found.is_empty(),
        "{} breaches of the order in tests/house.rs:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The rules themselves, on small trees that break them one at a time.
mod the_rules {
    use super::{Floors, breaches};

    const SMALL: Floors<'static> = &[&["pid", "reason"], &["process/exit", "process/link"], &["server"]];
    const GOOD: [(&str, &str); 7] = [
        ("lib.rs", "pub mod process; pub use process::exit_with; pub use crate::server::Server;"),
        ("pid.rs", "pub struct Pid;"),
        ("reason.rs", "use crate::pid::Pid;"),
        (
            "process/mod.rs",
            "mod exit; mod link; pub use exit::exit_with; pub use self::link::{link, unlink};",
        ),
        ("process/exit.rs", "pub(crate) fn exit_with() { crate::reason::end() }"),
        ("process/link.rs", "use super::exit::{self, exit_with}; pub(in crate::process) struct Link;"),
        ("server.rs", "use crate::{pid::*, process::{exit::exit_with as leave, link}}; use std::fmt;"),
    ];

    /// What is found when one file of the good tree is replaced, or added.
    fn found(path: &str, text: &str) -> Vec<String> {
        let mut tree: Vec<(String, String)> = GOOD.map(|(path, text)| (path.into(), text.into())).to_vec();
        tree.retain(|(other, _)| other != path);
        tree.push((path.into(), text.into()));
        breaches(SMALL, &tree)
    }

    /// Exactly these imports are refused; the circles they close have a test of their own.
    #[track_caller]
    fn refused(path: &str, text: &str, expected: &[&str]) {
        let mut found = found(path, text);
        found.retain(|line| !line.starts_with("circle"));
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn a_good_tree_passes() {
        assert_eq!(found("server.rs", GOOD[6].1), Vec::<String>::new());
    }

    #[test]
    fn an_upward_import_fails_with_its_line() {
        let text = "use crate::{\n    pid::Pid,\n    server::Server,\n};\nfn f() { super::server::go() }";
        let expected =
            ["src/reason.rs:3: `crate::server::Server` is an upward", "src/reason.rs:5: `super::server::go`"];
        refused("reason.rs", text, &expected);
        refused(
            "process/mod.rs",
            "pub use crate::server::Server;",
            &["src/process/mod.rs:1: `crate::server::Server`"],
        );
    }

    #[test]
    fn a_later_file_of_the_same_floor_is_upward() {
        let expected =
            ["src/process/exit.rs:1: `super::link::unlink` is an upward import: process/link stands after"];
        refused("process/exit.rs", "fn bury() { super::link::unlink::<u8>() }", &expected);
    }

    #[test]
    fn a_circle_is_named() {
        let tree = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use super::a::A;")];
        let found = breaches(&[&["c", "b", "a"]], &tree.map(|(path, text)| (path.into(), text.into())));
        let upward = "src/c.rs:1: `super::a::A` is an upward import: a stands after c";
        assert_eq!(found, [upward, "circle: a -> b -> c -> a"]);
    }

    #[test]
    fn an_import_through_a_face_fails() {
        refused(
            "process/link.rs",
            "use crate::process::exit_with;",
            &["link.rs:1: `crate::process::exit_with` goes"],
        );
        refused("process/link.rs", "use super::*;", &["`super::*` goes through a face"]);
        refused(
            "server.rs",
            "use crate::process::{self, exit};",
            &["`crate::process::self` goes through a face"],
        );
        refused(
            "server.rs",
            "macro_rules! m { () => { $crate::Pid } }",
            &["`crate::Pid` goes through a face"],
        );
    }

    #[test]
    fn climbing_two_steps_fails() {
        refused("process/link.rs", "use super::super::pid::Pid;", &["`super::super::pid::Pid` climbs"]);
        refused(
            "process/link.rs",
            "mod m { use super::{exit, super::pid}; }",
            &["`super::super::pid` climbs"],
        );
    }

    #[test]
    fn comments_strings_tests_and_inline_modules_are_not_imports() {
        let text = r##"//! See crate::server::Server.
            /* crate::server /* crate::server::a */ crate::server::b */
            const A: &str = "crate::server::c \" crate::server::d"; const B: &[u8] = br#"crate::server::e""#;
            fn f<'a>(s: &'a str) -> (char, char) { let _ = s; ('\'', '"') }
            mod inner { use super::f; fn g() { super::f("crate::server::h"); } }
            #[cfg(test)] #[allow(unused)] mod tests { use super::*; use crate::server::Server; }
            #[cfg(test)] use crate::server::Server;"##;
        assert_eq!(found("pid.rs", text), Vec::<String>::new());
        refused(
            "pid.rs",
            &format!("{text} use crate::server::Late;"),
            &["src/pid.rs:7: `crate::server::Late`"],
        );
    }

    #[test]
    fn a_file_without_a_place_and_a_place_without_a_file_fail() {
        refused(
            "process/timer.rs",
            "",
            &["src/process/timer.rs: not in FLOORS (tests/house.rs): add \"process/timer\""],
        );
        let found = breaches(&[&["pid", "wait"]], &[("pid.rs".into(), String::new())]);
        assert_eq!(
            found,
            ["src/wait.rs: listed in FLOORS (tests/house.rs) but not there: take its entry out"]
        );
    }
}
