//! Errors as users see them: printed alone, with their causes, and as exit reasons.

use std::error::Error;
use std::io;
use std::sync::Arc;

use crate::support::watchdog;
use rethread::StartError;
use rethread::application::ApplicationError;
use rethread::prelude::*;
use rethread::process::SpawnError;
use rethread::supervisor::{ChildError, FailedToStartChild};
use rethread::task::JoinError;

/// Formats an error with its causes, like `anyhow` and similar crates.
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
fn error_text_is_not_repeated_by_its_source() {
    let refused = || StartError::Thread(Arc::new(io::Error::other("no threads left")));
    let errors: [(Box<dyn Error>, &str); 6] = [
        (
            Box::new(SpawnError::Thread(Arc::new(io::Error::other("no threads left")))),
            "the operating system refused a thread: no threads left",
        ),
        (Box::new(SpawnError::Name(process::NameError::Empty)), "a name must have at least one character"),
        (Box::new(refused()), "the operating system refused a thread: no threads left"),
        (Box::new(ChildError::Start(refused())), "the operating system refused a thread: no threads left"),
        (
            Box::new(JoinError::NotStarted(refused())),
            "task failed to start: the operating system refused a thread: no threads left",
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
fn error_of_failed_supervisor_start_is_a_sentence() {
    let _watchdog = watchdog();
    let broken = ChildSpec::new("disk", || Err(StartError::Failed("no space".into())));
    let error = Supervisor::one_for_one().child(broken).start().unwrap_err();
    let text = "failed to start: shutdown(child disk did not start: failed to start: no space)";
    assert_eq!(error.to_string(), text);

    let StartError::Failed(reason) = error else { panic!("it failed, for a reason") };
    let child: &FailedToStartChild = reason.downcast_ref().expect("it carries the child");
    assert_eq!(child.id, "disk");
    assert_eq!(with_causes(child), "child disk did not start: failed to start: no space");
}

#[test]
fn an_error_of_unknown_type_is_a_reason() {
    type Unknown = Box<dyn Error + Send + Sync>;
    #[derive(Debug)]
    struct Outer(io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no configuration")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    struct Picky;
    impl GenServer for Picky {
        type Args = ();
        type Call = Infallible;
        type Cast = Infallible;
        fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
            let configuration: Result<(), Unknown> = Err(Box::new(Outer(io::Error::other("no such file"))));
            configuration.map_err(InitError::stop)?;
            Ok(Self)
        }
        fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
            match call {}
        }
    }
    let _watchdog = watchdog();
    let Err(StartError::Failed(reason)) = Picky::start(()) else { panic!("it is picky") };
    assert_eq!(reason.to_string(), "no configuration: no such file");
    assert!(reason.downcast_ref::<Unknown>().is_some_and(|error| error.is::<Outer>()));
    let other: Unknown = "no configuration".into();
    assert_eq!(
        reason,
        ExitReason::from(other),
        "errors are compared by their texts, as those of known type are"
    );
    let boxed: Unknown = Box::new(StartError::Timeout { after: std::time::Duration::ZERO });
    assert_eq!(ExitReason::from(boxed), ExitReason::Timeout, "what it stands for, as if its type were known");
}
