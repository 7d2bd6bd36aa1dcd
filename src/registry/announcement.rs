//! Who has heard of an entry of a registry, and of its end, so that each listener hears of both once and in this order.
//! `event` asks it before each message, `store` keeps one for each entry.

use std::sync::Arc;

use crate::sync::Mutex;

/// By which listeners are told apart.
pub(crate) type ListenerId = Arc<()>;

/// What the listeners have been told of one entry. Its process may be buried by another thread while it registers or
/// gives the entry up; the burial tells of the end itself, for it cannot wait for a thread that may be stuck, and
/// nobody is to hear of the end before the beginning, or twice, or after the death.
pub(crate) struct Announcement(Mutex<AnnouncementState>);

enum AnnouncementState {
    /// Nothing has been told: it may not be in the table yet.
    Pending,
    /// These have been told that it is there; the others are being told.
    Announcing(Vec<ListenerId>),
    /// All have been told.
    Registered,
    /// It was taken away. Those who `knew` of it, or all, are being told; these have been.
    Removing { recipients: Option<Vec<ListenerId>>, notified: Vec<ListenerId> },
}

impl Announcement {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(AnnouncementState::Pending))
    }

    /// Whether it is there.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(*self.0.lock(), AnnouncementState::Announcing(_) | AnnouncementState::Registered)
    }

    /// It is there, unless it was taken away already.
    pub(crate) fn start_announcing(&self) -> bool {
        let mut state = self.0.lock();
        let is_pending = matches!(*state, AnnouncementState::Pending);
        if is_pending {
            *state = AnnouncementState::Announcing(Vec::new());
        }
        is_pending
    }

    /// Unless it was taken away meanwhile.
    pub(crate) fn finish_announcing(&self) {
        let mut state = self.0.lock();
        if matches!(*state, AnnouncementState::Announcing(_)) {
            *state = AnnouncementState::Registered;
        }
    }

    /// It was taken away.
    pub(crate) fn start_removing(&self) {
        let mut state = self.0.lock();
        let recipients = match &mut *state {
            AnnouncementState::Pending => Some(Vec::new()),
            AnnouncementState::Announcing(notified) => Some(std::mem::take(notified)),
            AnnouncementState::Registered => None,
            AnnouncementState::Removing { .. } => return,
        };
        *state = AnnouncementState::Removing { recipients, notified: Vec::new() };
    }

    /// Has it sent if this listener is to hear that it is there. `send` must be our code: it runs under a lock.
    pub(crate) fn send_register_once(&self, id: &ListenerId, send: &mut dyn FnMut()) {
        if let AnnouncementState::Announcing(notified) = &mut *self.0.lock() {
            notified.push(Arc::clone(id));
            send();
        }
    }

    /// Has it sent if this listener is to hear of the end, and has not.
    pub(crate) fn send_unregister_once(&self, id: &ListenerId, send: &mut dyn FnMut()) {
        let is_same = |other: &ListenerId| Arc::ptr_eq(other, id);
        if let AnnouncementState::Removing { recipients, notified } = &mut *self.0.lock() {
            if recipients.as_ref().is_none_or(|recipients| recipients.iter().any(is_same))
                && !notified.iter().any(is_same)
            {
                notified.push(Arc::clone(id));
                send();
            }
        }
    }
}
