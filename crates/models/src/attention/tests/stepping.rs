//! One token after the other equals all at once.
use burn::tensor::{Int, Tensor, TensorData};

use super::*;
use crate::{
    attention::Remember,
    testing::{assert_close, values},
};

/// What tokens get that come in pieces of these lengths.
fn in_pieces(
    config: &AttentionConfig,
    attention: &Attention,
    x: &Tensor<3>,
    side: &Side,
    pieces: &[usize],
) -> Tensor<3> {
    let pattern = config.pattern_in(true).pattern();
    let [rows, ..] = x.dims();
    let (mut state, mut start, mut found) = (attention.state(rows), 0, Vec::new());
    for &length in pieces {
        let piece = x.clone().narrow(1, start, length);
        let (y, next) = attention.extend(piece, state, &side.narrow(start, length), pattern, &ctx());
        found.push(y);
        state = next;
        start += length;
    }
    Tensor::cat(found, 1)
}

#[test]
fn pieces_equal_the_whole() {
    let steps = |first: usize| -> Vec<usize> {
        (first > 0).then_some(first).into_iter().chain(std::iter::repeat_n(1, LENGTH - first)).collect()
    };
    let left = kept(&[[1; LENGTH], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]);
    for (name, config, attention) in fitting(true) {
        if !config.core.properties().exact_step {
            continue;
        }
        let x = x(LENGTH, "x").detach();
        for (padded, side) in [(false, Side::range(0, LENGTH, &device())), (true, Side::padded(left.clone()))] {
            let whole = attention.forward(x.clone(), &scope(&config, true, side.clone()), &ctx());
            for pieces in [steps(0), steps(1), steps(LENGTH / 2), steps(LENGTH - 1), vec![4, 4, 3]] {
                let found = in_pieces(&config, &attention, &x, &side, &pieces);
                let [found, whole] = [found, whole.clone()].map(|y| {
                    // What padding itself gets is nobody's business.
                    let hidden = left.clone().bool_not().reshape([ROWS, LENGTH, 1]).expand([ROWS, LENGTH, D_MODEL]);
                    values(&if padded { y.mask_fill(hidden, 0.0) } else { y })
                });
                assert_close(&format!("{name}, {pieces:?}, padded {padded}"), &found, &whole, 1e-10);
            }
        }
    }
}

#[test]
fn states_select_rows_forget_and_know_their_size() {
    let order: Tensor<1, Int> = Tensor::from_data(TensorData::new(vec![2i64, 0, 2], [3]), &device());
    for (name, config, attention) in fitting(true) {
        if !config.core.properties().exact_step {
            continue;
        }
        let pattern = config.pattern_in(true).pattern();
        let x = x(LENGTH, "x").detach();
        let side = Side::range(0, LENGTH, &device());
        let extend = |x: Tensor<3>, state, start: usize, length: usize| {
            attention.extend(x.narrow(1, start, length), state, &side.narrow(start, length), pattern, &ctx())
        };
        let (_, state) = extend(x.clone(), attention.state(ROWS), 0, 5);
        assert!(state.bytes() > 0, "{name}");
        let (y, _) = extend(x.clone(), state.clone(), 5, 3);
        let (chosen, _) = extend(x.clone().select(0, order.clone()), state.clone().select(&order), 5, 3);
        assert_close(&name, &values(&chosen), &values(&y.select(0, order.clone())), 1e-12);
        let (first, _) = extend(x.clone(), attention.state(ROWS), 0, 5);
        let (again, _) = extend(x, state.reset(), 0, 5);
        assert_eq!(values(&again), values(&first), "{name}");
    }
}

#[test]
fn a_window_forgets() {
    let config = read(json!({ "name": "sliding_window", "n_heads": 2, "width": 3, "sinks": 1 }));
    let attention = build(&config, D_MODEL);
    let pattern = config.pattern_in(true).pattern();
    let x = normal([ROWS, 40, D_MODEL], DType::F64, "x").detach();
    let side = Side::range(0, 40, &device());
    let mut state = attention.state(ROWS);
    let mut sizes = Vec::new();
    for t in 0..40 {
        let (_, next) = attention.extend(x.clone().narrow(1, t, 1), state, &side.narrow(t, 1), pattern, &ctx());
        state = next;
        sizes.push(state.bytes());
    }
    assert_eq!(sizes[5], sizes[39]);
}
