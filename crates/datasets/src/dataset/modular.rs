//! Arithmetic modulo p: all pairs, some of them for training.
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, MAX_VALUES};
use crate::{
    Asks, BatchSource, DataError, Fractions, Group, InMemory, Input, InputSpec, Invalid, Matrix, Partition, Spec,
    Split, Target, field,
};

/// The operation of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `a + b mod p`.
    #[default]
    Add,
    /// `a − b mod p`.
    Sub,
    /// `a · b mod p`, p prime.
    Mul,
    /// `a · b⁻¹ mod p`, p prime, `b ≠ 0`: division in the field, not of integers.
    Div,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
        }
    }

    /// Whether it lives in the multiplicative group, which is cyclic when p is prime.
    fn is_multiplicative(self) -> bool {
        matches!(self, Self::Mul | Self::Div)
    }

    fn is_commutative(self) -> bool {
        matches!(self, Self::Add | Self::Mul)
    }

    fn apply(self, a: usize, b: usize, p: usize) -> usize {
        match self {
            Self::Add => (a + b) % p,
            Self::Sub => (a + p - b) % p,
            Self::Mul => a * b % p,
            Self::Div => a * field::inverse(b, p) % p,
        }
    }
}

/// How a pair reaches the model. The pair (3, 4) modulo 5:
///
/// | encoding | row | input |
/// |---|---|---|
/// | `one_hot` | `[3, 9]` | ones at a and p + b of a vector of width 2p = 10, kept as indices |
/// | `pair` | `[3, 4]` | two tokens of a vocabulary of p = 5 |
/// | `tokens` | `[3, 4, 5]` | three tokens `a b =` of a vocabulary of p + 1 = 6; `=` is token p |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Two one-hot vectors side by side, as places of the ones.
    #[default]
    OneHot,
    /// The tokens `a b`.
    Pair,
    /// The tokens `a b =`.
    Tokens,
}

impl Encoding {
    fn spec(self, p: usize) -> InputSpec {
        match self {
            Self::OneHot => InputSpec::OneHot { width: 2 * p, hot: 2 },
            Self::Pair => InputSpec::Tokens { vocabulary: p, length: 2 },
            Self::Tokens => InputSpec::Tokens { vocabulary: p + 1, length: 3 },
        }
    }

    fn rows(self, pairs: &[(usize, usize)], p: usize) -> Input {
        let rows = |row: &dyn Fn(usize, usize) -> Vec<usize>, columns| {
            let values = pairs.iter().flat_map(|&(a, b)| row(a, b)).map(|index| index as i32).collect();
            Matrix::new(values, columns)
        };
        match self {
            Self::OneHot => Input::OneHot(rows(&|a, b| vec![a, p + b], 2)),
            Self::Pair => Input::Tokens(rows(&|a, b| vec![a, b], 2)),
            Self::Tokens => Input::Tokens(rows(&|a, b| vec![a, b, p], 3)),
        }
    }
}

/// Parameters of modular arithmetic.
///
/// The rows are the pairs `(a, b)` with a and b in `0..p`: p² of them, p(p − 1) for division, (p − 1)² with
/// `drop_zero`. The class of a pair is the result, so there are p classes. The split is described at
/// [`Fractions`]. For commutative operations each evaluation split is also judged in two groups: `swap_seen`,
/// the pairs (a, b) whose swap (b, a) is a training row, and `swap_unseen`, the others (with a = b among
/// them), because a network that is symmetric in its operands answers the first without having learnt the
/// operation.
///
/// The defaults are the main setting of Prieto et al. 2025 (arXiv:2501.04697): addition modulo 113, 40 % of
/// the pairs, concatenated one-hot vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModularConfig {
    /// `add`, `sub`, `mul` or `div`.
    pub op: Operation,
    /// The modulus, at least 2; a prime for `mul` and `div`.
    #[schemars(range(min = 2))]
    pub p: usize,
    /// Share of the pairs in the training part.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: f64,
    /// Share of the training part that validates instead.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub val_fraction: f64,
    /// Whether pairs with a = 0 or b = 0 are left out; classes and widths stay as they are.
    pub drop_zero: bool,
    /// How a pair reaches the model.
    pub encoding: Encoding,
}

impl Default for ModularConfig {
    fn default() -> Self {
        Self {
            op: Operation::Add,
            p: 113,
            fraction: 0.4,
            val_fraction: 0.0,
            drop_zero: false,
            encoding: Encoding::OneHot,
        }
    }
}

impl Entry for ModularConfig {
    const SUMMARY: &'static str = "all pairs a, b with a + b, a - b, a * b or a / b modulo p";
    const PAPER: &'static str = "Power et al. 2022, arXiv:2201.02177";
}

impl ModularConfig {
    /// The pairs in the order of the full table, a outermost.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let a_from = usize::from(self.drop_zero);
        let b_from = usize::from(self.drop_zero || self.op == Operation::Div);
        (a_from..self.p).flat_map(|a| (b_from..self.p).map(move |b| (a, b))).collect()
    }

    fn count(&self) -> usize {
        let zeros = |dropped: bool| usize::from(dropped);
        (self.p - zeros(self.drop_zero)) * (self.p - zeros(self.drop_zero || self.op == Operation::Div))
    }

    fn fractions(&self) -> Fractions {
        Fractions { train: self.fraction, val: self.val_fraction }
    }

    /// Splits the rows of an evaluation split by whether the swapped pair is a training row.
    fn swap_groups(pairs: &[(usize, usize)], train: &[usize], rows: &[usize], p: usize) -> Vec<Group> {
        let mut in_train = vec![false; p * p];
        for &row in train {
            let (a, b) = pairs[row];
            in_train[a * p + b] = true;
        }
        let (seen, unseen) = (0..rows.len()).partition(|&position| {
            let (a, b) = pairs[rows[position]];
            a != b && in_train[b * p + a]
        });
        vec![Group { name: "swap_seen".into(), answers: seen }, Group { name: "swap_unseen".into(), answers: unseen }]
    }
}

impl Dataset for ModularConfig {
    fn check(&self) -> Result<(), Invalid> {
        let p = self.p;
        if p < 2 {
            return Err(Invalid::new("p", format!("p = {p} is out of range; expected a modulus of at least 2")));
        }
        let largest = (MAX_VALUES / 4).isqrt();
        if p > largest {
            return Err(Invalid::new("p", format!("p = {p} makes p² pairs; expected a modulus of at most {largest}")));
        }
        if self.op.is_multiplicative() && !field::is_prime(p) {
            let (below, above) = field::neighbouring_primes(p);
            let op = self.op.name();
            return Err(Invalid::new(
                "p",
                format!("op = \"{op}\" needs a prime modulus, but p = {p} is not prime; try {below} or {above}"),
            ));
        }
        self.fractions().check(self.count())
    }

    fn spec(&self) -> Spec {
        Spec { input: self.encoding.spec(self.p), asks: Asks::Class { classes: self.p } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let p = self.p;
        let pairs = self.pairs();
        let classes = pairs.iter().map(|&(a, b)| self.op.apply(a, b, p) as i32).collect();
        let partition = Partition::seeded(pairs.len(), self.fractions(), seed);
        let train = partition.rows(Split::Train).to_vec();

        let mut source = InMemory::new(self.spec(), self.encoding.rows(&pairs, p), Target::Classes(classes), partition);
        if self.op.is_commutative() {
            source = source.with_groups(|rows| Self::swap_groups(&pairs, &train, rows, p));
        }
        if self.op.is_multiplicative() {
            source = source.with_discrete_log(field::powers_of_primitive_root(p));
        }
        Ok(Box::new(source))
    }
}

#[cfg(test)]
mod tests;
