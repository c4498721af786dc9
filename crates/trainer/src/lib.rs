//! Kiln's trainer: experiments from TOML files, runs that resume bit for bit, studies that judge claims.
//!
//! The library behind the `kiln` binary. [`config`] reads an experiment, [`train`] runs it into a [`run`]
//! folder, [`measure`] looks at it on the way. A [`plan`] holds many runs: [`sweep`] varies an experiment, [`study`] compares
//! runs with what a paper says.

pub mod apply;
pub mod atomic;
pub mod bench;
pub mod cli;
pub mod comparison;
pub mod config;
pub mod device;
pub mod error;
pub mod export;
pub mod measure;
pub mod plan;
pub mod run;
pub mod study;
pub mod sweep;
pub mod task;
pub mod train;
pub mod verify;

pub use error::{Error, Result};

/// SHA-256 over the lock file and every crate's manifest and sources, fixed when this binary was built.
pub const CODE_HASH: &str = env!("KILN_CODE_HASH");
