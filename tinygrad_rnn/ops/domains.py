"""Domains: the inputs and attributes that a primitive takes, as data that tests, errors and docs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = ["BOOLEAN", "POSITIVE", "REAL", "Choose", "Domain", "Interval"]

Shape = tuple[int, ...]


class Interval(NamedTuple):
    """An open interval of reals, or of integers or booleans.

    Attributes
    ----------
    low, high : float
    kind : str
        ``"float"``, ``"int"`` or ``"bool"``.
    """

    low: float
    high: float
    kind: str = "float"

    def __str__(self) -> str:
        return self.kind if self.kind == "bool" else f"{self.kind} in ({self.low:g}, {self.high:g})"


REAL = Interval(float("-inf"), float("inf"))
POSITIVE = Interval(0.0, float("inf"))
BOOLEAN = Interval(0, 1, "bool")


class Choose(Protocol):
    """Protocol of the random choices that make a test case; `testing.strategies` implements it with hypothesis."""

    def integer(self, low: int, high: int) -> int:
        """Draw an integer, both ends included."""

    def flag(self) -> bool:
        """Draw True or False."""

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of the options."""

    def shape(self, min_ndim: int = 0, max_ndim: int = 3) -> Shape:
        """Draw a small shape; lengths of 0 and 1 occur."""

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Draw distinct negative axes: none, some or all."""

    def permutation(self, n: int) -> tuple[int, ...]:
        """Draw a permutation of ``range(n)``."""

    def index(self, shape: Shape) -> tuple[Any, ...]:
        """Draw a basic index (integers, slices, None, Ellipsis) into an array of a shape."""


@dataclass(frozen=True)
class Domain:
    """The set where a primitive is defined, and the points where it has no derivative.

    Parameters
    ----------
    *inputs : Interval
        One interval for each input; a single interval holds for all inputs.
    signature : str, optional
        Core dimensions in NumPy's gufunc notation, such as ``"(m,n),(n,p)->(m,p)"``.
        Without it the inputs broadcast together.
    shapes : callable, optional
        ``shapes(choose) -> list of shapes``, for inputs that neither broadcast nor fit a signature.
    attributes : callable, optional
        ``attributes(choose, *shapes) -> dict`` of the static arguments.
    kinks : callable, optional
        ``kinks(*arrays, **attributes) -> array``: how far each element is from a point
        without a derivative, zero at the point itself.
    stops : bool
        Whether the gradient is zero on purpose, whatever the derivative.

    Examples
    --------
    >>> print(Domain(POSITIVE))
    float in (0, inf)
    """

    inputs: tuple[Interval, ...]
    signature: str | None
    shapes: Callable[[Choose], list[Shape]] | None
    attributes: Callable[..., Mapping[str, Any]] | None
    kinks: Callable[..., Any] | None
    stops: bool

    def __init__(
        self,
        *inputs: Interval,
        signature: str | None = None,
        shapes: Callable[[Choose], list[Shape]] | None = None,
        attributes: Callable[..., Mapping[str, Any]] | None = None,
        kinks: Callable[..., Any] | None = None,
        stops: bool = False,
    ) -> None:
        given = inputs or (REAL,)
        vars(self).update(inputs=given, signature=signature, shapes=shapes, attributes=attributes, kinks=kinks, stops=stops)

    def of(self, position: int) -> Interval:
        """The interval from which one input is drawn."""
        return self.inputs[position] if len(self.inputs) > 1 else self.inputs[0]

    def __str__(self) -> str:
        return ", ".join(map(str, self.inputs))
