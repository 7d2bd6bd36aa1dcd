//! Locks, atomics, threads and the time, as the model has them. On a thread that is none of the model's they do what
//! the real ones do.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Instant;

use crate::model::scheduler::{self, On};

/// The time that waits and timers go by.
pub(crate) fn now() -> Instant {
    scheduler::now()
}

fn address<T: ?Sized>(of: &T) -> usize {
    std::ptr::from_ref(of).cast::<()>() as usize
}

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
        MutexGuard { lock: self, held: Some(self.acquire(at)) }
    }

    fn acquire(&self, at: &'static Location<'static>) -> parking_lot::MutexGuard<'_, T> {
        acquire(On::Lock(address(self)), at, || self.0.try_lock(), || self.0.lock())
    }
}

fn acquire<G>(
    on: On,
    at: &'static Location<'static>,
    attempt: impl Fn() -> Option<G>,
    block: impl Fn() -> G,
) -> G {
    loop {
        if let Some(held) = attempt() {
            return held;
        }
        if scheduler::me().is_none() {
            return block();
        }
        let mut held = None;
        scheduler::wait(on, None, "waits for the lock", at, || {
            held = attempt();
            held.is_some()
        });
        if let Some(held) = held {
            return held;
        }
    }
}

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    held: Option<parking_lot::MutexGuard<'a, T>>,
}

impl<T> MutexGuard<'_, T> {
    fn release(&mut self) {
        drop(self.held.take());
        scheduler::wake_all(On::Lock(address(self.lock)));
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
        self.held.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("it is held")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    #[track_caller]
    pub(crate) fn notify_one(&self) {
        scheduler::step("notifies", Location::caller());
        scheduler::wake_one(On::Signal(address(self)));
        self.0.notify_one();
    }

    #[track_caller]
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.sleep(guard, None);
    }

    #[track_caller]
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) {
        self.sleep(guard, Some(until));
    }

    #[track_caller]
    fn sleep<T>(&self, guard: &mut MutexGuard<'_, T>, until: Option<Instant>) {
        let at = Location::caller();
        assert!(scheduler::me().is_some(), "only threads of the model wait here");
        guard.release();
        let until = until.map(scheduler::since_beginning);
        scheduler::wait(On::Signal(address(self)), until, "waits for a notice", at, || false);
        guard.held = Some(guard.lock.acquire(at));
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

/// A guard, and what is to be told when it is dropped.
#[derive(Debug)]
pub(crate) struct Held<G> {
    guard: Option<G>,
    on: On,
}

pub(crate) type RwLockReadGuard<'a, T> = Held<parking_lot::RwLockReadGuard<'a, T>>;
pub(crate) type RwLockWriteGuard<'a, T> = Held<parking_lot::RwLockWriteGuard<'a, T>>;

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    #[track_caller]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        let (at, on) = (Location::caller(), On::Lock(address(self)));
        scheduler::step("locks to read", at);
        Held { guard: Some(acquire(on, at, || self.0.try_read(), || self.0.read())), on }
    }

    #[track_caller]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        let (at, on) = (Location::caller(), On::Lock(address(self)));
        scheduler::step("locks to write", at);
        Held { guard: Some(acquire(on, at, || self.0.try_write(), || self.0.write())), on }
    }
}

impl<G> Drop for Held<G> {
    fn drop(&mut self) {
        drop(self.guard.take());
        scheduler::wake_all(self.on);
    }
}

impl<G: Deref> Deref for Held<G> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        self.guard.as_ref().expect("it is held")
    }
}

impl<G: DerefMut> DerefMut for Held<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        self.guard.as_mut().expect("it is held")
    }
}

pub(crate) mod atomic {
    use std::panic::Location;

    pub(crate) use std::sync::atomic::Ordering;

    use crate::model::scheduler;

    /// Each step is a turn of its own, which is all that a fence can ask for.
    pub(crate) fn fence(_: Ordering) {}

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

    use crate::model::scheduler::{self, On};

    /// A thread, of the model's or not.
    #[derive(Debug, Clone)]
    pub(crate) struct Thread {
        member: Option<usize>,
        real: std::thread::Thread,
    }

    pub(crate) fn current() -> Thread {
        Thread { member: scheduler::me(), real: std::thread::current() }
    }

    impl Thread {
        pub(crate) fn name(&self) -> Option<&str> {
            self.real.name()
        }

        #[track_caller]
        pub(crate) fn unpark(&self) {
            scheduler::step("unparks", Location::caller());
            match self.member {
                Some(member) => scheduler::unpark(member),
                None => self.real.unpark(),
            }
        }
    }

    #[track_caller]
    pub(crate) fn park() {
        let at = Location::caller();
        if scheduler::me().is_none() {
            return std::thread::park();
        }
        scheduler::step("is about to park", at);
        scheduler::wait(On::Unpark, None, "parks", at, || false);
    }

    #[track_caller]
    pub(crate) fn park_timeout(limit: Duration) {
        let at = Location::caller();
        if scheduler::me().is_none() {
            return std::thread::park_timeout(limit);
        }
        scheduler::step("is about to park", at);
        let until = scheduler::since_beginning(crate::model::primitives::now()) + limit;
        scheduler::wait(On::Unpark, Some(until), "parks", at, || false);
    }

    #[track_caller]
    pub(crate) fn sleep(time: Duration) {
        let until = scheduler::since_beginning(crate::model::primitives::now()) + time;
        scheduler::wait(On::Time, Some(until), "sleeps", Location::caller(), || false);
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

        pub(crate) fn stack_size(self, _: usize) -> Self {
            self
        }

        #[track_caller]
        pub(crate) fn spawn<T: Send + 'static>(
            self,
            body: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<std::thread::JoinHandle<T>> {
            let builder = std::thread::Builder::new().name(self.name.clone());
            if scheduler::me().is_none() {
                return builder.spawn(body);
            }
            let number = scheduler::register(self.name);
            let started = builder.spawn(move || {
                scheduler::begin(number);
                body()
            });
            if started.is_err() {
                scheduler::unregister(number);
            }
            scheduler::step("starts a thread", Location::caller());
            started
        }
    }
}
