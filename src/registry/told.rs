//! Who has heard of an entry of a registry, and of its end, so that each listener hears of both once and in this order.
//! `event` asks it before each message, `store` keeps one for each entry.

use std::sync::Arc;

use crate::sync::Mutex;

/// By which listeners are told apart.
pub(crate) type Id = Arc<()>;

/// What the listeners have been told of one entry. Its process may be buried by another thread while it registers or
/// gives the entry up; the burial tells of the end itself, for it cannot wait for a thread that may be stuck, and
/// nobody is to hear of the end before the beginning, or twice, or after the death.
pub(crate) struct Told(Mutex<Stage>);

enum Stage {
    /// Nothing has been told: it may not be in the table yet.
    Attempt,
    /// These have been told that it is there; the others are being told.
    Begins(Vec<Id>),
    /// All have been told.
    Stands,
    /// It was taken away. Those who `knew` of it, or all, are being told; these have been.
    Ends { knew: Option<Vec<Id>>, told: Vec<Id> },
}

impl Told {
    pub(crate) fn nothing() -> Self {
        Self(Mutex::new(Stage::Attempt))
    }

    /// Whether it is there.
    pub(crate) fn stands(&self) -> bool {
        matches!(*self.0.lock(), Stage::Begins(_) | Stage::Stands)
    }

    /// It is there, unless it was taken away already.
    pub(crate) fn begins(&self) -> bool {
        let mut stage = self.0.lock();
        let begins = matches!(*stage, Stage::Attempt);
        if begins {
            *stage = Stage::Begins(Vec::new());
        }
        begins
    }

    /// Unless it was taken away meanwhile.
    pub(crate) fn all_know(&self) {
        let mut stage = self.0.lock();
        if matches!(*stage, Stage::Begins(_)) {
            *stage = Stage::Stands;
        }
    }

    /// It was taken away.
    pub(crate) fn ends(&self) {
        let mut stage = self.0.lock();
        let knew = match &mut *stage {
            Stage::Attempt => Some(Vec::new()),
            Stage::Begins(told) => Some(std::mem::take(told)),
            Stage::Stands => None,
            Stage::Ends { .. } => return,
        };
        *stage = Stage::Ends { knew, told: Vec::new() };
    }

    /// Has it sent if this listener is to hear that it is there. `send` must be our code: it runs under a lock.
    pub(crate) fn turn_to_hear_of_the_beginning(&self, id: &Id, send: &mut dyn FnMut()) {
        if let Stage::Begins(told) = &mut *self.0.lock() {
            told.push(Arc::clone(id));
            send();
        }
    }

    /// Has it sent if this listener is to hear of the end, and has not.
    pub(crate) fn turn_to_hear_of_the_end(&self, id: &Id, send: &mut dyn FnMut()) {
        let is = |other: &Id| Arc::ptr_eq(other, id);
        if let Stage::Ends { knew, told } = &mut *self.0.lock() {
            if knew.as_ref().is_none_or(|knew| knew.iter().any(is)) && !told.iter().any(is) {
                told.push(Arc::clone(id));
                send();
            }
        }
    }
}
