//! The two moments that Adam and AdamW share.
use burn::{
    optim::{RecordState, StateSink, StateSource},
    tensor::{DType, Device, Tensor, TensorData},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adam_step::{AdamStep, adam_step};
use crate::{Invalid, StateDtype, record::take_tensor};

/// What to do where the second moment is exactly 0, which happens to small gradients: in `f32`, squares below
/// about 1e-45 are 0 while the first moment is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VZero {
    /// The update is 0 there.
    #[default]
    Skip,
    /// Divide by `eps` alone, as the formula says: a tiny `eps` then gives huge steps.
    Divide,
}

/// Running means of the gradient and of its square, with bias correction.
/// ```text
/// m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
/// step = lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
/// ```
/// The order of operations is that of PyTorch's single-tensor loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Decay rates β₁ and β₂.
    pub betas: [f64; 2],
    /// Added to the root of the corrected second moment.
    pub eps: f64,
    /// Where `v` is 0.
    pub v_zero: VZero,
}

/// The moments of one parameter.
#[derive(Clone, Debug)]
pub struct AdamState<const D: usize> {
    t: usize,
    m: Tensor<D>,
    v: Tensor<D>,
}

const T: &str = "t";
const M: &str = "m";
const V: &str = "v";

impl Moments {
    /// The new weight and the new state; `keep` and `penalty` as in [`AdamStep`].
    pub(super) fn update<const D: usize>(
        &self,
        lr: f64,
        [keep, penalty]: [f64; 2],
        w: Tensor<D>,
        g: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, AdamState<D>) {
        let AdamState { t, m, v } = state.unwrap_or_else(|| AdamState { t: 0, m: g.zeros_like(), v: g.zeros_like() });
        let t = t + 1;
        let correction = |beta: f64| 1.0 - beta.powf(t as f64);
        let [beta1, beta2] = self.betas;
        let step = AdamStep {
            keep,
            penalty,
            betas: self.betas,
            root: correction(beta2).sqrt(),
            eps: self.eps,
            lr: lr / correction(beta1),
            skip_zero: self.v_zero == VZero::Skip,
        };
        let [w, m, v] = adam_step(step, w, g, m, v);
        (w, AdamState { t, m, v })
    }

    /// Whether 0/0 is kept out.
    ///
    /// # Errors
    /// If `eps` is 0 in the state's dtype, where that is known, and nothing skips `v == 0`.
    pub(crate) fn check(&self, state_dtype: StateDtype) -> Result<(), Invalid> {
        // Half the smallest subnormal of f16, which rounds to 0; the other dtypes hold every eps in use.
        let rounds_to_zero = if state_dtype == StateDtype::F16 { 2f64.powi(-25) } else { 0.0 };
        if self.v_zero == VZero::Divide && self.eps <= rounds_to_zero {
            return Err(Invalid::new(
                "eps",
                format!(
                    "eps = {:e} is 0 in the state's dtype, and v_zero = \"divide\" would make 0/0; \
                     raise eps or write v_zero = \"skip\"",
                    self.eps
                ),
            ));
        }
        Ok(())
    }
}

impl<const D: usize> AdamState<D> {
    pub(super) fn moved_to(self, device: &Device) -> Self {
        Self { t: self.t, m: self.m.to_device(device), v: self.v.to_device(device) }
    }
}

impl<const D: usize> RecordState for AdamState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, T, self.t.into());
        out.push_tensor(prefix, M, self.m.to_data());
        out.push_tensor(prefix, V, self.v.to_data());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self {
            t: usize::try_from(source.take_scalar(prefix, T)?).ok()?,
            m: take_tensor(source, prefix, M, device)?,
            v: take_tensor(source, prefix, V, device)?,
        })
    }
}

/// Of the elements of a flattened state (without prefix), how many have `v == 0` and `m != 0`, and how many there
/// are; `None` for the state of a rule that is not of Adam's kind.
pub(crate) fn dead_second_moments(flat: &StateSink) -> Option<(usize, usize)> {
    let find = |leaf| flat.tensors.iter().find(|(name, _)| name == leaf).map(|(_, data)| data.clone());
    // Every float type widens to f64 without changing what is 0 and what is not.
    let widen = |data: TensorData| data.convert_dtype(DType::F64).try_into_vec::<f64>().ok();
    let (m, v) = (widen(find(M)?)?, widen(find(V)?)?);
    let dead = m.iter().zip(&v).filter(|(m, v)| **v == 0.0 && **m != 0.0).count();
    Some((dead, m.len()))
}
