//! What kernel attention remembers.
use burn::tensor::{Int, Tensor};

use super::sums::Sum;
use crate::attention::state::{Remember, tensor_bytes};

/// The sums of kernel attention over the keys so far; its size does not grow.
#[derive(Clone, Debug, Default)]
pub struct KernelState {
    /// `S = Σ φ(k_j) v_jᵀ`, and in a last column `s = Σ φ(k_j)` where the denominator needs it; `None` before the first token.
    pub values: Option<Sum>,
    /// s alone where queries and keys are rotated: its features are not.
    pub features: Option<Sum>,
    /// Keys so far, where the denominator counts them: `[rows or 1, 1, 1, 1]`.
    pub count: Option<Tensor<4>>,
}

impl Remember for Sum {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        let select = |x: Tensor<4>| x.select(0, rows.clone());
        Self { total: select(self.total), shift: self.shift.map(select) }
    }

    fn reset(self) -> Self {
        Self { total: self.total.zeros_like(), ..self }
    }

    fn bytes(&self) -> usize {
        tensor_bytes(&self.total) + self.shift.as_ref().map_or(0, tensor_bytes)
    }
}

impl Remember for KernelState {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        let select = |sum: Sum| sum.select(rows);
        Self {
            values: self.values.map(select),
            features: self.features.map(select),
            count: self.count.map(|count| select_rows(count, rows)),
        }
    }

    fn reset(self) -> Self {
        Self::default()
    }

    fn bytes(&self) -> usize {
        let sums = [&self.values, &self.features].into_iter().flatten().map(Sum::bytes).sum::<usize>();
        sums + self.count.as_ref().map_or(0, tensor_bytes)
    }
}

/// Some rows of a tensor that has one for all where they agree.
pub(in crate::attention) fn select_rows(x: Tensor<4>, rows: &Tensor<1, Int>) -> Tensor<4> {
    if x.dims()[0] == 1 { x } else { x.select(0, rows.clone()) }
}
