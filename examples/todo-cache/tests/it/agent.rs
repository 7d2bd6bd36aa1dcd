//! A list as a server and a list as an agent: both forms are tested by the same rules.

use std::convert::Infallible;

use rethread::process;
use rethread::task;
use rethread::{ExitReason, StartError};

use crate::ALONE;
use crate::support::attached;
use crate::todo::agent;
use crate::todo::client::Client;
use crate::todo::date::Date;
use crate::todo::error::TodoError;
use crate::todo::list::{Entry, EntryId};
use crate::todo::list_supervisor::LISTS;
use crate::todo::name::{ListName, Title};
use crate::todo::server::Changed;
use crate::todo::shape::Shape;
use crate::todo::system::{Config, System};

/// The client of the default shape.
const CLIENT: Client = Client::new(Shape::SupervisedLists, None);

/// One form of a list.
struct Form {
    start: fn(&ListName) -> Result<(), StartError>,
    add: fn(&ListName, Date, &Title) -> Changed,
    done: fn(&ListName, EntryId) -> Changed,
    edit: fn(&ListName, EntryId, &Title) -> Changed,
    remove: fn(&ListName, EntryId) -> Changed,
    entries: fn(&ListName, Option<Date>) -> Result<Vec<Entry>, TodoError>,
    called: fn(&ListName) -> String,
}

const SERVER: Form = Form {
    start: |list| match CLIENT.server_process(list) {
        Ok(_) => Ok(()),
        Err(TodoError::Start(error)) => Err(error),
        Err(other) => panic!("{other}"),
    },
    add: |list, date, title| CLIENT.add(list, date, title),
    done: |list, id| CLIENT.done(list, id),
    edit: |list, id, title| CLIENT.edit(list, id, title),
    remove: |list, id| CLIENT.remove(list, id),
    entries: |list, date| CLIENT.entries(list, date),
    called: |list| format!("list:{list}"),
};

const AGENT: Form = Form {
    start: |list| match LISTS.start_child(agent::spec(list)) {
        Ok(_) | Err(StartError::AlreadyStarted(_)) => Ok(()),
        Err(error) => Err(error),
    },
    add: agent::add,
    done: agent::done,
    edit: agent::edit,
    remove: agent::remove,
    entries: agent::entries,
    called: |list| format!("agent:{list}"),
};

/// Runs a test with a system around, once for each form.
#[track_caller]
fn in_both_forms(body: fn(&Form)) {
    let _alone = ALONE.lock();
    for form in [SERVER, AGENT] {
        let dir = tempfile::tempdir().expect("a folder");
        attached::<Infallible, _>(|_| {
            process::trap_exit(true);
            let system = System::start_link(Config::new(dir.path())).expect("it starts");
            body(&form);
            system.stop().expect("it stops");
        });
    }
}

fn list(text: &str) -> ListName {
    text.parse().expect("a good name")
}

fn title(text: &str) -> Title {
    text.parse().expect("a good title")
}

fn day(text: &str) -> Date {
    text.parse().expect("a good date")
}

#[test]
fn list_can_be_changed_and_read() {
    in_both_forms(|form| {
        let bob = list("bob");
        (form.start)(&bob).expect("it starts");
        let first = (form.add)(&bob, day("2026-11-22"), &title("Dentist")).expect("added");
        let second = (form.add)(&bob, day("2026-11-23"), &title("Dinner")).expect("added");
        assert_eq!((first.id, second.id), (1, 2));
        assert!((form.done)(&bob, 1).expect("there").done);
        assert_eq!((form.edit)(&bob, 2, &title("Lunch")).expect("there").title, title("Lunch"));
        assert_eq!((form.entries)(&bob, Some(day("2026-11-22"))).expect("read").len(), 1);
        assert_eq!((form.remove)(&bob, 1).expect("there").id, 1);
        let left = (form.entries)(&bob, None).expect("read");
        assert_eq!(
            left.iter().map(|entry| (entry.id, entry.title.as_str())).collect::<Vec<_>>(),
            [(2, "Lunch")]
        );
        for refused in [(form.done)(&bob, 1), (form.edit)(&bob, 9, &title("x")), (form.remove)(&bob, 1)] {
            assert!(matches!(refused, Err(TodoError::NoSuchEntry(_))), "{refused:?}");
        }
        assert_eq!((form.add)(&bob, day("2026-11-24"), &title("Supper")).expect("added").id, 3);
    });
}

#[test]
fn acknowledged_entries_survive_a_kill() {
    in_both_forms(|form| {
        let bob = list("bob");
        for n in 1..=5 {
            (form.start)(&bob).expect("it starts");
            assert_eq!((form.add)(&bob, day("2026-11-22"), &title("x")).expect("added").id, n);
            let pid = process::whereis(&(form.called)(&bob)).expect("it runs");
            let watch = process::watch(pid);
            process::exit(pid, ExitReason::Kill);
            assert_eq!(watch.wait(), ExitReason::Killed);
        }
        (form.start)(&bob).expect("it starts");
        assert_eq!((form.entries)(&bob, None).expect("read").len(), 5);
    });
}

#[test]
fn concurrent_starts_create_one_process() {
    in_both_forms(|form| {
        let bob = list("bob");
        let start = form.start;
        let starters: Vec<_> = (0..50)
            .map(|_| {
                let bob = bob.clone();
                task::spawn(move || start(&bob)).expect("a thread")
            })
            .collect();
        for starter in starters {
            starter.join().expect("it ends well").expect("it runs");
        }
        let name = (form.called)(&bob);
        let holders =
            process::processes().into_iter().filter(|info| info.name.as_deref() == Some(name.as_str()));
        assert_eq!(holders.count(), 1);
    });
}

#[test]
fn exit_of_a_worker_does_not_fail_a_change() {
    in_both_forms(|form| {
        let bob = list("bob");
        (form.start)(&bob).expect("it starts");
        for n in 1..=10 {
            let worker = crate::todo::database::choose_worker(&bob).whereis();
            worker.into_iter().for_each(|worker| process::exit(worker, ExitReason::Kill));
            assert_eq!((form.add)(&bob, day("2026-11-22"), &title("x")).expect("added").id, n);
            // The budget of the pool is nine crashes in five seconds.
            if n == 8 {
                break;
            }
        }
    });
}
