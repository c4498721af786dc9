//! Images moved and turned: values between pixels.

/// Redraws an image of `[channels, height, width]`: the pixel at column x and row y takes the value that the old image
/// has at `from(x, y)`, interpolated between its four neighbours. Outside the old image it is black.
///
/// Coordinates count pixels from the centre of the first one; a value is rounded to the nearest byte.
pub fn resample(image: &mut [u8], [channels, height, width]: [usize; 3], from: impl Fn(f64, f64) -> (f64, f64)) {
    let old = image.to_vec();
    let plane = height * width;
    let at = |channel: usize, x: f64, y: f64| -> f64 {
        // Before the cast, because a coordinate far outside must not wrap into the image.
        if x < 0.0 || y < 0.0 || x >= width as f64 || y >= height as f64 {
            return 0.0;
        }
        f64::from(old[channel * plane + y as usize * width + x as usize])
    };
    let (last_column, last_row) = ((width - 1) as f64, (height - 1) as f64);
    for i in 0..plane {
        let (x, y) = from((i % width) as f64, (i / width) as f64);
        if x >= 0.0 && y >= 0.0 && x < last_column && y < last_row {
            // All four neighbours are there, and the cast is the floor.
            let (left, top) = (x as usize, y as usize);
            let (across, down) = (x - left as f64, y - top as f64);
            for channel in 0..channels {
                let corner = channel * plane + top * width + left;
                let pair = |at: usize| (f64::from(old[at]), f64::from(old[at + 1]));
                let ((a, b), (c, d)) = (pair(corner), pair(corner + width));
                let (upper, lower) = (a * (1.0 - across) + b * across, c * (1.0 - across) + d * across);
                image[channel * plane + i] = nearest(upper * (1.0 - down) + lower * down);
            }
            continue;
        }
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (x - left, y - top);
        for channel in 0..channels {
            let upper = at(channel, left, top) * (1.0 - across) + at(channel, left + 1.0, top) * across;
            let lower = at(channel, left, top + 1.0) * (1.0 - across) + at(channel, left + 1.0, top + 1.0) * across;
            image[channel * plane + i] = nearest(upper * (1.0 - down) + lower * down);
        }
    }
}

/// The byte nearest to a value from 0 to 255, halves upwards.
fn nearest(value: f64) -> u8 {
    (value + 0.5) as u8
}

/// Turns an image about its centre by an angle in radians, clockwise as it is seen.
pub fn turn(image: &mut [u8], shape: [usize; 3], angle: f64) {
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let (x0, y0) = ((shape[2] - 1) as f64 / 2.0, (shape[1] - 1) as f64 / 2.0);
    // Rows count downwards, so the inverse of a clockwise turn goes from (x, y) back by −angle.
    resample(image, shape, |x, y| {
        let (x, y) = (x - x0, y - y0);
        (x0 + cos * x + sin * y, y0 - sin * x + cos * y)
    });
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// Two channels of 3 by 3, the second one brighter by 100.
    fn image() -> Vec<u8> {
        (1..=9).chain(101..=109).collect()
    }

    #[test]
    fn whole_moves_copy_and_half_moves_average() {
        let mut moved = image();
        resample(&mut moved, [2, 3, 3], |x, y| (x - 1.0, y));
        assert_eq!(moved, [0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 101, 102, 0, 104, 105, 0, 107, 108]);
        let mut half = image()[..9].to_vec();
        resample(&mut half, [1, 3, 3], |x, y| (x, y + 0.5));
        // (1 + 4) / 2 = 2.5, and at the border (7 + 0) / 2 = 3.5.
        assert_eq!(half, [3, 4, 5, 6, 7, 8, 4, 4, 5]);
        let mut away = image();
        resample(&mut away, [2, 3, 3], |x, y| (x + 1e300, y));
        assert_eq!(away, [0; 18]);
    }

    #[test]
    fn a_quarter_turn_clockwise_moves_the_left_edge_to_the_top() {
        let mut turned = image()[..9].to_vec();
        turn(&mut turned, [1, 3, 3], PI / 2.0);
        assert_eq!(turned, [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        for (angle, expected) in [(0.0, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (PI, [9, 8, 7, 6, 5, 4, 3, 2, 1])] {
            let mut turned = image()[..9].to_vec();
            turn(&mut turned, [1, 3, 3], angle);
            assert_eq!(turned, expected);
        }
    }
}
