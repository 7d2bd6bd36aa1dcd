//! A build that cannot contain panics is refused at compile time.

use std::path::Path;
use std::process::Command;

#[test]
fn a_build_with_panic_abort_is_refused_with_a_clear_sentence() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic-abort");
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--lib", "--offline", "--quiet", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success(), "it was accepted");
    assert!(
        said.contains("rethread contains panics by unwinding, so it cannot be built with panic"),
        "{said}"
    );
}
