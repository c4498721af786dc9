//! Rows on their way to a model.
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
            Self::OneHot(matrix) | Self::Tokens(matrix) => matrix.rows(),
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
            Self::Floats(matrix) => Self::Floats(matrix.gather(rows)),
            Self::Items { values, features } => Self::Items { values: values.gather(rows), features: *features },
            Self::Image(images) => Self::Image(images.gather(rows)),
        }
    }
}

/// What the rows should be mapped to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// One class per row, `[rows]`.
    Classes(Vec<i32>),
}

impl Target {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
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
    #[should_panic(expected = "5 values do not make rows of 2")]
    fn a_ragged_matrix_is_refused() {
        Matrix::new(vec![0; 5], 2);
    }
}
