//! The queue of a mailbox: multi-producer, single-consumer, two buffers under a short lock. The reader swaps the buffers,
//! so it locks once per batch. This is cheaper here than a lock-free list, which pays two or three atomic operations per
//! message and an allocation per block. The queue is unbounded: a maximum for messages would be checked in
//! `MailboxQueue::push_message` (`inbox.rs`), because system messages go through `push` as well.
//!
//! No item is dropped under the lock: an item may have a destructor of the user.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The capacity, in items, that each buffer may keep when the reader parks.
const RETAINED_CAPACITY: usize = 32;

/// The sending end.
pub(crate) struct Queue<T> {
    /// In cache lines of its own. The first of them has all that a push into an empty queue and the reader's check use.
    shared: CachePadded<Shared<T>>,
    /// Total number of items popped. Only the reader writes it.
    received: AtomicUsize,
}

#[repr(C)]
struct Shared<T> {
    /// Total number of items pushed. Written under the lock, read without it.
    sent: AtomicUsize,
    pending: Mutex<Pending<T>>,
}

#[repr(C)]
struct Pending<T> {
    closed: bool,
    /// Whether `rest` has items. Beside the lock, so that the check does not touch the memory of `rest`.
    has_rest: bool,
    /// The oldest item. A single item is stored here and never touches a buffer.
    first: Option<T>,
    rest: VecDeque<T>,
}

/// Creates a queue and returns its two ends.
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
    /// Adds an item at the end. Hands it back if the reader has been dropped.
    ///
    /// A sender that afterwards sees the reader awake need not wake it: see [`Reader::pop_before_park`].
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut pending = self.shared.pending.lock();
        if pending.closed {
            drop(pending);
            return Err(item);
        }
        // `first` is older than everything in `rest`, so it may be filled only while `rest` is empty.
        if pending.first.is_none() && !pending.has_rest {
            pending.first = Some(item);
        } else {
            pending.rest.push_back(item);
            pending.has_rest = true;
        }
        // The lock orders the writers, so no read-modify-write instruction is needed. `Release`: a reader that sees the
        // new number and then takes the lock finds the item.
        let sent = self.shared.sent.load(Ordering::Relaxed).wrapping_add(1);
        self.shared.sent.store(sent, Ordering::Release);
        Ok(())
    }

    /// Returns the total number of items popped.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the number of items that have been pushed and not popped.
    pub(crate) fn len(&self) -> usize {
        // `received` first: otherwise pushes and pops between the two loads could make `received` exceed `sent`.
        let received = self.received.load(Ordering::Acquire);
        self.shared.sent.load(Ordering::Relaxed).wrapping_sub(received)
    }
}

/// The receiving end.
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    /// The current batch: `first`, then `batch`, taken from `Pending` under one lock.
    first: Option<T>,
    batch: VecDeque<T>,
    /// The reader's copy of `Queue::received`.
    received: usize,
}

impl<T> Reader<T> {
    /// Returns the next item, or `None` if the queue is empty. An empty queue is seen without a lock.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            // `self.first` is empty too: `next` takes it before anything of `batch`.
            if self.queue.shared.sent.load(Ordering::Acquire) == self.received {
                return None;
            }
            let mut pending = self.queue.shared.pending.lock();
            self.first = pending.first.take();
            if pending.has_rest {
                pending.has_rest = false;
                // Senders get the empty buffer and its capacity.
                std::mem::swap(&mut pending.rest, &mut self.batch);
            }
        }
        self.next()
    }

    /// Returns the next item, like [`pop`](Self::pop), for a reader that has announced that it is about to park.
    ///
    /// It always takes the lock. A sender that pushes later takes the lock after the reader, so it also sees the
    /// announcement and wakes the reader. This replaces a fence on the sender's side.
    pub(crate) fn pop_before_park(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            let mut pending = self.queue.shared.pending.lock();
            self.first = pending.first.take();
            pending.has_rest = false;
            std::mem::swap(&mut pending.rest, &mut self.batch);
            if self.first.is_none() && self.batch.is_empty() {
                // The queue is empty: free the capacity that a burst left behind, in both buffers. The senders' buffer is
                // freed after the lock is released.
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

    /// Takes the next item of the current batch.
    fn next(&mut self) -> Option<T> {
        let item = self.first.take().or_else(|| self.batch.pop_front())?;
        self.received = self.received.wrapping_add(1);
        self.queue.received.store(self.received, Ordering::Release);
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue. The remaining items are dropped with the fields of the reader, after the lock is released.
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

    /// Creates a queue and passes `count` items through it, twice, so that both buffers have held them.
    fn queue_used_for(count: usize) -> (Arc<Queue<usize>>, Reader<usize>) {
        let (queue, mut reader) = queue();
        for _ in 0..2 {
            (0..count).for_each(|item| queue.push(item).expect("an open queue"));
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
        queue.push(7).expect("an open queue");
        assert_eq!(reader.pop_before_park(), Some(7));
        assert!(capacities(&reader).iter().all(|capacity| *capacity >= 999), "more may come");
        assert_eq!(reader.pop_before_park(), None);
        assert_eq!(capacities(&reader), [0, 0]);
        assert_eq!((queue.len(), queue.received()), (0, 2001));
    }

    #[test]
    fn park_after_few_items_retains_capacity() {
        let (_queue, mut reader) = queue_used_for(RETAINED_CAPACITY + 1); // the first item uses no buffer
        assert_eq!(capacities(&reader), [RETAINED_CAPACITY; 2]);
        assert_eq!(reader.pop_before_park(), None);
        assert_eq!(capacities(&reader), [RETAINED_CAPACITY; 2]);
    }
}
