//! The callback form: a module that is a supervisor. User code implements `Supervise`.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec, short_type_name};
use crate::supervisor::server::{Supervisor, SupervisorInit};
use crate::supervisor::spec::SupervisorSpec;

/// A supervisor as a type of its own: its plan is made when it starts, and again at each restart, from
/// its arguments.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Pool;
///
/// impl Supervise for Pool {
///     type Args = usize;
///
///     fn init(size: usize) -> Result<SupervisorSpec, InitError> {
///         let worker = |i| ChildSpec::worker(i, || loop { process::sleep(std::time::Duration::from_secs(9)) });
///         Ok(Supervisor::one_for_one().children((0..size).map(worker)))
///     }
/// }
///
/// let pool = Pool::start_link(3)?;
/// assert_eq!(pool.count_children()?.active, 3);
/// pool.stop()?;
///
/// let system = Supervisor::start_link([Pool::child_spec(2)], Strategy::OneForAll)?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Supervise: Sized + 'static {
    /// What `init` gets, at the first start and at every restart.
    type Args: Clone + Send + Sync + 'static;

    /// Makes the plan, in the new supervisor's process.
    ///
    /// # Errors
    /// [`InitError`]: the supervisor does not start; with [`InitError::Ignore`] that is all right.
    fn init(args: Self::Args) -> Result<SupervisorSpec, InitError>;

    /// Starts it, linked to the calling process.
    ///
    /// # Errors
    /// As [`SupervisorSpec::start_link`].
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<Supervisor>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// The supervisor as a child of another. Its id is the name of this type.
    #[track_caller]
    fn child_spec(args: Self::Args) -> ServerSpec<Supervisor> {
        let type_name = short_type_name::<Self>();
        let init =
            SupervisorInit { name: type_name.to_owned(), make: Arc::new(move || Self::init(args.clone())) };
        Supervisor::child_spec(init).supervisor().id(type_name).label(type_name)
    }
}
