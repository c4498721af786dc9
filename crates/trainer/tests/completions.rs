//! Completions, asked for as the scripts do and driven through real shells.
#![cfg(unix)]

mod common;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use common::{fails, ok, run, tiny};

/// The candidates for the last of the words.
fn complete(folder: &Path, words: &[&str]) -> Vec<String> {
    let text = ok(folder, &[&["complete", "--"][..], words].concat());
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

fn has(found: &[String], wanted: &[&str]) {
    for word in wanted {
        assert!(found.iter().any(|found| found == word), "{word} is missing in {found:?}");
    }
}

#[test]
fn verbs_options_and_their_values() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(complete(folder.path(), &["tr"]), ["train"]);
    has(&complete(folder.path(), &[""]), &["train", "explain", "diff", "completions", "man"]);
    assert!(!complete(folder.path(), &[""]).contains(&"complete".to_owned()), "the hidden verb shows");
    assert_eq!(complete(folder.path(), &["train", "--res"]), ["--resume"]);
    assert_eq!(complete(folder.path(), &["runs", "pru"]), ["prune"]);
    assert_eq!(complete(folder.path(), &["completions", ""]), ["bash", "zsh", "fish"]);
    assert_eq!(complete(folder.path(), &["reproduce", "--rerun", ""]), ["stale"]);
    assert_eq!(complete(folder.path(), &["reproduce", "--scale=q"]), ["--scale=quick"]);
    assert_eq!(complete(folder.path(), &["reproduce", "grok"]), ["grokking"]);
    assert_eq!(complete(folder.path(), &["list", "norm"]), ["normalizers"]);
    assert_eq!(complete(folder.path(), &["list", "normalizers", "stablem"]), ["stablemax"]);
    assert_eq!(complete(folder.path(), &["apply", "entm"]), ["entmax"]);
    assert_eq!(complete(folder.path(), &["data", "fetch", "mnist", "kmn"]), ["kmnist"]);
    has(&complete(folder.path(), &["--device", ""]), &["flex", "cuda"]);
    // Options that were given are not offered again, unless they may be.
    let options = complete(folder.path(), &["train", "--again", "--set", "a=1", "--"]);
    assert!(!options.contains(&"--again".to_owned()), "{options:?}");
    has(&options, &["--set", "--quiet", "--threads"]);
    // Nonsense has no candidates and is no error.
    for words in [&["nonsense", ""][..], &["train", "--nonsense=x"], &["train", "x", "y", "z"], &[]] {
        let output = run(folder.path(), &[&["complete", "--"][..], words].concat());
        assert!(output.status.success(), "{words:?}");
    }
}

#[test]
fn configs_inside_the_binary_and_on_disk_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(complete(folder.path(), &["train", "conf"]), ["configs/"]);
    has(&complete(folder.path(), &["train", "configs/"]), &["configs/grokking/", "configs/heads/"]);
    assert_eq!(complete(folder.path(), &["train", "configs/grokking/stab"]), ["configs/grokking/stablemax.toml"]);
    tiny(folder.path(), "[train]\nsteps = 2\n");
    std::fs::create_dir(folder.path().join("tilts")).unwrap();
    std::fs::write(folder.path().join("tiny.md"), "").unwrap();
    assert_eq!(complete(folder.path(), &["train", "ti"]), ["tilts/", "tiny.toml"]);
    assert_eq!(complete(folder.path(), &["config", "--json", "./ti"]), ["./tilts/", "./tiny.toml"]);
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let name = common::only_run(&folder.path().join("runs")).file_name().unwrap().to_str().unwrap().to_owned();
    for words in [&["train", "--resume", ""][..], &["eval", "runs/"], &["report", "runs/ti"]] {
        assert_eq!(complete(folder.path(), words), [format!("runs/{name}")], "{words:?}");
    }
    assert_eq!(complete(folder.path(), &["runs", "prune", "tiny"]), [name.as_str()]);
    has(&complete(folder.path(), &["diff", "ti"]), &["tiny.toml"]);
    assert!(complete(folder.path(), &["train", "gone/"]).is_empty());
}

#[test]
fn keys_and_their_values_follow_the_config_on_the_line() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 2\n");
    let of_train = |word: &str| complete(folder.path(), &["train", "tiny.toml", "--set", word]);
    has(&of_train(""), &["optim.", "optim=", "run.", "train."]);
    assert!(!of_train("").contains(&"run=".to_owned()), "a section without a name has no value of its own");
    assert_eq!(of_train("optim.be"), ["optim.betas="]);
    assert_eq!(of_train("model.wid"), ["model.widths="]);
    // The config's network is an MLP; without one any network is meant.
    assert!(of_train("model.d_mo").is_empty());
    assert_eq!(complete(folder.path(), &["train", "--set", "model.d_mo"]), ["model.d_model="]);
    assert_eq!(of_train("loss.normalizer=stablem"), ["loss.normalizer=stablemax"]);
    has(&of_train("loss.dtype="), &["loss.dtype=f16", "loss.dtype=f32", "loss.dtype=f64"]);
    assert_eq!(of_train("model.bias="), ["model.bias=true", "model.bias=false"]);
    assert_eq!(of_train("eval.every="), ["eval.every=50"]);
    // An assignment before the cursor counts.
    let after = ["train", "tiny.toml", "--set", "loss.normalizer=entmax", "--set", "loss.normalizer.al"];
    assert_eq!(complete(folder.path(), &after), ["loss.normalizer.alpha="]);
    assert_eq!(complete(folder.path(), &["explain", "train.sto"]), ["train.stop", "train.stop."]);
    for nonsense in ["x.y.", "=", ".", "optim..", "optim.lr=["] {
        assert!(of_train(nonsense).is_empty(), "{nonsense}");
    }
}

#[test]
fn a_whole_line_is_split_as_a_shell_does() {
    let folder = tempfile::tempdir().unwrap();
    let line = |line: &str| ok(folder.path(), &["complete", "--line", line]);
    assert!(line("kiln tr").starts_with("train\t"));
    assert!(line("/some/where/kiln train 'configs/grokking/stab").starts_with("configs/grokking/stablemax.toml\t"));
    assert!(line("kiln train --set optim.lr").starts_with("optim.lr=\t"));
    assert_eq!(line(""), line("kiln "));
    assert!(fails(folder.path(), &["completions", "tcsh"], 2).contains("possible values: bash, zsh, fish"));
}

/// Runs a script in a shell, with this `kiln` first on the path; `None`, said on stderr, without such a shell.
fn shell(name: &str, arguments: &[&str], folder: &Path, script: &str) -> Option<String> {
    let bin = Path::new(env!("CARGO_BIN_EXE_kiln")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let file = folder.join("script");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new(name);
    command.args(arguments).arg(&file).current_dir(folder).env("PATH", path).env("HOME", folder).env("TERM", "xterm");
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{name}: {errors}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            // Only bash is on every machine that tests.
            let strict = name == "bash" && std::env::var_os("KILN_TEST_STRICT").is_some_and(|value| value == "1");
            assert!(!strict, "{name} cannot be run: {error}");
            eprintln!("skipped: {name} cannot be run: {error}");
            None
        }
    }
}

#[test]
fn bash_completes() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 2\n");
    std::fs::create_dir(folder.path().join("a b")).unwrap();
    // What bash sets before it calls the function; the words are cut at `=` and `:`.
    let script = r#"
source <(kiln completions bash)
ask() {
    COMP_LINE=$1 COMP_POINT=${#1}
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _kiln kiln "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[*]}"
}
complete -p kiln
ask 'kiln tr' kiln tr
ask 'kiln train configs/grokking/stab' kiln train configs/grokking/stab
ask 'kiln train tiny.toml --set optim.be' kiln train tiny.toml --set optim.be
ask 'kiln train tiny.toml --set loss.normalizer=stablem' kiln train tiny.toml --set loss.normalizer = stablem
ask 'kiln train tiny.toml --set model.bias=' kiln train tiny.toml --set model.bias =
ask 'kiln reproduce --scale=q' kiln reproduce --scale = q
ask 'kiln train a' kiln train a
ask 'kiln nonsense x' kiln nonsense x
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
ask 'kiln train tiny.toml --set model.bias=t' kiln train tiny.toml --set model.bias=t
"#;
    let Some(said) = shell("bash", &["--norc", "--noprofile"], folder.path(), script) else { return };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "complete -F _kiln kiln",
            "train",
            "configs/grokking/stablemax.toml",
            "optim.betas=",
            "stablemax",
            "true false",
            "quick",
            r"a\ b/",
            "",
            "model.bias=true",
        ]
    );
}

#[test]
fn zsh_completes() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 2\n");
    // A real interactive shell on a pseudo terminal: keys go in, the edited line comes out.
    let script = r#"
zmodload zsh/zpty || exit 0
zpty shell "PS1= zsh -f -i"
zpty -w shell 'unset zle_bracketed_paste; stty -echo; autoload -U compinit; compinit -u -d zcompdump'
zpty -w shell 'source <(kiln completions zsh); widen() { BUFFER="<$BUFFER>"; zle accept-line }'
zpty -w shell 'show() { print -r -- "[$BUFFER]"; BUFFER=; }; zle -N show; bindkey "^X" show; print ready'
wait_for() {
    local heard= part
    integer tries=0
    while (( tries++ < 400 )); do
        if zpty -rt shell part 2>/dev/null; then heard+=$part; else sleep 0.05; fi
        [[ $heard == *$~1* ]] && { REPLY=$heard; return 0 }
    done
    print -r -- "nothing like $1 in: ${(V)heard}"
    exit 0
}
wait_for 'ready'
ask() {
    zpty -n -w shell "$1"$'\t'
    sleep 0.1
    zpty -n -w shell $'\x18'
    wait_for '\[kiln[^]]#\]'
    print -r -- "${${REPLY##*\[}%%\]*}"
}
setopt extendedglob
ask 'kiln tra'
ask 'kiln train configs/grokking/stab'
ask 'kiln train tiny.toml --set optim.be'
ask 'kiln train tiny.toml --set loss.normalizer=stablem'
ask 'kiln train tiny.toml --set model.bias=t'
ask 'kiln train --res'
zpty -d shell
"#;
    let Some(said) = shell("zsh", &["-f"], folder.path(), script) else { return };
    if said.is_empty() {
        return eprintln!("skipped: this zsh has no pseudo terminals");
    }
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "kiln train ",
            "kiln train configs/grokking/stablemax.toml ",
            "kiln train tiny.toml --set optim.betas=",
            "kiln train tiny.toml --set loss.normalizer=stablemax ",
            "kiln train tiny.toml --set model.bias=true ",
            "kiln train --resume ",
        ]
    );
}

#[test]
fn fish_completes() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 2\n");
    let script = r#"
kiln completions fish | source
complete -C 'kiln tr'
complete -C 'kiln train configs/grokking/stab'
complete -C 'kiln train tiny.toml --set optim.be'
complete -C 'kiln train tiny.toml --set loss.normalizer=stablem'
complete -C 'kiln train tiny.toml --set model.bias='
"#;
    let Some(said) = shell("fish", &["--no-config"], folder.path(), script) else { return };
    let lines: Vec<&str> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let expected = [
        "train",
        "configs/grokking/stablemax.toml",
        "optim.betas=",
        "loss.normalizer=stablemax",
        "model.bias=false",
        "model.bias=true",
    ];
    assert_eq!(lines, expected);
    assert!(said.starts_with("train\tTrain the experiment of a config file"), "{said}");
}
