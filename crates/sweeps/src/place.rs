//! Names for places in the file, as its errors need them: `grid."optim.lr"[1]`.

/// The place of a key in the table at `table`.
pub(crate) fn of_key(table: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if table.is_empty() { key } else { format!("{table}.{key}") }
}

/// The place of an element of the list at `list`.
pub(crate) fn of_index(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}
