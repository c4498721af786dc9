//! The tree of values, each with the place it was written at.
use std::fmt;

use toml::value::Datetime;

use crate::{
    error::Place,
    path::{KeyPath, Step},
    source::Span,
};

/// A value and its place. A table's place is its header (`[optim]`), its braces, or, where only dotted keys open it,
/// the key that does.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(Datetime),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in the order they were first written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Item>);

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        self.0.iter().find(|item| item.key == key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.0.iter_mut().find(|item| item.key == key)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Item> {
        let position = self.0.iter().position(|item| item.key == key)?;
        Some(self.0.remove(position))
    }

    /// All items, `name` first: the registries read it before the parameters.
    pub(crate) fn name_first(&self) -> impl Iterator<Item = &Item> {
        let (name, rest): (Vec<_>, Vec<_>) = self.0.iter().partition(|item| item.key == "name");
        name.into_iter().chain(rest)
    }

    pub(crate) fn to_toml(&self) -> toml::Table {
        self.0.iter().map(|item| (item.key.clone(), item.node.to_toml())).collect()
    }
}

impl Node {
    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Where errors about the value, which stands at `path`, point. The whole document has a name but no caret.
    pub(crate) fn place(&self, path: &KeyPath) -> Place {
        if path.is_root() { Place::Source(self.span.source.clone()) } else { Place::Span(self.span.clone()) }
    }

    fn child(&self, step: &Step) -> Option<&Node> {
        match (&self.value, step) {
            (Value::Table(table), Step::Key(key)) => table.get(key).map(|item| &item.node),
            (Value::Array(array), Step::Index(index)) => array.get(*index),
            _ => None,
        }
    }

    /// Follows `path` as far as it leads; returns the last node on the way and how many steps led to it.
    pub(crate) fn follow(&self, path: &KeyPath) -> (&Node, usize) {
        let mut node = self;
        for (taken, step) in path.steps().iter().enumerate() {
            match node.child(step) {
                Some(child) => node = child,
                None => return (node, taken),
            }
        }
        (node, path.steps().len())
    }

    /// The node at `path`, if there is one.
    pub(crate) fn at(&self, path: &KeyPath) -> Option<&Node> {
        let (node, taken) = self.follow(path);
        (taken == path.steps().len()).then_some(node)
    }

    /// Calls `visit` on everything that is not a table, in order.
    pub(crate) fn each_leaf<'a>(&'a self, path: &KeyPath, visit: &mut impl FnMut(KeyPath, &'a Node)) {
        match &self.value {
            Value::Table(table) => table.0.iter().for_each(|item| item.node.each_leaf(&path.key(&item.key), visit)),
            _ => visit(path.clone(), self),
        }
    }

    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::String(text) => toml::Value::String(text.clone()),
            Value::Integer(integer) => toml::Value::Integer(*integer),
            Value::Float(float) => toml::Value::Float(*float),
            Value::Boolean(boolean) => toml::Value::Boolean(*boolean),
            Value::Datetime(datetime) => toml::Value::Datetime(*datetime),
            Value::Array(array) => toml::Value::Array(array.iter().map(Node::to_toml).collect()),
            Value::Table(table) => toml::Value::Table(table.to_toml()),
        }
    }
}

/// The value as an error message calls it: its kind, and the value itself if it is short by nature.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "string {text:?}"),
            Self::Integer(integer) => write!(f, "integer {integer}"),
            Self::Float(float) => write!(f, "float {float:?}"),
            Self::Boolean(boolean) => write!(f, "boolean {boolean}"),
            Self::Datetime(datetime) => write!(f, "date {datetime}"),
            Self::Array(_) => write!(f, "an array"),
            Self::Table(_) => write!(f, "a table"),
        }
    }
}
