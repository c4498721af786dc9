//! The check of a map.
use burn::tensor::{DType, Device};
use kiln_stream::Stream;

use super::{
    Finding, Kind, Place, Quantity, Setting,
    cases::Case,
    dtype_name,
    expected::Expected,
    pass::{Inputs, Pass, host, tensor, values},
    ulp::{Want, Worst, cap, judge, largest, limit, worst},
    yardstick::Yardstick,
};
use crate::{
    Ctx,
    kernel::{self, AtInfinity},
    normalizer::{Gradient, Heads, Normalize, Rows},
};

/// Checks a map: its weights, their logarithms where it has them, and the gradients at scores and row parameters. One
/// finding for each.
///
/// A stochastic map is held against its composed form at the scores it perturbed, with equal draws on both sides. A map whose
/// backward pass computes nothing is checked forward only.
///
/// `map` is built for the setting's device and dtype; `name` is what the findings call it.
///
/// # Panics
/// If the device cannot run the map, or no host backend is compiled in.
pub fn check_map(name: &str, map: &dyn Normalize, setting: &Setting) -> Vec<Finding> {
    let mut best = Collected::default();
    let host = host();
    for case in Case::all(setting, &Kind::ALL) {
        check_case(map, &case, setting, &host, &mut best);
    }
    best.findings(name, setting.dtype)
}

/// The pass in which noise is drawn.
fn ctx() -> Ctx {
    Ctx::train(0, 0)
}

fn check_case(map: &dyn Normalize, case: &Case, setting: &Setting, host: &Device, found: &mut Collected) {
    let Setting { device, dtype, .. } = setting;
    let (n, ctx) = (case.n, ctx());
    let x = tensor(&case.scores, [case.rows, n], device, *dtype);
    let (perturbed, params) = map.prepared(x, Heads::ONE, &ctx);
    let (scores, params) = (values(perturbed.detach()), params.map(|params| values(params.detach())));
    let expected = Expected::new(case, &scores);
    let composable = expected.composable(&scores);
    let differentiates = map.laws().gradient != Gradient::None;
    let upstream = differentiates.then_some(&case.upstream[..]);
    let inputs = Inputs { device, dtype: *dtype, n, scores: &case.scores, params: params.as_deref(), upstream };
    let (keep, host_keep) = (case.keep(device), case.keep(host));
    let jumps = Jumps {
        results: map.laws().gradient == Gradient::StraightThrough,
        gradients: map.laws().gradient == Gradient::StraightThrough || map.laws().can_be_zero,
    };
    let says = |row| expected.is_finite(row);

    for log in [false, true] {
        let at_infinity = match (log, map.log_kernel(&ctx)) {
            (false, _) => map.kernel(&ctx).at_infinity(),
            (true, Some(kernel)) => kernel.at_infinity(),
            (true, None) => continue,
        };
        let composed = |inputs: Inputs<'_>, keep: &crate::Keep| {
            inputs.run(|scores, params| {
                let rows = Rows { scores, params, keep };
                if log {
                    map.composed_log(&rows, &ctx).expect("a map with a log kernel has a composed log form")
                } else {
                    map.composed(&rows, &ctx)
                }
            })
        };
        let got = inputs.run(|x, _| {
            if log {
                map.log_rows(x, &keep, Heads::ONE, &ctx).expect("a map with a log kernel has a log form")
            } else {
                map.rows(x, &keep, Heads::ONE, &ctx)
            }
        });
        let at = |scores: &[f64]| composed(Inputs { scores, ..inputs }.on(host, DType::F64), &host_keep);
        let yardstick = Yardstick::new(&Inputs { scores: &composable, ..inputs }, host, |inputs, elsewhere| {
            composed(inputs, if elsewhere { &host_keep } else { &keep })
        });
        let want = Reference::new(at(&composable), case, &composable, log, differentiates, params.is_some())
            .with_jumps(jumps, &composable, *dtype, at)
            .with_param_terms(case, |upstream| {
                let inputs = Inputs { scores: &composable, upstream: Some(upstream), ..inputs };
                composed(inputs.on(host, DType::F64), &host_keep)
            })
            .settled(&expected, at_infinity, log, map.laws().sums_to_one);
        let (weights, gradient) = if log {
            (Quantity::LogWeights, Quantity::LogWeightsGradient)
        } else {
            (Quantity::Weights, Quantity::WeightsGradient)
        };
        found.add(
            case,
            Compared {
                quantity: weights,
                dtype: *dtype,
                error: worst(&got.y, &want.y, *dtype, |_| true),
                composed: yardstick.error(|pass| &pass.y, &want.y, *dtype, says),
            },
        );
        if !differentiates {
            continue;
        }
        found.add(
            case,
            Compared {
                quantity: gradient,
                dtype: *dtype,
                error: worst(&got.dx, &want.dx, *dtype, |_| true),
                composed: yardstick.error(|pass| &pass.dx, &want.dx, *dtype, says),
            },
        );
        if let (false, Some(want), true) = (log, &want.dparams, kernel::supports(device)) {
            let leaves = Inputs { scores: &scores, ..inputs };
            let got = leaves.run(|x, params| kernel::row_map(x, params, &keep, map.kernel(&ctx)));
            found.add(
                case,
                Compared {
                    quantity: Quantity::ParamGradient,
                    dtype: *dtype,
                    error: worst(&got.dparams, want, *dtype, says),
                    composed: yardstick.error(|pass| &pass.dparams, want, *dtype, says),
                },
            );
        }
    }
}

/// Small beside every constant that a map adds to its scores.
const TINY: f64 = 1e-6;

/// Which of a map's values jump at some scores.
#[derive(Clone, Copy)]
struct Jumps {
    results: bool,
    gradients: bool,
}

/// What the reference says of a case.
struct Reference {
    y: Want,
    dx: Want,
    dparams: Option<Want>,
}

impl Reference {
    fn new(pass: Pass, case: &Case, scores: &[f64], log: bool, differentiates: bool, has_params: bool) -> Self {
        let n = case.n;
        // A gradient is weights times differences of g, that of logarithms differences of g.
        let y = if log { vec![1.0; case.rows] } else { largest(&pass.y, n) };
        let terms: Vec<f64> = y.iter().zip(largest(&case.upstream, n)).map(|(y, g)| y * g).collect();
        let dparams = (differentiates && has_params).then(|| {
            let width = (pass.dparams.len() / case.rows).max(1);
            Want::exactly(pass.dparams, width).of_terms(terms.clone())
        });
        // The logarithm of a weight is that of a function of the score minus that of a sum, neither above a few times this.
        let logs = largest(scores, n).into_iter().map(|x| if log { 1.0 + x.ln_1p() } else { 0.0 });
        Self {
            y: Want::exactly(pass.y, n).of_terms(logs.collect()),
            dx: Want::exactly(pass.dx, n).of_terms(terms),
            dparams,
        }
    }

    /// Takes in what the reference says a few units of the last place to either side: up for even places and down for odd
    /// ones, then the reverse, because many maps do not see a shift of the whole row.
    fn with_jumps(mut self, jumps: Jumps, scores: &[f64], dtype: DType, at: impl Fn(&[f64]) -> Pass) -> Self {
        if !jumps.gradients {
            return self;
        }
        // Half types are computed in f32.
        let unit = 8.0 * if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        // Of numbers of size 1, which most maps form, and far less, where scores and a map's own constants are tiny.
        for (sign, size) in [(1.0, 1.0), (-1.0, 1.0), (1.0, TINY), (-1.0, TINY)] {
            let nudge = |(i, x): (usize, &f64)| x + if i % 2 == 0 { sign } else { -sign } * unit * x.abs().max(size);
            let pass = at(&scores.iter().enumerate().map(nudge).collect::<Vec<f64>>());
            if jumps.results {
                self.y.or_across_jumps(&pass.y);
            }
            self.dx.or_across_jumps(&pass.dx);
            if let Some(dparams) = &mut self.dparams {
                dparams.or_across_jumps(&pass.dparams);
            }
        }
        self
    }

    /// Sizes of what the gradients at the parameters are sums of: the largest sum at a few random signs of the upstream
    /// gradient.
    fn with_param_terms(mut self, case: &Case, at: impl Fn(&[f64]) -> Pass) -> Self {
        let Some(dparams) = &mut self.dparams else { return self };
        let terms = &mut dparams.terms;
        for probe in 0..3 {
            let mut draws = Stream::new(probe, "check signs").at(0);
            let mut signed = |g: &f64| if draws.uniform() < 0.5 { -g } else { *g };
            let pass = at(&case.upstream.iter().map(&mut signed).collect::<Vec<f64>>());
            for (term, probed) in terms.iter_mut().zip(largest(&pass.dparams, dparams.width)) {
                *term = term.max(probed);
            }
        }
        self
    }

    fn settled(mut self, expected: &Expected, at_infinity: AtInfinity, log: bool, sums_to_one: bool) -> Self {
        expected.results(&mut self.y, at_infinity, log);
        if sums_to_one {
            expected.lone_entries(&mut self.y, if log { 0.0 } else { 1.0 });
        }
        if !self.dx.low.is_empty() {
            if sums_to_one {
                expected.lone_entries(&mut self.dx, 0.0);
            }
            expected.gradients(&mut self.dx, at_infinity);
        }
        self
    }
}

/// One quantity of one case.
pub(super) struct Compared {
    pub(super) quantity: Quantity,
    /// The dtype of its values.
    pub(super) dtype: DType,
    pub(super) error: Worst,
    /// The composed form's error, where it is a number.
    pub(super) composed: Option<f64>,
}

/// The worst case so far of each quantity, in the order they came.
#[derive(Default)]
pub(super) struct Collected(Vec<(Place, Compared)>);

impl Collected {
    pub(super) fn add(&mut self, case: &Case, new: Compared) {
        let (row, entry) = (new.error.place / new.error.width, new.error.place % new.error.width);
        let Worst { got, want, .. } = new.error;
        let place = Place { rows: case.rows, n: case.n, kind: case.kind, row, entry, got, want };
        match self.0.iter_mut().find(|(_, old)| old.quantity == new.quantity) {
            None => self.0.push((place, new)),
            Some(old) if new.excess(case.n) > old.1.excess(old.0.n) => *old = (place, new),
            Some(_) => {}
        }
    }

    pub(super) fn findings(self, name: &str, dtype: DType) -> Vec<Finding> {
        self.0
            .into_iter()
            .map(|(place, compared)| Finding {
                name: name.into(),
                dtype: dtype_name(dtype),
                quantity: compared.quantity,
                error_ulp: compared.error.ulp,
                composed_ulp: compared.composed,
                place,
                problem: judge(compared.error, compared.composed, compared.dtype, place.n),
            })
            .collect()
    }
}

impl Compared {
    /// How near to its limit: a misplaced NaN is beyond every error.
    fn excess(&self, n: usize) -> f64 {
        if self.error.pattern {
            return f64::INFINITY;
        }
        (self.error.ulp / limit(self.composed, self.dtype, n)).max(self.error.share / cap(self.dtype))
    }
}
