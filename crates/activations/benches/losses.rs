//! Time of one forward and backward pass of each loss on the logits of the grokking task, `[5107, 113]` in `f32`.
//!
//! `cargo bench -p kiln-activations` (the release profile's dependencies are used as they are); `RAYON_NUM_THREADS`
//! sets the number of threads, an argument picks the lines that contain it.
use std::time::Instant;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kiln_activations::{
    Ctx, Init,
    loss::{CeExactConfig, CrossEntropyConfig, LossConfig, LossDtype, Target},
    normalizer::NormalizerConfig,
};
use kiln_stream::Stream;

const ROWS: usize = 5107;
const CLASSES: usize = 113;
const REPEATS: usize = 60;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let device = Device::flex().autodiff();
    let mut draws = Stream::new(0, "bench").at(0);
    let logits: Vec<f32> = (0..ROWS * CLASSES).map(|_| (draws.normal() * 5.0) as f32).collect();
    let logits = Tensor::<2>::from_data(TensorData::new(logits, [ROWS, CLASSES]), (&device, DType::F32));
    let classes: Vec<i32> = (0..ROWS).map(|_| draws.below(CLASSES) as i32).collect();
    let target = Target::Classes(Tensor::<1, Int>::from_data(TensorData::new(classes, [ROWS]), &device));

    println!("[{ROWS}, {CLASSES}] f32 logits, {} threads, median of {REPEATS}, ms", rayon::current_num_threads());
    println!("{:<34}{:>9}{:>12}", "loss", "forward", "+ backward");
    for dtype in [LossDtype::F32, LossDtype::F64, LossDtype::F16] {
        for name in ["softmax", "stablemax"] {
            let normalizer = NormalizerConfig::by_name(name).expect("a known name");
            let config = LossConfig::CrossEntropy(CrossEntropyConfig { normalizer, dtype, ..Default::default() });
            loss(&wanted, &format!("cross_entropy {name} {dtype:?}"), &config, &logits, &target);
        }
        loss(&wanted, &format!("ce_exact {dtype:?}"), &LossConfig::CeExact(CeExactConfig { dtype }), &logits, &target);
    }
    for name in ["softmax", "stablemax"].into_iter().filter(|name| format!("weights {name}").contains(&wanted)) {
        let map = NormalizerConfig::by_name(name).expect("a known name").init(&Init::new(0, &device, DType::F32));
        let ctx = Ctx::eval(0, 0);
        let forward = median(|| drop(map.weights(logits.clone(), 1, None, &ctx)));
        let both = median(|| {
            let leaf = logits.clone().detach().require_grad();
            let grads = map.weights(leaf.clone(), 1, None, &ctx).sum().backward();
            drop(leaf.grad(&grads));
        });
        println!("{:<34}{forward:>9.3}{both:>12.3}", format!("weights {name} F32 (+ a sum)"));
    }
}

fn loss(wanted: &str, label: &str, config: &LossConfig, logits: &Tensor<2>, target: &Target) {
    if !label.contains(wanted) {
        return;
    }
    let loss = config.init(&Init::new(0, &logits.device(), DType::F32));
    let forward = median(|| drop(loss.forward(logits.clone(), target)));
    let both = median(|| {
        let leaf = logits.clone().detach().require_grad();
        let grads = loss.forward(leaf.clone(), target).mean.backward();
        drop(leaf.grad(&grads));
    });
    println!("{label:<34}{forward:>9.3}{both:>12.3}");
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
