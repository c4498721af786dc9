//! One score on the move, as a picture.
use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_activations::{
    Ctx, Keep,
    normalizer::{Heads, Normalize},
};
use kiln_reports::{Figure, Guide, Series, Stroke, Style};

use super::{Form, values};

/// Where the moving score starts.
pub const FROM: f64 = -5.0;
/// Where it ends.
pub const TO: f64 = 5.0;

/// Steps of the moving score.
const STEPS: usize = 400;
/// Others that get a curve of their own; more would hide the one that matters.
const OTHERS: usize = 4;

/// Draws what becomes of the weights of `scores` (or of their logarithms) while the score at `moving` goes from [`FROM`] to
/// [`TO`] and the others stay: its own weight as a line, those of the first few others dashed.
///
/// # Panics
/// If the form is [`Form::Log`] and the map has no log form, or the device cannot run the map.
pub fn curve(
    title: &str,
    map: &dyn Normalize,
    scores: &[f64],
    moving: usize,
    form: Form,
    device: &Device,
    dtype: DType,
) -> Figure {
    let n = scores.len();
    let at: Vec<f64> = (0..=STEPS).map(|i| FROM + (TO - FROM) * i as f64 / STEPS as f64).collect();
    let rows: Vec<f64> =
        at.iter().flat_map(|&x| (0..n).map(move |i| if i == moving { x } else { scores[i] })).collect();
    let rows = Tensor::<2>::from_data(TensorData::new(rows, [at.len(), n]), (device, dtype));
    let ctx = Ctx::eval(0, 0);
    let results = values(match form {
        Form::Weights => map.rows(rows, &Keep::All, Heads::ONE, &ctx),
        Form::Log => {
            map.log_rows(rows, &Keep::All, Heads::ONE, &ctx).expect("only maps with a log form are asked for it")
        }
    });
    let series = |i: usize, stroke, width| {
        let points = at.iter().zip(results.iter().skip(i).step_by(n)).map(|(&x, &y)| (x, y)).collect();
        let label = if i == moving { format!("score {i}, moving") } else { format!("score {i} = {}", scores[i]) };
        Series::new(label, points).style(Style { stroke, width, ..Style::default() })
    };
    let what = if form == Form::Log { "log weight" } else { "weight" };
    let mut figure = Figure::new(title, format!("score {moving}"), what).with(series(moving, Stroke::Solid, 2.4));
    for other in (0..n).filter(|&i| i != moving).take(OTHERS) {
        figure = figure.with(series(other, Stroke::Dashed, 1.2));
    }
    if (FROM..=TO).contains(&scores[moving]) {
        figure = figure.guide(Guide::vertical(scores[moving], "as given"));
    }
    figure
}

#[cfg(test)]
mod tests {
    use kiln_activations::{Init, normalizer::NormalizerConfig};

    use super::*;

    #[test]
    fn the_moving_score_has_the_first_curve() {
        let device = Device::flex();
        let map = NormalizerConfig::by_name("sparsemax").unwrap().init(&Init::new(0, &device, DType::F64));
        let figure = curve("sparsemax", &*map, &[0.0, 0.5], 0, Form::Weights, &device, DType::F64);
        assert_eq!(figure.series.len(), 2);
        let own = &figure.series[0].points;
        assert_eq!((own[0], own[STEPS]), ((FROM, 0.0), (TO, 1.0)));
        // (x − 0.5 + 1) / 2 in between.
        let at_half = own.iter().find(|(x, _)| *x == 0.5).unwrap();
        assert!((at_half.1 - 0.5).abs() < 1e-12, "{at_half:?}");
        assert_eq!(figure.guides[0].at, 0.0);
        assert!(figure.to_svg().starts_with("<svg"));
    }
}
