"""Reference values from PyTorch: values and gradients of functions and recurrent layers, on random input.

Run this file to make ``pytorch_goldens.npz`` again (needs torch; the tests that read the file do not):

    python tests/helpers/pytorch_goldens.py

Each case is a function of a namespace, called with PyTorch's functions here, and with
tinygrad_rnn's in the test. `numpy_names` gives PyTorch the names that NumPy has. Each of
`LAYERS` is a recurrent layer, with random weights so that gates cannot be mistaken.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
rng = np.random.default_rng(20)


def real(*shape: int) -> Any:
    return rng.standard_normal(shape)


def positive(*shape: int) -> Any:
    return rng.uniform(0.2, 3, shape)


CLASSES = np.array([2, 0, 4])
ROWS = np.array([[0, 2], [2, 1]])

CASES: dict[str, tuple[Any, list[Any]]] = {}


def case(name: str, function: Any, *inputs: Any) -> None:
    CASES[name] = function, list(inputs)


for name in ("exp", "expm1", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "absolute", "square", "negative", "sign"):
    case(name, lambda tr, x, name=name: getattr(tr, name)(x), real(3, 4))
for name in ("log", "log1p", "sqrt"):
    case(name, lambda tr, x, name=name: getattr(tr, name)(x), positive(3, 4))
for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
    case(name, lambda tr, a, b, name=name: getattr(tr, name)(a, b), real(3, 1, 4), positive(2, 1))
case("power", lambda tr, a, b: a**b, positive(3, 4), real(4))
case("power of a number", lambda tr, a: a**3 + 2.0**a + a**0.5, positive(3, 4))
case("maximum of equals", lambda tr, a, b: tr.maximum(a, b) * 2, np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 3.0]))
case("where", lambda tr, a, b: tr.where(a > 0, a * b, b), real(3, 4), real(4))
case("clip", lambda tr, a: tr.clip(a, -0.5, 0.7), real(3, 4))

for axis in (None, 0, -1, (0, 2)):
    for keepdims in (False, True):
        for name in ("sum", "mean", "max", "min", "logsumexp"):
            case(
                f"{name} {axis} {keepdims}",
                lambda tr, x, name=name, axis=axis, keep=keepdims: getattr(tr, name)(x, axis, keepdims=keep),
                real(2, 3, 4),
            )
        for ddof in (0, 1):
            case(
                f"var {axis} {keepdims} {ddof}",
                lambda tr, x, axis=axis, keep=keepdims, ddof=ddof: tr.var(x, axis, ddof=ddof, keepdims=keep),
                real(2, 3, 4),
            )
case("prod", lambda tr, x: tr.prod(x), real(5))
case("prod along", lambda tr, x: tr.prod(x, 1), real(2, 5, 3))
case("prod with zeros", lambda tr, x: tr.prod(x, 0), np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 0.0], [4.0, -5.0, 6.0]]))
case("max of equals", lambda tr, x: tr.max(x), np.array([1.0, 3.0, 3.0, 2.0]))
case("cumsum", lambda tr, x: tr.cumsum(x, 1), real(2, 5, 3))
for axis in (0, 1, -1):
    case(f"softmax {axis}", lambda tr, x, axis=axis: tr.softmax(x, axis), real(3, 4))
    case(f"log_softmax {axis}", lambda tr, x, axis=axis: tr.log_softmax(x, axis), 20 * real(3, 4))

for a, b in (
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
):
    case(f"matmul {a} {b}", lambda tr, x, y: x @ y, real(*a), real(*b))
for subscripts, shapes in {
    "ij,jk": ((2, 3), (3, 4)),
    "...ij,...jk->...ik": ((5, 2, 3), (3, 4)),
    "bij,bjk->bki": ((2, 3, 4), (2, 4, 2)),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "iij->ji": ((3, 3, 2),),
    "i...->...": ((2, 3, 4),),
    "i,j->ij": ((2,), (3,)),
    "ij,kj,kl->il": ((2, 3), (4, 3), (4, 2)),
    "ij,ij->": ((2, 3), (2, 3)),
}.items():
    case(f"einsum {subscripts}", lambda tr, *xs, s=subscripts: tr.einsum(s, *xs), *[real(*shape) for shape in shapes])
case("outer", lambda tr, a, b: tr.outer(a, b), real(3), real(4))

case("transpose", lambda tr, x: tr.transpose(x, (2, 0, 1)), real(2, 3, 4))
case("swapaxes", lambda tr, x: tr.swapaxes(x, 0, -1), real(2, 3, 4))
case("moveaxis", lambda tr, x: tr.moveaxis(x, 0, 1), real(2, 3, 4))
case("reshape", lambda tr, x: x.reshape(4, -1), real(2, 3, 4))
case("broadcast_to", lambda tr, x: tr.broadcast_to(x, (5, 2, 3)), real(2, 1))
case("concatenate", lambda tr, a, b: tr.concatenate([a, b, a], 1), real(2, 3), real(2, 1))
case("stack", lambda tr, a, b: tr.stack([a, b, a * b], 1), real(2, 3), real(2, 3))
case("flip", lambda tr, x: tr.flip(x, 0), real(3, 4))
case("tile", lambda tr, x: tr.tile(x, (2, 1, 3)), real(2, 3))
case("split", lambda tr, x: tr.split(x, [1, 3], 1)[1], real(2, 4))

case("index", lambda tr, x: x[1], real(3, 4))
case("index step", lambda tr, x: x[::2, 1:3], real(3, 4))
case("index none", lambda tr, x: x[None, :, -1, None], real(3, 4))
case("index ellipsis", lambda tr, x: x[..., 0], real(2, 3, 4))
case("index rows", lambda tr, x: x[ROWS], real(3, 4))
case("index pairs", lambda tr, x: x[CLASSES % 3, CLASSES % 4], real(3, 4))
case("index apart", lambda tr, x: x[CLASSES % 2, :, CLASSES % 4], real(2, 3, 4))
case("index mask", lambda tr, x: x[x > 0], real(3, 4))
case("take_along_axis", lambda tr, x: tr.take_along_axis(x, ROWS, 1), real(2, 4))

case("cross_entropy", lambda tr, x: tr.cross_entropy(x, CLASSES), real(3, 5))
case("cross_entropy sum", lambda tr, x: tr.cross_entropy(x, CLASSES, reduction="sum"), real(3, 5))
case("cross_entropy none", lambda tr, x: tr.cross_entropy(x, CLASSES, reduction="none"), real(3, 5))
case("cross_entropy huge", lambda tr, x: tr.cross_entropy(x, CLASSES), 1e3 * real(3, 5))
case("cross_entropy soft", lambda tr, x, p: tr.cross_entropy(x, p), real(3, 5), positive(3, 5) / 5)
case("mse", lambda tr, x, y: tr.mse(x, y), real(3, 5), real(3, 5))


def elman(tr: Any, xs: Any, U: Any, W: Any, b: Any, V: Any) -> Any:
    h = xs[0, :, :1] * W[:1] * 0
    outputs = []
    for t in range(6):
        h = tr.tanh(xs[t] @ U + h @ W + b)
        outputs.append(h @ V)
    return tr.stack(outputs, 0)


case("elman", elman, real(6, 2, 3), real(3, 4), real(4, 4) / 2, real(4), real(4, 2))
case(
    "elman loss",
    lambda tr, xs, U, W, b, V: tr.cross_entropy(elman(tr, xs, U, W, b, V).reshape(12, 2), np.arange(12) % 2),
    *(real(6, 2, 3), real(3, 4), real(4, 4) / 2, real(4), real(4, 2)),
)


def gated(tr: Any, xs: Any, W: Any, R: Any) -> Any:
    h, c = xs[0] * 0, xs[0] * 0
    for t in range(5):
        a = xs[t] @ W + h @ R
        i, f, o, g = (a[:, 3 * k : 3 * k + 3] for k in range(4))
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        h = tr.sigmoid(o) * tr.tanh(c)
    return h + c


case("lstm", gated, real(5, 2, 3), real(3, 12) / 2, real(3, 12) / 2)


# Recurrent layers, by name: class, options, shape of the input; T, B, I and H differ, so that no axes can be confused.
LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], bool]] = {
    f"{kind} {what}": (kind, options, shape, given)
    for kind in ("RNN", "LSTM", "GRU")
    for what, options, shape, given in (
        ("over a batch", {}, (5, 2, 3), True),
        ("without biases", {"bias": False}, (5, 2, 3), False),
        ("batch first", {"batch_first": True}, (2, 5, 3), True),
        ("of one sequence", {}, (5, 3), True),
        ("of one step", {}, (1, 2, 3), False),
    )
}
LAYERS["RNN with relu"] = "RNN", {"nonlinearity": "relu"}, (5, 2, 3), True
HIDDEN = 4


def weights(shape: tuple[int, ...], k: int = 0) -> Any:
    """The cotangent with which a result is contracted: fixed, and never zero."""
    return np.cos(np.arange(np.prod(shape, dtype=int)) + k + 0.5).reshape(shape)


def numpy_names(torch: Any) -> Any:
    """PyTorch's functions with NumPy's names and arguments."""
    F = torch.nn.functional

    def reduced(function: Any) -> Any:
        return lambda x, axis=None, keepdims=False: function(
            x, dim=axis if axis is not None else tuple(range(x.ndim)), keepdim=keepdims
        )

    def prod(x: Any, axis: int | None = None) -> Any:
        return torch.prod(x) if axis is None else torch.prod(x, axis)

    def var(x: Any, axis: Any, ddof: int, keepdims: bool) -> Any:
        return torch.var(x, dim=axis if axis is not None else tuple(range(x.ndim)), correction=ddof, keepdim=keepdims)

    def cross_entropy(x: Any, y: Any, reduction: str = "mean") -> Any:
        return F.cross_entropy(x, torch.as_tensor(y), reduction=reduction)

    return SimpleNamespace(
        **{
            name: getattr(torch, name)
            for name in [
                "exp",
                "expm1",
                "sin",
                "cos",
                "tanh",
                "sigmoid",
                "relu",
                "absolute",
                "square",
                "negative",
                "sign",
                "log",
            ]
        },
        **{
            name: getattr(torch, name)
            for name in ["log1p", "sqrt", "add", "subtract", "multiply", "divide", "maximum", "minimum", "where"]
        },
        **{
            name: getattr(torch, name)
            for name in ["einsum", "outer", "swapaxes", "moveaxis", "stack", "tile", "cumsum", "softmax", "log_softmax"]
        },
        softplus=F.softplus,
        clip=torch.clamp,
        sum=reduced(torch.sum),
        mean=reduced(torch.mean),
        max=reduced(torch.amax),
        min=reduced(torch.amin),
        logsumexp=reduced(torch.logsumexp),
        var=var,
        prod=prod,
        transpose=torch.permute,
        broadcast_to=torch.broadcast_to,
        concatenate=torch.cat,
        flip=lambda x, axis: torch.flip(x, (axis,)),
        split=lambda x, at, axis: torch.tensor_split(x, at, axis),
        take_along_axis=lambda x, i, axis: torch.take_along_dim(x, torch.as_tensor(i), axis),
        cross_entropy=cross_entropy,
        mse=F.mse_loss,
    )


def layer(torch: Any, name: str) -> dict[str, Any]:
    """The results of a PyTorch layer for random weights, input and state, with all gradients."""
    kind, options, shape, given = LAYERS[name]
    module = getattr(torch.nn, kind)(shape[-1], HIDDEN, dtype=torch.float64, **options)
    batch = () if len(shape) == 2 else (shape[0 if options.get("batch_first") else 1],)
    inputs = {"xs": real(*shape)}
    if given:
        inputs |= {f"state {k}": real(1, *batch, HIDDEN) for k in range(2 if kind == "LSTM" else 1)}
    tensors = {key: torch.tensor(x, requires_grad=True) for key, x in inputs.items()}
    parameters = dict(module.named_parameters())
    for parameter in parameters.values():
        parameter.data = torch.tensor(real(*parameter.shape))
    state = [tensors[key] for key in tensors if key.startswith("state")]
    output, final = module(tensors["xs"], *([] if not state else [tuple(state)] if kind == "LSTM" else state))
    results = {"output": output}
    results |= {f"final {k}": part for k, part in enumerate(final if kind == "LSTM" else [final])}
    total = sum((y * torch.tensor(weights(tuple(y.shape), k))).sum() for k, y in enumerate(results.values()))
    leaves = tensors | parameters
    gradients = torch.autograd.grad(total, list(leaves.values()))
    found = leaves | results | {f"gradient {key}": g for key, g in zip(leaves, gradients, strict=True)}
    return {f"{name}/{key}": value.numpy(force=True) for key, value in found.items()}


@functools.cache
def stored() -> dict[str, Any]:
    """Arrays by name; a name has the case, and the part of the case."""
    found: dict[str, Any] = {}
    at = 0
    with np.load(FILE) as file:
        values = file["values"]
        for line in str(file["contents"]).splitlines():
            key, _, lengths = line.rpartition("|")
            shape = tuple(map(int, lengths.split(","))) if lengths else ()
            size = int(np.prod(shape, dtype=int))
            found[key] = values[at : at + size].reshape(shape)
            at += size
    return found


def main() -> None:
    import torch

    tr = numpy_names(torch)
    written: dict[str, Any] = {}
    for name, (function, inputs) in CASES.items():
        tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
        y = function(tr, *tensors)
        written[f"{name}/value"] = y.numpy(force=True)
        cotangent = torch.tensor(weights(tuple(y.shape)))
        first = torch.autograd.grad(y, tensors, cotangent, create_graph=True, allow_unused=True)
        # the second order: the gradient contracted once more
        contracted = sum((g * torch.tensor(weights(tuple(g.shape), 1))).sum() for g in first if g is not None)
        second: Any = [None] * len(tensors)
        if getattr(contracted, "requires_grad", False):
            second = torch.autograd.grad(contracted, tensors, allow_unused=True)
        for k, (x, g, gg) in enumerate(zip(inputs, first, second, strict=True)):
            written[f"{name}/input {k}"] = x  # the stream of random numbers may change with NumPy
            written[f"{name}/gradient {k}"] = np.zeros_like(x) if g is None else g.numpy(force=True)
            written[f"{name}/second {k}"] = np.zeros_like(x) if gg is None else gg.numpy(force=True)
    for name in LAYERS:
        written |= layer(torch, name)
    # one long vector and a table of contents: a thousand small files in an archive are mostly headers
    contents = "\n".join(f"{key}|{','.join(map(str, a.shape))}" for key, a in written.items())
    np.savez_compressed(
        FILE, contents=contents, values=np.concatenate([np.ravel(a) for a in written.values()]), torch=torch.__version__
    )
    print(f"{len(CASES) + len(LAYERS)} cases, {FILE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
