"""Cases of a primitive: inputs and attributes, drawn from the primitive's declared domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..ops.core import Primitive
from ..ops.domains import Interval
from .choices import RandomChoices

__all__ = ["LAYOUTS", "Case", "bounds", "laid_out", "make_case", "random_cases"]

Shape = tuple[int, ...]
Array = npt.NDArray[Any]

SPAN = 3.0
"""Largest distance of drawn numbers from zero, or from the end of a half-open interval."""


class Case(NamedTuple):
    """Inputs and attributes to which a primitive is applied.

    Attributes
    ----------
    inputs : tuple of numpy.ndarray
    attributes : Mapping
    """

    inputs: tuple[Array, ...]
    attributes: Mapping[str, Any]


def random_cases(primitive: Primitive, count: int, seed: int = 0, *, wide: bool = False) -> Iterator[Case]:
    """Cases of a primitive, the same cases in every run.

    Parameters
    ----------
    primitive : Primitive
        The primitive.
    count : int
        Number of cases.
    seed : int
        Seed of the random choices.
    wide : bool
        Whether the numbers of a case have a scale between a thousandth and a thousand, if the domain is unbounded.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> len(list(random_cases(tr.tanh, 5)))
    5
    """
    for i in range(count):
        choose = RandomChoices(seed + i)
        case = make_case(primitive, choose, 10 ** choose.random.uniform(-3, 3) if wide else 1.0)
        if case is not None:
            yield case


def make_case(primitive: Primitive, choose: RandomChoices, scale: float = 1.0) -> Case | None:
    """Draw one case from a primitive's domain, away from its kinks; None if kinks cannot be avoided.

    `choose` draws the shapes and attributes, and a seed for the numbers, so that all numbers
    are different.
    """
    domain = primitive.domain
    if domain.shapes is not None:
        lengths = list(domain.shapes(choose))
    elif domain.signature is not None:
        lengths = _signed(choose, domain.signature)
    else:
        lengths = _together(choose, len(primitive.arguments))
    attributes = dict(domain.attributes(choose, *lengths)) if domain.attributes is not None else {}
    seed = choose.integer(0, 2**16)
    layouts = [choose.pick(LAYOUTS) for _ in lengths]
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt])
        inputs = tuple(
            laid_out(_numbers(rng, domain.of(i), shape, scale), layout)
            for i, (shape, layout) in enumerate(zip(lengths, layouts, strict=True))
        )
        if domain.kinks is None or not (np.abs(domain.kinks(*inputs, **attributes)) < 1e-2).any():
            return Case(inputs, attributes)
    return None


def _together(choose: RandomChoices, count: int) -> list[Shape]:
    """Draw shapes that broadcast together; the first shape is often the full shape."""
    full = choose.shape()
    found = []
    for i in range(count):
        if i == 0 or not choose.integer(0, 2):
            found.append(full)
            continue
        skip = choose.integer(0, len(full))
        found.append(tuple(1 if choose.flag() else n for n in full[skip:]))
    order = choose.permutation(count)
    return [found[i] for i in order]


def _signed(choose: RandomChoices, signature: str) -> list[Shape]:
    terms = [term.strip("()") for term in signature.split("->")[0].replace(" ", "").split("),(")]
    cores = [[name for name in term.split(",") if name] for term in terms]
    lengths = {name: choose.pick((2, 3, 1, 4, 2, 3, 2, 3, 0)) for core in cores for name in core}
    batches: list[Shape] = _together(choose, len(cores)) if choose.flag() else [()] * len(cores)
    return [(*batch[-2:], *[lengths[name] for name in core]) for batch, core in zip(batches, cores, strict=True)]


def _numbers(rng: np.random.Generator, interval: Interval, shape: Shape, scale: float) -> Array:
    if interval.kind == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    low, high = bounds(interval, scale if interval.kind == "float" else 1.0)
    if interval.kind == "int":
        return np.asarray(rng.integers(int(np.floor(low)) + 1, int(np.ceil(high)), shape))
    # well inside: a derivative near the end of a domain may be too steep to judge
    inside = 0.1 if np.isfinite(interval.low) or np.isfinite(interval.high) else 0.0
    return np.asarray(low + (high - low) * (inside / 2 + (1 - inside) * rng.random(shape)))


def bounds(interval: Interval, scale: float = 1.0) -> tuple[float, float]:
    """The smallest and the largest number to draw from an interval."""
    low, high, span = interval.low, interval.high, SPAN * scale
    if np.isinf(low) and np.isinf(high):
        return -span, span
    if np.isinf(high):
        return low, low + span
    if np.isinf(low):
        return high - span, high
    return low, high


LAYOUTS = ("C", "F", "strided", "reversed")


def laid_out(value: Array, layout: str) -> Array:
    """A copy of an array in another memory layout, such as Fortran order or with strides."""
    if layout == "F":
        return np.asfortranarray(value) if value.ndim else value
    if layout == "reversed" and value.ndim:
        return value[::-1].copy()[::-1]
    if layout == "strided" and value.ndim:
        wider = np.zeros((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)
        wider[..., ::2] = value
        return wider[..., ::2]
    return value
