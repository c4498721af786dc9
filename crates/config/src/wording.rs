//! How serde's terms are said to a person, and which valid name lies nearest to a wrong one.
use serde::de::Unexpected;

/// What a visitor expects, in words of TOML instead of Rust.
pub(crate) fn expected(serde: &str) -> String {
    let fixed = match serde {
        "f64" | "f32" => "a number",
        "u64" | "usize" => "a whole number of at least 0",
        "i64" | "isize" => "a whole number",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "u8" => "a whole number from 0 to 255",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i16" => "a whole number from -32768 to 32767",
        "i8" => "a whole number from -128 to 127",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        "path string" => "a path in quotes",
        _ if serde.starts_with("struct ") => "a table",
        _ => serde,
    };
    fixed.to_owned()
}

/// What came instead.
pub(crate) fn found(unexpected: Unexpected) -> String {
    match unexpected {
        Unexpected::Bool(boolean) => format!("boolean {boolean}"),
        Unexpected::Signed(integer) => format!("integer {integer}"),
        Unexpected::Unsigned(integer) => format!("integer {integer}"),
        Unexpected::Float(float) => format!("float {float:?}"),
        Unexpected::Str(text) => format!("string {text:?}"),
        Unexpected::Seq => "an array".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// The candidate that `word` was most likely meant to be: few edits away for its length, or longer by an ending.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |candidate: &&'a str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let best = candidates.iter().min_by_key(|candidate| distance(candidate))?;
    let length = word.chars().count().max(best.chars().count());
    if distance(best) <= (length / 3).max(1) {
        return Some(best);
    }
    let mut longer =
        candidates.iter().filter(|candidate| word.len() >= 3 && candidate.to_lowercase().starts_with(&word));
    longer.next().filter(|_| longer.next().is_none()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let names = ["softmax", "stablemax", "sparsemax", "entmax"];
        assert_eq!(nearest("sofmax", &names), Some("softmax"));
        assert_eq!(nearest("StableMax", &names), Some("stablemax"));
        assert_eq!(nearest("netmax", &names), Some("entmax"));
        assert_eq!(nearest("relu", &names), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn short_words_need_to_be_close() {
        assert_eq!(nearest("lrr", &["lr", "eps"]), Some("lr"));
        assert_eq!(nearest("eps", &["lr", "p"]), None);
        assert_eq!(nearest("weight", &["weight_decay", "lr"]), Some("weight_decay"));
        assert_eq!(nearest("step", &["steps_a", "steps_b"]), None);
    }
}
