//! Checks which folders of `src/` import which: an import goes down, by the file that defines the item.

mod rules;

use std::path::Path;

use crate::source;
use rules::{Layers, violations};

/// The layers of `src/`, lowest first. A unit is a folder with all its files, or a file; it may import the units of
/// lower rows and those before it in its own row. The files of one unit may import each other, except in a circle.
const LAYERS: Layers<'static> = &[
    &["unwind", "sync", "pid", "reason", "panic_hook", "exception", "sharded_map", "logger"],
    &["process/park"],
    &["process/control"],
    &["process/error", "process/observe"],
    &["process/names"],
    &["process/signals"],
    &["process/mailbox"],
    &["process/lifecycle"],
    &["call_error", "child_spec", "gen_server"],
    &["agent", "registry"],
    &["supervisor"],
    &["task", "application", "or_exit"],
    &["observer"],
];

#[test]
fn imports_in_src_follow_the_layers() {
    let files = source::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = violations(LAYERS, &files);
    assert!(
        found.is_empty(),
        "{} violations of LAYERS in tests/repository/layers/mod.rs:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Tests the rules on small trees that break them one at a time.
mod small_trees {
    use super::{Layers, violations};

    const SMALL: Layers<'static> =
        &[&["pid", "reason"], &["process/error", "process/signals"], &["process/names"], &["server"]];
    const GOOD: [(&str, &str); 9] = [
        ("lib.rs", "pub mod process; pub use process::exit; pub use crate::server::Server;"),
        ("pid.rs", "pub struct Pid;"),
        ("reason.rs", "use crate::pid::Pid;"),
        ("process/mod.rs", "mod error; pub mod names; mod signals; pub use self::signals::exit::exit_with;"),
        ("process/error.rs", "pub(in crate::process) enum NameError {}"),
        ("process/signals/mod.rs", "pub(crate) mod exit; mod link; pub use exit::exit_with;"),
        ("process/signals/exit.rs", "use super::link; pub(crate) fn exit_with() { crate::reason::end() }"),
        ("process/signals/link.rs", "use crate::process::error::NameError;"),
        ("process/names/mod.rs", "mod table; pub use self::table::Entry; pub fn whereis() { table::get() }"),
    ];
    const MORE: [(&str, &str); 2] = [
        ("process/names/table.rs", "use crate::process::signals::exit::{self, exit_with as leave};"),
        ("server.rs", "use crate::{pid::*, process::names::{self, whereis}}; use std::{fmt, names::Entry};"),
    ];

    /// Checks the good tree with one file replaced, or added.
    fn violations_with(path: &str, text: &str) -> Vec<String> {
        let mut tree: Vec<(String, String)> =
            GOOD.iter().chain(&MORE).map(|(path, text)| ((*path).into(), (*text).into())).collect();
        tree.retain(|(other, _)| other != path);
        tree.push((path.into(), text.into()));
        violations(SMALL, &tree)
    }

    /// Asserts that exactly these violations are found, each given by a part of its line.
    #[track_caller]
    fn assert_violations(path: &str, text: &str, expected: &[&str]) {
        let found = violations_with(path, text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn tree_without_violations_passes() {
        assert_eq!(violations_with(MORE[1].0, MORE[1].1), Vec::<String>::new());
    }

    #[test]
    fn upward_import_is_reported_with_its_line() {
        let text = "use crate::{\n    pid::Pid,\n    server::Server,\n};\nfn f() { super::server::go() }";
        let expected = [
            "src/reason.rs:3: `crate::server::Server` is an upward import: server stands above reason",
            "src/reason.rs:5: `super::server::go` is an upward",
        ];
        assert_violations("reason.rs", text, &expected);
        let expected =
            ["signals/link.rs:1: `crate::process::names::table::get` is an upward import: process/names"];
        assert_violations(
            "process/signals/link.rs",
            "fn f() { crate::process::names::table::get() }",
            &expected,
        );
    }

    #[test]
    fn import_of_later_unit_in_same_row_is_upward() {
        let expected =
            ["src/process/error.rs:1: `super::signals::exit::X` is an upward import: process/signals"];
        assert_violations("process/error.rs", "fn f() { super::signals::exit::X::<u8>() }", &expected);
    }

    #[test]
    fn upward_import_by_mod_file_is_reported() {
        let upward = [
            "src/process/mod.rs:1: `crate::server::Server` is an upward import: server stands above process",
        ];
        assert_violations("process/mod.rs", "pub use crate::server::Server;", &upward);
        let upward = ["src/process/signals/mod.rs:1: `super::names::table` is an upward"];
        assert_violations("process/signals/mod.rs", "pub use super::names::table;", &upward);
    }

    #[test]
    fn innermost_unit_decides_the_layer_of_a_file() {
        let layers: Layers<'_> = &[&["task"], &["supervisor"], &["task/supervisor"]];
        let tree = [
            ("task/mod.rs", "mod start; mod supervisor; pub use self::supervisor::TaskSupervisor;"),
            ("task/start.rs", "use crate::supervisor::Dynamic;"),
            ("task/supervisor.rs", "use crate::supervisor::Dynamic; use super::start;"),
            ("supervisor.rs", ""),
        ];
        let found = violations(layers, &tree.map(|(path, text)| (path.into(), text.into())));
        let upward = "is an upward import: supervisor stands above task in LAYERS";
        assert_eq!(found, [format!("src/task/start.rs:1: `crate::supervisor::Dynamic` {upward}")]);
    }

    #[test]
    fn circle_between_files_of_one_unit_is_named() {
        let tree = [
            ("a/mod.rs", "mod x; mod y; mod z; pub use z::Z;"),
            ("a/x.rs", "use crate::a::y::Y;"),
            ("a/y.rs", "use super::z;"),
            ("a/z.rs", "use super::x::X;"),
        ];
        let found = violations(&[&["a"]], &tree.map(|(path, text)| (path.into(), text.into())));
        assert_eq!(found, ["circle: a/x -> a/y -> a/z -> a/x"]);
    }

    #[test]
    fn circle_between_mod_file_and_its_child_is_named() {
        let circle = ["circle: process/names/mod -> process/names/table -> process/names/mod"];
        assert_violations("process/names/table.rs", "use super::whereis;", &circle);
        assert_violations(
            "process/names/table.rs",
            "use crate::process::names; fn f() { names::whereis() }",
            &circle,
        );
    }

    #[test]
    fn circle_through_an_upward_import_is_reported_once() {
        let upward =
            ["src/pid.rs:1: `crate::reason::Reason` is an upward import: reason stands above pid in LAYERS"];
        assert_violations("pid.rs", "use crate::reason::Reason;", &upward);
    }

    #[test]
    fn reexport_by_mod_file_of_its_own_folder_is_not_an_import() {
        let text = "mod table; pub(crate) use crate::process::names::table::Entry; pub use table::*; pub fn whereis() {}";
        assert_violations("process/names/mod.rs", text, &[]);
        assert_eq!(
            violations_with("process/names/table.rs", "use super::whereis;"),
            ["circle: process/names/mod -> process/names/table -> process/names/mod"]
        );
    }

    #[test]
    fn reexport_that_mod_file_uses_itself_is_an_import() {
        let circle = "circle: process/names/mod -> process/names/table -> process/names/mod";
        for text in [
            "mod table; pub use self::table::get; pub fn whereis() { get() }",
            "mod table; pub use table::{Entry, get as look}; pub fn whereis() { self::look() }",
            "mod table; pub(crate) use crate::process::names::table::Entry; pub fn whereis(_: Entry) {}",
            "mod table; pub use self::table::*; pub fn whereis() { get() }",
        ] {
            let table = "use super::whereis; pub fn get() {} pub struct Entry;";
            let tree = [
                ("process/mod.rs", "pub mod names;"),
                ("process/names/mod.rs", text),
                ("process/names/table.rs", table),
            ];
            let found =
                violations(&[&["process/names"]], &tree.map(|(path, text)| (path.into(), text.into())));
            assert_eq!(found, [circle], "{text}");
        }
        // A method, a definition or a path of the same name is no use of it.
        let text =
            "mod table; pub use self::table::get; pub fn whereis() { a.get(b::get) } impl T { fn get() {} }";
        let tree = [
            ("process/mod.rs", "pub mod names;"),
            ("process/names/mod.rs", text),
            ("process/names/table.rs", "use super::whereis;"),
        ];
        let found = violations(&[&["process/names"]], &tree.map(|(path, text)| (path.into(), text.into())));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn import_of_reexport_is_reported() {
        let expected =
            ["src/server.rs:1: `crate::process::exit_with` goes through src/process/mod.rs, which does not"];
        assert_violations("server.rs", "use crate::process::exit_with;", &expected);
        let expected = ["`crate::process::names::Entry` goes through src/process/names/mod.rs"];
        assert_violations("server.rs", "use crate::process::names::{whereis, Entry};", &expected);
        let expected = ["`n::Entry` goes through src/process/names/mod.rs"];
        assert_violations("server.rs", "use crate::process::names as n; fn f(_: n::Entry) {}", &expected);
        let expected = ["`super::*` goes through src/process/signals/mod.rs"];
        assert_violations("process/signals/link.rs", "use super::*;", &expected);
        let expected = ["`crate::Pid` goes through src/lib.rs"];
        assert_violations("server.rs", "macro_rules! m { () => { $crate::Pid } }", &expected);
    }

    #[test]
    fn import_of_folder_that_defines_nothing_is_reported() {
        let expected = ["`crate::process::self` leads to src/process/mod.rs, which defines nothing itself"];
        assert_violations("server.rs", "use crate::process::{self, error};", &expected);
    }

    #[test]
    fn import_of_item_defined_by_mod_file_is_allowed() {
        let text = "#[cfg(a)] use self::real::Mutex; pub use std::fmt::{Debug as Show, Display}; macro_rules! m { () => {} }
            mod real { pub(crate) mod atomic {} pub(crate) use parking_lot::Mutex; }
            enum E {} trait T {} type A = u8; const C: u8 = 1; static S: u8 = 2; mod table;";
        let mut tree =
            vec![("names/mod.rs".to_owned(), text.to_owned()), ("names/table.rs".into(), "".into())];
        tree.push((
            "user.rs".into(),
            "use crate::names::{self, A, C, E, Mutex, S, Show, T, atomic::X, m};".into(),
        ));
        assert_eq!(violations(&[&["names"], &["user"]], &tree), Vec::<String>::new());
        tree.push(("other.rs".into(), "use crate::names::{Debug, private};".into()));
        let found = violations(&[&["names"], &["user", "other"]], &tree);
        assert_eq!(found.len(), 2, "{found:#?}");
    }

    #[test]
    fn path_with_two_supers_is_reported() {
        assert_violations(
            "process/signals/link.rs",
            "use super::super::error;",
            &["`super::super::error` climbs"],
        );
        let expected = ["`super::super::error` climbs"];
        assert_violations("process/signals/link.rs", "mod m { use super::{exit, super::error}; }", &expected);
    }

    #[test]
    fn path_with_self_and_super_is_reported() {
        for file in ["process/signals/link.rs", "process/signals/mod.rs"] {
            assert_violations(file, "use self::super::error;", &["`self::super::error` climbs"]);
            assert_violations(
                file,
                "fn f() { self::super::error::g() }",
                &["`self::super::error::g` climbs"],
            );
        }
        assert_violations("process/signals/link.rs", "use self::inner::X; mod inner { pub struct X; }", &[]);
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
        assert_eq!(violations_with("pid.rs", text), Vec::<String>::new());
        let text = format!("{text} use crate::server::Late;");
        assert_violations("pid.rs", &text, &["src/pid.rs:7: `crate::server::Late`"]);
    }

    #[test]
    fn new_file_in_listed_folder_needs_no_entry() {
        assert_violations("process/signals/deep/cleanup.rs", "use crate::pid::Pid;", &[]);
        assert_violations("process/signals/cleanup.rs", "use crate::pid::Pid;", &[]);
    }

    #[test]
    fn file_without_unit_is_reported_once_with_the_entry_to_add() {
        let file = [
            "src/process/timer.rs: not covered by LAYERS (tests/repository/layers/mod.rs): add \"process/timer\" to a row",
        ];
        assert_violations("process/timer.rs", "", &file);
        let folder = [
            "src/process/park/mod.rs: not covered by LAYERS (tests/repository/layers/mod.rs): add \"process/park\" to",
        ];
        let mut tree =
            vec![("process/park/mod.rs".into(), "".into()), ("process/park/parker.rs".into(), "".into())];
        tree.push(("process/error.rs".to_owned(), String::new()));
        let found = violations(&[&["process/error"]], &tree);
        assert!(found.len() == 1 && found[0].starts_with(folder[0]), "{found:#?}");
        let found = violations(&[&["process/error"]], &[tree.remove(2), ("task/a/b.rs".into(), "".into())]);
        assert!(found.len() == 1 && found[0].contains("add \"task\" to a row"), "{found:#?}");
    }

    #[test]
    fn unit_without_file_is_reported() {
        let found = violations(&[&["pid", "park"]], &[("pid.rs".into(), String::new())]);
        assert_eq!(
            found,
            ["src/park: listed in LAYERS (tests/repository/layers/mod.rs), but not there: remove its entry"]
        );
    }
}
