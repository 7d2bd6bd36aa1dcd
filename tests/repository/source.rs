//! Splits Rust source into tokens with line numbers, without comments, strings and character literals.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::Path;

/// One token of source: a name, a number, `::`, or a single punctuation character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// Reads every `.rs` file below a folder, as (path from there with `/`, text), sorted by path.
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

/// Splits a source text into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let (mut found, mut line, mut rest) = (Vec::new(), 1, source);
    while !rest.is_empty() {
        let (length, is_token) = next_piece(rest);
        let (text, after) = rest.split_at(length);
        if is_token {
            found.push(Token { line, text });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// Returns the `//` comments of a source text, each with its line.
pub(crate) fn line_comments(source: &str) -> Vec<(usize, &str)> {
    let (mut found, mut line, mut rest) = (Vec::new(), 1, source);
    while !rest.is_empty() {
        let (text, after) = rest.split_at(next_piece(rest).0);
        if text.starts_with("//") {
            found.push((line, text));
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// Returns the names of the test functions in a source text, without the ignored ones: they prove nothing.
pub(crate) fn test_names(text: &str) -> Vec<String> {
    tests(text).into_iter().map(|(_, name)| name).collect()
}

/// Returns the test functions in a source text, each as the line of its `#[test]` and its name, without the ignored ones.
pub(crate) fn tests(text: &str) -> Vec<(usize, String)> {
    let with_lines = tokens(text);
    let tokens: Vec<&str> = with_lines.iter().map(|token| token.text).collect();
    let (mut found, mut test_line, mut is_ignored) = (Vec::new(), None, false);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "test" if tokens[..at].ends_with(&["#", "["]) => test_line = Some(with_lines[at].line),
            "ignore" => is_ignored |= tokens[..at].ends_with(&["#", "["]),
            "fn" => {
                let name = tokens.get(at + 1).filter(|_| !is_ignored);
                found.extend(test_line.zip(name.map(|name| (*name).to_owned())));
            }
            "{" | "}" | ";" => (test_line, is_ignored) = (None, false),
            _ => {}
        }
    }
    found
}

/// Returns the length in bytes of the first piece of a text, and `true` if it is a token.
fn next_piece(rest: &str) -> (usize, bool) {
    let first = rest.chars().next().unwrap_or(' ');
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), false)
    } else if rest.starts_with("/*") {
        (block_comment_len(rest), false)
    } else if let Some(length) = raw_string_len(rest) {
        (length, false)
    } else if first == '"' {
        (quoted_len(rest, '"'), false)
    } else if first == '\'' {
        character_or_lifetime(rest)
    } else if in_name(first) {
        (rest.find(|c| !in_name(c)).unwrap_or(rest.len()), true)
    } else if rest.starts_with("::") {
        (2, true)
    } else {
        (first.len_utf8(), !first.is_whitespace())
    }
}

/// Returns the length of a block comment, with the comments nested in it.
fn block_comment_len(rest: &str) -> usize {
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

/// Returns the length of a raw string literal, or `None` if the text starts with something else.
fn raw_string_len(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let text = body.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(body.len() - text.len()));
    let inside = text.strip_prefix('"')?;
    let closing = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + closing)
}

/// Returns the length of a literal with its closing quote; escaped characters do not close it.
fn quoted_len(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Distinguishes a character literal, which is skipped whole, from a lifetime, whose `'` is a token.
fn character_or_lifetime(rest: &str) -> (usize, bool) {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (_, Some('\'')) => (quoted_len(rest, '\''), false),
        _ => (1, true),
    }
}
