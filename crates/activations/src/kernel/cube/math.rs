//! Functions that CubeCL devices do not offer with full precision.
#![allow(missing_docs, reason = "CubeCL's macros put items without a comment beside the written ones")]

use super::cubecl::{
    self,
    ir::{ElemType, FloatKind},
    prelude::*,
};

/// ln(1 + x) of x ≥ 0 to full relative precision.
///
/// Where a device has no such function CubeCL takes the logarithm of the rounded 1 + x, which is 0 below 6e-8.
/// ```text
/// ln(1 + x) = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …),   s = x / (2 + x),   below x = 1/4
/// ```
/// Devices that compute `f64` have the function.
#[cube]
pub fn log_1p<C: Float>(x: C) -> C {
    let elem = elem_type_of::<C>();
    if comptime!(elem == ElemType::Float(FloatKind::F64)) {
        x.log1p()
    } else {
        let s = x / (x + C::new(2.0_f32));
        let square = s * s;
        let mut series = C::new(0.111_111_11_f32);
        series = series * square + C::new(0.142_857_14_f32);
        series = series * square + C::new(0.2_f32);
        series = series * square + C::new(0.333_333_33_f32);
        series = series * square + C::new(1.0_f32);
        select(x < C::new(0.25_f32), C::new(2.0_f32) * s * series, (x + C::new(1.0_f32)).ln())
    }
}

/// Whether `x` is +∞ or −∞.
#[cube]
pub(super) fn is_inf<C: Float>(x: C) -> bool {
    bool::cast_from(x.is_inf())
}

/// Whether `x` is not a number.
#[cube]
pub(super) fn is_nan<C: Float>(x: C) -> bool {
    bool::cast_from(x.is_nan())
}
