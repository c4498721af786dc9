//! Values measured elsewhere, the margins at which rounding takes over, and the contract of a loss.
use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged;

use super::{CeExactConfig, CrossEntropyConfig, Loss, LossConfig, LossDtype, SumOrder, Target, softmax_row_sum};
use crate::{
    Init,
    normalizer::{NormalizerConfig, StableMaxConfig, StableMaxForm},
    testing::{assert_bits, assert_close, classes, device, normal, tensor, values},
};

fn softmax(dtype: LossDtype) -> LossConfig {
    LossConfig::CrossEntropy(CrossEntropyConfig { dtype, ..Default::default() })
}

fn stablemax(dtype: LossDtype, form: StableMaxForm) -> LossConfig {
    let normalizer = NormalizerConfig::StableMax(StableMaxConfig { form });
    LossConfig::CrossEntropy(CrossEntropyConfig { normalizer, dtype, ..Default::default() })
}

fn exact(dtype: LossDtype) -> LossConfig {
    LossConfig::CeExact(CeExactConfig { dtype })
}

fn build(config: &LossConfig) -> Loss {
    config.check().expect("a sound loss");
    config.init(&Init::new(0, &device(), DType::F32))
}

struct Result {
    mean: f64,
    rows: Vec<f64>,
    row_sum: Vec<f64>,
    grad: Vec<f64>,
}

fn evaluate(config: &LossConfig, logits: Tensor<2>, target: &[usize]) -> Result {
    let logits = logits.detach().require_grad();
    let loss = build(config);
    let output = loss.forward(logits.clone(), &Target::Classes(classes(target)));
    let row_sum = output.row_sum.expect("the host has loss kernels");
    for part in [&output.mean, &output.rows, &row_sum] {
        assert_eq!(part.dtype(), loss.dtype().dtype(), "{config:?}");
    }
    let grad = logits.grad(&output.mean.backward()).expect("the logits take part");
    assert_eq!(grad.dtype(), logits.dtype());
    Result { mean: values(output.mean)[0], rows: values(output.rows), row_sum: values(row_sum), grad: values(grad) }
}

fn share(values: impl IntoIterator<Item = bool>) -> f64 {
    let values: Vec<bool> = values.into_iter().collect();
    values.iter().filter(|&&value| value).count() as f64 / values.len() as f64
}

const Z: [f64; 12] = [20.0, 0.0, -1.0, 2.0, 1.0, 0.5, -3.0, 18.0, 0.0, 0.0, 120.0, 0.0];
const Y: [usize; 4] = [0, 2, 1, 1];

/// One line of the diagnostics table.
struct Line {
    loss: LossConfig,
    rows: [f64; 4],
    relative: f64,
    /// Shares of zero losses, zero target gradients, sums of 1, zero gradient rows.
    shares: [f64; 4],
    /// |Σ G| / Σ |G| per row; `None` where it is 0/0.
    defect: [Option<f64>; 4],
}

#[test]
fn diagnostics_of_four_rows() {
    let lines = [
        Line {
            loss: softmax(LossDtype::F64),
            rows: [2.819409813e-9, 1.964368784, 1.598823572e-8, 0.0],
            relative: 1e-9,
            shares: [0.25, 0.25, 0.25, 0.25],
            defect: [Some(0.0), Some(0.0), Some(0.0), None],
        },
        Line {
            loss: softmax(LossDtype::F32),
            rows: [0.0, 1.964368820, 0.0, 0.0],
            relative: 1e-7,
            shares: [0.75, 0.75, 0.75, 0.25],
            defect: [Some(1.0), Some(0.0), Some(1.0), None],
        },
        Line {
            loss: softmax(LossDtype::F16),
            rows: [0.0, 1.96484375, 0.0, 0.0],
            relative: 0.0,
            shares: [0.75, 0.75, 0.75, 0.75],
            defect: [None, Some(2.1e-4), None, None],
        },
        Line {
            loss: exact(LossDtype::F32),
            rows: [2.819407818e-9, 1.964368820, 1.598824362e-8, 0.0],
            relative: 2e-6,
            shares: [0.25, 0.25, 0.75, 0.25],
            defect: [Some(0.0), Some(0.0), Some(0.0), None],
        },
        Line {
            loss: stablemax(LossDtype::F64, StableMaxForm::Log1p),
            rows: [0.06899287149, 1.466337069, 0.06371581439, 0.01639380978],
            relative: 1e-9,
            shares: [0.0, 0.0, 0.25, 0.0],
            defect: [Some(0.89), Some(0.25), Some(0.88), Some(0.98)],
        },
    ];
    for line in lines {
        let name = format!("{:?}", line.loss);
        let logits = tensor(&Z, 3, DType::F32);
        let result = evaluate(&line.loss, logits.clone(), &Y);
        assert_close(&format!("rows of {name}"), &result.rows, &line.rows, line.relative, 0.0);
        let rows = || result.grad.chunks(3);
        // The hypothetical sum, in the precision of the loss, whatever the loss.
        let dtype = build(&line.loss).dtype();
        let sums = values(softmax_row_sum(logits, dtype, SumOrder::Lanes));
        let shares = [
            share(result.rows.iter().map(|&loss| loss == 0.0)),
            share(rows().zip(Y).map(|(row, y)| row[y] == 0.0)),
            share(sums.iter().map(|&sum| sum == 1.0)),
            share(rows().map(|row| row.iter().all(|&g| g == 0.0))),
        ];
        assert_eq!(shares, line.shares, "{name}");
        for (row, want) in rows().zip(line.defect) {
            let (sum, size) = (row.iter().sum::<f64>().abs(), row.iter().map(|g| g.abs()).sum::<f64>());
            match want {
                None => assert_eq!(size, 0.0, "{name}"),
                Some(want) => {
                    let tolerance = if want == 0.0 || want == 1.0 { 6e-8 } else { 0.05 * want };
                    assert!((sum / size - want).abs() <= tolerance, "{name}: {} and {want}", sum / size);
                }
            }
        }
    }
    // Weighed with 1 + |z| the rows of StableMax balance.
    let result = evaluate(&stablemax(LossDtype::F64, StableMaxForm::Log1p), tensor(&Z, 3, DType::F32), &Y);
    for (row, z) in result.grad.chunks(3).zip(Z.chunks(3)) {
        let weighed = || row.iter().zip(z).map(|(g, z)| g * (1.0 + z.abs()));
        assert!(weighed().sum::<f64>().abs() <= 2e-8 * 10.0 * weighed().map(f64::abs).sum::<f64>());
    }
}

#[test]
fn gradients_of_four_rows() {
    let grad = |loss: &LossConfig| evaluate(loss, tensor(&Z, 3, DType::F32), &Y).grad;
    let double = grad(&softmax(LossDtype::F64));
    assert_close("f64", &double[..3], &[-7.048524542e-10, 5.152884230e-10, 1.895640034e-10], 1e-7, 0.0);
    let single = grad(&softmax(LossDtype::F32));
    assert_close("f32", &single[..3], &[0.0, 5.152884230e-10, 1.895640034e-10], 2e-7, 0.0);
    assert_close("f32", &single[3..6], &[0.1571329236, 0.05780597031, -0.2149389088], 2e-7, 0.0);
    // Half a unit of the last place of a half at 0.2.
    let half = grad(&softmax(LossDtype::F16));
    assert_close("f16", &half[3..6], &[0.1571044922, 0.05776977539, -0.2149658203], 0.0, 6.2e-5);
    let stable = grad(&stablemax(LossDtype::F64, StableMaxForm::Log1p));
    assert_close("StableMax", &stable[3..6], &[0.03846153846, 0.03846153846, -0.1282051282], 1e-7, 0.0);
    for loss in [softmax(LossDtype::F64), softmax(LossDtype::F32), softmax(LossDtype::F16), exact(LossDtype::F32)] {
        assert_eq!(grad(&loss)[9..], [0.0; 3], "exp(−120)/4 is 0 in f32: {loss:?}");
    }
}

#[test]
fn a_collapsed_row_keeps_its_rivals_gradients() {
    let result = evaluate(&softmax(LossDtype::F32), tensor(&[20.0, 0.0, -1.0, 1.0], 4, DType::F32), &[0]);
    assert_eq!((result.mean, result.row_sum[0]), (0.0, 1.0));
    assert_eq!(result.rows[0].to_bits(), 0, "+0, not −0");
    assert_close("gradient", &result.grad, &[0.0, 2.061153692e-09, 7.582560135e-10, 5.602796449e-09], 2e-7, 0.0);
    let result = evaluate(&softmax(LossDtype::F64), tensor(&[20.0, 0.0, -1.0, 1.0], 4, DType::F32), &[0]);
    assert_close("loss", &result.rows, &[8.42220623e-09], 1e-8, 0.0);
    let want = [-8.422206155e-09, 2.061153605e-09, 7.582560364e-10, 5.60279639e-09];
    assert_close("gradient", &result.grad, &want, 1e-7, 0.0);
}

/// Target at `margin` above 112 equal rivals.
fn against_112(margin: f64, target: usize, rows: usize) -> Tensor<2> {
    let mut row = vec![0.0; 113];
    row[target] = margin;
    tensor(&row.repeat(rows), 113, DType::F32)
}

#[test]
fn collapse_begins_between_margins_20_65_and_20_70() {
    for target in [0, 56, 112] {
        let at = |margin| evaluate(&softmax(LossDtype::F32), against_112(margin, target, 1), &[target]);
        let (before, after) = (at(20.65), at(20.70));
        assert!(before.rows[0] > 0.0 && before.row_sum[0] > 1.0, "target {target}: {:e}", before.rows[0]);
        assert!(before.grad[target] < 0.0);
        assert_eq!((after.rows[0], after.row_sum[0], after.grad[target]), (0.0, 1.0, 0.0), "target {target}");
        assert!(after.grad.iter().enumerate().all(|(j, &g)| (g > 0.0) == (j != target)));
    }
}

/// At the last margin before collapse the weight is 1 − 2⁻²³ and the target's gradient −2⁻²³/N: PyTorch 2.15 gives
/// -4.281943e-11 for N = 2784. A product rounded before the difference would give 2⁻³⁵ = 2.910383e-11.
#[test]
fn the_target_gradient_is_rounded_once() {
    const N: usize = 2784;
    let result = evaluate(&softmax(LossDtype::F32), against_112(20.65, 0, N), &[0; N]);
    assert!(result.rows[0] > 0.0 && result.rows[0] < 1.2e-7);
    assert_close("target gradient", &result.grad[..1], &[-4.281943e-11], 1e-6, 0.0);
}

#[test]
fn a_sequential_sum_collapses_earlier() {
    let config = |sum| LossConfig::CrossEntropy(CrossEntropyConfig { sum, ..Default::default() });
    // One by one, a rival is absorbed when it is below 2^-24: from a margin of 16.64 on.
    for (margin, collapsed) in [(16.6, false), (16.7, true)] {
        let rows = evaluate(&config(SumOrder::Sequential), against_112(margin, 0, 1), &[0]);
        assert_eq!(rows.rows[0] == 0.0, collapsed, "{margin}");
        let sum = values(softmax_row_sum(against_112(margin, 0, 1), LossDtype::F32, SumOrder::Sequential));
        assert_eq!(sum[0] == 1.0, collapsed);
        assert!(evaluate(&config(SumOrder::Lanes), against_112(margin, 0, 1), &[0]).rows[0] > 0.0);
    }
}

#[test]
fn half_precision_margins() {
    let cases = [
        (4.0, 1.115234375, -1.316070557e-4, 1.192092896e-6),
        (8.0, 0.03643798828, -7.033348083e-6, 5.960464478e-8),
        (9.0, 0.01358032227, -2.622604370e-6, 0.0),
        (12.0, 9.760856628e-4, -1.788139343e-7, 0.0),
        (17.0, 0.0, 0.0, 0.0),
    ];
    for (margin, loss, target_grad, rival_grad) in cases {
        let result = evaluate(&softmax(LossDtype::F16), against_112(margin, 7, 5107), &[7; 5107]);
        // All but the last digits printed: half values are exact.
        assert_close(&format!("mean at {margin}"), &[result.mean], &[loss], 1e-9, 0.0);
        assert_close(&format!("rows at {margin}"), &result.rows, &vec![loss; 5107], 1e-9, 0.0);
        // Within half a unit of the last place, 2^-25 for subnormal halves.
        let half_ulp = (f64::abs(target_grad) * 2f64.powi(-11)).max(2f64.powi(-25));
        assert_close(&format!("target at {margin}"), &[result.grad[7]], &[target_grad], 0.0, half_ulp * 1.01);
        assert_close(&format!("rival at {margin}"), &[result.grad[8]], &[rival_grad], 1e-9, 0.0);
    }
}

#[test]
fn stablemax_by_hand() {
    // s = [3, ½, 1½, ¼, 1], S = 25/4.
    let x = [2.0, -1.0, 0.5, -3.0, 0.0];
    let grads = [(0, [-0.1733333333, 0.04, 0.16, 0.01, 0.16]), (3, [0.16, 0.04, 0.16, -0.24, 0.16])];
    for form in [StableMaxForm::Log1p, StableMaxForm::Ratio] {
        for (target, want) in grads {
            let result = evaluate(&stablemax(LossDtype::F64, form), tensor(&x, 5, DType::F64), &[target]);
            let p: f64 = [0.48, 0.08, 0.24, 0.04, 0.16][target];
            assert_close("loss", &result.rows, &[-p.ln()], 1e-14, 0.0);
            assert_close("gradient", &result.grad, &want, 1e-9, 0.0);
            assert_eq!(result.row_sum, [6.25]);
        }
    }
}

#[test]
fn only_the_ratio_form_of_stablemax_collapses() {
    // The last one is 112 / (1 + 1e8)².
    let cases = [(1e2, 1.091948063e-2), (1e4, 1.119775407e-6), (1e6, 1.119997760e-10), (1e8, 1.119999978e-14)];
    for (size, want) in cases {
        let mut row = vec![-size; 113];
        row[3] = size;
        let by = |dtype, form| evaluate(&stablemax(dtype, form), tensor(&row, 113, DType::F32), &[3]);
        for (dtype, tolerance) in [(LossDtype::F32, 1e-6), (LossDtype::F64, 1e-9)] {
            let log1p = by(dtype, StableMaxForm::Log1p);
            assert_close(&format!("log1p {dtype:?} at {size}"), &log1p.rows, &[want], tolerance, 0.0);
            assert!(log1p.grad[3] < 0.0, "{dtype:?} at {size}");
        }
        let ratio = by(LossDtype::F32, StableMaxForm::Ratio);
        assert_eq!((ratio.rows[0] == 0.0, ratio.grad[3] == 0.0), (size >= 1e6, size >= 1e6), "at {size}");
        let ratio = by(LossDtype::F64, StableMaxForm::Ratio).rows[0];
        assert!(ratio > 0.0 && ((ratio / want - 1.0).abs() > 1e-3) == (size >= 1e8), "at {size}: {ratio:e}");
    }
}

#[test]
fn ce_exact_values() {
    let result = evaluate(&exact(LossDtype::F64), tensor(&[2.0, 1.0, 0.5], 3, DType::F64), &[2]);
    assert_close("loss", &result.rows, &[1.964368784], 1e-9, 0.0);
    assert_close("gradient", &result.grad, &[0.6285317192, 0.2312238976, -0.8597556168], 1e-9, 0.0);
    let want = [-8.422206032e-9, 2.061153605e-9, 7.582560364e-10, 5.60279639e-9];
    for (dtype, tolerance) in [(LossDtype::F32, 1e-6), (LossDtype::F64, 2e-8)] {
        let result = evaluate(&exact(dtype), tensor(&[20.0, 0.0, -1.0, 1.0], 4, DType::F64), &[0]);
        assert_close(&format!("loss {dtype:?}"), &result.rows, &[8.422206067e-9], tolerance, 2e-16);
        assert_close(&format!("gradient {dtype:?}"), &result.grad, &want, tolerance, 2e-16);
    }
    // The loss lives until exp(−margin) leaves the subnormal numbers.
    let at = |margin| evaluate(&exact(LossDtype::F32), tensor(&[margin, 0.0], 2, DType::F32), &[0]).rows[0];
    assert!(at(102.0) > 0.0 && at(104.5) == 0.0);
    // A single class has no rivals.
    let lone = evaluate(&exact(LossDtype::F32), tensor(&[3.0], 1, DType::F32), &[0]);
    assert_eq!((lone.rows[0], lone.grad[0]), (0.0, 0.0));
}

#[test]
fn precisions_meet_every_storage_type() {
    let x = normal(1, 7 * 63, 2.0);
    let target: Vec<usize> = (0..7).map(|row| row * 10).collect();
    let losses = |dtype| {
        [softmax(dtype), stablemax(dtype, StableMaxForm::Log1p), stablemax(dtype, StableMaxForm::Ratio), exact(dtype)]
    };
    for (index, want) in losses(LossDtype::F64).iter().enumerate() {
        let want = evaluate(want, tensor(&x, 63, DType::F64), &target);
        for (storage, storage_error) in [(DType::F64, 0.0), (DType::F32, 1e-6), (DType::F16, 2e-3), (DType::BF16, 2e-2)]
        {
            for (dtype, loss_error) in [(LossDtype::F64, 1e-14), (LossDtype::F32, 2e-6), (LossDtype::F16, 5e-3)] {
                let loss = &losses(dtype)[index];
                let got = evaluate(loss, tensor(&x, 63, storage), &target);
                let error = storage_error + loss_error;
                assert_close(&format!("{loss:?} {storage:?}"), &got.rows, &want.rows, error, error);
                assert_close(
                    &format!("gradient of {loss:?} {storage:?}"),
                    &got.grad,
                    &want.grad,
                    2.0 * error,
                    0.1 * error,
                );
            }
        }
    }
}

#[test]
fn the_row_sum_is_the_loss_own_sum() {
    let x = tensor(&normal(2, 5 * 113, 8.0), 113, DType::F32);
    for dtype in [LossDtype::F16, LossDtype::F32, LossDtype::F64] {
        for sum in [SumOrder::Lanes, SumOrder::Sequential] {
            let loss = LossConfig::CrossEntropy(CrossEntropyConfig { dtype, sum, ..Default::default() });
            let own = evaluate(&loss, x.clone(), &[0, 1, 2, 3, 4]).row_sum;
            assert_bits("row sum", &values(softmax_row_sum(x.clone(), dtype, sum)), &own);
        }
    }
}

#[test]
fn the_forms_of_a_config() {
    let json = |text: &str| serde_json::from_str::<LossConfig>(text);
    assert_eq!(json(r#""cross_entropy""#).unwrap(), LossConfig::default());
    let full = r#"{ "name": "cross_entropy", "normalizer": { "name": "stablemax", "form": "log1p" }, "dtype": "f64", "sum": "sequential" }"#;
    let config = json(full).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), serde_json::from_str::<serde_json::Value>(full).unwrap());
    assert!(config.check().is_ok());
    let refused = json(r#"{ "name": "cross_entropy", "dtype": "f8" }"#).unwrap_err().to_string();
    assert!(refused.contains("expected one of `f16`, `f32`, `f64`"), "{refused}");
    assert_eq!(LossConfig::NAMES[..2], ["cross_entropy", "ce_exact"]);
}
