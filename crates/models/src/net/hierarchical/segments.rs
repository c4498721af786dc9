//! How a document is cut into segments.
use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// The segments of a document of `length` tokens: one if it is no longer than `size`, else
/// `⌈(length − size)/stride⌉ + 1`, of which segment i begins at token `i · stride` and the last may be shorter.
pub fn segments(length: usize, size: usize, stride: usize) -> impl Iterator<Item = Range<usize>> {
    let more = length.saturating_sub(size).div_ceil(stride);
    (0..=more).map(move |i| i * stride..length.min(i * stride + size))
}

/// Segments of equal size on the device, for documents of one length.
pub(super) struct Cut {
    /// Number of segments.
    pub count: usize,
    /// Tokens of each.
    pub size: usize,
    /// The token at each place, segment after segment; the last token of the document where a short segment has none:
    /// `[count · size]`.
    tokens: Tensor<1, Int>,
    /// Whether there is a token at each place, `[count, size]`; `None` if there is everywhere.
    kept: Option<Tensor<2, Bool>>,
}

impl Cut {
    pub fn new(length: usize, size: usize, stride: usize, device: &Device) -> Self {
        let segments: Vec<_> = segments(length, size, stride).collect();
        let (count, size) = (segments.len(), size.min(length));
        let places = segments.iter().flat_map(|segment| segment.start..segment.start + size);
        let tokens: Vec<i64> = places.clone().map(|place| place.min(length - 1) as i64).collect();
        let kept: Vec<bool> = places.map(|place| place < length).collect();
        let short = kept.contains(&false);
        Self {
            count,
            size,
            tokens: Tensor::from_data(TensorData::new(tokens, [count * size]), device),
            kept: short.then(|| Tensor::from_data(TensorData::new(kept, [count, size]), device)),
        }
    }

    /// The vectors of all segments: `[rows, length, d_model]` to `[rows · count, size, d_model]`.
    pub fn vectors(&self, x: Tensor<3>) -> Tensor<3> {
        let [rows, _, d_model] = x.dims();
        x.select(1, self.tokens.clone()).reshape([rows * self.count, self.size, d_model])
    }

    /// The tokens of all segments: `[rows, length]` to `[rows · count, size]`.
    pub fn ids(&self, tokens: Tensor<2, Int>) -> Tensor<2, Int> {
        let [rows, _] = tokens.dims();
        tokens.select(1, self.tokens.clone()).reshape([rows * self.count, self.size])
    }

    /// Which places of `rows` documents hold a token, `[rows · count, size]`; `None` if all do.
    pub fn kept(&self, rows: usize) -> Option<Tensor<2, Bool>> {
        let (count, size) = (self.count, self.size);
        let kept = self.kept.clone()?.reshape([1, count, size]);
        Some(kept.expand([rows, count, size]).reshape([rows * count, size]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_by_hand() {
        for (length, size, stride, expected) in [
            (10, 4, 3, vec![0..4, 3..7, 6..10]),
            (10, 4, 4, vec![0..4, 4..8, 8..10]),
            (3, 4, 3, std::iter::once(0..3).collect()),
            (700, 200, 150, vec![0..200, 150..350, 300..500, 450..650, 600..700]),
        ] {
            assert_eq!(segments(length, size, stride).collect::<Vec<_>>(), expected);
        }
        assert_eq!(segments(700, 200, 50).count(), 11);
        assert_eq!(segments(512, 64, 48).last(), Some(480..512));
    }
}
