"""Times the training steps of two convolutional networks in PyTorch and in Kiln, alternating in one run.

    ./image_step.sh       # builds Kiln, then runs this file; see README.md

Each step: forward, cross-entropy, backward and the optimizer on 128 images that lie in memory. PyTorch runs eagerly with
both memory formats, and compiled.
"""

import os
import pathlib

import torch
import torch.nn.functional as F

from contest import contest, measured, parse, publish, same
from machine import Kiln
from torch_images import Cnn, ResNet, in_torch_layout, parameter_names

RESULT = pathlib.Path(__file__).parent / "results/image_step.md"
ROWS = 128

CNN, RESNET = "CNN of the CNN-SVM paper, 28 x 28, Adam", "ResNet-20, 32 x 32, SGD with momentum"
CONFIGS = {CNN: "configs/benchmarks/cnn_step.toml", RESNET: "configs/benchmarks/resnet_step.toml"}
SMALL = {
    CNN: {"model.channels": [3, 5], "model.hidden": [7], "model.dropout": 0.0, "data.size": 12},
    RESNET: {"model.depth": 8, "model.width": 4, "data.size": 12},
}


def network(subject):
    return Cnn() if subject == CNN else ResNet()


def torch_step(subject, channels_last, compiled):
    """A function that does one training step with a network of its own."""
    torch.manual_seed(0)
    side = 28 if subject == CNN else 32
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = network(subject).to(memory_format=layout)
    images = torch.randn(ROWS, 1, side, side).contiguous(memory_format=layout)
    classes = torch.randint(10, (ROWS,))
    if subject == CNN:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    loss_of = lambda: F.cross_entropy(model(images), classes)
    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)

    def step():
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()

    return step


def torch_contestants(subject):
    """PyTorch's ways to do a step, by name."""
    return {
        "eager": torch_step(subject, False, False),
        "eager, channels last": torch_step(subject, True, False),
        "compile": torch_step(subject, False, True),
        "compile, channels last": torch_step(subject, True, True),
    }


def kiln_median(kiln, subject, options):
    """Kiln's median of one round."""
    count = ["--steps", options.steps, "--threads", options.threads, "--json"]
    return kiln.run("bench", "step", CONFIGS[subject], *count)["median_ms"]


def same_step(subject, kiln):
    """Compares small networks in f64: logits, loss and every gradient of the first batch."""
    changes = SMALL[subject] | {"model.dtype": '"f64"', "loss.dtype": '"f64"', "train.batch_size": 6}
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    found = kiln.run("bench", "step", CONFIGS[subject], "--values", *sets)
    model = Cnn((3, 5), 7, 12, 0.0) if subject == CNN else ResNet(8, 4)
    model, names = model.double(), parameter_names(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(in_torch_layout(found["parameters"][names[name]]))
    images = torch.tensor(found["input"]["values"], dtype=torch.float64).reshape(found["input"]["shape"])
    logits = model(images)
    loss = F.cross_entropy(logits, torch.tensor(found["classes"]))
    loss.backward()
    same("image_step.py", f"{subject}: the logits", logits, torch.tensor(found["logits"]["values"], dtype=torch.float64).view_as(logits))
    same("image_step.py", f"{subject}: the loss", loss, torch.tensor(found["loss"], dtype=torch.float64))
    for name, parameter in model.named_parameters():
        same("image_step.py", f"{subject}: the gradient of {name}", parameter.grad, in_torch_layout(found["gradients"][names[name]]))


def report(results, load, options):
    """The whole result page."""
    return f"""# Training steps of convolutional networks

Forward, cross-entropy, backward and the optimizer's step on {ROWS} images of one channel that lie in memory; f32. The CNN: 5 x 5
convolutions of 32 and 64 filters, each with 2 x 2 max pooling, 1024 hidden values, half of them dropped. ResNet-20: width 16,
shortcuts without parameters. Milliseconds: the median of {options.rounds} rounds, each the median of {options.steps} steps, all contestants
alternating in one run. Both sides gave the same logits, loss and gradients in f64 before the first clock. Made by
`benches/peers/image_step.sh`.
{measured(results, load, options)}"""


def main():
    options = parse(__doc__, 8, 5)
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    kiln = Kiln(options.kiln, "image_step.py")
    for subject in CONFIGS:
        same_step(subject, kiln)
    results = {
        subject: contest(subject, torch_contestants(subject), lambda: kiln_median(kiln, subject, options), options)
        for subject in CONFIGS
    }
    publish(report(results, load, options), RESULT, options)


if __name__ == "__main__":
    main()
