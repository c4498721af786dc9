"""The table of a comparison, computed again: `python3 comparison.py comparison.json` prints it as Markdown.

Written against the documented statistics and rule of digits, not against the Rust code, and by other means: sums are exact
fractions of the decimals in the file, square roots have 50 digits, and Student's t is integrated numerically
(x = sqrt(nu) tan(theta) turns its density into a power of a cosine) and inverted by bisection. Standard library only.
"""

import json
import math
import sys
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 50
LEVEL = 0.95


# --- Student's t -----------------------------------------------------------------------------------------------------


def simpson(f, end, panels=2000):
    """The integral of f from 0 to end."""
    h = end / panels
    inner = sum((4 if i % 2 else 2) * f(i * h) for i in range(1, panels))
    return h / 3 * (f(0.0) + inner + f(end))


def two_sided(t, nu):
    """P(|T| >= t): the tail in phi = pi/2 - theta, where nothing cancels."""
    if t == 0:
        return 1.0
    c = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(math.pi)
    return 2 * c * simpson(lambda phi: math.sin(phi) ** (nu - 1), math.atan2(math.sqrt(nu), t))


def critical(nu):
    """The t that 95 % stay within."""
    low, high = 0.0, 100.0
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, nu) > 1 - LEVEL else (low, middle)
    return (low + high) / 2


# --- statistics --------------------------------------------------------------------------------------------------------


def root(fraction):
    return float((Decimal(fraction.numerator) / Decimal(fraction.denominator)).sqrt())


def estimate(values):
    """Mean, deviation, standard error, interval; None for what does not exist."""
    n = len(values)
    if n == 0:
        return dict(n=0, bad=0, mean=None, sd=None, se=None, low=None, high=None)
    bad = sum(not isinstance(x, Fraction) for x in values)
    if bad:
        return dict(n=n, bad=bad, mean=math.nan, sd=None, se=None, low=None, high=None)
    mean = sum(values, Fraction(0)) / n
    if n == 1:
        return dict(n=1, bad=0, mean=float(mean), sd=None, se=None, low=None, high=None)
    variance = sum((x - mean) ** 2 for x in values) / (n - 1)
    se = root(variance / n)
    reach = critical(n - 1) * se
    return dict(n=n, bad=0, mean=float(mean), sd=root(variance), se=se, low=float(mean) - reach, high=float(mean) + reach)


def paired(variant, baseline):
    """The estimate of the differences, with the p value of the paired t test."""
    shared = sorted(set(variant) & set(baseline), key=int)
    finite = lambda x: isinstance(x, Fraction)
    difference = [
        variant[s] - baseline[s] if finite(variant[s]) and finite(baseline[s]) else math.nan for s in shared
    ]
    result = estimate(difference)
    if result["se"] is None:
        p = None
    elif result["se"] == 0:
        p = 1.0 if result["mean"] == 0 else 0.0
    else:
        p = two_sided(abs(result["mean"]) / result["se"], len(shared) - 1)
    return dict(result, p=p)


def holm(ps):
    """Step down: the smallest of m by m, the next by m - 1, never falling."""
    made = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected, floor = [None] * len(ps), 0.0
    for rank, (p, i) in enumerate(made):
        floor = max(floor, min(1.0, p * (len(made) - rank)))
        corrected[i] = floor
    return corrected


# --- numbers as text ---------------------------------------------------------------------------------------------------


def power(x):
    """Exponent of the first digit, after rounding to six digits."""
    return int(f"{x:.5e}".split("e")[1])


def short(mantissa_e):
    mantissa, exponent = mantissa_e.split("e")
    return f"{mantissa}e{int(exponent)}"


def writer(mean, se):
    """A function that writes numbers with the digits this mean and error warrant."""
    if mean is None or not math.isfinite(mean):
        return lambda x: "NaN" if math.isnan(x) else "∞"
    se = se or 0.0
    size = max(abs(mean), se)
    if size == 0:
        last, plain = -3, True
    else:
        first = power(size)
        last = max(min(power(se) - 1, first - 2), first - 9) if se else first - 3
        plain = -3 <= first < 6

    def write(x):
        x = float(f"{x:.11e}")
        if plain:
            text = f"{x:.{max(0, -last)}f}"
        elif x == 0:
            text = "0"
        else:
            text = short(f"{x:.{min(16, max(0, power(x) - last))}e}")
        return text.lstrip("-") if not text.strip("-0.") else text

    return write


def signed(write, x):
    text = write(x)
    return "+" + text if x > 0 and text.strip("0.") else text


def probability(p):
    p = float(f"{p:.11e}")
    if p == 0:
        return "0"
    if p >= 0.01:
        return f"{p:.3f}"
    return f"{p:.4f}" if p >= 0.001 else short(f"{p:.1e}")


# --- the table ---------------------------------------------------------------------------------------------------------


def value(x, scale):
    return x * scale if isinstance(x, Fraction) else math.nan


def interval(e, write):
    return "–" if e["low"] is None else f"[{write(e['low'])}, {write(e['high'])}]"


def main(path):
    with open(path, encoding="utf-8") as file:
        report = json.load(file, parse_float=Fraction, parse_int=Fraction)
    names = [variant["name"] for variant in report["variants"]]
    base = names.index(report["baseline"])
    for metric in report["metrics"]:
        percent = metric.get("format") == "percent"
        unit = "%" if percent else metric.get("unit", "")
        better = metric.get("better")
        heading = metric["name"] + (f" ({unit})" if unit else "") + (f", {better} is better" if better else "")
        data = [
            {
                seed: value(run["end"][metric["name"]], 100 if percent else 1)
                for seed, run in variant["runs"].items()
                if metric["name"] in run.get("end", {})
            }
            for variant in report["variants"]
        ]
        against = [None if i == base else paired(data[i], data[base]) for i in range(len(data))]
        corrected = holm([None if a is None else a["p"] for a in against])
        print(f"## {heading}\n")
        print("| variant | mean ± sd | n | 95 % interval | difference | 95 % interval | p (Holm) |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for i, name in enumerate(names):
            e = estimate([data[i][seed] for seed in sorted(data[i], key=int)])
            write = writer(e["mean"], e["se"])
            mean = "–" if e["mean"] is None else write(e["mean"])
            sd = "" if e["sd"] is None else f" ± {write(e['sd'])}"
            planned = len(report["variants"][i]["runs"])
            n = f"{e['n']}" + (f" of {planned}" if planned > e["n"] else "")
            n += f", {e['bad']} not finite" if e["bad"] else ""
            cells = [f"**{name}**" + (" (baseline)" if i == base else ""), mean + sd, n, interval(e, write)]
            a = against[i]
            if a is None:
                cells += ["–", "–", "–"]
            else:
                write = writer(a["mean"], a["se"])
                difference = "–" if a["mean"] is None else signed(write, a["mean"])
                if a["n"] != e["n"]:
                    difference += f" ({a['n']} pair{'s' if a['n'] != 1 else ''})"
                p = "–" if corrected[i] is None else probability(corrected[i])
                if corrected[i] is not None and corrected[i] < 0.05:
                    p = f"**{p}**"
                cells += [difference, interval(a, write), p]
            print("| " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main(sys.argv[1])
