//! Dropout from counter-based streams.
use burn::tensor::{DType, Tensor, TensorData};
use kiln_activations::Ctx;
use rayon::prelude::*;

/// Values that share one stream of draws; whole streams are drawn in parallel.
const BLOCK: usize = 1 << 14;

/// Sets values to 0 with probability `p` and multiplies the others by `1 / (1 − p)`, while training.
///
/// The mask is a function of the run's seed, the step and the path of `ctx` alone. Outside of training, and
/// at `p = 0`, nothing is drawn and `x` is returned as it is. `p` is rounded to a multiple of 2⁻³².
///
/// # Panics
/// If `p` is not in [0, 1).
///
/// # References
/// Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
pub fn dropout<const D: usize>(x: Tensor<D>, p: f64, ctx: &Ctx) -> Tensor<D> {
    assert!((0.0..1.0).contains(&p), "dropout: the rate is {p}; expected a number in [0, 1)");
    if !ctx.training || p == 0.0 {
        return x;
    }
    let (len, dims) = (x.shape().num_elements(), x.dims());
    let scale = 1.0 / (1.0 - p);
    let data = match x.dtype() {
        DType::F64 => TensorData::new(mask(len, p, ctx, [0.0, scale]), dims),
        _ => TensorData::new(mask(len, p, ctx, [0.0, scale as f32]), dims),
    };
    let mask = Tensor::from_data(data, (&x.device(), x.dtype()));
    x * mask
}

/// `len` times the first value with probability `p`, else the second.
fn mask<T: Copy + Default + Send + Sync>(len: usize, p: f64, ctx: &Ctx, [dropped, kept]: [T; 2]) -> Vec<T> {
    // A 32-bit word below the threshold drops: two decisions per draw.
    let threshold = (p * (1u64 << 32) as f64).round() as u64;
    let pick = |word: u64| if word < threshold { dropped } else { kept };
    let mut mask = vec![T::default(); len];
    mask.par_chunks_mut(BLOCK).enumerate().for_each(|(block, mask)| {
        let mut draws = ctx.child(&block.to_string()).draws();
        for pair in mask.chunks_mut(2) {
            let word = draws.word();
            pair[0] = pick(word & 0xffff_ffff);
            if let Some(second) = pair.get_mut(1) {
                *second = pick(word >> 32);
            }
        }
    });
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize, p: f64, ctx: &Ctx) -> Vec<f64> {
        mask(len, p, ctx, [0.0, 1.0])
    }

    #[test]
    fn drops_at_the_given_rate() {
        for p in [0.1, 0.5, 0.9] {
            let n = 100_000;
            let dropped = n as f64 - sample(n, p, &Ctx::train(3, 5)).iter().sum::<f64>();
            // Five standard errors of a binomial count.
            assert!((dropped - n as f64 * p).abs() < 5.0 * (n as f64 * p * (1.0 - p)).sqrt(), "{p}: {dropped}");
        }
    }

    #[test]
    fn step_path_and_seed_decide_the_mask() {
        let base = Ctx::train(1, 2).child("a");
        let first = sample(1001, 0.5, &base);
        assert_eq!(first, sample(1001, 0.5, &Ctx::train(1, 2).child("a")));
        for other in [Ctx::train(1, 3).child("a"), Ctx::train(1, 2).child("b"), Ctx::train(2, 2).child("a")] {
            assert_ne!(first, sample(1001, 0.5, &other));
        }
    }

    #[test]
    fn blocks_have_draws_of_their_own() {
        let mask = sample(3 * BLOCK, 0.5, &Ctx::train(0, 0));
        assert_ne!(mask[..BLOCK], mask[BLOCK..2 * BLOCK]);
        assert_ne!(mask[BLOCK..2 * BLOCK], mask[2 * BLOCK..]);
    }

    #[test]
    fn kept_values_are_scaled_and_gradients_masked() {
        let device = burn::tensor::Device::flex().autodiff();
        for dtype in [DType::F32, DType::F64, DType::F16] {
            let x = Tensor::<2>::ones([7, 11], (&device, dtype)).require_grad();
            let y = dropout(x.clone(), 0.75, &Ctx::train(4, 1));
            let values: Vec<f64> = y.to_data().iter().collect();
            assert!(values.iter().all(|v| *v == 0.0 || *v == 4.0) && values.contains(&0.0) && values.contains(&4.0));
            let gradient: Vec<f64> = x.grad(&y.sum().backward()).unwrap().to_data().iter().collect();
            assert_eq!(gradient, values);
        }
    }

    #[test]
    fn evaluation_and_rate_0_change_nothing() {
        let x = Tensor::<2>::from_data([[1.5f32, -2.0]], &burn::tensor::Device::flex());
        for (p, ctx) in [(0.5, Ctx::eval(0, 0)), (0.0, Ctx::train(0, 0))] {
            assert_eq!(dropout(x.clone(), p, &ctx).to_data(), x.to_data());
        }
    }
}
