//! Which keys a query may see.
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use kiln_activations::Keep;

use super::Pattern;
use crate::kernel::Seen;

/// One side of an attention pass: where its tokens stand.
///
/// A place counts from a row's first kept token, so that padding on the left changes no output; a token of left padding
/// has a place below 0.
#[derive(Clone, Debug)]
pub struct Side {
    /// Place of each token in its sequence: `[rows, length]`, or `[1, length]` where all rows agree.
    pub places: Tensor<2, Int>,
    /// The first place, where all rows agree and places count up one by one.
    pub start: Option<usize>,
    /// Which tokens exist, `true` = kept: `[rows, length]`; `None` keeps all.
    pub kept: Option<Tensor<2, Bool>>,
    /// The document each token belongs to: `[rows, length]`.
    pub documents: Option<Tensor<2, Int>>,
}

impl Side {
    /// `length` tokens without padding, the first of them at `start`.
    pub fn range(start: usize, length: usize, device: &Device) -> Self {
        let places = Tensor::<1, Int>::arange(start as i64..(start + length) as i64, device).unsqueeze::<2>();
        Self { places, start: Some(start), kept: None, documents: None }
    }

    /// Tokens of which some are padding, left or right: `kept` is `[rows, length]`.
    pub fn padded(kept: Tensor<2, Bool>) -> Self {
        let [rows, length] = kept.dims();
        let device = kept.device();
        let index = Tensor::<1, Int>::arange(0..length as i64, &device).unsqueeze::<2>().expand([rows, length]);
        // The first kept place of each row; a row without any counts from its end.
        let first = index.clone().mask_fill(kept.clone().bool_not(), length as i64).min_dim(1);
        Self { places: index - first.expand([rows, length]), start: None, kept: Some(kept), documents: None }
    }

    /// The same tokens, the document of each known.
    #[must_use]
    pub fn in_documents(self, documents: Tensor<2, Int>) -> Self {
        Self { documents: Some(documents), ..self }
    }

    /// Number of tokens.
    pub fn length(&self) -> usize {
        self.places.dims()[1]
    }

    /// Some of the tokens.
    #[must_use]
    pub fn narrow(&self, start: usize, length: usize) -> Self {
        Self {
            places: self.places.clone().narrow(1, start, length),
            start: self.start.map(|first| first + start),
            kept: self.kept.clone().map(|kept| kept.narrow(1, start, length)),
            documents: self.documents.clone().map(|documents| documents.narrow(1, start, length)),
        }
    }

    /// The tokens of `self`, then those of `next`.
    ///
    /// # Panics
    /// If only one of them knows its documents.
    #[must_use]
    pub fn followed_by(&self, next: &Self) -> Self {
        let rows = self.rows().max(next.rows());
        let wide = |side: &Self| side.places.clone().expand([rows, side.length()]);
        let kept = (self.kept.is_some() || next.kept.is_some())
            .then(|| Tensor::cat(vec![self.all_kept(rows), next.all_kept(rows)], 1));
        let documents = match (&self.documents, &next.documents) {
            (Some(a), Some(b)) => Some(Tensor::cat(vec![a.clone(), b.clone()], 1)),
            (None, None) => None,
            _ => panic!("either all tokens know their document or none does"),
        };
        let start = self.start.filter(|start| next.start == Some(start + self.length()));
        Self { places: Tensor::cat(vec![wide(self), wide(next)], 1), start, kept, documents }
    }

    /// Some rows in the order asked for, such as the beams that go on.
    #[must_use]
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let places = match self.places.dims()[0] {
            1 => self.places.clone(),
            _ => self.places.clone().select(0, rows.clone()),
        };
        Self {
            places,
            start: self.start,
            kept: self.kept.clone().map(|kept| kept.select(0, rows.clone())),
            documents: self.documents.clone().map(|documents| documents.select(0, rows.clone())),
        }
    }

    /// The mask of kept tokens in the shape of heads, `[rows, 1, length, 1]`; `None` keeps all.
    pub fn kept_heads(&self) -> Option<Tensor<4, Bool>> {
        self.kept.clone().map(|kept| {
            let [rows, length] = kept.dims();
            kept.reshape([rows, 1, length, 1])
        })
    }

    fn rows(&self) -> usize {
        let of = |rows: Option<[usize; 2]>| rows.map_or(1, |[rows, _]| rows);
        let kept = of(self.kept.as_ref().map(Tensor::dims));
        self.places.dims()[0].max(kept).max(of(self.documents.as_ref().map(Tensor::dims)))
    }

    fn all_kept(&self, rows: usize) -> Tensor<2, Bool> {
        match &self.kept {
            Some(kept) => kept.clone(),
            None => Tensor::<2, Int>::ones([rows, self.length()], &self.places.device()).equal_elem(1),
        }
    }
}

/// What an attention pass may look at: a pattern over the places of queries and keys.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which places see which.
    pub pattern: Pattern,
    /// The tokens that ask.
    pub queries: Side,
    /// The tokens that are looked at.
    pub keys: Side,
}

impl Scope {
    /// A whole sequence of `length` tokens without padding, seen by itself.
    pub fn whole(pattern: Pattern, length: usize, device: &Device) -> Self {
        let side = Side::range(0, length, device);
        Self { pattern, queries: side.clone(), keys: side }
    }

    /// Sequences, some of whose tokens may be padding or belong to documents, seen by themselves.
    pub fn of(pattern: Pattern, side: Side) -> Self {
        Self { pattern, queries: side.clone(), keys: side }
    }

    /// The last query alone, which sees what it saw.
    #[must_use]
    pub fn last_query(&self) -> Self {
        let last = self.queries.length() - 1;
        Self { queries: self.queries.narrow(last, 1), ..self.clone() }
    }

    /// `length` tokens that come after `past` ones and look at both.
    pub fn after(pattern: Pattern, past: &Side, new: Side) -> Self {
        Self { pattern, keys: past.followed_by(&new), queries: new }
    }

    /// Number of queries and keys.
    pub fn lengths(&self) -> [usize; 2] {
        [self.queries.length(), self.keys.length()]
    }

    /// Whether nothing but padding hides a key.
    pub fn is_full(&self) -> bool {
        matches!(self.pattern, Pattern::Full)
    }

    /// Whether a query sees the kept keys up to its own place, and nothing else hides any.
    pub fn is_causal(&self) -> bool {
        matches!(self.pattern, Pattern::Causal)
    }

    /// Whether no query sees a later key.
    pub fn looks_back(&self) -> bool {
        matches!(self.pattern, Pattern::Causal | Pattern::Window { .. })
    }

    /// Which keys each query sees, where that follows from its index alone: all, or those up to its own place, none of them
    /// padding or of another document.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let hidden = self.keys.kept.is_some() || self.keys.documents.is_some();
        match (self.pattern, self.queries.start, self.keys.start) {
            (Pattern::Full, ..) if !hidden => Some(Seen::All),
            (Pattern::Causal, Some(start), Some(0)) if !hidden => Some(Seen::Growing { first: start + 1 }),
            _ => None,
        }
    }

    /// The choice of keys for each row of scores, `[rows · heads · queries, keys]`.
    pub fn keep(&self, [rows, heads, queries, keys]: [usize; 4]) -> Keep {
        match self.seen() {
            Some(Seen::All) => Keep::All,
            Some(Seen::Growing { first }) => {
                let count =
                    Tensor::<1, Int>::arange(first as i64..(first + queries) as i64, &self.queries.places.device());
                let count = count.reshape([1, queries]).expand([rows * heads, queries]);
                Keep::Prefix(count.reshape([rows * heads * queries]))
            }
            None => match self.mask() {
                None => Keep::All,
                Some(mask) => {
                    Keep::Mask(mask.expand([rows, heads, queries, keys]).reshape([rows * heads * queries, keys]))
                }
            },
        }
    }

    /// The choice of keys as a mask, `true` = keep: `[rows or 1, 1, queries, keys]`; `None` keeps all.
    pub fn mask(&self) -> Option<Tensor<4, Bool>> {
        let [queries, keys] = self.lengths();
        let rows = self.queries.rows().max(self.keys.rows());
        let whole = [rows, queries, keys];
        let q = self.queries.places.clone().unsqueeze_dim::<3>(2).expand(whole);
        let k = self.keys.places.clone().unsqueeze_dim::<3>(1).expand(whole);
        let seen = self.pattern.sees(q, k);
        let kept = self.keys.kept.clone().map(|kept| kept.unsqueeze_dim::<3>(1).expand(whole));
        let documents = match (&self.queries.documents, &self.keys.documents) {
            (Some(q), Some(k)) => {
                let (q, k) = (q.clone().unsqueeze_dim::<3>(2), k.clone().unsqueeze_dim::<3>(1));
                Some(q.expand(whole).equal(k.expand(whole)))
            }
            _ => None,
        };
        let mask = [seen, kept, documents].into_iter().flatten().reduce(Tensor::bool_and)?;
        Some(mask.unsqueeze_dim::<4>(1))
    }

    /// How many keys each query sees, as numbers: `[rows or 1, 1, queries, 1]`.
    pub fn counts(&self, device: &Device, dtype: DType) -> Tensor<4> {
        let [queries, keys] = self.lengths();
        match self.seen() {
            Some(Seen::All) => Tensor::full([1, 1, 1, 1], keys as f64, (device, dtype)),
            Some(Seen::Growing { first }) => {
                let counts: Vec<f64> = (first..first + queries).map(|n| n as f64).collect();
                Tensor::from_data(TensorData::new(counts, [1, 1, queries, 1]), (device, dtype))
            }
            None => match self.mask() {
                None => Tensor::full([1, 1, 1, 1], keys as f64, (device, dtype)),
                Some(mask) => mask.float().cast(dtype).sum_dim(3),
            },
        }
    }

    /// `i − j` for queries at places i and keys at places j: `[rows or 1, 1, queries, keys]`.
    pub fn distances(&self) -> Tensor<4, Int> {
        let [queries, keys] = self.lengths();
        let rows = self.queries.places.dims()[0].max(self.keys.places.dims()[0]);
        let whole = [rows, queries, keys];
        let q = self.queries.places.clone().unsqueeze_dim::<3>(2).expand(whole);
        let k = self.keys.places.clone().unsqueeze_dim::<3>(1).expand(whole);
        (q - k).unsqueeze_dim::<4>(1)
    }
}
