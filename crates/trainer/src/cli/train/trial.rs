//! `kiln train --dry-run` and `--overfit-one-batch`: what is looked at before a run is worth its time.
use std::path::Path;

use super::super::{Global, print, table};
use crate::{
    Error, Result, atomic, config,
    error::Sort,
    train::{
        self,
        outline::Outline,
        overfit::{Overfit, overfit},
        progress::{Mode, Progress},
    },
};

/// Builds everything, says what it is, and stops.
///
/// # Errors
/// If the config does not say what Kiln can do.
pub fn dry_run(path: &Path, sets: &[String], json: bool, global: &Global) -> Result<()> {
    let loaded = config::load(path, sets)?;
    let resolved = config::resolve(&loaded)?;
    train::set_threads(loaded.experiment.run.threads);
    let engine = train::ready(&loaded, resolved.source, &resolved.device)?;
    let outline = Outline::new(&loaded, &engine, resolved.steps);
    match json {
        true => print(serde_json::to_string_pretty(&outline).unwrap_or_default()),
        false => print(outline_text(&outline)),
    }
    global.say("a dry run: nothing was trained, nothing was written");
    Ok(())
}

fn outline_text(outline: &Outline) -> String {
    let mut parameters = table(["parameter", "shape", "dtype", "values"]);
    for parameter in &outline.parameters {
        let shape: Vec<String> = parameter.shape.iter().map(usize::to_string).collect();
        let row = [parameter.name.clone(), shape.join(" × "), parameter.dtype.clone(), parameter.values.to_string()];
        parameters.add_row(row);
    }
    let bytes = |bytes: usize| indicatif::HumanBytes(bytes as u64).to_string();
    let memory = outline.memory;
    let sum = memory.parameters_bytes + memory.gradients_bytes + memory.optimizer_bytes;
    let rows = |rows: Option<usize>| rows.map_or_else(|| "without end".to_owned(), |rows| rows.to_string());
    let sets = outline.evaluation_sets.iter().map(|set| format!("{} {}", set.name, rows(set.rows)));
    let batch = outline.batch_size.map_or_else(|| "the whole training set".into(), |size| format!("{size} rows"));
    let epochs = outline.epochs.map(|epochs| format!(", {} epochs", kiln_reports::number(epochs))).unwrap_or_default();
    let fixed =
        if outline.fixed > 0 { format!(", {} more that are not trained", outline.fixed) } else { String::new() };
    let exists = if outline.exists { " (there already)" } else { "" };
    let facts = [
        ("parameters", format!("{}{fixed}", outline.trained)),
        (
            "memory",
            format!(
                "{}: parameters {}, gradients {}, optimizer {}; what a pass keeps for its way back comes on top",
                bytes(sum),
                bytes(memory.parameters_bytes),
                bytes(memory.gradients_bytes),
                bytes(memory.optimizer_bytes)
            ),
        ),
        ("steps", format!("{}{epochs}, {} logged rows", outline.steps, outline.logged_rows)),
        ("batch", batch),
        ("training rows", rows(outline.training_rows)),
        ("evaluated rows", sets.collect::<Vec<_>>().join(", ")),
        ("run", format!("{}{exists}", outline.folder.display())),
    ];
    format!("{parameters}\n{}", super::super::terminal::list(facts))
}

/// Trains on the first batch alone and says whether the loss fell; writes nothing but the log that was asked for.
///
/// # Errors
/// If the config does not say what Kiln can do, or the log cannot be written; [`Error::Told`] if the loss did not fall.
pub fn one_batch(
    path: &Path,
    sets: &[String],
    log: Option<&Path>,
    json: bool,
    mode: Mode,
    global: &Global,
) -> Result<()> {
    let loaded = config::load(path, sets)?;
    let resolved = config::resolve(&loaded)?;
    train::set_threads(loaded.experiment.run.threads);
    let mut engine = train::ready(&loaded, resolved.source, &resolved.device)?;
    let steps = resolved.steps;
    let mut progress = Progress::new(mode, 0, steps);
    let mut rows = table(["step", "loss", "accuracy"]);
    let (every, mut lines) = (steps.div_ceil(10).max(1), String::new());
    let result = overfit(&mut engine, steps, |row| {
        progress.step(row.step);
        progress.row(row);
        if log.is_some() {
            lines.push_str(&format!("{}\n", row.to_json()));
        }
        if row.step.is_multiple_of(every) || row.step == steps {
            let number = |metric: &str| row.get(metric).map_or_else(String::new, kiln_reports::number);
            rows.add_row([row.step.to_string(), number("train_loss"), number("train_accuracy")]);
        }
    });
    progress.finish(result.steps);
    if let Some(log) = log {
        atomic::write(log, lines).failed()?;
    }
    match json {
        true => print(serde_json::to_string_pretty(&result).unwrap_or_default()),
        false => print(format_args!("{rows}\n{}", verdict(&result))),
    }
    global.say(match log {
        Some(log) => format!("no run was written; the rows are in {}", log.display()),
        None => "no run was written; --log FILE keeps the rows".into(),
    });
    if result.fell { Ok(()) } else { Err(Error::Told) }
}

fn verdict(result: &Overfit) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "not a number".to_owned(), kiln_reports::number);
    let (first, last) = (number(result.first_loss), number(result.last_loss));
    let lowest = format!("lowest {} at step {}", number(result.lowest_loss), result.lowest_step);
    let accuracy = match (result.first_accuracy, result.last_accuracy) {
        (Some(first), Some(last)) => {
            let number = kiln_reports::number;
            format!(", accuracy {} → {}", number(first), number(last))
        }
        _ => String::new(),
    };
    let about = format!(
        "in {} steps on one batch of {} answers: {first} → {last} ({lowest}){accuracy}",
        result.steps, result.answers
    );
    match result.fell {
        true => format!("the loss fell {about}"),
        false => format!(
            "the loss did NOT fall {about}\nlook at optim.lr, the loss and its dtype, and what the network is given"
        ),
    }
}
