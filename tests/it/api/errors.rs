//! Errors as users see them: printed alone, with their causes, and as exit reasons.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Gate, attached, down, exit_reason_of, unique, watchdog};
use rethread::StartError;
use rethread::application::ApplicationError;
use rethread::prelude::*;
use rethread::process::{AttachError, SpawnError};
use rethread::supervisor::{ChildError, DynamicSupervisor, FailedToStartChild};
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
    assert_eq!(reason_of(process::NameError::NoProc), ExitReason::NoProc);
    assert_eq!(reason_of(SpawnError::Name(process::NameError::NoProc)), ExitReason::NoProc);
    assert_eq!(reason_of(StartError::Name(process::NameError::NoProc)), ExitReason::NoProc);
    let not_found = reason_of(ChildError::NotFound);
    assert_eq!(not_found.downcast_ref::<ChildError>(), Some(&ChildError::NotFound));
}

/// An error report like `anyhow::Error`: not an `Error` itself, but made from every `Error` and convertible into a box.
struct Report(Box<dyn Error + Send + Sync>);

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl From<Report> for Box<dyn Error + Send + Sync> {
    fn from(report: Report) -> Self {
        report.0
    }
}

impl AsRef<dyn Error + Send + Sync> for Report {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl Deref for Report {
    type Target = dyn Error + Send + Sync;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl DerefMut for Report {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

impl Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report: {}", with_causes(&*self.0))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { f.write_str(&with_causes(&*self.0)) } else { Display::fmt(&self.0, f) }
    }
}

/// An error with a source that its own text does not contain.
#[derive(Debug)]
struct NoConfiguration(io::Error);

impl Display for NoConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no configuration")
    }
}

impl Error for NoConfiguration {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn no_configuration() -> NoConfiguration {
    NoConfiguration(io::Error::other("no such file"))
}

const WITH_SOURCE: &str = "no configuration: no such file";

type Boxed = Box<dyn Error + Send + Sync>;

/// Returns the reason with which a process exits that runs this body.
fn exit_of<T>(body: impl FnOnce() -> T) -> ExitReason {
    exit_reason_of(move |_: &mut Inbox<()>| drop(body()))
}

#[test]
fn or_exit_accepts_whatever_is_used_as_an_error() {
    let typed = exit_of(|| Err::<(), _>(no_configuration()).or_exit());
    assert!(typed.downcast_ref::<NoConfiguration>().is_some());
    let shared: Arc<dyn Error + Send + Sync> = Arc::new(no_configuration());
    let shared = exit_of(|| Err::<(), _>(shared).or_exit());
    let report = exit_of(|| Err::<(), _>(Report::from(no_configuration())).or_exit());
    assert!(report.downcast_ref::<Report>().is_some_and(|report| report.0.is::<NoConfiguration>()));
    let boxed = exit_of(|| Err::<(), Boxed>(no_configuration().into()).or_exit());
    assert!(boxed.downcast_ref::<Boxed>().is_some_and(|error| error.is::<NoConfiguration>()));
    let local = exit_of(|| Err::<(), Box<dyn Error>>(no_configuration().into()).or_exit());
    for reason in [typed, shared, report, boxed, local] {
        assert_eq!(reason.to_string(), WITH_SOURCE);
    }

    let text: ExitReason = "no disk".into();
    assert_eq!(exit_of(|| Err::<(), _>("no disk").or_exit()), text);
    assert_eq!(exit_of(|| Err::<(), _>("no disk".to_owned()).or_exit()), text);
    assert_eq!(exit_of(|| Err::<(), _>(Cow::Borrowed("no disk")).or_exit()), text);
    assert_eq!(exit_of(|| Err::<(), _>(ExitReason::Shutdown).or_exit()), ExitReason::Shutdown);
}

#[test]
fn an_error_of_this_crate_keeps_its_exit_reason_in_a_box() {
    let failed = || StartError::Failed("no disk".into());
    let text: ExitReason = "no disk".into();
    assert_eq!(exit_of(|| Err::<(), _>(Report::from(failed())).or_exit()), text);
    assert_eq!(exit_of(|| Err::<(), Boxed>(failed().into()).or_exit()), text);
    assert_eq!(exit_of(|| Err::<(), Box<dyn Error>>(failed().into()).or_exit()), text);
}

#[test]
fn worker_exits_with_the_error_that_its_body_returned() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let pool = DynamicSupervisor::child_spec().start_link().unwrap();
        // Each child waits at the gate until it is monitored.
        let mut exit_of = |spec: fn(Gate) -> ChildSpec| {
            let gate = Gate::new();
            let child = pool.start_child(spec(gate.clone()).restart(Restart::Temporary)).unwrap();
            let monitor = process::monitor(child);
            gate.open();
            let (fired, reason) = down(inbox);
            assert_eq!(fired, monitor);
            reason
        };
        assert_eq!(exit_of(|gate| ChildSpec::worker("unit", move || gate.pass())), ExitReason::Normal);
        let ok = exit_of(|gate| {
            ChildSpec::worker("ok", move || -> Result<(), String> {
                gate.pass();
                Ok(())
            })
        });
        assert_eq!(ok, ExitReason::Normal);
        let text = exit_of(|gate| {
            ChildSpec::worker("text", move || {
                gate.pass();
                Err::<(), _>("no disk".to_owned())
            })
        });
        assert_eq!(text, "no disk".into());
        let report = exit_of(|gate| {
            ChildSpec::worker("report", move || -> Result<Infallible, Report> {
                gate.pass();
                Err(no_configuration())?
            })
        });
        assert_eq!(report.to_string(), WITH_SOURCE);
        let never = exit_of(|gate| {
            ChildSpec::worker("never", move || -> ! {
                gate.pass();
                process::exit_with("no end")
            })
        });
        assert_eq!(never, "no end".into());
        pool.stop().unwrap();
    });
}

#[test]
fn question_mark_in_init_accepts_whatever_converts_into_a_boxed_error() {
    type Fail = fn() -> Result<(), InitError>;
    struct Picky;
    impl GenServer for Picky {
        type Args = Fail;
        type Call = Infallible;
        type Cast = Infallible;
        fn init(fail: Fail, _: &mut Context<Self>) -> Result<Self, InitError> {
            fail()?;
            Ok(Self)
        }
        fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
            match call {}
        }
    }
    let _watchdog = watchdog();
    let reason_of = |fail: Fail| match Picky::start(fail) {
        Err(StartError::Failed(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let report = reason_of(|| Ok(Err(Report::from(no_configuration()))?));
    assert_eq!(report.to_string(), WITH_SOURCE);
    assert!(report.downcast_ref::<Report>().is_some_and(|report| report.0.is::<NoConfiguration>()));
    let boxed = reason_of(|| Ok(Err(Boxed::from(no_configuration()))?));
    assert_eq!(boxed.to_string(), WITH_SOURCE);
    assert!(boxed.downcast_ref::<Boxed>().is_some_and(|error| error.is::<NoConfiguration>()));
    let typed = reason_of(|| Ok(Err(no_configuration())?));
    assert_eq!(typed.to_string(), "no configuration");
    assert!(typed.downcast_ref::<NoConfiguration>().is_some());
    let with_source = reason_of(|| Ok(Err(ExitReason::error(no_configuration()))?));
    assert_eq!(with_source.to_string(), WITH_SOURCE);
    assert!(with_source.downcast_ref::<NoConfiguration>().is_some());

    assert_eq!(reason_of(|| Ok(Err("no disk".to_owned())?)), "no disk".into());
    assert_eq!(reason_of(|| Ok(Err("no disk")?)), "no disk".into());
    assert_eq!(reason_of(|| Ok(Err(StartError::Failed("no disk".into()))?)), "no disk".into());
    let boxed = reason_of(|| Ok(Err(Boxed::from(StartError::Failed("no disk".into())))?));
    assert_eq!(boxed, "no disk".into());
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
