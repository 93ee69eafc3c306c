"""Checks of a primitive against its declaration: domain, shape rule, ``out=``, leading axis, facts, gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..graph.node import Spec
from ..ops.core import Primitive, apply, constant
from ..tensor import Tensor
from .c_check import check_c, has_compiler
from .cases import Array, Case, random_cases
from .fact_checks import hold_to_facts
from .gradients.function_check import check_gradients
from .gradients.localise import apart, localise
from .gradients.oracles import judge as estimated
from .gradients.oracles import kinks
from .gradients.subject import DIRECTIONS, Subject, direction, flat, grad_or_zero, split
from .gradients.verdicts import GradientCheckError, PrimitiveReport, UndecidedError

__all__ = ["check_case", "check_primitive"]

COARSER = (np.float32, np.float16)
"""Dtypes in which kernel and rule must give the same results as in float64, up to rounding."""

SPECIAL = (*np.arange(-3, 3.5, 0.5), -6.0, 6.0)
"""Points at which the pieces of functions often join; equal inputs and values of attributes are tested too."""


def check_primitive(primitive: Primitive, *, examples: int = 50, order: int = 2) -> PrimitiveReport:
    """Check a primitive against its own declaration, on cases drawn from its domain.

    Hypothesis searches for the smallest failing case. The same number of random cases add breadth, and
    half as many cases have numbers of other scales, from a thousandth to a thousand. Undeclared
    kinks are searched at inputs that are small multiples of one half, equal to each other, or equal to
    an attribute. If every input gets a further leading axis, with the attributes that ``leading``
    makes, the result must be the same as for the elements along this axis one by one. Inputs that
    broadcast together are first brought to equal rank. The kernel must agree with the declared facts: a
    copy, a sum with these signs, linear in these inputs, a reduction of these axes. If the primitive
    has C code and a compiler is installed, the C code must give the same results as the kernel.

    Parameters
    ----------
    primitive : Primitive
        A primitive of the library, or your own.
    examples : int
        Number of cases of each kind; the cases are the same in every run.
    order : int
        The order of the derivatives; see :func:`check_gradients`.

    Returns
    -------
    PrimitiveReport
        The report; its text is the verdict.

    Raises
    ------
    GradientCheckError
        If a check fails. The message has the smallest case that hypothesis found.
    MissingExtraError
        If hypothesis is not installed.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn.testing import check_primitive
    >>> @tr.primitive(gradient=(lambda g, y, x: -g * y * y,), formula=r"1/{x:atom}", domain=tr.ops.Domain(tr.ops.POSITIVE))
    ... def reciprocal(x, *, out=None):
    ...     return np.reciprocal(x, out=out)
    >>> print(check_primitive(reciprocal))
    reciprocal: kernel, out=, shape rule and leading axis are as declared in ... cases
      gradients are right to order 2 in ... of them, within ...
    >>> del tr.ops.registry["reciprocal"]
    """
    from .strategies import cases, given, repeatable

    report = PrimitiveReport(primitive.name, order)

    @repeatable(examples)
    @given(cases(primitive))
    def holds(case: Case) -> None:
        judge(case)

    def judge(case: Case) -> None:
        try:
            report.add(check_case(primitive, case, order=order))
        except UndecidedError:
            report.undecided += 1

    holds()
    differentiable = order and not primitive.domain.stops
    for seed, case in enumerate(random_cases(primitive, examples)):
        judge(case)
        if differentiable:
            _no_undeclared_kinks(primitive, case, np.random.default_rng(seed))
    for case in random_cases(primitive, examples // 2, wide=True) if differentiable else ():
        _roughly_right(primitive, case)
    if primitive.c is not None and has_compiler():
        check_c((primitive, case) for case in random_cases(primitive, min(examples, 6)))
    if report.undecided > report.cases:
        raise UndecidedError(
            f"{primitive.name}: the gradient is undecided in {report.undecided} of {report.cases + report.undecided} cases; "
            "give the domain Interval(…)s in which its derivative can be seen beside rounding"
        )
    return report


def check_case(primitive: Primitive, case: Case, *, order: int = 2) -> PrimitiveReport:
    """Check a primitive on one case.

    Parameters
    ----------
    primitive : Primitive
        The primitive.
    case : Case
    order : int
        The order of the derivatives; 0 checks only the kernel.

    Returns
    -------
    PrimitiveReport

    Raises
    ------
    GradientCheckError
    """
    report = PrimitiveReport(primitive.name, order, cases=1)
    for dtype in (np.float64, np.float32):
        inputs = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in case.inputs)
        _kernel(primitive, Case(inputs, case.attributes))
    _layout(primitive, case)
    report.barred = int(not _leading(primitive, case))
    hold_to_facts(primitive, case)
    if not order or not any(x.dtype.kind == "f" for x in case.inputs):
        return report
    y = _applied(primitive, case.inputs, case.attributes)
    if y.dtype.kind != "f":
        return report
    for dtype in COARSER:
        _coarser(primitive, case, dtype)
    if primitive.domain.stops:
        _stops(primitive, case)
        return report
    tensors = [Tensor(constant(x)) for x in case.inputs]
    report.error = check_gradients(lambda *ts: _applied(primitive, ts, case.attributes), *tensors, order=order).error
    report.gradients = 1
    return report


def _roughly_right(primitive: Primitive, case: Case) -> None:
    """Judge the gradient to a thousandth at large or small numbers, for which rounding costs digits."""
    with np.errstate(all="ignore"):
        tensors = [Tensor(constant(x)) for x in case.inputs]
        if (
            not any(t.dtype.kind == "f" and t.size for t in tensors)
            or _applied(primitive, tensors, case.attributes).dtype.kind != "f"
        ):
            return
        subject = Subject(lambda *ts: _applied(primitive, ts, case.attributes), tensors)
        evaluation, rng = subject.run(), np.random.default_rng(0)
        for kind in range(DIRECTIONS):
            v, u = direction(subject.point, rng, kind), rng.standard_normal(evaluation.value.size)
            estimate = estimated(subject, evaluation, subject.x, v)
            gap, allowed, size = apart(estimate, u, v, evaluation.pull(u))
            if not estimate.kinks.any() and np.isfinite(size) and gap > allowed + 1e-3 * size:
                raise GradientCheckError(localise(subject, evaluation, u, v, 1))


def _applied(primitive: Primitive, inputs: Any, attributes: Mapping[str, Any]) -> Tensor:
    return apply(primitive, [x if isinstance(x, Tensor) else Tensor(constant(x)) for x in inputs], attributes)


def _kernel(primitive: Primitive, case: Case) -> None:
    """Check that a kernel obeys its shape rule, returns ``out=``, does not change its inputs, and is deterministic."""
    inputs, attributes = case
    name = primitive.name
    before = [x.copy() for x in inputs]

    def unchanged() -> None:
        for i, (old, new) in enumerate(zip(before, inputs, strict=True)):
            if not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
                raise GradientCheckError(f"{name}: the kernel changes its input {i}")

    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*inputs, **attributes))
        ruled = primitive.shape(*[Spec(x.shape, x.dtype) for x in inputs], **attributes)
        if Spec(value.shape, value.dtype) != ruled:
            raise GradientCheckError(
                f"{name}: the kernel returns {value.dtype} of shape {value.shape}, but the shape rule says {ruled}"
            )
        unchanged()
        out = np.full(value.shape, 7, value.dtype)
        returned = primitive.kernel(*inputs, out=out, **attributes)
    if returned is not out:
        raise GradientCheckError(f"{name}: the kernel does not return the array given as out=")
    if not _close(out, value):
        raise GradientCheckError(f"{name}: the kernel computes different values with out= and without")
    unchanged()


def _close(a: Any, b: Any) -> bool:
    """Whether arrays are equal up to the rounding that another order of summation causes."""
    if b.dtype.kind != "f":
        return np.array_equal(a, b)
    few = 256 * np.finfo(b.dtype).eps
    largest = np.abs(b).max(initial=0, where=np.isfinite(b))
    return np.allclose(a, b, rtol=few, atol=few * largest, equal_nan=True)


def _layout(primitive: Primitive, case: Case) -> None:
    """Check that the result does not depend on the memory layout of the inputs."""
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*case.inputs, **case.attributes))
        plain = np.asarray(primitive.kernel(*[x.copy(order="C") for x in case.inputs], **case.attributes))
    if not _close(value, plain):
        raise GradientCheckError(f"{primitive.name}: the result depends on the memory layout of the inputs")


def _leading(primitive: Primitive, case: Case) -> bool:
    """Whether a further leading axis of every input passes through to the output, as declared."""
    inputs, attributes = case
    if primitive.domain.shapes is None:  # the inputs broadcast together, and would be aligned at the wrong end
        rank = max(x.ndim for x in inputs)
        inputs = tuple(x.reshape((1,) * (rank - x.ndim) + x.shape) for x in inputs)
    for n in (3, 1):
        along = [_turned(inputs, by) for by in range(n)]
        stacked = [np.stack(xs) for xs in zip(*along, strict=True)]
        changed = attributes
        if primitive.leading is not None:
            changed = primitive.leading(attributes, [x.shape for x in stacked])
            if changed is NotImplemented:
                return False
        with np.errstate(all="ignore"):
            expected = np.stack([np.asarray(primitive.kernel(*xs, **attributes)) for xs in along])
            try:
                passed = np.asarray(primitive.kernel(*stacked, **changed))
                ruled = primitive.shape(*[Spec(x.shape, x.dtype) for x in stacked], **changed)
            except Exception as error:  # kernels raise different errors for inputs that do not fit
                raise GradientCheckError(f"{_does_not_pass(primitive, changed)} ({error})") from error
        if passed.shape != expected.shape or not _close(passed, expected) or ruled != Spec(expected.shape, expected.dtype):
            raise GradientCheckError(_does_not_pass(primitive, changed))
    return True


def _does_not_pass(primitive: Primitive, attributes: Mapping[str, Any]) -> str:
    return (
        f"{primitive.name}: with the attributes {dict(attributes)}, the kernel does not accept an additional leading axis; "
        "declare leading=, a function that returns NotImplemented for such attributes"
    )


def _turned(inputs: tuple[Array, ...], by: int) -> list[Array]:
    """Further inputs of the same domain: the same numbers in another order."""
    return [np.roll(x.ravel(), by).reshape(x.shape) for x in inputs]


def _no_undeclared_kinks(primitive: Primitive, case: Case, rng: np.random.Generator) -> None:
    """Check that the slopes from both sides agree at special points, unless the domain declares a kink."""
    declared, attributes = primitive.domain.kinks, case.attributes
    for words, inputs in _special_points(primitive, case, rng):
        if declared is not None and (np.abs(declared(*inputs, **attributes)) < 1e-2).any():
            continue
        floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        point = [inputs[i] for i in floats]

        def f(vector: Array, inputs: list[Array] = inputs, floats: list[int] = floats, point: list[Array] = point) -> Array:
            moved = dict(zip(floats, split(vector, point), strict=True))
            return np.ravel(primitive.kernel(*[moved.get(i, x) for i, x in enumerate(inputs)], **attributes))

        x = flat(point)
        with np.errstate(all="ignore"):
            y = f(x)
            if y.dtype.kind != "f" or not x.size:
                return
            bent = kinks(f, x, rng.standard_normal(x.size), y)
        what = "has a kink" if bent.any() else "is not finite" if not np.isfinite(y).all() else ""
        if what:
            raise GradientCheckError(f"{primitive.name} {what} where {words}, which its domain does not say; {_ADVICE[what]}")


_ADVICE = {
    "has a kink": "give Domain(…, kinks=…), how far each element is from it, or correct the kernel",
    "is not finite": "give Domain(Interval(…)), where it is defined, or correct the kernel",
}


def _special_points(primitive: Primitive, case: Case, rng: np.random.Generator) -> Iterator[tuple[str, list[Array]]]:
    """Inputs with some elements at points with a likely kink, each with words for the error message."""
    floats = [i for i, x in enumerate(case.inputs) if x.dtype.kind == "f"]

    def put(values: Array) -> list[Array]:
        inputs = list(case.inputs)
        for i in floats:
            low, high = primitive.domain.of(i)[:2]
            inside = values[(low + 0.01 < values) & (values < high - 0.01)]
            if inside.size:
                chosen = rng.choice(inside, inputs[i].shape)
                inputs[i] = np.where(rng.random(inputs[i].shape) < 0.7, chosen, inputs[i])
        return inputs

    numbers = flat([case.inputs[i] for i in floats])
    if numbers.size:
        yield "inputs are equal", put(rng.choice(numbers, 2))
    given = {float(a) for a in case.attributes.values() if isinstance(a, (int, float)) and not isinstance(a, bool)}
    for value in dict.fromkeys((*SPECIAL, *sorted(given))):
        yield f"inputs are {value:g}", put(np.array([value]))


def _coarser(primitive: Primitive, case: Case, dtype: Any) -> None:
    """Compare kernel and rule in a coarser dtype with float64.

    The allowed difference is measured in float64: the change of the result caused by the last
    digits of the coarser dtype.
    """
    rng = np.random.default_rng(0)
    coarse = [x.astype(dtype) if x.dtype.kind == "f" else x for x in case.inputs]
    fine = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in coarse]
    if primitive.domain.kinks is not None and (np.abs(primitive.domain.kinks(*fine, **case.attributes)) < 1e-2).any():
        return
    eps = float(np.finfo(dtype).eps)
    y = _applied(primitive, fine, case.attributes)
    u = rng.standard_normal(y.shape).astype(dtype)

    def results(inputs: list[Array], u: Array) -> list[Array]:
        tensors = [Tensor(constant(x)) for x in inputs]
        wanted = [t for t in tensors if t.dtype.kind == "f"]
        y = _applied(primitive, tensors, case.attributes)
        found = grad_or_zero([y], wanted, [u.astype(y.dtype)])
        for g, x in zip(found, wanted, strict=True):
            if (g.dtype, g.shape) != (x.dtype, x.shape):
                raise GradientCheckError(
                    f"{primitive.name}: the gradient of an input of {x.dtype} {x.shape} has {g.dtype} {g.shape}"
                )
        return [np.asarray(t.data) for t in (y, *found)]

    with np.errstate(all="ignore"):
        rough, exact = results(coarse, u), results(fine, u)
        spread = [np.zeros(a.shape) for a in exact]
        for _ in range(3):
            moved = [x * (1 + eps * rng.uniform(-1, 1, x.shape)) if x.dtype.kind == "f" else x for x in fine]
            for total, a, b in zip(spread, results(moved, u * (1 + eps * rng.uniform(-1, 1, u.shape))), exact, strict=True):
                total += np.abs(a - b)
        for i, (a, b, apart) in enumerate(zip(rough, exact, spread, strict=True)):
            largest = np.abs(b).max(initial=0)
            allowed = 64 * apart + 64 * eps * (np.abs(b) + 0.25 * largest) + 4 * float(np.finfo(dtype).smallest_subnormal)
            fits = np.abs(b) < float(np.finfo(dtype).max) / 4
            if not (np.abs(a.astype(np.float64) - b) <= allowed)[fits & np.isfinite(allowed)].all():
                what = (
                    "the kernel"
                    if i == 0
                    else f"the gradient of input {[k for k, x in enumerate(fine) if x.dtype.kind == 'f'][i - 1]}"
                )
                raise GradientCheckError(f"{primitive.name}: {what} in {np.dtype(dtype)} differs from {what} in float64")


def _stops(primitive: Primitive, case: Case) -> None:
    inputs = [Tensor(constant(x)) for x in case.inputs]
    y = _applied(primitive, inputs, case.attributes)
    for g in grad_or_zero([y], [t for t in inputs if t.dtype.kind == "f"], [np.ones(y.shape, y.dtype)]):
        if g.data.any():
            raise GradientCheckError(f"{primitive.name} declares that it stops the gradient, but passes one on")
