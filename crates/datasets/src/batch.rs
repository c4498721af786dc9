//! Rows on their way to a model.
use std::ops::Range;

use crate::Images;

/// Rows of equal width, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T> {
    values: Vec<T>,
    columns: usize,
}

impl<T: Copy> Matrix<T> {
    /// Rows of `columns` values each.
    ///
    /// # Panics
    /// If `columns` is 0 or does not divide the number of values.
    pub fn new(values: Vec<T>, columns: usize) -> Self {
        assert!(
            columns > 0 && values.len().is_multiple_of(columns),
            "{} values do not make rows of {columns}",
            values.len()
        );
        Self { values, columns }
    }

    /// All values, row after row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Values per row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }

    /// Row `i`, to be changed.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.values[i * self.columns..(i + 1) * self.columns]
    }

    /// The given rows in the given order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        for &row in rows {
            values.extend_from_slice(self.row(row));
        }
        Self { values, columns: self.columns }
    }
}

/// Input rows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// Places of the ones in each row's vector, `[rows, hot]`; the dense vector is never built.
    OneHot(Matrix<i32>),
    /// Token ids, `[rows, length]`.
    Tokens(Matrix<i32>),
    /// Tokens that are sums of embeddings, by their ids: `[rows, length · parts]`, token after token.
    TokenSums {
        /// The ids of all tokens.
        ids: Matrix<i32>,
        /// Ids per token; divides the columns.
        parts: usize,
    },
    /// Real numbers, `[rows, width]`.
    Floats(Matrix<f32>),
    /// Sets of items, each a vector of real numbers: `[rows, items · features]`, item after item.
    Items {
        /// The features of all items.
        values: Matrix<f32>,
        /// Numbers per item; divides the columns.
        features: usize,
    },
    /// Images, `[rows, channels, height, width]`.
    Image(Images),
}

impl Input {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::OneHot(matrix) | Self::Tokens(matrix) | Self::TokenSums { ids: matrix, .. } => matrix.rows(),
            Self::Floats(matrix) | Self::Items { values: matrix, .. } => matrix.rows(),
            Self::Image(images) => images.rows(),
        }
    }

    /// The given rows in the given order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        match self {
            Self::OneHot(matrix) => Self::OneHot(matrix.gather(rows)),
            Self::Tokens(matrix) => Self::Tokens(matrix.gather(rows)),
            Self::TokenSums { ids, parts } => Self::TokenSums { ids: ids.gather(rows), parts: *parts },
            Self::Floats(matrix) => Self::Floats(matrix.gather(rows)),
            Self::Items { values, features } => Self::Items { values: values.gather(rows), features: *features },
            Self::Image(images) => Self::Image(images.gather(rows)),
        }
    }
}

/// What the rows should be mapped to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// One class per row, `[rows]`.
    Classes(Vec<i32>),
    /// A class at some places of each row.
    Tokens {
        /// The places that are asked, counted within the row: `[rows, answers]`.
        places: Matrix<i32>,
        /// The class at each of them: `[rows, answers]`.
        classes: Matrix<i32>,
    },
    /// Real numbers, `[rows, width]`.
    Values(Matrix<f32>),
}

impl Target {
    /// The same places of every row, and the class at each of them, row after row.
    ///
    /// # Panics
    /// If there are no places or their number does not divide that of the classes.
    pub fn tokens(places: Range<usize>, classes: Vec<i32>) -> Self {
        let (answers, classes) = (places.len(), Matrix::new(classes, places.len()));
        let places = (0..classes.rows()).flat_map(|_| places.clone()).map(|place| place as i32).collect();
        Self::Tokens { places: Matrix::new(places, answers), classes }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Tokens { classes, .. } => classes.rows(),
            Self::Values(values) => values.rows(),
        }
    }

    /// Answers per row.
    pub fn answers(&self) -> usize {
        match self {
            Self::Classes(_) | Self::Values(_) => 1,
            Self::Tokens { classes, .. } => classes.columns(),
        }
    }

    /// The given rows in the given order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes(classes) => Self::Classes(rows.iter().map(|&row| classes[row]).collect()),
            Self::Tokens { places, classes } => {
                Self::Tokens { places: places.gather(rows), classes: classes.gather(rows) }
            }
            Self::Values(values) => Self::Values(values.gather(rows)),
        }
    }
}

/// The rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What the model receives.
    pub input: Input,
    /// What it should answer.
    pub target: Target,
    /// Number of rows.
    pub rows: usize,
}

impl Batch {
    /// The given rows in the given order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        Self { input: self.input.gather(rows), target: self.target.gather(rows), rows: rows.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_takes_rows_in_the_order_asked_for() {
        let matrix = Matrix::new(vec![0, 1, 10, 11, 20, 21], 2);
        assert_eq!(matrix.gather(&[2, 0, 2]), Matrix::new(vec![20, 21, 0, 1, 20, 21], 2));
        assert_eq!(matrix.gather(&[]).rows(), 0);
    }

    #[test]
    fn asked_places_travel_with_their_rows() {
        let target = Target::tokens(2..4, vec![7, 8, 17, 18, 27, 28]);
        assert_eq!((target.rows(), target.answers()), (3, 2));
        let Target::Tokens { places, classes } = target.gather(&[2, 0]) else { panic!("not tokens") };
        assert_eq!((places.values(), classes.values()), (&[2, 3, 2, 3][..], &[27, 28, 7, 8][..]));
    }

    #[test]
    #[should_panic(expected = "5 values do not make rows of 2")]
    fn a_ragged_matrix_is_refused() {
        Matrix::new(vec![0; 5], 2);
    }
}
