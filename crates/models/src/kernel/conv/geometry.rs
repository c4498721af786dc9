//! Where the pixels of a convolution lie.
use crate::kernel::host::Real;

/// The sizes of a convolution of images with square filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Channels of the images.
    pub inputs: usize,
    /// Channels of the output, a filter each.
    pub outputs: usize,
    /// Height and width of the images.
    pub image: [usize; 2],
    /// Height and width of the output.
    pub map: [usize; 2],
    /// Pixels along each side of a filter.
    pub kernel: usize,
    /// Pixels from one place of the filter to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the image.
    pub padding: usize,
}

impl Geometry {
    /// Of images `[rows, inputs, height, width]` and filters `[outputs, inputs, kernel, kernel]`, of which at least one fits.
    pub fn new(x: [usize; 4], weight: [usize; 4], stride: usize, padding: usize) -> Self {
        let ([_, inputs, height, width], [outputs, _, kernel, _]) = (x, weight);
        let places = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        Self { inputs, outputs, image: [height, width], map: [places(height), places(width)], kernel, stride, padding }
    }

    /// Values of one image.
    pub fn image_len(&self) -> usize {
        self.inputs * self.image[0] * self.image[1]
    }

    /// Values of the output of one image.
    pub fn map_len(&self) -> usize {
        self.outputs * self.map[0] * self.map[1]
    }

    /// Terms of one output value.
    pub fn taps(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// Multiply-adds per image.
    pub fn work(&self) -> usize {
        self.map_len() * self.taps()
    }
}

/// The planes of one image with zeros around them.
#[derive(Clone, Debug)]
pub(super) struct Padded<R> {
    /// `[channels, rows, pitch]`
    pub values: Vec<R>,
    /// Values of a row.
    pub pitch: usize,
    /// Rows of a plane.
    pub rows: usize,
    size: [usize; 2],
    first: [usize; 2],
}

impl<R: Real> Padded<R> {
    /// Planes of `size` pixels with `[before, after]` rows and columns of zeros.
    pub fn new(channels: usize, size: [usize; 2], above_below: [usize; 2], left_right: [usize; 2]) -> Self {
        let rows = above_below[0] + size[0] + above_below[1];
        let pitch = left_right[0] + size[1] + left_right[1];
        Self {
            values: vec![R::ZERO; channels * rows * pitch],
            pitch,
            rows,
            size,
            first: [above_below[0], left_right[0]],
        }
    }

    /// Puts another image, `[channels, height, width]`, in the place of the last.
    pub fn put(&mut self, image: &[R]) {
        let [height, width] = self.size;
        for (c, plane) in image.chunks_exact((height * width).max(1)).enumerate() {
            for (y, row) in plane.chunks_exact(width).enumerate() {
                let at = (c * self.rows + self.first[0] + y) * self.pitch + self.first[1];
                self.values[at..at + width].copy_from_slice(row);
            }
        }
    }

    /// Where each row of each filter begins in an image, seen from the filter's first pixel: `[channels · kernel]`.
    pub fn filter_rows(&self, channels: usize, kernel: usize) -> Vec<usize> {
        let rows = (0..channels).flat_map(|c| (0..kernel).map(move |a| (c, a)));
        rows.map(|(c, a)| (c * self.rows + a) * self.pitch).collect()
    }
}

/// Along one axis, the inputs `stride · q + phase − padding` for q in `first..first + count`: those that the taps
/// `phase, phase + stride, …` of a filter reach, from the outputs q, q − 1, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// The first tap.
    pub phase: usize,
    /// Number of taps.
    pub taps: usize,
    /// The first q whose input lies in the image.
    pub first: usize,
    /// Number of such q.
    pub count: usize,
    /// The input of the first q.
    pub input: usize,
}

/// The phases of an axis of `len` inputs, which between them hold every input once.
pub(super) fn phases(len: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Phase> {
    let phase = |phase: usize| {
        let first = padding.saturating_sub(phase).div_ceil(stride);
        let input = stride * first + phase - padding;
        let count = len.saturating_sub(input).div_ceil(stride);
        Phase { phase, taps: kernel.saturating_sub(phase).div_ceil(stride), first, count, input }
    };
    (0..stride).map(phase).filter(|phase| phase.count > 0).collect()
}

/// Zeros that an axis of `outputs` needs before and after it, so that every tap of every phase finds a value.
pub(super) fn surround(phases: &[Phase], outputs: usize) -> [usize; 2] {
    let before = phases.iter().map(|p| p.taps.saturating_sub(1 + p.first)).max();
    let after = phases.iter().map(|p| (p.first + p.count).saturating_sub(outputs)).max();
    [before.unwrap_or(0), after.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn phases_hold_every_pair_of_input_and_output_once(
            len in 1usize..12, kernel in 1usize..6, stride in 1usize..4, padding in 0usize..4,
        ) {
            prop_assume!(kernel <= len + 2 * padding);
            let outputs = (len + 2 * padding - kernel) / stride + 1;
            let phases = phases(len, kernel, stride, padding);
            let [before, after] = surround(&phases, outputs);
            let mut found = Vec::new();
            let mut inputs = Vec::new();
            for p in &phases {
                for q in p.first..p.first + p.count {
                    let input = stride * q + p.phase - padding;
                    inputs.push(input);
                    prop_assert_eq!(input, p.input + stride * (q - p.first));
                    for t in 0..p.taps {
                        let output = q as isize - t as isize;
                        prop_assert!(output + before as isize >= 0 && output < (outputs + after) as isize);
                        if (0..outputs as isize).contains(&output) {
                            found.push((input, output as usize, p.phase + stride * t));
                        }
                    }
                }
            }
            inputs.sort_unstable();
            prop_assert_eq!(inputs, (0..len).collect::<Vec<_>>());
            let mut expected = Vec::new();
            for output in 0..outputs {
                for tap in 0..kernel {
                    let input = (stride * output + tap).checked_sub(padding);
                    expected.extend(input.filter(|input| *input < len).map(|input| (input, output, tap)));
                }
            }
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_image_is_put_into_its_zeros() {
        let mut padded = Padded::<f64>::new(2, [1, 2], [1, 0], [1, 2]);
        padded.put(&[1.0, 2.0, 3.0, 4.0]);
        padded.put(&[5.0, 6.0, 7.0, 8.0]);
        let zeros = [0.0; 5];
        assert_eq!(padded.values, [zeros, [0.0, 5.0, 6.0, 0.0, 0.0], zeros, [0.0, 7.0, 8.0, 0.0, 0.0]].concat());
        assert_eq!(padded.filter_rows(2, 2), [0, 5, 10, 15]);
    }
}
