//! Keeping padding out of sums.
use burn::tensor::{DType, Tensor};

use crate::attention::{Scope, Side, core::Heads};

/// `x` with 0 at the tokens that are padding, whatever stands there, NaN included: `[rows, heads, length, width]`.
pub(in crate::attention) fn zeroed(x: Tensor<4>, side: &Side) -> Tensor<4> {
    match side.kept_heads() {
        None => x,
        Some(kept) => {
            let dims = x.dims();
            x.mask_fill(kept.bool_not().expand(dims), 0.0)
        }
    }
}

/// Heads for sums over the keys: a key for each query head, 0 at padding, in a type that sums are safe in.
pub(super) fn settled(heads: Heads, scope: &Scope) -> Heads {
    let Heads { q, k, v } = heads.repeated();
    let dtype = accumulator(q.dtype());
    Heads {
        q: zeroed(q.cast(dtype), &scope.queries),
        k: zeroed(k.cast(dtype), &scope.keys),
        v: zeroed(v.cast(dtype), &scope.keys),
    }
}

/// The type that sums of this one are kept in.
pub(super) fn accumulator(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

/// Number of keys that each query sees, after `before` ones: `[rows or 1, 1, queries, 1]`. Queries are the last of the keys
/// if the scope is causal.
pub(super) fn seen(scope: &Scope, before: Option<Tensor<4>>, dtype: DType) -> Tensor<4> {
    let [queries, keys] = scope.lengths();
    let kept = match scope.keys.kept_heads() {
        None => Tensor::ones([1, 1, keys, 1], (&scope.keys.places.device(), dtype)),
        Some(kept) => kept.float().cast(dtype),
    };
    let counts = if scope.is_causal() {
        kept.cumsum(2).narrow(2, keys - queries, queries)
    } else {
        let [rows, _, _, _] = kept.dims();
        kept.sum_dim(2).expand([rows, 1, queries, 1])
    };
    match before {
        None => counts,
        Some(before) => counts + before,
    }
}
