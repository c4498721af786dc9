//! `kiln list`.
use anyhow::anyhow;
use clap::Args;
use kiln_models::attention;
use kiln_registry::{Listing, Tagged};

use super::print;
use crate::{Result, error::Sort, measure::MeasureConfig, task::TaskConfig};

/// List what a config can name.
#[derive(Debug, Args)]
pub struct List {
    /// A registry, such as normalizers, or a pattern; all registries if left out.
    registry: Option<String>,
    /// Which names: * and ? stand for any letters and any letter.
    pattern: Option<String>,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

/// Every registry's list, by its plural.
pub fn registries() -> Vec<(&'static str, Vec<Listing>)> {
    vec![
        ("normalizers", kiln_activations::normalizer::NormalizerConfig::listing()),
        ("pointwise", kiln_activations::pointwise::PointwiseConfig::listing()),
        ("pooling", kiln_activations::pooling::PoolingConfig::listing()),
        ("losses", kiln_activations::loss::LossConfig::listing()),
        ("models", kiln_models::ModelConfig::listing()),
        ("attention", attention::PresetConfig::listing()),
        ("patterns", attention::PatternConfig::listing()),
        ("positions", kiln_models::position::PositionConfig::listing()),
        ("cores", attention::CoreConfig::listing()),
        ("features", attention::features::FeaturesConfig::listing()),
        ("denominators", attention::denominator::DenominatorConfig::listing()),
        ("decays", attention::core::DecayConfig::listing()),
        ("landmarks", attention::core::LandmarksConfig::listing()),
        ("heads", kiln_models::HeadConfig::listing()),
        ("data", kiln_datasets::DataConfig::listing()),
        ("augmentations", kiln_datasets::images::augment::AugmentConfig::listing()),
        ("corruptions", kiln_datasets::images::corrupt::CorruptionConfig::listing()),
        ("optimizers", kiln_optimizers::OptimConfig::listing()),
        ("transforms", kiln_optimizers::TransformConfig::listing()),
        ("schedules", kiln_optimizers::ScheduleConfig::listing()),
        ("tasks", TaskConfig::listing()),
        ("measures", MeasureConfig::listing()),
    ]
}

impl List {
    /// Prints the lists.
    ///
    /// # Errors
    /// If nothing matches; the message names the registries.
    pub fn run(self) -> Result<()> {
        let all = registries();
        let named = |word: &str| all.iter().find(|(plural, _)| *plural == word || plural.trim_end_matches('s') == word);
        let (chosen, pattern) = match (self.registry.as_deref(), self.pattern.as_deref()) {
            (None, _) => (all.iter().collect(), "*"),
            (Some(word), pattern) => match (named(word), pattern) {
                (Some(registry), pattern) => (vec![registry], pattern.unwrap_or("*")),
                (None, None) => (all.iter().collect(), word),
                (None, Some(_)) => {
                    let known: Vec<_> = all.iter().map(|(plural, _)| *plural).collect();
                    return Err(anyhow!("unknown registry \"{word}\"; known: {}", known.join(", "))).input();
                }
            },
        };
        let rows: Vec<&Listing> =
            chosen.iter().flat_map(|(_, rows)| rows).filter(|row| matches(pattern, row.name)).collect();
        if rows.is_empty() {
            let known: Vec<_> = all.iter().map(|(plural, _)| *plural).collect();
            return Err(anyhow!("nothing is named \"{pattern}\"; registries: {}", known.join(", "))).input();
        }
        if self.json {
            print(serde_json::to_string_pretty(&rows).unwrap_or_default());
            return Ok(());
        }
        let mut table = super::table(["registry", "name", "what", "paper"]);
        for row in rows {
            table.add_row([row.registry, row.name, row.summary, row.paper]);
        }
        print(table);
        Ok(())
    }
}

/// Whether `name` fits one of the patterns; without any, every name does.
pub(super) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
}

/// Refuses a pattern that fits none of the `known` names.
///
/// # Errors
/// If there is one; the message lists the names.
pub(super) fn check_patterns<'a>(patterns: &[String], known: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for name in known {
        // Few enough to look through; some stand for several entries.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match patterns.iter().find(|pattern| !names.iter().any(|name| matches(pattern, name))) {
        None => Ok(()),
        Some(pattern) => {
            let near = kiln_config::nearest(pattern, &names);
            let help = near.map(|name| format!("\nhelp: did you mean \"{name}\"?")).unwrap_or_default();
            Err(anyhow!("nothing is named \"{pattern}\"; known: {}{help}", names.join(", "))).input()
        }
    }
}

/// Whether `name` fits a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            matches(&pattern[1..], name) || name.chars().next().is_some_and(|c| matches(pattern, &name[c.len_utf8()..]))
        }
        (Some('?'), Some(c)) => matches(&pattern[1..], &name[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => matches(&pattern[p.len_utf8()..], &name[c.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, fits) in [
            ("*", "softmax", true),
            ("soft*", "softmax", true),
            ("*max", "softmax", true),
            ("s?ftmax", "softmax", true),
            ("soft", "softmax", false),
            ("*soft", "softmax", false),
            ("", "softmax", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
