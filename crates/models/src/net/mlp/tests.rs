use kiln_activations::Probe;

use super::*;
use crate::{
    Model, ModelConfig,
    testing::{
        assert_close, check_gradients, device, indices, named_gradients, named_values, normal, randomised, values,
    },
};

const ROWS: usize = 23;

fn build(config: MlpConfig, io: &Io) -> Model {
    let config = ModelConfig::Mlp(config);
    config.check(io).unwrap();
    config.init((io, &Init::new(5, &device(), config.dtype())))
}

fn config(bias: bool) -> MlpConfig {
    MlpConfig { widths: vec![7, 11], bias, logit_scale: 0.5, dtype: Precision::F64, ..MlpConfig::default() }
}

/// The formula in plain loops, with φ on all values of a layer's row.
fn reference_with(
    model: &Model,
    x: &[f64],
    sizes: &[usize],
    scale: f64,
    activation: impl Fn(Vec<f64>) -> Vec<f64>,
) -> Vec<f64> {
    let parameters = named_values(model);
    let mut h: Vec<Vec<f64>> = x.chunks(sizes[0]).map(<[f64]>::to_vec).collect();
    for l in 0..sizes.len() - 1 {
        let weight = &parameters[&format!("layers.{l}.weight")];
        let bias = parameters.get(&format!("layers.{l}.bias"));
        let outputs = weight.len() / sizes[l];
        let sum = |row: &[f64], j: usize| {
            bias.map_or(0.0, |b| b[j]) + (0..sizes[l]).map(|i| row[i] * weight[i * outputs + j]).sum::<f64>()
        };
        for row in &mut h {
            let z: Vec<f64> = (0..outputs).map(|j| sum(row, j)).collect();
            *row = if l + 2 < sizes.len() { activation(z) } else { z.iter().map(|z| z * scale).collect() };
        }
    }
    h.concat()
}

fn reference(model: &Model, x: &[f64], sizes: &[usize], scale: f64) -> Vec<f64> {
    reference_with(model, x, sizes, scale, |z| z.into_iter().map(|z| z.max(0.0)).collect())
}

#[test]
fn logits_follow_the_formula() {
    for bias in [false, true] {
        let io = Io { input: InputSpec::Floats { width: 5 }, outputs: 13 };
        let model = randomised(build(config(bias), &io));
        let x = normal([ROWS, 5], DType::F64, "x").detach();
        let expected = reference(&model, &values(&x), &[5, 7, 11, 13], 0.5);
        let logits = model.forward(&Input::Floats(x), &Ask::row(), &Ctx::eval(0, 0));
        assert_eq!(logits.dims(), [ROWS, 13]);
        assert_close("logits", &values(&logits), &expected, 1e-13);
        assert!(model.embedding().is_none());

        let io = Io { input: InputSpec::OneHot { width: 17, hot: 3 }, outputs: 13 };
        let model = randomised(build(config(bias), &io));
        let (host, picked) = indices([ROWS, 3], 17);
        let mut x = vec![0.0; ROWS * 17];
        host.iter().enumerate().for_each(|(i, index)| x[i / 3 * 17 + index] += 1.0);
        let logits = model.forward(&Input::OneHot(picked), &Ask::row(), &Ctx::eval(0, 0));
        assert_close("logits", &values(&logits), &reference(&model, &x, &[17, 7, 11, 13], 0.5), 1e-13);
        let parameters = named_values(&model);
        assert_eq!(values(&model.embedding().unwrap()), parameters["layers.0.weight"]);
        let unembedding = model.unembedding().unwrap();
        assert_eq!(unembedding.dims(), [13, 11]);
        assert_eq!(values(&unembedding.transpose()), parameters["layers.2.weight"]);
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    let io = Io { input: InputSpec::OneHot { width: 5, hot: 2 }, outputs: 3 };
    let tiny = MlpConfig { widths: vec![7, 2], ..config(true) };
    let model = randomised(build(tiny, &io));
    let (_, picked) = indices([11, 2], 5);
    let c = normal([11, 3], DType::F64, "c").detach();
    check_gradients(&model, |model| {
        (model.forward(&Input::OneHot(picked.clone()), &Ask::row(), &Ctx::eval(0, 0)) * c.clone()).sum()
    });
}

#[test]
fn without_biases_each_layer_carries_the_same_euler_product() {
    // The logits are homogeneous of degree 1 in each weight: ⟨∂L/∂W_l, W_l⟩ = Σ_ij G_ij z_ij for every l.
    let io = Io { input: InputSpec::OneHot { width: 17, hot: 2 }, outputs: 13 };
    let model = build(config(false), &io);
    let (_, picked) = indices([ROWS, 2], 17);
    let g = normal([ROWS, 13], DType::F64, "g").detach();
    let logits = model.forward(&Input::OneHot(picked), &Ask::row(), &Ctx::eval(0, 0));
    let product = values(&(logits.clone() * g.clone()).sum())[0];
    let gradients = named_gradients(&model, &(logits * g).sum().backward());
    let parameters = named_values(&model);
    for (name, gradient) in &gradients {
        let along: f64 = gradient.iter().zip(&parameters[name]).map(|(g, w)| g * w).sum();
        assert_close(name, &[along], &[product], 1e-12);
    }
    assert_eq!(gradients.len(), 3);
}

#[test]
fn first_values_stay_in_their_bounds() {
    let io = Io { input: InputSpec::OneHot { width: 118, hot: 2 }, outputs: 59 };
    let model = build(MlpConfig { widths: vec![128], bias: true, ..MlpConfig::default() }, &io);
    for (name, found) in named_values(&model) {
        let fan_in: f64 = if name.starts_with("layers.0") { 118.0 } else { 128.0 };
        let bound = 1.0 / fan_in.sqrt();
        let largest = found.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} of {bound}");
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        // Five standard errors of a uniform mean.
        assert!(mean.abs() < 5.0 * bound / (3.0 * found.len() as f64).sqrt(), "{name}: mean {mean}");
    }
}

#[test]
fn a_large_start_is_the_usual_one_times_a_factor() {
    let io = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
    let named = |init_scale| {
        let config =
            MlpConfig { widths: vec![5], bias: true, dtype: Precision::F64, init_scale, ..MlpConfig::default() };
        named_values(&build(config, &io))
    };
    let (usual, large) = (named(1.0), named(8.0));
    assert_eq!(usual.len(), 4);
    for (name, values) in usual {
        assert_eq!(values.iter().map(|x| x * 8.0).collect::<Vec<_>>(), large[&name], "{name}");
    }
}

#[test]
fn a_linear_model_has_no_hidden_layer() {
    let io = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
    let model = build(MlpConfig { widths: vec![], dtype: Precision::F64, ..MlpConfig::default() }, &io);
    let x = normal([5, 3], DType::F64, "x").detach();
    let logits = model.forward(&Input::Floats(x.clone()), &Ask::row(), &Ctx::eval(0, 0));
    assert_close("logits", &values(&logits), &reference(&model, &values(&x), &[3, 2], 1.0), 1e-14);
}

#[test]
fn what_does_not_fit_is_refused() {
    let floats = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
    let error = MlpConfig { widths: vec![4, 0], ..MlpConfig::default() }.check(&floats).unwrap_err();
    assert_eq!(error.key, "widths");
    assert_eq!(error.message, "hidden layer 1 has width 0; expected whole numbers of at least 1");
    let tokens = Io { input: InputSpec::Tokens { vocabulary: 60, length: 3 }, outputs: 59 };
    let error = MlpConfig::default().check(&tokens).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.name: \"mlp\" takes one-hot rows, feature vectors or images, but the data gives tokens (3 of a \
         vocabulary of 60); choose another encoding in [data], or name = \"transformer\""
    );
}

#[test]
fn other_functions_and_maxout_stand_between_the_layers() {
    let io = Io { input: InputSpec::Image { channels: 1, height: 2, width: 3 }, outputs: 13 };
    let x = normal([ROWS, 1, 2, 3], DType::F64, "x").detach();
    let logits = |model: &Model| values(&model.forward(&Input::Image(x.clone()), &Ask::row(), &Ctx::eval(0, 0)));
    let sizes = [6, 7, 11, 13];

    let tanh = MlpConfig { activation: PointwiseConfig::by_name("tanh").unwrap(), ..config(true) };
    let model = randomised(build(tanh, &io));
    let expected = reference_with(&model, &values(&x), &sizes, 0.5, |z| z.into_iter().map(f64::tanh).collect());
    assert_close("tanh", &logits(&model), &expected, 1e-13);

    let maxout = MlpConfig { maxout: Some(MaxoutConfig { pieces: 3 }), ..config(true) };
    let model = randomised(build(maxout, &io));
    let largest = |z: Vec<f64>| z.chunks(3).map(|z| z.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
    assert_close("maxout", &logits(&model), &reference_with(&model, &values(&x), &sizes, 0.5, largest), 1e-13);
    assert_eq!(named_values(&model)["layers.1.weight"].len(), 7 * 33);
}

#[test]
fn dropout_acts_in_training_on_inputs_and_hidden_values() {
    let io = Io { input: InputSpec::Floats { width: 50 }, outputs: 3 };
    let input = Input::Floats(normal([ROWS, 50], DType::F64, "x").detach());
    let hidden = |config: MlpConfig, ctx: Ctx| {
        let probe = Probe::of(["block"]);
        let model = build(MlpConfig { widths: vec![40], ..config }, &io);
        let logits = values(&model.forward(&input, &Ask::row(), &ctx.with_probe(&probe)));
        (values(&probe.take()[0].rows), logits)
    };
    let plain = hidden(config(true), Ctx::train(0, 4));
    for (dropout, input_dropout, hidden_differs) in [(0.5, 0.0, false), (0.0, 0.2, true)] {
        let config = MlpConfig { dropout, input_dropout, ..config(true) };
        assert_eq!(hidden(config.clone(), Ctx::eval(0, 4)), plain);
        let dropped = hidden(config.clone(), Ctx::train(0, 4));
        assert_eq!(dropped, hidden(config.clone(), Ctx::train(0, 4)));
        assert_ne!(dropped.1, hidden(config, Ctx::train(0, 5)).1);
        assert_ne!(dropped.1, plain.1);
        assert_eq!(dropped.0 != plain.0, hidden_differs);
    }
}

#[test]
fn hidden_layers_are_blocks_for_a_probe() {
    let io = Io { input: InputSpec::OneHot { width: 17, hot: 2 }, outputs: 13 };
    let (_, picked) = indices([ROWS, 2], 17);
    let probe = Probe::of(["block"]);
    build(config(false), &io).forward(&Input::OneHot(picked), &Ask::row(), &Ctx::eval(0, 0).with_probe(&probe));
    let found: Vec<_> = probe.take().into_iter().map(|record| (record.path, record.name, record.shape)).collect();
    let block = |path: &str, width| (path.to_owned(), "block".to_owned(), vec![ROWS, width]);
    assert_eq!(found, [block("layers.0", 7), block("layers.1", 11)]);
}

#[test]
fn keys_of_later_versions_stay_unwritten_at_their_defaults() {
    // A run is found by the hash of its config, and these are the keys of the first recorded runs.
    let written = serde_json::to_value(MlpConfig::default()).unwrap();
    let keys: Vec<_> = written.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["widths", "bias", "logit_scale", "dtype"]);
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let one_hot = Io { input: InputSpec::OneHot { width: 17, hot: 2 }, outputs: 13 };
    let message = |config: MlpConfig| config.check(&one_hot).unwrap_err().to_string();
    let maxout = Some(MaxoutConfig { pieces: 2 });
    assert_eq!(
        message(MlpConfig {
            maxout: maxout.clone(),
            activation: PointwiseConfig::by_name("gelu").unwrap(),
            ..config(true)
        }),
        "model.maxout: maxout units stand in the function's place; leave `activation` out"
    );
    assert_eq!(
        message(MlpConfig { maxout: Some(MaxoutConfig { pieces: 1 }), ..config(true) }),
        "model.maxout.pieces: 1 leaves nothing to choose from; expected at least 2"
    );
    assert_eq!(
        message(MlpConfig { input_dropout: 0.2, ..config(true) }),
        "model.input_dropout: 0.2 of one-hot rows, which have no values to drop; leave it out"
    );
}
