"""A primitive held to its own declaration: domain, shape rule, ``out=``, and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autodiff import grad
from ..graph.node import Spec
from ..ops.core import Primitive, apply, constant
from ..tensor import Tensor
from .checks import check_gradients
from .choices import Case, random_cases
from .report import GradientCheckError

__all__ = ["check_case", "check_primitive"]


def check_primitive(primitive: Primitive, *, examples: int = 50, order: int = 2) -> None:
    """Check a primitive against its own declaration, on cases drawn from its domain.

    Hypothesis looks for the smallest case that fails; as many random ones go for breadth.

    Parameters
    ----------
    primitive : Primitive
        Your own as well as the library's.
    examples : int
        How many cases of either kind; the same ones in every run.
    order : int
        Of the derivatives; see :func:`check_gradients`.

    Raises
    ------
    GradientCheckError
        With the smallest case that hypothesis finds.
    MissingExtraError
        If hypothesis is not installed.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn.testing import check_primitive
    >>> @tr.primitive(gradient=(lambda g, y, x: -g * y * y,), formula=r"1/{x:atom}", domain=tr.ops.Domain(tr.ops.POSITIVE))
    ... def reciprocal(x, *, out=None):
    ...     return np.reciprocal(x, out=out)
    >>> check_primitive(reciprocal)
    >>> del tr.ops.registry["reciprocal"]
    """
    from . import strategies
    from .strategies import HealthCheck, given, settings

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.cases(primitive))
    def holds(case: Case) -> None:
        check_case(primitive, case, order=order)

    holds()
    for case in random_cases(primitive, examples):
        check_case(primitive, case, order=order)


def check_case(primitive: Primitive, case: Case, *, order: int = 2) -> None:
    """Check a primitive on one case.

    Parameters
    ----------
    primitive : Primitive
    case : Case
    order : int
        Of the derivatives; 0 checks the kernel alone.

    Raises
    ------
    GradientCheckError
    """
    for dtype in (np.float64, np.float32):
        inputs = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in case.inputs)
        _kernel(primitive, Case(inputs, case.attributes))
    _layout(primitive, case)
    _leading(primitive, case)
    if not order or not any(x.dtype.kind == "f" for x in case.inputs):
        return
    y = _applied(primitive, case.inputs, case.attributes)
    if y.dtype.kind != "f":
        return
    _float32(primitive, case)
    if primitive.domain.stops:
        _stops(primitive, case)
        return
    tensors = [Tensor(constant(x)) for x in case.inputs]
    check_gradients(lambda *ts: _applied(primitive, ts, case.attributes), *tensors, order=order)


def _applied(primitive: Primitive, inputs: Any, attributes: Mapping[str, Any]) -> Tensor:
    return apply(primitive, [x if isinstance(x, Tensor) else Tensor(constant(x)) for x in inputs], attributes)


def _kernel(primitive: Primitive, case: Case) -> None:
    """Shape rule, ``out=``, inputs left alone, determinism."""
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
            raise GradientCheckError(f"{name}: the kernel makes {value.dtype} {value.shape}, its shape rule says {ruled}")
        unchanged()
        out = np.full(value.shape, 7, value.dtype)
        returned = primitive.kernel(*inputs, out=out, **attributes)
    if returned is not out:
        raise GradientCheckError(f"{name}: the kernel does not return the array given as out=")
    if not _close(out, value):
        raise GradientCheckError(f"{name}: the kernel computes something else with out= than without")
    unchanged()


def _close(a: Any, b: Any) -> bool:
    """Equal, to the rounding that another order of summation makes."""
    if b.dtype.kind != "f":
        return np.array_equal(a, b)
    few = 256 * np.finfo(b.dtype).eps
    return np.allclose(a, b, rtol=few, atol=few * np.abs(b).max(initial=0), equal_nan=True)


def _layout(primitive: Primitive, case: Case) -> None:
    """The same numbers in contiguous arrays give the same, to rounding."""
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*case.inputs, **case.attributes))
        plain = np.asarray(primitive.kernel(*[x.copy(order="C") for x in case.inputs], **case.attributes))
    if not _close(value, plain):
        raise GradientCheckError(f"{primitive.name}: the result depends on how the inputs lie in memory")


def _leading(primitive: Primitive, case: Case) -> None:
    """A further leading axis of every input passes through to the output."""
    inputs, attributes = case
    if len({x.ndim for x in inputs}) > 1:
        return
    stacked = [np.stack([x, x[...]]) for x in inputs]
    changed = attributes
    if primitive.leading is not None:
        changed = primitive.leading(attributes, [x.shape for x in stacked])
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*inputs, **attributes))
        passed = np.asarray(primitive.kernel(*stacked, **changed))
    expected = np.stack([value, value])
    if passed.shape != expected.shape or not _close(passed, expected):
        raise GradientCheckError(
            f"{primitive.name}: a further leading axis does not pass through under {dict(changed)}; declare leading="
        )


def _float32(primitive: Primitive, case: Case) -> None:
    """float32 in, float32 out and float32 back."""
    inputs = [Tensor(constant(x.astype(np.float32) if x.dtype.kind == "f" else x)) for x in case.inputs]
    wanted = [t for t in inputs if t.dtype.kind == "f"]
    with np.errstate(all="ignore"):
        y = _applied(primitive, inputs, case.attributes)
        found = grad(y, wanted, np.ones(y.shape, y.dtype))
    for g, x in zip(found, wanted, strict=True):
        if (g.dtype, g.shape) != (x.dtype, x.shape):
            raise GradientCheckError(f"{primitive.name}: a {x.dtype} {x.shape} input gets a {g.dtype} {g.shape} gradient")


def _stops(primitive: Primitive, case: Case) -> None:
    inputs = [Tensor(constant(x)) for x in case.inputs]
    y = _applied(primitive, inputs, case.attributes)
    for g in grad(y, [t for t in inputs if t.dtype.kind == "f"], np.ones(y.shape)):
        if g.data.any():
            raise GradientCheckError(f"{primitive.name} declares that it stops the gradient, and passes one on")
