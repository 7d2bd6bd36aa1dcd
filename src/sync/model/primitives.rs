//! Locks, atomics, threads and the time of the model. Each operation calls the scheduler, then does the same
//! as the real one. On a thread outside the model they are the real ones, except that the time is simulated,
//! `sleep` returns at once, and a condition variable cannot be waited on.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Instant;

use crate::sync::model::scheduler;
use crate::sync::model::scheduler::BlockedOn;

/// Returns the simulated time.
pub(crate) fn now() -> Instant {
    scheduler::now()
}

/// Returns a constant: an execution must be repeatable by its seed.
pub(crate) fn random_seed() -> u64 {
    0
}

/// Returns the address that identifies a lock or condition variable.
fn addr_of<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<()>() as usize
}

/// A mutex. A thread of the model never blocks on the real one: it is blocked in the scheduler instead.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let at = Location::caller();
        scheduler::step("locks", at);
        MutexGuard { lock: self, inner: Some(self.acquire(at)) }
    }

    fn acquire(&self, at: &'static Location<'static>) -> parking_lot::MutexGuard<'_, T> {
        acquire(BlockedOn::Lock(addr_of(self)), at, || self.0.try_lock(), || self.0.lock())
    }
}

/// Acquires a lock for the calling thread, which is blocked in the scheduler while the lock is held by
/// another one.
fn acquire<G>(
    on: BlockedOn,
    at: &'static Location<'static>,
    try_acquire: impl Fn() -> Option<G>,
    acquire_blocking: impl Fn() -> G,
) -> G {
    loop {
        if let Some(guard) = try_acquire() {
            return guard;
        }
        // A thread outside the model cannot be scheduled, so it waits for the real lock.
        if scheduler::current_id().is_none() {
            return acquire_blocking();
        }
        // Tried again under the lock of the scheduler: the holder may have released between the first attempt
        // and here, and would not wake a thread that is not blocked yet.
        let mut guard = None;
        scheduler::wait(on, None, "waits for the lock", at, || {
            guard = try_acquire();
            guard.is_some()
        });
        if let Some(guard) = guard {
            return guard;
        }
        // Woken by a release: another thread may be faster, so try again.
    }
}

/// Releases the mutex and wakes all threads that are blocked on it.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    /// `None` only while `Condvar::wait` has released the mutex.
    inner: Option<parking_lot::MutexGuard<'a, T>>,
}

impl<T> MutexGuard<'_, T> {
    fn release(&mut self) {
        // Released before the others are woken: they try again at once.
        drop(self.inner.take());
        scheduler::wake_all(BlockedOn::Lock(addr_of(self.lock)));
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("the guard holds the lock")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("the guard holds the lock")
    }
}

/// A queue. Each operation is one step of the model, as a linearizable queue promises.
#[derive(Debug)]
pub(crate) struct SegQueue<T>(crossbeam::queue::SegQueue<T>);

impl<T> SegQueue<T> {
    pub(crate) const fn new() -> Self {
        Self(crossbeam::queue::SegQueue::new())
    }

    #[track_caller]
    pub(crate) fn push(&self, item: T) {
        scheduler::step("pushes", Location::caller());
        self.0.push(item);
    }

    #[track_caller]
    pub(crate) fn pop(&self) -> Option<T> {
        scheduler::step("pops", Location::caller());
        self.0.pop()
    }

    #[track_caller]
    pub(crate) fn len(&self) -> usize {
        scheduler::step("reads the length", Location::caller());
        self.0.len()
    }
}

/// A condition variable. Only threads of the model may wait on it.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    /// Without a field it would not have an address of its own.
    _address: u8,
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self { _address: 0 }
    }

    #[track_caller]
    pub(crate) fn notify_one(&self) {
        scheduler::step("notifies", Location::caller());
        scheduler::wake_one(BlockedOn::Condvar(addr_of(self)));
    }

    #[track_caller]
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.wait_inner(guard, None);
    }

    #[track_caller]
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) {
        self.wait_inner(guard, Some(deadline));
    }

    #[track_caller]
    fn wait_inner<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Option<Instant>) {
        let at = Location::caller();
        assert!(scheduler::current_id().is_some(), "Condvar::wait on a thread outside the model");
        // No step between the release and the wait: together they are atomic, as a condition variable must
        // be.
        guard.release();
        let deadline = deadline.map(scheduler::since_epoch);
        scheduler::wait(BlockedOn::Condvar(addr_of(self)), deadline, "waits on the condvar", at, || false);
        // Other threads may have taken the mutex meanwhile: this can block again.
        guard.inner = Some(guard.lock.acquire(at));
    }
}

/// A reader-writer lock, in the same manner as [`Mutex`].
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

/// Releases the lock and wakes all threads that are blocked on it.
#[derive(Debug)]
pub(crate) struct RwLockGuard<G> {
    guard: Option<G>,
    on: BlockedOn,
}

pub(crate) type RwLockReadGuard<'a, T> = RwLockGuard<parking_lot::RwLockReadGuard<'a, T>>;
pub(crate) type RwLockWriteGuard<'a, T> = RwLockGuard<parking_lot::RwLockWriteGuard<'a, T>>;

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    #[track_caller]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        let (at, on) = (Location::caller(), BlockedOn::Lock(addr_of(self)));
        scheduler::step("locks to read", at);
        RwLockGuard { guard: Some(acquire(on, at, || self.0.try_read(), || self.0.read())), on }
    }

    #[track_caller]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        let (at, on) = (Location::caller(), BlockedOn::Lock(addr_of(self)));
        scheduler::step("locks to write", at);
        RwLockGuard { guard: Some(acquire(on, at, || self.0.try_write(), || self.0.write())), on }
    }
}

impl<G> Drop for RwLockGuard<G> {
    fn drop(&mut self) {
        // The order as in `MutexGuard::release`.
        drop(self.guard.take());
        scheduler::wake_all(self.on);
    }
}

impl<G: Deref> Deref for RwLockGuard<G> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        self.guard.as_ref().expect("the guard holds the lock")
    }
}

impl<G: DerefMut> DerefMut for RwLockGuard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        self.guard.as_mut().expect("the guard holds the lock")
    }
}

pub(crate) mod atomic {
    use std::panic::Location;

    pub(crate) use std::sync::atomic::Ordering;

    use crate::sync::model::scheduler;

    /// Does nothing: memory is sequentially consistent here, as if there was a fence at every step.
    pub(crate) fn fence(_: Ordering) {}

    // All orderings are ignored: the model explores orders of steps, not weak memory.
    macro_rules! atomics {
        ($($name:ident: $value:ty),*) => {$(
            #[derive(Debug, Default)]
            pub(crate) struct $name(std::sync::atomic::$name);

            #[allow(dead_code, reason = "not each of them is used with each type")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(std::sync::atomic::$name::new(value))
                }
                #[track_caller]
                pub(crate) fn load(&self, _: Ordering) -> $value {
                    scheduler::step("loads", Location::caller());
                    self.0.load(Ordering::SeqCst)
                }
                #[track_caller]
                pub(crate) fn store(&self, value: $value, _: Ordering) {
                    scheduler::step("stores", Location::caller());
                    self.0.store(value, Ordering::SeqCst);
                }
                #[track_caller]
                pub(crate) fn swap(&self, value: $value, _: Ordering) -> $value {
                    scheduler::step("swaps", Location::caller());
                    self.0.swap(value, Ordering::SeqCst)
                }
            }
        )*};
    }

    // What `AtomicBool` does not have.
    macro_rules! numbers {
        ($($name:ident: $value:ty),*) => {$(
            #[allow(dead_code, reason = "not each of them is used with each type")]
            impl $name {
                #[track_caller]
                pub(crate) fn fetch_add(&self, value: $value, _: Ordering) -> $value {
                    scheduler::step("adds", Location::caller());
                    self.0.fetch_add(value, Ordering::SeqCst)
                }
                #[track_caller]
                pub(crate) fn fetch_sub(&self, value: $value, _: Ordering) -> $value {
                    scheduler::step("subtracts", Location::caller());
                    self.0.fetch_sub(value, Ordering::SeqCst)
                }
                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    _: Ordering,
                    _: Ordering,
                ) -> Result<$value, $value> {
                    scheduler::step("compares", Location::caller());
                    self.0.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
                }
                #[track_caller]
                pub(crate) fn fetch_or(&self, value: $value, _: Ordering) -> $value {
                    scheduler::step("sets bits", Location::caller());
                    self.0.fetch_or(value, Ordering::SeqCst)
                }
                #[track_caller]
                pub(crate) fn fetch_and(&self, value: $value, _: Ordering) -> $value {
                    scheduler::step("clears bits", Location::caller());
                    self.0.fetch_and(value, Ordering::SeqCst)
                }
            }
        )*};
    }

    atomics!(AtomicBool: bool, AtomicU8: u8, AtomicU64: u64, AtomicUsize: usize, AtomicIsize: isize);
    numbers!(AtomicU8: u8, AtomicU64: u64, AtomicUsize: usize, AtomicIsize: isize);
}

pub(crate) mod thread {
    use std::io;
    use std::panic::Location;
    use std::time::Duration;

    use crate::sync::model::scheduler;
    use crate::sync::model::scheduler::BlockedOn;

    /// A handle of a thread, of the model or not.
    #[derive(Debug, Clone)]
    pub(crate) struct Thread {
        id: Option<usize>,
        real: std::thread::Thread,
    }

    /// Returns a handle of the calling thread.
    pub(crate) fn current() -> Thread {
        Thread { id: scheduler::current_id(), real: std::thread::current() }
    }

    impl Thread {
        pub(crate) fn name(&self) -> Option<&str> {
            self.real.name()
        }

        #[track_caller]
        pub(crate) fn unpark(&self) {
            scheduler::step("unparks", Location::caller());
            // A thread of the model sleeps in the scheduler: unparking the real thread would have no effect.
            match self.id {
                Some(id) => scheduler::unpark(id),
                None => self.real.unpark(),
            }
        }
    }

    #[track_caller]
    pub(crate) fn park() {
        let at = Location::caller();
        if scheduler::current_id().is_none() {
            return std::thread::park();
        }
        // A step before the wait: another thread may unpark this one first.
        scheduler::step("is about to park", at);
        scheduler::wait(BlockedOn::Unpark, None, "parks", at, || false);
    }

    #[track_caller]
    pub(crate) fn park_timeout(timeout: Duration) {
        let at = Location::caller();
        if scheduler::current_id().is_none() {
            return std::thread::park_timeout(timeout);
        }
        scheduler::step("is about to park", at);
        let deadline = scheduler::since_epoch(crate::sync::model::primitives::now()) + timeout;
        scheduler::wait(BlockedOn::Unpark, Some(deadline), "parks", at, || false);
    }

    #[track_caller]
    pub(crate) fn sleep(duration: Duration) {
        let deadline = scheduler::since_epoch(crate::sync::model::primitives::now()) + duration;
        scheduler::wait(BlockedOn::Time, Some(deadline), "sleeps", Location::caller(), || false);
    }

    #[derive(Debug, Default)]
    pub(crate) struct Builder {
        name: String,
    }

    impl Builder {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn name(self, name: String) -> Self {
            Self { name }
        }

        /// Does nothing: the model uses std's default.
        pub(crate) fn stack_size(self, _: usize) -> Self {
            self
        }

        #[track_caller]
        pub(crate) fn spawn<T: Send + 'static>(
            self,
            body: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<std::thread::JoinHandle<T>> {
            let builder = std::thread::Builder::new().name(self.name.clone());
            // A thread started outside the model stays outside.
            if scheduler::current_id().is_none() {
                return builder.spawn(body);
            }
            // Registered before it starts, so that the scheduler can choose it at once, whenever the system
            // starts it.
            let id = scheduler::register(self.name);
            let started = builder.spawn(move || {
                scheduler::attach_current_thread(id);
                body()
            });
            if started.is_err() {
                scheduler::unregister(id);
            }
            // The new thread may run first, or much later.
            scheduler::step("starts a thread", Location::caller());
            started
        }
    }
}
