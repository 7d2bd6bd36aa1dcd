//! Folders of scripts with recorded traces: finds them, runs every script, and reports where a trace
//! differs from the recorded one. Must not depend on the language of the scripts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use similar::TextDiff;

use crate::support;

/// The folder names of the two kinds of scripts in a corpus.
const KINDS: [&str; 2] = ["process", "supervisor"];

/// The content of a corpus for one kind.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The folder that holds `scripts` and `golden`.
    Scripts(PathBuf),
    Nothing,
}

/// Finds the scripts of a kind in a corpus that must have all kinds.
pub(crate) fn find(corpus: &Path, kind: &str) -> Result<Found, String> {
    let folder = corpus.join(kind);
    let scripts = folder.join("scripts");
    if scripts.is_dir() { Ok(Found::Scripts(folder)) } else { Err(format!("{}: missing", scripts.display())) }
}

/// Finds the scripts of a kind in a corpus that may lack this kind, but not all.
pub(crate) fn find_other(corpus: &Path, kind: &str) -> Result<Found, String> {
    if let Ok(found) = find(corpus, kind) {
        return Ok(found);
    }
    if KINDS.iter().any(|kind| find(corpus, kind).is_ok()) {
        return Ok(Found::Nothing);
    }
    let expected = KINDS.map(|kind| format!("{kind}/scripts/NAME.txt with {kind}/golden/NAME.out"));
    Err(format!("{} has neither {}", corpus.display(), expected.join(" nor ")))
}

/// Runs every script of a folder. The last line, also of a failure, counts the matching traces.
pub(crate) fn compare(kind: &str, folder: &Path, run: fn(&str) -> String) -> Result<String, String> {
    let readable = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("scripts")).map_err(readable)? {
        let path = entry.map_err(readable)?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    let next = AtomicUsize::new(0);
    let differ = Mutex::new(Vec::new());
    // A script mostly waits for quiet, so several run side by side.
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = check(folder, name, run) {
                        differ.lock().push((name, text));
                    }
                }
            });
        }
    });
    let mut differ = differ.into_inner();
    differ.sort();
    let agree = names.len() - differ.len();
    let count = format!("{kind}: {agree} of {} scripts agree", names.len());
    if names.is_empty() || !differ.is_empty() {
        let texts: String = differ.into_iter().map(|(_, text)| text).collect();
        return Err(format!("{texts}{count}"));
    }
    Ok(count)
}

/// Runs one script, on a thread named after it, so that a watchdog dump names the script.
fn check(folder: &Path, name: &str, run: fn(&str) -> String) -> Result<(), String> {
    let golden = format!("golden/{name}.out");
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}\n", path.display()))
    };
    let (script, expected) = (read(&format!("scripts/{name}.txt"))?, read(&golden)?);
    let guarded = || {
        let _watchdog = support::watchdog();
        run(&script)
    };
    let found = thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, guarded);
        thread
            .map_err(|error| format!("{name}: no thread: {error}\n"))?
            .join()
            .map_err(|_| format!("{name}: panicked\n"))
    })?;
    if found == expected { Ok(()) } else { Err(difference(&golden, &expected, &found)) }
}

/// Returns the unified diff from the recorded trace to the actual one.
fn difference(golden: &str, expected: &str, found: &str) -> String {
    TextDiff::from_lines(expected, found)
        .unified_diff()
        .context_radius(3)
        .header(golden, "rethread")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a corpus with these scripts and traces of one kind.
    fn corpus(kind: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let corpus = tempfile::tempdir().unwrap();
        for folder in ["scripts", "golden"] {
            std::fs::create_dir_all(corpus.path().join(kind).join(folder)).unwrap();
        }
        for (file, text) in files {
            std::fs::write(corpus.path().join(kind).join(file), text).unwrap();
        }
        corpus
    }

    /// Compares the files with a runner that returns the script itself as its trace.
    fn compared(files: &[(&str, &str)]) -> Result<String, String> {
        let corpus = corpus("kind", files);
        compare("kind", &corpus.path().join("kind"), str::to_owned)
    }

    #[test]
    fn scripts_that_agree_are_counted() {
        let files = [
            ("scripts/a.txt", "1\n"),
            ("golden/a.out", "1\n"),
            ("scripts/b.txt", ""),
            ("golden/b.out", ""),
            ("scripts/notes.md", "no script"),
        ];
        assert_eq!(compared(&files), Ok("kind: 2 of 2 scripts agree".to_owned()));
    }

    #[test]
    fn a_script_that_differs_is_shown_as_a_unified_diff_and_the_count_stands_last() {
        let files = [
            ("scripts/b.txt", "1\n2\n3\n4\n5\nnew\n7\n8\n9\n10\n"),
            ("golden/b.out", "1\n2\n3\n4\n5\nold\n7\n8\n9\n10\n"),
            ("scripts/a.txt", "same\n"),
            ("golden/a.out", "same\n"),
            ("scripts/c.txt", "1\n2\n"),
            ("golden/c.out", "1\n"),
        ];
        let expected = "\
--- golden/b.out
+++ rethread
@@ -3,7 +3,7 @@
 3
 4
 5
-old
+new
 7
 8
 9
--- golden/c.out
+++ rethread
@@ -1 +1,2 @@
 1
+2
kind: 1 of 3 scripts agree";
        assert_eq!(compared(&files).unwrap_err(), expected);
    }

    #[test]
    fn a_missing_line_end_and_another_order_differ() {
        let unended = compared(&[("scripts/a.txt", "1"), ("golden/a.out", "1\n")]).unwrap_err();
        assert!(unended.ends_with("\nkind: 0 of 1 scripts agree"), "{unended}");
        let swapped = compared(&[("scripts/a.txt", "1\n2\n"), ("golden/a.out", "2\n1\n")]).unwrap_err();
        assert!(swapped.ends_with("\nkind: 0 of 1 scripts agree"), "{swapped}");
    }

    #[test]
    fn a_script_without_a_trace_one_that_panics_and_an_empty_folder_fail() {
        let text = compared(&[("scripts/a.txt", "1\n")]).unwrap_err();
        assert!(text.contains("golden/a.out: ") && text.ends_with("kind: 0 of 1 scripts agree"), "{text}");
        let corpus = corpus("kind", &[("scripts/a.txt", "1\n"), ("golden/a.out", "1\n")]);
        let panics = |_: &str| panic!("unknown step");
        let text = compare("kind", &corpus.path().join("kind"), panics).unwrap_err();
        assert_eq!(text, "a: panicked\nkind: 0 of 1 scripts agree");
        assert_eq!(compared(&[]), Err("kind: 0 of 0 scripts agree".to_owned()));
    }

    #[test]
    fn a_kind_may_be_missing_in_another_corpus_but_not_in_the_recorded_one() {
        let corpus = corpus("supervisor", &[]);
        let supervisor = Found::Scripts(corpus.path().join("supervisor"));
        assert_eq!(find_other(corpus.path(), "process"), Ok(Found::Nothing));
        assert_eq!(find_other(corpus.path(), "supervisor"), Ok(supervisor));
        let missing = format!("{}: missing", corpus.path().join("process").join("scripts").display());
        assert_eq!(find(corpus.path(), "process"), Err(missing));
    }

    #[test]
    fn empty_corpus_fails_with_the_expected_layout() {
        let empty = tempfile::tempdir().unwrap();
        for folder in [empty.path().to_owned(), empty.path().join("nowhere")] {
            let text = find_other(&folder, "process").unwrap_err();
            let expected = "has neither process/scripts/NAME.txt with process/golden/NAME.out nor \
                            supervisor/scripts/NAME.txt with supervisor/golden/NAME.out";
            assert_eq!(text, format!("{} {expected}", folder.display()));
        }
    }
}
