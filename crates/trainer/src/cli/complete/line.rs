//! A line of a shell as its words.

/// The words of a line up to the cursor, quotes and backslashes taken away; the last one may be unfinished or empty.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut begun, mut quote) = (false, None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t' | '\n') => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (None, '\'' | '"') => (quote, begun) = (Some(letter), true),
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '\\') => {
                // In double quotes a backslash stands for itself, unless it hides one of these.
                match letters.peek() {
                    Some(&next) if quote.is_none() || "\"\\$`".contains(next) => {
                        word.push(next);
                        letters.next();
                    }
                    _ => word.push('\\'),
                }
                begun = true;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_as_a_shell_sees_them() {
        for (line, words) in [
            ("", vec![""]),
            ("kiln ", vec!["kiln", ""]),
            ("kiln  tr", vec!["kiln", "tr"]),
            ("kiln --set 'a b", vec!["kiln", "--set", "a b"]),
            ("kiln \"a\\\"b\\c\" x", vec!["kiln", "a\"b\\c", "x"]),
            ("kiln a\\ b '' ", vec!["kiln", "a b", "", ""]),
            ("kiln x\\", vec!["kiln", "x\\"]),
            ("kiln 'é' ü", vec!["kiln", "é", "ü"]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
