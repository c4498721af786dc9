"""The maps and pointwise functions of Kiln in PyTorch, as their users write them: over the last axis, without masks, at the
parameters that Kiln has by default. Library functions where a library has them, plain tensor operations elsewhere."""

import math

import torch
import torch.nn.functional as F


def stablemax(x):
    s = torch.where(x >= 0, x + 1, 1 / (1 - x.clamp(max=0)))
    return s / s.sum(-1, keepdim=True)


def sparse_softmax(x, k=10):
    kth = x.topk(min(k, x.shape[-1]), dim=-1).values[..., -1:]
    return torch.softmax(x.masked_fill(x < kth, -torch.inf), -1)


class _SoftTopk(torch.autograd.Function):
    """Sigmoids with one shift per row so that they sum to k: bisection forward, the implicit gradient backward."""

    @staticmethod
    def forward(ctx, x, k, alpha):
        n = x.shape[-1]
        share = math.log(k / (n - k)) / alpha
        low = share - x.amax(-1, keepdim=True)
        high = share - x.amin(-1, keepdim=True)
        for _ in range(32):
            middle = 0.5 * (low + high)
            enough = torch.sigmoid(alpha * (x + middle)).sum(-1, keepdim=True) >= k
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        y = torch.sigmoid(alpha * (x + 0.5 * (low + high)))
        ctx.save_for_backward(y)
        ctx.alpha = alpha
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        v = ctx.alpha * y * (1 - y)
        return v * (g - (v * g).sum(-1, keepdim=True) / v.sum(-1, keepdim=True)), None, None


def soft_topk(x):
    return _SoftTopk.apply(x, 5.0, 1.0)


def softmax1(x):
    m = x.amax(-1, keepdim=True).clamp(min=0).detach()
    e = torch.exp(x - m)
    return e / (torch.exp(-m) + e.sum(-1, keepdim=True))


def taylor_softmax(x):
    f = 1 + x + 0.5 * x * x
    return f / f.sum(-1, keepdim=True)


def spherical_softmax(x, eps=1e-6):
    f = x * x + eps
    return f / f.sum(-1, keepdim=True)


def ssmax(x, s=0.43):
    return torch.softmax(s * math.log(x.shape[-1]) * x, -1)


def logn_scale(x, n_train=512):
    return torch.softmax(max(1.0, math.log(x.shape[-1]) / math.log(n_train)) * x, -1)


def sa_softmax(x, eps=1e-10):
    low = x.amin(-1, keepdim=True).clamp(max=0)
    high = x.amax(-1, keepdim=True).clamp(min=0)
    return torch.softmax(x, -1) * (x - low) / (high - low + eps)


def softpick(x, eps=1e-6):
    m = x.amax(-1, keepdim=True).clamp(min=0).detach()
    e = torch.exp(x - m) - torch.exp(-m)
    return e.clamp(min=0) / (e.abs().sum(-1, keepdim=True) + eps)


def adaptive_temperature(x):
    """As in a training step, where it is softmax."""
    return torch.softmax(x, -1)


def clipped_softmax(x, gamma=-0.025, zeta=1.0):
    return ((zeta - gamma) * torch.softmax(x, -1) + gamma).clamp(0, 1)


def sigmoid_map(x):
    return torch.sigmoid(x - math.log(x.shape[-1]))


def relu_attention(x):
    return torch.relu(x) / math.sqrt(x.shape[-1] / 2)


def nap(x, eps=1e-3):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps)


def dynamic_conv_norm(x):
    return torch.relu(F.layer_norm(x, x.shape[-1:])) / math.sqrt(x.shape[-1])


def lssa(x, d_head=64):
    u = F.softplus(math.log(d_head) * math.log(x.shape[-1]) * x)
    return u / u.sum(-1, keepdim=True)


def lssar(x, p=15):
    r = torch.relu(x.shape[-1] * lssa(x) - 1)
    r = (r / r.amax(-1, keepdim=True).clamp(min=1e-30).detach()) ** p
    return r / r.sum(-1, keepdim=True).clamp(min=1e-30)


def gumbel_softmax(x):
    return F.gumbel_softmax(x, tau=1.0, dim=-1)


def _straight_through(smooth, value):
    return smooth + (value - smooth).detach()


def log_sqrt2_quant(x, bits=4):
    p = torch.softmax(x, -1)
    delta = p.amax(-1, keepdim=True)
    k = torch.round(-2 * torch.log2(p / delta))
    value = torch.where(k < 2**bits, delta * torch.exp2(-0.5 * k), torch.zeros_like(p))
    return _straight_through(p, value)


def softmax_bias_correction(x, bits=8):
    p = torch.softmax(x, -1)
    steps = 2**bits - 1
    return _straight_through(p, torch.round(p * steps) / steps)


def entmax_package(function):
    """A function of the entmax package, or ``None`` without it."""
    try:
        import entmax
    except ImportError:
        return None
    return {
        "sparsemax": lambda x: entmax.sparsemax(x, dim=-1),
        "entmax": lambda x: entmax.entmax15(x, dim=-1),
        "entmax_bisect": lambda x: entmax.entmax_bisect(x, alpha=1.5, dim=-1),
    }[function]


# By Kiln's names. What is missing has no common form in PyTorch.
MAPS = {
    "softmax": lambda x: torch.softmax(x, -1),
    "stablemax": stablemax,
    "sparsemax": entmax_package("sparsemax"),
    "entmax": entmax_package("entmax"),
    "sparse_softmax": sparse_softmax,
    "soft_topk": soft_topk,
    "temperature": lambda x: torch.softmax(x / 1.0, -1),
    "softmax1": softmax1,
    "taylor_softmax": taylor_softmax,
    "spherical_softmax": spherical_softmax,
    "ssmax": ssmax,
    "logn_scale": logn_scale,
    "sa_softmax": sa_softmax,
    "softpick": softpick,
    "adaptive_temperature": adaptive_temperature,
    "clipped_softmax": clipped_softmax,
    "sigmoid": sigmoid_map,
    "relu_attention": relu_attention,
    "nap": nap,
    "dynamic_conv_norm": dynamic_conv_norm,
    "lssa": lssa,
    "lssar": lssar,
    "gumbel_softmax": gumbel_softmax,
    "masked_softmax": lambda x: torch.softmax(x, -1),
    "log_sqrt2_quant": log_sqrt2_quant,
    "softmax_bias_correction": softmax_bias_correction,
}

POINTWISE = {
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "relu_squared": lambda x: torch.relu(x).square(),
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "symlog": lambda x: x.sign() * torch.log1p(x.abs()),
}

# What draws noise, or has another gradient convention at a jump, and cannot be compared number by number.
RANDOM = {"gumbel_softmax"}
