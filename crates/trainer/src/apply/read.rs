//! Numbers as a person writes them.

/// Numbers separated by commas or blanks; `-inf` and `nan` are numbers.
///
/// # Errors
/// If one is none; the message says which.
pub fn numbers<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<f64>, String> {
    let words = texts.into_iter().flat_map(|text| text.split([',', ' ', '\t', ';'])).filter(|word| !word.is_empty());
    words.enumerate().map(|(i, word)| number(word).map_err(|problem| format!("number {}: {problem}", i + 1))).collect()
}

fn number(word: &str) -> Result<f64, String> {
    word.trim().parse().map_err(|_| format!("\"{}\" is not a number", word.trim()))
}

/// Rows of numbers from CSV text: one row a line, fields separated by commas. Empty lines and lines that begin with `#` are
/// passed over, and so is a first line without a single number, which names the columns. Rows may differ in length.
///
/// # Errors
/// If a field is not a number or there are no rows; the message says which line and field.
pub fn csv(text: &str) -> Result<Vec<Vec<f64>>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with('#'));
    let mut rows = Vec::new();
    for (place, (line, fields)) in lines.enumerate() {
        let fields: Vec<Result<f64, String>> = fields.split(',').map(number).collect();
        if place == 0 && fields.iter().all(Result::is_err) {
            continue;
        }
        let row: Result<Vec<f64>, String> = fields
            .into_iter()
            .enumerate()
            .map(|(i, field)| field.map_err(|problem| format!("line {}, field {}: {problem}", line + 1, i + 1)))
            .collect();
        rows.push(row?);
    }
    if rows.is_empty() { Err("there are no rows of numbers".into()) } else { Ok(rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_any_common_form() {
        assert_eq!(numbers(["1", "-2.5e1,3", " 4 ; -inf"]), Ok(vec![1.0, -25.0, 3.0, 4.0, f64::NEG_INFINITY]));
        assert_eq!(numbers(["1,2", "x3"]).unwrap_err(), "number 3: \"x3\" is not a number");
        assert_eq!(numbers([]), Ok(Vec::new()));
    }

    #[test]
    fn csv_rows() {
        assert_eq!(csv("# scores\na, b\n1, -2\n\n3,4,5\n"), Ok(vec![vec![1.0, -2.0], vec![3.0, 4.0, 5.0]]));
        assert_eq!(csv("1,2\n3,four\n").unwrap_err(), "line 2, field 2: \"four\" is not a number");
        assert_eq!(csv("a,b\nc,d\n").unwrap_err(), "line 2, field 1: \"c\" is not a number");
        assert_eq!(csv("1,\n").unwrap_err(), "line 1, field 2: \"\" is not a number");
        assert_eq!(csv("# nothing\n").unwrap_err(), "there are no rows of numbers");
    }
}
