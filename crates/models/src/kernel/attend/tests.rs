//! Laws of attention in one pass.
use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::{
    Ctx, Init, Keep,
    kernel::RowKernel,
    normalizer::{Normalizer, NormalizerConfig},
};

use super::{Seen, attend, attends};
use crate::testing::{assert_close, device, normal, on_threads, values};

#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    d: usize,
    e: usize,
}

fn map(name: &str, dtype: DType) -> Normalizer {
    NormalizerConfig::by_name(name).unwrap().init(&Init::new(0, &device(), dtype))
}

fn kernel(name: &str) -> Arc<dyn RowKernel> {
    map(name, DType::F64).kernel(&Ctx::train(0, 0))
}

/// Output and gradients of `Σ c o` for attention as a function of q, k and v.
fn run(attention: impl Fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>, sizes: Sizes, dtype: DType) -> Vec<Vec<f64>> {
    let Sizes { rows, heads, kv_heads, queries, keys, d, e } = sizes;
    let q = normal([rows, heads, queries, d], dtype, "q");
    let k = normal([rows, kv_heads, keys, d], dtype, "k");
    let v = normal([rows, kv_heads, keys, e], dtype, "v");
    let c = normal([rows, heads, queries, e], dtype, "c").detach();
    let o = attention(q.clone(), k.clone(), v.clone());
    let gradients = (o.clone() * c).sum().backward();
    let mut found = vec![values(&o)];
    found.extend([q, k, v].map(|leaf| values(&leaf.grad(&gradients).unwrap())));
    found
}

/// Which keys each row of scores keeps, as the map's own operation takes it.
fn keep(seen: Seen, Sizes { rows, heads, queries, keys, .. }: Sizes) -> Keep {
    match seen {
        Seen::All => Keep::All,
        seen => {
            let counts: Vec<i32> = (0..rows * heads * queries).map(|row| seen.by(row % queries, keys) as i32).collect();
            let counts = TensorData::new(counts, [rows * heads * queries]);
            Keep::Prefix(Tensor::from_data(counts, &device()))
        }
    }
}

/// All scores, the map's own operation, and a product with the values, all heads with keys of their own.
fn composed(name: &str, seen: Seen, sizes: Sizes, dtype: DType) -> Vec<Vec<f64>> {
    let (map, keep) = (map(name, dtype), keep(seen, sizes));
    let attention = |q: Tensor<4>, k: Tensor<4>, v: Tensor<4>| {
        let spread = |x: Tensor<4>| {
            let [rows, heads, length, width] = x.dims();
            let x = x.reshape([rows, heads, 1, length, width]);
            x.repeat_dim(2, sizes.heads / heads).reshape([rows, sizes.heads, length, width])
        };
        let scores = q.matmul(spread(k).swap_dims(2, 3));
        map.kept_weights(scores, &keep, &Ctx::train(0, 0)).matmul(spread(v))
    };
    run(attention, sizes, dtype)
}

#[test]
fn it_agrees_with_scores_map_and_sum_one_after_the_other() {
    let odd = Sizes { rows: 2, heads: 3, kv_heads: 3, queries: 5, keys: 7, d: 2, e: 4 };
    for (sizes, first) in [
        (odd, 3),
        (Sizes { rows: 1, heads: 1, kv_heads: 1, queries: 1, keys: 1, d: 1, e: 1 }, 1),
        (Sizes { heads: 6, kv_heads: 2, ..odd }, 1),
        (Sizes { queries: 1, keys: 67, ..odd }, 67),
        // More than one block of queries, the last one short.
        (Sizes { rows: 1, heads: 2, kv_heads: 1, queries: 131, keys: 131, d: 5, e: 3 }, 1),
        (Sizes { rows: 1, heads: 2, kv_heads: 2, queries: 65, keys: 70, d: 3, e: 5 }, 6),
    ] {
        for seen in [Seen::All, Seen::Growing { first }] {
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-4)] {
                for name in ["softmax", "entmax", "softmax1", "relu_attention"] {
                    let fused = run(|q, k, v| attend(q, k, v, seen, kernel(name)), sizes, dtype);
                    let plain = composed(name, seen, sizes, dtype);
                    for ((fused, plain), part) in fused.iter().zip(&plain).zip(["o", "dq", "dk", "dv"]) {
                        assert_close(&format!("{name}: {part} {sizes:?} {seen:?} {dtype:?}"), fused, plain, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn it_reads_heads_as_they_lie_in_memory() {
    let sizes = Sizes { rows: 2, heads: 3, kv_heads: 3, queries: 6, keys: 6, d: 4, e: 4 };
    let plain = run(|q, k, v| attend(q, k, v, Seen::All, kernel("softmax")), sizes, DType::F64);
    // The same values behind other strides: transposed, cut out of more, and as one value seen many times.
    let turned = |x: Tensor<4>| (x.swap_dims(1, 2).reshape([2, 6, 12]) * 1.0).reshape([2, 6, 3, 4]).swap_dims(1, 2);
    let cut = |x: Tensor<4>| Tensor::cat(vec![x.clone(), x], 3).narrow(3, 4, 4);
    let views = run(|q, k, v| attend(turned(q), cut(k), turned(v), Seen::All, kernel("softmax")), sizes, DType::F64);
    for (views, plain) in views.iter().zip(&plain) {
        assert_close("strided", views, plain, 1e-13);
    }
    let q = normal::<4>([2, 3, 6, 4], DType::F64, "q");
    let one = normal::<4>([1, 1, 1, 4], DType::F64, "k").expand([2, 3, 6, 4]);
    let o = attend(q, one.clone(), one.clone(), Seen::All, kernel("softmax"));
    assert_close("the mean of equal values", &values(&o), &values(&one), 1e-13);
}

#[test]
fn hidden_keys_have_no_gradient_and_no_say() {
    let sizes = Sizes { rows: 1, heads: 1, kv_heads: 1, queries: 3, keys: 5, d: 2, e: 2 };
    let q = normal([1, 1, 3, 2], DType::F64, "q");
    let k = normal([1, 1, 5, 2], DType::F64, "k");
    let v = normal([1, 1, 5, 2], DType::F64, "v");
    let o = attend(q, k.clone(), v.clone(), Seen::Growing { first: 1 }, kernel("softmax"));
    assert_close("the first query sees one key", &values(&o)[..2], &values(&v)[..2], 1e-14);
    let gradients = o.sum().backward();
    for leaf in [k, v] {
        let gradient = values(&leaf.grad(&gradients).unwrap());
        assert!(gradient[6..].iter().all(|g| *g == 0.0), "keys that nobody sees: {gradient:?} {sizes:?}");
    }
}

#[test]
fn special_scores_are_settled_as_the_map_settles_them() {
    let at = |values: [f32; 6]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 3, 2]), &device());
    let q = at([1.0, 0.0, f32::NAN, 0.0, 1.0, 0.0]);
    let (k, v) = (at([f32::INFINITY, 0.0, 1.0, 0.0, f32::NEG_INFINITY, 0.0]), at([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    // 0 · ∞ is NaN, so keep the second entry out of it.
    let (q, k) = (q.narrow(3, 0, 1), k.narrow(3, 0, 1));
    let o = values(&attend(q, k, v, Seen::All, kernel("softmax")));
    assert_eq!(o[..2], [1.0, 2.0], "a score of +∞ takes all the weight");
    assert!(o[2].is_nan() && o[3].is_nan(), "a NaN makes its row NaN: {o:?}");
    assert_eq!(o[4..], [1.0, 2.0]);
}

#[test]
fn nothing_to_see_gives_zeros() {
    let sizes = Sizes { rows: 1, heads: 2, kv_heads: 2, queries: 3, keys: 0, d: 2, e: 2 };
    let found = run(|q, k, v| attend(q, k, v, Seen::All, kernel("softmax")), sizes, DType::F32);
    assert_eq!(found[..2], [vec![0.0; 12], vec![0.0; 12]]);
}

#[test]
fn thread_count_moves_no_bit() {
    let sizes = Sizes { rows: 2, heads: 4, kv_heads: 2, queries: 150, keys: 150, d: 16, e: 16 };
    let work = || run(|q, k, v| attend(q, k, v, Seen::Growing { first: 1 }, kernel("softmax")), sizes, DType::F32);
    let one = on_threads(1, work);
    assert_eq!(one, on_threads(2, work));
    assert_eq!(one, on_threads(3, work));
}

#[test]
fn what_it_cannot_do_it_says() {
    let softmax = kernel("softmax");
    assert!(attends(&*softmax, DType::F32, &device()) && attends(&*softmax, DType::F64, &device()));
    assert!(!attends(&*softmax, DType::F16, &device()), "halves are computed in f32, which the composed form does");
    assert!(!attends(&*kernel("ssmax"), DType::F32, &device()), "its scale is a row parameter");
}

#[test]
#[should_panic(expected = "do not fit each other")]
fn heads_must_share_keys_evenly() {
    let q = normal::<4>([1, 3, 2, 2], DType::F32, "q");
    let k = normal::<4>([1, 2, 2, 2], DType::F32, "k");
    attend(q, k.clone(), k, Seen::All, kernel("softmax"));
}
