//! How an evaluation pass is cut into pieces that fit into memory.
use std::ops::Range;

use kiln_models::Input;

/// Items that an evaluation pass takes at a time: some MiB of hidden vectors, where a set of 2000 rows of 1024 items at
/// once would need gigabytes.
const ITEMS_AT_A_TIME: usize = 1 << 14;

/// Pixels at a time: 256 images of 32 x 32, whose hidden maps are some tens of MiB.
const PIXELS_AT_A_TIME: usize = 1 << 18;

/// Tokens at a time: as for items, but such that the sets of modular arithmetic, of some thousand rows of three tokens, are
/// one piece.
const TOKENS_AT_A_TIME: usize = 1 << 15;

/// Pairs of tokens at a time, which attention may hold a number for, in each of its heads: 16 MiB each.
const PAIRS_AT_A_TIME: usize = 1 << 22;

/// The rows of an evaluation pass, in pieces. The shape alone decides how.
pub fn pieces(input: &Input) -> impl Iterator<Item = Range<usize>> + use<> {
    let (rows, length) = (input.rows(), input.length().max(1));
    let at_a_time = match input {
        Input::Items(_) => ITEMS_AT_A_TIME / length,
        Input::Tokens(_) | Input::TokenSums { .. } => {
            (TOKENS_AT_A_TIME / length).min(PAIRS_AT_A_TIME / length.saturating_mul(length))
        }
        Input::Image(x) => PIXELS_AT_A_TIME / (x.dims()[2] * x.dims()[3]).max(1),
        Input::OneHot(_) | Input::Floats(_) => rows,
    };
    let at_a_time = at_a_time.max(1);
    // An empty set is one piece, so that its logits exist.
    (0..rows.div_ceil(at_a_time).max(1)).map(move |i| i * at_a_time..rows.min((i + 1) * at_a_time))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    #[test]
    #[cfg(feature = "flex")]
    fn pieces_cover_the_rows_and_hold_no_more_than_fits() {
        let device = Device::flex();
        let tokens = |rows: usize, length: usize| Input::Tokens(Tensor::zeros([rows, length], &device));
        let sums =
            |rows: usize, length: usize| Input::TokenSums { ids: Tensor::zeros([rows, 2 * length], &device), parts: 2 };
        let largest = |input: &Input| pieces(input).map(|rows| rows.len()).max();
        for (input, expected) in [
            (tokens(7662, 3), 7662),
            (tokens(2000, 64), 512),
            (tokens(500, 768), 7),
            (tokens(3, 5000), 1),
            (sums(500, 128), 256),
            (Input::Floats(Tensor::zeros([5000, 2], &device)), 5000),
            (Input::Image(Tensor::zeros([300, 1, 32, 32], &device)), 256),
            (Input::Items(Tensor::zeros([50, 1024, 1], &device)), 16),
        ] {
            assert_eq!(largest(&input), Some(expected));
            assert_eq!(pieces(&input).flatten().collect::<Vec<_>>(), (0..input.rows()).collect::<Vec<_>>());
        }
        assert!(pieces(&Input::Floats(Tensor::zeros([0, 2], &device))).eq(std::iter::once(0..0)));
    }
}
