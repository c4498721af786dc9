//! From the file to the variants.
use kiln_stream::Stream;
use serde_json::Value;

use crate::{
    check::{Invalid, MOST_VARIANTS, ensure},
    name, place,
    sweep::{Grid, Random, Sweep},
};

/// A key of the config, what it is set to, and where the sweep file says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Dotted key of the config.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// The place in the sweep file, such as `grid."optim.lr"[1]`.
    pub place: String,
}

/// One variant of the experiment; each seed makes a run of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name, unique in the sweep.
    pub name: String,
    /// What it is called in a comparison.
    pub label: String,
    /// What it changes in the base config, in this order; those of the whole sweep come first. The seed is not among them.
    pub settings: Vec<Setting>,
    /// Variants whose run of the same seed must be finished first.
    pub needs: Vec<String>,
    /// Where the sweep file speaks of it.
    pub place: String,
}

impl Variant {
    /// Those of its settings that are its own and not the whole sweep's, as key and short text.
    pub fn own(&self) -> impl Iterator<Item = (&str, String)> {
        let own = self.settings.iter().filter(|setting| !setting.place.starts_with("set."));
        own.map(|setting| (&*setting.key, name::text(&setting.value)))
    }
}

impl Sweep {
    /// The variants, in the order of the file.
    ///
    /// # Errors
    /// If there are more than a thousand, two have the same name, or a random sweep has fewer different draws than it
    /// asks for.
    pub fn variants(&self) -> Result<Vec<Variant>, Invalid> {
        let mut variants = match (&self.grid, &self.random) {
            (Some(grid), _) => grid.variants()?,
            (_, Some(random)) => random.variants()?,
            _ => self.listed(),
        };
        for (i, variant) in variants.iter().enumerate() {
            let twice = variants[..i].iter().any(|other| other.name == variant.name);
            ensure(!twice, &*variant.place, || {
                format!("two variants would be called \"{}\"; list them under [[runs]], which names them", variant.name)
            })?;
        }
        for variant in &mut variants {
            if let Some(label) = self.labels.get(&variant.name) {
                variant.label.clone_from(label);
            }
            let common = self.set.iter().map(|(key, value)| setting(key, value, place::of_key("set", key)));
            variant.settings.splice(0..0, common);
        }
        Ok(variants)
    }

    fn listed(&self) -> Vec<Variant> {
        let one = |(i, run): (usize, &crate::RunSpec)| {
            let place = place::of_index("runs", i);
            let inside = format!("{place}.set");
            let settings = run.set.iter().map(|(key, value)| setting(key, value, place::of_key(&inside, key)));
            Variant { needs: run.needs.clone(), ..variant(run.name.clone(), settings.collect(), place.clone()) }
        };
        self.runs.iter().enumerate().map(one).collect()
    }
}

fn setting(key: &str, value: &Value, place: String) -> Setting {
    Setting { key: key.to_owned(), value: value.clone(), place }
}

fn variant(name: String, settings: Vec<Setting>, place: String) -> Variant {
    Variant { label: name.clone(), name, settings, needs: Vec::new(), place }
}

impl Grid {
    fn variants(&self) -> Result<Vec<Variant>, Invalid> {
        let count = self.0.iter().try_fold(1usize, |count, leaf| count.checked_mul(leaf.value.len()));
        ensure(count.is_some_and(|count| count <= MOST_VARIANTS), "grid", || {
            format!("more than {MOST_VARIANTS} combinations; take fewer values, or draw some of them with [random]")
        })?;
        // Places of the values: the first key varies slowest.
        let mut combinations: Vec<Vec<usize>> = vec![Vec::new()];
        for leaf in &self.0 {
            let extend = |chosen: Vec<usize>| {
                (0..leaf.value.len()).map(move |i| chosen.iter().copied().chain([i]).collect::<Vec<_>>())
            };
            combinations = combinations.into_iter().flat_map(extend).collect();
        }
        let values = |chosen: &Vec<usize>| self.0.iter().zip(chosen).map(|(leaf, &i)| &leaf.value[i]).collect();
        let values: Vec<Vec<&Value>> = combinations.iter().map(values).collect();
        let keys: Vec<&str> = self.0.iter().map(|leaf| leaf.key.as_str()).collect();
        let names = name::of_combinations(&keys, &values);
        let settings = |chosen: &Vec<usize>| -> Vec<Setting> {
            let one = |(leaf, &i): (&crate::tree::Leaf<Vec<Value>>, &usize)| {
                setting(&leaf.key, &leaf.value[i], format!("grid.{}[{i}]", leaf.place))
            };
            self.0.iter().zip(chosen).map(one).collect()
        };
        let all = names.into_iter().zip(&combinations);
        Ok(all.map(|(name, chosen)| variant(name, settings(chosen), "grid".into())).collect())
    }
}

/// Draws per sample after which a random sweep is taken to have no further different ones.
const PATIENCE: u64 = 200;

impl Random {
    fn variants(&self) -> Result<Vec<Variant>, Invalid> {
        let mut variants: Vec<Variant> = Vec::new();
        let streams: Vec<Stream> =
            self.keys.iter().map(|leaf| Stream::new(self.seed, "sweep").child(&leaf.key)).collect();
        let mut number = 0;
        let mut last = 0;
        while variants.len() < self.samples {
            let draw = |(leaf, stream): (&crate::tree::Leaf<crate::Distribution>, &Stream)| {
                let value = leaf.value.draw(&mut stream.at(number));
                setting(&leaf.key, &value, format!("random.{}", leaf.place))
            };
            let settings: Vec<Setting> = self.keys.iter().zip(&streams).map(draw).collect();
            number += 1;
            // A draw that came before would be the same run once more.
            if variants.iter().all(|other| other.settings != settings) {
                variants.push(variant(format!("r{}", variants.len() + 1), settings, "random".into()));
                last = number;
            }
            ensure(number - last < PATIENCE, "random.samples", || {
                format!("only {} different draws were found for {} samples; take [grid]", variants.len(), self.samples)
            })?;
        }
        Ok(variants)
    }
}
