//! The rules of the house: finds every import in a source tree that breaks the order of its floors.
//! `tests/house.rs` holds `src/` against them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Word, words};

/// Rows of files, as paths below `src/` without `.rs`; the lowest floor first.
pub(crate) type Floors<'a> = &'a [&'a [&'a str]];

/// Everything that is wrong with a tree of (path below src/, text), one line each.
pub(crate) fn breaches(floors: Floors<'_>, tree: &[(String, String)]) -> Vec<String> {
    let files: BTreeSet<&str> = tree.iter().filter_map(|(path, _)| path.strip_suffix(".rs")).collect();
    let mut found = Vec::new();
    for key in floors.iter().copied().flatten().filter(|key| !files.contains(*key)) {
        found.push(format!(
            "src/{key}.rs: listed in FLOORS (tests/house.rs) but not there: take its entry out"
        ));
    }
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in tree {
        let key = path.trim_end_matches(".rs");
        let Some(own) = place(floors, key) else {
            if !is_face(key) {
                found.push(format!(
                    "src/{path}: not in FLOORS (tests/house.rs): add \"{key}\" to the row of its floor, \
                     after every file it imports"
                ));
            }
            continue;
        };
        for (line, import) in imports(key, &without_tests(words(text))) {
            let said = import.join("::");
            let mut breach = |what: String| found.push(format!("src/{path}:{line}: `{said}` {what}"));
            let Some(module) = absolute(key, &import) else {
                breach("climbs by super::super: start from crate".into());
                continue;
            };
            let Some(target) = defining_file(&files, &module) else {
                if !is_face(key) {
                    breach("goes through a face: name the file that defines it".into());
                }
                continue;
            };
            match place(floors, target) {
                Some(other) if other.0 > own.0 => {
                    breach(format!("is an upward import: floor {} uses floor {}", own.0, other.0));
                }
                Some(other) if other > own => {
                    breach(format!("is an upward import: {target} stands after {key}"))
                }
                _ => {}
            }
            if target != key && !is_face(key) {
                graph.entry(key).or_default().insert(target);
            }
        }
    }
    found.extend(circles(&graph));
    found
}

fn is_face(key: &str) -> bool {
    key == "lib" || key.ends_with("/mod")
}

/// Floor and position of a file; a face has the place of the last file in its folder.
fn place(floors: Floors<'_>, key: &str) -> Option<(usize, usize)> {
    let folder = key.strip_suffix("mod");
    let mut places = floors.iter().enumerate().flat_map(|(floor, row)| {
        row.iter().enumerate().map(move |(position, file)| (*file, (floor, position)))
    });
    match folder {
        _ if key == "lib" => Some((usize::MAX, 0)),
        Some(folder) if folder.ends_with('/') => {
            places.filter(|(file, _)| file.starts_with(folder)).map(|(_, place)| place).max()
        }
        _ => places.find(|(file, _)| *file == key).map(|(_, place)| place),
    }
}

/// An import as a path from the crate's root; `None` if it climbs more than one step.
fn absolute<'a>(key: &'a str, import: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut module: Vec<&str> = Vec::new();
    if import[0] == "super" {
        let own = key.strip_suffix("/mod").unwrap_or(key);
        module.extend(
            own.rsplit_once('/').map_or("", |(folder, _)| folder).split('/').filter(|s| !s.is_empty()),
        );
    }
    module.extend(&import[1..]);
    (!import[1..].contains(&"super")).then_some(module)
}

/// The file a path leads to, or `None` if it ends at a folder's or the crate's face.
fn defining_file<'a>(files: &BTreeSet<&'a str>, module: &[&str]) -> Option<&'a str> {
    (1..=module.len()).find_map(|length| files.get(module[..length].join("/").as_str()).copied())
}

/// Drops every item under `#[cfg(test)]`.
fn without_tests(words: Vec<Word<'_>>) -> Vec<Word<'_>> {
    let (mut kept, mut at) = (Vec::new(), 0);
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    while at < words.len() {
        if !words[at..].iter().map(|word| word.text).take(mark.len()).eq(mark) {
            kept.push(words[at]);
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += mark.len();
        while let Some(word) = words.get(at) {
            at += 1;
            match word.text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(word.text, "}" | ";" | ",") {
                break;
            }
        }
    }
    kept
}

/// Every path that leaves the file: those that start with `crate`, and with `super` outside inline modules.
fn imports<'a>(key: &str, words: &[Word<'a>]) -> Vec<(usize, Vec<&'a str>)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.text);
    let (mut found, mut at, mut depth, mut inline) = (Vec::new(), 0, 0, Vec::new());
    while at < words.len() {
        let visibility = at > 1 && text(at - 1) == "in" && text(at - 2) == "("; // pub(in crate::process)
        let is_path = matches!(text(at), "crate" | "super") && text(at + 1) == "::" && !visibility;
        if is_path && key != "lib" {
            let stays = text(at) == "super" && !inline.is_empty();
            let mut paths = Vec::new();
            at = leaves(words, at, &[], &mut paths);
            found.extend(paths.into_iter().filter(|(_, path)| !stays || path[1..].contains(&"super")));
            continue;
        }
        match text(at) {
            "{" => {
                depth += 1;
                if at > 1 && text(at - 2) == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path at `at`, with its groups, into one path per leaf; returns where it ends.
fn leaves<'a>(
    words: &[Word<'a>],
    mut at: usize,
    stem: &[&'a str],
    found: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let text = |at: usize| words.get(at).map_or("", |word| word.text);
    let (line, mut path) = (words[at].line, stem.to_vec());
    loop {
        if text(at) == "{" {
            at += 1;
            while !matches!(text(at), "}" | "") {
                at = if text(at) == "," { at + 1 } else { leaves(words, at, &path, found) };
            }
            return at + 1;
        }
        path.push(text(at));
        at += 1;
        if text(at) != "::" || text(at + 1) == "<" {
            break;
        }
        at += 1;
    }
    found.push((line, path));
    if text(at) == "as" { at + 2 } else { at }
}

/// One line for each circle of imports, found by walking down from every file.
fn circles(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    fn walk<'a>(
        graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        file: &'a str,
        trail: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
        found: &mut Vec<String>,
    ) {
        if let Some(start) = trail.iter().position(|earlier| *earlier == file) {
            found.push(format!("circle: {} -> {file}", trail[start..].join(" -> ")));
        } else if done.insert(file) {
            trail.push(file);
            for next in graph.get(file).into_iter().flatten() {
                walk(graph, next, trail, done, found);
            }
            trail.pop();
        }
    }
    let (mut done, mut found) = (BTreeSet::new(), Vec::new());
    for file in graph.keys() {
        walk(graph, file, &mut Vec::new(), &mut done, &mut found);
    }
    found
}
