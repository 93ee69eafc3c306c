"""Sums, products, powers, roots, exponentials, comparisons: elementwise, with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError
from ..graph.node import Spec
from .core import TensorLike, apply, as_tensor, elementwise, filled, primitive
from .domains import BOOLEAN, POSITIVE, REAL, Domain, Interval
from .facts import Facts
from .formula import OPEN, PRODUCT, RELATION, SUM, TERM, Formula

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "absolute",
    "add",
    "astype",
    "clip",
    "cos",
    "detach",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "remainder",
    "sign",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "where",
]

# -- sums and products ---------------------------------------------------------------------


@primitive(
    np.add,
    gradient=(lambda g, y, a, b: g, lambda g, y, a, b: g),
    formula=Formula("{a:sum} + {b:sum}", SUM, special=(("a", 0, "{b}"), ("b", 0, "{a}"))),
    facts=Facts(signs=(1, 1), symbol="+"),
    c="{a} + {b}",
)
def add(a, b):
    """Sum, elementwise.

    Examples
    --------
    >>> add([1.0, 2.0], 1.0)
    tensor([2., 3.])
    """


def _not_of_booleans(*specs: Spec) -> Spec:
    """Shape rule of an operation that NumPy refuses for booleans alone."""
    found = elementwise(*specs)
    if found.dtype.kind == "b":
        raise DtypeError("booleans cannot be negated by - or subtracted; use ~ or !=, or .astype(int) first")
    return found


@primitive(
    np.subtract,
    gradient=(lambda g, y, a, b: g, lambda g, y, a, b: -g),
    formula=Formula("{a:sum} - {b:term}", SUM),
    facts=Facts(signs=(1, -1), symbol="−"),
    shape=_not_of_booleans,
    c="{a} - {b}",
)
def subtract(a, b):
    """Difference, elementwise.

    Examples
    --------
    >>> subtract([1.0, 2.0], 1.0)
    tensor([0., 1.])
    """


@primitive(
    np.multiply,
    gradient=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    formula=Formula(
        r"{a:product} \odot {b:product}",
        PRODUCT,
        special=(
            ("a", 1, "{b}"),
            ("b", 1, "{a}"),
            ("a", -1, Formula("-{b:term}", SUM)),
            ("b", -1, Formula("-{a:term}", SUM)),
        ),
    ),
    facts=Facts(linear="each", symbol="×"),
    c="{a} * {b}",
)
def multiply(a, b):
    """Product, elementwise (Hadamard).

    Examples
    --------
    >>> multiply([1.0, 2.0], 3.0)
    tensor([3., 6.])
    """


@primitive(
    np.divide,
    gradient=(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    formula=r"\frac{{{a}}}{{{b}}}",
    facts=Facts(linear=("a",), symbol="÷"),
    domain=Domain(REAL, POSITIVE),
    c="{a} / {b}",
)
def divide(a, b):
    """Quotient, elementwise.

    Examples
    --------
    >>> divide([1.0, 2.0], 2.0)
    tensor([0.5, 1. ])
    """


@primitive(
    np.negative,
    gradient=(lambda g, y, x: -g,),
    formula=Formula("-{x:term}", SUM),
    facts=Facts(signs=(-1,), symbol="−"),
    shape=_not_of_booleans,
    c="-{x}",
)
def negative(x):
    """Negative, elementwise.

    Examples
    --------
    >>> negative([1.0, -2.0])
    tensor([-1.,  2.])
    """


def square(x: TensorLike) -> Tensor:
    """Square, elementwise.

    Examples
    --------
    >>> square([1.0, -2.0])
    tensor([1., 4.])
    """
    x = as_tensor(x)
    if x.dtype.kind == "b":  # NumPy's square of booleans is of int8
        x = x.astype(np.int8)
    return apply(multiply, (x, x))


# -- powers, exponentials, logarithms ------------------------------------------------------


def _power_shape(a: Spec, b: Spec) -> Spec:
    shape, dtype = elementwise(a, b)
    return Spec(shape, np.dtype(np.int8) if dtype.kind == "b" else dtype)


@primitive(
    np.power,
    gradient=(
        lambda g, y, a, b: g * where(equal(b, 0), 0, b * a ** where(equal(b, 0), 1, b - 1)),
        lambda g, y, a, b: g * y * log(where(equal(a, 0), 1, a)),
    ),
    formula=Formula(r"{a:base}^{{{b}}}", special=(("b", 1, "{a}"),)),
    shape=_power_shape,
    domain=Domain(POSITIVE, REAL),
    c={"f": "pow_({a}, {b})", "iub": "power_({a}, {b}, &failed)"},
)
def power(a, b):
    """`a` to the power of `b`, elementwise; the gradient in `b` is taken as 0 where `a` is 0.

    Examples
    --------
    >>> power([2.0, 3.0], 2)
    tensor([4., 9.])
    """


@primitive(
    np.exp,
    gradient=(lambda g, y, x: g * y,),
    formula=Formula(
        r"\exp\left({x}\right)", special=(("x", "log_softmax", r"\operatorname{{softmax}}{over}\left({x}\right)"),)
    ),
    c="exp_({x})",
)
def exp(x):
    """Exponential, elementwise.

    Examples
    --------
    >>> exp([0.0, 1.0])
    tensor([1.        , 2.71828183])
    """


@primitive(np.expm1, gradient=(lambda g, y, x: g * (y + 1),), formula=Formula(r"e^{{{x}}} - 1", OPEN), c="expm1_({x})")
def expm1(x):
    """exp(x) - 1, elementwise, accurate near 0.

    Examples
    --------
    >>> expm1([0.0, 1e-12])
    tensor([0.e+00, 1.e-12])
    """


@primitive(
    np.log,
    gradient=(lambda g, y, x: g / x,),
    formula=r"\log\left({x}\right)",
    domain=Domain(POSITIVE),
    c="log_({x})",
)
def log(x):
    """Natural logarithm, elementwise.

    Examples
    --------
    >>> log([1.0, 2.0])
    tensor([0.        , 0.69314718])
    """


@primitive(
    np.log1p,
    gradient=(lambda g, y, x: g / (1 + x),),
    formula=r"\log\left(1 + {x:sum}\right)",
    domain=Domain(Interval(-1, float("inf"))),
    c="log1p_({x})",
)
def log1p(x):
    """log(1 + x), elementwise, accurate near 0.

    Examples
    --------
    >>> log1p([0.0, 1e-12])
    tensor([0.e+00, 1.e-12])
    """


@primitive(
    np.sqrt,
    gradient=(lambda g, y, x: g / (2 * y),),
    formula=r"\sqrt{{{x}}}",
    facts=Facts(symbol="√"),
    domain=Domain(POSITIVE),
    c="sqrt_({x})",
)
def sqrt(x):
    """Square root, elementwise.

    Examples
    --------
    >>> sqrt([4.0, 9.0])
    tensor([2., 3.])
    """


# -- trigonometric and hyperbolic ----------------------------------------------------------


@primitive(np.sin, gradient=(lambda g, y, x: g * cos(x),), formula=r"\sin\left({x}\right)", c="sin_({x})")
def sin(x):
    """Sine, elementwise, of radians.

    Examples
    --------
    >>> sin([0.0, 1.0])
    tensor([0.        , 0.84147098])
    """


@primitive(np.cos, gradient=(lambda g, y, x: -g * sin(x),), formula=r"\cos\left({x}\right)", c="cos_({x})")
def cos(x):
    """Cosine, elementwise, of radians.

    Examples
    --------
    >>> cos([0.0, 1.0])
    tensor([1.        , 0.54030231])
    """


@primitive(
    np.tanh,
    gradient=(lambda g, y, x: g * (1 - y * y),),
    formula=r"\tanh\left({x}\right)",
    facts=Facts(bounds=(-1, 1)),
    c="tanh_({x})",
)
def tanh(x):
    """Hyperbolic tangent, elementwise.

    Examples
    --------
    >>> tanh([0.0, 1.0])
    tensor([0.        , 0.76159416])
    """


# -- kinks: the subgradient is chosen once, here -------------------------------------------


@primitive(
    np.absolute,
    gradient=(lambda g, y, x: g * sign(x),),
    formula=r"\left|{x}\right|",
    domain=Domain(REAL, kinks=lambda x: x),
    c="{x} < 0 ? -{x} : {x} + 0",
)
def absolute(x):
    """Absolute value, elementwise; its derivative at 0 is taken as 0.

    Examples
    --------
    >>> absolute([-1.0, 2.0])
    tensor([1., 2.])
    """


@primitive(
    np.sign,
    gradient=(None,),
    formula=r"\operatorname{{sign}}\left({x}\right)",
    shape=_not_of_booleans,
    domain=Domain(REAL, kinks=lambda x: x),
    c="{x} != {x} ? {x} : ({x} > 0) - ({x} < 0)",
)
def sign(x):
    """Sign, elementwise: -1, 0 or 1; its derivative is 0.

    Examples
    --------
    >>> sign([-3.0, 0.0, 2.0])
    tensor([-1.,  0.,  1.])
    """


def _like(ufunc: Any) -> Any:
    """Shape rule of an elementwise primitive whose dtype for integers and booleans is that of NumPy's ufunc."""

    def shape(*specs: Spec) -> Spec:
        found = ufunc(*[np.ones((), spec.dtype) for spec in specs])
        return Spec(np.broadcast_shapes(*[spec.shape for spec in specs]), found.dtype)

    return shape


def _from_whole(x: Any) -> Any:
    return x - np.round(x)


@primitive(
    np.floor,
    gradient=(None,),
    formula=r"\left\lfloor {x}\right\rfloor",
    shape=_like(np.floor),
    domain=Domain(REAL, kinks=_from_whole),
    c={"f": "floor_({x})", "iub": "{x}"},
)
def floor(x):
    """The largest integer that is not above `x`, elementwise; its derivative is 0.

    Examples
    --------
    >>> floor([-0.5, 1.5])
    tensor([-1.,  1.])
    """


@primitive(
    np.floor_divide,
    gradient=(None, None),
    formula=r"\left\lfloor\frac{{{a}}}{{{b}}}\right\rfloor",
    shape=_like(np.floor_divide),
    domain=Domain(REAL, POSITIVE, kinks=lambda a, b: _from_whole(a / b)),
    c={"f": "floor_divide_({a}, {b})", "i": "floor_divide_({a}, {b})", "ub": "{b} ? {a} / {b} : 0"},
)
def floor_divide(a, b):
    """The quotient rounded down, elementwise, as in ``a // b``; its derivatives are 0.

    Examples
    --------
    >>> floor_divide([5.0, -5.0], 3.0)
    tensor([ 1., -2.])
    """


@primitive(
    np.remainder,
    gradient=(lambda g, y, a, b: g, lambda g, y, a, b: -g * floor_divide(a, b)),
    formula=Formula(r"{a:product} \bmod {b:matrix}", TERM),
    facts=Facts(symbol="mod"),
    shape=_like(np.remainder),
    domain=Domain(REAL, POSITIVE, kinks=lambda a, b: _from_whole(a / b)),
    c={"f": "remainder_({a}, {b})", "i": "remainder_({a}, {b})", "ub": "{b} ? {a} % {b} : 0"},
)
def remainder(a, b):
    """Remainder of the floor division, elementwise, as in ``a % b``; its sign is that of `b`.

    The derivative is 1 in `a`, and the negative of the rounded quotient in `b`.

    Examples
    --------
    >>> remainder([5.0, -5.0], 3.0)
    tensor([2., 1.])
    """


mod = remainder


@primitive(
    np.maximum,
    gradient=(
        lambda g, y, a, b: g * _share(a, b, greater),
        lambda g, y, a, b: g * _share(b, a, greater),
    ),
    formula=r"\max\left({a}, {b}\right)",
    facts=Facts(symbol="max"),
    domain=Domain(REAL, REAL, kinks=lambda a, b: a - b),
    c="{a} > {b} || {a} != {a} ? {a} : {b}",
)
def maximum(a, b):
    """The larger of two values, elementwise; equal values share the gradient in halves.

    Examples
    --------
    >>> maximum([1.0, 5.0], 3.0)
    tensor([3., 5.])
    """


@primitive(
    np.minimum,
    gradient=(
        lambda g, y, a, b: g * _share(a, b, less),
        lambda g, y, a, b: g * _share(b, a, less),
    ),
    formula=r"\min\left({a}, {b}\right)",
    facts=Facts(symbol="min"),
    domain=Domain(REAL, REAL, kinks=lambda a, b: a - b),
    c="{a} < {b} || {a} != {a} ? {a} : {b}",
)
def minimum(a, b):
    """The smaller of two values, elementwise; equal values share the gradient in halves.

    Examples
    --------
    >>> minimum([1.0, 5.0], 3.0)
    tensor([1., 3.])
    """


def _share(mine: Any, other: Any, wins: Any) -> Any:
    return where(equal(mine, other), 0.5, wins(mine, other))


def _where_shape(condition: Spec, a: Spec, b: Spec) -> Spec:
    return Spec(np.broadcast_shapes(condition.shape, a.shape, b.shape), np.result_type(a.dtype, b.dtype))


@primitive(
    gradient=(
        None,
        lambda g, y, condition, a, b: where(condition, g, 0),
        lambda g, y, condition, a, b: where(condition, 0, g),
    ),
    formula=Formula(
        r"\begin{{cases}}{a} & {condition} \\ {b} & \text{{else}}\end{{cases}}",
        OPEN,
        special=(("condition", 1, "{a}"), ("condition", 0, "{b}")),
    ),
    facts=Facts(elementwise=True, linear=("a", "b")),
    shape=_where_shape,
    domain=Domain(BOOLEAN, REAL, REAL),
    c="{condition} ? {a} : {b}",
)
def where(condition, a, b, *, out=None):
    """Choose elementwise: `a` where the condition holds, else `b`.

    Parameters
    ----------
    condition : array_like of bool
    a, b : array_like
        The values where the condition is true, and where it is false.

    Examples
    --------
    >>> where([True, False], [1.0, 2.0], 0.0)
    tensor([1., 0.])
    """
    if out is None:
        return np.where(condition, a, b)
    np.copyto(out, b)
    np.copyto(out, a, where=condition)
    return out


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """Limit the values to an interval; the gradient passes within the interval and at its ends, and is 0 beyond.

    Parameters
    ----------
    x : array_like
    min, max : array_like, optional
        Bounds. A bound that is not given does not limit.

    Examples
    --------
    >>> clip([-2.0, 0.5, 2.0], -1, 1)
    tensor([-1. ,  0.5,  1. ])
    """
    if min is not None:
        x = where(less(x, min), min, x)
    if max is not None:  # applied last, as in NumPy: `max` wins if `min` is larger
        x = where(greater(x, max), max, x)
    return as_tensor(x)


# -- comparisons and logic: boolean, so without a gradient ---------------------------------


def _boolean(*specs: Spec) -> Spec:
    return Spec(np.broadcast_shapes(*[spec.shape for spec in specs]), np.dtype(bool))


def _comparison(ufunc: Any, sign: str, symbol: str, c: str) -> Any:
    def compare(a, b):
        pass

    compare.__name__ = ufunc.__name__
    compare.__doc__ = f"Whether a {ufunc.__name__.replace('_', ' or ')} b, elementwise; booleans, so without a gradient."
    domain = Domain(REAL, REAL, kinks=lambda a, b: a - b)
    formula = Formula(f"{{a:sum}} {sign} {{b:sum}}", RELATION)
    facts = Facts(symbol=symbol)
    declared = primitive(
        ufunc, gradient=(None, None), formula=formula, shape=_boolean, domain=domain, facts=facts, c=f"{{a}} {c} {{b}}"
    )
    return declared(compare)


less = _comparison(np.less, "<", "<", "<")
less_equal = _comparison(np.less_equal, r"\le", "≤", "<=")
greater = _comparison(np.greater, ">", ">", ">")
greater_equal = _comparison(np.greater_equal, r"\ge", "≥", ">=")
equal = _comparison(np.equal, "=", "=", "==")
not_equal = _comparison(np.not_equal, r"\ne", "≠", "!=")


@primitive(
    np.logical_and,
    gradient=(None, None),
    formula=Formula(r"{a:relation} \land {b:relation}", OPEN),
    facts=Facts(symbol="and"),
    shape=_boolean,
    domain=Domain(BOOLEAN, BOOLEAN),
    c="{a} && {b}",
)
def logical_and(a, b):
    """Logical "and", elementwise.

    Examples
    --------
    >>> logical_and([True, True], [True, False])
    tensor([ True, False])
    """


@primitive(
    np.logical_or,
    gradient=(None, None),
    formula=Formula(r"{a:relation} \lor {b:relation}", OPEN),
    facts=Facts(symbol="or"),
    shape=_boolean,
    domain=Domain(BOOLEAN, BOOLEAN),
    c="{a} || {b}",
)
def logical_or(a, b):
    """Logical "or", elementwise.

    Examples
    --------
    >>> logical_or([True, False], [False, False])
    tensor([ True, False])
    """


@primitive(
    np.logical_not,
    gradient=(None,),
    formula=Formula(r"\lnot {x:atom}", RELATION),
    facts=Facts(symbol="not"),
    shape=_boolean,
    domain=Domain(BOOLEAN),
    c="!{x}",
)
def logical_not(x):
    """Logical "not", elementwise.

    Examples
    --------
    >>> logical_not([True, False])
    tensor([False,  True])
    """


# -- identities with a meaning -------------------------------------------------------------


def _real(dtype: Any) -> np.dtype[Any]:
    found = np.dtype(dtype).newbyteorder("=")
    if found.kind not in "fiub":
        raise DtypeError(f"a tensor holds floats, integers or booleans, not {found}")
    return found


@primitive(
    gradient=(lambda g, y, x, dtype: g.astype(x.dtype),),
    formula="{x}",
    facts=Facts(elementwise=True, copies=True),
    shape=lambda x, dtype: Spec(x.shape, _real(dtype)),
    domain=Domain(REAL, attributes=lambda choose, x: {"dtype": np.dtype(np.float64)}),
    c="{x}",
)
def astype(x, *, dtype, out=None):
    """The same values, converted to another dtype.

    Parameters
    ----------
    x : array_like
    dtype : dtype
        Dtype of the result.

    Examples
    --------
    >>> import numpy as np
    >>> astype([1.0, 2.0], dtype=np.dtype("float32")).dtype
    dtype('float32')
    """
    if out is None:
        return x.astype(_real(dtype))
    np.copyto(out, x, casting="unsafe")
    return out


@primitive(
    gradient=(None,),
    formula=r"\operatorname{{detach}}\left({x}\right)",
    facts=Facts(elementwise=True, copies=True),
    domain=Domain(REAL, stops=True),
    view=lambda attributes, shape: True,
    c="{x}",
)
def detach(x, *, out=None):
    """The same values, without a gradient to `x`: the operation that ``t.detach()`` records in a trace.

    Examples
    --------
    >>> detach([1.0])
    tensor([1.])
    """
    return filled(x, out)


detach.cuts = lambda node, order: {0: (node.inputs[0], node.location)}
