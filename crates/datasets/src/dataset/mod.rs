//! The list of data sets.
use kiln_registry::registry;

use crate::{BatchSource, DataError, Invalid, Spec};

mod bigram_back_copy;
mod copying;
mod fetched;
mod gratings;
mod in_context_regression;
mod long_documents;
mod max_retrieval;
mod modular;
mod multi_query_recall;
mod needle;
mod pair_recall;
mod parity;
mod signed_sums;

pub use bigram_back_copy::BigramBackCopyConfig;
pub use copying::CopyingConfig;
pub use fetched::{Cifar10Config, Cifar100CoarseConfig, Cifar100Config, FashionMnistConfig, KmnistConfig, MnistConfig};
pub use gratings::GratingsConfig;
pub use in_context_regression::InContextRegressionConfig;
pub use long_documents::LongDocumentsConfig;
pub use max_retrieval::MaxRetrievalConfig;
pub use modular::{Encoding, ModularConfig, Operation};
pub use multi_query_recall::MultiQueryRecallConfig;
pub use needle::NeedleConfig;
pub use pair_recall::PairRecallConfig;
pub use parity::ParityConfig;
pub use signed_sums::SignedSumsConfig;

registry! {
    /// A data set, by name.
    config DataConfig("data"): dyn Dataset;
    "gratings" => Gratings(GratingsConfig),
    "max_retrieval" => MaxRetrieval(MaxRetrievalConfig),
    "modular" => Modular(ModularConfig),
    "parity" => Parity(ParityConfig),
    "pair_recall" => PairRecall(PairRecallConfig),
    "multi_query_recall" => MultiQueryRecall(MultiQueryRecallConfig),
    "needle" => Needle(NeedleConfig),
    "copying" => Copying(CopyingConfig),
    "in_context_regression" => InContextRegression(InContextRegressionConfig),
    "long_documents" => LongDocuments(LongDocumentsConfig),
    "signed_sums" => SignedSums(SignedSumsConfig),
    "bigram_back_copy" => BigramBackCopy(BigramBackCopyConfig),
    "mnist" => Mnist(MnistConfig),
    "fashion_mnist" => FashionMnist(FashionMnistConfig),
    "kmnist" => Kmnist(KmnistConfig),
    "cifar10" => Cifar10(Cifar10Config),
    "cifar100" => Cifar100(Cifar100Config),
    "cifar100_coarse" => Cifar100Coarse(Cifar100CoarseConfig),
}

/// What a `[data]` section can do once it is read.
pub trait Dataset {
    /// Whether the parameters go together.
    ///
    /// # Errors
    /// If they do not; the error names the key to change.
    fn check(&self) -> Result<(), Invalid>;

    /// The form of the rows, known without opening the data.
    fn spec(&self) -> Spec;

    /// Makes or reads the rows. `seed` decides the draws: random rows and the split.
    ///
    /// # Errors
    /// If [`check`](Self::check) refuses the parameters or the data cannot be had.
    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError>;
}

/// More rows or values than this are taken for a slip of the pen: 2²⁸ values of four bytes are 1 GiB.
pub(crate) const MAX_VALUES: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use kiln_registry::Tagged;

    use super::*;

    fn read(json: &str) -> Result<DataConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_read_by_its_name() {
        let config = read(r#"{ "name": "modular", "op": "add", "p": 59, "fraction": 0.8 }"#).unwrap();
        assert_eq!(config, DataConfig::Modular(ModularConfig { p: 59, fraction: 0.8, ..Default::default() }));
        assert_eq!(config.name(), "modular");
        assert_eq!(config.spec().asks, crate::Asks::Class { classes: 59 });
        assert_eq!(read(r#""parity""#).unwrap(), DataConfig::Parity(ParityConfig::default()));
    }

    /// Every data set with its defaults.
    fn all() -> impl Iterator<Item = DataConfig> {
        DataConfig::NAMES.iter().map(|name| read(&format!("{name:?}")).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back() {
        for config in all() {
            assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn defaults_fit_each_other_and_the_source_keeps_the_promised_form() {
        for config in all() {
            config.check().unwrap_or_else(|invalid| panic!("{}: {invalid}", config.name()));
            match config.open(0) {
                Ok(source) => assert_eq!(*source.spec(), config.spec(), "{}", config.name()),
                Err(DataError::Read(missing @ crate::read::ReadError::Missing { .. })) => {
                    eprintln!("skipped: {missing}")
                }
                Err(error) => panic!("{}: {error}", config.name()),
            }
        }
    }

    #[test]
    fn wrong_sections_are_refused() {
        for (json, expected) in [
            (r#"{ "name": "modular", "fractoin": 0.8 }"#, "unknown field `fractoin`"),
            (r#"{ "name": "modular", "fraction": 1.0 }"#, "1 is out of range; expected a number above 0 and below 1"),
            (r#"{ "name": "modular", "val_fraction": 1.0 }"#, "1 is out of range; expected a number in [0, 1)"),
            (r#"{ "name": "modular", "op": "pow" }"#, "unknown variant `pow`, expected one of `add`, `sub`"),
            (r#"{ "name": "modular", "p": -3 }"#, "invalid value: integer `-3`"),
            (r#"{ "name": "parity", "relevant": 0 }"#, "0 is out of range; expected a whole number of at least 1"),
            (r#"{ "name": "mnist", "sampels": 9 }"#, "unknown field `sampels`, expected one of `classes`"),
            (r#"{ "name": "cifar10", "val_fraction": 1.5 }"#, "1.5 is out of range; expected a number in [0, 1)"),
            (r#"{ "name": "mnist", "normalise": "none" }"#, "unknown variant `none`, expected one of `channel`"),
            (r#"{ "name": "parity", "samples": 0 }"#, "0 is out of range; expected a whole number of at least 1"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn opening_checks_first() {
        let config = DataConfig::Modular(ModularConfig { p: 1, ..Default::default() });
        let message = config.open(0).unwrap_err().to_string();
        assert_eq!(message, "data.p: p = 1 is out of range; expected a modulus of at least 2");
    }
}
