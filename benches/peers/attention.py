"""Times attention layers of Kiln beside PyTorch's over the sequence length, alternating in one run, and measures their memory.

    ./attention.sh              # builds Kiln, then runs this file; see README.md

One layer, four projections around a core, on one row of f32: forward and backward to the gradients of input and parameters.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch

from machine import ROOT, Kiln, busy, facts
from torch_attention import Attention, tensor

RESULT = pathlib.Path(__file__).parent / "results/attention.md"
PASSES = ["forward", "forward_backward"]

# Kiln's presets and PyTorch's cores, looking ahead or not. The first of each list is softmax attention.
KILN = {False: ["attn", "linear_attn", "performer", "mala"], True: ["attn", "linear_attn", "gla", "retention"]}
TORCH = ["softmax", "linear"]
TITLES = {False: "All keys", True: "Keys up to the query"}
TORCH_TITLES = {"softmax": "PyTorch scaled_dot_product_attention", "linear": "PyTorch linear (elu + 1)"}
PAIRS = {"attn": "softmax", "linear_attn": "linear"}


def title(contestant):
    """What a contestant is called on the page."""
    side, name = contestant
    return TORCH_TITLES[name] if side == "torch" else f"Kiln {name}"


def torch_passes(core, causal, length, options):
    """The two passes of a PyTorch layer as calls without arguments."""
    torch.manual_seed(0)
    layer = Attention(core, options.width, options.heads, causal)
    x, g = torch.randn(options.batch, length, options.width), torch.randn(options.batch, length, options.width)
    leaf = x.clone().requires_grad_()
    inputs = [leaf, *layer.parameters()]

    def forward():
        with torch.no_grad():
            return layer(x)

    def forward_backward():
        return torch.autograd.grad(layer(leaf), inputs, g)

    return {"forward": forward, "forward_backward": forward_backward}


def time_call(call, seconds=5e-3):
    """Milliseconds of one call, over as many as fill ``seconds``."""
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < seconds:
        call()
        calls += 1
    return 1e3 * (time.perf_counter() - start) / calls


def of_this_process(name):
    """Bytes of a line of ``/proc/self/status``; see proc(5)."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    raise ValueError(f"/proc/self/status has no {name}")


def memory_here(core, causal, length, options):
    """Bytes by which the resident memory of this process rises in the first passes, from before layer and input are made: as
    ``kiln bench attention`` measures it."""
    warm = torch.ones(256, 256, requires_grad=True)
    (warm @ warm).sum().backward()
    del warm
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = of_this_process("VmRSS")
    passes = torch_passes(core, causal, length, options)
    found = {}
    for p in PASSES:
        passes[p]()
        found[p] = of_this_process("VmHWM") - before
    return found


def torch_memory(core, causal, length, options):
    """The same, in a process of its own."""
    arguments = [sys.executable, __file__, "--memory", core, "--lengths", str(length), "--threads", str(options.threads)]
    arguments += ["--width", str(options.width), "--heads", str(options.heads), "--batch", str(options.batch)]
    done = subprocess.run(arguments + ["--causal"] * causal, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"attention.py: the memory of {core} at {length} was not measured: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Layers(Kiln):
    """Kiln's layers at the sizes of the options."""

    def __init__(self, options):
        super().__init__(options.kiln, "attention.py")
        self.options = options

    def sizes(self, causal):
        sizes = ["--width", self.options.width, "--heads", self.options.heads, "--batch", self.options.batch]
        return sizes + ["--threads", self.options.threads] + ["--causal"] * causal

    def measure(self, preset, causal, length):
        """Times and memory of one layer."""
        arguments = ["--lengths", length, "--repeats", self.options.repeats, "--json", "--quiet", *self.sizes(causal)]
        return self.run("bench", "attention", preset, *arguments)["entries"][0]["lengths"][0]


def same_numbers(kiln):
    """Stops if a layer here is not the one that Kiln has by that name: then the times would mean nothing."""
    width, heads, length = 12, 3, 128
    for preset, core in PAIRS.items():
        for causal in (False, True):
            sizes = ["--width", width, "--heads", heads, "--batch", 2, "--lengths", length, "--dtype", "f64"]
            found = kiln.run("bench", "attention", preset, *sizes, "--values", *["--causal"] * causal)
            layer = Attention(core, width, heads, causal).double()
            ours = layer.kiln_parameters()
            with torch.no_grad():
                for name, parameter in ours.items():
                    parameter.copy_(tensor(found["parameters"][name]))
            x = tensor(found["input"]).requires_grad_()
            y = layer(x)
            gradients = torch.autograd.grad(y, [x, *ours.values()], tensor(found["upstream"]))
            theirs = [found["output"], found["input_gradient"], *(found["gradients"][name] for name in ours)]
            for name, mine, other in zip(["output", "input gradient", *ours], [y, *gradients], theirs):
                if not torch.allclose(mine, tensor(other), rtol=1e-9, atol=1e-11):
                    far = (mine - tensor(other)).abs().max().item()
                    sys.exit(f"attention.py: {preset} is another layer here: {name} differs by {far} (causal: {causal})")


def contest(causal, length, kiln, options):
    """All contestants at one length: ``({(contestant, pass): [ms per round]}, {(contestant, pass): bytes})``."""
    calls = {("torch", core): torch_passes(core, causal, length, options) for core in TORCH}
    order = [*calls, *(("kiln", preset) for preset in KILN[causal])]
    memory = {}
    for side, core in calls:
        for p, found in torch_memory(core, causal, length, options).items():
            memory[(side, core), p] = found
        for p in PASSES:
            calls[side, core][p]()
    times = {}
    for number in range(options.rounds):
        shift = number % len(order)  # nobody always runs right after the same neighbour
        for contestant in order[shift:] + order[:shift]:
            time.sleep(options.pause)  # idle threads of the previous contestant stop spinning
            if contestant[0] == "torch":
                of = calls[contestant]
                measured = {p: statistics.median(time_call(of[p]) for _ in range(options.repeats)) for p in PASSES}
            else:
                row = kiln.measure(contestant[1], causal, length)
                if "skipped" in row:
                    print(f"{title(contestant)} at {length}: {row['skipped']}", file=sys.stderr)
                    continue
                measured = {p: row[p]["median_ms"] for p in PASSES}
                for p in PASSES:
                    if row["memory"] is not None:
                        memory.setdefault((contestant, p), row["memory"][f"{p}_bytes"])
            for p, ms in measured.items():
                times.setdefault((contestant, p), []).append(ms)
    return times, memory


def contestants(causal):
    """Rows of a table and lines of a figure, softmax first."""
    kiln = [("kiln", preset) for preset in KILN[causal]]
    return [("torch", "softmax"), kiln[0], ("torch", "linear"), *kiln[1:]]


def table(results, causal, p, lengths):
    """Milliseconds and memory of one pass, as Markdown."""
    lines = ["| | " + " | ".join(f"{n} ms" for n in lengths) + " | " + " | ".join(f"{n} MiB" for n in lengths) + " |"]
    lines.append("|---|" + "---:|" * (2 * len(lengths)))
    for contestant in contestants(causal):
        times = [middle(results, causal, n, contestant, p) for n in lengths]
        memory = [results[causal, n][1].get((contestant, p)) for n in lengths]
        cells = ["–" if ms is None else f"{ms:.3g}" if ms < 100 else f"{ms:.0f}" for ms in times]
        cells += ["–" if size is None else f"{size / 2**20:.1f}" for size in memory]
        lines.append(f"| {title(contestant)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(results, lengths):
    """Kiln's time and memory over PyTorch's, for the layers that both have."""
    lines = ["| Kiln / PyTorch | " + " | ".join(f"{n} time" for n in lengths) + " | " + " | ".join(f"{n} memory" for n in lengths) + " |"]
    lines.append("|---|" + "---:|" * (2 * len(lengths)))
    for causal in TITLES:
        for preset, core in PAIRS.items():
            for p in PASSES:
                pair = [("kiln", preset), ("torch", core)]
                times = [[middle(results, causal, n, side, p) for side in pair] for n in lengths]
                memory = [[results[causal, n][1].get((side, p)) for side in pair] for n in lengths]
                cells = [f"{a / b:.2f}" if a and b else "–" for a, b in times + memory]
                name = f"{preset}, {TITLES[causal].lower()}, {p.replace('_', ' + ')}"
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def middle(results, causal, length, contestant, p):
    values = results[causal, length][0].get((contestant, p))
    return statistics.median(values) if values else None


COLOURS = {"softmax": "#333333", "linear": "#e69f00", "attn": "#d55e00", "linear_attn": "#0072b2"}
FURTHER = ["#009e73", "#cc79a7"]


def figure(results, lengths):
    """Four panels on logarithmic axes, as SVG: time and memory of forward and backward, looking ahead or not."""
    width, height, left, top = 470, 300, 70, 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (width + left) + 20} {2 * (height + 90) + 80}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for column, causal in enumerate(TITLES):
        for row, unit in enumerate(["ms", "MiB"]):
            x0, y0 = left + column * (width + left), top + row * (height + 70)
            parts.append(panel(results, causal, unit, lengths, (x0, y0, width - 30, height)))
    for column, causal in enumerate(TITLES):
        for number, contestant in enumerate(contestants(causal)):
            x = left + column * (width + left) + number % 2 * 290
            y = top + 2 * (height + 70) - 8 + number // 2 * 20
            stroke, dash = style(causal, contestant)
            parts.append(f'<path d="M{x} {y - 4}h28" stroke="{stroke}" stroke-width="2.2"{dash}/>')
            parts.append(f'<text x="{x + 34}" y="{y}">{title(contestant)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def style(causal, contestant):
    """Colour and dashes of a line: PyTorch is dashed."""
    side, name = contestant
    further = [preset for preset in KILN[causal] if preset not in COLOURS]
    colour = COLOURS.get(name) or FURTHER[further.index(name)]
    return colour, ' stroke-dasharray="7 4"' if side == "torch" else ""


def panel(results, causal, unit, lengths, place):
    """One panel: forward and backward of every contestant over the length."""
    x0, y0, width, height = place
    p = "forward_backward"
    lines = {}
    for contestant in contestants(causal):
        points = []
        for n in lengths:
            memory = results[causal, n][1].get((contestant, p))
            value = middle(results, causal, n, contestant, p) if unit == "ms" else memory and memory / 2**20
            if value:
                points.append((n, value))
        lines[contestant] = points
    values = [value for points in lines.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    span = max(math.log2(lengths[-1] / lengths[0]), 1)
    at = lambda n, value: (
        x0 + width * math.log2(n / lengths[0]) / span,
        y0 + height * (high - math.log10(value)) / max(high - low, 1),
    )
    name = {"ms": "time", "MiB": "peak memory"}[unit]
    parts = [f'<text x="{x0}" y="{y0 - 12}" font-weight="bold">{TITLES[causal]}: {name} of forward and backward, {unit}</text>']
    for exponent in range(low, high + 1):
        _, y = at(lengths[0], 10**exponent)
        parts.append(f'<path d="M{x0} {y:.1f}h{width}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x0 - 8}" y="{y + 4:.1f}" text-anchor="end">{10**exponent:g}</text>')
    for n in lengths:
        x, _ = at(n, 10**low)
        parts.append(f'<path d="M{x:.1f} {y0}v{height}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y0 + height + 18}" text-anchor="middle">{n}</text>')
    for contestant, points in lines.items():
        stroke, dash = style(causal, contestant)
        path = "L".join("{:.1f} {:.1f}".format(*at(*point)) for point in points)
        if points:
            parts.append(f'<path d="M{path}" fill="none" stroke="{stroke}" stroke-width="2.2"{dash}/>')
        for point in points:
            x, y = at(*point)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{stroke}"/>')
    return "\n".join(parts)


def report(results, load, options):
    """The whole result page."""
    lengths = options.lengths
    tables = "\n\n".join(
        f"## {TITLES[causal]}: {p.replace('_', ' and ')}\n\n{table(results, causal, p, lengths)}"
        for causal in TITLES
        for p in reversed(PASSES)
    )
    rounds = "\n".join(
        f"- {TITLES[causal].lower()}, {length}, {title(contestant)}, {p}: " + ", ".join(f"{ms:.3f}" for ms in values)
        for (causal, length), (times, _) in results.items()
        for (contestant, p), values in times.items()
    )
    return f"""# Attention over the sequence length

One layer of width {options.width} with {options.heads} heads, four projections without biases around a core, on {options.batch} row{"s" * (options.batch > 1)} of f32. Time:
forward without a graph, and forward and backward to the gradients of the input and of every parameter; the median of
{options.rounds} rounds of {options.repeats} timings, all contestants alternating in one run. Memory: how far the resident memory of a fresh process
rises from before layer and input are made, in the first pass; parameters, input, what the pass keeps and what the allocator
holds on the way. PyTorch runs eagerly. Both sides' layers gave the same numbers in f64, outputs and all gradients, before
the first clock. Made by `benches/peers/attention.sh`.
{busy(load)}
![Time and memory over the length](attention.svg)

## Kiln beside PyTorch

{ratios(results, lengths)}

{tables}

{facts(options.kiln, options.threads, load)}

## Every round, ms

{rounds}
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=lambda text: sorted(map(int, text.split(","))), default=[128, 512, 2048, 8192])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="timings per round and contestant")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between contestants")
    parser.add_argument("--kiln", default=str(ROOT / "target/release/kiln"), help="the binary")
    parser.add_argument("--print-only", action="store_true", help="leave the result files alone")
    parser.add_argument("--memory", choices=TORCH, help=argparse.SUPPRESS)
    parser.add_argument("--causal", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(memory_here(options.memory, options.causal, options.lengths[0], options)))
        return
    load = os.getloadavg()[0]
    kiln = Layers(options)
    same_numbers(kiln)
    results = {}
    for causal in TITLES:
        for length in options.lengths:
            print(f"{TITLES[causal].lower()}, length {length}", file=sys.stderr)
            results[causal, length] = contest(causal, length, kiln, options)
    page = report(results, load, options)
    print(page)
    if not options.print_only:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(page)
        RESULT.with_suffix(".svg").write_text(figure(results, options.lengths))


if __name__ == "__main__":
    main()
