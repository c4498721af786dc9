//! The residual network for small images.
use burn::{
    module::Module,
    tensor::{DType, Tensor, s},
};
use kiln_activations::{Ctx, Init, Keep};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    block::{BatchNorm, Conv, Draw, Filters, Linear},
    head::{Ends, Site},
    kernel::Epilogue,
};

/// Parameters of [`ResNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// Layers with weights on the longest way through: 6n + 2 for n blocks in each of three stages.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub depth: usize,
    /// Channels of the first stage; the second has twice, the third four times as many.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// How a block that shrinks the image passes its input on.
    pub shortcut: Shortcut,
    /// What turns the averaged map into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// How a block that shrinks the image passes its input on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// Every second pixel of every second row; channels of zeros are added at the end. Option A of the paper, which
    /// takes no parameters.
    #[default]
    Identity,
    /// A 1 x 1 convolution of stride 2 and a batch normalisation. Option B.
    Projection,
}

impl Default for ResNetConfig {
    /// ResNet-20, the smallest of the paper's networks for CIFAR-10 (0.27 million parameters).
    fn default() -> Self {
        Self { depth: 20, width: 16, shortcut: Shortcut::Identity, head: HeadConfig::default(), dtype: Precision::F32 }
    }
}

impl Entry for ResNetConfig {
    const SUMMARY: &'static str = "residual network with batch normalisation, on small images";
    const PAPER: &'static str = "He et al. 2016, arXiv:1512.03385, section 4.2";
}

impl NetworkConfig for ResNetConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let InputSpec::Image { .. } = io.input else {
            let message = format!(
                "\"resnet\" takes images, but the data gives {}; choose other data, such as \"gratings\", or name = \
                 \"mlp\"",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        if self.depth < 8 || self.depth % 6 != 2 {
            let below = (self.depth.saturating_sub(2) / 6).max(1) * 6 + 2;
            let message = format!(
                "a depth of {} is not 6n + 2 for any n of at least 1; try {below} or {}",
                self.depth,
                below + 6
            );
            return Err(Invalid::new("depth", message));
        }
        self.head.fits(&self.site(io))
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }
}

impl ResNetConfig {
    /// Where the head stands.
    fn site(&self, io: &Io) -> Site {
        Site { features: self.width << 2, outputs: io.outputs, bias: true, draw: Draw::Uniform }
    }

    /// The network. Filters are drawn from `N(0, 2/fan_in)`, the output layer from `U(−1/√fan_in, 1/√fan_in)`.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> ResNet {
        let InputSpec::Image { channels, .. } = io.input else { panic!("resnet takes no {}", io.input) };
        let per_stage = (self.depth - 2) / 6;
        let block = |i: usize| {
            let (stage, first) = (i / per_stage, i.is_multiple_of(per_stage));
            let outputs = self.width << stage;
            let shrinks = first && stage > 0;
            let inputs = if shrinks { outputs / 2 } else { outputs };
            let shortcut = if shrinks { Some(self.shortcut) } else { None };
            ResidualBlock::new(&init.child("blocks").child(&i.to_string()), inputs, outputs, shortcut)
        };
        let stem = Filters { inputs: channels, outputs: self.width, kernel: 3, stride: 1, padding: 1 };
        let (output, head) = self.head.ends(&self.site(io), init, "output");
        ResNet {
            stem: Conv::new(&init.child("stem"), stem, false, Draw::He),
            stem_norm: BatchNorm::new(init, self.width),
            blocks: (0..3 * per_stage).map(block).collect(),
            output,
            head,
        }
    }
}

/// A residual block of two 3 x 3 convolutions.
/// ```text
/// y = relu(norm₂(conv₂(relu(norm₁(conv₁ x)))) + shortcut(x))
/// ```
#[derive(Module, Debug)]
pub struct ResidualBlock {
    /// 3 x 3, without bias; of stride 2 where the block shrinks the image.
    pub first: Conv,
    /// norm₁
    pub first_norm: BatchNorm,
    /// 3 x 3, without bias.
    pub second: Conv,
    /// norm₂
    pub second_norm: BatchNorm,
    /// 1 x 1, with [`Shortcut::Projection`] only.
    pub projection: Option<Conv>,
    /// The norm after the projection.
    pub projection_norm: Option<BatchNorm>,
    shrinks: bool,
}

impl ResidualBlock {
    /// A block from so many channels to so many; one with a shortcut shrinks the image.
    pub fn new(init: &Init, inputs: usize, outputs: usize, shortcut: Option<Shortcut>) -> Self {
        let stride = if shortcut.is_some() { 2 } else { 1 };
        let conv = |name: &str, inputs, kernel: usize, stride| {
            let filters = Filters { inputs, outputs, kernel, stride, padding: kernel / 2 };
            Conv::new(&init.child(name), filters, false, Draw::He)
        };
        let projects = shortcut == Some(Shortcut::Projection);
        Self {
            first: conv("first", inputs, 3, stride),
            first_norm: BatchNorm::new(init, outputs),
            second: conv("second", outputs, 3, 1),
            second_norm: BatchNorm::new(init, outputs),
            projection: projects.then(|| conv("projection", inputs, 1, stride)),
            projection_norm: projects.then(|| BatchNorm::new(init, outputs)),
            shrinks: shortcut.is_some(),
        }
    }

    /// The block, `[rows, inputs, height, width]` to `[rows, outputs, …]`: of the same size, or ⌈half⌉ of it.
    pub fn forward(&self, x: Tensor<4>, ctx: &Ctx) -> Tensor<4> {
        let h = self.first_norm.forward(self.first.forward(x.clone()), Epilogue::Relu, ctx);
        let h = self.second.forward(h);
        let shortcut = self.shortcut(x, h.dims(), ctx);
        self.second_norm.onto(Some(shortcut), h, Epilogue::Relu, ctx)
    }

    fn shortcut(&self, x: Tensor<4>, [rows, outputs, height, width]: [usize; 4], ctx: &Ctx) -> Tensor<4> {
        match (&self.projection, &self.projection_norm) {
            (Some(projection), Some(norm)) => norm.forward(projection.forward(x), Epilogue::None, ctx),
            _ if self.shrinks => {
                let [_, inputs, _, _] = x.dims();
                let zeros = Tensor::zeros([rows, outputs - inputs, height, width], (&x.device(), x.dtype()));
                Tensor::cat(vec![x.slice(s![.., .., ..;2, ..;2]), zeros], 1)
            }
            _ => x,
        }
    }
}

/// A residual network in three stages, which see the image at full, half and quarter size.
/// ```text
/// m = relu(norm(conv 3x3 image)),   m ← block(m) for each block,   z = mean of m over its pixels · W + b
/// ```
/// # Shapes
/// - input: `Image [rows, channels, height, width]`; logits: `[rows, outputs]`
/// - recorded for a probe: `block`, what each block gives
#[derive(Module, Debug)]
pub struct ResNet {
    /// 3 x 3, without bias.
    pub stem: Conv,
    /// The norm after it.
    pub stem_norm: BatchNorm,
    /// The blocks, first to last.
    pub blocks: Vec<ResidualBlock>,
    /// `[4 · width, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
}

impl ResNet {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}

impl Network for ResNet {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("resnet");
        let Input::Image(image) = input else { panic!("resnet takes images, not {}", input.kind()) };
        let mut map = self.stem_norm.forward(self.stem.forward(image.clone()), Epilogue::Relu, ctx);
        for (i, block) in self.blocks.iter().enumerate() {
            map = block.forward(map, ctx);
            ctx.child("blocks").child(&i.to_string()).record("block", &Keep::All, || map.clone());
        }
        let [rows, channels, height, width] = map.dims();
        let features = map.reshape([rows, channels, height * width]).mean_dim(2).reshape([rows, channels]);
        self.ends().answer(features, ask, ctx)
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
