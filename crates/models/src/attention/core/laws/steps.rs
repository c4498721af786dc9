//! A row in pieces is the row.
use burn::tensor::{DType, Int, Tensor};

use super::{directions, eval};
use crate::{
    attention::{
        core::{
            Core, Heads,
            testing::{D, E, HEADS, LENGTH, Pass, ROWS, build, padded, pattern, straight},
        },
        state::{Remember, State},
    },
    testing::{assert_close, values},
};

/// The outputs of several calls, one after the other.
fn in_pieces(core: &Core, pass: &Pass, pieces: &[usize]) -> Vec<f64> {
    let (mut state, mut start, mut outputs) = (core.state(ROWS, HEADS), 0, Vec::new());
    for &length in pieces {
        let (output, after) = pass.part(start, length).extend(core, state, &eval());
        (state, start) = (after, start + length);
        outputs.push(output);
    }
    values(&Tensor::cat(outputs, 2))
}

#[test]
fn one_after_the_other_is_all_at_once() {
    for (name, config, causal) in directions() {
        if !causal || !config.properties().exact_step {
            continue;
        }
        for scope in [padded(pattern(true), LENGTH), straight(true, LENGTH)] {
            let pass = Pass::random(scope, LENGTH, DType::F64);
            let core = build(&config, [HEADS, D, E], DType::F64);
            let expected = values(&pass.forward(&core, &eval()));
            for pieces in [vec![LENGTH], vec![4, LENGTH - 4], vec![1; LENGTH], vec![LENGTH - 1, 1]] {
                let found = in_pieces(&core, &pass, &pieces);
                assert_close(&format!("{name}, pieces {pieces:?}"), &found, &expected, 1e-10);
            }
        }
    }
}

#[test]
fn states_can_be_picked_forgotten_and_weighed() {
    for (name, config, causal) in directions() {
        if !causal || !config.properties().exact_step {
            continue;
        }
        let core = build(&config, [HEADS, D, E], DType::F64);
        let pass = Pass::random(straight(true, LENGTH), LENGTH, DType::F64);
        let first = |state| pass.part(0, 4).extend(&core, state, &eval()).1;
        let next = |state| values(&pass.part(4, 3).extend(&core, state, &eval()).0);
        let state = first(core.state(ROWS, HEADS));
        assert!(state.bytes() > 0, "{name}");
        let grows = matches!(state, State::KeyValue(_));
        let longer = pass.part(4, 7).extend(&core, state.clone(), &eval()).1;
        assert_eq!(longer.bytes() > state.bytes(), grows, "{name}");

        // Both rows continue row 1's past.
        let rows = Tensor::<1, Int>::from_data([1i64, 1], &pass.x.device());
        let mut picked = pass.clone();
        let Heads { q, k, v } = &mut picked.heads;
        for x in [q, k, v] {
            *x = x.clone().select(0, rows.clone());
        }
        picked.x = picked.x.select(0, rows.clone());
        let expected = {
            let state = picked.part(0, 4).extend(&core, core.state(ROWS, HEADS), &eval()).1;
            values(&picked.part(4, 3).extend(&core, state, &eval()).0)
        };
        let found = values(&picked.part(4, 3).extend(&core, state.clone().select(&rows), &eval()).0);
        assert_close(&format!("{name}, picked"), &found, &expected, 1e-12);
        assert_eq!(next(first(state.clone().reset())), next(state), "{name}, forgotten");
    }
}

#[test]
fn the_last_query_alone_gets_the_same() {
    for (name, config, causal) in directions() {
        if !config.properties().any_queries {
            continue;
        }
        for scope in [padded(pattern(causal), LENGTH), straight(causal, LENGTH)] {
            let core = build(&config, [HEADS, D, E], DType::F64);
            let pass = Pass::random(scope, LENGTH, DType::F64);
            let whole = pass.forward(&core, &eval()).narrow(2, LENGTH - 1, 1);
            let mut last = pass.clone();
            last.heads.q = pass.heads.q.clone().narrow(2, LENGTH - 1, 1);
            last.x = pass.x.clone().narrow(1, LENGTH - 1, 1);
            last.scope = pass.scope.last_query();
            assert_close(&name, &values(&last.forward(&core, &eval())), &values(&whole), 1e-11);
        }
    }
}
