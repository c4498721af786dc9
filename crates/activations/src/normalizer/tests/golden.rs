//! Values computed elsewhere.
use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged;

use super::{
    NormalizerConfig,
    cases::{Case, golden},
    mask,
};
use crate::{
    Ctx, Init,
    kernel::{Keep, row_map},
    normalizer::{Heads, Normalizer},
    testing::{assert_close, device, tensor, values},
};

#[test]
fn every_published_map_has_golden_values() {
    for listing in NormalizerConfig::listing() {
        let has = golden(listing.name).is_some_and(|file| !file.origin.is_empty() && !file.cases.is_empty());
        assert!(has || listing.paper.is_empty(), "{} has a paper and no golden/normalizer/{0}.toml", listing.name);
    }
}

#[test]
fn golden_values() {
    for name in NormalizerConfig::NAMES {
        for (index, case) in golden(name).map(|file| file.cases).unwrap_or_default().iter().enumerate() {
            for (dtype, relative, absolute) in [(DType::F64, 1e-9, 1e-11), (DType::F32, 1e-5, 1e-6)] {
                let relative = case.f32_tolerance.filter(|_| dtype == DType::F32).unwrap_or(relative);
                let map = case.config(name).init(&Init::new(0, &device(), dtype));
                check(&format!("{name} case {index} {dtype:?}"), &map, case, dtype, relative, absolute);
            }
        }
    }
}

fn check(what: &str, map: &Normalizer, case: &Case, dtype: DType, relative: f64, absolute: f64) {
    let ctx = if case.training { Ctx::train(0, 0) } else { Ctx::eval(0, 0) };
    let n = case.scores.len();
    let keep = (!case.keep.is_empty()).then(|| mask(&case.keep, n));
    let forms: [(_, _, &dyn Fn(Tensor<2>) -> Tensor<2>); 2] = [
        (&case.weights, &case.d_scores, &|x| map.weights(x, -1, keep.clone(), &ctx)),
        (&case.log_weights, &case.d_scores_log, &|x| {
            map.log_weights(x, -1, keep.clone(), &ctx).unwrap_or_else(|| panic!("{what}: no log form"))
        }),
    ];
    for (log, (want, want_gradient, apply)) in forms.into_iter().enumerate() {
        let what = if log == 1 { format!("log {what}") } else { what.to_owned() };
        let x = tensor(&case.scores, n, dtype).require_grad();
        if let Some(want) = want {
            assert_close(&what, &values(apply(x.clone()).detach()), want, relative, absolute);
        }
        if let Some(want) = want_gradient {
            // A removed log weight is −∞, so its product with the upstream gradient may not enter the sum.
            let y = apply(x.clone());
            let removed = y.clone().detach().equal_elem(f64::NEG_INFINITY);
            let grads = (y.mask_fill(removed, 0.0) * tensor(&case.upstream, n, dtype)).sum().backward();
            let dx = values(x.grad(&grads).expect("x takes part"));
            let largest = want.iter().fold(0.0f64, |max, x| max.max(x.abs()));
            assert_close(&format!("gradient of {what}"), &dx, want, relative, absolute + relative * largest);
        }
    }
    if let Some(want) = &case.d_params {
        let x = tensor(&case.scores, n, dtype);
        let params = map.row_params(&x, Heads::ONE).unwrap_or_else(|| panic!("{what}: no row parameters"));
        let params = params.detach().require_grad();
        let keep = keep.map_or(Keep::All, Keep::Mask);
        let y = row_map(x, Some(params.clone()), &keep, map.kernel(&ctx));
        let grads = (y * tensor(&case.upstream, n, dtype)).sum().backward();
        let got = values(params.grad(&grads).expect("the parameters take part"));
        assert_close(&format!("parameter gradient of {what}"), &got, want, relative, absolute);
    }
}

#[test]
fn every_entry_says_what_it_is() {
    for listing in NormalizerConfig::listing() {
        assert!(!listing.summary.is_empty(), "{} has no summary", listing.name);
    }
}
