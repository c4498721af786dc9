//! The data sets of images that are fetched: one manifest in `datasets/` for each.
use std::borrow::Cow;

use kiln_registry::Entry;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{BatchSource, DataError, Invalid, Spec, data_dir, images::ImagesConfig, manifest::Manifest};

/// Each entry: the parameter struct, the manifest's name, the summary, the source.
macro_rules! fetched {
    ($($config:ident, $name:literal, $summary:literal, $paper:literal;)+) => {$(
        #[doc = concat!("Parameters of `", $name, "`: those of all fetched images, see [`ImagesConfig`].")]
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $config(pub ImagesConfig);

        impl Entry for $config {
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = $paper;
        }

        // The keys stand in the entry's own table, so the schema is that of the parameters and no reference to it.
        impl JsonSchema for $config {
            fn schema_name() -> Cow<'static, str> {
                stringify!($config).into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                ImagesConfig::json_schema(generator)
            }
        }

        impl $config {
            fn manifest() -> &'static Manifest {
                Manifest::named($name).expect("every entry has a manifest")
            }
        }

        impl Dataset for $config {
            fn check(&self) -> Result<(), Invalid> {
                self.0.check(Self::manifest())
            }

            fn spec(&self) -> Spec {
                self.0.spec(Self::manifest())
            }

            fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
                self.0.open(Self::manifest(), &data_dir(), seed)
            }
        }
    )+};
}

fetched! {
    MnistConfig, "mnist", "grey images of handwritten digits, 28 by 28", "LeCun et al. 1998, Proc. IEEE 86(11)";
    FashionMnistConfig, "fashion_mnist", "grey images of clothes, 28 by 28", "Xiao et al. 2017, arXiv:1708.07747";
    KmnistConfig, "kmnist", "grey images of cursive Japanese characters, 28 by 28", "Clanuwat et al. 2018, arXiv:1812.01718";
    Cifar10Config, "cifar10", "colour images of ten kinds of things, 32 by 32", "Krizhevsky 2009";
    Cifar100Config, "cifar100", "colour images of a hundred kinds of things, 32 by 32", "Krizhevsky 2009";
    Cifar100CoarseConfig, "cifar100_coarse", "the images of cifar100, told apart by twenty groups", "Krizhevsky 2009";
}
