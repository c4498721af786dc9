"""How contestants take turns, what is said of their times, and the options of that."""

import argparse
import statistics
import sys
import time

import torch

from machine import ROOT, busy, facts


def same(script, name, ours, theirs):
    """Stops if two tensors differ: then the times would mean nothing."""
    if not torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10):
        far = (ours - theirs).abs().max().item()
        sys.exit(f"{script}: {name} differs from Kiln's by {far}")


def time_steps(step, count):
    """Wall-clock milliseconds of ``count`` consecutive steps, one by one."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def contest(subject, steps, kiln_median, options):
    """All contestants on one subject: ``{contestant: [median per round]}``.

    ``steps`` maps PyTorch's contestants to functions that do one step, ``kiln_median()`` is Kiln's median of one round.
    """
    for name, step in steps.items():
        print(f"{subject}: warming up {name}", file=sys.stderr)
        time_steps(step, options.warm_up)
    order = [*steps, "Kiln"]
    rounds = {contestant: [] for contestant in order}
    for number in range(options.rounds):
        shift = number % len(order)  # nobody always runs right after the same neighbour
        for contestant in order[shift:] + order[:shift]:
            time.sleep(options.pause)  # idle threads of the previous contestant stop spinning
            if contestant == "Kiln":
                median = kiln_median()
            else:
                time_steps(steps[contestant], options.round_warm_up)
                median = statistics.median(time_steps(steps[contestant], options.steps))
            rounds[contestant].append(median)
        print(f"{subject}: round {number + 1} of {options.rounds}", file=sys.stderr)
    return rounds


def table(results, unit):
    """The medians, and Kiln's over each, as Markdown."""
    lines = [f"| | contestant | {unit} | Kiln / it |", "|---|---|---:|---:|"]
    for subject, rounds in results.items():
        middle = {contestant: statistics.median(medians) for contestant, medians in rounds.items()}
        for contestant, ms in middle.items():
            lines.append(f"| {subject} | {contestant} | {ms:.1f} | {middle['Kiln'] / ms:.2f} |")
    return "\n".join(lines)


def each_round(results):
    """The medians of each round, as a Markdown list."""
    return "\n".join(
        f"- {subject}, {contestant}: " + ", ".join(f"{m:.2f}" for m in medians)
        for subject, of in results.items()
        for contestant, medians in of.items()
    )


def measured(results, load, options, unit="ms"):
    """What every page ends with: the table, the machine, and the medians of each round."""
    return f"""{busy(load)}
{table(results, unit)}

{facts(options.kiln, options.threads, load)}

Medians of each round, {unit}:

{each_round(results)}
"""


def publish(page, result, options):
    """Prints a page and, unless the options forbid it, replaces the committed one."""
    print(page)
    if not options.print_only:
        result.parent.mkdir(exist_ok=True)
        result.write_text(page)


def parse(description, steps, warm_up):
    """The command line's options; ``steps`` and ``warm_up`` are defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=steps, help="timed steps per round and contestant")
    parser.add_argument("--warm-up", type=int, default=warm_up, help="untimed steps before the first round")
    parser.add_argument("--round-warm-up", type=int, default=2, help="untimed steps before each round")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between contestants")
    parser.add_argument("--kiln", default=str(ROOT / "target/release/kiln"), help="the binary")
    parser.add_argument("--print-only", action="store_true", help="leave the committed result page alone")
    return parser.parse_args()
