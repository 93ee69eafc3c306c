"""Products of matrices in C: the second matrix is packed; a matrix that is the same at all steps is packed only once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

from ...graph.node import Node
from ...ops.facts import facts_of
from ..time_sums import TimeSum
from .loops import write_einsum, write_sum_over
from .names import identifier
from .page import Page
from .places import CMemory, CPlace
from .types import suffix

__all__ = ["Products"]

PANEL = 16
"""Upper limit for padding: the columns of a packed matrix are padded at most to a multiple of this."""


class Products:
    """The matrix products of a program.

    Parameters
    ----------
    page : Page

    Attributes
    ----------
    packs : list of str
        Lines that pack matrices before the first step.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.packs: list[str] = []
        self._panels: dict[Node, str] = {}

    def write(self, node: Node, batched: bool, once: bool) -> None:
        """Write a product.

        Parameters
        ----------
        node : Node
        batched : bool
            Whether the product is computed for all steps of a chunk at once.
        once : bool
            Whether the product is computed once, before or after all steps.
        """
        page, (a, b), out = self.page, node.inputs, self.page.places[node]
        if node.dtype.kind != "f" or {a.dtype, b.dtype} != {node.dtype} or out.strides[-1] != 1:
            with page.steps(batched):
                write_einsum(page, node)
            return
        m, k, columns = a.shape[-2], a.shape[-1], node.shape[-1]
        page.say(f"/* {self._called(node)} = {self._called(a)} {self._called(b)} */")
        same = not once and len(b.shape) == 2 and page.places.partition.is_invariant(b)
        flat = same and batched and len(node.shape) == 2 and self._rows_follow(a) and self._rows_follow(node)
        of_all = once and math.prod(b.shape[:-2]) == 1 and self._are_one_matrix(a, node)
        m = math.prod(node.shape[:-1]) if of_all else m
        with ExitStack() as stack:
            stack.enter_context(page.steps(batched and not flat))
            *index, _, _ = stack.enter_context(page.nest(node.shape, () if of_all else range(len(node.shape) - 2)))
            index = ["0"] * len(node.shape) if of_all else [*index, "0", "0"]
            depth = page.size(k, 0) if len(b.shape) == 2 and not same else str(k)
            panels = self._packed_before(b) if same else self._packed(b, depth, columns, index)
            rows = page.size(m, 0) if len(node.shape) == 2 else str(m)
            if flat:
                rows = "n" if m == 1 else f"n * {rows}"
            t, (row, column) = "0" if flat else "t", page.places[a].strides[-2:]
            end, memories = suffix(node.dtype), (page.places[a].memory, out.memory)
            if flat and any(map(page.is_shared, memories)):
                further = [page.row(memory) for memory in memories]
                page.say(
                    f"products_{end}(n, {page.size(m, 0)}, {columns}, {depth}, {page.pointer(a, index, t)}, {further[0]}, "
                    f"{row}, {column}, {panels}, {page.pointer(node, index, t)}, {further[1]}, {out.strides[-2]});"
                )
                return
            page.say(
                f"product_{end}({rows}, {columns}, {depth}, {page.pointer(a, index, t)}, {row}, {column}, "
                f"{panels}, {page.pointer(node, index, t)}, {out.strides[-2]}, 0);"
            )

    def _called(self, node: Node) -> str:
        """The name of an operand, for a comment."""
        order = facts_of(node).reorders
        if node.name is None and order:
            return f"{self._called(node.inputs[0])}ᵀ"
        return identifier(node.name or "") or self.page.name(self.page.places[node].memory)

    def _rows_follow(self, node: Node) -> bool:
        """Whether the rows of a matrix at all steps are equally far apart, across steps as within a step."""
        place = self.page.places[node]
        return place.memory.over_time and math.prod(place.memory.spec.shape) == node.shape[0] * place.strides[0]

    def _are_one_matrix(self, a: Node, node: Node) -> bool:
        """Whether the rows of all matrices of a batch are equally far apart, in the first operand and in the product."""
        strides = [self.page.places[i].strides for i in (a, node)]
        axes = range(len(node.shape) - 2)
        return a.shape[:-1] == node.shape[:-1] and all(s[k] == s[k + 1] * node.shape[k + 1] for s in strides for k in axes)

    def _packed_before(self, b: Node) -> str:
        """The name of a matrix that is packed before the first step."""
        if b not in self._panels:
            k, n = b.shape
            self._panels[b] = self._new_panels(b, k, n)
            self.packs += self.page.written(1, lambda: self._pack(b, str(k), n, ["0", "0"], self._panels[b]))
        return self._panels[b]

    def _packed(self, b: Node, k: str, n: int, index: Sequence[str]) -> str:
        """The name of a matrix that is packed where it is used."""
        name = self._new_panels(b, b.shape[-2], n)
        self._pack(b, k, n, index, name)
        return name

    def _new_panels(self, b: Node, k: int, n: int) -> str:
        return self.page.scratch("packed", (k * _padded(n),), b.dtype)

    def _pack(self, b: Node, k: str, n: int, index: Sequence[str], name: str) -> None:
        end, strides = suffix(b.dtype), self.page.places[b].strides
        self.page.types.add(end)
        self.page.say(f"pack_{end}({k}, {n}, {self.page.pointer(b, index)}, {strides[-2]}, {strides[-1]}, {name});")

    def write_sum(self, time_sum: TimeSum, place: CPlace) -> None:
        """Write Σ_t a_t b_t, as one product over the rows of all steps of a chunk."""
        page, (a, b) = self.page, time_sum.operands
        flipped, dtype = time_sum.kind == "flipped product", time_sum.leaf.dtype
        if {a.dtype, b.dtype} != {dtype}:
            with page.steps():
                write_sum_over(page, ["XZ", "ZY"], "YX" if flipped else "XY", (a, b), time_sum.leaf, place, "+=")
            return
        k, left, right, end = a.shape[1], page.places[a], page.places[b], suffix(dtype)
        page.types.add(end)
        follow = all(
            operand.memory.over_time and math.prod(operand.memory.spec.shape) == k * stride
            for operand, stride in ((left, left.strides[1]), (right, right.strides[0]))
        )
        t, steps = "0" if follow else "t", page.size(k, 0)
        depth = steps if not follow else "n" if k == 1 else f"n * {steps}"
        with page.steps(not follow):
            x, y = page.pointer(a, ["0", "0"], t), page.pointer(b, ["0", "0"], t)
            if follow:
                x = self._joined(x, left.memory, k, left.strides[1], a.shape[0])
                y = self._joined(y, right.memory, k, right.strides[0], b.shape[1])
            rows, columns = a.shape[0], b.shape[1]
            if flipped:  # the transpose is also a product, bᵀ aᵀ
                x, y, rows, columns = y, x, columns, rows
                left, right = (p._replace(strides=p.strides[::-1]) for p in (right, left))
            packed = page.scratch("packed", (k, _padded(columns)), dtype, over_time=True)
            page.say(f"pack_{end}({depth}, {columns}, {y}, {right.strides[0]}, {right.strides[1]}, {packed});")
            page.say(
                f"product_{end}({rows}, {columns}, {depth}, {x}, {left.strides[0]}, {left.strides[1]}, {packed}, "
                f"{page.name(place.memory)}, {columns}, 1);"
            )

    def _joined(self, rows: str, memory: CMemory, k: int, apart: int, width: int) -> str:
        """The rows of all steps of a chunk, one after another; a copy if rows of other sequences lie between them."""
        page = self.page
        if not page.is_shared(memory):
            return rows
        room = page.scratch("row", (k, apart), memory.spec.dtype, over_time=True)
        copied = f"B * {apart}" if width == apart else f"B * {apart} - {apart - width}"
        return page.call(f"joined_(n, {copied}, B * {apart}, S * {apart}, {rows}, {room})", memory.spec.dtype)


def _padded(n: int) -> int:
    return -(-n // PANEL) * PANEL
