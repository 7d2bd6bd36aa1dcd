//! What a supervisor lets observers see of itself, without being asked and whatever it is busy with: its strategy, its
//! restarts, its children.

use std::any::Any;
use std::sync::Arc;

use crate::process::block::Account;
use crate::process::feed::{self, Change};
use crate::process::me;
use crate::supervisor::budget::{Budget, Restarts};
use crate::supervisor::children::{Child, child_info};
use crate::supervisor::request::ChildInfo;
use crate::supervisor::spec::Strategy;
use crate::sync::{self, Mutex};

/// One child as its supervisor keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupervisedChild {
    /// Its id, whether it runs, and what it is.
    pub child: ChildInfo,
    /// How often it was started again.
    pub restarts: u64,
}

/// The open books of one supervisor.
pub(crate) struct Books {
    /// `None` for those whose children are independent anyway: dynamic ones.
    pub(crate) strategy: Option<Strategy>,
    pub(crate) budget: Mutex<Budget>,
    /// As after the last message it handled. Not written down by dynamic ones, which may have thousands.
    pub(crate) children: Mutex<Vec<SupervisedChild>>,
}

impl Books {
    /// Books that everybody can see from now on; the calling process is the supervisor.
    pub(crate) fn open(strategy: Option<Strategy>, budget: Budget) -> Arc<Self> {
        let books = Arc::new(Self { strategy, budget: Mutex::new(budget), children: Mutex::new(Vec::new()) });
        if let Some(me) = me::get() {
            // A process is one supervisor in its life.
            let _ = me.block.account.set(Arc::clone(&books) as Arc<dyn Account>);
        }
        books
    }

    pub(crate) fn spend(&self) -> bool {
        self.budget.lock().spend(sync::now())
    }

    pub(crate) fn restarts(&self) -> Restarts {
        self.budget.lock().count(sync::now())
    }

    #[expect(single_use_lifetimes, reason = "older compilers want it named")]
    pub(crate) fn list<'a>(&self, children: impl Iterator<Item = &'a Child>) {
        let row = |child: &Child| SupervisedChild { child: child_info(child), restarts: child.restarts() };
        *self.children.lock() = children.map(row).collect();
    }
}

/// Tells observers that the calling process is a supervisor that gives up.
pub(crate) fn publish_end(why: &str) {
    if let Some(me) = me::get() {
        feed::tell(&me.block, || Change::GaveUp { why: why.into() });
    }
}

impl Account for Books {
    fn told(&self) -> String {
        self.restarts().to_string()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
