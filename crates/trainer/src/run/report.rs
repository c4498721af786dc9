//! What a person looks at: curves and a page per run.
use kiln_reports::{
    Axis, Command, Figure, FigureGrid, Headline, Metric, Plot, RunReport, Series, Tone, run_report, svg_to_png,
};

use super::{
    RunFolder,
    environment::Environment,
    metrics::{self, Row},
    summary::{Status, Summary},
};
use crate::atomic;

/// Writes `curves.svg`, `curves.png` and `report.html` into a run's folder.
///
/// # Errors
/// If a file cannot be written or drawn.
pub fn write(folder: &RunFolder, summary: &Summary, rows: &[Row]) -> anyhow::Result<()> {
    let curves = curves(rows);
    let svg = curves.to_svg();
    atomic::write(&folder.file("curves.png"), svg_to_png(&svg, 2.0)?)?;
    atomic::write(&folder.file("curves.svg"), svg)?;
    atomic::write(&folder.file("report.html"), run_report(&page(folder, summary, rows, curves)?))
}

/// Accuracies and losses over steps.
fn curves(rows: &[Row]) -> Plot {
    let mut accuracy = Figure::new("Accuracy", "step", "fraction");
    let names = metrics::names(rows);
    // Where there are no classes, the loss is no number of nats, and there is nothing to be accurate in.
    let classes = names.iter().any(|name| metrics::accuracy_of(name).is_some());
    let unit = if classes { "nats" } else { "squared error" };
    let mut loss = Figure::new("Loss", "step", unit);
    loss.y = Axis::new(unit).log();
    for name in names {
        if let Some(set) = metrics::accuracy_of(&name) {
            accuracy = accuracy.with(Series::new(set.replace('_', " "), points(rows, &name)));
        } else if let Some(set) = metrics::loss_of(&name) {
            loss = loss.with(Series::new(set, points(rows, &name)));
        }
    }
    accuracy.y = Axis::new("fraction").range(0.0, 1.0);
    let panels = if classes { vec![accuracy, loss] } else { vec![loss] };
    Plot::Grid(FigureGrid { title: String::new(), columns: panels.len(), panels, shared_legend: true })
}

/// A metric's points for a figure.
pub fn points(rows: &[Row], name: &str) -> Vec<(f64, f64)> {
    metrics::series(rows, name).into_iter().map(|(step, value)| (step as f64, value)).collect()
}

fn page(folder: &RunFolder, summary: &Summary, rows: &[Row], curves: Plot) -> anyhow::Result<RunReport> {
    let path = folder.path();
    let title = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let read = |name: &str| std::fs::read_to_string(folder.file(name)).unwrap_or_default();
    let environment: Option<Environment> = serde_json::from_str(&read("environment.json")).ok();
    let headline = |(name, reached): (&String, &super::summary::Reached)| Headline {
        label: name.replace('_', " "),
        value: reached.last,
        note: match (reached.best, reached.best_step) {
            (Some(best), Some(step)) => format!("best {} at step {step}", kiln_reports::number(best)),
            _ => String::new(),
        },
    };
    let opening = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"];
    let mut plots = vec![curves];
    plots.extend(diagnostics(rows));
    Ok(RunReport {
        subtitle: format!(
            "{} steps · {} parameters · {:.1} s of training",
            summary.steps, summary.parameters, summary.train_time_s
        ),
        status: summary.status.to_string(),
        tone: match summary.status {
            Status::Finished | Status::TargetReached => Tone::Good,
            Status::TimeUp | Status::Interrupted => Tone::Warning,
            Status::Nan => Tone::Bad,
        },
        headlines: summary.metrics.iter().filter(|(name, _)| opening.contains(&name.as_str())).map(headline).collect(),
        notes: notes(rows),
        plots,
        metrics: metrics::names(rows)
            .into_iter()
            .filter_map(|name| {
                let reached = summary.metrics.get(&name)?;
                Some(Metric { last: reached.last, best: reached.best, best_step: reached.best_step, name })
            })
            .collect(),
        commands: vec![
            Command { purpose: "Resume".into(), line: format!("kiln train --resume {}", path.display()) },
            Command {
                purpose: "Repeat".into(),
                line: format!("kiln train {} --again", folder.file("config.toml").display()),
            },
            Command { purpose: "Evaluate".into(), line: format!("kiln eval {}", path.display()) },
        ],
        overrides: read("overrides.toml"),
        config: read("config.toml"),
        environment: environment.map(table).unwrap_or_default(),
        title,
    })
}

fn table(environment: Environment) -> Vec<(String, String)> {
    vec![
        ("Kiln".into(), environment.kiln),
        ("code (SHA-256)".into(), environment.code),
        ("started".into(), environment.started),
        ("platform".into(), environment.platform),
        ("processor".into(), environment.cpu),
        ("vector extensions".into(), environment.cpu_features.join(", ")),
        ("cores / threads".into(), format!("{} / {}", environment.cores, environment.threads)),
    ]
}

/// Diagnostics as small multiples, one panel per metric; per-tensor values share their metric's panel.
fn diagnostics(rows: &[Row]) -> Option<Plot> {
    let mut figures: Vec<Figure> = Vec::new();
    for name in metrics::names(rows) {
        if metrics::accuracy_of(&name).is_some() || metrics::loss_of(&name).is_some() {
            continue;
        }
        let (panel, part) =
            name.split_once('[').map_or((name.as_str(), "whole"), |(panel, part)| (panel, part.trim_end_matches(']')));
        let series = Series::new(part, points(rows, &name));
        match figures.iter_mut().find(|figure| figure.title == panel) {
            Some(figure) => figure.series.push(series),
            None => figures.push(Figure::new(panel, "step", "").with(series)),
        }
    }
    for figure in figures.iter_mut().filter(|figure| figure.series.len() == 1) {
        // The panel's own heading says it already.
        figure.series[0].label.clear();
    }
    (!figures.is_empty()).then(|| {
        Plot::Grid(FigureGrid { title: "Diagnostics".into(), columns: 3, panels: figures, shared_legend: false })
    })
}

/// Sentences that a reader of the curves should not miss.
fn notes(rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(row) = rows.iter().find(|row| row.get("zero_loss").is_some_and(|share| share > 0.5)) {
        notes.push(format!(
            "From step {} on the loss of more than half of the training rows is exactly 0 in the loss dtype: softmax \
             collapse. A wider loss.dtype or loss.name = \"ce_exact\" shows what it costs.",
            row.step
        ));
    }
    notes
}
