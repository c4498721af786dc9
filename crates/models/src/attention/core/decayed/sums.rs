//! Sums over past keys that fade.
//!
//! ```text
//! S_t = diag(α_t) S_{t−1} + k_t v_tᵀ,   o_t = q_t S_t
//! ```
//! Within a chunk, with b the cumulative sum of log α from its start,
//! ```text
//! o_i = (q_i e^(b_i)) S + Σ_{j ≤ i} (Σ_c q_ic k_jc e^(b_ic − b_jc)) v_j
//! ```
//! The exponential is split, `(q_i e^(b_i))·(k_j e^(−b_j))`, whose second factor grows with the decay over the chunk and so
//! bounds its length. The exact form has a factor for every pair and channel.
use burn::tensor::Tensor;

use crate::{
    attention::core::{chunks::Chunks, kernel::sums::lower},
    kernel::scan,
};

/// The largest total of −log α in a chunk of the split form: e⁸⁰ ≈ 5·10³⁴, and `f32` ends at 3·10³⁸.
const LARGEST_EXPONENT: f64 = 80.0;

/// What enters a fading sum; padding has `k = v = 0` and `log_decay = 0`, so that the state passes it unchanged.
#[derive(Clone, Debug)]
pub struct Fading {
    /// `[rows, heads, length, f]`
    pub q: Tensor<4>,
    /// `[rows, heads, length, f]`
    pub k: Tensor<4>,
    /// `[rows, heads, length, e]`
    pub v: Tensor<4>,
    /// log α, at most 0: `[rows or 1, heads, length, 1 or f]`.
    pub log_decay: Tensor<4>,
}

/// How pairs of a chunk meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `e^(b_i − b_j)` for every pair and channel: exact for any decay, memory as the square of the chunk times the channels.
    Exact,
    /// The exponential split in two, see above.
    Split,
}

/// Tokens per chunk of the split form for which log α ≥ `−largest` per token is safe.
pub fn safe_chunk(chunk: usize, largest: f64) -> usize {
    chunk.min((LARGEST_EXPONENT / largest) as usize).max(1)
}

/// The fading sums after `state` (`[rows, heads, f, e]`), in chunks of `chunk` tokens, and the state after them.
///
/// # Panics
/// If there are no tokens.
pub fn fading(terms: Fading, state: Option<Tensor<4>>, chunk: usize, pairs: Pairs) -> (Tensor<4>, Tensor<4>) {
    let Fading { q, k, v, log_decay } = terms;
    let ([rows, heads, length, f], [_, _, _, e], [.., channels]) = (q.dims(), v.dims(), log_decay.dims());
    let chunks = Chunks::of(&q, chunk);
    let start = match state {
        Some(state) => state.reshape([chunks.batch(), f, e]),
        None => Tensor::zeros([chunks.batch(), f, e], (&q.device(), q.dtype())),
    };
    let b = chunks.split(log_decay.expand([rows, heads, length, channels]), 0.0).cumsum(2);
    let end = b.clone().narrow(2, chunks.size - 1, 1);
    if pairs == Pairs::Split {
        let factors = end.exp().reshape([chunks.batch(), chunks.count, channels]);
        let b = chunks.joined(b);
        return chunks.summed(q * b.clone().exp(), k * b.neg().exp(), v, factors, start);
    }
    let (q, k, v) = (chunks.split(q, 0.0), chunks.split(k, 0.0), chunks.split(v, 0.0));
    let own = exact(q.clone(), k.clone(), b.clone()).matmul(v.clone());
    let added = (k * (end.clone() - b.clone()).exp()).swap_dims(2, 3).matmul(v);
    let (before, after) = chunks.carried(scan(added, end.exp().swap_dims(2, 3), start));
    (chunks.joined(own + (q * b.exp()).matmul(before)), after)
}

/// Weights of a chunk's pairs, `[batch, count, size, size]`, from the cumulative log decays b.
fn exact(q: Tensor<4>, k: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let [_, _, _, channels] = b.dims();
    // Of later keys nothing is wanted: their exponent is cut at 0 before it can overflow.
    if channels == 1 {
        let factor = (b.clone() - b.swap_dims(2, 3)).clamp_max(0.0).exp();
        return lower(q.matmul(k.swap_dims(2, 3)) * factor);
    }
    let apart = |x: Tensor<4>, axis| x.unsqueeze_dim::<5>(axis);
    let factor = (apart(b.clone(), 3) - apart(b, 2)).clamp_max(0.0).exp();
    lower((apart(q, 3) * apart(k, 2) * factor).sum_dim(4).squeeze_dim::<4>(4))
}
