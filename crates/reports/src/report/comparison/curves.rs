//! Curves over seeds: a line for the mean, a band for the spread.

use std::collections::HashMap;

use kiln_analyses::seeds::Estimate;

use super::{BandKind, ComparedMetric, ComparisonReport, Variant};
use crate::{Figure, Scale, Series};

type Points = Vec<(f64, f64)>;

/// The figure of each metric that has curves, with the metric's name, in the order of the report.
///
/// A variant's line is the mean over its seeds at those x where every seed with a curve has a point, with the report's
/// band around it; a value that is not finite makes a gap. Seeds without a common x are drawn one by one. A variant has the same
/// colour in every figure, and the legend says what the band is.
pub fn comparison_figures(report: &ComparisonReport) -> Vec<(&str, Figure)> {
    report.metrics.iter().filter_map(|metric| Some((metric.name.as_str(), figure(report, metric)?))).collect()
}

fn figure(report: &ComparisonReport, metric: &ComparedMetric) -> Option<Figure> {
    let mut figure = Figure::new(metric.name.clone(), report.x.clone(), metric.heading());
    figure.y.scale = metric.scale;
    let mut reach: Option<(f64, f64)> = None;
    for (index, variant) in report.variants.iter().enumerate() {
        let seeds = curves(variant, metric);
        for &(_, y) in seeds.iter().flatten().filter(|(_, y)| has_place(*y, metric.scale)) {
            reach = Some(reach.map_or((y, y), |(low, high)| (low.min(y), high.max(y))));
        }
        figure.series.extend(series(&variant.name, &seeds, report.band, index));
    }
    if figure.series.is_empty() {
        return None;
    }
    if figure.series.iter().any(|series| series.band.is_some()) {
        figure.series.push(Series::band_key(report.band.to_string()));
        // Intervals of two seeds can be many times as high as the seeds are apart.
        if report.band == BandKind::Interval {
            figure.y.range = reach.map(|(low, high)| widened(low, high, metric.scale));
        }
    }
    Some(figure)
}

/// The curves of a variant's seeds, as they are shown.
fn curves(variant: &Variant, metric: &ComparedMetric) -> Vec<Points> {
    let shown = |points: &Points| points.iter().map(|&(x, y)| (x, metric.format.shown(y))).collect();
    let curves = variant.runs.values().filter_map(|run| run.curves.get(&metric.name));
    curves.filter(|points| !points.is_empty()).map(shown).collect()
}

/// The line and band of a variant, or a line per seed where they share no x.
fn series(label: &str, seeds: &[Points], band: BandKind, color: usize) -> Vec<Series> {
    let colored = |mut series: Series| {
        series.style.color = Some(color);
        series
    };
    let columns = columns(seeds);
    if columns.is_empty() || seeds.len() < 2 {
        return seeds.iter().map(|points| colored(Series::new(label, points.clone()))).collect();
    }
    let (mut line, mut area) = (Vec::new(), Vec::new());
    for (x, values) in columns {
        let estimate = Estimate::of(values.iter().copied());
        let (low, high) = match (band, estimate.interval) {
            (BandKind::Interval, Some(interval)) => (interval.low, interval.high),
            _ if estimate.non_finite > 0 => (f64::NAN, f64::NAN),
            _ => values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &y| (low.min(y), high.max(y))),
        };
        line.push((x, estimate.mean.unwrap_or(f64::NAN)));
        area.push((x, low, high));
    }
    vec![colored(Series::new(label, line).band(area))]
}

/// The values of all seeds at each x that all of them have, by rising x.
fn columns(seeds: &[Points]) -> Vec<(f64, Vec<f64>)> {
    let mut columns: HashMap<u64, (f64, Vec<f64>)> = HashMap::new();
    for (i, points) in seeds.iter().enumerate() {
        for &(x, y) in points.iter().filter(|(x, _)| x.is_finite()) {
            // A zero's sign does not matter.
            let (_, values) = columns.entry((x + 0.0).to_bits()).or_insert_with(|| (x, Vec::new()));
            // A seed that was missed before stays missed; an x that it has twice keeps the later value.
            if values.len() == i {
                values.push(y);
            } else if values.len() == i + 1 {
                values[i] = y;
            }
        }
    }
    let mut common: Vec<_> = columns.into_values().filter(|(_, values)| values.len() == seeds.len()).collect();
    common.sort_by(|a, b| a.0.total_cmp(&b.0));
    common
}

fn has_place(y: f64, scale: Scale) -> bool {
    y.is_finite() && (scale == Scale::Linear || y > 0.0)
}

/// The range with a little room on both sides.
fn widened(low: f64, high: f64, scale: Scale) -> (f64, f64) {
    match scale {
        Scale::Linear => (low - 0.1 * (high - low), high + 0.1 * (high - low)),
        Scale::Log => (low * (low / high).powf(0.1), high * (high / low).powf(0.1)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::SeedRun;
    use super::*;

    fn variant(name: &str, curves: &[&[(f64, f64)]]) -> Variant {
        let run = |points: &[(f64, f64)]| SeedRun {
            curves: BTreeMap::from([("loss".to_owned(), points.to_vec())]),
            ..SeedRun::default()
        };
        Variant { name: name.into(), runs: (0..).zip(curves.iter().map(|c| run(c))).collect(), ..Variant::default() }
    }

    fn drawn(band: BandKind, variants: Vec<Variant>) -> Figure {
        let metric = ComparedMetric { name: "loss".into(), ..ComparedMetric::default() };
        let report = ComparisonReport { variants, metrics: vec![metric], band, ..ComparisonReport::default() };
        comparison_figures(&report).swap_remove(0).1
    }

    #[test]
    fn mean_and_band_stand_where_every_seed_has_a_point() {
        let seeds: [&[(f64, f64)]; 2] =
            [&[(-5.0, 1.0), (0.0, 2.0), (10.0, 8.0), (20.0, 9.0)], &[(0.0, 4.0), (-5.0, 1.0), (10.0, f64::NAN)]];
        let figure = drawn(BandKind::Range, vec![variant("a", &seeds)]);
        let [line, key] = figure.series.as_slice() else { panic!("{figure:?}") };
        assert_eq!(line.points[..2], [(-5.0, 1.0), (0.0, 3.0)]);
        assert!(line.points.len() == 3 && line.points[2].1.is_nan(), "a diverged seed is a gap");
        let band = line.band.as_ref().unwrap();
        assert_eq!(band[..2], [(-5.0, 1.0, 1.0), (0.0, 2.0, 4.0)]);
        assert!(band[2].1.is_nan());
        assert_eq!(key.label, "band: lowest to highest seed");
        assert!(figure.to_svg().contains("band: lowest to highest seed"));
    }

    #[test]
    fn an_interval_is_cut_to_what_the_seeds_reach() {
        let figure = drawn(BandKind::Interval, vec![variant("a", &[&[(0.0, 1.0)], &[(0.0, 2.0)]])]);
        let (_, low, high) = figure.series[0].band.as_ref().unwrap()[0];
        // 12.706 · 0.5
        assert!((low + 4.853).abs() < 1e-3 && (high - 7.853).abs() < 1e-3);
        assert_eq!(figure.y.range, Some((0.9, 2.1)));
        assert!(figure.to_svg().contains("95 % t interval"));
    }

    #[test]
    fn one_seed_has_no_band_and_strangers_have_lines() {
        let one = drawn(BandKind::Range, vec![variant("a", &[&[(0.0, 1.0)]])]);
        assert_eq!(one.series, [Series { style: one.series[0].style, ..Series::new("a", vec![(0.0, 1.0)]) }]);
        let strangers = drawn(BandKind::Range, vec![variant("a", &[&[(0.0, 1.0)], &[(1.0, 1.0)]])]);
        assert_eq!(strangers.series.len(), 2);
        assert!(strangers.series.iter().all(|series| series.label == "a" && series.band.is_none()));
    }

    #[test]
    fn a_variant_keeps_its_colour() {
        let figure = drawn(BandKind::Range, vec![variant("none", &[]), variant("b", &[&[(0.0, 1.0)]])]);
        assert_eq!(figure.series[0].style.color, Some(1));
    }
}
