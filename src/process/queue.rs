//! The queue of a mailbox: many put in, one takes out. Two buffers under a lock that is held for some nanoseconds: who
//! takes out swaps them and has all that was there to itself. That costs senders as much as one lock-free step more than
//! nothing, and receivers nearly nothing, where a lock-free list costs both two or three such steps for each message
//! and an allocation for each few.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::process::wait::Apart;

/// Room for so many items stays with a queue whose reader parks, in each buffer.
const ROOM_KEPT: usize = 32;

/// Where senders put items.
#[repr(C)]
pub(crate) struct Queue<T> {
    /// How many were ever put in: changes under the lock.
    put: AtomicUsize,
    inbound: Mutex<Inbound<T>>,
    _apart: Apart,
    /// How many were ever taken out: the reader alone changes it.
    taken: AtomicUsize,
}

struct Inbound<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Both ends of a new queue.
pub(crate) fn queue<T>() -> (Arc<Queue<T>>, Reader<T>) {
    let queue = Arc::new(Queue {
        put: AtomicUsize::new(0),
        inbound: Mutex::new(Inbound { items: VecDeque::new(), closed: false }),
        _apart: Apart::default(),
        taken: AtomicUsize::new(0),
    });
    let reader = Reader { queue: Arc::clone(&queue), batch: VecDeque::new(), taken: 0 };
    (queue, reader)
}

impl<T> Queue<T> {
    /// Puts an item behind the others; hands it back if there is no reader any more.
    ///
    /// Afterwards whoever sees the reader awake may rely on it to find the item: see `Reader::pop_or_rest`.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut inbound = self.inbound.lock();
        if inbound.closed {
            drop(inbound);
            return Err(item);
        }
        inbound.items.push_back(item);
        let put = self.put.load(Ordering::Relaxed).wrapping_add(1);
        self.put.store(put, Ordering::Release);
        Ok(())
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        // In this order: it must not seem that more were taken out than put in.
        let taken = self.taken.load(Ordering::Acquire);
        self.put.load(Ordering::Relaxed).wrapping_sub(taken)
    }
}

/// Where the one reader takes items out.
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    /// What was taken out of the lock at one time, and is not read yet.
    batch: VecDeque<T>,
    taken: usize,
}

impl<T> Reader<T> {
    /// The next item, if one is there. It takes no lock to see that none is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            if self.queue.put.load(Ordering::Acquire) == self.taken {
                return None;
            }
            std::mem::swap(&mut self.queue.inbound.lock().items, &mut self.batch);
        }
        self.next()
    }

    /// As `pop`, for a reader that has announced that it is about to park. It takes the lock: whoever puts something in
    /// later has taken it after the announcement, and so sees that too, without a fence of its own.
    pub(crate) fn pop_or_rest(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            let mut inbound = self.queue.inbound.lock();
            std::mem::swap(&mut inbound.items, &mut self.batch);
            if self.batch.is_empty() {
                // After a flood: its room is not kept for ever.
                let room = (inbound.items.capacity() > ROOM_KEPT).then(|| std::mem::take(&mut inbound.items));
                drop(inbound);
                drop(room);
                if self.batch.capacity() > ROOM_KEPT {
                    self.batch = VecDeque::new();
                }
            }
        }
        self.next()
    }

    fn next(&mut self) -> Option<T> {
        let item = self.batch.pop_front()?;
        self.taken = self.taken.wrapping_add(1);
        self.queue.taken.store(self.taken, Ordering::Release);
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue. What is in it is dropped on the reader's thread, not under the lock.
    fn drop(&mut self) {
        let mut inbound = self.queue.inbound.lock();
        inbound.closed = true;
        let late = std::mem::take(&mut inbound.items);
        drop(inbound);
        self.batch.extend(late);
    }
}
