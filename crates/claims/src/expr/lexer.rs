//! Text to tokens.
use std::{fmt, ops::Range};

use super::{ExprError, Metric, Relation};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Word(String),
    Metric(Metric),
    Relation(Relation),
    Plus,
    Minus,
    Star,
    Slash,
    Open,
    Close,
    Comma,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "the number {number}"),
            Self::Word(word) => write!(f, "\"{word}\""),
            Self::Metric(metric) => write!(f, "\"{metric}\""),
            Self::Relation(relation) => write!(f, "\"{relation}\""),
            Self::Plus => f.write_str("\"+\""),
            Self::Minus => f.write_str("\"-\""),
            Self::Star => f.write_str("\"*\""),
            Self::Slash => f.write_str("\"/\""),
            Self::Open => f.write_str("\"(\""),
            Self::Close => f.write_str("\")\""),
            Self::Comma => f.write_str("\",\""),
            Self::End => f.write_str("the end of the text"),
        }
    }
}

/// All tokens with their places, the last one [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, Range<usize>)>, ExprError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = source[at..].chars().next() {
        let rest = &source[at..];
        let (token, length) = match next {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '0'..='9' => number(source, at)?,
            c if c.is_ascii_alphabetic() => word_or_metric(source, at)?,
            _ => symbol(rest).ok_or_else(|| {
                let hint = match next {
                    '=' => "; equality is written ==",
                    '!' => "; there is no \"not\": write the comparison that should hold",
                    '%' => "; accuracies and shares are fractions: 95 % is 0.95",
                    '.' => "; a number starts with a digit: 0.5",
                    _ => "",
                };
                ExprError::new(source, at..at + next.len_utf8(), format!("{next:?} has no meaning here{hint}"))
            })?,
        };
        tokens.push((token, at..at + length));
        at += length;
    }
    tokens.push((Token::End, source.len()..source.len()));
    Ok(tokens)
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    const SYMBOLS: [(&str, Token); 12] = [
        ("<=", Token::Relation(Relation::AtMost)),
        (">=", Token::Relation(Relation::AtLeast)),
        ("==", Token::Relation(Relation::Equal)),
        ("<", Token::Relation(Relation::Below)),
        (">", Token::Relation(Relation::Above)),
        ("+", Token::Plus),
        ("-", Token::Minus),
        ("*", Token::Star),
        ("/", Token::Slash),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
    ];
    SYMBOLS.into_iter().find(|(text, _)| rest.starts_with(text)).map(|(text, token)| (token, text.len()))
}

/// Digits, an optional fraction, an optional exponent.
fn number(source: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let bytes = &source.as_bytes()[at..];
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        if digits(length + 1 + sign) > 0 {
            length += 1 + sign + digits(length + 1 + sign);
        }
    }
    let text = &source[at..at + length];
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Token::Number(number), length)),
        _ => Err(ExprError::new(source, at..at + length, format!("{text} is no number that fits 64 bits"))),
    }
}

/// A word; or, if a dot follows it, `RUN.metric` with an optional `[part]`.
fn word_or_metric(source: &str, at: usize) -> Result<(Token, usize), ExprError> {
    let word = identifier(&source[at..]);
    let after = at + word.len();
    if !source[after..].starts_with('.') {
        return Ok((Token::Word(word.to_owned()), word.len()));
    }
    let metric = identifier(&source[after + 1..]);
    if metric.is_empty() {
        let message = format!("the metric's name is missing; expected for example {word}.test_accuracy");
        return Err(ExprError::new(source, at..after + 1, message));
    }
    let mut end = after + 1 + metric.len();
    if source[end..].starts_with('[') {
        match source[end..].find(']') {
            Some(length) => end += length + 1,
            None => return Err(ExprError::new(source, end..end + 1, "this bracket is never closed")),
        }
    }
    let metric = Metric { run: word.to_owned(), name: source[after + 1..end].to_owned() };
    Ok((Token::Metric(metric), end - at))
}

/// The longest start of `text` that is an identifier: a letter, then letters, digits and underscores.
pub(crate) fn identifier(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}
