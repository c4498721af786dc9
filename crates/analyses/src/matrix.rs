//! Rows of numbers.
use std::{borrow::Cow, ops::Range};

/// Rows of equal width, row after row; borrowed where possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<'a> {
    values: Cow<'a, [f64]>,
    columns: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values each.
    ///
    /// # Panics
    /// If `columns` is 0 or does not divide the number of values.
    pub fn new(values: impl Into<Cow<'a, [f64]>>, columns: usize) -> Self {
        let values = values.into();
        assert!(
            columns > 0 && values.len().is_multiple_of(columns),
            "{} values do not make rows of {columns}",
            values.len()
        );
        Self { values, columns }
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f64] {
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

    /// Each row in turn.
    pub fn iter_rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.columns)
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.columns..(i + 1) * self.columns]
    }

    /// Neighbouring rows, such as one operand's part of an input matrix.
    ///
    /// # Panics
    /// If one of them does not exist.
    pub fn row_range(&self, rows: Range<usize>) -> Matrix<'_> {
        Matrix::new(&self.values[rows.start * self.columns..rows.end * self.columns], self.columns)
    }

    /// The given rows in the given order, such as that of a discrete logarithm.
    ///
    /// # Panics
    /// If one of them does not exist.
    pub fn select_rows(&self, rows: &[usize]) -> Matrix<'static> {
        Matrix::new(rows.iter().flat_map(|&row| self.row(row)).copied().collect::<Vec<_>>(), self.columns)
    }

    /// Rows and columns exchanged, such as to read an output layer `[width, classes]` class by class.
    ///
    /// # Panics
    /// If there are no rows, since columns would be lost.
    pub fn transposed(&self) -> Matrix<'static> {
        let columns = (0..self.columns).flat_map(|j| self.iter_rows().map(move |row| row[j]));
        Matrix::new(columns.collect::<Vec<_>>(), self.rows())
    }

    /// Rows with the class of each.
    ///
    /// # Panics
    /// If the numbers of rows and targets differ, or a target has no column.
    pub(crate) fn iter_with<'b>(&'b self, targets: &'b [usize]) -> impl Iterator<Item = (&'b [f64], usize)> {
        assert_eq!(self.rows(), targets.len(), "each row needs one target");
        self.iter_rows().zip(targets).map(|(row, &target)| {
            assert!(target < row.len(), "target {target} is none of the {} classes", row.len());
            (row, target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_orders() {
        let matrix = Matrix::new(vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0], 2);
        assert_eq!(matrix.row_range(1..3), Matrix::new(vec![10.0, 11.0, 20.0, 21.0], 2));
        assert_eq!(matrix.select_rows(&[2, 0]), Matrix::new(vec![20.0, 21.0, 0.0, 1.0], 2));
        assert_eq!(matrix.transposed(), Matrix::new(vec![0.0, 10.0, 20.0, 1.0, 11.0, 21.0], 3));
    }

    #[test]
    #[should_panic(expected = "target 3 is none of the 3 classes")]
    fn a_target_without_a_column_is_refused() {
        Matrix::new(vec![0.0; 3], 3).iter_with(&[3]).for_each(drop);
    }
}
