//! Data sets as plain host data: what a row is, which rows train, and in which order they come.
//!
//! A `[data]` section names a [`Dataset`]; opening it with a seed gives a [`BatchSource`]. Every batch is a
//! pure function of `(seed, split, order, step)`: there is no generator to save, a resumed run sees what an
//! undisturbed one sees, and no number of workers changes a batch.
//!
//! | entry | rows | input | asked |
//! |---|---|---|---|
//! | [`gratings`](GratingsConfig) | striped images with noise, label = orientation of the stripes | image | one of any number of classes |
//! | [`modular`](ModularConfig) | pairs `(a, b)` with `a ∘ b mod p` | one-hot indices, token pair, or `a b =` | one of p classes |
//! | [`max_retrieval`](MaxRetrievalConfig) | items of a class and a priority, label = class of the highest priority | items | one of 10 classes |
//! | [`parity`](ParityConfig) | random bits, label = XOR of the first few | floats 0 and 1 | one of 2 classes |
//! | [`pair_recall`](PairRecallConfig) | pairs of key and value, then every key again | tokens, each a sum of two ids | a class at each query |
//! | [`multi_query_recall`](MultiQueryRecallConfig) | key, value, key, value, …, then every key again | tokens | a class at each query |
//! | [`needle`](NeedleConfig) | noise with one needle, or several with names, and a question | tokens | one of 16 classes |
//! | [`copying`](CopyingConfig) | a random string, a sign, and the string again | tokens | the next symbol of the copy |
//! | [`in_context_regression`](InContextRegressionConfig) | examples of a linear function and one more point | items | a number |
//! | [`long_documents`](LongDocumentsConfig) | noise with a few copies of the class's bigram | tokens | one of 4 classes |
//! | [`signed_sums`](SignedSumsConfig) | digits, smallest signed sum that is not negative | tokens | one of 18m + 1 classes, or one per partial sum |
//! | [`bigram_back_copy`](BigramBackCopyConfig) | text of drawn bigrams, triggers repeat what stands before them | tokens | the next token everywhere |
//! | [`mnist`](MnistConfig), `fashion_mnist`, `kmnist` | grey images of digits, clothes, characters | image | one of 10 classes |
//! | [`cifar10`](Cifar10Config), `cifar100`, `cifar100_coarse` | colour images of things | image | one of 10, 100 or 20 classes |
//!
//! Those of the last two lines are fetched, see [`manifest`] and [`data_dir`]; the others are made.
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
mod data_dir;
mod dataset;
mod drawn;
mod error;
mod field;
mod image;
pub mod images;
mod in_memory;
mod lengths;
pub mod manifest;
mod order;
mod prefetch;
pub mod read;
mod scatter;
mod source;
mod spec;
mod split;
#[cfg(test)]
mod testing;

pub use batch::{Batch, Input, Matrix, Target};
pub use data_dir::data_dir;
pub use dataset::{
    BigramBackCopyConfig, Cifar10Config, Cifar100CoarseConfig, Cifar100Config, CopyingConfig, DataConfig, Dataset,
    Encoding, FashionMnistConfig, GratingsConfig, InContextRegressionConfig, KmnistConfig, LongDocumentsConfig,
    MaxRetrievalConfig, MnistConfig, ModularConfig, MultiQueryRecallConfig, NeedleConfig, Operation, PairRecallConfig,
    ParityConfig, SignedSumsConfig,
};
pub use error::{DataError, Invalid};
pub use image::Images;
pub use in_memory::InMemory;
pub use order::Order;
pub use prefetch::Prefetcher;
pub use source::{BatchSource, Group};
pub use spec::{Asks, InputSpec, Spec};
pub use split::{Fractions, Partition, Split};
