//! A vector for each token.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use kiln_activations::Init;

use crate::kernel::{self, Epilogue};

/// A table of token vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocabulary, d_model]`
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table of `[vocabulary, d_model]` from `N(0, std²)`, under the name `weight` of `init`.
    pub fn new(init: &Init, [vocabulary, d_model]: [usize; 2], std: f64) -> Self {
        Self { weight: init.normal("weight", [vocabulary, d_model], std) }
    }

    /// The vectors of tokens.
    ///
    /// # Shapes
    /// - tokens: `[rows, length]`; output: `[rows, length, d_model]`
    /// # Panics
    /// If a token is not below `vocabulary` (on the CPU backends).
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [rows, length] = tokens.dims();
        let weight = self.weight.val();
        let [_, d_model] = weight.dims();
        kernel::gather_sum(weight, tokens.reshape([rows * length, 1]), None, Epilogue::None)
            .reshape([rows, length, d_model])
    }

    /// The vectors of tokens that are each the sum of several: token t of a row has the ids `t · parts ..` of that row.
    /// ```text
    /// y_t = Σ_{k < parts} W[ids[t · parts + k]]
    /// ```
    /// # Shapes
    /// - ids: `[rows, length · parts]`; output: `[rows, length, d_model]`
    /// # Panics
    /// If `parts` does not divide the ids of a row, or an id is not below `vocabulary` (on the CPU backends).
    pub fn forward_sums(&self, ids: Tensor<2, Int>, parts: usize) -> Tensor<3> {
        let [rows, columns] = ids.dims();
        assert!(parts > 0 && columns.is_multiple_of(parts), "{columns} ids do not make tokens of {parts}");
        let (weight, length) = (self.weight.val(), columns / parts);
        let [_, d_model] = weight.dims();
        kernel::gather_sum(weight, ids.reshape([rows * length, parts]), None, Epilogue::None)
            .reshape([rows, length, d_model])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, check_gradients, device, indices, normal, values};

    #[test]
    fn a_token_of_several_ids_is_the_sum_of_their_vectors() {
        let embedding = Embedding::new(&Init::new(3, &device(), DType::F64), [11, 5], 1.0);
        let (picked, ids) = indices([4, 6], 11);
        let table = values(&embedding.weight.val());
        for parts in [1, 2, 3, 6] {
            let found = embedding.forward_sums(ids.clone(), parts);
            assert_eq!(found.dims(), [4, 6 / parts, 5]);
            let token = |ids: &[usize]| (0..5).map(|j| ids.iter().map(|id| table[id * 5 + j]).sum::<f64>()).collect();
            let expected: Vec<Vec<f64>> = picked.chunks(parts).map(token).collect();
            assert_close("sums", &values(&found), &expected.concat(), 1e-14);
        }
        assert_eq!(values(&embedding.forward(ids.clone())), values(&embedding.forward_sums(ids.clone(), 1)));
        let c = normal([4, 3, 5], DType::F64, "c").detach();
        check_gradients(&embedding, |embedding| (embedding.forward_sums(ids.clone(), 2) * c.clone()).sum());
    }
}
