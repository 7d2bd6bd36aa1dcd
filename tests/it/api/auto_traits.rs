//! Types that may cross threads, checked at compile time: handles, specs, reasons and errors can, a mailbox
//! cannot.

use rethread::agent::AgentRef;
use rethread::application::{Application, ApplicationError, ApplicationRef};
use rethread::gen_server::{CallError, Caller, Context, GenServer, InitError, Next, ServerRef, StopError};
use rethread::process::{Address, Alias, Name, NameError, SpawnError, Watch};
use rethread::registry::{DuplicateRegistry, Registry, RegistryEvent, RegistryKey};
use rethread::supervisor::{
    ChildError, ChildSpec, DynamicSupervisorRef, PartitionRef, PartitionSupervisorSpec, SupervisorRef,
    SupervisorSpec,
};
use rethread::task::{JoinError, TaskSupervisorRef};
use rethread::{ExitReason, MonitorRef, Pid, StartError, TimerRef};
use std::convert::Infallible;

fn crosses_threads<T: Send + Sync>() {}
fn moves_to_threads<T: Send>() {}
fn is_an_error<T: std::error::Error + Send + Sync + 'static>() {}

/// A server whose state is not `Send`.
struct Local(#[expect(dead_code, reason = "only its type matters")] std::rc::Rc<()>);

impl GenServer for Local {
    type Args = ();
    type Call = Infallible;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(std::rc::Rc::new(())))
    }
    fn handle_call(&mut self, call: Infallible, _: &mut Context<Self>) -> Next {
        match call {}
    }
}

#[test]
fn handles_specs_and_reasons_cross_threads() {
    crosses_threads::<Pid>();
    crosses_threads::<MonitorRef>();
    crosses_threads::<TimerRef>();
    crosses_threads::<ExitReason>();
    crosses_threads::<ServerRef<Local>>();
    crosses_threads::<SupervisorRef>();
    crosses_threads::<DynamicSupervisorRef>();
    crosses_threads::<TaskSupervisorRef>();
    crosses_threads::<AgentRef<u8>>();
    crosses_threads::<Address<std::cell::Cell<u8>>>();
    crosses_threads::<Alias<std::cell::Cell<u8>>>();
    crosses_threads::<Name<std::cell::Cell<u8>>>();
    crosses_threads::<Caller<std::cell::Cell<u8>>>();
    crosses_threads::<ChildSpec>();
    crosses_threads::<SupervisorSpec>();
    crosses_threads::<Watch>();
    crosses_threads::<ApplicationRef>();
    moves_to_threads::<Application>();
    crosses_threads::<PartitionRef<Local>>();
    crosses_threads::<PartitionSupervisorSpec<Local>>();
    crosses_threads::<Registry<u8, u8>>();
    crosses_threads::<DuplicateRegistry<u8, u8>>();
    crosses_threads::<RegistryEvent<u8, u8>>();
    crosses_threads::<RegistryKey<u8, u8>>();
}

#[test]
fn errors_are_errors() {
    is_an_error::<CallError>();
    is_an_error::<StartError>();
    is_an_error::<StopError>();
    is_an_error::<ChildError>();
    is_an_error::<NameError>();
    is_an_error::<SpawnError>();
    is_an_error::<JoinError>();
    is_an_error::<rethread::registry::LockError>();
    is_an_error::<ApplicationError>();
}

#[test]
fn small_things_are_small() {
    assert_eq!(size_of::<Option<Pid>>(), 8);
    assert!(size_of::<ExitReason>() <= 24, "{}", size_of::<ExitReason>());
}

#[test]
fn a_server_whose_state_is_not_send_runs() {
    use rethread::gen_server::GenServerExt;
    let server = Local::start(()).expect("a free thread");
    server.stop().expect("it was running");
}
