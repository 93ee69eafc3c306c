"""Graph: nodes in order, with inputs and outputs; names, a text form and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

import numpy as np

from ..checks import no_such
from ..errors import DtypeError, FoldError
from .context import Unrolling
from .node import Node, Results, Spec, ancestors, behind_cuts
from .structure import is_constant as is_constant
from .structure import structure

if TYPE_CHECKING:
    from ..draw import Drawing
    from ..tensor import Tensor
    from .fold import Folded

__all__ = ["Graph", "graph"]

NodeLike: TypeAlias = Union["Node", "Tensor", str]


class Graph:
    """The computation graph of some outputs: all nodes that they depend on.

    Nodes have stable names, made of scope, given name or primitive, and step. Two graphs are
    equal if they apply the same primitives to the same inputs, under the same names, scopes
    and steps. Constants are compared to the last bit, other leaves by name, role, shape and dtype.
    The order in which independent operations were made does not count. A scan counts as the
    steps that it stands for.

    Parameters
    ----------
    outputs : sequence of Node
    instead : mapping of Node to Node, optional
        For a graph made out of another graph: the nodes that replace nodes of the other graph.

    Attributes
    ----------
    nodes : tuple of Node
        All nodes, each after its inputs: leaves in the order of their first use, then the
        operations in the order of their creation.
    inputs : tuple of Node
        The leaves that are not constants.
    outputs : tuple of Node
    names : dict of Node to str

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0, 2.0]).named("x")
    >>> g = tr.graph(tr.tanh(x * 2))
    >>> g
    inputs
      x         input  float64 (2,)
    nodes
      multiply  multiply(x, 2)  float64 (2,)
      tanh      tanh(multiply)  float64 (2,)
    outputs
      tanh
    """

    def __init__(self, outputs: Sequence[Node], instead: Mapping[Node, Node] | None = None) -> None:
        self.outputs = tuple(outputs)
        self.nodes = tuple(_leaves_first(ancestors(self.outputs)))
        self.inputs = tuple(node for node in self.nodes if node.primitive is None and not is_constant(node))
        self._users: dict[Node, list[Node]] | None = None
        self._opened: Graph | None = None
        self._instead = instead or {}  # replacements of another graph's nodes; this reference keeps sources of cuts alive

    @cached_property
    def names(self) -> dict[Node, str]:
        """A stable name for each node, also for the nodes that :meth:`opened` makes."""
        names = _names(self.nodes)
        return _Names(names, self) if self._expand is not None else names

    # -- looking ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and structure(self.opened().outputs) == structure(other.opened().outputs)

    def __hash__(self) -> int:
        return hash(structure(self.opened().outputs))

    def __repr__(self) -> str:
        return self.text()

    def __getitem__(self, name: str) -> Node:
        for graph in (self, self.opened()):
            for node, called in graph.names.items():
                if called == name:
                    return node
        raise KeyError(f"{no_such('value', name, self.names.values())}; graph.names has all names")

    def unrollings(self) -> tuple[Unrolling, ...]:
        """The outermost sequences that the graph runs over, in order of their start."""
        found = dict.fromkeys(moment[0] for node in self.opened().nodes if (moment := outer_step(node)))
        return tuple(found)

    def text(self, limit: int | None = None) -> str:
        """The graph in words, a line for each node: the same in every run.

        Parameters
        ----------
        limit : int, optional
            Show at most about so many nodes, and one line for those left out.
        """
        sections: dict[str, list[tuple[str, str, str]]] = {}
        for node in self.nodes:
            if node.primitive is None and is_constant(node):
                continue
            if node.primitive is None:
                section, made = "inputs", node.operation
            else:
                section = "nodes" if node.step is None else f"step {node.step}"
                made = self._call(node)
            spec = "results" if isinstance(node.value, Results) else str(node.spec)
            sections.setdefault(section, []).append((self.names[node], made, spec))
        width = max((len(name) for rows in sections.values() for name, _, _ in rows), default=0)
        lines = []
        for section, rows in sections.items():
            lines += [section, *(f"  {name:{width}}  {made}  {spec}" for name, made, spec in rows)]
        if limit is not None and len(lines) > limit:
            left_out = len(lines) - limit
            lines = [*lines[: limit // 2], f"  … {left_out} lines …", *lines[-(limit - limit // 2) :]]
        return "\n".join([*lines, "outputs", *(f"  {self.names[node]}" for node in self.outputs)])

    def _call(self, node: Node) -> str:
        arguments = [self.names[i] for i in node.inputs]
        arguments += [f"{key}={shown(value)}" for key, value in node.attributes.items()]
        return f"{node.operation}({', '.join(arguments)})"

    # -- asking ----------------------------------------------------------------------------

    def node(self, which: NodeLike) -> Node:
        """The node of a tensor or of a name; a node itself is returned as it is.

        Raises
        ------
        KeyError
            If the graph has no such node.
        """
        found = self[which] if isinstance(which, str) else getattr(which, "node", which)
        if found not in self.names and found not in self.opened().names:
            raise KeyError(f"{found!r} is not a value of this graph; graph.names has all of them")
        return found  # type: ignore[return-value]

    def users(self, which: NodeLike) -> tuple[Node, ...]:
        """The nodes that take a node as an input, in order."""
        asked = self.node(which)
        if asked not in self.names:
            return self.opened().users(asked)
        if self._users is None:
            self._users = {node: [] for node in self.nodes}
            for node in self.nodes:
                for source in dict.fromkeys(node.inputs):
                    self._users[source].append(node)
        return tuple(self._users[asked])

    def uses(self, parameter: NodeLike) -> tuple[Node, ...]:
        """Every operation that takes a value as an input, such as all uses of a shared weight.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> W = tr.Parameter([[1.0]], symbol="W")
        >>> h = tr.tensor([[1.0]])
        >>> for t, x in tr.steps(tr.tensor([[1.0], [2.0]])):
        ...     h = x + h @ W
        >>> g = tr.graph(h)
        >>> [g.names[node] for node in g.uses(W)]
        ['matmul[1]', 'matmul[2]']
        """
        graph, (node,) = self._explicit(parameter)
        return graph.users(node) if node in graph.names else ()

    def depends(self, y: NodeLike, x: NodeLike) -> bool:
        """Whether `y` was computed from `x`."""
        _, (end, start) = self._explicit(y, x)
        return start in set(ancestors([end]))

    def paths(self, x: NodeLike, y: NodeLike) -> Iterator[tuple[Node, ...]]:
        """Every path from `x` to `y`, yielded one at a time, since there may be very many.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> x = tr.tensor(1.0).named("x")
        >>> y = (x * x + x).named("y")
        >>> g = tr.graph(y)
        >>> for path in g.paths(x, y):
        ...     print(" → ".join(g.names[node] for node in path))
        x → y
        x → multiply → y
        """
        graph, (start, end) = self._explicit(x, y)
        between = set(ancestors([end]))
        stack: list[tuple[Node, ...]] = [(start,)] if start in between else []
        while stack:
            path = stack.pop()
            if path[-1] is end:
                yield path
                continue
            stack += [(*path, user) for user in graph.users(path[-1]) if user in between]

    def _explicit(self, *which: NodeLike) -> tuple[Graph, list[Node]]:
        """The graph with its scans opened, and the counterparts of some nodes; unchanged if a node is a scan itself."""
        nodes = [self.node(one) for one in which]
        if any(isinstance(node.value, Results) for node in nodes):
            return self, nodes
        graph = self.opened()
        return graph, [graph._instead.get(node, node) for node in nodes]

    # -- views -----------------------------------------------------------------------------

    @cached_property
    def _expand(self) -> Callable[[Sequence[Node]], Mapping[Node, Node]] | None:
        """The rule that replaces a primitive in this graph by other operations, or None."""
        rules = (node.primitive.expand for node in behind_cuts(self.outputs) if node.primitive is not None)
        return next((rule for rule in rules if rule is not None), None)

    def opened(self) -> Graph:
        """The same graph with every scan replaced by its single steps; this graph if it has no scan.

        Functions about steps open the graph by themselves: folding, drawings, the ledger of a shared
        weight, paths, equality. Nodes that depend on no scan are the same in both graphs.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> rnn = tr.nn.Recurrent(tr.nn.RNNCell(2, 3))
        >>> _, h = rnn(tr.tensor([[[0.5, -0.5]]] * 4))
        >>> g = tr.graph(h)
        >>> [node.operation for node in g.nodes if node.primitive]
        ['scan', 'item']
        >>> [g.names[node] for node in g.opened().nodes if node.name == "h" and node.primitive]
        ['cell.h[1]', 'cell.h[2]', 'cell.h[3]', 'cell.h[4]']
        """
        if self._expand is None:
            return self
        if self._opened is None:
            instead = self._expand(behind_cuts(self.outputs))
            self._opened = Graph([instead.get(node, node) for node in self.outputs], instead)
        return self._opened

    def fold(self, unrolling: Unrolling | None = None) -> Folded:
        """The verified quotient of the graph by the time of one unrolling; see :func:`fold.fold`.

        Parameters
        ----------
        unrolling : Unrolling, optional
            The one of :meth:`unrollings` to fold; not needed if there is only one.

        Raises
        ------
        FoldError
            If two steps differ (the message names the step and its first operation that differs), or
            if there is nothing to fold.
        """
        from .fold import fold

        if unrolling is None:
            found = self.unrollings()
            if not found:
                raise FoldError("the graph has no steps to fold; write the loop over time as `for t, x in tr.steps(xs):`")
            if len(found) > 1:
                raise FoldError(f"the graph has {len(found)} loops over time; give one of graph.unrollings()")
            unrolling = found[0]
        return fold(self.opened(), unrolling)

    def draw(
        self,
        time: Literal["folded", "unrolled"] | None = None,
        detail: Literal["slots", "values", "ops", "layers"] | None = None,
        steps: int | None = None,
        values: bool = False,
        backward: bool = False,
        name: str = "graph",
        labels: Iterable[str] | None = None,
        shared: Literal["label", "node"] = "label",
        aspect: float | None = None,
        symbols: Mapping[str, str] | None = None,
        notation: Literal["UW", "WU"] | None = None,
    ) -> Drawing:
        """Draw the graph: over time if it has steps, otherwise as it is.

        Parameters
        ----------
        time : {"folded", "unrolled"}, optional
            Form of the drawing; unrolled if not given. A graph without steps has neither form and is
            drawn with a node for each operation. A gradient's graph is not folded.
        detail : {"slots", "values", "ops", "layers"}, optional
            ``"slots"`` shows inputs, states, outputs and losses; ``"values"`` also named values;
            ``"ops"`` all operations; ``"layers"`` a box for each layer and step.
        steps : int, optional
            Largest number of steps to show; of more steps, the middle ones are left out.
        values : bool
            Whether nodes show their numbers and their gradients. A folded drawing shows the numbers of
            one step; the indices and a note name the step.
        backward : bool
            Whether every operation of a gradient's graph is drawn, tied to the forward node
            that it belongs to. Otherwise a gradient over steps is drawn as the cotangents of the
            named values, such as ∂h, and the parameters between them.
        name : str
            Name of the DOT graph.
        labels : iterable of str, optional
            Labels of the codes 0, 1, 2, …, such as a :class:`Vocabulary`. Inputs, targets and other
            values that are codes then show their labels.
        shared : {"label", "node"}
            Whether a parameter is a label of edges, or a node with an edge to each of its uses.
        aspect : float, optional
            Width of the picture divided by its height, such as ``16 / 9`` for a slide.
        symbols : mapping of str to str, optional
            The reader's names by the model's names: ``{"h": "s"}`` draws s for h, and s_1 for h_1.
        notation : {"UW", "WU"}, optional
            Letters of the input matrix and of the recurrent matrix, in this order; the model's own are "UW".

        Returns
        -------
        Drawing

        Raises
        ------
        FoldError
            If a folded drawing was asked for, and the steps differ or there are none.
        ValueError
            If time, detail, shared or aspect has a value that is not allowed.

        Examples
        --------
        >>> import tinygrad_rnn as tr
        >>> tr.graph(tr.tanh(tr.tensor([0.5]).named("x"))).draw()
        <Drawing of graph, operations>
        """
        from ..draw import draw

        return draw(self, time, detail, steps, values, backward, name, labels, shared, aspect, symbols, notation)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        try:
            return self.draw()._repr_mimebundle_(include, exclude)
        except Exception:  # a notebook shows the text form instead
            return {"text/plain": self.text(limit=60)}


def graph(*outputs: Tensor) -> Graph:
    """The graph of all nodes that some values depend on.

    Parameters
    ----------
    *outputs : Tensor
        The values; the graph has all nodes that they depend on.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> len(graph(tr.tensor(1.0) + tr.tensor(2.0)))
    3
    """
    if not outputs:
        raise ValueError("give at least one output, such as tr.graph(loss)")
    if any(isinstance(output, (tuple, list)) for output in outputs):
        raise DtypeError(
            "tr.graph needs tensors, not a tuple or a list; unpack it: outputs, state = model(xs), then tr.graph(outputs)"
        )
    return Graph([output.node for output in outputs])


def outer_step(node: Node) -> tuple[Unrolling, int] | None:
    """The outermost (unrolling, t) of a node, since a loop may run within a loop."""
    location = node.location
    if location.unrolling is None or location.t is None:
        return None
    while (
        location.unrolling is not None
        and location.unrolling.outer is not None
        and location.unrolling.outer.unrolling is not None
    ):
        location = location.unrolling.outer
    assert location.unrolling is not None and location.t is not None
    return location.unrolling, location.t


def _leaves_first(nodes: list[Node]) -> list[Node]:
    """Nodes with leaves first, ordered by first use, so that graphs of one computation have one order."""
    leaves = dict.fromkeys(i for node in nodes for i in node.inputs if i.primitive is None)
    alone = [node for node in nodes if node.primitive is None and node not in leaves]
    return [*leaves, *alone, *(node for node in nodes if node.primitive is not None)]


class _Names(dict[Node, str]):
    """Names of a graph's nodes; the graph is opened when the name of an unknown node is asked for."""

    def __init__(self, names: dict[Node, str], graph: Graph) -> None:
        super().__init__(names)
        self._graph = graph

    def __missing__(self, node: Node) -> str:
        return self._graph.opened().names[node]


def _names(nodes: Sequence[Node]) -> dict[Node, str]:
    """Names from scope, given name or operation, and step; equal names are numbered in order."""
    numbers: dict[Unrolling, str] = {}
    runs: dict[str, int] = {}
    counts: dict[tuple[str, str], int] = {}
    names: dict[Node, str] = {}
    for node in nodes:
        if is_constant(node):
            names[node] = _number(node)
            continue
        unrolling = node.location.unrolling
        step = ""
        if unrolling is not None and node.step is not None:
            if unrolling not in numbers:  # a second run under the same scope gets a prime
                numbers[unrolling] = "'" * runs.get(unrolling.scope, 0)
                runs[unrolling.scope] = runs.get(unrolling.scope, 0) + 1
            step = f"{numbers[unrolling]}[{node.step}]"
        scope = f"{node.scope}." if node.scope else ""
        base = f"{scope}{node.name or node.operation}"
        if node.location.origin is not None:
            base = f"d{base}"
        counts[base, step] = n = counts.get((base, step), 0) + 1
        names[node] = f"{base}{f'_{n}' if n > 1 else ''}{step}"
    return names


def _number(node: Node) -> str:
    if isinstance(node.value, Spec) or node.value.size != 1:
        return f"constant{node.shape}"
    return f"{node.value.item():g}"


def shown(value: Any) -> str:
    """A static argument as the text form shows it, such as ``0:3`` for a slice."""
    if isinstance(value, tuple):
        inside = ", ".join(map(shown, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, slice):
        ends = ["" if end is None else str(end) for end in (value.start, value.stop, value.step)]
        return ":".join(ends[:2] if value.step is None else ends)
    if value is Ellipsis:
        return "…"
    return str(np.dtype(value)) if isinstance(value, np.dtype) else repr(value)
