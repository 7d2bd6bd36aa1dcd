//! Processes: OS threads with a mailbox, links, monitors and registered names. Servers, tasks and supervisors
//! are built on this module; it can also be used directly.
//!
//! Use a process directly for a loop that reads a device, accepts connections or forwards messages. For state
//! that other processes query, use a [`GenServer`](crate::gen_server::GenServer); for one computation with a
//! result, a [task](crate::task).
//!
//! # Start, send and receive
//! ```
//! use rethread::prelude::*;
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
//! [`spawn`] starts a process that receives no messages, like [`std::thread::spawn`], and returns its pid.
//! [`spawn_receiver`] starts one with an [`Inbox`] for messages of one type, and returns its typed
//! [`Address`].
//!
//! | to | use |
//! | --- | --- |
//! | start a process without messages | [`spawn`], [`spawn_link`], [`spawn_monitor`] |
//! | start a process that receives messages | [`spawn_receiver`], [`spawn_receiver_link`], [`spawn_receiver_monitor`] |
//! | start a process with a name, a label or limits of its own | the same six methods of [`Builder`] |
//! | make the calling thread a process | [`attach`], [`attach_receiver`] |
//! | send a message | [`Address::send`]; by name [`Name::send`]; revocable [`Alias::send`] |
//! | send a message later | [`send_after`], [`send_at`], [`cancel_timer`], [`read_timer`] |
//! | receive the next event | [`Inbox::recv`], [`Inbox::recv_timeout`], [`Inbox::try_recv`] |
//! | receive selectively | [`Inbox::recv_where`], [`Inbox::recv_where_timeout`] |
//! | exit | return from the function, [`exit_with`], [`throw`] |
//! | catch an exit, a panic or a throw | [`attempt`] |
//! | end another process | [`exit`] |
//! | receive exit signals as messages | [`trap_exit`] |
//! | exit together with another process | [`link`], [`unlink`] |
//! | receive a message when another process exits | [`monitor`], [`monitor_name`], [`demonitor`], [`demonitor_flush`] |
//! | wait for the exit of a process, on any thread | [`watch`] |
//! | name a process | [`Builder::name`], [`register`], [`unregister`], [`whereis`], [`whereis_timeout`], [`Via`] |
//! | react to an exit signal in a computation or a blocking call | [`checkpoint`], [`exit_requested`], [`on_exit_request`] |
//! | sleep | [`sleep`] |
//! | inspect processes | [`current`], [`is_alive`], [`info`], [`processes`], [`set_label`], [`zombies`], [`zombies_total`] |
//! | change limits and timeouts | [`configure`], [`settings`], [`Settings`] |
//!
//! # Messages
//! A mailbox is unbounded, and a message is moved, not copied. [`Inbox::recv`] returns an [`Event`]: a
//! message, an `Exit` (a trapped exit signal) or a `Down` (a monitor fired). A message to a process that has
//! exited is dropped; a send to a [`Name`] that is not registered returns the message in the error.
//!
//! A name is looked up at each send, so it stays valid when a process is replaced, and it can be a constant:
//!
//! ```
//! use rethread::prelude::*;
//! use rethread::process::Name;
//!
//! const PRINTER: Name<&str> = Name::new("doc.process printer");
//!
//! let builder = process::Builder::new().name(PRINTER);
//! let printer = builder.spawn_receiver(|inbox: &mut Inbox<&'static str>| {
//!     while let Event::Message(line) = inbox.recv() {
//!         println!("{line}");
//!     }
//! })?;
//! PRINTER.send("hello")?;
//! assert_eq!(PRINTER.whereis(), Some(printer.pid()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Exits and exit signals
//! A process exits when its function returns, when it panics, when it calls [`exit_with`] or [`throw`], or
//! when it receives an exit signal. The [`ExitReason`](crate::ExitReason) says why.
//!
//! A thread cannot be stopped from outside. An exit signal takes effect at the next *runtime call* of the process,
//! or at once while it waits in one: the call unwinds the stack, so destructors run. Runtime calls are the
//! functions of this crate that act on processes: receive, send, call, join, link, monitor, spawn, sleep,
//! register, look up, timers, [`checkpoint`] itself. (Those that only compute are not: constructors, setters,
//! accessors like `pid`, formatting; and [`exit_requested`] only asks.) A long computation calls [`checkpoint`]; a
//! blocking call of foreign code is woken by a hook, [`on_exit_request`]. Code that must not be unwound, such as a
//! callback of a C library, runs in [`defer_exit`].
//!
//! ```
//! use rethread::prelude::*;
//!
//! let busy = process::spawn(|| loop { process::checkpoint() })?;
//! let watch = process::watch(busy);
//! process::exit(busy, ExitReason::Shutdown);
//! assert_eq!(watch.wait(), ExitReason::Shutdown);
//! # Ok::<(), process::SpawnError>(())
//! ```
//!
//! A process that does not exit in time (`kill_grace`, 100 ms, after a kill; `exit_timeout`, 5 s, otherwise)
//! becomes a [`Zombie`]: it counts as exited for all other processes while its thread is still running, and
//! its calls have no effect.
//!
//! The names and registry keys of a process are released before its links and monitors are notified, so a
//! supervisor that receives the exit can start a replacement under the same name.
//!
//! # Links and monitors
//! | | [`link`] | [`monitor`] | [`watch`] |
//! | --- | --- | --- | --- |
//! | direction | both | the watched process is not affected | the watched process is not affected |
//! | how many | one between two processes | any number | any number |
//! | an abnormal exit | ends the other process; an `Exit` message if it traps exits | a `Down` message | `wait` returns the reason |
//! | a normal exit | no effect; an `Exit` message if trapped | a `Down` message | `wait` returns the reason |
//! | the caller | is a process | is a process | is any thread |
//!
//! [`spawn_link`] and [`spawn_monitor`] start the process and create the link or monitor in one step: the real
//! exit reason is reported even if the process exits at once. The
//! [specification](crate::semantics#exit-signals) has the complete rules.
//!
//! # Threads that are not processes
//! Any thread can start processes, send messages and exit signals, look up names, and [`watch`] processes. A
//! function that needs a mailbox, links or an exit reason of the caller returns an error ([`spawn_link`],
//! [`link`]) or panics ([`monitor`], [`trap_exit`], [`exit_with`]) on a thread that is not a process.
//! [`attach`] and [`attach_receiver`] make the calling thread a process, for example `main` or a test.
//!
//! # Settings
//! [`Settings`] contains the limits and defaults of the whole program. They apply to processes that are
//! started afterwards. The wait strategy applies to all threads at once. A [`Builder`] sets the values of one
//! process.
//!
//! ```
//! use rethread::process;
//! use std::time::Duration;
//!
//! process::configure(|settings| settings.exit_timeout = Duration::from_secs(2));
//! assert_eq!(process::settings().exit_timeout, Duration::from_secs(2));
//! ```
//!
//! # Differences from Erlang
//! A mailbox has one message type. An exit signal takes effect at a runtime call, not at any instruction, and
//! destructors run. [`link`] to a process that has exited returns an error. A process has at most one name,
//! and a name is released as soon as the exit of its holder is decided. There are no priorities, no
//! hibernation and no reductions: the kernel schedules the threads. The [list of
//! differences](crate::differences_from_erlang#processes) names the reason for each.

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
pub use self::lifecycle::init_ack::InitAck;
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
    ExitHook, checkpoint, current, defer_exit, exit_requested, on_exit_request, set_label, sleep, trap_exit,
};
pub use self::signals::exit::{exit, exit_with, is_alive, throw};
pub use self::signals::link::{link, unlink};
pub use self::signals::monitor::{Watch, demonitor, demonitor_flush, monitor, monitor_name, watch};
