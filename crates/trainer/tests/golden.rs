//! From identical initial weights, Kiln follows a PyTorch loop.
//!
//! `golden/grokking.json` holds PyTorch's loss curves, PyTorch's own spread under permuted rows, and the rules
//! by which weights and split are made; `benches/peers/grokking_golden.py` made it.
mod common;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor, TensorData},
};
use kiln_datasets::{Asks, BatchSource, Input, InputSpec, Matrix, Order, Spec, Split, Target};
use kiln_trainer::{
    config,
    train::engine::{Engine, host},
};
use serde_json::Value;

/// SplitMix64, stream `stream`.
struct Words(u64);

impl Words {
    fn stream(stream: u64) -> Self {
        Self(stream)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Sets the model's matrices, in order, to the golden initial weights.
#[derive(Default)]
struct InitialWeights {
    tensor: u64,
    sums: Vec<f64>,
}

impl ModuleMapper for InitialWeights {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.val().shape();
        let (mut words, fan_in) = (Words::stream(self.tensor), shape[0] as f64);
        self.tensor += 1;
        let weight = |word: u64| (2.0 * ((word >> 11) as f64 * 2f64.powi(-53)) - 1.0) / fan_in.sqrt();
        let values: Vec<f64> = (0..shape.num_elements()).map(|_| weight(words.next())).collect();
        self.sums.push(values.iter().sum());
        param.map(|tensor| {
            Tensor::from_data(TensorData::new(values, shape), (&tensor.device(), tensor.dtype())).require_grad()
        })
    }
}

/// The golden split: pairs sorted by the words of stream 3, the first rows train; nothing is evaluated.
#[derive(Debug)]
struct Pairs {
    spec: Spec,
    pairs: Vec<(i32, i32)>,
    p: i32,
}

impl Pairs {
    fn new(p: i32, rows: usize) -> Self {
        let mut words = Words::stream(3);
        let mut keyed: Vec<(u64, i32)> = (0..p * p).map(|pair| (words.next(), pair)).collect();
        keyed.sort_unstable();
        let pairs = keyed[..rows].iter().map(|(_, pair)| (pair / p, pair % p)).collect();
        let spec = Spec {
            input: InputSpec::OneHot { width: 2 * p as usize, hot: 2 },
            asks: Asks::Class { classes: p as usize },
        };
        Self { spec, pairs, p }
    }
}

impl BatchSource for Pairs {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> Option<usize> {
        Some(if split == Split::Train { self.pairs.len() } else { 0 })
    }

    fn batch(&self, _: Split, _: &Order, _: u64) -> kiln_datasets::Batch {
        let input = self.pairs.iter().flat_map(|(a, b)| [*a, self.p + b]).collect();
        let target = self.pairs.iter().map(|(a, b)| (a + b) % self.p).collect();
        kiln_datasets::Batch {
            input: Input::OneHot(Matrix::new(input, 2)),
            target: Target::Classes(target),
            rows: self.pairs.len(),
        }
    }
}

fn golden() -> Value {
    let path = common::root().join("crates/trainer/tests/golden/grokking.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The experiment of a golden condition at the golden initial weights.
fn engine(golden: &Value, condition: &Value, dtype: &str) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.toml");
    let optim = &condition["adamw"];
    let stablemax = condition["normalizer"] == "stablemax";
    let transforms = if condition["perp_grad"] == true { "[\"perp_grad\"]" } else { "[]" };
    let text = format!(
        r#"
data = {{ name = "modular", op = "add", p = 59, fraction = 0.8 }}
model = {{ name = "mlp", widths = [128, 128], bias = false, dtype = "{dtype}" }}
loss = {{ name = "cross_entropy", normalizer = {normalizer}, dtype = "{loss}" }}
optim = {{ name = "adamw", lr = {lr}, betas = {betas}, eps = {eps:e}, weight_decay = 0.0, transforms = {transforms} }}
train = {{ steps = 200 }}
"#,
        normalizer = condition["normalizer"],
        loss = if stablemax { "f64" } else { dtype },
        lr = optim["lr"],
        betas = optim["betas"],
        eps = optim["eps"].as_f64().unwrap(),
    );
    std::fs::write(&path, text).unwrap();
    let experiment = config::load(&path, &[]).unwrap_or_else(|error| panic!("{error}")).experiment;
    let rows = golden["train_rows"].as_u64().unwrap() as usize;
    let mut engine = Engine::new(experiment, Box::new(Pairs::new(59, rows)), &Device::flex()).unwrap();
    let mut weights = InitialWeights::default();
    engine.state.model = engine.state.model.clone().map(&mut weights);
    for (found, expected) in weights.sums.iter().zip(numbers(&golden["checks"]["weight_sums"])) {
        assert!((found - expected).abs() < 1e-9, "the initial weights are not the golden ones: {found} {expected}");
    }
    engine
}

/// The losses of the first `steps` steps.
fn curve(mut engine: Engine, steps: usize) -> Vec<f64> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let pass = engine.pass();
        losses.push(host(&pass.loss)[0]);
        engine.advance(pass);
    }
    losses
}

#[test]
fn f64_follows_for_100_steps() {
    let golden = golden();
    for (name, condition) in golden["conditions"].as_object().unwrap() {
        let expected = numbers(&condition["f64"]["loss"]);
        assert_eq!(expected.len(), 100);
        let found = curve(engine(&golden, condition, "f64"), 100);
        let worst = found.iter().zip(&expected).map(|(f, e)| (f - e).abs() / e).fold(0.0, f64::max);
        println!("{name} f64: largest relative difference {worst:.1e}");
        assert!(worst <= 1e-9, "{name}: {worst:e}");
    }
}

#[test]
fn f32_stays_within_three_times_the_spread_of_pytorch_itself() {
    let golden = golden();
    for (name, condition) in golden["conditions"].as_object().unwrap() {
        let expected = numbers(&condition["f32"]["loss"]);
        let spread = numbers(&condition["f32"]["spread"]);
        assert_eq!((expected.len(), spread.len()), (200, 200));
        let found = curve(engine(&golden, condition, "f32"), 200);
        let mut allowed = 0f64;
        let mut worst = 0f64;
        for step in 0..200 {
            let difference = (found[step] - expected[step]).abs() / expected[step];
            // The spread at one step can pass through 0 where two curves cross; its running maximum cannot.
            allowed = allowed.max(spread[step]);
            if step < 10 {
                assert!(difference <= 1e-5, "{name} step {step}: {difference:e}");
            } else {
                assert!(difference <= 3.0 * allowed, "{name} step {step}: {difference:e}, spread {allowed:e}");
                worst = worst.max(difference / allowed);
            }
        }
        println!("{name} f32: at most {worst:.2} times PyTorch's own spread");
    }
}
