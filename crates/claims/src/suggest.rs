//! "Did you mean …?"

/// ` did you mean "x"?` for the nearest of `known`, followed by the whole list; only the list if none is near.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| {
            *distance < name.chars().count().min(4) && *distance <= name.chars().count().div_ceil(3)
        });
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    match nearest {
        Some((_, name)) => format!("did you mean \"{name}\"? known: {list}"),
        None => format!("known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn near_and_far() {
        assert_eq!(hint("frist", ["at", "first"]), "did you mean \"first\"? known: at, first");
        assert_eq!(hint("a3", ["A1", "A3"]), "did you mean \"A3\"? known: A1, A3");
        assert_eq!(hint("entirely_else", ["at", "first"]), "known: at, first");
        assert_eq!(hint("X", ["A", "C"]), "known: A, C");
        assert_eq!(hint("x", []), "known: none");
    }
}
