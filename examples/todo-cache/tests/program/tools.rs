//! The commands `export` and `import`, and what the shell shows of the processes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::program;
use crate::support::watchdog;

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// Runs a command with an input.
#[track_caller]
fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = program();
    command
        .arg("--dir")
        .arg(dir)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // It may end before it has read all.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn well(dir: &Path, args: &[&str], input: &str) -> Vec<String> {
    let output = run(dir, args, input);
    assert!(output.status.success(), "{args:?}: {output:?}");
    lines(&output.stdout)
}

/// Returns the one line on stderr of a run that must have failed.
#[track_caller]
fn refused(dir: &Path, args: &[&str], input: &str) -> String {
    let output = run(dir, args, input);
    assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}: {output:?}");
    let mut said = lines(&output.stderr);
    assert_eq!(said.len(), 1, "{said:?}");
    said.remove(0)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn export_and_import_round_trip() {
    let _watchdog = watchdog();
    let (one, other) = (folder(), folder());
    let input = "add bob 2026-11-22 Dentist\nadd bob 2026-11-23 Dinner\nadd ../x 2026-11-23 🛒 \"milk\"\n\
                 done bob 1\nrm bob 2\nadd empty 2026-11-22 x\nrm empty 1\n";
    well(one.path(), &["shell"], input);
    let exported = well(one.path(), &["export"], "");
    assert_eq!(exported.len(), 3, "{exported:?}");
    assert!(exported[1].contains(r#""done":true,"id":1,"title":"Dentist""#), "{exported:?}");

    well(other.path(), &["import"], &exported.join("\n"));
    assert_eq!(well(other.path(), &["export"], ""), exported);
    let out = well(
        other.path(),
        &["shell"],
        "list bob\nadd bob 2026-11-24 Supper\nadd empty 2026-11-24 y\nlist ../x\n",
    );
    assert_eq!(
        out,
        [
            "[x] 1 2026-11-22 Dentist",
            "added bob 3 2026-11-24 Supper", // the id of an entry that was removed is not given out again
            "added empty 2 2026-11-24 y",
            "[ ] 1 2026-11-23 🛒 \"milk\"",
        ]
    );
}

#[test]
fn export_overwrites_no_file_and_import_no_list() {
    let _watchdog = watchdog();
    let dir = folder();
    well(dir.path(), &["shell"], "add bob 2026-11-22 Dentist\n");
    let file = dir.path().join("lists.jsonl");
    let path = file.to_str().expect("UTF-8");
    well(dir.path(), &["export", path], "");
    let kept = fs::read(&file).expect("readable");
    assert!(refused(dir.path(), &["export", path], "").contains("File exists"));
    assert_eq!(fs::read(&file).expect("readable"), kept);
    let said = refused(dir.path(), &["import", path], "");
    assert!(
        said.contains("the list \"bob\" exists already") && said.ends_with("nothing was written"),
        "{said}"
    );
    assert!(refused(folder().path(), &["export"], "").contains("there are no lists in"));
}

#[test]
fn bad_line_is_reported_and_nothing_is_imported() {
    let _watchdog = watchdog();
    let good =
        r#"{"list":"a","next_id":2,"entries":[{"id":1,"date":"2026-11-22","title":"x","done":false}]}"#;
    let cases = [
        ("{", "EOF"),
        ("[]", "expected a text under \"list\""),
        (r#"{"list":"","next_id":1,"entries":[]}"#, "at least one character"),
        (r#"{"list":"b","next_id":1}"#, "expected a list of entries"),
        (r#"{"list":"b","entries":[]}"#, "expected a number under \"next_id\""),
        (
            r#"{"list":"b","next_id":1,"entries":[{"id":1,"date":"2026-11-22","title":"x","done":false}]}"#,
            "below next_id",
        ),
        (
            r#"{"list":"b","next_id":2,"entries":[{"id":1,"date":"2026-13-22","title":"x","done":false}]}"#,
            "2026-13-22",
        ),
        (
            r#"{"list":"b","next_id":2,"entries":[{"id":1,"date":"2026-11-22","title":" ","done":false}]}"#,
            "not a blank",
        ),
        (
            r#"{"list":"b","next_id":2,"entries":[{"id":1,"date":"2026-11-22","title":"x","done":1}]}"#,
            "true or false",
        ),
    ];
    for (line, what) in cases {
        let dir = folder();
        let said = refused(dir.path(), &["import"], &format!("{good}\n\n{line}\n"));
        assert!(said.contains("line 3: ") && said.contains(what), "{line}: {said}");
        assert!(refused(dir.path(), &["export"], "").contains("there are no lists"), "{line}");
    }
}

#[test]
fn shell_shows_a_hanging_list_and_kill_ends_it() {
    let _watchdog = watchdog();
    let dir = folder();
    let out = well(
        dir.path(),
        &["shell"],
        "add bob 2026-11-22 Dentist\nhang list:bob\ninfo list:bob\ntop busy\nkill list:bob\nlist bob\nevents\ninfo nobody\n",
    );
    assert!(out[1].starts_with("list:bob is blocked in a handler"), "{out:#?}");
    let at = |text: &str| {
        let found = out.iter().position(|line| line.starts_with("list:bob <") && line.contains(text));
        found.unwrap_or_else(|| panic!("no line says {text:?}: {out:#?}"))
    };
    assert!(at("handling a cast") < at("exited: killed; it is restarted"));
    assert!(out.contains(&"[ ] 1 2026-11-22 Dentist".to_owned()), "{out:#?}");
    // The events are the last lines.
    let event_at = |text: &str| out.iter().rposition(|line| line.contains("list:bob") && line.contains(text));
    assert!(event_at("zombie") < event_at("exited: killed") && event_at("zombie").is_some(), "{out:#?}");
    assert_eq!(
        out.last().map(String::as_str),
        Some("error: no process is called \"nobody\": `tree` shows them all")
    );
}
