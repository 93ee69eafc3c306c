"""Random cells run by scan and by unroll, with comparisons of their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.scan.compiled import CompiledScan
from tinygrad_rnn.scan.numpy import arrays
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import CellRun, layer_of, leaves, outcome, random_cell, run

RELATIVE = {8: 1e-8, 4: 1e-3}
"""Relative tolerances of float64 and float32, by item size; a larger difference is a fault, not rounding."""
ABSOLUTE = 1e-2
"""Absolute tolerance, as a part of the relative tolerance times the largest number: sums of large terms may be near zero."""


class Difference(AssertionError):
    """The error for two runs that differ."""


def pairs(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each name with its two arrays; an error if names, shapes or dtypes differ."""
    if expected.keys() != found.keys():
        raise Difference(f"only one has {sorted(expected.keys() ^ found.keys())}")
    for name, array in expected.items():
        other = found[name]
        if (other.shape, other.dtype) != (array.shape, array.dtype):
            raise Difference(f"{name} is {other.dtype}{other.shape}, not {array.dtype}{array.shape}")
        yield name, array, other


def agree(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise if names, shapes, dtypes or numbers differ."""
    for name, array, other in pairs(expected, found):
        relative = RELATIVE[array.dtype.itemsize] if array.dtype.kind == "f" else 0.0
        finite = np.abs(array[np.isfinite(array)])
        absolute = relative * ABSOLUTE * max(1.0, finite.max(initial=0))
        if not np.allclose(other, array, rtol=relative, atol=absolute, equal_nan=True):
            raise Difference(f"{name} is {other.tolist()}, not {array.tolist()}")


def quietly(drawn: CellRun, mode: str, order: int = 2, final_state_only: bool = False, **options: Any) -> dict[str, Any]:
    """All results of a run; its gradients are computed both recorded and by ``.backward()``, which records nothing."""
    with np.errstate(all="ignore"):
        layer, given = layer_of(drawn, mode, **options), {"final_state_only": final_state_only}
        return run(drawn, layer, order, **given) | backward(drawn, layer, **given)


_unrolled: dict[Any, dict[str, Any]] = {}
"""Results of unroll, by cell: several tests draw the same cells."""


def unrolled(drawn: CellRun, order: int, **options: Any) -> dict[str, Any]:
    """The results of unroll for a cell, computed once for each cell."""
    numbers = [value.data for value in leaves(drawn).values()] + list(drawn.cotangents.values())
    key = repr(drawn), drawn.seed, order, tuple(options.items()), *[array.tobytes() for array in numbers]
    if key not in _unrolled:
        _unrolled[key] = quietly(drawn, "unroll", order, **options)
    return _unrolled[key]


def check(drawn: CellRun, order: int = 2, **options: Any) -> None:
    """Scan equals unroll."""
    only = {name: value for name, value in options.items() if name == "final_state_only"}
    agree(unrolled(drawn, order, **only), quietly(drawn, "scan", order, **options))


def backward(drawn: CellRun, layer: nn.Recurrent, **options: Any) -> dict[str, Any]:
    """The first gradients without recording."""
    values = {
        name: value if value.requires_grad or value.dtype.kind != "f" else tr.tensor(value.data, requires_grad=True)
        for name, value in leaves(drawn).items()
    }
    floats = {name: value for name, value in values.items() if value.dtype.kind == "f"}
    ends = outcome(drawn, values, layer, **options)
    total = sum((ends[name] * array).sum() for name, array in drawn.cotangents.items() if name in ends)
    for value in floats.values():
        value.grad = None
        total = total + (0.0 * value).sum()
    if floats:
        total.backward()
    return {f"backward {name}": value.grad.numpy() for name, value in floats.items()}


def sample(count: int) -> list[CellRun]:
    """Random cells, the same in every run."""
    return [random_cell(RandomChoices(seed), lengths=True) for seed in range(count)]


@contextmanager
def plans() -> Iterator[list[CompiledScan]]:
    """Record the plans made inside the block: forward, reverse, and reverse of reverse."""
    found: list[CompiledScan] = []
    make = CompiledScan.__init__

    def noted(self: CompiledScan, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        found.append(self)

    CompiledScan.__init__ = noted  # type: ignore[method-assign]
    try:
        yield found
    finally:
        CompiledScan.__init__ = make  # type: ignore[method-assign]


@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes inside the block, each given as (object, name, value)."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name, value in changes:
            patch.setattr(place, name, value)
        yield


@contextmanager
def chunks(steps: int) -> Iterator[None]:
    """Programs run in chunks of few steps, and views of steps are made during the loop."""
    with patched((arrays, "_chunk", lambda *_: steps), (arrays, "TABLE", 0)):
        yield
