//! `kiln bench attention`.
use std::process::Command;

use anyhow::anyhow;
use clap::Args;
use kiln_models::attention::PresetConfig;
use kiln_registry::Tagged;
use serde::Serialize;

use super::super::{Global, dtype, list, print, table};
use crate::{
    Result,
    bench::{
        activations::Effort,
        attention::{Measured, Sizes, Subject, Time, at_worst},
        memory,
    },
    device,
    error::Sort,
    train,
};

/// The length at which a layer is tried out before it meets a longer one.
const TRIAL: usize = 1024;

/// Time and memory of one attention layer over the sequence length.
///
/// Each layer meets each length in a process of its own, so that its memory is its own: how far the resident memory rises
/// from before the layer and its input are made. What would not fit, by the square of the length, is left out with a word.
#[derive(Debug, Args)]
pub struct Attention {
    /// Which presets: * and ? stand for any letters and any letter; all if left out.
    patterns: Vec<String>,
    /// Tokens per row.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 512, 2048], value_parser = at_least_one)]
    lengths: Vec<usize>,
    /// Width of the layer's input and output.
    #[arg(long, default_value_t = 128, value_parser = at_least_one)]
    width: usize,
    /// Query heads.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    heads: usize,
    /// Rows.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    batch: usize,
    /// No token sees a later one.
    #[arg(long)]
    causal: bool,
    /// Measure a whole encoder layer, with a GELU network of this hidden width, norms after both parts, and biases.
    #[arg(long, value_name = "WIDTH", value_parser = at_least_one)]
    feed_forward: Option<usize>,
    /// Timings of each.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The dtype of input and parameters: f32, f64, f16, bf16.
    #[arg(long, default_value = "f32", value_parser = dtype::parse)]
    dtype: burn::tensor::DType,
    /// Print, instead of times, what one pass receives and gives, as an object: input, output, every parameter, every gradient.
    /// For a comparison with another implementation; choose one preset, one length and a small width.
    #[arg(long)]
    values: bool,
    /// Print an object.
    #[arg(long)]
    json: bool,
    /// Measure the one preset at the one length here, in this process.
    #[arg(long, hide = true)]
    here: bool,
}

/// A preset and what came out.
#[derive(Debug, Serialize)]
struct Entry {
    name: &'static str,
    lengths: Vec<Row>,
}

/// A length and what came out.
#[derive(Debug, Serialize)]
struct Row {
    length: usize,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Measured(Measured),
    Skipped { skipped: String },
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.trim().parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number of at least 1".into())
}

impl Attention {
    /// Measures and prints.
    ///
    /// # Errors
    /// If nothing matches, the sizes do not fit each other or no chosen preset, or the device cannot do it.
    pub fn run(self, global: &Global) -> Result<()> {
        train::set_threads(global.threads);
        let device = device::open(global.device()).map_err(|message| anyhow!(message)).input()?;
        dtype::check(&device, self.dtype)?;
        let chosen = self.chosen()?;
        self.check_width()?;
        if self.here || self.values {
            let subject = self.only(&chosen)?;
            let result = if self.values {
                subject.values(&device, self.dtype)
            } else {
                let effort = Effort { repeats: self.repeats, ..Effort::default() };
                serde_json::to_value(subject.measure(&device, self.dtype, effort)).failed()?
            };
            print(result);
            return Ok(());
        }
        let mut entries = Vec::new();
        for (name, preset) in &chosen {
            entries.push(Entry { name, lengths: self.measure(preset, global)? });
        }
        self.refuse_nothing(&entries)?;
        if self.json {
            print(serde_json::json!({
                "device": global.device(),
                "dtype": dtype::name(self.dtype),
                "threads": rayon::current_num_threads(),
                "width": self.width,
                "heads": self.heads,
                "batch": self.batch,
                "causal": self.causal,
                "feed_forward": self.feed_forward,
                "repeats": self.repeats,
                "entries": entries,
            }));
        } else {
            print(report(&entries));
            print(
                "ms: median; ±: middle half of the timings; MiB: rise of the resident memory of a fresh process, from before layer and input are made, in the first pass",
            );
        }
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        let Self { width, heads, batch, causal, feed_forward, .. } = *self;
        Sizes { width, heads, batch, causal, feed_forward }
    }

    fn chosen(&self) -> Result<Vec<(&'static str, PresetConfig)>> {
        list::check_patterns(&self.patterns, PresetConfig::NAMES.iter().copied())?;
        let names = PresetConfig::NAMES.iter().filter(|name| list::matches_any(&self.patterns, name));
        Ok(names.filter_map(|name| Some((*name, PresetConfig::by_name(name)?))).collect())
    }

    fn check_width(&self) -> Result<()> {
        let (width, heads) = (self.width, self.heads);
        if width.is_multiple_of(heads) {
            return Ok(());
        }
        let below = width / heads * heads;
        let near = if below == 0 { heads.to_string() } else { format!("{below} or {}", below + heads) };
        Err(anyhow!("--width {width} is not a multiple of --heads {heads}; try --width {near}")).input()
    }

    /// The one layer on rows of the one length.
    fn only(&self, chosen: &[(&'static str, PresetConfig)]) -> Result<Subject> {
        let ([(name, preset)], [length]) = (chosen, &self.lengths[..]) else {
            let message = anyhow!(
                "--values prints one pass of one layer, but {} presets and {} lengths are chosen; name one preset and one \
                 length: kiln bench attention attn --lengths 16 --width 8 --heads 2 --values",
                chosen.len(),
                self.lengths.len()
            );
            return Err(message).input();
        };
        Subject::new(preset, self.sizes(), *length).map_err(|reason| anyhow!("{name}: {reason}")).input()
    }

    /// Every length of one preset, the short ones first, so that they tell what the long ones may need.
    fn measure(&self, preset: &PresetConfig, global: &Global) -> Result<Vec<Row>> {
        let mut lengths = self.lengths.clone();
        lengths.sort_unstable();
        lengths.dedup();
        let mut known = None;
        if lengths[0] > TRIAL && Subject::new(preset, self.sizes(), TRIAL).is_ok() {
            known =
                self.in_a_child(preset, TRIAL, 1, global)?.ok().and_then(|measured| Some((TRIAL, peak(&measured)?)));
        }
        let mut rows = Vec::new();
        for length in lengths {
            let outcome = match self.refused(preset, length, known) {
                Some(skipped) => Outcome::Skipped { skipped },
                None => {
                    global.say(format_args!("measuring {} at length {length}", preset.name()));
                    match self.in_a_child(preset, length, self.repeats, global)? {
                        Ok(measured) => {
                            known = peak(&measured).map(|bytes| (length, bytes)).or(known);
                            Outcome::Measured(measured)
                        }
                        Err(skipped) => Outcome::Skipped { skipped },
                    }
                }
            };
            rows.push(Row { length, outcome });
        }
        Ok(rows)
    }

    /// Why a layer is not measured at a length, if it is not.
    fn refused(&self, preset: &PresetConfig, length: usize, known: Option<(usize, u64)>) -> Option<String> {
        if let Err(reason) = Subject::new(preset, self.sizes(), length) {
            return Some(reason);
        }
        let (worst, free) = (at_worst(known?, length), memory::available()?);
        (worst > free)
            .then(|| format!("may take {:.1} GiB, by the square of the length, of {:.1} GiB", gib(worst), gib(free)))
    }

    /// The numbers that a process of its own finds, or why it did not come to its end.
    fn in_a_child(
        &self,
        preset: &PresetConfig,
        length: usize,
        repeats: usize,
        global: &Global,
    ) -> Result<Result<Measured, String>> {
        let mut command = Command::new(std::env::current_exe().failed()?);
        command.args(["bench", "attention", preset.name(), "--here", "--quiet", "--dtype", dtype::name(self.dtype)]);
        for (option, number) in [
            ("--lengths", Some(length)),
            ("--width", Some(self.width)),
            ("--heads", Some(self.heads)),
            ("--batch", Some(self.batch)),
            ("--feed-forward", self.feed_forward),
            ("--repeats", Some(repeats)),
            ("--threads", global.threads),
        ] {
            command.args(number.iter().flat_map(|number| [option.to_owned(), number.to_string()]));
        }
        command.args(self.causal.then_some("--causal")).args(["--device", global.device()]);
        let output = command.output().failed()?;
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).failed().map(Ok);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Err(format!("its process ended with {}: {}", output.status, said.trim())))
    }

    /// Refuses a choice of which nothing could be measured.
    fn refuse_nothing(&self, entries: &[Entry]) -> Result<()> {
        let mut reasons = Vec::new();
        for entry in entries {
            for row in &entry.lengths {
                match &row.outcome {
                    Outcome::Measured(_) => return Ok(()),
                    Outcome::Skipped { skipped } => {
                        reasons.push(format!("{} at {}: {skipped}", entry.name, row.length))
                    }
                }
            }
        }
        Err(anyhow!("nothing of this can be measured; {}", reasons.join("; "))).input()
    }
}

fn peak(measured: &Measured) -> Option<u64> {
    measured.memory.map(|memory| memory.forward_backward_bytes)
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn report(entries: &[Entry]) -> comfy_table::Table {
    let header = ["", "length", "forward ms", "±", "MiB", "fwd + bwd ms", "±", "MiB", "not measured"];
    let mut table = table(header);
    for entry in entries {
        for Row { length, outcome } in &entry.lengths {
            let mut cells = vec![entry.name.to_owned(), length.to_string()];
            match outcome {
                Outcome::Measured(measured) => {
                    let [forward, both] = measured
                        .memory
                        .map_or([None; 2], |memory| [Some(memory.forward_bytes), Some(memory.forward_backward_bytes)]);
                    cells.extend(numbers(&measured.forward, forward));
                    cells.extend(numbers(&measured.forward_backward, both));
                    cells.push(String::new());
                }
                Outcome::Skipped { skipped } => {
                    cells.extend([const { String::new() }; 6]);
                    cells.push(skipped.clone());
                }
            }
            table.add_row(cells);
        }
    }
    table
}

fn numbers(time: &Time, bytes: Option<u64>) -> [String; 3] {
    let mib = bytes.map_or_else(|| "–".into(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
    [format!("{:.3}", time.median_ms), format!("{:.0} %", 100.0 * time.spread), mib]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_from_one_on() {
        assert_eq!(at_least_one("8192"), Ok(8192));
        for text in ["0", "-3", "12x", "1.5", ""] {
            assert!(at_least_one(text).unwrap_err().contains("at least 1"), "{text}");
        }
    }
}
