"""Motifs of functions of one value, of products, and of gates that are slices of products."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .step_builder import StepBuilder, StepValue

__all__ = ["BOUNDED", "CHAINS", "GATES", "activated"]

BOUNDED = (("tanh",), ("sigmoid",), ("sin",), ("square", "negative", "exp"))
"""Functions of any number, with values in [-1, 1]."""

CHAINS = (
    *BOUNDED,
    ("shift", "relu"),
    ("softplus",),
    ("negative",),
    ("square",),
    ("cos",),
    ("shift", "absolute"),
    ("shift", "sign"),
    ("tanh", "expm1"),
    ("softplus", "log1p"),
    ("square", "one more", "log"),
    ("square", "one more", "sqrt"),
    ("square", "one more", "inverse"),
    ("softplus", "power"),
    ("tanh", "base"),
)


def activated(b: StepBuilder, value: StepValue, chain: tuple[str, ...]) -> StepValue:
    """Apply the functions of a chain, one after another; kinks are shifted away from all values."""
    for link in chain:
        if link == "shift":
            value = b("add", value, b.number())
        elif link == "one more":
            value = b("add", value, 1.0)
        elif link == "inverse":
            value = b("divide", 1.0, value)
        elif link == "power":
            value = b("power", value, 1 + b.number())
        elif link == "base":
            value = b("power", 1 + b.number(), value)
        else:
            value = b(link, value)
    return value


def _total(b: StepBuilder, parts: list[StepValue]) -> StepValue:
    """Combine parts by products and sums in turn, so that every part has a different effect."""
    total = parts[0]
    for i, part in enumerate(parts[1:]):
        total = b("multiply" if i % 2 == 0 else "add", total, part)
    return total


def _matrix(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """A weight matrix: a parameter, or computed in the step from parameters."""
    kinds = (*[plain_weight] * 3, masked_weight, transposed_weight, weight_softmax, scaled_weight, weight_product)
    kind = b.choose.pick((*kinds, *[gram_matrix] * 3 * (rows == columns)))
    return b.tag(kind(b, rows, columns), kind.__name__)


def plain_weight(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """A weight matrix that is a parameter or a captured value."""
    return b.weight(rows, columns)


def masked_weight(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write a weight matrix times a captured mask."""
    mask = b.constant(np.asarray(b.rng.random((rows, columns)) < 0.7))
    return b("multiply", b.weight(rows, columns), mask)


def transposed_weight(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write a transposed weight matrix."""
    return b("transpose", b.weight(columns, rows))


def weight_softmax(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write the softmax of a weight matrix."""
    return b("softmax", b.weight(rows, columns), axis=b.choose.pick((-1, 0)))


def scaled_weight(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write a weight matrix times a learnt number."""
    return b("multiply", b.weight(rows, columns), b.weight())


def weight_product(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write the product of two weight matrices."""
    inner = b.features()
    return b("matmul", b.weight(rows, inner), b.weight(inner, columns))


def gram_matrix(b: StepBuilder, rows: int, columns: int) -> StepValue:
    """Write Wᵀ W."""
    W = b.weight(b.features(), columns)
    return b("matmul", b("transpose", W), W)


def _product(b: StepBuilder, value: StepValue, columns: int) -> StepValue:
    return b("matmul", value, _matrix(b, value.size, columns))


# -- products ------------------------------------------------------------------------------


def affine(b: StepBuilder) -> StepValue:
    """Write f(a W + c V + b)."""
    n = b.features()
    total = _product(b, b.vector(), n)
    if b.choose.flag():
        total = b("add", total, _product(b, b.vector(), n))
    if b.choose.flag():
        total = b("add", total, b.weight(n))
    return activated(b, total, b.choose.pick(CHAINS))


def one_matrix_twice(b: StepBuilder) -> StepValue:
    """Write a W + f(c W): one matrix in two products."""
    a, n = b.vector(), b.features()
    W = _matrix(b, a.size, n)
    other = activated(b, b("matmul", b.vector(a.size), W), b.choose.pick(CHAINS))
    return b("add", b("matmul", a, W), other)


def several_matrices(b: StepBuilder) -> StepValue:
    """Write f(a W) g(a V) + h(a U): one value times several matrices."""
    a, n = b.vector(), b.features()
    chains = b.choose.pick(CHAINS), b.choose.pick(CHAINS), b.choose.pick(CHAINS)
    parts = [activated(b, b("matmul", a, b.weight(a.size, n, share=False)), chain) for chain in chains]
    return _total(b, parts)


def joined_product(b: StepBuilder) -> StepValue:
    """Write [a, c] W: the product of a concatenation."""
    parts = [b.vector() for _ in range(b.choose.integer(2, 3))]
    joined = b("concatenate", *parts, axis=-1)
    return activated(b, _product(b, joined, b.features()), b.choose.pick(CHAINS))


def sliced_gates(b: StepBuilder) -> StepValue:
    """Write gates that are slices of one product: adjacent, apart, overlapping, repeated or reordered."""
    width = b.choose.integer(1, 3)
    whole = width * b.choose.integer(2, 4) + b.choose.integer(0, 1)
    z = _product(b, b.vector(), whole)
    if b.choose.flag():
        z = b("add", z, _product(b, b.vector(), whole))
    if b.choose.flag():
        z = b("add", z, b.weight(whole))
    step = width if b.choose.flag() else 1
    one = b.choose.pick(CHAINS) if b.choose.flag() else None
    starts: list[int] = []
    gates: list[StepValue] = []
    while len(gates) < 2 or (len(gates) < 4 and b.choose.flag()):
        start = b.choose.integer(0, (whole - width) // step) * step
        part = b("getitem", z, index=(b.choose.pick((slice(None), Ellipsis)), slice(start, start + width)))
        gates.append(activated(b, part, one or b.choose.pick(CHAINS)))
        starts.append(start)
    return b.tag(_total(b, gates), *_lying(starts, width, whole), *(["equal gates"] if one else []))


def _lying(starts: list[int], width: int, whole: int) -> list[str]:
    """Kinds of positions that slices of one width have to each other: adjacent, apart, overlapping, and so on."""
    gaps = [second - first for first, second in pairwise(sorted(starts))]
    covered = {i for start in starts for i in range(start, start + width)}
    holds = {
        "repeated slices": 0 in gaps,
        "overlapping slices": any(0 < gap < width for gap in gaps),
        "slices apart": any(gap > width for gap in gaps),
        "adjacent slices": width in gaps,
        "reordered slices": starts != sorted(starts),
        "slices of a part": len(covered) < whole,
    }
    return [kind for kind, is_so in holds.items() if is_so]


def joined_gates(b: StepBuilder) -> StepValue:
    """Write one function of several concatenated values, and split the result again."""
    a = b.vector()
    c, n = b.vector(a.size), a.size
    chain = b.choose.pick(CHAINS)
    if b.choose.flag():
        both = activated(b, b("stack", a, c, axis=1), chain)
        parts = [b("getitem", both, index=(slice(None), i)) for i in (1, 0)]
        return b.tag(_total(b, parts), "stack of gates")
    both = activated(b, b("concatenate", a, c, axis=-1), chain)
    if b.choose.flag():
        return b.tag(b("tanh", both), "concatenation of gates")
    parts = [b("getitem", both, index=(slice(None), slice(i, i + n))) for i in (0, n)]
    return b.tag(_total(b, parts), "concatenation of gates")


GATES = (affine, *[sliced_gates] * 4, one_matrix_twice, several_matrices, joined_product, joined_gates)
"""Motifs with a product; slices occur several times in the list, because faults are most likely there."""
