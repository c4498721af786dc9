//! VQ-Logits: classes share a few output vectors.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeadParams, Laws, Scorer, Site};
use crate::{
    Ask, Invalid,
    block::Linear,
    kernel::{self, Epilogue},
};

/// Parameters of [`VqLogits`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VqLogitsConfig {
    /// The number of output vectors K.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub codes: usize,
    /// Which classes share a vector.
    pub map: CodeMap,
    /// Whether each class has a bias of its own, without which those that share a vector are always equally likely.
    pub token_bias: bool,
}

impl Default for VqLogitsConfig {
    /// A few codes for a few classes; language models take hundreds for tens of thousands.
    fn default() -> Self {
        Self { codes: 8, map: CodeMap::default(), token_bias: true }
    }
}

/// Which classes of [`VqLogits`] share a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CodeMap {
    /// Drawn from the seed, as even as can be.
    #[default]
    Random,
    /// Neighbours, as even as can be: frequency bands where classes are ordered by frequency.
    Bands,
}

impl Entry for VqLogitsConfig {
    const SUMMARY: &'static str = "a few output vectors that classes share, and a bias per class";
    const PAPER: &'static str = "Shao et al. 2025, VQ-Logits: Compressing the Output Bottleneck of Large Language Models via \
                                 Vector Quantized Logits, arXiv:2505.10202";
}

impl HeadParams for VqLogitsConfig {
    fn laws(&self) -> Laws {
        Laws::LINEAR
    }

    fn check(&self, site: &Site) -> Result<(), Invalid> {
        if self.codes <= site.outputs {
            return Ok(());
        }
        let message = format!("{} codes for {} classes; expected no more codes than classes", self.codes, site.outputs);
        Err(Invalid::new("codes", message))
    }
}

impl VqLogitsConfig {
    /// The head. A random map is drawn under the name `map` of `init`.
    pub fn init(&self, (site, init): (&Site, &Init)) -> VqLogits {
        let mut map = vec![0; site.outputs];
        match self.map {
            CodeMap::Bands => (0..site.outputs).for_each(|class| map[class] = class * self.codes / site.outputs),
            CodeMap::Random => {
                let order = init.draws("map").permutation(site.outputs);
                order.into_iter().enumerate().for_each(|(i, class)| map[class] = i % self.codes);
            }
        }
        let codebook = Site { outputs: self.codes, bias: false, ..*site };
        let Linear { weight, .. } = codebook.linear(&init.child("codebook"));
        VqLogits { codebook: weight, bias: self.token_bias.then(|| init.constant([site.outputs], 0.0)), map }
    }
}

/// Every class takes the logit of its code, and a bias of its own if there is one.
/// ```text
/// z_v = ⟨h, q_{M(v)}⟩ + b_v,   M: classes → K codes, fixed
/// ```
/// The map is drawn or made from the config alone and does not stand in the record. (The paper also derives it from a trained
/// output layer by k-means.) The bias is an addition to the paper.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Shao et al. 2025, arXiv:2505.10202.
#[derive(Module, Debug)]
pub struct VqLogits {
    /// q: `[features, K]`
    pub codebook: Param<Tensor<2>>,
    /// b: `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    map: Vec<usize>,
}

impl VqLogits {
    /// The code of every class, on the device of `like`.
    fn codes(&self, like: &Tensor<2>) -> Tensor<1, Int> {
        let map: Vec<i64> = self.map.iter().map(|code| *code as i64).collect();
        Tensor::from_data(TensorData::new(map, [self.map.len()]), &like.device())
    }
}

impl Scorer for VqLogits {
    fn forward(&self, features: Tensor<2>, _: &Ask, _: &Ctx) -> Tensor<2> {
        let codes = self.codes(&features);
        let logits = kernel::linear(features, self.codebook.val(), None, Epilogue::None).select(1, codes);
        match &self.bias {
            None => logits,
            Some(bias) => logits + bias.val().unsqueeze_dim::<2>(0),
        }
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        let codebook = self.codebook.val();
        Some(codebook.clone().select(1, self.codes(&codebook)).transpose())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use kiln_activations::loss::{LossConfig, Target};

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, device, values},
    };

    fn site(outputs: usize) -> Site {
        Site { features: 2, outputs, bias: true, draw: Draw::Uniform }
    }

    fn tensor(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), (&device(), DType::F64)).require_grad()
    }

    #[test]
    fn golden_values() {
        let config = VqLogitsConfig { codes: 3, token_bias: false, ..Default::default() };
        let mut head = config.init((&site(6), &Init::new(0, &device(), DType::F64)));
        head.codebook = head.codebook.map(|_| tensor(&[1.0, 0.0, -1.0, 0.0, 1.0, -1.0], [2, 3]));
        head.map = vec![0, 0, 1, 2, 1, 0];
        let h = tensor(&[0.8, -0.3], [1, 2]);
        let z = head.forward(h.clone(), &Ask::row(), &Ctx::eval(0, 0));
        assert_close("logits", &values(&z), &[0.8, 0.8, -0.3, -0.5, -0.3, 0.8], 1e-15);
        let own = [0.2539183434, 0.08452207415, 0.06920082142];
        let p = burn::tensor::activation::softmax(z.clone(), 1);
        assert_close("p", &values(&p), &head.map.iter().map(|code| own[*code]).collect::<Vec<_>>(), 1e-9);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let target = Target::Classes(Tensor::<1, Int>::from_data([2], &device()));
        let loss = loss.init(&Init::new(0, &device(), DType::F64)).forward(z, &target).mean;
        assert_close("loss", &values(&loss), &[2.470742546], 1e-9);
        let gradients = loss.backward();
        assert_close("dh", &values(&h.grad(&gradients).unwrap()), &[0.6925542089, -0.9001566731], 1e-9);
        // dℓ hᵀ
        let dl = [0.7617550303, -0.8309558517, 0.06920082142];
        let want: Vec<f64> = [0.8, -0.3].iter().flat_map(|h| dl.map(|dl| h * dl)).collect();
        assert_close("dq", &values(&head.codebook.val().grad(&gradients).unwrap()), &want, 1e-9);
    }

    #[test]
    fn codes_are_shared_evenly() {
        for map in [CodeMap::Random, CodeMap::Bands] {
            let config = VqLogitsConfig { codes: 3, map, token_bias: true };
            let head = config.init((&site(11), &Init::new(0, &device(), DType::F64)));
            let count = |code: usize| head.map.iter().filter(|found| **found == code).count();
            assert_eq!((0..3).map(count).sum::<usize>(), 11);
            assert!((0..3).all(|code| (3..=4).contains(&count(code))), "{:?}", head.map);
            assert_eq!(map == CodeMap::Bands, head.map.is_sorted(), "{:?}", head.map);
        }
        let message = VqLogitsConfig::default().check(&site(7)).unwrap_err().message;
        assert_eq!(message, "8 codes for 7 classes; expected no more codes than classes");
    }
}
