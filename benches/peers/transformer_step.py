"""Times a small decoder's training step and one encoder layer in PyTorch and in Kiln, alternating in one run.

    ./transformer_step.sh       # builds Kiln, then runs this file; see README.md

The step: forward, cross-entropy at every token, backward, AdamW; two blocks of width 128 with 4 heads, hidden width 512, on 64
rows of 128 tokens. The layer: forward and backward of one encoder layer of these widths on 32 rows of 128 vectors, down to the
gradients of input and parameters.
"""

import os
import pathlib

import torch
import torch.nn.functional as F

from contest import contest, measured, parse, publish, same
from machine import Kiln
from torch_attention import Decoder, encoder_layer, load, packed, tensor

CONFIG = "configs/benchmarks/decoder_step.toml"
RESULT = pathlib.Path(__file__).parent / "results/transformer_step.md"

WIDTH, HEADS, HIDDEN, LENGTH = 128, 4, 512, 128
LAYERS, STEP_ROWS, LAYER_ROWS = 2, 64, 32
VOCABULARY, CLASSES = 65, 64
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}

STEP, LAYER = "training step of the decoder", "encoder layer, forward and backward"
PROJECTIONS = ["query", "key", "value"]


def layer_names(theirs, ours, packed_projection):
    """Kiln's parameters of one block by PyTorch's names: norms, feed-forward layers, and the projections, packed into one."""
    names = {}
    for part in ("weight", "bias"):
        names[packed_projection.format(part)] = [f"{ours}attention.{name}.{part}" for name in PROJECTIONS]
        for their, our in theirs.items():
            names[f"{their}.{part}"] = [f"{ours}{our}.{part}"]
    return names


def encoder_names():
    theirs = {
        "self_attn.out_proj": "attention.output",
        "linear1": "feed_forward.up",
        "linear2": "feed_forward.down",
        "norm1": "attention_norm",
        "norm2": "feed_forward_norm",
    }
    return layer_names(theirs, "", "self_attn.in_proj_{}")


def decoder_names(layers):
    names = {
        "embedding.weight": ["embedding.weight"],
        "positions": ["positions.weight"],
        "norm.weight": ["norm.weight"],
        "norm.bias": ["norm.bias"],
        "output.weight": ["output.weight"],
    }
    for i in range(layers):
        at = f"blocks.{i}."
        theirs = {
            f"{at}out": "attention.output",
            f"{at}up": "feed_forward.up",
            f"{at}down": "feed_forward.down",
            f"{at}attention_norm": "attention_norm",
            f"{at}feed_forward_norm": "feed_forward_norm",
        }
        names |= layer_names(theirs, at, f"{at}packed.{{}}")
    return names


def torch_step(compiled, fused):
    """A function that does one training step with a decoder of its own."""
    torch.manual_seed(0)
    model = Decoder(VOCABULARY, CLASSES, LENGTH, WIDTH, HEADS, HIDDEN, LAYERS)
    tokens = torch.randint(VOCABULARY, (STEP_ROWS, LENGTH))
    classes = torch.randint(CLASSES, (STEP_ROWS * LENGTH,))
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused, **ADAMW)
    loss_of = lambda: F.cross_entropy(model(tokens), classes)
    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)

    def step():
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()

    return step


def torch_layer(compiled):
    """A function that does forward and backward of an encoder layer."""
    torch.manual_seed(0)
    layer = encoder_layer(WIDTH, HEADS, HIDDEN)
    x = torch.randn(LAYER_ROWS, LENGTH, WIDTH, requires_grad=True)
    g = torch.randn(LAYER_ROWS, LENGTH, WIDTH)
    inputs = [x, *layer.parameters()]
    run = torch.compile(layer, dynamic=False) if compiled else layer
    return lambda: torch.autograd.grad(run(x), inputs, g)


def torch_contestants(subject):
    """PyTorch's ways to do a subject, by name."""
    if subject == LAYER:
        return {"eager": torch_layer(False), "compile": torch_layer(True)}
    return {
        "eager": torch_step(False, False),
        "eager, fused AdamW": torch_step(False, True),
        "compile": torch_step(True, False),
        "compile, fused AdamW": torch_step(True, True),
    }


def kiln_median(kiln, subject, options):
    """Kiln's median of one round."""
    count = ["--threads", options.threads, "--json"]
    if subject == STEP:
        return kiln.run("bench", "step", CONFIG, "--steps", options.steps, *count)["median_ms"]
    sizes = ["--lengths", LENGTH, "--width", WIDTH, "--heads", HEADS, "--batch", LAYER_ROWS, "--feed-forward", HIDDEN]
    report = kiln.run("bench", "attention", "attn", "--repeats", options.steps, *sizes, *count)
    return report["entries"][0]["lengths"][0]["forward_backward"]["median_ms"]


def same_layer(kiln):
    """Compares small encoder layers in f64: output and every gradient."""
    width, heads, hidden, length = 12, 3, 20, 7
    sizes = ["--width", width, "--heads", heads, "--feed-forward", hidden, "--lengths", length, "--batch", 2]
    found = kiln.run("bench", "attention", "attn", *sizes, "--dtype", "f64", "--values")
    layer, names = encoder_layer(width, heads, hidden).double(), encoder_names()
    load(layer, names, found["parameters"])
    x = tensor(found["input"]).requires_grad_()
    y = layer(x)
    y.backward(tensor(found["upstream"]))
    same("transformer_step.py", "the layer's output", y, tensor(found["output"]))
    same("transformer_step.py", "the gradient of the layer's input", x.grad, tensor(found["input_gradient"]))
    for name, parameter in layer.named_parameters():
        same("transformer_step.py", f"the layer's gradient of {name}", parameter.grad, packed(names[name], found["gradients"]))


def same_step(kiln):
    """Compares small decoders in f64: loss and every gradient of the first batch."""
    width, heads, hidden, length, rows = 12, 3, 20, 9, 4
    changes = {
        "model.d_model": width,
        "model.d_ff": hidden,
        "model.attention.n_heads": heads,
        "model.dtype": '"f64"',
        "loss.dtype": '"f64"',
        "data.train_lengths": [length, length],
        "data.test_lengths": [length],
        "train.batch_size": rows,
    }
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    found = kiln.run("bench", "step", CONFIG, "--values", *sets)
    model, names = Decoder(VOCABULARY, CLASSES, length, width, heads, hidden, LAYERS).double(), decoder_names(LAYERS)
    load(model, names, found["parameters"])
    tokens, classes = tensor(found["input"], torch.long), torch.tensor(found["classes"])
    logits = model(tokens)[tensor(found["places"], torch.long)]
    loss = F.cross_entropy(logits, classes)
    loss.backward()
    same("transformer_step.py", "the decoder's logits", logits, tensor(found["logits"]))
    same("transformer_step.py", "the decoder's loss", loss, torch.tensor(found["loss"], dtype=torch.float64))
    for name, parameter in model.named_parameters():
        same("transformer_step.py", f"the decoder's gradient of {name}", parameter.grad, packed(names[name], found["gradients"]))


def report(results, load, options):
    """The whole result page."""
    return f"""# A transformer's training step and one encoder layer

The step: {LAYERS} blocks of width {WIDTH} with {HEADS} heads and hidden width {HIDDEN}, norms in front, GELU, learned positions, causal softmax attention,
on {STEP_ROWS} rows of {LENGTH} tokens; cross-entropy at every token, AdamW; f32. The layer: norms behind, GELU, softmax attention over all keys,
on {LAYER_ROWS} rows of {LENGTH} vectors; forward and backward to the gradients of input and parameters. PyTorch's layer is
`nn.TransformerEncoderLayer`, its decoder uses `scaled_dot_product_attention` and one packed projection. Milliseconds: the median
of {options.rounds} rounds, each the median of {options.steps} steps, all contestants alternating in one run. Both sides gave the same numbers in
f64, outputs, loss and all gradients, before the first clock. Made by `benches/peers/transformer_step.sh`; where the time goes
stands in [the README](../README.md#the-transformer-where-the-time-goes).
{measured(results, load, options)}"""


def main():
    options = parse(__doc__, 12, 6)
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    kiln = Kiln(options.kiln, "transformer_step.py")
    same_layer(kiln)
    same_step(kiln)
    results = {
        subject: contest(subject, torch_contestants(subject), lambda: kiln_median(kiln, subject, options), options)
        for subject in (STEP, LAYER)
    }
    publish(report(results, load, options), RESULT, options)


if __name__ == "__main__":
    main()
