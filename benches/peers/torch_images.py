"""The convolutional networks of the image benchmarks in PyTorch, with Kiln's names for their parameters."""

import torch
import torch.nn.functional as F
from torch import nn


class Cnn(nn.Module):
    """5 x 5 convolutions of 32 and 64 filters with 2 x 2 max pooling, 1024 hidden values, dropout, ten logits."""

    def __init__(self, channels=(32, 64), hidden=1024, side=28, dropout=0.5):
        super().__init__()
        self.first = nn.Conv2d(1, channels[0], 5, padding=2)
        self.second = nn.Conv2d(channels[0], channels[1], 5, padding=2)
        self.hidden = nn.Linear(channels[1] * (side // 4) ** 2, hidden)
        self.output = nn.Linear(hidden, 10)
        self.dropout = dropout

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.output(F.dropout(x, self.dropout, self.training))

    def names(self):
        return {"first": "convolutions.0", "second": "convolutions.1", "hidden": "hidden.0", "output": "output"}


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation; a block that shrinks drops pixels and adds channels of zeros."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(shortcut, (0, 0, 0, 0, 0, self.more)))


class ResNet(nn.Module):
    """ResNet of depth 6n + 2 for small images."""

    def __init__(self, depth=20, width=16, channels=1):
        super().__init__()
        per_stage = (depth - 2) // 6
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for stage in range(3):
            for i in range(per_stage):
                outputs = width << stage
                blocks.append(Block(inputs, outputs, 2 if stage > 0 and i == 0 else 1))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(inputs, 10)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.output(x.mean((2, 3)))

    def names(self):
        own = {name: name for name in ("stem", "stem_norm", "output")}
        parts = ("first", "first_norm", "second", "second_norm")
        return own | {f"blocks.{i}.{part}": f"blocks.{i}.{part}" for i in range(len(self.blocks)) for part in parts}


def parameter_names(model):
    """Kiln's name of each parameter, by PyTorch's."""
    names = model.names()
    return {name: f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name, _ in model.named_parameters()}


def in_torch_layout(value):
    """Kiln's values of a parameter as PyTorch keeps them: the matrix of a layer as ``[outputs, inputs]``."""
    found = torch.tensor(value["values"], dtype=torch.float64).reshape(value["shape"])
    return found.T if found.dim() == 2 else found
