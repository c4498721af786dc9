//! A study's report: verdicts, values, figures, runs.
use std::{collections::BTreeSet, path::Path};

use kiln_claims::{Claim, ConditionKind, ConditionRow, Flag, ProfileSpec, Scale, Value, Word, judge, observe};
use kiln_reports as reports;
use kiln_reports::{Axis, Figure, FigureGrid, Plot, Series, StudyFigure, StudyReport, svg_to_png};

use super::{Book, evidence::Evidence};
use crate::{
    atomic,
    plan::{Job, Plan},
    run::environment::Environment,
};

/// Judges the claims of a scale on the evidence and draws its figures.
pub fn build(book: &Book, scale: Scale, plan: &Plan, evidence: &Evidence) -> StudyReport {
    let study = &book.study;
    let spec = study.scales.get(scale).expect("a planned scale is declared");
    let environment = Environment::here();
    let source = study.source_of(scale);
    let runs = study.runs_at(scale);
    let claims: Vec<reports::Claim> = study
        .claims_at(source)
        .filter_map(|claim| match source == scale {
            true => Some(judged(book, claim, &spec.seeds, evidence)),
            false => observed(claim, &runs, &spec.seeds, evidence),
        })
        .collect();
    let started = |job: &Job| -> Option<String> {
        let text = std::fs::read_to_string(plan.folder(job).join("environment.json")).ok()?;
        Some(serde_json::from_str::<Environment>(&text).ok()?.started)
    };
    let started: BTreeSet<String> = plan.jobs.iter().filter_map(started).collect();
    let dates = match (started.first(), started.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(only), _) => only.clone(),
        _ => String::new(),
    };
    StudyReport {
        title: study.title.clone(),
        question: study.question.trim().to_owned(),
        paper: reports::Paper { citation: study.paper.clone(), url: arxiv(&study.paper) },
        scale: scale.name().into(),
        scale_note: spec.note.clone(),
        dates,
        machine: format!("{}, {} cores, {}", environment.cpu, environment.cores, environment.platform),
        code_hash: evidence.code_versions().into_iter().collect::<Vec<_>>().join(", "),
        claims_hash: book.claims_hash(source, &spec.seeds),
        seeds: spec.seeds.clone(),
        command: format!("kiln reproduce {} --scale {scale}", book.name),
        notes: if study.note.is_empty() { Vec::new() } else { vec![study.note.trim().to_owned()] },
        claims,
        figures: figures(book, scale, plan, evidence),
        runs: planned(book, scale, plan, evidence),
    }
}

/// Writes report and figures of one scale into `folder`; the Markdown carries `name`.
///
/// # Errors
/// If a file cannot be written.
pub fn write(report: &StudyReport, folder: &Path, markdown: &str, html: &str) -> anyhow::Result<()> {
    let text = reports::study_report(report);
    for figure in &report.figures {
        let svg = figure.plot.to_svg();
        atomic::write(&folder.join(&figure.png_path), svg_to_png(&svg, 2.0)?)?;
        atomic::write(&folder.join(&figure.svg_path), svg)?;
    }
    atomic::write(&folder.join(markdown), text.markdown)?;
    atomic::write(&folder.join(html), text.html)
}

/// The address of a paper that is cited by its arXiv number.
fn arxiv(citation: &str) -> String {
    let number =
        citation.split("arXiv:").nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit() && c != '.').next());
    number.flatten().map_or_else(String::new, |number| format!("https://arxiv.org/abs/{number}"))
}

fn judged(book: &Book, claim: &Claim, seeds: &[u64], evidence: &Evidence) -> reports::Claim {
    let provenance = evidence.provenance(claim, book.claim_hash(claim, seeds), seeds);
    let verdict = judge(claim, seeds, evidence, &provenance);
    let headline = verdict.headline().map(|row| {
        let values: Vec<_> = row.seeds.iter().filter_map(|seed| Some(text(seed.values.as_ref()?.value))).collect();
        format!("{} = {}", row.measured, values.join(" / "))
    });
    reports::Claim {
        verdict: match verdict.word {
            Word::Reproduced => reports::Verdict::Reproduced,
            Word::Partly => reports::Verdict::Partly,
            Word::NotReproduced => reports::Verdict::NotReproduced,
            Word::Void => reports::Verdict::Void,
            Word::Undecidable => reports::Verdict::Undecidable,
            Word::NotRun => reports::Verdict::NotRun,
        },
        reason: [verdict.reason.as_str(), claim.note.trim()]
            .iter()
            .filter(|t| !t.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(". "),
        flags: verdict.flags.iter().map(flag).collect(),
        headline: headline.unwrap_or_default(),
        conditions: verdict.rows.iter().map(condition).collect(),
        ..blank(claim)
    }
}

/// The conditions that the runs at hand decide; no verdict follows from one seed.
fn observed(claim: &Claim, runs: &BTreeSet<&str>, seeds: &[u64], evidence: &Evidence) -> Option<reports::Claim> {
    let rows = observe(claim, runs, seeds, evidence);
    (!rows.is_empty()).then(|| reports::Claim { conditions: rows.iter().map(condition).collect(), ..blank(claim) })
}

fn blank(claim: &Claim) -> reports::Claim {
    reports::Claim {
        id: claim.id.clone(),
        name: String::new(),
        statement: claim.statement.clone(),
        figure: claim.figure.clone(),
        verdict: reports::Verdict::NoVerdict,
        reason: String::new(),
        flags: Vec::new(),
        headline: String::new(),
        conditions: Vec::new(),
    }
}

fn flag(flag: &Flag) -> reports::Flag {
    match flag {
        Flag::ChangedAfterRun => reports::Flag::ChangedAfterTheRun,
        Flag::MixedCode => reports::Flag::MixedCodeVersions,
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Number(number) => reports::number(number),
        Value::Never => "never".into(),
    }
}

fn condition(row: &ConditionRow) -> reports::Condition {
    let reading = |value: Value| match value {
        Value::Number(number) => reports::Reading::Number(number),
        Value::Never => reports::Reading::Never,
    };
    let seed = |seed: &kiln_claims::SeedRow| reports::SeedValue {
        seed: seed.seed,
        value: seed.values.as_ref().map_or(reports::Reading::Missing, |values| reading(values.value)),
        holds: seed.values.as_ref().map(|values| values.holds),
    };
    let decided = row.seeds.iter().all(|seed| seed.values.is_some());
    reports::Condition {
        kind: match row.kind {
            ConditionKind::Precondition => reports::ConditionKind::Precondition,
            ConditionKind::Direction => reports::ConditionKind::Direction,
            ConditionKind::Threshold => reports::ConditionKind::Threshold,
        },
        expression: row.measured.clone(),
        required: row.threshold.clone(),
        published: row.published.clone(),
        values: row.seeds.iter().map(seed).collect(),
        mean: row.mean.as_ref().map(|mean| reading(mean.value)),
        holds: decided.then_some(row.holds),
    }
}

/// Curves in a panel up to which the legend has room for more than the runs' names.
const MOST_LONG_LABELS: usize = 5;

/// Heading and caption of a figure over the steps.
fn heading(metric: &str) -> (String, String) {
    let (title, caption) = match metric {
        "test_accuracy" => {
            ("Test accuracy", "Test accuracy over steps; line: mean over seeds, band: lowest to highest seed.")
        }
        "zero_loss" => {
            ("Rows with a loss of exactly 0", "Share of training rows whose loss is exactly 0 in the loss dtype.")
        }
        "w_norm" => ("Weight norm", "Norm of all weights."),
        other => {
            let title = other.replace('_', " ");
            return (
                title.clone(),
                format!("{title} over steps; line: mean over seeds, band: lowest to highest seed."),
            );
        }
    };
    (title.into(), caption.into())
}

/// Whether a metric is a share of something, so that its axis is [0, 1].
fn is_share(metric: &str) -> bool {
    ["accuracy", "zero_loss", "largest_weight", "zero_share", "dead_rows", "sink_rate"]
        .iter()
        .any(|end| metric.ends_with(end))
}

/// The panel of a run: numbered runs (A1, A3, P16, …) share that of their letter, and runs that are named in words share one.
fn family(name: &str) -> String {
    name.chars().take(1).filter(char::is_ascii_uppercase).collect()
}

/// One figure per curve, in panels by [`family`]; seeds become a band from the lowest to the highest.
fn figures(book: &Book, scale: Scale, plan: &Plan, evidence: &Evidence) -> Vec<StudyFigure> {
    let mut found = Vec::new();
    for metric in &book.study.report.curves {
        let (title, caption) = heading(metric);
        let mut panels: Vec<Figure> = Vec::new();
        for (name, spec) in &book.study.runs {
            let jobs: Vec<_> = plan.jobs.iter().filter(|job| job.run == *name).collect();
            let curves: Vec<Vec<(f64, f64)>> = jobs
                .iter()
                .filter_map(|job| {
                    let points = kiln_claims::Records::series(evidence, name, job.seed, metric)?;
                    // JSON and log axes have no room for these; a gap shows them.
                    let finite = points.iter().filter(|(step, y)| *step > 0 && y.is_finite());
                    Some(finite.map(|(step, y)| (*step as f64, *y)).collect())
                })
                .collect();
            let Some(series) = band(format!("{name}: {}", spec.summary), &curves) else { continue };
            let family = family(name);
            match panels.iter_mut().find(|panel| panel.title == family) {
                Some(panel) => panel.series.push(series),
                None => panels.push(
                    Figure { title: family, x: Axis::new("step").log(), y: Axis::new(&*title), ..Figure::default() }
                        .with(series),
                ),
            }
        }
        for panel in &mut panels {
            if panel.series.len() > MOST_LONG_LABELS {
                let short =
                    |series: &mut Series| series.label.truncate(series.label.find(':').unwrap_or(series.label.len()));
                panel.series.iter_mut().for_each(short);
            }
            if is_share(metric) {
                panel.y = panel.y.clone().range(0.0, 1.0);
            }
        }
        let plot = match panels.len() {
            0 => continue,
            1 => {
                let mut figure = panels.remove(0);
                figure.title = title;
                Plot::Figure(figure)
            }
            _ => Plot::Grid(FigureGrid { title, columns: 2, panels, shared_legend: false }),
        };
        found.push(placed(scale, metric, caption, plot));
    }
    found.extend(book.study.report.profiles.iter().filter_map(|spec| profile(spec, scale, plan, evidence)));
    found
}

/// Metrics of the last row, each at its own place; `None` if no run has logged them.
fn profile(spec: &ProfileSpec, scale: Scale, plan: &Plan, evidence: &Evidence) -> Option<StudyFigure> {
    let mut figure = Figure::new(&*spec.title, &*spec.x, &*spec.y);
    figure.x = Axis::new(&*spec.x).log();
    if spec.points.iter().all(|(_, metric)| is_share(metric)) {
        figure.y = Axis::new(&*spec.y).range(0.0, 1.0);
    }
    for name in &spec.runs {
        let curve = |job: &Job| {
            let end = evidence.run(name, job.seed)?.rows.last()?;
            let point = |(place, metric): &(f64, String)| Some((*place, end.get(metric).filter(|y| y.is_finite())?));
            Some(spec.points.iter().filter_map(point).collect::<Vec<_>>())
        };
        let curves: Vec<_> = plan.jobs.iter().filter(|job| job.run == *name).filter_map(curve).collect();
        figure.series.extend(band(name.clone(), &curves));
    }
    let caption = format!("{} in the last row; line: mean over seeds, band: lowest to highest seed.", spec.title);
    (!figure.series.is_empty()).then(|| placed(scale, &spec.name, caption, Plot::Figure(figure)))
}

fn placed(scale: Scale, name: &str, caption: String, plot: Plot) -> StudyFigure {
    StudyFigure {
        caption,
        plot,
        svg_path: format!("figures/{scale}_{name}.svg"),
        png_path: format!("figures/{scale}_{name}.png"),
    }
}

/// The mean curve over seeds with its extremes, on the steps that all seeds logged.
fn band(label: String, curves: &[Vec<(f64, f64)>]) -> Option<Series> {
    let first = curves.first()?;
    let mut mean = Vec::new();
    let mut band = Vec::new();
    for (x, _) in first {
        let at: Option<Vec<f64>> =
            curves.iter().map(|c| c.iter().find(|(step, _)| step == x).map(|(_, y)| *y)).collect();
        let Some(at) = at else { continue };
        mean.push((*x, at.iter().sum::<f64>() / at.len() as f64));
        let (low, high) = at.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(*y), h.max(*y)));
        band.push((*x, low, high));
    }
    let series = Series::new(label, mean);
    Some(if curves.len() > 1 { series.band(band) } else { series })
}

fn planned(book: &Book, scale: Scale, plan: &Plan, evidence: &Evidence) -> Vec<reports::PlannedRun> {
    let claims: Vec<&Claim> = book.study.claims_at(book.study.source_of(scale)).collect();
    let of = |name: &&str| {
        let jobs: Vec<_> = plan.jobs.iter().filter(|job| job.run == **name).collect();
        let finished: Vec<_> = jobs.iter().filter_map(|job| evidence.run(name, job.seed)).collect();
        let end = |metric: &String| {
            let values: Vec<f64> =
                finished.iter().filter_map(|f| f.rows.last()?.get(metric)).filter(|v| v.is_finite()).collect();
            (!values.is_empty()).then(|| reports::EndMetric { name: metric.clone(), values })
        };
        let own = |set: &&String| !set.starts_with("run.");
        reports::PlannedRun {
            name: (*name).into(),
            differences: std::iter::once(book.study.runs[*name].config.clone())
                .chain(jobs.first().iter().flat_map(|job| job.differences.iter().filter(own).cloned()))
                .collect(),
            seeds: jobs.iter().filter(|job| evidence.run(name, job.seed).is_some()).map(|job| job.seed).collect(),
            steps: finished.first().map_or(0, |f| f.summary.steps),
            seconds: finished.iter().map(|f| f.summary.train_time_s).sum::<f64>() / finished.len().max(1) as f64,
            end: book.study.report.table.iter().filter_map(end).collect(),
            claims: Some(claims.iter().filter(|claim| claim.runs().contains(name)).map(|c| c.id.clone()).collect()),
        }
    };
    book.study.runs_at(scale).iter().map(of).collect()
}
