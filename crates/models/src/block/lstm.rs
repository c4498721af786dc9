//! Long short-term memory.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::{
    Init,
    pointwise::{Pointwise, PointwiseConfig},
};

use crate::kernel::{self, Epilogue};

/// A long short-term memory.
/// ```text
/// i, f, o = σ(x W + h U + b),   g = tanh(x W + h U + b)        four parts of one product
/// c ← f ∘ c + i ∘ g,   h ← o ∘ tanh(c)
/// ```
/// # References
/// Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate: Gers et al. 2000.
#[derive(Module, Debug)]
pub struct Lstm {
    /// W, in the order i f g o: `[inputs, 4 · width]`
    pub input_weight: Param<Tensor<2>>,
    /// U: `[width, 4 · width]`
    pub state_weight: Param<Tensor<2>>,
    /// b: `[4 · width]`
    pub bias: Param<Tensor<1>>,
    sigmoid: Pointwise,
    tanh: Pointwise,
    width: usize,
}

impl Lstm {
    /// A memory of so many values. Weights are drawn from `U(−1/√width, 1/√width)`; biases start at 0, those of the forget
    /// gate at 1, so that the memory is kept at first (Jozefowicz et al. 2015).
    pub fn new(init: &Init, inputs: usize, width: usize) -> Self {
        let bound = 1.0 / (width as f64).sqrt();
        let mut next = 0;
        let bias = init.param("bias", [4 * width], |_| {
            next += 1;
            if (width + 1..=2 * width).contains(&next) { 1.0 } else { 0.0 }
        });
        Self {
            input_weight: init.uniform("input_weight", [inputs, 4 * width], bound),
            state_weight: init.uniform("state_weight", [width, 4 * width], bound),
            bias,
            sigmoid: PointwiseConfig::Sigmoid(Default::default()).init(init),
            tanh: PointwiseConfig::Tanh(Default::default()).init(init),
            width,
        }
    }

    /// The state h after the last step, from 0: `[rows, steps, inputs]` to `[rows, width]`.
    pub fn last(&self, x: Tensor<3>) -> Tensor<2> {
        let ([rows, steps, inputs], width) = (x.dims(), self.width);
        let mut state = Tensor::<2>::zeros([rows, width], (&x.device(), x.dtype()));
        let mut memory = state.clone();
        for t in 0..steps {
            let x = x.clone().narrow(1, t, 1).reshape([rows, inputs]);
            let product = |x: Tensor<2>, weight: &Param<Tensor<2>>, bias: Option<Tensor<1>>| {
                kernel::linear(x, weight.val(), bias, Epilogue::None)
            };
            let parts =
                product(x, &self.input_weight, Some(self.bias.val())) + product(state, &self.state_weight, None);
            let part = |i: usize| parts.clone().narrow(1, i * width, width);
            let [input, forget, output] = [0, 1, 3].map(|i| self.sigmoid.forward(part(i)));
            memory = forget * memory + input * self.tanh.forward(part(2));
            state = output * self.tanh.forward(memory.clone());
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, check_gradients, device, named_values, normal, randomised, values};

    const WIDTH: usize = 3;

    /// The formula in plain loops.
    fn reference(layer: &Lstm, row: &[f64], inputs: usize) -> Vec<f64> {
        let p = named_values(layer);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (mut h, mut c) = (vec![0.0; WIDTH], vec![0.0; WIDTH]);
        for x in row.chunks(inputs) {
            let sum = |j: usize| {
                let from = |x: &[f64], name: &str| -> f64 {
                    x.iter().enumerate().map(|(i, x)| x * p[name][i * 4 * WIDTH + j]).sum()
                };
                p["bias"][j] + from(x, "input_weight") + from(&h, "state_weight")
            };
            let z: Vec<f64> = (0..4 * WIDTH).map(sum).collect();
            for k in 0..WIDTH {
                c[k] = sigmoid(z[WIDTH + k]) * c[k] + sigmoid(z[k]) * z[2 * WIDTH + k].tanh();
            }
            h = (0..WIDTH).map(|k| sigmoid(z[3 * WIDTH + k]) * c[k].tanh()).collect();
        }
        h
    }

    #[test]
    fn the_last_state_follows_the_formula() {
        let layer = randomised(Lstm::new(&Init::new(0, &device(), DType::F64), 5, WIDTH));
        let x = normal([2, 7, 5], DType::F64, "x").detach();
        let expected: Vec<f64> = values(&x).chunks(7 * 5).flat_map(|row| reference(&layer, row, 5)).collect();
        assert_close("state", &values(&layer.last(x)), &expected, 1e-13);
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let layer = randomised(Lstm::new(&Init::new(0, &device(), DType::F64), 2, WIDTH));
        let x = normal([2, 4, 2], DType::F64, "x").detach();
        let c = normal([2, WIDTH], DType::F64, "c").detach();
        check_gradients(&layer, |layer| (layer.last(x.clone()) * c.clone()).sum());
    }

    #[test]
    fn the_forget_gate_starts_open() {
        let layer = Lstm::new(&Init::new(0, &device(), DType::F64), 2, 2);
        assert_eq!(values(&layer.bias.val()), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
