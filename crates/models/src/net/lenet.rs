//! LeNet.
use burn::tensor::DType;
use kiln_activations::{Init, pointwise::PointwiseConfig, pooling::PoolingConfig};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cnn, CnnConfig, CnnInit, NetworkConfig, Padding};
use crate::{HeadConfig, Invalid, Io, Precision};

/// A [`Cnn`] of LeNet's sizes.
pub type LeNet = Cnn;

/// Parameters of LeNet.
///
/// LeNet-5 (LeCun et al. 1998, Gradient-based learning applied to document recognition) as it is written today: 5 x 5
/// convolutions of 6 and 16 filters within the image, each with 2 x 2 average pooling, then 120 and 84 hidden values.
/// The original scales and shifts each pooled map by two trained numbers, connects each filter of the second
/// convolution to some maps of the first only, scales its tanh, and compares with fixed prototypes at the output. Its
/// images are 32 x 32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeNetConfig {
    /// The pooling after each convolution.
    pub pooling: PoolingConfig,
    /// The function after each convolution and each hidden layer.
    pub activation: PointwiseConfig,
    /// What turns the last hidden layer into logits.
    #[serde(skip_serializing_if = "HeadConfig::is_linear")]
    pub head: HeadConfig,
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

impl Default for LeNetConfig {
    /// The original's.
    fn default() -> Self {
        Self {
            pooling: PoolingConfig::Avg(Default::default()),
            activation: PointwiseConfig::Tanh(Default::default()),
            head: HeadConfig::default(),
            dtype: Precision::F32,
        }
    }
}

impl Entry for LeNetConfig {
    const SUMMARY: &'static str = "\"cnn\" with the sizes of LeNet-5";
    const PAPER: &'static str = "LeCun et al. 1998, doi:10.1109/5.726791";
}

impl LeNetConfig {
    /// The network it stands for.
    pub fn expand(&self) -> CnnConfig {
        CnnConfig {
            channels: vec![6, 16],
            kernel: 5,
            padding: Padding::Valid,
            pooling: self.pooling.clone(),
            hidden: vec![120, 84],
            activation: self.activation.clone(),
            dropout: 0.0,
            head: self.head.clone(),
            init: CnnInit::Uniform,
            dtype: self.dtype,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, args: (&Io, &Init)) -> LeNet {
        self.expand().init(args)
    }
}

impl NetworkConfig for LeNetConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        self.expand().check(io).map_err(|invalid| match invalid.key.as_str() {
            // The sizes are not this entry's to change.
            "channels" => Invalid::new("name", format!("\"lenet\" does not fit: {}", invalid.message)),
            "name" => Invalid::new("name", invalid.message.replace("\"cnn\"", "\"lenet\"")),
            _ => invalid,
        })
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        Some(&self.head)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::{InputSpec, net::ModelConfig, parameters, testing::device};

    fn io(size: usize) -> Io {
        Io { input: InputSpec::Image { channels: 1, height: size, width: size }, outputs: 10 }
    }

    #[test]
    fn the_sizes_of_the_original() {
        let config = ModelConfig::LeNet(LeNetConfig::default());
        let model = config.init((&io(32), &Init::new(0, &device(), config.dtype())));
        let layers: Vec<_> = parameters(&model).into_iter().map(|p| p.layer).collect();
        assert_eq!(layers.iter().filter(|layer| layer.starts_with("convolutions")).count(), 4);
        // 6·25 + 6, 16·6·25 + 16, 400·120 + 120, 120·84 + 84, 84·10 + 10
        assert_eq!(Module::num_params(&model), 156 + 2416 + 48120 + 10164 + 850);
    }

    #[test]
    fn small_images_are_refused() {
        let error = LeNetConfig::default().check(&io(12)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model.name: \"lenet\" does not fit: convolution 1 has filters of 5 pixels, but its image is 4 x 4; use fewer \
             convolutions, smaller filters or windows, or larger images"
        );
    }
}
