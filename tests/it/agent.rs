//! Agents: a value, functions that run inside the agent, and the outcome if one fails.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::support::{Gate, Journal, attached, exit_event, exit_reason_of, message, unique, watchdog};
use rethread::StartError;
use rethread::agent::{Agent, AgentRef};
use rethread::gen_server::CallError;
use rethread::prelude::*;
use rethread::process::Inbox;

type Number = AgentRef<i32>;

#[track_caller]
fn agent(first: i32) -> Number {
    Agent::start(move || first).expect("it starts")
}

/// Returns the message of the panic that a failed call carries.
#[track_caller]
fn panic_text<T: std::fmt::Debug>(failed: Result<T, CallError>) -> String {
    match failed {
        Err(CallError::Exited { reason: ExitReason::Panic(report), .. }) => report.message().to_owned(),
        other => panic!("the panic was due, not {other:?}"),
    }
}

// scenario: AG-02
#[test]
fn a_function_that_panics_ends_the_agent_and_fails_the_call() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let agent = Agent::start_link(|| 1).unwrap();
        let failed = agent.get(|n| if *n == 1 { panic!("no ones") } else { *n });
        assert_eq!(panic_text(failed), "no ones");
        let (from, reason) = exit_event(inbox);
        assert_eq!(Some(from), agent.whereis());
        assert!(matches!(reason, ExitReason::Panic(_)), "{reason}");
        assert!(!process::is_alive(from));
        assert!(inbox.is_empty());
    });
}

#[test]
fn linked_caller_that_does_not_trap_exits_with_the_agent() {
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        let agent = Agent::start_link(|| 1).unwrap();
        let _ = agent.update(|_| panic!("together"));
        process::sleep(Duration::MAX);
    });
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "together"), "{reason}");
}

#[test]
fn each_kind_of_call_brings_the_panic() {
    let _watchdog = watchdog();
    assert_eq!(panic_text(agent(0).update(|_| panic!("update"))), "update");
    let both = agent(0).get_and_update::<i32>(|_| panic!("both"));
    assert_eq!(panic_text(both), "both");
    let forever = agent(0).get_and_update_timeout::<()>(Duration::MAX, |_| panic!("no timeout"));
    assert_eq!(panic_text(forever), "no timeout");
}

#[test]
fn a_function_that_exits_or_throws_ends_it_with_that_reason() {
    let _watchdog = watchdog();
    let ended = |result: Result<(), CallError>| match result {
        Err(CallError::Exited { reason, .. }) => reason,
        other => panic!("an end was due, not {other:?}"),
    };
    assert_eq!(ended(agent(0).update(|_| process::exit_with("enough"))), "enough".into());
    assert_eq!(ended(agent(0).update(|_| process::exit_with(ExitReason::Normal))), ExitReason::Normal);
    let thrown = ended(agent(0).update(|_| process::throw("ball")));
    assert!(matches!(thrown, ExitReason::NoCatch(_)), "{thrown}");
}

// scenario: AG-05
#[test]
fn a_first_value_that_panics_is_a_failed_start() {
    attached(|inbox: &mut Inbox<()>| {
        process::trap_exit(true);
        let failed = |start: Result<Number, StartError>| match start {
            Err(StartError::Failed(ExitReason::Panic(report))) => report.message().to_owned(),
            other => panic!("the panic was due, not {other:?}"),
        };
        assert_eq!(failed(Agent::start(|| panic!("alone"))), "alone");
        assert_eq!(failed(Agent::start_link(|| panic!("linked"))), "linked");
        let name = Number::named(unique("ag 05"));
        assert_eq!(failed(Agent::child_spec(|| panic!("named")).name(name.clone()).start()), "named");
        assert_eq!(name.whereis(), None);
        assert!(inbox.is_empty(), "the failure arrives in the error only");
    });
    let reason = exit_reason_of(|_: &mut Inbox<()>| {
        let _ = Agent::<i32>::start_link(|| panic!("linked"));
        process::checkpoint();
    });
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "linked"), "{reason}");
}

// scenario: AG-06
#[test]
fn cast_to_exited_agent_is_ignored_and_call_is_an_error() {
    let _watchdog = watchdog();
    let agent = agent(1);
    agent.stop().unwrap();
    agent.cast(|n| *n += 1);
    for failed in [agent.get(|n| *n), agent.update(|_| ()).map(|()| 0), agent.get_and_update(|n| *n)] {
        assert!(matches!(failed, Err(CallError::NoProc { .. })), "{failed:?}");
    }
    let unregistered = Number::named(unique("unregistered"));
    unregistered.cast(|n| *n += 1);
    assert!(matches!(unregistered.get(|n| *n), Err(CallError::NoProc { .. })));
}

#[test]
fn requests_are_executed_in_order() {
    let _watchdog = watchdog();
    let agent = Agent::start(Vec::new).unwrap();
    agent.update(|list| list.push(1)).unwrap();
    agent.cast(|list| list.push(2));
    assert_eq!(agent.get_and_update(|list| list.pop()).unwrap(), Some(2));
    agent.cast(|list| list.push(3));
    assert_eq!(agent.get(Clone::clone).unwrap(), [1, 3]);
    agent.stop().unwrap();
}

#[test]
fn failed_cast_ends_the_agent_and_fails_the_next_call() {
    let _watchdog = watchdog();
    let agent = agent(1);
    let watch = agent.watch();
    agent.cast(|_| panic!("unseen"));
    let reason = watch.wait();
    assert!(matches!(&reason, ExitReason::Panic(report) if report.message() == "unseen"), "{reason}");
    assert!(matches!(agent.get(|n| *n), Err(CallError::NoProc { .. })));
}

#[test]
fn everything_runs_inside_the_agent() {
    let _watchdog = watchdog();
    let agent = Agent::start(process::current).unwrap();
    let inside = agent.whereis();
    assert_eq!(agent.get(|first| *first).unwrap(), inside, "the first value is made there");
    assert_eq!(agent.get(|_| process::current()).unwrap(), inside);
    agent.update(|at| *at = process::current()).unwrap();
    assert_eq!(agent.get_and_update(|at| (*at, process::current())).unwrap(), (inside, inside));
    agent.cast(|at| *at = None);
    assert_eq!(agent.get(|at| *at).unwrap(), None);
    agent.stop().unwrap();
}

#[test]
fn a_caller_that_waits_no_longer_does_not_stop_the_function() {
    attached(|inbox: &mut Inbox<i32>| {
        let agent = agent(1);
        let (begun, gate) = (Gate::new(), Gate::new());
        let (inside, held) = (begun.clone(), gate.clone());
        let me = process::Address::<i32>::from_pid(inbox.pid()).unwrap();
        process::spawn_receiver::<()>({
            let agent = agent.clone();
            move |_| {
                begun.pass();
                // It is queued behind the first call, and times out there.
                let late = agent.get_and_update_timeout(Duration::from_millis(1), |n| *n += 10);
                assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
                gate.open();
            }
        })
        .unwrap();
        let slow = agent.get_and_update_timeout(Duration::MAX, move |n| {
            inside.open();
            held.pass();
            *n += 1;
            me.send(*n);
        });
        slow.unwrap();
        assert_eq!(message(inbox), 2);
        assert_eq!(agent.get(|n| *n).unwrap(), 12, "the message in the mailbox took effect too");
        agent.stop().unwrap();
    });
}

#[test]
fn a_function_that_runs_when_the_time_is_up_takes_effect() {
    let _watchdog = watchdog();
    let agent = agent(1);
    let gate = Gate::new();
    let held = gate.clone();
    let change = move |n: &mut i32| {
        held.pass();
        *n += 1;
        *n
    };
    let late = agent.get_and_update_timeout(Duration::from_millis(20), change);
    assert!(
        matches!(&late, Err(CallError::Timeout { after, .. }) if *after == Duration::from_millis(20)),
        "{late:?}"
    );
    gate.open();
    assert_eq!(agent.get(|n| *n).unwrap(), 2);
    agent.stop().unwrap();
}

#[test]
fn a_restarted_agent_begins_again_with_its_first_value_under_its_name() {
    attached(|_: &mut Inbox<()>| {
        let journal = Journal::new();
        let name: AgentRef<usize> = AgentRef::named(unique("restarted"));
        let noted = journal.clone();
        let first = move || {
            noted.note("made");
            noted.all().len() * 100
        };
        let spec = Agent::child_spec(first).name(name.clone());
        let system = Supervisor::start_link([spec], Strategy::OneForOne).unwrap();
        name.update(|n| *n += 1).unwrap();
        assert_eq!(name.get(|n| *n).unwrap(), 101);
        let earlier = name.whereis();
        assert!(name.update(|_| panic!("again")).is_err());
        let later = name.whereis_timeout(Duration::from_secs(30));
        assert!(later.is_some() && later != earlier);
        assert_eq!(name.get(|n| *n).unwrap(), 200);
        system.stop().unwrap();
        assert_eq!(journal.all(), ["made", "made"]);
    });
}

#[test]
fn two_of_one_type_need_ids() {
    let _watchdog = watchdog();
    let two = || [Agent::child_spec(|| 1), Agent::child_spec(|| 2)];
    let same = Supervisor::one_for_one().children(two()).start();
    assert!(matches!(same, Err(StartError::BadSpec(_))), "{same:?}");
    let [one, other] = two();
    let apart = Supervisor::one_for_one().child(one.id("one")).child(other.id("other")).start().unwrap();
    assert_eq!(apart.count_children().unwrap().active, 2);
    apart.stop().unwrap();
}

#[test]
fn a_value_that_is_not_send_stays_in_its_agent() {
    let _watchdog = watchdog();
    let agent = Agent::start(|| Rc::new(Cell::new(1))).unwrap();
    agent.update(|shared| shared.set(shared.get() + 1)).unwrap();
    assert_eq!(agent.get(|shared| (shared.get(), Rc::strong_count(shared))).unwrap(), (2, 1));
    agent.stop().unwrap();
}

#[test]
fn agent_that_calls_itself_gets_an_error() {
    let _watchdog = watchdog();
    let name = Number::named(unique("itself"));
    let agent = Agent::child_spec(|| 1).name(name.clone()).start().unwrap();
    let asked = agent.get(move |_| name.get(|n| *n)).unwrap();
    assert!(matches!(asked, Err(CallError::CallingSelf { .. })), "{asked:?}");
    agent.stop().unwrap();
}

#[test]
fn agent_of_another_type_is_an_error() {
    let _watchdog = watchdog();
    let name = unique("typed");
    let number = Agent::child_spec(|| 1).name(AgentRef::named(name)).start().unwrap();
    let text: AgentRef<String> = AgentRef::named(name);
    assert!(matches!(text.get(Clone::clone), Err(CallError::WrongType { .. })));
    text.cast(String::clear);
    assert_eq!(number.get(|n| *n).unwrap(), 1);
    number.stop().unwrap();
}

#[test]
fn value_is_dropped_before_the_exit_is_delivered() {
    struct Noted(Journal);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let _watchdog = watchdog();
    let journal = Journal::new();
    let first = journal.clone();
    let agent = Agent::start(move || Noted(first)).unwrap();
    let watch = agent.watch();
    process::exit(agent.whereis().unwrap(), ExitReason::Kill);
    assert_eq!(watch.wait(), ExitReason::Killed);
    assert_eq!(journal.all(), ["dropped"]);
}

#[test]
fn on_a_foreign_thread_there_is_nothing_to_link_to() {
    let _watchdog = watchdog();
    let agent = Agent::start_link(|| 1).unwrap();
    assert_eq!(process::info(agent.whereis().unwrap()).unwrap().links, []);
    agent.stop().unwrap();
}
