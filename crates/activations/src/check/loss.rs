//! The check of a loss.
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{
    Finding, Kind, Quantity, Setting,
    cases::Case,
    expected::Expected,
    map::{Collected, Compared},
    pass::{Inputs, host},
    ulp::{Want, worst},
    yardstick::Yardstick,
};
use crate::loss::{LossDtype, Objective, Target, TargetKind};

/// Checks a loss: the losses of the rows and their gradient at the logits. One finding for each.
///
/// `loss` is built for the setting's device; `reference` is the same loss built on the host, of which only the definition
/// ([`Objective::composed`]) is used. It is asked about the first kind of target it [takes](Objective::targets); what it says
/// of rows with NaN or infinities is settled for classes alone. Losses take no mask, so the kinds of rows are those without
/// one. A loss in f16 rounds every term and sum to half precision, which overflows at huge logits and underflows at tiny ones by
/// design: those kinds are left out.
///
/// # Panics
/// If the device cannot run the loss, or no host backend is compiled in.
pub fn check_loss(name: &str, loss: &dyn Objective, reference: &dyn Objective, setting: &Setting) -> Vec<Finding> {
    let half = loss.dtype() == LossDtype::F16;
    let kinds: &[Kind] = match loss.targets()[0] {
        TargetKind::Classes if half => &[Kind::Plain, Kind::Special],
        TargetKind::Classes => &[Kind::Plain, Kind::Special, Kind::Huge, Kind::Tiny],
        _ if half => &[Kind::Plain],
        _ => &[Kind::Plain, Kind::Huge, Kind::Tiny],
    };
    let mut found = Collected::default();
    for case in Case::all(setting, kinds) {
        check_case(loss, reference, &case, setting, &mut found);
    }
    found.findings(name, setting.dtype)
}

fn check_case(loss: &dyn Objective, reference: &dyn Objective, case: &Case, setting: &Setting, found: &mut Collected) {
    let Setting { device, dtype, .. } = setting;
    let loss_dtype = loss.dtype().dtype();
    let host = host();
    let targets: Vec<usize> = (0..case.rows).map(|row| (row * 7 + case.n / 3) % case.n).collect();
    let kind = loss.targets()[0];
    let target = |device: &Device, dtype: DType| target(kind, &targets, case, device, dtype);
    let expected = Expected::new(case, &case.scores);
    let composable = expected.composable(&case.scores);
    let upstream = Some(&case.upstream[..case.rows]);
    let inputs = Inputs { device, dtype: *dtype, n: case.n, scores: &case.scores, params: None, upstream };
    let got = inputs.run(|logits, _| loss.forward(logits, &target(device, *dtype)).rows);
    let composable = Inputs { scores: &composable, ..inputs };
    let want = composable.on(&host, DType::F64).run(|logits, _| reference.composed(logits, &target(&host, DType::F64)));
    // A loss is a difference of logarithms, a gradient one of weights, times what arrives.
    let mut value = Want::exactly(want.y, 1).of_terms(vec![1.0; case.rows]);
    let mut gradient =
        Want::exactly(want.dx, case.n).of_terms(case.upstream[..case.rows].iter().map(|g| g.abs()).collect());
    if kind == TargetKind::Classes {
        expected.losses(&mut value, &mut gradient, &targets);
    }
    let says = |row: usize| expected.has_loss(row, targets[row]);
    // The composed form computes in the precision of the loss, and its gradient passes the same cast.
    let yardstick = Yardstick::new(&composable, &host, |inputs, elsewhere| {
        let compute = if inputs.dtype == DType::F64 || elsewhere { inputs.dtype } else { loss_dtype };
        let objective = if elsewhere { reference } else { loss };
        inputs.run(|logits, _| objective.composed(logits.cast(compute), &target(inputs.device, inputs.dtype)))
    });
    found.add(
        case,
        Compared {
            quantity: Quantity::Loss,
            dtype: loss_dtype,
            error: worst(&got.y, &value, loss_dtype, |_| true),
            composed: yardstick.error(|pass| &pass.y, &value, loss_dtype, says),
        },
    );
    found.add(
        case,
        Compared {
            quantity: Quantity::LossGradient,
            dtype: *dtype,
            error: worst(&got.dx, &gradient, *dtype, |_| true),
            composed: yardstick.error(|pass| &pass.dx, &gradient, *dtype, says),
        },
    );
}

/// What the rows should say: these classes, or the same classes as rows of numbers that halves hold exactly.
fn target(kind: TargetKind, classes: &[usize], case: &Case, device: &Device, dtype: DType) -> Target {
    let n = case.n;
    let rows = |other: f64, own: f64| {
        let mut values = vec![other; case.rows * n];
        classes.iter().enumerate().for_each(|(row, class)| values[row * n + class] = own);
        Tensor::<2>::from_data(TensorData::new(values, [case.rows, n]), (device, dtype))
    };
    match kind {
        TargetKind::Classes => {
            let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
            Target::Classes(Tensor::<1, Int>::from_data(TensorData::new(classes, [case.rows]), device))
        }
        TargetKind::Soft => {
            // A power of two below 1/(2n) for the others, the rest for the class: the sum is 1 without rounding.
            let share = if n == 1 { 0.0 } else { 2f64.powi(-((2 * n) as f64).log2().ceil() as i32) };
            Target::Soft(rows(share, 1.0 - share * (n - 1) as f64))
        }
        TargetKind::Labels => Target::Labels(rows(0.0, 1.0)),
        TargetKind::Values => Target::Values(rows(-0.5, 1.5)),
    }
}
