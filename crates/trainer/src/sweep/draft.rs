//! From a sweep file to the resolved config of every run.
use std::{collections::HashMap, path::Path};

use kiln_claims::assignment;
use kiln_sweeps::{Setting, Variant, circle, hint};

use super::SweepFile;
use crate::{
    Error, Result,
    config::{self, Loaded, places},
    plan::{Draft, Wish, run_name},
};

/// Keys of the config that name a trained run. In a sweep it may be a variant of the same sweep; the run of the same seed is
/// then meant, and made first.
const REFERENCES: [&str; 1] = ["task.teacher.run"];

/// The config of every run, those of a seed together and each after those it needs.
///
/// # Errors
/// If a config does not fit the schema or a run that is named is not there; the message names the variant, and the place in the
/// sweep file that is to be changed.
pub fn draft(file: &SweepFile, dir: &Path, threads: usize) -> Result<Draft> {
    let reader = Reader { file, dir, threads };
    reader.check_base()?;
    let mut needs = Vec::new();
    for variant in &file.variants {
        needs.push(reader.needs(variant)?);
    }
    let order = reader.order(&needs)?;
    let mut wishes: Vec<Wish> = Vec::new();
    for &seed in &file.sweep.seeds {
        for &i in &order {
            let variant = &file.variants[i];
            let loaded = reader.resolved(variant, seed, &wishes)?;
            let differences = variant.settings.iter().map(|setting| assignment(&setting.key, &setting.value)).collect();
            wishes.push(Wish { run: variant.name.clone(), loaded, needs: needs[i].clone(), differences });
        }
    }
    let draft = Draft::new(dir, wishes);
    reader.check_distinct(&draft)?;
    Ok(draft)
}

/// Checks the config of every variant against its data, with the first seed.
///
/// # Errors
/// As for [`draft`].
pub(super) fn check(file: &SweepFile, draft: &Draft) -> Result<()> {
    for variant in &file.variants {
        let jobs = draft.plan.jobs.iter().zip(&draft.loaded);
        let first = jobs.into_iter().find(|(job, _)| job.run == variant.name && job.seed == file.sweep.seeds[0]);
        let Some((_, loaded)) = first else { continue };
        config::resolve(loaded).map_err(|error| refuse(file, variant, error))?;
    }
    Ok(())
}

struct Reader<'a> {
    file: &'a SweepFile,
    dir: &'a Path,
    threads: usize,
}

impl Reader<'_> {
    fn read(&self, variant: &Variant, seed: u64, more: &[String]) -> Result<Loaded> {
        let settings = variant.settings.iter().map(|setting| assignment(&setting.key, &setting.value));
        let own = [format!("run.seed={seed}"), format!("run.threads={}", self.threads)];
        let sets: Vec<String> = settings.chain(own).chain(more.iter().cloned()).collect();
        let base = places::beside(&self.file.path, &self.file.sweep.base);
        config::read(&base, &sets).map_err(|error| refuse(self.file, variant, error))
    }

    /// A base that is not there is the sweep file's fault; what stands in it is not.
    fn check_base(&self) -> Result<()> {
        let base = places::find(&places::beside(&self.file.path, &self.file.sweep.base));
        if base.is_file() || places::embedded(&base).is_some() {
            return Ok(());
        }
        let message = match config::read(&base, &[]) {
            Err(Error::Config(error)) => error.headline(),
            _ => format!("{} is not a file", base.display()),
        };
        Err(self.file.document.error_at("base", &message, None).into())
    }

    /// The variants whose runs a variant needs: those it says, and those its config names.
    fn needs(&self, variant: &Variant) -> Result<Vec<String>> {
        let loaded = self.read(variant, self.file.sweep.seeds[0], &[])?;
        let mut needs = variant.needs.clone();
        needs.extend(self.references(&loaded).map(|(_, name)| name));
        needs.sort();
        needs.dedup();
        Ok(needs)
    }

    /// Keys that name a variant of the sweep, and its name.
    fn references(&self, loaded: &Loaded) -> impl Iterator<Item = (&'static str, String)> {
        REFERENCES.into_iter().filter_map(|key| {
            let named = loaded.document.value(key)?.as_str()?.to_owned();
            self.file.variants.iter().any(|variant| variant.name == named).then_some((key, named))
        })
    }

    /// The config of a run, with the folders of the runs it names; these are among `before`.
    fn resolved(&self, variant: &Variant, seed: u64, before: &[Wish]) -> Result<Loaded> {
        let loaded = self.read(variant, seed, &[])?;
        let folder = |name: &String| {
            let run = before.iter().find(|wish| wish.run == *name && wish.loaded.experiment.run.seed == seed)?;
            Some(self.dir.join("runs").join(run_name(name, &run.loaded)))
        };
        let filled: Vec<String> = self
            .references(&loaded)
            .filter_map(|(key, name)| Some(format!("{key}={:?}", folder(&name)?.display().to_string())))
            .collect();
        if !filled.is_empty() {
            // Nothing to pin yet: the run it names will be there when this one is begun.
            return self.read(variant, seed, &filled);
        }
        let mut loaded = loaded;
        loaded.pin().map_err(|error| match self.stranger(&loaded) {
            Some(hint) => refuse_with(self.file, variant, error, &hint),
            None => refuse(self.file, variant, error),
        })?;
        Ok(loaded)
    }

    /// What to say of a named run that is neither a folder nor a variant.
    fn stranger(&self, loaded: &Loaded) -> Option<String> {
        let named = REFERENCES.into_iter().find_map(|key| Some(loaded.document.value(key)?.as_str()?.to_owned()))?;
        let names = self.file.variants.iter().map(|variant| variant.name.as_str());
        (!named.contains('/')).then(|| format!("; in a sweep it may also be a variant, {}", hint(&named, names)))
    }

    /// The variants by position, each after those it needs, else in the order of the file.
    fn order(&self, needs: &[Vec<String>]) -> Result<Vec<usize>> {
        let variants = &self.file.variants;
        let named = |i: usize| (variants[i].name.as_str(), needs[i].iter().map(String::as_str).collect::<Vec<_>>());
        if let Some(bound) = circle(&(0..variants.len()).map(named).collect::<Vec<_>>()) {
            let first = variants.iter().find(|variant| variant.name == bound[0]);
            let message = match bound.as_slice() {
                [alone] => format!("\"{alone}\" needs itself, so it cannot start"),
                _ => format!("these variants need each other, so none can start: {}", bound.join(", ")),
            };
            return Err(self.file.document.error_at(first.map_or("", |v| &v.place), &message, None).into());
        }
        let position: HashMap<&str, usize> = variants.iter().enumerate().map(|(i, v)| (&*v.name, i)).collect();
        let mut placed = vec![false; variants.len()];
        let mut order: Vec<usize> = Vec::new();
        // Without a circle each pass places one variant at least.
        while order.len() < variants.len() {
            for i in 0..variants.len() {
                let ready = || needs[i].iter().all(|name| position.get(&**name).is_none_or(|&j| placed[j]));
                if !placed[i] && ready() {
                    placed[i] = true;
                    order.push(i);
                }
            }
        }
        Ok(order)
    }

    /// Two variants with one config would be one run, made twice.
    fn check_distinct(&self, draft: &Draft) -> Result<()> {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (job, loaded) in draft.plan.jobs.iter().zip(&draft.loaded) {
            let identity = config::identity(&loaded.experiment);
            if let Some(other) = seen.get(&identity) {
                let place = self.file.variants.iter().find(|v| v.name == job.run).map_or("", |v| &v.place);
                let message = format!("variants \"{other}\" and \"{}\" are the same experiment; keep one", job.run);
                return Err(self.file.document.error_at(place, &message, None).into());
            }
            seen.insert(identity, &job.run);
        }
        Ok(())
    }
}

/// An error about a variant's config, told at the place of the sweep file that sets the key at fault.
fn refuse(file: &SweepFile, variant: &Variant, error: Error) -> Error {
    refuse_with(file, variant, error, "")
}

fn refuse_with(file: &SweepFile, variant: &Variant, error: Error, more: &str) -> Error {
    let Error::Config(error) = error else { return error };
    let origin = error.origin().map(|origin| origin.source).unwrap_or_default();
    let says = |setting: &&Setting| origin == format!("--set {}", assignment(&setting.key, &setting.value));
    let headline = error.headline();
    let (place, message) = match variant.settings.iter().find(says) {
        Some(setting) => (&setting.place, headline.strip_prefix(&format!("{origin}: ")).unwrap_or(&headline)),
        None => (&variant.place, &*headline),
    };
    file.document.error_at(place, &format!("variant \"{}\": {message}{more}", variant.name), None).into()
}
