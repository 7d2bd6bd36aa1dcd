//! What comes from a server is data: the client and the screen of `watch`, against servers that send anything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rethread::process;
use serde_json::{Value, json};

use crate::net::{Connection, MAX_EVENT_LEN, authority};
use crate::screen::{Line, Screen};
use crate::support::watchdog;

/// Starts a server that reads one request of each connection, sends these bytes, and closes it.
fn server(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let accept = move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&bytes);
        }
    };
    process::spawn(accept).expect("a free thread");
    address
}

/// Sends a request to such a server. Returns the status and the body, or the error.
fn reply(bytes: impl Into<Vec<u8>>) -> Result<(u16, String, bool), String> {
    let mut connection = Connection::open(&server(bytes)).expect("it listens");
    let reply = connection.request("GET", "/lists", &[]);
    reply.map(|reply| (reply.status, reply.body, reply.closes)).map_err(|error| error.to_string())
}

#[test]
fn responses_are_read_as_http_has_them() {
    let _watchdog = watchdog();
    for (head, closes) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false),
        ("HTTP/1.1 200\r\nContent-Length:2\r\nConnection: Close\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nCONTENT-LENGTH: 2 \r\nx:\r\n\r\n", true),
        ("HTTP/1.1 200 OK\nconnection: x, close\ncontent-length: 2\n\n", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
            false,
        ),
    ] {
        assert_eq!(reply(format!("{head}[]")), Ok((200, "[]".to_owned(), closes)), "{head:?}");
    }
}

#[test]
fn responses_that_are_wrong_or_endless_are_errors() {
    let _watchdog = watchdog();
    let head = "HTTP/1.1 200 OK\r\n";
    for (bytes, what) in [
        (String::new(), "end of file"),
        ("SSH-2.0-OpenSSH\r\n".to_owned(), "not HTTP/1.1"),
        ("HTTP/1.1 OK\r\n\r\n".to_owned(), "not HTTP/1.1"),
        (format!("{head}\r\n"), "length of the response is missing"),
        (format!("{head}content-length: -1\r\n\r\n"), "length of the response is missing"),
        (format!("{head}content-length: 18446744073709551615\r\n\r\n"), "longer than 64 MiB"),
        (format!("{head}content-length: 5\r\n\r\nab"), "end of file"),
        (format!("{head}x: {}", "y".repeat(1 << 20)), "header is longer than 8 KiB"),
        ("x".repeat(1 << 20), "header is longer than 8 KiB"),
        (format!("{head}{}\r\n", "x: y\r\n".repeat(1000)), "too many headers"),
        ("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), "too many interim responses"),
    ] {
        let shown = bytes.chars().take(40).collect::<String>();
        let error = reply(bytes).expect_err(&shown);
        assert!(error.contains(what), "{shown:?}: {error}");
    }
    assert!(reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xff".to_vec()).is_err());
}

/// A server that refuses a connection responds before it has read the request, and closes.
#[test]
fn response_is_read_although_the_request_cannot_be_sent() {
    let _watchdog = watchdog();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut connection = Connection::open(&address).expect("it listens");
    let (mut stream, _) = listener.accept().expect("a client");
    stream
        .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy")
        .expect("sent");
    drop(stream);
    let reply = connection.request("GET", "/lists", &[]).expect("a response");
    assert_eq!((reply.status, reply.body.as_str(), reply.closes), (503, "busy", true));
}

#[test]
fn events_are_read_up_to_a_length() {
    let _watchdog = watchdog();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let next = |events: &str| {
        let mut connection = Connection::open(&server(format!("{head}{events}"))).expect("it listens");
        connection.subscribe().expect("a stream");
        connection.next_event().map_err(|error| error.to_string())
    };
    assert_eq!(next("event: tree\ndata: {}\n\n"), Ok(("tree".into(), "{}".into())));
    assert_eq!(
        next(": comment\nid: 7\n\nevent:tree\r\ndata:{\r\ndata: }\r\n\r\n"),
        Ok(("tree".into(), "{}".into()))
    );
    let longest = MAX_EVENT_LEN - "data: \n\n".len();
    assert_eq!(next(&format!("data: {}\n\n", "x".repeat(longest))).expect("an event").1.len(), longest);
    let lines = format!("data: {}\n", "x".repeat(100_000)).repeat(MAX_EVENT_LEN / 100_000 + 1);
    for endless in [format!("data: {}\n\n", "x".repeat(MAX_EVENT_LEN)), lines, "\n".repeat(MAX_EVENT_LEN + 2)]
    {
        assert!(next(&endless).expect_err("too long").contains("an event is longer than 16 MiB"));
    }
    for (status, what) in [("503 Busy", "status is 503"), ("404 Not Found", "not a todo-cache server")] {
        let address = server(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        let error = Connection::open(&address).and_then(|mut one| one.subscribe()).expect_err(status);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn url_is_an_authority_or_an_error() {
    for (url, expected) in [
        ("http://127.0.0.1:5454", "127.0.0.1:5454"),
        ("http://127.0.0.1:5454/", "127.0.0.1:5454"),
        ("localhost:1", "localhost:1"),
        ("localhost", "localhost:80"),
        ("[::1]:5454", "[::1]:5454"),
    ] {
        assert_eq!(authority(url).as_deref(), Ok(expected), "{url}");
    }
    for url in ["", "http://", "https://x", "http://x/y", "x:", "x:70000", "x:80?y", "x:80\r\na: b", ":80"] {
        let error = authority(url).expect_err(url);
        assert!(error.starts_with("expected an address") && !error.contains(char::is_control), "{error}");
    }
}

/// Draws two frames and an event; returns the lines of the second.
fn drawn(tree: &Value, event: &Value, size: Option<(usize, usize)>) -> Vec<Line> {
    let mut screen = Screen::default();
    let now = Instant::now();
    screen.draw(&json!({"tree": [{"pid": "<1>", "name": "gone", "depth": u64::MAX}]}), now, size);
    screen.on_event(event);
    screen.draw(tree, now + Duration::from_millis(250), size);
    screen.draw(tree, now + Duration::from_millis(500), size)
}

#[track_caller]
fn assert_harmless(lines: &[Line]) {
    for Line { text, .. } in lines {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.chars().count() < 20_000, "a line of {} characters", text.chars().count());
    }
}

#[test]
fn escape_sequences_in_any_text_are_not_drawn() {
    let evil = "a\u{1b}]0;mine now\u{7}\u{1b}]52;c;eHg=\u{7}\u{9b}31m\r\n\u{202e}\u{2028}z";
    let keys = ["pid", "name", "kind", "what", "state", "activity", "text", "at", "shape"];
    for kind in ["supervisor", "server"] {
        for state in ["running", evil] {
            let mut row: serde_json::Map<String, Value> =
                keys.iter().map(|key| ((*key).to_owned(), Value::from(evil))).collect();
            row.insert("kind".into(), kind.into());
            row.insert("state".into(), state.into());
            let mut event = row.clone();
            event.insert("kind".into(), "exited".into());
            let lines = drawn(&json!({"tree": [row], "shape": evil}), &Value::Object(event), None);
            assert_harmless(&lines);
            let text: String = lines.iter().map(|line| line.text.as_str()).collect();
            assert!(text.contains("a\\u{1b}]0;mine now\\u{7}") && !text.contains('\u{202e}'), "{text}");
        }
    }
}

#[test]
fn absurd_numbers_lengths_and_shapes_are_drawn_in_bounds() {
    let big = u64::MAX;
    let row = json!({
        "pid": "<1>", "name": "x".repeat(1 << 20), "depth": big, "message_queue_len": big, "busy_ms": big,
        "restarts": big, "state": "running", "activity": "y".repeat(1 << 20), "kind": "server",
    });
    let tree = json!({"tree": [row], "uptime": big, "requests": big, "processes": big, "restarts": big, "zombies": big});
    let event =
        json!({"kind": "exited", "pid": "<1>", "text": "t".repeat(1 << 20), "name": "n", "at": "now"});
    for size in [None, Some((80, 24)), Some((1, 1)), Some((0, 0))] {
        assert_harmless(&drawn(&tree, &event, size));
    }
    let many: Vec<Value> = (0..20_000).map(|n| json!({"pid": format!("<{n}>"), "name": "x"})).collect();
    let lines = drawn(&json!({"tree": many}), &Value::Null, None);
    assert!(lines.len() < 6000, "{} lines", lines.len());
    assert!(lines.iter().any(|line| line.text == ".. and 15000 more processes"));
    for odd in [
        Value::Null,
        json!([]),
        json!("x"),
        json!(7),
        json!({"tree": "x"}),
        json!({"tree": [[], 1, null, "x", {"pid": 7}]}),
    ] {
        assert_harmless(&drawn(&odd, &odd, Some((80, 24))));
    }
}

/// Replaces all processes many times: what has gone is forgotten.
#[test]
fn screen_shows_a_limited_number_of_exited_processes() {
    let mut screen = Screen::default();
    let now = Instant::now();
    for round in 0..20 {
        let rows: Vec<Value> =
            (0..100).map(|n| json!({"pid": format!("<{}>", round * 100 + n), "name": "x"})).collect();
        let lines = screen.draw(&json!({"tree": rows}), now, None);
        assert!(lines.len() <= 1 + 100 + 200 + 10, "{} lines", lines.len());
    }
}

/// Any JSON of some depth, with the keys that the screen reads.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let keys = "tree|pid|name|depth|kind|state|activity|what|busy_ms|message_queue_len|restarts|uptime|requests|shape|text|at";
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_data_is_too_much_for_the_screen(rows in prop::collection::vec(any_json(), 0..6), event in any_json(), width in 0_usize..200) {
        assert_harmless(&drawn(&json!({"tree": rows}), &event, None));
        assert_harmless(&drawn(&json!({"tree": rows}), &event, Some((width, 30))));
    }
}
