//! Comparisons whose failure names the place and both values.

/// Asserts that every value is within `relative` of the wanted one, or within `absolute`.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    let excess = |got: f64, want: f64| {
        let same = got == want || (got.is_nan() && want.is_nan());
        if same { 0.0 } else { (got - want).abs() / (relative * want.abs() + absolute) }
    };
    let worst = (0..got.len()).max_by(|&a, &b| {
        // NaN is the worst of all.
        let key = |i: usize| Some(excess(got[i], want[i])).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b))
    });
    if let Some(i) = worst {
        let ok = excess(got[i], want[i]) <= 1.0;
        assert!(
            ok,
            "{what}[{i}]: got {:e}, expected {:e} (relative {relative:e}, absolute {absolute:e})",
            got[i], want[i]
        );
    }
}

/// Asserts that two results have the same bits.
#[track_caller]
pub(crate) fn assert_bits(what: &str, a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len(), "{what}: number of values");
    if let Some(i) = (0..a.len()).find(|&i| a[i].to_bits() != b[i].to_bits()) {
        panic!("{what}[{i}]: {:e} and {:e} differ", a[i], b[i]);
    }
}
