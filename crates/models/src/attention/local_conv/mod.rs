//! A convolution of the values beside attention, for what stands nearby.
use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation::gelu},
};
use kiln_activations::Init;
use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scope, core::Heads};
use crate::Invalid;

/// A depthwise convolution of the values that is added to what the core gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConvConfig {
    /// Tokens that a window reaches over, along each side of it on a grid.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Rows and columns of the grid that the tokens are; they are a sequence if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<[usize; 2]>,
    /// Tokens in front of the grid that are no part of it, such as a class token.
    pub skip: usize,
    /// Whether each row's factors are made from its mean token, instead of the same for all.
    pub dynamic: bool,
}

impl Default for LocalConvConfig {
    /// 3 tokens wide, as in InLine attention; MALA takes 5.
    fn default() -> Self {
        Self { kernel: 3, grid: None, skip: 0, dynamic: false }
    }
}

impl LocalConvConfig {
    /// Whether the parameters fit each other; `causal` says whether no token may see a later one.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self, causal: bool) -> Result<(), Invalid> {
        if causal && self.grid.is_some() {
            let message =
                "a window on a grid sees later tokens; leave grid out, or choose a pattern that is not causal";
            return Err(Invalid::new("grid", message.into()));
        }
        if causal && self.dynamic {
            let message = "the mean token of a row is made from later ones too; set dynamic = false, or choose a pattern \
                           that is not causal";
            return Err(Invalid::new("dynamic", message.into()));
        }
        if !causal && self.kernel.is_multiple_of(2) {
            let message = format!("{} has no middle token; expected an odd number", self.kernel);
            return Err(Invalid::new("kernel", message));
        }
        if self.grid.is_none() && self.skip > 0 {
            let message = "there is no grid that tokens could stand in front of; give a grid or leave skip out";
            return Err(Invalid::new("skip", message.into()));
        }
        Ok(())
    }

    /// The convolution for `n_heads` heads with values of `d_value` entries, in a layer whose input has `d_model`.
    pub fn init(&self, init: &Init, d_model: usize, [n_heads, d_value]: [usize; 2]) -> LocalConv {
        let taps = if self.grid.is_some() { self.kernel * self.kernel } else { self.kernel };
        let taps_from_mean = |width: usize| TapsFromMean {
            inner: init.normal("inner", [n_heads, width, width], (width as f64).powf(-0.5)),
            outer: init.normal("outer", [n_heads, width, taps * d_value], (width as f64).powf(-0.5)),
        };
        LocalConv {
            taps: (!self.dynamic).then(|| init.uniform("taps", [taps, n_heads * d_value], (taps as f64).powf(-0.5))),
            from_mean: self.dynamic.then(|| taps_from_mean(d_model / n_heads)),
            kernel: self.kernel,
            grid: self.grid,
            skip: self.skip,
        }
    }
}

/// ```text
/// y_t = Σ_r c_r ⊙ v_(t + r)
/// ```
/// over the tokens of a window around t, or before and at t where the layer is causal; 0 stands outside of the row or grid
/// and at padding. The factors c_r, one per channel, are learned, or for each row `W₂ gelu(W₁ mean x)` in every head.
///
/// # References
/// Han et al. 2024, arXiv:2412.06590 (from the mean); Fan et al. 2025, arXiv:2507.00698 (5 x 5, learned).
#[derive(Module, Debug)]
pub struct LocalConv {
    /// `[taps, n_heads · d_value]`
    pub taps: Option<Param<Tensor<2>>>,
    /// Makes the factors of a row.
    pub from_mean: Option<TapsFromMean>,
    kernel: usize,
    #[module(skip)]
    grid: Option<[usize; 2]>,
    skip: usize,
}

/// `W₂ gelu(W₁ x)` for each head's part of a vector.
#[derive(Module, Debug)]
pub struct TapsFromMean {
    /// `[n_heads, width, width]`, width = d_model / n_heads
    pub inner: Param<Tensor<3>>,
    /// `[n_heads, width, taps · d_value]`
    pub outer: Param<Tensor<3>>,
}

impl TapsFromMean {
    /// Factors of each row: `[rows, length, d_model]` to `[rows, taps, n_heads · d_value]`; padding is left out of the mean.
    fn taps(&self, x: &Tensor<3>, scope: &Scope, d_value: usize) -> Tensor<3> {
        let [rows, length, d_model] = x.dims();
        let mean = match &scope.keys.kept {
            None => x.clone().mean_dim(1),
            Some(kept) => {
                let kept = kept.clone().unsqueeze_dim::<3>(2);
                let n = kept.clone().float().cast(x.dtype()).sum_dim(1).clamp_min(1.0);
                x.clone().mask_fill(kept.bool_not().expand([rows, length, d_model]), 0.0).sum_dim(1) / n
            }
        };
        let (inner, outer) = (self.inner.val(), self.outer.val());
        let [heads, width, outputs] = outer.dims();
        let mean = mean.reshape([rows, heads, width]).swap_dims(0, 1); // [heads, rows, width]
        let taps = gelu(mean.matmul(inner)).matmul(outer); // [heads, rows, taps · d_value]
        taps.reshape([heads, rows, outputs / d_value, d_value]).permute([1, 2, 0, 3]).reshape([
            rows,
            outputs / d_value,
            heads * d_value,
        ])
    }
}

impl LocalConv {
    /// What is added for every token, and the last values for the tokens to come where the layer is causal.
    ///
    /// # Shapes
    /// - x: `[rows, length, d_model]`; values of `heads`: `[rows, kv_heads, length, d_value]`
    /// - past: `[rows, kernel − 1, n_heads · d_value]`, the values in front of the first; zeros if left out
    /// - output: `[rows, n_heads, length, d_value]`
    ///
    /// # Panics
    /// If the tokens do not make the grid.
    pub fn forward(
        &self,
        heads: Heads,
        x: &Tensor<3>,
        scope: &Scope,
        past: Option<Tensor<3>>,
    ) -> (Tensor<4>, Option<Tensor<3>>) {
        let v = super::core::zeroed(heads.repeated().v, &scope.keys);
        let [rows, n_heads, length, d_value] = v.dims();
        let channels = n_heads * d_value;
        let taps = match (&self.taps, &self.from_mean) {
            (Some(taps), _) => taps.val().unsqueeze::<3>(),
            (None, Some(from_mean)) => from_mean.taps(x, scope, d_value),
            (None, None) => panic!("a local convolution has factors or makes them"),
        };
        let v = v.swap_dims(1, 2).reshape([rows, length, channels]);
        let (y, tail) = match self.grid {
            Some(grid) => (self.on_grid(v, taps, grid), None),
            None => self.in_row(v, taps, scope.looks_back(), past),
        };
        (y.reshape([rows, length, n_heads, d_value]).swap_dims(1, 2), tail)
    }

    fn in_row(
        &self,
        v: Tensor<3>,
        taps: Tensor<3>,
        causal: bool,
        past: Option<Tensor<3>>,
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        let [rows, length, channels] = v.dims();
        let reach = self.kernel - 1;
        let zeros = |length| Tensor::zeros([rows, length, channels], (&v.device(), v.dtype()));
        let (before, after) = if causal { (reach, 0) } else { (reach / 2, reach / 2) };
        let front = past.unwrap_or_else(|| zeros(before));
        let padded = Tensor::cat(vec![front, v.clone(), zeros(after)], 1);
        let y = (0..self.kernel)
            .map(|r| padded.clone().narrow(1, r, length) * taps.clone().narrow(1, r, 1))
            .reduce(|a, b| a + b)
            .expect("at least one tap");
        (y, causal.then(|| padded.narrow(1, length, reach)))
    }

    fn on_grid(&self, v: Tensor<3>, taps: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<3> {
        let ([rows, length, channels], skip, kernel) = (v.dims(), self.skip, self.kernel);
        assert_eq!(length, skip + height * width, "local_conv: {length} tokens are no grid of {height} x {width}");
        let (device, dtype, reach) = (v.device(), v.dtype(), kernel / 2);
        let zeros = |shape: [usize; 4]| Tensor::<4>::zeros(shape, (&device, dtype));
        let image = v.narrow(1, skip, height * width).reshape([rows, height, width, channels]);
        let side = zeros([rows, height, reach, channels]);
        let wide = Tensor::cat(vec![side.clone(), image, side], 2);
        let edge = zeros([rows, reach, width + 2 * reach, channels]);
        let padded = Tensor::cat(vec![edge.clone(), wide, edge], 1);
        let y = (0..kernel * kernel)
            .map(|r| {
                let window = padded.clone().narrow(1, r / kernel, height).narrow(2, r % kernel, width);
                window * taps.clone().narrow(1, r, 1).unsqueeze_dim::<4>(1)
            })
            .reduce(|a, b| a + b)
            .expect("at least one tap")
            .reshape([rows, height * width, channels]);
        if skip == 0 {
            return y;
        }
        Tensor::cat(vec![Tensor::zeros([rows, skip, channels], (&device, dtype)), y], 1)
    }
}

#[cfg(test)]
mod tests;
