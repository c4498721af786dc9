//! The vision transformer.
use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor},
};
use kiln_activations::{Ctx, Init, pointwise::PointwiseConfig};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InitScheme, Network, NetworkConfig, decoder::check_positions, stack};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    attention::{AttentionConfig, Fit, PatternConfig, Side, inside},
    block::{LayerNorm, Linear, Norm, Read, TransformerBlock},
    head::{Ends, Site},
    kernel::Epilogue,
    position::{LearnedConfig, Place, Position, PositionConfig},
};

/// Parameters of [`Vit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VitConfig {
    /// Pixels along each side of a patch; divides height and width of the images.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub patch: usize,
    /// Width of the residual stream.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_model: usize,
    /// Width of the feed-forward network's hidden layer.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub d_ff: usize,
    /// Number of blocks.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub n_layers: usize,
    /// Where layer normalisation stands.
    pub norm: Norm,
    /// The function of the feed-forward network.
    pub activation: PointwiseConfig,
    /// How patches know their place, counted row by row.
    pub positions: PositionConfig,
    /// Share of values set to 0 while training: attention weights, hidden layer, and what attention and
    /// feed-forward network add to the residual stream.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// Biases of the feed-forward network.
    pub bias: bool,
    /// What the answer is read from.
    pub pool: Pool,
    /// What turns the vector that is read into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// How first values are drawn.
    pub init: InitScheme,
    /// Attention of every block.
    #[schemars(schema_with = "crate::attention::schema")]
    pub attention: AttentionConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// What stands for the whole image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The mean of all vectors after the last norm.
    #[default]
    Mean,
    /// A learned vector that stands in front of the others and attends to them.
    ClassToken,
}

impl Default for VitConfig {
    /// The smallest one that learns MNIST in a minute: patches of 7 x 7, two layers of width 48. Dosovitskiy et al.
    /// have at least 12 layers of width 768, patches of 14 to 32 pixels and a class token.
    fn default() -> Self {
        Self {
            patch: 7,
            d_model: 48,
            d_ff: 192,
            n_layers: 2,
            norm: Norm::Pre,
            activation: PointwiseConfig::Gelu(Default::default()),
            positions: PositionConfig::Learned(LearnedConfig::default()),
            dropout: 0.0,
            bias: true,
            pool: Pool::Mean,
            head: HeadConfig::default(),
            init: InitScheme::Normal,
            attention: AttentionConfig { bias: true, ..AttentionConfig::default() },
            dtype: Precision::F32,
        }
    }
}

impl Entry for VitConfig {
    const SUMMARY: &'static str = "vision transformer: an encoder on the patches of small images";
    const PAPER: &'static str = "Dosovitskiy et al. 2021, arXiv:2010.11929";
}

impl VitConfig {
    /// Vectors per image.
    fn length(&self, height: usize, width: usize) -> usize {
        let class = usize::from(self.pool == Pool::ClassToken);
        (height / self.patch) * (width / self.patch) + class
    }
}

impl NetworkConfig for VitConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let InputSpec::Image { height, width, .. } = io.input else {
            let message = format!(
                "\"vit\" takes images, but the data gives {}; choose other data, such as \"gratings\", or another network",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        let tiles = |patch: usize| height.is_multiple_of(patch) && width.is_multiple_of(patch);
        if !tiles(self.patch) {
            let fitting: Vec<String> = (1..=height.min(width)).filter(|n| tiles(*n)).map(|n| n.to_string()).collect();
            let message = format!(
                "patches of {0} x {0} do not tile images of {height} x {width}; expected one of {1}",
                self.patch,
                fitting.join(", ")
            );
            return Err(Invalid::new("patch", message));
        }
        let length = self.length(height, width);
        let fit = Fit { d_model: self.d_model, length, causal: false };
        self.attention.check(fit).map_err(|invalid| inside("attention", invalid))?;
        check_positions(&self.positions, length)?;
        self.head.fits(&self.site(io))
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }

    fn attends(&self) -> bool {
        self.attention.has_weights()
    }
}

impl VitConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        let (draw, _) = self.init.draws(self.d_model, self.n_layers);
        Site { features: self.d_model, outputs: io.outputs, bias: true, draw }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Vit {
        let InputSpec::Image { channels, height, width } = io.input else { panic!("vit takes no {}", io.input) };
        let (d_model, length) = (self.d_model, self.length(height, width));
        let std = self.init.embedding_std(d_model);
        let (draw, _) = self.init.draws(d_model, self.n_layers);
        let trunk = stack::trunk!(self, length);
        let at_positions = init.child("positions");
        let place = Place::in_front(length, d_model, std, &at_positions);
        let values = channels * self.patch * self.patch;
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        Vit {
            patches: Linear::new(&init.child("patches"), [values, d_model], true, draw),
            class_token: (self.pool == Pool::ClassToken).then(|| init.normal("class_token", [1, d_model], std)),
            positions: self.positions.init(&place),
            blocks: trunk.blocks(init),
            norm: (self.norm == Norm::Pre).then(|| LayerNorm::new(init, d_model)),
            output,
            head,
            pattern: self.attention.pattern_in(false),
            patch: self.patch,
        }
    }
}

/// A vision transformer.
/// ```text
/// x_t = the values of patch t · W + b + position t,   x ← block(x) for each block
/// z = head(mean of norm(x) over the patches),       or head(norm(x) of the class token)
/// ```
/// Patches are counted row by row; a patch's values run through channels, rows and columns in that order.
///
/// # Shapes
/// - input: `Image [rows, channels, height, width]`; logits: `[rows, outputs]`
/// - recorded for a probe: `attention` and `block` of each block, `blocks.<i>`
#[derive(Module, Debug)]
pub struct Vit {
    /// `[channels · patch², d_model]`
    pub patches: Linear,
    /// `[1, d_model]`, with [`Pool::ClassToken`] only.
    pub class_token: Option<Param<Tensor<2>>>,
    /// The position scheme.
    pub positions: Position,
    /// The blocks, first to last.
    pub blocks: Vec<TransformerBlock>,
    /// The norm after the last block, with [`Norm::Pre`] only.
    pub norm: Option<LayerNorm>,
    /// `[d_model, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    #[module(skip)]
    pattern: PatternConfig,
    patch: usize,
}

/// The patches of images, row by row: `[rows, channels, height, width]` to `[rows, patches, channels · patch²]`.
fn patches(image: Tensor<4>, patch: usize) -> Tensor<3> {
    let [rows, channels, height, width] = image.dims();
    let (down, across) = (height / patch, width / patch);
    let tiles = image.reshape([rows, channels, down, patch, across, patch]).permute([0, 2, 4, 1, 3, 5]);
    tiles.reshape([rows, down * across, channels * patch * patch])
}

impl Vit {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}

impl Network for Vit {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("vit");
        let Input::Image(image) = input else { panic!("vit takes images, not {}", input.kind()) };
        let mut x = self.patches.forward(patches(image.clone(), self.patch), Epilogue::None);
        let [rows, _, d_model] = x.dims();
        if let Some(class) = &self.class_token {
            x = Tensor::cat(vec![class.val().unsqueeze::<3>().expand([rows, 1, d_model]), x], 1);
        }
        let [_, length, _] = x.dims();
        let side = Side::range(0, length, &x.device());
        let x = self.positions.place(x, &side);
        let x = stack::run(&self.blocks, x, Read::All, &stack::scope(&self.pattern, side, None), ctx);
        let normed = |x: Tensor<3>| match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let x = match &self.class_token {
            Some(_) => normed(x.narrow(1, 0, 1)),
            None => normed(x).mean_dim(1),
        };
        self.ends().answer(x.reshape([rows, d_model]), ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        None
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

#[cfg(test)]
mod tests;
