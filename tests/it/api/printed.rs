//! The `Debug` and `Display` output of the public types in logs and panics, and their equality.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::support::{attached, sleeper, unique, watchdog};
use rethread::gen_server::StopError;
use rethread::prelude::*;
use rethread::process::{self, Address, AliasMode, Caught, Inbox, LinkError, Name, SendError, attempt};

fn debug(value: &impl fmt::Debug) -> String {
    format!("{value:?}")
}

struct Shy;

enum Ask {
    Caller(Caller<String>),
    Context(Caller<String>),
}

impl GenServer for Shy {
    type Args = ();
    type Call = Ask;
    type Cast = Infallible;

    fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }
    fn handle_call(&mut self, ask: Ask, cx: &mut Context<Self>) -> Next {
        match ask {
            Ask::Caller(from) => {
                let text = debug(&from);
                from.reply(text)
            }
            Ask::Context(from) => from.reply(debug(cx)),
        }
    }
}

#[test]
#[expect(clippy::mutable_key_type, reason = "an address goes by its pid, which never changes")]
fn addresses_and_names_are_equal_if_they_reach_the_same() {
    let _watchdog = watchdog();
    let (one, two) = (sleeper(), sleeper());
    let subscribers: HashSet<Address<()>> = [one.clone(), two.clone(), one.clone()].into_iter().collect();
    assert_eq!(subscribers.len(), 2);
    assert!(one != two);
    let spread: HashSet<u64> = (0..100).map(|_| hash(&sleeper_gone())).collect();
    assert!(spread.len() > 90, "the hash of an address distinguishes processes");

    let name = Name::<()>::new("printed.one");
    assert_eq!(name, name.clone());
    assert!(name != Name::new("printed.two"));
    assert!(hash(&name) == hash(&name.clone()) && hash(&name) != hash(&Name::<()>::new("printed.two")));
    assert_eq!((name.as_str(), debug(&name)), ("printed.one", "Name(\"printed.one\")".to_owned()));
    assert_eq!(
        (name.to_string(), &*std::sync::Arc::<str>::from(name)),
        ("printed.one".to_owned(), "printed.one")
    );
    for idle in [one, two] {
        process::exit(&idle, ExitReason::Kill);
    }
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

fn sleeper_gone() -> Address<()> {
    process::spawn_receiver(|_| ()).expect("a free thread")
}

#[test]
fn handles_print_their_pid() {
    attached(|inbox: &mut Inbox<u8>| {
        let me = inbox.pid();
        assert_eq!(debug(inbox), format!("Inbox {{ pid: {me}, .. }}"));
        assert_eq!(debug(&inbox.alias()), format!("Alias({me})"));
        let other = sleeper();
        let (_monitor, alias) = inbox.monitor_alias(&other, AliasMode::Demonitor);
        assert_eq!(debug(&alias), format!("Alias({me})"));
        assert_eq!(debug(&process::watch(&other)), format!("Watch({})", other.pid()));
        assert_eq!(debug(&Name::<()>::new("printed.none").watch()), "Watch(noproc)");
        assert_eq!(debug(&process::on_exit_request(|| ())), format!("ExitHook({me})"));
        process::exit(&other, ExitReason::Kill);

        let server = Shy::start_link(()).unwrap();
        let pid = server.whereis().unwrap();
        assert_eq!(debug(&server), format!("ServerRef({pid})"));
        assert_eq!(server.call(Ask::Caller).unwrap(), "Caller");
        let context = server.call(Ask::Context).unwrap();
        assert_eq!(context, format!("Context {{ pid: {pid}, parent: Some({me}), .. }}"));
        server.stop().unwrap();
    });
}

#[test]
fn specs_print_their_name() {
    let name = unique("printed.supervisor");
    for (text, kind, id) in [
        (debug(&Supervisor::one_for_one().name(SupervisorRef::named(name))), "SupervisorSpec", name),
        (debug(&Shy::child_spec(()).name(ServerRef::named(name))), "ServerSpec", "Shy"),
        (debug(&Shy::child_spec(()).name(ServerRef::named(name)).id("own")), "ServerSpec", "own"),
    ] {
        assert_eq!(text, format!("{kind} {{ name: {name}, id: {id:?}, restart: Permanent, .. }}"));
    }
    let unnamed = debug(&Shy::child_spec(()).restart(Restart::Transient));
    assert_eq!(unnamed, "ServerSpec { id: \"Shy\", restart: Transient, .. }");
}

#[test]
fn a_callback_s_answer_prints_as_it_is_written() {
    let second = Duration::from_secs(1);
    for (next, text) in [
        (Next::wait(), "Next::wait()"),
        (Next::wait().timeout(second), "Next::wait().timeout(1s)"),
        (Next::wait().and_continue(), "Next::wait().and_continue()"),
        (Next::wait().and_stop("done"), "Next::stop(done)"),
    ] {
        assert_eq!(debug(&next), text);
    }
}

#[test]
fn caught_prints_its_class() {
    attached(|_: &mut Inbox<()>| {
        let caught = |body: fn()| debug(&attempt(body).result().expect_err("it raises"));
        assert!(caught(|| panic!("oops")).starts_with("Error("));
        assert_eq!(caught(|| process::throw("ball")), "Throw(\"ball\")");
        let exit = attempt(|| process::exit_with("enough")).result();
        let Err(Caught::Exit(reason)) = &exit else { panic!("not {exit:?}") };
        assert_eq!(debug(&exit), format!("Err(Exit({reason:?}))"));
    });
    assert_eq!(debug(&attempt(|| ())), "Attempt { .. }");
}

#[test]
fn errors_of_links_and_names_are_sentences() {
    for (error, text) in [
        (LinkError::NoProc, "there is no such process"),
        (LinkError::Exiting, "the calling process is exiting"),
        (LinkError::NotAProcess, "the calling thread is not a process"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    let (server, after) = ("cache".into(), Duration::from_secs(5));
    assert_eq!(StopError::Timeout { server, after }.to_string(), "stop of cache: timed out after 5s");
    let unregistered: SendError<u8> = Name::new(unique("printed.unregistered")).send(7).unwrap_err();
    assert_eq!(debug(&unregistered), "NoProc(..)");
    assert_eq!(unregistered.into_inner(), 7);
    let name = unique("printed.other");
    let other =
        process::Builder::new().name(name).spawn_receiver::<String>(|inbox| drop(inbox.recv())).unwrap();
    let wrong: SendError<u8> = Name::new(name).send(7).unwrap_err();
    assert_eq!(debug(&wrong), "WrongType { .. }");
    process::exit(&other, ExitReason::Kill);
}

#[test]
fn a_listener_prints_how_much_it_has_not_read() {
    let _watchdog = watchdog();
    let events = rethread::observer::events();
    assert!(debug(&events).starts_with("EventReceiver { unread: "));
}
