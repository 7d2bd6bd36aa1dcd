//! Supervisors, dynamic supervisors and partition supervisors.

mod auto_shutdown;
mod backoff;
mod dynamic;
mod intensity;
mod misuse;
mod partition;
mod readiness;
mod restart;
mod shutdown;
mod start;
mod strategy;
