//! Processes: threads that end each other by links, watch each other by monitors, are reached by names,
//! and are never a half-dead mess. The kernel under servers and supervisors, and of use by itself.

pub(crate) mod activity;
pub(crate) mod address;
pub(crate) mod alias;
pub(crate) mod attach;
pub(crate) mod attempt;
pub(crate) mod block;
pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod feed;
pub(crate) mod inbox;
pub(crate) mod info;
pub(crate) mod linger;
pub(crate) mod link;
pub(crate) mod me;
pub(crate) mod names;
pub(crate) mod own;
pub(crate) mod queue;
pub(crate) mod report;
pub(crate) mod settings;
pub(crate) mod shards;
pub(crate) mod signal;
pub(crate) mod spawn;
pub(crate) mod table;
pub(crate) mod threads;
pub(crate) mod timer;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod zombie;

pub use self::activity::Activity;
pub use self::address::{Address, Name, SendError};
pub use self::alias::{Alias, AliasMode};
pub use self::attach::{AttachError, attach};
pub use self::attempt::{Attempt, Caught, attempt};
pub use self::block::{MonitorTarget, ProcessKind};
pub use self::exit::{exit, exit_with, is_alive, throw};
pub use self::inbox::{Event, Inbox};
pub use self::info::{ProcessInfo, ProcessState, info, processes};
pub use self::linger::WaitStrategy;
pub use self::link::{LinkError, demonitor, demonitor_flush, link, monitor, monitor_name, unlink};
pub use self::names::{NameError, Via, register, unregister, whereis, whereis_timeout};
pub use self::own::{
    ExitHook, checkpoint, current, exit_requested, on_exit_request, set_label, sleep, trap_exit,
};
pub use self::settings::{Settings, set_settings, settings};
pub use self::spawn::{Builder, SpawnError, spawn, spawn_link, spawn_monitor};
pub use self::timer::{TimerTarget, cancel_timer, read_timer, send_after, send_at};
pub use self::watch::{Watch, watch};
pub use self::zombie::{Zombie, zombies, zombies_total};
