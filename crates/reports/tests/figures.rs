//! Figures: odd data never panics, every picture is valid SVG, and labels are really drawn.

use kiln_reports::{Axis, Figure, FigureGrid, Guide, Plot, Series, Stroke, Style, svg_to_png};
use proptest::prelude::*;

#[allow(dead_code, reason = "each test file uses its part of the planted data")]
mod planted;

/// The drawing as the PNG renderer understands it; fails if it is not valid SVG.
fn png(svg: &str) -> Vec<u8> {
    svg_to_png(svg, 1.0).expect("the figure is valid SVG")
}

/// The numbers of all `points` attributes, ten to a pixel.
fn coordinates(svg: &str) -> Vec<f64> {
    let points = svg.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next());
    points.flat_map(|list| list.split([' ', ',']).filter(|s| !s.is_empty())).map(|n| n.parse().unwrap()).collect()
}

fn figure(points: Vec<(f64, f64)>) -> Figure {
    Figure::new("title", "x", "y").with(Series::new("series", points))
}

#[test]
fn an_empty_figure_says_so() {
    let none = Figure::default().to_svg();
    assert!(none.contains("no data"));
    assert!(figure(vec![]).to_svg().contains("no data"));
    assert!(figure(vec![(f64::NAN, 1.0), (0.0, f64::INFINITY)]).to_svg().contains("no data"));
    assert!(!figure(vec![(0.0, 1.0)]).to_svg().contains("no data"));
    png(&none);
    png(&FigureGrid::default().to_svg());
}

#[test]
fn one_point_is_a_dot_and_a_nan_is_a_gap() {
    let circles = |svg: &str| svg.matches("<circle").count();
    assert_eq!(circles(&figure(vec![(3.0, 4.0)]).to_svg()), 1);
    let gap =
        figure(vec![(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, f64::NAN), (5.0, 0.0), (6.0, 1.0)]);
    let whole = figure(vec![(0.0, 0.0), (1.0, 1.0), (3.0, 1.0), (5.0, 0.0), (6.0, 1.0)]);
    let lines = |figure: &Figure| figure.to_svg().matches("stroke=\"#0072B2\"").count();
    assert_eq!(circles(&gap.to_svg()), 1, "the point between two gaps stays visible");
    // The legend's sample and the pieces of the curve.
    assert_eq!((lines(&gap), lines(&whole)), (1 + 2, 1 + 1));
}

#[test]
fn a_band_key_is_an_area_in_the_legend_and_no_curve() {
    let lines = |svg: &str| svg.matches("<polyline").count();
    let areas = |svg: &str| svg.matches("<rect").count();
    let plain = figure(vec![(0.0, 0.0), (1.0, 1.0)]);
    let keyed = plain.clone().with(Series::band_key("band: lowest to highest seed"));
    let (plain, keyed) = (plain.to_svg(), keyed.to_svg());
    assert!(keyed.contains("band: lowest to highest seed"));
    assert_eq!((lines(&keyed), areas(&keyed)), (lines(&plain), areas(&plain) + 1));
    assert!(Figure::default().with(Series::band_key("band")).to_svg().contains("no data"));
}

#[test]
fn huge_tiny_and_constant_values_stay_on_the_paper() {
    let cases = [
        vec![(0.0, f64::MAX), (1.0, -f64::MAX), (2.0, 0.0)],
        vec![(-f64::MAX, 1e300), (f64::MAX, 1e308)],
        vec![(0.0, 5e-324), (1.0, 1e-323)],
        vec![(1e16, 1e16), (1e16 + 2.0, 1e16 + 2.0)],
        vec![(0.0, 0.7), (1.0, 0.7)],
        vec![(5.0, 1.0), (5.0, 2.0)],
    ];
    for points in cases {
        for log in [false, true] {
            let mut figure = figure(points.clone());
            if log {
                figure.y = figure.y.log();
            }
            let svg = figure.to_svg();
            png(&svg);
            assert!(coordinates(&svg).iter().all(|c| (0.0..=7200.0).contains(c)), "{points:?}");
        }
    }
}

#[test]
fn zeros_on_a_log_axis_are_gaps() {
    let mut figure = figure(vec![(0.0, 1.0), (1.0, 1e-3), (2.0, 0.0), (3.0, -1.0), (4.0, 1e-6), (5.0, 1e-3)]);
    figure.y = figure.y.log();
    let svg = figure.to_svg();
    assert!(svg.contains("10⁻⁶"), "ticks are powers of ten");
    assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 1 + 2);
}

#[test]
fn curves_and_bands_are_cut_at_a_fixed_range() {
    let mut figure = figure((0..100).map(|i| (f64::from(i), f64::from(i) * 10.0)).collect());
    figure.series[0].band = Some((0..100).map(|i| (f64::from(i), -1e9, f64::from(i) * 20.0)).collect());
    figure.x = Axis::new("x").range(20.0, 40.0);
    figure.y = Axis::new("y").range(250.0, 300.0);
    let svg = figure.to_svg();
    assert!(coordinates(&svg).iter().all(|c| (0.0..=7200.0).contains(c)));
    assert!(svg.contains("<polygon"));
}

#[test]
fn a_long_series_is_thinned_and_keeps_its_spike() {
    let mut points: Vec<(f64, f64)> = (0..200_000).map(|i| (f64::from(i), (f64::from(i) * 0.7).sin())).collect();
    points[123_456].1 = 40.0;
    let svg = figure(points).to_svg();
    assert!(svg.len() < 60_000, "{} bytes", svg.len());
    let top = coordinates(&svg).chunks(2).map(|p| p[1]).fold(f64::MAX, f64::min);
    assert!(top < 1200.0, "the spike reaches the top of the frame, not {top}");
}

#[test]
fn series_of_one_label_share_a_legend_entry_and_a_colour() {
    let seed = |y: f64| Series::new("StableMax", vec![(0.0, y), (1.0, y + 1.0)]);
    let svg = Figure::new("", "", "")
        .with(seed(0.0))
        .with(seed(1.0))
        .with(Series::new("softmax", vec![(0.0, 3.0), (1.0, 3.0)]))
        .to_svg();
    assert_eq!(svg.matches("StableMax").count(), 1);
    assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 3);
    assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 2);
}

#[test]
fn a_ninth_series_is_told_apart_by_its_pattern() {
    let figure = (0..9).fold(Figure::default(), |figure, i| {
        figure.with(Series::new(format!("run {i}"), vec![(0.0, f64::from(i)), (1.0, f64::from(i))]))
    });
    let svg = figure.to_svg();
    // Solid: a sample and a line. The ninth shares its hue and is cut into dashes.
    assert!(svg.matches("stroke=\"#0072B2\"").count() > 20);
    assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 2);
}

#[test]
fn a_crowded_legend_says_how_many_it_leaves_out() {
    let figure = (0..80).fold(Figure::default(), |figure, i| {
        figure.with(Series::new(
            format!("a run with quite a long name, number {i}"),
            vec![(0.0, 1.0), (1.0, f64::from(i))],
        ))
    });
    let svg = figure.to_svg();
    let shown = svg.matches("a run with quite").count();
    assert!((4..20).contains(&shown), "{shown}");
    assert!(svg.contains(&format!("and {} more", 80 - shown)));
}

#[test]
fn text_is_escaped_in_every_place() {
    let evil = "<script>alert(\"1\")</script>&";
    let mut figure = Figure::new(evil, evil, evil).with(Series::new(evil, vec![(0.0, 1.0), (1.0, 2.0)]));
    figure = figure.guide(Guide::vertical(0.5, evil)).guide(Guide::horizontal(1.5, evil).color(3));
    let grid = FigureGrid { title: evil.into(), columns: 1, panels: vec![figure.clone()], shared_legend: true };
    for svg in [figure.to_svg(), Plot::from(grid).to_svg()] {
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("&lt;script&gt;"));
        png(&svg);
    }
}

#[test]
fn a_guide_outside_the_range_is_left_out() {
    let base = figure(vec![(0.0, 0.0), (10.0, 1.0)]);
    assert!(!base.clone().guide(Guide::vertical(11.0, "late")).to_svg().contains("late"));
    assert!(base.clone().guide(Guide::vertical(9.9, "late")).to_svg().contains("late"));
    assert!(base.clone().guide(Guide::horizontal(3.0, "bar")).to_svg().contains("bar"), "a fitted y axis makes room");
    let mut fixed = base.guide(Guide::horizontal(3.0, "bar"));
    fixed.y = fixed.y.range(0.0, 1.0);
    assert!(!fixed.to_svg().contains("bar"));
}

#[test]
fn small_multiples_have_one_legend_or_one_each() {
    let mut grid = planted::diagnostics();
    let count = |grid: &FigureGrid| grid.to_svg().matches("A3 StableMax").count();
    assert_eq!(count(&grid), 1);
    grid.shared_legend = false;
    assert_eq!(count(&grid), 6);
    grid.columns = 0;
    png(&grid.to_svg());
}

/// Pixels of a part of a picture that are clearly not white, from its PNG bytes.
fn dark_pixels(png: &[u8], columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) -> usize {
    let pixmap = resvg::tiny_skia::Pixmap::decode_png(png).unwrap();
    let dark = |x, y| {
        pixmap.pixel(x, y).is_some_and(|p| u32::from(p.red()) + u32::from(p.green()) + u32::from(p.blue()) < 500)
    };
    rows.flat_map(|y| columns.clone().map(move |x| (x, y))).filter(|&(x, y)| dark(x, y)).count()
}

#[test]
fn labels_are_really_drawn_into_the_png() {
    let with = svg_to_png(&planted::accuracy_figure().to_svg(), 2.0).unwrap();
    let size = resvg::tiny_skia::Pixmap::decode_png(&with).unwrap();
    assert_eq!((size.width(), size.height()), (1440, 840));
    // Title, label of the x axis, label of the y axis.
    let areas = [(20..900, 20..48), (700..800, 795..830), (20..48, 340..540)];
    for (columns, rows) in areas.clone() {
        let dark = dark_pixels(&with, columns.clone(), rows.clone());
        assert!(dark > 100, "{dark} dark pixels at {columns:?}, {rows:?}");
    }
    let svg = planted::accuracy_figure().to_svg().replace("<text", "<desc").replace("</text", "</desc");
    let without = svg_to_png(&svg, 2.0).unwrap();
    for (columns, rows) in areas {
        assert_eq!(dark_pixels(&without, columns, rows), 0, "what was counted is text");
    }
}

#[test]
fn a_picture_that_cannot_be_made_is_an_error() {
    let message = |svg: &str, scale| svg_to_png(svg, scale).unwrap_err().to_string();
    assert!(message("no picture", 1.0).starts_with("the figure is not valid SVG"));
    let svg = Figure::default().to_svg();
    let expected = "scale 100 would make a picture of 72000 × 42000 pixels; each side must be 1 to 16384";
    assert_eq!(message(&svg, 100.0), expected);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(message(&svg, scale).contains("each side must be"));
    }
}

#[test]
fn a_figure_survives_json() {
    let grid = Plot::from(planted::diagnostics());
    let text = serde_json::to_string(&grid).unwrap();
    assert_eq!(serde_json::from_str::<Plot>(&text).unwrap(), grid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_numbers_make_a_valid_picture(
        points in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY), 0..30),
        band in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY, prop::num::f64::ANY), 0..30),
        (at, ends) in (prop::num::f64::ANY, (prop::num::f64::ANY, prop::num::f64::ANY)),
        (log_x, log_y, fixed, dashed) in any::<(bool, bool, bool, bool)>(),
    ) {
        let style = Style { stroke: if dashed { Stroke::Dotted } else { Stroke::Solid }, markers: true, ..Style::default() };
        let mut figure = Figure::new("t", "x", "y")
            .with(Series::new("s", points).band(band).style(style))
            .guide(Guide::vertical(at, "v"))
            .guide(Guide::horizontal(at, "h"));
        if log_x { figure.x = figure.x.log(); }
        if log_y { figure.y = figure.y.log(); }
        if fixed { figure.y = figure.y.range(ends.0, ends.1); }
        let svg = figure.to_svg();
        prop_assert!(coordinates(&svg).iter().all(|c| (-1.0..=7201.0).contains(c)));
        resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).unwrap();
    }
}
