//! The page "Differences from Erlang": every row names an existing test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::source;

#[test]
fn every_difference_has_its_reason_and_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/differences.md")).expect("the page");
    let names = ["src", "tests"]
        .iter()
        .flat_map(|folder| source::files(&root.join(folder)))
        .flat_map(|(_, text)| source::test_names(&text))
        .collect();
    let found = gaps(&page, &names);
    assert!(found.is_empty(), "{} rows to mend in docs/differences.md:\n{}", found.len(), found.join("\n"));
}

/// Every name in the tables of limits and hostile moments is that of a test, or of a file of tests.
#[test]
fn every_hostile_moment_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/limits.md")).expect("the page");
    let rows: Vec<_> = page.lines().filter_map(cells).collect();
    let tests: BTreeSet<String> = ["tests", "examples/todo-cache"]
        .iter()
        .flat_map(|folder| source::files(&root.join(folder)).into_iter().map(move |file| (folder, file)))
        .flat_map(|(folder, (path, text))| {
            source::test_names(&text).into_iter().chain([format!("{folder}/{path}")])
        })
        .collect();
    assert!(rows.len() > 40 && rows.iter().all(|row| row.len() == 3), "{rows:#?}");
    for row in &rows {
        let named: Vec<&str> =
            row[2].split(", ").map(|name| name.trim_matches('`')).filter(|name| !name.is_empty()).collect();
        let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
        assert!(missing.is_empty(), "`{}`: there is no test {missing:?}", row[0]);
        let untestable = row[1].contains("not promised")
            || row[1].contains("not supported")
            || row[0].starts_with("two versions");
        assert!(!named.is_empty() || untestable, "`{}` names no test", row[0]);
    }
}

/// Every race that the table of mutations names is the beginning of a test's path: it is a filter for `cargo test`.
#[test]
fn every_mutation_of_the_races_names_its_race() {
    let races = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/races");
    let page = fs::read_to_string(races.join("README.md")).expect("the page");
    let (_, table) = page.split_once("| mutation | detected by |").expect("the table is there");
    let rows: Vec<_> = table.lines().filter_map(cells).collect();
    let mut known = Vec::new();
    for (path, text) in source::files(&races) {
        let area = path.trim_end_matches(".rs");
        known.extend(source::test_names(&text).iter().map(|name| format!("{area}::{name}")));
    }
    let is_known = |filter: &str| known.iter().any(|name| name.starts_with(filter));
    assert!(rows.len() > 40 && rows.iter().all(|row| row.len() == 2), "{rows:#?}");
    let missing: Vec<_> = rows.iter().filter(|row| !is_known(row[1].trim_matches('`'))).collect();
    assert!(missing.is_empty(), "no such race: {missing:#?}");
}

/// Returns the faults in the rows of the page.
fn gaps(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows: Vec<Vec<&str>> = page.lines().filter_map(cells).collect();
    let mut found: Vec<String> = rows.iter().filter_map(|row| gap(row, tests)).collect();
    if rows.is_empty() {
        found.push("there are no rows".to_owned());
    }
    found
}

/// Splits a row into cells; `None` for a heading or a rule.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<&str> = row.split(" |").map(str::trim).collect();
    (!["here", "moment", "---"].contains(&cells[0])).then_some(cells)
}

fn gap(row: &[&str], tests: &BTreeSet<String>) -> Option<String> {
    // A missing feature cannot be tested.
    let absent = row[0].starts_with("no ");
    match row {
        [here, theirs, why, ..] if here.is_empty() || theirs.is_empty() || why.is_empty() => {
            Some(format!("`{here}`: says too little"))
        }
        [_, _, _, ""] | [_, _, _] if absent => None,
        [here, _, _, test] => {
            let test = test.trim_matches('`');
            (!tests.contains(test)).then(|| format!("`{here}`: there is no test `{test}`"))
        }
        _ => Some(format!("`{}`: not four cells", row[0])),
    }
}

/// Tests of the check itself, on small pages.
mod the_check {
    use super::gaps;

    #[track_caller]
    fn found(page: &str, expected: &[&str]) {
        let found = gaps(page, &["a_test".to_owned()].into());
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, part) in found.iter().zip(expected) {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
    }

    #[test]
    fn a_whole_row_is_enough() {
        found(
            "# Head\n| here | Erlang | why | test |\n| --- | --- | --- | --- |\n| a | b | c | `a_test` |\n",
            &[],
        );
        found("| no such thing | there is | threads | |\n", &[]);
    }

    #[test]
    fn a_row_without_its_test_or_its_reason_is_named() {
        let page = "| a | b | c | `gone` |\n| d | e | | `a_test` |\n| f | g | h | |\n| i | j | k |\n";
        found(
            page,
            &["`a`: there is no test `gone`", "`d`: says too little", "`f`: there is no", "`i`: not four"],
        );
        found("", &["there are no rows"]);
    }
}
