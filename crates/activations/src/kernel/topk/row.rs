//! One row.
use crate::kernel::{Real, isa::Job, lanes};

/// Scores that are looked at together: one comparison decides whether any of them can be among the largest.
const CHUNK: usize = 64;

/// The k largest of finite scores, the largest first, with their places; of equal scores the first comes first.
#[inline(always)]
pub(crate) fn largest<T: Real>(x: &[T], k: usize, best: &mut Vec<(T, usize)>) {
    best.clear();
    for (chunk, scores) in x.chunks(CHUNK).enumerate() {
        if best.len() == k && lanes::max(scores) <= best[k - 1].0 {
            continue;
        }
        for (place, &score) in scores.iter().enumerate() {
            if best.len() == k {
                if score <= best[k - 1].0 {
                    continue;
                }
                best.pop();
            }
            // Behind those that are as large.
            let at = best.partition_point(|&(other, _)| other >= score);
            best.insert(at, (score, chunk * CHUNK + place));
        }
    }
}

/// The k largest scores of a row, and the sum of exponentials relative to the largest.
pub(super) struct Top<'a, T> {
    pub(super) x: &'a [T],
    pub(super) k: usize,
    /// Filled with at most k pairs.
    pub(super) best: &'a mut Vec<(T, usize)>,
}

impl<T: Real> Job for Top<'_, T> {
    /// The sum of exp(x − max).
    type Out = T;

    #[inline(always)]
    fn run(self) -> T {
        let Self { x, k, best } = self;
        largest(x, k, best);
        let max = best[0].0;
        let [sum] = lanes::lane_sums(x, |x| [(x - max).exp_exact()]);
        sum
    }
}

/// dx = y (G − ⟨y, G⟩), with G the gradients at the weights of `places` and 0 elsewhere.
pub(super) struct Vjp<'a, T> {
    pub(super) x: &'a [T],
    pub(super) places: &'a [usize],
    pub(super) g: &'a [T],
    pub(super) dx: &'a mut [T],
}

impl<T: Real> Job for Vjp<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, places, g, dx } = self;
        let max = lanes::max(x);
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = (x - max).exp_exact();
        }
        let scale = T::one() / lanes::lane_sum(dx);
        let along = places.iter().zip(g).fold(T::zero(), |sum, (&place, &g)| (dx[place] * scale).mul_add(g, sum));
        let factor = -along * scale;
        // Of the chosen places the weight itself is wanted once more.
        let own: Vec<T> = places.iter().zip(g).map(|(&place, &g)| dx[place] * scale * g).collect();
        for dx in dx.iter_mut() {
            *dx = *dx * factor;
        }
        for (&place, own) in places.iter().zip(own) {
            dx[place] = dx[place] + own;
        }
    }
}
