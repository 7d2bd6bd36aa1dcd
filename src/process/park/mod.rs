//! How threads wait and run: spinning, parking, timers and the cache of idle threads. Nothing here knows of
//! processes. `README.md` describes the states and the protocol.

pub(crate) mod backoff;
pub(crate) mod parker;
pub(crate) mod thread_cache;
pub(crate) mod timer_thread;
