//! The queue of a mailbox: many put in, one takes out. Two buffers under a lock that is held for some nanoseconds: who
//! takes out swaps them and has all that was there to itself. That costs senders as much as one lock-free step more than
//! nothing, and receivers nearly nothing, where a lock-free list costs both two or three such steps for each message
//! and an allocation for each few.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Room for so many items stays with a queue whose reader parks, in each buffer.
const RETAINED_CAPACITY: usize = 32;

/// Where senders put items.
pub(crate) struct Queue<T> {
    /// In cache lines of its own: what a single item needs, and a reader that looks for it, is in the first.
    shared: CachePadded<Shared<T>>,
    /// How many were ever taken out: the reader alone changes it.
    received: AtomicUsize,
}

#[repr(C)]
struct Shared<T> {
    /// How many were ever put in: changes under the lock.
    sent: AtomicUsize,
    pending: Mutex<Pending<T>>,
}

#[repr(C)]
struct Pending<T> {
    closed: bool,
    /// There are items in `rest`: asked here, beside the lock, to leave its memory alone.
    has_rest: bool,
    /// The oldest item, if the others wait for its reader: one that comes alone passes through no buffer.
    first: Option<T>,
    rest: VecDeque<T>,
}

/// Both ends of a new queue.
pub(crate) fn queue<T>() -> (Arc<Queue<T>>, Reader<T>) {
    let queue = Arc::new(Queue {
        shared: CachePadded::new(Shared {
            sent: AtomicUsize::new(0),
            pending: Mutex::new(Pending {
                closed: false,
                has_rest: false,
                first: None,
                rest: VecDeque::new(),
            }),
        }),
        received: AtomicUsize::new(0),
    });
    let reader = Reader { queue: Arc::clone(&queue), first: None, batch: VecDeque::new(), received: 0 };
    (queue, reader)
}

impl<T> Queue<T> {
    /// Puts an item behind the others; hands it back if there is no reader any more.
    ///
    /// Afterwards whoever sees the reader awake may rely on it to find the item: see `Reader::pop_or_rest`.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut pending = self.shared.pending.lock();
        if pending.closed {
            drop(pending);
            return Err(item);
        }
        if pending.first.is_none() && !pending.has_rest {
            pending.first = Some(item);
        } else {
            pending.rest.push_back(item);
            pending.has_rest = true;
        }
        let sent = self.shared.sent.load(Ordering::Relaxed).wrapping_add(1);
        self.shared.sent.store(sent, Ordering::Release);
        Ok(())
    }

    /// How many items were ever taken out.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        // In this order: it must not seem that more were taken out than put in.
        let received = self.received.load(Ordering::Acquire);
        self.shared.sent.load(Ordering::Relaxed).wrapping_sub(received)
    }
}

/// Where the one reader takes items out.
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    /// What was taken out of the lock at one time, and is not read yet.
    first: Option<T>,
    batch: VecDeque<T>,
    received: usize,
}

impl<T> Reader<T> {
    /// The next item, if one is there. It takes no lock to see that none is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            if self.queue.shared.sent.load(Ordering::Acquire) == self.received {
                return None;
            }
            let mut pending = self.queue.shared.pending.lock();
            self.first = pending.first.take();
            if pending.has_rest {
                pending.has_rest = false;
                std::mem::swap(&mut pending.rest, &mut self.batch);
            }
        }
        self.next()
    }

    /// As `pop`, for a reader that has announced that it is about to park. It takes the lock: whoever puts something in
    /// later has taken it after the announcement, and so sees that too, without a fence of its own.
    pub(crate) fn pop_before_park(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            let mut pending = self.queue.shared.pending.lock();
            self.first = pending.first.take();
            pending.has_rest = false;
            std::mem::swap(&mut pending.rest, &mut self.batch);
            if self.first.is_none() && self.batch.is_empty() {
                // After a flood: its room is not kept for ever.
                let spare_buffer =
                    (pending.rest.capacity() > RETAINED_CAPACITY).then(|| std::mem::take(&mut pending.rest));
                drop(pending);
                drop(spare_buffer);
                if self.batch.capacity() > RETAINED_CAPACITY {
                    self.batch = VecDeque::new();
                }
            }
        }
        self.next()
    }

    fn next(&mut self) -> Option<T> {
        let item = self.first.take().or_else(|| self.batch.pop_front())?;
        self.received = self.received.wrapping_add(1);
        self.queue.received.store(self.received, Ordering::Release);
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue. What is in it is dropped on the reader's thread, not under the lock.
    fn drop(&mut self) {
        let mut pending = self.queue.shared.pending.lock();
        pending.closed = true;
        self.first = pending.first.take();
        let remaining = std::mem::take(&mut pending.rest);
        drop(pending);
        self.batch.extend(remaining);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue through which so many items went, twice, so that both buffers have had to hold them.
    fn queue_used_for(count: usize) -> (Arc<Queue<usize>>, Reader<usize>) {
        let (queue, mut reader) = queue();
        for _ in 0..2 {
            (0..count).for_each(|item| queue.push(item).expect("somebody reads"));
            assert!((0..count).eq(std::iter::from_fn(|| reader.pop())));
        }
        (queue, reader)
    }

    fn capacities(reader: &Reader<usize>) -> [usize; 2] {
        [reader.batch.capacity(), reader.queue.shared.pending.lock().rest.capacity()]
    }

    #[test]
    fn park_after_burst_releases_capacity() {
        let (queue, mut reader) = queue_used_for(1000);
        assert!(capacities(&reader).iter().all(|capacity| *capacity >= 999));
        queue.push(7).expect("somebody reads");
        assert_eq!(reader.pop_before_park(), Some(7));
        assert!(capacities(&reader).iter().all(|capacity| *capacity >= 999), "more may come");
        assert_eq!(reader.pop_before_park(), None);
        assert_eq!(capacities(&reader), [0, 0]);
        assert_eq!((queue.len(), queue.received()), (0, 2001));
    }

    #[test]
    fn park_after_few_items_retains_capacity() {
        let (_queue, mut reader) = queue_used_for(RETAINED_CAPACITY + 1); // the first has a place of its own
        assert_eq!(capacities(&reader), [RETAINED_CAPACITY; 2]);
        assert_eq!(reader.pop_before_park(), None);
        assert_eq!(capacities(&reader), [RETAINED_CAPACITY; 2]);
    }
}
