//! `kiln bench activations`.
use anyhow::anyhow;
use burn::tensor::Device;
use clap::Args;

use super::super::{Global, dtype, list, print, table};
use crate::{
    Result,
    bench::{
        activations::{Effort, Size, Speed, Subject, measure, subjects},
        memory,
    },
    device,
    error::Sort,
    train,
};

/// Scores per row at the default sizes.
const N: usize = 1024;

/// Throughput of the maps, beside that of a copy of as many bytes.
#[derive(Debug, Args)]
pub struct Activations {
    /// Which ones: * and ? stand for any letters and any letter; all if left out.
    patterns: Vec<String>,
    /// Sizes of the scores, rows by entries: --sizes 8192x1024,64x100. From cache-resident to four times the last-level
    /// cache if left out.
    #[arg(long, value_name = "ROWSxN", value_delimiter = ',', value_parser = size)]
    sizes: Vec<[usize; 2]>,
    /// Timings of each.
    #[arg(long, default_value_t = Effort::default().repeats)]
    repeats: usize,
    /// The dtype of the scores: f32, f64, f16, bf16.
    #[arg(long, default_value = "f32", value_parser = dtype::parse)]
    dtype: burn::tensor::DType,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

/// `8192x1024`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|number| number.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[rows, n]) if rows > 0 && n > 0 => Ok([rows, n]),
        _ => Err("expected rows by entries, both at least 1, such as 8192x1024".into()),
    }
}

impl Activations {
    /// Measures and prints.
    ///
    /// # Errors
    /// If nothing matches or the device cannot do it.
    pub fn run(self, global: &Global) -> Result<()> {
        train::set_threads(global.threads);
        let device = device::open(global.device()).map_err(|message| anyhow!(message)).input()?;
        dtype::check(&device, self.dtype)?;
        let chosen = self.chosen(&device)?;
        let cache = memory::last_level_cache();
        if cache.is_none() {
            global.say("the size of the last-level cache is unknown here; the sizes are those for 32 MiB");
        }
        let sizes = if self.sizes.is_empty() { default_sizes(cache, self.dtype.size()) } else { self.sizes.clone() };
        let effort = Effort { repeats: self.repeats, ..Effort::default() };
        let measured: Vec<Size> = sizes
            .into_iter()
            .map(|size| {
                global.say(format_args!("measuring [{}, {}]", size[0], size[1]));
                measure(size, &chosen, &device, self.dtype, effort)
            })
            .collect();
        if self.json {
            print(serde_json::json!({
                "device": global.device(),
                "dtype": dtype::name(self.dtype),
                "threads": rayon::current_num_threads(),
                "last_level_cache_bytes": cache,
                "repeats": self.repeats,
                "sizes": measured,
            }));
        } else {
            measured.iter().for_each(|size| print(report(size)));
            print(
                "GB/s: bytes that have to move (forward 2, forward and backward 5 tensors) by the median time; copy: share of the copy's; ±: middle half of the timings",
            );
        }
        Ok(())
    }

    fn chosen(&self, device: &Device) -> Result<Vec<Subject>> {
        let mut all = subjects(device, self.dtype);
        let known: Vec<String> = all.iter().map(|subject| subject.name.clone()).collect();
        list::check_patterns(&self.patterns, known.iter().map(String::as_str))?;
        all.retain(|subject| list::matches_any(&self.patterns, &subject.name));
        Ok(all)
    }
}

/// Rows of 1024 scores that take 256 KiB, a quarter of the last-level cache, and four times that cache.
fn default_sizes(cache: Option<u64>, element: usize) -> Vec<[usize; 2]> {
    let cache = cache.unwrap_or(32 << 20) as usize;
    let rows = |bytes: usize| [(bytes / (N * element)).max(1), N];
    vec![rows(256 << 10), rows(cache / 4), rows(4 * cache)]
}

fn report(size: &Size) -> String {
    let mut table = table(["", "forward ms", "±", "GB/s", "copy", "fwd + bwd ms", "±", "GB/s", "copy"]);
    let cells = |speed: &Speed| {
        [
            format!("{:.3}", speed.median_ms),
            format!("{:.0} %", 100.0 * speed.spread),
            format!("{:.1}", speed.gb_s),
            format!("{:.2}", speed.copy_share),
        ]
    };
    for entry in &size.entries {
        let back = entry.forward_backward.as_ref().map_or_else(|| [const { String::new() }; 4], cells);
        table.add_row([entry.name.clone()].into_iter().chain(cells(&entry.forward)).chain(back));
    }
    let mib = size.bytes as f64 / f64::from(1 << 20);
    format!(
        "[{}, {}], {mib:.2} MiB; copy {:.1} GB/s ± {:.0} %\n{table}",
        size.rows,
        size.n,
        size.copy.gb_s,
        100.0 * size.copy.spread
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rows_by_entries() {
        assert_eq!(size("8192x1024"), Ok([8192, 1024]));
        for text in ["8192", "8192x", "0x4", "3x4x5", "ax4"] {
            assert!(size(text).unwrap_err().contains("such as 8192x1024"), "{text}");
        }
    }

    #[test]
    fn default_sizes_reach_from_the_inner_caches_to_beyond_the_last() {
        assert_eq!(default_sizes(Some(32 << 20), 4), [[64, 1024], [2048, 1024], [32768, 1024]]);
        assert_eq!(default_sizes(None, 8), [[32, 1024], [1024, 1024], [16384, 1024]]);
    }
}
