#![forbid(unsafe_code)]
//! rethread
mod child_spec;
pub mod gen_server;
mod or_exit;
mod pid;
pub mod process;
mod reason;
pub mod supervisor;
mod unwind;
mod unwound;
pub use child_spec::*;
pub use gen_server::*;
pub use or_exit::*;
pub use pid::*;
pub use reason::*;
pub use supervisor::*;
/// The names most programs need.
pub mod prelude {
    pub use crate::child_spec::{ChildSpec, ChildType, Restart, Shutdown, StartError};
    pub use crate::gen_server::{
        CallError, Caller, Context, GenServer, Info, Never, Next, ServerRef, Start, Stop,
    };
    pub use crate::or_exit::OrExit;
    pub use crate::pid::{MonitorRef, Pid};
    pub use crate::process;
    pub use crate::reason::ExitReason;
    pub use crate::supervisor::{Strategy, Supervise, Supervisor, SupervisorSpec};
}
