"""Attention layers and transformer blocks in PyTorch, with the weights and layouts of Kiln's.

Weights are ``[inputs, outputs]`` where a layer takes Kiln's as they are; inputs are ``[rows, length, width]``.
"""

import torch
import torch.nn.functional as F
from torch import nn

CHUNK = 64


def softmax_attention(q, k, v, causal):
    """softmax(q kᵀ / √d) v by PyTorch's own kernel; ``[rows, heads, length, d]``."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def linear_attention(q, k, v, causal):
    """Σ_j φ(q_i)·φ(k_j) v_j / Σ_j φ(q_i)·φ(k_j) with φ = elu + 1 (Katharopoulos et al. 2020), over all keys or j ≤ i.

    The causal sums go chunk by chunk: what lies before a chunk through one matrix, what is in it through its pairs.
    """
    q, k = F.elu(q) + 1, F.elu(k) + 1
    if not causal:
        sums = q @ (k.transpose(-1, -2) @ v)
        return sums / (q @ k.sum(-2, keepdim=True).transpose(-1, -2))
    rows, heads, length, d = q.shape
    size = min(CHUNK, length)
    if length % size:
        raise ValueError(f"a causal sum in chunks of {size} takes multiples of it, not {length} tokens")
    q, k, v = (x.reshape(rows, heads, length // size, size, d) for x in (q, k, v))
    states, totals = k.transpose(-1, -2) @ v, k.sum(-2, keepdim=True)
    before = states.cumsum(2) - states
    total = totals.cumsum(2) - totals
    pairs = (q @ k.transpose(-1, -2)).tril()
    sums = pairs @ v + q @ before
    divisor = pairs.sum(-1, keepdim=True) + q @ total.transpose(-1, -2)
    return (sums / divisor).reshape(rows, heads, length, d)


CORES = {"softmax": softmax_attention, "linear": linear_attention}


class Attention(nn.Module):
    """Projections without biases around a core."""

    NAMES = ["query.weight", "key.weight", "value.weight", "output.weight"]

    def __init__(self, core, width, heads, causal):
        super().__init__()
        self.core, self.heads, self.causal = CORES[core], heads, causal
        draw = lambda: nn.Parameter((2 * torch.rand(width, width) - 1) / width**0.5)
        self.query, self.key, self.value, self.out = draw(), draw(), draw(), draw()

    def kiln_parameters(self):
        """The parameters by Kiln's names."""
        return dict(zip(self.NAMES, [self.query, self.key, self.value, self.out]))

    def forward(self, x):
        rows, length, width = x.shape
        split = lambda x: x.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
        mixed = self.core(split(x @ self.query), split(x @ self.key), split(x @ self.value), self.causal)
        return mixed.transpose(1, 2).reshape(rows, length, width) @ self.out


def encoder_layer(width, heads, hidden):
    """PyTorch's own encoder layer: norms after both parts, exact GELU, no dropout."""
    return nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, activation="gelu", batch_first=True)


class Block(nn.Module):
    """GPT-2's block (Radford et al. 2019): norms in front, one packed projection, exact GELU."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.packed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        rows, length, width = x.shape
        packed = self.packed(self.attention_norm(x)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


class Decoder(nn.Module):
    """GPT-2's layout with an output layer of its own, without bias: logits at every token, ``[rows · length, classes]``."""

    def __init__(self, vocabulary, classes, length, width, heads, hidden, layers):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(vocabulary, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, classes, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x)).flatten(0, 1)


def load(module, names, values):
    """Fills a module with Kiln's parameters: ``names`` maps a parameter to those of Kiln that it packs side by side."""
    parameters = dict(module.named_parameters())
    if set(names) != set(parameters):
        raise ValueError(f"parameters without a counterpart: {sorted(set(names) ^ set(parameters))}")
    with torch.no_grad():
        for name, parts in names.items():
            parameters[name].copy_(packed(parts, values))


def packed(parts, values):
    """Kiln's values of ``parts`` side by side, a layer's matrix as ``[outputs, inputs]``."""
    tensors = [tensor(values[part]) for part in parts]
    if tensors[0].dim() == 2 and not parts[0].startswith(("embedding", "positions")):
        tensors = [t.T for t in tensors]
    return torch.cat(tensors)


def tensor(value, dtype=torch.float64):
    """A tensor from Kiln's ``{"shape", "values"}``."""
    return torch.tensor(value["values"], dtype=dtype).reshape(value["shape"])
