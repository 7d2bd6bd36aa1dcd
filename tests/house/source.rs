//! Reads Rust source as words with line numbers, free of comments, strings and character literals.
//! `tests/house.rs`, `tests/scenarios.rs` and `tests/differences.rs` check source files with it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::Path;

/// One word of source: a name, a number, `::`, or a single sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// Every `.rs` file below a folder: its path from there with `/`, and its text. Sorted by path.
pub(crate) fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(folder, "", &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder entry").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            found.push((format!("{prefix}{name}"), text));
        }
    }
}

/// The words of a source text.
pub(crate) fn words(source: &str) -> Vec<Word<'_>> {
    let (mut found, mut line, mut rest) = (Vec::new(), 1, source);
    while !rest.is_empty() {
        let (length, is_word) = piece(rest);
        let (text, after) = rest.split_at(length);
        if is_word {
            found.push(Word { line, text });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// The names of the test functions in a source text; an ignored test proves nothing and does not count.
pub(crate) fn test_names(text: &str) -> Vec<String> {
    let words: Vec<&str> = words(text).iter().map(|word| word.text).collect();
    let (mut found, mut marked, mut ignored) = (Vec::new(), false, false);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "test" => marked |= words[..at].ends_with(&["#", "["]),
            "ignore" => ignored |= words[..at].ends_with(&["#", "["]),
            "fn" => {
                found.extend(words.get(at + 1).filter(|_| marked && !ignored).map(|name| (*name).to_owned()))
            }
            "{" | "}" | ";" => (marked, ignored) = (false, false),
            _ => {}
        }
    }
    found
}

/// How many bytes the first piece of a text takes, and whether it is a word.
fn piece(rest: &str) -> (usize, bool) {
    let first = rest.chars().next().unwrap_or(' ');
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), false)
    } else if rest.starts_with("/*") {
        (block_comment(rest), false)
    } else if let Some(length) = raw_string(rest) {
        (length, false)
    } else if first == '"' {
        (quoted(rest, '"'), false)
    } else if first == '\'' {
        quote(rest)
    } else if in_name(first) {
        (rest.find(|c| !in_name(c)).unwrap_or(rest.len()), true)
    } else if rest.starts_with("::") {
        (2, true)
    } else {
        (first.len_utf8(), !first.is_whitespace())
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(next) = rest[at..].find(['/', '*']) {
        at += next;
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let text = body.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(body.len() - text.len()));
    let inside = text.strip_prefix('"')?;
    let closing = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + closing)
}

/// A literal up to its closing mark, past every escaped sign.
fn quoted(rest: &str, mark: char) -> usize {
    let mut signs = rest.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        if sign == '\\' {
            signs.next();
        } else if sign == mark {
            return at + 1;
        }
    }
    rest.len()
}

/// After a `'` stands a character or the name of a lifetime; only the mark of a lifetime is a word.
fn quote(rest: &str) -> (usize, bool) {
    let mut signs = rest.chars().skip(1);
    match (signs.next(), signs.next()) {
        (Some('\\'), _) | (_, Some('\'')) => (quoted(rest, '\''), false),
        _ => (1, true),
    }
}
