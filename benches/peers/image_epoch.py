"""Times an epoch of two convolutional networks in PyTorch and in Kiln, alternating in one run: with all that feeds them.

    ./image_epoch.sh      # builds Kiln, then runs this file; see README.md

Needs MNIST and CIFAR-10 for Kiln (``kiln data fetch mnist cifar10``). PyTorch is given as many images of the same size, bytes in
memory, through a ``DataLoader`` that shuffles; they are scaled and, for CIFAR-10, cropped and flipped a batch at a time, which is
its fastest way on few cores. Its better memory format is found by the page of steps; both run here.
"""

import os
import pathlib

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from contest import contest, measured, parse, publish
from machine import Kiln
from torch_images import Cnn, ResNet

RESULT = pathlib.Path(__file__).parent / "results/image_epoch.md"
ROWS = 128
MNIST, CIFAR = "MNIST, CNN, Adam", "CIFAR-10, ResNet-20, crops and flips, SGD"
#: Config, images that train, shape of an image.
SUBJECTS = {
    MNIST: ("configs/mnist/cnn_softmax.toml", 55_000, (1, 28, 28)),
    CIFAR: ("configs/cifar10/resnet.toml", 45_000, (3, 32, 32)),
}


def cropped_and_flipped(images):
    """Windows of the old size from images with four black pixels around, half of them mirrored."""
    rows, channels, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4))
    down, right = torch.randint(9, (2, rows, 1, 1))
    down, right = down + torch.arange(height).view(1, -1, 1), right + torch.arange(width).view(1, 1, -1)
    right = torch.where(torch.rand(rows, 1, 1) < 0.5, right.flip(2), right)
    return padded[torch.arange(rows).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1), down[:, None], right[:, None]]


def torch_epoch(subject, channels_last):
    """A function that goes through the images once, with a network of its own."""
    torch.manual_seed(0)
    _, count, shape = SUBJECTS[subject]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    data = TensorDataset(torch.randint(256, (count, *shape), dtype=torch.uint8), torch.randint(10, (count,)))
    loader = DataLoader(data, batch_size=ROWS, shuffle=True)
    if subject == MNIST:
        model = Cnn().to(memory_format=layout)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        mean, deviation = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    else:
        model = ResNet(channels=3).to(memory_format=layout)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
        deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

    def epoch():
        for images, classes in loader:
            if subject == CIFAR:
                images = cropped_and_flipped(images)
            images = ((images.float() / 255 - mean) / deviation).contiguous(memory_format=layout)
            optimizer.zero_grad()
            F.cross_entropy(model(images), classes).backward()
            optimizer.step()

    return epoch


def kiln_epoch(kiln, subject, options):
    """Kiln's milliseconds: the mean step, fed as in training, times the steps of an epoch."""
    config, count, _ = SUBJECTS[subject]
    steps = -(-count // ROWS)
    return kiln.run("bench", "step", config, "--steps", steps, "--threads", options.threads, "--json")["mean_ms"] * steps


def report(results, load, options):
    """The whole result page."""
    return f"""# An epoch of convolutional networks

Every training image once, in batches of {ROWS}: shuffled, scaled, on CIFAR-10 cropped and flipped; forward, cross-entropy, backward, the
optimizer's step; f32. 55000 images train on MNIST and 45000 on CIFAR-10. Seconds: the median of {options.rounds} rounds, all contestants
alternating in one run. Made by `benches/peers/image_epoch.sh`.
{measured(results, load, options, "s")}"""


def main():
    options = parse(__doc__, 1, 0)
    options.round_warm_up = 0  # an epoch is long enough without
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    kiln = Kiln(options.kiln, "image_epoch.py")
    results = {}
    for subject in SUBJECTS:
        epochs = {"eager": torch_epoch(subject, False), "eager, channels last": torch_epoch(subject, True)}
        rounds = contest(subject, epochs, lambda: kiln_epoch(kiln, subject, options), options)
        results[subject] = {contestant: [ms / 1e3 for ms in medians] for contestant, medians in rounds.items()}
    publish(report(results, load, options), RESULT, options)


if __name__ == "__main__":
    main()
