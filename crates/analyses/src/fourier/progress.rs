//! How much of the answer the chosen frequencies carry.
//!
//! A network that has learnt the group writes logits that depend on operands and class only through
//! `s = (t − c) mod n`, where t is the residue of the row's right answer. The logit table is split into its part
//! in the span of `cos(2πk s / n)` and `sin(2πk s / n)` for the chosen k, and the rest.
//!
//! Each row meets each s exactly once, so these waves are orthogonal over any set of rows, and the projection is
//! that of the row-averaged logit m(s) alone.
use std::f64::consts::TAU;

use crate::Matrix;

/// Mean cross entropy (nats) when only the chosen frequencies are left in the logits.
///
/// `logits` is the table `[rows, n]` with the residue of the right answer of each row in `targets`: of all
/// `p × p` pairs and n = p for sums, of the powers of a primitive root, rows and classes re-indexed, for products.
/// The logits that are left are the same in every row up to a rotation, and so is the loss. NaN if there are no
/// rows or a logit is NaN; ln n if no frequency is chosen.
///
/// # Panics
/// If the numbers of rows and targets differ, a target has no column, or a frequency is not in 1 ..= ⌊n / 2⌋.
pub fn restricted_loss(logits: &Matrix, targets: &[usize], frequencies: &[usize]) -> f64 {
    // Index s = 0 is the right class.
    cross_entropy(&projection(logits, targets, frequencies), 0)
}

/// Mean cross entropy (nats) over `rows` when the chosen frequencies are taken out of the logits.
///
/// The frequencies are fitted on the whole table; `rows`, as a rule the training rows, say where the loss is read.
/// NaN if there are none or a logit is NaN.
///
/// # Panics
/// As [`restricted_loss`], and if a row does not exist.
pub fn excluded_loss(logits: &Matrix, targets: &[usize], frequencies: &[usize], rows: &[usize]) -> f64 {
    let wave = projection(logits, targets, frequencies);
    let n = logits.columns();
    let losses = rows.iter().map(|&row| {
        let target = targets[row];
        let rest: Vec<f64> =
            logits.row(row).iter().enumerate().map(|(class, z)| z - wave[(target + n - class) % n]).collect();
        cross_entropy(&rest, target)
    });
    losses.sum::<f64>() / rows.len() as f64
}

/// The chosen frequencies' part of the row-averaged logit m(s), `[n]`.
fn projection(logits: &Matrix, targets: &[usize], frequencies: &[usize]) -> Vec<f64> {
    let n = logits.columns();
    let mut mean = vec![0.0; n];
    for (row, target) in logits.iter_with(targets) {
        for (class, z) in row.iter().enumerate() {
            mean[(target + n - class) % n] += z / logits.rows() as f64;
        }
    }
    let mut chosen = vec![false; n / 2 + 1];
    for &k in frequencies {
        assert!((1..=n / 2).contains(&k), "frequency {k} is none of 1 to {}", n / 2);
        chosen[k] = true;
    }
    // Σ_k of the projection onto frequency k is a circular convolution with the sum of their cosines.
    let kernel = |shift: usize| {
        let waves = (1..=n / 2).filter(|&k| chosen[k]).map(|k| {
            // The highest frequency of an even n has no sine, so its cosine has twice the length.
            let norm = if 2 * k == n { 1.0 } else { 2.0 };
            norm / n as f64 * (TAU * (k * shift % n) as f64 / n as f64).cos()
        });
        waves.sum::<f64>()
    };
    let kernel: Vec<f64> = (0..n).map(kernel).collect();
    // Without rows there is no mean, and 0 would look like one.
    let absent = if logits.rows() == 0 { f64::NAN } else { 0.0 };
    (0..n).map(|s| absent + (0..n).map(|t| mean[t] * kernel[(s + n - t) % n]).sum::<f64>()).collect()
}

/// `ln Σ_j exp(z_j) − z_target`.
fn cross_entropy(logits: &[f64], target: usize) -> f64 {
    let max = crate::statistics::max(logits.iter().copied());
    logits.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max - logits[target]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers `a + b mod n` of all pairs.
    fn sums(n: usize) -> Vec<usize> {
        (0..n * n).map(|row| (row / n + row % n) % n).collect()
    }

    /// A table `[n², n]` that depends on `s` through `wave`, with a constant of its own in each row.
    fn table(n: usize, wave: impl Fn(usize) -> f64) -> Matrix<'static> {
        let rows = sums(n).into_iter().enumerate();
        let row = |(i, target): (usize, usize)| {
            (0..n).map(|class| wave((target + n - class) % n) + (i % 5) as f64).collect::<Vec<_>>()
        };
        Matrix::new(rows.flat_map(row).collect::<Vec<_>>(), n)
    }

    fn angle(k: usize, s: usize, n: usize) -> f64 {
        TAU * (k * s) as f64 / n as f64
    }

    #[test]
    fn a_pure_wave_is_kept_or_lost_whole() {
        let n = 7;
        let wave = |s| 3.0 * angle(2, s, n).cos();
        let logits = table(n, wave);
        let expected = cross_entropy(&(0..n).map(wave).collect::<Vec<_>>(), 0);
        assert!((restricted_loss(&logits, &sums(n), &[2]) - expected).abs() < 1e-12);
        let chance = (n as f64).ln();
        assert!((restricted_loss(&logits, &sums(n), &[1, 3]) - chance).abs() < 1e-12);
        assert!((restricted_loss(&logits, &sums(n), &[]) - chance).abs() < 1e-12);
        assert!((excluded_loss(&logits, &sums(n), &[2], &[0, 9, 30]) - chance).abs() < 1e-12);
        assert!((excluded_loss(&logits, &sums(n), &[1], &[0, 9, 30]) - expected).abs() < 1e-12);
        // Naming a frequency twice is naming it once.
        assert_eq!(restricted_loss(&logits, &sums(n), &[2, 2]), restricted_loss(&logits, &sums(n), &[2]));
    }

    #[test]
    fn all_frequencies_of_an_even_table_restore_it() {
        let n = 6;
        let wave = |s| [2.0, -1.0, 0.5, 1.5, 0.0, -0.5][s];
        let expected = cross_entropy(&(0..n).map(wave).collect::<Vec<_>>(), 0);
        let loss = restricted_loss(&table(n, wave), &sums(n), &[1, 2, 3]);
        assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
    }

    #[test]
    fn nothing_and_nan_give_nan() {
        let mut values = table(5, |s| s as f64).values().to_vec();
        values[3] = f64::NAN;
        let broken = Matrix::new(values, 5);
        assert!(restricted_loss(&broken, &sums(5), &[1]).is_nan());
        assert!(excluded_loss(&broken, &sums(5), &[1], &[7]).is_nan());
        assert!(restricted_loss(&Matrix::new(vec![], 5), &[], &[1]).is_nan());
        assert!(excluded_loss(&table(5, |_| 0.0), &sums(5), &[1], &[]).is_nan());
    }

    #[test]
    #[should_panic(expected = "frequency 4 is none of 1 to 3")]
    fn a_frequency_out_of_range_is_refused() {
        restricted_loss(&table(7, |_| 0.0), &sums(7), &[4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn agrees_with_the_projection_in_the_space_of_tables(
            values in proptest::collection::vec(-3f64..3.0, 125), k in 1usize..3, rows in 1usize..26,
        ) {
            let (n, targets) = (5, sums(5));
            let logits = Matrix::new(&values, n);
            // Plain definition: the scalar product of the whole table with each wave, as vectors of n³ numbers.
            let mut kept = vec![0.0; values.len()];
            for wave in [f64::cos, f64::sin] {
                let basis: Vec<f64> = (0..values.len())
                    .map(|i| wave(angle(k, (targets[i / n] + n - i % n) % n, n)))
                    .collect();
                let dot: f64 = basis.iter().zip(&values).map(|(b, z)| b * z).sum();
                let square: f64 = basis.iter().map(|b| b * b).sum();
                for (kept, b) in kept.iter_mut().zip(&basis) {
                    *kept += dot / square * b;
                }
            }
            let rest: Vec<f64> = values.iter().zip(&kept).map(|(z, kept)| z - kept).collect();
            let mean_loss = |table: &[f64], count: usize| {
                (0..count).map(|i| cross_entropy(&table[i * n..(i + 1) * n], targets[i])).sum::<f64>() / count as f64
            };
            let read: Vec<usize> = (0..rows.min(25)).collect();
            prop_assert!((restricted_loss(&logits, &targets, &[k]) - mean_loss(&kept, 25)).abs() < 1e-12);
            prop_assert!((excluded_loss(&logits, &targets, &[k], &read) - mean_loss(&rest, read.len())).abs() < 1e-12);
        }
    }
}
