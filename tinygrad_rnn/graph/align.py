"""Alignment: match the operations of each step of an unrolling with those of step 1, or say how they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, NoReturn

from ..errors import FoldError
from .context import Unrolling
from .graph import Graph, is_constant, outer_step, shown
from .node import Node
from .structure import exact, exactly, numbers, same_value
from .unfold import collected

BRANCH = "take a Python if out of the loop, or use tr.where instead"


def is_cut(node: Node) -> bool:
    """Whether a leaf was made by ``.detach()``."""
    return node.primitive is None and "source" in node.attributes


def cut_name(node: Node) -> str:
    """Name, in an error, of the value that a leaf was detached from; the value may be freed by now."""
    return (node.cut.name if node.cut is not None else None) or "the state"


def static_arguments(node: Node) -> Mapping[str, Any]:
    """Static arguments of a node; none for a cut, whose source differs at every step."""
    return {} if node.primitive is None else node.attributes


class SameStep(NamedTuple):
    """An operation reads the value at a position of its own step."""

    position: int


class Earlier(NamedTuple):
    """An operation reads the value at a position some steps earlier, and initial values at the first steps."""

    position: int
    steps: int
    initial: tuple[Node, ...]


class Shared(NamedTuple):
    """An operation reads one value from outside the steps, the same value at all steps."""

    node: Node


class Outside(NamedTuple):
    """An operation reads another value from outside at each step."""

    nodes: tuple[Node, ...]


class Alignment:
    """Aligns every step with step 1, and finds out where each operation's inputs come from."""

    def __init__(self, graph: Graph, unrolling: Unrolling, steps: list[list[Node]]) -> None:
        self.graph, self.unrolling, self.steps = graph, unrolling, steps
        self.T = len(steps)
        self.row: dict[Node, tuple[int, int]] = {}  # node -> (t, position in step 1)
        self.columns: list[list[Node | None]] = [[node] for node in steps[0]]
        self.firsts = steps[0]
        self.keys = [self._key(node) for node in steps[0]]
        self.row.update({node: (1, i) for i, node in enumerate(steps[0])})
        for t in range(2, self.T + 1):
            self._align(t)
        self._check_left_out()
        self._check_collected()

    def _key(self, node: Node) -> Hashable:
        """The operation of a node as a key for alignment; the node's inputs are compared later."""
        name = node.name if node.primitive is not None else None
        return (
            node.primitive or node.operation,
            node.spec,
            node.scope,
            len(node.inputs),
            name,
            numbers(static_arguments(node))[0],
        )

    def _reads_outside(self, node: Node) -> bool:
        moments = [outer_step(i) for i in node.inputs]
        return all(step is None or step[0] is not self.unrolling for step in moments)

    def _align(self, t: int) -> None:
        """Match each operation of step t with an operation of step 1, in order."""
        at = 0
        extra: list[Node] = []  # of the last step: operations that step 1 does not have
        left_out: list[int] = []  # positions of operations that no later node reads
        for node in self.steps[t - 1]:
            key = self._key(node)
            found = next(
                (i for i in range(at, len(self.columns)) if self.keys[i] == key and self._reads_alike(t, i, node)), None
            )
            if found is None:
                if t < self.T:
                    self._differ(t, node, self.firsts[at] if at < len(self.firsts) else None)
                extra.append(node)
                continue
            left_out += range(at, found)
            self.columns[found].append(node)
            self.row[node] = (t, found)
            at = found + 1
        left_out += range(at, len(self.columns))
        for i in left_out:
            instead = [node for node in extra if self._stands_for(node, i)]
            if instead or t == 2 < self.T:
                self._differ(t, instead[0] if instead else None, self.firsts[i])
            self.columns[i].append(None)

    def _reads_alike(self, t: int, position: int, node: Node) -> bool:
        """Whether a node of step t reads the same values of its own step, and the same slices, as a node of step 1."""
        first = self.firsts[position]
        if exact(static_arguments(node)) != exact(static_arguments(first)) and not (
            self._reads_outside(node) and self._reads_outside(first)  # for example, another part of a sequence at each step
        ):
            return False
        return all(self._here(t, i) == self._here(1, j) for i, j in zip(node.inputs, first.inputs, strict=True))

    def _here(self, t: int, node: Node) -> int | None:
        """The position of a value within step t; None for values from elsewhere."""
        row = self.row.get(node)
        return row[1] if row is not None and row[0] == t else None

    def _stands_for(self, extra: Node, position: int) -> bool:
        """Whether an extra operation of the last step replaces an operation of step 1, and does not only make an output."""
        first = self.firsts[position]
        read = {self._here(self.T, i) for i in extra.inputs} & {self._here(1, i) for i in first.inputs}
        return bool(read - {None}) and extra.name in (None, first.name)

    # -- refusing --------------------------------------------------------------------------

    def _refuse(self, t: int, why: str) -> NoReturn:
        for node in (node for nodes in self.steps for node in nodes):
            if node.location.origin is not None:
                raise FoldError(
                    f"the graph has a gradient, {self.graph.names[node]}, whose steps run backwards through time; "
                    "fold the graph of the forward values instead"
                )
        raise FoldError(f"step {t} differs from step 1: {why}")

    def _differ(self, t: int, node: Node | None, first: Node | None) -> NoReturn:
        """Raise a FoldError that says how an operation of step t differs from step 1, and how to mend it."""

        def say(n: Node) -> str:
            return f"{n.operation}{f' ({n.name})' if n.name and n.primitive else ''}"

        scope = (node or first).scope  # type: ignore[union-attr]
        where = f" in {scope!r}" if scope else ""
        if node is None or first is None:
            what = f"it does not make {say(first)}" if first else f"it also makes {say(node)}"  # type: ignore[arg-type]
            self._refuse(t, f"{what}{where}, which step 1 {'does' if first else 'does not'}; {BRANCH}")
        if is_cut(node) != is_cut(first):
            cut = node if is_cut(node) else first
            who, other = ("it", "step 1") if cut is node else ("step 1", "it")
            why = f"{who} detaches {cut_name(cut)}{where}, and {other} makes {say(first if cut is node else node)} here"
            self._refuse(t, f"{why}; detach at every step or at none, or fold the steps between two cuts on their own")
        if node.primitive is not first.primitive:
            self._refuse(t, f"it makes {say(node)}{where} where step 1 makes {say(first)}; {BRANCH}")
        if node.dtype != first.dtype:
            why = f"its {say(node)}{where} is {node.dtype}, and step 1's is {first.dtype}"
            self._refuse(t, f"{why}; give the steps one dtype, as by casting the initial state to {node.dtype}")
        if node.shape != first.shape:
            why = f"its {say(node)}{where} has shape {node.shape}, and step 1's has {first.shape}"
            self._refuse(t, f"{why}; give the steps one shape, as by an initial state of the full size, or padding and a mask")
        if node.scope != first.scope:
            why = f"its {say(node)} is made in {node.scope!r}, and step 1's in {first.scope!r}"
            self._refuse(t, f"{why}; use one module at every step")
        if node.operation != first.operation:  # leaves of another role
            a, b = (f"the {n.operation} {n.name}" if n.name else f"a {n.operation}" for n in (node, first))
            self._refuse(t, f"it reads {a}{where} where step 1 reads {b}; unrolled, the picture shows both")
        if node.name != first.name:
            self._refuse(t, f"it makes {say(node)}{where} where step 1 makes {say(first)}; use one name at every step")
        for key, value in static_arguments(node).items():
            if exact(value) != exact(first.attributes.get(key)):
                said = f"{key}={shown(value)}, and step 1's {key}={shown(first.attributes.get(key))}"
                self._refuse(t, f"its {say(node)}{where} has {said}; {BRANCH}")
        pairs = zip(node.inputs, first.inputs, strict=False)
        read, before = next(pair for pair in pairs if self._here(t, pair[0]) != self._here(1, pair[1]))
        names = self.graph.names
        self._refuse(t, f"its {say(node)}{where} reads {names[read]} where step 1's reads {names[before]}; {BRANCH}")

    def _unlike(self, t: int, position: int, slot: int, expected: Node, hint: str = "") -> NoReturn:
        """Raise a FoldError: an operation of step t has other inputs than in step 1."""
        node = self.columns[position][t - 1]
        assert node is not None
        read, first = node.inputs[slot], self.firsts[position].inputs[slot]
        if "parameter" in (read.role, expected.role):
            hint = "; use the same parameter at every step"

        def say(n: Node) -> str:
            return exactly(n) if is_constant(n) else self.graph.names[n]

        scope = f" in {node.scope!r}" if node.scope else ""
        called = f" ({node.name})" if node.name else ""
        wanted = f"where step 1 reads {say(first)}" if expected is first else f"and not {say(expected)}, as other steps would"
        self._refuse(t, f"{node.operation}{called}{scope} reads {say(read)} {wanted}{hint}")

    def _check_left_out(self) -> None:
        """Check that operations are missing only at the end, where no later step is left to read them."""
        for first, column in zip(self.firsts, self.columns, strict=True):
            for t in range(2, self.T):
                if column[t - 1] is None and column[t] is not None:
                    self._differ(t, None, first)

    def _check_collected(self) -> None:
        """Check that an operation which collects values from all steps, such as a stack, takes the same value of each."""
        if self.T < 3:  # of two different values, neither is wrong
            return
        after = (n.inputs for n in self.graph.nodes if len(n.inputs) == self.T and n not in self.row)
        for nodes in (self.graph.outputs, *after):
            taken = collected(nodes, self.row.get, self.T)
            if taken is None or len({position for _, position in taken}) == 1:
                continue
            ((usual, _),) = Counter(position for _, position in taken).most_common(1)
            t, position = next(row for row in taken if row[1] != usual)
            names = [self.graph.names[self.columns[i][t - 1] or self.firsts[i]] for i in (position, usual)]
            self._refuse(t, f"{names[0]} is collected from it, and {names[1]} from other steps; {BRANCH}")

    # -- what each operation reads ---------------------------------------------------------

    def source(self, position: int, slot: int) -> SameStep | Earlier | Shared | Outside:
        """The source of one input of one operation, the same at every step, or an error."""
        read = [(t, n.inputs[slot]) for t, n in enumerate(self.columns[position], 1) if n is not None]
        rows = [self.row.get(source) for _, source in read]
        if rows[0] is not None:  # step 1 reads a value of step 1, so every step must read a value of its own
            source = rows[0][1]
            for (t, _), row in zip(read, rows, strict=True):
                if row != (t, source):
                    self._unlike(t, position, slot, read[0][1])
            return SameStep(source)
        inside = Counter((t - row[0], row[1]) for row, (t, _) in zip(rows, read, strict=True) if row)
        if not inside:
            return self._outside(position, slot, tuple(node for _, node in read))
        (((d, source), _),) = inside.most_common(1)  # the most frequent source: the one step that differs is then found
        for (t, _), row in zip(read, rows, strict=True):
            expected = self.columns[source][t - d - 1] if t > d else None
            if d < 1 or (row != (t - d, source) if expected else row):
                self._unlike(t, position, slot, expected or read[0][1])
        return Earlier(source, d, tuple(node for t, node in read if t <= d))

    def _outside(self, position: int, slot: int, read: tuple[Node, ...]) -> Shared | Outside:
        """The source of an input from outside the steps: one value for all steps, or another value at each."""
        values = [same_value(node) for node in read]
        if len(set(values)) == 1:
            return Shared(read[0])
        others = [t for t, value in enumerate(values, 1) if value != values[0]]
        shape = [t for t, node in enumerate(read, 1) if node.spec != read[0].spec]
        shared = any(node.role == "parameter" for node in read)
        comes_back = any(map(is_constant, read)) and len(set(values)) < len(values)
        once = len(others) == 1 and len(values) > 3  # values that alternate also return, but differ at more steps
        if shape or shared or comes_back or once:
            hint = "; if this value should differ from step to step, read it from a sequence: tr.steps(xs, values)"
            self._unlike((shape or others)[0], position, slot, read[0], hint)
        return Outside(read)
