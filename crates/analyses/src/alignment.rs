//! Do gradient and update point along the weights?
//!
//! Naive loss minimisation scales a fitted network's logits by moving its weights outwards along themselves.
//! The cosine between the weights and a direction measures it: of the negative gradient (`nlm_grad`), and of
//! the update that was really applied (`nlm_update`).
//!
//! All sums run in `f64`; tensors whose norms lie outside about 1e-150 to 1e150 over- or underflow there.
//!
//! # References
//! Prieto et al. 2025, arXiv:2501.04697.

/// A parameter tensor, or anything of its shape.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The tensor's own name, such as `layers.0.weight`.
    pub name: &'a str,
    /// The layer it belongs to, such as `layers.0`; weight and bias share one.
    pub layer: &'a str,
    /// Number of axes; from 2 on it counts as a matrix.
    pub rank: usize,
    /// The values, in any order that all tensors of this name share.
    pub values: &'a [f64],
}

/// One number for each tensor of a network and one for the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Norms {
    /// `‖W_T‖_F` of each tensor T, in the order given.
    pub tensors: Vec<(String, f64)>,
    /// `sqrt(Σ_T ‖W_T‖_F²)`.
    pub whole: f64,
}

/// Frobenius norms of weights, gradients or updates.
pub fn norms(tensors: &[Named]) -> Norms {
    let squares: Vec<f64> = tensors.iter().map(|tensor| dot(tensor.values, tensor.values)).collect();
    let names = tensors.iter().map(|tensor| tensor.name.to_owned());
    Norms {
        tensors: names.zip(squares.iter().map(|square| square.sqrt())).collect(),
        whole: squares.iter().sum::<f64>().sqrt(),
    }
}

/// Cosines between the weights and a direction, see [`alignment`].
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// Of each tensor, in the order given.
    pub tensors: Vec<(String, f64)>,
    /// Of each layer, its tensors concatenated, in the order of first appearance.
    pub layers: Vec<(String, f64)>,
    /// Of all tensors concatenated; not a mean of the others.
    pub whole: f64,
    /// Unweighted mean over the tensors of rank 2 and more; NaN if there are none.
    pub matrices_mean: f64,
}

/// Cosines `⟨d, w⟩ / (‖d‖ ‖w‖)` of a direction d with the weights w, in [−1, 1]; 0 if either norm is 0.
///
/// # Panics
/// If the two do not hold the same tensors in the same order.
pub fn alignment(weights: &[Named], direction: &[Named]) -> Alignment {
    let mut whole = Sums::default();
    let mut tensors = Vec::with_capacity(weights.len());
    let mut layers: Vec<(&str, Sums)> = Vec::new();
    let (mut matrix_sum, mut matrix_count) = (0.0, 0.0);
    for (weight, direction) in paired(weights, direction) {
        let sums = Sums::of(direction.values, weight.values);
        whole.add(&sums);
        match layers.iter_mut().find(|(name, _)| *name == weight.layer) {
            Some((_, layer)) => layer.add(&sums),
            None => layers.push((weight.layer, sums)),
        }
        if weight.rank >= 2 {
            matrix_sum += sums.cosine();
            matrix_count += 1.0;
        }
        tensors.push((weight.name.to_owned(), sums.cosine()));
    }
    Alignment {
        tensors,
        layers: layers.into_iter().map(|(name, sums)| (name.to_owned(), sums.cosine())).collect(),
        whole: whole.cosine(),
        matrices_mean: matrix_sum / matrix_count,
    }
}

/// `nlm_grad`: the [`alignment`] of the negative gradient, `−⟨g, w⟩ / (‖g‖ ‖w‖)`.
///
/// # Panics
/// As [`alignment`].
pub fn nlm_grad(weights: &[Named], gradient: &[Named]) -> Alignment {
    // 0 − x and not −x, so that no alignment is 0 and not −0.
    let negate = |(name, cosine): (String, f64)| (name, 0.0 - cosine);
    let Alignment { tensors, layers, whole, matrices_mean } = alignment(weights, gradient);
    Alignment {
        tensors: tensors.into_iter().map(negate).collect(),
        layers: layers.into_iter().map(negate).collect(),
        whole: 0.0 - whole,
        matrices_mean: 0.0 - matrices_mean,
    }
}

/// `nlm_update`: the [`alignment`] of the update `u = w_{t+1} − w_t`, after decay, moments and everything.
///
/// # Panics
/// As [`alignment`].
pub fn nlm_update(weights: &[Named], update: &[Named]) -> Alignment {
    alignment(weights, update)
}

/// `⟨u, w⟩ / ‖w‖` over all tensors: to first order what the update adds to the weight norm.
///
/// NaN if all weights are 0, where the norm has no slope.
///
/// # Panics
/// As [`alignment`].
pub fn norm_growth(weights: &[Named], update: &[Named]) -> f64 {
    let mut sums = Sums::default();
    for (weight, update) in paired(weights, update) {
        sums.add(&Sums::of(update.values, weight.values));
    }
    sums.dot / sums.weight.sqrt()
}

fn paired<'a>(
    weights: &'a [Named<'a>],
    direction: &'a [Named<'a>],
) -> impl Iterator<Item = (&'a Named<'a>, &'a Named<'a>)> {
    assert_eq!(weights.len(), direction.len(), "weights and direction must hold the same tensors");
    weights.iter().zip(direction).inspect(|(weight, direction)| {
        assert_eq!(weight.name, direction.name, "weights and direction must hold the same tensors");
        assert_eq!(weight.values.len(), direction.values.len(), "tensor \"{}\" differs in size", weight.name);
    })
}

/// What a cosine is made of; concatenating tensors adds them.
#[derive(Clone, Copy, Default)]
struct Sums {
    dot: f64,
    direction: f64,
    weight: f64,
}

impl Sums {
    fn of(direction: &[f64], weight: &[f64]) -> Self {
        Self { dot: dot(direction, weight), direction: dot(direction, direction), weight: dot(weight, weight) }
    }

    fn add(&mut self, other: &Self) {
        self.dot += other.dot;
        self.direction += other.direction;
        self.weight += other.weight;
    }

    fn cosine(&self) -> f64 {
        // A NaN or an infinity reaches both the dot product and a norm, so neither branch can hide it.
        let product = self.direction.sqrt() * self.weight.sqrt();
        if product == 0.0 {
            return 0.0;
        }
        if product.is_infinite() {
            return f64::NAN;
        }
        // Rounding may leave 1 by some units in the last place.
        (self.dot / product).clamp(-1.0, 1.0)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named<'a>(first: &'a [f64], second: &'a [f64]) -> [Named<'a>; 2] {
        [
            Named { name: "w1", layer: "one", rank: 2, values: first },
            Named { name: "w2", layer: "two", rank: 2, values: second },
        ]
    }

    const W1: [f64; 4] = [0.5, -0.25, 1.5, 1.0];
    const W2: [f64; 3] = [1.0, 2.0, -2.0];
    const G1: [f64; 4] = [0.2, 0.4, -0.1, 0.3];
    const G2: [f64; 3] = [0.5, -1.0, 0.25];

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 5e-10, "{actual} {expected}");
    }

    #[test]
    fn golden_norms() {
        let weight = norms(&named(&W1, &W2));
        assert_eq!(weight.tensors[0].0, "w1");
        close(weight.tensors[0].1, 1.887458609);
        close(weight.tensors[1].1, 3.0);
        close(weight.whole, 3.544361720);
        let gradient = norms(&named(&G1, &G2));
        close(gradient.tensors[0].1, 0.5477225575);
        close(gradient.tensors[1].1, 1.145643924);
        close(gradient.whole, 1.26984251);
    }

    #[test]
    fn golden_gradient_alignment() {
        let alignment = nlm_grad(&named(&W1, &W2), &named(&G1, &G2));
        close(alignment.tensors[0].1, -0.1450952500);
        close(alignment.tensors[1].1, 0.5819143740);
        close(alignment.whole, 0.4110397562);
        close(alignment.matrices_mean, 0.2184095620);
    }

    #[test]
    fn golden_update_alignment() {
        let (u1, u2) = (G1.map(|g| -0.1 * g.signum()), G2.map(|g| -0.1 * g.signum()));
        let (weights, update) = (named(&W1, &W2), named(&u1, &u2));
        let alignment = nlm_update(&weights, &update);
        close(alignment.tensors[0].1, 0.06622661785);
        close(alignment.tensors[1].1, 0.5773502692);
        close(alignment.whole, 0.3465742592);
        close(norm_growth(&weights, &update), 0.09169493006);
    }

    #[test]
    fn a_layer_is_its_tensors_concatenated() {
        let layer = |values: &'static [f64], name, rank| Named { name, layer: "l", rank, values };
        let weights = [layer(&[1.0, 0.0], "weight", 2), layer(&[1.0], "bias", 1)];
        let direction = [layer(&[1.0, 0.0], "weight", 2), layer(&[0.0], "bias", 1)];
        let alignment = alignment(&weights, &direction);
        assert_eq!(alignment.layers.len(), 1);
        close(alignment.layers[0].1, 0.5f64.sqrt());
        // The bias has a zero direction, and is no matrix.
        assert_eq!(alignment.tensors[1].1, 0.0);
        assert_eq!(alignment.matrices_mean, 1.0);
    }

    #[test]
    fn degenerate_tensors() {
        let zero = [0.0; 3];
        let none = nlm_grad(&named(&W1, &zero), &named(&G1, &G2));
        assert!(none.tensors[1].1 == 0.0 && none.tensors[1].1.is_sign_positive());
        assert!(norm_growth(&named(&[0.0; 4], &zero), &named(&G1, &G2)).is_nan());
        assert_eq!(alignment(&[], &[]).whole, 0.0);
        assert!(alignment(&[], &[]).matrices_mean.is_nan());
        for bad in [f64::NAN, f64::INFINITY, 1e200] {
            let g2 = [bad, 0.0, 0.0];
            for broken in [alignment(&named(&W1, &W2), &named(&G1, &g2)), alignment(&named(&W1, &g2), &named(&G1, &W2))]
            {
                assert!(broken.tensors[1].1.is_nan() && broken.whole.is_nan() && broken.matrices_mean.is_nan());
                assert!(!broken.tensors[0].1.is_nan());
            }
            // Zero weights do not hide a broken gradient.
            assert!(bad == 1e200 || alignment(&named(&W1, &zero), &named(&G1, &g2)).tensors[1].1.is_nan());
        }
    }

    #[test]
    #[should_panic(expected = "tensor \"w2\" differs in size")]
    fn different_tensors_are_refused() {
        alignment(&named(&W1, &W2), &named(&G1, &G1));
    }

    proptest! {
        #[test]
        fn a_cosine_is_bounded_and_ignores_scale(
            w in proptest::collection::vec(-1f64..1.0, 7), d in proptest::collection::vec(-1f64..1.0, 7),
            scale in 1e-30f64..1e30,
        ) {
            let scaled: Vec<f64> = d.iter().map(|d| d * scale).collect();
            let weights = named(&w[..4], &w[4..]);
            let one = alignment(&weights, &named(&d[..4], &d[4..]));
            let other = alignment(&weights, &named(&scaled[..4], &scaled[4..]));
            for (a, b) in [(one.whole, other.whole), (one.matrices_mean, other.matrices_mean)] {
                prop_assert!((-1.0..=1.0).contains(&a) && (a - b).abs() < 1e-12);
            }
        }

        #[test]
        fn the_weights_align_with_themselves(w in proptest::collection::vec(0.1f64..1.0, 7)) {
            let weights = named(&w[..4], &w[4..]);
            prop_assert!((nlm_update(&weights, &weights).whole - 1.0).abs() < 1e-12);
            prop_assert!((nlm_grad(&weights, &weights).whole + 1.0).abs() < 1e-12);
            // An update w along w doubles the norm.
            prop_assert!((norm_growth(&weights, &weights) - norms(&weights).whole).abs() < 1e-12);
        }

        #[test]
        fn the_whole_norm_is_the_root_of_the_squares(w in proptest::collection::vec(-9f64..9.0, 7)) {
            let norms = norms(&named(&w[..4], &w[4..]));
            let squares: f64 = norms.tensors.iter().map(|(_, norm)| norm * norm).sum();
            prop_assert!((norms.whole - squares.sqrt()).abs() < 1e-12);
        }
    }
}
