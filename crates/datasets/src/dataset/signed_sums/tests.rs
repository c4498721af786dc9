use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::{
    Batch, Order, Split,
    testing::{answers, classes, ids},
};

const SPLITS: [Split; 3] = [Split::Train, Split::Val, Split::Test];

fn whole(config: &SignedSumsConfig, seed: u64, split: Split) -> Batch {
    config.open(seed).unwrap().batch(split, &Order::Full, 0)
}

/// Digits of a row.
fn digits(row: &[i32], m: usize) -> Vec<i32> {
    assert_eq!(row[0], 9);
    row[1..=m].iter().map(|id| id + 1).collect()
}

/// Every sum that some signs reach, as a set grown digit by digit.
fn reachable(digits: &[i32]) -> BTreeSet<i32> {
    digits.iter().fold(BTreeSet::from([0]), |sums, d| sums.iter().flat_map(|sum| [sum - d, sum + d]).collect())
}

#[test]
fn the_answer_is_the_smallest_reachable_sum_that_is_not_negative() {
    for m in [2, 3, 4] {
        let config = SignedSumsConfig { digits: m, val_fraction: 0.1, ..Default::default() };
        let mut seen = BTreeSet::new();
        for split in SPLITS {
            let batch = whole(&config, 1, split);
            for (row, class) in ids(&batch).zip(classes(&batch)) {
                let digits = digits(row, m);
                assert_eq!(*reachable(&digits).range(0..).next().unwrap(), class - 9 * m as i32);
                assert!(seen.insert(digits), "a row stands twice");
            }
        }
        assert_eq!(seen.len(), 9usize.pow(m as u32));
    }
}

#[test]
fn the_chain_leads_to_the_answer_by_steps_of_one_digit() {
    let config = SignedSumsConfig { digits: 4, chain: true, ..Default::default() };
    for split in [Split::Train, Split::Test] {
        let batch = whole(&config, 1, split);
        for (row, answers) in ids(&batch).zip(answers(&batch)) {
            let digits = digits(row, 4);
            let mut before = 0;
            for (step, &(place, class)) in answers.iter().enumerate() {
                let sum = class - 36;
                assert_eq!(place, 4 + step);
                assert_eq!((sum - before).abs(), digits[step]);
                // What was asked is what the next place sees.
                assert!(step == 3 || row[place + 1] == 46 + sum);
                before = sum;
            }
            assert_eq!(before, *reachable(&digits).range(0..).next().unwrap());
        }
    }
}

#[test]
fn values_by_hand() {
    // 2 + 1 < 4, so 4 − 2 − 1 = 1 by −2, −3, 1.
    assert_eq!(best_sums(&[2, 1, 4]), [-2, -3, 1]);
    // −1 + 1 and 1 − 1 both reach 0; minus comes first.
    assert_eq!(best_sums(&[1, 1]), [-1, 0]);
    // −3 − 5 + 9 = 1.
    assert_eq!(best_sums(&[3, 5, 9]), [-3, -8, 1]);
    let find = |chain: bool| {
        let config = SignedSumsConfig { digits: 3, chain, ..Default::default() };
        let batch = [Split::Train, Split::Test].map(|split| whole(&config, 0, split));
        let rows = batch.iter().flat_map(|batch| ids(batch).map(<[i32]>::to_vec).collect::<Vec<_>>());
        rows.filter(|row| row[1..4] == [1, 0, 3]).collect::<Vec<_>>()
    };
    assert_eq!(find(false), [[9, 1, 0, 3]]);
    assert_eq!(find(true), [[9, 1, 0, 3, 35, 34]]);
}

#[test]
fn all_orders_of_the_same_digits_stand_on_one_side() {
    for m in [3, 4] {
        let config = SignedSumsConfig { digits: m, val_fraction: 0.25, ..Default::default() };
        let mut home = HashMap::new();
        for split in SPLITS {
            for row in ids(&whole(&config, 4, split)) {
                let mut digits = digits(row, m);
                digits.sort_unstable();
                assert_eq!(*home.entry(digits).or_insert(split), split);
            }
        }
        // 165 and 495 multisets; 132 and 396 of them train or validate, a quarter of these validates.
        let of = |split| home.values().filter(|&&home| home == split).count();
        let expected = if m == 3 { [99, 33, 33] } else { [297, 99, 99] };
        assert_eq!(SPLITS.map(of), expected);
    }
}

#[test]
fn the_spec_bounds_every_row_and_a_batch_depends_on_seed_and_step_alone() {
    for chain in [false, true] {
        let config = SignedSumsConfig { digits: 3, chain, ..Default::default() };
        let (source, same) = (config.open(1).unwrap(), config.open(1).unwrap());
        let InputSpec::Tokens { vocabulary, length } = source.spec().input else { panic!("no tokens") };
        assert_eq!((vocabulary, length, source.spec().asks.outputs()), (65, if chain { 6 } else { 4 }, 55));
        let order = crate::testing::order(16);
        let batch = |source: &dyn BatchSource, step| source.batch(Split::Train, &order, step);
        assert_eq!(batch(&*source, 9), batch(&*same, 9));
        assert!(ids(&batch(&*source, 0)).flatten().all(|id| (0..65).contains(id)));
        assert_ne!(whole(&config, 1, Split::Test), whole(&config, 2, Split::Test));
        assert_eq!(source.eval_sets(), [Split::Test]);
    }
}

#[test]
fn the_split_never_changes() {
    // Pinned: a change of these rows changes every recorded run.
    let batch = whole(&SignedSumsConfig::default(), 2, Split::Train);
    assert_eq!((ids(&batch).next().unwrap().to_vec(), batch.rows), (vec![9, 1, 1, 6, 6], 5250));
}

#[test]
fn impossible_parameters_are_refused() {
    let message = |config: SignedSumsConfig| config.check().unwrap_err().to_string();
    for digits in [0, 1, 7] {
        assert_eq!(
            message(SignedSumsConfig { digits, ..Default::default() }),
            format!("digits: digits = {digits} is out of range; expected 2 to 6 (there are 9^digits rows)")
        );
    }
    assert_eq!(
        message(SignedSumsConfig { digits: 2, fraction: 0.01, ..Default::default() }),
        "fraction: fraction = 0.01 of 45 rows leaves no training row; use at least 0.022223"
    );
}
