//! What is said of a file that cannot be meant.
use kiln_config::Document;
use kiln_sweeps::Sweep;

/// The headline for this text.
fn refusal(text: &str) -> String {
    let document = match Document::parse("s.toml", text) {
        Ok(document) => document,
        Err(error) => return error.headline(),
    };
    match document.deserialize::<Sweep>() {
        Err(error) => error.headline(),
        Ok(sweep) => {
            let invalid = sweep.check().expect_err(text);
            document.error_at(&invalid.key, &invalid.message, None).headline()
        }
    }
}

const HEAD: &str = "title = \"t\"\nbase = \"b.toml\"\nseeds = [2, 3]\n";
const GRID: &str = "[grid]\n\"optim.lr\" = [1, 2]\n";

#[test]
fn each_slip_is_named_with_its_place() {
    for (rest, start, parts) in [
        ("[gird]\n", "s.toml:4:2: unknown key \"gird\" at the top level", vec!["did you mean \"grid\"?"]),
        ("", "s.toml: ", vec!["give one of [grid], [random] and [[runs]]"]),
        (&format!("{GRID}[[runs]]\nname = \"a\"\n"), "s.toml:6:1: runs: ", vec!["grid or runs, not both"]),
        ("[grid]\n", "s.toml:4:1: grid: ", vec!["expected a key to vary"]),
        (
            "[grid]\n\"optim.lr\" = 3\n",
            "s.toml:5:14: grid.\"optim.lr\": ",
            vec!["expected a list of values", "found 3"],
        ),
        ("[grid]\n\"optim.lr\" = []\n", "s.toml:5:14: grid.\"optim.lr\": ", vec!["one value or more"]),
        ("[grid]\n\"optim.lr\" = [1, 2, 1]\n", "s.toml:5:14: ", vec!["1 stands twice"]),
        ("[grid]\n\"run.seed\" = [1, 2]\n", "s.toml:5:14: ", vec!["run.seed is set by the sweep itself", "`seeds`"]),
        ("[grid]\n\"optim..lr\" = [1]\n", "s.toml:5:", vec!["\"optim..lr\" is no key"]),
        ("[grid]\n\"a.b\" = [1]\n\"a.b.c\" = [1]\n", "s.toml:6:11: ", vec!["a.b.c and a.b set the same part"]),
        ("[grid]\na = [1, \"1\"]\n", "s.toml:4:1: grid: ", vec!["two variants would be called \"a=1\""]),
        ("[random]\n\"optim.lr\" = { uniform = [0, 1] }\n", "s.toml:4:1: missing key \"samples\" in [random]", vec![]),
        ("[random]\nsamples = 2\n", "s.toml:4:1: random: ", vec!["expected a key to vary"]),
        (
            "[random]\nsamples = 0\na = { uniform = [0, 1] }\n",
            "s.toml:5:11: random.samples: ",
            vec!["0 is out of range"],
        ),
        ("[random]\nsamples = -1\n", "s.toml:5:11: random.samples: ", vec!["a whole number", "-1"]),
        ("[random]\nsampels = 2\n", "s.toml:5:11: random.sampels: ", vec!["did you mean \"samples\"?"]),
        (
            "[random]\nsamples = 2\na = { unifrom = [0, 1] }\n",
            "s.toml:6:17: random.a.unifrom: ",
            vec!["did you mean \"uniform\"?"],
        ),
        (
            "[random]\nsamples = 2\na = { uniform = [1, 0] }\n",
            "s.toml:6:17: random.a.uniform: ",
            vec!["1 is not below 0"],
        ),
        ("[random]\nsamples = 2\na = { log_uniform = [0, 1] }\n", "s.toml:6:21: ", vec!["0 has no logarithm"]),
        ("[random]\nsamples = 2\na = { integer = [0.5, 1] }\n", "s.toml:6:17: ", vec!["two whole numbers"]),
        ("[random]\nsamples = 2\na = { choice = [] }\n", "s.toml:6:16: ", vec!["one value or more"]),
        ("[random]\nsamples = 2\na = { choice = [1], uniform = [0, 1] }\n", "s.toml:6:5: ", vec!["found both"]),
        (
            "[random]\nsamples = 9\na = { integer = [0, 3] }\n",
            "s.toml:5:11: ",
            vec!["only 4 different draws", "[grid]"],
        ),
        ("[[runs]]\nname = \"a\"\n[[runs]]\nname = \"a\"\n", "s.toml:7:8: ", vec!["two runs are called \"a\""]),
        ("[[runs]]\nname = \"a b\"\n", "s.toml:5:8: ", vec!["\"a b\" is no name"]),
        (
            "[[runs]]\nname = \"a\"\nsett = {}\n",
            "s.toml:6:1: unknown key \"sett\" in [runs[0]]",
            vec!["did you mean \"set\"?"],
        ),
        (
            "[[runs]]\nname = \"wide\"\n[[runs]]\nname = \"b\"\nneeds = [\"wdie\"]\n",
            "s.toml:8:10: ",
            vec!["did you mean \"wide\"?"],
        ),
        (
            "[[runs]]\nname = \"a\"\nneeds = [\"b\"]\n[[runs]]\nname = \"b\"\nneeds = [\"a\"]\n",
            "s.toml:6:9: ",
            vec!["need each other", "a, b"],
        ),
        (
            &format!("baseline = \"lr=01\"\n{GRID}"),
            "s.toml:4:12: baseline: ",
            vec!["unknown variant", "did you mean \"lr=1\"?"],
        ),
        (&format!("labels = {{ x = \"X\" }}\n{GRID}"), "s.toml:4:16: labels.x: ", vec!["known: lr=1, lr=2"]),
        (
            &format!("set = {{ \"run.dir\" = \"x\" }}\n{GRID}"),
            "s.toml:4:21: ",
            vec!["run.dir is set by the sweep itself"],
        ),
        (&format!("set.run.threads = 3\n{GRID}"), "s.toml:4:5: ", vec!["run.threads is set by the sweep itself"]),
        (&format!("threads = 0\n{GRID}"), "s.toml:4:11: threads: ", vec!["0 threads cannot work"]),
        (&format!("metrics = [\"a\", \"a\"]\n{GRID}"), "s.toml:4:11: ", vec!["each metric once"]),
    ] {
        let message = refusal(&format!("{HEAD}{rest}"));
        assert!(message.starts_with(start), "{rest}\n{message}\nexpected at {start}");
        for part in parts {
            assert!(message.contains(part), "{rest}\n{message}\nlacks {part}");
        }
    }
    let grid = |head: &str| refusal(&format!("{head}{GRID}"));
    assert!(grid("title = \"t\"\nbase = \"b\"\nseeds = []\n").starts_with("s.toml:3:9: seeds: expected one seed"));
    assert!(grid("title = \"t\"\nbase = \"b\"\nseeds = [1, 1]\n").contains("each once"));
    assert!(grid("title = \"t\"\nseeds = [1]\n").contains("missing key \"base\""));
    assert!(grid("title = \"t\"\nbase = \"\"\nseeds = [1]\n").contains("the path of a config"));
    assert!(grid("title = \"t\nbase = \"b\"\n").contains("not valid TOML"));
}
