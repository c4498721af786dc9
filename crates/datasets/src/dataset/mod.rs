//! The list of data sets.
use kiln_registry::registry;

use crate::{BatchSource, DataError, Invalid, Spec};

mod gratings;
mod max_retrieval;
mod modular;
mod parity;

pub use gratings::GratingsConfig;
pub use max_retrieval::MaxRetrievalConfig;
pub use modular::{Encoding, ModularConfig, Operation};
pub use parity::ParityConfig;

registry! {
    /// A data set, by name.
    config DataConfig("data"): dyn Dataset;
    "gratings" => Gratings(GratingsConfig),
    "max_retrieval" => MaxRetrieval(MaxRetrievalConfig),
    "modular" => Modular(ModularConfig),
    "parity" => Parity(ParityConfig),
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
const MAX_VALUES: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<DataConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_read_by_its_name() {
        let config = read(r#"{ "name": "modular", "op": "add", "p": 59, "fraction": 0.8 }"#).unwrap();
        assert_eq!(config, DataConfig::Modular(ModularConfig { p: 59, fraction: 0.8, ..Default::default() }));
        assert_eq!(config.name(), "modular");
        assert_eq!(config.spec().classes, 59);
        assert_eq!(read(r#""parity""#).unwrap(), DataConfig::Parity(ParityConfig::default()));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for config in [DataConfig::Modular(ModularConfig::default()), DataConfig::Parity(ParityConfig::default())] {
            assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
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
