"""Times one training step of the grokking MLP in PyTorch and in Kiln, alternating in one run.

    ./grokking_step.sh              # builds Kiln, then runs this file; see README.md

The step is the same everywhere: forward, loss, backward, (perpGrad,) AdamW on the full batch of the paper's setting:
add mod 113, 40 % split = 5107 rows, 226-200-200-113, ReLU, no biases, f32 model.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import torch

from contest import time_steps
from machine import ROOT, busy, cpu, output
from torch_pieces import mlp_dense, mlp_gather, one_hot_pairs, perp_grad, softmax_loss, stablemax_loss_ratio

CONFIG = "configs/grokking/paper_mlp.toml"
RESULT = pathlib.Path(__file__).parent / "results/grokking_step.md"

P = 113
TRAIN = math.floor(0.4 * P * P)
SHAPES = [(2 * P, 200), (200, 200), (200, P)]
ADAMW = {"lr": 5e-3, "betas": (0.9, 0.99), "eps": 1e-25, "weight_decay": 0.0}

# What is timed: the loss, whether perpGrad runs, and the same choice in Kiln's words.
VARIANTS = {
    "softmax, loss f32": {
        "loss": softmax_loss,
        "perp_grad": False,
        "kiln": {"loss.normalizer": '"softmax"', "loss.dtype": '"f32"', "optim.transforms": "[]"},
    },
    "StableMax, loss f64": {
        "loss": stablemax_loss_ratio,
        "perp_grad": False,
        "kiln": {"loss.normalizer": '"stablemax"', "loss.dtype": '"f64"', "optim.transforms": "[]"},
    },
    "softmax + perpGrad": {
        "loss": softmax_loss,
        "perp_grad": True,
        "kiln": {"loss.normalizer": '"softmax"', "loss.dtype": '"f32"', "optim.transforms": '[{ name = "perp_grad" }]'},
    },
}

# How PyTorch runs it: dense one-hot input or row gather, eager or compiled, plain or fused AdamW.
ENGINES = {
    "eager": {"gather": False, "compile": False, "fused": False},
    "compile": {"gather": False, "compile": True, "fused": False},
    "compile, fused AdamW": {"gather": False, "compile": True, "fused": True},
    "gather, eager, fused AdamW": {"gather": True, "compile": False, "fused": True},
    "gather, compile, fused AdamW": {"gather": True, "compile": True, "fused": True},
}
KILN = "Kiln"


def torch_step(variant, engine):
    """A function that does one training step with a model of its own."""
    torch.manual_seed(0)
    pairs = torch.randperm(P * P)[:TRAIN]
    a, b = pairs // P, pairs % P
    y = (a + b) % P
    weights = [((2 * torch.rand(n, m) - 1) / math.sqrt(n)).requires_grad_() for n, m in SHAPES]
    optimizer = torch.optim.AdamW(weights, fused=engine["fused"], **ADAMW)
    x = one_hot_pairs(a, b, P, torch.float32)

    def loss_of(weights):
        z = mlp_gather(weights, a, b, P) if engine["gather"] else mlp_dense(weights, x)
        return variant["loss"](z, y)

    def project(weights, grads):
        return [perp_grad(w, g) for w, g in zip(weights, grads)]

    if engine["compile"]:
        loss_of, project = torch.compile(loss_of), torch.compile(project)

    def step():
        optimizer.zero_grad()
        loss_of(weights).backward()
        if variant["perp_grad"]:
            with torch.no_grad():
                for w, g in zip(weights, project(weights, [w.grad for w in weights])):
                    w.grad = g
        optimizer.step()

    return step


def kiln_steps(binary, variant, steps, threads):
    """Kiln's report on the same variant: ``{"median_ms", "min_ms", "phases"}``."""
    command = [binary, "bench", "step", CONFIG, "--steps", str(steps), "--threads", str(threads), "--json"]
    for key, value in variant["kiln"].items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)


class Kiln:
    """The other contestant; absent as soon as it cannot be run, with the reason kept for the report."""

    def __init__(self, binary, threads):
        self.binary, self.threads, self.problem = str(binary), threads, None
        if not pathlib.Path(binary).is_file():
            self.problem = "the kiln binary was not found; build it or pass --kiln PATH"

    def measure(self, variant, steps):
        """The median of this round, or ``None``."""
        if self.problem is not None:
            return None
        try:
            return kiln_steps(self.binary, variant, steps, self.threads)["median_ms"]
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            self.problem = f"`kiln bench step` failed: {error}"
            return None

    def version(self):
        """What the binary calls itself."""
        return output([self.binary, "--version"]) if self.problem is None else "not measured"


def contest(name, variant, kiln, options):
    """All contestants on one variant: ``{contestant: [median per round]}``."""
    steps = {engine: torch_step(variant, spec) for engine, spec in ENGINES.items()}
    for engine, step in steps.items():
        print(f"{name}: warming up {engine}", file=sys.stderr)
        time_steps(step, options.warm_up)
    rounds = {contestant: [] for contestant in [*steps, KILN]}
    for number in range(options.rounds):
        order = [*steps, KILN]
        shift = number % len(order)  # nobody always runs right after the same neighbour
        for contestant in order[shift:] + order[:shift]:
            time.sleep(options.pause)  # idle threads of the previous contestant stop spinning
            if contestant == KILN:
                median = kiln.measure(variant, options.steps)
            else:
                time_steps(steps[contestant], options.round_warm_up)
                median = statistics.median(time_steps(steps[contestant], options.steps))
            if median is not None:
                rounds[contestant].append(median)
        print(f"{name}: round {number + 1} of {options.rounds}", file=sys.stderr)
    return {contestant: medians for contestant, medians in rounds.items() if medians}


def table(results):
    """The medians and ratios as a Markdown table."""
    lines = ["| step | " + " | ".join([*ENGINES, KILN]) + " | Kiln / eager | Kiln / compile | Kiln / best PyTorch |"]
    lines.append("|---|" + "---:|" * (len(ENGINES) + 4))
    for name, rounds in results.items():
        middle = {contestant: statistics.median(medians) for contestant, medians in rounds.items()}
        cells = [f"{middle[c]:.1f}" if c in middle else "–" for c in [*ENGINES, KILN]]
        best = min(middle[c] for c in ENGINES)
        for peer in (middle["eager"], middle["compile"], best):
            cells.append(f"{middle[KILN] / peer:.2f}" if KILN in middle else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rounds_list(results):
    """Every round's median, so that a reader sees the noise."""
    lines = []
    for name, rounds in results.items():
        for contestant, medians in rounds.items():
            lines.append(f"- {name}, {contestant}: " + ", ".join(f"{m:.2f}" for m in medians))
    return "\n".join(lines)


def report(results, kiln, load, options):
    """The whole result page."""
    note = f"\nKiln is missing from this table: {kiln.problem}\n" if kiln.problem else ""
    return f"""# One training step of the grokking MLP

Add mod 113, {TRAIN} rows, 226-200-200-113 without biases, f32, AdamW, full batch. Milliseconds per step: the median of
{options.rounds} rounds, each the median of {options.steps} steps, all contestants alternating in one run. Made by
`benches/peers/grokking_step.sh`.
{busy(load)}{note}
{table(results)}

- Date: {datetime.date.today().isoformat()}
- Processor: {cpu()}; {os.cpu_count()} cores, {options.threads} threads used; load before the start {load:.2f}
- System: {platform.system()} {platform.release()}, {platform.machine()}
- PyTorch {torch.__version__}, Python {platform.python_version()}, {output(["g++", "--version"])}
- Kiln: {kiln.version()}; {output(["rustc", "--version"])}

Medians of each round, ms:

{rounds_list(results)}
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=40, help="timed steps per round and contestant")
    parser.add_argument("--warm-up", type=int, default=15, help="untimed steps before the first round")
    parser.add_argument("--round-warm-up", type=int, default=3, help="untimed steps before each round")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between contestants")
    parser.add_argument("--kiln", default=ROOT / "target/release/kiln", help="the kiln binary")
    parser.add_argument("--print-only", action="store_true", help="leave the committed result page alone")
    return parser.parse_args()


def main():
    options = parse()
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    kiln = Kiln(options.kiln, options.threads)
    results = {name: contest(name, variant, kiln, options) for name, variant in VARIANTS.items()}
    page = report(results, kiln, load, options)
    print(page)
    if not options.print_only:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(page)


if __name__ == "__main__":
    main()
