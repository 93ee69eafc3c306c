"""Numbers that differ from run to run, such as a learning rate, and the arithmetic that a function does on them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import TraceError
from ..graph.context import current
from ..graph.node import Node, Spec, leaf
from ..tensor import Tensor, tensor

__all__ = ["Arithmetic", "Number"]


class Number:
    """A Python number of a recorded function: arithmetic on it is recorded, and next to a tensor it becomes a value.

    Each run computes the number with Python's own arithmetic, as the function itself would.

    Parameters
    ----------
    value : int or float
        The number in the call that is recorded. Its type decides how NumPy promotes the result.
    function : callable, optional
        The function that computes the number from `operands`; none for a number that is given.
    operands : tuple of (Number, int or float)

    Examples
    --------
    >>> lr = Number(0.5)
    >>> scale = lr / (1 - lr**2)
    >>> Arithmetic([lr], [scale]).run([0.5]), Arithmetic([lr], [scale]).run([0.0])
    ([0.6666666666666666], [0.0])
    """

    __slots__ = ("value", "function", "operands")

    def __init__(self, value: Any, function: Callable[..., Any] | None = None, operands: tuple[Any, ...] = ()) -> None:
        self.value = value
        self.function = function
        self.operands = operands

    def node_beside(self, dtypes: Sequence[np.dtype[Any]]) -> Node:
        """A scalar node for the number, in the dtype that a Python number takes next to tensors of some dtypes."""
        recorder = current().recorder
        if recorder is None:
            raise TraceError(
                "a number from inside a compiled function is used after the function has ended; return the number instead of "
                "storing it"
            )
        dtype = np.result_type(*dtypes, self.value)
        key = self, dtype
        if key not in recorder.numbers:
            recorder.numbers[key] = leaf(Spec((), dtype))
        return recorder.numbers[key]

    def _refused(self, *_: object, **__: object) -> NoReturn:
        raise TraceError(
            "this line needs the value of a number that may differ between calls, such as a learning rate or an argument, but "
            "a compiled function is recorded only once, without that value. Compute with + - * / ** and NumPy's functions; "
            "or, if the number rarely changes, make it an integer, an attribute or a global variable: for each new value of "
            "these, the function is recorded again"
        )

    def _compared(self, other: object) -> Any:
        return NotImplemented if isinstance(other, (Tensor, np.ndarray)) else self._refused()

    __bool__ = __float__ = __int__ = __index__ = __round__ = __array__ = __format__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = _compared
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return self is other or self._compared(other)

    def __repr__(self) -> str:
        if current().recorder is not None:
            self._refused()
        return f"<a number, now {self.value}>"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        if any(isinstance(x, np.ndarray) for x in inputs):
            return ufunc(*[tensor(x) if isinstance(x, np.ndarray) else x for x in inputs])
        return _applied(ufunc, inputs)


def _applied(function: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    plain = (Number, int, float, np.number)
    if not all(isinstance(x, plain) for x in operands):
        return NotImplemented
    recorder = current().recorder
    known = {} if recorder is None else recorder.computed
    key = function, tuple([x if isinstance(x, Number) else (type(x), repr(x)) for x in operands])
    if key not in known:
        value = function(*[x.value if isinstance(x, Number) else x for x in operands])
        known[key] = Number(value, function, operands)
    return known[key]


def _operators(name: str) -> None:
    function = getattr(operator, name)
    setattr(Number, f"__{name}__", lambda self, other: _applied(function, (self, other)))
    setattr(Number, f"__r{name}__", lambda self, other: _applied(function, (other, self)))


def _unary_operator(name: str) -> None:
    function = getattr(operator, name)
    setattr(Number, f"__{name}__", lambda self: _applied(function, (self,)))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _operators(_name)
for _name in ("neg", "pos", "abs"):
    _unary_operator(_name)


class Arithmetic:
    """The arithmetic on Python numbers in a function, to be repeated in each run.

    Parameters
    ----------
    given : sequence of Number
    wanted : iterable of Number
    """

    def __init__(self, given: Sequence[Number], wanted: Iterable[Number]) -> None:
        self._place: dict[Any, int] = {number: k for k, number in enumerate(given)}
        self._known: dict[Any, int] = {}
        self._constants: list[Any] = []
        self._calls: list[tuple[Callable[..., Any], tuple[int, ...]]] = []
        self._given = len(given)
        operations: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        names = [self._of(number, operations) for number in wanted]
        start = self._given + len(self._constants)

        def place(name: tuple[str, int]) -> int:
            kind, k = name
            return k if kind == "given" else self._given + k if kind == "constant" else start + k

        self._calls = [(function, tuple(map(place, operands))) for function, operands in operations]
        self._wanted = list(map(place, names))

    def _of(self, x: Any, operations: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> tuple[str, int]:
        if not isinstance(x, Number):
            key: Any = ("constant", type(x), repr(x))
            if key not in self._known:
                self._known[key] = len(self._constants)
                self._constants.append(x)
            return "constant", self._known[key]
        if x.function is None:
            return "given", self._place[x]
        operation = x.function, tuple([self._of(operand, operations) for operand in x.operands])
        if operation not in self._known:
            self._known[operation] = len(operations)
            operations.append(operation)
        return "made", self._known[operation]

    def run(self, given: Sequence[Any]) -> list[Any]:
        """The wanted numbers, computed from the given ones."""
        values = [*given, *self._constants]
        for function, operands in self._calls:
            values.append(function(*[values[k] for k in operands]))
        return [values[k] for k in self._wanted]
