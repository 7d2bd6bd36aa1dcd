//! What comes into the example `todo-cache` as bytes: its HTTP parser and its responses, and the lines of its shell. Nothing
//! here has a process. `TODO_FUZZ_SECONDS=600 cargo test -p todo-cache --test it fuzz -- --nocapture` runs longer.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::command::{Command, CommandParseError};
use crate::text::{quoted_rest, quoted_word};
use crate::todo::http::{
    MAX_BODY_LEN, MAX_HEAD_LEN, MAX_LINE_LEN, ParseError, Parsed, Request, Response, parse,
};
use crate::todo::name::{ListName, Title};

/// Parses a request of which all bytes are there.
#[track_caller]
fn whole(bytes: impl AsRef<[u8]>) -> Request {
    let bytes = bytes.as_ref();
    match parse(bytes) {
        Ok(Parsed::Complete(request, used)) => {
            assert_eq!(used, bytes.len(), "{request:?}");
            request
        }
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[track_caller]
fn bad(bytes: impl AsRef<[u8]>) -> ParseError {
    let bytes = bytes.as_ref();
    parse(bytes).expect_err(&String::from_utf8_lossy(bytes))
}

/// Returns a request to this address, with no header but the host.
fn asks(address: &str) -> String {
    format!("GET {address} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Returns a request with these header lines and a host, followed by a body.
fn posts(headers: &str, body: &str) -> String {
    let has_host = headers.to_ascii_lowercase().starts_with("host:");
    let host = if has_host { "" } else { "host: localhost\r\n" };
    format!("POST /done HTTP/1.1\r\n{host}{headers}\r\n{body}")
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

mod requests {
    use super::*;

    const BROWSERS: &str = "POST /add_entry?list=bob%27s&date=2026-11-22&title=Dentist+at%209%2B HTTP/1.1\r\nHost: 127.0.0.1:5454\r\n\
                            origin: http://127.0.0.1:5454\r\nX-Todo: 1\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn request_of_a_browser_is_parsed() {
        let expected = Request {
            method: "POST".into(),
            path: "/add_entry".into(),
            query: vec![pair("list", "bob's"), pair("date", "2026-11-22"), pair("title", "Dentist at 9+")],
            host: Some("127.0.0.1:5454".into()),
            origin: Some("http://127.0.0.1:5454".into()),
            has_csrf_header: true,
            keep_alive: true,
            if_match: None,
            if_none_match: None,
        };
        assert_eq!(whole(BROWSERS), expected);
        assert_eq!(expected.parameter("title"), Some("Dentist at 9+"));
        assert_eq!(expected.parameter("id"), None);

        let bare = whole("GET / HTTP/1.0\r\n\r\n");
        assert_eq!((bare.path.as_str(), bare.query.len(), bare.host, bare.origin), ("/", 0, None, None));
        assert!(!bare.has_csrf_header && !bare.keep_alive);
    }

    #[test]
    fn request_in_pieces_is_the_same_request() {
        let bytes = BROWSERS.as_bytes();
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end} bytes");
        }
        whole(bytes);
    }

    #[test]
    fn first_of_two_requests_in_one_piece_is_parsed() {
        let both = [BROWSERS, &asks("/lists")].concat();
        for end in BROWSERS.len()..=both.len() {
            let first = parse(&both.as_bytes()[..end]).expect("good");
            assert_eq!(first, Parsed::Complete(whole(BROWSERS), BROWSERS.len()), "{end} bytes");
        }
        assert_eq!(whole(&both[BROWSERS.len()..]).path, "/lists");
    }

    #[test]
    fn keep_alive_depends_on_version_and_connection_header() {
        let cases = [
            ("1.1", "", true),
            ("1.1", "connection: keep-alive\r\n", true),
            ("1.1", "connection: close\r\n", false),
            ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
            ("1.1", "connection: closed\r\n", true),
            ("1.1", "connection: keep-alive\r\nconnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "connection: Keep-Alive\r\n", true),
            ("1.0", "connection: close\r\n", false),
        ];
        for (version, header, expected) in cases {
            let request = whole(format!("GET / HTTP/{version}\r\nhost: x\r\n{header}\r\n"));
            assert_eq!(request.keep_alive, expected, "HTTP/{version} {header:?}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_keep_their_order() {
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 8] = [
            ("/entries", "/entries", &[]),
            ("/entries?", "/entries", &[]),
            ("/a%20b%2Fc+d", "/a b/c+d", &[]),
            ("/?a=1&b=2&a=3", "/", &[("a", "1"), ("b", "2"), ("a", "3")]),
            ("/?&&a&b=&=c&", "/", &[("a", ""), ("b", ""), ("", "c")]),
            ("/?a=b=c?d%26e", "/", &[("a", "b=c?d&e")]),
            ("/?%6Cist=%C3%9Cber+%F0%9F%9B%92", "/", &[("list", "Über 🛒")]),
            ("/?a=%00%0D%0A", "/", &[("a", "\0\r\n")]),
        ];
        for (address, path, query) in cases {
            let request = whole(asks(address));
            let query: Vec<_> = query.iter().map(|(key, value)| pair(key, value)).collect();
            assert_eq!((request.path.as_str(), request.query), (path, query), "{address}");
        }
        assert_eq!(whole(asks("/?a=1&a=2")).parameter("a"), Some("1"));
    }

    #[test]
    fn page_of_another_site_is_cross_origin() {
        let sent = |host: &str, origin: &str| {
            whole(posts(&format!("host: {host}\r\n{origin}"), "")).is_cross_origin()
        };
        let (here, there) = ("127.0.0.1:5454", "origin: http://127.0.0.1:5454\r\n");
        assert!(!sent(here, there));
        assert!(!sent(here, ""), "no browser");
        for origin in
            ["http://evil.example", "null", "", "http://127.0.0.1:5455", "http://127.0.0.1", "127.0.0.1:5454"]
        {
            assert!(sent(here, &format!("origin: {origin}\r\n")), "{origin:?}");
        }
        assert!(sent("127.0.0.1:1", there), "another port");
        assert!(
            sent(here, "origin: http://127.0.0.1:5454\r\norigin: http://evil.example\r\n"),
            "two of them"
        );
        let garbled = b"POST / HTTP/1.1\r\nhost: x\r\norigin: http://\xff\r\n\r\n";
        assert!(whole(garbled).is_cross_origin());
    }

    /// Prevents DNS rebinding: a site could make its own name resolve to 127.0.0.1, and its pages would read and change the lists.
    #[test]
    fn host_name_other_than_localhost_is_dns_rebinding() {
        let sent = |host: &str| whole(posts(&format!("host: {host}\r\n"), "")).is_dns_rebinding();
        for host in ["127.0.0.1:5454", "127.0.0.1", "localhost:5454", "LocalHost", "127.0.0.2:1"] {
            assert!(!sent(host), "{host}");
        }
        for host in [
            "evil.example:5454",
            "evil.example",
            "",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "10.0.0.1",
            "[::2]:5454",
        ] {
            assert!(sent(host), "{host}");
        }
        assert!(!whole("GET / HTTP/1.0\r\n\r\n").is_dns_rebinding(), "no browser");
    }

    #[test]
    fn only_x_todo_1_is_the_csrf_header() {
        for (header, has_csrf_header) in [
            ("X-Todo: 1\r\n", true),
            ("x-todo:   1  \r\n", true),
            ("x-todo: 2\r\n", false),
            ("x-todo: 1, 1\r\n", false),
            ("x-todo:\r\n", false),
            ("x-todo-x: 1\r\n", false),
            ("x-todo: 1\r\nx-todo: 0\r\n", false),
        ] {
            assert_eq!(whole(posts(header, "")).has_csrf_header, has_csrf_header, "{header:?}");
        }
    }
}

mod refusals {
    use super::*;

    #[test]
    fn bytes_that_are_no_request_are_malformed() {
        for bytes in [
            &b"\0"[..],
            b"GET\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nname : blank before the colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\r\n folded: b\r\n\r\n",
            b"G\xffT / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // https
        ] {
            assert_eq!(bad(bytes), ParseError::Malformed, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_head_has_at_most_16_kib() {
        let of = |size: usize| {
            let frame = "GET / HTTP/1.1\r\nhost: x\r\nx: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(size - frame))
        };
        whole(of(MAX_HEAD_LEN));
        assert_eq!(bad(of(MAX_HEAD_LEN + 1)), ParseError::HeadTooLarge);
        // Also without an end, so that the server need not wait for it.
        let endless = of(3 * MAX_HEAD_LEN);
        assert_eq!(parse(&endless.as_bytes()[..MAX_HEAD_LEN]), Ok(Parsed::Incomplete));
        assert_eq!(bad(&endless[..MAX_HEAD_LEN + 1]), ParseError::HeadTooLarge);
        assert_eq!(bad("\r\n".repeat(MAX_HEAD_LEN)), ParseError::HeadTooLarge);
    }

    #[test]
    fn a_request_line_has_at_most_8_kib() {
        let of = |size: usize| asks(&format!("/{}", "a".repeat(size - "GET / HTTP/1.1\r".len())));
        whole(of(MAX_LINE_LEN));
        assert_eq!(bad(of(MAX_LINE_LEN + 1)), ParseError::LineTooLong);
        // Also without an end.
        let endless = of(3 * MAX_LINE_LEN);
        assert_eq!(parse(&endless.as_bytes()[..MAX_LINE_LEN]), Ok(Parsed::Incomplete));
        assert_eq!(bad(&endless[..MAX_LINE_LEN + 1]), ParseError::LineTooLong);
    }

    #[test]
    fn a_head_has_at_most_64_headers() {
        let of = |count: usize| posts(&"a: b\r\n".repeat(count - 1), "");
        whole(of(64));
        assert_eq!(bad(of(65)), ParseError::HeadTooLarge);
    }

    #[test]
    fn a_body_has_at_most_64_kib() {
        let of = |size: usize| posts(&format!("content-length: {size}\r\n"), &"b".repeat(size));
        whole(of(0));
        whole(of(MAX_BODY_LEN));
        assert_eq!(bad(of(MAX_BODY_LEN + 1)), ParseError::BodyTooLarge);
        // By what it says, before anything of it is there.
        for length in ["65537", "18446744073709551615", "18446744073709551616", &"9".repeat(1000)] {
            assert_eq!(
                bad(posts(&format!("content-length: {length}\r\n"), "")),
                ParseError::BodyTooLarge,
                "{length}"
            );
        }
    }

    /// Prevents request smuggling: if two servers disagree about the end of a request, its rest is read as another one.
    #[test]
    fn ambiguous_length_is_refused() {
        for headers in [
            "content-length: +5\r\n",
            "content-length: -5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: 0x5\r\n",
            "content-length: 5 5\r\n",
            "content-length:\r\n",
            "content-length: ５\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5\r\nContent-Length: 6\r\n",
            "Transfer-Encoding: identity\r\ncontent-length: 5\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "transfer-encoding: chunked, gzip\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: xchunked\r\n",
        ] {
            assert_eq!(bad(posts(headers, "hello")), ParseError::Length, "{headers:?}");
        }
        let old = "POST /done HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(bad(old), ParseError::Length);
        whole(posts("content-length:  5 \r\n", "hello"));
        whole(posts("content-length: 005\r\n", "hello"));
    }

    #[test]
    fn an_address_is_text_in_percent_encoding() {
        for address in ["/%", "/%4", "/%zz", "/%%41", "/?a=%", "/?%4=b", "/?a=%f", "/%u0041", "/? a=%+1"] {
            let found = parse(asks(address).as_bytes());
            let expected = if address.contains(' ') { ParseError::Malformed } else { ParseError::Address };
            assert_eq!(found, Err(expected), "{address}");
        }
        for address in ["/%FF", "/?a=%C3", "/?%ED%A0%80=surrogate", "/?a=%C0%AF"] {
            assert_eq!(bad(asks(address)), ParseError::Address, "{address}");
        }
        let raw =
            [&b"GET /?a=\xff HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"GET /\xc3( HTTP/1.1\r\nhost: x\r\n\r\n"];
        for bytes in raw {
            assert!(matches!(bad(bytes), ParseError::Address | ParseError::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn every_parse_error_has_a_status_and_one_sentence() {
        let statuses = [400, 414, 431, 413, 400, 501, 400, 421, 400, 505, 417];
        for (bad, status) in ParseError::ALL.into_iter().zip(statuses) {
            let response = bad.response();
            assert_eq!((response.status, response.kind), (status, "text/plain; charset=utf-8"), "{bad:?}");
            let text = String::from_utf8(response.body).expect("text");
            assert!(text.lines().count() == 1 && text.split(' ').count() > 3, "{text:?}");
        }
    }
}

mod responses {
    use super::*;

    #[test]
    fn response_has_status_headers_and_body() {
        let response = Response { allow: Some("GET"), ..Response::text(405, "this takes GET only\n🛒") };
        for (keep_alive, connection) in [(true, "keep-alive"), (false, "close")] {
            let bytes = String::from_utf8(response.bytes(keep_alive)).expect("text");
            let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
            assert_eq!(body, "this takes GET only\n🛒");
            let mut lines = head.split("\r\n");
            assert_eq!(lines.next(), Some("HTTP/1.1 405 Method Not Allowed"));
            let headers: Vec<&str> = lines.collect();
            for expected in [
                "content-type: text/plain; charset=utf-8",
                "content-length: 24",
                "cache-control: no-store",
                "x-content-type-options: nosniff",
                "allow: GET",
                &format!("connection: {connection}"),
            ] {
                assert!(headers.contains(&expected), "{expected} is missing in {headers:?}");
            }
            let policy = headers.iter().find(|line| line.starts_with("content-security-policy: "));
            assert!(policy.is_some_and(|line| line.contains("default-src 'none'")), "{headers:?}");
            let mut slots = [httparse::EMPTY_HEADER; 16];
            let read =
                httparse::Response::new(&mut slots).parse(bytes.as_bytes()).expect("others read it too");
            assert!(read.is_complete());
        }
    }

    #[test]
    fn every_status_has_its_own_phrase() {
        let all = [200, 304, 400, 403, 404, 405, 408, 412, 413, 414, 417, 421, 431, 500, 501, 503, 505];
        let phrase = |status| crate::todo::http::head(status, "x").lines().next().map(str::to_owned);
        let mut phrases: Vec<_> = all.iter().map(|status| phrase(*status).expect("a line")).collect();
        for (phrase, status) in phrases.iter().zip(all) {
            assert!(phrase.starts_with(&format!("HTTP/1.1 {status} ")), "{phrase}");
        }
        phrases.iter_mut().for_each(|phrase| *phrase = phrase[13..].to_owned());
        phrases.sort();
        phrases.dedup();
        assert_eq!(phrases.len(), all.len(), "{phrases:?}");
    }
}

/// Checks what must hold of any bytes: an answer that does not change when they come in two pieces, of which the first
/// ends at `cut`.
fn check(bytes: &[u8], cut: usize) -> Result<Parsed, ParseError> {
    let found = parse(bytes);
    let cut = cut % (bytes.len() + 1);
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    match (parse(&bytes[..cut]), &found) {
        // More bytes are to come.
        (Ok(Parsed::Incomplete | Parsed::AwaitsContinue), Ok(Parsed::Complete(_, used))) => {
            assert!(*used > cut, "{}", shown());
        }
        (Ok(Parsed::Incomplete | Parsed::AwaitsContinue), _) => {}
        (Ok(first), all) => assert_eq!(Ok(&first), all.as_ref(), "{}", shown()),
        (Err(_), all) => assert!(all.is_err(), "refused at {cut}, and then not: {}", shown()),
    }
    match &found {
        Ok(Parsed::Incomplete | Parsed::AwaitsContinue) => {
            assert!(bytes.len() <= MAX_HEAD_LEN + MAX_BODY_LEN, "it is never enough");
        }
        Ok(Parsed::Complete(_, used)) => {
            assert!(*used <= bytes.len());
            assert_eq!(parse(&bytes[..*used]), found, "{}", shown());
        }
        Err(bad) => assert!(!bad.response().bytes(false).is_empty()),
    }
    found
}

/// Parses a line, and checks that a parsed command is parsed alike when it is formatted again.
fn check_line(line: &str) -> Result<Option<Command>, CommandParseError> {
    let found = Command::parse(line);
    let word = |list: &ListName| quoted_word(list.as_str()).into_owned();
    let rest = |title: &Title| quoted_rest(title.as_str()).into_owned();
    let written = match &found {
        Ok(Some(Command::Add(list, date, title))) => format!("add {} {date} {}", word(list), rest(title)),
        Ok(Some(Command::List(list, None))) => format!("list {}", word(list)),
        Ok(Some(Command::List(list, Some(date)))) => format!("list {} {date}", word(list)),
        Ok(Some(Command::Done(list, id))) => format!("done {} {id}", word(list)),
        Ok(Some(Command::Edit(list, id, title))) => format!("edit {} {id} {}", word(list), rest(title)),
        Ok(Some(Command::Remove(list, id))) => format!("rm {} {id}", word(list)),
        Ok(_) => return found,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{line:?}: {text:?}");
            return found;
        }
    };
    assert_eq!(Command::parse(&written), found, "{line:?}, written as {written:?}");
    found
}

/// Returns a body in chunks of these sizes, in turn.
fn in_chunks(mut body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for size in sizes.iter().cycle() {
        let (chunk, rest) = body.split_at((*size).min(body.len()));
        if chunk.is_empty() {
            break;
        }
        encoded.extend(format!("{:X};name=\"value\"\r\n", chunk.len()).bytes());
        encoded.extend(chunk);
        encoded.extend(b"\r\n");
        body = rest;
    }
    encoded.extend(b"000\r\ntrailer: x\r\n\r\n");
    encoded
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_too_much_for_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..512), cut: usize) {
        let _ = check(&bytes, cut);
    }

    #[test]
    fn a_request_may_be_split_anywhere(
        path in "/[a-z_.]{0,10}",
        query in prop::collection::vec(("[a-z]{1,5}", "[^\\x00]{0,12}"), 0..5),
        headers in prop::collection::vec("x-[a-z]{1,8}: [ -~]{0,20}", 0..20),
        chunks in prop::collection::vec(1_usize..40, 0..5),
        body in prop::collection::vec(any::<u8>(), 0..200),
        rest in prop::collection::vec(any::<u8>(), 0..50),
        cut: usize,
    ) {
        let encoded = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let (framing, body) = if chunks.is_empty() {
            (format!("content-length: {}", body.len()), body)
        } else {
            ("transfer-encoding: chunked".to_owned(), in_chunks(&body, &chunks))
        };
        let query_text = pairs.join("&");
        let head = format!("PUT {path}?{query_text} HTTP/1.1\r\nhost: localhost\r\n{headers}{framing}\r\n\r\n");
        let bytes = [head.as_bytes(), &body].concat();
        let request = whole(&bytes);
        prop_assert_eq!(&request.path, &path);
        prop_assert_eq!(&request.query, &query);
        prop_assert_eq!(parse(&bytes[..cut % bytes.len()]), Ok(Parsed::Incomplete));
        prop_assert_eq!(parse(&[&bytes[..], &rest].concat()), Ok(Parsed::Complete(request, bytes.len())));
    }

    #[test]
    fn no_line_is_too_much_for_the_shell(line in "\\PC{0,80}") {
        let _ = check_line(&line);
    }
}

/// Many inputs that are almost good, for as long as `TODO_FUZZ_SECONDS` says.
mod fuzz {
    use super::*;

    /// Numbers that look random and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit.max(1)
        }

        fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
            all[self.below(all.len())]
        }

        /// Damages the bytes in up to five places.
        fn mutate(&mut self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
            for _ in 0..self.below(6) {
                let at = self.below(bytes.len() + 1);
                let end = (at + self.below(20)).min(bytes.len());
                match self.below(7) {
                    0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                    1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                    2 => bytes.truncate(at),
                    3 => drop(bytes.drain(at..end)),
                    4 => {
                        let piece = bytes[at..end].repeat(1 + self.below(3));
                        bytes.splice(at..at, piece);
                    }
                    5 => bytes.insert(at, self.below(256) as u8),
                    _ => drop(bytes.splice(at..at, self.one_of(words).iter().copied())),
                }
            }
        }
    }

    fn seconds() -> Duration {
        let given = std::env::var("TODO_FUZZ_SECONDS").ok();
        Duration::from_secs(given.map_or(1, |text| text.parse().expect("TODO_FUZZ_SECONDS is a number")))
    }

    /// After so many inputs each kind must have come.
    const MAX_INPUTS: u64 = 1_000_000;

    /// Feeds inputs made by `one` until the time is up; `one` says which kind of end each came to. The answer says how many
    /// there were.
    fn feed<const KINDS: usize>(
        what: &str,
        kinds: [&str; KINDS],
        mut one: impl FnMut(&mut Dice) -> usize,
    ) -> String {
        let (began, lasts) = (Instant::now(), seconds());
        let mut dice = Dice(20_261_122);
        let mut counts = [0_u64; KINDS];
        // On a slow machine it takes longer than that until each kind has come: the bound is a number of inputs.
        while began.elapsed() < lasts || (counts.contains(&0) && counts.iter().sum::<u64>() < MAX_INPUTS) {
            for _ in 0..100 {
                counts[one(&mut dice)] += 1;
            }
        }
        let counted: Vec<String> =
            kinds.iter().zip(counts).map(|(kind, count)| format!("{count} {kind}")).collect();
        assert!(counts.iter().all(|count| *count > 0), "a kind of input never came: {counted:?}");
        format!("{} {what} in {lasts:?}: {}", counts.iter().sum::<u64>(), counted.join(", "))
    }

    const REQUESTS: [&str; 10] = [
        "GET https://localhost/lists HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n",
        "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET /entries?list=bob%27s+list&date=2026-11-22 HTTP/1.1\r\nhost: 127.0.0.1:5454\r\n\r\n",
        "POST /add_entry?list=bob&date=2026-11-22&title=%F0%9F%9B%92 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        "POST /kill?name=cache HTTP/1.1\r\nHost: x\r\nX-Todo: 1\r\nOrigin: http://x\r\n\r\n",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        "POST /rm?list=a&id=1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /lists HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /events HTTP/1.1\r\nhost: x\r\n\r\n",
        "PUT http://localhost/x HTTP/1.2\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nA;b=c\r\n0123456789\r\n0\r\nt: u\r\n\r\n",
    ];

    const PIECES: [&[u8]; 21] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"%",
        b"%00",
        b"%ff",
        b"content-length: 70000\r\n",
        b"content-length: 3\r\n",
        b"content-length: +3\r\n",
        b": ",
        b"\0",
        b"?&=+",
        b" HTTP/1.1",
        b"\xf0\x9f\x9b\x92",
        &[b'a'; 3000],
        &[b'\t'; 17000],
        b"transfer-encoding: gzip, chunked\r\n",
        b"expect: tea\r\n",
        b"https://x",
        b"HTTP/2.0",
        &[b'a'; 9000],
    ];

    #[test]
    fn requests() {
        const KINDS: [&str; 14] = [
            "complete",
            "incomplete",
            "awaits 100",
            "malformed",
            "line too long",
            "head too large",
            "body too large",
            "length",
            "coding",
            "address",
            "misdirected",
            "host",
            "version",
            "expectation",
        ];
        let fed = feed("requests", KINDS, |dice| {
            let mut bytes = dice.one_of(&REQUESTS).as_bytes().to_owned();
            dice.mutate(&mut bytes, &PIECES);
            let cut = dice.below(bytes.len() + 1);
            match check(&bytes, cut) {
                Ok(Parsed::Complete(..)) => 0,
                Ok(Parsed::Incomplete) => 1,
                Ok(Parsed::AwaitsContinue) => 2,
                Err(error) => 3 + ParseError::ALL.iter().position(|one| *one == error).expect("one of them"),
            }
        });
        println!("{fed}");
    }

    const LINES: [&str; 9] = [
        "add bob 2026-11-22 Dentist at nine",
        "list bob 2026-11-22",
        "list \u{1f6d2}",
        "done bob 18446744073709551615",
        "edit bob 7 Über\u{301} Zürich",
        "rm ../../etc/passwd 1",
        "kill db.worker.1",
        "  crash  list:bob  ",
        "add \"my list\" 2026-11-22 \" \\\"quoted\\\" \\u{1b} \"",
    ];

    const WORDS: [&[u8]; 11] = [
        b" ",
        b"\t",
        b"\0",
        b"0",
        b"-",
        b"2024-02-29",
        b"add ",
        "\u{3000}".as_bytes(),
        "\u{202e}".as_bytes(),
        &[b'9'; 40],
        &[b'x'; 250],
    ];

    #[test]
    fn shell_lines() {
        const KINDS: [&str; 9] = [
            "commands",
            "empty",
            "unknown",
            "usage",
            "bad lists",
            "bad dates",
            "bad ids",
            "bad titles",
            "bad quotes",
        ];
        let fed = feed("shell lines", KINDS, |dice| {
            // Cut off at any place, one in a few times before the first word.
            let line = dice.one_of(&LINES);
            let mut bytes = line.as_bytes()[..if dice.below(50) == 0 { 0 } else { line.len() }].to_owned();
            dice.mutate(&mut bytes, &WORDS);
            // As `shell` does: what is not text is no line.
            match check_line(&String::from_utf8_lossy(&bytes)) {
                Ok(Some(_)) => 0,
                Ok(None) => 1,
                Err(CommandParseError::Unknown(_)) => 2,
                Err(CommandParseError::Usage(_)) => 3,
                Err(CommandParseError::List(_)) => 4,
                Err(CommandParseError::Date(_)) => 5,
                Err(CommandParseError::Id(..)) => 6,
                Err(CommandParseError::Title(_)) => 7,
                Err(CommandParseError::Quote(_)) => 8,
            }
        });
        println!("{fed}");
    }
}
