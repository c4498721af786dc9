//! What every loss of classes owes, and golden rows.
use burn::tensor::{DType, Tensor};
use kiln_registry::Tagged as _;

use super::{Loss, LossConfig, LossDtype, Scores, Target, TargetKind};
use crate::{
    Init,
    testing::{assert_close, assert_gradient, classes, device, normal, tensor, values},
};

/// The loss of a config in JSON.
pub(super) fn loss(json: &str) -> Loss {
    let config: LossConfig = serde_json::from_str(json).expect("a good config");
    config.check().expect("a sound config");
    config.init(&Init::new(0, &device(), DType::F64))
}

/// Rows of the loss and the gradient of their sum.
pub(super) fn pass(x: Tensor<2>, f: impl FnOnce(Tensor<2>) -> Tensor<1>) -> (Vec<f64>, Vec<f64>) {
    let x = x.detach().require_grad();
    let rows = f(x.clone());
    let found = values(rows.clone().detach());
    let gradient = x.grad(&rows.sum().backward()).map_or_else(|| vec![0.0; x.dims().iter().product()], values);
    (found, gradient)
}

/// Asserts the loss of one row and its gradient, by the kernel and composed.
#[track_caller]
pub(super) fn assert_row(loss: &Loss, x: &[f64], target: usize, want: f64, slopes: &[f64]) {
    let target = Target::Classes(classes(&[target]));
    let row = || tensor(x, x.len(), DType::F64);
    for (form, (rows, gradient)) in [
        ("kernel", pass(row(), |x| loss.forward(x, &target).rows)),
        ("composed", pass(row(), |x| loss.composed(x, &target))),
    ] {
        assert_close(&format!("{form} loss"), &rows, &[want], 1e-9, 1e-11);
        assert_close(
            &format!("{form} gradient"),
            &gradient,
            slopes,
            2e-9,
            1e-9 * slopes.iter().fold(0.0, |a, b| b.abs().max(a)),
        );
    }
}

/// Asserts the laws of a loss of classes in f64: kernel and composed form agree, the gradient is that of the loss, the order of
/// the classes means nothing, and a class at −∞ is as if it were not there.
#[track_caller]
pub(super) fn assert_laws(loss: &Loss) {
    let (count, n) = (5, 7);
    let target: Vec<usize> = (0..count).map(|row| row * 3 % n).collect();
    for scale in [0.1, 1.0, 6.0] {
        let x = normal(11, count * n, scale);
        let at = Target::Classes(classes(&target));
        let (rows, gradient) = pass(tensor(&x, n, DType::F64), |x| loss.forward(x, &at).rows);
        let (composed, composed_gradient) = pass(tensor(&x, n, DType::F64), |x| loss.composed(x, &at));
        assert_close("kernel and composed", &rows, &composed, 1e-12, 1e-14);
        let size = gradient.iter().fold(0.0f64, |max, g| max.max(g.abs()));
        assert_close("gradients of kernel and composed", &gradient, &composed_gradient, 1e-11, 1e-13 * size + 1e-15);
        assert_gradient("differences", &x, &vec![1.0; count * n], n, |x| {
            loss.forward(x, &at).rows.unsqueeze_dim::<2>(1).expand([count, n]) / n as f64
        });

        // Class j in place n − 1 − j, and one more that is removed.
        let turned: Vec<f64> =
            x.chunks(n).flat_map(|row| row.iter().rev().copied().chain([f64::NEG_INFINITY])).collect();
        let at = Target::Classes(classes(&target.iter().map(|y| n - 1 - y).collect::<Vec<_>>()));
        let want: Vec<f64> = gradient.chunks(n).flat_map(|row| row.iter().rev().copied().chain([0.0])).collect();
        for (form, (found, slopes)) in [
            ("kernel", pass(tensor(&turned, n + 1, DType::F64), |x| loss.forward(x, &at).rows)),
            ("composed", pass(tensor(&turned, n + 1, DType::F64), |x| loss.composed(x, &at))),
        ] {
            assert_close(&format!("{form}, other order"), &found, &rows, 1e-12, 1e-14);
            assert_close(&format!("{form} gradient, other order"), &slopes, &want, 1e-11, 1e-13 * size + 1e-15);
        }
    }
}

/// Every entry at its default parameters, in this precision.
fn entries(dtype: &str) -> impl Iterator<Item = (&'static str, Loss)> {
    let build = move |name: &&'static str| (*name, loss(&format!(r#"{{ "name": "{name}", "dtype": "{dtype}" }}"#)));
    LossConfig::NAMES.iter().map(build).collect::<Vec<_>>().into_iter()
}

#[test]
fn every_entry_that_takes_classes_keeps_the_laws() {
    // Memberships of classes that are left out are none, and psl has kinks outside of its range: both have tests of their own.
    let walked = |name: &str| name != "psl";
    for (name, loss) in
        entries("f64").filter(|(name, loss)| walked(name) && loss.targets().contains(&TargetKind::Classes))
    {
        println!("{name}");
        assert_laws(&loss);
    }
}

#[test]
fn every_kind_of_target_gives_finite_losses_in_the_precision_of_the_loss() {
    for dtype in [LossDtype::F16, LossDtype::F32, LossDtype::F64] {
        for (name, loss) in entries(&format!("{dtype:?}").to_lowercase()) {
            let matrix = |values: &[f64]| tensor(values, 3, DType::F32);
            for kind in loss.targets() {
                let target = match kind {
                    TargetKind::Classes => Target::Classes(classes(&[2, 0])),
                    TargetKind::Soft => Target::Soft(matrix(&[0.5, 0.25, 0.25, 0.0, 1.0, 0.0])),
                    TargetKind::Labels => Target::Labels(matrix(&[1.0, 0.0, 1.0, 0.0, 0.0, 0.0])),
                    TargetKind::Values => Target::Values(matrix(&[-1.0, 0.5, 2.0, 0.0, 0.0, 1.0])),
                };
                let x = matrix(&[0.5, -1.0, 0.25, 2.0, 0.125, -0.5]).require_grad();
                let output = loss.forward(x.clone(), &target);
                assert_eq!((output.rows.dims(), output.mean.dims()), ([2], [1]), "{name} {kind}");
                assert_eq!((output.rows.dtype(), output.mean.dtype()), (dtype.dtype(), dtype.dtype()), "{name} {kind}");
                let gradient = x.grad(&output.mean.clone().backward()).expect("the logits take part");
                assert_eq!(gradient.dtype(), DType::F32, "{name} {kind}");
                let all = [values(output.rows), values(output.mean), values(gradient)].concat();
                assert!(all.iter().all(|x| x.is_finite()), "{name} {kind} {dtype:?}: {all:?}");
            }
        }
    }
}

#[test]
fn a_target_or_a_head_that_does_not_fit_is_refused_with_the_losses_that_do() {
    let hinge = LossConfig::by_name("hinge").expect("known");
    assert_eq!(hinge.check_target(TargetKind::Classes), Ok(()));
    let message = hinge.check_target(TargetKind::Values).expect_err("refused");
    assert!(
        message.starts_with("\"hinge\" takes classes or labels, and the data gives values; losses that fit: mse"),
        "{message}"
    );
    assert_eq!(hinge.check_scores(Scores::Margins), Ok(()));
    let message = LossConfig::default().check_scores(Scores::Margins).expect_err("refused");
    assert_eq!(
        message,
        "\"cross_entropy\" reads logits, and the head gives margins, one per class; losses that fit: hinge"
    );
    let message =
        LossConfig::by_name("relu_nll").expect("known").check_scores(Scores::LogWeights).expect_err("refused");
    assert!(
        message.contains("\"relu_nll\" reads logits (it keeps their positive parts), and the head gives log"),
        "{message}"
    );
}

#[test]
#[should_panic(expected = "the loss takes classes, and the data gives values")]
fn the_wrong_kind_of_target_panics() {
    let x = tensor(&[0.0, 1.0], 2, DType::F32);
    loss(r#""z_loss""#).forward(x.clone(), &Target::Values(x));
}

#[test]
fn cross_entropy_of_distributions_and_labels() {
    let ce = loss(r#"{ "name": "cross_entropy", "dtype": "f64" }"#);
    // Teachers [2, 0, −1] and [1, 1.5, 0], averaged.
    let soft = tensor(&[0.5876468475, 0.3303722933, 0.08198085922], 3, DType::F64);
    let target = Target::Soft(soft);
    for form in [Loss::forward_rows as fn(&Loss, Tensor<2>, &Target) -> Tensor<1>, Loss::composed_rows] {
        let (rows, gradient) = pass(tensor(&[0.5, 0.2, -0.3], 3, DType::F64), |x| form(&ce, x, &target));
        assert_close("soft", &rows, &[0.9486651246], 1e-9, 0.0);
        assert_close("soft gradient", &gradient, &[-0.1310565293, 0.00787813378, 0.1231783955], 1e-9, 1e-10);
    }
    // Two positives of soft top-2 with α = 2; the second row has none and is left out of the mean.
    let topk = loss(
        r#"{ "name": "cross_entropy", "normalizer": { "name": "soft_topk", "k": 2, "alpha": 2 }, "dtype": "f64" }"#,
    );
    let x = [2.0, 1.0, -0.5, 0.3, 0.0];
    let labels = Target::Labels(tensor(&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5, DType::F64));
    let x = tensor(&[x, x].concat(), 5, DType::F64).require_grad();
    let output = topk.forward(x.clone(), &labels);
    assert_close("soft top-k", &values(output.rows.clone()), &[0.3073048723, 0.0], 1e-9, 0.0);
    assert_close("mean", &values(output.mean.clone()), &[0.3073048723], 1e-9, 0.0);
    let gradient = values(x.grad(&output.mean.backward()).expect("it takes part"));
    let want = [-0.0313461786, -0.2412176694, 0.04342869133, 0.1342655965, 0.09486956011];
    assert_close("soft top-k gradient", &gradient, &[want, [0.0; 5]].concat(), 1e-9, 1e-11);
    // Through softmax positives compete: per positive half of what a sum would give.
    let x = tensor(&[2.0, 1.0, -0.5, 0.3, 0.0], 5, DType::F64);
    let labels = Target::Labels(tensor(&[1.0, 1.0, 0.0, 0.0, 0.0], 5, DType::F64));
    let (rows, gradient) = pass(x, |x| ce.forward(x, &labels).rows);
    assert_close("softmax", &rows, &[2.139678977 / 2.0], 1e-9, 0.0);
    let want = [0.1312324386, -0.5838428427, 0.09285721317, 0.2066575284, 0.1530956625].map(|g| g / 2.0);
    assert_close("softmax gradient", &gradient, &want, 1e-9, 0.0);
}

impl Loss {
    fn forward_rows(&self, x: Tensor<2>, target: &Target) -> Tensor<1> {
        self.forward(x, target).rows
    }

    fn composed_rows(&self, x: Tensor<2>, target: &Target) -> Tensor<1> {
        self.composed(x, target)
    }
}

/// Where a loss is minus the logarithm of the target's probability, its probabilities say so.
#[test]
fn probabilities_are_those_that_the_loss_scores() {
    let (count, n) = (6, 7);
    let x = tensor(&normal(3, count * n, 2.0), n, DType::F64);
    let target: Vec<usize> = (0..count).map(|row| row % n).collect();
    for (json, keeps_order) in [
        (r#""cross_entropy""#, true),
        (r#"{ "name": "cross_entropy", "normalizer": "stablemax" }"#, true),
        (r#"{ "name": "cross_entropy", "normalizer": "taylor_softmax" }"#, false),
        (r#"{ "name": "cross_entropy", "normalizer": { "name": "spherical_softmax", "eps": 1e-3 } }"#, false),
        (r#""ce_exact""#, true),
        (r#"{ "name": "label_smoothing", "smoothing": 0.0 }"#, true),
        (r#"{ "name": "comp_sum", "tau": 1.0, "rho": 0.5 }"#, true),
        (r#"{ "name": "relu_nll", "floor": 1e-3 }"#, true),
    ] {
        let mut config: serde_json::Value = serde_json::from_str(json).unwrap();
        if let Some(name) = config.as_str() {
            config = serde_json::json!({ "name": name });
        }
        config["dtype"] = "f64".into();
        let loss = loss(&config.to_string());
        assert_eq!(loss.keeps_order(), keeps_order, "{json}");
        let p = values(loss.probabilities(x.clone()).expect("it has probabilities"));
        assert_close(json, &p.chunks(n).map(|row| row.iter().sum()).collect::<Vec<_>>(), &vec![1.0; count], 1e-12, 0.0);
        let rows = values(loss.forward(x.clone(), &Target::Classes(classes(&target))).rows);
        let scored: Vec<f64> = target.iter().enumerate().map(|(row, class)| -p[row * n + class].ln()).collect();
        assert_close(json, &rows, &scored, 1e-9, 1e-12);
    }
}

#[test]
fn margins_ranks_and_values_are_no_probabilities() {
    let without = |name: &&str| {
        serde_json::from_str::<LossConfig>(&format!("\"{name}\"")).is_ok_and(|config| !config.has_probabilities())
    };
    let names: Vec<&str> = LossConfig::NAMES.iter().copied().filter(without).collect();
    assert_eq!(
        names,
        ["z_loss", "hinge", "gumbel_ce", "binary_ce", "psl", "decoupled_softmax", "distillation", "dice", "mse"]
    );
    // A dead row of ReLU says nothing, so every class is as probable.
    let dead = tensor(&[-1.0, -2.0, -0.5, -3.0], 4, DType::F64);
    assert_eq!(values(loss(r#"{ "name": "relu_nll", "dtype": "f64" }"#).probabilities(dead).unwrap()), [0.25; 4]);
    // A sparse map excludes classes.
    let sparse = loss(r#"{ "name": "fenchel_young", "normalizer": "sparsemax", "dtype": "f64" }"#);
    let p = values(sparse.probabilities(tensor(&[2.0, 0.5, 1.5], 3, DType::F64)).unwrap());
    assert_close("sparsemax", &p, &[0.75, 0.0, 0.25], 1e-12, 0.0);
}
