//! Where the windows of a pooling lie.
use std::ops::Range;

/// Square windows at regular places of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Cells along each side, at least 1.
    pub kernel: usize,
    /// Cells from one window to the next, at least 1.
    pub stride: usize,
    /// Cells that are thought around the image and take no part.
    pub padding: usize,
}

impl Window {
    /// Number of windows along a side of `size` cells: ⌊(size + 2 padding − kernel)/stride⌋ + 1.
    ///
    /// # Panics
    /// If not one fits.
    pub fn places(&self, size: usize) -> usize {
        let Self { kernel, stride, padding } = *self;
        assert!(
            kernel <= size + 2 * padding,
            "a window of {kernel} cells does not fit a side of {size} cells padded by {padding}"
        );
        (size + 2 * padding - kernel) / stride + 1
    }

    /// The places whose window has its cell `offset` within a side of `size` cells, out of `places`.
    pub(super) fn inside(&self, offset: usize, size: usize, places: usize) -> Range<usize> {
        let start = self.padding.saturating_sub(offset).div_ceil(self.stride);
        let end = (size + self.padding).saturating_sub(offset).div_ceil(self.stride);
        start.min(places)..end.min(places).max(start.min(places))
    }

    /// The cell `offset` of the window at `place`, for a place of [`Window::inside`].
    pub(super) fn cell(&self, place: usize, offset: usize) -> usize {
        place * self.stride + offset - self.padding
    }
}
