"""The pieces of the grokking study in PyTorch, shared by the golden curves and the step benchmark.

Weights are stored as Kiln stores them: a layer is ``y = x W`` with ``W`` of shape ``[in, out]``.
"""

import torch
import torch.nn.functional as F


def one_hot_pairs(a, b, p, dtype):
    """Two concatenated one-hots, ``[rows, 2 p]``: operand ``a`` in columns ``0..p``, ``b`` in ``p..2p``."""
    x = torch.zeros(len(a), 2 * p, dtype=dtype)
    rows = torch.arange(len(a))
    x[rows, a] = 1
    x[rows, p + b] = 1
    return x


def mlp_dense(weights, x):
    """Logits ``[rows, classes]`` of a bias-free ReLU MLP for a dense input ``[rows, in]``."""
    for w in weights[:-1]:
        x = torch.relu(x @ w)
    return x @ weights[-1]


def mlp_gather(weights, a, b, p):
    """The same logits from the operands: a one-hot times a matrix is a row of that matrix."""
    first, *rest = weights
    h = torch.relu(F.embedding(a, first) + F.embedding(b + p, first))
    return mlp_dense(rest, h)


def symlog(x):
    """``sign(x) log1p(|x|)``, with slope 1 at 0 (each branch only ever sees arguments on its own side)."""
    return torch.where(x >= 0, torch.log1p(x.clamp(min=0)), -torch.log1p(-x.clamp(max=0)))


def softmax_loss(z, y):
    """Mean cross entropy through softmax, in the dtype of the logits."""
    return F.cross_entropy(z, y)


def stablemax_loss(z, y):
    """Mean cross entropy through StableMax (arXiv:2501.04697) in f64, ``log1p(R)`` form:
    ``R = sum_{j != y} exp(symlog z_j - symlog z_y)``. No subtraction of near-equal numbers, hence accurate
    at any margin."""
    u = symlog(z.double())
    own = u.gather(1, y[:, None])
    rivals = (u - own).masked_fill(F.one_hot(y, z.shape[1]).bool(), -torch.inf)
    return torch.log1p(rivals.exp().sum(1)).mean()


def stablemax_loss_ratio(z, y):
    """The same loss in f64 as ``-log(s_y / sum_j s_j)``: the form of the paper, and the cheapest to compute
    (one logarithm per row), so the one that a benchmark has to beat."""
    z = z.double()
    s = torch.where(z >= 0, z + 1, 1 / (1 - z.clamp(max=0)))
    return -torch.log(s.gather(1, y[:, None]).squeeze(1) / s.sum(1)).mean()


def perp_grad(w, g, rescale=True, floor=1e-30, noise=1e-6):
    """The gradient ``g`` without its component along ``w`` (perpGrad, arXiv:2501.04697), per tensor:
    ``g' = g - <w,g> / (<w,w> + floor) w``, rescaled to the length of ``g``. A remainder of at most
    ``noise * |g|`` is rounding noise, which rescaling would blow up, and becomes 0.

    Dots and norms are computed in the dtype of the tensors."""
    rest = g - (w * g).sum() / ((w * w).sum() + floor) * w
    length, left = g.norm(), rest.norm()
    scale = length / (left + floor) if rescale else torch.ones_like(left)
    return torch.where(left <= noise * length, torch.zeros_like(g), rest * scale)
