use burn::module::ModuleMapper;
use kiln_activations::LossTerms;

use super::*;
use crate::{
    InputSpec,
    testing::{assert_close, check_gradients, device, normal, randomised, values},
};

const IO: Io = Io { input: InputSpec::Floats { width: 3 }, outputs: 3 };

fn tree(config: SoftDecisionTreeConfig) -> SoftDecisionTree {
    let config = SoftDecisionTreeConfig { dtype: Precision::F64, ..config };
    config.check(&IO).unwrap();
    config.init((&IO, &Init::new(5, &device(), DType::F64)))
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

fn parameter<const D: usize>(values: &[f64], shape: [usize; D]) -> Param<Tensor<D>> {
    Param::from_tensor(tensor(values.to_vec(), shape).require_grad())
}

/// Depth 2; the root goes right with probability 0.3, its left child with 0.6, its right child with 0.8.
fn by_hand(objective: Objective, predict: Predict) -> SoftDecisionTree {
    let mut tree = tree(SoftDecisionTreeConfig { depth: 2, objective, predict, penalty: 0.0, ..Default::default() });
    let logit = |p: f64| (p / (1.0 - p)).ln();
    tree.decisions.weight = parameter(&[0.0; 9], [3, 3]);
    tree.decisions.bias = Some(parameter(&[logit(0.3), logit(0.6), logit(0.8)], [3]));
    tree.leaves = parameter(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0], [4, 3]);
    tree
}

/// Logits of one row, and the sum of what the tree adds to the loss.
fn train(tree: &SoftDecisionTree, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
    let terms = LossTerms::default();
    let logits = tree.forward(&Input::Floats(x), &Ask::row(), &Ctx::train(0, 0).with_loss_terms(&terms));
    let zero = tensor(vec![0.0], [1]);
    (logits, terms.take().into_iter().fold(zero, |sum, term| sum + term.value))
}

/// The cross-entropy of soft targets, as a loss of mean rows has it.
fn cross_entropy(logits: Tensor<2>, target: &Tensor<2>) -> Tensor<1> {
    (log_softmax(logits, 1) * target.clone()).sum_dim(1).mean().neg()
}

#[test]
fn the_loss_of_paths_by_hand() {
    let tree = by_hand(Objective::Paths, Predict::Mixture);
    let target = tensor(vec![0.7, 0.2, 0.1], [1, 3]);
    let (logits, added) = train(&tree, tensor(vec![0.0; 3], [1, 3]));
    let loss = cross_entropy(logits, &target) + added;
    assert_close("loss", &values(&loss), &[1.135022804], 1e-9);
    let expected = [
        [-0.03468727227, 0.003343636133, 0.03134363613],
        [-0.2049845458, 0.1579690916, 0.0470154542],
        [-0.02928350654, 0.000716493457, 0.02856701309],
        [-0.07592358451, 0.04407641549, 0.03184716903],
    ];
    let gradients = loss.backward();
    assert_close("dφ", &values(&tree.leaves.val().grad(&gradients).unwrap()), &expected.concat(), 1e-9);
    // dL/ds_i = p_i (1 − p_i) P_i (R_i − L_i), with the losses R and L of what lies right and left of the node.
    let log = |leaf: [f64; 3], k: usize| leaf[k] - leaf.iter().map(|x| x.exp()).sum::<f64>().ln();
    let target = [0.7, 0.2, 0.1];
    let leaf = |phi: [f64; 3]| -(0..3).map(|k| target[k] * log(phi, k)).sum::<f64>();
    let losses = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]].map(leaf);
    let (left, right) = (0.4 * losses[0] + 0.6 * losses[1], 0.2 * losses[2] + 0.8 * losses[3]);
    let expected = [
        0.3 * 0.7 * (right - left),
        0.6 * 0.4 * 0.7 * (losses[1] - losses[0]),
        0.8 * 0.2 * 0.3 * (losses[3] - losses[2]),
    ];
    let bias = tree.decisions.bias.as_ref().unwrap().val();
    assert_close("ds", &values(&bias.grad(&gradients).unwrap()), &expected, 1e-12);
}

#[test]
fn the_mixture_and_the_most_probable_leaf_by_hand() {
    let target = tensor(vec![0.7, 0.2, 0.1], [1, 3]);
    let x = tensor(vec![0.0; 3], [1, 3]);
    let expected = [0.3551210909, 0.4061056367, 0.2387732724];
    let tree = by_hand(Objective::Mixture, Predict::Mixture);
    let (logits, added) = train(&tree, x.clone());
    assert_close("mixture", &values(&logits.clone().exp()), &expected, 1e-9);
    assert_close("loss", &values(&(cross_entropy(logits, &target) + added)), &[1.048159988], 1e-9);
    let evaluate =
        |tree: &SoftDecisionTree| values(&tree.forward(&Input::Floats(x.clone()), &Ask::row(), &Ctx::eval(0, 0)).exp());
    assert_close("evaluated", &evaluate(&tree), &expected, 1e-9);
    // Leaf 1 is reached with probability 0.42; its answer is softmax(0, 1, 0).
    let e = std::f64::consts::E;
    let leaf = [1.0 / (2.0 + e), e / (2.0 + e), 1.0 / (2.0 + e)];
    assert_close("most probable", &evaluate(&by_hand(Objective::Mixture, Predict::MaxPath)), &leaf, 1e-12);
}

#[test]
fn paths_lead_from_left_to_right_and_sum_to_1() {
    let tree = by_hand(Objective::Paths, Predict::MaxPath);
    let scores = tree.scores(tensor(vec![0.0; 3], [1, 3]));
    let levels = tree.paths(&scores);
    assert_close("level 1", &values(&levels[1].clone().exp()), &[0.7, 0.3], 1e-12);
    assert_close("leaves", &values(&levels[2].clone().exp()), &[0.28, 0.42, 0.06, 0.24], 1e-12);
}

#[test]
fn the_penalty_of_one_node_by_hand() {
    let mut tree = tree(SoftDecisionTreeConfig { depth: 1, penalty: 0.1, ..Default::default() });
    tree.decisions.weight = parameter(&[0.0; 3], [3, 1]);
    tree.decisions.bias = Some(parameter(&[(0.35f64 / 0.65).ln()], [1]));
    let x = normal([7, 3], DType::F64, "x").detach();
    let scores = tree.scores(x);
    let found = tree.balance(&scores, &tree.paths(&scores));
    assert_close("penalty", &values(&found), &[0.07403025203], 1e-9);
}

/// The penalty in plain loops, from the running averages before the batch, and those after it.
fn penalty(tree: &SoftDecisionTree, x: &[f64], before: &[f64]) -> (f64, Vec<f64>) {
    let config = &tree.config;
    let nodes = before.len();
    let (weight, bias) = (values(&tree.decisions.weight.val()), values(&tree.decisions.bias.as_ref().unwrap().val()));
    let right = |row: &[f64], i: usize| {
        let sum = bias[i] + (0..3).map(|j| row[j] * weight[j * nodes + i]).sum::<f64>();
        1.0 / (1.0 + (-config.inverse_temperature * sum).exp())
    };
    let reach = |row: &[f64], mut i: usize| {
        let mut probability = 1.0;
        while i > 0 {
            let (above, is_right) = ((i - 1) / 2, i.is_multiple_of(2));
            let p = right(row, above);
            probability *= if is_right { p } else { 1.0 - p };
            i = above;
        }
        probability
    };
    let (mut total, mut after) = (0.0, Vec::new());
    for (i, before) in before.iter().enumerate() {
        let depth = (i + 1).ilog2();
        let (mut above, mut below) = (0.0, 0.0);
        for row in x.chunks(3) {
            above += reach(row, i) * right(row, i);
            below += reach(row, i);
        }
        let rate = 1.0 / (config.window * f64::from(1 << depth));
        let share = (1.0 - rate) * before + rate * above / below;
        total -= config.penalty / f64::from(1 << depth) * 0.5 * (share.ln() + (1.0 - share).ln());
        after.push(share);
    }
    (total, after)
}

#[test]
fn the_penalty_follows_the_formula_and_its_averages_the_steps() {
    struct Step;
    impl ModuleMapper for Step {}
    let config =
        SoftDecisionTreeConfig { depth: 3, penalty: 0.3, window: 1.5, inverse_temperature: 2.0, ..Default::default() };
    let mut tree = randomised(tree(config));
    let mut running = values(&tree.shares.value());
    running.iter_mut().for_each(|share| *share /= 2.0);
    tree.shares.propose(tensor(running.clone(), [7]));
    tree = tree.map(&mut Step);
    for step in 0..3 {
        let x = normal([5, 3], DType::F64, &format!("x{step}")).detach();
        let terms = LossTerms::default();
        let ctx = Ctx::train(0, step).with_loss_terms(&terms);
        tree.forward(&Input::Floats(x.clone()), &Ask::row(), &ctx);
        let found: Vec<_> = terms.take().into_iter().map(|term| (term.name, values(&term.value)[0])).collect();
        let (expected, after) = penalty(&tree, &values(&x), &running);
        assert_eq!(found.iter().map(|term| term.0.as_str()).collect::<Vec<_>>(), ["tree_balance", "tree_paths"]);
        assert_close("penalty", &[found[0].1], &[expected], 1e-12);
        tree = tree.map(&mut Step);
        running = after;
        assert_close("averages", &values(&tree.shares.value()), &running, 1e-12);
    }
}

#[test]
fn gradients_of_all_terms_agree_with_central_differences() {
    for objective in [Objective::Paths, Objective::Mixture] {
        let config =
            SoftDecisionTreeConfig { depth: 3, objective, learn_temperature: true, penalty: 0.5, ..Default::default() };
        let tree = randomised(tree(config));
        let x = normal([5, 3], DType::F64, "x").detach();
        let target = tensor((0..15).map(|i| f64::from(u8::from(i % 4 == 0))).collect(), [5, 3]);
        check_gradients(&tree, |tree| {
            // Averages lie in (0, 1), and a nudged copy does not go on from the proposal of the last one.
            let shares = Running::new(&Init::new(0, &device(), DType::F64), [7], 0.4);
            let (logits, added) = train(&SoftDecisionTree { shares, ..tree.clone() }, x.clone());
            cross_entropy(logits, &target) + added
        });
    }
}

#[test]
fn deep_nodes_that_no_row_reaches_stay_finite() {
    let mut tree = tree(SoftDecisionTreeConfig { depth: 6, ..Default::default() });
    let scores = tree.scores(tensor(vec![0.0; 3], [1, 3])).mul_scalar(0.0).add_scalar(-800.0);
    tree.shares = Running::new(&Init::new(0, &device(), DType::F64), [63], 0.5);
    let penalty = values(&tree.balance(&scores, &tree.paths(&scores)))[0];
    assert!(penalty.is_finite() && penalty > 0.0, "{penalty}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = |config: SoftDecisionTreeConfig, io: &Io| config.check(io).unwrap_err().to_string();
    assert_eq!(
        message(SoftDecisionTreeConfig { depth: 20, ..Default::default() }, &IO),
        "model.depth: a tree of depth 20 has 2^20 leaves; expected at most 16"
    );
    let error = serde_json::from_str::<SoftDecisionTreeConfig>(r#"{ "window": 0.5 }"#).unwrap_err().to_string();
    assert!(error.contains("0.5 is out of range; expected a number of at least 1"), "{error}");
}
