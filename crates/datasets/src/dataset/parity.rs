//! Sparse parity: a few bits decide, many distract.
use std::collections::HashSet;

use kiln_registry::{Entry, range};
use kiln_stream::{Draws, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, MAX_VALUES};
use crate::{
    Asks, BatchSource, DataError, Fractions, InMemory, Input, InputSpec, Invalid, Matrix, Partition, Spec, Target,
};

/// Parameters of sparse parity.
///
/// A row is a string of `relevant + noise` random bits, given as the floats 0 and 1; its class is the XOR of
/// the first `relevant` of them. All rows are distinct. With `relevant = 2`, `noise = 3` the bits `1 0 1 1 0`
/// are the row `[1, 0, 1, 1, 0]` of class 1 ⊕ 0 = 1. The split is described at [`Fractions`].
///
/// The defaults are the setting of Prieto et al. 2025 (arXiv:2501.04697): 43 bits, 2000 rows, half of them
/// for training. Chance is 50 %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParityConfig {
    /// Bits whose parity is the class.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub relevant: usize,
    /// Bits that mean nothing.
    pub noise: usize,
    /// Number of rows, of all splits together.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub samples: usize,
    /// Share of the rows in the training part.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: f64,
    /// Share of the training part that validates instead.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub val_fraction: f64,
}

impl Default for ParityConfig {
    fn default() -> Self {
        Self { relevant: 3, noise: 40, samples: 2000, fraction: 0.5, val_fraction: 0.0 }
    }
}

impl Entry for ParityConfig {
    const SUMMARY: &'static str = "random bits, of which the first few decide the class by their parity";
    const PAPER: &'static str = "Barak et al. 2022, arXiv:2207.08799";
}

impl ParityConfig {
    fn fractions(&self) -> Fractions {
        Fractions { train: self.fraction, val: self.val_fraction }
    }

    /// Number of different bit strings, if it can be counted.
    fn strings(&self) -> Option<usize> {
        self.relevant
            .checked_add(self.noise)
            .and_then(|bits| u32::try_from(bits).ok())
            .and_then(|bits| 1usize.checked_shl(bits))
    }
}

impl Dataset for ParityConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { relevant, noise, samples, .. } = *self;
        let bits = relevant.saturating_add(noise);
        if relevant == 0 {
            return Err(Invalid::new("relevant", "relevant = 0 gives every row class 0; expected at least 1"));
        }
        if bits.saturating_mul(samples) > MAX_VALUES {
            let largest = MAX_VALUES / bits;
            return Err(Invalid::new(
                "samples",
                format!("samples = {samples} rows of {bits} bits are more than fit; expected at most {largest} rows"),
            ));
        }
        if let Some(strings) = self.strings().filter(|&strings| samples > strings) {
            return Err(Invalid::new(
                "samples",
                format!(
                    "samples = {samples} distinct rows cannot be drawn from {bits} bits; expected at most {strings}, \
                     or more noise bits"
                ),
            ));
        }
        self.fractions().check(samples)
    }

    fn spec(&self) -> Spec {
        Spec { input: InputSpec::Floats { width: self.relevant + self.noise }, asks: Asks::Class { classes: 2 } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let bits = self.relevant + self.noise;
        let mut draws = Stream::new(seed, "data").child("parity").at(0);
        let rows = match self.strings() {
            // Rejection would wait long for the last of few strings; a permutation of all of them does not.
            Some(strings) if strings / 4 <= self.samples => dense_rows(&mut draws, strings, self.samples, bits),
            _ => sparse_rows(&mut draws, self.samples, bits),
        };
        let classes = rows.iter().map(|row| row[..self.relevant].iter().fold(0, |x, &bit| x ^ i32::from(bit)));
        let classes = classes.collect();
        let values = rows.iter().flatten().map(|&bit| f32::from(u8::from(bit))).collect();
        Ok(Box::new(InMemory::new(
            self.spec(),
            Input::Floats(Matrix::new(values, bits)),
            Target::Classes(classes),
            Partition::seeded(self.samples, self.fractions(), seed),
        )))
    }
}

/// The first `samples` of a permutation of all bit strings.
fn dense_rows(draws: &mut Draws, strings: usize, samples: usize, bits: usize) -> Vec<Vec<bool>> {
    let order = draws.permutation(strings);
    order.iter().take(samples).map(|&code| (0..bits).map(|bit| code >> bit & 1 == 1).collect()).collect()
}

/// Random bit strings, each kept unless it has come before.
fn sparse_rows(draws: &mut Draws, samples: usize, bits: usize) -> Vec<Vec<bool>> {
    let mut seen = HashSet::new();
    let mut rows = Vec::with_capacity(samples);
    while rows.len() < samples {
        let words: Vec<u64> = (0..bits.div_ceil(64)).map(|_| draws.word()).collect();
        let row: Vec<bool> = (0..bits).map(|bit| words[bit / 64] >> (bit % 64) & 1 == 1).collect();
        if seen.insert(row.clone()) {
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Order, Split};

    fn rows(config: &ParityConfig, seed: u64) -> Vec<(Vec<u8>, i32)> {
        let source = config.open(seed).unwrap();
        let mut rows = Vec::new();
        for split in [Split::Train, Split::Val, Split::Test] {
            let batch = source.batch(split, &Order::Full, 0);
            let Input::Floats(input) = &batch.input else { panic!("not floats") };
            let Target::Classes(classes) = &batch.target else { panic!("not classes") };
            for (i, &class) in classes.iter().enumerate() {
                assert!(input.row(i).iter().all(|&x| x == 0.0 || x == 1.0));
                rows.push((input.row(i).iter().map(|&x| x as u8).collect(), class));
            }
        }
        rows
    }

    #[test]
    fn the_published_setting() {
        let source = ParityConfig::default().open(0).unwrap();
        assert_eq!((source.len(Split::Train), source.len(Split::Test)), (Some(1000), Some(1000)));
        assert_eq!(*source.spec(), Spec { input: InputSpec::Floats { width: 43 }, asks: Asks::Class { classes: 2 } });
        let rows = rows(&ParityConfig::default(), 0);
        // Five standard deviations of a fair coin over 2000 rows are 112, over 86000 bits 733.
        let ones = rows.iter().filter(|(_, class)| *class == 1).count();
        assert!(ones.abs_diff(1000) < 112, "{ones}");
        let bits: usize = rows.iter().flat_map(|(row, _)| row).map(|&bit| usize::from(bit)).sum();
        assert!(bits.abs_diff(43_000) < 733, "{bits}");
    }

    #[test]
    fn all_strings_can_be_asked_for() {
        let config = ParityConfig { relevant: 2, noise: 8, samples: 1024, ..Default::default() };
        let strings: HashSet<_> = rows(&config, 1).into_iter().map(|(row, _)| row).collect();
        assert_eq!(strings.len(), 1024);
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these bits changes every recorded run.
        let bits = |config: ParityConfig| -> String {
            rows(&config, 2).iter().take(4).flat_map(|(row, _)| row[..8].iter().map(u8::to_string)).collect()
        };
        assert_eq!(bits(ParityConfig::default()), "10101100110000000101101011001101");
        assert_eq!(
            bits(ParityConfig { noise: 5, samples: 100, ..Default::default() }),
            "10010101110101000000011101101100"
        );
    }

    #[test]
    fn the_seed_decides_rows_and_split() {
        let config = ParityConfig::default();
        assert_eq!(rows(&config, 1), rows(&config, 1));
        assert_ne!(rows(&config, 1), rows(&config, 2));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: ParityConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(ParityConfig { relevant: 2, noise: 3, samples: 33, ..Default::default() }),
            "samples: samples = 33 distinct rows cannot be drawn from 5 bits; expected at most 32, or more noise bits"
        );
        assert_eq!(
            message(ParityConfig { samples: 1 << 40, ..Default::default() }),
            "samples: samples = 1099511627776 rows of 43 bits are more than fit; expected at most 6242685 rows"
        );
        assert_eq!(
            message(ParityConfig { relevant: 0, ..Default::default() }),
            "relevant: relevant = 0 gives every row class 0; expected at least 1"
        );
        assert_eq!(
            message(ParityConfig { samples: 1, ..Default::default() }),
            "fraction: 1 rows cannot be split into training and test rows; expected at least 2"
        );
        assert!(ParityConfig { noise: usize::MAX, ..Default::default() }.check().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_are_distinct_and_labelled_by_parity(
            relevant in 1usize..6, noise in 0usize..80, samples in 2usize..64, seed: u64,
        ) {
            let config = ParityConfig { relevant, noise, samples, ..Default::default() };
            prop_assume!(config.check().is_ok());
            let rows = rows(&config, seed);
            prop_assert_eq!(rows.len(), samples);
            prop_assert_eq!(rows.iter().map(|(row, _)| row).collect::<HashSet<_>>().len(), samples);
            for (row, class) in rows {
                let ones: i32 = row[..relevant].iter().map(|&bit| i32::from(bit)).sum();
                prop_assert_eq!(class, ones % 2);
            }
        }
    }
}
