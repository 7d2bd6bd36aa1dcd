//! The plan of a dynamic supervisor: its limits and its name, and how it is started from them. User code writes
//! it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::child_spec::{ChildSpec, StartError};
use crate::gen_server::callbacks::GenServer;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec, short_type_name};
use crate::supervisor::dynamic::limits::Limits;
use crate::supervisor::dynamic::server::DynamicSupervisor;
use crate::supervisor::dynamic::server::DynamicSupervisorInit;

impl DynamicSupervisor {
    /// A plan with the defaults.
    #[track_caller]
    pub fn new() -> DynamicSupervisorSpec {
        DynamicSupervisorSpec::with_defaults()
    }

    /// Starts one with the defaults, linked to the calling process. On a foreign thread there is nothing to
    /// link to.
    ///
    /// # Errors
    /// [`StartError`].
    #[track_caller]
    pub fn start_link() -> Result<ServerRef<Self>, StartError> {
        Self::new().start_link()
    }
}

/// The plan of a dynamic supervisor, made by [`DynamicSupervisor::new`]; or of a
/// [`TaskSupervisor`](crate::TaskSupervisor), which is one. It has no children: they come later.
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s |
/// | max_children | as many as there can be processes |
/// | name | none |
///
/// ```
/// use std::time::Duration;
/// use rethread::DynamicSupervisor;
///
/// let rooms = DynamicSupervisor::new().max_children(100).max_restarts(10, Duration::from_secs(1)).start_link()?;
/// assert_eq!(rooms.count_children()?.active, 0);
/// rooms.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a plan does nothing by itself: start it, or give it to a supervisor"]
pub struct DynamicSupervisorSpec<S = DynamicSupervisor> {
    pub(crate) limits: Limits,
    name: Option<ServerRef<S>>,
    /// Where the program made it.
    defined_at: &'static Location<'static>,
}

impl<S: GenServer<Args = DynamicSupervisorInit>> DynamicSupervisorSpec<S> {
    #[track_caller]
    pub(crate) fn with_defaults() -> Self {
        Self { limits: Limits::default(), name: None, defined_at: Location::caller() }
    }

    /// The name of the supervisor.
    pub fn name(mut self, name: ServerRef<S>) -> Self {
        self.name = Some(name);
        self
    }

    /// As [`SupervisorSpec::max_restarts`](crate::SupervisorSpec::max_restarts); the restarts of all children
    /// count together.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.limits.max_restarts = restarts;
        self.limits.period = period;
        self
    }

    /// How many children there may be at once, those that are about to be restarted among them. To start one
    /// more fails with [`StartError::MaxChildren`].
    pub fn max_children(mut self, limit: usize) -> Self {
        self.limits.max_children = Some(limit);
        self
    }

    /// As [`SupervisorSpec::max_zombies`](crate::SupervisorSpec::max_zombies).
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.limits.max_zombies = Some(limit);
        self
    }

    /// Starts the supervisor, linked to the calling process. On a foreign thread there is nothing to link to:
    /// it is [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError::BadSpec`] if the plan makes no sense, and what [`GenServerExt::start_link`] lists.
    #[track_caller]
    pub fn start_link(self) -> Result<ServerRef<S>, StartError> {
        self.limits.check().map_err(StartError::BadSpec)?;
        self.spec().start_link()
    }

    /// Starts the supervisor without a link.
    ///
    /// # Errors
    /// As [`start_link`](Self::start_link).
    #[track_caller]
    pub fn start(self) -> Result<ServerRef<S>, StartError> {
        self.limits.check().map_err(StartError::BadSpec)?;
        self.spec().start()
    }

    /// The supervisor as a child of another, for those who want to set more than its name. Its id is its name;
    /// two without one that stand beside each other need ids, `.spec().id("readers")`.
    pub fn spec(self) -> ServerSpec<S> {
        let Self { limits, name, defined_at } = self;
        let display_name =
            name.as_ref().map_or_else(|| short_type_name::<S>().to_owned(), ToString::to_string);
        let init = DynamicSupervisorInit { name: display_name, make: Arc::new(move || Ok(limits.clone())) };
        let spec = S::child_spec(init).supervisor().defined_at(defined_at);
        match name {
            Some(name) => spec.id(name.to_string()).name(name),
            None => spec,
        }
    }
}

impl<S: GenServer<Args = DynamicSupervisorInit>> From<DynamicSupervisorSpec<S>> for ChildSpec {
    fn from(spec: DynamicSupervisorSpec<S>) -> Self {
        spec.spec().into()
    }
}

impl<S> Clone for DynamicSupervisorSpec<S> {
    fn clone(&self) -> Self {
        Self { limits: self.limits.clone(), name: self.name.clone(), defined_at: self.defined_at }
    }
}

impl<S> fmt::Debug for DynamicSupervisorSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisorSpec")
            .field("limits", &self.limits)
            .field("name", &self.name)
            .finish()
    }
}
