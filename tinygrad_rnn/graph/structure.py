"""Structure: the computation of a graph as a value that can be compared and hashed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .context import Location, Unrolling
from .node import Node, Spec


def is_constant(node: Node) -> bool:
    """Whether a leaf is a constant: only a value, without a name, role, gradient or cut."""
    return (
        node.primitive is None
        and node.name is None
        and node.role is None
        and node.leaf is None
        and "source" not in node.attributes
    )


_PLAIN = frozenset({bool, int, str, type(None), type(Ellipsis)})
"""Types of most static arguments, whose values are equal only if they are the same."""


def exact(value: Any) -> Hashable:
    """A static argument or an array as a key that is exact to the last bit: 1, 1.0, True, 0.0 and -0.0 all differ.

    Examples
    --------
    >>> exact((1, slice(None))) == exact((1, slice(None)))
    True
    >>> exact(1.0000001) == exact(1.0000002) or exact(0.0) == exact(-0.0) or exact(1) == exact(True)
    False
    >>> exact(np.array([1.0, 2.0])) == exact(np.array([1.0, 2.0]))
    True
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is slice:  # not hashable before Python 3.12
        return slice, *_each_exact((value.start, value.stop, value.step))
    if isinstance(value, (tuple, list)):
        return kind, *_each_exact(value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.dtype):
        return kind, value
    if isinstance(value, (dict, Mapping)):  # dict comes first, since the test for Mapping is slow
        return tuple([(key, exact(value[key])) for key in sorted(value)]) if value else ()
    if isinstance(value, (float, complex)):  # NaN is not equal to itself, -0.0 equals 0.0
        return type(value), (float if isinstance(value, float) else complex).__repr__(value)
    if isinstance(value, np.generic):
        return type(value), repr(value)
    if isinstance(value, (set, frozenset)):
        return type(value), frozenset(map(exact, value))
    return type(value), value if isinstance(value, Hashable) else Same(value)


def _each_exact(values: Sequence[Any]) -> list[Hashable]:
    return [(kind, value) if (kind := type(value)) in _PLAIN else exact(value) for value in values]


class Same:
    """A key that is equal only for the same object, and that keeps the object alive.

    Examples
    --------
    >>> x = bytearray(2)
    >>> Same(x) == Same(x), Same(x) == Same(bytearray(2))
    (True, False)
    """

    __slots__ = ("_object",)

    def __init__(self, value: Any) -> None:
        self._object = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other._object is self._object

    def __hash__(self) -> int:
        return id(self._object)


def same_value(node: Node) -> Hashable:
    """A key that two interchangeable nodes share: for a constant, its value."""
    if not is_constant(node):
        return node
    return node.spec if isinstance(node.value, Spec) else exact(node.value)


def exactly(node: Node) -> str:
    """A constant as text, with all digits."""
    if isinstance(node.value, Spec):
        return f"constant{node.shape}"
    return repr(node.value.item()) if node.value.size == 1 else " ".join(str(node.value).split())


def structure(outputs: Sequence[Node]) -> tuple[Hashable, ...]:
    """A graph as a hashable value: equal for two graphs of the same operations at the same locations.

    The value has a line for each node, in the order in which a walk from the outputs reaches the
    nodes, so the order of creation does not count. A line holds primitive, inputs, static arguments,
    shape, dtype, name, scope and step. Constants count by their value, to the last bit;
    other leaves by name, role, shape and dtype. The source of a cut does not count, for the
    graph does not keep the source alive.
    """
    return tuple(line for line, _ in line_by_line(outputs))


def line_by_line(outputs: Sequence[Node]) -> Iterator[tuple[Hashable, Node]]:
    """Lines of :func:`structure`, each with the node that it describes; the last line has the outputs."""
    found: dict[Hashable, int] = {}  # node, or value of a constant -> number
    known: dict[Node, int] = {}
    runs: dict[Unrolling, int] = {}
    lines: list[Hashable] = []  # new lines of the current node

    def moment(location: Location) -> Hashable:
        if location.unrolling is None:
            return None
        if location.unrolling not in runs:
            outer = location.unrolling.outer
            at = None if outer is None else (outer.scope, moment(outer))
            runs[location.unrolling] = len(runs)
            lines.append(("unrolling", location.unrolling.scope, at))
        return runs[location.unrolling], location.t

    def line(node: Node) -> Hashable:
        if is_constant(node):
            return "constant", same_value(node)
        attributes = {key: value for key, value in node.attributes.items() if key != "source" or node.primitive}
        made = node.primitive or node.operation
        where = node.scope, moment(node.location), node.location.origin is not None
        return made, tuple(known[i] for i in node.inputs), exact(attributes), node.spec, node.name, where

    for output in outputs:
        stack = [output]
        while stack:
            node = stack[-1]
            waiting = [i for i in node.inputs if i not in known] if node not in known else []
            if waiting:
                stack += reversed(waiting)
                continue
            stack.pop()
            if node not in known:
                key = same_value(node)
                if key not in found:
                    new = line(node)
                    found[key] = len(found)
                    yield from ((each, node) for each in (*lines, new))
                    lines.clear()
                known[node] = found[key]
    if outputs:
        yield tuple(known[node] for node in outputs), outputs[-1]


# -- integers within static arguments --------------------------------------------------------


def numbers(attributes: Mapping[str, Any]) -> tuple[Hashable, tuple[int, ...]]:
    """The integers in static arguments, such as positions in an index, and the structure around them.

    Examples
    --------
    >>> around, found = numbers({"index": (3, slice(0, 2))})
    >>> found
    (3, 0, 2)
    >>> around == numbers({"index": (4, slice(1, 3))})[0]
    True
    """
    found: list[int] = []

    def note(number: int) -> int:
        found.append(number)
        return 0

    return exact(_each_number(dict(attributes), note)), tuple(found)


def with_numbers(attributes: Mapping[str, Any], new: Sequence[Any]) -> dict[str, Any]:
    """Static arguments with other integers in the places that :func:`numbers` finds.

    Examples
    --------
    >>> with_numbers({"index": (3, slice(0, 2))}, [4, 1, 3])
    {'index': (4, slice(1, 3, None))}
    """
    following = iter(new)
    changed: dict[str, Any] = _each_number(dict(attributes), lambda _: next(following))
    return changed


def _each_number(value: Any, change: Callable[[int], Any]) -> Any:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return change(int(value))
    if isinstance(value, tuple):
        return tuple(_each_number(part, change) for part in value)
    if isinstance(value, slice):
        return slice(*[_each_number(end, change) for end in (value.start, value.stop, value.step)])
    if isinstance(value, dict):
        return {key: _each_number(part, change) for key, part in sorted(value.items())}
    return value
