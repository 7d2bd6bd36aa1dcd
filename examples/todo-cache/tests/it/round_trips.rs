//! Names and titles on all ways in and out: what one way shows, every way reads, and it is the same text.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use crate::command::Command;
use crate::text::{printable, quoted_rest, quoted_word, unquote};
use crate::todo::date::Date;
use crate::todo::http::{Parsed, parse};
use crate::todo::list::Entry;
use crate::todo::name::{ListName, Title};
use crate::todo::view;

/// Texts that need care: blanks, quotes, backslashes, what is invisible or changes the direction, what looks like syntax,
/// and the longest.
fn odd_texts() -> Vec<String> {
    let texts = [
        "my list",
        "a  b",
        "\"",
        "\"\"",
        "\"quoted\"",
        "\"half",
        "half\"",
        "in \"the\" middle",
        "\"a\" and \"b\"",
        "\\",
        "\\\"",
        "back\\slash",
        "C:\\NUL",
        "\\u{41}",
        "\"\\u{41}\"",
        "'single'",
        "$HOME `ls` ; rm -rf ~",
        "../../etc/passwd",
        "%20%00&list=x?#+",
        "<script>alert(1)</script>&amp;",
        "{\"list\":1}",
        "event: tree",
        "2026-11-22",
        "é",
        "e\u{301}",
        "\u{301}",
        "買い物",
        "🛒",
        "👨\u{200d}👩\u{200d}👧",
        "\u{202e}gnp.exe",
        "a\u{2066}b\u{2069}",
        "a\u{200b}b",
        "a\u{ad}b",
        "a\u{a0}b",
        "a\u{3000}b",
        "a\u{2028}b",
        "\u{feff}bom",
        "\u{fffd}\u{e000}\u{10ffff}",
        "-",
        "--help",
        "#",
    ];
    let longest = ["x", "🛒", "\"", "\u{202e}", "\u{10ffff}"].map(|filling| filling.repeat(64));
    texts.into_iter().map(str::to_owned).chain(longest).collect()
}

/// Checks one name on the ways of a list, and one title on those of an entry.
fn check(list: &ListName, title: &Title) {
    let date: Date = "2026-11-22".parse().expect("a date");

    // The shell reads what it prints, and nothing of it is executed by a terminal.
    let (shown_list, shown_title) = (quoted_word(list.as_str()), quoted_rest(title.as_str()));
    for shown in [&shown_list, &shown_title] {
        assert_eq!(printable(shown), *shown, "{shown:?} is not printable");
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    let line = format!("add {shown_list} {date} {shown_title}");
    assert!(line.len() <= 4096, "{} bytes are too long for the shell", line.len());
    assert_eq!(Command::parse(&line), Ok(Some(Command::Add(list.clone(), date, title.clone()))), "{line}");
    assert_eq!(
        Command::parse(&format!("  list  {shown_list} ")),
        Ok(Some(Command::List(list.clone(), None)))
    );
    let line = format!("edit {shown_list} 7 {shown_title}");
    assert_eq!(Command::parse(&line), Ok(Some(Command::Edit(list.clone(), 7, title.clone()))), "{line}");
    let process = format!("list:{list}");
    let line = format!("kill {}", quoted_rest(&process));
    assert!(matches!(Command::parse(&line), Ok(Some(Command::Inject(_, name))) if name == process), "{line}");

    // HTTP: as the page and `load` encode it, and as a form does.
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    for (list_text, title_text) in [
        (encoded(list.as_str()), encoded(title.as_str())),
        (encoded(list.as_str()).replace("%20", "+"), encoded(title.as_str()).replace("%20", "+")),
    ] {
        let request = format!(
            "POST /add_entry?list={list_text}&title={title_text} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        );
        let Ok(Parsed::Complete(request, _)) = parse(request.as_bytes()) else { panic!("{request}") };
        assert_eq!(request.parameter("list"), Some(list.as_str()));
        assert_eq!(request.parameter("title"), Some(title.as_str()));
    }

    // JSON, on one line: the page, and the lines of `export`.
    let entry = Entry { id: 1, date, title: title.clone(), done: false };
    let json = view::entries(&[entry]).to_string();
    assert_eq!(json.lines().count(), 1, "{json:?}");
    let back: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(back[0]["title"].as_str(), Some(title.as_str()));
}

#[test]
fn odd_names_and_titles_are_the_same_on_every_way() {
    let list = |text: &str| text.parse::<ListName>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let title = |text: &str| text.parse::<Title>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    for text in odd_texts() {
        check(&list(&text), &title(&text));
        if text.chars().count() < 60 {
            // Blanks around a text are part of a title, and not allowed in a name.
            for padded in [format!(" {text}"), format!("{text} "), format!("\u{3000}{text}  ")] {
                check(&list("bob"), &title(&padded));
            }
        }
    }
    check(&list("bob"), &title(&"\u{10ffff}".repeat(200)));
    check(&list(&"\u{10ffff}".repeat(64)), &title(&"🛒".repeat(200)));
}

#[test]
fn plain_words_need_no_quotes() {
    for text in ["bob", "../x", "Zürich", "買い物", "🛒", "a\"b", "back\\slash", "it's"] {
        assert_eq!(quoted_word(text), text);
        assert_eq!(quoted_rest(text), text);
    }
    assert_eq!(quoted_rest("Dentist  at \"nine\""), "Dentist  at \"nine\"");
    assert_eq!(quoted_word("my list"), "\"my list\"");
    assert_eq!(quoted_word("\"a\\b"), r#""\"a\\b""#);
    assert_eq!(quoted_word("\u{1b}[2J"), r#""\u{1b}[2J""#);
}

#[test]
fn text_that_is_not_quoted_right_is_refused() {
    for text in [
        "",
        "x",
        "\"",
        "\"x",
        "\"\\",
        "\"\\\"",
        "\"\\n\"",
        "\"\\u\"",
        "\"\\u{}\"",
        "\"\\u{d800}\"",
        "\"\\u{110000}\"",
        "\"\\u{+1}\"",
    ] {
        assert_eq!(unquote(text), None, "{text:?}");
    }
    for line in ["list \"x", "list \"x\"y", "list \"\\n\"", "done \"x 1"] {
        let error = Command::parse(line).expect_err(line).to_string();
        assert!(error.contains("double quotes"), "{error}");
    }
    // A title that is not quoted as a whole is taken as it is.
    let Ok(Some(Command::Add(_, _, title))) = Command::parse("add bob 2026-11-22 \"Dune\" by Herbert") else {
        panic!("it is a title");
    };
    assert_eq!(title.as_str(), "\"Dune\" by Herbert");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_name_and_title_are_the_same_on_every_way(list in "\\PC{1,64}|[ \"\\\\a\u{a0}]{1,20}", title in "\\PC{1,200}|[ \"\\\\u{}41]{1,20}") {
        // What is not a name on any way is not one on the others: only valid ones go further.
        if let (Ok(list), Ok(title)) = (list.parse(), title.parse()) {
            check(&list, &title);
        }
    }

    #[test]
    fn any_text_is_read_as_it_was_quoted(text in any::<String>()) {
        let word = quoted_word(&text);
        if word.starts_with('"') {
            prop_assert_eq!(unquote(&word), Some((text.clone(), "")));
        } else {
            prop_assert_eq!(&word, &text);
        }
        prop_assert!(printable(&text).chars().all(|c| !c.is_control()));
    }
}
