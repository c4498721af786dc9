//! Data sets as plain host data: what a row is, which rows train, and in which order they come.
//!
//! A `[data]` section names a [`Dataset`]; opening it with a seed gives a [`BatchSource`]. Every batch is a
//! pure function of `(seed, split, order, step)`: there is no generator to save, a resumed run sees what an
//! undisturbed one sees, and no number of workers changes a batch.
//!
//! | entry | rows | input | classes |
//! |---|---|---|---|
//! | [`gratings`](GratingsConfig) | striped images with noise, label = orientation of the stripes | image | any |
//! | [`modular`](ModularConfig) | pairs `(a, b)` with `a ∘ b mod p` | one-hot indices, token pair, or `a b =` | p |
//! | [`max_retrieval`](MaxRetrievalConfig) | items of a class and a priority, label = class of the highest priority | items | 10 |
//! | [`parity`](ParityConfig) | random bits, label = XOR of the first few | floats 0 and 1 | 2 |
//!
//! ```
//! use kiln_datasets::{Dataset, ModularConfig, Order, Split};
//!
//! let data = ModularConfig { p: 59, fraction: 0.8, ..Default::default() };
//! data.check()?;
//! let source = data.open(0)?;
//! assert_eq!(source.len(Split::Train), Some(2784));
//! let batch = source.batch(Split::Train, &Order::Shuffled { size: 64, drop_last: false, seed: 0 }, 500);
//! assert_eq!(batch.rows, 64);
//! # Ok::<(), kiln_datasets::DataError>(())
//! ```
#![forbid(unsafe_code)]

mod batch;
mod dataset;
mod error;
mod field;
mod image;
mod in_memory;
mod order;
mod source;
mod spec;
mod split;

pub use batch::{Batch, Input, Matrix, Target};
pub use dataset::{
    DataConfig, Dataset, Encoding, GratingsConfig, MaxRetrievalConfig, ModularConfig, Operation, ParityConfig,
};
pub use error::{DataError, Invalid};
pub use image::Images;
pub use in_memory::InMemory;
pub use order::Order;
pub use source::{BatchSource, Group};
pub use spec::{InputSpec, Spec};
pub use split::{Fractions, Partition, Split};
