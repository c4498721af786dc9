//! Softmax at a temperature.
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Heads, Laws, Normalize, Rows, Softmax,
    scaled::{self, LogScaledSoftmaxRow, RowScale, ScaledSoftmaxNll, ScaledSoftmaxRow},
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, LossKernel, Real, RowKernel},
    loss::SumOrder,
};

/// Parameters of [`Temperature`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemperatureConfig {
    /// The temperature tau, above 0; where it starts if it is learned. 1 is softmax.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub tau: f64,
    /// Whether ln tau is learned, one per head.
    pub learn: bool,
}

impl Default for TemperatureConfig {
    /// Softmax.
    fn default() -> Self {
        Self { tau: 1.0, learn: false }
    }
}

impl Entry for TemperatureConfig {
    const SUMMARY: &'static str = "softmax of the scores divided by a temperature, fixed or learned";
    const PAPER: &'static str = "Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531";
}

impl TemperatureConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> Temperature {
        // The logarithm keeps a learned temperature above 0 and moves it by factors.
        let log_tau = self.learn.then(|| init.constant([init.heads], self.tau.ln_exact()));
        Temperature { tau: self.tau, log_tau }
    }
}

/// Softmax at a temperature: towards one-hot as tau goes to 0, towards uniform as it grows.
/// ```text
/// y = softmax(x / tau)
/// t = y (g − ⟨y, g⟩),   dx = t / tau,   dtau = −⟨t, x⟩ / tau²
/// ```
/// A learned temperature is the exponential of its parameter, one per head (`[heads]`).
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Hinton et al. 2015, arXiv:1503.02531; fitted after training: Guo et al. 2017, On Calibration of Modern Neural
/// Networks, arXiv:1706.04599.
#[derive(Module, Debug)]
pub struct Temperature {
    /// The fixed temperature, or where the learned one started.
    #[module(skip)]
    pub tau: f64,
    /// ln tau, if learned: `[heads]`.
    pub log_tau: Option<Param<Tensor<1>>>,
}

impl Normalize for Temperature {
    fn laws(&self) -> Laws {
        Laws::SOFTMAX
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        match &self.log_tau {
            None => Arc::new(ScaledSoftmaxRow(self.fixed())),
            Some(_) => Arc::new(ScaledSoftmaxRow(LEARNED)),
        }
    }

    fn log_kernel(&self, _: &Ctx) -> Option<Arc<dyn RowKernel>> {
        Some(match &self.log_tau {
            None => Arc::new(LogScaledSoftmaxRow(self.fixed())),
            Some(_) => Arc::new(LogScaledSoftmaxRow(LEARNED)),
        })
    }

    fn nll(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(match &self.log_tau {
            None => Arc::new(ScaledSoftmaxNll { scale: self.fixed(), sum }),
            Some(_) => Arc::new(ScaledSoftmaxNll { scale: LEARNED, sum }),
        })
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        self.log_tau.as_ref().map(|log_tau| heads.column(log_tau.val().exp(), scores))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        Softmax::default().composed(&self.scaled(rows), ctx)
    }

    fn composed_log(&self, rows: &Rows<'_>, ctx: &Ctx) -> Option<Tensor<2>> {
        Softmax::default().composed_log(&self.scaled(rows), ctx)
    }
}

/// The scale whose temperature is a row parameter.
const LEARNED: TemperatureScale<1> = TemperatureScale { tau: 1.0 };

impl Temperature {
    fn fixed(&self) -> TemperatureScale<0> {
        TemperatureScale { tau: self.tau }
    }

    fn scaled<'a>(&self, rows: &Rows<'a>) -> Rows<'a> {
        let scale = match &self.log_tau {
            None => rows.column(1.0 / self.tau),
            Some(_) => rows.param(0).recip(),
        };
        scaled::rows(rows, scale)
    }
}

/// The scale c = 1/tau. P = 1 takes tau from the row's parameter.
#[derive(Clone, Copy, Debug)]
pub struct TemperatureScale<const P: usize> {
    /// The temperature; not used for P = 1.
    pub tau: f64,
}

impl<const P: usize> RowScale for TemperatureScale<P> {
    const N_PARAMS: usize = P;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn scale<T: Real>(&self, params: &[T], _: usize) -> T {
        if P == 1 { T::one() / params[0] } else { T::of(1.0 / self.tau) }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, params: &[T], _: usize, d_scale: T, d_params: &mut [T]) {
        if P == 1 {
            d_params[0] = -d_scale / (params[0] * params[0]);
        }
    }
}
