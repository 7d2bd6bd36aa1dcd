//! The queue of a mailbox: crossbeam's `SegQueue`, an unbounded lock-free list, with an end. What is added here is
//! closing and counting. Parking and waking are done by the callers, see [`Queue::push`].
//!
//! `SegQueue` allocates a block of 31 slots with the first item and frees each block when its last item has been taken:
//! the memory of a burst is given back while the reader works it off, and a process without messages has no block.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::SegQueue;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::unwind::drop_and_log;

/// The sending end.
pub(crate) struct Queue<T> {
    items: SegQueue<T>,
    /// The reader has been dropped, or is about to drop the rest of the items.
    closed: AtomicBool,
    /// Total number of items popped. Only the reader writes it; in a cache line of its own, because senders read `closed`.
    received: CachePadded<AtomicUsize>,
}

/// Creates a queue and returns its two ends.
pub(crate) fn queue<T>() -> (Arc<Queue<T>>, Reader<T>) {
    let queue = Arc::new(Queue {
        items: SegQueue::new(),
        closed: AtomicBool::new(false),
        received: CachePadded::new(AtomicUsize::new(0)),
    });
    let reader = Reader { queue: Arc::clone(&queue), received: 0 };
    (queue, reader)
}

impl<T> Queue<T> {
    /// Adds an item at the end. Hands it back if the queue is closed. An item that is added while the queue is being
    /// closed is dropped, by the reader or here.
    ///
    /// The caller must wake the reader with `Parker::unpark_after_push`. No fence is needed between the two: the push
    /// contains a `SeqCst` read-modify-write of the list's tail, and `unpark_after_push` reads the parked flag with
    /// `SeqCst`. See `park/README.md`.
    #[inline]
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(item);
        }
        self.items.push(item);
        // Either this load sees that the queue was closed, or the reader, which empties the queue after closing it, sees
        // the item: the push, this load and the store in `Reader::drop` are `SeqCst`.
        if self.closed.load(Ordering::SeqCst) {
            self.clear();
        }
        Ok(())
    }

    /// Drops all items one by one: each may have a destructor that panics.
    #[cold]
    fn clear(&self) {
        while let Some(item) = self.items.pop() {
            drop_and_log("unread message", item);
        }
    }

    /// Returns the total number of items popped.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the number of items that have been pushed and not popped.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

/// The receiving end.
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    /// The reader's copy of `Queue::received`.
    received: usize,
}

impl<T> Reader<T> {
    /// Returns the next item, or `None` if the queue is empty.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.queue.items.pop()?;
        self.received = self.received.wrapping_add(1);
        self.queue.received.store(self.received, Ordering::Relaxed);
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue and drops the items that are left.
    fn drop(&mut self) {
        self.queue.closed.store(true, Ordering::SeqCst);
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts its drops.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn items_are_popped_in_order_and_counted() {
        let (queue, mut reader) = queue();
        (0..100).for_each(|item| queue.push(item).expect("an open queue"));
        assert_eq!((queue.len(), queue.received()), (100, 0));
        assert!((0..100).eq(std::iter::from_fn(|| reader.pop())));
        assert_eq!((queue.len(), queue.received()), (0, 100));
    }

    #[test]
    fn closed_queue_hands_items_back_and_keeps_none() {
        let drops = Arc::new(AtomicUsize::new(0));
        let (queue, reader) = queue();
        (0..40).for_each(|_| assert!(queue.push(Counted(Arc::clone(&drops))).is_ok()));
        drop(reader);
        assert_eq!((drops.load(Ordering::Relaxed), queue.len()), (40, 0));
        let refused = queue.push(Counted(Arc::clone(&drops)));
        assert_eq!((refused.is_err(), drops.load(Ordering::Relaxed)), (true, 40));
    }

    #[test]
    fn item_pushed_while_the_queue_is_closed_is_dropped_by_the_sender() {
        let drops = Arc::new(AtomicUsize::new(0));
        let (queue, reader) = queue();
        std::thread::scope(|scope| {
            let sender =
                scope.spawn(|| (0..).take_while(|_| queue.push(Counted(Arc::clone(&drops))).is_ok()).count());
            while queue.len() < 50 {
                std::hint::spin_loop();
            }
            drop(reader);
            let accepted = sender.join().expect("the sender does not panic");
            // The refused item is the last one.
            assert_eq!((drops.load(Ordering::Relaxed), queue.len()), (accepted + 1, 0));
        });
    }
}
