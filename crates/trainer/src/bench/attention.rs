//! What one attention layer costs: time and memory over the sequence length.
use std::time::Instant;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{DType, Device, Tensor, TensorData},
};
use kiln_activations::{Ctx, Init, kernel::seeded, pointwise::PointwiseConfig};
use kiln_analyses::statistics::{median, quantile};
use kiln_models::{
    attention::{Attention, AttentionConfig, Fit, PresetConfig, Scope},
    block::{Draw, FeedForward, Norm, Read, TransformerBlock},
};
use kiln_stream::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{activations::Effort, memory::Rise, values};

/// The sizes that all layers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Width of the layer's input and output.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Rows of the input.
    pub batch: usize,
    /// Whether no token sees a later one, unless the attention's own pattern says so anyway.
    pub causal: bool,
    /// Width of the hidden layer of a feed-forward network; with one, a whole encoder layer is measured.
    pub feed_forward: Option<usize>,
}

/// One layer on rows of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    config: AttentionConfig,
    sizes: Sizes,
    length: usize,
}

impl Subject {
    /// The layer of a preset, with these heads and else its own defaults.
    ///
    /// # Errors
    /// Why the preset does not go with the sizes.
    pub fn new(preset: &PresetConfig, sizes: Sizes, length: usize) -> Result<Self, String> {
        let mut config = AttentionConfig { n_heads: sizes.heads, ..preset.slots() };
        // Encoder layers have biases everywhere (Vaswani et al. 2017); attention alone is measured as its preset stands.
        config.bias |= sizes.feed_forward.is_some();
        let fit = Fit { d_model: sizes.width, length, causal: sizes.causal };
        config.check(fit).map_err(|invalid| invalid.message)?;
        Ok(Self { config, sizes, length })
    }

    /// Runs and times the layer.
    pub fn measure(&self, device: &Device, dtype: DType, effort: Effort) -> Measured {
        let tracked = device.clone().autodiff();
        // What the threads and the products take once and for all is no cost of the layer.
        let warm = Tensor::<2>::ones([256, 256], (&tracked, dtype)).require_grad();
        drop(warm.clone().matmul(warm).sum().backward());
        wait(device);

        let rise = Rise::begin();
        let layer = Layer::new(self, &tracked, dtype);
        let peer = layer.clone().valid();
        let pass = Pass::new(self, device, &tracked, dtype);
        pass.forward(&peer);
        wait(device);
        let forward_bytes = rise.as_ref().and_then(Rise::peak);
        pass.forward_backward(&layer);
        wait(device);
        let forward_backward_bytes = rise.as_ref().and_then(Rise::peak);

        let [forward, forward_backward] = times(
            [&mut || drop(std::hint::black_box(pass.forward(&peer))), &mut || {
                drop(std::hint::black_box(pass.forward_backward(&layer)));
            }],
            device,
            effort,
        );
        let memory = forward_bytes.zip(forward_backward_bytes);
        let memory =
            memory.map(|(forward_bytes, forward_backward_bytes)| Memory { forward_bytes, forward_backward_bytes });
        Measured { forward, forward_backward, memory }
    }

    /// Input, gradient at the output, output, gradient at the input, and parameters and their gradients by name.
    pub fn values(&self, device: &Device, dtype: DType) -> Value {
        let tracked = device.clone().autodiff();
        let layer = Layer::new(self, &tracked, dtype);
        let pass = Pass::new(self, device, &tracked, dtype);
        let output = pass.forward(&layer.clone().valid());
        let Gradients { input, parameters } = pass.forward_backward(&layer);
        let [of_parameters, of_gradients] = values::module(&layer, &parameters);
        json!({
            "input": values::tensor(&pass.plain),
            "upstream": values::tensor(&pass.upstream),
            "output": values::tensor(&output),
            "input_gradient": values::tensor(&input),
            "parameters": of_parameters,
            "gradients": of_gradients,
        })
    }
}

/// The numbers of one layer on rows of one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The forward pass without a graph.
    pub forward: Time,
    /// Forward and backward pass, down to the gradients of the input and of every parameter.
    pub forward_backward: Time,
    /// What the layer takes; `None` where the system does not tell.
    pub memory: Option<Memory>,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Milliseconds, the median of the timings.
    pub median_ms: f64,
    /// The middle half of the timings, as a share of their median.
    pub spread: f64,
}

/// How far the resident memory of a fresh process rises, from before the layer and its input are made: parameters, input,
/// what the pass keeps and what it needs on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// In the first forward pass.
    pub forward_bytes: u64,
    /// In that and the first forward and backward pass.
    pub forward_backward_bytes: u64,
}

/// Bytes that `length` tokens may take, given what `known` tokens took: memory grows with the square of the length at worst.
pub fn at_worst(known: (usize, u64), length: usize) -> u64 {
    let growth = length as f64 / known.0 as f64;
    (known.1 as f64 * growth.max(1.0).powi(2)) as u64
}

/// What is measured.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are two of them in a process")]
enum Layer {
    /// Attention alone: four projections and the core.
    Attention(Attention),
    /// Post-norm encoder layer with a GELU network.
    Encoder(TransformerBlock),
}

impl Layer {
    fn new(subject: &Subject, device: &Device, dtype: DType) -> Self {
        let Subject { config, sizes: Sizes { width, feed_forward, .. }, length } = subject;
        let init = Init::new(0, device, dtype).child("bench");
        let draw = Draw::Uniform;
        let attention = config.init(&init.child("attention"), *width, *length, [draw; 2], 0.0);
        let Some(hidden) = *feed_forward else { return Self::Attention(attention) };
        let gelu = PointwiseConfig::Gelu(Default::default());
        let network = FeedForward::new(&init.child("feed_forward"), [*width, hidden], true, draw, &gelu, 0.0);
        Self::Encoder(TransformerBlock::new(&init, attention, network, Norm::Post, *width, 0.0))
    }

    fn forward(&self, x: Tensor<3>, scope: &Scope) -> Tensor<3> {
        let ctx = Ctx::train(0, 0);
        match self {
            Self::Attention(attention) => attention.forward(x, scope, &ctx),
            Self::Encoder(block) => block.forward(x, Read::All, scope, &ctx),
        }
    }
}

/// What a layer receives.
struct Pass {
    plain: Tensor<3>,
    tracked: Tensor<3>,
    upstream: Tensor<3>,
    /// On the plain device and on the tracked one.
    scopes: [Scope; 2],
}

struct Gradients {
    input: Tensor<3>,
    parameters: GradientsParams,
}

impl Pass {
    fn new(subject: &Subject, device: &Device, tracked: &Device, dtype: DType) -> Self {
        let Subject { config, sizes, length } = subject;
        let shape = [sizes.batch, *length, sizes.width];
        let stream = Stream::new(0, "bench");
        let normal = |name: &str, device: &Device| {
            let mut draws = stream.child(name).at(0);
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| draws.normal() as f32).collect();
            Tensor::<3>::from_data(TensorData::new(values, shape), (device, dtype))
        };
        let pattern = config.pattern_in(sizes.causal).pattern();
        Self {
            plain: normal("input", device),
            tracked: normal("input", tracked),
            upstream: normal("upstream", tracked),
            scopes: [device, tracked].map(|device| Scope::whole(pattern, *length, device)),
        }
    }

    fn forward(&self, layer: &Layer) -> Tensor<3> {
        layer.forward(self.plain.clone(), &self.scopes[0])
    }

    fn forward_backward(&self, layer: &Layer) -> Gradients {
        let leaf = self.tracked.clone().require_grad();
        let output = layer.forward(leaf.clone(), &self.scopes[1]);
        let mut gradients = seeded(output, self.upstream.clone()).backward();
        let input = leaf.grad_remove(&mut gradients).expect("the output depends on the input");
        Gradients { input, parameters: GradientsParams::from_grads(gradients, layer) }
    }
}

/// Times several pieces of work, which take turns.
fn times<const N: usize>(work: [&mut dyn FnMut(); N], device: &Device, effort: Effort) -> [Time; N] {
    let mut runs = work.map(|work| (work, 1, Vec::new()));
    let once = |work: &mut dyn FnMut(), times: usize| {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        wait(device);
        start.elapsed().as_secs_f64() / times as f64
    };
    for (work, times, _) in &mut runs {
        *times = ((effort.seconds / once(*work, 1)).ceil() as usize).clamp(1, 10_000);
    }
    for _ in 0..effort.repeats.max(1) {
        for (work, times, seconds) in &mut runs {
            seconds.push(once(*work, *times));
        }
    }
    runs.map(|(_, _, seconds)| {
        let middle = median(&seconds);
        Time { median_ms: 1e3 * middle, spread: (quantile(&seconds, 0.75) - quantile(&seconds, 0.25)) / middle }
    })
}

/// Waits until the device has done what it was asked for.
fn wait(device: &Device) {
    device.sync().expect("the device ends its work");
}

#[cfg(test)]
mod tests {
    use kiln_registry::Tagged;

    use super::*;

    const SIZES: Sizes = Sizes { width: 8, heads: 2, batch: 3, causal: false, feed_forward: None };

    fn subject(name: &str, sizes: Sizes, length: usize) -> Result<Subject, String> {
        Subject::new(&PresetConfig::by_name(name).unwrap(), sizes, length)
    }

    #[test]
    fn every_preset_is_measured_in_a_network_that_looks_ahead_or_does_not() {
        let effort = Effort { repeats: 1, seconds: 0.0 };
        for name in PresetConfig::NAMES {
            let both = [false, true].map(|causal| subject(name, Sizes { causal, ..SIZES }, 5));
            assert!(both.iter().any(Result::is_ok), "{name}: {both:?}");
            for subject in both.into_iter().flatten() {
                let measured = subject.measure(&Device::flex(), DType::F32, effort);
                assert!(measured.forward.median_ms > 0.0 && measured.forward_backward.median_ms > 0.0, "{name}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let message = subject("soft", Sizes { causal: true, ..SIZES }, 5).unwrap_err();
        assert!(message.contains("causal"), "{message}");
        let message = subject("attn", Sizes { heads: 3, ..SIZES }, 5).unwrap_err();
        assert!(message.contains("multiple"), "{message}");
    }

    #[test]
    fn values_hold_the_layer_its_input_and_every_gradient() {
        let device = Device::flex();
        let alone = subject("attn", SIZES, 5).unwrap().values(&device, DType::F64);
        assert_eq!(alone["output"]["shape"], json!([3, 5, 8]));
        assert_eq!(alone["input_gradient"]["shape"], json!([3, 5, 8]));
        let encoder = subject("attn", Sizes { feed_forward: Some(7), ..SIZES }, 5).unwrap();
        let encoder = encoder.values(&device, DType::F64);
        for (values, names) in [
            (&alone, vec!["query.weight", "key.weight", "value.weight", "output.weight"]),
            (&encoder, vec!["attention.query.bias", "attention_norm.weight", "feed_forward.up.weight"]),
        ] {
            for name in names {
                assert_eq!(values["parameters"][name]["shape"], values["gradients"][name]["shape"], "{name}");
                let gradient = values["gradients"][name]["values"].as_array().unwrap();
                assert!(gradient.iter().any(|value| value.as_f64().unwrap() != 0.0), "{name} has no gradient");
            }
        }
        assert!(alone["parameters"].get("query.bias").is_none());
    }

    #[test]
    fn four_times_the_length_takes_sixteen_times_the_memory_at_worst() {
        assert_eq!(at_worst((512, 1000), 2048), 16_000);
        assert_eq!(at_worst((512, 1000), 128), 1000);
    }
}
