//! `kiln apply`.
use std::{fs, path::PathBuf};

use anyhow::{Context, anyhow};
use burn::tensor::{DType, Device};
use clap::Args;
use kiln_activations::{
    Init,
    normalizer::{Normalizer, NormalizerConfig},
};
use kiln_config::Document;

use super::{Global, dtype, print, table};
use crate::{
    Result,
    apply::{self, Applied, Form},
    device,
    error::Sort,
};

/// Apply one map to numbers: weights, log weights, gradient, a plot.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln apply softmax 1 2 -0.5
  kiln apply entmax --set alpha=1.5 --plot entmax.svg 1,2,-0.5
  kiln apply stablemax --log --upstream 0,1,0 -- -inf 2 1
  kiln apply sparsemax --csv scores.csv --json")]
pub struct Apply {
    /// The map; kiln list normalizers names them all.
    name: String,
    /// One row of scores, separated by blanks or commas; -inf is a removed one (write -- before it).
    #[arg(allow_negative_numbers = true, required_unless_present = "csv", conflicts_with = "csv")]
    scores: Vec<String>,
    /// Rows of scores: one a line, separated by commas.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Change a parameter of the map: --set alpha=1.5. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The gradient that arrives at the weights, one number for each score: --upstream 0,1,0. If left out it is 1 for the
    /// first score and 0 for the others: the gradient is that of the first weight.
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true)]
    upstream: Option<String>,
    /// Let the gradient, and the plot, be those of the log weights.
    #[arg(long)]
    log: bool,
    /// Draw the weights while one score goes from −5 to 5 and the others stay; for the first row of a file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Which score moves in the plot; the first one is 0.
    #[arg(long, value_name = "PLACE", default_value_t = 0, requires = "plot")]
    moving: usize,
    /// The dtype to compute in: f64, f32, f16, bf16.
    #[arg(long, default_value = "f64", value_parser = dtype::parse)]
    dtype: DType,
    /// Print an array of objects, one per row.
    #[arg(long)]
    json: bool,
}

impl Apply {
    /// Computes and prints.
    ///
    /// # Errors
    /// If the map or the numbers do not fit, or a file cannot be read or written.
    pub fn run(self, global: &Global) -> Result<()> {
        let device = device::open(global.device()).map_err(|message| anyhow!(message)).input()?;
        dtype::check(&device, self.dtype)?;
        let config = self.config()?;
        let map = config.init(&Init::new(0, &device.clone().autodiff(), self.dtype));
        let form = if self.log { Form::Log } else { Form::Weights };
        if self.log && !map.has_log_form() {
            let others = NormalizerConfig::names_with_log_form().join(", ");
            return Err(anyhow!("{} has no log form; those that have: {others}", self.name)).input();
        }
        let rows = self.rows()?;
        let applied: Vec<Applied> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| Ok(apply::apply(&*map, row, &self.upstream(i, row.len())?, form, &device, self.dtype)))
            .collect::<Result<_>>()?;
        if self.json {
            print(serde_json::to_string_pretty(&applied).unwrap_or_default());
        } else {
            let several = applied.len() > 1;
            for (i, row) in applied.iter().enumerate() {
                if several {
                    print(format_args!("row {i}"));
                }
                print(report(row, form));
            }
        }
        match &self.plot {
            Some(path) => self.draw(path, &map, &rows[0], form, &device, global),
            None => Ok(()),
        }
    }

    fn config(&self) -> Result<NormalizerConfig> {
        let name = self.name.replace(['"', '\\', '\n'], "?");
        let mut document = Document::parse("kiln apply", &format!("map = \"{name}\"\n"))?;
        for set in &self.set {
            document.set(&format!("map.{set}"))?;
        }
        Ok(document.deserialize_at("map")?)
    }

    fn rows(&self) -> Result<Vec<Vec<f64>>> {
        let Some(path) = &self.csv else {
            let row = apply::numbers(self.scores.iter().map(String::as_str))
                .map_err(|problem| anyhow!("scores, {problem}"))
                .input()?;
            return if row.is_empty() {
                Err(anyhow!("there are no scores; give at least one")).input()
            } else {
                Ok(vec![row])
            };
        };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string()).input()?;
        apply::csv(&text).map_err(|problem| anyhow!("{}: {problem}", path.display())).input()
    }

    /// The gradient that arrives at row `row` of `n` scores.
    fn upstream(&self, row: usize, n: usize) -> Result<Vec<f64>> {
        let Some(text) = &self.upstream else {
            let mut first = vec![0.0; n];
            first[0] = 1.0;
            return Ok(first);
        };
        let upstream = apply::numbers([text.as_str()]).map_err(|problem| anyhow!("--upstream, {problem}")).input()?;
        if upstream.len() == n {
            return Ok(upstream);
        }
        Err(anyhow!("--upstream has {} numbers and row {row} has {n} scores; give one for each score", upstream.len()))
            .input()
    }

    fn draw(
        &self,
        path: &std::path::Path,
        map: &Normalizer,
        row: &[f64],
        form: Form,
        device: &Device,
        global: &Global,
    ) -> Result<()> {
        if self.moving >= row.len() {
            return Err(anyhow!(
                "--moving {}: there are {} scores, the last one is {}",
                self.moving,
                row.len(),
                row.len() - 1
            ))
            .input();
        }
        let sets = self.set.join(", ");
        let title = if sets.is_empty() { self.name.clone() } else { format!("{} ({sets})", self.name) };
        let figure = apply::curve(&title, &**map, row, self.moving, form, device, self.dtype);
        fs::write(path, figure.to_svg()).with_context(|| path.display().to_string()).input()?;
        global.say(format_args!("plot: {}", path.display()));
        Ok(())
    }
}

fn report(row: &Applied, form: Form) -> String {
    let of = if form == Form::Log { "upstream at log weight" } else { "upstream" };
    let mut header = vec!["", "score", "weight"];
    header.extend(row.log_weights.as_ref().map(|_| "log weight"));
    header.extend([of, "gradient"]);
    let mut table = table(header);
    for i in 0..row.scores.len() {
        let mut cells = vec![i.to_string(), number(row.scores[i]), number(row.weights[i])];
        cells.extend(row.log_weights.as_ref().map(|log| number(log[i])));
        cells.extend([number(row.upstream[i]), row.gradient.as_ref().map_or_else(|| "none".into(), |g| number(g[i]))]);
        table.add_row(cells);
    }
    format!("{table}\nsum of the weights: {}", number(row.row_sum))
}

/// Nine significant digits, without trailing zeros: enough to tell two `f32` numbers apart.
fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    let size = x.abs();
    if !(1e-4..1e9).contains(&size) {
        return format!("{x:.8e}");
    }
    let decimals = (8 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn nine_digits() {
        for (x, text) in [
            (0.25, "0.25"),
            (1.0 / 3.0, "0.333333333"),
            (-12345.678901, "-12345.6789"),
            (1e-7, "1.00000000e-7"),
            (f64::NEG_INFINITY, "-inf"),
            (0.0, "0"),
            (100.0, "100"),
        ] {
            assert_eq!(number(x), text);
        }
    }
}
