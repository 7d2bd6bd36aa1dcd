//! The rows of `HTTP.md` that need a connection.

use super::*;

/// Sends a request over a new connection, and returns its answer and the connection.
#[track_caller]
fn sent(site: &Site, request: &str) -> (Answer, Client) {
    let mut client = site.client();
    client.send(request);
    (client.answer(), client)
}

#[test]
fn client_that_expects_100_gets_it_at_once() {
    with_plain_site(|site| {
        for (framing, body) in [
            ("content-length: 5\r\n", "hello"),
            ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ] {
            let mut client = site.client();
            for n in 0..2 {
                let title = format!("/add_entry?list=bob&date=2026-11-22&title={n}");
                client.send(format!(
                    "POST {title} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n{framing}\r\n"
                ));
                // The body is sent only after this has come, and before it the entry is not added.
                let interim = client.head().expect("an interim response");
                assert_eq!((interim.status, interim.headers), (100, vec![]));
                client.send(body);
                assert_eq!(client.answer().ok(), "OK");
            }
            // If the body has arrived, there is no need of it.
            client.send(format!("POST /rm?list=bob&id=9 HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n{framing}\r\n{body}"));
            client.answer().refused(404);
        }
        // An error that the head shows is the answer.
        let head =
            "POST / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 70000\r\n\r\n";
        let (answer, mut client) = sent(site, head);
        answer.refused(413);
        client.expect_end();
        assert_eq!(site.get("/entries?list=bob").ok().lines().count(), 4);
    });
}

#[test]
fn every_response_has_a_date() {
    with_plain_site(|site| {
        for address in ["/", "/nothing", "/entries", "/lists"] {
            let answer = site.get(address);
            let date = answer.header("date").expect("a date");
            let [day, number, month, year, time, zone] = date.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{date}")
            };
            assert_eq!(
                (day.len(), number.len(), month.len(), year.len(), time.len(), zone),
                (4, 2, 3, 4, 8, "GMT"),
                "{date}"
            );
        }
        let (answer, _) = sent(site, "hello\r\n\r\n");
        assert!(answer.header("date").is_some(), "{answer:?}");
        let mut client = site.client();
        client.send("GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert!(client.head().expect("an answer").header("date").is_some());
    });
}

#[test]
fn unknown_method_gets_501() {
    with_plain_site(|site| {
        let mut client = site.client();
        for request in
            ["BREW / HTTP/1.1", "get / HTTP/1.1", "BREW /nothing HTTP/1.1", "CONNECT localhost:80 HTTP/1.1"]
        {
            client.send(format!("{request}\r\nhost: localhost\r\n\r\n"));
            assert_eq!(client.answer().refused(501), "this method is not implemented", "{request}");
        }
        client.ask("GET", "/lists").ok();
    });
}

#[test]
fn options_names_the_methods() {
    with_faulty_site(|site| {
        let mut client = site.client();
        for (address, allow) in [
            ("/", "GET, HEAD, OPTIONS"),
            ("/events", "GET, HEAD, OPTIONS"),
            ("/add_entry", "POST, OPTIONS"),
            ("/kill?name=lists", "POST, OPTIONS"),
            ("*", "GET, HEAD, POST, OPTIONS"),
        ] {
            let answer = client.ask("OPTIONS", address);
            assert_eq!((answer.status, answer.header("allow")), (200, Some(allow)), "{address}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        client.ask("OPTIONS", "/nothing").refused(404);
        assert_eq!(client.ask("TRACE", "/").refused(405), "only GET is allowed here");
    });
}

#[test]
fn preconditions_are_evaluated() {
    with_plain_site(|site| {
        add(site, "bob", "Dentist");
        let ask = |request: &str, header: &str| {
            let mut client = site.client();
            client.send(format!("{request} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n"));
            client
        };
        let status = |request: &str, header: &str| ask(request, header).answer().status;
        let read = "GET /entries?list=bob";
        for (header, expected) in [
            ("if-match: *", 200),
            ("if-match: \"tag\"", 412),
            ("if-none-match: \"tag\"", 200),
            ("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
            ("if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ] {
            assert_eq!(status(read, header), expected, "{header}");
            // They do not matter for a response that is an error without them.
            assert_eq!(status("GET /entries", header), 400, "{header}");
        }
        let mut client = ask(read, "if-none-match: *");
        let head = client.head().expect("an answer");
        assert_eq!((head.status, head.header("content-length")), (304, None));
        client.ask("GET", "/lists").ok(); // nothing of a body is in between

        let change = "POST /done?list=bob&id=1";
        for header in ["if-match: *", "if-match: \"tag\""] {
            assert_eq!(status(change, header), 412);
        }
        assert!(site.get("/entries.json?list=bob").ok().contains("\"done\":false"));
        assert_eq!(status(change, "if-none-match: *"), 200);
    });
}

#[test]
fn headers_that_may_be_ignored_are_ignored() {
    with_plain_site(|site| {
        add(site, "bob", "Dentist");
        let (answer, mut client) = sent(
            site,
            "GET /entries?list=bob HTTP/1.1\r\nhost: localhost\r\naccept: image/png\r\naccept-encoding: gzip\r\nrange: bytes=0-3\r\n\
             connection: upgrade\r\nupgrade: h2c\r\nte: trailers\r\ncookie: a=b\r\nauthorization: Basic eA==\r\n\r\n",
        );
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.ok(), "2026-11-22 Dentist");
        client.ask("GET", "/lists").ok();
    });
}

/// Sends more requests behind one with `close`: they are not processed, and the response is not lost by them.
#[test]
fn last_response_survives_requests_that_are_not_read() {
    with_plain_site(|site| {
        for _ in 0..20 {
            let mut client = site.client();
            client.send(
                "GET /lists HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned()
                    + &"POST /add_entry?list=bob&date=2026-11-22&title=x HTTP/1.1\r\nhost: localhost\r\n\r\n"
                        .repeat(500),
            );
            assert_eq!(client.answer().ok(), "[]");
            client.expect_end();
        }
    });
}
