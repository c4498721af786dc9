//! What is refused, and how it is said.
use burn::tensor::{Bool, DType, Tensor, TensorData};

use super::{NormalizerConfig, ctx, mask};
use crate::{
    Init,
    normalizer::{StableMaxConfig, StableMaxForm},
    testing::{device, tensor},
};

#[test]
fn the_forms_of_a_config() {
    let json = |text: &str| serde_json::from_str::<NormalizerConfig>(text);
    assert_eq!(json(r#""softmax""#).unwrap(), NormalizerConfig::default());
    assert_eq!(
        json(r#"{ "name": "stablemax", "form": "ratio" }"#).unwrap(),
        NormalizerConfig::StableMax(StableMaxConfig { form: StableMaxForm::Ratio }),
    );
    let refused = json(r#"{ "name": "softmax", "alpha": 1.5 }"#).unwrap_err().to_string();
    assert!(refused.contains("unknown field `alpha`"), "{refused}");
    let refused = json(r#"{ "name": "stablemax", "form": "log" }"#).unwrap_err().to_string();
    assert!(refused.contains("`log1p` or `ratio`"), "{refused}");
    assert!(NormalizerConfig::by_name("sofmax").is_none());
    assert!(NormalizerConfig::names_with_log_form().starts_with(&["softmax"]));
    assert!(!NormalizerConfig::by_name("stablemax").unwrap().laws().shift_invariant);
}

#[test]
#[should_panic(expected = "axis 2 is out of range for scores of rank 2")]
fn an_axis_out_of_range_is_named() {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let _ = map.weights(tensor(&[0.0; 4], 2, DType::F64), 2, None, &ctx());
}

#[test]
#[should_panic(expected = "a mask of shape [3, 2] does not fit scores of shape [2, 2]")]
fn a_mask_that_does_not_fit_is_named() {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let mask: Tensor<2, Bool> = mask(&[true; 6], 2);
    let _ = map.weights(tensor(&[0.0; 4], 2, DType::F64), 1, Some(mask), &ctx());
}

#[test]
fn a_mask_of_bytes_reads_like_one_of_bools() {
    let map = NormalizerConfig::default().init(&Init::new(0, &device(), DType::F64));
    let bytes = Tensor::<2, Bool>::from_data(TensorData::new(vec![true, false], [1, 2]), &device());
    let y = map.weights(tensor(&[0.0; 2], 2, DType::F64), 1, Some(bytes), &ctx());
    assert_eq!(crate::testing::values(y), [1.0, 0.0]);
}
