//! Every entry passes where it is known to be right, and a wrong kernel does not.
use std::sync::Arc;

use burn::tensor::Tensor;

use super::*;
use crate::{
    Ctx,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow},
    normalizer::{Laws, Normalize, Rows, Softmax, SoftmaxRow},
};

/// All shapes but the largest, for time.
fn setting(dtype: DType) -> Setting {
    let setting = Setting::new(Device::flex(), dtype);
    Setting { shapes: setting.shapes.into_iter().filter(|[_, n]| *n < 1000).collect(), ..setting }
}

fn fails(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let Finding { name, dtype, quantity, error_ulp, composed_ulp, place, .. } = finding;
        let problem = finding.problem.map_or_else(String::new, |problem| problem.to_string());
        format!(
            "{name} {dtype} {quantity}: {error_ulp:.1} ulp, composed {composed_ulp:.1?}, {place}: got {:e}, expected {:e}: {problem}",
            place.got, place.want
        )
    };
    findings.iter().filter(|finding| !finding.passed()).map(line).collect()
}

fn every_entry_passes(dtype: DType) {
    let failed: Vec<String> = entries().iter().flat_map(|entry| fails(&entry.check(&setting(dtype)))).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn every_entry_passes_in_f64() {
    every_entry_passes(DType::F64);
}

#[test]
fn every_entry_passes_in_f32() {
    every_entry_passes(DType::F32);
}

#[test]
fn every_entry_passes_in_f16() {
    every_entry_passes(DType::F16);
}

#[test]
fn every_entry_passes_in_bf16() {
    every_entry_passes(DType::BF16);
}

#[test]
fn entries_are_the_registries() {
    let names: Vec<String> = entries().iter().map(Entry::name).collect();
    for name in ["softmax", "stablemax", "cross_entropy(softmax)", "fenchel_young(sparsemax)", "ce_exact"] {
        assert!(names.iter().any(|known| known == name), "{name} is missing in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "cross_entropy(sparsemax)"), "it has no log form");
}

/// What is wrong with a softmax kernel that was planted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Every third weight is off by 1e-5.
    Forward,
    /// The mean is missing in the gradient.
    Gradient,
    /// +∞ makes NaN although one-hot is declared: the last entry is scaled by it.
    Tail,
}

#[derive(Clone, Copy, Debug)]
struct Planted(Fault);

impl Normalize for Planted {
    fn laws(&self) -> Laws {
        Laws::SOFTMAX
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(*self)
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        Softmax::default().composed(rows, ctx)
    }
}

impl RowMap for Planted {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        SoftmaxRow.forward(x, params, y);
        match self.0 {
            Fault::Forward if y.len() > 2 => y.iter_mut().step_by(3).for_each(|y| *y = *y * T::of(1.00001)),
            // Rows whose length is no multiple of 16 miss their last entry.
            Fault::Tail if y.len() > 16 && !y.len().is_multiple_of(16) => y[x.len() - 1] = T::nan(),
            _ => {}
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        SoftmaxRow.vjp(row, dx, dparams);
        if self.0 == Fault::Gradient {
            for ((dx, &y), &g) in dx.iter_mut().zip(row.y).zip(row.g) {
                *dx = y * g;
            }
        }
    }
}

#[test]
fn a_planted_wrong_kernel_fails_and_is_located() {
    let setting = setting(DType::F32);
    let check = |fault| check_map("planted", &Planted(fault), &setting);
    assert_eq!(fails(&check(Fault::None)), [] as [String; 0]);

    let findings = check(Fault::Forward);
    assert_eq!(findings[0].problem, Some(Problem::Error));
    assert_eq!((findings[0].quantity, findings[0].place.entry % 3), (Quantity::Weights, 0), "{:?}", findings[0]);
    assert!(findings[0].place.n > 2 && findings[0].error_ulp > 50.0, "{:?}", findings[0]);

    let findings = check(Fault::Gradient);
    assert!(findings[0].passed(), "{:?}", findings[0]);
    assert_eq!((findings[1].quantity, findings[1].passed()), (Quantity::WeightsGradient, false));

    let findings = check(Fault::Tail);
    assert_eq!(findings[0].problem, Some(Problem::Pattern));
    assert!(findings[0].place.n > 16 && findings[0].place.got.is_nan(), "{:?}", findings[0]);
}
