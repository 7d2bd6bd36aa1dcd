//! Every scenario listed in `tests/repository/scenarios/ids.txt` has a test, or a reason why it does not apply here.
//! The test of a scenario has the comment `// scenario: EX-01` in the line above `#[test]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source;

const SHORTEST_REASON: usize = 20;

#[test]
fn every_scenario_has_a_test_or_a_reason() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read =
        |name: &str| fs::read_to_string(tests.join(name)).unwrap_or_else(|why| panic!("tests/{name}: {why}"));
    let marks: Vec<Mark> = source::files(&tests).iter().flat_map(|(path, text)| marks(path, text)).collect();
    let [list, reasons] =
        ["ids.txt", "not-applicable.md"].map(|file| read(&format!("repository/scenarios/{file}")));
    let found = gaps(&list, &marks, &reasons);
    assert!(found.is_empty(), "{} things to mend:\n{}", found.len(), found.join("\n"));
}

/// A comment that names the scenario of a test.
struct Mark {
    /// What the comment names.
    id: String,
    /// The file and line of the comment.
    place: String,
    /// The test in the next line; `None` if that does not begin a test that runs.
    test: Option<String>,
}

/// Returns the scenario comments of a file.
fn marks(path: &str, text: &str) -> Vec<Mark> {
    let tests = source::tests(text);
    let lines: Vec<&str> = text.lines().collect();
    let mark = |(line, comment): (usize, &str)| {
        let id = comment.strip_prefix("// scenario:")?.trim().to_owned();
        // A comment at the end of a line of code is above nothing.
        let is_alone = lines[line - 1].trim_start().starts_with("//");
        let below = tests.iter().find(|(below, _)| is_alone && *below == line + 1);
        Some(Mark { id, place: format!("tests/{path}:{line}"), test: below.map(|(_, name)| name.clone()) })
    };
    source::line_comments(text).into_iter().filter_map(mark).collect()
}

/// Returns every fault, one line each: `list` and `reasons` are the texts of the two files.
fn gaps(list: &str, marks: &[Mark], reasons: &str) -> Vec<String> {
    let (mut found, mut known, mut excused) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for (number, line) in list.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match leading_id(line).zip(line.split_once(" | ")) {
            Some((id, (before, title))) if before == id && !title.trim().is_empty() => {
                if known.insert(id, title).is_some() {
                    found.push(format!("{id}: listed twice in tests/repository/scenarios/ids.txt"));
                }
            }
            _ => found
                .push(format!("tests/repository/scenarios/ids.txt:{}: not `ID | title`: {line}", number + 1)),
        }
    }
    for line in reasons.lines() {
        let Some(id) = leading_id(line) else { continue };
        let reason = line[id.len()..].trim_matches(|c: char| !c.is_alphanumeric());
        if !known.contains_key(id) {
            found.push(format!("{id}: in not-applicable.md, but not a known id"));
        } else if !excused.insert(id) {
            found.push(format!("{id}: twice in not-applicable.md"));
        } else if reason.chars().count() < SHORTEST_REASON {
            found.push(format!("{id}: its reason in not-applicable.md is too short: `{reason}`"));
        }
    }
    for Mark { id, place, test } in marks {
        if !known.contains_key(id.as_str()) {
            found.push(format!("{place}: `{id}` is not a known id"));
        } else if test.is_none() {
            found.push(format!("{place}: {id} is not directly above the `#[test]` of a test that runs"));
        }
    }
    for (id, title) in known {
        let test = marks.iter().filter(|mark| mark.id == id).find_map(|mark| mark.test.as_ref());
        match (test, excused.contains(id)) {
            (None, false) => {
                found.push(format!("{id}: no test with `// scenario: {id}` and no reason why not ({title})"))
            }
            (Some(test), true) => {
                found.push(format!("{id}: has the test `{test}` and a reason not to have one"))
            }
            _ => {}
        }
    }
    found
}

/// Returns the id at the start of a line: two capitals, a dash, two digits.
fn leading_id(line: &str) -> Option<&str> {
    let (id, rest) = line.split_at_checked(5)?;
    let shape = |(at, c): (usize, char)| match at {
        0 | 1 => c.is_ascii_uppercase(),
        2 => c == '-',
        _ => c.is_ascii_digit(),
    };
    (id.chars().enumerate().all(shape) && !rest.starts_with(|c: char| c.is_alphanumeric())).then_some(id)
}

/// Tests of the check itself, on small lists.
mod the_check {
    use super::{Mark, gaps, marks};

    const LIST: &str = "EX-01 | big reason\nEX-03 | normal is ignored\n";

    /// Checks the list with tests for these scenarios.
    #[track_caller]
    fn found(list: &str, ids: &[&str], reasons: &str, expected: &[&str]) {
        let mark =
            |id: &&str| Mark { id: (*id).into(), place: "tests/a.rs:1".into(), test: Some("name".into()) };
        let marks: Vec<Mark> = ids.iter().map(mark).collect();
        assert_faults(&gaps(list, &marks, reasons), expected);
    }

    #[track_caller]
    fn assert_faults(found: &[String], expected: &[&str]) {
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn a_test_or_a_reason_is_enough() {
        let reasons = "# Heading\ntext about EX-01\n\nEX-03: there is nothing like it among threads\n";
        found(LIST, &["EX-01"], reasons, &[]);
        found(LIST, &["EX-01", "EX-03"], "", &[]);
    }

    #[test]
    fn all_missing_ids_are_named_at_once() {
        found(LIST, &[], "", &["EX-01: no test with `// scenario: EX-01`", "EX-03: no test"]);
    }

    #[test]
    fn unknown_and_damaged_ids_of_tests_are_refused() {
        let expected = ["a.rs:1: `EX-011` is not a known id", "a.rs:1: `ex_03`", "a.rs:1: `EX-01, EX-03`"];
        found(LIST, &["EX-01", "EX-03", "EX-011", "ex_03", "EX-01, EX-03"], "", &expected);
    }

    #[test]
    fn both_unknown_short_and_double_reasons_are_refused() {
        let reason = "a reason that is long enough";
        let reasons = format!("EX-01 - {reason}\nEX-03: too hard\nEX-99: {reason}\nEX-01: {reason}\n");
        let expected = ["EX-03: its reason", "EX-99: in", "EX-01: twice", "EX-01: has the test `name`"];
        found(LIST, &["EX-01"], &reasons, &expected);
    }

    #[test]
    fn a_damaged_list_is_refused() {
        let list = "EX-01 | a\nEX-01 | b\nEX-1 | c\nEX-02\n";
        found(list, &["EX-01"], "", &["listed twice", "ids.txt:3", "ids.txt:4"]);
    }

    #[test]
    fn only_tests_that_run_count() {
        let text = r##"
            // scenario: EX-01
            #[test] fn plain() {}
            // scenario: EX-02
            #[test]
            #[should_panic(expected = "x")]
            pub(crate) fn more() {}
            // scenario: EX-03
            #[test]
            #[ignore = "slow"]
            fn ignored() {}
            // scenario: EX-04
            fn helper() { let _ = "#[test] fn text()"; }
            // scenario: EX-05
            // #[test] fn comment() {}
            /* #[test] */ fn half() {} // scenario: EX-06
            #[test] fn below_a_comment_at_the_end() {}
            const TEXT: &str = "
            // scenario: EX-07
            ";
            #[test] fn below_a_text() {}
            // scenario: EX-08

            #[test] fn not_directly_below() {}
        "##;
        let found = marks("a.rs", text);
        let listed: Vec<_> = found.iter().map(|mark| (mark.id.as_str(), mark.test.as_deref())).collect();
        let runs = [("EX-01", Some("plain")), ("EX-02", Some("more"))];
        let others = ["EX-03", "EX-04", "EX-05", "EX-06", "EX-08"].map(|id| (id, None));
        assert_eq!(listed, [&runs[..], &others[..]].concat());
        assert_faults(
            &gaps("EX-01 | a\nEX-03 | c\n", &found[..3], ""),
            &["a.rs:4: `EX-02` is not a", "a.rs:8: EX-03 is not directly above", "EX-03: no test"],
        );
    }
}
