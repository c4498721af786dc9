//! What is left of a row once its removed entries are gone.
use super::Real;

/// Which entries of the rows are kept, on the host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept<'a> {
    /// All of them.
    All,
    /// The first `count[row]`.
    Prefix(&'a [usize]),
    /// Those whose byte is not 0 (`[rows, n]`).
    Mask(&'a [u8]),
}

impl Kept<'_> {
    fn keeps(&self, row: usize, n: usize, entry: usize) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(count) => entry < count[row],
            Self::Mask(mask) => mask[row * n + entry] != 0,
        }
    }
}

/// What kind of row is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No entry at all.
    Empty,
    /// Finite scores only.
    Finite,
    /// This many scores of +∞, and no NaN.
    Infinite(usize),
    /// At least one NaN.
    Nan,
}

/// Collects the places of the row's kept scores, leaving out those of −∞, and says what they are.
pub(crate) fn settle<T: Real>(x: &[T], kept: Kept<'_>, row: usize, places: &mut Vec<usize>) -> Kind {
    places.clear();
    let (mut nan, mut infinite) = (false, 0);
    for (entry, &score) in x.iter().enumerate() {
        if score != T::neg_infinity() && kept.keeps(row, x.len(), entry) {
            places.push(entry);
            nan |= score.is_nan();
            infinite += usize::from(score == T::infinity());
        }
    }
    match (places.is_empty(), nan, infinite) {
        (true, _, _) => Kind::Empty,
        (_, true, _) => Kind::Nan,
        (_, _, 0) => Kind::Finite,
        _ => Kind::Infinite(infinite),
    }
}

/// The entries of `x` at `places`, next to each other.
pub(crate) fn gather<'a, T: Copy>(x: &[T], places: &[usize], room: &'a mut [T]) -> &'a mut [T] {
    let room = &mut room[..places.len()];
    for (to, &place) in room.iter_mut().zip(places) {
        *to = x[place];
    }
    room
}

/// Puts `values` back to their `places`.
pub(crate) fn scatter<T: Copy>(values: &[T], places: &[usize], y: &mut [T]) {
    for (&value, &place) in values.iter().zip(places) {
        y[place] = value;
    }
}
