//! Tables of dotted keys, read leaf by leaf. In TOML a key may be one quoted word (`"optim.lr"`) or a path of tables
//! (`optim.lr`); both mean the same setting.
use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::place;

/// What stands at a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf<T> {
    /// The dotted key of the config.
    pub(crate) key: String,
    /// Where it stands, below the table that was read: the same words, quoted as written.
    pub(crate) place: String,
    pub(crate) value: T,
}

/// A kind of leaf.
pub(crate) trait Leaves: Sized {
    /// What is expected at a key, for messages.
    const EXPECTED: &'static str;

    /// The leaf that is written as a list.
    fn from_list(values: Vec<Value>) -> Result<Self, String> {
        let _ = values;
        Err(format!("expected {}", Self::EXPECTED))
    }

    /// The leaf that is written as a table whose first key is `key`; `None` if such a table is one of further keys.
    fn from_entry(key: &str, value: &Value) -> Option<Result<Self, String>> {
        let _ = (key, value);
        None
    }

    /// What to say of a key below which something else stands, such as which word was likely meant.
    fn advice(key: &str) -> String {
        let _ = key;
        String::new()
    }
}

/// A value at the top of the table that may be something else than a leaf.
pub(crate) struct Plain(Value);

impl Plain {
    /// The value as a whole number of at least 0.
    pub(crate) fn whole(&self) -> Result<u64, String> {
        self.0.as_u64().ok_or_else(|| format!("expected a whole number of at least 0, found {}", self.0))
    }
}

/// Takes a key of the top table that is no key of the config; says whether it did.
type Take<'a> = dyn FnMut(&str, &Plain) -> Result<bool, String> + 'a;

/// Reads a table of leaves; `take` is asked first about the values at the top that are neither lists nor tables.
pub(crate) fn read_leaves<'de, D: Deserializer<'de>, T: Leaves>(
    deserializer: D,
    take: &mut Take<'_>,
) -> Result<Vec<Leaf<T>>, D::Error> {
    let mut leaves = Vec::new();
    let top =
        Branch { key: String::new(), place: String::new(), name: "", leaves: &mut leaves, take, kind: PhantomData };
    top.deserialize(deserializer)?;
    Ok(leaves)
}

/// A place of the tree: a leaf, or a table of further keys.
struct Branch<'a, 't, T> {
    key: String,
    place: String,
    /// The last word of the key.
    name: &'a str,
    leaves: &'a mut Vec<Leaf<T>>,
    take: &'a mut Take<'t>,
    kind: PhantomData<T>,
}

impl<T: Leaves> Branch<'_, '_, T> {
    fn refuse<E: Error>(&self, found: impl fmt::Display) -> E {
        E::custom(format!("expected {}, found {found}{}", T::EXPECTED, T::advice(self.name)))
    }

    /// A value that is neither list nor table.
    fn plain<E: Error>(self, value: Value) -> Result<(), E> {
        let top = self.key == self.name && !self.name.is_empty();
        let value = Plain(value);
        if top && (self.take)(self.name, &value).map_err(E::custom)? {
            return Ok(());
        }
        Err(self.refuse(&value.0))
    }

    fn push(self, value: T) {
        self.leaves.push(Leaf { key: self.key, place: self.place, value });
    }
}

impl<'de, T: Leaves> DeserializeSeed<'de> for Branch<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Leaves> Visitor<'de> for Branch<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.key.is_empty() { "a table" } else { T::EXPECTED })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.plain(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.plain(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.plain(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.plain(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.plain(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            values.push(value);
        }
        let read = T::from_list(values).map_err(|message| A::Error::custom(message + &T::advice(self.name)))?;
        self.push(read);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<(), A::Error> {
        while let Some(name) = table.next_key::<String>()? {
            if !self.key.is_empty() && T::from_entry(&name, &Value::Null).is_some() {
                let value: Value = table.next_value_seed(Entry::<T> { name: &name, kind: PhantomData })?;
                let leaf = T::from_entry(&name, &value).and_then(Result::ok);
                if let Some(other) = table.next_key::<String>()? {
                    return Err(A::Error::custom(format!("expected one of \"{name}\" and \"{other}\", found both")));
                }
                self.leaves.extend(leaf.map(|value| Leaf { key: self.key, place: self.place, value }));
                return Ok(());
            }
            let key = if self.key.is_empty() { name.clone() } else { format!("{}.{name}", self.key) };
            let place = place::of_key(&self.place, &name);
            table.next_value_seed(Branch {
                key,
                place,
                name: &name,
                leaves: &mut *self.leaves,
                take: &mut *self.take,
                kind: PhantomData::<T>,
            })?;
        }
        Ok(())
    }
}

/// The value of a leaf that is written as a table, checked while its place is known.
struct Entry<'a, T> {
    name: &'a str,
    kind: PhantomData<T>,
}

impl<'de, T: Leaves> DeserializeSeed<'de> for Entry<'_, T> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
        match T::from_entry(self.name, &value) {
            Some(Err(message)) => Err(D::Error::custom(message)),
            _ => Ok(value),
        }
    }
}
