//! Processes: OS threads with a mailbox, links, monitors and registered names. Servers, tasks and supervisors are built on
//! this module; it can also be used directly.
//!
//! ```
//! use rethread::ExitReason;
//! use rethread::process::{self, Event, Inbox};
//!
//! process::attach_receiver(|inbox: &mut Inbox<u32>| {
//!     let parent = inbox.address();
//!     // The child receives a number, sends its double to the parent, and exits.
//!     let (child, monitor) = process::spawn_receiver_monitor(move |inbox: &mut Inbox<u32>| {
//!         if let Event::Message(n) = inbox.recv() {
//!             parent.send(2 * n);
//!         }
//!     })?;
//!     child.send(21);
//!     assert_eq!(inbox.recv(), Event::Message(42));
//!     let Event::Down { monitor: fired, reason, .. } = inbox.recv() else { panic!("expected a Down") };
//!     assert_eq!((fired, reason), (monitor, ExitReason::Normal));
//!     Ok::<(), process::SpawnError>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | items |
//! | --- | --- |
//! | starting a process | [`spawn`], [`spawn_link`], [`spawn_monitor`], [`Builder`], [`attach`] |
//! | starting a process with a mailbox | [`spawn_receiver`], [`spawn_receiver_link`], [`spawn_receiver_monitor`], [`attach_receiver`] |
//! | sending | [`Address`], [`Name`], [`Alias`], [`send_after`], [`send_at`], [`cancel_timer`], [`read_timer`] |
//! | receiving | [`Inbox`], [`Event`] |
//! | exiting, and catching it | [`exit_with`], [`throw`], [`attempt`] |
//! | exit signals | [`exit`], [`trap_exit`], [`checkpoint`], [`exit_requested`], [`on_exit_request`] |
//! | links | [`link`], [`unlink`] |
//! | monitors | [`monitor`], [`monitor_name`], [`demonitor`], [`demonitor_flush`], [`watch`] |
//! | names | [`register`], [`unregister`], [`whereis`], [`whereis_timeout`], [`Via`] |
//! | inspection | [`current`], [`is_alive`], [`info`], [`processes`], [`set_label`], [`zombies`] |
//! | configuration | [`Settings`], [`settings`], [`configure`] |
//!
//! # Exits
//! A process exits when its function returns, when it panics, when it calls [`exit_with`], or because of an exit signal. A
//! thread cannot be stopped from outside: an exit signal takes effect at the next call of a function of this module, for
//! example a receive, which then unwinds the stack so that destructors run. A process that is computing can call
//! [`checkpoint`]. A process that does not exit in time becomes a [`Zombie`]: other processes are notified that it has exited
//! while its thread still runs, and nothing that it does reaches them any more.
//!
//! Its names and registry keys are released before links and monitors are notified, so a supervisor that receives the
//! exit can start a replacement under the same name.
//!
//! # Threads that are not processes
//! Any thread can send messages and exit signals, look up names and [`watch`] processes. Functions that need links, monitors
//! or an exit reason of the caller return an error or panic on a thread that is not a process; [`attach`] makes the calling
//! thread a process.

pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod lifecycle;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod observe;
pub(crate) mod park;
pub(crate) mod signals;

pub use self::control::activity::Activity;
pub use self::control::block::{MonitorTarget, ProcessKind};
pub use self::control::settings::{Settings, configure, settings};
pub use self::error::{AttachError, LinkError, NameError, SendError, SpawnError};
pub use self::lifecycle::attach::{attach, attach_receiver};
pub use self::lifecycle::spawn::{
    Builder, spawn, spawn_link, spawn_monitor, spawn_receiver, spawn_receiver_link, spawn_receiver_monitor,
};
pub use self::mailbox::address::{Address, Name};
pub use self::mailbox::alias::{Alias, AliasMode};
pub use self::mailbox::inbox::{Event, Inbox};
pub use self::mailbox::timer::{TimerTarget, cancel_timer, read_timer, send_after, send_at};
pub use self::names::via::Via;
pub use self::names::{register, unregister, whereis, whereis_timeout};
pub use self::observe::info::{ProcessInfo, ProcessState, info, processes};
pub use self::observe::zombie::{Zombie, zombies, zombies_total};
pub use self::park::backoff::WaitStrategy;
pub use self::signals::attempt::{Attempt, Caught, attempt};
pub use self::signals::current::{
    ExitHook, checkpoint, current, exit_requested, on_exit_request, set_label, sleep, trap_exit,
};
pub use self::signals::exit::{exit, exit_with, is_alive, throw};
pub use self::signals::link::{link, unlink};
pub use self::signals::monitor::{Watch, demonitor, demonitor_flush, monitor, monitor_name, watch};
