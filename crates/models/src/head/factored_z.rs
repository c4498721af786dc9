//! The Z-loss of a dense output layer at a cost that does not grow with the classes.

/// Steps after which the factors are multiplied out, which ends what rounding has added up.
const STEPS: usize = 1000;

/// Where `1 − k |h|²` comes nearer to 0, the factor of a step has no useful inverse.
const SINGULAR: f64 = 0.1;

/// Variances below this share of the mean square are rounding: the row counts as constant.
const CONSTANT: f64 = 1e-13;

/// A dense layer `o = W h` without bias, trained by plain gradient steps on the Z-loss, row by row. Neither the loss nor a step
/// computes all logits: a row costs O(width²), whatever the number of classes.
/// ```text
/// o = W h,   μ = mean o,   σ² = mean o² − μ²,   z = (o_y − μ)/σ,   L = softplus(a (b − z))/a
/// L depends on q = |o|² = hᵀ Q h,  s = Σ o = w̄ᵀ h  and o_y alone, with Q = Wᵀ W and w̄ = Wᵀ 1
/// ∂L/∂h = 2 L_q Q h + L_s w̄ + L_y w_y
/// W = V U + 1 ωᵀ:  a step multiplies U by A = I − k h hᵀ (k = 2η L_q), and moves ω and one row of V
/// ```
/// It is not a head of a network: its step is its own, not an optimizer's. A run trains the same loss by `loss = "z_loss"`.
///
/// # References
/// Vincent, de Brébisson and Bouthillier 2015, Efficient Exact Gradient Update for training Deep Networks with Very Large Sparse
/// Targets, arXiv:1412.7091; de Brébisson and Vincent 2016, arXiv:1604.08859.
#[derive(Clone, Debug)]
pub struct FactoredZ {
    classes: usize,
    width: usize,
    a: f64,
    b: f64,
    /// V: `[classes, width]`
    rows: Vec<f64>,
    /// U and its inverse: `[width, width]`
    factor: Vec<f64>,
    inverse: Vec<f64>,
    /// ω: `[width]`
    shift: Vec<f64>,
    /// w̄: `[width]`
    sum: Vec<f64>,
    /// Q: `[width, width]`
    square: Vec<f64>,
    steps: usize,
}

/// What a step found before it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct ZStep {
    /// L.
    pub loss: f64,
    /// ∂L/∂h.
    pub slopes: Vec<f64>,
}

impl FactoredZ {
    /// A layer with these weights (`[classes, width]`, a row per class), for the Z-loss with a and b.
    ///
    /// # Panics
    /// If the weights are no whole number of rows.
    pub fn new(weights: Vec<f64>, width: usize, a: f64, b: f64) -> Self {
        assert!(width > 0 && weights.len().is_multiple_of(width), "{} weights in rows of {width}", weights.len());
        let classes = weights.len() / width;
        let mut layer = Self {
            classes,
            width,
            a,
            b,
            rows: weights,
            factor: Vec::new(),
            inverse: Vec::new(),
            shift: Vec::new(),
            sum: Vec::new(),
            square: Vec::new(),
            steps: 0,
        };
        layer.settle();
        layer
    }

    /// W, multiplied out: `[classes, width]`.
    pub fn weights(&self) -> Vec<f64> {
        (0..self.classes).flat_map(|class| self.row(class)).collect()
    }

    /// w_y.
    fn row(&self, class: usize) -> Vec<f64> {
        let mut row = times(&self.rows[class * self.width..][..self.width], &self.factor);
        row.iter_mut().zip(&self.shift).for_each(|(w, shift)| *w += shift);
        row
    }

    /// Makes U the identity and ω 0, and sums anew.
    fn settle(&mut self) {
        if !self.factor.is_empty() {
            self.rows = self.weights();
        }
        let width = self.width;
        self.factor = (0..width * width).map(|i| f64::from(u8::from(i / width == i % width))).collect();
        self.inverse = self.factor.clone();
        self.shift = vec![0.0; width];
        self.sum = vec![0.0; width];
        self.square = vec![0.0; width * width];
        for row in self.rows.chunks(width) {
            self.sum.iter_mut().zip(row).for_each(|(sum, w)| *sum += w);
            for (line, &w) in self.square.chunks_mut(width).zip(row) {
                line.iter_mut().zip(row).for_each(|(square, v)| *square += w * v);
            }
        }
        self.steps = 0;
    }

    /// The loss of features `h` of a class and its gradient there; then W moves by `−rate ∂L/∂W`.
    ///
    /// # Panics
    /// If `h` is not as wide as the layer or the class does not exist.
    pub fn step(&mut self, h: &[f64], class: usize, rate: f64) -> ZStep {
        assert!(h.len() == self.width && class < self.classes, "{} features, class {class}", h.len());
        let n = self.classes as f64;
        let own = self.row(class);
        let squared = times(h, &self.square); // Q h
        let (q, s, o) = (dot(h, &squared), dot(h, &self.sum), dot(h, &own));
        let mean = s / n;
        let variance = q / n - mean * mean;
        let constant = variance <= CONSTANT * (q / n);
        let deviation = if constant { 1.0 } else { variance.sqrt() };
        let z = if constant { 0.0 } else { (o - mean) / deviation };
        let lack = self.a * (self.b - z);
        let loss = (lack.max(0.0) + (-lack.abs()).exp().ln_1p()) / self.a;
        // A row without spread has no direction to go.
        let pull = if constant { 0.0 } else { -1.0 / (1.0 + (-lack).exp()) };
        let at_own = pull / deviation;
        // With the pull at 0 all three are 0.
        let at_sum = pull * (z * mean / deviation - 1.0) / (n * deviation);
        let at_square = -pull * z / (2.0 * n * deviation * deviation);
        let slopes = (0..self.width).map(|i| 2.0 * at_square * squared[i] + at_sum * self.sum[i] + at_own * own[i]);
        let slopes = slopes.collect();

        let k = 2.0 * rate * at_square;
        let shrink = 1.0 - k * dot(h, h);
        if shrink.abs() < SINGULAR {
            // The step itself is fine, only its factor is not.
            self.settle();
            for (at, row) in self.rows.chunks_mut(self.width).enumerate() {
                let slope = 2.0 * at_square * dot(row, h) + at_sum + if at == class { at_own } else { 0.0 };
                row.iter_mut().zip(h).for_each(|(w, h)| *w -= rate * slope * h);
            }
            self.settle();
            return ZStep { loss, slopes };
        }
        self.advance(h, class, rate, [k, shrink, at_sum, at_own], &own, &squared);
        self.steps += 1;
        if self.steps == STEPS {
            self.settle();
        }
        ZStep { loss, slopes }
    }

    /// Moves every factor.
    fn advance(
        &mut self,
        h: &[f64],
        class: usize,
        rate: f64,
        [k, shrink, at_sum, at_own]: [f64; 4],
        own: &[f64],
        squared: &[f64],
    ) {
        let (n, width) = (self.classes as f64, self.width);
        // A x for symmetric A.
        let turned = |x: &[f64]| -> Vec<f64> {
            let along = k * dot(x, h);
            x.iter().zip(h).map(|(x, h)| x - along * h).collect()
        };
        // U ← U A, and the inverse from the left.
        let along: Vec<f64> = self.factor.chunks(width).map(|row| k * dot(row, h)).collect();
        add_outer(&mut self.factor, -1.0, &along, h);
        let along = times(h, &self.inverse);
        add_outer(&mut self.inverse, k / shrink, h, &along);
        let moved = times(h, &self.inverse);
        let row = &mut self.rows[class * width..][..width];
        row.iter_mut().zip(&moved).for_each(|(v, moved)| *v -= rate * at_own * moved);

        // Q ← A Q A − η (t hᵀ + h tᵀ) + |g|² h hᵀ,  A Q A = Q − k (h (Qh)ᵀ + (Qh) hᵀ) + k² (hᵀQh) h hᵀ
        let t: Vec<f64> =
            turned(&self.sum.iter().zip(own).map(|(sum, own)| at_sum * sum + at_own * own).collect::<Vec<_>>());
        let sides: Vec<f64> = t.iter().zip(squared).map(|(t, squared)| rate * t + k * squared).collect();
        let middle =
            k * k * dot(h, squared) + rate * rate * (n * at_sum * at_sum + 2.0 * at_sum * at_own + at_own * at_own);
        add_outer(&mut self.square, -1.0, &sides, h);
        add_outer(&mut self.square, -1.0, h, &sides);
        add_outer(&mut self.square, middle, h, h);

        let moved = turned(&self.shift);
        self.shift = moved.iter().zip(h).map(|(shift, h)| shift - rate * at_sum * h).collect();
        let moved = turned(&self.sum);
        self.sum = moved.iter().zip(h).map(|(sum, h)| sum - rate * (n * at_sum + at_own) * h).collect();
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A row times a square matrix.
fn times(row: &[f64], matrix: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; row.len()];
    for (line, &x) in matrix.chunks(row.len()).zip(row) {
        product.iter_mut().zip(line).for_each(|(sum, entry)| *sum += x * entry);
    }
    product
}

/// `matrix + scale · a bᵀ`.
fn add_outer(matrix: &mut [f64], scale: f64, a: &[f64], b: &[f64]) {
    for (line, &a) in matrix.chunks_mut(b.len()).zip(a) {
        line.iter_mut().zip(b).for_each(|(entry, b)| *entry += scale * a * b);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Int, Tensor, TensorData};
    use kiln_activations::{
        Init,
        loss::{LossConfig, Target},
    };
    use kiln_stream::Stream;

    use super::*;
    use crate::testing::{assert_close, device, values};

    const CLASSES: usize = 31;
    const WIDTH: usize = 7;

    /// The loss of the dense layer, its gradients at h and W.
    fn dense(weights: &[f64], h: &[f64], class: usize, [a, b]: [f64; 2]) -> [Vec<f64>; 3] {
        let leaf = |values: &[f64], shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), (&device(), DType::F64)).require_grad()
        };
        let config = serde_json::json!({ "name": "z_loss", "a": a, "b": b, "dtype": "f64" });
        let loss = serde_json::from_value::<LossConfig>(config).unwrap().init(&Init::new(0, &device(), DType::F64));
        let (h, w) = (leaf(h, [1, WIDTH]), leaf(weights, [CLASSES, WIDTH]));
        let class = Tensor::<1, Int>::from_data([class as i64], &device());
        let output = loss.forward(h.clone().matmul(w.clone().transpose()), &Target::Classes(class));
        let gradients = output.mean.backward();
        [values(&output.mean), values(&h.grad(&gradients).unwrap()), values(&w.grad(&gradients).unwrap())]
    }

    #[test]
    fn it_takes_the_steps_of_the_dense_layer() {
        let mut draws = Stream::new(3, "test").at(0);
        let mut normal = |n: usize| (0..n).map(|_| draws.normal()).collect::<Vec<f64>>();
        for (settings, rate) in [([1.0, 0.0], 0.3), ([2.0, 1.5], 1.0), ([4.0, 3.0], 0.1)] {
            let mut weights = normal(CLASSES * WIDTH);
            let mut layer = FactoredZ::new(weights.clone(), WIDTH, settings[0], settings[1]);
            for step in 0..40 {
                let (h, class) = (normal(WIDTH), step * 5 % CLASSES);
                let [loss, dh, dw] = dense(&weights, &h, class, settings);
                let found = layer.step(&h, class, rate);
                assert_close(&format!("loss {step}"), &[found.loss], &loss, 1e-9);
                assert_close(&format!("dh {step}"), &found.slopes, &dh, 1e-9);
                weights.iter_mut().zip(&dw).for_each(|(w, slope)| *w -= rate * slope);
            }
            assert_close("weights", &layer.weights(), &weights, 1e-9);
            let before = layer.weights();
            layer.settle();
            assert_close("settled", &layer.weights(), &before, 1e-12);
        }
    }

    #[test]
    fn golden_loss_and_a_step_without_inverse() {
        // Identity features: the logits are a column of W.
        let o = [2.0, -1.0, 0.5, 0.0];
        let mut layer = FactoredZ::new(o.to_vec(), 1, 1.0, 0.0);
        let found = layer.step(&[1.0], 2, 0.0);
        assert_close("loss", &[found.loss], &[0.6370778952], 1e-9);
        // dh = ⟨dL/do, o⟩ = 0: a longer feature scales all logits.
        assert_close("dh", &found.slopes, &[0.0], 1e-12);
        // k |h|² = 1 makes A = 0; the dense step is taken instead. k = −rate · pull · z/(n σ²).
        let slopes = [0.1276713207, 0.09285186962, -0.3249815437, 0.1044583533];
        let z: [f64; 4] = [1.5011107, -1.270170592, 0.1154700538, -0.3464101615];
        let (pull, variance): (f64, f64) = (-1.0 / (1.0 + z[2].exp()), 1.171875);
        let rate = 4.0 * variance / (-pull * z[2]);
        layer.step(&[1.0], 2, rate);
        let want: Vec<f64> = o.iter().zip(slopes).map(|(o, slope)| o - rate * slope).collect();
        assert_close("weights", &layer.weights(), &want, 1e-7);
    }

    #[test]
    fn a_row_without_spread_moves_nothing() {
        let mut layer = FactoredZ::new(vec![0.5; 3], 1, 1.0, 1.0);
        let found = layer.step(&[2.0], 1, 1.0);
        assert_close("loss", &[found.loss], &[1f64.exp().ln_1p()], 1e-12);
        assert_eq!((found.slopes, layer.weights()), (vec![0.0], vec![0.5; 3]));
    }
}
