//! Text on its way to a terminal and back: what is not printable is escaped, and names and titles are quoted if the shell
//! would read them differently otherwise.

use std::borrow::Cow;

/// Replaces line breaks by blanks and escapes what is not printable: an exit reason may contain a panic message, and an
/// error may contain what a server has sent.
pub(crate) fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// Escapes each character that is not printable, like `\u{1b}`: control characters, which a terminal would execute, and
/// invisible ones, such as those that change the direction of the text.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_printable(c) => escaped.push(c),
            c => escaped.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

/// Returns the first characters of a text.
pub(crate) fn clip(text: &str, max_chars: usize) -> &str {
    text.char_indices().nth(max_chars).map_or(text, |(end, _)| &text[..end])
}

/// Returns a text as one word of the shell: in double quotes, if it has blanks. [`unquote`] reads it.
pub(crate) fn quoted_word(text: &str) -> Cow<'_, str> {
    quoted(text, text.is_empty() || text.contains(char::is_whitespace))
}

/// Returns a text as the rest of a line of the shell: in double quotes, if it begins or ends with a blank. [`unquote`] reads
/// it.
pub(crate) fn quoted_rest(text: &str) -> Cow<'_, str> {
    quoted(text, text.trim().len() != text.len())
}

fn quoted(text: &str, must_be: bool) -> Cow<'_, str> {
    if !must_be && !text.starts_with('"') && text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            c if is_printable(c) => word.push(c),
            c => word.extend(c.escape_unicode()),
        }
    }
    word.push('"');
    Cow::Owned(word)
}

/// Reads a text in double quotes, in which `\"`, `\\` and `\u{1f6d2}` are the escapes. Returns it with the rest behind the
/// closing quote, or `None` if the text does not begin with a quote or has no end.
pub(crate) fn unquote(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut word = String::new();
    let mut chars = inside.chars();
    loop {
        match chars.next()? {
            '"' => return Some((word, chars.as_str())),
            '\\' => match chars.next()? {
                c @ ('"' | '\\') => word.push(c),
                'u' => {
                    let (digits, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
                    word.push(char::from_u32(code)?);
                    chars = rest.chars();
                }
                _ => return None,
            },
            c => word.push(c),
        }
    }
}

/// Returns `true` if a terminal shows the character as itself.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // `Debug` knows what is printable. At the beginning of a text it escapes combining characters too.
    ['x', c].iter().collect::<String>().escape_debug().nth(1) == Some(c)
}
