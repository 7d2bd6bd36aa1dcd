//! Which files of `src/` read the wall clock.

use std::path::Path;

use crate::source;

/// The wall clock may jump: nothing but a time stamp may come from it.
#[test]
fn wall_clock_is_read_for_time_stamps_only() {
    let stamps = ["logger.rs", "observer/mod.rs", "observer/snapshot.rs", "process/observe/events.rs"];
    for (path, text) in source::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let asked =
            source::tokens(&text).iter().any(|token| matches!(token.text, "SystemTime" | "UNIX_EPOCH"));
        assert_eq!(asked, stamps.contains(&path.as_str()), "src/{path}: waits and deadlines go by `Instant`");
    }
}
