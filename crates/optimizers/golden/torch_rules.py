"""Weights after each of five steps on fixed gradients, in float64, by PyTorch's single-tensor loops.

Run: python torch_rules.py > torch_rules.json
"""
import json
import torch

W = [[0.5, -0.25, 1.0], [1.5, -2.0, 0.125]]
G = [
    [[0.2, 0.4, -1.0], [-0.1, 0.3, 0.0]],
    [[-0.3, 0.5, 0.7], [1e-9, -0.2, 0.0]],
    [[0.05, -0.6, 2.0], [0.4, 1e-5, 0.0]],
    [[0.9, 0.1, -0.3], [-0.8, 0.25, 0.0]],
    [[-1.5, 0.35, 0.6], [0.15, -0.45, 0.0]],
]
O = torch.optim
CASES = [
    (dict(name="sgd", lr=0.1), lambda p: O.SGD(p, 0.1)),
    (dict(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.02), lambda p: O.SGD(p, 0.1, 0.9, weight_decay=0.02)),
    (dict(name="sgd", lr=0.1, momentum=0.8, dampening=0.3), lambda p: O.SGD(p, 0.1, 0.8, dampening=0.3)),
    (dict(name="sgd", lr=0.1, momentum=0.9, nesterov=True), lambda p: O.SGD(p, 0.1, 0.9, nesterov=True)),
    (dict(name="adam", lr=0.01), lambda p: O.Adam(p, 0.01)),
    (dict(name="adam", lr=0.01, betas=[0.8, 0.95], eps=1e-3, weight_decay=0.1),
     lambda p: O.Adam(p, 0.01, (0.8, 0.95), 1e-3, 0.1)),
    (dict(name="adamw", lr=0.003, betas=[0.9, 0.99], eps=1e-25),
     lambda p: O.AdamW(p, 0.003, (0.9, 0.99), 1e-25, 0.0)),
    (dict(name="adamw", lr=0.05, weight_decay=0.5, v_zero="divide"),
     lambda p: O.AdamW(p, 0.05, weight_decay=0.5)),
    (dict(name="adagrad", lr=0.1, lr_decay=0.01, weight_decay=0.1),
     lambda p: O.Adagrad(p, 0.1, lr_decay=0.01, weight_decay=0.1)),
    (dict(name="rmsprop", lr=0.01, momentum=0.9), lambda p: O.RMSprop(p, 0.01, momentum=0.9)),
    (dict(name="rmsprop", lr=0.01, alpha=0.9, centered=True, eps=1e-3, weight_decay=0.1),
     lambda p: O.RMSprop(p, 0.01, 0.9, 1e-3, 0.1, centered=True)),
]


def run(make):
    w = torch.nn.Parameter(torch.tensor(W, dtype=torch.float64))
    optimizer = make([w])
    for group in optimizer.param_groups:
        group["foreach"] = False
    steps = []
    for g in G:
        w.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        steps.append(w.detach().tolist())
    return steps


print(json.dumps(dict(
    torch=torch.__version__, start=W, gradients=G,
    cases=[dict(config=config, weights=run(make)) for config, make in CASES],
), indent=1))
