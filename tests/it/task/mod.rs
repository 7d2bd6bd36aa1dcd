//! Tasks, streams of tasks and task supervisors.

mod handle;
mod owner_exit;
mod stream;
mod supervisor;
