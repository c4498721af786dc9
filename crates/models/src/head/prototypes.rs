//! Classes from a few examples: a class vector is the mean of its examples' directions.
use burn::tensor::{Int, Tensor};

use super::angular::{cosines, single, unit};

/// A vector per class that was fitted to examples, not trained: how features of any network sort classes it never saw.
/// ```text
/// μ_k = unit(mean over the examples of class k of h/|h|),   scores c_k = ⟨h, μ_k⟩/|h|
/// ```
///
/// # References
/// Snell et al. 2017, Prototypical Networks, arXiv:1703.05175; with cosines as in Zhai and Wu 2019, arXiv:1811.12649.
#[derive(Clone, Debug)]
pub struct Prototypes {
    /// `[classes, features]`, rows of length 1; 0 for a class without examples.
    pub vectors: Tensor<2>,
}

impl Prototypes {
    /// The prototypes of `count` classes, from examples `features` (`[examples, features]`) of these `classes` (`[examples]`).
    ///
    /// # Panics
    /// If a class is not below `count` (on the CPU backends).
    pub fn fit(features: Tensor<2>, classes: Tensor<1, Int>, count: usize) -> Self {
        let directions = unit(single(features), 1);
        let [_, width] = directions.dims();
        let sums = Tensor::zeros([count, width], (&directions.device(), directions.dtype()));
        // The direction of the mean is that of the sum.
        let sums = sums.select_assign(0, classes, directions, burn::tensor::IndexingUpdateOp::Add);
        Self { vectors: unit(sums, 1) }
    }

    /// Cosines (`[rows, classes]`) of features (`[rows, features]`) with every prototype; the largest is the answer.
    pub fn cosines(&self, features: Tensor<2>) -> Tensor<2> {
        cosines(features, self.vectors.clone().transpose())
    }
}

/// What the nearest examples say: for each row of features (`[rows, features]`) the share of every class (`[rows, classes]`)
/// among the k examples with the largest cosines; the largest is the answer. With fewer than k examples all of them count.
///
/// # Panics
/// If there are no examples, or a class is not below `count` (on the CPU backends).
pub fn nearest_examples(
    features: Tensor<2>,
    examples: Tensor<2>,
    classes: Tensor<1, Int>,
    count: usize,
    k: usize,
) -> Tensor<2> {
    let [given, _] = examples.dims();
    let k = k.clamp(1, given);
    let (_, places) = cosines(features, unit(single(examples), 1).transpose()).topk_with_indices(k, 1);
    let [rows, _] = places.dims();
    let named = classes.select(0, places.reshape([rows * k])).reshape([rows, k]);
    let all =
        Tensor::<1, Int>::arange(0..count as i64, &named.device()).reshape([1, 1, count]).expand([rows, k, count]);
    let votes = named.cast(all.dtype()).unsqueeze_dim::<3>(2).expand([rows, k, count]).equal(all);
    votes.float().mean_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;
    use crate::testing::{assert_close, device, values};

    #[test]
    fn golden_values() {
        let rows = |values: Vec<f64>| {
            let shape = [values.len() / 2, 2];
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device(), DType::F64))
        };
        let classes = Tensor::<1, Int>::from_data([2, 2, 0], &device());
        let prototypes = Prototypes::fit(rows(vec![3.0, 4.0, 4.0, 3.0, 0.0, -5.0]), classes, 3);
        let half = 0.5f64.sqrt();
        assert_close("vectors", &values(&prototypes.vectors), &[0.0, -1.0, 0.0, 0.0, half, half], 1e-15);
        assert_close("cosines", &values(&prototypes.cosines(rows(vec![1.0, 0.0]))), &[0.0, 0.0, half], 1e-15);
    }

    #[test]
    fn the_nearest_examples_vote() {
        let rows = |values: Vec<f64>| {
            let shape = [values.len() / 2, 2];
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device(), DType::F64))
        };
        // Lengths do not count: the directions are 0°, 45°, 90°, 180°.
        let examples = || rows(vec![5.0, 0.0, 0.1, 0.1, 0.0, 3.0, -1.0, 0.0]);
        let classes = || Tensor::<1, Int>::from_data([2, 0, 0, 1], &device());
        let asked = || rows(vec![1.0, 0.1, -1.0, 0.1]);
        let votes = |k| values(&nearest_examples(asked(), examples(), classes(), 3, k));
        assert_close("one", &votes(1), &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0], 1e-7);
        let third = 1.0 / 3.0;
        assert_close("three", &votes(3), &[2.0 * third, 0.0, third, 2.0 * third, third, 0.0], 1e-6);
        assert_close("all", &votes(9), &[0.5, 0.25, 0.25, 0.5, 0.25, 0.25], 1e-6);
    }
}
