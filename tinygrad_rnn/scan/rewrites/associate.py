"""Re-association: regroup sums and products so that few of their operations depend on the carry."""

from __future__ import annotations

from typing import NamedTuple

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import adds, facts_of, multiplies, scales
from ..canonical import NodeBuilder
from ..loop import Loop
from ..partition import partition_of
from ..readers import Readers

__all__ = ["associate"]

_ADD, _MULTIPLY, _ASTYPE = registry["add"], registry["multiply"], registry["astype"]


class ScaledTerm(NamedTuple):
    """A summand: coefficient times atom. The coefficient is of a lower stage; None stands for 1.

    A summand without an atom is of a lower stage as a whole.
    """

    coefficient: Node | None
    atom: Node | None


def associate(loop: Loop) -> dict[Node, Node]:
    """Write values of a loop as Σ coefficient · atom, where that is fewer operations in the loop.

    A reverse pass is linear in its carry, so each of its values is such a sum:
    ((g · y) · (1 − y)) is g · (y · (1 − y)). The coefficient y · (1 − y) is computed for all steps
    beforehand. Sums that are read more than once are atoms; products are regrouped in any case.
    """
    found = _Associate(loop)
    return {node: better for node in found.partition.nodes if (better := found.better(node)) is not None and better is not node}


class _Associate:
    def __init__(self, loop: Loop) -> None:
        self.partition = partition_of(loop)
        self.readers = Readers.of_loop(loop)
        self.builder = NodeBuilder()
        self.passed: dict[Node, float] = {}
        self.terms: dict[Node, list[ScaledTerm]] = {}

    def better(self, node: Node) -> Node | None:
        """A cheaper version of the node, or None."""
        if not self._regroups(node) or self._is_absorbed(node):
            return None
        self.passed = {}
        terms = self._sum(node, node, None)
        atoms: dict[Node, Node | None] = {}
        rest: list[Node] = []
        for coefficient, atom in terms:
            if atom is None:
                assert coefficient is not None
                rest.append(coefficient)
            elif atom in atoms:
                atoms[atom] = self._plus(atoms[atom], coefficient, node)
            else:
                atoms[atom] = coefficient
        cost = sum(c is not None for c in atoms.values()) + len(atoms) - 1 + (len(rest) > 0)
        if not atoms or cost > sum(self.passed.values()) - 0.4:
            return None
        total = self._total(atoms, [self._float(term, node) for term in rest])
        return total if total.spec == node.spec else None

    def _regroups(self, node: Node) -> bool:
        # integers wrap around in their own dtype, and unsigned integers have no factor -1
        linear = bool(facts_of(node).signs) or scales(node)
        return linear and node.dtype.kind == "f" and self.partition.is_sequential(node)

    def _regroups_with(self, node: Node, other: Node) -> bool:
        stage = self.partition.stage
        return self._regroups(node) and node.dtype == other.dtype and stage[node] == stage[other]

    def _is_absorbed(self, node: Node) -> bool:
        """Whether the only reader of a node regroups the node among its own summands."""
        reader = self.readers.only(node)
        if reader is None or not self._regroups_with(reader, node):
            return False
        if scales(reader):
            one, other = reader.inputs
            return self._lower(other, reader) if node is one else multiplies(reader) and self._lower(one, reader)
        return True

    def _lower(self, node: Node, than: Node) -> bool:
        return self.partition.stage[node] < self.partition.stage[than]

    def _sum(self, node: Node, root: Node, scale: Node | None) -> list[ScaledTerm]:
        """The summands of a node, each times `scale`."""
        if self._lower(node, root):
            alike = adds(node) and node.dtype == root.dtype and not self.partition.is_invariant(node)
            if scale is None and alike and self.readers.count(node) == 1:
                return [term for i in node.inputs for term in self._sum(i, root, None)]
            return [ScaledTerm(self._times(scale, self._promoted(node, root)), None)]
        if not self._passes(node, root):
            return [ScaledTerm(scale, self._in_dtype_of(root, node))]
        terms = self._parts(node, root, scale)
        plain = sum(term.coefficient is scale and term.atom is not None for term in terms)
        if scale is not None and node is not root and facts_of(node).signs and plain > 1:
            return [ScaledTerm(scale, self._in_dtype_of(root, node))]  # (a + b) · c is cheaper than a · c + b · c
        self.passed[node] = 1.0 if node is root else 1.0 / self.readers.count(node)
        return terms

    def _passes(self, node: Node, root: Node) -> bool:
        """Whether a node is regrouped with `root`: products always, sums only if nothing else reads them."""
        if node is root:
            return True
        if not self._regroups_with(node, root):
            return False
        if scales(node):
            return any(self._lower(i, node) for i in node.inputs) and not (
                not multiplies(node) and self._lower(node.inputs[0], node)
            )
        return self.readers.count(node) == 1 or len(node.inputs) == 1

    def _parts(self, node: Node, root: Node, scale: Node | None) -> list[ScaledTerm]:
        primitive, inputs = node.primitive, node.inputs
        if signs := facts_of(node).signs:
            signed = [scale if sign > 0 else self._times(scale, self._number(-1.0, root)) for sign in signs]
            return [term for i, own in zip(inputs, signed, strict=True) for term in self._sum(i, root, own)]
        assert primitive is not None
        core, other = inputs if self._lower(inputs[1], node) else inputs[::-1]
        if not self._lower(other, node) or (not multiplies(node) and core is not inputs[0]):
            return [ScaledTerm(scale, self._in_dtype_of(root, node))]
        other = self._promoted(other, root)
        if not multiplies(node):
            other = self.builder.make(primitive, (self._number(1.0, other), other))
        return self._sum(core, root, self._times(scale, other))

    def _number(self, value: float, like: Node) -> Node:
        return self.builder.constant(value, like.dtype)

    def _times(self, a: Node | None, b: Node | None) -> Node | None:
        if a is None or b is None:
            return a if b is None else b
        return self.builder.make(_MULTIPLY, (a, b))

    def _plus(self, a: Node | None, b: Node | None, like: Node) -> Node:
        one = self._number(1.0, like)
        return self.builder.make(_ADD, (self._float(a or one, like), self._float(b or one, like)))

    def _promoted(self, node: Node, root: Node) -> Node:
        """The node in the dtype of `root`, so that no precision is lost; masks are not converted."""
        return node if node.dtype.kind == "b" else self._in_dtype_of(root, node)

    def _in_dtype_of(self, root: Node, node: Node) -> Node:
        return node if node.dtype == root.dtype else self.builder.make(_ASTYPE, (node,), {"dtype": root.dtype})

    def _float(self, node: Node, like: Node) -> Node:
        """The node as a float. Masks can be coefficients, but the sum of two masks must be a number."""
        return node if node.dtype.kind == "f" else self.builder.make(_ASTYPE, (node,), {"dtype": like.dtype})

    def _total(self, atoms: dict[Node, Node | None], rest: list[Node]) -> Node:
        """The sum: first loop-invariant summands, then precomputed summands, and then the atoms."""
        make = self.builder.make
        total: Node | None = None
        for term in sorted(rest, key=lambda term: self.partition.stage.get(term, 0)):
            total = term if total is None else make(_ADD, (total, term))
        for atom, coefficient in atoms.items():
            product = atom if coefficient is None else make(_MULTIPLY, (atom, coefficient))
            total = product if total is None else make(_ADD, (product, total))
        assert total is not None
        return total
