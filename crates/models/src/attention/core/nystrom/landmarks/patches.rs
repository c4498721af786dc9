//! Learned summaries of the patches of a grid.
use burn::{
    module::Module,
    tensor::{Bool, Tensor, activation::gelu},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LandmarkSetting, Summarise, Summary};
use crate::{
    Invalid,
    attention::{Side, core::CoreInit},
    block::{Draw, LayerNorm, Linear},
    kernel::Epilogue,
};

/// Parameters of [`Patches`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchesConfig {
    /// Rows and columns of the grid that the tokens of a row are.
    pub grid: [usize; 2],
    /// Tokens along each side of a patch; what does not fill a patch at the end of the grid is left out.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub ratio: usize,
}

impl Entry for PatchesConfig {
    const SUMMARY: &'static str = "a learned summary of each square patch of a grid of tokens: convolution, norm, GELU";
    const PAPER: &'static str = "Lu et al. 2021, arXiv:2110.11945";
}

impl PatchesConfig {
    /// The landmarks; weights are drawn from `N(0, 1/inputs)`.
    pub fn init(&self, place: &CoreInit<'_>) -> Patches {
        let d = place.d_head;
        let inputs = self.ratio * self.ratio * d;
        Patches {
            summary: Linear::new(&place.init.child("summary"), [inputs, d], false, Draw::Normal),
            norm: LayerNorm::new(&place.init.child("norm"), d),
            grid: self.grid,
            ratio: self.ratio,
        }
    }
}

impl LandmarkSetting for PatchesConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { grid: [height, width], ratio } = *self;
        if height < ratio || width < ratio {
            let message = format!("a grid of {height} x {width} tokens holds no patch of {ratio} x {ratio}");
            return Err(Invalid::new("ratio", message));
        }
        Ok(())
    }
}

/// `gelu(norm(patch W))`, the same W for all heads: a convolution whose stride is its kernel.
#[derive(Module, Debug)]
pub struct Patches {
    /// `[ratio · ratio · d_head, d_head]`
    pub summary: Linear,
    /// Over `d_head`.
    pub norm: LayerNorm,
    grid: [usize; 2],
    ratio: usize,
}

impl Patches {
    /// `[rows, heads, length, d]` to `[rows, heads, patches, ratio² · d]`.
    pub(in crate::attention::core::nystrom) fn patches(&self, x: Tensor<4>) -> Tensor<4> {
        let ([rows, heads, length, d], [height, width], ratio) = (x.dims(), self.grid, self.ratio);
        assert_eq!(length, height * width, "patches: {length} tokens are no grid of {height} x {width}");
        let (down, across) = (height / ratio, width / ratio);
        x.reshape([rows * heads, height, width, d])
            .narrow(1, 0, down * ratio)
            .narrow(2, 0, across * ratio)
            .reshape([rows * heads * down, ratio, across, ratio * d])
            .swap_dims(1, 2)
            .reshape([rows, heads, down * across, ratio * ratio * d])
    }
}

impl Summarise for Patches {
    fn summarise(&self, x: &Tensor<4>, side: &Side) -> Summary {
        let patches = self.patches(x.clone()).cast(self.summary.weight.val().dtype());
        let landmarks = gelu(self.norm.forward(self.summary.forward(patches, Epilogue::None))).cast(x.dtype());
        let used: Option<Tensor<4, Bool>> = side.kept_heads().map(|kept| {
            let kept = kept.float().cast(x.dtype());
            self.patches(kept).sum_dim(3).greater_elem(0.0)
        });
        Summary { landmarks, used }
    }
}
