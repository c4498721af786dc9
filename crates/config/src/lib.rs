//! Layered TOML in which every value remembers where it was written.
//!
//! A [`Document`] is one file, at most one base that it `extends`, and any number of `--set key.path=value`
//! assignments on top. It deserialises into plain serde structs, and whatever does not fit is reported with file,
//! line and a caret under the very key or value, together with the allowed values and the nearest valid one.
//!
//! ```
//! use kiln_config::Document;
//! use serde::Deserialize;
//!
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     optim: Optim,
//! }
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Optim {
//!     lr: f64,
//! }
//!
//! let mut document = Document::parse("adam.toml", "[optim]\nlr = 1e-3\n")?;
//! document.set("optim.lr=3e-3")?;
//! assert_eq!(document.deserialize::<Config>()?.optim.lr, 3e-3);
//! assert_eq!(document.origin("optim.lr").unwrap().to_string(), "--set optim.lr=3e-3");
//!
//! let misspelt = Document::parse("adam.toml", "[optim]\nlrr = 1e-3\n")?;
//! let error = misspelt.deserialize::<Config>().unwrap_err();
//! assert_eq!(
//!     error.headline(),
//!     r#"adam.toml:2:1: unknown key "lrr" in [optim]; did you mean "lr"? allowed: lr"#
//! );
//! # Ok::<(), kiln_config::ConfigError>(())
//! ```
//!
//! # How layers merge
//! Key by key, the later layer wins, with three rules of their own:
//! - an array is replaced as a whole;
//! - a table whose `name` changes is replaced as a whole, because the old entry's parameters mean nothing to the new
//!   one (so a table that is not a choice by name should not have a key `name`; the top level is exempt);
//! - a bare name and a table replace each other, except that parameters without a `name` join the bare name they
//!   refine: `normalizer = "entmax"` under `normalizer.alpha = 1.2` is `{ name = "entmax", alpha = 1.2 }`.
#![forbid(unsafe_code)]

mod assign;
mod de;
mod document;
mod error;
mod loader;
mod merge;
mod parse;
mod path;
mod source;
mod tree;
mod wording;

pub use document::{Document, Leaf};
pub use error::ConfigError;
pub use loader::{Files, Loader};
pub use path::{Step, steps};
pub use source::Origin;
pub use wording::nearest;
