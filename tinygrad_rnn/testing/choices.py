"""Random choices, from which cases of a primitive and random cells are built."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["RandomChoices"]

Shape = tuple[int, ...]
Result = TypeVar("Result")


class RandomChoices:
    """The choices that a primitive's domain asks for (the protocol ``Choose``), made by a random generator.

    Parameters
    ----------
    source : int or random.Random
        A seed, or a generator; hypothesis has one whose numbers it shrinks, ``st.randoms(use_true_random=False)``.

    Examples
    --------
    >>> RandomChoices(0).pick("abc") == RandomChoices(0).pick("abc")
    True
    """

    def __init__(self, source: int | random.Random) -> None:
        self.random = source if isinstance(source, random.Random) else random.Random(source)

    def integer(self, low: int, high: int) -> int:
        """Draw an integer, both ends included."""
        return self.random.randint(low, high)

    def flag(self) -> bool:
        """Draw True or False."""
        return self.integer(0, 1) == 1

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of the options."""
        return options[self.integer(0, len(options) - 1)]

    def shape(self, min_ndim: int = 0, max_ndim: int = 3) -> Shape:
        """Draw a small shape; a length is sometimes 1 or 0."""
        return tuple(self.pick((2, 3, 4, 2, 3, 3, 1, 2, 3, 0)) for _ in range(self.integer(min_ndim, max_ndim)))

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Draw distinct negative axes, sorted: none, some or all."""
        return tuple(a for a in range(-ndim, 0) if self.flag())

    def permutation(self, n: int) -> tuple[int, ...]:
        """Draw a permutation of ``range(n)``."""
        rest = list(range(n))
        return tuple(rest.pop(self.integer(0, len(rest) - 1)) for _ in range(n))

    def index(self, shape: Shape) -> tuple[Any, ...]:
        """Draw a basic index into an array of this shape."""
        parts: list[Any] = []
        for n in shape:
            start, stop, step = self.integer(-n - 1, n), self.integer(-n - 1, n), self.pick((None, 1, 2, -1))
            whole = slice(None, None, step)
            parts.append(self.integer(-n, n - 1) if n and self.flag() else self.pick((whole, whole, slice(start, stop, step))))
        if self.flag():
            parts.insert(self.integer(0, len(parts)), None)
        if self.flag():  # an ellipsis in place of the last few axes
            del parts[self.integer(0, len(parts)) :]
            parts.append(Ellipsis)
        return tuple(parts)

    def part(self, write: Callable[[], Result]) -> Result:
        """Call `write`; its choices belong together, and hypothesis shrinks them as one part."""
        return write()
