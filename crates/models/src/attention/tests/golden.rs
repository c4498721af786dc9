//! Published definitions on four tokens, through the whole module.
use burn::{
    module::Param,
    tensor::{DType, Tensor, TensorData},
};
use kiln_activations::{Init, Probe};
use serde_json::{Value, json};

use super::{build, ctx, device, read};
use crate::{
    attention::{Around, Attention, AttentionConfig, CoreConfig, CoreInit, Heads, Scope, Side},
    position::{Place, Position, PositionConfig},
    testing::{assert_close, values},
};

const Q: [[f64; 2]; 4] = [[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2], [0.2, 0.4]];
const K: [[f64; 2]; 4] = [[0.4, -0.6], [1.1, 0.3], [-0.5, 0.7], [0.9, -0.2]];
const V: [[f64; 2]; 4] = [[1.0, 0.0], [0.0, 1.0], [2.0, -1.0], [-1.0, 0.5]];
const G: [[f64; 2]; 4] = [[1.0, 0.0], [0.5, -0.5], [0.0, 1.0], [1.0, 1.0]];

/// Width of the layer: queries, keys and values stand in channels of their own, and some more for gates.
const WIDTH: usize = 10;

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

/// One head of width 2 whose projections pick out channels 0..2, 2..4 and 4..6 of the input.
fn picking(config: &AttentionConfig) -> Attention {
    let mut attention = build(config, WIDTH);
    let pick = |first: usize| {
        let mut weight = vec![0.0; WIDTH * 2];
        (weight[first * 2], weight[(first + 1) * 2 + 1]) = (1.0, 1.0);
        Param::from_tensor(tensor(weight, [WIDTH, 2]))
    };
    attention.query.weight = pick(0);
    if let Some(key) = &mut attention.key {
        key.weight = pick(2);
    }
    attention.value.weight = pick(4);
    let mut weight = vec![0.0; 2 * WIDTH];
    (weight[0], weight[WIDTH + 1]) = (1.0, 1.0);
    attention.output.weight = Param::from_tensor(tensor(weight, [2, WIDTH]));
    attention
}

/// Q, K, V and `more` side by side: `[1, 4, WIDTH]`.
fn input(more: [[f64; 4]; 4]) -> Tensor<3> {
    let row = |t: usize| Q[t].into_iter().chain(K[t]).chain(V[t]).chain(more[t]);
    tensor((0..4).flat_map(row).collect(), [1, 4, WIDTH]).require_grad()
}

/// O, and the gradients of ⟨G, O⟩ for Q, K and V.
fn run(attention: &Attention, x: &Tensor<3>, scope: &Scope) -> [Vec<f64>; 4] {
    let y = attention.forward(x.clone(), scope, &ctx()).narrow(2, 0, 2);
    let g = tensor(G.into_iter().flatten().collect(), [1, 4, 2]);
    let dx = x.grad(&(y.clone() * g).sum().backward()).unwrap();
    let part = |first: usize| values(&dx.clone().narrow(2, first, 2));
    [values(&y), part(0), part(2), part(4)]
}

fn golden(slots: Value) -> AttentionConfig {
    let mut slots = slots;
    let own = slots.as_object_mut().unwrap();
    for (key, value) in [("n_heads", json!(1)), ("d_head", json!(2)), ("d_value", json!(2))] {
        own.entry(key).or_insert(value);
    }
    read(slots)
}

#[track_caller]
fn check(name: &str, slots: Value, expected: &[&[f64]]) {
    let config = golden(slots);
    let scope = Scope::whole(config.pattern_in(true).pattern(), 4, &device());
    let found = run(&picking(&config), &input([[0.0; 4]; 4]), &scope);
    for ((part, found), expected) in ["O", "dQ", "dK", "dV"].iter().zip(&found).zip(expected) {
        assert_close(&format!("{name}: {part}"), found, expected, 2e-9);
    }
}

#[test]
fn softmax() {
    let o: &[f64] = &[1.0, 0.0, 0.4108084106, 0.5891915894, 0.7839037414, 0.2160962586, 0.4781243478, 0.1537971467];
    check(
        "softmax",
        json!({}),
        &[
            o,
            &[0.0, 0.0, -0.1198060935, -0.1540364059, 0.2258425798, 0.0321582193, -0.1060519024, 0.07740853121],
            &[
                -0.09017893914,
                0.2571010754,
                0.1789944896,
                -0.3316758839,
                -0.04953473427,
                0.1531364408,
                -0.03928081615,
                -0.07856163229,
            ],
            &[
                1.409580411,
                0.5382645675,
                0.5853670125,
                0.3344772688,
                0.2596669062,
                0.3818724934,
                0.2453856703,
                0.2453856703,
            ],
        ],
    );
    let probe = Probe::of(["attention"]);
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    picking(&golden(json!({}))).forward(input([[0.0; 4]; 4]), &scope, &ctx().with_probe(&probe));
    let w = [
        [1.0, 0.0, 0.0, 0.0],
        [0.4108084106, 0.5891915894, 0.0, 0.0],
        [0.5394925671, 0.3383018457, 0.1222055871, 0.0],
        [0.2041762057, 0.2907712178, 0.2596669062, 0.2453856703],
    ];
    assert_close("weights", &values(&probe.take()[0].rows), &w.concat(), 1e-9);
    check("a scale by hand", json!({ "scale": 0.5_f64.sqrt() }), &[o]);
    check("a learned scale where it starts", json!({ "learn_scale": true }), &[o]);
    check(
        "sigmoid",
        json!({ "normalizer": "sigmoid" }),
        &[&[0.5176703075, 0.0, 0.2464917859, 0.3193442949, 0.6557187956, 0.162260843, 0.4132432988, 0.1258762973]],
    );
}

#[test]
fn masks() {
    let attention = picking(&golden(json!({})));
    let x = input([[0.0; 4]; 4]);
    let hide = |key: usize| {
        let kept = (0..4).map(|t| t != key).collect::<Vec<bool>>();
        let kept = Tensor::from_data(TensorData::new(kept, [1, 4]), &device());
        // Only keys are hidden here: queries stand where they stood.
        Side { kept: Some(kept), ..Side::range(0, 4, &device()) }
    };
    let [o, ..] = run(&attention, &x, &Scope::of(super::super::Pattern::Full, hide(2)));
    let expected = [
        -0.1308253964,
        0.62818398,
        -0.03585994782,
        0.5609531266,
        0.04766072176,
        0.4256397542,
        -0.05566341015,
        0.5584838182,
    ];
    assert_close("key 2 hidden", &o, &expected, 2e-9);
    let [o, ..] = run(&attention, &x, &Scope::of(super::super::Pattern::Causal, hide(0)));
    let expected = [0.0, 0.0, 0.0, 1.0, 0.5307431689, 0.4692568311, 0.3442321581, 0.1932552756];
    assert_close("key 0 hidden", &o, &expected, 2e-9);
}

#[test]
fn norms_of_queries_and_keys() {
    // The published numbers of the mean-square norm have no 1e-6 inside the root.
    let config = golden(json!({ "qk_norm": "rms" }));
    let scope = Scope::whole(config.pattern_in(true).pattern(), 4, &device());
    let [o, ..] = run(&picking(&config), &input([[0.0; 4]; 4]), &scope);
    let expected = [1.0, 0.0, 0.223296069, 0.776703931, 0.8097317102, 0.1902682898, 0.4621597195, 0.2081156161];
    assert_close("rms", &o, &expected, 3e-6);
    check(
        "l2",
        json!({ "qk_norm": "l2", "scale": 4.0 }),
        &[&[1.0, 0.0, 0.02858648795, 0.971413512, 0.9606150524, 0.03938494761, 0.443360187, 0.3894700721]],
    );
}

#[test]
fn length_scaled_scores() {
    check(
        "logn",
        json!({ "logn": { "n_train": 4, "clamp": false } }),
        &[&[1.0, 0.0, 0.4550436803, 0.5449563197, 0.8086296922, 0.1913703078, 0.4781243478, 0.1537971467]],
    );
    check(
        "ssmax",
        json!({ "normalizer": { "name": "ssmax", "s": 0.43 } }),
        &[&[1.0, 0.0, 0.4731545144, 0.5268454856, 0.8667118256, 0.1332881744, 0.486701596, 0.1417308884]],
    );
}

#[test]
fn a_window() {
    check(
        "window",
        json!({ "pattern": { "name": "window", "width": 2 } }),
        &[&[1.0, 0.0, 0.4108084106, 0.5891915894, 0.5307431689, 0.4692568311, 0.5424150968, -0.2712075484]],
    );
}

#[test]
fn a_gate() {
    let config = golden(json!({ "gate": { "bias": false } }));
    let mut attention = picking(&config);
    let mut weight = vec![0.0; WIDTH * 2];
    (weight[6 * 2], weight[7 * 2 + 1]) = (1.0, 1.0);
    attention.gate.as_mut().unwrap().projection.weight = Param::from_tensor(tensor(weight, [WIDTH, 2]));
    let before = [[0.5, -1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [-0.7, 0.3, 0.0, 0.0]];
    let x = input(before);
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    let [o, _, _, dv] = run(&attention, &x, &scope);
    let expected =
        [0.6224593312, 0.0, 0.2054042053, 0.5189582303, 0.573079555, 0.1579790237, 0.158647505, 0.08834762003];
    assert_close("O", &o, &expected, 2e-9);
    let expected = [
        0.7929095955,
        0.3307687389,
        0.2437793429,
        0.1548707015,
        0.08616065466,
        0.238503154,
        0.08142196594,
        0.140959962,
    ];
    assert_close("dV", &dv, &expected, 2e-9);
    let y = attention.forward(x.clone(), &scope, &ctx()).narrow(2, 0, 2);
    let g = tensor(G.into_iter().flatten().collect(), [1, 4, 2]);
    let gradient = x.grad(&(y * g).sum().backward()).unwrap().narrow(2, 6, 2);
    let expected = [0.2350037122, 0.0, 0.05135105132, -0.03093066873, 0.0, 0.04248710317, 0.106006323, 0.03759699083];
    assert_close("gate", &values(&gradient), &expected, 2e-9);
}

#[test]
fn rotary_positions() {
    check(
        "rope",
        json!({ "position": "rope" }),
        &[
            &[1.0, 0.0, 0.4380960814, 0.5619039186, 0.427030076, 0.572969924, 0.6307505338, -0.01580324549],
            &[0.0, 0.0, -0.2417375702, -0.1672383079, 0.2959219117, -0.235395075, -0.1974939207, 0.09485978127],
            &[
                -0.2328477409,
                -0.08097534561,
                0.3073680461,
                -0.1682053236,
                -0.09404949683,
                0.1818955836,
                -0.04047606276,
                -0.08095212551,
            ],
        ],
    );
}

#[test]
fn distance_biases() {
    // One head has the slope 2^−8 by the formula; the published numbers are for 1/2, the first of eight.
    let config = golden(json!({ "n_heads": 8, "position": "alibi" }));
    let mut attention = build(&config, WIDTH);
    let pick = |first: usize| {
        let mut weight = vec![0.0; WIDTH * 16];
        for head in 0..8 {
            (weight[first * 16 + 2 * head], weight[(first + 1) * 16 + 2 * head + 1]) = (1.0, 1.0);
        }
        Param::from_tensor(tensor(weight, [WIDTH, 16]))
    };
    attention.query.weight = pick(0);
    attention.key.as_mut().unwrap().weight = pick(2);
    attention.value.weight = pick(4);
    let mut weight = vec![0.0; 16 * WIDTH];
    (weight[0], weight[WIDTH + 1]) = (1.0, 1.0);
    attention.output.weight = Param::from_tensor(tensor(weight, [16, WIDTH]));
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    let [o, ..] = run(&attention, &input([[0.0; 4]; 4]), &scope);
    let expected = [1.0, 0.0, 0.2972088949, 0.7027911051, 0.842193391, 0.157806609, 0.2073503277, 0.1299326226];
    assert_close("alibi", &o, &expected, 2e-9);
}

#[test]
fn windowed_sigmoid_with_slopes() {
    for (slopes, expected) in [
        (
            "negative",
            &[
                &[
                    0.5176703075,
                    0.0,
                    0.307351155,
                    0.4840954648,
                    0.8479714239,
                    0.3154116678,
                    0.3683632861,
                    0.02260950349,
                ][..],
                &[
                    0.07062236338,
                    -0.1059335451,
                    -0.1188629489,
                    -0.07622364596,
                    0.2159162896,
                    -0.2322884106,
                    -0.04526616475,
                    0.02656422102,
                ],
                &[
                    0.1136880679,
                    0.1018109512,
                    0.1959261775,
                    -0.09265347135,
                    -0.130417026,
                    0.2481596468,
                    -0.01765559084,
                    -0.03531118169,
                ],
                &[
                    0.671345885,
                    0.07685221678,
                    0.448838879,
                    0.5888768968,
                    0.4430167968,
                    0.7517386116,
                    0.5176703075,
                    0.5176703075,
                ],
            ][..],
        ),
        (
            "positive",
            &[&[0.5176703075, 0.0, 0.5467301643, 0.4840954648, 1.306276091, 0.5099136964, 0.8498354392, 0.2333587009]],
        ),
    ] {
        let mut config = read(json!({ "name": "swat", "n_heads": 1, "width": 3, "slopes": slopes }));
        (config.d_head, config.d_value) = (Some(2), Some(2));
        check(slopes, serde_json::to_value(&config).unwrap(), expected);
    }
}

#[test]
fn chosen_angles() {
    let config = golden(json!({ "position": { "name": "selective_rope", "rank": 1, "convolution": false } }));
    let mut attention = picking(&config);
    let crate::position::Position::SelectiveRope(rope) = &mut attention.position else { panic!("not selective") };
    // The increment is 10 times the last channel of the normalised input.
    let mut down = vec![0.0; WIDTH];
    down[WIDTH - 1] = 10.0;
    rope.down.weight = Param::from_tensor(tensor(down, [WIDTH, 1]));
    rope.up.weight = Param::from_tensor(tensor(vec![1.0], [1, 1]));
    let mut more = [[0.0; 4]; 4];
    for (t, omega) in [0.3, -1.1, 0.7, 2.0].into_iter().enumerate() {
        let rest: f64 = [Q[t], K[t], V[t]].iter().flatten().map(|v: &f64| v * v).sum();
        let share: f64 = omega / 10.0;
        more[t][3] = share * (rest / (1.0 - share * share)).sqrt();
    }
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    // Channel 9 also reaches the angles, so only O is the published one.
    let [o, ..] = run(&attention, &input(more), &scope);
    let expected = [1.0, 0.0, 0.4898564174, 0.5101435826, 0.589281312, 0.410718688, 0.5562022472, 0.01946102976];
    assert_close("selective rope", &o, &expected, 2e-7);
}

#[test]
fn gradients_through_chosen_angles() {
    let init = Init::new(0, &device(), DType::F64);
    let place = Place { length: 4, d_model: 4, n_heads: 1, d_head: 2, std: 1.0, init: &init };
    let config: PositionConfig =
        serde_json::from_value(json!({ "name": "selective_rope", "rank": 1, "convolution": false })).unwrap();
    let mut position = config.init(&place);
    let Position::SelectiveRope(rope) = &mut position else { panic!("not selective") };
    // Each token has a channel of its own, so that the first projection holds the increments.
    let leaf = |values: Vec<f64>, like: &Param<Tensor<2>>| {
        let shape = like.val().dims();
        like.clone().map(|_| tensor(values, shape).require_grad())
    };
    rope.down.weight = leaf(vec![0.3, -1.1, 0.7, 2.0], &rope.down.weight);
    rope.up.weight = leaf(vec![1.0], &rope.up.weight);
    let increments = rope.down.weight.val();
    let x = Tensor::<2>::eye(4, &device()).cast(DType::F64).unsqueeze_dim::<3>(0);
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    let (rotation, _) = position.rotation(&x, &scope, None);
    let around = Around { scope: &scope, rotation: rotation.as_ref(), position: &*position, x: &x };
    let part = |values: [[f64; 2]; 4]| tensor::<4>(values.concat(), [1, 1, 4, 2]).require_grad();
    let (q, k, v) = (part(Q), part(K), part(V));
    let core: CoreConfig = serde_json::from_value(json!("scores")).unwrap();
    let normalizer = Default::default();
    let core = core.init(&CoreInit {
        init: &init,
        d_model: 4,
        n_heads: 1,
        d_head: 2,
        d_value: 2,
        length: 4,
        normalizer: &normalizer,
        dropout: 0.0,
    });
    let heads = Heads { q: q.clone().mul_scalar(0.5_f64.sqrt()), k: k.clone(), v };
    let o = core.forward(heads, &around, &ctx());
    let expected = [1.0, 0.0, 0.4898564174, 0.5101435826, 0.589281312, 0.410718688, 0.5562022472, 0.01946102976];
    assert_close("O", &values(&o), &expected, 2e-9);
    let gradients = (o * tensor::<4>(G.concat(), [1, 1, 4, 2])).sum().backward();
    let dq = [0.0, 0.0, -0.06782553394, -0.03811057423, 0.1986890956, -0.1240328814, -0.2037743065, -0.008667728541];
    assert_close("dQ", &values(&q.grad(&gradients).unwrap()), &dq, 2e-9);
    let dk = [
        0.06575352992,
        0.2769925284,
        0.2939079615,
        -0.2695221187,
        -0.1000289814,
        0.1180637216,
        -0.04303389928,
        -0.08606779857,
    ];
    assert_close("dK", &values(&k.grad(&gradients).unwrap()), &dk, 2e-9);
    // A turn that all tokens share does nothing.
    let domega = [0.0, -0.1502491293, 0.1687039903, -0.006291621694];
    assert_close("dω", &values(&increments.grad(&gradients).unwrap()), &domega, 2e-9);
}

#[test]
fn softmax_as_a_quotient() {
    let softmax: &[f64] =
        &[1.0, 0.0, 0.4108084106, 0.5891915894, 0.7839037414, 0.2160962586, 0.4781243478, 0.1537971467];
    check("exponential", json!({ "core": "ratio" }), &[softmax]);
    check("ten terms", json!({ "core": { "name": "ratio", "numerator": "taylor", "order": 14 } }), &[softmax]);
    for (order, expected) in
        [(1, [0.4787472458, 0.1499311155]), (2, [0.4783184135, 0.1534011624]), (4, [0.4781250341, 0.1537958665])]
    {
        let config = golden(json!({ "core": { "name": "ratio", "numerator": "taylor", "order": order } }));
        let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
        let [o, ..] = run(&picking(&config), &input([[0.0; 4]; 4]), &scope);
        assert_close(&format!("order {order}"), &o[6..], &expected, 2e-9);
    }
    // How far a series of each order is from softmax, over all rows and to the digits that are published.
    for (order, error) in [(1, 0.114), (2, 0.0207), (3, 0.00565), (4, 0.000751), (6, 1.24e-5), (10, 7.07e-10)] {
        let config = golden(json!({ "core": { "name": "ratio", "numerator": "taylor", "order": order } }));
        let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
        let [o, ..] = run(&picking(&config), &input([[0.0; 4]; 4]), &scope);
        let [exact, ..] = run(&picking(&golden(json!({}))), &input([[0.0; 4]; 4]), &scope);
        let largest = o.iter().zip(&exact).map(|(o, exact)| (o - exact).abs()).fold(0.0, f64::max);
        assert!((largest / error - 1.0).abs() < 0.005, "order {order}: {largest}");
    }
    check(
        "l2",
        json!({ "core": { "name": "ratio", "denominator": "l2" } }),
        &[&[1.0, 0.0, 0.5719423242, 0.8202938362, 0.964040853, 0.265754085, 0.9519622276, 0.3062154752]],
    );
    // The published numbers have 1e-6 inside the root and no shift of the exponential, which moves them by as much.
    let config = golden(json!({ "core": { "name": "ratio", "denominator": { "name": "rms", "eps": 1e-6 } } }));
    let scope = Scope::whole(super::super::Pattern::Causal, 4, &device());
    let [o, ..] = run(&picking(&config), &input([[0.0; 4]; 4]), &scope);
    let expected = [1.414212335, 0.0, 0.8088461193, 1.160067122, 1.36335826, 0.3758326482, 1.346273429, 0.4330526422];
    assert_close("rms", &o, &expected, 3e-6);
}
