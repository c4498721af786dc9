//! The gradient at the filters: the sums of several taps stay in registers while the pixels of an image pass by.
use super::{Isa, covers, vectors};
use crate::kernel::{
    conv::{
        geometry::{Geometry, Padded},
        vectors::{Avx2, Avx512, LANES, Vector},
    },
    host::summed_parts,
};

/// One image's part of the gradient at the filters.
struct WeightPass<'a> {
    /// The padded image.
    x: &'a [f32],
    pitch: usize,
    filter_rows: &'a [usize],
    kernel: usize,
    stride: usize,
    /// The gradient with its channels last, `[pixels, channels of all blocks]`.
    grad: &'a [f32],
    channels: usize,
    size: [usize; 2],
    /// The sum so far, packed: `[blocks, rows, columns, channels of a block]`.
    sum: &'a mut [f32],
}

/// Adds the terms of R rows of taps for NV vectors of channels: the sums stay in registers while the pixels pass by.
///
/// # Safety
/// The CPU has V's instructions; the rows lie inside the padded image for every place, `grad` holds 16 NV channels of every
/// pixel, `sum` has `R K` vectors of them.
#[expect(clippy::needless_range_loop, reason = "the numbers are addresses as well as indices")]
#[inline(always)]
unsafe fn taps<V: Vector, const R: usize, const NV: usize, const K: usize, const S: usize>(
    pass: &WeightPass,
    rows: &[usize; R],
    grad: *const f32,
    grad_pitch: usize,
    sum: *mut f32,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut sums = [[[V::zero(); NV]; K]; R];
        for y in 0..pass.size[0] {
            let line = pass.x.as_ptr().add(y * S * pass.pitch);
            let lines: [*const f32; R] = std::array::from_fn(|r| line.add(rows[r]));
            let grad = grad.add(y * pass.size[1] * grad_pitch);
            for x in 0..pass.size[1] {
                let grad: [V::V; NV] = std::array::from_fn(|v| V::load(grad.add(x * grad_pitch + v * LANES)));
                for r in 0..R {
                    for column in 0..K {
                        let pixel = *lines[r].add(x * S + column);
                        for v in 0..NV {
                            sums[r][column][v] = V::fma(pixel, grad[v], sums[r][column][v]);
                        }
                    }
                }
            }
        }
        for (i, sums) in sums.as_flattened().iter().enumerate() {
            for (v, term) in sums.iter().enumerate() {
                let at = sum.add((i * NV + v) * LANES);
                V::store(at, V::add(V::load(at), *term));
            }
        }
    }
}

/// # Safety
/// The CPU has V's instructions; `pass` fits together as in [`weight_gradient`].
#[inline(always)]
unsafe fn filters<V: Vector, const R: usize, const NV: usize, const K: usize, const S: usize>(pass: &mut WeightPass) {
    let block = NV * LANES;
    let grad_pitch = pass.channels.next_multiple_of(block);
    let rows = pass.filter_rows;
    let sum = pass.sum.as_mut_ptr();
    for i in 0..grad_pitch / block {
        // SAFETY: block i of the channels.
        let grad = unsafe { pass.grad.as_ptr().add(i * block) };
        let mut at = 0;
        macro_rules! groups {
            ($rows:expr) => {
                while rows.len() - at >= $rows {
                    let group = rows[at..at + $rows].try_into().expect("as many rows");
                    // SAFETY: rows `at..at + $rows` of block i.
                    unsafe {
                        let sum = sum.add((i * rows.len() + at) * K * block);
                        taps::<V, { $rows }, NV, K, S>(pass, group, grad, grad_pitch, sum);
                    }
                    at += $rows;
                }
            };
        }
        groups!(R);
        if R > 2 {
            groups!(2);
        }
        groups!(1);
    }
}

/// # Safety
/// As for [`filters`].
macro_rules! any_filters {
    ($vector:ty, $pass:expr, { $($k:literal => $one:literal, $two:literal;)* }) => {
        match ($pass.kernel, $pass.stride, vectors($pass.channels)) {
            $(
                ($k, 1, 1) => filters::<$vector, $one, 1, $k, 1>($pass),
                ($k, 1, _) => filters::<$vector, $two, 2, $k, 1>($pass),
                ($k, 2, 1) => filters::<$vector, $one, 1, $k, 2>($pass),
                ($k, 2, _) => filters::<$vector, $two, 2, $k, 2>($pass),
            )*
            other => unreachable!("no kernel for {other:?}; `covers` keeps such filters away"),
        }
    };
}

// SAFETY: callers ensure that the CPU has avx512f, and what `filters` asks for.
#[target_feature(enable = "avx512f,fma")]
unsafe fn filters_avx512(pass: &mut WeightPass) {
    // SAFETY: as above. Per filter size the rows that fill 32 registers with one and with two vectors of channels.
    unsafe { any_filters!(Avx512, pass, { 1 => 16, 8; 3 => 8, 4; 5 => 5, 2; }) }
}

// SAFETY: callers ensure that the CPU has avx2 and fma, and what `filters` asks for.
#[target_feature(enable = "avx2,fma")]
unsafe fn filters_avx2(pass: &mut WeightPass) {
    // SAFETY: as above, for 16 registers.
    unsafe { any_filters!(Avx2, pass, { 1 => 4, 2; 3 => 2, 1; 5 => 1, 1; }) }
}

/// Planes `[channels, pixels]` with the channels last, `[pixels, pitch]`.
///
/// # Safety
/// The CPU has V's instructions.
#[inline(always)]
unsafe fn channels_last<V: Vector>(planes: &[f32], channels: usize, pitch: usize, out: &mut [f32]) {
    let pixels = planes.len() / channels;
    assert!(pitch >= channels && out.len() >= pixels * pitch);
    let whole = [channels / LANES * LANES, pixels / LANES * LANES];
    for c in (0..whole[0]).step_by(LANES) {
        for p in (0..whole[1]).step_by(LANES) {
            let mut flat = [0.0f32; LANES * LANES];
            // SAFETY: channels c..c + 16 and pixels p..p + 16 lie inside `planes`.
            unsafe {
                let of = |l: usize| V::load(planes.as_ptr().add((c + l) * pixels + p));
                V::transpose::<LANES>(std::array::from_fn(of), flat.as_mut_ptr());
            }
            for (l, values) in flat.chunks_exact(LANES).enumerate() {
                out[(p + l) * pitch + c..][..LANES].copy_from_slice(values);
            }
        }
    }
    let mut rest = |channels: std::ops::Range<usize>, from: usize| {
        for c in channels {
            for p in from..pixels {
                out[p * pitch + c] = planes[c * pixels + p];
            }
        }
    };
    rest(0..whole[0], whole[1]);
    rest(whole[0]..channels, 0);
}

// SAFETY: callers ensure that the CPU has avx512f.
#[target_feature(enable = "avx512f,fma")]
unsafe fn channels_last_avx512(planes: &[f32], channels: usize, pitch: usize, out: &mut [f32]) {
    // SAFETY: as above.
    unsafe { channels_last::<Avx512>(planes, channels, pitch, out) }
}

// SAFETY: callers ensure that the CPU has avx2 and fma.
#[target_feature(enable = "avx2,fma")]
unsafe fn channels_last_avx2(planes: &[f32], channels: usize, pitch: usize, out: &mut [f32]) {
    // SAFETY: as above.
    unsafe { channels_last::<Avx2>(planes, channels, pitch, out) }
}

/// The gradient at the filters, `[outputs, inputs, kernel, kernel]`: parts of the rows in a fixed order.
pub(in crate::kernel::conv) fn weight_gradient(
    x: &[f32],
    grad: &[f32],
    g: &Geometry,
    rows: usize,
    isa: Isa,
) -> Vec<f32> {
    assert!(covers(g) && x.len() == rows * g.image_len() && grad.len() == rows * g.map_len());
    let empty = Padded::new(g.inputs, g.image, [g.padding; 2], [g.padding; 2]);
    let filter_rows = empty.filter_rows(g.inputs, g.kernel);
    let block = vectors(g.outputs) * LANES;
    let pitch = g.outputs.next_multiple_of(block);
    let packed = summed_parts(rows, g.work(), |range| {
        let mut sum = vec![0.0; pitch * g.taps()];
        let mut padded = empty.clone();
        let mut turned = vec![0.0; g.map[0] * g.map[1] * pitch];
        for row in range {
            padded.put(&x[row * g.image_len()..][..g.image_len()]);
            let grad = &grad[row * g.map_len()..][..g.map_len()];
            // SAFETY: an `Isa` is only made where the CPU reports its features. The padded image holds every tap of every
            // place, `turned` 16 NV channels of every pixel for each block, and `sum` a vector per tap and block.
            unsafe {
                match isa {
                    Isa::Avx512 => channels_last_avx512(grad, g.outputs, pitch, &mut turned),
                    Isa::Avx2 => channels_last_avx2(grad, g.outputs, pitch, &mut turned),
                }
                let mut pass = WeightPass {
                    x: &padded.values,
                    pitch: padded.pitch,
                    filter_rows: &filter_rows,
                    kernel: g.kernel,
                    stride: g.stride,
                    grad: &turned,
                    channels: g.outputs,
                    size: g.map,
                    sum: &mut sum,
                };
                match isa {
                    Isa::Avx512 => filters_avx512(&mut pass),
                    Isa::Avx2 => filters_avx2(&mut pass),
                }
            }
        }
        sum
    });
    let taps = g.taps();
    let tap = |o: usize, i: usize| packed[(o / block * taps + i) * block + o % block];
    (0..g.outputs).flat_map(|o| (0..taps).map(move |i| (o, i))).map(|(o, i)| tap(o, i)).collect()
}
