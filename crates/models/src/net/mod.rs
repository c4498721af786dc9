//! Whole networks.
use std::fmt::Debug;

use burn::tensor::{DType, Tensor};
use kiln_activations::{
    Ctx, Init,
    loss::{LossConfig, TargetKind},
};
use kiln_registry::registry;

use crate::{Ask, HeadConfig, Input, Invalid, Io};

mod cnn;
mod decoder;
mod gru;
mod hierarchical;
mod lenet;
mod mlp;
mod query_pool;
mod resnet;
mod soft_decision_tree;
pub(crate) mod stack;
mod transformer;
mod vit;

pub use cnn::{Cnn, CnnConfig, CnnInit, Padding};
pub use decoder::{Decoder, DecoderConfig, DecoderState};
pub use gru::{GruClassifier, GruConfig};
pub use hierarchical::{
    Aggregate, Aggregator, AggregatorConfig, Hierarchical, HierarchicalConfig, Joins, SegmentEncoder,
    SegmentEncoderConfig, SegmentMean, SegmentMeanConfig, SegmentPool, SegmentRecurrent, SegmentRecurrentConfig,
    Segments, segments,
};
pub use lenet::{LeNet, LeNetConfig};
pub use mlp::{Mlp, MlpConfig};
pub use query_pool::{QueryPool, QueryPoolConfig};
pub use resnet::{ResNet, ResNetConfig, ResidualBlock, Shortcut};
pub use soft_decision_tree::{Objective, Predict, SoftDecisionTree, SoftDecisionTreeConfig};
pub use transformer::{InitScheme, ReadAt, Transformer, TransformerConfig};
pub use vit::{Pool, Vit, VitConfig};

registry! {
    /// A network, by name.
    ///
    /// `init((io, init))` builds it; call [`NetworkConfig::check`] first. Parameters are stored in
    /// `init.dtype`, which should be [`NetworkConfig::dtype`]. In Burn's records the parameters stand under
    /// the variant's name (`Mlp.layers.0.weight`), so a record of another network is refused; [`crate::parameters`]
    /// gives the names without it.
    config ModelConfig("model"): dyn NetworkConfig;
    module Model: dyn Network, init((&Io, &Init));
    "cnn" => Cnn(CnnConfig),
    "gru" => GruClassifier(GruConfig),
    "hierarchical" => Hierarchical(HierarchicalConfig),
    "lenet" => LeNet(LeNetConfig),
    "mlp" => Mlp(MlpConfig),
    "query_pool" => QueryPool(QueryPoolConfig),
    "resnet" => ResNet(ResNetConfig),
    "soft_decision_tree" => SoftDecisionTree(SoftDecisionTreeConfig),
    "transformer" => Transformer(TransformerConfig),
    "decoder" => Decoder(DecoderConfig),
    "vit" => Vit(VitConfig),
}

/// What a network's parameters must answer before it is built.
pub trait NetworkConfig {
    /// Whether the settings fit each other and the data.
    ///
    /// # Errors
    /// The first setting that does not fit.
    fn check(&self, io: &Io) -> Result<(), Invalid>;

    /// The type of parameters and hidden states.
    fn dtype(&self) -> DType;

    /// Where the network can answer.
    fn answers(&self) -> Answers {
        Answers::Row
    }

    /// What turns the network's last hidden vectors into logits; `None` for a network that makes its logits otherwise.
    fn head(&self) -> Option<&HeadConfig>;

    /// Whether the network can be trained by a loss, towards targets of a kind; the head decides.
    ///
    /// # Errors
    /// If it cannot; the message says why and what to choose instead.
    fn trains(&self, loss: &LossConfig, kind: TargetKind) -> Result<(), String> {
        self.head().map_or(Ok(()), |head| head.trains(loss, kind))
    }

    /// Whether the network records attention weights for a [`Probe`](kiln_activations::Probe).
    fn attends(&self) -> bool {
        false
    }
}

/// Where a network can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Once per row of the batch: [`At::Row`](crate::At::Row) alone.
    Row,
    /// At any place of a row too: [`At::Places`](crate::At::Places).
    Places,
}

/// The contract of a network.
pub trait Network: Debug {
    /// Logits: `[answers, outputs]`, an answer per row or place that `ask` names.
    ///
    /// # Panics
    /// If input or question are not of the kind the network was built for.
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2>;

    /// The vectors that stand for the inputs: a row per token or one-hot index. `None` where the input is
    /// not discrete.
    fn embedding(&self) -> Option<Tensor<2>>;

    /// The vectors that stand for the outputs: a row per class, as wide as the last hidden state. `None` where the head has
    /// none.
    fn unembedding(&self) -> Option<Tensor<2>>;
}

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use kiln_registry::Tagged;
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<ModelConfig, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_config_is_read_and_printed_back() {
        let mlp = read(json!({ "name": "mlp", "widths": [128, 128], "bias": false, "dtype": "f64" })).unwrap();
        let expected = MlpConfig { widths: vec![128, 128], dtype: crate::Precision::F64, ..MlpConfig::default() };
        assert_eq!(mlp, ModelConfig::Mlp(expected));
        assert_eq!(mlp.dtype(), DType::F64);
        let transformer = read(json!({
            "name": "transformer", "d_model": 64, "d_ff": 256, "norm": "post", "positions": "learned",
            "dropout": 0.1, "read_at": "last", "init": "torch",
            "attention": { "n_heads": 4, "normalizer": "stablemax", "bias": true },
        }))
        .unwrap();
        for config in [mlp, transformer, read(json!("mlp")).unwrap(), read(json!("transformer")).unwrap()] {
            assert_eq!(read(serde_json::to_value(&config).unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn what_no_config_may_say_is_refused() {
        for (value, message) in [
            (json!({ "name": "mlq" }), "unknown variant `mlq`, expected one of `"),
            (json!({ "name": "mlp", "width": [1] }), "unknown field `width`"),
            (
                json!({ "name": "mlp", "dtype": "f23" }),
                "unknown variant `f23`, expected one of `f16`, `bf16`, `f32`, `f64`",
            ),
            (json!({ "name": "mlp", "logit_scale": 0.0 }), "0 is out of range; expected a number above 0"),
            (json!({ "name": "transformer", "dropout": 1.0 }), "1 is out of range; expected a number in [0, 1)"),
            (
                json!({ "name": "transformer", "read_at": "middle" }),
                "unknown variant `middle`, expected one of `last`, `first`, `mean`",
            ),
            (json!({ "name": "transformer", "attention": { "n_heads": 0 } }), "expected a whole number of at least 1"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(message), "{value}: {error}");
        }
    }

    #[test]
    fn the_list_names_every_network_with_its_source() {
        for row in ModelConfig::listing() {
            assert!(!row.paper.is_empty(), "{}", row.name);
        }
    }
}
