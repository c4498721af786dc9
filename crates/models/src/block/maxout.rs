//! Maxout units.
use burn::{module::Module, tensor::Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Parameters of [`Maxout`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxoutConfig {
    /// Affine pieces of each unit, at least 2.
    #[schemars(range(min = 2))]
    pub pieces: usize,
}

impl Default for MaxoutConfig {
    /// The five pieces of the authors' network for permutation-invariant MNIST.
    fn default() -> Self {
        Self { pieces: 5 }
    }
}

impl MaxoutConfig {
    /// Whether there is something to choose from.
    ///
    /// # Errors
    /// If there are fewer than two pieces.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.pieces < 2 {
            let message = format!("{} leaves nothing to choose from; expected at least 2", self.pieces);
            return Err(Invalid::new("pieces", message));
        }
        Ok(())
    }

    /// The units.
    pub fn init(&self) -> Maxout {
        Maxout { pieces: self.pieces }
    }
}

/// The largest of each unit's affine pieces, in place of a pointwise function.
/// ```text
/// h_u = max_k z_uk,   z = x W + b
/// ```
/// Each unit is a convex piecewise linear function of x. With two pieces, one of them 0, it is ReLU. The gradient goes
/// to the largest piece, of equal ones to the first.
///
/// # References
/// Goodfellow et al. 2013, arXiv:1302.4389.
#[derive(Module, Debug)]
pub struct Maxout {
    pieces: usize,
}

impl Maxout {
    /// The units' values.
    ///
    /// # Shapes
    /// - z: `[rows, units · pieces]`, the pieces of a unit side by side; output: `[rows, units]`
    /// # Panics
    /// If `pieces` does not divide the last axis of `z`.
    pub fn forward(&self, z: Tensor<2>) -> Tensor<2> {
        let [rows, columns] = z.dims();
        assert!(columns.is_multiple_of(self.pieces), "{columns} values are no units of {} pieces", self.pieces);
        let units = columns / self.pieces;
        z.reshape([rows, units, self.pieces]).max_dim(2).reshape([rows, units])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;
    use crate::{
        kernel::{self, Epilogue},
        testing::{assert_close, device, values},
    };

    fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64)).require_grad()
    }

    #[test]
    fn by_hand() {
        // Two units of two pieces on three inputs; W is [inputs, units, pieces].
        let x = tensor(vec![0.5, -1.0, 2.0], [1, 3]);
        let weight = tensor(vec![1.0, -1.0, 0.5, 2.0, -1.0, 0.5, 1.0, 1.0, 0.0, 1.0, -2.0, 0.0], [3, 4]);
        let bias = tensor(vec![0.1, -0.2, 0.0, 0.3], [4]);
        let z = kernel::linear(x.clone(), weight.clone(), Some(bias.clone()), Epilogue::None);
        assert_close("z", &values(&z), &[1.6, 0.8, -4.75, 0.3], 1e-15);
        let h = MaxoutConfig { pieces: 2 }.init().forward(z);
        assert_close("h", &values(&h), &[1.6, 0.3], 1e-15);

        let gradients = (h * tensor(vec![1.0, -2.0], [1, 2]).detach()).sum().backward();
        let gradient = |of: &Tensor<2>| values(&of.grad(&gradients).unwrap());
        assert_close("dx", &gradient(&x), &[-3.0, -3.0, 0.0], 1e-15);
        assert_close("db", &values(&bias.grad(&gradients).unwrap()), &[1.0, 0.0, 0.0, -2.0], 1e-15);
        let expected = [0.5, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0, -4.0];
        assert_close("dW", &gradient(&weight), &expected, 1e-15);
    }

    #[test]
    fn the_gradient_goes_to_the_first_of_equals() {
        let z = tensor(vec![0.5, 0.5, 0.5, -1.0, 2.0, 2.0], [2, 3]);
        let gradients = MaxoutConfig { pieces: 3 }.init().forward(z.clone()).sum().backward();
        assert_close("dz", &values(&z.grad(&gradients).unwrap()), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 0.0);
    }

    #[test]
    fn one_piece_is_refused() {
        let error = MaxoutConfig { pieces: 1 }.check().unwrap_err();
        assert_eq!(error.message, "1 leaves nothing to choose from; expected at least 2");
    }
}
