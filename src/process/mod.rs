//! Processes: threads that end each other by links, watch each other by monitors, are reached by names,
//! and are never a half-dead mess. The kernel under servers and supervisors, and of use by itself.

pub(crate) mod control;
pub(crate) mod lifecycle;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod observe;
pub(crate) mod park;
pub(crate) mod signals;

pub use self::control::activity::Activity;
pub use self::control::block::{MonitorTarget, ProcessKind};
pub use self::control::settings::{Settings, set_settings, settings};
pub use self::lifecycle::attach::{AttachError, attach};
pub use self::lifecycle::spawn::{Builder, SpawnError, spawn, spawn_link, spawn_monitor};
pub use self::mailbox::address::{Address, Name, SendError};
pub use self::mailbox::alias::{Alias, AliasMode};
pub use self::mailbox::inbox::{Event, Inbox};
pub use self::mailbox::timer::{TimerTarget, cancel_timer, read_timer, send_after, send_at};
pub use self::names::via::Via;
pub use self::names::{NameError, register, unregister, whereis, whereis_timeout};
pub use self::observe::info::{ProcessInfo, ProcessState, info, processes};
pub use self::observe::zombie::{Zombie, zombies, zombies_total};
pub use self::park::backoff::WaitStrategy;
pub use self::signals::attempt::{Attempt, Caught, attempt};
pub use self::signals::current::{
    ExitHook, checkpoint, current, exit_requested, on_exit_request, set_label, sleep, trap_exit,
};
pub use self::signals::exit::{exit, exit_with, is_alive, throw};
pub use self::signals::link::{LinkError, demonitor, demonitor_flush, link, monitor, monitor_name, unlink};
pub use self::signals::watch::{Watch, watch};
