//! One map on a few numbers: the quickest way to look at it.
mod curve;
mod read;

use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_activations::{
    Ctx, Keep,
    kernel::seeded,
    normalizer::{Gradient, Heads, Normalize},
};
use serde::{Serialize, Serializer};

pub use curve::{FROM, TO, curve};
pub use read::{csv, numbers};

/// One row of scores and what a map makes of it. Numbers that JSON cannot hold are written as text: `"-inf"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Applied {
    /// The scores, as the dtype holds them.
    #[serde(serialize_with = "plain")]
    pub scores: Vec<f64>,
    /// Their weights.
    #[serde(serialize_with = "plain")]
    pub weights: Vec<f64>,
    /// The logarithms of the weights, where the map has them.
    #[serde(serialize_with = "optional")]
    pub log_weights: Option<Vec<f64>>,
    /// The gradient that arrives at the weights, or at their logarithms if asked for.
    #[serde(serialize_with = "plain")]
    pub upstream: Vec<f64>,
    /// The gradient that reaches the scores; `None` for a map whose backward pass computes nothing.
    #[serde(serialize_with = "optional")]
    pub gradient: Option<Vec<f64>>,
    /// The sum of the weights.
    pub row_sum: f64,
}

/// The values as numbers, and as text where JSON has no number for them.
fn plain<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|&value| {
        if value.is_finite() { serde_json::Value::from(value) } else { serde_json::Value::from(format!("{value}")) }
    }))
}

fn optional<S: Serializer>(values: &Option<Vec<f64>>, serializer: S) -> Result<S::Ok, S::Error> {
    match values {
        Some(values) => plain(values, serializer),
        None => serializer.serialize_none(),
    }
}

/// Which of a map's results the gradient belongs to, and a plot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The weights.
    Weights,
    /// Their logarithms.
    Log,
}

/// Applies `map` to one row of at least one score, as in evaluation. `upstream` has as many numbers as the row.
///
/// # Panics
/// If the form is [`Form::Log`] and the map has no log form, or the device cannot run the map.
pub fn apply(
    map: &dyn Normalize,
    scores: &[f64],
    upstream: &[f64],
    form: Form,
    device: &Device,
    dtype: DType,
) -> Applied {
    let tracked = device.clone().autodiff();
    let ctx = Ctx::eval(0, 0);
    let row =
        |values: &[f64]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), (&tracked, dtype));
    let log = |x: Tensor<2>| map.has_log_form().then(|| map.log_rows(x, &Keep::All, Heads::ONE, &ctx)).flatten();
    let x = row(scores).require_grad();
    let weights = map.rows(x.clone(), &Keep::All, Heads::ONE, &ctx);
    let log_weights = log(x.clone());
    let gradient = (map.laws().gradient != Gradient::None).then(|| {
        let result = match form {
            Form::Weights => weights.clone(),
            Form::Log => log_weights.clone().expect("only maps with a log form are asked for it"),
        };
        let gradients = seeded(result, row(upstream)).backward();
        x.grad(&gradients).map_or_else(|| vec![0.0; scores.len()], values)
    });
    let weights = values(weights.detach());
    Applied {
        scores: values(x.detach()),
        row_sum: weights.iter().sum(),
        weights,
        log_weights: log_weights.map(|log| values(log.detach())),
        upstream: values(row(upstream)),
        gradient,
    }
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

#[cfg(test)]
mod tests {
    use kiln_activations::{Init, normalizer::NormalizerConfig};

    use super::*;

    fn row(name: &str, scores: &[f64], upstream: &[f64], form: Form) -> Applied {
        let device = Device::flex();
        let init = Init::new(0, &device.clone().autodiff(), DType::F64);
        let map = NormalizerConfig::by_name(name).unwrap().init(&init);
        apply(&*map, scores, upstream, form, &device, DType::F64)
    }

    #[test]
    fn two_scores_by_hand() {
        // Scores that differ by ln 3: weights 3/4 and 1/4, and the first one's slope is 3/4 × 1/4.
        let applied = row("softmax", &[3f64.ln(), 0.0], &[1.0, 0.0], Form::Weights);
        let close = |got: &[f64], want: &[f64]| {
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15), "{got:?} {want:?}");
        };
        close(&applied.weights, &[0.75, 0.25]);
        close(applied.log_weights.as_ref().unwrap(), &[0.75f64.ln(), 0.25f64.ln()]);
        close(applied.gradient.as_ref().unwrap(), &[0.1875, -0.1875]);
        // Of the logarithm: 1 − 3/4.
        close(row("softmax", &[3f64.ln(), 0.0], &[1.0, 0.0], Form::Log).gradient.as_ref().unwrap(), &[0.25, -0.25]);
    }

    #[test]
    fn infinities_survive_json() {
        let applied = row("softmax", &[0.0, f64::NEG_INFINITY], &[1.0, 0.0], Form::Weights);
        let json = serde_json::to_value(&applied).unwrap();
        assert_eq!(json["scores"], serde_json::json!([0.0, "-inf"]));
        assert_eq!(json["log_weights"], serde_json::json!([0.0, "-inf"]));
        assert_eq!(row("sparsemax", &[0.0], &[1.0], Form::Weights).log_weights, None);
    }
}
