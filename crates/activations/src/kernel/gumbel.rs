//! Standard Gumbel deviates, in parallel and in vectors.
use rayon::prelude::*;

use super::{
    Real,
    isa::{self, Job},
};
use crate::Ctx;

/// Deviates per stream of their own, so that streams can be drawn from at the same time.
const BLOCK: usize = 8192;

/// Fills `out` with independent standard Gumbel deviates `−ln(−ln U)`, U uniform on the middles of 2²³ (`f32`) or 2⁵²
/// (`f64`) parts of (0, 1), so that all of them are finite: between −2.9 and 16.7 in `f32`.
///
/// They are a function of the context alone: the same on every CPU and thread count.
pub(crate) fn fill_gumbel<T: Real>(out: &mut [T], ctx: &Ctx) {
    // 23 or 52: one bit less than the type has, so that a middle is exact.
    let digits = (T::epsilon().wide().recip() as u64).trailing_zeros();
    let per_word = if digits < 32 { 2 } else { 1 };
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
        let mut draws = ctx.child(&block.to_string()).draws();
        for deviates in out.chunks_mut(per_word) {
            let mut word = draws.word();
            for u in deviates {
                *u = (T::of((word >> (u64::BITS - digits)) as f64) + T::of(0.5)) * T::epsilon();
                word <<= 32;
            }
        }
        isa::run(ToGumbel(out));
    });
}

/// Uniform deviates on (0, 1) to Gumbel deviates.
struct ToGumbel<'a, T>(&'a mut [T]);

impl<T: Real> Job for ToGumbel<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for u in self.0 {
            *u = -(-u.ln_exact()).ln_exact();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn of_known_uniforms() {
        let mut u = [0.1, 0.5, 0.9];
        isa::run(ToGumbel(&mut u));
        assert_close("G", &u, &[-0.8340324452, 0.3665129206, 2.250367327], 1e-9, 0.0);
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        fn moments<T: Real>() -> (f64, f64) {
            let mut g = vec![T::zero(); 200_003];
            fill_gumbel(&mut g, &Ctx::train(1, 2));
            assert!(g.iter().all(|g| g.is_finite()));
            let n = g.len() as f64;
            let mean = g.iter().map(|g| g.wide()).sum::<f64>() / n;
            (mean, g.iter().map(|g| (g.wide() - mean).powi(2)).sum::<f64>() / n)
        }
        // Mean γ = 0.5772 and variance π²/6 = 1.6449, each with a standard error below 0.01.
        for (mean, variance) in [moments::<f32>(), moments::<f64>()] {
            assert!((mean - 0.577_215_7).abs() < 0.015 && (variance - 1.644_934).abs() < 0.04, "{mean} {variance}");
        }
    }

    #[test]
    fn equal_contexts_draw_alike_and_others_do_not() {
        let draw = |ctx: &Ctx| {
            let mut g = vec![0.0f32; 3 * BLOCK + 5];
            fill_gumbel(&mut g, ctx);
            g
        };
        let one = draw(&Ctx::train(0, 3).child("a"));
        assert_eq!(one, draw(&Ctx::train(0, 3).child("a")));
        for other in [Ctx::train(0, 3).child("b"), Ctx::train(0, 4).child("a"), Ctx::train(1, 3).child("a")] {
            assert_ne!(one, draw(&other));
        }
        assert_ne!(one[..BLOCK], one[BLOCK..2 * BLOCK], "blocks draw from streams of their own");
    }
}
