//! `kiln data`.
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use kiln_datasets::{
    data_dir,
    manifest::{Format, Manifest},
    read,
};
use kiln_fetch::{Options, Outcome, Progress, fetch};

use super::{Global, print};
use crate::{Result, error::Sort};

/// List, fetch and check the data sets that are not generated.
#[derive(Debug, Args)]
pub struct Data {
    #[command(subcommand)]
    verb: Action,
    /// The folder that holds the data sets: KILN_DATA_DIR, else kiln/data in the user's cache folder.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A manifest of your own, such as one with mirrors of your own, instead of the one of that name.
    #[arg(long, global = true, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What there is, from whom, and whether it is here.
    List {
        /// Print an array of objects.
        #[arg(long)]
        json: bool,
    },
    /// Download, check and unpack data sets; what is here already is left alone.
    Fetch {
        /// Their names.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Take the archives from this folder instead of downloading them.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// The address of a folder that holds the archives, tried first. May be given several times.
        #[arg(long, value_name = "URL", conflicts_with = "from")]
        mirror: Vec<String>,
    },
    /// Check every file: size, header, counts, labels, and the checksum where it is known.
    Verify {
        /// Their names; all that are here if left out.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Print an array of objects, one per file.
        #[arg(long)]
        json: bool,
    },
    /// Print the folder a data set is read from.
    Path {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl Data {
    /// Lists, fetches, checks.
    ///
    /// # Errors
    /// If a name is unknown, a data set is not here or cannot be had, or a file has a fault.
    pub fn run(self, global: &Global) -> Result<()> {
        let dir = self.dir.unwrap_or_else(data_dir);
        let own = match &self.manifest {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
                let parsed = Manifest::parse(&text.input()?).map_err(|error| anyhow!("{}: {error}", path.display()));
                Some(parsed.input()?)
            }
        };
        let known: Vec<&Manifest> = Manifest::all()
            .iter()
            .filter(|manifest| own.as_ref().is_none_or(|own| own.name != manifest.name))
            .chain(&own)
            .collect();
        match self.verb {
            Action::List { json } => list(&known, &dir, json),
            Action::Fetch { names, from, mirror } => {
                let options = Options { from, mirrors: mirror, ..Options::default() };
                for manifest in named(&known, &names)? {
                    let name = &manifest.name;
                    global
                        .chat(format_args!("{}: {}; licence: {}", manifest.title, manifest.citation, manifest.licence));
                    let mut bars = Bars::new(global);
                    let outcome =
                        fetch(manifest, &dir, &options, &mut bars).with_context(|| format!("cannot fetch {name}"));
                    let place = read::locate(manifest, &dir).map_or_else(|_| dir.clone(), |located| located.root);
                    match outcome.failed()? {
                        Outcome::Fetched => global.say(format_args!("{name} is fetched and checked")),
                        Outcome::AlreadyThere => global.say(format_args!("{name} is here already, without a fault")),
                    }
                    print(place.display());
                }
                Ok(())
            }
            Action::Verify { names, json } => {
                let chosen = if names.is_empty() {
                    known.into_iter().filter(|manifest| read::locate(manifest, &dir).is_ok()).collect()
                } else {
                    named(&known, &names)?
                };
                verify(&chosen, &dir, json, global)
            }
            Action::Path { name } => {
                let manifest = named(&known, &[name])?[0];
                print(read::locate(manifest, &dir).input()?.root.display());
                Ok(())
            }
        }
    }
}

/// The manifests of these names.
fn named<'a>(known: &[&'a Manifest], names: &[String]) -> Result<Vec<&'a Manifest>> {
    let find = |name: &String| {
        let all: Vec<&str> = known.iter().map(|manifest| manifest.name.as_str()).collect();
        known.iter().find(|manifest| manifest.name == *name).copied().ok_or_else(|| {
            let near = kiln_config::nearest(name, &all).map(|near| format!(" did you mean \"{near}\"?"));
            anyhow!("no data set \"{name}\" is fetched;{} known: {}", near.unwrap_or_default(), all.join(", "))
        })
    };
    names.iter().map(find).collect::<anyhow::Result<_>>().input()
}

fn list(known: &[&Manifest], dir: &std::path::Path, json: bool) -> Result<()> {
    let bytes = |manifest: &Manifest| manifest.archives.iter().map(|archive| archive.bytes).sum::<u64>();
    let here = |manifest: &Manifest| {
        let located = read::locate(manifest, dir).ok()?;
        Some((
            located.root.clone(),
            match located.form.format {
                Format::Idx => "IDX files",
                Format::Cifar => "CIFAR records",
                Format::ImageFolder => "image files",
            },
        ))
    };
    if json {
        let object = |manifest: &&Manifest| {
            let here = here(manifest);
            serde_json::json!({
                "name": manifest.name, "title": manifest.title, "about": manifest.about, "citation": manifest.citation,
                "licence": manifest.licence, "homepage": manifest.homepage, "train": manifest.train, "test": manifest.test,
                "classes": manifest.classes, "download_bytes": bytes(manifest),
                "folder": here.as_ref().map(|(folder, _)| folder), "form": here.map(|(_, form)| form),
            })
        };
        print(serde_json::to_string_pretty(&known.iter().map(object).collect::<Vec<_>>()).unwrap_or_default());
        return Ok(());
    }
    let mut table = super::table(["name", "what", "images", "download", "licence", "here as"]);
    for manifest in known {
        table.add_row([
            manifest.name.clone(),
            manifest.about.clone(),
            format!("{} + {}", manifest.train, manifest.test),
            indicatif::HumanBytes(bytes(manifest)).to_string(),
            manifest.licence.clone(),
            here(manifest).map_or_else(String::new, |(_, form)| form.to_owned()),
        ]);
    }
    print(table);
    Ok(())
}

fn verify(chosen: &[&Manifest], dir: &std::path::Path, json: bool, global: &Global) -> Result<()> {
    if chosen.is_empty() {
        return Err(anyhow!("there is no data set in {}; kiln data fetch brings one", dir.display())).input();
    }
    let mut rows = Vec::new();
    for manifest in chosen {
        global.chat(format_args!("checking {}", manifest.name));
        let checked = read::verify(manifest, dir).input()?;
        rows.extend(checked.into_iter().map(|file| (manifest.name.as_str(), file)));
    }
    let by = |by_checksum: bool| if by_checksum { "checksum and content" } else { "size and content" };
    let verdict = |fault: &Option<read::Fault>| fault.as_ref().map_or_else(|| "sound".to_owned(), ToString::to_string);
    if json {
        let object = |(name, file): &(&str, read::Checked)| {
            serde_json::json!({
                "data": name, "file": file.path, "place": file.place, "by_checksum": file.by_checksum,
                "fault": file.fault.as_ref().map(ToString::to_string),
            })
        };
        print(serde_json::to_string_pretty(&rows.iter().map(object).collect::<Vec<_>>()).unwrap_or_default());
    } else {
        let mut table = super::table(["data", "file", "checked by", "verdict"]);
        for (name, file) in &rows {
            table.add_row([*name, file.path.as_str(), by(file.by_checksum), verdict(&file.fault).as_str()]);
        }
        print(table);
    }
    let faulty = rows.iter().filter(|(_, file)| file.fault.is_some()).count();
    if faulty > 0 {
        let message = "kiln data fetch replaces what it can";
        return Err(anyhow!("{faulty} of {} files have a fault; {message}", rows.len())).failed();
    }
    global.say(format_args!("all {} files are sound", rows.len()));
    Ok(())
}

/// A bar per download, and lines about the rest, on stderr.
struct Bars<'a> {
    global: &'a Global,
    bar: ProgressBar,
}

impl<'a> Bars<'a> {
    fn new(global: &'a Global) -> Self {
        Self { global, bar: ProgressBar::hidden() }
    }
}

impl Progress for Bars<'_> {
    fn begin(&mut self, name: &str, total: u64, done: u64) {
        if self.global.quiet {
            return;
        }
        let style = ProgressStyle::with_template("{msg}  {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
        self.bar = ProgressBar::new(total).with_message(name.to_owned()).with_position(done);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }

    fn at(&mut self, done: u64) {
        self.bar.set_position(done);
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn say(&mut self, line: &str) {
        self.global.say(line);
    }
}
