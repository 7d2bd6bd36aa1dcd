//! The web server of the example `todo-cache`, from outside: a whole system in this process, and clients that know nothing
//! but TCP. A program of its own, because it reads the log and the metrics of the whole program.

#[path = "../../../tests/support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the program uses more of it than these tests do")]
#[path = "../todo/mod.rs"]
mod todo;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rethread::observer::{self, ProcessEvent, ProcessEventKind};
use rethread::process;
use rethread::{ExitReason, Pid};
use serde_json::Value;

use support::{Watchdog, eventually, eventually_none, logs, watchdog};
use todo::system::{Config, System, WebConfig};
use todo::tree::{self, Member};
use todo::web::WRITE_TIMEOUT;

/// The names of the processes are the program's own, so there is one system at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A system that is served.
struct Site {
    address: SocketAddr,
    system: System,
    watchdog: Mutex<Watchdog>,
}

/// Starts a system with a web server on a free port. It allows a thousand restarts, and clients may kill processes if
/// `allow_kill`.
#[track_caller]
fn with_site(allow_kill: bool, config: impl FnOnce(Config) -> Config, body: impl FnOnce(&Site)) {
    let _alone = ALONE.lock();
    serve(allow_kill, config, body);
}

/// Starts the same for a test that has the lock already.
#[track_caller]
fn serve(allow_kill: bool, config: impl FnOnce(Config) -> Config, body: impl FnOnce(&Site)) {
    let dir = tempfile::tempdir().expect("a folder");
    let watchdog = Mutex::new(watchdog());
    let done = process::attach(|| {
        process::trap_exit(true);
        // That of a test that has failed ends with its test, a moment later.
        eventually("there is no other system", || tree::members().is_empty());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let web = Some(WebConfig { listener: Arc::new(listener), allow_kill });
        let period = Duration::from_secs(600);
        let config = config(Config { web, max_restarts: 1000, period, ..Config::new(dir.path()) });
        let system = System::start_link(config).unwrap_or_else(|error| panic!("it did not start: {error}"));
        let site = Site { address, system, watchdog };
        body(&site);
        system.stop().expect("it stops");
        assert_eq!(tree::members(), [], "processes are left");
    });
    done.unwrap_or_else(|error| panic!("the test's process ended: {error}"));
}

/// Starts the same without options.
#[track_caller]
fn with_plain_site(body: impl FnOnce(&Site)) {
    with_site(false, |config| config, body);
}

/// Starts the same with `allow_kill`.
#[track_caller]
fn with_faulty_site(body: impl FnOnce(&Site)) {
    with_site(true, |config| config, body);
}

impl Site {
    /// Gives the next phase of a test its own time limit.
    fn restart_watchdog(&self) {
        self.watchdog.lock().restart();
    }

    #[track_caller]
    fn client(&self) -> Client {
        Client::of(self.address)
    }

    /// Sends a GET over a new connection.
    #[track_caller]
    fn get(&self, address: &str) -> Answer {
        self.client().ask("GET", address)
    }

    #[track_caller]
    fn post(&self, address: &str) -> Answer {
        self.client().ask("POST", address)
    }

    /// Returns the JSON of `/api/tree`.
    #[track_caller]
    fn tree(&self) -> Value {
        serde_json::from_str(&self.get("/api/tree").body).expect("JSON")
    }
}

/// An answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the one sentence of an error response with that status.
    #[track_caller]
    fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"), "{self:?}");
        assert!(!self.body.is_empty() && self.body.lines().count() == 1, "{self:?}");
        &self.body
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }
}

/// A connection to the server.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    #[track_caller]
    fn of(address: SocketAddr) -> Self {
        Self::try_of(address).expect("it is let in")
    }

    fn try_of(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    #[track_caller]
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("it listens");
    }

    /// Closes the write side of the connection.
    #[track_caller]
    fn close_half(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("it was open");
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert!(line.ends_with("\r\n"), "{line:?}");
        Ok(line.trim_end().to_owned())
    }

    /// Reads the status and the headers of the next response.
    fn head(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).map(str::parse);
        let Some(Ok(status)) = status else { panic!("no status: {first:?}") };
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((key, value)) => headers.push((key.to_owned(), value.to_owned())),
                None => return Ok(Answer { status, headers, body: String::new() }),
            }
        }
    }

    fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let length = answer.header("content-length").map(|length| length.parse().expect("a number"));
        let mut body = vec![0; length.expect("it says how long it is")];
        self.stream.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).expect("text");
        Ok(answer)
    }

    #[track_caller]
    fn answer(&mut self) -> Answer {
        self.try_answer().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Asks as `curl` does.
    fn try_ask(&mut self, method: &str, address: &str) -> io::Result<Answer> {
        let request = format!("{method} {address} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-todo: 1\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.try_answer()
    }

    #[track_caller]
    fn ask(&mut self, method: &str, address: &str) -> Answer {
        self.try_ask(method, address).unwrap_or_else(|error| panic!("{method} {address}: {error}"))
    }

    /// Waits for the server to hang up, without another word.
    #[track_caller]
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "it says {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Reads the next event: its kind and its data.
    #[track_caller]
    fn event(&mut self) -> (String, Value) {
        let mut lines = [String::new(), String::new(), String::new()];
        for line in &mut lines {
            self.stream.read_line(line).expect("another line");
        }
        let [kind, data, end] = &lines;
        assert_eq!(end, "\n", "{lines:?}");
        let kind = kind.trim_end().strip_prefix("event: ").unwrap_or_else(|| panic!("{lines:?}"));
        let data = data.trim_end().strip_prefix("data: ").unwrap_or_else(|| panic!("{lines:?}"));
        (kind.to_owned(), serde_json::from_str(data).expect("JSON"))
    }

    /// Listens to the events from now on.
    #[track_caller]
    fn listens(mut self) -> Self {
        self.send("GET /events HTTP/1.1\r\n\r\n");
        let head = self.head().expect("an answer");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        self
    }
}

/// Adds an entry over the net.
#[track_caller]
fn add(site: &Site, list: &str, title: &str) {
    let address = format!("/add_entry?list={list}&date=2026-11-22&title={title}");
    assert_eq!(site.post(&address).ok(), "OK");
}

#[track_caller]
fn pid(name: &str) -> Pid {
    tree::find(name).unwrap_or_else(|| panic!("no process is called {name}")).pid
}

/// Returns the processes of the connections.
fn connections() -> Vec<Pid> {
    let members = tree::members().into_iter();
    members.filter(|Member { name, .. }| name == "web.connection").map(|member| member.pid).collect()
}

/// Starts a process that does this and ends; what it answers says whether it came to its end.
#[track_caller]
fn go(body: impl FnOnce() + Send + 'static) -> (Pid, Arc<AtomicBool>) {
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let run = move || {
        body();
        finished.store(true, Ordering::Release);
    };
    (process::spawn(run).expect("a free thread"), done)
}

#[track_caller]
fn join(jobs: Vec<(Pid, Arc<AtomicBool>)>) {
    for (process, done) in jobs {
        let reason = process::watch(process).wait();
        assert!(done.load(Ordering::Acquire), "a client failed: {reason}");
    }
}

mod routes {
    use super::*;

    #[test]
    fn the_two_original_routes_answer_like_the_original() {
        with_plain_site(|site| {
            let mut client = site.client();
            let mut ask = |method: &str, address: &str| {
                let answer = client.ask(method, address);
                let kind = answer.header("content-type").map(str::to_owned);
                (answer.status, kind.expect("a type"), answer.body)
            };
            let text = |status, body: &str| (status, "text/plain; charset=utf-8".to_owned(), body.to_owned());
            let entries = "/entries?list=bob&date=2026-11-22";
            assert_eq!(ask("GET", entries), text(200, ""));
            for title in ["Dentist", "Dinner%20at+9", "%F0%9F%9B%92"] {
                let add = format!("/add_entry?list=bob&date=2026-11-22&title={title}");
                assert_eq!(ask("POST", &add), text(200, "OK"));
            }
            assert_eq!(ask("POST", "/add_entry?list=bob&date=2026-11-23&title=Later"), text(200, "OK"));
            assert_eq!(
                ask("GET", entries),
                text(200, "2026-11-22 Dentist\n2026-11-22 Dinner at 9\n2026-11-22 🛒")
            );
            assert_eq!(ask("GET", "/entries?date=2026-11-22&list=alice"), text(200, ""));
            assert_eq!(ask("GET", "/elsewhere"), text(404, "not found"));
            assert_eq!(ask("DELETE", "/elsewhere"), text(404, "not found"));
        });
    }

    #[test]
    fn other_routes_serve_the_page() {
        with_plain_site(|site| {
            add(site, "bob", "Dentist");
            add(site, "bob", "Dinner");
            add(site, "..%2Fx%20y", "Path");
            let json = |address: &str| -> Value {
                let answer = site.get(address);
                assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
                serde_json::from_str(&answer.ok()).expect("JSON")
            };
            assert_eq!(json("/lists"), serde_json::json!(["../x y", "bob"]));
            assert_eq!(site.post("/done?list=bob&id=1").ok(), "OK");
            assert_eq!(site.post("/edit?list=bob&id=2&title=Lunch").ok(), "OK");
            let dentist =
                serde_json::json!({"id": 1, "date": "2026-11-22", "title": "Dentist", "done": true});
            let lunch = serde_json::json!({"id": 2, "date": "2026-11-22", "title": "Lunch", "done": false});
            assert_eq!(json("/entries.json?list=bob"), serde_json::json!([dentist, lunch]));
            assert_eq!(site.post("/rm?list=bob&id=1").ok(), "OK");
            assert_eq!(json("/entries.json?list=bob"), serde_json::json!([lunch]));
            assert_eq!(json("/entries.json?list=bob&date=2026-11-23"), serde_json::json!([]));

            let tree = json("/api/tree");
            let names: Vec<&str> = tree["tree"]
                .as_array()
                .expect("rows")
                .iter()
                .filter_map(|row| row["name"].as_str())
                .collect();
            for name in
                ["system", "metrics", "db.workers", "db.worker.2", "lists", "list:bob", "web.acceptor"]
            {
                assert!(names.contains(&name), "{name} is missing in {names:?}");
            }
            assert_eq!(
                (&tree["allow_kill"], &tree["shape"]),
                (&Value::from(false), &Value::from("supervised-lists"))
            );

            let metrics = site.get("/metrics");
            assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
            let metrics = metrics.ok();
            let requests = metrics.lines().find_map(|line| line.strip_prefix("todo_requests_total "));
            assert!(requests.is_some_and(|count| count.parse::<u64>().expect("a number") >= 12), "{metrics}");

            let page = site.get("/");
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            let policy = page.header("content-security-policy").expect("a policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
            let page = page.ok();
            assert!(page.contains("db.worker.1 &lt;") && !page.contains("{{TREE}}"), "the tree is in it");
        });
    }

    /// Checks that a name is escaped on the page.
    #[test]
    fn html_in_an_entry_is_escaped_on_the_page() {
        with_plain_site(|site| {
            add(site, "%3Cscript%3Ealert(1)%3C%2Fscript%3E%26", "x");
            let page = site.get("/").ok();
            assert!(page.contains("list:&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
            assert!(!page.contains("<script>alert(1)"));
        });
    }

    #[test]
    fn every_error_has_a_status_and_one_sentence() {
        with_plain_site(|site| {
            let long = "a".repeat(201);
            let cases = [
                ("GET /entries", 400, "the parameter list is missing"),
                ("GET /entries?list=&date=2026-11-22", 400, "a list needs a name of at least one character"),
                (
                    "GET /entries?list=bob&date=tomorrow",
                    400,
                    "expected a date as YYYY-MM-DD, such as 2026-11-22",
                ),
                ("GET /entries.json?list=a%0Ab", 400, "a list's name has no control characters"),
                ("POST /add_entry?list=bob&title=x", 400, "the parameter date is missing"),
                ("POST /add_entry?list=bob&date=2026-02-30&title=x", 400, "there is no 2026-02-30"),
                ("POST /add_entry?list=bob&date=2026-11-22", 400, "the parameter title is missing"),
                ("POST /add_entry?list=bob&date=2026-11-22&title=%20", 400, "a title"),
                (
                    &format!("POST /edit?list=bob&id=1&title={long}"),
                    400,
                    "a title has at most 200 characters",
                ),
                ("POST /done?list=bob&id=one", 400, "expected the number of an entry, not \"one\""),
                ("POST /done?list=bob&id=-1", 400, "expected the number of an entry"),
                ("POST /done?list=bob&id=18446744073709551616", 400, "expected the number of an entry"),
                ("POST /done?list=bob", 400, "the parameter id is missing"),
                ("GET /%zz", 400, "percent-encoding"),
                ("GET /entries?list=%FF", 400, "percent-encoding"),
                ("POST /done?list=bob&id=7", 404, "there is no entry 7 in this list"),
                ("POST /rm?list=bob&id=18446744073709551615", 404, "there is no entry"),
                ("GET /nothing", 404, "not found"),
                ("GET /entries/?list=bob", 404, "not found"),
                ("POST /entries?list=bob", 405, "only GET is allowed here"),
                ("DELETE /", 405, "only GET is allowed here"),
                ("GET /add_entry?list=bob", 405, "only POST is allowed here"),
                ("GET /kill?name=lists", 405, "only POST is allowed here"),
            ];
            for (line, status, part) in cases {
                let mut client = site.client();
                client.send(format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
                let answer = client.answer();
                assert!(answer.refused(status).contains(part), "{line}: {answer:?}");
                let allow = (status == 405).then(|| if part.contains("GET") { "GET" } else { "POST" });
                assert_eq!(answer.header("allow"), allow, "{line}");
            }
            assert_eq!(site.get("/lists").ok(), "[]", "nothing was done");
        });
    }

    #[test]
    fn malformed_request_gets_an_error_and_the_connection_closes() {
        with_plain_site(|site| {
            let head = |headers: &str| {
                format!("POST /done?list=bob&id=1 HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
            };
            let cases = [
                ("hello\r\n\r\n".to_owned(), 400, "this is not an HTTP/1.1 request"),
                (head("transfer-encoding: chunked\r\n") + "0\r\n\r\n", 501, "one Content-Length"),
                (head("content-length: +5\r\n") + "hello", 501, "one Content-Length"),
                (head(&format!("content-length: {}\r\n", 1 << 20)) + &"b".repeat(1 << 20), 413, "64 KiB"),
                (head(&format!("x: {}\r\n", "a".repeat(1 << 20))), 431, "8 KiB"),
                (head(&"x: y\r\n".repeat(65)), 431, "64 headers"),
            ];
            for (request, status, part) in cases {
                let mut client = site.client();
                // Much of it is not yet received when the response is sent: the response must still reach the client.
                client.send(&request);
                let answer = client.answer();
                assert!(answer.refused(status).contains(part), "{answer:?}");
                assert_eq!(answer.header("connection"), Some("close"));
                client.expect_end();
            }
            eventually("they are gone", || connections().is_empty());
        });
    }

    /// Compares HEAD with GET: the same headers and no body, which a client would parse as the next response.
    #[test]
    fn head_is_get_without_the_body() {
        with_plain_site(|site| {
            add(site, "bob", "Dentist");
            for address in ["/entries?list=bob", "/", "/nothing", "/add_entry"] {
                let mut client = site.client();
                client.send(format!("HEAD {address} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
                let head = client.head().expect("an answer");
                let got = client.ask("GET", address);
                assert_eq!(head.status, got.status, "{address}");
                let length: usize =
                    head.header("content-length").and_then(|text| text.parse().ok()).expect("a length");
                assert!(length > 0, "{address}");
            }
            let mut client = site.client();
            client.send("HEAD /events HTTP/1.1\r\n\r\n");
            assert_eq!(client.head().expect("an answer").status, 405);
        });
    }

    #[test]
    fn cross_origin_requests_can_neither_change_nor_read() {
        with_faulty_site(|site| {
            let from = |host: &str, origin: &str, line: &str| {
                let mut client = site.client();
                client.send(format!("{line} HTTP/1.1\r\nhost: {host}\r\n{origin}\r\n"));
                client.answer()
            };
            let here = site.address.to_string();
            let own = format!("origin: http://{here}\r\n");
            let supervisor = pid("lists");
            let changes = [
                "/add_entry?list=bob&date=2026-11-22&title=x",
                "/done?list=bob&id=1",
                "/kill?name=lists",
                "/chaos?on=1",
            ];
            for address in changes {
                for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
                    let answer = from(
                        &here,
                        &format!("origin: {origin}\r\nx-todo: 1\r\n"),
                        &format!("POST {address}"),
                    );
                    assert!(answer.refused(403).contains("other sites"), "{answer:?}");
                }
                // A name of theirs that points here: for the browser page and server are one site.
                let answer = from(
                    "evil.example",
                    "origin: http://evil.example\r\nx-todo: 1\r\n",
                    &format!("POST {address}"),
                );
                answer.refused(403);
            }
            for address in ["/", "/lists", "/entries?list=bob", "/events", "/api/tree"] {
                let answer = from("evil.example", "", &format!("GET {address}"));
                answer.refused(403);
                assert_eq!(answer.header("access-control-allow-origin"), None);
            }
            assert_eq!(from(&here, &own, &format!("POST {}", changes[0])).ok(), "OK");
            assert_eq!(site.get("/entries?list=bob").ok(), "2026-11-22 x");
            assert_eq!(pid("lists"), supervisor);
        });
    }

    #[test]
    fn list_beyond_max_lists_is_refused_and_the_others_work() {
        with_site(
            false,
            |config| Config { max_lists: 2, ..config },
            |site| {
                add(site, "alice", "Shopping");
                add(site, "bob", "Dentist");
                let answer = site.post("/add_entry?list=carol&date=2026-11-22&title=x");
                assert!(answer.refused(503).contains("nothing was changed"), "{answer:?}");
                site.get("/entries?list=carol").refused(503);
                add(site, "bob", "Dinner");
                process::exit(pid("list:alice"), ExitReason::Kill);
                eventually("there is room again", || site.get("/entries?list=carol").status == 200);
                assert_eq!(site.get("/lists").ok(), r#"["alice","bob"]"#);
            },
        );
    }
}

/// What takes processes down.
mod faults {
    use super::*;

    const ALL: [&str; 3] = ["/kill?name=lists", "/crash?name=db.worker.1", "/chaos?on=1"];

    #[test]
    fn fault_without_allow_kill_is_forbidden() {
        with_plain_site(|site| {
            let before = [pid("lists"), pid("db.worker.1")];
            for address in ALL {
                assert_eq!(site.post(address).refused(403), "the server was not started with --allow-kill");
            }
            assert_eq!([pid("lists"), pid("db.worker.1")], before);
            assert_eq!(site.tree()["chaos"]["running"], false);
        });
    }

    #[test]
    fn fault_without_csrf_header_is_forbidden() {
        with_faulty_site(|site| {
            let before = [pid("lists"), pid("db.worker.1")];
            for address in ALL {
                for mark in ["", "x-todo: 0\r\n", "x-todo: true\r\n"] {
                    let mut client = site.client();
                    client.send(format!("POST {address} HTTP/1.1\r\nhost: localhost\r\n{mark}\r\n"));
                    assert_eq!(client.answer().refused(403), "the header `X-Todo: 1` is missing");
                }
            }
            assert_eq!([pid("lists"), pid("db.worker.1")], before);
            assert_eq!(site.tree()["chaos"]["running"], false);
        });
    }

    #[test]
    fn killed_process_is_restarted_and_no_entry_is_lost() {
        with_faulty_site(|site| {
            for (verb, victim) in [
                ("kill", "lists"),
                ("kill", "db.workers"),
                ("kill", "db.worker.0"),
                ("crash", "db.worker.1"),
                ("kill", "metrics"),
                ("kill", "list:bob"),
                ("crash", "list:bob"),
            ] {
                add(site, "bob", &format!("{verb}+{victim}"));
                let before = pid(victim);
                assert_eq!(site.post(&format!("/{verb}?name={victim}")).ok(), "OK");
                eventually("it has exited", || !process::is_alive(before));
                let titles = site.get("/entries?list=bob").ok();
                assert!(titles.ends_with(&format!(" {verb} {victim}")), "{titles}");
                eventually("it is back", || tree::find(victim).is_some());
            }
            let supervisor = pid("lists");
            assert_eq!(site.post(&format!("/kill?name={}", encoded(supervisor))).ok(), "OK", "by its pid");
            eventually("it is back", || tree::find("lists").is_some_and(|member| member.pid != supervisor));
            assert_eq!(site.get("/entries?list=bob").ok().lines().count(), 7);
        });
    }

    fn encoded(pid: Pid) -> String {
        pid.to_string().replace('<', "%3C").replace('>', "%3E")
    }

    #[test]
    fn web_server_and_top_supervisor_are_no_targets() {
        with_faulty_site(|site| {
            for name in ["system", "web", "web.acceptor", "web.connections", "web.connection"] {
                let before = site.tree();
                for name in [name.to_owned(), encoded(pid("system")), encoded(pid("web.acceptor"))] {
                    for verb in ["kill", "crash"] {
                        let answer = site.post(&format!("/{verb}?name={name}"));
                        assert!(
                            answer.refused(403).contains("serves this request"),
                            "{verb} {name}: {answer:?}"
                        );
                    }
                }
                assert_eq!(site.tree()["restarts"], before["restarts"]);
            }
            assert_eq!(pid("system"), site.system.root);
        });
    }

    #[test]
    fn fault_without_a_target_returns_an_error() {
        with_faulty_site(|site| {
            for (address, status, part) in [
                ("/kill", 400, "the parameter name is missing"),
                ("/kill?name=nobody", 404, "no process is called \"nobody\""),
                ("/kill?name=list:bob", 404, "no process is called"),
                ("/crash?name=lists", 404, "without a handler"),
                ("/crash?name=metrics", 404, "metrics"),
                ("/chaos", 400, "the parameter on is missing"),
                ("/chaos?on=yes", 400, "expected on=1 or on=0"),
            ] {
                let answer = site.post(address);
                assert!(answer.refused(status).contains(part), "{address}: {answer:?}");
            }
        });
    }

    #[test]
    fn stopped_chaos_test_has_lost_nothing() {
        with_faulty_site(|site| {
            let number = |name: &str| site.tree()["chaos"][name].as_u64().expect("a number");
            assert_eq!(site.post("/chaos?on=1").ok(), "OK");
            assert_eq!(site.post("/chaos?on=1").ok(), "OK", "there is one");
            eventually("it is running", || {
                number("acknowledged") > 30 && site.tree()["restarts"].as_u64() > Some(5)
            });
            assert_eq!(site.post("/chaos?on=0").ok(), "OK");
            let others = ["chaos.writer", "chaos.killer", "chaos.auditor"];
            let part = |member: &Member| others.iter().any(|part| member.name.starts_with(part));
            eventually("all have left", || !tree::members().iter().any(part));
            let chaos = site.tree()["chaos"].clone();
            assert_eq!((&chaos["running"], &chaos["lost"]), (&Value::from(false), &Value::from(0)));
            assert_eq!(chaos["found"], chaos["acknowledged"]);
        });
    }

    /// Checks for a regression: after all of its processes had been killed, no other chaos test could be started.
    #[test]
    fn chaos_test_restarts_after_its_processes_were_killed() {
        with_faulty_site(|site| {
            let number = |name: &str| site.tree()["chaos"][name].as_u64().expect("a number");
            site.post("/chaos?on=1").ok();
            eventually("it is running", || number("acknowledged") > 0);
            let chaos = pid("chaos");
            site.post("/kill?name=chaos").ok();
            eventually("it is back", || tree::find("chaos").is_some_and(|member| member.pid != chaos));
            eventually("it is over", || site.tree()["chaos"]["running"] == false);
            site.post("/chaos?on=1").ok();
            eventually("it is running again", || {
                number("acknowledged") > 0 && tree::find("chaos.killer").is_some()
            });
            site.post("/chaos?on=0").ok();
        });
    }
}

mod connections_from_clients {
    use super::*;

    #[test]
    fn one_connection_serves_many_requests_in_order() {
        with_plain_site(|site| {
            let mut client = site.client();
            let first = (client.ask("GET", "/lists"), connections());
            for _ in 0..20 {
                assert_eq!(client.ask("GET", "/lists").header("connection"), Some("keep-alive"));
            }
            assert_eq!(
                (client.ask("GET", "/lists"), connections()),
                first,
                "the same connection, the same process"
            );

            // All of them before the first answer.
            let adds = (0..50).map(|n| {
                format!("POST /add_entry?list=bob&date=2026-11-22&title=entry+{n} HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody\
                         GET /entries?list=bob HTTP/1.1\r\n\r\n")
            });
            client.send(adds.collect::<String>());
            for n in 0..50 {
                assert_eq!(client.answer().ok(), "OK");
                let lines: Vec<String> = (0..=n).map(|n| format!("2026-11-22 entry {n}")).collect();
                assert_eq!(client.answer().ok(), lines.join("\n"));
            }
        });
    }

    #[test]
    fn connection_close_closes_after_the_response() {
        with_plain_site(|site| {
            for request in ["GET /lists HTTP/1.0\r\n\r\n", "GET /lists HTTP/1.1\r\nconnection: close\r\n\r\n"]
            {
                let mut client = site.client();
                client.send(request);
                let answer = client.answer();
                assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{request:?}");
                client.expect_end();
            }
            let mut client = site.client();
            client.send("GET /lists HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
            assert_eq!(client.answer().header("connection"), Some("keep-alive"));
            client.ask("GET", "/lists").ok();
        });
    }

    /// Covers several kinds of clients in one test, which takes as long as the idle timeout and the request timeout.
    #[test]
    fn slow_and_silent_clients_delay_no_other_client() {
        with_plain_site(|site| {
            add(site, "bob", "Dentist");
            let mut silent: Vec<Client> = (0..20).map(|_| site.client()).collect();
            let mut slow: Vec<Client> = (0..20).map(|_| site.client()).collect();
            slow.iter_mut().for_each(|client| client.send("GET /entries?list=b"));
            // A body that does not come.
            let mut bodiless = site.client();
            bodiless.send("POST /done?list=bob&id=1 HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf");
            let _deaf: Vec<Client> = (0..10).map(|_| site.client().listens()).collect();
            // One that is never silent for long and never comes to an end.
            let mut dripping = site.client();
            let drip = {
                let stream = dripping.stream.get_ref().try_clone().expect("a second handle");
                let _ = (&stream).write_all(b"GET / HTTP/1.1\r\nx: ");
                go(move || {
                    // Until it is hung up on.
                    while (&stream).write_all(b"y").is_ok() {
                        process::sleep(Duration::from_millis(300));
                    }
                })
            };
            // It asks for far more than fits between here and there, and reads nothing of it.
            for _ in 0..60 {
                add(site, "long", &"%F0%9F%9B%92".repeat(200));
            }
            let greedy = site.client();
            let (process, done) = {
                let stream = greedy.stream.get_ref().try_clone().expect("a second handle");
                go(move || {
                    let many = "GET /entries?list=long HTTP/1.1\r\n\r\n".repeat(100_000);
                    // Until it is hung up on.
                    let _ = (&stream).write_all(many.as_bytes());
                })
            };

            let mut half_closed = site.client();
            half_closed.send("GET /entries?list=bob HTTP/1.1\r\n\r\n");
            half_closed.close_half();
            assert_eq!(half_closed.answer().ok(), "2026-11-22 Dentist");
            half_closed.expect_end();

            assert!(connections().len() >= 53, "all of them are there");
            for n in 0..50 {
                add(site, "alice", &format!("entry+{n}"));
            }
            assert_eq!(site.get("/entries?list=alice").ok().lines().count(), 50);

            for client in slow.iter_mut().chain([&mut bodiless]) {
                let answer = client.answer();
                assert!(answer.refused(408).contains("in time"), "{answer:?}");
                client.expect_end();
            }
            silent.iter_mut().for_each(Client::expect_end);
            assert!(dripping.answer().refused(408).contains("in time"));
            dripping.expect_end();
            drop(dripping);
            join(vec![(process, done), drip]);
            eventually("only the clients that do not read are left", || connections().len() == 10);
            drop(greedy);
            assert_eq!(site.get("/entries.json?list=bob").ok().matches("\"done\":false").count(), 1);
        });
    }

    #[test]
    fn client_that_disconnects_early_leaves_no_process() {
        with_plain_site(|site| {
            for request in ["", "GET", "POST /done?list=bob&id=1 HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"] {
                let mut client = site.client();
                client.send(request);
                eventually("it is there", || connections().len() == 1);
                drop(client);
                eventually("it is gone", || connections().is_empty());
            }
            // With an answer under way.
            let mut client = site.client();
            client.send("GET / HTTP/1.1\r\n\r\n".repeat(2000));
            client.answer().ok();
            drop(client);
            eventually("it is gone", || connections().is_empty());
            drop(site.client().listens());
            eventually("it is gone", || connections().is_empty());
        });
    }

    #[test]
    fn connection_beyond_128_gets_503() {
        with_plain_site(|site| {
            let mut clients: Vec<Client> = Vec::new();
            for _ in 0..128 {
                let mut client = site.client();
                // Each has a process before the next one comes.
                client.ask("GET", "/lists").ok();
                clients.push(client);
            }
            assert_eq!(connections().len(), 128);
            for _ in 0..50 {
                // What it has asked by then must not cost it the answer.
                let mut refused = site.client();
                let _ = refused.stream.get_mut().write_all(b"GET /lists HTTP/1.1\r\n\r\n");
                let answer = refused.answer();
                assert!(answer.refused(503).contains("too many connections"), "{answer:?}");
                assert_eq!(answer.header("connection"), Some("close"));
                refused.expect_end();
            }
            // Those that are there are served ..
            for client in clients.iter_mut().take(10) {
                client.ask("GET", "/lists").ok();
            }
            // .. and the place of one that leaves is free.
            clients.pop();
            eventually("there is room", || {
                site.client().try_ask("GET", "/lists").is_ok_and(|one| one.status == 200)
            });
            drop(clients);
            eventually("all are gone", || connections().is_empty());
            site.get("/lists").ok();
        });
    }
}

/// Which processes exit, and which do not.
mod exits {
    use super::*;

    #[test]
    fn connection_without_its_supervisor_gets_its_own_503() {
        with_plain_site(|site| {
            let supervisor = process::whereis("web.connections").expect("it runs");
            process::unregister("web.connections").expect("it has its name");
            let answer = site.client().answer();
            assert!(answer.refused(503).contains("at the moment"), "{answer:?}");
            process::register("web.connections", supervisor).expect("the name is free");
            site.get("/lists").ok();
        });
    }

    #[test]
    fn exit_of_a_connection_affects_no_other_process() {
        with_plain_site(|site| {
            add(site, "bob", "Dentist");
            for reason in [ExitReason::Kill, "a handler failed".into(), ExitReason::Shutdown] {
                let mut other = site.client();
                other.ask("GET", "/lists").ok();
                eventually("the others are gone", || connections().len() == 1);
                let survivor = connections();
                let mut client = site.client();
                client.ask("GET", "/lists").ok();
                let before = tree::members();
                let victim =
                    connections().into_iter().find(|pid| !survivor.contains(pid)).expect("two of them");
                process::exit(victim, reason);
                client.expect_end();
                other.ask("GET", "/entries?list=bob").ok();
                let spared: Vec<Member> = before.into_iter().filter(|member| member.pid != victim).collect();
                eventually("it alone is gone", || tree::members() == spared);
            }
        });
    }

    #[test]
    fn web_server_restarts_on_the_same_port_alone() {
        with_plain_site(|site| {
            add(site, "bob", "Dentist");
            let others = ["system", "lists", "db.workers", "db.worker.0", "list:bob", "metrics"];
            let before = others.map(pid);
            for (victim, also) in [
                ("web.acceptor", vec![]),
                ("web.connections", vec!["web.acceptor"]),
                ("web", vec!["web.connections", "web.acceptor"]),
            ] {
                let mut client = site.client();
                client.ask("GET", "/lists").ok();
                let dying: Vec<(&str, Pid)> =
                    also.iter().chain([&victim]).map(|name| (*name, pid(name))).collect();
                process::exit(pid(victim), ExitReason::Kill);
                for (name, old) in dying {
                    eventually("it is replaced", || tree::find(name).is_some_and(|member| member.pid != old));
                }
                let again = || Client::try_of(site.address)?.try_ask("GET", "/entries?list=bob");
                eventually("it answers", || again().is_ok_and(|answer| answer.body == "2026-11-22 Dentist"));
                if victim == "web.acceptor" {
                    client.ask("GET", "/lists").ok(); // open connections stay open
                } else {
                    client.expect_end();
                }
                assert_eq!(others.map(pid), before, "{victim}");
            }
        });
    }

    /// Runs eight clients while a process that serves the lists is killed every few milliseconds.
    #[test]
    fn every_request_is_answered_under_random_kills_and_no_entry_is_lost() {
        const CLIENTS: usize = 8;
        const REQUESTS: usize = 200;
        const KILLS: usize = 40;
        with_site(
            false,
            |config| Config { max_restarts: 1_000_000, ..config },
            |site| {
                let acknowledged: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
                let statuses: Arc<Mutex<Vec<u16>>> = Arc::default();
                let (over, address) = (Arc::new(AtomicBool::new(false)), site.address);
                let clients = (0..CLIENTS).map(|number| {
                    let (acknowledged, statuses) = (Arc::clone(&acknowledged), Arc::clone(&statuses));
                    let over = Arc::clone(&over);
                    go(move || {
                        // One connection for all requests: kills must not close it.
                        let mut client = Client::of(address);
                        for n in 0.. {
                            if over.load(Ordering::Relaxed) {
                                return;
                            }
                            let (list, title) = (format!("list{}", n % 5), format!("entry{n}-of-{number}"));
                            let change = n % 2 == 0;
                            let answer = if change {
                                let address = format!("/add_entry?list={list}&date=2026-11-22&title={title}");
                                client.ask("POST", &address)
                            } else {
                                client.ask("GET", &format!("/entries?list={list}"))
                            };
                            statuses.lock().push(answer.status);
                            match answer.status {
                                200 if change => acknowledged.lock().push((list, title)),
                                200 => {}
                                status => drop(answer.refused(status).to_owned()),
                            }
                        }
                    })
                });
                let clients: Vec<_> = clients.collect();
                let mut kills = 0;
                while kills < KILLS || statuses.lock().len() < REQUESTS {
                    let members = tree::members();
                    let game: Vec<&Member> =
                        members.iter().filter(|one| tree::is_chaos_target(&one.name)).collect();
                    if let Some(victim) = game.get(kills * 7 % game.len().max(1)) {
                        process::exit(victim.pid, ExitReason::Kill);
                        kills += 1;
                    }
                    process::sleep(Duration::from_millis(20));
                }
                over.store(true, Ordering::Relaxed);
                join(clients);
                let (acknowledged, statuses) = (acknowledged.lock(), statuses.lock());
                assert!(statuses.iter().all(|status| [200, 500, 503].contains(status)), "{statuses:?}");
                assert!(!acknowledged.is_empty());
                for list in 0..5 {
                    let list = format!("list{list}");
                    let kept = site.get(&format!("/entries?list={list}")).ok();
                    let mut titles: Vec<&str> = kept.lines().collect();
                    let promised = acknowledged.iter().filter(|(of, _)| *of == list);
                    let lost: Vec<_> = promised
                        .filter(|(_, title)| !titles.contains(&format!("2026-11-22 {title}").as_str()))
                        .collect();
                    assert!(lost.is_empty(), "lost: {lost:?}");
                    let count = titles.len();
                    titles.sort_unstable();
                    titles.dedup();
                    assert_eq!(titles.len(), count, "an entry is there twice");
                }
                let good = statuses.iter().filter(|status| **status == 200).count();
                println!(
                    "{kills} kills, {} requests, {good} of them with 200, {} entries",
                    statuses.len(),
                    acknowledged.len()
                );
            },
        );
    }

    #[test]
    fn stop_leaves_no_process_thread_or_connection() {
        let _alone = ALONE.lock(); // until all has been looked at
        let mut threads = Vec::new();
        let mut clients = Vec::new();
        let mut address = None;
        serve(
            false,
            |config| config,
            |site| {
                add(site, "bob", "Dentist");
                // Idle, in the middle of a request, and listening: each has to be woken.
                clients = (0..3).map(|_| site.client()).collect();
                clients[0].ask("GET", "/lists").ok();
                clients[1].send("GET /li");
                clients.push(site.client().listens());
                eventually("they are in", || connections().len() == 4);
                eventually("their threads have their names", || {
                    threads = threads_of_ours();
                    ["system", "list:bob", "web.acceptor", "web.connection"]
                        .iter()
                        .all(|name| threads.iter().any(|thread| name.starts_with(thread.as_str())))
                });
                address = Some(site.address);
            },
        );
        // `serve` has looked for processes.
        let names = process::processes()
            .into_iter()
            .filter_map(|info| info.name)
            .filter(|name| tree::is_system_process(name));
        assert_eq!(names.collect::<Vec<_>>(), [""; 0].map(Arc::<str>::from));
        for name in ["system", "web", "web.connections", "lists", "list:bob", "chaos", "db.workers"] {
            assert_eq!(process::whereis(name), None, "{name}");
        }
        eventually_none("their threads are gone", threads_of_ours);
        clients[0].expect_end();
        clients[1].expect_end();
        let refused =
            Client::try_of(address.expect("it ran")).and_then(|mut one| one.try_ask("GET", "/lists"));
        assert!(refused.is_err(), "{refused:?}");
    }

    /// Returns the names of the threads of the system: of each the first 15 bytes.
    fn threads_of_ours() -> Vec<String> {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux");
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let prefixes = ["system", "lists", "db.workers", "metrics", "chaos", "db.worker.", "list:", "web"];
        names
            .map(|name| name.trim_end().to_owned())
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .collect()
    }
}

/// The stream of events.
mod events {
    use super::*;

    #[test]
    fn event_stream_begins_with_the_tree() {
        with_faulty_site(|site| {
            add(site, "bob", "Dentist");
            let mut listener = site.client().listens();
            let (kind, first) = listener.event();
            assert_eq!(kind, "tree", "{first}");
            let rows = first["tree"].as_array().expect("rows");
            assert!(rows.iter().any(|row| row["name"] == "list:bob"), "{first}");

            let worker = pid("db.worker.1").to_string();
            site.post("/kill?name=db.worker.1").ok();
            let mut received = Vec::new();
            let mut pids = Vec::new();
            while received != ["exited", "started", "restarted"] {
                let (kind, data) = listener.event();
                if kind == "process" && data["name"] == "db.worker.1" {
                    received.push(data["kind"].as_str().expect("text").to_owned());
                    pids.push(data["pid"].as_str().expect("text").to_owned());
                    if received[0] == "exited" && received.len() == 1 {
                        assert_eq!(
                            (pids[0].as_str(), data["text"].as_str()),
                            (worker.as_str(), Some("exited: killed"))
                        );
                    }
                }
                assert!(received.len() <= 3, "{received:?}");
            }
            assert!(pids[1] != worker && pids[1] == pids[2], "{pids:?}");
            let tree = std::iter::repeat_with(|| listener.event()).find(|(kind, _)| kind == "tree");
            let rows = tree.expect("one").1["tree"].clone();
            let row = rows.as_array().expect("rows").iter().find(|row| row["name"] == "db.worker.1");
            let row = row.expect("it is in the tree");
            assert_eq!((&row["pid"], &row["restarts"]), (&Value::from(pids[1].as_str()), &Value::from(1)));
        });
    }

    /// Opens fifty event streams that are not read, while many events occur. Each stream formats the whole tree four times
    /// a second, so each phase has its own time limit.
    #[test]
    fn subscriber_that_does_not_read_delays_no_other_client() {
        with_faulty_site(|site| {
            let began = Instant::now();
            let unread: Vec<Client> = (0..50).map(|_| site.client().listens()).collect();
            let mut listener = site.client().listens();
            for n in 0..30 {
                site.restart_watchdog();
                add(site, &format!("list{n}"), "x");
                site.post(&format!("/kill?name=list:list{n}")).ok();
            }
            site.restart_watchdog();
            let mut last = String::new();
            while last != "list:list29" {
                let (kind, data) = listener.event();
                if kind == "process" && data["kind"] == "exited" {
                    last = data["name"].as_str().expect("text").to_owned();
                }
            }
            let (open, all) = (connections().len(), unread.len() + 1);
            // On a slow machine some of those that are not read have timed out by now.
            assert!(
                open == all || open < all && began.elapsed() > WRITE_TIMEOUT,
                "{open} of {all} connections after {:?}",
                began.elapsed()
            );
            site.restart_watchdog();
        });
    }
}

/// Idle lists.
mod expiry {
    use super::*;

    fn expires_after(expiry: Duration) -> impl FnOnce(Config) -> Config {
        move |config| Config { expiry: Some(expiry), ..config }
    }

    #[test]
    fn idle_list_stops_normally_and_is_back_at_the_next_request() {
        with_site(false, expires_after(Duration::from_millis(100)), |site| {
            support::capture();
            let said = logs().len();
            let mut events = observer::events();
            let mut leaves = || {
                let exited = |event: ProcessEvent| match event.kind {
                    ProcessEventKind::Exited { reason }
                        if event.display_name.as_deref() == Some("list:bob") =>
                    {
                        Some(reason)
                    }
                    _ => None,
                };
                let limit = Duration::from_secs(30);
                std::iter::from_fn(|| events.recv_timeout(limit)).find_map(exited).expect("it leaves")
            };
            add(site, "bob", "Dentist");
            assert_eq!(leaves(), ExitReason::Normal);
            let before = [pid("lists"), pid("db.workers"), pid("system")];
            assert_eq!(site.get("/entries?list=bob").ok(), "2026-11-22 Dentist");
            assert_eq!(leaves(), ExitReason::Normal);
            add(site, "bob", "Dinner");
            assert_eq!(leaves(), ExitReason::Normal);
            assert_eq!(tree::find("list:bob"), None, "it starts on demand only");
            assert_eq!(site.get("/entries?list=bob").ok(), "2026-11-22 Dentist\n2026-11-22 Dinner");
            assert_eq!([pid("lists"), pid("db.workers"), pid("system")], before);
            assert_eq!(leaves(), ExitReason::Normal);

            // The log is that of the whole program, and there is one system at a time.
            let quiet = |line: &String| line.starts_with("DEBUG ") || line.starts_with("TRACE ");
            let loud = || logs().into_iter().skip(said).find(|line| !quiet(line));
            assert_eq!(loud(), None);
            process::exit(pid("metrics"), ExitReason::Kill);
            eventually("an abnormal exit is logged", || loud().is_some());
        });
    }

    #[test]
    fn request_postpones_the_expiry_of_a_list() {
        const EXPIRY: Duration = Duration::from_millis(1500);
        with_site(false, expires_after(EXPIRY), |site| {
            add(site, "bob", "Dentist");
            add(site, "alice", "Shopping");
            let mut client = site.client();
            loop {
                client.ask("GET", "/entries?list=bob").ok();
                let server = tree::find("list:bob").map(|member| member.pid);
                let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
                while began.elapsed() < 2 * EXPIRY {
                    client.ask("GET", "/entries?list=bob").ok();
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    process::sleep(EXPIRY / 15);
                }
                let same = server.is_some() && tree::find("list:bob").map(|member| member.pid) == server;
                if same {
                    break;
                }
                // On a busy machine a pause between two requests may have been as long as the expiry: then the list was
                // right to leave, and the test starts over.
                assert!(
                    longest.max(last.elapsed()) >= EXPIRY / 2,
                    "it left although requests arrived all the time"
                );
            }
            eventually("the list without requests has left", || tree::find("list:alice").is_none());
        });
    }

    /// Sends requests at the moment a list server stops: it replies, or its successor does.
    #[test]
    fn no_request_is_lost_when_a_list_expires() {
        with_site(false, expires_after(Duration::from_millis(2)), |site| {
            let (address, total) = (site.address, Arc::new(AtomicUsize::new(0)));
            let clients = (0..4).map(|number| {
                let total = Arc::clone(&total);
                go(move || {
                    let mut client = Client::of(address);
                    for n in 0..50 {
                        let list = n % 3;
                        let address =
                            format!("/add_entry?list=list{list}&date=2026-11-22&title={number}-{n}");
                        client.ask("POST", &address).ok();
                        total.fetch_add(1, Ordering::Relaxed);
                        // About as long as a list stays, so that some requests come as it leaves.
                        process::sleep(Duration::from_micros(1500 + 40 * n));
                    }
                })
            });
            join(clients.collect());
            let kept: usize =
                (0..3).map(|n| site.get(&format!("/entries?list=list{n}")).ok().lines().count()).sum();
            assert_eq!((kept, total.load(Ordering::Relaxed)), (200, 200));
        });
    }
}
