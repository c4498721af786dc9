//! Which variants a file means.
use kiln_config::Document;
use kiln_sweeps::{Sweep, Variant};
use proptest::prelude::*;

const HEAD: &str = "title = \"t\"\nbase = \"b.toml\"\nseeds = [2, 3]\n";

fn sweep(rest: &str) -> Sweep {
    let sweep: Sweep = Document::parse("sweep.toml", &format!("{HEAD}{rest}")).unwrap().deserialize().unwrap();
    sweep.check().unwrap();
    sweep
}

fn variants(rest: &str) -> Vec<Variant> {
    sweep(rest).variants().unwrap()
}

/// Name, then every setting as `key=value@place`.
fn lines(variants: &[Variant]) -> Vec<String> {
    let line = |variant: &Variant| {
        let settings = variant.settings.iter().map(|s| format!(" {}={}@{}", s.key, s.value, s.place));
        format!("{}:{}", variant.name, settings.collect::<String>())
    };
    variants.iter().map(line).collect()
}

#[test]
fn a_grid_is_every_combination_and_the_last_key_changes_fastest() {
    let found = variants(
        "set = { \"train.steps\" = 5 }\n[grid]\n\"optim.lr\" = [1e-3, 1e-2]\nmodel.normalizer = [\"softmax\", { name = \"entmax\", alpha = 1.2 }]\n",
    );
    let steps = "train.steps=5@set.\"train.steps\"";
    let entmax = "model.normalizer={\"name\":\"entmax\",\"alpha\":1.2}@grid.model.normalizer[1]";
    assert_eq!(
        lines(&found),
        [
            format!(
                "lr=0.001,normalizer=softmax: {steps} optim.lr=0.001@grid.\"optim.lr\"[0] model.normalizer=\"softmax\"@grid.model.normalizer[0]"
            ),
            format!("lr=0.001,normalizer=entmax(alpha=1.2): {steps} optim.lr=0.001@grid.\"optim.lr\"[0] {entmax}"),
            format!(
                "lr=0.01,normalizer=softmax: {steps} optim.lr=0.01@grid.\"optim.lr\"[1] model.normalizer=\"softmax\"@grid.model.normalizer[0]"
            ),
            format!("lr=0.01,normalizer=entmax(alpha=1.2): {steps} optim.lr=0.01@grid.\"optim.lr\"[1] {entmax}"),
        ]
    );
    assert_eq!(
        found[1].own().map(|(key, text)| format!("{key}={text}")).collect::<Vec<_>>(),
        ["optim.lr=0.001", "model.normalizer=entmax(alpha=1.2)"]
    );
}

#[test]
fn quoted_and_open_keys_are_the_same_setting() {
    let settings = |text: &str| -> Vec<_> {
        variants(text).into_iter().flat_map(|v| v.settings).map(|s| (s.key, s.value)).collect()
    };
    assert_eq!(settings("[grid]\n\"optim.lr\" = [1, 2]\n"), settings("[grid.optim]\nlr = [1, 2]\n"));
    let (quoted, open) = ("\"a.b\" = { integer = [1, 99] }", "a.b = { integer = [1, 99] }");
    assert_eq!(
        settings(&format!("[random]\nsamples = 3\n{quoted}\n")),
        settings(&format!("[random]\nsamples = 3\n{open}\n"))
    );
}

#[test]
fn one_key_of_names_gives_their_names_and_labels_replace_them() {
    let found = variants(
        "baseline = \"softmax\"\n[labels]\n\"entmax(alpha=1.2)\" = \"Entmax\"\n[grid]\n\"model.normalizer\" = [\"softmax\", { name = \"entmax\", alpha = 1.2 }]\n",
    );
    let names: Vec<_> = found.iter().map(|v| (v.name.as_str(), v.label.as_str())).collect();
    assert_eq!(names, [("softmax", "softmax"), ("entmax(alpha=1.2)", "Entmax")]);
}

#[test]
fn a_list_keeps_its_order_its_names_and_its_needs() {
    let found = variants(
        "set = { \"optim.lr\" = 0.1 }\n[[runs]]\nname = \"wide\"\n[[runs]]\nname = \"small\"\nneeds = [\"wide\"]\nset = { \"optim.lr\" = 0.2, model = { width = 4 } }\n",
    );
    assert_eq!(
        lines(&found),
        [
            "wide: optim.lr=0.1@set.\"optim.lr\"",
            "small: optim.lr=0.1@set.\"optim.lr\" optim.lr=0.2@runs[1].set.\"optim.lr\" model={\"width\":4}@runs[1].set.model",
        ]
    );
    assert_eq!((found[0].needs.len(), found[1].needs.as_slice()), (0, ["wide".to_owned()].as_slice()));
}

const RANDOM: &str = "a.u = { uniform = [-1, 1] }\n\"a.l\" = { log_uniform = [1e-5, 1e-1] }\n\"a.i\" = { integer = [-3, 3] }\n\"a.c\" = { choice = [\"x\", true, 7] }\n";

#[test]
fn random_draws_are_pinned() {
    // A change of these changes every recorded random sweep.
    let found = variants(&format!("[random]\nsamples = 3\nseed = 5\n{RANDOM}"));
    let values: Vec<String> =
        found.iter().map(|v| v.settings.iter().map(|s| format!("{} ", s.value)).collect::<String>()).collect();
    assert_eq!(values, PINNED);
    assert_eq!(found.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["r1", "r2", "r3"]);
}
const PINNED: [&str; 3] =
    ["-0.788205 0.000865187 -1 \"x\" ", "-0.467084 0.00186288 1 7 ", "-0.398364 0.0000142104 1 true "];

#[test]
fn a_draw_depends_on_its_seed_its_key_and_its_number_alone() {
    let of = |rest: &str| variants(&format!("[random]\n{rest}"));
    let few = of(&format!("samples = 3\n{RANDOM}"));
    let many = of(&format!("samples = 9\n{RANDOM}"));
    assert_eq!(few, many[..3]);
    let more_keys = of(&format!("samples = 3\n\"b.z\" = {{ uniform = [0, 1] }}\n{RANDOM}"));
    for (a, b) in few.iter().zip(&more_keys) {
        assert_eq!(a.settings, b.settings[1..]);
    }
    assert_ne!(few, of(&format!("samples = 3\nseed = 1\n{RANDOM}")));
    // Six coins have two sides: two different draws, then nothing new.
    let coin = "a.c = { choice = [0, 1] }\n";
    assert_eq!(of(&format!("samples = 2\n{coin}")).len(), 2);
}

proptest! {
    #[test]
    fn draws_stay_inside_their_bounds(seed in 0u64..1_000_000, low in -1e6f64..1e6, width in 1e-3f64..1e6, small in 1e-9f64..1.0) {
        let (high, large) = (low + width, small * 10.0);
        let text = format!(
            "[random]\nsamples = 20\nseed = {seed}\nu = {{ uniform = [{low:?}, {high:?}] }}\nl = {{ log_uniform = [{small:?}, {large:?}] }}\ni = {{ integer = [-2, 5] }}\nj = {{ integer = [{}, {}] }}\n",
            i64::MIN, i64::MAX
        );
        for variant in variants(&text) {
            let [u, l, i, _] = &variant.settings[..] else { panic!("four keys") };
            let number = |s: &kiln_sweeps::Setting| s.value.as_f64().unwrap();
            prop_assert!((low..=high).contains(&number(u)) && (small..=large).contains(&number(l)));
            prop_assert!((-2..=5).contains(&i.value.as_i64().unwrap()));
        }
    }
}

#[test]
fn log_uniform_is_uniform_in_the_logarithm() {
    let text = "[random]\nsamples = 1000\nl = { log_uniform = [1e-4, 1] }\n";
    let logs: Vec<f64> = variants(text).iter().map(|v| v.settings[0].value.as_f64().unwrap().log10()).collect();
    // Uniform on [−4, 0]: mean −2, standard deviation 4/√12; five standard errors.
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    assert!((mean + 2.0).abs() < 5.0 * (4.0 / 12f64.sqrt()) / (logs.len() as f64).sqrt(), "{mean}");
}
