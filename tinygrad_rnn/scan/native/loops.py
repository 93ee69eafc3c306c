"""Operations in C that need loops of their own: along lines of elements, sums of products, sums at indices."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from ...graph.node import Node
from ...ops.facts import facts_of
from ...ops.indexing import is_index_array
from .elements import write_pointers
from .indexing import indexed
from .page import Page
from .places import CPlace, literal_of
from .types import C_TYPES, line_dtype, template_of

__all__ = ["write_einsum", "write_flat", "write_line", "write_scatter", "write_sum_over"]


def write_line(page: Page, node: Node) -> None:
    """A function of the elements along some axes, for each position along the other axes.

    The elements are first copied together, unless they are contiguous.
    """
    (x,), facts, template = node.inputs, facts_of(node), template_of(node)
    assert template is not None
    chosen = node.attributes[str(facts.axes)]
    rank = len(x.shape)
    axes = sorted(axis % rank for axis in (chosen if isinstance(chosen, tuple) else (chosen,)))
    free = [axis for axis in range(rank) if axis not in axes]
    dtype, lengths = line_dtype(node), [x.shape[axis] for axis in axes]
    count = " * ".join(page.size(x.shape[axis], axis) for axis in axes) or "1"
    if facts.sums and free and axes == list(range(len(axes))) and x.dtype == node.dtype == dtype:
        _write_sum_of_rows(page, node, axes)
        return
    with page.nest(x.shape, free) as variables:
        outer = [variables[axis] if axis in free else "0" for axis in range(rank)]
        index = outer if len(node.shape) == rank else [variables[axis] for axis in free]
        together = bool(axes) and axes == list(range(rank - len(axes), rank)) and _without_gaps(page, x, axes)
        if together and literal_of(x) is None and x.dtype == dtype and page.places[x].strides[-1] == 1:
            source = page.pointer(x, outer)
        else:
            source = page.scratch("line", (math.prod(lengths),), dtype)
            _counted(page, x, axes, f"{source}[k++] = {page.element(x, variables)};")
        if facts.reduces:
            page.say(f"{page.element(node, index)} = {page.call(template.format(n=count, x=source), dtype)};")
            return
        wide = node.dtype if node.dtype.kind == "f" else np.dtype(np.int64)
        straight = together and len(axes) == 1 and node.dtype == wide and page.places[node].strides[-1] == 1
        target = page.pointer(node, outer) if straight else page.scratch("line", (math.prod(lengths),), wide)
        page.say(f"{page.call(template.format(n=count, x=source, y=target), dtype)};")
        if not straight:
            _counted(page, x, axes, f"{page.element(node, variables)} = {target}[k++];")


def _without_gaps(page: Page, x: Node, axes: Sequence[int]) -> bool:
    """Whether the elements along the last axes are contiguous."""
    strides = page.places[x].strides if literal_of(x) is None else ()
    return len(axes) == 1 or all(strides[k] == strides[k + 1] * x.shape[k + 1] for k in axes[:-1] if strides)


def _write_sum_of_rows(page: Page, node: Node, axes: Sequence[int]) -> None:
    """A sum over the first axes: whole rows are added, in order."""
    (x,) = node.inputs
    free = range(len(axes), len(x.shape))

    def total(variables: Sequence[str]) -> str:
        kept = ["0"] * (len(node.shape) - len(free))
        return page.element(node, [*kept, *[variables[axis] for axis in free]])

    with page.nest(x.shape, free, simd=True) as variables:
        page.say(f"{total(variables)} = 0;")
    with page.nest(x.shape, simd=True) as variables:
        page.say(f"{total(variables)} += {page.element(x, variables)};")


def _counted(page: Page, x: Node, axes: Sequence[int], line: str) -> None:
    """A line of C for each element along some axes of a value, with a counter k."""
    with page.block():
        page.say("long k = 0;")
        with page.nest(x.shape, axes):
            page.say(line)


def write_flat(page: Page, node: Node) -> None:
    """A copy of a value in another shape."""
    (x,), place = node.inputs, page.places[node]
    at = page.at(place._replace(strides=()), (), (), also=["k++"])
    _counted(page, x, range(len(x.shape)), f"{page.name(place.memory)}[{at}] = {page.element(x, page.variables(x.shape))};")


def write_scatter(page: Page, node: Node, place: CPlace, zero: bool) -> None:
    """Each value added at its index, to zeros or to the present contents of the memory."""
    name = page.name(place.memory)
    if zero:
        with page.nest(node.shape) as variables:
            page.say(f"{name}[{page.at(place, node.shape, variables)}] = 0;")
    rest = iter(node.inputs)
    for index in node.attributes["indices"]:
        value = next(rest)
        arrays = [next(rest) for part in index if is_index_array(part)]
        found = indexed(node.shape, place.strides, index, [array.shape for array in arrays])
        target = place._replace(strides=found.strides, offset=place.offset + found.offset)
        shape = _indexed_shape(node.shape, index, arrays)
        with page.nest(shape) as variables:
            terms = write_pointers(page, found, arrays, variables)
            page.say(f"{name}[{page.at(target, shape, variables, also=terms)}] += {page.element(value, variables)};")


def _indexed_shape(shape: tuple[int, ...], index: tuple[object, ...], arrays: Sequence[Node]) -> tuple[int, ...]:
    """The shape of an array at an index."""
    given = iter(arrays)
    parts = tuple([np.zeros(next(given).shape, int) if is_index_array(part) else part for part in index])
    found: tuple[int, ...] = np.broadcast_to(np.empty((), np.int8), shape)[parts].shape  # type: ignore[index]
    return found


def write_einsum(page: Page, node: Node) -> None:
    """A sum of products over named axes, such as a product of matrices."""
    place = page.places[node]
    if facts_of(node).product:
        outer = string.ascii_lowercase[: len(node.shape) - 2]
        left, right = (outer[len(outer) - len(i.shape) + 2 :] for i in node.inputs)
        write_sum_over(page, [f"{left}XZ", f"{right}ZY"], f"{outer}XY", node.inputs, node, place, "=")
    else:
        before, result = node.attributes["subscripts"].split("->")
        write_sum_over(page, before.split(","), result, node.inputs, node, place, "=")


def write_sum_over(
    page: Page, terms: Sequence[str], result: str, inputs: Sequence[Node], node: Node, place: CPlace, assign: str
) -> None:
    """The sum of products of inputs over all axes whose letters are not in the result.

    Parameters
    ----------
    page : Page
    terms : sequence of str
        A letter for each axis of each input.
    result : str
        Letters of the axes of the result.
    inputs : sequence of Node
    node : Node
        The result, or another node of its shape and dtype.
    place : CPlace
        Place of the result.
    assign : {"=", "+="}
    """
    sizes: dict[str, str] = {}
    lengths: dict[str, int] = {}
    for term, i in zip(terms, inputs, strict=True):
        for axis, (letter, n) in enumerate(zip(term, i.shape, strict=True)):
            if n != 1 or letter not in lengths:
                lengths[letter] = n
                if sizes.get(letter) != "B":
                    sizes[letter] = page.size(n, axis)
    letters = [*result, *[letter for letter in lengths if letter not in result]]
    variables = {letter: f"i_{letter}" if lengths[letter] != 1 else "0" for letter in letters}
    kind = C_TYPES[node.dtype] if node.dtype.kind == "f" else "long long"
    factors = []
    for term, i in zip(terms, inputs, strict=True):
        text = page.element(i, [variables[letter] for letter in term])
        factors.append(text if i.dtype == node.dtype else f"({kind}){text}")
    with ExitStack() as stack:
        for letter in result:
            if lengths[letter] != 1:
                stack.enter_context(page.loop(variables[letter], sizes[letter]))
        stack.enter_context(page.block())
        page.say(f"{kind} total = 0;")
        with ExitStack() as summed:
            for letter in letters[len(result) :]:
                if lengths[letter] != 1:
                    summed.enter_context(page.loop(variables[letter], sizes[letter]))
            page.say(f"total += {' * '.join(factors)};")
        at = page.at(place, node.shape, [variables[letter] for letter in result])
        page.say(f"{page.name(place.memory)}[{at}] {assign} total;")
