//! perpGrad: gradients without their part along the weights.
use burn::tensor::Tensor;
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Leaf, Transform,
    leaf::{dot, widen},
};

/// Removes from each tensor's gradient the component along the tensor itself, the direction in which naive loss
/// minimisation scales the logits.
/// ```text
/// g⊥ = g − (w·g)/(w·w + eps) w        g' = g⊥ ‖g‖/(‖g⊥‖ + eps)        (rescale = false: g' = g⊥)
/// ```
/// Each tensor is taken as one flat vector. Everything is computed in `f64` where the device has it, then
/// rounded to the gradient's dtype.
///
/// # Numerics
/// - `w = 0` leaves `g` as it is; `g = 0` stays 0.
/// - Where `g` is parallel to `w`, `g⊥` is rounding noise, and rescaling would blow it up to the size of `g`:
///   `‖g⊥‖ ≤ guard ‖g‖` gives 0.
/// - A tensor of one element is always parallel to itself and is passed over.
///
/// # References
/// Prieto et al. 2025, arXiv:2501.04697. Their formula has no rescaling, their code does; the guard is ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PerpGradConfig {
    /// Give the projected gradient the norm of the original; default true, as in the authors' code.
    pub rescale: bool,
    /// Added to both denominators, above 0; default 1e-30.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// Tensors with fewer dimensions are passed over, at least 1: 2 spares biases and the gains of norms.
    /// Default 1, as in the authors' code.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub min_dims: usize,
    /// Share of the gradient's norm below which the projection counts as noise, in [0, 1); default 1e-6.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub guard: f64,
}

impl Default for PerpGradConfig {
    fn default() -> Self {
        Self { rescale: true, eps: 1e-30, min_dims: 1, guard: 1e-6 }
    }
}

impl Entry for PerpGradConfig {
    const SUMMARY: &'static str = "remove each gradient's part along its weight tensor (perpGrad, OrthoGrad)";
    const PAPER: &'static str = "Prieto et al. 2025, arXiv:2501.04697";
}

impl Transform for PerpGradConfig {
    fn apply(&self, leaves: &mut [Leaf]) -> Option<Tensor<1>> {
        let takes_part =
            |leaf: &&mut Leaf| leaf.shape.len() >= self.min_dims && leaf.shape.iter().product::<usize>() > 1;
        for leaf in leaves.iter_mut().filter(takes_part) {
            leaf.grad = self.project(leaf.weight.clone(), leaf.grad.clone());
        }
        None
    }
}

impl PerpGradConfig {
    fn project(&self, w: Tensor<1>, g: Tensor<1>) -> Tensor<1> {
        let dtype = g.dtype();
        let (w, g) = (widen(w), widen(g));
        let along = dot(w.clone(), g.clone()) / (dot(w.clone(), w.clone()) + self.eps);
        let norm = dot(g.clone(), g.clone()).sqrt();
        let perp = g - w * along;
        let perp_norm = dot(perp.clone(), perp.clone()).sqrt();

        let noise = perp_norm.clone().lower_equal(norm.clone() * self.guard);
        let scale = if self.rescale { norm / (perp_norm + self.eps) } else { norm.ones_like() };
        (perp * scale.mask_fill(noise, 0.0)).cast(dtype)
    }
}
