use burn::tensor::{Int, TensorData};
use kiln_activations::{
    LossTerms,
    loss::{LossConfig, Target, TargetKind},
};

use super::*;
use crate::{
    Model, ModelConfig,
    head::{SvmConfig, SvmPenalty},
    testing::{assert_close, check_gradients, device, indices, named_values, normal, randomised, values},
};

const ROWS: usize = 5;
const WIDTH: usize = 3;
const OUTPUTS: usize = 2;

fn build(config: GruConfig, input: InputSpec) -> Model {
    let io = Io { input, outputs: OUTPUTS };
    let config = ModelConfig::GruClassifier(GruConfig { width: WIDTH, dtype: Precision::F64, ..config });
    config.check(&io).unwrap();
    randomised(config.init((&io, &Init::new(5, &device(), config.dtype()))))
}

/// The logits after each step of one row, in plain loops.
fn reference(model: &Model, steps: &[Vec<f64>], reset: Reset) -> Vec<Vec<f64>> {
    let p = named_values(model);
    let times = |x: &[f64], name: &str, columns: usize| -> Vec<f64> {
        (0..columns).map(|j| (0..x.len()).map(|i| x[i] * p[name][i * columns + j]).sum()).collect()
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut h = vec![0.0; WIDTH];
    let mut logits = Vec::new();
    for x in steps {
        let x: Vec<f64> =
            times(x, "gru.input_weight", 3 * WIDTH).iter().zip(&p["gru.input_bias"]).map(|(x, b)| x + b).collect();
        let gates = times(&h, "gru.gate_weight", 2 * WIDTH);
        let (r, u): (Vec<f64>, Vec<f64>) =
            (0..WIDTH).map(|i| (sigmoid(x[i] + gates[i]), sigmoid(x[WIDTH + i] + gates[WIDTH + i]))).unzip();
        let remembered: Vec<f64> = match reset {
            Reset::Before => {
                times(&h.iter().zip(&r).map(|(h, r)| h * r).collect::<Vec<_>>(), "gru.state_weight", WIDTH)
            }
            Reset::After => {
                let product = times(&h, "gru.state_weight", WIDTH);
                (0..WIDTH).map(|i| r[i] * (product[i] + p["gru.state_bias"][i])).collect()
            }
        };
        let candidate = |i: usize| (x[2 * WIDTH + i] + remembered[i]).tanh();
        h = (0..WIDTH).map(|i| u[i] * h[i] + (1.0 - u[i]) * candidate(i)).collect();
        logits.push(times(&h, "output.weight", OUTPUTS).iter().zip(&p["output.bias"]).map(|(z, b)| z + b).collect());
    }
    logits
}

/// What the rows of an input are as sequences.
fn sequences(model: &Model, input: &Input, vocabulary: usize) -> Vec<Vec<Vec<f64>>> {
    let p = named_values(model);
    let of_ids = |ids: &Tensor<2, Int>, parts: usize| {
        let [_, columns] = ids.dims();
        let ids: Vec<usize> = ids.to_data().iter::<i64>().map(|id| id as usize).collect();
        let width = p.get("embedding.weight").map_or(vocabulary, |table| table.len() / vocabulary);
        let value = |id: usize, i: usize| match p.get("embedding.weight") {
            Some(table) => table[id * width + i],
            None => f64::from(u8::from(i == id)),
        };
        let vector = |token: &[usize]| (0..width).map(|i| token.iter().map(|id| value(*id, i)).sum()).collect();
        ids.chunks(columns).map(|row| row.chunks(parts).map(vector).collect()).collect()
    };
    match input {
        Input::Tokens(ids) => of_ids(ids, 1),
        Input::TokenSums { ids, parts } => of_ids(ids, *parts),
        Input::Items(x) => {
            let [_, length, features] = x.dims();
            let rows = values(x);
            rows.chunks(length * features).map(|row| row.chunks(features).map(<[f64]>::to_vec).collect()).collect()
        }
        Input::Floats(x) => values(x).chunks(x.dims()[1]).map(|row| row.iter().map(|x| vec![*x]).collect()).collect(),
        Input::Image(x) => {
            let [_, channels, height, width] = x.dims();
            let line = |image: &[f64], y: usize| -> Vec<f64> {
                (0..channels).flat_map(|c| image[(c * height + y) * width..][..width].to_vec()).collect()
            };
            let rows = values(x);
            rows.chunks(channels * height * width).map(|image| (0..height).map(|y| line(image, y)).collect()).collect()
        }
        Input::OneHot(_) => unreachable!(),
    }
}

fn floats<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    normal(shape, DType::F64, "x").detach()
}

fn tokens() -> Input {
    Input::Tokens(indices([ROWS, 7], 11).1)
}

const TOKENS: InputSpec = InputSpec::Tokens { vocabulary: 11, length: 7 };

#[test]
fn logits_follow_the_formula_at_the_end_and_at_places() {
    let image = InputSpec::Image { channels: 2, height: 7, width: 3 };
    let sums = InputSpec::TokenSums { vocabulary: 11, parts: 2, length: 7 };
    let pairs = || Input::TokenSums { ids: indices([ROWS, 14], 11).1, parts: 2 };
    for (embedding, spec, input) in [
        (None, TOKENS, tokens()),
        (Some(5), TOKENS, tokens()),
        (None, sums, pairs()),
        (Some(5), sums, pairs()),
        (None, InputSpec::Items { features: 4 }, Input::Items(floats([ROWS, 7, 4]))),
        (None, InputSpec::Floats { width: 7 }, Input::Floats(floats([ROWS, 7]))),
        (None, image, Input::Image(floats([ROWS, 2, 7, 3]))),
    ] {
        for reset in [Reset::Before, Reset::After] {
            let model = build(GruConfig { embedding, reset, ..GruConfig::gru_svm() }, spec);
            let expected: Vec<_> =
                sequences(&model, &input, 11).iter().map(|row| reference(&model, row, reset)).collect();
            let found = model.forward(&input, &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!(found.dims(), [ROWS, OUTPUTS]);
            let last: Vec<f64> = expected.iter().flat_map(|row| row[6].clone()).collect();
            assert_close(&format!("{spec} {reset:?}"), &values(&found), &last, 1e-12);

            let places = [(4, 0), (0, 6), (2, 3)];
            let flat: Vec<i64> = places.iter().map(|(row, t)| row * 7 + t).collect();
            let ask = Ask::places(Tensor::<1, Int>::from_data(TensorData::new(flat, [3]), &device()));
            let found = values(&model.forward(&input, &ask, &Ctx::eval(0, 0)));
            let at: Vec<f64> =
                places.iter().flat_map(|(row, t)| expected[*row as usize][*t as usize].clone()).collect();
            assert_close(&format!("{spec} {reset:?} at places"), &found, &at, 1e-12);
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    let c = normal([ROWS, OUTPUTS], DType::F64, "c").detach();
    for (embedding, reset) in [(None, Reset::After), (Some(2), Reset::Before)] {
        let model = build(GruConfig { embedding, reset, ..GruConfig::gru_svm() }, TOKENS);
        check_gradients(&model, |model| (model.forward(&tokens(), &Ask::row(), &Ctx::train(0, 1)) * c.clone()).sum());
    }
}

#[test]
fn dropping_a_one_hot_step_leaves_its_bias() {
    // A dropped token is a vector of zeros: at a rate near 1 every row reads the same.
    let model = build(GruConfig { input_dropout: 0.999_999, ..GruConfig::gru_svm() }, TOKENS);
    let logits = values(&model.forward(&tokens(), &Ask::row(), &Ctx::train(0, 1)));
    let expected = reference(&model, &vec![vec![0.0; 11]; 7], Reset::Before)[6].clone();
    assert_close("all dropped", &logits, &expected.repeat(ROWS), 1e-12);
    let evaluated = values(&model.forward(&tokens(), &Ask::row(), &Ctx::eval(0, 1)));
    assert_ne!(evaluated[..OUTPUTS], evaluated[OUTPUTS..2 * OUTPUTS]);
}

#[test]
fn the_support_vector_machine_behind_it_is_the_published_one() {
    // ½ |W|² + ½ Σ over rows and classes of squared hinges. A run's loss is the mean over the rows, so that the penalty's
    // weight is one over their number and the whole is that number times smaller.
    let io = Io { input: InputSpec::Items { features: 4 }, outputs: 3 };
    let penalty = HeadConfig::Svm(SvmConfig { penalty: SvmPenalty::HalfSumSquare, weight: 0.5 });
    let config = GruConfig { width: WIDTH, dtype: Precision::F64, head: penalty, ..GruConfig::gru_svm() };
    let model = ModelConfig::GruClassifier(config.clone()).init((&io, &Init::new(5, &device(), DType::F64)));
    let hinge: LossConfig =
        serde_json::from_value(serde_json::json!({ "name": "hinge", "reduce": "sum", "c": 0.5, "dtype": "f64" }))
            .unwrap();
    assert_eq!(config.trains(&hinge, TargetKind::Classes), Ok(()));
    let loss = hinge.init(&Init::new(0, &device(), DType::F64));
    let o = TensorData::new(vec![0.5, -0.2, 1.2, -1.5, 0.3, -0.4], [2, 3]);
    let o = Tensor::<2>::from_data(o, (&device(), DType::F64)).require_grad();
    let target = Target::Classes(Tensor::<1, Int>::from_data([2, 0], &device()));
    let mean = loss.forward(o.clone(), &target).mean;
    assert_close("Σ", &[2.0 * values(&mean)[0]], &[5.595], 1e-12);
    let slopes: Vec<f64> = values(&o.grad(&mean.backward()).unwrap()).iter().map(|slope| 2.0 * slope).collect();
    assert_close("dΣ", &slopes, &[1.5, 0.8, 0.0, -2.5, 1.3, 0.6], 1e-12);

    let terms = LossTerms::default();
    let input = Input::Items(floats([2, 5, 4]));
    let logits = model.forward(&input, &Ask::row(), &Ctx::train(0, 1).with_loss_terms(&terms));
    let weight: f64 = named_values(&model)["head.output.weight"].iter().map(|w| w * w).sum();
    let found = terms.take();
    assert_close("penalty", &[2.0 * values(&found[0].value)[0]], &[0.5 * weight], 1e-12);
    let total = loss.forward(logits, &target).mean + found[0].value.clone().reshape([1]);
    assert!(values(&total)[0].is_finite() && found.len() == 1);
}

#[test]
fn gate_biases_start_as_the_config_says() {
    let io = Io { input: TOKENS, outputs: OUTPUTS };
    let config = ModelConfig::GruClassifier(GruConfig { width: 4, gate_bias: 1.5, ..GruConfig::gru_svm() });
    let model = config.init((&io, &Init::new(5, &device(), config.dtype())));
    let expected = [vec![1.5; 8], vec![0.0; 4]].concat();
    assert_eq!(named_values(&model)["gru.input_bias"], expected);
}

#[test]
fn what_does_not_fit_is_refused() {
    let items = Io { input: InputSpec::Items { features: 4 }, outputs: 2 };
    let message = |config: GruConfig, io: &Io| config.check(io).unwrap_err().to_string();
    assert_eq!(
        message(GruConfig { embedding: Some(8), ..GruConfig::default() }, &items),
        "model.embedding: only tokens have vectors of their own, and the data gives sets of items (of 4 features); leave \
         it out"
    );
    let one_hot = Io { input: InputSpec::OneHot { width: 17, hot: 2 }, outputs: 2 };
    assert_eq!(
        message(GruConfig::default(), &one_hot),
        "model.name: \"gru\" takes sequences, but the data gives one-hot rows (2 hot of 17); choose another encoding in \
         [data], or name = \"mlp\""
    );
}
