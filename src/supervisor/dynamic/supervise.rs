//! The callback form: a module that is a dynamic supervisor. User code implements `SuperviseDynamic`.

use std::sync::Arc;

use crate::child_spec::StartError;
use crate::gen_server::callbacks::InitError;
use crate::gen_server::server_ref::ServerRef;
use crate::gen_server::start::{GenServerExt, ServerSpec, short_type_name};
use crate::supervisor::dynamic::server::DynamicSupervisor;
use crate::supervisor::dynamic::server::DynamicSupervisorInit;
use crate::supervisor::dynamic::spec::DynamicSupervisorSpec;

/// A dynamic supervisor as a type of its own, with functions for what it can be asked: Elixir's
/// `use DynamicSupervisor`. Its plan is made when it starts, and again at each restart, from its arguments.
///
/// ```
/// use rethread::prelude::*;
///
/// pub struct Downloads;
/// const DOWNLOADS: ServerRef<DynamicSupervisor> = ServerRef::named("doc.downloads");
///
/// impl SuperviseDynamic for Downloads {
///     type Args = usize;
///
///     fn init(most: usize) -> Result<DynamicSupervisorSpec, InitError> {
///         Ok(DynamicSupervisor::new().max_children(most))
///     }
/// }
///
/// impl Downloads {
///     fn fetch(url: &'static str) -> Result<Option<Pid>, StartError> {
///         DOWNLOADS.start_child(ChildSpec::worker(url, move || println!("fetching {url}")).restart(Restart::Transient))
///     }
/// }
///
/// let system = Supervisor::start_link([Downloads::child_spec(2).name(DOWNLOADS)], Strategy::OneForOne)?;
/// Downloads::fetch("https://example.org/")?;
/// # system.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SuperviseDynamic: Sized + 'static {
    /// What `init` gets, at the first start and at every restart.
    type Args: Clone + Send + Sync + 'static;

    /// Makes the plan, in the new supervisor's process.
    ///
    /// # Errors
    /// [`InitError`]: the supervisor does not start; with [`InitError::Ignore`] that is all right.
    fn init(args: Self::Args) -> Result<DynamicSupervisorSpec, InitError>;

    /// Starts it, linked to the calling process.
    ///
    /// # Errors
    /// As [`DynamicSupervisorSpec::start_link`].
    #[track_caller]
    fn start_link(args: Self::Args) -> Result<ServerRef<DynamicSupervisor>, StartError> {
        Self::child_spec(args).start_link()
    }

    /// The supervisor as a child of another. Its id is the name of this type.
    #[track_caller]
    fn child_spec(args: Self::Args) -> ServerSpec<DynamicSupervisor> {
        let type_name = short_type_name::<Self>();
        let init = DynamicSupervisorInit {
            name: type_name.to_owned(),
            make: Arc::new(move || Ok(Self::init(args.clone())?.limits)),
        };
        DynamicSupervisor::child_spec(init).supervisor().id(type_name).label(type_name)
    }
}
