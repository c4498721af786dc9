//! Throughput of the pointwise functions on `[8192, 1024]` in `f32`, against the bandwidth of a copy.
//!
//! `cargo bench -p kiln-activations --bench pointwise`; `RAYON_NUM_THREADS` sets the number of threads, an argument picks
//! the functions whose name contains it. Every result has memory of its own, so what the system spends on new pages is
//! part of the time; the copy is measured both ways. The last two columns are one thread's nanoseconds per element on a
//! block in the first-level cache, the least of many runs: what the arithmetic alone costs. Bytes are those that have to move: one read and one write forward,
//! and two reads and one write more with the backward pass.
use std::time::Instant;

use burn::{
    backend::{Flex, FlexDevice, ops::FloatTensorOps, tensor::FloatTensor},
    tensor::{DType, Device, TensorData},
};
use kiln_activations::{
    Init,
    kernel::{PointwiseKernel, PointwiseOps, PointwiseSaved, PointwiseVjps, Saves},
    pointwise::{GeluConfig, GeluForm, PointwiseConfig},
};
use kiln_registry::Tagged;
use kiln_stream::Stream;
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHAPE: [usize; 2] = [8192, 1024];
const COUNT: usize = SHAPE[0] * SHAPE[1];
const REPEATS: usize = 31;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let mut draws = Stream::new(0, "bench").at(0);
    let values = |draws: &mut kiln_stream::Draws| (0..COUNT).map(|_| draws.normal() as f32).collect::<Vec<f32>>();
    let (x, g) = (values(&mut draws), values(&mut draws));

    let mut to = vec![0f32; COUNT];
    let copy =
        median(|| to.par_chunks_mut(1 << 14).zip(x.par_chunks(1 << 14)).for_each(|(to, x)| to.copy_from_slice(x)));
    let fresh = median(|| drop(x.par_chunks(1 << 14).flat_map_iter(|x| x.iter().copied()).collect::<Vec<f32>>()));
    let bandwidth = 8e-6 * COUNT as f64 / copy;
    println!("{SHAPE:?} f32, {} threads, median of {REPEATS}", rayon::current_num_threads());
    println!("copy {copy:.2} ms, {bandwidth:.1} GB/s; collected into new memory {fresh:.2} ms");
    println!(
        "{:<14}{:>8}{:>7}{:>7}{:>11}{:>7}{:>7}{:>14}{:>7}",
        "function", "ms", "GB/s", "share", "+ vjp ms", "GB/s", "share", "in cache: ns", "vjp"
    );

    let device = FlexDevice;
    let tensor = |values: &[f32]| -> FloatTensor<Flex> {
        Flex::float_from_data(TensorData::new(values.to_vec(), SHAPE), &device)
    };
    let (x, g) = (tensor(&x), tensor(&g));
    let mut configs: Vec<(&str, PointwiseConfig)> =
        PointwiseConfig::NAMES.iter().filter_map(|name| Some((*name, PointwiseConfig::by_name(name)?))).collect();
    configs.push(("gelu tanh", PointwiseConfig::Gelu(GeluConfig { approximate: GeluForm::Tanh })));
    for (name, config) in configs.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let kernel = config.init(&Init::new(0, &Device::flex(), DType::F32)).kernel();
        let forward = median(|| drop(Flex::pointwise(x.clone(), kernel.clone())));
        let both = median(|| {
            let y = Flex::pointwise(x.clone(), kernel.clone());
            let values = if kernel.saves() == Saves::Output { y.clone() } else { x.clone() };
            let saved = PointwiseSaved { values, kernel: kernel.clone() };
            drop((Flex::pointwise_vjp(saved, g.clone()), y));
        });
        let rate = |bytes: f64, ms: f64| bytes * 1e-6 * COUNT as f64 / ms;
        let (one, two) = (rate(8.0, forward), rate(20.0, both));
        let share = |rate: f64| 100.0 * rate / bandwidth;
        let (in_cache, vjp_in_cache) = in_cache(&*kernel);
        println!(
            "{name:<14}{forward:>8.2}{one:>7.1}{:>6.0}%{both:>11.2}{two:>7.1}{:>6.0}%{in_cache:>14.3}{vjp_in_cache:>7.3}",
            share(one),
            share(two)
        );
    }
}

/// Nanoseconds per element of one block: forward and backward.
fn in_cache(kernel: &dyn PointwiseKernel) -> (f64, f64) {
    const BLOCK: usize = 2048;
    let mut draws = Stream::new(0, "block").at(0);
    let x: Vec<f32> = (0..BLOCK).map(|_| draws.normal() as f32).collect();
    let mut values = x.clone();
    let mut least = |work: &dyn Fn(&mut [f32])| {
        let mut least = f64::INFINITY;
        for _ in 0..4000 {
            values.copy_from_slice(&x);
            let start = Instant::now();
            work(&mut values);
            least = least.min(start.elapsed().as_secs_f64());
        }
        least * 1e9 / BLOCK as f64
    };
    (least(&|x| kernel.forward_all(x)), least(&|g| kernel.vjp_all(&x, g)))
}

fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPEATS / 2]
}
