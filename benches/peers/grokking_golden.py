"""Golden training curves: the losses of a plain PyTorch loop, to be followed by Kiln from the same weights.

    python grokking_golden.py                 # rewrite crates/trainer/tests/golden/grokking.json
    python grokking_golden.py --check         # recompute and compare with the committed file

Everything that is drawn at random comes from SplitMix64, so that any language can build the same weights and
the same split without reading them from a file; the rules stand in ``RULES`` below and are copied into the JSON.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch

from torch_pieces import mlp_dense, one_hot_pairs, perp_grad, softmax_loss, stablemax_loss

FILE = pathlib.Path(__file__).parents[2] / "crates/trainer/tests/golden/grokking.json"

SEED = 0
P = 59
TRAIN = math.floor(0.8 * P * P)
SHAPES = [(2 * P, 128), (128, 128), (128, P)]
SPLIT_STREAM = len(SHAPES)
PERMUTATION_STREAM = 1000
PERMUTATIONS = 16
STEPS = {"f64": 100, "f32": 200}
DTYPES = {"f64": torch.float64, "f32": torch.float32}

PLAIN = {"lr": 3e-3, "betas": [0.9, 0.99], "eps": 1e-25, "weight_decay": 0.0}
PERP = {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
CONDITIONS = {
    "softmax": {"normalizer": "softmax", "perp_grad": False, "adamw": PLAIN},
    "stablemax": {"normalizer": "stablemax", "perp_grad": False, "adamw": PLAIN},
    "softmax_perp": {"normalizer": "softmax", "perp_grad": True, "adamw": PERP},
    "stablemax_perp": {"normalizer": "stablemax", "perp_grad": True, "adamw": PERP},
}

RULES = {
    "words": "SplitMix64 (Steele, Lea, Flood 2014) on 64-bit wrapping integers. Stream k starts with state = seed + k. "
    "Each word: state += 0x9E3779B97F4A7C15; z = state; z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9; "
    "z = (z ^ (z >> 27)) * 0x94D049BB133111EB; word = z ^ (z >> 31).",
    "weights": "Tensor k (0 = first layer) has shape [in, out] and takes the words of stream k in row-major order: "
    "u = (word >> 11) * 2^-53, w = (2 u - 1) / sqrt(in), all in f64 with a true division; for f32 runs rounded to f32.",
    "data": "Pair i = a p + b has operands a, b and class (a + b) mod p. Its key is word i of the stream 'split'. "
    "Sort the pairs by key; the first floor(0.8 p^2) train, in sorted order. Input: one-hot of a, then one-hot of b.",
    "model": "z = relu(relu(x W0) W1) W2, no biases.",
    "loss": "Mean over the training rows. softmax: cross entropy in the dtype of the run. stablemax: logits cast to f64, "
    "log1p(sum over j != y of exp(symlog z_j - symlog z_y)), f64 in both dtypes.",
    "step": "Full batch, fixed row order: loss, backward, perpGrad if the condition says so (each of the three tensors, "
    "rescaled, 0 where the rest is at most 1e-6 of the gradient), AdamW. loss[t] is computed from the weights after t "
    "updates, before update t + 1.",
    "spread": "spread[t] = max over the permuted runs of |loss_perm[t] - loss[t]| / loss[t]. Permuted run r trains on the "
    "same rows in another order: training row i has key = word i of stream 'permutations[r]'; rows sorted by key.",
    "test": "1. Rebuild words, weights, split; compare with 'checks' (words, pairs, weights exactly; sums and logits to "
    "1e-12). 2. f64: |kiln[t] - loss[t]| <= 1e-9 loss[t] for all t < 100. 3. f32: |kiln[t] - loss[t]| <= 1e-5 loss[t] for "
    "t < 10. 4. f32, 10 <= t < 200: |kiln[t] - loss[t]| <= 3 loss[t] max(spread[0..=min(t + 10, 199)]). The running maximum "
    "is needed because spread[t] passes through 0 where two runs cross; the 10 steps ahead because two runs part at the "
    "step at which a ReLU first falls on different sides, which is a matter of luck between steps 10 and 60.",
}


def words(stream, count):
    """The first ``count`` words of a SplitMix64 stream."""
    with np.errstate(over="ignore"):
        z = np.uint64(SEED + stream) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def initial_weights():
    """The three weight matrices, f64."""
    out = []
    for k, (fan_in, fan_out) in enumerate(SHAPES):
        u = (words(k, fan_in * fan_out) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        out.append(torch.from_numpy((2.0 * u - 1.0) / math.sqrt(fan_in)).reshape(fan_in, fan_out))
    return out


def training_pairs():
    """Pair indices ``a p + b`` of the training set, in training order."""
    return torch.from_numpy(np.argsort(words(SPLIT_STREAM, P * P), kind="stable")[:TRAIN].copy())


def row_order(permutation):
    """A permutation of the training rows."""
    return torch.from_numpy(np.argsort(words(permutation, TRAIN), kind="stable").copy())


def curve(condition, dtype, pairs, steps):
    """The losses of one run, one per step."""
    a, b = pairs // P, pairs % P
    x, y = one_hot_pairs(a, b, P, dtype), (a + b) % P
    loss_of = {"softmax": softmax_loss, "stablemax": stablemax_loss}[condition["normalizer"]]
    weights = [w.to(dtype).requires_grad_() for w in initial_weights()]
    optimizer = torch.optim.AdamW(weights, foreach=False, fused=False, **condition["adamw"])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(mlp_dense(weights, x), y)
        loss.backward()
        losses.append(loss.item())
        if condition["perp_grad"]:
            with torch.no_grad():
                for w in weights:
                    w.grad = perp_grad(w, w.grad)
        optimizer.step()
    return losses


def spread(condition, dtype, pairs, losses):
    """How far PyTorch strays from itself, per step, when only the order of the rows changes."""
    worst = np.zeros(len(losses))
    for r in range(PERMUTATIONS):
        other = np.array(curve(condition, dtype, pairs[row_order(PERMUTATION_STREAM + r)], len(losses)))
        worst = np.maximum(worst, np.abs(other - losses) / losses)
    return [float(f"{v:.3e}") for v in worst]


def checks(pairs):
    """Values that show a wrong start before any curve does (f64, unpermuted)."""
    weights = initial_weights()
    a, b = pairs // P, pairs % P
    logits = mlp_dense(weights, one_hot_pairs(a, b, P, torch.float64))
    return {
        "first_words": [[f"{word:#018x}" for word in words(k, 2)] for k in range(len(SHAPES) + 1)],
        "weight_sums": [math.fsum(w.flatten().tolist()) for w in weights],
        "first_weights": [w.flatten()[:3].tolist() for w in weights],
        "last_weights": [w.flatten()[-1].item() for w in weights],
        "first_training_pairs": [[i // P, i % P] for i in pairs[:5].tolist()],
        "last_training_pair": [pairs[-1].item() // P, pairs[-1].item() % P],
        "first_row_logits": logits[0, :5].tolist(),
        "last_row_logits": logits[-1, -5:].tolist(),
    }


def golden(with_spread):
    """The whole file; the spread is nine tenths of the work and may be left out."""
    pairs = training_pairs()
    conditions = {}
    for name, condition in CONDITIONS.items():
        entry = dict(condition)
        for key, dtype in DTYPES.items():
            losses = curve(condition, dtype, pairs, STEPS[key])
            entry[key] = {"loss": losses}
            if key == "f32" and with_spread:
                entry[key]["spread"] = spread(condition, dtype, pairs, losses)
            print(f"{name} {key}: {losses[0]:.6f} -> {losses[-1]:.6e}", file=sys.stderr)
        conditions[name] = entry
    return {
        "made_by": "benches/peers/grokking_golden.py",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "rules": RULES,
        "seed": SEED,
        "p": P,
        "train_rows": TRAIN,
        "shapes": SHAPES,
        "streams": {
            "split": SPLIT_STREAM,
            "permutations": [PERMUTATION_STREAM + r for r in range(PERMUTATIONS)],
        },
        "checks": checks(pairs),
        "conditions": conditions,
    }


def render(value, indent=0):
    """JSON with one key per line; a list without objects in it stays on one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    pad = " " * (indent + 1)
    lines = [f"{pad}{json.dumps(key)}: {render(item, indent + 1)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def compare(new, old):
    """Print the largest relative difference of each curve."""
    for name, entry in new["conditions"].items():
        for dtype in DTYPES:
            a, b = np.array(entry[dtype]["loss"]), np.array(old["conditions"][name][dtype]["loss"])
            print(f"{name} {dtype}: {np.max(np.abs(a - b) / b):.1e}")
    print("checks equal:", new["checks"] == old["checks"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    options = parser.parse_args()
    # One thread: the order of every sum is then that of one machine, not of a scheduler.
    torch.set_num_threads(1)
    data = golden(with_spread=not options.check)
    if options.check:
        compare(data, json.loads(FILE.read_text()))
    else:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(render(data) + "\n")


if __name__ == "__main__":
    main()
