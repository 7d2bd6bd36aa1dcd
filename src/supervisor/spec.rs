//! The specs of supervisors: strategy, children and limits, and the checks made before anything is started.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::child_spec::restart_backoff::RestartBackoff;
use crate::child_spec::{ChildOptions, ChildSpec, Restart, SpecError};
use crate::gen_server::options::{ServerOptions, impl_server_option_setters};
use crate::supervisor::intensity::RestartIntensity;

/// Which children are restarted when one child exits.
///
/// `Display` prints Erlang's names: `one_for_one`, `one_for_all`, `rest_for_one`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Only that child is restarted.
    OneForOne,
    /// All children are stopped, in reverse order, and started again, in order.
    OneForAll,
    /// The child and those started after it are stopped, in reverse order, and started again, in order.
    RestForOne,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that width and alignment work.
        f.pad(match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        })
    }
}

/// Whether the exit of significant children makes their supervisor exit, with `Shutdown`.
///
/// Only a child that exits by itself and is not restarted counts, not one that the supervisor stopped.
///
/// ```
/// use rethread::prelude::*;
/// use rethread::supervisor::AutoShutdown;
///
/// let helper = ChildSpec::worker("helper", || process::sleep(std::time::Duration::MAX));
/// let import = ChildSpec::worker("import", || ()).restart(Restart::Transient).significant(true);
/// let system = Supervisor::one_for_one()
///     .auto_shutdown(AutoShutdown::AnySignificant)
///     .child(helper)
///     .child(import)
///     .start()?;
/// assert_eq!(system.watch().wait(), ExitReason::Shutdown); // the import is finished, so the helper is stopped too
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "closed by OTP")]
pub enum AutoShutdown {
    /// The supervisor keeps running.
    #[default]
    Never,
    /// The supervisor exits when any significant child has exited.
    AnySignificant,
    /// The supervisor exits when the last significant child has exited.
    AllSignificant,
}

/// The spec of a supervisor, made by [`Supervisor::one_for_one`](crate::supervisor::Supervisor::one_for_one),
/// [`one_for_all`](crate::supervisor::Supervisor::one_for_all),
/// [`rest_for_one`](crate::supervisor::Supervisor::rest_for_one) or [`SupervisorSpec::new`].
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s, as in Elixir (Erlang: 1 in 5 s) |
/// | child_restart_backoff | none: children are restarted at once |
/// | auto_shutdown | [`AutoShutdown::Never`] |
/// | name | none |
/// | id under another supervisor | the name, or else `Supervisor` |
/// | restart, shutdown under another supervisor | [`Restart::Permanent`](crate::supervisor::Restart::Permanent), [`Shutdown::Infinity`](crate::supervisor::Shutdown::Infinity) |
///
/// ```
/// use std::time::Duration;
/// use rethread::supervisor::{ChildSpec, Supervisor};
///
/// let idle = || loop { rethread::process::sleep(Duration::from_secs(60)) };
/// let system = Supervisor::rest_for_one()
///     .max_restarts(10, Duration::from_secs(60))
///     .child(ChildSpec::worker("first", idle))
///     .child(ChildSpec::worker("second", idle))
///     .start_link()?;
/// assert_eq!(system.count_children()?.active, 2);
/// system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct SupervisorSpec {
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) intensity: RestartIntensity,
    pub(crate) backoff: Option<RestartBackoff>,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) max_zombies: Option<usize>,
    /// Set by the supervisor when it gives up: its exit reason, `Shutdown`, does not show it.
    pub(crate) gave_up: Option<Arc<OnceCell<String>>>,
    /// The options of its process, and those that its own supervisor uses.
    pub(crate) options: ServerOptions,
}

impl SupervisorSpec {
    /// Creates a spec without children.
    #[track_caller]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            children: Vec::new(),
            intensity: RestartIntensity::default(),
            backoff: None,
            auto_shutdown: AutoShutdown::default(),
            max_zombies: None,
            gave_up: None,
            options: ServerOptions::new("Supervisor"),
        }
    }

    impl_server_option_setters!(options);

    /// Adds a child. Children are started in the order in which they are added.
    pub fn child(mut self, child: impl Into<ChildSpec>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Adds several children.
    pub fn children<C: Into<ChildSpec>>(mut self, children: impl IntoIterator<Item = C>) -> Self {
        self.children.extend(children.into_iter().map(Into::into));
        self
    }

    /// Sets the maximum number of restarts within a period. With one restart more the supervisor stops its
    /// children and exits with `Shutdown`. The period is measured to the millisecond and includes its end.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.intensity = RestartIntensity::new(restarts, period);
        self
    }

    /// Sets the restart backoff of the children that have none of their own. Default: they are restarted at once, and
    /// each restart counts for `max_restarts`.
    ///
    /// [`restart_backoff`](Self::restart_backoff) is something else: the backoff with which this supervisor is
    /// restarted by its own supervisor.
    ///
    /// ```
    /// use rethread::prelude::*;
    /// use rethread::supervisor::RestartBackoff;
    /// use std::time::Duration;
    ///
    /// let wait = || process::sleep(Duration::MAX);
    /// let hub = Supervisor::one_for_one()
    ///     .child_restart_backoff(RestartBackoff::new(Duration::from_millis(250), Duration::from_secs(30)))
    ///     .child(ChildSpec::worker("thermometer", wait))
    ///     .child(ChildSpec::worker("log", wait).restart_backoff(RestartBackoff::none())) // at once, at most 3 in 5 s
    ///     .start_link()?;
    /// hub.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn child_restart_backoff(mut self, backoff: RestartBackoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Sets whether the exit of significant children makes the supervisor exit.
    pub fn auto_shutdown(mut self, rule: AutoShutdown) -> Self {
        self.auto_shutdown = rule;
        self
    }

    /// Sets how many former children of this supervisor may be zombies. With more it gives up instead of
    /// restarting a child that left a zombie. Default: only the limit of the whole program counts,
    /// [`Settings::max_zombies`](crate::process::Settings::max_zombies).
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.max_zombies = Some(limit);
        self
    }

    /// Checks the whole spec, before anything is started.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        self.intensity.check()?;
        check_backoff(self.backoff.as_ref())?;
        // Requests name a child by its id, so ids must be unique among the children of a supervisor.
        let mut ids = HashSet::new();
        for child in &self.children {
            check_child(&child.options, self.auto_shutdown)?;
            let id = &child.options.id;
            if !ids.insert(id.clone()) {
                return Err(SpecError::DuplicateId(id.clone()));
            }
        }
        Ok(())
    }
}

/// The spec of a dynamic supervisor, made by
/// [`DynamicSupervisor::child_spec`](crate::supervisor::DynamicSupervisor::child_spec). It has no children: they are
/// added later.
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s |
/// | child_restart_backoff | none: children are restarted at once |
/// | max_children | limited only by the number of processes |
/// | name | none |
/// | id under another supervisor | the name, or else `DynamicSupervisor` |
/// | restart, shutdown under another supervisor | [`Restart::Permanent`](crate::supervisor::Restart::Permanent), [`Shutdown::Infinity`](crate::supervisor::Shutdown::Infinity) |
///
/// ```
/// use std::time::Duration;
/// use rethread::supervisor::DynamicSupervisor;
///
/// let rooms = DynamicSupervisor::child_spec().max_children(100).max_restarts(10, Duration::from_secs(1)).start_link()?;
/// assert_eq!(rooms.count_children()?.active, 0);
/// rooms.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a spec does nothing by itself: start it, or give it to a supervisor"]
pub struct DynamicSupervisorSpec {
    pub(crate) intensity: RestartIntensity,
    pub(crate) backoff: Option<RestartBackoff>,
    pub(crate) max_children: Option<usize>,
    pub(crate) max_zombies: Option<usize>,
    /// The options of its process, and those that its own supervisor uses.
    pub(crate) options: ServerOptions,
}

impl DynamicSupervisorSpec {
    #[track_caller]
    pub(crate) fn new(default_id: &str) -> Self {
        Self {
            intensity: RestartIntensity::default(),
            backoff: None,
            max_children: None,
            max_zombies: None,
            options: ServerOptions::new(default_id),
        }
    }

    impl_server_option_setters!(options);

    /// Sets the maximum number of restarts within a period, for all children together. With one restart more
    /// the supervisor stops its children and exits with `Shutdown`. The period is measured to the millisecond
    /// and includes its end.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.intensity = RestartIntensity::new(restarts, period);
        self
    }

    /// Sets the restart backoff of the children that have none of their own. Default: they are restarted at once, and
    /// each restart counts for `max_restarts`. `retry_first_start` has no effect: the first start is requested by a
    /// caller, who gets the error.
    ///
    /// [`restart_backoff`](Self::restart_backoff) is something else: the backoff with which this supervisor is
    /// restarted by its own supervisor.
    pub fn child_restart_backoff(mut self, backoff: RestartBackoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Sets the maximum number of children, including those that are about to be restarted. Starting one
    /// more fails with [`StartError::MaxChildren`](crate::StartError::MaxChildren).
    pub fn max_children(mut self, limit: usize) -> Self {
        self.max_children = Some(limit);
        self
    }

    /// Sets how many former children of this supervisor may be zombies. With more it gives up instead of
    /// restarting a child that left a zombie. Default: only the limit of the whole program counts,
    /// [`Settings::max_zombies`](crate::process::Settings::max_zombies).
    ///
    /// ```
    /// use rethread::supervisor::DynamicSupervisor;
    ///
    /// // When two former children are zombies, it gives up instead of restarting a third, and its supervisor decides.
    /// let pool = DynamicSupervisor::child_spec().max_zombies(1).start()?;
    /// # pool.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.max_zombies = Some(limit);
        self
    }

    /// Checks the spec, before anything is started.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        self.intensity.check()?;
        check_backoff(self.backoff.as_ref())
    }
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt_spec(f, "SupervisorSpec")
    }
}

impl fmt::Debug for DynamicSupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt_spec(f, "DynamicSupervisorSpec")
    }
}

/// Checks the options of one child.
pub(crate) fn check_child(child: &ChildOptions, rule: AutoShutdown) -> Result<(), SpecError> {
    if child.id.as_str().is_empty() {
        Err(SpecError::EmptyId)
    } else if child.significant && child.restart == Restart::Permanent {
        // A permanent child is always restarted: its exit would never count.
        Err(SpecError::SignificantPermanent(child.id.clone()))
    } else if child.significant && rule == AutoShutdown::Never {
        // The exit of the child would have no effect; like in OTP that is an error, not ignored.
        Err(SpecError::SignificantWithoutAutoShutdown(child.id.clone()))
    } else {
        check_backoff(child.restart_backoff.as_ref())
    }
}

fn check_backoff(backoff: Option<&RestartBackoff>) -> Result<(), SpecError> {
    match backoff {
        Some(backoff) if !backoff.is_valid() => {
            Err(SpecError::BackoffRange { min: backoff.min, max: backoff.max })
        }
        _ => Ok(()),
    }
}
