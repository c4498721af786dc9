//! CurricularFace.
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{added_angle, at_class, below_pi, said, turned, with_own},
};
use crate::{Ask, Invalid, block::Running};

/// The share of the batch's mean cosine in the running one.
const RATE: f64 = 0.01;

/// Parameters of [`CurricularFace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CurricularFaceConfig {
    /// Factor on the cosines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// What is added to the angle of the right class while training, in radians.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub m: f64,
}

impl Default for CurricularFaceConfig {
    /// The paper's, for thousands of faces; ten classes want s of 8 to 30 and m of 0.2 to 0.4.
    fn default() -> Self {
        Self { s: 64.0, m: 0.5 }
    }
}

impl Entry for CurricularFaceConfig {
    const SUMMARY: &'static str = "ArcFace, whose rivals beyond the margin weigh more the better the features get";
    const PAPER: &'static str = "Huang et al. 2020, CurricularFace: Adaptive Curriculum Learning Loss for Deep Face \
                                 Recognition, arXiv:2004.00288";
}

impl HeadParams for CurricularFaceConfig {
    fn laws(&self) -> Laws {
        // t counts as a constant, and follows the batch.
        Laws {
            needs_classes: true,
            batch_coupled: true,
            exact_gradient: false,
            ..Laws::cosines(self.s * (1.0 + self.m))
        }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        below_pi("m", self.m)
    }
}

impl CurricularFaceConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> CurricularFace {
        CurricularFace {
            classes: Angular::new(&init.child("classes"), site),
            mean: Running::new(init, [1], 0.0),
            s: self.s,
            m: self.m,
        }
    }
}

/// ArcFace with a curriculum: rivals that are nearer than the right class with its margin are the hard ones.
/// ```text
/// z_y = s φ(c_y) while training,   z_j = s c_j (t + c_j) if c_j > cos(θ_y + m), else s c_j
/// t ← 0.99 t + 0.01 mean c_y with every training step, from 0
/// ```
/// φ is [`ArcFace`](super::ArcFace)'s. Early on t is small and hard rivals count less than their cosine; later they count more.
/// A pass uses the t that its own batch makes, as the authors' code does, and t counts as a constant in the backward pass. An
/// evaluation knows no classes and has plain cosines.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Huang et al. 2020, arXiv:2004.00288.
#[derive(Module, Debug)]
pub struct CurricularFace {
    /// The class vectors.
    pub classes: Angular,
    /// t: `[1]`
    pub mean: Running<1>,
    s: f64,
    m: f64,
}

impl CurricularFace {
    /// The logits of cosines with the margin of these classes, at t (`[1, 1]`).
    fn of_cosines(&self, c: Tensor<2>, classes: &Tensor<1, Int>, t: &Tensor<2>) -> Tensor<2> {
        let own = at_class(c.clone(), classes);
        let shape = c.dims();
        let hard = c.clone().detach().greater(turned(own.clone().detach(), self.m).expand(shape));
        let heavier = c.clone() * (c.clone() + t.clone());
        with_own(c.mask_where(hard, heavier), classes, added_angle(own, self.m)).mul_scalar(self.s)
    }
}

impl Scorer for CurricularFace {
    fn forward(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        let c = self.classes.cosines(features);
        let Some(classes) = said(ask) else { return c.mul_scalar(self.s).cast(dtype) };
        let value = self.mean.value();
        let before = value.clone().cast(c.dtype()).unsqueeze_dim::<2>(0);
        let own = at_class(c.clone().detach(), classes).mean_dim(0);
        let t = before.mul_scalar(1.0 - RATE) + own.mul_scalar(RATE);
        if ctx.training {
            self.mean.propose(t.clone().reshape([1]).cast(value.dtype()));
        }
        self.of_cosines(c, classes, &t).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{ModuleMapper, Param},
        tensor::{DType, TensorData},
    };
    use kiln_activations::loss::Target;

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, check_gradients, device, normal, values},
    };

    fn head(m: f64) -> CurricularFace {
        let site = Site { features: 3, outputs: 4, bias: true, draw: Draw::Uniform };
        CurricularFaceConfig { s: 8.0, m }.init((&site, &Init::new(0, &device(), DType::F64)))
    }

    fn tensor(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), (&device(), DType::F64))
    }

    fn class(class: i32) -> Tensor<1, Int> {
        Tensor::from_data([class], &device())
    }

    #[test]
    fn hard_rivals_by_hand() {
        // cos(arccos 0.7 + 0.5) = 0.2719…: the rival at 0.5 is hard, the others are not.
        let c = tensor(&[0.7, 0.1, -0.3, 0.5], [1, 4]);
        for (t, hard) in [(0.0, 8.0 * 0.25), (0.3, 8.0 * 0.5 * 0.8)] {
            let z = values(&head(0.5).of_cosines(c.clone(), &class(0), &tensor(&[t], [1, 1])));
            assert_close("logits", &z, &[2.17543581, 0.8, -2.4, hard], 1e-9);
        }
        // Without a rival beyond the margin it is ArcFace.
        let easy = tensor(&[0.7, 0.1, -0.3, 0.2], [1, 4]);
        let z = values(&head(0.5).of_cosines(easy, &class(0), &tensor(&[0.9], [1, 1])));
        assert_close("logits", &z, &[2.17543581, 0.8, -2.4, 1.6], 1e-9);
    }

    #[test]
    fn t_follows_the_mean_cosine_of_the_right_classes_step_by_step() {
        struct Step;
        impl ModuleMapper for Step {}
        let features = normal([5, 3], DType::F64, "features").detach();
        let classes = Tensor::<1, Int>::from_data([0, 3, 1, 1, 2], &device());
        let ask = Ask::row().knowing(Target::Classes(classes.clone()));
        let mut head = head(0.2);
        let own = values(&at_class(head.classes.cosines(features.clone()), &classes));
        let mean = own.iter().sum::<f64>() / 5.0;
        for step in 1..4 {
            // An evaluation that knows the classes leaves t alone.
            head.forward(features.clone(), &ask, &Ctx::eval(0, step));
            assert_eq!(values(&head.clone().map(&mut Step).mean.value()), values(&head.mean.value()));
            let z = head.forward(features.clone(), &ask, &Ctx::train(0, step));
            head = head.map(&mut Step);
            let t = mean * (1.0 - 0.99f64.powi(step as i32));
            assert_close("t", &values(&head.mean.value()), &[t], 1e-14);
            // The pass used what it proposed.
            let c = head.classes.cosines(features.clone());
            assert_close("z", &values(&z), &values(&head.of_cosines(c, &classes, &tensor(&[t], [1, 1]))), 1e-12);
        }
    }

    #[test]
    fn gradients_at_a_fixed_t_agree_with_central_differences() {
        #[derive(Module, Debug)]
        struct Bench {
            c: Param<Tensor<2>>,
        }
        let cosines = [0.7, 0.1, -0.3, 0.5, -0.2, -0.95, 0.4, 0.3];
        let bench = Bench { c: Param::from_tensor(tensor(&cosines, [2, 4]).require_grad()) };
        // The second row's angle passes π with the margin.
        let classes = Tensor::<1, Int>::from_data([0, 1], &device());
        let (head, weights) = (head(0.5), normal([2, 4], DType::F64, "weights").detach());
        check_gradients(&bench, |bench| {
            (head.of_cosines(bench.c.val(), &classes, &tensor(&[0.3], [1, 1])) * weights.clone()).sum()
        });
    }
}
