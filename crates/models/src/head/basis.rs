//! Unit vectors that keep their distance from each other.
use kiln_stream::Draws;

/// The size that the largest cosine between so many unit vectors of this width has at least, by Welch's bound.
pub(super) fn least_cosine(count: usize, width: usize) -> f64 {
    if count <= width {
        return 0.0;
    }
    let [count, width] = [count as f64, width as f64];
    ((count - width) / (width * (count - 1.0))).sqrt()
}

/// `count` unit vectors of `width` entries (row-major), of which no two have a cosine above `alpha` in size, as far as `steps`
/// steps reach; orthonormal if there are no more than `width`.
pub(super) fn vectors(count: usize, width: usize, alpha: f64, steps: usize, draws: &mut Draws) -> Vec<f64> {
    let mut rows: Vec<f64> = (0..count * width).map(|_| draws.normal()).collect();
    if count <= width {
        orthonormalise(&mut rows, width);
        return rows;
    }
    normalise(&mut rows, width);
    for step in 0..steps {
        let (gradient, worst) = pull(&rows, width, alpha);
        if worst <= alpha + 1e-4 {
            break;
        }
        // From a tenth of a vector's length down to nothing; the gradient's own size falls in jumps.
        let rate = 0.1 * (1.0 - step as f64 / steps as f64);
        let longest = gradient.chunks(width).map(length).fold(0.0, f64::max);
        rows.iter_mut().zip(&gradient).for_each(|(x, g)| *x -= rate * g / longest);
        normalise(&mut rows, width);
    }
    rows
}

/// The corners of a regular simplex, turned at random: `count` unit vectors of `width` entries (row-major) whose cosines are all
/// −1/(count − 1).
///
/// # Panics
/// If there are fewer than two, or more than `width + 1`.
pub(super) fn simplex(count: usize, width: usize, draws: &mut Draws) -> Vec<f64> {
    assert!((2..=width + 1).contains(&count), "a simplex of {count} corners in {width} dimensions");
    // Corner i is e_i less the mean of all, in coordinates of the plane that the corners span: of an orthonormal basis of the
    // directions e_0 + … + e_{k−1} − k e_k.
    let plane = count - 1;
    let entry = |corner: usize, k: usize| {
        let length = ((k * (k + 1)) as f64).sqrt();
        match corner.cmp(&k) {
            std::cmp::Ordering::Less => 1.0 / length,
            std::cmp::Ordering::Equal => -(k as f64) / length,
            std::cmp::Ordering::Greater => 0.0,
        }
    };
    let mut basis: Vec<f64> = (0..plane * width).map(|_| draws.normal()).collect();
    orthonormalise(&mut basis, width);
    let coordinate =
        |corner: usize, i: usize| (1..count).map(|k| entry(corner, k) * basis[(k - 1) * width + i]).sum::<f64>();
    let mut rows: Vec<f64> = {
        let coordinate = &coordinate;
        (0..count).flat_map(|corner| (0..width).map(move |i| coordinate(corner, i))).collect()
    };
    normalise(&mut rows, width);
    rows
}

/// The gradient of Σ_{i,j} max(0, |e_i·e_j| − α) over pairs i ≠ j, each counted both ways, and the largest |e_i·e_j|.
fn pull(rows: &[f64], width: usize, alpha: f64) -> (Vec<f64>, f64) {
    let mut gradient = vec![0.0; rows.len()];
    let mut worst = 0.0f64;
    for (a, g) in rows.chunks(width).zip(gradient.chunks_mut(width)) {
        for b in rows.chunks(width) {
            if std::ptr::eq(a, b) {
                continue;
            }
            let cosine = dot(a, b);
            worst = worst.max(cosine.abs());
            if cosine.abs() > alpha {
                let sign = 2.0 * cosine.signum();
                g.iter_mut().zip(b).for_each(|(g, b)| *g += sign * b);
            }
        }
    }
    (gradient, worst)
}

/// Gram and Schmidt, twice over, which is enough for all digits.
fn orthonormalise(rows: &mut [f64], width: usize) {
    for at in (0..rows.len()).step_by(width) {
        let (done, rest) = rows.split_at_mut(at);
        let row = &mut rest[..width];
        for _ in 0..2 {
            for earlier in done.chunks(width) {
                let along = dot(row, earlier);
                row.iter_mut().zip(earlier).for_each(|(x, e)| *x -= along * e);
            }
            let length = length(row);
            row.iter_mut().for_each(|x| *x /= length);
        }
    }
}

fn normalise(rows: &mut [f64], width: usize) {
    for row in rows.chunks_mut(width) {
        let length = length(row);
        row.iter_mut().for_each(|x| *x /= length);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;
    use crate::testing::assert_close;

    fn draws() -> Draws {
        Stream::new(3, "test").at(0)
    }

    fn worst(rows: &[f64], width: usize) -> f64 {
        pull(rows, width, 1.0).1
    }

    #[test]
    fn golden_pull() {
        let (gradient, worst) = pull(&[1.0, 0.0, 0.6, 0.8, -0.6, 0.8], 2, 0.3);
        assert_close("gradient", &gradient, &[2.4, 0.0, 2.0, 0.0, -2.0, 0.0], 1e-15);
        assert_close("largest cosine", &[worst], &[0.6], 1e-15);
    }

    #[test]
    fn few_vectors_are_orthonormal() {
        for (count, width) in [(1, 1), (5, 5), (7, 11)] {
            let rows = vectors(count, width, 0.0, 1, &mut draws());
            assert!(worst(&rows, width) < 1e-15);
            rows.chunks(width).for_each(|row| assert_close("length", &[length(row)], &[1.0], 1e-15));
        }
    }

    #[test]
    fn a_simplex_has_one_angle() {
        for (count, width) in [(2, 1), (4, 3), (3, 11), (14, 13)] {
            let rows = simplex(count, width, &mut draws());
            for (i, a) in rows.chunks(width).enumerate() {
                for (j, b) in rows.chunks(width).enumerate() {
                    let cosine = if i == j { 1.0 } else { -1.0 / (count - 1) as f64 };
                    assert_close(&format!("{count} of {width}: {i} and {j}"), &[dot(a, b)], &[cosine], 1e-12);
                }
            }
        }
        assert_ne!(simplex(4, 3, &mut draws()), simplex(4, 3, &mut Stream::new(4, "test").at(0)));
    }

    #[test]
    fn many_vectors_come_near_what_geometry_allows() {
        // Four in three dimensions: the simplex, with cosines of 1/3.
        for (count, width, alpha, reached) in
            [(4, 3, 1.0 / 3.0, 0.34), (10, 8, 0.2, 0.21), (11, 13, 0.0, 1e-9), (31, 7, 0.45, 0.46)]
        {
            assert!(alpha >= least_cosine(count, width) - 1e-12);
            let rows = vectors(count, width, alpha, 1000, &mut draws());
            let worst = worst(&rows, width);
            assert!(worst <= reached, "{count} of {width}: {worst}");
        }
        assert_close("Welch", &[least_cosine(10, 8)], &[0.1666666667], 1e-9);
    }
}
