"""Motifs: building blocks of steps of recurrent networks; each motif writes a few equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .product_motifs import CHAINS, GATES, activated
from .recipe import BATCH
from .step_builder import StepBuilder, StepValue

__all__ = ["ACROSS", "DELAYED", "MOTIFS", "Motif"]

Motif = Callable[[StepBuilder], StepValue]

# -- elementwise ---------------------------------------------------------------------------


def activation(b: StepBuilder) -> StepValue:
    """Write f(a), with a chain of functions for f."""
    return activated(b, b.vector(), b.choose.pick(CHAINS))


def two_values(b: StepBuilder) -> StepValue:
    """Write a + c, or another function of two values."""
    a = b.vector()
    c = b.vector(a.size)
    operation = b.choose.pick(("add", "multiply", "subtract", "maximum", "minimum", "divide"))
    if operation in ("maximum", "minimum"):
        c = b("add", c, b.number())
    if operation == "divide":
        c = activated(b, c, ("square", "one more"))
    return b(operation, a, c)


def used_twice(b: StepBuilder) -> StepValue:
    """Write a f(a): a product that reads one value twice."""
    a = b.vector()
    how = b.choose.pick(("multiply", "add", "same"))
    return b("multiply", a, a) if how == "same" else b(how, a, activated(b, a, b.choose.pick(CHAINS)))


def diagonal(b: StepBuilder) -> StepValue:
    """Write a w + c, with vectors or numbers for weights."""
    a = b.vector()
    w, c = (b.weight(*b.choose.pick(((a.size,), (1,), (), (1, a.size)))) for _ in range(2))
    total = b("add", b("multiply", a, w), c)
    return b.tag(total, "scalar weight") if w.sample.ndim == 0 else total


def interpolation(b: StepBuilder) -> StepValue:
    """Write z a + (1 - z) c, with a gate z."""
    a = b.vector()
    c, z = b.vector(a.size), b("sigmoid", b.vector(a.size))
    return b("add", b("multiply", z, a), b("multiply", b("subtract", 1.0, z), c))


def clipped(b: StepBuilder) -> StepValue:
    """Write a value clipped to an interval."""
    return b("clip", b.vector(), min=-b.number(), max=b.number())


def stepped(b: StepBuilder) -> StepValue:
    """Write a plus a multiple of ⌊a⌋, ⌊a / c⌋ or a mod c."""
    a = b.vector()
    of = b("add", a, b.number())
    how = b.choose.pick(("floor", "floor_divide", "remainder"))
    steps = b("floor", of) if how == "floor" else b(how, of, b.number(0.5, 0.9))
    return b("add", a, b("multiply", steps, b.number()))


def cut(b: StepBuilder) -> StepValue:
    """Write a detached value, or a product with one: no gradient passes."""
    a = b.vector()
    return b("multiply", b.vector(a.size), b("detach", a)) if b.choose.flag() else b("detach", a)


# -- reductions ----------------------------------------------------------------------------


def reduction(b: StepBuilder) -> StepValue:
    """Write a value minus, or times, its sum, mean, maximum, minimum or logsumexp over the features."""
    a = b.vector()
    how = b.choose.pick(("sum", "mean", "max", "logsumexp", "min"))
    of = b("add", a, b.weight(a.size, share=False)) if how in ("max", "min") else a
    keepdims = b.choose.flag()
    total = b(how, of, axis=-1, keepdims=keepdims)
    if not keepdims:
        total = b("reshape", total, shape=(BATCH, 1))
    return b(b.choose.pick(("subtract", "multiply")), a, total)


def normalised(b: StepBuilder) -> StepValue:
    """Write a layer normalisation."""
    a = b.vector()
    centred = b("subtract", a, b("mean", a, axis=-1, keepdims=True))
    size = b("sqrt", b("add", b("mean", b("square", centred), axis=-1, keepdims=True), 0.1))
    return b("add", b("multiply", b("divide", centred, size), b.weight(a.size)), b.weight(a.size))


def distribution(b: StepBuilder) -> StepValue:
    """Write a softmax over the features, or its logarithm."""
    return b(b.choose.pick(("softmax", "log_softmax")), b.vector(), axis=-1)


def ordered(b: StepBuilder) -> StepValue:
    """Write the features sorted by their values."""
    a = b.vector()
    order = b("argsort", b("add", a, b.weight(a.size, share=False)), axis=-1)
    return b("take_along_axis", a, order, axis=-1)


def running_sum(b: StepBuilder) -> StepValue:
    """Write a cumulative sum over the features."""
    return b("cumsum", b.vector(), axis=-1)


# -- masks and codes -----------------------------------------------------------------------


def mask(b: StepBuilder, size: int) -> StepValue:
    """Write booleans that broadcast against a value of this size."""
    form = b.choose.pick(("compared", "captured", "not", "both", "either", *["codes"] * 3))
    if form == "captured":
        return b.constant(np.asarray(b.rng.random(size) < 0.5))
    if form == "codes" and b.codes:
        code = b.constant(np.asarray(b.choose.integer(0, 2)))
        same = b(b.choose.pick(("equal", "not_equal")), b.choose.pick(b.codes), code)
        return b("reshape", same, shape=(BATCH, 1))
    operation = b.choose.pick(("greater", "less", "greater_equal", "less_equal", "not_equal"))
    compared = b(operation, b.vector(size), b.number(-0.5, 0.5))
    if form == "not":
        return b("logical_not", compared)
    if form in ("both", "either"):
        other = b("less", b.vector(size), b.number())
        return b("logical_and" if form == "both" else "logical_or", compared, other)
    return compared


def chosen(b: StepBuilder) -> StepValue:
    """Write elements of one value or another, chosen by a mask."""
    a = b.vector()
    m = mask(b, a.size)
    form = b.choose.pick(("two", "zero", "times"))
    if form == "times":
        return b("multiply", a, b("astype", m, dtype=np.dtype(np.float64)))
    return b("where", m, a, b.vector(a.size) if form == "two" else 0.0)


def looked_up(b: StepBuilder) -> StepValue:
    """Write a look-up: matrix rows or one-hot vectors by codes, rows by the largest feature, or features by position."""
    if b.codes and b.choose.flag():
        same = b("equal", b("reshape", b.choose.pick(b.codes), shape=(BATCH, 1)), b.constant(np.arange(3)))
        return b.tag(b("astype", same, dtype=np.dtype(np.float64)), "one-hot codes")
    if b.codes:
        return b.tag(b("take", b.weight(3, b.features(), share=False), b.choose.pick(b.codes), axis=0), "lookup")
    a = b.vector()
    if b.choose.flag():
        largest = b("argmax", b("add", a, b.weight(a.size, share=False)), axis=-1, keepdims=False)
        return b.tag(b("take", b.weight(a.size, b.features(), share=False), largest, axis=0), "lookup of the largest")
    order = b.rng.integers(0, a.size, b.features())
    return b.tag(b("take", a, b.constant(order), axis=-1), "features by position")


# -- shapes --------------------------------------------------------------------------------


def reshaped(b: StepBuilder) -> StepValue:
    """Write a value that passes through another shape and back."""
    a = b.vector()
    chain = b.choose.pick(CHAINS)
    if b.choose.flag():
        middle = activated(b, b("transpose", a), chain)
        return b.tag(b("transpose", middle), "through a transpose")
    shape = b.choose.pick(((BATCH, 1, a.size), (BATCH, a.size, 1)))
    middle = b("broadcast_to", b("reshape", a, shape=shape), shape=(BATCH, a.size, a.size))
    weighted = b("multiply", activated(b, middle, chain), b.weight(a.size, a.size))
    return b.tag(b("mean", weighted, axis=b.choose.pick((-1, -2))), "through another rank")


def strided(b: StepBuilder) -> StepValue:
    """Write the features in reverse order, or every second feature, or a few features at an end."""
    a = b.vector()
    part = b.choose.pick((slice(None, None, -1), slice(None, None, 2), slice(-1, None), slice(0, -1 if a.size > 1 else None)))
    return b("getitem", a, index=(Ellipsis, part))


def padded(b: StepBuilder) -> StepValue:
    """Write a value padded with a parameter at one end or both."""
    a = b.vector()
    edge = b("broadcast_to", b.weight(1), shape=(BATCH, 1))
    parts = (edge, a) if b.choose.flag() else (edge, a, edge)
    return b("concatenate", *parts, axis=-1)


def contraction(b: StepBuilder) -> StepValue:
    """Write an einsum of two or three values."""
    a, n = b.vector(), b.features()
    form = b.choose.pick(("bi,ij->bj", "bi,bi->b", "bi,ij,bj->bi"))
    if form == "bi,ij->bj":
        return b("einsum", a, b.weight(a.size, n), subscripts=form)
    if form == "bi,bi->b":
        return b("reshape", b("einsum", a, b.vector(a.size), subscripts=form), shape=(BATCH, 1))
    return b("einsum", a, b.weight(a.size, n), b.vector(n), subscripts=form)


def attention(b: StepBuilder) -> StepValue:
    """Write attention: values weighted by their similarity to a query."""
    query = b.vector()
    n = query.size
    alike = [v for v in b.usable() if v.is_vector and v.size == n]
    parts = alike[:4] if len(alike) > 1 and b.choose.flag() else [b.vector(n) for _ in range(b.choose.integer(2, 3))]
    memory = b("stack", *parts, axis=1)
    if b.choose.flag():
        scores = b("einsum", memory, query, subscripts="bkn,bn->bk")
        weights = b("softmax", scores, axis=-1)
        return b("einsum", weights, memory, subscripts="bk,bkn->bn")
    column = b("reshape", query, shape=(BATCH, n, 1))
    weights = b("softmax", b("matmul", memory, column), axis=-2)
    return b("sum", b("multiply", weights, memory), axis=1)


def read_matrix(b: StepBuilder) -> StepValue:
    """Write the product of a query and a matrix; each row of the batch has its own matrix."""
    matrices = [v for v in b.usable() if v.sample.ndim == 3]
    query = b.vector()
    matrix = b.choose.pick(matrices) if matrices else b.fit(query, query.size, b.features())
    row = b("reshape", b.fit(query, matrix.sample.shape[1]), shape=(BATCH, 1, matrix.sample.shape[1]))
    return b("reshape", b("matmul", row, matrix), shape=(BATCH, matrix.size))


def across_the_batch(b: StepBuilder) -> StepValue:
    """Write a value in which each row of the batch depends on the other rows."""
    a = b.vector()
    if b.choose.flag():
        return b("subtract", a, b("mean", a, axis=0, keepdims=True))
    scores = b("softmax", b("matmul", a, b("transpose", a)), axis=-1)
    return b("matmul", scores, b.vector())


MOTIFS: tuple[Motif, ...] = (
    activation,
    two_values,
    two_values,
    *GATES,
    diagonal,
    used_twice,
    interpolation,
    clipped,
    stepped,
    cut,
    reduction,
    reduction,
    normalised,
    distribution,
    running_sum,
    ordered,
    chosen,
    chosen,
    chosen,
    looked_up,
    looked_up,
    reshaped,
    strided,
    padded,
    contraction,
    attention,
    attention,
    read_matrix,
)

DELAYED: tuple[Motif, ...] = (attention,) * 12
"""Motifs that are more likely if slots are delays."""

ACROSS: tuple[Motif, ...] = (across_the_batch,)
"""Motifs in which a row of the batch depends on the other rows."""
