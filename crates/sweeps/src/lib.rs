//! What a sweep file says, and which variants of an experiment follow from it.
//!
//! A *sweep* is a base config, the seeds, and exactly one way to vary the rest:
//!
//! | section | variants |
//! |---|---|
//! | `[grid]` | every combination of the values listed per key; the key that is written last changes fastest |
//! | `[random]` | `samples` draws, each key from a distribution of its own ([`Distribution`]) |
//! | `[[runs]]` | those that are listed, by name |
//!
//! This crate reads no config, trains nothing and needs no tensor library: [`Sweep`] is the file's schema,
//! [`Sweep::check`] compares its parts, [`Sweep::variants`] lists the variants with the settings that make them.
//!
//! ```
//! let sweep: kiln_sweeps::Sweep = serde_json::from_str(
//!     r#"{ "title": "Two rates", "base": "adam.toml", "seeds": [2, 3], "grid": { "optim.lr": [0.001, 0.01] } }"#,
//! )?;
//! sweep.check().unwrap();
//! let names: Vec<String> = sweep.variants().unwrap().into_iter().map(|variant| variant.name).collect();
//! assert_eq!(names, ["lr=0.001", "lr=0.01"]);
//! # Ok::<(), serde_json::Error>(())
//! ```
#![forbid(unsafe_code)]

mod check;
mod circle;
mod distribution;
mod expand;
mod name;
mod place;
mod suggest;
mod sweep;
mod tree;

pub use check::Invalid;
pub use circle::circle;
pub use distribution::Distribution;
pub use expand::{Setting, Variant};
pub use name::file_name;
pub use suggest::hint;
pub use sweep::{Grid, Random, RunSpec, Sweep};
