"""Times the maps and pointwise functions of Kiln beside PyTorch (eager and compiled), JAX and the entmax package, alternating
in one run.

    ./activations.sh              # builds Kiln, then runs this file; see README.md

Every one at the same scores, f32, [8192, 1024] unless told otherwise: the forward pass alone, and forward and backward with
the gradient that arrives made before.
"""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import sys
import time

import torch

from machine import ROOT, Kiln, busy, cpu, output
from torch_maps import MAPS, POINTWISE, RANDOM, entmax_package

RESULT = pathlib.Path(__file__).parent / "results/activations.md"
PASSES = ["forward", "forward_backward"]
PEERS = ["eager", "compile", "jax", "entmax bisect"]


def torch_passes(function, x, g):
    """The two passes of a PyTorch function as calls without arguments."""

    def forward():
        with torch.no_grad():
            return function(x)

    leaf = x.clone().requires_grad_()

    def forward_backward():
        (gradient,) = torch.autograd.grad(function(leaf), leaf, g)
        return gradient

    return {"forward": forward, "forward_backward": forward_backward}


def jax_functions():
    """What ``jax.nn`` has of the list, by Kiln's names; empty without JAX."""
    try:
        import jax
    except ImportError:
        return {}
    nn = jax.nn
    return {
        "softmax": nn.softmax,
        "pointwise(gelu)": lambda x: nn.gelu(x, approximate=False),
        "pointwise(silu)": nn.silu,
        "pointwise(mish)": nn.mish,
        "pointwise(softplus)": nn.softplus,
        "pointwise(relu)": nn.relu,
        "pointwise(leaky_relu)": nn.leaky_relu,
        "pointwise(exp)": jax.numpy.exp,
        "pointwise(tanh)": jax.numpy.tanh,
        "pointwise(sigmoid)": nn.sigmoid,
    }


def jax_passes(function, x, g):
    """The two passes of a JAX function, compiled, waiting for their end."""
    import jax

    x, g = jax.numpy.asarray(x.numpy()), jax.numpy.asarray(g.numpy())
    forward = jax.jit(function)
    backward = jax.jit(lambda x, g: jax.vjp(function, x)[1](g)[0])
    return {
        "forward": lambda: forward(x).block_until_ready(),
        "forward_backward": lambda: backward(x, g).block_until_ready(),
    }


def contestants(name, x, g):
    """Every peer of one entry: ``{peer: {pass: call}}``."""
    function = POINTWISE[name[10:-1]] if name.startswith("pointwise(") else MAPS.get(name)
    peers = {}
    if function is not None:
        peers["eager"] = torch_passes(function, x, g)
        peers["compile"] = torch_passes(torch.compile(function, dynamic=False), x, g)
    if name == "entmax" and (bisect := entmax_package("entmax_bisect")) is not None:
        peers["entmax bisect"] = torch_passes(bisect, x, g)
    if name in jax_functions():
        peers["jax"] = jax_passes(jax_functions()[name], x, g)
    return peers


def time_call(call, seconds):
    """Milliseconds of one call, over as many as fill ``seconds``."""
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < seconds:
        call()
        calls += 1
    return 1e3 * (time.perf_counter() - start) / calls


class Throughput(Kiln):
    """Kiln at the sizes of the options."""

    def __init__(self, binary, options):
        super().__init__(binary, "activations.py")
        self.options = options

    def bench(self, patterns, repeats):
        """Kiln's report on what the patterns choose."""
        size = f"{self.options.rows}x{self.options.n}"
        arguments = ["--sizes", size, "--threads", self.options.threads, "--repeats", repeats, "--json"]
        return self.run("bench", "activations", *patterns, *arguments)["sizes"][0]


def same_numbers(kiln, names):
    """Stops if a map of the list is not the one that Kiln has by that name: then the times would mean nothing."""
    scores = [1.25, 2.0, -1.0, 0.5, -0.25, 0.75, 1.5, -2.0, 0.125, -0.75, 0.25, -1.5]
    x = torch.tensor([scores], dtype=torch.float64)
    for name in names:
        if name.startswith("pointwise(") or name in RANDOM or MAPS.get(name) is None or name == "adaptive_temperature":
            continue
        text = [",".join(map(str, scores))]
        row = kiln.run("apply", name, "--json", "--", *text)[0]
        ours = torch.tensor([row["weights"]], dtype=torch.float64)
        if not torch.allclose(MAPS[name](x), ours, rtol=1e-4, atol=1e-6):
            sys.exit(f"activations.py: {name} is another map here:\n{MAPS[name](x)}\nKiln: {ours}")


def contest(name, kiln, x, g, options):
    """All contestants on one entry: ``{(contestant, pass): [ms per round]}``."""
    peers = contestants(name, x, g)
    for calls in peers.values():
        for call in calls.values():
            for _ in range(2):
                call()
    times = {}
    for number in range(options.rounds):
        order = [*peers, "Kiln"]
        shift = number % len(order)  # nobody always runs right after the same neighbour
        for contestant in order[shift:] + order[:shift]:
            time.sleep(options.pause)  # idle threads of the previous contestant stop spinning
            if contestant == "Kiln":
                entry = kiln.bench([name], options.repeats)["entries"][0]
                measured = {p: entry[p]["median_ms"] for p in PASSES if entry[p] is not None}
            else:
                calls = peers[contestant]
                measured = {p: statistics.median(time_call(calls[p], 5e-3) for _ in range(options.repeats)) for p in PASSES}
            for p, ms in measured.items():
                times.setdefault((contestant, p), []).append(ms)
    torch._dynamo.reset()
    return times


def version(package):
    """The version of an installed package, or ``not installed``."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def middle(times, contestant, p):
    values = times.get((contestant, p))
    return statistics.median(values) if values else None


def table(results, p):
    """Kiln's milliseconds and the ratio Kiln / peer for one pass, as Markdown."""
    lines = ["| | Kiln ms | " + " | ".join(f"/ {peer}" for peer in PEERS) + " |", "|---|" + "---:|" * (len(PEERS) + 1)]
    for name, times in results.items():
        ours = middle(times, "Kiln", p)
        cells = [f"{ours:.2f}" if ours else "–"]
        for peer in PEERS:
            theirs = middle(times, peer, p)
            cells.append(f"{ours / theirs:.2f}" if ours and theirs else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(results):
    """How often Kiln is no slower than the compiled form, and by how much at worst."""
    lines = []
    for p in PASSES:
        pairs = {name: (middle(t, "Kiln", p), middle(t, "compile", p)) for name, t in results.items()}
        ratios = {name: ours / theirs for name, (ours, theirs) in pairs.items() if ours and theirs}
        if ratios:
            level = sum(ratio <= 1 for ratio in ratios.values())
            worst = max(ratios, key=ratios.get)
            lines.append(
                f"- {p.replace('_', ' + ')}: no slower than `torch.compile` for {level} of {len(ratios)}; "
                f"the slowest ratio is {ratios[worst]:.2f} ({worst})"
            )
    return "\n".join(lines)


def report(results, copy, load, options):
    """The whole result page."""
    rounds = "\n".join(
        f"- {name}, {contestant}, {p}: " + ", ".join(f"{ms:.2f}" for ms in values)
        for name, times in results.items()
        for (contestant, p), values in times.items()
    )
    return f"""# Maps and pointwise functions

Scores [{options.rows}, {options.n}], f32. Kiln's milliseconds and the ratio of Kiln's time to each peer's (below 1: Kiln is
faster); each the median of {options.rounds} rounds of {options.repeats} timings, all contestants alternating in one run. A copy
of as many bytes: {copy["median_ms"]:.2f} ms, {copy["gb_s"]:.1f} GB/s. A dash: the peer has no such function. `eager` and
`compile` are the entmax package for sparsemax and entmax. Made by `benches/peers/activations.sh`.
{busy(load)}
{summary(results)}

## Forward and backward

{table(results, "forward_backward")}

## Forward

{table(results, "forward")}

- Date: {datetime.date.today().isoformat()}
- Processor: {cpu()}; {os.cpu_count()} cores, {options.threads} threads used; load before the start {load:.2f}
- System: {platform.system()} {platform.release()}, {platform.machine()}
- PyTorch {torch.__version__}, JAX {version("jax")}, entmax {version("entmax")}, Python {platform.python_version()}, {output(["g++", "--version"])}
- Kiln: {output([options.kiln, "--version"])}, commit {output(["git", "rev-parse", "--short", "HEAD"])}; {output(["rustc", "--version"])}

## Every round, ms

{rounds}
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="entries to time; all if left out")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=7, help="timings per round and contestant")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between contestants")
    parser.add_argument("--kiln", default=str(ROOT / "target/release/kiln"), help="the binary")
    parser.add_argument("--print-only", action="store_true", help="leave the result file alone")
    return parser.parse_args()


def main():
    options = parse()
    load = os.getloadavg()[0]
    os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={options.threads}")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x, g = torch.randn(options.rows, options.n), torch.randn(options.rows, options.n)
    kiln = Throughput(options.kiln, options)
    overview = kiln.bench(options.names, 1)
    names = [entry["name"] for entry in overview["entries"]]
    same_numbers(kiln, names)
    copy = kiln.bench(names[:1], options.repeats)["copy"]
    results = {}
    for number, name in enumerate(names):
        print(f"{number + 1} of {len(names)}: {name}", file=sys.stderr)
        results[name] = contest(name, kiln, x, g, options)
        page = report(results, copy, load, options)
        # After every entry, so that a run that is cut leaves what it has.
        if not options.print_only:
            RESULT.parent.mkdir(exist_ok=True)
            RESULT.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
