//! Throughput of maps beside that of a plain copy.
use std::{sync::Arc, time::Instant};

use burn::tensor::{DType, Device, Tensor, TensorData};
use kiln_activations::{
    Ctx, Init, Keep,
    kernel::seeded,
    normalizer::{Gradient, Heads, NormalizerConfig},
    pointwise::PointwiseConfig,
};
use kiln_analyses::statistics::{median, quantile};
use kiln_registry::Tagged;
use kiln_stream::Stream;
use serde::Serialize;

use super::memory::Copy;

/// What is measured: scores `[rows, n]` to a result of the same shape.
#[derive(Clone)]
pub struct Subject {
    /// Its name: that of the registry's entry.
    pub name: String,
    /// Whether a gradient passes through it.
    pub has_gradient: bool,
    forward: Arc<dyn Fn(Tensor<2>) -> Tensor<2>>,
}

impl Subject {
    /// A subject of this name.
    pub fn new(
        name: impl Into<String>,
        has_gradient: bool,
        forward: impl Fn(Tensor<2>) -> Tensor<2> + 'static,
    ) -> Self {
        Self { name: name.into(), has_gradient, forward: Arc::new(forward) }
    }
}

/// Every map and pointwise function at its default parameters, as in a training step: those that draw noise draw it.
pub fn subjects(device: &Device, dtype: DType) -> Vec<Subject> {
    let init = Init::new(0, device, dtype);
    let maps = NormalizerConfig::NAMES.iter().filter_map(|name| NormalizerConfig::by_name(name)).map(|config| {
        let (name, map) = (config.name(), config.init(&init));
        let has_gradient = map.laws().gradient != Gradient::None;
        Subject::new(name, has_gradient, move |scores| map.rows(scores, &Keep::All, Heads::ONE, &Ctx::train(0, 0)))
    });
    let functions = PointwiseConfig::NAMES.iter().filter_map(|name| PointwiseConfig::by_name(name)).map(|config| {
        let function = config.init(&init);
        Subject::new(format!("pointwise({})", config.name()), true, move |x| function.forward(x))
    });
    maps.chain(functions).collect()
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Timings of each subject.
    pub repeats: usize,
    /// Seconds that one timing lasts at least: what is shorter runs several times in it.
    pub seconds: f64,
}

impl Default for Effort {
    /// 15 timings of at least 5 ms.
    fn default() -> Self {
        Self { repeats: 15, seconds: 5e-3 }
    }
}

/// The numbers of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// Rows of the scores.
    pub rows: usize,
    /// Scores per row.
    pub n: usize,
    /// Bytes of the scores.
    pub bytes: u64,
    /// The copy of as many bytes.
    pub copy: Speed,
    /// Each subject.
    pub entries: Vec<Measured>,
}

/// The numbers of one subject at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The forward pass without a graph: reads the scores, writes the result.
    pub forward: Speed,
    /// Forward and backward pass with a graph: the backward pass reads the result and its gradient and writes that of the
    /// scores. `None` for a subject without a gradient.
    pub forward_backward: Option<Speed>,
}

/// How fast something was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Milliseconds, the median of the timings.
    pub median_ms: f64,
    /// The middle half of the timings, as a share of their median.
    pub spread: f64,
    /// 1e9 bytes per second: what the operation has to move, by the median time.
    pub gb_s: f64,
    /// `gb_s` as a share of the copy's.
    pub copy_share: f64,
}

/// Measures every subject at one size, `[rows, n]`. Subjects and copy take turns, beginning with another one in each round, so
/// that what else the machine does hits all of them alike.
///
/// The gradient that arrives at the result is made before and costs nothing (see [`seeded`]).
pub fn measure([rows, n]: [usize; 2], subjects: &[Subject], device: &Device, dtype: DType, effort: Effort) -> Size {
    let tracked = device.clone().autodiff();
    let input = Input::new([rows, n], device, &tracked, dtype);
    let bytes = (rows * n * dtype.size()) as u64;
    let copy = Copy::new(bytes as usize);
    let mut runners = vec![Runner::new(Work::Copy(copy), 2 * bytes)];
    for subject in subjects {
        runners.push(Runner::new(Work::Forward(subject, &input), 2 * bytes));
        if subject.has_gradient {
            runners.push(Runner::new(Work::ForwardBackward(subject, &input), 5 * bytes));
        }
    }
    for runner in &mut runners {
        runner.calibrate(effort.seconds);
    }
    for round in 0..effort.repeats.max(1) {
        let count = runners.len();
        for turn in 0..count {
            runners[(turn + round) % count].time();
        }
    }
    let copy = runners[0].gb_s();
    let mut speeds = runners.iter().map(|runner| runner.speed(copy));
    let copy = speeds.next().expect("the copy comes first");
    let entries = subjects.iter().map(|subject| Measured {
        name: subject.name.clone(),
        forward: speeds.next().expect("one runner per pass"),
        forward_backward: subject.has_gradient.then(|| speeds.next().expect("one runner per pass")),
    });
    Size { rows, n, bytes, copy, entries: entries.collect() }
}

/// Scores, and the gradient at the result.
struct Input {
    plain: Tensor<2>,
    tracked: Tensor<2>,
    upstream: Tensor<2>,
}

impl Input {
    fn new(shape: [usize; 2], device: &Device, tracked: &Device, dtype: DType) -> Self {
        let mut draws = Stream::new(0, "bench").at(0);
        let mut normal = |device: &Device| {
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| draws.normal() as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), (device, dtype))
        };
        Self { plain: normal(device), tracked: normal(tracked), upstream: normal(tracked) }
    }
}

enum Work<'a> {
    Copy(Copy),
    Forward(&'a Subject, &'a Input),
    ForwardBackward(&'a Subject, &'a Input),
}

struct Runner<'a> {
    work: Work<'a>,
    bytes: u64,
    /// Runs in one timing.
    times: usize,
    seconds: Vec<f64>,
}

impl<'a> Runner<'a> {
    fn new(work: Work<'a>, bytes: u64) -> Self {
        Self { work, bytes, times: 1, seconds: Vec::new() }
    }

    /// Seconds of one run.
    fn once(&mut self) -> f64 {
        let times = self.times;
        match &mut self.work {
            Work::Copy(copy) => copy.seconds(times),
            Work::Forward(subject, input) => {
                let start = Instant::now();
                for _ in 0..times {
                    std::hint::black_box((subject.forward)(input.plain.clone()));
                }
                wait(&input.plain.device());
                start.elapsed().as_secs_f64() / times as f64
            }
            Work::ForwardBackward(subject, input) => {
                let start = Instant::now();
                for _ in 0..times {
                    let leaf = input.tracked.clone().require_grad();
                    let result = (subject.forward)(leaf.clone());
                    let gradients = seeded(result, input.upstream.clone()).backward();
                    std::hint::black_box(leaf.grad(&gradients));
                }
                wait(&input.tracked.device());
                start.elapsed().as_secs_f64() / times as f64
            }
        }
    }

    /// Warms up and finds how many runs make one timing long enough.
    fn calibrate(&mut self, seconds: f64) {
        self.once();
        let once = self.once();
        self.times = ((seconds / once).ceil() as usize).clamp(1, 10_000);
    }

    fn time(&mut self) {
        let seconds = self.once();
        self.seconds.push(seconds);
    }

    fn gb_s(&self) -> f64 {
        self.bytes as f64 / median(&self.seconds) / 1e9
    }

    fn speed(&self, copy_gb_s: f64) -> Speed {
        let middle = median(&self.seconds);
        let spread = (quantile(&self.seconds, 0.75) - quantile(&self.seconds, 0.25)) / middle;
        Speed { median_ms: middle * 1e3, spread, gb_s: self.gb_s(), copy_share: self.gb_s() / copy_gb_s }
    }
}

/// Waits until the device has done what it was asked for.
fn wait(device: &Device) {
    device.sync().expect("the device ends its work");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_map_is_a_subject_and_gets_its_numbers() {
        let device = Device::flex();
        let subjects = subjects(&device, DType::F32);
        assert_eq!(subjects.len(), NormalizerConfig::NAMES.len() + PointwiseConfig::NAMES.len());
        let size = measure([3, 5], &subjects, &device, DType::F32, Effort { repeats: 1, seconds: 0.0 });
        assert_eq!((size.bytes, size.copy.copy_share), (60, 1.0));
        let names: Vec<&str> = size.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names[..NormalizerConfig::NAMES.len()], *NormalizerConfig::NAMES);
        for (entry, subject) in size.entries.iter().zip(&subjects) {
            assert!(entry.forward.median_ms > 0.0, "{}", entry.name);
            assert_eq!(entry.forward_backward.is_some(), subject.has_gradient, "{}", entry.name);
        }
    }

    #[test]
    fn bytes_and_times_make_the_speed() {
        let mut runner = Runner::new(Work::Copy(Copy::new(1)), 8_000_000);
        runner.seconds = [1.0, 4.0, 2.0, 3.0, 5.0].map(|ms| Duration::from_millis(ms as u64).as_secs_f64()).to_vec();
        let speed = runner.speed(2.0 * runner.gb_s());
        assert!((speed.median_ms - 3.0).abs() < 1e-9 && (speed.gb_s - 8.0 / 3.0).abs() < 1e-9, "{speed:?}");
        assert!((speed.copy_share - 0.5).abs() < 1e-9 && (speed.spread - 2.0 / 3.0).abs() < 1e-9, "{speed:?}");
    }
}
