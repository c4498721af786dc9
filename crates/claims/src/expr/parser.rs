//! Tokens to a tree, by recursive descent.
use std::ops::Range;

use super::{
    Comparison, Event, Expr, ExprError, Metric, Operator, Relation, Steps, Summary,
    lexer::{Token, tokens},
};
use crate::suggest::hint;

/// Longer texts are refused; with [`MAX_DEPTH`] this bounds the recursion of everything that walks a tree.
const MAX_LENGTH: usize = 2000;
const MAX_DEPTH: usize = 64;
const FUNCTIONS: [&str; 10] = ["abs", "at", "end", "first", "greatest", "least", "max", "mean", "min", "slowest_rise"];

type Parsed<T> = Result<T, ExprError>;

/// Reads a whole condition.
pub(super) fn comparison(source: &str) -> Parsed<Comparison> {
    let mut parser = Parser::new(source)?;
    let first = parser.side()?;
    let mut links = Vec::new();
    while let Token::Relation(relation) = *parser.peek() {
        let place = parser.place();
        parser.advance();
        let side = parser.side()?;
        let left = links.last().map_or(&first, |(_, side)| side);
        if relation != Relation::Equal && (*left == Expr::Never || side == Expr::Never) {
            return Err(parser.error(place, "nothing is below or above `never`; it can only be compared with =="));
        }
        links.push((relation, side));
    }
    if links.is_empty() {
        let message = format!("expected a comparison (<=, <, >=, > or ==), found {}", parser.peek());
        return Err(parser.error(parser.place(), message));
    }
    parser.end()?;
    Ok(Comparison { first, links })
}

/// Reads a number that is compared with nothing.
pub(super) fn expression(source: &str) -> Parsed<Expr> {
    let mut parser = Parser::new(source)?;
    let expr = parser.sum()?;
    parser.end()?;
    Ok(expr)
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Parsed<Self> {
        if source.len() > MAX_LENGTH {
            let message = format!("the text has {} bytes; at most {MAX_LENGTH} are read", source.len());
            return Err(ExprError::new(source, 0..0, message));
        }
        Ok(Self { source, tokens: tokens(source)?, next: 0, depth: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn place(&self) -> Range<usize> {
        self.tokens[self.next].1.clone()
    }

    /// Takes the next token; the end is never passed.
    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    fn error(&self, place: Range<usize>, message: impl Into<String>) -> ExprError {
        ExprError::new(self.source, place, message)
    }

    fn expect(&mut self, token: Token, why: &str) -> Parsed<()> {
        if self.take(&token) {
            return Ok(());
        }
        Err(self.error(self.place(), format!("expected {token} {why}, found {}", self.peek())))
    }

    fn end(&self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            other => Err(self.error(self.place(), format!("expected the end of the text, found {other}"))),
        }
    }

    /// One side of a comparison: a sum, or `never` alone.
    fn side(&mut self) -> Parsed<Expr> {
        if *self.peek() == Token::Word("never".into()) {
            self.advance();
            return Ok(Expr::Never);
        }
        self.sum()
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Token::Plus => Operator::Add,
                Token::Minus => Operator::Subtract,
                _ => return Ok(left),
            };
            self.advance();
            left = Expr::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Token::Star => Operator::Multiply,
                Token::Slash => Operator::Divide,
                _ => return Ok(left),
            };
            self.advance();
            left = Expr::Binary(operator, Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(self.place(), format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let parsed = if self.take(&Token::Minus) { Ok(Expr::Negate(Box::new(self.unary()?))) } else { self.primary() };
        self.depth -= 1;
        parsed
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let place = self.place();
        match self.advance() {
            Token::Number(number) => Ok(Expr::Number(number)),
            Token::Open => {
                let inner = self.sum()?;
                self.expect(Token::Close, "to close the parenthesis")?;
                Ok(inner)
            }
            Token::Word(word) => match word.as_str() {
                "margin" => Ok(Expr::Margin),
                "never" => Err(self.error(place, "`never` must be a whole side of ==, as in first(…) == never")),
                function => self.call(function, place),
            },
            Token::Metric(metric) => {
                let message = format!(
                    "a metric is a curve, not a number; read it with an event: at({metric}, step), end({metric}), \
                     max({metric})"
                );
                Err(self.error(place, message))
            }
            other => Err(self.error(place, format!("expected a number, an event or \"(\", found {other}"))),
        }
    }

    fn call(&mut self, function: &str, place: Range<usize>) -> Parsed<Expr> {
        if !FUNCTIONS.contains(&function) {
            return Err(self.error(place, format!("unknown function \"{function}\"; {}", hint(function, FUNCTIONS))));
        }
        self.expect(Token::Open, &format!("after {function}"))?;
        let expr = match function {
            "abs" => Expr::Abs(Box::new(self.sum()?)),
            "least" => Expr::Least(self.arguments(function)?),
            "greatest" => Expr::Greatest(self.arguments(function)?),
            event => Expr::Event(self.event(event)?),
        };
        self.expect(Token::Close, &format!("to close {function}"))?;
        Ok(expr)
    }

    fn event(&mut self, name: &str) -> Parsed<Event> {
        let metric = self.metric(name)?;
        let summary = match name {
            "first" => {
                let place = self.place();
                let Token::Relation(relation) = self.advance() else {
                    let message = format!("first needs a comparison, as in first({metric} >= 0.95)");
                    return Err(self.error(place, message));
                };
                return Ok(Event::First { metric, relation, bound: Box::new(self.sum()?), steps: self.steps()? });
            }
            "at" => {
                self.expect(Token::Comma, &format!("and a step, as in at({metric}, 500)"))?;
                return Ok(Event::At { metric, step: Box::new(self.sum()?) });
            }
            "end" => return Ok(Event::End { metric }),
            "max" => Summary::Max,
            "min" => Summary::Min,
            "mean" => Summary::Mean,
            _ => Summary::SlowestRise,
        };
        Ok(Event::Over { summary, metric, steps: self.steps()? })
    }

    fn metric(&mut self, function: &str) -> Parsed<Metric> {
        let place = self.place();
        match self.advance() {
            Token::Metric(metric) => Ok(metric),
            other => {
                let instead = match function {
                    "max" => "; the larger of two numbers is greatest(x, y)",
                    "min" => "; the smaller of two numbers is least(x, y)",
                    _ => "",
                };
                let message = format!("{function} reads a metric, as in A1.test_accuracy, found {other}{instead}");
                Err(self.error(place, message))
            }
        }
    }

    /// `, from to to`, if a comma follows.
    fn steps(&mut self) -> Parsed<Option<Steps>> {
        if !self.take(&Token::Comma) {
            return Ok(None);
        }
        let from = Box::new(self.sum()?);
        self.expect(Token::Word("to".into()), "between the first and the last step")?;
        Ok(Some(Steps { from, to: Box::new(self.sum()?) }))
    }

    /// Two numbers or more.
    fn arguments(&mut self, function: &str) -> Parsed<Vec<Expr>> {
        let mut arguments = vec![self.sum()?];
        while self.take(&Token::Comma) {
            arguments.push(self.sum()?);
        }
        if arguments.len() < 2 {
            return Err(self.error(self.place(), format!("{function} compares two numbers or more")));
        }
        Ok(arguments)
    }
}
