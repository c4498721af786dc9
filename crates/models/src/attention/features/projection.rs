//! Random directions for random features.
use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::range;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How random directions are drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionConfig {
    /// Number of directions.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Whether directions are orthogonal in blocks of d, which lowers the error; else each is drawn on its own.
    pub orthogonal: bool,
    /// The length of an orthogonal direction.
    pub row_norm: RowNorm,
    /// Training steps after which the directions are drawn anew; 0 keeps the first ones, which stand in the record.
    pub redraw: u64,
}

impl Default for ProjectionConfig {
    /// 256 orthogonal directions that stay, with lengths as a Gaussian's: decoding is then exact, and a stored network is
    /// complete.
    fn default() -> Self {
        Self { m: 256, orthogonal: true, row_norm: RowNorm::Gaussian, redraw: 0 }
    }
}

/// The length of an orthogonal direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowNorm {
    /// The length of a Gaussian vector of its own, so that each direction alone is Gaussian.
    #[default]
    Gaussian,
    /// √d.
    SqrtD,
}

impl ProjectionConfig {
    /// The directions for vectors of `d` entries.
    pub fn init(&self, init: &Init, d: usize) -> Projection {
        let Self { m, orthogonal, row_norm, redraw } = *self;
        let draw = |draws: &mut Draws| directions(draws, [m, d], orthogonal, row_norm);
        let fixed = (redraw == 0).then(|| init.buffer("directions", [m, d], draw));
        Projection { fixed, m, d, orthogonal, row_norm, redraw }
    }
}

/// Random directions `[m, d]`, the same for all heads of a layer.
#[derive(Module, Debug)]
pub struct Projection {
    /// `[m, d]`, not trained; `None` where directions are drawn anew from time to time.
    pub fixed: Option<Param<Tensor<2>>>,
    m: usize,
    d: usize,
    orthogonal: bool,
    #[module(skip)]
    row_norm: RowNorm,
    #[module(skip)]
    redraw: u64,
}

impl Projection {
    /// `x Wᵀ`: `[.., d]` to `[.., m]`. Directions that are drawn anew are a function of the run's seed, the path of `ctx` and
    /// the period that the step lies in.
    pub fn project(&self, x: Tensor<4>, ctx: &Ctx) -> Tensor<4> {
        let directions = match &self.fixed {
            Some(fixed) => fixed.val(),
            None => {
                let mut period = ctx.child("directions");
                period.step /= self.redraw.max(1);
                let values = directions(&mut period.draws(), [self.m, self.d], self.orthogonal, self.row_norm);
                Tensor::from_data(TensorData::new(values, [self.m, self.d]), (&x.device(), x.dtype()))
            }
        };
        let directions = directions.cast(x.dtype()).transpose().unsqueeze::<4>();
        x.matmul(directions)
    }
}

/// `m` random rows of `d` entries, one after the other.
///
/// Orthogonal rows are an orthonormal basis drawn uniformly (Gaussian rows, made orthogonal one by one), the last block cut
/// to what is needed, each row then stretched to its length.
pub(super) fn directions(draws: &mut Draws, [m, d]: [usize; 2], orthogonal: bool, row_norm: RowNorm) -> Vec<f64> {
    let mut gaussian = || -> Vec<f64> { (0..d).map(|_| draws.normal()).collect() };
    if !orthogonal {
        return (0..m).flat_map(|_| gaussian()).collect();
    }
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(m);
    while rows.len() < m {
        let block = rows.len() / d * d;
        let mut row = gaussian();
        // Twice, since one pass leaves a rounding error as large as the row is small.
        for _ in 0..2 {
            for other in &rows[block..] {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let norm = dot(&row, &row).sqrt();
        rows.push(row.into_iter().map(|x| x / norm).collect());
    }
    let length = |row_norm, gaussian: &mut dyn FnMut() -> Vec<f64>| match row_norm {
        RowNorm::Gaussian => {
            let other = gaussian();
            dot(&other, &other).sqrt()
        }
        RowNorm::SqrtD => (d as f64).sqrt(),
    };
    rows.into_iter()
        .flat_map(|row| {
            let length = length(row_norm, &mut gaussian);
            row.into_iter().map(move |x| x * length)
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
