//! A config as the user wrote it: a file, its base, and assignments on top.
use std::{marker::PhantomData, path::Path, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    assign::{check_arrays, parse_assignment},
    de::read_value,
    error::{ConfigError, Place, Problem},
    loader::{Loader, beside, read_text},
    merge::merge_tables,
    parse::parse_table,
    path::KeyPath,
    source::{Origin, Source, Span},
    tree::{Item, Node, Table, Value},
};

/// A merged config in which every value knows its [`Origin`].
///
/// Key paths are written as in TOML, with indices for arrays: `optim.lr`, `optim.transforms[0].name`.
#[derive(Clone, Debug)]
pub struct Document {
    /// Always a table. Its place is the file that was asked for, which errors of the whole document name.
    root: Node,
    /// What was merged into it, each layer as it was written, lowest first.
    layers: Vec<Node>,
}

/// A value that is not a table, as listed by [`Document::leaves`].
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Its key path.
    pub path: String,
    /// The value; arrays are listed whole.
    pub value: toml::Value,
    /// Where it was written.
    pub origin: Origin,
}

impl Document {
    /// Reads the file at `path`, and the base that it `extends`, through `loader`.
    ///
    /// `extends` is relative to the file that holds it; `..` is resolved by name, before links are followed. A base
    /// stands alone: it may not extend another.
    ///
    /// # Errors
    /// If a file cannot be read, is no UTF-8, no TOML, or empty; if `extends` is not a path in quotes, leads back to
    /// the file itself, or the base extends another file.
    pub fn load(path: impl AsRef<Path>, loader: &dyn Loader) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read_text(path, loader).map_err(|message| ConfigError::new(Problem::Other(message)))?;
        let (source, mut table) = parse_file(path, text)?;
        let Some(extends) = table.remove("extends") else { return Ok(Self::new(&source, table)) };
        let (base_source, mut base) = load_base(path, &extends, loader)?;
        let layers = vec![layer(&base_source, base.clone()), layer(&source, table.clone())];
        merge_tables(&mut base, table);
        Ok(Self { root: layer(&source, base), layers })
    }

    /// Reads `text`, called `name` in errors. It stands alone and may be empty.
    ///
    /// # Errors
    /// If the text is no TOML or extends a file.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::file(name, text);
        let table = parse_table(text, &source)?;
        match table.get("extends") {
            None => Ok(Self::new(&source, table)),
            Some(extends) => Err(refuse_extends(extends, "this text stands alone; it cannot extend a file")),
        }
    }

    fn new(source: &Arc<Source>, table: Table) -> Self {
        let root = layer(source, table);
        Self { layers: vec![root.clone()], root }
    }

    /// Lays one assignment, as in `--set optim.lr=3e-4`, over the document.
    ///
    /// The value is TOML (`3e-4`, `true`, `[128, 128]`, `{ name = "sgd" }`); a bare word is a string.
    ///
    /// # Errors
    /// If `assignment` is not `key.path=value` or goes into an array. Whether the key exists is for the schema to say,
    /// in [`deserialize`](Self::deserialize).
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let (source, table) = parse_assignment(assignment)?;
        if let Value::Table(root) = &mut self.root.value {
            check_arrays(root, &table, &KeyPath::default())?;
            merge_tables(root, table.clone());
            self.layers.push(layer(&source, table));
        }
        Ok(())
    }

    /// Reads the whole document as a `T`.
    ///
    /// # Errors
    /// At the first key or value that does not fit `T`.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        read_value(PhantomData, &self.root, KeyPath::default())
    }

    /// Reads the value at `path` as a `T`.
    ///
    /// # Errors
    /// If there is nothing at `path`, and at the first key or value that does not fit `T`.
    pub fn deserialize_at<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConfigError> {
        match self.find(path) {
            Some((key_path, node)) => read_value(PhantomData, node, key_path),
            None => Err(self.error_at(path, "is missing", None)),
        }
    }

    /// An error about the value at `path`, for checks that need more than the value itself.
    ///
    /// Points at the value or, where the document leaves it to its default, at the innermost table around it, and then
    /// says that it is the default.
    pub fn error_at(&self, path: &str, message: &str, help: Option<&str>) -> ConfigError {
        let key_path = KeyPath::parse(path).unwrap_or_default();
        let (node, taken) = self.root.follow(&key_path);
        let message = match (key_path.is_root(), taken == key_path.steps().len()) {
            (true, _) => message.to_owned(),
            (false, true) => format!("{path}: {message}"),
            (false, false) => format!("{path} (default): {message}"),
        };
        let error = ConfigError::new(Problem::Other(message)).at(node.place(&key_path.prefix(taken)), &key_path);
        match help {
            Some(help) => error.help(help),
            None => error,
        }
    }

    /// Where the value at `path` was written; none if it was not. A table's is the header that opened it first.
    pub fn origin(&self, path: &str) -> Option<Origin> {
        self.find(path).map(|(_, node)| node.span.origin())
    }

    /// The value at `path`, if it was written.
    pub fn value(&self, path: &str) -> Option<toml::Value> {
        self.find(path).map(|(_, node)| node.to_toml())
    }

    /// What each layer says at `path`, the lowest layer first: the base, the file, the assignments. The last one is in effect,
    /// unless a later layer replaced a table around it.
    pub fn history(&self, path: &str) -> Vec<Leaf> {
        let Some(key_path) = KeyPath::parse(path).filter(|path| !path.is_root()) else { return Vec::new() };
        let found = self.layers.iter().filter_map(|layer| layer.at(&key_path));
        found
            .map(|node| Leaf { path: key_path.to_string(), value: node.to_toml(), origin: node.span.origin() })
            .collect()
    }

    /// The names of the layers, the lowest first: the base, the file, each assignment as it was given.
    pub fn layers(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.span.source.name.clone()).collect()
    }

    /// Every value that is not a table, in the order first written.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.root.each_leaf(&KeyPath::default(), &mut |path, node| {
            leaves.push(Leaf { path: path.to_string(), value: node.to_toml(), origin: node.span.origin() });
        });
        leaves
    }

    /// The merged config without its origins.
    pub fn to_table(&self) -> toml::Table {
        self.root.as_table().map(Table::to_toml).unwrap_or_default()
    }

    /// The merged config as TOML text.
    pub fn to_toml_string(&self) -> String {
        self.to_table().to_string()
    }

    fn find(&self, path: &str) -> Option<(KeyPath, &Node)> {
        let key_path = KeyPath::parse(path).filter(|path| !path.is_root())?;
        self.root.at(&key_path).map(|node| (key_path, node))
    }
}

fn layer(source: &Arc<Source>, table: Table) -> Node {
    Node { value: Value::Table(table), span: Span::whole(source) }
}

fn parse_file(path: &Path, text: String) -> Result<(Arc<Source>, Table), ConfigError> {
    let source = Source::file(path.display().to_string(), text);
    let table = parse_table(&source.text, &source)?;
    if table.0.is_empty() {
        let error = ConfigError::new(Problem::Other("the file is empty; expected at least one key".into()));
        return Err(error.at(Place::Source(source), &KeyPath::default()));
    }
    Ok((source, table))
}

/// Reads what the file at `path` extends.
fn load_base(path: &Path, extends: &Item, loader: &dyn Loader) -> Result<(Arc<Source>, Table), ConfigError> {
    let refuse = |message: String| {
        let place = Place::Span(extends.node.span.clone());
        ConfigError::new(Problem::Invalid(message)).at(place, &KeyPath::default().key("extends"))
    };
    let Value::String(written) = &extends.node.value else {
        return Err(refuse(format!("expected the path of one file in quotes, found {}", extends.node.value)));
    };
    let base_path = beside(path, written);
    let is_this_file = |other: &Path| other == beside(path, &path.file_name().unwrap_or_default().to_string_lossy());
    if is_this_file(&base_path) {
        return Err(refuse("a file cannot extend itself".into()));
    }
    let text = read_text(&base_path, loader)
        .map_err(|message| refuse(message).help("the path starts at the folder of the file it stands in"))?;
    let (source, base) = parse_file(&base_path, text)?;
    let Some(further) = base.get("extends") else { return Ok((source, base)) };
    let message = match &further.node.value {
        Value::String(next) if is_this_file(&beside(&base_path, next)) => {
            format!("this file and {} extend each other", path.display())
        }
        _ => format!("this file is the base of {} and cannot extend another; one base, one layer", path.display()),
    };
    Err(refuse_extends(further, &message))
}

fn refuse_extends(item: &Item, message: &str) -> ConfigError {
    let path = KeyPath::default().key("extends");
    ConfigError::new(Problem::Invalid(message.into())).at(Place::Span(item.key_span.clone()), &path)
}
