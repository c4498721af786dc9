//! Convolutions without a matrix of columns, for `f32` on x86-64.
//!
//! A tile of P neighbouring pixels and one or two vectors of 16 output channels stays in registers while the terms of the sum
//! pass by: each broadcasts one pixel and multiplies it with the weights of 16 channels. Filters of any size and stride are the
//! same loop over other addresses, and so is the gradient at the images. Every output value is the sum of its terms in the
//! order channel, row, column, whatever the tiles, the instructions and the number of threads.
mod filters;

pub(super) use filters::weight_gradient;

use super::{
    geometry::{Geometry, Padded, Phase, phases, surround},
    vectors::{Avx2, Avx512, LANES, Vector},
};
use crate::kernel::host::fresh_parts;

/// The instruction sets that have a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// Pairs of 256-bit vectors, with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Isa {
    /// Those of this CPU, the best one first.
    pub fn available() -> impl Iterator<Item = Self> {
        let present = |isa: &Self| match isa {
            Self::Avx512 => Avx512::present(),
            Self::Avx2 => Avx2::present(),
        };
        [Self::Avx512, Self::Avx2].into_iter().filter(present)
    }
}

/// Whether there is a kernel for such filters.
pub(super) fn covers(g: &Geometry) -> bool {
    matches!(g.kernel, 1 | 3 | 5) && matches!(g.stride, 1 | 2)
}

/// Vectors of channels that a tile holds: filters are packed in blocks of so many.
fn vectors(channels: usize) -> usize {
    if channels > LANES { 2 } else { 1 }
}

/// Weights in the order in which tiles read them: `[blocks, rows, columns, channels of a block]`, with zeros for the channels
/// that the last block lacks.
struct Packed {
    values: Vec<f32>,
    channels: usize,
}

impl Packed {
    fn new(channels: usize, rows: usize, columns: usize, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        let block = vectors(channels) * LANES;
        let mut values = vec![0.0; channels.div_ceil(block) * rows * columns * block];
        for c in 0..channels {
            for row in 0..rows {
                for column in 0..columns {
                    let at = ((c / block * rows + row) * columns + column) * block + c % block;
                    values[at] = weight(c, row, column);
                }
            }
        }
        Self { values, channels }
    }
}

/// Where the values of a tile go: channel c of pixel j to `out + c · plane + j · step`.
#[derive(Clone, Copy)]
struct Target {
    out: *mut f32,
    plane: usize,
    step: usize,
    channels: usize,
}

/// One image and one set of filters.
struct Pass<'a> {
    /// The padded image from the first pixel of the first filter on.
    x: &'a [f32],
    /// From one row of outputs to the next, in `x`.
    x_row: usize,
    /// From one output to the next, in `x`.
    stride: usize,
    /// Where each row of each filter begins.
    filter_rows: &'a [usize],
    /// Taps of such a row.
    columns: usize,
    weight: &'a Packed,
    /// What each channel's sum starts from, zeros up to the end of the last block.
    start: &'a [f32],
    /// Rows and columns of outputs.
    size: [usize; 2],
    target: Target,
    /// From one row of outputs to the next, in the target.
    target_row: usize,
}

/// The sums of P pixels for NV vectors of channels.
///
/// # Safety
/// The CPU has V's instructions; `x + row + (P − 1) S + K` for each row lies inside the padded image, `w` has
/// `rows · K · 16 NV` values, `start` 16 NV.
#[expect(clippy::needless_range_loop, reason = "the numbers are addresses as well as indices")]
#[inline(always)]
unsafe fn tile<V: Vector, const P: usize, const NV: usize, const K: usize, const S: usize>(
    x: *const f32,
    rows: &[usize],
    mut w: *const f32,
    start: *const f32,
) -> [[V::V; P]; NV] {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut sums: [[V::V; P]; NV] = std::array::from_fn(|v| [V::load(start.add(v * LANES)); P]);
        for row in rows {
            let x = x.add(*row);
            for column in 0..K {
                let weights: [V::V; NV] = std::array::from_fn(|v| V::load(w.add(v * LANES)));
                for p in 0..P {
                    let pixel = *x.add(column + p * S);
                    for v in 0..NV {
                        sums[v][p] = V::fma(pixel, weights[v], sums[v][p]);
                    }
                }
                w = w.add(NV * LANES);
            }
        }
        sums
    }
}

/// Writes a tile.
///
/// # Safety
/// The CPU has V's instructions; P pixels of each live channel lie inside the target.
#[inline(always)]
unsafe fn write<V: Vector, const P: usize, const NV: usize>(sums: [[V::V; P]; NV], to: Target) {
    // SAFETY: as promised by the caller; `flat` has 16 P values.
    unsafe {
        for (v, sums) in sums.into_iter().enumerate() {
            let mut flat = [[0.0f32; LANES]; P];
            V::transpose::<P>(sums, flat.as_mut_ptr().cast());
            let flat = flat.as_flattened();
            let live = to.channels.saturating_sub(v * LANES).min(LANES);
            for l in 0..live {
                let out = to.out.add((v * LANES + l) * to.plane);
                if to.step == 1 {
                    std::ptr::copy_nonoverlapping(flat.as_ptr().add(l * P), out, P);
                } else {
                    for p in 0..P {
                        *out.add(p * to.step) = flat[l * P + p];
                    }
                }
            }
        }
    }
}

/// One row of outputs: tiles of P pixels, then smaller ones. A row of at least 4 ends with a tile that may overlap the one before
/// it and writes the same values again.
///
/// # Safety
/// As for [`tile`] and [`write`], for `width` pixels.
#[inline(always)]
unsafe fn line<V: Vector, const P: usize, const NV: usize, const K: usize, const S: usize>(
    x: *const f32,
    width: usize,
    rows: &[usize],
    [w, start]: [*const f32; 2],
    to: Target,
) {
    let mut at = 0;
    macro_rules! tiles {
        ($pixels:expr) => {
            while width - at >= $pixels {
                // SAFETY: pixels `at..at + $pixels` lie inside the row.
                unsafe {
                    let sums = tile::<V, { $pixels }, NV, K, S>(x.add(at * S), rows, w, start);
                    write::<V, { $pixels }, NV>(sums, Target { out: to.out.add(at * to.step), ..to });
                }
                at += $pixels;
            }
        };
    }
    tiles!(P);
    if P > 8 {
        tiles!(8);
    }
    if P > 4 {
        tiles!(4);
    }
    if at < width && width >= 4 {
        at = width - 4;
        tiles!(4);
    }
    tiles!(1);
}

/// # Safety
/// The CPU has V's instructions; `pass` names addresses inside its slices and its target.
#[inline(always)]
unsafe fn image<V: Vector, const P: usize, const NV: usize, const K: usize, const S: usize>(pass: &Pass) {
    let block = NV * LANES;
    let weights = pass.weight.values.chunks_exact(pass.filter_rows.len() * K * block);
    for (i, (w, start)) in weights.zip(pass.start.chunks_exact(block)).enumerate() {
        for y in 0..pass.size[0] {
            let channels = (pass.weight.channels - i * block).min(block);
            // SAFETY: row y of the outputs, of the channels of this block.
            unsafe {
                let out = pass.target.out.add(i * block * pass.target.plane + y * pass.target_row);
                let x = pass.x.as_ptr().add(y * pass.x_row);
                let to = Target { out, channels, ..pass.target };
                line::<V, P, NV, K, S>(x, pass.size[1], pass.filter_rows, [w.as_ptr(), start.as_ptr()], to);
            }
        }
    }
}

/// # Safety
/// As for [`image`]. ONE and TWO are the pixels of a tile with one and with two vectors of channels.
#[inline(always)]
unsafe fn any_image<V: Vector, const ONE: usize, const TWO: usize>(pass: &Pass) {
    macro_rules! sized {
        ($k:literal, $s:literal) => {
            // SAFETY: as promised by the caller.
            if vectors(pass.weight.channels) == 1 {
                // SAFETY: as promised by the caller.
                unsafe { image::<V, ONE, 1, $k, $s>(pass) }
            } else {
                // SAFETY: as promised by the caller.
                unsafe { image::<V, TWO, 2, $k, $s>(pass) }
            }
        };
    }
    match (pass.columns, pass.stride) {
        (1, 1) => sized!(1, 1),
        (2, 1) => sized!(2, 1),
        (3, 1) => sized!(3, 1),
        (5, 1) => sized!(5, 1),
        (1, 2) => sized!(1, 2),
        (3, 2) => sized!(3, 2),
        (5, 2) => sized!(5, 2),
        other => unreachable!("no kernel for {other:?}; `covers` keeps such filters away"),
    }
}

// SAFETY: callers ensure that the CPU has avx512f, and what `image` asks for.
#[target_feature(enable = "avx512f,fma")]
unsafe fn image_avx512(pass: &Pass) {
    // SAFETY: as above. 16 sums of 32 registers, the weights and a pixel besides.
    unsafe { any_image::<Avx512, 16, 8>(pass) }
}

// SAFETY: callers ensure that the CPU has avx2 and fma, and what `image` asks for.
#[target_feature(enable = "avx2,fma")]
unsafe fn image_avx2(pass: &Pass) {
    // SAFETY: as above. 8 sums of 16 registers.
    unsafe { any_image::<Avx2, 4, 2>(pass) }
}

/// Does a pass.
///
/// # Safety
/// `pass` names addresses inside its slices and its target.
unsafe fn run(pass: &Pass, isa: Isa) {
    // SAFETY: an `Isa` is only made where the CPU reports its features; the rest is the caller's promise.
    unsafe {
        match isa {
            Isa::Avx512 => image_avx512(pass),
            Isa::Avx2 => image_avx2(pass),
        }
    }
}

/// The filtered images, `[rows, outputs, height, width]` of the map.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    g: &Geometry,
    rows: usize,
    isa: Isa,
) -> Vec<f32> {
    assert!(covers(g) && x.len() == rows * g.image_len() && weight.len() == g.outputs * g.taps());
    let packed = Packed::new(g.outputs, g.inputs * g.kernel, g.kernel, |o, row, column| {
        weight[o * g.taps() + row * g.kernel + column]
    });
    let mut start = vec![0.0; g.outputs.next_multiple_of(vectors(g.outputs) * LANES)];
    if let Some(bias) = bias {
        start[..g.outputs].copy_from_slice(bias);
    }
    let empty = Padded::new(g.inputs, g.image, [g.padding; 2], [g.padding; 2]);
    let filter_rows = empty.filter_rows(g.inputs, g.kernel);
    // SAFETY: every value of a row's map is written: all its channels, rows and columns. The padded image holds every tap of
    // every place.
    unsafe {
        fresh_parts(
            rows,
            g.map_len(),
            g.work(),
            || empty.clone(),
            |padded, row, map| {
                padded.put(&x[row * g.image_len()..][..g.image_len()]);
                let target =
                    Target { out: map.as_mut_ptr().cast(), plane: g.map[0] * g.map[1], step: 1, channels: g.outputs };
                let pass = Pass {
                    x: &padded.values,
                    x_row: g.stride * padded.pitch,
                    stride: g.stride,
                    filter_rows: &filter_rows,
                    columns: g.kernel,
                    weight: &packed,
                    start: &start,
                    size: g.map,
                    target,
                    target_row: g.map[1],
                };
                run(&pass, isa);
            },
        )
    }
}

/// The pixels of an image whose phases along both axes are given, as a convolution of the gradient.
struct Part {
    filter_rows: Vec<usize>,
    weight: Packed,
    columns: usize,
    /// The first filter's first value in the padded gradient.
    x: usize,
    /// The first pixel in the image.
    out: usize,
    size: [usize; 2],
}

/// The gradient at the images, `[rows, inputs, height, width]`, from that at the output.
///
/// With stride s, pixels fall into s² classes by what their place leaves when divided by s: each class is a convolution of the
/// gradient, of stride 1, with the taps that reach it in reverse order.
pub(super) fn input_gradient(grad: &[f32], weight: &[f32], g: &Geometry, rows: usize, isa: Isa) -> Vec<f32> {
    assert!(covers(g) && grad.len() == rows * g.map_len() && weight.len() == g.outputs * g.taps());
    let (k, s) = (g.kernel, g.stride);
    let axes = g.image.map(|len| phases(len, k, s, g.padding));
    let around = [surround(&axes[0], g.map[0]), surround(&axes[1], g.map[1])];
    let empty = Padded::new(g.outputs, g.map, around[0], around[1]);
    let part = |y: &Phase, x: &Phase| {
        let weight = Packed::new(g.inputs, g.outputs * y.taps, x.taps, |c, row, column| {
            let (o, a) = (row / y.taps, y.phase + s * (y.taps - 1 - row % y.taps));
            weight[((o * g.inputs + c) * k + a) * k + x.phase + s * (x.taps - 1 - column)]
        });
        Part {
            filter_rows: empty.filter_rows(g.outputs, y.taps),
            weight,
            columns: x.taps,
            x: (around[0][0] + y.first + 1 - y.taps) * empty.pitch + around[1][0] + x.first + 1 - x.taps,
            out: y.input * g.image[1] + x.input,
            size: [y.count, x.count],
        }
    };
    let reached = |axis: usize| axes[axis].iter().filter(|phase| phase.taps > 0);
    let parts: Vec<Part> = reached(0).flat_map(|y| reached(1).map(|x| part(y, x)).collect::<Vec<_>>()).collect();
    let untouched = parts.len() < axes[0].len() * axes[1].len();
    let start = vec![0.0; g.inputs.next_multiple_of(vectors(g.inputs) * LANES)];
    // SAFETY: the classes hold every pixel once, and those that no filter reaches are set to 0 first. The padded gradient holds
    // every tap of every phase.
    unsafe {
        fresh_parts(
            rows,
            g.image_len(),
            g.work(),
            || empty.clone(),
            |padded, row, image| {
                padded.put(&grad[row * g.map_len()..][..g.map_len()]);
                if untouched {
                    image.fill(std::mem::MaybeUninit::new(0.0));
                }
                for part in &parts {
                    let out = image.as_mut_ptr().cast::<f32>().add(part.out);
                    let pass = Pass {
                        x: &padded.values[part.x..],
                        x_row: padded.pitch,
                        stride: 1,
                        filter_rows: &part.filter_rows,
                        columns: part.columns,
                        weight: &part.weight,
                        start: &start,
                        size: part.size,
                        target: Target { out, plane: g.image[0] * g.image[1], step: s, channels: g.inputs },
                        target_row: s * g.image[1],
                    };
                    run(&pass, isa);
                }
            },
        )
    }
}
