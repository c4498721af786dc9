//! Turning pairs of channels by an angle.
use burn::tensor::{DType, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which channels of a head of width d make a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Channel c and channel c + d/2.
    #[default]
    Half,
    /// Channels 2c and 2c + 1.
    Interleaved,
}

/// Angles that depend on the tokens, as far as they have been summed up.
#[derive(Clone, Debug)]
pub struct Angles {
    /// The sums after the last token, `[rows, n_heads, 1, pairs]`, in f32 or f64.
    pub sums: Tensor<4>,
    /// The last increments before their convolution, `[rows, taps − 1, n_heads · pairs]`.
    pub tail: Tensor<3>,
}

impl Angles {
    /// Some rows in the order asked for.
    #[must_use]
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self { sums: self.sums.clone().select(0, rows.clone()), tail: self.tail.clone().select(0, rows.clone()) }
    }

    /// Size of its tensors in bytes.
    pub fn bytes(&self) -> usize {
        let size = |elements: usize, dtype: DType| elements * dtype.size();
        size(self.sums.shape().num_elements(), self.sums.dtype())
            + size(self.tail.shape().num_elements(), self.tail.dtype())
    }
}

/// How the queries and keys of one pass are turned.
/// ```text
/// (a, b) → (a cos θ − b sin θ, a sin θ + b cos θ)
/// ```
/// for each pair of channels, at the angle θ of its token and pair.
#[derive(Clone, Debug)]
pub enum Rotation {
    /// Angles `place · base^(−2c/d_r)` of pair c, for any width of heads or features.
    Places {
        /// Places of the queries, `[rows or 1, queries]`, stretched as the scheme wants.
        queries: Tensor<2>,
        /// Places of the keys.
        keys: Tensor<2>,
        /// Base of the frequencies for `d_r` rotated channels.
        base: fn(f64, f64, usize) -> f64,
        /// Parameters of `base`: the base itself and the factor of the length.
        parameters: [f64; 2],
        /// Share of the channels that turn.
        fraction: f64,
        /// Which channels make a pair.
        layout: Layout,
    },
    /// Angles given for each pair, `[rows, n_heads, length, pairs]`; layout half.
    Given {
        /// Angles of the queries.
        queries: Tensor<4>,
        /// Angles of the keys.
        keys: Tensor<4>,
    },
}

impl Rotation {
    /// Turns queries or their features: `[rows, heads, queries, channels]` to the same shape.
    pub fn queries(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Places { queries, .. } => self.at_places(x, queries),
            Self::Given { queries, .. } => turn(x, queries.clone(), Layout::Half),
        }
    }

    /// Turns keys or their features: `[rows, heads, keys, channels]` to the same shape.
    pub fn keys(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Places { keys, .. } => self.at_places(x, keys),
            Self::Given { keys, .. } => turn(x, keys.clone(), Layout::Half),
        }
    }

    fn at_places(&self, x: Tensor<4>, places: &Tensor<2>) -> Tensor<4> {
        let Self::Places { base, parameters: [number, factor], fraction, layout, .. } = self else { return x };
        let [_, _, length, channels] = x.dims();
        // A whole number of pairs.
        let turning = ((channels as f64 * fraction / 2.0).round() as usize * 2).min(channels);
        let base = base(*number, *factor, turning);
        let frequencies: Vec<f64> = (0..turning / 2).map(|c| base.powf(-2.0 * c as f64 / turning as f64)).collect();
        let pairs = frequencies.len();
        let frequencies = Tensor::<1>::from_data(
            burn::tensor::TensorData::new(frequencies, [pairs]),
            (&places.device(), places.dtype()),
        );
        let [rows, _] = places.dims();
        let angles = places.clone().reshape([rows, 1, length, 1]) * frequencies.reshape([1, 1, 1, pairs]);
        if turning == channels {
            return turn(x, angles, *layout);
        }
        let turned = turn(x.clone().narrow(3, 0, turning), angles, *layout);
        Tensor::cat(vec![turned, x.narrow(3, turning, channels - turning)], 3)
    }
}

/// Turns all channels of `x` (`[rows, heads, length, 2 · pairs]`) by angles (`[rows or 1, heads or 1, length, pairs]`), whose
/// sine and cosine are taken in the angles' own type.
fn turn(x: Tensor<4>, angles: Tensor<4>, layout: Layout) -> Tensor<4> {
    let [rows, heads, length, channels] = x.dims();
    let pairs = channels / 2;
    let (cos, sin) = (angles.clone().cos().cast(x.dtype()), angles.sin().cast(x.dtype()));
    match layout {
        Layout::Half => {
            let (a, b) = (x.clone().narrow(3, 0, pairs), x.narrow(3, pairs, pairs));
            let first = a.clone() * cos.clone() - b.clone() * sin.clone();
            Tensor::cat(vec![first, a * sin + b * cos], 3)
        }
        Layout::Interleaved => {
            let x = x.reshape([rows, heads, length, pairs, 2]);
            let one = |i: usize| x.clone().narrow(4, i, 1).reshape([rows, heads, length, pairs]);
            let (a, b) = (one(0), one(1));
            let first = a.clone() * cos.clone() - b.clone() * sin.clone();
            let second = a * sin + b * cos;
            Tensor::stack::<5>(vec![first, second], 4).reshape([rows, heads, length, channels])
        }
    }
}
