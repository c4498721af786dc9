//! Names for places in the tree: `optim.transforms[0].name`.
use std::fmt;

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an element of an array.
    Index(usize),
}

/// The steps of a path such as `optim.transforms[0].name`; none if it is not one.
pub fn steps(path: &str) -> Option<Vec<Step>> {
    KeyPath::parse(path).map(|path| path.0)
}

/// The way from the root to a value; the root's own path is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPath(Vec<Step>);

impl KeyPath {
    pub(crate) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The first `length` steps.
    pub(crate) fn prefix(&self, length: usize) -> Self {
        Self(self.0[..length].to_vec())
    }

    /// The table that holds the value, and the rest of the path: the last key with the indices behind it.
    pub(crate) fn split_last_key(&self) -> (Self, Self) {
        let at = self.0.iter().rposition(|step| matches!(step, Step::Key(_))).unwrap_or(0);
        (self.prefix(at), Self(self.0[at..].to_vec()))
    }

    /// The choice that a `name` belongs to: `model.name` names `model`. Other paths stay as they are.
    pub(crate) fn without_name(&self) -> Self {
        match self.0.split_last() {
            Some((Step::Key(key), choice)) if key == "name" && !choice.is_empty() => Self(choice.to_vec()),
            _ => self.clone(),
        }
    }

    /// Reads the form that `Display` writes. A quoted key may hold anything but quotes and backslashes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(index) = rest.strip_prefix('[').filter(|_| !steps.is_empty()) {
                let (digits, after) = index.split_once(']')?;
                steps.push(Step::Index(digits.parse().ok()?));
                rest = after;
                continue;
            }
            if !steps.is_empty() {
                rest = rest.strip_prefix('.')?;
            }
            let (key, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => rest.split_at(rest.find(|c| !is_bare(c)).unwrap_or(rest.len())),
            };
            if key.is_empty() {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
        Some(Self(steps))
    }
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if position > 0 {
                        write!(f, ".")?;
                    }
                    if !key.is_empty() && key.chars().all(is_bare) {
                        write!(f, "{key}")?
                    } else {
                        write!(f, "{key:?}")?
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_are_inverse() {
        for text in ["", "a", "optim.transforms[0].name", "grid[1][2]", "set.\"optim.lr\".x-y_z"] {
            assert_eq!(KeyPath::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_path_is_none() {
        for text in [".", "a.", ".a", "a..b", "a[", "a[x]", "[0]", "a b", "\"a", "a]"] {
            assert_eq!(KeyPath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_stands_for_its_choice() {
        let shown = |text| KeyPath::parse(text).unwrap().without_name().to_string();
        assert_eq!(shown("model.name"), "model");
        assert_eq!(shown("model.name.x"), "model.name.x");
        assert_eq!(shown("name"), "name");
    }
}
