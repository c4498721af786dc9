//! Made-up results with the shape of real ones, for the tests and for looking at.

pub mod comparison;

use kiln_reports::*;

const SEEDS: [u64; 3] = [2, 3, 4];

/// A logistic curve with a little deterministic roughness.
fn rise(step: f64, middle: f64, width: f64, top: f64, seed: u64) -> f64 {
    let rough = ((step * 0.013 + seed as f64).sin() + (step * 0.051 * (seed + 1) as f64).cos()) * 0.004;
    (top / (1.0 + (-(step - middle) / width).exp()) + rough).clamp(0.0, 1.0)
}

fn curve(steps: u64, every: u64, f: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (0..=steps / every).map(|i| ((i * every) as f64, f((i * every) as f64))).collect()
}

/// Test accuracy of four runs over three seeds: mean and range.
pub fn accuracy_figure() -> Figure {
    let runs = [
        ("A1 softmax", 400.0, 200.0, 0.24),
        ("A3 StableMax", 700.0, 160.0, 0.996),
        ("A4 perpGrad", 60.0, 12.0, 1.0),
        ("A5 weight decay 1", 900.0, 90.0, 0.998),
    ];
    let mut figure = Figure::new("Test accuracy, p = 59, mean and range over seeds 2, 3, 4", "step", "test accuracy")
        .guide(Guide::horizontal(0.95, "0.95"))
        .guide(Guide::vertical(1450.0, "loss = 0 on half the rows (A1)").color(0));
    for (label, middle, width, top) in runs {
        let of = |seed: u64| move |step| rise(step, middle + 60.0 * seed as f64 - 180.0, width, top, seed);
        let band = curve(2500, 25, |_| 0.0)
            .into_iter()
            .map(|(x, _)| {
                let values = SEEDS.map(|seed| of(seed)(x));
                (x, values.into_iter().fold(1.0, f64::min), values.into_iter().fold(0.0, f64::max))
            })
            .collect();
        let mean = curve(2500, 25, |x| SEEDS.map(|seed| of(seed)(x)).iter().sum::<f64>() / 3.0);
        figure = figure.with(Series::new(label, mean).band(band));
    }
    figure
}

/// Loss on a log axis; the last third is exactly zero and therefore a gap.
pub fn loss_figure() -> Figure {
    let loss = |rate: f64, zero: f64| move |step: f64| if step > zero { 0.0 } else { 4.08 * (-step * rate).exp() };
    let mut figure = Figure::new("Training loss (nats)", "step", "loss")
        .with(Series::new("train", curve(2500, 25, loss(0.012, 1700.0))))
        .with(
            Series::new("test", curve(2500, 25, |step| 4.08 + 6.0 * rise(step, 500.0, 150.0, 1.0, 3)))
                .style(Style { stroke: Stroke::Dashed, ..Style::default() }),
        );
    figure.y = figure.y.log();
    figure
}

/// Six panels under one legend.
pub fn diagnostics() -> FigureGrid {
    let panel = |title: &str, scale: f64| {
        let mut figure = Figure::new(title, "step", "");
        for (label, middle) in [("A1 softmax", 500.0), ("A3 StableMax", 900.0), ("A4 perpGrad", 1500.0)] {
            figure = figure.with(Series::new(label, curve(2500, 50, |x| scale * rise(x, middle, 200.0, 1.0, 2))));
        }
        figure
    };
    FigureGrid {
        title: "Diagnostics of seed 2".into(),
        columns: 3,
        panels: vec![
            panel("zero_loss", 0.61),
            panel("nlm_update", 0.71),
            panel("weight_norm", 78.3),
            panel("logit_norm", 250_000.0),
            panel("gini", 0.67),
            panel("fourier_top5", 0.45),
        ],
        shared_legend: true,
    }
}

/// A finished run.
pub fn run() -> RunReport {
    let accuracy = Figure::new("Accuracy", "step", "fraction")
        .with(Series::new("train", curve(2500, 25, |x| rise(x, 80.0, 20.0, 1.0, 2))))
        .with(Series::new("test", curve(2500, 25, |x| rise(x, 700.0, 160.0, 0.996, 2))));
    let metric = |name: &str, last, best, best_step| Metric { name: name.into(), last, best, best_step };
    RunReport {
        title: "grokking/stablemax".into(),
        subtitle: "seed 2 · 2500 of 2500 steps · 43 s · flex, 2 threads".into(),
        status: "finished".into(),
        tone: Tone::Good,
        headlines: vec![
            Headline { label: "test accuracy".into(), value: 0.9964, note: "best 0.998 at step 2350".into() },
            Headline { label: "train accuracy".into(), value: 1.0, note: "≥ 0.99 from step 150".into() },
            Headline { label: "test loss (nats)".into(), value: 0.0213, note: "best 0.0198 at step 2450".into() },
            Headline { label: "steps per second".into(), value: 58.1, note: String::new() },
        ],
        notes: vec!["At step 1700 the loss of 12 rows is exactly 0 in f32; loss.dtype = \"f64\" would resolve it.".into()],
        plots: vec![accuracy.into(), loss_figure().into(), diagnostics().into()],
        metrics: vec![
            metric("train_accuracy", 1.0, Some(1.0), Some(150)),
            metric("test_accuracy", 0.9964, Some(0.998), Some(2350)),
            metric("train_loss", 8.42e-9, Some(8.42e-9), Some(2500)),
            metric("test_loss", 0.0213, Some(0.0198), Some(2450)),
            metric("weight_norm", 45.2, None, None),
            metric("zero_loss", f64::NAN, None, None),
        ],
        commands: vec![
            Command { purpose: "Train it once more:".into(), line: "kiln train runs/a3/config.toml --again".into() },
            Command { purpose: "Go on for longer:".into(), line: "kiln train --resume runs/a3 --set train.steps=5000".into() },
        ],
        overrides: "optim.lr = 0.003\n".into(),
        config: "[run]\nseed = 2\n\n[data]\nname = \"modular\"\nop = \"add\"\np = 59\nfraction = 0.8\n\n[loss]\nname = \"cross_entropy\"\nnormalizer = { name = \"stablemax\" }\ndtype = \"f64\"\n".into(),
        environment: vec![
            ("kiln".into(), "0.1.0, burn 0.22.1".into()),
            ("code".into(), "9f3b7c1d2a4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd".into()),
            ("cpu".into(), "2 cores, avx512f avx2 fma".into()),
        ],
    }
}

fn condition(
    kind: ConditionKind,
    expression: &str,
    required: &str,
    published: Option<&str>,
    values: [Reading; 3],
    holds: [bool; 3],
) -> Condition {
    Condition {
        kind,
        expression: expression.into(),
        required: required.into(),
        published: published.map(str::to_owned),
        values: SEEDS
            .into_iter()
            .zip(values)
            .zip(holds)
            .map(|((seed, value), holds)| SeedValue { seed, value, holds: Some(holds) })
            .collect(),
        mean: None,
        holds: Some(holds.into_iter().all(|h| h)),
    }
}

fn claim(
    id: &str,
    name: &str,
    figure: &str,
    statement: &str,
    verdict: Verdict,
    headline: &str,
    conditions: Vec<Condition>,
) -> Claim {
    Claim {
        id: id.into(),
        name: name.into(),
        statement: statement.into(),
        figure: figure.into(),
        verdict,
        reason: String::new(),
        flags: vec![],
        headline: headline.into(),
        conditions,
    }
}

/// Fifteen claims with every verdict and every flag.
pub fn claims() -> Vec<Claim> {
    use ConditionKind::{Direction, Precondition, Threshold};
    use Reading::{Missing, Never, Number};
    let fitted = || {
        condition(
            Precondition,
            "first(A1.train_accuracy >= 0.99)",
            "≤ 300",
            None,
            [150.0, 200.0, 150.0].map(Number),
            [true; 3],
        )
    };
    let grokked = || {
        vec![
            condition(
                Precondition,
                "first(A3.train_accuracy >= 0.99)",
                "≤ 400",
                Some("5000"),
                [150.0, 200.0, 150.0].map(Number),
                [true; 3],
            ),
            condition(
                Direction,
                "at(A3.test_accuracy, 2500) - at(A1.test_accuracy, 2500)",
                "> 0",
                None,
                [0.71, 0.81, 0.78].map(Number),
                [true; 3],
            ),
            condition(
                Threshold,
                "first(A3.test_accuracy >= 0.5)",
                "≤ 1000",
                Some("35 000"),
                [500.0, 650.0, 600.0].map(Number),
                [true; 3],
            ),
            condition(
                Threshold,
                "at(A3.test_accuracy, 2500)",
                "≥ 0.95",
                Some("0.98"),
                [0.9964, 0.9941, 0.9972].map(Number),
                [true; 3],
            ),
        ]
    };
    let missed = || {
        vec![
            fitted(),
            condition(
                Direction,
                "first(P16.zero_loss > 0.5) / first(P32.zero_loss > 0.5)",
                "< 1",
                None,
                [0.37, 0.37, 0.41].map(Number),
                [true; 3],
            ),
            condition(
                Threshold,
                "end(P32.test_accuracy) - end(P16.test_accuracy) where both runs use the same initial weights and the same split",
                "≥ 0.05",
                Some("0.19"),
                [Number(0.063), Number(0.061), Number(0.021)],
                [true, true, false],
            ),
        ]
    };
    let mut claims = vec![
        claim(
            "G1",
            "stablemax_groks",
            "1a, 4a",
            "StableMax groks without weight decay",
            Verdict::Reproduced,
            "test 0.996, half of it by step 583",
            grokked(),
        ),
        claim(
            "G2",
            "perpgrad_fast",
            "1b",
            "With perpGrad generalisation comes almost together with memorisation",
            Verdict::Reproduced,
            "0.95 at step 70, 7 steps after the fit",
            grokked(),
        ),
        claim(
            "G3",
            "softmax_stalls",
            "1c",
            "Softmax cross entropy does not grok in the same budget",
            Verdict::NotReproduced,
            "A1 reaches 0.97 at 2500",
            vec![
                fitted(),
                condition(
                    Threshold,
                    "at(A1.test_accuracy, 2500)",
                    "≤ 0.5",
                    Some("< 0.01"),
                    [0.97, 0.18, 0.29].map(Number),
                    [false, true, true],
                ),
                condition(
                    Direction,
                    "first(A1.test_accuracy >= 0.95)",
                    "never",
                    None,
                    [Number(2450.0), Never, Never],
                    [false, true, true],
                ),
            ],
        ),
        claim(
            "G4a",
            "precision_order_40",
            "2a",
            "At fraction 0.4 all three precisions fail, and f16 collapses first",
            Verdict::NotRun,
            "",
            vec![],
        ),
        claim(
            "G4b",
            "precision_order_60",
            "2b",
            "At fraction 0.6 later collapse goes with better test accuracy",
            Verdict::NotRun,
            "",
            vec![],
        ),
        claim(
            "G4c",
            "precision_order_70",
            "2c",
            "Test accuracy stops rising at the step where the loss collapses, earlier the fewer bits it has",
            Verdict::Partly,
            "f32 − f16 = 0.02 on seed 4",
            missed(),
        ),
        claim(
            "G5",
            "stall_after_line",
            "2c",
            "Little is gained after the f32 collapse step",
            Verdict::Reproduced,
            "+0.01 against +0.22",
            grokked(),
        ),
        claim(
            "G6",
            "loss_form_is_cause",
            "",
            "A collapse-free softmax in f32 behaves like f64",
            Verdict::Undecidable,
            "|PX − P64| = 0.02 ± 0.03",
            grokked(),
        ),
        claim(
            "G7a",
            "norm_grows_while_grokking",
            "4b",
            "Norm and test accuracy rise together",
            Verdict::Reproduced,
            "norm × 2.3, test + 0.55",
            grokked(),
        ),
        claim(
            "G7b",
            "norm_falls_with_wd",
            "",
            "With weight decay the norm falls instead",
            Verdict::Reproduced,
            "norm × 0.85",
            grokked(),
        ),
        claim(
            "G8",
            "product",
            "4a",
            "Multiplication behaves as addition",
            Verdict::Reproduced,
            "0.997 against 0.30",
            grokked(),
        ),
        claim(
            "G9",
            "parity",
            "4a",
            "Sparse parity groks with StableMax",
            Verdict::Void,
            "",
            vec![condition(
                Precondition,
                "first(S1.train_accuracy >= 0.99)",
                "≤ 300",
                None,
                [Number(60.0), Never, Missing],
                [true, false, false],
            )],
        ),
        claim(
            "G10",
            "nlm_alignment",
            "5",
            "After the fit the negative gradient aligns with the weights",
            Verdict::Reproduced,
            "0.71",
            grokked(),
        ),
        claim(
            "G11",
            "perp_removes_nlm",
            "6a",
            "perpGrad removes norm growth along the weights",
            Verdict::Partly,
            "0.27 against 0.25 allowed",
            missed(),
        ),
        claim(
            "G13",
            "transformer",
            "6b",
            "In the transformer perpGrad groks before weight decay does, and plain training fails",
            Verdict::Reproduced,
            "T4 at 100, T5 at 400",
            grokked(),
        ),
    ];
    for claim in &mut claims {
        match claim.verdict {
            Verdict::NotRun => claim.reason = "has no quick form; --scale paper runs it (about 16 min per run)".into(),
            Verdict::Void => claim.reason = "the control S1 never fitted its training set on seeds 3 and 4".into(),
            Verdict::Undecidable => {
                claim.reason = "the margin 0.05 is below two standard errors (0.07) of P64's own seeds".into()
            }
            _ => {}
        }
    }
    claims[5].flags = vec![Flag::ChangedAfterTheRun, Flag::MixedCodeVersions];
    claims[13].flags = vec![Flag::MixedCodeVersions];
    claims[6].conditions[3].mean = Some(Reading::Number(0.9959));
    claims
}

/// A study at quick scale.
pub fn study() -> StudyReport {
    let planned = |name: &str, differences: &[&str], steps, seconds, accuracy: [f64; 3]| PlannedRun {
        name: name.into(),
        differences: differences.iter().map(|d| (*d).to_owned()).collect(),
        seeds: SEEDS.to_vec(),
        steps,
        seconds,
        end: vec![
            EndMetric { name: "train_accuracy".into(), values: vec![1.0; 3] },
            EndMetric { name: "test_accuracy".into(), values: accuracy.to_vec() },
            EndMetric { name: "train_loss".into(), values: vec![8.42e-9, 1.2e-8, 0.0] },
        ],
        claims: None,
    };
    StudyReport {
        title: "Grokking at the edge of numerical stability".into(),
        question: "Does a network stop learning because the softmax loss rounds to zero, and does a loss that cannot round to zero, or a gradient without its part along the weights, let it go on?".into(),
        paper: Paper {
            citation: "Prieto, Barsbey, Mediano, Birdal (2025), Grokking at the Edge of Numerical Stability, arXiv:2501.04697".into(),
            url: "https://arxiv.org/abs/2501.04697".into(),
        },
        scale: "quick".into(),
        scale_note: "p = 59, fraction 0.8, f32 model; not the paper's own settings, so no verdict here is one about its figures".into(),
        dates: "2026-11-25 09:14 to 09:41 UTC".into(),
        machine: "2 cores, x86-64 with avx512f, 8 GiB; flex, 1 thread per run".into(),
        code_hash: "9f3b7c1d2a4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd".into(),
        claims_hash: "07d1c3b2a4958677".into(),
        seeds: SEEDS.to_vec(),
        command: "kiln reproduce grokking --scale quick --record".into(),
        notes: vec![],
        claims: claims(),
        figures: vec![
            StudyFigure {
                caption: "Test accuracy of the four runs of the glance. The dashed line is the bar of G1; the vertical one marks where A1's loss is exactly zero on half of the rows.".into(),
                plot: accuracy_figure().into(),
                svg_path: "figures/accuracy.svg".into(),
                png_path: "figures/accuracy.png".into(),
            },
            StudyFigure {
                caption: "What happens underneath.".into(),
                plot: diagnostics().into(),
                svg_path: "figures/diagnostics.svg".into(),
                png_path: String::new(),
            },
        ],
        runs: vec![
            planned("A1", &["loss.normalizer = \"softmax\"", "loss.dtype = \"f32\""], 2500, 41.3, [0.288, 0.179, 0.24]),
            planned("A3", &[], 2500, 43.9, [0.9964, 0.9941, 0.9972]),
            planned("A4", &["loss.normalizer = \"softmax\"", "optim.transforms = [{ name = \"perp_grad\" }]", "train.steps = 200"], 200, 3.21, [1.0, 1.0, 1.0]),
            planned("A5", &["optim.weight_decay = 1.0", "train.steps = 1500"], 1500, 124.0, [0.998, 0.999, 0.997]),
        ],
    }
}

/// The glance: one seed, no verdicts.
pub fn glance() -> StudyReport {
    let mut study = study();
    study.scale = "glance".into();
    study.scale_note = "one seed; conditions are shown, verdicts are not given".into();
    study.seeds = vec![2];
    study.claims.retain(|claim| ["G1", "G2", "G3"].contains(&claim.id.as_str()));
    for claim in &mut study.claims {
        claim.verdict = Verdict::NoVerdict;
        claim.conditions.iter_mut().for_each(|condition| condition.values.truncate(1));
    }
    study
}
