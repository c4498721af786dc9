//! Clipping by the norm of all gradients together.
use burn::tensor::{DType, Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Leaf, Transform,
    leaf::{dot, widen},
};

/// Scales all gradients by one factor so that their common norm stays below a bound.
/// ```text
/// ‖g‖ = √(Σ_T ‖g_T‖²)        g_T ← g_T · min(1, max_norm / (‖g‖ + 1e-6))
/// ```
/// The sum runs over every parameter that has a gradient, those of frozen groups included. Squares are summed in
/// `f64` where the device has it. The norm before clipping is what the chain reports.
///
/// # References
/// Pascanu et al. 2013, arXiv:1211.5063. The 1e-6 is PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipNormConfig {
    /// Largest common norm, above 0; required.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max_norm: f64,
}

/// Keeps the factor finite for a gradient of 0.
const MARGIN: f64 = 1e-6;

impl Entry for ClipNormConfig {
    const SUMMARY: &'static str = "scale all gradients so that their common norm stays below a bound";
    const PAPER: &'static str = "Pascanu et al. 2013, arXiv:1211.5063";
}

impl Transform for ClipNormConfig {
    fn apply(&self, leaves: &mut [Leaf]) -> Option<Tensor<1>> {
        let squares = leaves.iter().map(|leaf| {
            let g = widen(leaf.grad.clone());
            dot(g.clone(), g)
        });
        let norm = squares.reduce(|sum, square| sum + square)?.sqrt();
        let factor = ((norm.clone() + MARGIN).recip() * self.max_norm).clamp_max(1.0);
        for leaf in leaves {
            let dtype = leaf.grad.dtype();
            // A factor below the range of a half-precision gradient must not become 0 before the product.
            let wide = if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
            leaf.grad = (leaf.grad.clone().cast(wide) * factor.clone().cast(wide)).cast(dtype);
        }
        Some(norm)
    }
}
