//! Shapes, masks, causality, gradients and records of every attention.
use burn::{
    module::Module,
    store::ModuleRecord,
    tensor::{Tensor, TensorData},
};
use serde_json::json;

use super::*;
use crate::{
    attention::{PatternConfig, WindowConfig},
    testing::{assert_close, check_gradients, named_values, values},
};

#[test]
fn shapes_are_kept_and_the_last_query_is_the_last() {
    for causal in [false, true] {
        for (name, config, attention) in fitting(causal) {
            let scope = scope(&config, causal, Side::range(0, LENGTH, &device()));
            let y = attention.forward(x(LENGTH, "x"), &scope, &ctx());
            assert_eq!(y.dims(), [ROWS, LENGTH, D_MODEL], "{name}");
            let last = attention.forward_last(x(LENGTH, "x"), &scope, &ctx());
            assert_eq!(last.dims(), [ROWS, 1, D_MODEL], "{name}");
            assert_close(&name, &values(&last), &values(&y.narrow(1, LENGTH - 1, 1)), 1e-12);
        }
    }
}

#[test]
fn nothing_looks_ahead() {
    for (name, config, attention) in fitting(true) {
        let run = |x: Tensor<3>| {
            let scope = scope(&config, true, Side::range(0, LENGTH, &device()));
            attention.forward(x, &scope, &ctx()).to_data()
        };
        let t = 6;
        let before = x(LENGTH, "x").detach();
        let other = before.clone().slice_assign([0..ROWS, t..t + 1, 0..D_MODEL], x(1, "other").detach());
        let cut = |data: TensorData| -> Vec<f64> {
            values(&Tensor::<3>::from_data(data, (&device(), burn::tensor::DType::F64)).narrow(1, 0, t))
        };
        assert_eq!(cut(run(before.clone())), cut(run(other.clone())), "{name}: a token changed the past");
        assert_ne!(run(before), run(other), "{name}: a token changes nothing");
    }
}

#[test]
fn a_padded_batch_equals_its_single_rows_and_padding_may_hold_anything() {
    let mask = kept(&[[1; LENGTH], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]]);
    let spans = [(0, LENGTH), (3, LENGTH - 3), (0, 7)];
    for causal in [false, true] {
        for (name, config, attention) in fitting(causal) {
            let clean = x(LENGTH, "x").detach();
            let hidden = mask.clone().bool_not().reshape([ROWS, LENGTH, 1]).expand([ROWS, LENGTH, D_MODEL]);
            let dirty = clean.clone().mask_fill(hidden.clone(), f64::NAN);
            let run = |x: Tensor<3>| attention.forward(x, &scope(&config, causal, Side::padded(mask.clone())), &ctx());
            let leaf = x(LENGTH, "x");
            let seen = run(leaf.clone()).mask_fill(hidden.clone(), 0.0).sum().backward();
            let hidden_gradient =
                leaf.grad(&seen).unwrap() * hidden.clone().float().cast(burn::tensor::DType::F64).inner();
            assert!(values(&hidden_gradient).iter().all(|g| *g == 0.0), "{name}: padding has a gradient");
            let y = run(dirty);
            for (row, (start, length)) in spans.into_iter().enumerate() {
                let single = clean.clone().narrow(0, row, 1).narrow(1, start, length);
                let alone = scope(&config, causal, Side::range(0, length, &device()));
                let expected = attention.forward(single, &alone, &ctx());
                let found = y.clone().narrow(0, row, 1).narrow(1, start, length);
                assert_close(&format!("{name}, row {row}"), &values(&found), &values(&expected), 1e-10);
            }
        }
    }
}

#[test]
fn documents_in_one_row_do_not_see_each_other() {
    let mut config = read(json!({ "n_heads": 2, "position": "rope", "d_head": 4 }));
    config.pattern = Some(PatternConfig::whole(true));
    let attention = randomised(build(&config, D_MODEL));
    let ids: Vec<i64> = (0..LENGTH).map(|t| i64::from(t >= 4)).collect();
    let ids = Tensor::from_data(TensorData::new(ids.repeat(ROWS), [ROWS, LENGTH]), &device());
    let side = Side::range(0, LENGTH, &device()).in_documents(ids);
    let packed = attention.forward(x(LENGTH, "x"), &scope(&config, true, side), &ctx());
    for (start, length) in [(0, 4), (4, LENGTH - 4)] {
        // Distances alone reach rotary scores, so a document may start anywhere.
        let alone = scope(&config, true, Side::range(0, length, &device()));
        let expected = attention.forward(x(LENGTH, "x").narrow(1, start, length), &alone, &ctx());
        let found = packed.clone().narrow(1, start, length);
        assert_close("document", &values(&found), &values(&expected), 1e-11);
    }
}

#[test]
fn a_wide_window_is_causal_attention() {
    let build = |pattern| {
        let config = AttentionConfig { n_heads: 2, pattern: Some(pattern), ..Default::default() };
        let attention = randomised(build(&config, D_MODEL));
        let scope = scope(&config, true, Side::range(0, LENGTH, &device()));
        values(&attention.forward(x(LENGTH, "x"), &scope, &ctx()))
    };
    let window = PatternConfig::Window(WindowConfig { width: LENGTH, sinks: 0 });
    assert_eq!(build(window), build(PatternConfig::whole(true)));
}

#[test]
fn grouped_heads_equal_repeated_ones() {
    let grouped = randomised(build(&read(json!({ "n_heads": 6, "kv_heads": 2, "d_head": 5, "d_value": 3 })), D_MODEL));
    let mut full = build(&read(json!({ "n_heads": 6, "d_head": 5, "d_value": 3 })), D_MODEL);
    let repeat = |weight: &burn::module::Param<Tensor<2>>, width: usize| {
        let weight = weight.val().reshape([D_MODEL, 2, 1, width]).expand([D_MODEL, 2, 3, width]);
        burn::module::Param::from_tensor(weight.reshape([D_MODEL, 6 * width]).detach())
    };
    full.query = grouped.query.clone();
    full.output = grouped.output.clone();
    full.key.as_mut().unwrap().weight = repeat(&grouped.key.as_ref().unwrap().weight, 5);
    full.value.weight = repeat(&grouped.value.weight, 3);
    let scope = Scope::whole(crate::attention::Pattern::Causal, LENGTH, &device());
    let [a, b] = [&grouped, &full].map(|attention| values(&attention.forward(x(LENGTH, "x"), &scope, &ctx())));
    assert_close("grouped", &a, &b, 1e-12);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for causal in [false, true] {
        for (name, config, attention) in fitting(causal) {
            let (length, rows) = (5, 2);
            let x = normal([rows, length, D_MODEL], DType::F64, "x").detach();
            let c = normal([rows, length, D_MODEL], DType::F64, "c").detach();
            let scope = scope(&config, causal, Side::range(0, length, &device()));
            println!("{name}, causal {causal}");
            check_gradients(&attention, |attention| (attention.forward(x.clone(), &scope, &ctx()) * c.clone()).sum());
        }
    }
}

#[test]
fn records_are_read_back() {
    for (name, config, attention) in fitting(false) {
        let bytes = attention.clone().into_record().into_bytes().unwrap();
        let record = ModuleRecord::from_bytes(bytes).unwrap();
        let read = build(&config, D_MODEL).try_load_record(record).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(named_values(&read), named_values(&attention), "{name}");
        assert_ne!(named_values(&build(&config, D_MODEL)), named_values(&attention), "{name}");
    }
}
