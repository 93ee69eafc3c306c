"""Localisation of a wrong gradient: the argument, element, operation and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from ...autodiff import pullback
from ...errors import TinygradError
from ...graph.node import Node, ancestors
from ...ops.core import Sparse, as_tensor
from ...ops.indexing import scatter
from ...ops.messages import describe
from ...tensor import Tensor
from .oracles import Estimate, differences, judge, part, replay
from .subject import Evaluation, Subject, Vector, direction, flat, split
from .tolerances import AGREES, ROUNDING, TERMS
from .verdicts import UndecidedError

__all__ = ["apart", "localise", "rounding", "tolerance"]

Indices = npt.NDArray[np.intp]

ALL_ELEMENTS = 256
"""Largest number of elements of an argument that are checked one by one; more elements are halved first."""


def tolerance(estimate: Estimate, u: Vector, terms: float) -> float:
    """The largest error of ⟨u, Jv⟩ that the oracle's own error and rounding of the terms explain."""
    weight = np.abs(u)
    return AGREES * float(weight[weight > 0] @ estimate.error[weight > 0]) + TERMS * terms


def rounding(estimate: Estimate, u: Vector) -> float:
    """The largest derivative of ⟨u, y⟩ that rounding alone explains."""
    return ROUNDING * float(np.abs(u) @ estimate.rounding)


def apart(estimate: Estimate, u: Vector, v: Vector, g: Vector) -> tuple[float, float, float]:
    """The difference of ⟨u, Jv⟩ and ⟨g, v⟩, the largest difference allowed, and the size of their terms."""
    size = float(np.abs(u * estimate.value).sum() + np.abs(g * v).sum())
    gap = abs(float(u @ estimate.value) - float(g @ v))
    return gap, tolerance(estimate, u, size) + rounding(estimate, u), size


def localise(subject: Subject, evaluation: Evaluation, u: Vector, v: Vector, order: int) -> str:
    """The report about a gradient that is wrong along a direction."""
    x, g = subject.x, evaluation.pull(u)
    whole = judge(subject, evaluation, x, v)
    masks = _masks(subject)
    candidates = []
    for k, mask in enumerate(masks):
        gap, allowed, _ = apart(part(whole, subject, evaluation, x, v * mask), u, v * mask, g)
        candidates.append((gap > allowed, gap, -k))
    k = -max(candidates)[2]
    shape = subject.point[k].shape
    elements: Indices = np.flatnonzero(masks[k] * v)
    if len(elements) > ALL_ELEMENTS:
        elements = _halve(whole, subject, evaluation, u, v, g, elements)

    lengths = np.abs(v[elements])
    estimates = [part(whole, subject, evaluation, x, _unit(x, i) * n) for i, n in zip(elements, lengths, strict=True)]
    jacobian = np.array([e.value / n for e, n in zip(estimates, lengths, strict=True)])
    numeric, analytic = jacobian @ u, g[elements]
    errors = np.array(
        [(tolerance(e, u, abs(float(u @ e.value))) + rounding(e, u)) / n for e, n in zip(estimates, lengths, strict=True)]
    )
    if (np.abs(numeric - analytic) <= errors).all():
        raise UndecidedError(
            f"the gradient of order {order} is undecided in {subject.names[k]} {shape}: along a random direction it differs "
            "from the oracles, and in no element by more than rounding explains; check it at another point"
        )
    worst = int(np.argmax(lengths * (np.abs(numeric - analytic) - errors)))
    index = tuple(int(i) for i in np.unravel_index(elements[worst] - np.flatnonzero(masks[k])[0], shape))
    ratio = analytic[worst] / numeric[worst] if numeric[worst] else np.inf
    lines = [
        f"the gradient of order {order} is wrong in {subject.names[k]} {shape}",
        f"  at index {index}: analytic {analytic[worst]:.10g}, numeric {numeric[worst]:.10g} ± {errors[worst]:.0e}"
        f" by {estimates[worst].oracle}, ratio {ratio:.4g}",
    ]
    complete = len(elements) == subject.point[k].size
    guess = _guess(subject, k, analytic, numeric, errors, jacobian * u, evaluation, g, complete)
    if guess:
        lines.append(f"  perhaps {guess}")
    lines += _where(evaluation, u)
    return "\n".join(lines)


def _masks(subject: Subject) -> list[Vector]:
    return [flat([np.full(a.shape, float(i == k)) for i, a in enumerate(subject.point)]) for k in range(len(subject.point))]


def _unit(x: Vector, i: int) -> Vector:
    e = np.zeros_like(x)
    e[i] = 1.0
    return e


def _halve(
    whole: Estimate, subject: Subject, evaluation: Evaluation, u: Vector, v: Vector, g: Vector, elements: Indices
) -> Indices:
    """Narrow the elements of an argument down to a few neighbours, at least one of which has a wrong gradient."""
    while len(elements) > 8:
        halves = np.array_split(elements, 2)
        excess = []
        for half in halves:
            along = np.zeros_like(v)
            along[half] = v[half]
            gap, allowed, _ = apart(part(whole, subject, evaluation, subject.x, along), u, along, g)
            excess.append(gap / (allowed or 1.0))
        elements = halves[int(np.argmax(excess))]
    return elements


# -- guesses -------------------------------------------------------------------------------


def _guess(
    subject: Subject,
    k: int,
    analytic: Vector,
    numeric: Vector,
    errors: Vector,
    terms: Vector,
    evaluation: Evaluation,
    g: Vector,
    complete: bool,
) -> str:
    """Name the first simple mistake that explains all wrong elements, or return an empty string."""
    allowed = errors + 1e-8 * np.abs(numeric).max(initial=0)
    if not analytic.any():
        return "missing: nothing comes back to it"
    shape = subject.point[k].shape
    for words, made in _mistakes(shape, analytic, numeric, terms, evaluation, complete):
        if (np.abs(analytic - made) <= allowed).all():
            return words
    for j, mask in enumerate(_masks(subject)):
        if complete and j != k and subject.point[j].shape == shape and (np.abs(g[mask > 0] - numeric) <= allowed).all():
            return f"exchanged with the gradient of {subject.names[j]}"
    wrong = np.abs(analytic - numeric) > allowed
    if wrong.any() and not analytic[wrong].any():
        return f"missing at {int(wrong.sum())} of {len(wrong)} elements"
    return ""


def _mistakes(
    shape: tuple[int, ...], analytic: Vector, numeric: Vector, terms: Vector, evaluation: Evaluation, complete: bool
) -> Iterator[tuple[str, Vector]]:
    """Simple mistakes in words, each with the resulting gradient; terms have a column for each output element."""
    yield "a wrong sign", -numeric
    yield "a factor 2: something is counted twice", 2 * numeric
    yield "a factor 1/2: one of two uses is not counted", numeric / 2
    if complete:
        if len(shape) == 2 and shape[0] == shape[1]:
            yield "transposed", numeric.reshape(shape).T.ravel()
        for axis in range(len(shape)):
            yield f"reversed along axis {axis}", np.flip(numeric.reshape(shape), axis).ravel()
    for t, own in zip(evaluation.outputs, _columns(terms, evaluation), strict=True):
        rest = numeric - own.reshape(len(own), -1).sum(1)
        for axis, n in enumerate(t.shape):
            if n < 2:
                continue
            for i in (0, n - 1):
                words = f"not summed over axis {axis} of the output: only position {i} is counted"
                yield words, rest + own.take(i, axis + 1).reshape(len(own), -1).sum(1)
            yield f"a mean over axis {axis} of the output in place of a sum", numeric / n
    if len(numeric) > 1 and (largest := np.abs(numeric).max()):
        weight = numeric / largest
        if factor := float(analytic @ weight) / float(numeric @ weight):
            yield f"a constant factor {factor:.4g}", factor * numeric


def _columns(terms: Vector, evaluation: Evaluation) -> list[Vector]:
    """The terms of each output, as an array (elements of the argument, *shape of the output)."""
    ends = np.cumsum([t.size for t in evaluation.outputs])
    parts = np.split(terms, ends[:-1], axis=1)
    return [part.reshape(-1, *t.shape) for part, t in zip(parts, evaluation.outputs, strict=True)]


def _cuts(evaluation: Evaluation) -> list[str]:
    """Descriptions of the nodes at which a ``.detach()`` cuts the graph."""
    order = ancestors([t.node for t in evaluation.outputs])
    return [f"{describe(node)}{node.location.describe()}" for node in order if "source" in node.attributes]


# -- the operation and the step ------------------------------------------------------------


def _where(evaluation: Evaluation, u: Vector) -> list[str]:
    """Lines of the report that name the operation whose rule is wrong, and the step after which gradients differ."""
    lines = []
    evaluation = Evaluation(evaluation.inputs, [Tensor(node) for node in evaluation.explicit])
    for node in ancestors([t.node for t in evaluation.outputs]):
        position = _wrong_rule(node)
        if position is not None:
            lines.append(f"  the rule of input {position} of {node.operation}{node.location.describe()} is wrong by itself")
            break
    step = _parting_step(evaluation, u)
    if step is not None:
        lines.append(f"  going back in time, what step t={step} carries on is the first to get a wrong gradient")
    cuts = _cuts(evaluation)
    if cuts:
        lines.append(f"  a .detach() cuts the graph at {cuts[0]}: nothing comes back through it")
    if not lines:
        lines.append(
            "  every operation of the graph is right by itself: f computes something outside of it (.data, .item(), "
            "NumPy, no_grad, detach), or calls for a rule that is right only elsewhere"
        )
    return lines


def _wrong_rule(node: Node) -> int | None:
    """The first input of one node whose cotangent is wrong by the node's own rule, or None."""
    if node.primitive is None or node.dtype.kind != "f" or node.primitive.domain.stops:
        return None
    rng = np.random.default_rng(0)
    u = rng.standard_normal(node.shape)
    for position, source in enumerate(node.inputs):
        if source.dtype.kind != "f" or source in node.inputs[:position]:
            continue
        v = direction([source.value], rng, 1)

        def f(x: Vector, source: Node = source) -> Vector:
            return np.ravel(replay([node], {source: x.reshape(source.shape)})[node])

        def pull(source: Node = source) -> Vector:
            pulled = [
                scatter([gx], source.shape) if isinstance(gx, Sparse) else gx
                for _, gx in pullback(node, as_tensor(u), {source})
            ]
            return sum((gx.data.ravel() for gx in pulled if isinstance(gx, Tensor)), np.zeros(source.value.size))

        if _is_wrong(pull, u.ravel(), v, differences(f, source.value.ravel(), v, node.value.ravel())):
            return position
    return None


def _parting_step(evaluation: Evaluation, u: Vector) -> int | None:
    """The latest step whose carried values get a wrong gradient, or None."""
    order = ancestors([t.node for t in evaluation.outputs])
    if not any(node.location.t is not None for node in order) or any(node.location.origin for node in order):
        return None
    carried: dict[int, list[Node]] = {}
    for node in order:
        for source in node.inputs:
            t = source.location.t
            if t is not None and source.dtype.kind == "f" and source.primitive is not None and node.location.t != t:
                carried.setdefault(t, []).append(source)
    rng = np.random.default_rng(0)
    for t in sorted(carried, reverse=True):
        nodes = list(dict.fromkeys(carried[t]))
        part = Evaluation([Tensor(node) for node in nodes], evaluation.outputs)
        v = direction([node.value for node in nodes], rng, 1)

        def f(x: Vector, nodes: list[Node] = nodes) -> Vector:
            values = dict(zip(nodes, split(x, [n.value for n in nodes]), strict=True))
            replay(order, values)
            return flat([values.get(y.node, y.node.value) for y in evaluation.outputs])

        if _is_wrong(partial(part.pull, u), u, v, differences(f, flat([n.value for n in nodes]), v, evaluation.value)):
            return t
    return None


def _is_wrong(pull: Callable[[], Vector], u: Vector, v: Vector, estimate: Estimate) -> bool:
    """Whether a gradient is missing, or differs from an estimate along a direction."""
    try:
        gap, allowed, _ = apart(estimate, u, v, pull())
    except TinygradError:
        return True
    return gap > allowed
