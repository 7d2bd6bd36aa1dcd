//! Errors as users see them: printed alone, with their causes, and as exit reasons.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Gate, exit_reason_of, unique, watchdog};
use rethread::StartError;
use rethread::application::ApplicationError;
use rethread::prelude::*;
use rethread::process::{AttachError, SpawnError};
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

/// Exits a process by `or_exit` with this error, and returns its exit reason.
fn reason_of(error: impl Error + Send + Sync + 'static) -> ExitReason {
    exit_reason_of(move |_: &mut Inbox<()>| Err::<(), _>(error).or_exit())
}

#[test]
fn or_exit_unwraps_the_errors_that_contain_a_reason() {
    let started: [fn(StartError) -> ExitReason; 4] = [
        reason_of,
        |start| reason_of(ChildError::Start(start)),
        |start| reason_of(ApplicationError::Failed(start)),
        |start| reason_of(JoinError::NotStarted(start)),
    ];
    for reason_of in started {
        assert_eq!(reason_of(StartError::Failed("no disk".into())), "no disk".into());
        assert_eq!(reason_of(StartError::Ignored), ExitReason::error(StartError::Ignored));
    }

    let none = SupervisorRef::named(unique("errors.no supervisor"));
    let ExitReason::Call(failure) = reason_of(none.restart_child("a").unwrap_err()) else {
        panic!("the call failed")
    };
    assert_eq!((&failure.reason, failure.server.to_string()), (&ExitReason::NoProc, none.to_string()));
    assert_eq!(failure.to_string(), format!("call to {none} failed: noproc"));

    assert_eq!(reason_of(AttachError::Exited("enough".into())), "enough".into());
    let twice = reason_of(AttachError::Spawn(SpawnError::Exiting));
    assert_eq!(twice.downcast_ref::<SpawnError>(), Some(&SpawnError::Exiting));
    assert_eq!(reason_of(process::LinkError::NoProc), ExitReason::NoProc);
    let not_found = reason_of(ChildError::NotFound);
    assert_eq!(not_found.downcast_ref::<ChildError>(), Some(&ChildError::NotFound));
}

#[test]
fn a_stop_that_times_out_is_the_reason_timeout() {
    struct Busy(Gate);
    impl GenServer for Busy {
        type Args = Gate;
        type Call = Infallible;
        type Cast = ();
        fn init(gate: Gate, _: &mut Context<Self>) -> Result<Self, InitError> {
            Ok(Self(gate))
        }
        fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
            match call {}
        }
        fn handle_cast(&mut self, (): (), _: &mut Context<Self>) -> Next {
            self.0.pass();
            Next::wait()
        }
    }
    let _watchdog = watchdog();
    let gate = Gate::new();
    let busy = Busy::start(gate.clone()).unwrap();
    busy.cast(());
    let error = busy.stop_timeout(ExitReason::Normal, Duration::from_millis(1)).unwrap_err();
    assert_eq!(reason_of(error), ExitReason::Timeout);
    gate.open();
    let gone = busy.watch();
    gone.wait();
    assert_eq!(reason_of(busy.stop().unwrap_err()), ExitReason::NoProc);
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
