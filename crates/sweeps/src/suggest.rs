//! "Did you mean …?"

/// `did you mean "x"?` for the nearest of `known`, followed by the whole list; only the list if none is near.
pub fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    match nearest(wrong, known) {
        Some(name) => format!("did you mean \"{name}\"? known: {list}"),
        None => format!("known: {list}"),
    }
}

/// The word that was likely meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= name.chars().count().max(wrong.chars().count()) / 3)
        .map(|(_, name)| name)
}
