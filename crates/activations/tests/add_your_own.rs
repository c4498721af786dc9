//! The walk-through of the README, section "Add your own": its file is compiled as it stands there, takes its one line in a
//! registry, and must hold what every map holds.
use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_activations::{Ctx, Init, kernel};
use kiln_registry::Tagged;

/// The room a map's file stands in.
mod normalizer {
    use kiln_registry::registry;

    pub use kiln_activations::normalizer::{Heads, Keep, Laws, Normalize, Rows, Softmax, SoftmaxConfig};

    use crate::Init;

    mod algebraic;

    pub use algebraic::{Algebraic, AlgebraicConfig};

    registry! {
        /// A map of scores to weights, by name.
        config NormalizerConfig("normalizer");
        module Normalizer: dyn Normalize, init(&Init);
        "softmax" => Softmax(SoftmaxConfig),
        "algebraic" => Algebraic(AlgebraicConfig),
    }
}

use normalizer::{Heads, Keep, NormalizerConfig, Rows};

#[test]
fn the_readme_shows_the_file_that_is_tested() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("## Add your own").nth(1).expect("the section is there");
    let shown = section.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of Rust");
    assert_eq!(shown, include_str!("normalizer/algebraic.rs"), "README.md shows another file");
    assert!(section.contains("\"algebraic\" => Algebraic(AlgebraicConfig),"), "and the registry line");
}

fn tensor(values: &[f64], n: usize) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / n, n]);
    Tensor::from_data(data, (&Device::flex().autodiff(), DType::F64))
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

#[test]
fn the_registry_line_makes_the_rest() {
    let config: NormalizerConfig = serde_json::from_str("\"algebraic\"").expect("the name is known");
    assert_eq!(NormalizerConfig::NAMES, ["softmax", "algebraic"]);
    assert!(NormalizerConfig::listing().iter().any(|entry| entry.summary.contains("arsinh")));
    let device = Device::flex().autodiff();
    let map = config.init(&Init::new(0, &device, DType::F64));
    let (ctx, n) = (Ctx::eval(0, 0), 5);
    let scores = [0.5, -1.0, 3.0, 0.0, -40.0, 1.0, f64::NEG_INFINITY, 2.0, -0.25, 7.0];
    let y = |x: Tensor<2>| map.rows(x, &Keep::All, Heads::ONE, &ctx);
    let composed = |scores: Tensor<2>| map.composed(&Rows { scores, params: None, keep: &Keep::All }, &ctx);
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs() + 1e-15);
    let (got, want) = (values(y(tensor(&scores, n))), values(composed(tensor(&scores, n))));
    assert!(close(&got, &want), "{got:?}\n{want:?}");
    assert_eq!(got[6], 0.0, "a score of −∞ is removed");
    let gradient = |f: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        let x = tensor(&scores, n).require_grad();
        let g = tensor(&[0.3, -1.0, 0.5, 2.0, 0.1, -0.4, 0.7, 0.2, 1.5, -0.6], n);
        values(x.grad(&(f(x.clone()) * g).sum().backward()).expect("x takes part"))
    };
    let (got, want) = (gradient(&y), gradient(&composed));
    assert!(close(&got, &want), "{got:?}\n{want:?}");
}
