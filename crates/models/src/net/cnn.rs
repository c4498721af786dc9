//! The plain convolutional network.
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use kiln_activations::{
    Ctx, Init, Keep,
    pointwise::{Pointwise, PointwiseConfig},
    pooling::{Pooling, PoolingConfig},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, Head, HeadConfig, Input, InputSpec, Invalid, Io, Precision,
    block::{Conv, Draw, Filters, Linear, dropout},
    head::{Ends, Site},
    kernel::Epilogue,
};

/// Parameters of [`Cnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CnnConfig {
    /// Filters of each convolution, first to last.
    pub channels: Vec<usize>,
    /// Pixels along each side of a filter.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// What the filters see at the image's border.
    pub padding: Padding,
    /// The pooling after each convolution.
    pub pooling: PoolingConfig,
    /// Widths of the dense hidden layers, first to last.
    pub hidden: Vec<usize>,
    /// The function after each convolution and each dense hidden layer.
    pub activation: PointwiseConfig,
    /// Share of the values that reach the head set to 0 while training.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
    /// What turns the last hidden layer into logits; a linear head is the layer `output`.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// How first values are drawn.
    pub init: CnnInit,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// What filters see at the image's border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Zeros, so many that the image keeps its size; for odd filters.
    #[default]
    Same,
    /// Nothing: the filters stay within the image, which shrinks.
    Valid,
}

/// How first values are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CnnInit {
    /// Weights and biases from `U(−1/√fan_in, 1/√fan_in)`, as PyTorch does.
    #[default]
    Uniform,
    /// Weights from `N(0, 0.1²)` cut off at two standard deviations, biases 0.1.
    Truncated,
}

impl CnnConfig {
    /// The network that Agarap 2017 (arXiv:1712.03541) puts a softmax and a support vector machine on: 5 x 5
    /// convolutions of 32 and 64 filters, each with 2 x 2 max pooling, 1024 hidden values, half of them dropped. Strides
    /// (the paper's table says that its pooling moves by 1, its code says 2) and first values are those of the author's
    /// code, github.com/AFAgarap/cnn-svm.
    pub fn cnn_svm() -> Self {
        Self {
            channels: vec![32, 64],
            kernel: 5,
            padding: Padding::Same,
            pooling: PoolingConfig::Max(Default::default()),
            hidden: vec![1024],
            activation: PointwiseConfig::default(),
            dropout: 0.5,
            head: HeadConfig::default(),
            init: CnnInit::Truncated,
            dtype: Precision::F32,
        }
    }
}

impl Default for CnnConfig {
    /// [`CnnConfig::cnn_svm`].
    fn default() -> Self {
        Self::cnn_svm()
    }
}

impl Entry for CnnConfig {
    const SUMMARY: &'static str = "convolutions with pooling, then dense layers, on images";
    const PAPER: &'static str = "Agarap 2017, arXiv:1712.03541";
}

impl CnnConfig {
    /// The convolutions from an image of so many channels on.
    fn filters(&self, channels: usize) -> impl Iterator<Item = Filters> {
        let padding = if self.padding == Padding::Same { self.kernel / 2 } else { 0 };
        let inputs = [channels].into_iter().chain(self.channels.iter().copied());
        let kernel = self.kernel;
        inputs.zip(&self.channels).map(move |(inputs, outputs)| Filters {
            inputs,
            outputs: *outputs,
            kernel,
            stride: 1,
            padding,
        })
    }

    /// Values of the last map, or which convolution does not fit and why.
    fn features(&self, [channels, height, width]: [usize; 3]) -> Result<usize, String> {
        let window = self.pooling.window();
        let (mut sides, mut last) = ([height, width], channels);
        for (i, filters) in self.filters(channels).enumerate() {
            let [height, width] = sides;
            for side in &mut sides {
                *side = filters.places(*side).ok_or_else(|| {
                    format!(
                        "convolution {i} has filters of {} pixels, but its image is {height} x {width}",
                        self.kernel
                    )
                })?;
                if window.kernel > *side + 2 * window.padding {
                    return Err(format!(
                        "the pooling of {} pixels after convolution {i} does not fit the {side} pixels it is given",
                        window.kernel
                    ));
                }
                *side = window.places(*side);
            }
            last = filters.outputs;
        }
        Ok(last * sides[0] * sides[1])
    }
}

impl NetworkConfig for CnnConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        let InputSpec::Image { channels, height, width } = io.input else {
            let message = format!(
                "\"cnn\" takes images, but the data gives {}; choose other data, such as \"gratings\", or name = \"mlp\"",
                io.input
            );
            return Err(Invalid::new("name", message));
        };
        for (key, widths) in [("channels", &self.channels), ("hidden", &self.hidden)] {
            if let Some(layer) = widths.iter().position(|width| *width == 0) {
                return Err(Invalid::new(
                    key,
                    format!("layer {layer} has width 0; expected whole numbers of at least 1"),
                ));
            }
        }
        if self.padding == Padding::Same && self.kernel.is_multiple_of(2) {
            let message = format!(
                "filters of {} pixels cannot keep the image's size; use an odd kernel, or padding = \"valid\"",
                self.kernel
            );
            return Err(Invalid::new("kernel", message));
        }
        self.pooling.check().map_err(|message| Invalid::new("pooling", message))?;
        let advice = "use fewer convolutions, smaller filters or windows, or larger images";
        let features = self
            .features([channels, height, width])
            .map_err(|message| Invalid::new("channels", format!("{message}; {advice}")))?;
        self.head.fits(&self.site(features, io))
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }
}

impl CnnConfig {
    /// Where the head stands, behind a last map of so many values.
    fn site(&self, map: usize, io: &Io) -> Site {
        let draw = match self.init {
            CnnInit::Uniform => Draw::Uniform,
            CnnInit::Truncated => Draw::Truncated,
        };
        Site { features: self.hidden.last().copied().unwrap_or(map), outputs: io.outputs, bias: true, draw }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> Cnn {
        let InputSpec::Image { channels, height, width } = io.input else { panic!("cnn takes no {}", io.input) };
        let features = self.features([channels, height, width]).unwrap_or_else(|message| panic!("{message}"));
        let site = self.site(features, io);
        let draw = site.draw;
        let part = |part: &str, i: usize| init.child(part).child(&i.to_string());
        let sizes: Vec<usize> = [features].into_iter().chain(self.hidden.iter().copied()).collect();
        let convolutions = self.filters(channels).enumerate();
        let hidden = sizes.windows(2).enumerate();
        let (output, head) = self.head.ends(&site, init, "output");
        Cnn {
            convolutions: convolutions
                .map(|(i, filters)| Conv::new(&part("convolutions", i), filters, true, draw))
                .collect(),
            pooling: self.pooling.init(&init.child("pooling")),
            hidden: hidden.map(|(i, pair)| Linear::new(&part("hidden", i), [pair[0], pair[1]], true, draw)).collect(),
            activation: self.activation.init(&init.child("activation")),
            output,
            head,
            dropout: self.dropout,
        }
    }
}

/// A convolutional network.
/// ```text
/// m_l = pool(φ(conv_l(m_{l−1}))),   m_0 = the image
/// h_l = φ(h_{l−1} W_l + b_l),       h_0 = the values of the last map
/// z = drop(h) W + b, or another head of drop(h)
/// ```
/// # Shapes
/// - input: `Image [rows, channels, height, width]`; logits: `[rows, outputs]`
/// - recorded for a probe: `block`, each `m_l` (`convolutions.<i>`) and each `h_l` (`hidden.<i>`)
#[derive(Module, Debug)]
pub struct Cnn {
    /// The convolutions, first to last.
    pub convolutions: Vec<Conv>,
    /// The pooling after each of them.
    pub pooling: Pooling,
    /// The dense hidden layers, first to last.
    pub hidden: Vec<Linear>,
    /// φ
    pub activation: Pointwise,
    /// `[width, outputs]`, with the linear head.
    pub output: Option<Linear>,
    /// The head, if it is not linear.
    pub head: Option<Head>,
    dropout: f64,
}

impl Network for Cnn {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("cnn");
        let Input::Image(image) = input else { panic!("cnn takes images, not {}", input.kind()) };
        let map = self.convolutions.iter().enumerate().fold(image.clone(), |map, (i, conv)| {
            let map = match (&self.pooling, &self.activation) {
                // ReLU of the largest is the largest ReLU, gradients included, and there are fewer of them.
                (Pooling::Max(_), Pointwise::Relu(_)) => {
                    self.activation.forward(self.pooling.forward(conv.forward(map), None))
                }
                _ => self.pooling.forward(self.activation.forward(conv.forward(map)), None),
            };
            ctx.child("convolutions").child(&i.to_string()).record("block", &Keep::All, || map.clone());
            map
        });
        let [rows, channels, height, width] = map.dims();
        let h = map.reshape([rows, channels * height * width]);
        let h = self.hidden.iter().enumerate().fold(h, |h, (i, layer)| {
            let h = self.activation.forward(layer.forward(h, Epilogue::None));
            ctx.child("hidden").child(&i.to_string()).record("block", &Keep::All, || h.clone());
            h
        });
        let h = dropout(h, self.dropout, &ctx.child("dropout"));
        self.ends().answer(h, ask, ctx)
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        None
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        self.ends().unembedding()
    }
}

impl Cnn {
    fn ends(&self) -> Ends<'_> {
        Ends { output: self.output.as_ref(), head: self.head.as_ref() }
    }
}

#[cfg(test)]
mod tests;
