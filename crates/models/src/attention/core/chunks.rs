//! Sequences in chunks of equal length.
use burn::tensor::Tensor;

use crate::kernel::causal_sum;

/// A sequence of heads cut into chunks, the last one filled up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    rows: usize,
    heads: usize,
    /// Tokens of the sequence.
    pub length: usize,
    /// Tokens of a chunk.
    pub size: usize,
    /// Number of chunks.
    pub count: usize,
}

impl Chunks {
    /// Chunks of `size` tokens, or of all if there are fewer, for sequences like `x: [rows, heads, length, width]`.
    ///
    /// # Panics
    /// If there are no tokens.
    pub fn of(x: &Tensor<4>, size: usize) -> Self {
        let [rows, heads, length, _] = x.dims();
        assert!(length > 0, "a causal sum has at least one token");
        let size = size.clamp(1, length);
        Self { rows, heads, length, size, count: length.div_ceil(size) }
    }

    /// Sequences: rows times heads.
    pub fn batch(&self) -> usize {
        self.rows * self.heads
    }

    /// `[rows, heads, length, width]` to `[batch, count, size, width]`, filled up with `value`.
    pub fn split(&self, x: Tensor<4>, value: f64) -> Tensor<4> {
        let [_, _, _, width] = x.dims();
        let missing = self.count * self.size - self.length;
        let x = if missing == 0 {
            x
        } else {
            let filling = Tensor::full([self.rows, self.heads, missing, width], value, (&x.device(), x.dtype()));
            Tensor::cat(vec![x, filling], 2)
        };
        x.reshape([self.batch(), self.count, self.size, width])
    }

    /// `[batch, count, size, width]` to `[rows, heads, length, width]`.
    pub fn joined(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, width] = x.dims();
        let whole = x.reshape([self.rows, self.heads, self.count * self.size, width]);
        if self.count * self.size == self.length { whole } else { whole.narrow(2, 0, self.length) }
    }

    /// `[batch, 1, f, e]` to `[rows, heads, f, e]`.
    pub fn state(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, f, e] = x.dims();
        x.reshape([self.rows, self.heads, f, e])
    }

    /// States `[batch, count + 1, f, e]`: those before each chunk, and the last one as `[rows, heads, f, e]`.
    pub fn carried(&self, states: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let before = states.clone().narrow(1, 0, self.count);
        (before, self.state(states.narrow(1, self.count, 1)))
    }

    /// [`causal_sum`] on heads: the sums of every token and the last state, `[rows, heads, f, e]`.
    pub fn summed(
        &self,
        a: Tensor<4>,
        b: Tensor<4>,
        w: Tensor<4>,
        factors: Tensor<3>,
        start: Tensor<3>,
    ) -> (Tensor<4>, Tensor<4>) {
        let [_, f, e] = start.dims();
        let flat = |x: Tensor<4>, width| x.reshape([self.batch(), self.length, width]);
        let output = causal_sum(flat(a, f), flat(b, f), flat(w, e), factors, start, self.size);
        let output = output.reshape([self.rows, self.heads, self.length + f, e]);
        (output.clone().narrow(2, 0, self.length), output.narrow(2, self.length, f))
    }
}
