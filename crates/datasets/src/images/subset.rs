//! Which of the published images are used, and for what.
use kiln_stream::Stream;

use super::ImagesConfig;
use crate::{DataError, Invalid, Split, manifest::Manifest};

/// The images of each split by their number in the published set they come from, each split in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Of the published training images.
    pub train: Vec<usize>,
    /// Of the published training images.
    pub val: Vec<usize>,
    /// Of the published test images, in their order.
    pub test: Vec<usize>,
    /// The new class of each published one.
    pub relabel: Vec<Option<i32>>,
}

impl Subset {
    /// Chooses from the published labels as [`ImagesConfig`] describes it.
    ///
    /// # Errors
    /// If a split that is asked for has no image.
    pub fn choose(
        config: &ImagesConfig,
        manifest: &Manifest,
        train: &[u8],
        test: &[u8],
        stream: &Stream,
    ) -> Result<Self, DataError> {
        let relabel = relabel(config, manifest);
        let class = |label: u8| relabel[usize::from(label)];
        let of_class =
            |labels: &[u8]| -> Vec<usize> { (0..labels.len()).filter(|&i| class(labels[i]).is_some()).collect() };

        let pool = of_class(train);
        let permutation = stream.child("split").at(0).permutation(pool.len());
        let mut rows: Vec<usize> = permutation.into_iter().map(|i| pool[i]).collect();
        // As with other data sets, 0.29 of 100 rows are 29.
        let val = ((config.val_fraction * rows.len() as f64 + 1e-9).floor() as usize).min(rows.len());
        let val = rows.split_off(rows.len() - val);
        if config.val_fraction > 0.0 && (val.is_empty() || rows.is_empty()) {
            let (split, n) = (if rows.is_empty() { Split::Train } else { Split::Val }, pool.len());
            let message =
                format!("val_fraction = {} of {n} images leaves the {split} split empty", config.val_fraction);
            return Err(Invalid::new("val_fraction", message).into());
        }
        if let Some(ratio) = config.long_tail {
            rows = long_tailed(&rows, |row| class(train[row]).map_or(0, |class| class as usize), ratio);
        }
        limit(&mut rows, config.samples, "samples")?;

        let mut test_rows = of_class(test);
        if let Some(samples) = config.test_samples {
            let mut order = stream.child("test").at(0).permutation(test_rows.len());
            limit(&mut order, Some(samples), "test_samples")?;
            order.sort_unstable();
            test_rows = order.into_iter().map(|i| test_rows[i]).collect();
        }
        Ok(Self { train: rows, val, test: test_rows, relabel })
    }
}

/// The new class of each published one: its place in `classes`.
fn relabel(config: &ImagesConfig, manifest: &Manifest) -> Vec<Option<i32>> {
    let all = &manifest.classes;
    let chosen = if config.classes.is_empty() { all } else { &config.classes };
    all.iter().map(|name| chosen.iter().position(|other| other == name).map(|place| place as i32)).collect()
}

/// Of the rows of class k the first `⌊n₀ · ratio^(−k / (K − 1))⌋`, at least one and not more than there are; n₀ is the
/// size of the largest class, K the number of classes.
fn long_tailed(rows: &[usize], class: impl Fn(usize) -> usize, ratio: f64) -> Vec<usize> {
    let classes = rows.iter().map(|&row| class(row) + 1).max().unwrap_or(0);
    let mut left = vec![0usize; classes];
    rows.iter().for_each(|&row| left[class(row)] += 1);
    let largest = left.iter().copied().max().unwrap_or(0) as f64;
    for (k, left) in left.iter_mut().enumerate() {
        let share = if classes > 1 { k as f64 / (classes - 1) as f64 } else { 0.0 };
        // As with fractions, a product that misses a whole number by rounding counts as that number.
        let most = (largest * libm::pow(ratio, -share) + 1e-9).floor() as usize;
        *left = (*left).min(most.max(1));
    }
    let mut keep = |row: &usize| {
        let left = &mut left[class(*row)];
        let more = *left > 0;
        *left -= usize::from(more);
        more
    };
    rows.iter().copied().filter(|row| keep(row)).collect()
}

fn limit(rows: &mut Vec<usize>, most: Option<usize>, key: &'static str) -> Result<(), DataError> {
    match most {
        Some(samples) if samples > rows.len() => {
            let there = rows.len();
            let message =
                format!("{key} = {samples}, but only {there} images are left to choose from; use at most {there}");
            Err(Invalid::new(key, message).into())
        }
        Some(samples) => {
            rows.truncate(samples);
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::tiny_idx;

    /// 60 training images and 30 test images, classes in turn.
    fn choose(config: &ImagesConfig, seed: u64) -> Subset {
        let labels = |count: usize| -> Vec<u8> { (0..count).map(|i| (i % 3) as u8).collect() };
        Subset::choose(config, &tiny_idx(), &labels(60), &labels(30), &Stream::new(seed, "test")).unwrap()
    }

    fn counts(rows: &[usize]) -> [usize; 3] {
        [0, 1, 2].map(|class| rows.iter().filter(|row| *row % 3 == class).count())
    }

    #[test]
    fn everything_is_used_unless_told_otherwise() {
        let all = choose(&ImagesConfig::default(), 0);
        let mut train = all.train.clone();
        train.sort_unstable();
        assert_eq!((train, all.val, all.test), ((0..60).collect(), vec![], (0..30).collect()));
        assert_eq!(all.relabel, [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn classes_are_numbered_in_the_order_in_which_they_are_named() {
        let some = choose(&ImagesConfig { classes: vec!["eel".into(), "cat".into()], ..Default::default() }, 0);
        assert_eq!(some.relabel, [Some(1), None, Some(0)]);
        assert_eq!((counts(&some.train), counts(&some.test)), ([20, 0, 20], [10, 0, 10]));
    }

    #[test]
    fn a_long_tail_falls_geometrically_and_leaves_the_test_rows() {
        let config = ImagesConfig { long_tail: Some(4.0), ..Default::default() };
        let tail = choose(&config, 0);
        // 20, 20 / 2, 20 / 4
        assert_eq!((counts(&tail.train), counts(&tail.test)), ([20, 10, 5], [10; 3]));
        let whole = choose(&ImagesConfig::default(), 0).train;
        assert_eq!(tail.train, whole.into_iter().filter(|row| tail.train.contains(row)).collect::<Vec<_>>());
        let steep = choose(&ImagesConfig { long_tail: Some(1e6), ..Default::default() }, 0);
        assert_eq!(counts(&steep.train), [20, 1, 1]);
    }

    #[test]
    fn limits_take_the_first_rows_of_the_same_order() {
        let config = ImagesConfig { samples: Some(7), test_samples: Some(4), ..Default::default() };
        let (some, all) = (choose(&config, 1), choose(&ImagesConfig::default(), 1));
        assert_eq!((&some.train[..], some.test.len()), (&all.train[..7], 4));
        assert!(some.test.is_sorted());
        assert_ne!(some.test, choose(&config, 2).test);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let labels: Vec<u8> = (0..60).map(|i| (i % 3) as u8).collect();
        let message = |config: ImagesConfig| {
            let subset = Subset::choose(&config, &tiny_idx(), &labels, &labels, &Stream::new(0, "test"));
            subset.unwrap_err().to_string()
        };
        assert_eq!(
            message(ImagesConfig { samples: Some(31), val_fraction: 0.5, ..Default::default() }),
            "data.samples: samples = 31, but only 30 images are left to choose from; use at most 30"
        );
        assert_eq!(
            message(ImagesConfig { test_samples: Some(61), ..Default::default() }),
            "data.test_samples: test_samples = 61, but only 60 images are left to choose from; use at most 60"
        );
        assert_eq!(
            message(ImagesConfig { val_fraction: 0.01, ..Default::default() }),
            "data.val_fraction: val_fraction = 0.01 of 60 images leaves the val split empty"
        );
    }

    proptest! {
        #[test]
        fn splits_are_disjoint_and_val_does_not_depend_on_the_rest(
            val in 0.05f64..0.95, tail in 1.0f64..20.0, samples in 1usize..2, seed: u64,
        ) {
            let plain = ImagesConfig { val_fraction: val, ..Default::default() };
            let subset = choose(&plain, seed);
            let mut rows = [&subset.train[..], &subset.val[..]].concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..60).collect::<Vec<_>>());
            let cut = choose(&ImagesConfig { long_tail: Some(tail), samples: Some(samples), ..plain }, seed);
            prop_assert_eq!(&cut.val, &subset.val);
            prop_assert!(cut.train.iter().all(|row| subset.train.contains(row)));
        }
    }
}
