use super::{
    Double, Half, MapRows, MapVjpRows, NllOut, NllRows, NllVjpOut, Precision, Real, RowMap, RowNll, Single,
    isa::{self, Isa},
    lanes, map, nll,
};
use crate::{
    loss::{ExactNll, SumOrder},
    normalizer::{
        AdaptiveTemperatureRow, Extrapolate, LogLengthScale, LogRatioRow, RatioNll, RatioRow, SaSoftmaxNormRow,
        ScaledSoftmaxNll, ScaledSoftmaxRow, Softmax1Row, SoftmaxNll, SoftpickRow, StableMaxForm, StableMaxNll,
        TaylorGrowth,
    },
    testing::normal,
};

/// The order of the sum, spelled out for 35 terms: two full rounds and a tail of three.
#[test]
fn lane_sum_follows_the_fixed_order() {
    let x: Vec<f32> = (0..35).map(|i| 1.0 + (i as f32 * 0.7).sin() * 1e-3 * 3f32.powi(i % 5)).collect();
    let lane: Vec<f32> = (0..16)
        .map(|lane| {
            let mut sum = 0.0;
            for term in x.iter().skip(lane).step_by(16) {
                sum += term;
            }
            sum
        })
        .collect();
    let pairs = |x: &[f32]| -> Vec<f32> { x.chunks(2).map(|pair| pair[0] + pair[1]).collect() };
    let want = pairs(&pairs(&pairs(&pairs(&lane))))[0];
    assert_eq!(lanes::lane_sum(&x).to_bits(), want.to_bits());
    assert_ne!(want.to_bits(), lanes::sum(&x, SumOrder::Sequential).to_bits(), "the order matters here");
    assert_eq!(lanes::lane_sum::<f64>(&[]), 0.0);
}

#[test]
fn lane_sum_of_terms_is_the_lane_sum_of_their_values() {
    for n in [1usize, 15, 16, 17, 63, 100] {
        let rows = [1, 2, 3].map(|seed| normal(seed, n, 1.0));
        let terms: Vec<f64> = (0..n).map(|i| rows[0][i] * rows[1][i] * rows[2][i]).collect();
        let sum = lanes::lane_sum_of([&rows[0], &rows[1], &rows[2]], |[a, b, c]| a * b * c);
        assert_eq!(sum.to_bits(), lanes::lane_sum(&terms).to_bits(), "{n}");
    }
}

#[test]
fn max_and_finiteness_look_at_every_entry() {
    for n in [1, 2, 15, 16, 17, 63, 100] {
        for at in 0..n {
            let mut x = vec![-3.0f32; n];
            x[at] = -1.0;
            assert_eq!(lanes::max(&x), -1.0, "{n} {at}");
            let negated: Vec<f32> = x.iter().map(|x| -x).collect();
            assert_eq!(lanes::min(&negated), 1.0, "{n} {at}");
            x[at] = -7.0;
            assert_eq!(lanes::max_abs(&x), 7.0, "{n} {at}");
            let ones = vec![1.0; n];
            assert_eq!(lanes::lane_sum_of([&x, &ones], |[x, one]| x * one), lanes::lane_sum(&x), "{n} {at}");
            assert!(lanes::all_finite(&x));
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                x[at] = odd;
                assert!(!lanes::all_finite(&x), "{n} {at} {odd}");
            }
        }
    }
}

fn same_on_every_isa<K: RowNll + Copy, P: Precision>(kernel: K) {
    for n in [1, 2, 3, 16, 63, 113, 257] {
        let x: Vec<P::T> = normal(n as u64, 3 * n, 4.0).into_iter().map(|x| P::round(P::T::of(x))).collect();
        let targets = [0, n / 2, n - 1];
        let rows = NllRows { n, x: &x, params: &[], targets: &targets };
        let run = |isa: Isa| {
            let zeros = |n: usize| vec![P::T::of(0.0); n];
            let (mut loss, mut row_sum, mut scratch, mut dx) = (zeros(3), zeros(3), zeros(n), zeros(3 * n));
            let out = NllOut { loss: &mut loss, row_sum: &mut row_sum, scratch: &mut scratch };
            isa::run_on(isa, nll::Forward::<K, P> { loss: &kernel, rows, out });
            let g = [P::T::of(1.0 / 1024.0); 3];
            let out = NllVjpOut { row_sum: &row_sum, g: &g, dx: &mut dx, dparams: &mut [] };
            isa::run_on(isa, nll::Vjp::<K, P> { loss: &kernel, rows, out });
            [loss, row_sum, dx].concat().into_iter().map(|x| x.wide().to_bits()).collect::<Vec<_>>()
        };
        let mut all = Isa::available().map(|isa| (isa, run(isa)));
        let (best, want) = all.next().expect("the baseline is always there");
        for (isa, got) in all {
            assert!(got == want, "{kernel:?}, n = {n}: {isa:?} and {best:?} differ");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    fn all<K: RowNll + Copy>(kernel: K) {
        same_on_every_isa::<K, Half>(kernel);
        same_on_every_isa::<K, Single>(kernel);
        same_on_every_isa::<K, Double>(kernel);
    }
    let sum = SumOrder::Lanes;
    all(SoftmaxNll { sum });
    all(StableMaxNll { sum, form: StableMaxForm::Log1p });
    all(StableMaxNll { sum, form: StableMaxForm::Ratio });
    all(ExactNll);
    all(ScaledSoftmaxNll { scale: LogLengthScale::<0> { s: 0.43, b: 0.1, floor: 1.0 }, sum });
    all(RatioNll { growth: TaylorGrowth { order: 4 }, sum });
}

/// Maps whose sums have terms of their own, or whose loops choose between two values.
#[test]
fn every_instruction_set_gives_the_same_weights() {
    fn same<K: RowMap, T: Real>(kernel: &K, params: &[f64]) {
        for n in [1, 2, 16, 63, 257] {
            let of = |x: Vec<f64>| x.into_iter().map(T::of).collect::<Vec<T>>();
            let (x, g) = (of(normal(n as u64, n, 2.0)), of(normal(9, n, 1.0)));
            let params = of(params.to_vec());
            let run = |isa: Isa| {
                let zeros = |n: usize| vec![T::zero(); n];
                let (mut y, mut dx, mut dparams) = (zeros(n), zeros(n), zeros(params.len()));
                let rows = MapRows { n, x: &x, params: &params, y: &mut y };
                isa::run_on(isa, map::Forward { map: kernel, rows });
                let (dx_out, dparams_out) = (&mut dx[..], &mut dparams[..]);
                let rows = MapVjpRows { n, x: &x, y: &y, params: &params, g: &g, dx: dx_out, dparams: dparams_out };
                isa::run_on(isa, map::Vjp { map: kernel, rows });
                [y, dx, dparams].concat().into_iter().map(|x| x.wide().to_bits()).collect::<Vec<_>>()
            };
            let mut all = Isa::available().map(|isa| (isa, run(isa)));
            let (best, want) = all.next().expect("the baseline is always there");
            for (isa, got) in all {
                assert!(got == want, "{kernel:?}, n = {n}: {isa:?} and {best:?} differ");
            }
        }
    }
    fn all<K: RowMap>(kernel: K, params: &[f64]) {
        same::<K, f32>(&kernel, params);
        same::<K, f64>(&kernel, params);
    }
    all(ScaledSoftmaxRow(LogLengthScale::<2> { s: 0.0, b: 0.0, floor: 0.0 }), &[0.43, 0.1]);
    all(RatioRow(TaylorGrowth { order: 4 }), &[]);
    all(LogRatioRow(TaylorGrowth { order: 4 }), &[]);
    all(SoftpickRow { eps: 1e-6 }, &[]);
    all(SaSoftmaxNormRow { eps: 1e-10, offset: 0.0 }, &[]);
    all(Softmax1Row::<1> { sink: 0.0 }, &[0.5]);
    all(AdaptiveTemperatureRow { extrapolate: Extrapolate::Clamp, detach_beta: false }, &[]);
}
