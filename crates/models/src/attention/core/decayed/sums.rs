//! Sums over past keys that fade.
//!
//! ```text
//! S_t = diag(α_t) S_{t−1} + k_t v_tᵀ,   o_t = q_t S_t
//! ```
//! Within a chunk, with b the cumulative sum of log α from its start,
//! ```text
//! o_i = (q_i e^(b_i)) S + Σ_{j ≤ i} (Σ_c q_ic k_jc e^(b_ic − b_jc)) v_j
//! ```
//! One α per head makes a matrix of factors `e^(b_i − b_j)`, all of them at most 1. One per channel would need a matrix per
//! channel; there the exponential is split, `(q_i e^(b_i))·(k_j e^(−b_j))`, whose second factor grows with the decay over
//! the chunk and so bounds its length.
use burn::tensor::Tensor;

use crate::attention::core::kernel::sums::{joined, lower};

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

/// How pairs of a chunk meet where α differs between channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `e^(b_i − b_j)` for every pair and channel: exact for any decay, memory as the square of the chunk times f.
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
pub fn fading(terms: &Fading, mut state: Option<Tensor<4>>, chunk: usize, pairs: Pairs) -> (Tensor<4>, Tensor<4>) {
    let [_, _, length, _] = terms.q.dims();
    assert!(length > 0, "a fading sum has at least one token");
    let mut outputs = Vec::new();
    for start in (0..length).step_by(chunk.max(1)) {
        let size = chunk.min(length - start);
        let part = |x: &Tensor<4>| if size == length { x.clone() } else { x.clone().narrow(2, start, size) };
        let (q, k, v) = (part(&terms.q), part(&terms.k), part(&terms.v));
        let b = part(&terms.log_decay).cumsum(2);
        let end = b.clone().narrow(2, size - 1, 1);
        let own = weights(q.clone(), k.clone(), b.clone(), pairs).matmul(v.clone());
        outputs.push(match &state {
            None => own,
            Some(state) => own + (q * b.clone().exp()).matmul(state.clone()),
        });
        let added = (k * (end.clone() - b).exp()).swap_dims(2, 3).matmul(v);
        state = Some(match state {
            None => added,
            Some(state) => state * end.exp().swap_dims(2, 3) + added,
        });
    }
    (joined(outputs), state.expect("at least one chunk"))
}

/// Weights of a chunk's pairs, `[rows, heads, chunk, chunk]`, from the cumulative log decays b.
fn weights(q: Tensor<4>, k: Tensor<4>, b: Tensor<4>, pairs: Pairs) -> Tensor<4> {
    let [_, _, _, channels] = b.dims();
    // Of later keys nothing is wanted: their exponent is cut at 0 before it can overflow.
    if channels == 1 {
        let factor = (b.clone() - b.swap_dims(2, 3)).clamp_max(0.0).exp();
        return lower(q.matmul(k.swap_dims(2, 3)) * factor);
    }
    lower(match pairs {
        Pairs::Split => (q * b.clone().exp()).matmul((k * b.neg().exp()).swap_dims(2, 3)),
        Pairs::Exact => {
            let apart = |x: Tensor<4>, axis| x.unsqueeze_dim::<5>(axis);
            let factor = (apart(b.clone(), 3) - apart(b, 2)).clamp_max(0.0).exp();
            (apart(q, 3) * apart(k, 2) * factor).sum_dim(4).squeeze_dim::<4>(4)
        }
    })
}
