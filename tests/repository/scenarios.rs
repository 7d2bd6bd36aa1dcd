//! Every scenario listed in `tests/scenarios/ids.txt` has a test named for it, or a reason why it does not
//! apply here. The name of a scenario's test starts with the id: `EX-01` is `ex_01_...`.

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
    let names = source::files(&tests).iter().flat_map(|(_, text)| source::test_names(text)).collect();
    let found = gaps(&read("scenarios/ids.txt"), &names, &read("scenarios-not-applicable.md"));
    assert!(found.is_empty(), "{} things to mend:\n{}", found.len(), found.join("\n"));
}

/// Returns every fault, one line each: `list` and `reasons` are the texts of the two files.
fn gaps(list: &str, names: &BTreeSet<String>, reasons: &str) -> Vec<String> {
    let (mut found, mut known, mut excused) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for (number, line) in list.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match leading_id(line).zip(line.split_once(" | ")) {
            Some((id, (before, title))) if before == id && !title.trim().is_empty() => {
                if known.insert(id, title).is_some() {
                    found.push(format!("{id}: listed twice in tests/scenarios/ids.txt"));
                }
            }
            _ => found.push(format!("tests/scenarios/ids.txt:{}: not `ID | title`: {line}", number + 1)),
        }
    }
    for line in reasons.lines() {
        let Some(id) = leading_id(line) else { continue };
        let reason = line[id.len()..].trim_matches(|c: char| !c.is_alphanumeric());
        if !known.contains_key(id) {
            found.push(format!("{id}: in scenarios-not-applicable.md, but not a known id"));
        } else if !excused.insert(id) {
            found.push(format!("{id}: twice in scenarios-not-applicable.md"));
        } else if reason.chars().count() < SHORTEST_REASON {
            found.push(format!("{id}: its reason in scenarios-not-applicable.md is too short: `{reason}`"));
        }
    }
    for (id, title) in known {
        let stem = id.to_lowercase().replace('-', "_");
        let test = names.iter().find(|name| **name == stem || name.starts_with(&format!("{stem}_")));
        match (test, excused.contains(id)) {
            (None, false) => {
                found.push(format!("{id}: no test `{stem}_...` and no reason why not ({title})"))
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
    use super::gaps;
    use super::source::test_names;

    const LIST: &str = "EX-01 | big reason\nEX-03 | normal is ignored\n";

    #[track_caller]
    fn found(list: &str, tests: &[&str], reasons: &str, expected: &[&str]) {
        let found = gaps(list, &tests.iter().map(|name| (*name).to_owned()).collect(), reasons);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn a_test_or_a_reason_is_enough() {
        let reasons = "# Heading\ntext about EX-01\n\nEX-03: there is nothing like it among threads\n";
        found(LIST, &["ex_01_a_big_reason", "other"], reasons, &[]);
        found(LIST, &["ex_01", "ex_03_x"], "", &[]);
    }

    #[test]
    fn all_missing_ids_are_named_at_once() {
        found(LIST, &["ex_011_x", "ex_0", "xex_03_x"], "", &["EX-01: no test `ex_01_...`", "EX-03: no test"]);
    }

    #[test]
    fn both_unknown_short_and_double_reasons_are_refused() {
        let reason = "a reason that is long enough";
        let reasons = format!("EX-01 - {reason}\nEX-03: too hard\nEX-99: {reason}\nEX-01: {reason}\n");
        let expected = ["EX-03: its reason", "EX-99: in", "EX-01: twice", "EX-01: has the test `ex_01_x`"];
        found(LIST, &["ex_01_x"], &reasons, &expected);
    }

    #[test]
    fn a_damaged_list_is_refused() {
        let tests = ["ex_01_x"];
        found(
            "EX-01 | a\nEX-01 | b\nEX-1 | c\nEX-02\n",
            &tests,
            "",
            &["listed twice", "ids.txt:3", "ids.txt:4"],
        );
    }

    #[test]
    fn only_tests_that_run_count() {
        let text = r##"
            #[test] fn ex_01_plain() {}
            #[cfg(unix)] #[test] #[should_panic(expected = "x")] pub(crate) fn ex_02_more() {}
            #[test] #[ignore = "slow"] fn ex_03_ignored() {}
            fn ex_04_helper() { let _ = "#[test] fn ex_05_text()"; }
            // #[test] fn ex_06_comment() {}
            /* #[test] */ fn ex_07_half() {}
        "##;
        assert_eq!(test_names(text), ["ex_01_plain", "ex_02_more"]);
    }
}
