//! Values and slopes from `golden/pointwise/<name>.toml`, one file per entry of the registry.
use std::{fs, path::Path};

use burn::tensor::DType;
use kiln_registry::Tagged;
use serde::Deserialize;

use super::PointwiseConfig;
use crate::{
    Init,
    testing::{assert_close, device, gradient, tensor, values},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    /// What computed the numbers.
    origin: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    params: toml::Table,
    x: Vec<f64>,
    y: Vec<f64>,
    dy: Vec<f64>,
}

#[test]
fn golden_values() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pointwise");
    for name in PointwiseConfig::NAMES {
        let path = folder.join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden: Golden = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!golden.origin.is_empty() && !golden.case.is_empty(), "{}", path.display());
        for case in golden.case {
            let what = format!("{name} {}", case.params);
            let config = PointwiseConfig::load(name, case.params).unwrap_or_else(|error| panic!("{what}: {error}"));
            let n = case.x.len();
            for (dtype, relative, absolute) in [(DType::F64, 1e-12, 1e-322), (DType::F32, 4e-6, 4e-45)] {
                let function = config.init(&Init::new(0, &device(), dtype));
                // As the type holds them: overflow and underflow included.
                let stored = |x: &[f64]| values(tensor(x, n, dtype));
                let x = tensor(&case.x, n, dtype);
                let y = values(function.forward(x.clone()));
                assert_close(&format!("{what} {dtype:?}"), &y, &stored(&case.y), relative, absolute);
                let dy = gradient(x, tensor(&vec![1.0; n], n, dtype), |x| function.forward(x));
                // A slope is a sum of parts about as large as y/x; where it crosses 0 they cancel.
                for (i, want) in stored(&case.dy).into_iter().enumerate() {
                    let part = if case.x[i] == 0.0 { 0.0 } else { (case.y[i] / case.x[i]).abs() };
                    let what = format!("slope of {what} {dtype:?} at {}", case.x[i]);
                    assert_close(&what, &dy[i..=i], &[want], relative, relative * part.min(1.0) + absolute);
                }
            }
        }
    }
}
