"""`check_gradients`: are the gradients of this function right, to this order, at this point?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import grad
from ..errors import GradientError, TinygradError
from ..graph.node import ancestors
from ..ops.core import describe
from ..tensor import Parameter
from .localise import apart, localise
from .oracles import EPS, judge, kinks
from .report import GradientCheckError, KinkError, Report
from .subject import Evaluation, Gradient, Subject, Vector, flat, split

__all__ = ["check_gradients"]


def check_gradients(
    f: Callable[..., Any],
    *args: Any,
    order: int = 2,
    wrt: Any = None,
    directions: int = 3,
    seed: int = 0,
) -> Report:
    """Prove the gradients of a function, at one point, against oracles that know no rule.

    Cheap random projections come first; only when one fails is the mistake localised. Also
    checked: shape and dtype; that `backward`, `grad` and `jvp` agree; that the gradient is
    linear in the cotangent, and adds up when a tensor is used twice; that the function is
    deterministic, changes no input, and hands out no array that a caller could write to.

    Parameters
    ----------
    f : callable
        Takes tensors, returns a tensor or a nested tuple, list or dict of tensors.
    *args
        What it is called with. Arrays of floats and tensors are made float64; what is not
        of floats is held fixed.
    order : int
        2 checks the gradient of the gradient as well, and so on.
    wrt : None, or one or several of int, str and Parameter
        Positions or names of arguments, or parameters that `f` uses by itself; all
        arguments of floats if not given.
    directions : int
        How many random directions to try, each against two random cotangents.
    seed : int

    Returns
    -------
    Report
        Its text is the verdict.

    Raises
    ------
    GradientCheckError
        With the argument, the index, both values, their ratio, a guess, the operation whose
        rule is wrong and the step at which the gradients part.
    KinkError
        If the function has no derivative at this point.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn.testing import check_gradients
    >>> W = np.array([[0.5, -1.0], [2.0, 0.1]])
    >>> print(check_gradients(lambda x, W: tr.tanh(x @ W), np.array([1.0, 2.0]), W))
    gradients are right to order 2 in x (2,), W (2, 2): within ...e-1... of the complex step

    A rule that is wrong:

    >>> @tr.primitive(gradient=(lambda g, y, x: 2 * g * y,), formula=r"e^{{{x}}}")
    ... def wrong_exp(x, *, out=None):
    ...     return np.exp(x, out=out)
    >>> check_gradients(wrong_exp, np.array([0.0, 1.0]))
    Traceback (most recent call last):
    tinygrad_rnn.testing.report.GradientCheckError: the gradient of order 1 is wrong in x (2,)
      at index (1,): analytic ..., numeric ... ± ... by the complex step, ratio 2
      perhaps a factor 2: something is counted twice
      the rule of input 0 of wrong_exp is wrong by itself
    >>> del tr.ops.registry["wrong_exp"]
    """
    with np.errstate(all="ignore"):  # what is not finite is reported as such
        return _check(Subject(f, args, wrt), order, directions, np.random.default_rng(seed))


def _check(subject: Subject, order: int, directions: int, rng: np.random.Generator) -> Report:
    report = Report([f"{name} {a.shape}" for name, a in zip(subject.names, subject.point, strict=True)], order)
    evaluation = _conduct(subject)
    reached = 1
    try:
        _contract(subject, evaluation, rng, report)
        _directions(subject, evaluation, rng, reached, directions, report)
        for reached in range(2, order + 1):
            subject = Gradient(subject, rng.standard_normal(evaluation.value.size))
            evaluation = subject.run()
            _directions(subject, evaluation, rng, reached, directions, report)
    except GradientError as error:
        raise GradientCheckError(f"the gradient of order {reached} is missing: {error}") from None
    return report


# -- derivatives ---------------------------------------------------------------------------


def _directions(
    subject: Subject, evaluation: Evaluation, rng: np.random.Generator, order: int, directions: int, report: Report
) -> None:
    x, y = subject.x, evaluation.value
    if not x.size or not y.size:
        evaluation.pull(np.zeros(y.size))
        return
    if not np.isfinite(y).all():
        what = "the function" if order == 1 else f"the gradient of order {order - 1}"
        raise GradientCheckError(f"{what} is not finite at this point, so nothing can be said about its derivative")
    for i in range(directions):
        v = rng.standard_normal(x.size)
        if i == 0:
            _no_kinks(subject, x, v, y, order)
        estimate = judge(subject, evaluation, x, v)
        for _ in range(2):
            u = rng.standard_normal(y.size)
            g = evaluation.pull(u)
            _finite(subject, g, order)
            gap, allowed, size = apart(estimate, u, v, g, np.abs(y) + subject.scale)
            if not gap <= allowed:
                raise GradientCheckError(localise(subject, evaluation, u, v, order))
            noise = _noise(u, np.abs(y) + subject.scale)
            if allowed > 1e-3 * size and size > noise:
                raise GradientCheckError(
                    f"the gradient of order {order} is undecided: by {estimate.oracle} the derivative is known only within "
                    f"{allowed:.0e}, and it is of size {size:.0e}; check it where the function is smoother or better scaled"
                )
            report.error = max(report.error, gap / size if size > noise else 0.0)
        if estimate.oracle not in report.oracles:
            report.oracles.append(estimate.oracle)
    _transposes(evaluation, rng, order, subject.scale)


def _noise(u: Vector, y: Vector) -> float:
    """How large a derivative of ⟨u, y⟩ may come out by rounding alone."""
    return 1e2 * EPS * float(np.abs(u * y).sum()) + 1e-40


def _no_kinks(subject: Subject, x: Vector, v: Vector, y: Vector, order: int) -> None:
    found = kinks(subject, x, v, y)
    if found.any():
        what = "the function" if order == 1 else f"the gradient of order {order - 1}"
        raise KinkError(
            f"a kink: {what} has no derivative at this point ({int(found.sum())} of {found.size} outputs bend or jump "
            f"there, the first is element {int(np.argmax(found))}); move the arguments away from it"
        )


def _finite(subject: Subject, g: Vector, order: int) -> None:
    for name, part in zip(subject.names, split(g, subject.point), strict=True):
        if not np.isfinite(part).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(part))[0]))
            raise GradientCheckError(
                f"the gradient of order {order} in {name} {part.shape} is {part[index]} at index {index}, "
                "where the function itself is finite"
            )


def _transposes(evaluation: Evaluation, rng: np.random.Generator, order: int, scale: float) -> None:
    """`jvp` must be the transpose of `grad`: it differentiates each rule by its cotangent."""
    u = rng.standard_normal(evaluation.value.size)
    v = rng.standard_normal(sum(t.size for t in evaluation.inputs))
    pushed = evaluation.push(v)
    g = evaluation.pull(u)
    gap = abs(float(u @ pushed) - float(g @ v))
    rounding = 1e4 * EPS * float(np.abs(u * pushed).sum() + np.abs(g * v).sum())
    if not gap <= rounding + _noise(u, np.abs(evaluation.value) + scale):
        raise GradientCheckError(
            f"grad and jvp differ at order {order}: ⟨u, Jv⟩ is {float(u @ pushed):.10g} and ⟨Jᵀu, v⟩ is {float(g @ v):.10g}; "
            "a rule treats its cotangent as a constant, or is not linear in it"
        )


# -- conduct and contract ------------------------------------------------------------------


def _conduct(subject: Subject) -> Evaluation:
    """Run the function twice: deterministic, and its inputs as they were."""
    before = [a.copy() for a in subject.point]
    others = [np.array(a.data) for a in subject.args if hasattr(a, "data") and hasattr(a, "node")]
    evaluation = subject.run()
    again = subject.run().value
    for name, old, new in zip(subject.names, before, subject.point, strict=True):
        if not np.array_equal(old, new, equal_nan=True):
            raise GradientCheckError(f"the function changes {name} in place; an operation must leave its inputs alone")
    held = [a for a in subject.args if hasattr(a, "data") and hasattr(a, "node")]
    if any(not np.array_equal(old, new.data, equal_nan=old.dtype.kind == "f") for old, new in zip(others, held, strict=True)):
        raise GradientCheckError("the function changes an argument in place; an operation must leave its inputs alone")
    if not np.array_equal(evaluation.value, again, equal_nan=True):
        raise GradientCheckError(
            "the function is not deterministic: two calls differ, so its gradient cannot be checked; "
            "fix the random numbers that it draws, or switch dropout off with eval()"
        )
    return evaluation


def _contract(subject: Subject, evaluation: Evaluation, rng: np.random.Generator, report: Report) -> None:
    """Shape, dtype, ownership, linearity in the cotangent, and sums over several uses."""
    y = evaluation.value
    if not np.isfinite(y).all():
        return
    u, w = rng.standard_normal(y.size), rng.standard_normal(y.size)
    cotangents = split(u, evaluation.outputs)
    gradients = grad(evaluation.outputs, evaluation.inputs, cotangents)
    for name, x, gx in zip(subject.names, evaluation.inputs, gradients, strict=True):
        if gx.shape != x.shape or gx.dtype != x.dtype:
            raise GradientCheckError(f"the gradient of {name} is {gx.dtype} {gx.shape}, and {describe(x.node)} is {x.dtype}")
        if gx.data.flags.writeable or any(np.shares_memory(gx.data, c) for c in cotangents):
            raise GradientCheckError(f"the gradient of {name} shares its memory with something that a caller can write to")
        if not gx.data.any() and gx.size:
            report.zero.append(name)
    g = flat([t.data for t in gradients])
    size = np.abs(g).max(initial=0) + np.abs(evaluation.pull(w)).max(initial=0)
    if not np.isfinite(size):
        return _finite(subject, g, 1)

    def agree(other: Vector, expected: Vector, words: str, scale: float = 5.0) -> None:
        if not (np.abs(other - expected) <= 1e4 * EPS * scale * size + _noise(u, y) + _noise(w, y)).all():
            raise GradientCheckError(words)

    agree(evaluation.pull(2 * u - 3 * w), 2 * g - 3 * evaluation.pull(w), "the gradient is not linear in the cotangent")
    twice = grad([*evaluation.outputs, *evaluation.outputs], evaluation.inputs, [*cotangents, *split(w, evaluation.outputs)])
    agree(flat([t.data for t in twice]), g + evaluation.pull(w), "the gradient does not add up when an output is used twice")
    _backward(subject, u, g, 1e4 * EPS * size + _noise(u, y))
    _one_tensor_for_two(subject, u)


def _backward(subject: Subject, u: Vector, g: Vector, allowed: float) -> None:
    inputs, outputs = subject.run(requires_grad=True)
    reached = ancestors([y.node for y in outputs])
    owners = [node.leaf() for node in reached if node.leaf is not None]
    before = [(t, t.grad) for t in owners if t is not None]
    for t, _ in before:
        t.grad = None
    for y, cotangent in zip(outputs, split(u, outputs), strict=True):
        if y.requires_grad:
            y.backward(cotangent)
    found = []
    for t in inputs:
        owner = t.node.leaf() if t.node.leaf is not None else None
        found.append(owner.grad.data if owner is not None and owner.grad is not None else np.zeros(t.shape))
    for t, old in before:  # the caller's own parameters may be among them
        t.grad = old
    if not (np.abs(flat(found) - g) <= allowed).all():
        raise GradientCheckError("backward and grad do not agree")


def _one_tensor_for_two(subject: Subject, u: Vector) -> None:
    """Give one tensor to two arguments: its gradient must be the sum of theirs."""
    plain = [i for i in subject.sources if isinstance(i, int) and not isinstance(subject.args[i], Parameter)]
    pairs = ((i, j) for i in plain for j in plain if i < j and subject.args[i].shape == subject.args[j].shape)
    pair = next(pairs, None)
    if pair is None:
        return
    i, j = pair
    args = list(subject.args)
    args[j] = args[i]
    try:
        separate = Subject(subject.f, args, pair).run()
        shared = Subject(lambda t: subject.f(*[t if n in pair else a for n, a in enumerate(args)]), [args[i]]).run()
        parts, found = separate.pull(u), shared.pull(u)
    except (TinygradError, GradientCheckError):
        return  # what is a value of one argument need not be one of the other
    total = parts.reshape(2, -1).sum(0)
    if np.isfinite(total).all() and not (np.abs(found - total) <= 1e5 * EPS * np.abs(parts).max(initial=0)).all():
        names = dict(zip(subject.sources, subject.names, strict=True))
        raise GradientCheckError(f"one tensor for both {names[i]} and {names[j]} does not get the sum of their gradients")
