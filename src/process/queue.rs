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
const ROOM_KEPT: usize = 32;

/// Where senders put items.
pub(crate) struct Queue<T> {
    /// In cache lines of its own: what a single item needs, and a reader that looks for it, is in the first.
    entrance: CachePadded<Entrance<T>>,
    /// How many were ever taken out: the reader alone changes it.
    taken: AtomicUsize,
}

#[repr(C)]
struct Entrance<T> {
    /// How many were ever put in: changes under the lock.
    put: AtomicUsize,
    inbound: Mutex<Inbound<T>>,
}

#[repr(C)]
struct Inbound<T> {
    closed: bool,
    /// There are items in `rest`: asked here, beside the lock, to leave its memory alone.
    more: bool,
    /// The oldest item, if the others wait for its reader: one that comes alone passes through no buffer.
    first: Option<T>,
    rest: VecDeque<T>,
}

/// Both ends of a new queue.
pub(crate) fn queue<T>() -> (Arc<Queue<T>>, Reader<T>) {
    let queue = Arc::new(Queue {
        entrance: CachePadded::new(Entrance {
            put: AtomicUsize::new(0),
            inbound: Mutex::new(Inbound { closed: false, more: false, first: None, rest: VecDeque::new() }),
        }),
        taken: AtomicUsize::new(0),
    });
    let reader = Reader { queue: Arc::clone(&queue), first: None, batch: VecDeque::new(), taken: 0 };
    (queue, reader)
}

impl<T> Queue<T> {
    /// Puts an item behind the others; hands it back if there is no reader any more.
    ///
    /// Afterwards whoever sees the reader awake may rely on it to find the item: see `Reader::pop_or_rest`.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut inbound = self.entrance.inbound.lock();
        if inbound.closed {
            drop(inbound);
            return Err(item);
        }
        if inbound.first.is_none() && !inbound.more {
            inbound.first = Some(item);
        } else {
            inbound.rest.push_back(item);
            inbound.more = true;
        }
        let put = self.entrance.put.load(Ordering::Relaxed).wrapping_add(1);
        self.entrance.put.store(put, Ordering::Release);
        Ok(())
    }

    /// How many items were ever taken out.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        // In this order: it must not seem that more were taken out than put in.
        let taken = self.taken.load(Ordering::Acquire);
        self.entrance.put.load(Ordering::Relaxed).wrapping_sub(taken)
    }
}

/// Where the one reader takes items out.
pub(crate) struct Reader<T> {
    queue: Arc<Queue<T>>,
    /// What was taken out of the lock at one time, and is not read yet.
    first: Option<T>,
    batch: VecDeque<T>,
    taken: usize,
}

impl<T> Reader<T> {
    /// The next item, if one is there. It takes no lock to see that none is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            if self.queue.entrance.put.load(Ordering::Acquire) == self.taken {
                return None;
            }
            let mut inbound = self.queue.entrance.inbound.lock();
            self.first = inbound.first.take();
            if inbound.more {
                inbound.more = false;
                std::mem::swap(&mut inbound.rest, &mut self.batch);
            }
        }
        self.next()
    }

    /// As `pop`, for a reader that has announced that it is about to park. It takes the lock: whoever puts something in
    /// later has taken it after the announcement, and so sees that too, without a fence of its own.
    pub(crate) fn pop_or_rest(&mut self) -> Option<T> {
        if self.batch.is_empty() {
            let mut inbound = self.queue.entrance.inbound.lock();
            self.first = inbound.first.take();
            inbound.more = false;
            std::mem::swap(&mut inbound.rest, &mut self.batch);
            if self.first.is_none() && self.batch.is_empty() {
                // After a flood: its room is not kept for ever.
                let room = (inbound.rest.capacity() > ROOM_KEPT).then(|| std::mem::take(&mut inbound.rest));
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
        let item = self.first.take().or_else(|| self.batch.pop_front())?;
        self.taken = self.taken.wrapping_add(1);
        self.queue.taken.store(self.taken, Ordering::Release);
        Some(item)
    }
}

impl<T> Drop for Reader<T> {
    /// Closes the queue. What is in it is dropped on the reader's thread, not under the lock.
    fn drop(&mut self) {
        let mut inbound = self.queue.entrance.inbound.lock();
        inbound.closed = true;
        self.first = inbound.first.take();
        let late = std::mem::take(&mut inbound.rest);
        drop(inbound);
        self.batch.extend(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue through which so many items went, twice, so that both buffers have had to hold them.
    fn used_by(count: usize) -> (Arc<Queue<usize>>, Reader<usize>) {
        let (queue, mut reader) = queue();
        for _ in 0..2 {
            (0..count).for_each(|item| queue.push(item).expect("somebody reads"));
            assert!((0..count).eq(std::iter::from_fn(|| reader.pop())));
        }
        (queue, reader)
    }

    fn room(reader: &Reader<usize>) -> [usize; 2] {
        [reader.batch.capacity(), reader.queue.entrance.inbound.lock().rest.capacity()]
    }

    #[test]
    fn the_room_of_a_flood_is_given_back_when_nothing_more_comes() {
        let (queue, mut reader) = used_by(1000);
        assert!(room(&reader).iter().all(|room| *room >= 999));
        queue.push(7).expect("somebody reads");
        assert_eq!(reader.pop_or_rest(), Some(7));
        assert!(room(&reader).iter().all(|room| *room >= 999), "more may come");
        assert_eq!(reader.pop_or_rest(), None);
        assert_eq!(room(&reader), [0, 0]);
        assert_eq!((queue.len(), queue.taken()), (0, 2001));
    }

    #[test]
    fn a_little_room_is_kept() {
        let (_queue, mut reader) = used_by(ROOM_KEPT + 1); // the first has a place of its own
        assert_eq!(room(&reader), [ROOM_KEPT; 2]);
        assert_eq!(reader.pop_or_rest(), None);
        assert_eq!(room(&reader), [ROOM_KEPT; 2]);
    }
}
