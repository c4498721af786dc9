//! temp
use std::time::Instant;
use burn::{optim::{AdamWConfig, GradientsParams}, tensor::{DType, Device, Int, Tensor, TensorData}};
use kiln_activations::{Ctx, Init};
use kiln_models::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let device = Device::flex().autodiff();
    let tf = args.get(1).is_some_and(|a| a == "tf");
    let p = if tf { 59 } else { 113 };
    let rows = if tf { 2784 } else { 5107 };
    let io = if tf { Io { input: InputSpec::Tokens { vocabulary: p + 1, length: 3 }, outputs: p } } else { Io { input: InputSpec::OneHot { width: 2 * p, hot: 2 }, outputs: p } };
    let config: ModelConfig = if tf {
        ModelConfig::Transformer(net::TransformerConfig { d_model: 64, d_ff: 256, ..Default::default() })
    } else { ModelConfig::Mlp(Default::default()) };
    config.check(&io).unwrap();
    let mut model = config.init((&io, &Init::new(0, &device, DType::F32)));
    let idx: Vec<i64> = (0..rows).flat_map(|i| { let (a, b) = ((i * 7919 / p) % p, (i * 7919) % p); if tf { vec![a as i64, b as i64, p as i64] } else { vec![a as i64, (p + b) as i64] } }).collect();
    let hot = idx.len() / rows;
    let idx = Tensor::<2, Int>::from_data(TensorData::new(idx, [rows, hot]), &device);
    let input = if tf { Input::Tokens(idx) } else { Input::OneHot(idx) };
    let g: Vec<f32> = (0..rows * p).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-6).collect();
    let g = Tensor::<2>::from_data(TensorData::new(g, [rows, p]), &device);
    let mut optim = AdamWConfig::new().init();
    let mut t = vec![];
    for step in 0..60u64 {
        let t0 = Instant::now();
        let z = model.forward(&input, &Ctx::train(0, step));
        let t1 = Instant::now();
        let loss = (z * g.clone()).sum();
        let t2 = Instant::now();
        let grads = loss.backward();
        let t3 = Instant::now();
        let grads = GradientsParams::from_grads(grads, &model);
        model = optim.step(1e-5, model, grads);
        let t4 = Instant::now();
        t.push([t1 - t0, t2 - t1, t3 - t2, t4 - t3, t4 - t0].map(|d| d.as_secs_f64() * 1e3));
    }
    for (k, name) in ["forward", "loss", "backward", "optim", "total"].iter().enumerate() {
        let mut v: Vec<f64> = t[5..].iter().map(|r| r[k]).collect();
        v.sort_by(f64::total_cmp);
        println!("{name:9} median {:.2} min {:.2}", v[v.len() / 2], v[0]);
    }
}
