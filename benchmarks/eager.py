"""How fast the engine is when every operation is a call: 50 steps of tanh(x@U + h@W + b).

Ours, PyTorch, MyGrad and HIPS autograd do the same forward and backward pass, with
gradients for U, W and b; their gradients are compared before anything is timed. One
thread, one core, interleaved, medians.

    pip install -e ".[bench]" && python benchmarks/eager.py
"""

from __future__ import annotations

import argparse
import json

from _timing import clock, interleaved, restrict

restrict(threads=1)

import statistics
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

T, B, H = 50, 8, 32
Array = np.ndarray
Run = Callable[[], list[Array]]


def problem() -> tuple[Array, Array, Array, Array]:
    """Inputs (T, B, H) and the parameters U, W, b, in float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(T, B, H)), rng.normal(size=(H, H)) / 6, rng.normal(size=(H, H)) / 6, rng.normal(size=H)


def numpy_alone() -> Run:
    """The same arithmetic by hand, with no graph: the floor of any eager engine on NumPy."""
    xs, U, W, b = problem()

    def run() -> list[Array]:
        hs = [np.zeros((B, H))]
        for x in xs:
            hs.append(np.tanh(x @ U + hs[-1] @ W + b))
        dU, dW, db, dh = np.zeros_like(U), np.zeros_like(W), np.zeros_like(b), np.ones((B, H))
        for t in range(T, 0, -1):
            da = dh * (1 - hs[t] * hs[t])
            db = db + da.sum(0)
            dU = dU + xs[t - 1].T @ da
            dW = dW + hs[t - 1].T @ da
            dh = da @ W.T
        return [dU, dW, db]

    return run


def ours() -> Run:
    """This library, eager."""
    import tinygrad_rnn as tr

    xs, *weights = problem()
    steps = [tr.tensor(x) for x in xs]
    start = tr.tensor(np.zeros((B, H)))
    U, W, b = (tr.tensor(w, requires_grad=True) for w in weights)

    def run() -> list[Array]:
        U.grad = W.grad = b.grad = None
        h = start
        for x in steps:
            h = tr.tanh(x @ U + h @ W + b)
        h.sum().backward()
        return [p.grad.data for p in (U, W, b)]

    return run


def pytorch() -> Run:
    """PyTorch, eager."""
    import torch

    torch.set_num_threads(1)
    xs, *weights = problem()
    steps = [torch.tensor(x) for x in xs]
    start = torch.zeros(B, H, dtype=torch.float64)
    U, W, b = (torch.tensor(w, requires_grad=True) for w in weights)

    def run() -> list[Array]:
        U.grad = W.grad = b.grad = None
        h = start
        for x in steps:
            h = torch.tanh(x @ U + h @ W + b)
        h.sum().backward()
        return [p.grad.numpy() for p in (U, W, b)]

    return run


def mygrad() -> Run:
    """MyGrad."""
    import mygrad as mg

    xs, *weights = problem()
    start = np.zeros((B, H))
    U, W, b = (mg.tensor(w) for w in weights)

    def run() -> list[Array]:
        U.null_grad()
        W.null_grad()
        b.null_grad()
        h = start
        for x in xs:
            h = mg.tanh(mg.matmul(x, U) + mg.matmul(h, W) + b)
        h.sum().backward()
        return [p.grad for p in (U, W, b)]

    return run


def hips_autograd() -> Run:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import grad

    xs, *weights = problem()

    def loss(parameters: list[Array]) -> Array:
        U, W, b = parameters
        h = np.zeros((B, H))
        for x in xs:
            h = anp.tanh(anp.dot(x, U) + anp.dot(h, W) + b)
        return anp.sum(h)

    gradient = grad(loss)
    return lambda: gradient(weights)


CONTESTANTS = {
    "NumPy by hand": numpy_alone,
    "tinygrad_rnn": ours,
    "PyTorch": pytorch,
    "MyGrad": mygrad,
    "HIPS autograd": hips_autograd,
}


def main() -> None:
    """Check that all agree, then time them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="timed runs of each (default 100)")
    parser.add_argument("--json", type=Path, help="also write the medians, in milliseconds, to this file")
    options = parser.parse_args()
    runs: dict[str, Run] = {}
    for name, make in CONTESTANTS.items():
        try:
            runs[name] = make()
        except ImportError as error:
            print(f"{name}: left out ({error}); pip install -e '.[bench]' has it")
    warnings.simplefilter("ignore")
    expected = runs["NumPy by hand"]()
    for name, run in runs.items():
        for found, right in zip(run(), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-9, err_msg=name)
    print(f"all gradients agree; T={T}, B={B}, I=H={H}, float64, one thread, medians of {options.rounds} interleaved runs")
    times = interleaved({name: partial(clock, run) for name, run in runs.items()}, dict.fromkeys(runs, options.rounds))
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    reference = medians["tinygrad_rnn"]
    for name, milliseconds in medians.items():
        print(f"  {name:14} {milliseconds:7.2f} ms   {milliseconds / reference:5.2f} × tinygrad_rnn's")
    if options.json:
        options.json.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
