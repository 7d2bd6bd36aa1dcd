//! Private applications, used by one client only: how each one exits is known, and nothing may be left of
//! it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rethread::application::ApplicationError;
use rethread::application::{Application, ApplicationExit, ApplicationRef};
use rethread::prelude::*;
use rethread::process::Event;
use rethread::supervisor::SupervisorSpec;

use crate::applications::{master, strays};
use crate::auditor;
use crate::books::Books;
use crate::client::Client;
use crate::hand::SLACK;
use crate::places::Slot;
use crate::pools::gone;
use crate::reasons;
use crate::worker::{Ask, Temper, Worker};

/// The notes about one running application.
struct House {
    name: String,
    strategy: Strategy,
    slots: Vec<Arc<Slot>>,
    strays: Mutex<Vec<Pid>>,
    /// Its callbacks, and the number of running servers at that time.
    called: Mutex<Vec<(&'static str, usize)>>,
}

/// The ways to end it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Stop,
    StopByName,
    StopByTwo,
    BeginStop,
    BeginStopInside,
    KillTop,
    KillMaster,
    StopTop,
    GiveUp,
}

const ENDS: [End; 9] = [
    End::Stop,
    End::StopByName,
    End::StopByTwo,
    End::BeginStop,
    End::BeginStopInside,
    End::KillTop,
    End::KillMaster,
    End::StopTop,
    End::GiveUp,
];

impl House {
    fn note(
        self: &Arc<Self>,
        books: &Arc<Books>,
        what: &'static str,
        fails: usize,
    ) -> impl FnOnce() + Send + 'static {
        let (house, books) = (Arc::clone(self), Arc::clone(books));
        move || {
            if house.is_listed() {
                books.breach(format!("{} runs, and is at its {what}", house.name));
            }
            let there = house.slots.iter().filter(|slot| slot.server().whereis().is_some()).count();
            house.called.lock().push((what, there));
            match fails {
                0 => panic!("in a callback"),
                1 => process::exit_with("odd"),
                2 => process::throw("odd"),
                _ => {}
            }
        }
    }

    fn plan(self: &Arc<Self>, client: &mut Client<'_>, max: u32) -> Application {
        let dice = &mut client.hand.dice;
        let books = &client.hand.books;
        let (children, house) = (self.slots.iter().map(|slot| Worker::of(slot, books)), Arc::clone(self));
        let top = SupervisorSpec::new(self.strategy)
            .max_restarts(max, Duration::from_secs(5))
            .children(children)
            .child(strays(books, move |pid| house.strays.lock().push(pid)));
        Application::new(self.name.as_str(), top)
            .prep_stop(self.note(books, "prep_stop", dice.below(8)))
            .on_stop(self.note(books, "on_stop", dice.below(8)))
    }

    fn is_listed(&self) -> bool {
        Application::running().iter().any(|name| **name == *self.name)
    }

    /// Checks that nothing is left of it. A process that was waited for has exited, and is not just
    /// exiting.
    fn is_gone(&self, books: &Books, how: &str, waited: bool) {
        let not_started = ApplicationError::NotStarted(self.name.as_str().into());
        let listed = self.is_listed();
        let (found, stopped) = (Application::find(&self.name), Application::stop(&self.name));
        let servers: Vec<Pid> = self.slots.iter().filter_map(|slot| slot.server().whereis()).collect();
        let left = |pid: &Pid| if waited { !gone(*pid) } else { process::is_alive(*pid) };
        let strays: Vec<Pid> = self.strays.lock().iter().copied().filter(left).collect();
        if listed || found.is_some() || stopped != Err(not_started) || servers.len() + strays.len() > 0 {
            books.breach(format!(
                "{} {how}; running: {listed}, found: {found:?}, stopped: {stopped:?}, left: {servers:?}, {strays:?}",
                self.name
            ));
        }
    }
}

impl Client<'_> {
    pub(crate) fn private_app(&mut self) {
        let (books, count) = (self.books(), 1 + self.hand.dice.below(4));
        let end = *self.hand.dice.pick(&ENDS);
        let strategy =
            *self.hand.dice.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
        let first = books.private_places(count);
        let name = format!("{}app {first}", books.prefix());
        let calm = |n| (format!("{name} {n}"), Temper::calm(&mut self.hand.dice));
        let slots = Slot::row(strategy, first, count, calm);
        let house =
            Arc::new(House { name, strategy, slots, strays: Mutex::default(), called: Mutex::default() });
        let app = match house.plan(self, if end == End::GiveUp { 2 } else { 1000 }).start() {
            Ok(app) => app,
            Err(ApplicationError::Failed(error)) if auditor::no_room(&books, &error) => {
                if !house.called.lock().is_empty() {
                    self.breach(format!("{} did not start; called: {:?}", house.name, house.called.lock()));
                }
                return house.is_gone(&books, "did not start", true);
            }
            Err(error) => return self.breach(format!("{} did not start: {error}", house.name)),
        };
        self.look_at(&house, &app);
        let ending = self.end_app(&house, &app, end);
        let called = house.called.lock().clone();
        let right = match (end, &ending) {
            (End::KillTop | End::KillMaster, Some(ApplicationExit::Stopped(ExitReason::Killed))) => true,
            (End::GiveUp, Some(ApplicationExit::GaveUp(_))) => true,
            (End::StopTop, Some(ApplicationExit::Stopped(reason))) => *reason == reasons::odd_shutdown(),
            (End::KillTop | End::KillMaster | End::GiveUp | End::StopTop, _) => false,
            (_, Some(ApplicationExit::Stopped(ExitReason::Shutdown))) => true,
            _ => false,
        };
        let callbacks = match called[..] {
            [] => end == End::KillMaster,
            // In `prep_stop` all run; in `on_stop` none, unless their supervisor could not stop them.
            [("prep_stop", before), ("on_stop", after)] => {
                let orderly = !matches!(end, End::KillTop | End::StopTop | End::GiveUp);
                (!orderly || before == count) && (end == End::KillTop || after == 0) && end != End::KillMaster
            }
            _ => false,
        };
        if !right || !callbacks || app.is_running() || app.wait_timeout(SLACK) != ending {
            self.breach(format!("{} was ended by {end:?}: {ending:?}, called {called:?}", house.name));
        }
        house.is_gone(&books, "has ended", end != End::KillMaster);
    }

    /// Checks a running application: it cannot be started again, others can depend on it, its servers
    /// answer.
    fn look_at(&mut self, house: &Arc<House>, app: &ApplicationRef) {
        let again = house.plan(self, 0).start().err();
        let taken = match &again {
            Some(ApplicationError::AlreadyStarted(name)) => **name == *house.name,
            Some(ApplicationError::Failed(error)) => auditor::no_room(&self.hand.books, error),
            _ => false,
        };
        let missing = format!("{} missing", house.name);
        let depends = |name: &str| {
            let plan = Application::new(format!("{} depends", house.name), Supervisor::one_for_one());
            plan.depends_on(house.name.as_str()).depends_on(name).start()
        };
        let alone = depends(&missing).err() == Some(ApplicationError::NotStarted(missing.as_str().into()));
        let together = match depends(&house.name) {
            Ok(other) => other.stop() == Ok(()),
            Err(ApplicationError::Failed(error)) => auditor::no_room(&self.hand.books, &error),
            Err(_) => false,
        };
        let n = self.hand.number();
        let answers =
            |slot: &Arc<Slot>| slot.server().call_timeout(SLACK, |from| Ask::Echo(n, from)) == Ok(n);
        let all = house.slots.iter().all(answers);
        let found = Application::find(&house.name).map(|found| found.supervisor().whereis());
        if !taken
            || !alone
            || !together
            || !all
            || found != Some(app.supervisor().whereis())
            || !app.is_running()
        {
            self.breach(format!(
                "{app:?} runs; again: {again:?}, without another: {alone}, with it: {together}, all answer: {all}"
            ));
        }
    }

    fn end_app(&mut self, house: &Arc<House>, app: &ApplicationRef, end: End) -> Option<ApplicationExit> {
        let (top, name) = (app.supervisor().whereis()?, house.name.clone());
        let stopped = match end {
            End::Stop => app.stop(),
            End::StopByName => Application::stop(&name),
            End::StopByTwo => {
                let (ours, theirs) = (app.clone(), app.clone());
                let other = self.helper::<Infallible>(move |_| drop(theirs.stop()));
                if other.is_some() {
                    process::sleep(self.hand.dice.up_to_ms(1));
                }
                match ours.stop() {
                    Err(ApplicationError::NotStarted(_)) if !ours.is_running() => Ok(()), // the other stop was first
                    result => result,
                }
            }
            End::BeginStop => {
                app.request_stop();
                Ok(())
            }
            End::BeginStopInside => self.stop_inside(house, app),
            End::KillTop => {
                self.hand.books.kill_supervisor(top);
                process::exit(top, ExitReason::Kill);
                Ok(())
            }
            End::KillMaster => {
                self.hand.books.kill_supervisor(top);
                master(top).into_iter().for_each(|master| process::exit(master, ExitReason::Kill));
                Ok(())
            }
            End::StopTop => {
                let _ = app.supervisor().stop_timeout(reasons::odd_shutdown(), SLACK);
                Ok(())
            }
            End::GiveUp => {
                // Until the restart budget is spent.
                while app.wait_timeout(self.hand.dice.up_to_ms(1)).is_none() {
                    let pid = house.slots[0].server().whereis();
                    pid.into_iter().for_each(|pid| process::exit(pid, ExitReason::Kill));
                }
                Ok(())
            }
        };
        if let Err(error) = stopped {
            self.breach(format!("{name} was not stopped: {error}"));
        }
        let ending = app.wait_timeout(SLACK);
        // Its master has been notified, so later queries see the exit too.
        if end != End::KillMaster && !gone(top) {
            self.breach(format!("{name} has ended: {ending:?}, and not its top supervisor"));
        }
        ending
    }

    /// Stops the application from one of its own processes, which can request the stop but not wait for it.
    fn stop_inside(&mut self, house: &Arc<House>, app: &ApplicationRef) -> Result<(), ApplicationError> {
        let (name, this, (to, n)) =
            (house.name.clone(), app.clone(), (self.inbox.address(), self.hand.number()));
        let books = self.books();
        let inside = ChildSpec::worker("inside", move || {
            let (by_name, by_handle) = (Application::stop(&name), this.stop());
            let refused = Err(ApplicationError::Inside);
            if by_name != refused || by_handle != refused {
                books.breach(format!("{name} was stopped from inside: {by_name:?}, {by_handle:?}"));
            }
            to.send(n); // first, because it is stopped like any other child
            this.request_stop();
            process::sleep(Duration::MAX);
        });
        let started = app.supervisor().start_child(inside);
        if started.is_ok() {
            let confirmed = |event: &Event<u64>| matches!(event, Event::Message(m) if *m == n);
            if self.inbox.recv_where_timeout(SLACK, confirmed).is_none() {
                self.breach(format!("{} has a process that did not ask for its end", house.name));
            }
            return Ok(());
        }
        app.stop() // the process limit left no room for it
    }
}
