//! Measures how a Rust source text reads. Each function takes the text of one file and returns line numbers from one.

/// Words and phrases that hide which party does what, by kind. Upper and lower case differ.
pub(crate) const ODD_WORDS: [(&str, &[&str]); 6] = [
    ("who/whoever/whom", &["who", "whoever", "whom"]),
    ("somebody/nobody/anybody/everybody", &["somebody", "nobody", "anybody", "everybody"]),
    ("tell/told/hear/news", &["told", "tells", "tell", "telling", "hears", "hear", "heard", "news"]),
    (
        "born/die/dead/death/bury",
        &[
            "born",
            "birth",
            "births",
            "dies",
            "die",
            "dead",
            "dying",
            "death",
            "deaths",
            "buried",
            "burial",
            "buries",
            "bury",
            "mourned",
            "doomed",
            "undertaker",
            "obituary",
            "estate",
        ],
    ),
    (
        "for ever/just now/in vain/goes on",
        &["for ever", "just now", "in vain", "at last", "all the same", "goes on", "go on"],
    ),
    ("As there/As [`x`]", &["As there", "As [", "As `"]),
];

/// Words that were replaced by standard terms and must not come back. Case does not matter.
pub(crate) const RETIRED_WORDS: [&str; 14] = [
    "whoever",
    "whom",
    "somebody",
    "anybody",
    "everybody",
    "mourned",
    "burial",
    "buried",
    "doomed",
    "undertaker",
    "estate",
    "obituary",
    "linger",
    "lingers",
];

/// First words of a sentence that look like a verb in the third person but are not, or not one to begin with.
const NO_VERBS: [&str; 18] = [
    "Has",
    "Lets",
    "This",
    "Its",
    "As",
    "Is",
    "Always",
    "Sometimes",
    "Unless",
    "Plus",
    "Process",
    "Address",
    "Access",
    "Across",
    "Alias",
    "Status",
    "Class",
    "Yes",
];

/// An odd word of a comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OddWord {
    pub(crate) line: usize,
    /// Index into [`ODD_WORDS`].
    pub(crate) kind: usize,
    pub(crate) word: &'static str,
}

/// The first line of a function's doc comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FunctionDoc<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
    pub(crate) begins_with_verb: bool,
}

/// Lines of code, and plain comments among them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Density {
    pub(crate) code: usize,
    pub(crate) plain: usize,
}

/// Returns the lines of all comments, doc comments included, without their marks and without code blocks.
pub(crate) fn comment_lines(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut in_code_block) = (Vec::new(), false);
    for (number, line) in numbered(text) {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            in_code_block = false;
            continue;
        };
        let comment = comment.strip_prefix(['/', '!']).unwrap_or(comment);
        if comment.trim().starts_with("```") {
            in_code_block = !in_code_block;
        } else if !in_code_block {
            found.push((number, comment));
        }
    }
    found
}

/// Counts the words of all comments.
pub(crate) fn comment_words(text: &str) -> usize {
    let in_word = |c: char| c.is_ascii_alphabetic() || c == '\'';
    comment_lines(text)
        .iter()
        .map(|(_, line)| line.split(|c| !in_word(c)).filter(|word| !word.is_empty()).count())
        .sum()
}

/// Returns the odd words of all comments, in the order of their lines.
pub(crate) fn odd_words(text: &str) -> Vec<OddWord> {
    let mut found = Vec::new();
    for (line, comment) in comment_lines(text) {
        for (kind, (_, words)) in ODD_WORDS.iter().enumerate() {
            for word in *words {
                found.extend((0..count(comment, word)).map(|_| OddWord { line, kind, word }));
            }
        }
    }
    found
}

/// Returns the first line of each function's doc comment.
///
/// Attributes of one line and empty lines may stand between the comment and the function.
pub(crate) fn function_docs(text: &str) -> Vec<FunctionDoc<'_>> {
    let lines: Vec<&str> = text.split('\n').map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(doc) = line.strip_prefix("/// ") else { continue };
        if at > 0 && lines[at - 1].starts_with("///") {
            continue; // not the first line of its block
        }
        let item = lines[at..]
            .iter()
            .find(|line| !(line.is_empty() || line.starts_with("///") || line.starts_with("#[")));
        if item.is_some_and(|item| is_function(item)) {
            found.push(FunctionDoc { line: at + 1, text: doc, begins_with_verb: begins_with_verb(doc) });
        }
    }
    found
}

/// Counts lines of code and plain comments, those at the end of a line of code included.
pub(crate) fn density(text: &str) -> Density {
    let mut density = Density::default();
    for (_, line) in numbered(text) {
        let trimmed = line.trim();
        if trimmed.starts_with("// ") {
            density.plain += 1;
        } else if !trimmed.is_empty() && !trimmed.starts_with("//") {
            density.code += 1;
            density.plain += usize::from(line.contains(" // "));
        }
    }
    density
}

/// Returns the retired words of a text: in identifiers, comments and strings alike, also as part of a longer name
/// (`is_doomed`, `DoomedProcess`).
pub(crate) fn retired_words(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        for word in parts_of_names(line) {
            found.extend(
                RETIRED_WORDS
                    .iter()
                    .filter(|retired| retired.eq_ignore_ascii_case(word))
                    .map(|word| (number, *word)),
            );
        }
    }
    found
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split('\n').enumerate().map(|(at, line)| (at + 1, line))
}

/// Counts the places where `phrase` stands in `text` with no letter right before or after it.
fn count(text: &str, phrase: &str) -> usize {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
    text.match_indices(phrase)
        .filter(|(at, _)| {
            let (before, after) = (&text[..*at], &text[at + phrase.len()..]);
            !is_letter(before.chars().next_back()) && !is_letter(after.chars().next())
        })
        .count()
}

/// Returns `true` if the line begins the definition of a function.
fn is_function(line: &str) -> bool {
    let mut rest = line;
    if let Some(after) = rest.strip_prefix("pub") {
        let scope = after.strip_prefix('(').and_then(|scope| scope.split_once(')'));
        let Some(after) = scope.map_or(after, |(_, after)| after).strip_prefix(' ') else { return false };
        rest = after;
    }
    while let Some(after) = ["const ", "unsafe ", "async "].iter().find_map(|word| rest.strip_prefix(word)) {
        rest = after;
    }
    rest.starts_with("fn ")
}

/// Returns `true` if the first word is a capital, small letters and an `s`, and no known exception.
fn begins_with_verb(doc: &str) -> bool {
    let first = doc.split_whitespace().next().unwrap_or_default();
    let word = first.trim_matches(|c| "`*[],.;:".contains(c));
    let Some(middle) = word.strip_prefix(|c: char| c.is_ascii_uppercase()).and_then(|w| w.strip_suffix('s'))
    else {
        return false;
    };
    let is_small = !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_lowercase());
    is_small && !NO_VERBS.contains(&word)
}

/// Splits a line at everything that is no letter, and names at their humps.
fn parts_of_names(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for name in line.split(|c: char| !c.is_ascii_alphabetic()) {
        let bytes = name.as_bytes();
        let mut start = 0;
        for at in 1..bytes.len() {
            let begins_hump = bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase();
            if begins_hump {
                parts.push(&name[start..at]);
                start = at;
            }
        }
        parts.push(&name[start..]);
    }
    parts
}
