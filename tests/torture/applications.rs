//! Applications that all clients start, stop and kill: a new start finds nothing left of the run before,
//! and each exit has a possible reason.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use parking_lot::Mutex;
use rethread::StartError;
use rethread::application::ApplicationError;
use rethread::application::{Application, ApplicationExit};
use rethread::prelude::*;
use rethread::process::{Address, Builder, SpawnError};
use rethread::supervisor::FailedToStartChild;
use rethread::supervisor::SupervisorSpec;

use crate::books::Books;
use crate::client::Client;
use crate::dice::Dice;
use crate::hand::Hand;
use crate::places::Slot;
use crate::pools::gone;
use crate::reasons;
use crate::worker::{Temper, Worker};

/// The names of the applications; the same in all rounds.
pub(crate) const NAMES: [&str; 3] = ["torture app 0", "torture app 1", "torture app 2"];

/// The plan of one application.
#[derive(Debug)]
pub(crate) struct Wild {
    name: &'static str,
    strategy: Strategy,
    max: u32,
    /// The servers in it. The server of the run before holds the name until its exit cleanup completes.
    pub(crate) slots: Vec<Arc<Slot>>,
}

impl Wild {
    pub(crate) fn draw(dice: &mut Dice, which: usize, first: usize, books: &Books) -> Self {
        let strategy = *dice.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
        let (max, count) = (*dice.pick(&[0, 3, 1000]), 1 + dice.below(4));
        let slots = Slot::row(strategy, first, count, |n| {
            (format!("{}app {which} {n}", books.prefix()), Temper::draw(dice, 1))
        });
        Self { name: NAMES[which], strategy, max, slots }
    }

    /// The first child notes the unsupervised processes it starts, so they exist whichever of the others
    /// fails.
    fn plan(&self, books: &Arc<Books>, note: impl Fn(Pid) + Send + Sync + 'static) -> Application {
        let restarts = [Restart::Permanent, Restart::Transient, Restart::Temporary];
        let children = self.slots.iter().zip(restarts.iter().cycle());
        let children = children.map(|(slot, restart)| Worker::of(slot, books).restart(*restart));
        let plan = SupervisorSpec::new(self.strategy).max_restarts(self.max, Duration::from_secs(5));
        Application::new(self.name, plan.child(strays(books, note)).children(children))
    }
}

/// Returns a child that is ignored and starts unsupervised processes: they belong to the application all
/// the same.
pub(crate) fn strays(books: &Arc<Books>, note: impl Fn(Pid) + Send + Sync + 'static) -> ChildSpec {
    let (label, note) = (format!("{}stray", books.prefix()), Arc::new(note));
    ChildSpec::new("strays", move || {
        let (of, note) = (label.clone(), Arc::clone(&note));
        // Not as a direct child: descendants of a killed supervisor have five seconds to exit.
        let parent = Builder::new().label(label.as_str()).spawn(move || {
            for (traps, listens) in [(false, true), (true, true), (true, false)] {
                stray(&of, traps, listens).iter().for_each(|stray| note(stray.pid()));
            }
        });
        process::watch(parent?).wait();
        Err(StartError::Ignored)
    })
}

fn stray(label: &str, traps: bool, listens: bool) -> Result<Address<Infallible>, SpawnError> {
    Builder::new().label(label).kill_grace(Duration::from_millis(10)).spawn_receiver(move |inbox| {
        process::trap_exit(traps);
        if listens {
            loop {
                inbox.recv();
            }
        }
        // Exits by itself, before it is asked to, or soon after it was declared a zombie.
        let (_sender, nothing) = channel::<Infallible>();
        let _ = nothing.recv_timeout(Duration::from_millis(30));
    })
}

/// Returns the master of a running application.
pub(crate) fn master(top: Pid) -> Option<Pid> {
    process::info(top)?.ancestors.first().copied()
}

/// Stops all applications at the end of the round, and checks that none is left.
pub(crate) fn none_is_left(books: &Books) {
    for name in NAMES {
        match Application::stop(name) {
            Ok(()) | Err(ApplicationError::NotStarted(_)) => {}
            Err(error) => books.breach(format!("{name} was not stopped: {error}")),
        }
        if let Some(found) = Application::find(name) {
            books.breach(format!("{name} was stopped and is found: {found:?}"));
        }
    }
    let running = Application::running();
    if !running.is_empty() {
        books.breach(format!("applications that run when all were stopped: {running:?}"));
    }
}

/// Returns `true` if an application that was started can have exited this way.
fn can_be(ending: &ApplicationExit) -> bool {
    match ending {
        ApplicationExit::Stopped(reason) => matches!(reason, ExitReason::Shutdown | ExitReason::Killed),
        ApplicationExit::GaveUp(_) => ending.reason() == Some(&ExitReason::Shutdown),
        ApplicationExit::NotStarted(ApplicationError::Failed(_)) => true, // checked by the client that started it
        _ => false,
    }
}

impl Hand {
    pub(crate) fn play_with_an_app(&mut self) {
        let field = Arc::clone(&self.field);
        let (app, other) = (self.dice.pick(&field.apps), self.dice.pick(&field.apps));
        match self.dice.below(12) {
            0..4 => self.start_an_app(app, other),
            4 => match Application::stop(app.name) {
                Ok(()) => {}
                Err(ApplicationError::NotStarted(name)) if *name == *app.name => {}
                Err(error) => self.breach(format!("{} was not stopped: {error}", app.name)),
            },
            kind => {
                let Some(found) = Application::find(app.name) else { return };
                let top = found.supervisor().whereis();
                match kind {
                    5 => found.request_stop(),
                    6 => top.into_iter().for_each(|top| {
                        self.books.kill_supervisor(top);
                        process::exit(top, ExitReason::Kill);
                    }),
                    7 => top.into_iter().for_each(|top| {
                        let Some(master) = master(top) else { return };
                        self.books.kill_supervisor(top); // it exits with its master
                        process::exit(master, ExitReason::Kill);
                    }),
                    8 | 9 => {
                        let slot = self.dice.pick(&app.slots);
                        slot.server()
                            .whereis()
                            .into_iter()
                            .for_each(|pid| process::exit(pid, ExitReason::Kill));
                    }
                    _ => {
                        let ending = found.wait_timeout(self.dice.up_to_ms(5));
                        if ending.as_ref().is_some_and(|ending| !can_be(ending) || found.is_running()) {
                            self.breach(format!("{found:?} ended: {ending:?}"));
                        }
                    }
                }
            }
        }
    }

    fn start_an_app(&mut self, app: &Wild, other: &Wild) {
        let depends = self.dice.one_in(4) && app.name != other.name;
        let strays = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&strays);
        let plan = app.plan(&self.books, move |pid| noted.lock().push(pid));
        let plan = if depends { plan.depends_on(other.name) } else { plan };
        match plan.start() {
            Ok(started) if started.name() == app.name => {}
            Err(ApplicationError::AlreadyStarted(name)) if *name == *app.name => {}
            Err(ApplicationError::NotStarted(name)) if depends && *name == *other.name => {}
            Err(ApplicationError::Failed(error)) => {
                self.no_app(&error);
                // A killed master does not wait for the processes that are killed with it.
                let killed = matches!(&error, StartError::Failed(reason) if *reason == ExitReason::Killed);
                let left = |pid: &Pid| if killed { process::is_alive(*pid) } else { !gone(*pid) };
                let left: Vec<Pid> = strays.lock().iter().copied().filter(left).collect();
                if !left.is_empty() {
                    self.breach(format!("{} did not start: {error}; {left:?} is left of it", app.name));
                }
            }
            result => self.breach(format!("{} came to {result:?}", app.name)),
        }
    }

    /// Checks that the start failed because of one of its servers, or because it was stopped meanwhile.
    fn no_app(&self, error: &StartError) {
        if let StartError::Failed(reason) = error {
            if let Some(failed) = reason.downcast_ref::<FailedToStartChild>() {
                return self.no_app(&failed.error);
            }
            if !reasons::can_be(reason) {
                self.breach(format!("an application failed to start: {reason}"));
            }
        } else {
            self.no_start(error); // also if its name is still taken
        }
    }
}

impl Client<'_> {
    /// Kills a process while it starts an application: afterwards the application runs, or nothing is left
    /// of it.
    pub(crate) fn start_an_app_and_exit(&mut self) {
        let field = Arc::clone(&self.hand.field);
        let app = self.hand.dice.pick(&field.apps);
        let (plan, time) = (app.plan(&self.hand.books, |_| ()), self.hand.dice.up_to_ms(2));
        let Some(exiting) = self.helper::<Infallible>(move |_| drop(plan.start())) else { return };
        process::sleep(time);
        process::exit(&exiting, ExitReason::Kill);
        self.gone(exiting.pid());
        if self.hand.dice.one_in(2) {
            // It may exit by itself meanwhile, or another client may start the next one.
            match Application::find(app.name).map(|found| found.stop()) {
                None | Some(Ok(()) | Err(ApplicationError::NotStarted(_))) => {}
                Some(Err(error)) => self.breach(format!("{} was not stopped: {error}", app.name)),
            }
        }
    }
}
