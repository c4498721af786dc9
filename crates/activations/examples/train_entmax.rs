//! Entmax in a plain Burn program: one attention head learns which item of a set is marked.
//!
//! ```sh
//! cargo run --release -p kiln-activations --example train_entmax
//! ```
//! Expect an accuracy above 0.95 after a second, and a share of exact zeros among the weights that softmax never has.
use burn::{
    module::{Module, Param},
    optim::{AdamConfig, GradientsParams},
    tensor::{DType, Device, Distribution, Int, Tensor},
};
use kiln_activations::{
    Ctx, Init,
    loss::{Loss, LossConfig, Target},
    normalizer::{EntmaxConfig, Normalizer, NormalizerConfig},
};

const SETS: usize = 256;
const ITEMS: usize = 12;
const CLASSES: usize = 4;

/// Scores every item, weighs the items by entmax, and reads the class off their weighted sum.
#[derive(Module, Debug)]
struct Lookup {
    /// `[features, 1]`
    score: Param<Tensor<2>>,
    /// `[features, classes]`
    read: Param<Tensor<2>>,
    weigh: Normalizer,
}

impl Lookup {
    fn new(init: &Init) -> Self {
        let entmax = NormalizerConfig::Entmax(EntmaxConfig { alpha: 1.5, learn: true });
        Self {
            score: init.normal("score", [CLASSES + 1, 1], 0.5),
            read: init.normal("read", [CLASSES + 1, CLASSES], 0.5),
            weigh: entmax.init(init),
        }
    }

    /// Logits `[sets, classes]` and weights `[sets, items]` of items `[sets, items, features]`.
    fn forward(&self, items: Tensor<3>, ctx: &Ctx) -> (Tensor<2>, Tensor<2>) {
        let [sets, n, features] = items.dims();
        let scores = items.clone().reshape([sets * n, features]).matmul(self.score.val()).reshape([sets, n]);
        let weights = self.weigh.weights(scores, -1, None, ctx);
        let pooled = weights.clone().unsqueeze_dim::<3>(1).matmul(items).reshape([sets, features]);
        (pooled.matmul(self.read.val()).mul_scalar(8.0), weights)
    }
}

/// Sets of items of random classes, one of them marked; the class of the marked one.
fn batch(device: &Device) -> (Tensor<3>, Tensor<1, Int>) {
    let class = Tensor::<2>::random([SETS, ITEMS], Distribution::Uniform(0.0, CLASSES as f64), device).int();
    let one_hot = class.clone().one_hot::<3>(CLASSES).float();
    let mark = Tensor::<2>::random([SETS, ITEMS], Distribution::Uniform(0.0, 1.0), device);
    let marked = mark.clone().argmax(1);
    let mark = mark.clone().equal(mark.max_dim(1).expand([SETS, ITEMS])).float().unsqueeze_dim::<3>(2);
    (Tensor::cat(vec![one_hot, mark], 2), class.gather(1, marked).reshape([SETS]))
}

/// Trains, and gives back the accuracy of the last step and the share of weights that are exactly 0.
fn train(steps: u64) -> (f64, f64) {
    let device = Device::flex().autodiff();
    device.seed(7);
    let init = Init::new(7, &device, DType::F32);
    let (mut model, loss) = (Lookup::new(&init), LossConfig::default().init(&init));
    let mut optimizer = AdamConfig::new().init();
    let mut last = (0.0, 0.0);
    for step in 0..steps {
        let (items, classes) = batch(&device);
        let (logits, weights) = model.forward(items, &Ctx::train(7, step));
        last = (accuracy(&logits, &classes), zeros(&weights));
        let grads = mean(&loss, logits, classes).backward();
        model = optimizer.step(0.05, model.clone(), GradientsParams::from_grads(grads, &model));
    }
    last
}

fn mean(loss: &Loss, logits: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    loss.forward(logits, &Target::Classes(classes)).mean
}

fn accuracy(logits: &Tensor<2>, classes: &Tensor<1, Int>) -> f64 {
    let hits = logits.clone().argmax(1).reshape([SETS]).equal(classes.clone()).float().mean();
    f64::from(hits.into_scalar::<f32>())
}

fn zeros(weights: &Tensor<2>) -> f64 {
    f64::from(weights.clone().equal_elem(0.0).float().mean().into_scalar::<f32>())
}

fn main() {
    let (accuracy, zeros) = train(200);
    println!("accuracy {accuracy:.3}, {:.0} % of the weights exactly 0", 100.0 * zeros);
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_learns_and_its_weights_are_sparse() {
        let (accuracy, zeros) = super::train(200);
        assert!(accuracy > 0.95 && zeros > 0.5, "accuracy {accuracy}, share of zeros {zeros}");
    }
}
