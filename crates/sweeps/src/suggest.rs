//! Suggestions for misspelt names.

/// `did you mean "x"?` for the nearest of `known`, followed by the whole list; only the list if none is near.
pub fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let list = known.join(", ");
    match kiln_config::nearest(wrong, &known) {
        Some(name) => format!("did you mean \"{name}\"? known: {list}"),
        None => format!("known: {list}"),
    }
}
