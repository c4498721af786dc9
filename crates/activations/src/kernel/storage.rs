//! How numbers are stored in a tensor, against the scalar a row is computed in.
use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    Double, Half, Precision, Single,
    isa::{self, Job},
    precision::to_half,
};

/// A stored number that can be loaded into the arithmetic of the precision `P`.
pub(crate) trait Stored<P: Precision>: Copy + Default + Send + Sync + 'static {
    /// The values of `x`, rounded to `P`: borrowed where storage and arithmetic are the same, otherwise put into
    /// `room`, which is at least as long.
    fn load<'a>(x: &'a [Self], room: &'a mut [P::T]) -> &'a [P::T];

    /// Calls `fill` with the arithmetic's own view of `out`, or with `room` (at least as long), whose values are
    /// then rounded to storage.
    fn fill<R>(out: &mut [Self], room: &mut [P::T], fill: impl FnOnce(&mut [P::T]) -> R) -> R;

    /// `values` as they are stored: themselves where storage and arithmetic are the same, otherwise rounded into `room`,
    /// which is at least as long.
    fn stored<'a>(values: &'a [P::T], room: &'a mut [Self]) -> &'a [Self];

    /// Calls `change` with `values` in the arithmetic of `P`: with themselves, or with their copy in `room` (at least as
    /// long), which is then rounded to storage.
    fn update(values: &mut [Self], room: &mut [P::T], change: impl FnOnce(&mut [P::T]));
}

macro_rules! same {
    ($stored:ty, $precision:ty) => {
        impl Stored<$precision> for $stored {
            #[inline]
            fn load<'a>(x: &'a [Self], _: &'a mut [Self]) -> &'a [Self] {
                x
            }
            #[inline]
            fn fill<R>(out: &mut [Self], _: &mut [Self], fill: impl FnOnce(&mut [Self]) -> R) -> R {
                fill(out)
            }
            #[inline]
            fn stored<'a>(values: &'a [Self], _: &'a mut [Self]) -> &'a [Self] {
                values
            }
            #[inline]
            fn update(values: &mut [Self], _: &mut [Self], change: impl FnOnce(&mut [Self])) {
                change(values);
            }
        }
    };
}

macro_rules! converted {
    ($stored:ty, $precision:ty, $scalar:ty, |$x:ident, $room:ident| $load:expr, |$y:ident, $out:ident| $store:expr) => {
        impl Stored<$precision> for $stored {
            fn load<'a>(x: &'a [Self], room: &'a mut [$scalar]) -> &'a [$scalar] {
                #[inline(always)]
                fn load($x: &[$stored], $room: &mut [$scalar]) {
                    $load
                }
                let room = &mut room[..x.len()];
                isa::run(Convert { from: x, to: &mut *room, by: load });
                room
            }
            fn fill<R>(out: &mut [Self], room: &mut [$scalar], fill: impl FnOnce(&mut [$scalar]) -> R) -> R {
                let room = &mut room[..out.len()];
                let result = fill(room);
                <Self as Stored<$precision>>::stored(room, out);
                result
            }
            fn stored<'a>(values: &'a [$scalar], room: &'a mut [Self]) -> &'a [Self] {
                #[inline(always)]
                fn store($y: &[$scalar], $out: &mut [$stored]) {
                    $store
                }
                let room = &mut room[..values.len()];
                isa::run(Convert { from: values, to: &mut *room, by: store });
                room
            }
            fn update(values: &mut [Self], room: &mut [$scalar], change: impl FnOnce(&mut [$scalar])) {
                let room = &mut room[..values.len()];
                <Self as Stored<$precision>>::load(values, room);
                <Self as Stored<$precision>>::fill(values, room, change);
            }
        }
    };
}

struct Convert<'a, A, B, F> {
    from: &'a [A],
    to: &'a mut [B],
    by: F,
}

impl<A, B, F: Fn(&[A], &mut [B])> Job for Convert<'_, A, B, F> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        (self.by)(self.from, self.to);
    }
}

#[inline(always)]
fn each<A: Copy, B>(from: &[A], to: &mut [B], by: impl Fn(A) -> B) {
    for (from, to) in from.iter().zip(to) {
        *to = by(*from);
    }
}

same!(f32, Single);
same!(f64, Double);
converted!(f32, Double, f64, |x, y| each(x, y, |x| x as f64), |x, y| each(x, y, |x| x as f32));
converted!(f64, Single, f32, |x, y| each(x, y, |x| x as f32), |x, y| each(x, y, |x| x as f64));
converted!(f32, Half, f32, |x, y| each(x, y, to_half), |x, y| each(x, y, |x| x));
converted!(f64, Half, f32, |x, y| each(x, y, |x| to_half(x as f32)), |x, y| each(x, y, |x| x as f64));
converted!(f16, Half, f32, |x, y| x.convert_to_f32_slice(y), |x, y| y.convert_from_f32_slice(x));
converted!(f16, Single, f32, |x, y| x.convert_to_f32_slice(y), |x, y| y.convert_from_f32_slice(x));
converted!(f16, Double, f64, |x, y| x.convert_to_f64_slice(y), |x, y| y.convert_from_f64_slice(x));
converted!(
    bf16,
    Half,
    f32,
    |x, y| {
        x.convert_to_f32_slice(y);
        y.iter_mut().for_each(|y| *y = to_half(*y));
    },
    |x, y| y.convert_from_f32_slice(x)
);
converted!(bf16, Single, f32, |x, y| x.convert_to_f32_slice(y), |x, y| y.convert_from_f32_slice(x));
converted!(bf16, Double, f64, |x, y| x.convert_to_f64_slice(y), |x, y| y.convert_from_f64_slice(x));
