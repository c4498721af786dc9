//! Rows of images as bytes.
use crate::Matrix;

/// Images of one size, a byte per value.
///
/// What a model receives is `(byte / 255 − mean) / std`, with a mean and a standard deviation for each channel: a data
/// set of 60 000 images of 3 · 32 · 32 values is 184 MB here and 737 MB as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    pixels: Matrix<u8>,
    shape: [usize; 3],
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Images {
    /// Images of shape `[channels, height, width]`, one after another in that order of axes; `mean` and `std` of each
    /// channel on the scale of 0 to 1.
    ///
    /// # Panics
    /// If rows and shape do not fit, a channel has no mean or standard deviation, or a standard deviation is not above 0.
    pub fn new(pixels: Matrix<u8>, shape: [usize; 3], mean: Vec<f32>, std: Vec<f32>) -> Self {
        let columns = pixels.columns();
        assert_eq!(columns, shape.iter().product::<usize>(), "rows of {columns} bytes are no images of {shape:?}");
        assert!(mean.len() == shape[0] && std.len() == shape[0], "each of {} channels needs mean and std", shape[0]);
        assert!(std.iter().all(|std| *std > 0.0), "the standard deviations {std:?} are not above 0");
        Self { pixels, shape, mean, std }
    }

    /// Number of images.
    pub fn rows(&self) -> usize {
        self.pixels.rows()
    }

    /// `[channels, height, width]`
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The bytes, `[rows, channels · height · width]`.
    pub fn pixels(&self) -> &Matrix<u8> {
        &self.pixels
    }

    /// What a model receives: `[rows, channels, height, width]`, row-major.
    pub fn values(&self) -> Vec<f32> {
        let [channels, height, width] = self.shape;
        let mut values = Vec::with_capacity(self.pixels.values().len());
        for (i, plane) in self.pixels.values().chunks_exact(height * width).enumerate() {
            let (mean, std) = (self.mean[i % channels], self.std[i % channels]);
            values.extend(plane.iter().map(|&byte| (f32::from(byte) / 255.0 - mean) / std));
        }
        values
    }

    /// The given images in the given order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> Self {
        self.with_pixels(self.pixels.gather(rows))
    }

    /// Other images of the same shape, which are brought to the same scale.
    ///
    /// # Panics
    /// If rows and shape do not fit.
    #[must_use]
    pub fn with_pixels(&self, pixels: Matrix<u8>) -> Self {
        Self::new(pixels, self.shape, self.mean.clone(), self.std.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of two channels, one row, two columns.
    fn images() -> Images {
        Images::new(Matrix::new(vec![0, 255, 51, 102, 1, 2, 3, 4], 4), [2, 1, 2], vec![0.5, 0.2], vec![0.5, 0.1])
    }

    #[test]
    fn each_channel_has_its_own_scale() {
        // (0 − 0.5) / 0.5, (1 − 0.5) / 0.5, (0.2 − 0.2) / 0.1, (0.4 − 0.2) / 0.1
        let expected = [-1.0, 1.0, 0.0, 2.0];
        for (found, expected) in images().values().into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn rows_are_taken_in_the_order_asked_for() {
        let images = images();
        let (whole, swapped) = (images.values(), images.gather(&[1, 0]));
        assert_eq!((swapped.rows(), swapped.shape()), (2, [2, 1, 2]));
        assert_eq!(swapped.values(), [&whole[4..], &whole[..4]].concat());
    }

    #[test]
    #[should_panic(expected = "rows of 4 bytes are no images of [1, 1, 2]")]
    fn rows_that_are_no_images_are_refused() {
        Images::new(Matrix::new(vec![0; 8], 4), [1, 1, 2], vec![0.5], vec![0.5]);
    }
}
