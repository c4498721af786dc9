//! Which frequencies an embedding of a cyclic group uses.
//!
//! Row a of `E` (`[n, width]`) embeds the residue a. Rows of a token table, of an input matrix
//! ([`Matrix::row_range`] for one operand) or of an output layer ([`Matrix::transposed`]) can be read so. For
//! products modulo a prime p the group is the multiplicative one: drop row 0 and take the rest in the order
//! 1, g, g², … of a primitive root g ([`Matrix::select_rows`]), which makes n = p − 1; in plain order their
//! spectrum looks like noise. Modulo 7 with g = 3 the order is 1, 3, 2, 6, 4, 5.
//!
//! # References
//! Nanda et al. 2023, arXiv:2301.05217.
use std::f64::consts::TAU;

use crate::Matrix;

mod progress;

pub use progress::{excluded_loss, restricted_loss};

/// Energies `e_k = ‖Σ_a E_a exp(−2πi k a / n)‖²` for k = 1 ..= ⌊n / 2⌋; the constant term is left out.
///
/// A NaN in the embedding makes every energy NaN. Fewer than two rows have no frequency.
pub fn energies(embedding: &Matrix) -> Vec<f64> {
    let n = embedding.rows();
    let waves: Vec<(f64, f64)> = (0..n).map(|a| (TAU * a as f64 / n as f64).sin_cos()).collect();
    let (mut real, mut imaginary) = (vec![0.0; embedding.columns()], vec![0.0; embedding.columns()]);
    let energy = |k: usize| {
        real.fill(0.0);
        imaginary.fill(0.0);
        for (a, row) in embedding.iter_rows().enumerate() {
            let (sin, cos) = waves[k * a % n];
            for ((x, real), imaginary) in row.iter().zip(&mut real).zip(&mut imaginary) {
                *real += cos * x;
                *imaginary -= sin * x;
            }
        }
        real.iter().chain(&imaginary).map(|x| x * x).sum()
    };
    (1..=n / 2).map(energy).collect()
}

/// The share of the `count` largest energies in the sum of all; `top5` with a count of 5.
///
/// NaN if the sum is 0 or NaN; 1 if there are no more than `count`.
pub fn top_fraction(energies: &[f64], count: usize) -> f64 {
    let sorted = descending(energies);
    let top: f64 = sorted.iter().take(count).map(|&(_, energy)| energy).sum();
    top / sorted.iter().map(|&(_, energy)| energy).sum::<f64>()
}

/// The frequencies k (from 1) of the `count` largest energies, largest first, equals by rising k.
pub fn top_frequencies(energies: &[f64], count: usize) -> Vec<usize> {
    descending(energies).iter().take(count).map(|&(k, _)| k).collect()
}

/// Gini coefficient of the n energies, `2 Σ_i i e_(i) / (n Σ e) − (n + 1) / n` with `e_(i)` ascending from i = 1.
///
/// 0 if all are equal, (n − 1) / n if one holds everything; NaN if the sum is 0 or NaN.
pub fn gini(energies: &[f64]) -> f64 {
    let n = energies.len() as f64;
    let sum: f64 = energies.iter().sum();
    let ranked: f64 = descending(energies).iter().rev().zip(1..).map(|(&(_, e), i)| f64::from(i) * e).sum();
    // Equal energies may leave some units of rounding below 0.
    (2.0 * ranked / (n * sum) - (n + 1.0) / n).clamp(0.0, 1.0)
}

/// Pairs (k, e_k), largest energy first.
fn descending(energies: &[f64]) -> Vec<(usize, f64)> {
    let mut pairs: Vec<(usize, f64)> = (1..).zip(energies.iter().copied()).collect();
    pairs.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() < tolerance, "{actual} {expected}");
    }

    /// `[n, columns]` from one function of the row and n for each column.
    fn embedding(n: usize, columns: &[fn(f64, f64) -> f64]) -> Matrix<'static> {
        let value = |a: usize| columns.iter().map(move |column| column(a as f64, n as f64));
        Matrix::new((0..n).flat_map(value).collect::<Vec<_>>(), columns.len())
    }

    #[test]
    fn golden_of_7_rows() {
        let columns: [fn(f64, f64) -> f64; 3] = [
            |a, n| (TAU * 3.0 * a / n).cos(),
            |a, n| (TAU * 3.0 * a / n).sin(),
            |a, n| 0.5 * (TAU * a / n).cos() + 0.2,
        ];
        let energies = energies(&embedding(7, &columns));
        for (energy, expected) in energies.iter().zip([3.0625, 0.0, 24.5]) {
            close(*energy, expected, 1e-12);
        }
        close(top_fraction(&energies, 1), 0.8888888889, 1e-10);
        close(gini(&energies), 0.5925925926, 1e-10);
        assert_eq!(top_frequencies(&energies, 2), [3, 1]);
    }

    #[test]
    fn golden_of_13_rows() {
        let columns: [fn(f64, f64) -> f64; 3] = [
            |a, n| (TAU * 3.0 * a / n).cos(),
            |a, n| (TAU * 3.0 * a / n).sin(),
            |a, n| 0.5 * (TAU * a / n).cos() + 0.2 * a,
        ];
        let energies = energies(&embedding(13, &columns));
        let expected = [31.62081783, 7.825246897, 88.34325295, 2.495192534, 1.933073619, 1.714916174];
        assert_eq!(energies.len(), expected.len());
        for (energy, expected) in energies.iter().zip(expected) {
            close(*energy, expected, 5e-9 * expected);
        }
        close(top_fraction(&energies, 5), 0.9871956682, 5e-11);
        close(gini(&energies), 0.6564687073, 1e-10);
    }

    #[test]
    fn products_are_sparse_only_in_the_order_of_the_discrete_logarithm() {
        // Row g^t embeds cos(2π t / 6), a wave of the multiplicative group modulo 7.
        let order = [1, 3, 2, 6, 4, 5];
        let mut values = vec![0.3; 7];
        for (t, &row) in order.iter().enumerate() {
            values[row] = (TAU * t as f64 / 6.0).cos();
        }
        let embedding = Matrix::new(values, 1);
        let ordered = energies(&embedding.select_rows(&order));
        // An even number of rows has its highest frequency at n / 2.
        assert_eq!(ordered.len(), 3);
        close(top_fraction(&ordered, 1), 1.0, 1e-12);
        assert!(top_fraction(&energies(&embedding), 1) < 0.7);
    }

    #[test]
    fn degenerate_spectra() {
        assert!(energies(&Matrix::new(vec![1.0, 2.0], 2)).is_empty());
        for energies in [&[][..], &[0.0, 0.0], &[1.0, f64::NAN]] {
            assert!(gini(energies).is_nan() && top_fraction(energies, 5).is_nan(), "{energies:?}");
        }
        let mut values = vec![1.0; 14];
        values[5] = f64::NAN;
        assert!(energies(&Matrix::new(values, 2)).iter().all(|e| e.is_nan()));
        assert_eq!(gini(&[2.0; 7]), 0.0);
        close(gini(&[0.0, 0.0, 5.0, 0.0]), 0.75, 1e-15);
    }

    proptest! {
        #[test]
        fn energy_is_conserved(values in proptest::collection::vec(-1f64..1.0, 22)) {
            // Parseval for an odd number of rows: n Σ|E|² = |F_0|² + 2 Σ_k e_k, over both columns.
            let embedding = Matrix::new(&values, 2);
            let constant: f64 = (0..2).map(|j| embedding.iter_rows().map(|row| row[j]).sum::<f64>().powi(2)).sum();
            let total = 11.0 * values.iter().map(|x| x * x).sum::<f64>();
            prop_assert!((total - constant - 2.0 * energies(&embedding).iter().sum::<f64>()).abs() < 1e-10);
        }

        #[test]
        fn shares_ignore_scale_and_a_constant(
            values in proptest::collection::vec(-1f64..1.0, 26), scale in 0.01f64..100.0, shift in -1f64..1.0,
        ) {
            let one = energies(&Matrix::new(&values, 2));
            let moved: Vec<f64> = values.iter().map(|x| scale * x + shift).collect();
            let other = energies(&Matrix::new(moved, 2));
            prop_assert!((0.0..1.0).contains(&gini(&one)));
            prop_assert!((gini(&one) - gini(&other)).abs() < 1e-9);
            prop_assert!((top_fraction(&one, 2) - top_fraction(&other, 2)).abs() < 1e-9);
        }

        #[test]
        fn rotating_the_rows_changes_nothing(values in proptest::collection::vec(-1f64..1.0, 12), by in 0usize..12) {
            let mut rotated = values.clone();
            rotated.rotate_left(by);
            for (one, other) in energies(&Matrix::new(&values, 1)).iter().zip(energies(&Matrix::new(rotated, 1))) {
                prop_assert!((one - other).abs() < 1e-11);
            }
        }
    }
}
