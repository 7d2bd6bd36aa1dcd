//! The errors as a user meets them: printed by themselves, with their causes, and as exit reasons.

mod support;

use std::error::Error;
use std::io;
use std::sync::Arc;

use rethread::prelude::*;
use rethread::process::SpawnError;
use rethread::{ApplicationError, ChildError, FailedToStartChild, JoinError};
use support::watchdog;

/// As `anyhow` and its like print an error.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn what_an_error_says_is_said_once() {
    let refused = || StartError::Refused(Arc::new(io::Error::other("no threads left")));
    let errors: [(Box<dyn Error>, &str); 6] = [
        (
            Box::new(SpawnError::Refused(Arc::new(io::Error::other("no threads left")))),
            "the operating system refused a thread: no threads left",
        ),
        (Box::new(SpawnError::Name(process::NameError::Empty)), "a name must have at least one character"),
        (Box::new(refused()), "the operating system refused a thread: no threads left"),
        (Box::new(ChildError::Start(refused())), "the operating system refused a thread: no threads left"),
        (
            Box::new(JoinError::NotStarted(refused())),
            "a task was not started: the operating system refused a thread: no threads left",
        ),
        (
            Box::new(ApplicationError::Failed(refused())),
            "the application did not start: the operating system refused a thread: no threads left",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
        assert_eq!(with_causes(&*error), text);
    }
    let reason = ExitReason::error(SpawnError::Name(process::NameError::Empty));
    assert_eq!(reason.to_string(), "a name must have at least one character");
}

#[test]
fn a_supervisor_that_does_not_start_says_why_in_words() {
    let _watchdog = watchdog();
    let broken = ChildSpec::new("disk", || Err(StartError::Failed("no space".into())));
    let error = Supervisor::one_for_one().child(broken).start().unwrap_err();
    let text = "it failed to start: shutdown(child disk did not start: it failed to start: no space)";
    assert_eq!(error.to_string(), text);

    let StartError::Failed(reason) = error else { panic!("it failed, for a reason") };
    let child: &FailedToStartChild = reason.downcast_ref().expect("it tells which child");
    assert_eq!(child.id, "disk".into());
    assert_eq!(with_causes(child), "child disk did not start: it failed to start: no space");
}
