use super::*;
use crate::{
    Model, ModelConfig,
    block::conv::tests::{Map, convolved},
    testing::{assert_close, device, named_values, normal, randomised, values},
};

const ROWS: usize = 3;
const IO: Io = Io { input: InputSpec::Image { channels: 2, height: 11, width: 13 }, outputs: 5 };

fn build(config: CnnConfig) -> Model {
    let config = ModelConfig::Cnn(config);
    config.check(&IO).unwrap();
    config.init((&IO, &Init::new(5, &device(), config.dtype())))
}

fn small(padding: Padding, pooling: &str) -> CnnConfig {
    CnnConfig {
        channels: vec![3, 7],
        kernel: 3,
        padding,
        pooling: PoolingConfig::by_name(pooling).unwrap(),
        hidden: vec![17],
        dtype: Precision::F64,
        ..CnnConfig::cnn_svm()
    }
}

fn relu(values: &mut [f64]) {
    values.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// Windows of 2 x 2.
fn pooled(map: &Map, of: impl Fn([f64; 4]) -> f64) -> Map {
    let [channels, height, width] = map.shape;
    Map::build([channels, height / 2, width / 2], |c, i, j| {
        let at = |a, b| map.at(c, (2 * i + a) as isize, (2 * j + b) as isize);
        of([at(0, 0), at(0, 1), at(1, 0), at(1, 1)])
    })
}

/// The network in plain loops.
fn reference(model: &Model, config: &CnnConfig, image: Map, pool: impl Fn([f64; 4]) -> f64) -> Vec<f64> {
    let p = named_values(model);
    let dense = |x: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (&p[&format!("{name}.weight")], &p[&format!("{name}.bias")]);
        let outputs = bias.len();
        (0..outputs).map(|j| bias[j] + (0..x.len()).map(|i| x[i] * weight[i * outputs + j]).sum::<f64>()).collect()
    };
    let mut map = image;
    for (i, filters) in config.filters(2).enumerate() {
        let name = format!("convolutions.{i}");
        map = convolved(&map, &p[&format!("{name}.weight")], p.get(&format!("{name}.bias")), filters);
        relu(&mut map.values);
        map = pooled(&map, &pool);
    }
    let mut h = dense(&map.values, "hidden.0");
    relu(&mut h);
    dense(&h, "output")
}

#[test]
fn logits_follow_the_formula() {
    for padding in [Padding::Same, Padding::Valid] {
        for (pooling, pool) in [
            ("max", (|x: [f64; 4]| x.into_iter().fold(f64::NEG_INFINITY, f64::max)) as fn([f64; 4]) -> f64),
            ("avg", |x| x.iter().sum::<f64>() / 4.0),
        ] {
            let config = small(padding, pooling);
            let model = randomised(build(config.clone()));
            let x = normal([ROWS, 2, 11, 13], DType::F64, "x").detach();
            let expected: Vec<f64> = values(&x)
                .chunks(2 * 11 * 13)
                .map(|image| Map { shape: [2, 11, 13], values: image.to_vec() })
                .flat_map(|image| reference(&model, &config, image, pool))
                .collect();
            let logits = model.forward(&Input::Image(x), &Ask::row(), &Ctx::eval(0, 0));
            assert_eq!(logits.dims(), [ROWS, 5]);
            assert_close(&format!("{padding:?} {pooling}"), &values(&logits), &expected, 1e-12);
        }
    }
}

#[test]
fn first_values_of_the_support_vector_network() {
    let model = build(CnnConfig { hidden: vec![64], ..CnnConfig::cnn_svm() });
    for (name, found) in named_values(&model) {
        if name.ends_with("bias") {
            assert!(found.iter().all(|b| (b - 0.1).abs() < 1e-7), "{name}");
            continue;
        }
        let n = found.len() as f64;
        let (mean, square) = (found.iter().sum::<f64>() / n, found.iter().map(|w| w * w).sum::<f64>() / n);
        assert!(found.iter().all(|w| w.abs() <= 0.2), "{name}: cut at two standard deviations");
        // A normal cut at ±2 has variance 1 − 4 φ(2)/(2 Φ(2) − 1) = 0.7737; five standard errors, the fourth moment is 1.4.
        assert!(mean.abs() < 5.0 * 0.088 / n.sqrt(), "{name}: mean {mean}");
        assert!((square / 0.01 - 0.7737).abs() < 5.0 * 0.9 / n.sqrt(), "{name}: variance {square}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = |config: CnnConfig| config.check(&IO).unwrap_err().to_string();
    assert_eq!(
        message(CnnConfig { kernel: 4, ..CnnConfig::default() }),
        "model.kernel: filters of 4 pixels cannot keep the image's size; use an odd kernel, or padding = \"valid\""
    );
    assert_eq!(
        message(CnnConfig { channels: vec![8, 8, 8, 8], ..CnnConfig::default() }),
        "model.channels: the pooling of 2 pixels after convolution 3 does not fit the 1 pixels it is given; use fewer \
         convolutions, smaller filters or windows, or larger images"
    );
    assert_eq!(
        message(CnnConfig { hidden: vec![8, 0], ..CnnConfig::default() }),
        "model.hidden: layer 1 has width 0; expected whole numbers of at least 1"
    );
    let floats = Io { input: InputSpec::Floats { width: 3 }, outputs: 2 };
    assert_eq!(
        CnnConfig::default().check(&floats).unwrap_err().to_string(),
        "model.name: \"cnn\" takes images, but the data gives feature vectors (of 3); choose other data, such as \
         \"gratings\", or name = \"mlp\""
    );
}
