//! The exit status and the message of each command, for every outcome: what was asked for, a failure, a closed or full
//! output, an input that cannot be read, a server that is none, and a signal.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use rethread::process;

use crate::cli::{Run, Served, ask, connect, folder};
use crate::program;
use crate::support::{eventually, watchdog};

/// A server that answers each request by a function of the method, the path and the query: with a status and a body.
fn fake(answer: impl Fn(&str, &str, &str) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let answer = Arc::new(answer);
    let accept = move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            process::spawn(move || serve(stream, &*answer)).expect("a free thread");
        }
    };
    process::spawn(accept).expect("a free thread");
    address
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str, &str, &str) -> (u16, String)) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !stream.read_line(&mut head).is_ok_and(|read| read > 0) {
                return;
            }
        }
        let mut words = head.split(' ');
        let (method, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let (status, body) = answer(method, path, query);
        if status == 0 {
            return; // without an answer
        }
        let response = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.get_mut().write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// Returns a parameter of a query.
fn parameter(query: &str, name: &str) -> String {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    percent_encoding::percent_decode_str(value).decode_utf8().expect("text").into_owned()
}

/// A server that stores entries `copies` times, and gives `status` to those of which `refuses` is true.
fn fake_store(copies: usize, refuses: fn(&str) -> Option<u16>) -> String {
    let lists: Mutex<BTreeMap<String, Vec<String>>> = Mutex::default();
    fake(move |method, path, query| {
        if path == "/api/tree" {
            return (200, r#"{"tree":[]}"#.into());
        }
        if let Some(status) = refuses(method) {
            return (status, "refused".into());
        }
        let list = parameter(query, "list");
        if method == "POST" {
            let titles = vec![parameter(query, "title"); copies];
            lists.lock().entry(list).or_default().extend(titles);
            return (200, "OK".into());
        }
        let lists = lists.lock();
        let titles = lists.get(&list).into_iter().flatten();
        let entries: Vec<String> = titles.map(|title| format!("{{\"title\":{title:?}}}")).collect();
        (200, format!("[{}]", entries.join(",")))
    })
}

/// Runs `load` for a second. Its progress on stderr is left out.
#[track_caller]
fn load(url: &str, options: &[&str]) -> Run {
    let mut command = program();
    command.args(["load", url, "--seconds", "1"]).args(options);
    let mut run = Run::of(command.output().expect("it runs"));
    run.err.retain(|line| !line.contains("requests/s"));
    run
}

/// Returns the reasons of a run of `load` that must have failed, after its report.
#[track_caller]
fn load_failed(run: Run) -> String {
    assert_eq!(run.out.len(), 4, "the report comes nevertheless: {run:?}");
    let said = run.refused();
    said.strip_prefix("todo-cache: the run failed: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn load_succeeds_only_if_all_acknowledged_entries_are_stored_once() {
    let _watchdog = watchdog();
    let good = load(&fake_store(1, |_| None), &["--clients", "3"]);
    assert!(good.success && good.err.is_empty(), "{good:?}");
    assert!(
        good.out[3].starts_with("acknowledged ") && good.out[3].ends_with(", lost 0, duplicated 0"),
        "{good:?}"
    );
    let said = load_failed(load(&fake_store(0, |_| None), &["--clients", "3"]));
    assert!(said.ends_with(" acknowledged entries are lost"), "{said}");
    let said = load_failed(load(&fake_store(2, |_| None), &["--clients", "3"]));
    assert!(said.ends_with(" acknowledged entries are stored more than once"), "{said}");
}

#[test]
fn load_that_was_refused_or_not_answered_failed() {
    let _watchdog = watchdog();
    let said = load_failed(load(&fake_store(1, |_| Some(503)), &["--clients", "3"]));
    assert!(said.starts_with("no request succeeded, ") && said.ends_with(" were refused"), "{said}");
    let said =
        load_failed(load(&fake_store(1, |method| (method == "POST").then_some(500)), &["--clients", "3"]));
    assert!(said.starts_with("none of ") && said.ends_with(" new entries was acknowledged"), "{said}");
    let said =
        load_failed(load(&fake_store(1, |method| (method == "POST").then_some(0)), &["--clients", "3"]));
    assert!(said.contains(" requests were not answered"), "{said}");

    let dir = folder();
    let server = Served::start(dir.path(), &["--max-lists", "0"]);
    let said = load_failed(load(&server.address, &["--clients", "2"]));
    assert!(said.starts_with("no request succeeded, "), "{said}");
}

/// Runs more clients than the server has connections: those that get one are answered, and the others refused.
#[test]
fn load_of_a_full_server_succeeds() {
    let _watchdog = watchdog();
    let dir = folder();
    let server = Served::start(dir.path(), &[]);
    // On a slow machine not all of them are connected before the end: then the next run shows it.
    loop {
        let run = load(&server.address, &["--clients", "200"]);
        assert!(run.success && run.err.is_empty(), "{run:?}");
        assert!(run.out[2].ends_with(", unanswered 0"), "{run:?}");
        if !run.out[2].contains("refused 0,") {
            break;
        }
    }
}

#[test]
fn load_ends_in_time_and_needs_a_duration_and_clients() {
    let _watchdog = watchdog();
    for options in [["--seconds", "0"], ["--clients", "0"], ["--kill-every", "0s"]] {
        let run = Run::of(program().args(["load", "127.0.0.1:1"]).args(options).output().expect("it runs"));
        assert!(!run.success && run.err[0].contains(options[0]), "{options:?}: {run:?}");
    }
    // The pause between two kills is longer than the load.
    let dir = folder();
    let server = Served::start(dir.path(), &["--allow-kill"]);
    let run = load(&server.address, &["--kill-every", "10m", "--clients", "2"]);
    assert!(run.success && run.out[0].ends_with("; 0 kills"), "{run:?}");
}

#[test]
fn other_server_is_not_taken_for_a_todo_cache() {
    let _watchdog = watchdog();
    for (answer, what) in [
        ((200, "<html>".to_owned()), "is not a todo-cache server"),
        ((404, "not \u{1b}[31mfound".to_owned()), "answers 404: not \\u{1b}[31mfound"),
        ((503, "busy".to_owned()), "answers 503: busy"),
    ] {
        let address = fake(move |_, _, _| answer.clone());
        let said = Run::of(program().args(["load", &address]).output().expect("it runs")).refused();
        assert!(said.contains(what), "{said}");
    }
    let silent = fake(|_, _, _| (0, String::new()));
    for command in ["load", "watch"] {
        let said = Run::of(program().args([command, &silent]).output().expect("it runs")).refused();
        assert!(said.contains("there is no server at"), "{said}");
        let said = Run::of(program().args([command, "ftp://x/y"]).output().expect("it runs")).refused();
        assert!(said.contains("expected an address"), "{said}");
    }
}

/// Runs `watch` for one frame against a server that sends these events.
#[track_caller]
fn watch(events: Vec<u8>) -> Run {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let send = move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        let _ = stream.write_all(&events); // it may hang up before the end
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let sender = process::spawn(send).expect("a free thread");
    let run = Run::of(program().args(["watch", &address, "--frames", "1"]).output().expect("it runs"));
    process::watch(sender).wait();
    run
}

#[test]
fn watch_takes_what_a_server_sends_as_data() {
    let _watchdog = watchdog();
    let tree = |row: serde_json::Value| {
        format!("event: tree\ndata: {}\n\n", serde_json::json!({"tree": [row]})).into_bytes()
    };
    let evil = "a\u{1b}]0;mine now\u{7}\u{1b}]52;c;eHg=\u{7}\u{9b}2J\u{202e}";
    let out =
        watch(tree(serde_json::json!({"pid": evil, "name": evil, "what": evil, "state": evil, "depth": 1})))
            .well();
    assert!(!out.concat().contains(|c: char| c.is_control() || c == '\u{202e}'), "{out:?}");
    assert!(out.concat().contains("\\u{1b}]0;mine now"), "{out:?}");
    let out = watch(tree(
        serde_json::json!({"pid": "<1>", "name": "x", "depth": u64::MAX, "message_queue_len": u64::MAX}),
    ))
    .well();
    assert!(out.iter().all(|line| line.len() < 1000), "{out:?}");

    let said = watch(b"data: ".repeat(6 << 20)).refused();
    assert!(said.contains("an event is longer than 16 MiB"), "{said}");
    let said = watch(b"event: tree\ndata: {\n\n".to_vec()).refused();
    assert!(said.contains("an event is not JSON"), "{said}");
    let said = watch(b"event: tree\ndata: \xff\n\n".to_vec()).refused();
    assert!(said.contains("not UTF-8"), "{said}");
    let usage = Run::of(program().args(["watch", "--frames", "0"]).output().expect("it runs"));
    assert!(!usage.success && usage.err[0].contains("--frames"), "{usage:?}");
}

#[cfg(unix)]
mod unix {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// The commands that print, each with its input.
    fn printing(dir: &Path) -> Vec<(Command, String)> {
        let of = |args: &[&str]| {
            let mut command = program();
            command.args(args).arg("--dir").arg(dir);
            command
        };
        let mut demo = program();
        demo.arg("demo");
        vec![
            (of(&["export"]), String::new()),
            (of(&["shell"]), "help\n".repeat(200)),
            (of(&["serve", "--port", "0"]), String::new()),
            (demo, String::new()),
        ]
    }

    /// Runs a command whose output is that file.
    #[track_caller]
    fn run(
        command: &mut Command,
        input: &str,
        output: impl Into<Stdio>,
    ) -> (std::process::ExitStatus, String) {
        command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        (output.status, String::from_utf8(output.stderr).expect("text"))
    }

    fn one_list(dir: &Path) {
        let mut command = program();
        command.arg("shell").arg("--dir").arg(dir);
        assert!(run(&mut command, "add bob 2026-11-22 Dentist\n", Stdio::null()).0.success());
    }

    #[test]
    fn full_output_is_an_error_that_says_so() {
        let _watchdog = watchdog();
        let dir = folder();
        one_list(dir.path());
        for (mut command, input) in printing(dir.path()) {
            let full = File::options().write(true).open("/dev/full").expect("Linux");
            let (status, said) = run(&mut command, &input, full);
            assert_eq!(status.code(), Some(1), "{command:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
            assert!(
                said.contains("cannot write to the standard output: No space left"),
                "{command:?}: {said}"
            );
        }
    }

    /// Returns an output that nothing reads.
    fn closed() -> OwnedFd {
        let (output, reader) = UnixStream::pair().expect("a pair");
        drop(reader);
        output.into()
    }

    /// Closes the reading end of the output, as `| head` does: the program ends quietly, like others by SIGPIPE.
    #[test]
    fn closed_output_ends_the_program_quietly() {
        const SIGPIPE: i32 = 13;
        let _watchdog = watchdog();
        let dir = folder();
        one_list(dir.path());
        for (mut command, input) in printing(dir.path()) {
            let (status, said) = run(&mut command, &input, closed());
            assert_eq!((status.signal(), said.as_str()), (Some(SIGPIPE), ""), "{command:?}: {status}");
        }
        // The verdict of `load` does not depend on a reader.
        let address = fake_store(0, |_| None);
        let mut command = program();
        command.args(["load", &address, "--seconds", "1", "--clients", "2"]);
        let (status, said) = run(&mut command, "", closed());
        assert!(status.code() == Some(1) && said.contains("are lost"), "{status}: {said}");
    }

    #[test]
    fn input_that_cannot_be_read_is_an_error() {
        let _watchdog = watchdog();
        let dir = folder();
        let data = dir.path().join("data");
        for command in ["shell", "import"] {
            let input = File::open(dir.path()).expect("a folder");
            let run = program().arg(command).arg("--dir").arg(&data).stdin(input).output();
            let run = Run::of(run.expect("it runs"));
            assert!(!run.success && run.out.is_empty(), "{run:?}");
            assert!(run.err.len() == 1 && run.err[0].contains("Is a directory"), "{run:?}");
        }
        let text = dir.path().join("lists.jsonl");
        fs::write(&text, b"\n{\"list\":\"\xff\"}\n").expect("writable");
        let run =
            Run::of(program().arg("import").arg(&text).arg("--dir").arg(&data).output().expect("it runs"));
        let said = run.refused();
        assert!(said.contains("line 2: ") && said.contains("UTF-8"), "{said}");
    }

    #[test]
    fn byte_order_mark_is_no_part_of_the_first_line() {
        let _watchdog = watchdog();
        let dir = folder();
        let line =
            r#"{"list":"bob","next_id":2,"entries":[{"id":1,"date":"2026-11-22","title":"x","done":false}]}"#;
        let with_input = |command: &str, input: &str| {
            let mut command_line = program();
            command_line.arg(command).arg("--dir").arg(dir.path());
            command_line.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command_line.spawn().expect("it starts");
            child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
            Run::of(child.wait_with_output().expect("it ends"))
        };
        let run = with_input("import", &format!("\u{feff}{line}\n"));
        assert!(run.success && run.err == ["1 lists imported"], "{run:?}");
        assert_eq!(with_input("shell", "\u{feff}lists\n").well(), ["bob"]);
        let out = with_input("shell", "lists\n\u{feff}lists\n").well();
        assert!(out[1].starts_with("error: there is no command"), "only at the beginning: {out:?}");
    }

    /// Stops the demonstration at several moments.
    #[test]
    fn stopped_demo_leaves_no_folder() {
        let _watchdog = watchdog();
        for (n, (signal, number)) in [("TERM", 15), ("INT", 2), ("TERM", 15)].into_iter().enumerate() {
            let dir = folder();
            let mut command = program();
            command.arg("demo").env("TMPDIR", dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("it starts");
            let mut out = BufReader::new(child.stdout.take().expect("its output"));
            let mut line = String::new();
            while !line.starts_with(&format!("{}. ", n + 1)) {
                line.clear();
                assert!(out.read_line(&mut line).expect("text") > 0, "it has ended");
            }
            eventually("its folder is there", || fs::read_dir(dir.path()).expect("a folder").count() == 1);
            let kill = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", child.id())).status();
            assert!(kill.expect("a shell").success());
            let drained = process::spawn(move || drop(std::io::copy(&mut out, &mut std::io::sink())))
                .expect("a thread");
            let status = child.wait().expect("it ends");
            assert_eq!(status.signal(), Some(number), "{status}");
            process::watch(drained).wait();
            let left: Vec<_> = fs::read_dir(dir.path()).expect("a folder").collect();
            assert!(left.is_empty(), "SIG{signal}: {left:?}");
        }
    }
}

/// Sends lists with odd names and titles through every way of the program: import, shell, HTTP, export.
#[test]
fn odd_names_and_titles_go_through_the_whole_program() {
    let _watchdog = watchdog();
    let (one, other) = (folder(), folder());
    let odd = [
        "my list",
        "\"quoted\"",
        "half\"",
        "back\\slash",
        "\\u{41}",
        "a  b",
        "../x",
        "%20&list=x",
        "<b>&amp;",
        "買い物 🛒",
        "e\u{301}",
        "\u{202e}gnp",
        "👨\u{200d}👩",
        "a\u{a0}b",
        "a\u{2028}b",
        "\u{feff}x",
        "2026-11-22",
        "--help",
    ];
    let mut lines: Vec<String> = odd
        .iter()
        .map(|text| {
            let entry = serde_json::json!({"id": 1, "date": "2026-11-22", "title": format!(" {text} "), "done": false});
            serde_json::json!({"list": text, "next_id": 2, "entries": [entry]}).to_string()
        })
        .collect();
    let run = |dir: &Path, command: &str, input: &str| {
        let mut program = program();
        program
            .arg(command)
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = program.spawn().expect("it starts");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        let run = Run::of(child.wait_with_output().expect("it ends"));
        assert!(run.success, "{run:?}");
        run.out
    };
    run(one.path(), "import", &lines.join("\n"));
    // The shell reads the names and the titles that it prints.
    let shown = run(one.path(), "shell", "lists\n");
    assert_eq!(shown.len(), odd.len(), "{shown:?}");
    assert!(!shown.concat().contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
    let input: String = shown.iter().map(|name| format!("list {name}\n")).collect();
    let entries = run(one.path(), "shell", &input);
    let titles: Vec<&str> = entries
        .iter()
        .map(|line| line.strip_prefix("[ ] 1 2026-11-22 ").unwrap_or_else(|| panic!("{line}")))
        .collect();
    let adds: String =
        shown.iter().zip(&titles).map(|(name, title)| format!("add {name} 2026-11-22 {title}\n")).collect();
    let added = run(other.path(), "shell", &adds);
    assert!(added.iter().all(|line| line.starts_with("added ")), "{added:?}");
    lines.sort();
    for dir in [&one, &other] {
        let mut exported = run(dir.path(), "export", "");
        exported.sort();
        assert_eq!(exported, lines);
    }
    // HTTP
    let server = Served::start(one.path(), &[]);
    let mut stream = connect(&server.address).expect("it listens");
    for text in odd {
        let list = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
        let (status, body) = ask(&mut stream, &format!("GET /entries.json?list={list}")).expect("an answer");
        let entries: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, entries[0]["title"].as_str()), (200, Some(format!(" {text} ").as_str())));
    }
    server.kill();
}
