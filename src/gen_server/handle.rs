//! The handles of agents and supervisors: types of their own around a [`ServerRef`] of a server type that is
//! not public, so that each has only its own methods.
//!
//! [`ServerRef`]: crate::gen_server::server_ref::ServerRef

/// Defines a handle type and the methods that all handles have. `$server` is the type of the server;
/// `$about` completes the sentence "A handle of ..".
macro_rules! define_handle {
    ($(#[$doc:meta])* pub struct $handle:ident $(<$param:ident>)? of $server:ty; $about:literal) => {
        $(#[$doc])*
        pub struct $handle $(<$param>)? {
            pub(crate) server: $crate::gen_server::server_ref::ServerRef<$server>,
        }

        impl $(<$param>)? $handle $(<$param>)? {
            #[doc = concat!("Creates a handle of the ", $about, " that is registered under this name.")]
            pub const fn named(name: &'static str) -> Self {
                Self::new($crate::gen_server::server_ref::ServerRef::named(name))
            }

            #[doc = concat!("Creates a handle of the ", $about, " that is registered under this name, for names")]
            /// made at run time.
            pub fn from_name(name: impl Into<std::sync::Arc<str>>) -> Self {
                Self::new($crate::gen_server::server_ref::ServerRef::from_name(name))
            }

            /// Creates a handle of this process, for pids from a listing or a registry. Each request checks what
            /// the process is: to anything else it fails with
            /// [`CallError::WrongType`](crate::gen_server::CallError::WrongType).
            pub const fn from_pid(pid: $crate::pid::Pid) -> Self {
                Self::new($crate::gen_server::server_ref::ServerRef::from_pid(pid))
            }

            #[doc = concat!("Creates a handle of the ", $about, " that is registered under this key, in a registry or")]
            /// another table of names.
            pub fn via(key: impl $crate::process::names::via::Via + 'static) -> Self {
                Self::new($crate::gen_server::server_ref::ServerRef::via(key))
            }

            pub(crate) const fn new(server: $crate::gen_server::server_ref::ServerRef<$server>) -> Self {
                Self { server }
            }

            /// Returns the pid of the process. A handle by process or pid always returns that pid, even if the
            /// process has exited; a handle by name or key returns its current holder, or `None` if there is
            /// none.
            pub fn whereis(&self) -> Option<$crate::pid::Pid> {
                self.server.whereis()
            }

            /// Waits until a process is registered under the name or key, and returns its pid; `None` if that
            /// does not happen within `timeout`. Use it to wait for a restart.
            ///
            /// A handle by process or pid does not wait. Whether a table that is not a
            /// [`Registry`](crate::registry::Registry) waits depends on its implementation of
            /// [`Via`](crate::process::Via).
            pub fn whereis_timeout(&self, timeout: std::time::Duration) -> Option<$crate::pid::Pid> {
                self.server.whereis_timeout(timeout)
            }

            /// Monitors the process. The calling process receives the `Down`; if the name or key has no holder,
            /// at once, with `NoProc`.
            ///
            /// # Panics
            /// On a thread that is not a process.
            #[track_caller]
            pub fn monitor(&self) -> $crate::pid::MonitorRef {
                self.server.monitor()
            }

            /// Watches the process, from any thread. If the name or key has no holder,
            /// [`wait`](crate::process::Watch::wait) returns `NoProc` at once.
            pub fn watch(&self) -> $crate::process::signals::monitor::Watch {
                self.server.watch()
            }
        }

        impl $(<$param: 'static>)? $handle $(<$param>)? {
            #[doc = concat!("Stops the ", $about, " with the reason `Normal` and waits until it has exited, without a")]
            /// timeout.
            ///
            /// # Errors
            /// [`StopError`](crate::gen_server::StopError): it is not running, exited with a different reason, or
            /// waits for the caller, or the handle refers to another type of process.
            pub fn stop(&self) -> Result<(), $crate::call_error::StopError> {
                self.server.stop()
            }

            #[doc = concat!("Stops the ", $about, " with this reason and waits until it has exited, for at most")]
            /// `timeout`; with `Duration::MAX` there is no limit. Messages that are in its mailbox are handled
            /// first.
            ///
            /// # Errors
            /// [`StopError::Exited`](crate::gen_server::StopError::Exited) if it exited with a different reason;
            /// [`StopError::Timeout`](crate::gen_server::StopError::Timeout) if it has not exited in time, though the
            /// request to stop stays in its mailbox; and the others that [`StopError`](crate::gen_server::StopError)
            /// lists.
            pub fn stop_timeout(
                &self,
                reason: impl Into<$crate::reason::ExitReason>,
                timeout: std::time::Duration,
            ) -> Result<(), $crate::call_error::StopError> {
                self.server.stop_timeout(reason, timeout)
            }
        }

        impl $(<$param>)? Clone for $handle $(<$param>)? {
            fn clone(&self) -> Self {
                Self { server: self.server.clone() }
            }
        }

        /// Formats the name, the key or the pid.
        impl $(<$param>)? std::fmt::Display for $handle $(<$param>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.server, f)
            }
        }

        impl $(<$param>)? std::fmt::Debug for $handle $(<$param>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($handle), "({})"), self.server)
            }
        }
    };
}
pub(crate) use define_handle;
