//! Applications: supervision trees that are started and stopped as one, and end with an exit status. Elixir's
//! `Application`.
//!
//! An application consists of a top supervisor and all processes that are started under it, supervised or not.
//! It adds to a supervisor: an orderly stop from any thread, callbacks for the stop, the guarantee that no
//! process is left, and a result that `main` can return.
//!
//! ```no_run
//! use rethread::agent::Agent;
//! use rethread::application::{Application, ApplicationExit};
//! use rethread::prelude::*;
//!
//! fn main() -> ApplicationExit {
//!     let top = Supervisor::one_for_one().child(Agent::child_spec(Vec::<String>::new));
//!     Application::new("todo", top).on_stop(|| println!("all data is written")).run()
//! }
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | describe an application | [`Application::new`], [`depends_on`](Application::depends_on), [`prep_stop`](Application::prep_stop), [`on_stop`](Application::on_stop) |
//! | start it and wait for its end | [`Application::run`] |
//! | start it and continue | [`Application::start`], which returns an [`ApplicationRef`] |
//! | stop it and wait | [`ApplicationRef::stop`]; by name [`Application::stop`] |
//! | stop it from inside, or from a signal handler | [`ApplicationRef::request_stop`] |
//! | wait for its end | [`ApplicationRef::wait`], [`ApplicationRef::wait_timeout`] |
//! | find a running application | [`Application::find`], [`Application::running`] |
//! | get its top supervisor | [`ApplicationRef::supervisor`] |
//!
//! # Stop and exit status
//! An application stops when [`stop`](ApplicationRef::stop) or [`request_stop`](ApplicationRef::request_stop)
//! is called, or when its top supervisor exits. The steps are always the same: `prep_stop`, the shutdown of
//! the top supervisor, `on_stop`, a kill of all processes that are left. See
//! [`Application`](Application#stopping) for the details.
//!
//! [`ApplicationExit`] is the result. It is the exit status 0 if the application was stopped, and 1 if the top
//! supervisor gave up or did not start, so that a service manager can restart the program.
//!
//! ```
//! use rethread::application::{Application, ApplicationExit};
//! use rethread::prelude::*;
//! use std::time::Duration;
//!
//! let app = Application::new("doc.worker", Supervisor::one_for_one()).start()?;
//! assert_eq!(app.wait_timeout(Duration::from_millis(1)), None); // it is running
//! app.request_stop();
//! assert_eq!(app.wait(), ApplicationExit::Stopped(ExitReason::Shutdown));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library handles no signals of the operating system. The [guide](crate::guide#ending-on-sigterm) shows
//! how a program stops its application on SIGTERM.
//!
//! # Differences from Erlang
//! An application is a value that the program creates, not a package with a file of its own, modules and
//! configuration. `depends_on` only checks that another application is running. There are no types
//! `permanent`, `transient` and `temporary`: the end of an application does not end the program. A supervisor
//! that gave up is distinguished from one that was stopped. The [list of
//! differences](crate::differences_from_erlang#agents-and-applications) names the reason for each.

#[expect(clippy::module_inception, reason = "the type Application")]
pub(crate) mod application;
pub(crate) mod exit;
pub(crate) mod handle;
pub(crate) mod master;
pub(crate) mod state;

pub use self::application::{Application, TopSupervisor};
pub use self::exit::{ApplicationError, ApplicationExit};
pub use self::handle::ApplicationRef;
