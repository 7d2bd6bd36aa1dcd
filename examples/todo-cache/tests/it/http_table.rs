//! The rows of `HTTP.md` that the parser meets alone. Those that need a connection are in `tests/serve/protocol.rs`.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use crate::todo::http::{MAX_BODY_LEN, ParseError, Parsed, Request, date, parse};

/// Parses a request of which all bytes are there.
#[track_caller]
fn whole(bytes: &str) -> Request {
    match parse(bytes.as_bytes()) {
        Ok(Parsed::Complete(request, used)) if used == bytes.len() => request,
        other => panic!("{bytes:?}: {other:?}"),
    }
}

#[track_caller]
fn bad(bytes: &str) -> ParseError {
    parse(bytes.as_bytes()).expect_err(bytes)
}

/// Returns a POST with these header lines and this body.
fn post(headers: &str, body: &str) -> String {
    format!("POST /done HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

/// Checks that each row of a table has a test, and that the test exists.
#[test]
fn every_row_of_the_table_names_a_test() {
    let sources = [
        include_str!("http.rs"),
        include_str!("http_table.rs"),
        include_str!("../serve.rs"),
        include_str!("../serve/protocol.rs"),
    ];
    let rows: Vec<&str> =
        include_str!("../../HTTP.md").lines().filter(|line| line.starts_with("| ")).collect();
    let mut tests = BTreeSet::new();
    for row in &rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let last = cells[3].trim();
        if last == "test" || last == "---" {
            continue;
        }
        let name =
            last.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or_else(|| panic!("{row}"));
        let function = format!("fn {name}(");
        assert!(sources.iter().any(|source| source.contains(&function)), "there is no test {name}: {row}");
        tests.insert(name);
    }
    assert!(tests.len() > 25, "{tests:?}");
}

#[test]
fn empty_lines_before_a_request_are_ignored() {
    for empty in ["\r\n", "\r\n\r\n", "\n"] {
        assert_eq!(whole(&format!("{empty}{}", post("", ""))).path, "/done");
    }
}

#[test]
fn line_feed_alone_ends_a_line_of_the_head() {
    assert_eq!(whole(&post("x: y\r\n", "").replace("\r\n", "\n")), whole(&post("x: y\r\n", "")));
    assert_eq!(bad(&post("transfer-encoding: chunked\r\n", "5\nhello\n0\n\n")), ParseError::Malformed);
}

#[test]
fn carriage_return_alone_is_malformed() {
    for bytes in [
        "GET / HTTP/1.1\rhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\ry: z\r\n\r\n",
        "GET /\r HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\rGET",
    ] {
        assert_eq!(bad(bytes), ParseError::Malformed, "{bytes:?}");
    }
}

#[test]
fn whitespace_before_the_first_header_is_malformed() {
    for blank in [" ", "\t"] {
        assert_eq!(bad(&format!("GET / HTTP/1.1\r\n{blank}host: x\r\n\r\n")), ParseError::Malformed);
    }
}

#[test]
fn later_minor_version_is_parsed_like_1_1() {
    let of =
        |version: &str| format!("GET /lists HTTP/{version}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    for minor in 2..=9 {
        assert_eq!(whole(&of(&format!("1.{minor}"))), whole(&of("1.1")));
        assert!(whole(&format!("GET / HTTP/1.{minor}\r\nhost: x\r\n\r\n")).keep_alive);
    }
    for version in ["0.9", "2.0", "3.0"] {
        assert_eq!(bad(&of(version)), ParseError::Version, "{version}");
    }
    assert_eq!(bad("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ParseError::Version);
    for version in ["1", "1.", "1.x", "1.12", "x.1", "1.1.1"] {
        assert_eq!(bad(&of(version)), ParseError::Malformed, "{version}");
    }
}

#[test]
fn absolute_address_replaces_the_host() {
    for (address, path) in [
        ("http://localhost:5454/lists", "/lists"),
        ("HTTP://localhost:5454/lists", "/lists"),
        ("http://localhost:5454", "/"),
        ("http://localhost:5454?list=bob", "/"),
    ] {
        let request = whole(&format!("GET {address} HTTP/1.1\r\nhost: evil.example\r\n\r\n"));
        assert_eq!(
            (request.path.as_str(), request.host.as_deref()),
            (path, Some("localhost:5454")),
            "{address}"
        );
        assert_eq!(request.parameter("list").is_some(), address.contains("bob"));
        assert!(!request.is_dns_rebinding());
    }
    assert!(whole("GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n").is_dns_rebinding());
}

#[test]
fn address_has_the_form_that_its_method_allows() {
    let of = |method: &str, address: &str| format!("{method} {address} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(whole(&of("OPTIONS", "*")).path, "*");
    assert_eq!(whole(&of("OPTIONS", "http://localhost")).path, "*");
    assert_eq!(whole(&of("CONNECT", "localhost:80")).path, "localhost:80");
    for (method, address) in [
        ("GET", "*"),
        ("POST", "*"),
        ("GET", "lists"),
        ("GET", "localhost:80"),
        ("GET", "http:///lists"),
        ("GET", "http://:80/lists#x"),
        ("GET", "http://user@localhost/lists"),
        ("GET", "http://a b/lists"),
        ("GET", "ftp://localhost/lists"),
        ("GET", "/lists#fragment"),
    ] {
        let found = bad(&of(method, address));
        assert!(
            matches!(found, ParseError::Address | ParseError::Malformed),
            "{method} {address}: {found:?}"
        );
    }
    assert_eq!(bad(&of("GET", "https://localhost/lists")), ParseError::Misdirected);
    assert_eq!(bad(&of("GET", "HTTPS://localhost/lists")), ParseError::Misdirected);
}

#[test]
fn a_request_has_exactly_one_valid_host() {
    let of = |version: &str, hosts: &str| format!("GET / HTTP/{version}\r\n{hosts}\r\n");
    for host in ["localhost", "127.0.0.1:5454", "[::1]:80", "[::1]", "a-b.example", "", "localhost:", "%41"] {
        let hosts = format!("Host: {host}\r\n");
        assert_eq!(whole(&of("1.1", &hosts)).host.as_deref(), Some(host));
    }
    assert_eq!(whole(&of("1.0", "")).host, None);
    for hosts in [
        "host: a\r\nhost: a\r\n",
        "host: a, b\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: user@a\r\n",
        "host: a:b\r\n",
        "host: a:1:2\r\n",
        "host: [::1\r\n",
        "host: [::1]x\r\n",
        "host: %4\r\n",
        "host: é\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            assert_eq!(bad(&of(version, hosts)), ParseError::Host, "{hosts:?}");
        }
    }
    assert_eq!(bad(&of("1.1", "")), ParseError::Host);
    assert_eq!(bad(&of("1.1", "x-host: a\r\n")), ParseError::Host);
}

#[test]
fn other_transfer_coding_gets_501() {
    for codings in ["gzip, chunked", "x, y, chunked"] {
        assert_eq!(bad(&post(&format!("transfer-encoding: {codings}\r\n"), "")), ParseError::Coding);
    }
    assert_eq!(
        bad(&post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "")),
        ParseError::Coding
    );
}

#[test]
fn chunked_body_is_read() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n1\r\nx\r\n000\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "5;name=value;\"a\"\r\nhello\r\n0 ;x\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "0\r\ntrailer: x\r\nother: y\r\n\r\n",
    ] {
        for coding in ["chunked", "Chunked", ", chunked,"] {
            let bytes = post(&format!("transfer-encoding: {coding}\r\n"), body);
            assert_eq!(whole(&bytes), whole(&post("", "")), "{body:?}");
            // In any two pieces, and with another request behind it.
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes.as_bytes()[..end]), Ok(Parsed::Incomplete), "{:?}", &bytes[..end]);
            }
            let both = format!("{bytes}GET / HTTP/1.1\r\n");
            assert_eq!(parse(both.as_bytes()), Ok(Parsed::Complete(whole(&bytes), bytes.len())));
        }
    }
}

#[test]
fn chunked_body_that_is_wrong_or_too_large_is_refused() {
    let of = |body: &str| post("transfer-encoding: chunked\r\n", body);
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 x\r\nhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhelloGET",
        "5\r\nhello\n0\r\n\r\n",
        "5;\0\r\nhello\r\n",
        "5;\r\r\nhello\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
    ] {
        assert_eq!(bad(&of(body)), ParseError::Malformed, "{body:?}");
    }
    assert_eq!(bad(&of(&format!("5;{}", "x".repeat(1100)))), ParseError::Malformed);
    for size in ["10000", "ffffffffffffffff", "10000000000000000", &"f".repeat(1000)] {
        assert_eq!(bad(&of(&format!("{size}\r\n"))), ParseError::BodyTooLarge, "{size}");
    }
    // By its parts, each of which is small.
    assert_eq!(bad(&of(&"1\r\nx\r\n".repeat(MAX_BODY_LEN / 6 + 1))), ParseError::BodyTooLarge);
    assert_eq!(bad(&of(&format!("0\r\nx: {}", "y".repeat(MAX_BODY_LEN)))), ParseError::BodyTooLarge);
    assert_eq!(bad(&of(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(65)))), ParseError::HeadTooLarge);
}

#[test]
fn empty_elements_of_a_list_are_ignored() {
    assert!(!whole(&post("connection: , ,close,\r\n", "")).keep_alive);
    assert!(whole(&post("connection: ,\r\n", "")).keep_alive);
    assert_eq!(
        parse(post("expect: , 100-continue ,\r\ncontent-length: 1\r\n", "").as_bytes()),
        Ok(Parsed::AwaitsContinue)
    );
    whole(&post("expect:\r\n", ""));
}

#[test]
fn request_awaits_100_until_its_body_begins() {
    for framing in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        let head = post(&format!("Expect: 100-Continue\r\n{framing}"), "");
        assert_eq!(parse(head.as_bytes()), Ok(Parsed::AwaitsContinue));
        assert_eq!(parse(&head.as_bytes()[..head.len() - 1]), Ok(Parsed::Incomplete));
        let begun = format!("{head}{}", if framing.contains("chunked") { "1" } else { "h" });
        assert_eq!(parse(begun.as_bytes()), Ok(Parsed::Incomplete));
    }
    // Without a body there is nothing to wait for.
    whole(&post("expect: 100-continue\r\n", ""));
    // An error that the head shows comes at once.
    assert_eq!(bad(&post("expect: 100-continue\r\ncontent-length: 70000\r\n", "")), ParseError::BodyTooLarge);
}

#[test]
fn expectation_of_http_1_0_is_ignored() {
    for expectation in ["100-continue", "tea"] {
        let head = format!("POST /done HTTP/1.0\r\nexpect: {expectation}\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(parse(head.as_bytes()), Ok(Parsed::Incomplete));
        whole(&format!("{head}hello"));
    }
}

#[test]
fn other_expectation_gets_417() {
    for expectation in ["tea", "100-continue, tea", "100-continue;x"] {
        assert_eq!(
            bad(&post(&format!("expect: {expectation}\r\n"), "")),
            ParseError::Expectation,
            "{expectation}"
        );
    }
}

#[test]
fn date_has_the_format_of_the_rfc() {
    let example = UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(date(example), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(date(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
}
