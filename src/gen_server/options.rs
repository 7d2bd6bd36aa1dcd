//! The options of a server's spec besides its arguments: name, child options, process options. The setters
//! that the specs of servers, agents and supervisors have in common are written here once.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{ChildId, ChildOptions};
use crate::gen_server::server_ref::Target;
use crate::process::lifecycle::spawn::Builder;

/// The options that the specs of servers, agents and supervisors have in common.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    pub(crate) name: Option<Target>,
    /// The id that was set; otherwise the id in `child` counts.
    pub(crate) id: Option<ChildId>,
    pub(crate) child: ChildOptions,
    pub(crate) process: Builder,
    pub(crate) start_timeout: Option<Duration>,
    /// The place in the program that made the spec. A process that a supervisor starts shows it as its
    /// origin.
    pub(crate) defined_at: &'static Location<'static>,
}

impl ServerOptions {
    #[track_caller]
    pub(crate) fn new(default_id: &str) -> Self {
        Self {
            name: None,
            id: None,
            child: ChildOptions::new(default_id),
            process: Builder::default(),
            start_timeout: None,
            defined_at: Location::caller(),
        }
    }

    /// Sets the label, unless there is one.
    pub(crate) fn set_default_label(&mut self, label: impl Into<Arc<str>>) {
        self.process.label.get_or_insert_with(|| label.into());
    }

    /// Sets the name of a supervisor, which is also its default id.
    pub(crate) fn set_supervisor_name(&mut self, name: Target) {
        self.child.id = ChildId::from(name.to_string());
        self.name = Some(name);
    }

    /// Returns the options that the supervisor uses.
    pub(crate) fn child_options(&self) -> ChildOptions {
        ChildOptions { id: self.child_id().clone(), ..self.child.clone() }
    }

    fn child_id(&self) -> &ChildId {
        self.id.as_ref().unwrap_or(&self.child.id)
    }

    /// Formats a spec with these options; the `Debug` of all specs.
    pub(crate) fn fmt_spec(&self, f: &mut fmt::Formatter<'_>, spec: &str) -> fmt::Result {
        let mut text = f.debug_struct(spec);
        // Without the default `None`, which would only be noise.
        if let Some(name) = &self.name {
            text.field("name", name);
        }
        text.field("id", self.child_id()).field("restart", &self.child.restart).finish_non_exhaustive()
    }
}

/// Writes the setters of the child options and the process options, for a spec that has its [`ServerOptions`]
/// in the field `$options`.
macro_rules! impl_server_option_setters {
    ($($options:ident).+) => {
        $crate::child_spec::impl_child_option_setters!($($options).+.child, id: $($options).+.id);

        /// Sets the label: a descriptive text for logs and listings, and for the name of the thread.
        pub fn label(mut self, label: impl Into<std::sync::Arc<str>>) -> Self {
            self.$($options).+.process.label = Some(label.into());
            self
        }

        /// Sets the options of the process: stack size, time limits, label. Replaces all of them, except that a
        /// label that was set before stays if `process` has none. A name in `process` is registered as well,
        /// unless `name` gives another one.
        ///
        /// For a process that holds an exclusive resource and may be slow to release it, choose a generous
        /// [`kill_grace`](crate::process::Builder::kill_grace): a zombie would keep the resource.
        pub fn process(mut self, process: $crate::process::lifecycle::spawn::Builder) -> Self {
            self.$($options).+.process.replace_with(process);
            self
        }

        /// Sets how long the start may take, until `init` has returned. After that the process is killed, and the
        /// start fails with [`StartError::Timeout`](crate::StartError::Timeout). Default: no limit.
        pub fn start_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.$($options).+.start_timeout = Some(timeout);
            self
        }
    };
}
pub(crate) use impl_server_option_setters;
