//! Normalisation of queries and keys.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::Init;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Inside the root of the mean square.
const EPS: f64 = 1e-6;

/// How queries and keys of each head are normalised, before they are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Not at all.
    #[default]
    None,
    /// By their root mean square, with a learned gain per channel; the products keep their scale. Dehghani et al. 2023,
    /// arXiv:2302.05442 (with layer norm).
    Rms,
    /// To length 1; the products get a learned scale per head. Henry et al. 2020, arXiv:2010.04245.
    L2,
}

/// What normalises the queries or the keys of all heads.
/// ```text
/// rms:  x ← γ x / √(mean x² + 1e-6)        l2:  x ← x / max(|x|, 1e-6)
/// ```
#[derive(Module, Debug)]
pub struct HeadNorm {
    /// γ of [`QkNorm::Rms`]: `[d_head]`, first 1, shared by the heads.
    pub gain: Option<Param<Tensor<1>>>,
}

impl HeadNorm {
    /// A norm for heads of width `d_head`; `None` for none.
    pub fn new(init: &Init, norm: QkNorm, d_head: usize) -> Option<Self> {
        match norm {
            QkNorm::None => None,
            QkNorm::Rms => Some(Self { gain: Some(init.constant([d_head], 1.0)) }),
            QkNorm::L2 => Some(Self { gain: None }),
        }
    }

    /// `[rows, heads, length, d_head]` to the same shape; a vector of zeros stays one.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.gain {
            Some(gain) => {
                let [d_head] = gain.dims();
                let root = x.clone().square().mean_dim(3).add_scalar(EPS).sqrt();
                x / root * gain.val().reshape([1, 1, 1, d_head])
            }
            None => {
                // The root of the smallest square keeps the gradient of a zero vector finite.
                let length = x.clone().square().sum_dim(3).clamp_min(EPS * EPS).sqrt();
                x / length
            }
        }
    }
}
