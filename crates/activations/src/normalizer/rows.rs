//! Rows of scores, and which head each of them belongs to.
use burn::tensor::{Bool, Tensor};

use super::{Keep, composed};

/// What a map's composed form starts from.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// `[rows, n]`
    pub scores: Tensor<2>,
    /// `[rows, P]`, for a map with row parameters.
    pub params: Option<Tensor<2>>,
    /// Which entries take part.
    pub keep: &'a Keep,
}

impl Rows<'_> {
    /// Where an entry does not take part: it is not kept, or its score is −∞ (`[rows, n]`).
    pub fn removed(&self) -> Tensor<2, Bool> {
        composed::removed(&self.scores, self.keep)
    }

    /// The number n of entries that take part in each row, as a float (`[rows, 1]`).
    pub fn count(&self) -> Tensor<2> {
        let all = self.scores.ones_like();
        composed::fill(all, self.removed(), 0.0).sum_dim(1)
    }

    /// ln n of each row (`[rows, 1]`), and 0 for an empty one.
    pub fn log_count(&self) -> Tensor<2> {
        self.count().clamp_min(1.0).log()
    }

    /// The same number for every row, as a column `[rows, 1]`.
    pub fn column(&self, value: f64) -> Tensor<2> {
        Tensor::full([self.scores.dims()[0], 1], value, (&self.scores.device(), self.scores.dtype()))
    }

    /// Row parameter `index` as a column `[rows, 1]`.
    ///
    /// # Panics
    /// If the map has no such parameter.
    pub fn param(&self, index: usize) -> Tensor<2> {
        self.params.as_ref().expect("a map that asks for a row parameter gives it").clone().narrow(1, index, 1)
    }
}

/// Which head a row of flattened scores belongs to: row r to head `(r / queries) mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The number of heads.
    pub count: usize,
    /// Rows of one head that follow each other.
    pub queries: usize,
}

impl Heads {
    /// Rows without heads.
    pub const ONE: Self = Self { count: 1, queries: 1 };

    /// The heads of scores whose axes before the normalized one are these: `[.., heads, queries]`.
    pub fn of(leading: &[usize]) -> Self {
        match leading {
            [.., heads, queries] => Self { count: *heads, queries: *queries },
            _ => Self::ONE,
        }
    }

    /// A parameter per head (`[heads]`, or `[1]` for all of them) as a column `[rows, 1]` in the dtype of the scores.
    ///
    /// # Panics
    /// If there are neither one value nor as many as heads.
    pub fn column(&self, param: Tensor<1>, scores: &Tensor<2>) -> Tensor<2> {
        let (rows, values) = (scores.dims()[0], param.dims()[0]);
        let param = param.cast(scores.dtype());
        if values == 1 {
            return param.reshape([1, 1]).expand([rows, 1]);
        }
        assert_eq!(values, self.count, "the map was built for {values} heads and meets scores of {} heads", self.count);
        let outer = rows / (self.count * self.queries).max(1);
        param.reshape([1, values, 1]).expand([outer, values, self.queries]).reshape([rows, 1])
    }
}
