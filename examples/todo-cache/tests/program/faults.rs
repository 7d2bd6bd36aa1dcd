//! Errors that last: a full disk, a folder that may not be written, too many open files. Changes are refused with the
//! reason, reads go on, and when the cause is gone, so is the error. A limit of the process stands for the cause; `prlimit`
//! sets it while the program runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::{Run, Served, ask, connect, folder};
use crate::program;
use crate::support::{eventually, watchdog};

/// Sets a soft limit of a running program.
#[track_caller]
fn limit(server: &Served, what: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &server.child.id().to_string(), what]);
    assert!(command.status().expect("prlimit is in util-linux").success(), "{what}");
}

/// Returns a command that runs the program without the right of root to ignore permissions.
fn unprivileged() -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return program();
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(program().get_program());
    command
}

#[track_caller]
fn add(stream: &mut BufReader<TcpStream>, list: &str, title: &str) -> (u16, String) {
    let line = format!("POST /add_entry?list={list}&date=2026-11-22&title={title}");
    ask(stream, &line).expect("an answer")
}

#[track_caller]
fn titles(stream: &mut BufReader<TcpStream>, list: &str) -> Vec<String> {
    let (status, body) = ask(stream, &format!("GET /entries?list={list}")).expect("an answer");
    assert_eq!(status, 200, "{body}");
    body.lines().map(|line| line.trim_start_matches("2026-11-22 ").to_owned()).collect()
}

/// The lists of the tests: some in each shard.
const LISTS: [&str; 6] = ["bob", "alice", "a", "b", "c", "d"];

#[test]
fn full_disk_refuses_changes_while_reads_go_on() {
    const ROUNDS: usize = 12;
    for shape in ["supervised-lists", "supervised-workers", "linked"] {
        let _watchdog = watchdog();
        let dir = folder();
        let mut server = Served::start(dir.path(), &["--shape", shape, "--allow-kill"]);
        let mut stream = connect(&server.address).expect("it listens");
        for list in LISTS {
            assert_eq!(add(&mut stream, list, "before"), (200, "OK".into()));
        }
        limit(&server, "--fsize=1024:");
        let mut reasons = BTreeSet::new();
        for n in 0..ROUNDS {
            for list in LISTS {
                let (status, why) = add(&mut stream, list, &format!("in+vain+{n}"));
                assert!([500, 503].contains(&status), "{shape}: {status} {why}");
                assert!(why.contains("shard-") && why.contains("File too large"), "{shape}: {why}");
                if status == 503 {
                    assert!(why.starts_with("nothing was changed: "), "{why}");
                }
                reasons.insert(status);
                assert_eq!(titles(&mut stream, list), ["before"], "{shape}");
            }
        }
        assert!(reasons.contains(&503), "{shape}: {reasons:?}");
        let (status, lists) = ask(&mut stream, "GET /lists").expect("an answer");
        assert_eq!((status, lists.matches('"').count()), (200, 2 * LISTS.len()));
        assert_eq!(server.child.try_wait().expect("its status"), None, "{shape}: it has ended");

        // There is room again.
        limit(&server, "--fsize=unlimited:");
        for list in LISTS {
            eventually("it is written", || add(&mut stream, list, "after").0 == 200);
            assert_eq!(titles(&mut stream, list), ["before", "after"], "{shape}");
        }
        drop(stream);
        server.kill();
        // What was acknowledged is on disk, and nothing else.
        let server = Served::start(dir.path(), &[]);
        let mut stream = connect(&server.address).expect("it listens");
        for list in LISTS {
            assert_eq!(titles(&mut stream, list), ["before", "after"], "{shape}");
        }
    }
}

/// Kills the workers while the disk is full, and starts the whole program then.
#[test]
fn worker_and_program_that_start_on_a_full_disk_can_read() {
    let _watchdog = watchdog();
    let dir = folder();
    let server = Served::start(dir.path(), &["--allow-kill"]);
    let mut stream = connect(&server.address).expect("it listens");
    for list in LISTS {
        assert_eq!(add(&mut stream, list, "before").0, 200);
    }
    limit(&server, "--fsize=1024:");
    for shard in 0..3 {
        kill(&server.address, &format!("db.worker.{shard}"));
    }
    for list in LISTS {
        kill(&server.address, &format!("list:{list}"));
        eventually("it is read", || {
            ask(&mut stream, &format!("GET /entries?list={list}")).expect("an answer").0 == 200
        });
        assert_eq!(titles(&mut stream, list), ["before"]);
        let (status, why) = add(&mut stream, list, "x");
        assert!([500, 503].contains(&status) && why.contains("File too large"), "{status} {why}");
    }
    server.kill();

    let limited = |args: &[&str]| {
        let mut command = Command::new("prlimit");
        command.arg("--fsize=1024:").arg(program().get_program()).args(args).arg("--dir").arg(dir.path());
        command.stdin(Stdio::null());
        command
    };
    let exported = Run::of(limited(&["export"]).output().expect("it runs"));
    assert!(exported.success && exported.out.len() == LISTS.len(), "{exported:?}");
    // A file that cannot be written whole is not left behind.
    let target = dir.path().join("lists.jsonl");
    let mut command = Command::new("prlimit");
    command.arg("--fsize=100:").arg(program().get_program());
    command.arg("export").arg(&target).arg("--dir").arg(dir.path());
    let said = Run::of(command.output().expect("it runs")).refused();
    assert!(said.contains("lists.jsonl") && said.contains("File too large"), "{said}");
    let names = fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("readable").file_name());
    let left: Vec<_> =
        names.filter(|name| name.to_string_lossy().contains("export") || *name == "lists.jsonl").collect();
    assert!(left.is_empty(), "{left:?}");
    // A new folder cannot be used at all: that is an error at once.
    let new = folder();
    let mut command = Command::new("prlimit");
    command.arg("--fsize=1024:").arg(program().get_program()).args(["shell", "--dir"]).arg(new.path());
    let said = Run::of(command.stdin(Stdio::null()).output().expect("it runs")).refused();
    assert!(said.contains("cannot use") && said.contains("File too large"), "{said}");
}

/// Kills a process of a server, which must know it or not.
#[track_caller]
fn kill(address: &str, name: &str) {
    let mut stream = connect(address).expect("it listens");
    let head = format!(
        "POST /kill?name={name} HTTP/1.1\r\nhost: localhost\r\nx-todo: 1\r\nconnection: close\r\n\r\n"
    );
    stream.get_mut().write_all(head.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 404 "), "{name}: {answer}");
}

#[test]
fn too_many_open_files_close_one_shard_for_as_long_as_it_lasts() {
    let _watchdog = watchdog();
    let dir = folder();
    let mut server = Served::start(dir.path(), &["--allow-kill"]);
    let mut stream = connect(&server.address).expect("it listens");
    for list in LISTS {
        assert_eq!(add(&mut stream, list, "before").0, 200);
    }
    // The connection is there already: no other one can be accepted.
    let mut killer = connect(&server.address).expect("it listens");
    ask(&mut killer, "GET /lists").expect("an answer");
    limit(&server, "--nofile=3:");
    let request = "POST /kill?name=db.worker.0 HTTP/1.1\r\nhost: localhost\r\nx-todo: 1\r\n\r\n";
    killer.get_mut().write_all(request.as_bytes()).expect("it listens");
    // "bob" is in shard 0. Until the worker has exited, entries are still accepted. One that is on its way when the worker
    // is killed may be stored without an acknowledgement.
    let mut expected = vec!["before".to_owned()];
    let mut unknown = Vec::new();
    let mut attempts = 0..;
    let mut said = String::new();
    eventually("the shard is closed", || {
        let title = format!("attempt-{}", attempts.next().expect("it is endless"));
        let (status, why) = add(&mut stream, "bob", &title);
        match status {
            200 => expected.push(title),
            503 => {} // not stored
            _ => unknown.push(title),
        }
        said = why;
        // 500 if the server of the list has to load it again.
        status != 200 && said.contains("Too many open files")
    });
    assert!(said.contains(&dir.path().display().to_string()), "{said}");
    for _ in 0..30 {
        let (status, why) = ask(&mut stream, "GET /entries?list=bob").expect("an answer");
        assert!(status == 200 || status == 500 && why.contains("Too many open files"), "{status} {why}");
        assert_eq!(titles(&mut stream, "alice"), ["before"], "another shard");
    }
    assert_eq!(add(&mut stream, "alice", "meanwhile").0, 200);
    assert_eq!(server.child.try_wait().expect("its status"), None, "it has ended");

    limit(&server, "--nofile=512:");
    eventually("the shard is open again", || add(&mut stream, "bob", "after").0 == 200);
    expected.push("after".to_owned());
    let mut found = titles(&mut stream, "bob");
    found.retain(|title| !unknown.contains(title));
    assert_eq!(found, expected);
}

#[test]
fn folder_that_may_not_be_written_can_be_read() {
    let _watchdog = watchdog();
    let dir = folder();
    let data = dir.path().join("data");
    let run = |command: &mut Command, input: &str| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        Run::of(child.wait_with_output().expect("it ends"))
    };
    run(program().arg("shell").arg("--dir").arg(&data), "add bob 2026-11-22 Dentist\n").well();
    let permit = |file: u32, folder: u32| {
        for entry in fs::read_dir(&data).expect("a folder") {
            let path = entry.expect("readable").path();
            fs::set_permissions(path, fs::Permissions::from_mode(file)).expect("its owner");
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(folder)).expect("its owner");
    };
    permit(0o444, 0o555);
    let out = run(
        unprivileged().arg("shell").arg("--dir").arg(&data),
        "list bob\nadd bob 2026-11-22 x\nlist bob\n",
    )
    .well();
    assert_eq!([&out[0], &out[2]], ["[ ] 1 2026-11-22 Dentist"; 2]);
    assert!(
        out[1].starts_with("error: nothing was changed: ") && out[1].contains("Permission denied"),
        "{out:?}"
    );
    let exported = run(unprivileged().arg("export").arg("--dir").arg(&data), "");
    assert!(exported.success && exported.out.len() == 1, "{exported:?}");
    let line =
        r#"{"list":"new","next_id":2,"entries":[{"id":1,"date":"2026-11-22","title":"x","done":false}]}"#;
    let said = run(unprivileged().arg("import").arg("--dir").arg(&data), line).refused();
    assert!(said.contains("nothing was changed") && said.contains("Permission denied"), "{said}");
    permit(0o644, 0o755);
    let out = run(unprivileged().arg("shell").arg("--dir").arg(&data), "add bob 2026-11-22 Dinner\n").well();
    assert_eq!(out, ["added bob 2 2026-11-22 Dinner"]);
}

#[test]
fn files_have_the_mode_that_the_umask_leaves() {
    let _watchdog = watchdog();
    for (umask, mode) in [("002", 0o664), ("077", 0o600), ("022", 0o644)] {
        let dir = folder();
        let script = format!(
            "umask {umask}; echo 'add bob 2026-11-22 x' | \"$0\" --dir data shell && \"$0\" --dir data export lists.jsonl"
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program().get_program()).current_dir(dir.path());
        let run = Run::of(command.output().expect("it runs"));
        assert!(run.success, "{run:?}");
        for file in ["shards", "shard-0.redb", "shard-2.mark", "../lists.jsonl"] {
            let path = Path::new("data").join(file);
            let found = fs::metadata(dir.path().join(path)).expect(file).permissions().mode() & 0o777;
            assert_eq!(found, mode, "{file}: {found:o} with umask {umask}");
        }
    }
}
