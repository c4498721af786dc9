//! Sweeps with the real binary and runs of a few steps.
#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod kill;
mod making;
mod messages;
mod planning;
mod report;
mod support;
