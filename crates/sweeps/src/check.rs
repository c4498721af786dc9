//! Whether the parts of a sweep fit each other.
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    circle::circle,
    name, place,
    suggest::hint,
    sweep::{RunSpec, Sweep},
};

/// A value that contradicts another part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where: the key's path, such as `runs[3].needs` or `grid."optim.lr"`.
    pub key: String,
    /// What came, what was expected, what to do.
    pub message: String,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for Invalid {}

type Checked = Result<(), Invalid>;

pub(crate) fn ensure(holds: bool, key: impl Into<String>, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Invalid { key: key.into(), message: message() }) }
}

/// Most variants of one sweep; more are taken for a slip of the pen.
pub(crate) const MOST_VARIANTS: usize = 1000;

impl Sweep {
    /// Checks the parts of the sweep against each other.
    ///
    /// # Errors
    /// The first contradiction: two ways to vary, no seed, a key that the sweep sets itself, an unknown variant and the like.
    pub fn check(&self) -> Checked {
        let distinct: BTreeSet<_> = self.seeds.iter().collect();
        ensure(!self.seeds.is_empty() && distinct.len() == self.seeds.len(), "seeds", || {
            "expected one seed or more, each once".into()
        })?;
        let too_large = self.seeds.iter().find(|seed| i64::try_from(**seed).is_err());
        ensure(too_large.is_none(), "seeds", || format!("{} does not fit a config", too_large.unwrap_or(&0)))?;
        ensure(self.threads != Some(0), "threads", || {
            "0 threads cannot work; expected a whole number of at least 1".into()
        })?;
        ensure(!self.base.is_empty(), "base", || "expected the path of a config".into())?;
        self.check_ways()?;
        check_set("set", &self.set)?;
        self.check_runs()?;
        let names: Vec<String> = self.variants()?.into_iter().map(|variant| variant.name).collect();
        let known = || names.iter().map(String::as_str);
        if let Some(baseline) = &self.baseline {
            ensure(names.contains(baseline), "baseline", || {
                format!("unknown variant \"{baseline}\"; {}", hint(baseline, known()))
            })?;
        }
        for name in self.labels.keys() {
            ensure(names.contains(name), place::of_key("labels", name), || {
                format!("unknown variant \"{name}\"; {}", hint(name, known()))
            })?;
        }
        let metrics: BTreeSet<_> = self.metrics.iter().collect();
        ensure(metrics.len() == self.metrics.len(), "metrics", || "expected each metric once".into())
    }

    /// Exactly one way to vary, with something in it.
    fn check_ways(&self) -> Checked {
        let ways = [("grid", self.grid.is_some()), ("random", self.random.is_some()), ("runs", !self.runs.is_empty())];
        let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(way, _)| *way).collect();
        ensure(!given.is_empty(), "", || "nothing is varied; give one of [grid], [random] and [[runs]]".into())?;
        ensure(given.len() == 1, given[given.len() - 1], || {
            format!("a sweep varies in one way; give {} or {}, not both", given[0], given[given.len() - 1])
        })?;
        let keys: Vec<(&str, &str, &str)> = match (&self.grid, &self.random) {
            (Some(grid), _) => grid.0.iter().map(|leaf| ("grid", &*leaf.key, &*leaf.place)).collect(),
            (_, Some(random)) => {
                ensure((1..=MOST_VARIANTS).contains(&random.samples), "random.samples", || {
                    format!("{} is out of range; expected 1 to {MOST_VARIANTS}", random.samples)
                })?;
                random.keys.iter().map(|leaf| ("random", &*leaf.key, &*leaf.place)).collect()
            }
            _ => return Ok(()),
        };
        ensure(!keys.is_empty(), given[0], || {
            format!("expected a key to vary, such as \"optim.lr\", in [{}]", given[0])
        })?;
        for (i, (way, key, place)) in keys.iter().enumerate() {
            check_key(&format!("{way}.{place}"), key)?;
            let clash = keys[..i].iter().find(|(_, other, _)| overlap(key, other));
            ensure(clash.is_none(), format!("{way}.{place}"), || {
                format!("{key} and {} set the same part of the config", clash.map_or("", |clash| clash.1))
            })?;
        }
        Ok(())
    }

    fn check_runs(&self) -> Checked {
        for (i, run) in self.runs.iter().enumerate() {
            let (RunSpec { name, set, needs }, place) = (run, place::of_index("runs", i));
            ensure(name::is_legal(name), format!("{place}.name"), || {
                format!("\"{name}\" is no name of a run; expected a letter or digit, then up to 59 more or _ . - + =")
            })?;
            ensure(self.runs[..i].iter().all(|other| other.name != *name), format!("{place}.name"), || {
                format!("two runs are called \"{name}\"; a name stands for one")
            })?;
            check_set(&format!("{place}.set"), set)?;
            for (j, need) in needs.iter().enumerate() {
                ensure(self.runs.iter().any(|other| other.name == *need), format!("{place}.needs[{j}]"), || {
                    let others = self.runs.iter().map(|run| run.name.as_str()).filter(|other| other != name);
                    format!("unknown run \"{need}\"; {}", hint(need, others))
                })?;
            }
        }
        let needs: Vec<(&str, Vec<&str>)> =
            self.runs.iter().map(|run| (&*run.name, run.needs.iter().map(String::as_str).collect())).collect();
        let Some(bound) = circle(&needs) else { return Ok(()) };
        let at = self.runs.iter().position(|run| run.name == bound[0]).unwrap_or(0);
        ensure(false, format!("runs[{at}].needs"), || {
            format!("these runs need each other, so none can start: {}", bound.join(", "))
        })
    }
}

fn check_set(place: &str, set: &Map<String, Value>) -> Checked {
    for (key, value) in set {
        let place = place::of_key(place, key);
        check_key(&place, key)?;
        for part in ["seed", "threads", "dir"] {
            if key == "run" && value.get(part).is_some() {
                check_key(&place, &format!("run.{part}"))?;
            }
        }
        ensure(!value.is_null(), &*place, || format!("{key} has no value a config could hold"))?;
    }
    Ok(())
}

/// Whether it is a key at all, and none that the sweep itself decides.
fn check_key(place: &str, key: &str) -> Checked {
    let whole = !key.is_empty() && key.split('.').all(|part| !part.is_empty());
    ensure(whole, place, || format!("\"{key}\" is no key; expected one such as optim.lr"))?;
    let instead = match key {
        "run.seed" => "seeds stand in `seeds`",
        "run.threads" => "threads stand in `threads`, or are divided among the runs (--jobs, --threads)",
        "run.dir" => "the runs stand in the sweep's own folder",
        "extends" => "every run starts from `base`",
        _ => return Ok(()),
    };
    ensure(false, place, || format!("{key} is set by the sweep itself: {instead}"))
}

/// Whether one key is the other or a part of it.
fn overlap(a: &str, b: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    inside(a, b) || inside(b, a)
}
