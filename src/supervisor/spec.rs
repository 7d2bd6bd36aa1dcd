//! The plan of a supervisor: strategy, children, limits; and what can be wrong with it. Written by user
//! code, read by `server`.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::child_spec::{ChildSpec, Restart, SpecError};
use crate::gen_server::server_ref::Target;

/// Whom the end of one child concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Only that child is restarted.
    OneForOne,
    /// All children are stopped, in reverse order, and started again, in order.
    OneForAll,
    /// The child and those started after it are stopped and started again.
    RestForOne,
}

/// Whether the end of significant children ends their supervisor, with `Shutdown`.
///
/// Only an end of their own that does not lead to a restart counts: not one that the supervisor brought
/// about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// When any significant child has ended.
    AnySignificant,
    /// When the last significant child has ended.
    AllSignificant,
}

/// The plan of a supervisor, made by [`Supervisor::one_for_one`](crate::Supervisor::one_for_one) and its like.
///
/// | default | |
/// | --- | --- |
/// | max_restarts | 3 in 5 s, as in Elixir (Erlang: 1 in 5 s) |
/// | auto_shutdown | [`AutoShutdown::Never`] |
/// | name | none |
///
/// ```
/// use std::time::Duration;
/// use rethread::{ChildSpec, Supervisor};
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
#[derive(Debug, Clone)]
#[must_use = "a plan does nothing by itself: start it, or give it to a supervisor"]
pub struct SupervisorSpec {
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) max_zombies: Option<usize>,
    pub(crate) name: Option<Target>,
    /// Where it notes that it gave up: its reason, `Shutdown`, does not tell.
    pub(crate) gave_up: Option<Arc<OnceCell<String>>>,
    /// Where the program made it.
    pub(crate) defined_at: &'static Location<'static>,
}

impl SupervisorSpec {
    /// A plan without children.
    #[track_caller]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            children: Vec::new(),
            max_restarts: 3,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::default(),
            max_zombies: None,
            name: None,
            gave_up: None,
            defined_at: Location::caller(),
        }
    }

    /// Adds a child: they are started in the order they are added.
    pub fn child(mut self, child: impl Into<ChildSpec>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Adds several.
    pub fn children<C: Into<ChildSpec>>(mut self, children: impl IntoIterator<Item = C>) -> Self {
        self.children.extend(children.into_iter().map(Into::into));
        self
    }

    /// How many restarts within which period are endured: one more, and the supervisor ends its children
    /// and itself, with `Shutdown`. The period is measured to the millisecond and includes its end.
    pub fn max_restarts(mut self, restarts: u32, period: Duration) -> Self {
        self.max_restarts = restarts;
        self.period = period;
        self
    }

    /// Whether the end of significant children ends the supervisor.
    pub fn auto_shutdown(mut self, rule: AutoShutdown) -> Self {
        self.auto_shutdown = rule;
        self
    }

    /// How many of this supervisor's former children may be zombies before it gives up instead of
    /// replacing another. Default: only the limit of the whole program counts,
    /// [`Settings::max_zombies`](crate::process::Settings::max_zombies).
    pub fn max_zombies(mut self, limit: usize) -> Self {
        self.max_zombies = Some(limit);
        self
    }

    /// Looks at everything before anything is started.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.period.is_zero() {
            return Err(SpecError::ZeroPeriod);
        }
        let mut ids = HashSet::new();
        for child in &self.children {
            check_child(child, self.auto_shutdown)?;
            if !ids.insert(child.id.clone()) {
                return Err(SpecError::DuplicateId(child.id.clone()));
            }
        }
        Ok(())
    }
}

/// Looks at one child's spec.
pub(crate) fn check_child(child: &ChildSpec, rule: AutoShutdown) -> Result<(), SpecError> {
    if child.id.as_str().is_empty() {
        Err(SpecError::EmptyId)
    } else if child.significant && child.restart == Restart::Permanent {
        Err(SpecError::SignificantPermanent(child.id.clone()))
    } else if child.significant && rule == AutoShutdown::Never {
        Err(SpecError::SignificantWithoutAutoShutdown(child.id.clone()))
    } else {
        Ok(())
    }
}
