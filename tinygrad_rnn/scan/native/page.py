"""Page: lines of C, with names for memory, lengths of loops, and positions of elements."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ...graph.node import Node, Spec
from .names import Names, plural
from .places import CMemory, CPlace, CPlaces, literal_of
from .rows import rows_of
from .types import C_TYPES, literal, suffix

__all__ = ["Page", "factor"]


class Page:
    """Lines of C about values that have places in memory.

    The number of steps and the batch size are arguments of the function; numbers of features are written in the source. A
    length that is equal to the batch size may be called B: the source is written for each batch size, and is right for that
    size. Two batch sizes with equal sources share the compiled function.

    If only sums combine the sequences of a batch, a call may compute some of the sequences: B of S, beginning with `first`.
    Arrays of the caller and residuals then have all S sequences; all other memory has the sequences of the call.

    Parameters
    ----------
    places : CPlaces
    batch : int

    Attributes
    ----------
    memories : list of CMemory
        The memories that a run needs, in the order in which they were named.
    rows : Rows or None
        The kinds of values, if a call may compute some of the sequences.
    types : set of str
        The types of the matrices that are multiplied.
    functions : list of str
        The functions of ``kernels.c`` that are called.
    calls : list of Node
        Operations that have no C.
    names : Names
    lines : list of str
    """

    def __init__(self, places: CPlaces, batch: int) -> None:
        self.places = places
        self.batch = batch
        self.rows = rows_of(places.schedule, batch) if batch > 1 else None
        self.backwards = places.loop.reverse
        self.memories: list[CMemory] = []
        self.types: set[str] = set()
        self.functions: list[str] = []
        self.calls: list[Node] = []
        self.names = Names()
        self.lines: list[str] = []
        self.called: dict[CMemory, str] = {}
        self._depth = 0
        self._count = 0
        self._has_rows = True

    # -- lines -----------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line if line.startswith("#") else f"{'    ' * self._depth}{line}")

    def written(self, depth: int, write: Callable[[], None]) -> list[str]:
        """The lines that a function adds."""
        before, self.lines, self._depth = (self.lines, self._depth), [], depth
        write()
        found, (self.lines, self._depth) = self.lines, before
        return found

    @contextmanager
    def block(self, head: str = "") -> Iterator[None]:
        """Lines in braces."""
        self.say(f"{head} {{".strip())
        self._depth += 1
        yield
        self._depth -= 1
        self.say("}")

    @contextmanager
    def loop(self, variable: str, size: str, backwards: bool = False) -> Iterator[None]:
        """Lines for each number below a size."""
        first, more = (f"{size} - 1; {variable} >= 0", "--") if backwards else (f"0; {variable} < {size}", "++")
        with self.block(f"for (long {variable} = {first}; {variable}{more})"):
            yield

    @contextmanager
    def steps(self, wanted: bool = True) -> Iterator[None]:
        """Lines for each step of a chunk, in the order of the loop; or just the lines."""
        with ExitStack() as stack:
            if wanted:
                stack.enter_context(self.loop("t", "n", self.backwards))
            yield

    @contextmanager
    def nest(self, shape: Sequence[int], axes: Sequence[int] | None = None, simd: bool = False) -> Iterator[list[str]]:
        """Lines for each element along some axes, or all axes; yields the variables, "0" for an axis of one element.

        `simd` tells the compiler that iterations of the innermost loop are independent.
        """
        variables = self.variables(shape)
        looped = [axis for axis in (range(len(shape)) if axes is None else axes) if shape[axis] != 1]
        with ExitStack() as stack:
            for axis in looped:
                if simd and axis == looped[-1]:
                    self.say("#pragma omp simd")
                stack.enter_context(self.loop(variables[axis], self.size(shape[axis], axis)))
            yield variables

    @contextmanager
    def about(self, node: Node) -> Iterator[None]:
        """Lines in which a length is the batch size only if the operation loops over the sequences of the batch."""
        self._has_rows = self.rows is None or self.rows.has(node)
        yield
        self._has_rows = True

    def variables(self, shape: Sequence[int]) -> list[str]:
        """The names of the loop variables over a shape: b over the batch, j over the last axis."""
        found = []
        for axis, n in enumerate(shape):
            back = len(shape) - 1 - axis
            inner = "j" if back == 0 else "i" if back == 1 else f"i{back}"
            found.append("0" if n == 1 else "b" if self.size(n, axis) == "B" else inner)
        return found

    def size(self, n: int, axis: int) -> str:
        """The length of an axis."""
        return "B" if axis == 0 and n == self.batch != 1 and self._has_rows else str(n)

    def total(self, shape: Sequence[int]) -> str:
        """The number of elements of a shape."""
        first, rest = (self.size(shape[0], 0), math.prod(shape[1:])) if shape else ("1", 1)
        return str(math.prod(shape)) if first != "B" else _times("B", str(rest))

    def row(self, memory: CMemory) -> str:
        """The number of elements from one step to the next."""
        shape = memory.spec.shape
        return _times("S", str(math.prod(shape[1:]))) if self.is_shared(memory) else self.total(shape)

    def is_shared(self, memory: CMemory) -> bool:
        """Whether a memory has the rows of all S sequences."""
        if self.rows is None or memory.kind not in ("input", "result", "whole") or memory.spec.shape[:1] != (self.batch,):
            return False
        if memory.kind == "whole":
            return True
        nodes = self.places.loop.inputs if memory.kind == "input" else self.places.schedule.results
        return self.rows.kinds.get(nodes[memory.position]) == 0

    # -- memory ----------------------------------------------------------------------------

    def name(self, memory: CMemory) -> str:
        """The name of a memory; if the memory has a row for each step, the name of the rows of a chunk."""
        if memory not in self.called:
            self.called[memory] = self.names.new(plural(memory.name) if memory.name and memory.over_time else memory.name)
            if not memory.given:
                self.memories.append(memory)
        return self.called[memory]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], over_time: bool = False) -> str:
        """The name of memory that is written and read only in one place."""
        return self.name(CMemory("chunk" if over_time else "once", Spec(shape, dtype), name, over_time=over_time))

    def declarations(self) -> list[str]:
        """The lines that name the memories, at the beginning of the function."""
        found = []
        for memory, name in self.called.items():
            kind, called = C_TYPES[memory.spec.dtype], f"{name}_all" if _moves(memory) else name
            if memory.given:
                const = "const " * (memory.kind == "input")
                own = "" if memory.over_time or not self.is_shared(memory) else f" + {_first(memory)}"
                array = f"data_({memory.kind}s[{memory.position}], data)"
                found.append(f"{const}{kind} *{called} = {f'({const}{kind} *){array}{own}' if own else array};")
            else:
                found.append(f"{kind} *{called} = memory[{self.memories.index(memory)}];")
        if self.calls:
            found.append(f"int (*numpy)(long, long, long) = memory[{len(self.memories)}];")
        return found

    def rows_of_chunk(self) -> list[str]:
        """The lines that find the rows of a chunk in memories of all steps."""
        found = []
        for memory, name in self.called.items():
            if _moves(memory):
                kind = "const " * (memory.kind == "input") + C_TYPES[memory.spec.dtype]
                own = f" + {_first(memory)}" if self.is_shared(memory) else ""
                found.append(f"{kind} *{name} = {name}_all + start * {factor(self.row(memory))}{own};")
        return found

    def at(self, place: CPlace, shape: Sequence[int], index: Sequence[str], t: str = "t", also: Sequence[str] = ()) -> str:
        """The number of an element within its memory.

        Parameters
        ----------
        place : CPlace
        shape : sequence of int
            Shape of the value.
        index : sequence of str
            A variable for each axis of the result. A value with fewer axes has the last of these axes.
        t : str
            Variable of the step.
        also : sequence of str
            Terms to add to the number.
        """
        index = index[len(index) - len(shape) :]
        pairs = [
            (i, stride) for i, n, stride in zip(index, shape, place.strides, strict=True) if n != 1 and stride and i != "0"
        ]
        terms: list[str] = []
        if place.memory.over_time:
            row = place.memory.spec.shape
            if place.row:
                t = str(place.row) if t == "0" else f"({t} + {place.row})"
            if pairs and pairs[0][0] == "b" and math.prod(row) == self.batch * pairs[0][1]:
                size = "S" if self.is_shared(place.memory) else "B"
                terms.append(_times({"0": "b", "1": f"{size} + b"}.get(t, f"{t} * {size} + b"), str(pairs.pop(0)[1])))
            elif t != "0":
                terms.append(_times(t, self.row(place.memory)))
        if place.offset:
            terms.append(str(place.offset))
        terms += [_times(i, factor(str(stride))) for i, stride in pairs]
        return " + ".join([*terms, *also]) or "0"

    def element(self, node: Node, index: Sequence[str]) -> str:
        """An element of a value in memory."""
        number = literal_of(node)
        if number is not None and node not in self.places:
            return literal(number.value, node.dtype)
        place = self.places[node]
        return f"{self.name(place.memory)}[{self.at(place, node.shape, index)}]"

    def pointer(self, node: Node, index: Sequence[str], t: str = "t") -> str:
        """The address of an element of a value in memory."""
        place = self.places[node]
        at = self.at(place, node.shape, index, t)
        return self.name(place.memory) if at == "0" else f"{self.name(place.memory)} + {at}"

    def call(self, text: str, dtype: np.dtype[Any]) -> str:
        """The text, in which names of functions that end in ``_`` get the ending of a dtype."""

        def typed(match: re.Match[str]) -> str:
            function = f"{match[1]}{suffix(dtype)}"
            if function not in self.functions:
                self.functions.append(function)
            return f"{function}("

        return re.sub(r"\b([a-z]\w*_)\(", typed, text)

    def number(self) -> int:
        """A number that was not used before."""
        self._count += 1
        return self._count


def _moves(memory: CMemory) -> bool:
    """Whether the rows of a chunk begin at another address for each chunk."""
    return memory.over_time and memory.kind in ("input", "result", "whole")


def _first(memory: CMemory) -> str:
    """The first element of the first sequence of a call."""
    return _times("first", str(math.prod(memory.spec.shape[1:])))


def _times(text: str, factors: str) -> str:
    return text if factors == "1" else factors if text == "1" else f"{factor(text)} * {factors}"


def factor(text: str) -> str:
    """A factor of a product: in brackets if the factor is a sum or a product itself.

    Examples
    --------
    >>> factor("B * 4"), factor("-4"), factor("B")
    ('(B * 4)', '(-4)', 'B')
    """
    return text if re.fullmatch(r"\w+|\(.*\)", text) else f"({text})"
