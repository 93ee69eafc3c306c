"""`check_gradients`: are the gradients of a function right, up to a given order, at a given point?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...autodiff import grad
from ...errors import GradientError, TinygradError
from ...graph.node import ancestors
from ...tensor import Parameter, Tensor
from .localise import apart, localise, rounding
from .oracles import Estimate, Mask, complex_step, is_analytic, judge, lost_digits
from .subject import DIRECTIONS, Evaluation, Gradient, Subject, Vector, direction, flat, split
from .tolerances import AGREES, EPS, ROUNDING, SEES, TERMS, UNSTEADY
from .verdicts import GradientCheckError, KinkError, Report, UndecidedError

__all__ = ["check_gradients"]


def check_gradients(
    f: Callable[..., Any],
    *args: Any,
    order: int = 2,
    wrt: Any = None,
    directions: int = 2,
    seed: int = 0,
) -> Report:
    """Check the gradients of a function at one point against oracles that use no gradient rule.

    The check begins with cheap random projections. Only if a projection fails, the mistake is
    localised. The check is repeated at a nearby point, where nothing is zero, equal or symmetric
    by chance, and with second differences of the function. This finds gradients that are right at
    one point only, and functions that remember earlier calls. The check also tests: shape and
    dtype; that `backward`, `grad` and `jvp` agree; that the gradient is linear in the cotangent, and
    is a sum if a tensor is used twice; that the function is deterministic, changes no input, and
    returns no array that a caller could write to.

    Parameters
    ----------
    f : callable
        A function of tensors that returns a tensor or a nested tuple, list or dict of tensors.
    *args
        The arguments of `f`. Arrays of floats and tensors are converted to float64; other
        arguments are held fixed.
    order : int
        The highest order of derivative; 2 also checks the gradient of the gradient.
    wrt : None, or one or several of int, str and Parameter
        Positions or names of arguments, or parameters that `f` uses directly. If not given, all
        arguments of floats.
    directions : int
        Smallest number of random directions, each with two random cotangents. Further directions
        follow for elements whose derivative is too small to be judged together with others.
    seed : int
        Seed of the random directions.

    Returns
    -------
    Report
        The report; its text is the verdict.

    Raises
    ------
    GradientCheckError
        If a gradient is wrong. The message names the argument, the index, both values, their ratio,
        a guess of the mistake, the operation whose rule is wrong, and the step at which the
        gradients begin to differ.
    KinkError
        If the function has no derivative at this point.
    UndecidedError
        If the derivative is too small compared with the rounding errors of the function; the
        gradient may be right or wrong.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn.testing import check_gradients
    >>> W = np.array([[0.5, -1.0], [2.0, 0.1]])
    >>> print(check_gradients(lambda x, W: tr.tanh(x @ W), np.array([1.0, 2.0]), W))
    gradients are right to order 2 in x (2,), W (2, 2): within ...e-1... of the complex step

    A wrong rule:

    >>> @tr.primitive(gradient=(lambda g, y, x: 2 * g * y,), formula=r"e^{{{x}}}")
    ... def wrong_exp(x, *, out=None):
    ...     return np.exp(x, out=out)
    >>> check_gradients(wrong_exp, np.array([0.0, 1.0]))
    Traceback (most recent call last):
    tinygrad_rnn.testing.gradients.verdicts.GradientCheckError: the gradient of order 1 is wrong in x (2,)
      at index (1,): analytic ..., numeric ... ± ... by the complex step, ratio 2
      perhaps a factor 2: something is counted twice
      the rule of input 0 of wrong_exp is wrong by itself
    >>> del tr.ops.registry["wrong_exp"]
    """
    with np.errstate(all="ignore"):  # NaN and inf are reported later
        return _check(Subject(f, args, wrt), order, directions, np.random.default_rng(seed))


def _check(subject: Subject, order: int, directions: int, rng: np.random.Generator) -> Report:
    report = Report([f"{name} {a.shape}" for name, a in zip(subject.names, subject.point, strict=True)], order)
    evaluation = _conduct(subject)
    _same_again(subject, evaluation, "after one other call")
    try:
        _contract(subject, evaluation, rng, report)
    except GradientError as error:
        raise GradientCheckError(f"the gradient of order 1 is missing: {error}") from None
    _orders(subject, evaluation, rng, order, directions, report)
    _near_by(subject, rng, order)
    _same_again(subject, evaluation, "after others at other points")
    return report


# -- derivatives ---------------------------------------------------------------------------


def _orders(
    subject: Subject, evaluation: Evaluation, rng: np.random.Generator, order: int, directions: int, report: Report
) -> None:
    """Judge the derivatives of every order at one point; the gradient of one order is the function of the next."""
    seen: list[tuple[Vector, Estimate]] = []
    for reached in range(1, order + 1):
        try:
            if reached == 1:
                seen = _directions(subject, evaluation, rng, 1, directions, report)
                continue
            cotangent = _weights(rng, np.abs(evaluation.value))
            subject = Gradient(subject, cotangent)
            evaluation = subject.run()
            before = seen
            try:
                seen = _directions(subject, evaluation, rng, reached, directions, report)
            except UndecidedError:
                _second_differences(evaluation, before, cotangent, reached)
                raise
            _second_differences(evaluation, before, cotangent, reached)
        except GradientError as error:
            raise GradientCheckError(f"the gradient of order {reached} is missing: {error}") from None


def _directions(
    subject: Subject, evaluation: Evaluation, rng: np.random.Generator, order: int, directions: int, report: Report
) -> list[tuple[Vector, Estimate]]:
    """Judge along random directions until every element was visible; elements with a tiny effect are then judged alone."""
    x, y = subject.x, evaluation.value
    if not x.size or not y.size:
        evaluation.pull(np.zeros(y.size))
        return []
    what = "the function" if order == 1 else f"the gradient of order {order - 1}"
    if not np.isfinite(y).all():
        raise UndecidedError(
            f"{what} is not finite at this point, so nothing can be said about its derivative; move the arguments"
        )
    needed, heard, known = np.zeros(x.size, bool), np.zeros(x.size, bool), np.zeros(y.size, bool)
    clear = False
    found = []
    shaken = subject.moved(rng, 4 * EPS).run()
    noise = np.abs(shaken.value - y)
    small = 1e-3 * np.maximum(np.abs(y), np.abs(shaken.value)) if order == 1 else np.inf  # a jump is not noise
    noise = np.where(noise <= small, noise, 0)
    for i in range(directions + 2 * DIRECTIONS):
        silent = needed & ~heard if clear else ~heard
        if i >= directions and known.all() and not silent.any():
            break
        v = direction(subject.point, rng, i % DIRECTIONS)
        v = np.where(silent, v, 0) if i >= directions and known.all() else v
        estimate = judge(subject, evaluation, x, v, noise)
        if i == 0 and estimate.kinks.any():
            raise _bends(what, estimate, smooth=is_analytic(evaluation, v))
        found.append((v, estimate))
        known |= estimate.error <= np.maximum(SEES * np.abs(estimate.value), ROUNDING * estimate.rounding + 1e-300)
        scale = np.abs(estimate.value) + 1e12 * estimate.rounding + AGREES * estimate.error
        for u in (_weights(rng, scale, each=True), _weights(rng, scale)):
            g = evaluation.pull(u)
            _finite(subject, g, order)
            gap, allowed, size = apart(estimate, u, v, g)
            unsteady = float(np.abs((shaken.pull(u) - g) * v).sum())  # effect of the arguments' last digits
            allowed += UNSTEADY * unsteady if np.isfinite(unsteady) else 0.0
            if gap > allowed:
                allowed += 2 * abs(float(lost_digits(evaluation, u) @ v))
            if gap > allowed:
                _confirm(subject, evaluation, estimate, v, noise, order)
                raise GradientCheckError(localise(subject, evaluation, u, v, order))
            nothing = rounding(estimate, u)
            needed |= np.abs(g * v) > AGREES * nothing
            if allowed <= SEES * size or (size <= AGREES * nothing and _is_rounding(estimate, u, v, g, shaken)):
                clear = True
                heard |= np.abs(g * v) > 3 * allowed
                report.error = max(report.error, gap / size if size > nothing else 0.0)
                if estimate.oracle not in report.oracles:
                    report.oracles.append(estimate.oracle)
    silent = needed & ~heard if clear else ~heard
    if silent.any() or not known.all():
        raise UndecidedError(_unseen(subject, silent, known, order))
    _transposes(evaluation, rng, order, found[0])
    return found


def _confirm(subject: Subject, evaluation: Evaluation, estimate: Estimate, v: Vector, noise: Vector, order: int) -> None:
    """Raise UndecidedError if other step sizes along the same direction give another slope."""
    again = judge(subject, evaluation, subject.x, v * OTHER_STEPS, noise)
    if not (
        np.abs(again.value - OTHER_STEPS * estimate.value) <= AGREES * (again.error + estimate.error + estimate.rounding)
    ).all():
        raise UndecidedError(_unseen(subject, v != 0, ~estimate.kinks, order))


OTHER_STEPS = 0.7071
"""Factors of the shorter steps that must give the same slope; no powers of 2, so that no step is repeated."""


def _is_rounding(estimate: Estimate, u: Vector, v: Vector, g: Vector, shaken: Evaluation) -> bool:
    """Whether a derivative that rounding hides may pass: oracle and gradient agree, or vary with the last digit."""
    analytic, numeric = float(g @ v), float(u @ estimate.value)
    if abs(analytic - numeric) <= 1e-6 * max(abs(analytic), abs(numeric)):
        return True
    found = complex_step(shaken, v)
    steady = abs(float(shaken.pull(u) @ v) - analytic) <= 0.1 * abs(analytic)
    if found is None:
        return not steady or not analytic
    return not steady or not abs(float(u @ found) - numeric) <= 0.1 * abs(numeric)


def _weights(rng: np.random.Generator, scale: Vector, each: bool = False) -> Vector:
    """A random cotangent that gives outputs equal weight: each scaled by its own size, or all by the largest size."""
    visible = scale > 1e-290  # the inverse of a smaller number would be infinite
    largest = scale[visible & np.isfinite(scale)].max(initial=0) or 1.0
    divided = np.where(visible, scale, largest) if each else largest
    return np.asarray(rng.standard_normal(scale.size) / divided)


def _bends(what: str, estimate: Estimate, smooth: bool) -> GradientCheckError:
    found = estimate.kinks
    where = f"{int(found.sum())} of {found.size} outputs bend or jump there, the first is element {int(np.argmax(found))}"
    if smooth:
        return UndecidedError(
            f"undecided: {what} seems to have a kink at this point ({where}), but all operations of its graph are smooth; "
            "it bends within the last digits of its arguments, or chooses by values outside of the graph (.data, if); "
            "move the arguments"
        )
    return KinkError(f"a kink: {what} has no derivative at this point ({where}); move the arguments away from it")


def _unseen(subject: Subject, silent: Mask, known: Mask, order: int) -> str:
    """The message of an undecided gradient: what could not be judged, and what to do."""
    where = [f"{int(m.sum())} of {m.size} elements of {name}" for name, m in _by_name(subject, silent) if m.any()]
    if not known.all():
        where.append(f"{int((~known).sum())} of {known.size} outputs")
    return (
        f"the gradient of order {order} is undecided for {', '.join(where)}: beside the rounding of the function its "
        "derivative cannot be seen there; check it at another point, or scale function and arguments so that less cancels"
    )


def _by_name(subject: Subject, vector: Any) -> list[tuple[str, Any]]:
    return list(zip(subject.names, split(vector, subject.point), strict=True))


def _finite(subject: Subject, g: Vector, order: int) -> None:
    for name, part in _by_name(subject, g):
        if not np.isfinite(part).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(part))[0]))
            words = f"the gradient of order {order} in {name} {part.shape} is {part[index]} at index {index}, "
            if np.isnan(part).any():
                raise GradientCheckError(words + "where the function itself is finite")
            raise UndecidedError(words + "and no oracle can judge an infinite derivative; move the arguments away from there")


def _transposes(evaluation: Evaluation, rng: np.random.Generator, order: int, seen: tuple[Vector, Estimate]) -> None:
    """Check that ⟨u, Jv⟩ by `jvp` equals ⟨Jᵀu, v⟩ by `grad`, and, from order 2, that the Hessian is symmetric."""
    v, estimate = seen
    u = _weights(rng, np.abs(estimate.value) + 1e12 * estimate.rounding)
    g = evaluation.pull(u)
    pushed = evaluation.push(v)
    allowed = AGREES * rounding(estimate, u)

    def agree(left: Vector, right: Vector, words: str) -> None:
        terms = TERMS * float(np.abs(left).sum() + np.abs(right).sum())
        gap = abs(float(left.sum()) - float(right.sum()))
        if not gap <= terms + allowed and not gap <= UNSTEADY * abs(float(lost_digits(evaluation, u) @ v)):
            raise GradientCheckError(words.format(float(left.sum()), float(right.sum())))

    agree(
        u * pushed,
        g * v,
        f"grad and jvp differ at order {order}: ⟨u, Jv⟩ is {{:.10g}} and ⟨Jᵀu, v⟩ is {{:.10g}}; "
        "a gradient rule treats its cotangent as a constant, or is not linear in it",
    )
    if order > 1:
        words = f"the gradient of order {order} is wrong: it is not symmetric, ⟨u, Hv⟩ is {{:.10g}} and ⟨v, Hu⟩ is {{:.10g}}; "
        agree(u * evaluation.pull(v), g * v, words + "a gradient rule remembers or detaches a value that it depends on")


def _second_differences(evaluation: Evaluation, seen: list[tuple[Vector, Estimate]], cotangent: Vector, order: int) -> None:
    """Compare the slope of the gradient with second differences of the function, which use no rule."""
    for v, estimate in seen:
        error = 2 * AGREES * float(np.abs(cotangent) @ estimate.curvature_error)
        numeric = float(cotangent @ estimate.curvature)
        terms = evaluation.pull(v) * v
        allowed = error + TERMS * float(np.abs(terms).sum()) + AGREES * rounding(estimate, cotangent)
        gap = abs(float(terms.sum()) - numeric)
        if np.isfinite(allowed) and not gap <= allowed and not gap <= allowed + 2 * abs(float(lost_digits(evaluation, v) @ v)):
            raise GradientCheckError(
                f"the gradient of order {order} is wrong: along a random direction its slope is {float(terms.sum()):.10g}, and "
                f"by second differences of the function {numeric:.10g} ± {error:.0e}; a gradient rule remembers values of an "
                "earlier call, or detaches a value that it depends on"
            )


def _near_by(subject: Subject, rng: np.random.Generator, order: int) -> None:
    """Judge again at a nearby point, where nothing is zero, repeated or symmetric by chance."""
    for by in (0.03, 1e-3):
        other = subject.moved(rng, by)
        try:
            _orders(other, other.run(), rng, order, 1, Report([], order))
        except (KinkError, UndecidedError, TinygradError, ValueError, ArithmeticError, IndexError):
            continue  # the nearby point may be outside the allowed values
        except GradientCheckError as error:
            raise GradientCheckError(
                f"{error}\n  this is at arguments moved by {by:.1%}; at the given arguments, the gradient is right by "
                "chance, or "
                "because a gradient rule remembers them"
            ) from None
        return


def _same_again(subject: Subject, evaluation: Evaluation, when: str) -> None:
    """Check that a further call at the same point gives the same values and gradients."""
    rng = np.random.default_rng(0)
    again = subject.run()
    u = _weights(rng, np.abs(evaluation.value))
    for words, old, new in (
        ("function", evaluation.value, again.value),
        ("gradient", evaluation.pull(u), again.pull(u)),
    ):
        if not np.allclose(old, new, rtol=1e-12, atol=1e-12 * np.abs(old).max(initial=0), equal_nan=True):
            raise GradientCheckError(
                f"the {words} differs {when}, at the same point: it remembers earlier calls, or is not deterministic"
            )


# -- conduct and contract ------------------------------------------------------------------


def _conduct(subject: Subject) -> Evaluation:
    """Run the function twice, and check that it is deterministic and leaves its inputs unchanged."""
    before = [a.copy() for a in subject.point]
    held = [a for a in subject.args if isinstance(a, Tensor)]
    others = [np.array(a.data) for a in held]
    evaluation = subject.run()
    again = subject.run().value
    for name, old, new in zip(subject.names, before, subject.point, strict=True):
        if not np.array_equal(old, new, equal_nan=True):
            raise GradientCheckError(f"the function changes {name} in place; compute a new array instead")
    if any(not np.array_equal(old, new.data, equal_nan=old.dtype.kind == "f") for old, new in zip(others, held, strict=True)):
        raise GradientCheckError("the function changes an argument in place; compute a new array instead")
    if not np.array_equal(evaluation.value, again, equal_nan=True):
        raise GradientCheckError(
            "the function is not deterministic: two calls differ, so its gradient cannot be checked; "
            "fix the random numbers that it draws, or switch dropout off with eval()"
        )
    return evaluation


def _contract(subject: Subject, evaluation: Evaluation, rng: np.random.Generator, report: Report) -> None:
    """Check a gradient's shape, dtype, ownership, linearity in the cotangent, and sum over several uses."""
    y = evaluation.value
    if not np.isfinite(y).all():
        return
    u, w = _weights(rng, np.abs(y)), _weights(rng, np.abs(y))
    cotangents = [np.array(part) for part in split(u, evaluation.outputs)]
    gradients = grad(evaluation.outputs, evaluation.inputs, cotangents)
    if not np.array_equal(flat(cotangents), u) or not np.array_equal(evaluation.value, y):
        raise GradientCheckError("a gradient rule changes its cotangent or a value in place; compute a new array instead")
    for name, x, gx in zip(subject.names, evaluation.inputs, gradients, strict=True):
        if gx.shape != x.shape or gx.dtype != x.dtype:
            raise GradientCheckError(
                f"the gradient of {name} has dtype {gx.dtype} and shape {gx.shape}, but {name} has {x.dtype} and {x.shape}"
            )
        if gx.data.flags.writeable or any(np.shares_memory(gx.data, c) for c in cotangents):
            raise GradientCheckError(f"the gradient of {name} shares memory with an array that a caller can write to; copy it")
        if not gx.data.any() and gx.size:
            report.zero.append(name)
    g = flat([t.data for t in gradients])
    size = np.abs(g).max(initial=0) + np.abs(evaluation.pull(w)).max(initial=0)
    if not np.isfinite(size):
        return _finite(subject, g, 1)
    shaken = subject.moved(rng, 4 * EPS).run()
    unsteady = np.abs(shaken.pull(u) - g) + np.abs(shaken.pull(w) - evaluation.pull(w))
    rounded = ROUNDING * EPS * float(np.abs(u * y).sum() + np.abs(w * y).sum())
    noise = rounded + UNSTEADY * np.where(np.isfinite(unsteady), unsteady, 0)

    def agree(other: Vector, expected: Vector, words: str) -> None:
        gap, allowed = np.abs(other - expected), TERMS * size + noise
        if not (gap <= allowed).all():
            lost = np.abs(lost_digits(evaluation, u)) + np.abs(lost_digits(evaluation, w))
            if not (gap <= allowed + UNSTEADY * lost).all():
                raise GradientCheckError(words)

    agree(evaluation.pull(2 * u - 3 * w), 2 * g - 3 * evaluation.pull(w), "the gradient is not linear in the cotangent")
    twice = grad([*evaluation.outputs, *evaluation.outputs], evaluation.inputs, [*cotangents, *split(w, evaluation.outputs)])
    agree(flat([t.data for t in twice]), g + evaluation.pull(w), "the gradient does not add up when an output is used twice")
    _backward(subject, u, g, TERMS * size + noise)
    _one_tensor_for_two(subject, u)


def _backward(subject: Subject, u: Vector, g: Vector, allowed: Vector) -> None:
    evaluation = subject.run(requires_grad=True)
    inputs, outputs = evaluation.inputs, evaluation.outputs
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
        raise GradientCheckError("tr.backward and tr.grad give different gradients")


def _one_tensor_for_two(subject: Subject, u: Vector) -> None:
    """Check that one tensor given as two arguments gets the sum of their two gradients."""
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
        return  # an allowed value of one argument may not be allowed for the other
    total = parts.reshape(2, -1).sum(0)
    if np.isfinite(total).all() and not (np.abs(found - total) <= TERMS * np.abs(parts).max(initial=0)).all():
        names = dict(zip(subject.sources, subject.names, strict=True))
        raise GradientCheckError(
            f"if one tensor is given as both {names[i]} and {names[j]}, its gradient is not the sum of their gradients"
        )
