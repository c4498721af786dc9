//! What heads of angles share: cosines of features and class vectors, and moving the logit of the right class.
use burn::{
    module::{Module, Param},
    tensor::{DType, Int, Tensor},
};
use kiln_activations::{
    Init,
    loss::{Target, is_class},
};

use super::Site;
use crate::{
    Ask, Invalid,
    block::Linear,
    kernel::{self, Epilogue},
};

/// Vectors no longer than this are divided by it instead of their length.
const EPS: f64 = 1e-12;

/// A vector per class, of which the direction counts.
/// ```text
/// c_j = ⟨h, w_j⟩ / (|h| |w_j|)
/// ```
/// Lengths below 1e-12 count as 1e-12. Half-precision features are lifted to f32 on the way.
#[derive(Module, Debug)]
pub struct Angular {
    /// `[features, outputs]`, a column per class.
    pub weight: Param<Tensor<2>>,
}

impl Angular {
    /// First vectors are drawn as those of the network's dense layers, under the name `weight` of `init`.
    pub fn new(init: &Init, site: &Site) -> Self {
        let Linear { weight, .. } = Site { bias: false, ..*site }.linear(init);
        Self { weight }
    }

    /// The cosines of features (`[answers, features]`) with every class (`[answers, outputs]`).
    pub fn cosines(&self, features: Tensor<2>) -> Tensor<2> {
        cosines(features, self.weight.val())
    }

    /// A row per class: `[outputs, features]`.
    pub fn vectors(&self) -> Tensor<2> {
        self.weight.val().transpose()
    }
}

/// The cosines of rows of features with the columns of `weight`; in f32 for half types.
pub(super) fn cosines(features: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    kernel::linear(unit(single(features), 1), unit(single(weight), 0), None, Epilogue::None)
}

/// Half types as f32.
pub(super) fn single(x: Tensor<2>) -> Tensor<2> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

/// The vectors along `dim` brought to length 1.
pub(super) fn unit(x: Tensor<2>, dim: usize) -> Tensor<2> {
    // The clamp's slope is 0, where that of the root would be infinite.
    let length = (x.clone() * x.clone()).sum_dim(dim).clamp_min(EPS * EPS).sqrt();
    x / length
}

/// The classes that `ask` says, if it says classes.
pub(super) fn said(ask: &Ask) -> Option<&Tensor<1, Int>> {
    match &ask.target {
        Some(Target::Classes(classes)) => Some(classes),
        _ => None,
    }
}

/// The entry of each row at its class (`[rows, 1]`).
pub(super) fn at_class(x: Tensor<2>, classes: &Tensor<1, Int>) -> Tensor<2> {
    x.gather(1, classes.clone().unsqueeze_dim::<2>(1))
}

/// `x` with the entry of each row at its class replaced by `own` (`[rows, 1]`).
pub(super) fn with_own(x: Tensor<2>, classes: &Tensor<1, Int>, own: Tensor<2>) -> Tensor<2> {
    let (mask, shape) = (is_class(classes, &x), x.dims());
    x.mask_where(mask, own.expand(shape))
}

/// The cosine of each angle with m added: `cos(θ + m)`.
pub(super) fn turned(c: Tensor<2>, m: f64) -> Tensor<2> {
    let (sin, cos) = m.sin_cos();
    let u = inside(c);
    let root = (u.clone() * u.clone()).neg().add_scalar(1.0).sqrt();
    u.mul_scalar(cos) - root.mul_scalar(sin)
}

/// φ of ArcFace: [`turned`], and `c − m sin m` where the angle would pass π and its cosine rise again.
pub(super) fn added_angle(c: Tensor<2>, m: f64) -> Tensor<2> {
    let (sin, cos) = m.sin_cos();
    let beyond = c.clone().detach().lower_equal_elem(-cos);
    turned(c.clone(), m).mask_where(beyond, c.sub_scalar(m * sin))
}

/// Refuses an angle of π or more.
pub(super) fn below_pi(key: &str, angle: f64) -> Result<(), Invalid> {
    if angle < std::f64::consts::PI {
        return Ok(());
    }
    Err(Invalid::new(key, format!("{angle} is out of range; expected an angle below π")))
}

/// The parameter of a learned scale that begins at s: the argument whose softplus is s − 1.
pub(super) fn first_scale(init: &Init, s: f64) -> Param<Tensor<1>> {
    init.constant([1], (s - 1.0).exp_m1().ln())
}

/// Refuses a first value that a learned scale cannot have.
pub(super) fn above_one(s: f64) -> Result<(), Invalid> {
    if s > 1.0 {
        return Ok(());
    }
    Err(Invalid::new("s", format!("a learned scale is softplus + 1, so it begins above 1, not at {s}")))
}

/// A learned scale, `softplus(ŝ) + 1`: `[1, 1]`.
pub(super) fn learned_scale(scale: &Param<Tensor<1>>) -> Tensor<2> {
    let scale = single(scale.val().unsqueeze_dim::<2>(0));
    // By the size of the argument, so that neither exponential overflows.
    let rest = scale.clone().abs().neg().exp().log1p();
    (scale.clamp_min(0.0) + rest).add_scalar(1.0)
}

/// Cosines kept 1e-6 away from −1 and 1, where the angle's slope is infinite.
pub(super) fn inside(c: Tensor<2>) -> Tensor<2> {
    c.clamp(-1.0 + 1e-6, 1.0 - 1e-6)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use kiln_activations::{
        Ctx,
        loss::{Loss, LossConfig},
    };

    use super::*;
    use crate::{
        block::Draw,
        head::{
            ArcFace, ArcFaceConfig, CombinedMarginConfig, CosFace, CosFaceConfig, HeadConfig, NormalisedConfig,
            Scorer as _,
        },
        testing::{assert_close, device, values},
    };

    const SITE: Site = Site { features: 3, outputs: 4, bias: true, draw: Draw::Uniform };

    fn init() -> Init {
        Init::new(0, &device(), DType::F64)
    }

    fn tensor(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), (&device(), DType::F64)).require_grad()
    }

    fn cross_entropy() -> Loss {
        let config: LossConfig = serde_json::from_str(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        config.init(&init())
    }

    fn cosface(s: f64, m: f64) -> CosFace {
        CosFaceConfig { s, m }.init((&SITE, &init()))
    }

    fn arcface(s: f64, m: f64) -> ArcFace {
        ArcFaceConfig { s, m }.init((&SITE, &init()))
    }

    /// Asserts the logit of class 0, the loss, and its gradient at the cosines 0.7, 0.1, −0.3, 0.5.
    #[track_caller]
    fn assert_golden(
        of_cosines: impl Fn(Tensor<2>, &Tensor<1, Int>) -> Tensor<2>,
        own: f64,
        loss: f64,
        slopes: [f64; 4],
    ) {
        let c = tensor(&[0.7, 0.1, -0.3, 0.5], [1, 4]);
        let classes = Tensor::<1, Int>::from_data([0], &device());
        let z = of_cosines(c.clone(), &classes);
        assert_close("logit", &values(&z)[..1], &[own], 1e-9);
        let found = cross_entropy().forward(z, &Target::Classes(classes)).mean;
        assert_close("loss", &values(&found), &[loss], 1e-9);
        let gradient = values(&c.grad(&found.backward()).unwrap());
        assert_close("dc", &gradient, &slopes, 1e-8);
    }

    #[test]
    fn golden_values_of_the_margins() {
        let norm = [-0.3598427418, 0.0001206732968, 4.048138128e-08, 0.3597220281];
        assert_golden(|c, _| c.mul_scalar(20.0), 14.0, 0.01815596362, norm);
        let cos = [-6.206667562, 0.2427011534, 0.009893033921, 5.954073375];
        assert_golden(|c, y| cosface(8.0, 0.35).of_cosines(c, Some(y)), 2.8, 1.495365956, cos);
        let arc = [-9.335658711, 0.2709100834, 0.01104289208, 6.646109801];
        let c = tensor(&[0.7], [1, 1]);
        let slope = values(&c.grad(&added_angle(c.clone(), 0.5).sum().backward()).unwrap());
        assert_close("φ'", &slope, &[1.347513585], 1e-9);
        assert_golden(|c, y| arcface(8.0, 0.5).of_cosines(c, Some(y)), 2.17543581, 2.009974041, arc);
        // The combined margin holds both.
        let combined = |m1, m2, m3| CombinedMarginConfig { s: 8.0, m1, m2, m3 }.init((&SITE, &init()));
        assert_golden(|c, y| combined(1.0, 0.0, 0.35).of_cosines(c, Some(y)), 2.8, 1.495365956, cos);
        assert_golden(|c, y| combined(1.0, 0.5, 0.0).of_cosines(c, Some(y)), 2.17543581, 2.009974041, arc);
    }

    #[test]
    fn golden_values_of_a_whole_head() {
        let site = Site { outputs: 3, ..SITE };
        let mut head = NormalisedConfig { s: 10.0, ..Default::default() }.init((&site, &init()));
        // A column per class.
        let w = [0.3, -0.5, 1.0, 0.9, 0.2, -0.4, 0.1, 1.0, 0.2];
        head.classes.weight = head.classes.weight.map(|_| tensor(&w, [3, 3]));
        let h = tensor(&[1.0, 2.0, -0.5], [1, 3]);
        let z = head.forward(h.clone(), &Ask::row(), &Ctx::eval(0, 0));
        let c: Vec<f64> = values(&z).iter().map(|z| z / 10.0).collect();
        assert_close("cosines", &c, &[0.9378934723, -0.2305561671, 0.03984095364], 1e-9);
        let target = Target::Classes(Tensor::<1, Int>::from_data([0], &device()));
        let loss = cross_entropy().forward(z, &target).mean;
        assert_close("loss", &values(&loss), &[0.0001342511355], 1e-12);
        let gradients = loss.backward();
        let dh = values(&h.grad(&gradients).unwrap());
        assert_close("dh", &dh, &[0.0005348148208, -0.0002788530295, -4.578247646e-05], 1e-12);
        let dw = values(&head.classes.weight.val().grad(&gradients).unwrap());
        let own = [dw[0], dw[3], dw[6]];
        assert_close("dw_0", &own, &[-0.0001990990059, 1.687279711e-05, 0.0004454418436], 1e-12);
    }

    #[test]
    fn margins_fall_over_the_whole_range() {
        // Also where an angle with its margin passes π.
        let c: Vec<f64> = (0..=400).map(|i| -1.0 + i as f64 / 200.0).collect();
        let own = tensor(&c, [c.len(), 1]);
        let classes = Tensor::<1, Int>::zeros([c.len()], &device());
        let combined = CombinedMarginConfig { s: 1.0, m1: 1.7, m2: 0.6, m3: 0.1 }.init((&SITE, &init()));
        for (name, z) in [
            ("arcface", arcface(1.0, 0.9).of_cosines(own.clone(), Some(&classes))),
            ("combined", combined.of_cosines(own.clone(), Some(&classes))),
        ] {
            let z = values(&z);
            assert!(z.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{name} does not rise with the cosine");
            assert!(z.iter().zip(&c).all(|(z, c)| *z <= *c + 1e-5), "{name} makes it no easier");
        }
    }

    #[test]
    fn a_vector_of_length_0_has_no_direction() {
        let head = Angular::new(&init(), &SITE);
        let h = tensor(&[0.0; 3], [1, 3]);
        let c = head.cosines(h.clone());
        assert_eq!(values(&c), [0.0; 4]);
        let gradient = values(&h.grad(&c.sum().backward()).unwrap());
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }

    #[test]
    fn an_angle_beyond_pi_is_refused() {
        let config: HeadConfig = serde_json::from_str(r#"{ "name": "arcface", "m": 3.2 }"#).unwrap();
        assert_eq!(
            config.fits(&SITE).unwrap_err().to_string(),
            "model.head.m: 3.2 is out of range; expected an angle below π"
        );
        let config: HeadConfig = serde_json::from_str(r#"{ "name": "combined_margin", "m1": 0.5 }"#).unwrap();
        assert!(config.fits(&SITE).unwrap_err().message.contains("a factor of at least 1"));
    }
}
