//! A convolution of images.
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use kiln_activations::Init;

use super::Draw;
use crate::kernel::conv2d;

/// The sizes of a convolution with square filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Channels that go in.
    pub inputs: usize,
    /// Channels that come out, a filter each.
    pub outputs: usize,
    /// Pixels along each side of a filter.
    pub kernel: usize,
    /// Pixels from one place of the filter to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

impl Filters {
    /// Places of the filter along a side of `size` pixels: ⌊(size + 2 padding − kernel)/stride⌋ + 1; `None` if not
    /// one fits.
    pub fn places(&self, size: usize) -> Option<usize> {
        Some((size + 2 * self.padding).checked_sub(self.kernel)? / self.stride + 1)
    }
}

/// ```text
/// y(o, i, j) = Σ_{c, a, b} x(c, s i + a − p, s j + b − p) W(o, c, a, b) + b(o)
/// ```
/// with stride s and padding p, and x = 0 outside of the image.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[outputs, inputs, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// A convolution; its parameters are drawn under the names `weight` and `bias` of `init`. The fan-in of a filter
    /// is `inputs · kernel²`.
    pub fn new(init: &Init, filters: Filters, bias: bool, draw: Draw) -> Self {
        let Filters { inputs, outputs, kernel, stride, padding } = filters;
        let fan_in = inputs * kernel * kernel;
        Self {
            weight: draw.weight(init, [outputs, inputs, kernel, kernel], fan_in),
            bias: bias.then(|| draw.bias(init, outputs, fan_in)),
            stride,
            padding,
        }
    }

    /// The filtered images.
    ///
    /// # Shapes
    /// - x: `[rows, inputs, height, width]`; output: `[rows, outputs, …]`, see [`Filters::places`]
    /// # Panics
    /// If the channels do not fit, or not one filter fits into the padded image.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.stride, self.padding)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, check_gradients, device, named_values, normal, randomised, values};

    /// A map in plain numbers: `[channels, height, width]`.
    #[derive(Clone, Debug)]
    pub(crate) struct Map {
        pub shape: [usize; 3],
        pub values: Vec<f64>,
    }

    impl Map {
        pub(crate) fn at(&self, c: usize, y: isize, x: isize) -> f64 {
            let [_, height, width] = self.shape;
            let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
            if inside { self.values[(c * height + y as usize) * width + x as usize] } else { 0.0 }
        }

        pub(crate) fn build(shape: [usize; 3], value: impl Fn(usize, usize, usize) -> f64) -> Self {
            let [channels, height, width] = shape;
            let mut values = Vec::new();
            for c in 0..channels {
                (0..height).for_each(|y| values.extend((0..width).map(|x| value(c, y, x))));
            }
            Self { shape, values }
        }
    }

    /// The formula in plain loops.
    pub(crate) fn convolved(x: &Map, weight: &[f64], bias: Option<&Vec<f64>>, filters: Filters) -> Map {
        let Filters { inputs, outputs, kernel, stride, padding } = filters;
        let [_, height, width] = x.shape;
        let (height, width) = (filters.places(height).unwrap(), filters.places(width).unwrap());
        Map::build([outputs, height, width], |o, i, j| {
            let mut sum = bias.map_or(0.0, |bias| bias[o]);
            for c in 0..inputs {
                for a in 0..kernel {
                    for b in 0..kernel {
                        let (y, column) = (i * stride + a, j * stride + b);
                        sum += x.at(c, y as isize - padding as isize, column as isize - padding as isize)
                            * weight[((o * inputs + c) * kernel + a) * kernel + b];
                    }
                }
            }
            sum
        })
    }

    fn layer(filters: Filters, bias: bool) -> Conv {
        randomised(Conv::new(&Init::new(0, &device(), DType::F64), filters, bias, Draw::Uniform))
    }

    #[test]
    fn maps_follow_the_formula() {
        for (kernel, stride, padding, bias) in [(3, 1, 1, true), (3, 2, 1, false), (5, 1, 0, true), (1, 3, 2, false)] {
            let filters = Filters { inputs: 2, outputs: 3, kernel, stride, padding };
            let layer = layer(filters, bias);
            let parameters = named_values(&layer);
            let x = normal([4, 2, 5, 7], DType::F64, "x").detach();
            let found = values(&layer.forward(x.clone()));
            let expected: Vec<f64> = values(&x)
                .chunks(2 * 5 * 7)
                .flat_map(|image| {
                    let image = Map { shape: [2, 5, 7], values: image.to_vec() };
                    convolved(&image, &parameters["weight"], parameters.get("bias"), filters).values
                })
                .collect();
            assert_close(&format!("{filters:?}"), &found, &expected, 1e-12);
        }
    }

    #[test]
    fn gradients_agree_with_central_differences() {
        let filters = Filters { inputs: 2, outputs: 3, kernel: 3, stride: 2, padding: 1 };
        let layer = layer(filters, true);
        let x = normal([2, 2, 5, 7], DType::F64, "x").detach();
        let c = normal([2, 3, 3, 4], DType::F64, "c").detach();
        check_gradients(&layer, |layer| (layer.forward(x.clone()) * c.clone()).sum());
    }

    #[test]
    fn a_filter_larger_than_the_image_has_no_place() {
        let filters = Filters { inputs: 1, outputs: 1, kernel: 5, stride: 1, padding: 0 };
        assert_eq!((filters.places(4), filters.places(5), filters.places(9)), (None, Some(1), Some(5)));
    }
}
