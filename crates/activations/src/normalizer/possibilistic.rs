//! Possibility degrees from the probabilities of softmax.
use std::{cmp::Ordering, ops::Range, sync::Arc};

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Laws, Normalize, Rows, Softmax, SoftmaxRow, after_softmax::to_scores, composed};
use crate::{
    Ctx, Init,
    kernel::{Real, RowKernel, RowMap, VjpRow},
};

/// Parameters of [`Possibilistic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PossibilisticConfig {
    /// How probabilities become possibilities.
    pub transform: PossibilityTransform,
    /// What `min_specificity` makes of equal probabilities.
    pub tie: PossibilityTie,
}

/// How probabilities become possibilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PossibilityTransform {
    /// π_i = Σ_j min(p_i, p_j): continuous in p, and never below the other.
    #[default]
    Antipignistic,
    /// π_i = the sum of the probabilities up to p_i: the most specific one that dominates p.
    MinSpecificity,
}

/// What becomes of equal probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PossibilityTie {
    /// They count for each other: equal possibilities.
    #[default]
    Value,
    /// They count for those before them, as in the authors' code.
    Order,
}

impl Entry for PossibilisticConfig {
    const SUMMARY: &'static str = "degrees of possibility made from softmax, the largest being 1";
    const PAPER: &'static str =
        "Baaj & Marquis 2025, Π-NeSy: A Possibilistic Neuro-Symbolic Approach, arXiv:2504.07055";
}

impl PossibilisticConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Possibilistic {
        Possibilistic { row: PossibilityRow { transform: self.transform, tie: self.tie } }
    }
}

/// Degrees of possibility from the probabilities of softmax.
/// ```text
/// antipignistic:    π_i = Σ_j min(p_i, p_j)
/// min_specificity:  π_i = Σ_{p_j ≤ p_i} p_j
/// ```
/// The largest is 1, and a larger probability has a larger possibility. `min_specificity` jumps where two probabilities
/// cross; its gradient is that of the pieces.
///
/// # Numerics
/// Sums go from the smallest probability up, so they do not depend on the order of the entries. A score of +∞ makes its
/// row NaN: several of them would each be fully possible, not share.
/// # References
/// Baaj & Marquis 2025, arXiv:2504.07055. They apply it after training; the gradient is an addition.
#[derive(Module, Debug)]
pub struct Possibilistic {
    #[module(skip)]
    row: PossibilityRow,
}

impl Normalize for Possibilistic {
    fn laws(&self) -> Laws {
        let by_place =
            self.row.transform == PossibilityTransform::MinSpecificity && self.row.tie == PossibilityTie::Order;
        Laws {
            sums_to_one: false,
            // By place, equal scores are told apart.
            order_preserving: !by_place,
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(self.row)
    }

    /// Compares every entry with every other, some of the others at a time: n² comparisons, but not n² numbers at once.
    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        const AT_ONCE: usize = 128;
        let p = Softmax::default().composed(rows, ctx);
        let x = composed::fill(rows.scores.clone().detach(), rows.removed(), f64::NEG_INFINITY);
        let n = p.dims()[1];
        let parts: Vec<Tensor<2>> = (0..n)
            .step_by(AT_ONCE)
            .map(|start| self.share_of_others(&p, &x, start..(start + AT_ONCE).min(n)))
            .collect();
        // Neighbours first, so that the sums stay as exact as the terms.
        let sum = |mut parts: Vec<Tensor<2>>| {
            while parts.len() > 1 {
                parts =
                    parts.chunks(2).map(|pair| pair.iter().cloned().reduce(|a, b| a + b).expect("a pair")).collect();
            }
            parts.pop()
        };
        composed::fill(sum(parts).unwrap_or(p), rows.removed(), 0.0)
    }
}

impl Possibilistic {
    /// What the entries `others` add to the possibility of each entry (`[rows, n]`).
    fn share_of_others(&self, p: &Tensor<2>, x: &Tensor<2>, others: Range<usize>) -> Tensor<2> {
        let [count, n] = p.dims();
        let (start, m) = (others.start, others.len());
        let own = |of: &Tensor<2>| of.clone().unsqueeze_dim::<3>(2).expand([count, n, m]);
        let other = |of: &Tensor<2>| of.clone().narrow(1, start, m).unsqueeze_dim::<3>(1).expand([count, n, m]);
        // Entry [r, i, j]: of i, and of j.
        let (x_i, x_j, p_i, p_j) = (own(x), other(x), own(p), other(p));
        let terms = match (self.row.transform, self.row.tie) {
            // The larger of two gives way to the smaller. A removed entry is not above a kept one.
            (PossibilityTransform::Antipignistic, _) => p_j.mask_where(x_j.greater_equal(x_i), p_i),
            (PossibilityTransform::MinSpecificity, PossibilityTie::Value) => p_j.mask_fill(x_j.greater(x_i), 0.0),
            (PossibilityTransform::MinSpecificity, PossibilityTie::Order) => {
                let places = |from: usize, to: usize| Tensor::<1, Int>::arange(from as i64..to as i64, &p.device());
                let before = places(start, start + m).unsqueeze_dim::<2>(0).expand([n, m]);
                let before = before.lower(places(0, n).unsqueeze_dim::<2>(1).expand([n, m]));
                let tied_before =
                    x_j.clone().equal(x_i.clone()).bool_and(before.unsqueeze_dim::<3>(0).expand([count, n, m]));
                p_j.mask_fill(x_j.greater(x_i).bool_or(tied_before), 0.0)
            }
        };
        terms.sum_dim(2).squeeze_dim::<2>(2)
    }
}

/// The row maths of [`Possibilistic`], p in descending order:
/// ```text
/// antipignistic:    π_(i) = i p_(i) + Σ_{j>i} p_(j),   dp_i = g_i #{p_j ≥ p_i} + Σ_{p_j > p_i} g_j
/// min_specificity:  π_(i) = Σ_{j≥i} p_(j),             dp_i = Σ_{p_j ≥ p_i} g_j
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PossibilityRow {
    /// The transform.
    pub transform: PossibilityTransform,
    /// What becomes of ties.
    pub tie: PossibilityTie,
}

/// A running sum that carries what rounding took away from it (Kahan 1965): a plain one would lose a digit over a long row.
#[derive(Clone, Copy, Default)]
struct Running<T> {
    sum: T,
    lost: T,
}

impl<T: Real> Running<T> {
    #[inline(always)]
    fn add(&mut self, term: T) {
        let term = term - self.lost;
        let sum = self.sum + term;
        self.lost = (sum - self.sum) - term;
        self.sum = sum;
    }
}

impl PossibilityRow {
    /// Places from the largest score down, earlier ones first among equals; and runs of equal scores in them.
    fn ranks<T: Real>(x: &[T]) -> (Vec<usize>, Vec<Range<usize>>) {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&a, &b| x[b].partial_cmp(&x[a]).unwrap_or(Ordering::Equal));
        let mut end = 0;
        let runs = order.chunk_by(|&a, &b| x[a] == x[b]).map(|run| {
            end += run.len();
            end - run.len()..end
        });
        let runs = runs.collect();
        (order, runs)
    }

    /// Whether equal scores are told apart by their place.
    fn by_place(&self) -> bool {
        self.transform == PossibilityTransform::MinSpecificity && self.tie == PossibilityTie::Order
    }
}

impl RowMap for PossibilityRow {
    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        SoftmaxRow.forward(x, &[], y);
        let (order, runs) = Self::ranks(x);
        // The sum of what lies behind.
        let mut behind = Running::default();
        for run in runs.into_iter().rev() {
            let p = y[order[run.start]];
            let smaller = behind.sum;
            for rank in run.clone().rev() {
                behind.add(p);
                if self.by_place() {
                    y[order[rank]] = behind.sum;
                }
            }
            let possibility = match self.transform {
                // Those of the run count the same as those before it: p each.
                PossibilityTransform::Antipignistic => T::of(run.end as f64).mul_add(p, smaller),
                PossibilityTransform::MinSpecificity => behind.sum,
            };
            if !self.by_place() {
                order[run].iter().for_each(|&place| y[place] = possibility);
            }
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let (order, runs) = Self::ranks(row.x);
        let mut dp = vec![T::zero(); row.x.len()];
        // The sum of g over larger scores.
        let mut above = Running::default();
        for run in runs {
            let larger = above.sum;
            for rank in run.clone() {
                above.add(row.g[order[rank]]);
                if self.by_place() {
                    dp[order[rank]] = above.sum;
                }
            }
            if !self.by_place() {
                for &place in &order[run.clone()] {
                    dp[place] = match self.transform {
                        PossibilityTransform::Antipignistic => T::of(run.end as f64).mul_add(row.g[place], larger),
                        PossibilityTransform::MinSpecificity => above.sum,
                    };
                }
            }
        }
        SoftmaxRow.forward(row.x, &[], dx);
        to_scores(dx, &dp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        normalizer::{Heads, Keep},
        testing::{device, normal, tensor, values},
    };
    use burn::tensor::DType;

    #[test]
    fn the_largest_is_fully_possible_and_the_specific_one_is_smaller() {
        let x = tensor(&normal(1, 7 * 63, 2.0), 63, DType::F64);
        let of = |transform| {
            let map =
                PossibilisticConfig { transform, ..Default::default() }.init(&Init::new(0, &device(), DType::F64));
            values(map.rows(x.clone(), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)))
        };
        let (wide, specific) = (of(PossibilityTransform::Antipignistic), of(PossibilityTransform::MinSpecificity));
        for (wide, specific) in wide.chunks(63).zip(specific.chunks(63)) {
            for row in [wide, specific] {
                let largest = row.iter().fold(0.0f64, |max, y| max.max(*y));
                assert!((largest - 1.0).abs() < 1e-14, "{largest}");
            }
            assert!(wide.iter().zip(specific).all(|(wide, specific)| specific <= &(wide + 1e-15)));
        }
    }

    #[test]
    fn order_tells_equal_scores_apart() {
        let config =
            PossibilisticConfig { transform: PossibilityTransform::MinSpecificity, tie: PossibilityTie::Order };
        let map = config.init(&Init::new(0, &device(), DType::F64));
        let y = values(map.rows(tensor(&[2.0; 4], 4, DType::F64), &Keep::All, Heads::ONE, &Ctx::eval(0, 0)));
        assert_eq!(y, [1.0, 0.75, 0.5, 0.25]);
    }
}
