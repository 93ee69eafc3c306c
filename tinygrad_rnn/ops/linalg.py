"""Matrix products, and all other sums of products by einsum."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from ..graph.node import Spec
from .core import TensorLike, apply, as_tensor, primitive, registry
from .domains import REAL, Choose, Domain, Shape
from .facts import Facts
from .formula import MATRIX, Formula
from .shapes import moveaxis, swapaxes

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["dot", "einsum", "matmul", "outer"]


def _product(a: Spec, b: Spec) -> Spec:
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        hint = ""
        if len(a.shape) == len(b.shape) == 2:
            if b.shape[1] == a.shape[0]:
                hint = "; in the other order, b @ a, they fit"
            elif a.shape[1] == b.shape[1]:
                hint = "; with b transposed, a @ b.T, they fit"
        raise ShapeError(
            f"the shapes {a.shape} @ {b.shape} do not fit: the last axis of a and the second-last axis of b have different "
            f"lengths{hint}"
        )
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Spec((*batch, a.shape[-2], b.shape[-1]), np.result_type(a.dtype, b.dtype))


_LAST_TWO = {"axes": (-1, -2)}


def _transposed(x: Any) -> Any:
    return apply(registry["transpose"], (x,), _LAST_TWO) if x.ndim == 2 else swapaxes(x, -1, -2)


def _rows(x: Any) -> Any:
    return x.reshape((-1 if x.size else int(np.prod(x.shape[:-1])), x.shape[-1]))


def _second(g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 2 and a.ndim > 2:  # one product over all rows is faster than one for each matrix of the batch
        a, g = _rows(a), _rows(g)
    return apply(_matmul, (_transposed(a), g))


@primitive(
    np.matmul,
    gradient=(lambda g, y, a, b: apply(_matmul, (g, _transposed(b))), _second),
    formula=Formula("{a:matrix} {b:matrix,factor}", MATRIX, transposed="{b:matrix,T} {a:matrix,T,factor}"),
    facts=Facts(product=True, symbol="·"),
    shape=_product,
    domain=Domain(REAL, REAL, signature="(m,n),(n,p)->(m,p)"),
)
def _matmul(a, b):
    pass


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """Matrix product over the last two axes, broadcast over the others; vectors as in NumPy.

    Raises
    ------
    ShapeError
        If the inner lengths differ, or an operand has no axis.

    Examples
    --------
    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    tensor([[11.]])
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim > 1 and b.ndim > 1:
        return apply(_matmul, (a, b))
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: the shapes {a.shape} @ {b.shape} do not fit: a number has no axis to sum over; use *")
    axis = b.shape[-2 if b.ndim > 1 else 0]
    if a.shape[-1] != axis:  # the message has the shapes of the caller's operands, which may be vectors
        raise ShapeError(
            f"matmul: the shapes {a.shape} @ {b.shape} do not fit: the axes to sum over have lengths {a.shape[-1]} and {axis}"
        )
    left = a if a.ndim > 1 else a.reshape((1, -1) if a.size else (1, 0))
    right = b if b.ndim > 1 else b.reshape((-1, 1) if b.size else (0, 1))
    y = apply(_matmul, (left, right))
    shape = y.shape[:-2] + y.shape[-2:-1] * (a.ndim > 1) + y.shape[-1:] * (b.ndim > 1)
    return y.reshape(shape)


def dot(a: TensorLike, b: TensorLike) -> Tensor:
    """Sums of products over the last axis of `a` and the second-last axis of `b`, as ``np.dot`` computes them.

    For vectors and matrices the result is that of :func:`matmul`. With more axes, each row of `a` meets each
    column of `b`.

    Raises
    ------
    ShapeError
        If the lengths of the two axes differ.

    Examples
    --------
    >>> dot([1.0, 2.0], [3.0, 4.0])
    tensor(11.)
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    second = b.ndim - min(b.ndim, 2)
    if a.shape[-1] != b.shape[second]:
        raise ShapeError(
            f"dot: the shapes {a.shape} and {b.shape} do not fit: the axes to sum over have lengths {a.shape[-1]} and "
            f"{b.shape[second]}"
        )
    if b.ndim <= 2 or a.ndim == 1:
        return matmul(a, b)
    columns = moveaxis(b, second, 0)
    rest = columns.shape[1:]
    return matmul(a, columns.reshape((len(columns), math.prod(rest)))).reshape(a.shape[:-1] + rest)


def outer(a: TensorLike, b: TensorLike) -> Tensor:
    """Products of each element of `a` with each element of `b`, both flattened.

    Examples
    --------
    >>> outer([1.0, 2.0], [3.0, 4.0])
    tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = as_tensor(a), as_tensor(b)
    return a.reshape((a.size, 1)) * b.reshape((1, b.size))


# -- einsum --------------------------------------------------------------------------------


def _lengths(terms: list[str], shapes: list[Shape]) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            raise ShapeError(f"{term!r} has {len(term)} letters, but its operand of shape {shape} has {len(shape)} axes")
        for letter, n in zip(term, shape, strict=True):
            if n != 1 or letter not in lengths:
                if lengths.get(letter, 1) not in (1, n):
                    raise ShapeError(f"the axes called {letter!r} have different lengths, {lengths[letter]} and {n}")
                lengths[letter] = n
    return lengths


def _summed(*specs: Spec, subscripts: str) -> Spec:
    terms, result = subscripts.split("->")
    lengths = _lengths(terms.split(","), [spec.shape for spec in specs])
    return Spec(tuple(lengths[letter] for letter in result), np.result_type(*[spec.dtype for spec in specs]))


def _einsum_rules(positions: list[int], g: Any, y: Any, *xs: Any, subscripts: str) -> list[Any]:
    return [_einsum_rule(position, g, *xs, subscripts=subscripts) for position in positions]


def _einsum_rule(position: int, g: Any, *xs: Any, subscripts: str) -> Any:
    """Cotangent of one operand of einsum: the product of g and the other operands, summed over all other axes."""
    before, result = subscripts.split("->")
    terms = before.split(",")
    mine = terms[position]
    others = [i for i in range(len(xs)) if i != position]
    given = set(result).union(*[terms[i] for i in others])
    known = "".join(letter for letter in mine if letter in given)
    operands = [g, *[xs[i] for i in others]]
    subscripts = ",".join([result, *[terms[i] for i in others]]) + "->" + known
    gx = apply(_einsum, operands, {"subscripts": subscripts})
    # an axis that only this operand has was summed over: all its elements get the same cotangent
    gx = gx.reshape(tuple(gx.shape[known.index(letter)] if letter in known else 1 for letter in mine))
    lengths = _lengths(terms, [x.shape for x in xs])
    return gx.broadcast_to(tuple(lengths[letter] for letter in mine))


_EXAMPLES = ("ij,jk->ik", "bij,bjk->bik", "ij->ji", "ij->", "i,j->ij", "ij,ij->i", "i,ij,j->", "ab,bc,cd->ad")


def _einsum_shapes(choose: Choose) -> list[Shape]:
    lengths = {letter: choose.integer(1, 3) for letter in "abcdijk"}
    return [tuple(lengths[letter] for letter in term) for term in choose.pick(_EXAMPLES).split("->")[0].split(",")]


def _einsum_subscripts(choose: Choose, *shapes: Shape) -> dict[str, str]:
    def fits(subscripts: str) -> bool:
        terms = subscripts.split("->")[0].split(",")
        if [len(t) for t in terms] != [len(s) for s in shapes]:
            return False
        try:
            _lengths(terms, list(shapes))
        except ShapeError:
            return False
        return True

    return {"subscripts": choose.pick([s for s in _EXAMPLES if fits(s)])}


def _einsum_leading(attributes: Mapping[str, Any], shapes: list[Shape]) -> Any:
    subscripts = attributes["subscripts"]
    free = next((letter for letter in reversed(string.ascii_letters) if letter not in subscripts), None)
    if free is None:
        return NotImplemented
    sides = subscripts.split("->")
    return {"subscripts": "->".join(",".join(free + term for term in side.split(",")) for side in sides)}


@primitive(
    gradient=_einsum_rules,
    formula=r"\operatorname{{einsum}}_{{{subscripts:typed}}}\left({rest:own}\right)",
    facts=Facts(linear="each"),
    shape=_summed,
    domain=Domain(REAL, shapes=_einsum_shapes, attributes=_einsum_subscripts),
    leading=_einsum_leading,
    accumulates=True,
)
def _einsum(*xs, subscripts, out=None):
    return np.einsum(subscripts, *xs, out=out, optimize=len(xs) > 2)


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Sums of products over named axes, in Einstein's notation as NumPy writes it.

    Parameters
    ----------
    subscripts : str
        The axes, such as ``"tbi,ih->tbh"``; ``...``, a repeated letter (a diagonal) and a missing
        ``->`` mean the same as in NumPy.
    *operands : array_like
        The arrays, one for each term of the subscripts.

    Raises
    ------
    ShapeError
        If the subscripts and the shapes do not fit.

    Examples
    --------
    >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    """
    tensors = [as_tensor(x) for x in operands]
    terms, result = _explicit(subscripts.replace(" ", ""), [x.ndim for x in tensors])
    _lengths(terms, [x.shape for x in tensors])
    for i, term in enumerate(terms):
        terms[i], tensors[i] = _diagonals(term, tensors[i])
    return apply(_einsum, tensors, {"subscripts": ",".join(terms) + "->" + result})


def _diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """The diagonals of x for a term with repeated letters, and the term with each letter once."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            n = x.shape[first]
            if x.shape[second] != n:
                raise ShapeError(f"einsum: the axes called {letter!r} of {x.shape} have different lengths")
            rest = [axis for axis in range(x.ndim) if axis not in (first, second)]
            rows = x.transpose([*rest, first, second]).reshape((*[x.shape[axis] for axis in rest], n * n))
            x = rows[..., :: n + 1]
            term = "".join(term[axis] for axis in rest) + letter
    return term, x


def _explicit(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Terms and result of an einsum, with letters in place of ``...`` and of a missing ``->``."""
    before, arrow, result = subscripts.partition("->")
    terms = before.split(",")
    if len(terms) != len(ndims):
        raise ShapeError(f"einsum: {subscripts!r} has {len(terms)} terms, but {len(ndims)} operands were given")
    if not set(subscripts) <= set(string.ascii_letters + ",->."):
        raise ShapeError(f"einsum: {subscripts!r} must have only letters, commas, '...' and '->'")
    missing = [n - len(term.replace("...", "")) for term, n in zip(terms, ndims, strict=True) if "..." in term]
    if any(n < 0 for n in missing):
        raise ShapeError(f"einsum: a term of {subscripts!r} has more letters than its operand has axes")
    free = sorted(set(string.ascii_letters) - set(subscripts) - {"Z"})[: max(missing, default=0)]
    if not arrow:
        letters = before.replace(",", "").replace(".", "")
        result = "..." * ("..." in before) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if set(result.replace(".", "")) - set(before):
        raise ShapeError(f"einsum: the result of {subscripts!r} has a letter that no operand has")

    def spelt(term: str, n: int) -> str:
        return term.replace("...", "".join(free[len(free) - n :]))

    counts = iter(missing)
    return [spelt(term, next(counts)) if "..." in term else term for term in terms], spelt(result, len(free))
