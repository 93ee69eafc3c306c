"""Backpropagation through time as in a calculation by hand: one step of a cell with its loss, one operation after another."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad, pullback
from ..errors import DtypeError, ShapeError, TinygradError
from ..graph.node import Node, Spec, ancestors, leaf
from ..nn.cell import Cell, State
from ..nn.layers import Sequential
from ..nn.module import Module
from ..nn.module_trace import Step, trace_step
from ..nn.recurrent import Recurrent
from ..ops import reshape
from ..ops.core import Part, Sparse, as_tensor, constant
from ..ops.facts import facts_of
from ..ops.indexing import scatter
from ..tensor import Tensor, rebind
from ..tree import flatten, rebuild
from ..views.letters import Letters, Notation

__all__ = ["Array", "ByHand", "Loss", "HandRun", "StepNetwork", "as_floats", "one_example", "read_whole"]

Array: TypeAlias = npt.NDArray[Any]

Loss: TypeAlias = Callable[[Any, Any], Any]
"""``loss(o, y)`` gives the loss of one step, a number."""

HandRun: TypeAlias = "list[dict[Node, Node]]"
"""For each step, a map from each node of the traced step to the node with its value at this step."""

Pulled: TypeAlias = Callable[[HandRun, int, Node, Array], "list[tuple[int, Array]] | None"]
"""``pulled(run, t, node, g)`` gives other cotangents for the inputs of an operation, by position, or None."""


class StepNetwork(Cell):
    """A cell, with the layers before and after the cell applied within its step.

    Parameters
    ----------
    model : Module
        A cell, a cell in :class:`~tinygrad_rnn.nn.Recurrent`, or a Sequential with one of these among
        layers that work at each step, such as a linear layer.

    Raises
    ------
    TinygradError
        If the model has no cell, or several cells.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        layers = list(model) if isinstance(model, Sequential) else [model]
        recurrent = [k for k, layer in enumerate(layers) if isinstance(layer, (Recurrent, Cell))]
        if len(recurrent) != 1 or not isinstance(model, Module):
            inner = [type(m).__name__ for _, m in model.modules() if isinstance(m, Cell)] if isinstance(model, Module) else []
            such = f", here {inner[0]}" if len(inner) == 1 else ""
            raise TinygradError(
                f"{type(model).__name__} is not a cell, and has {len(recurrent) or 'no'} nn.Recurrent(cell) among its layers: "
                f"give a cell{such}, or nn.Sequential with one nn.Recurrent(cell) among layers that work at each step"
            )
        (k,) = recurrent
        if getattr(layers[k], "reverse", False):
            raise TinygradError("the layer runs in reverse: give its cell, and the sequence in reverse order")
        layers = copy.deepcopy(layers)
        self.before = layers[:k]
        self.cell: Cell = layers[k].cell if isinstance(layers[k], Recurrent) else layers[k]
        self.after = layers[k + 1 :]
        for parameter in self.parameters():
            old = parameter.node
            rebind(parameter, leaf(parameter.data.astype(np.float64), old.name, old.role, old.location))
        self.eval()

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> State:
        """The initial state of the cell."""
        return self.cell.initial_state(batch_size, dtype)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Output of the last layer and next state of the cell; values with a hidden name are shown."""
        for layer in self.before:
            x = layer(x)
        output, after = self.cell(x, state)
        for layer in self.after:
            output = layer(output)
        outputs = flatten(output)
        made = ancestors([part.node for part in (*outputs, *flatten(after))])
        for node in made:
            node.name = node.name or node.hidden
        taken = {node.name for node in made}
        stem = next(free for free in ("o", r"\hat{y}", "out") if free not in taken)  # as in drawings
        for k, o in enumerate(outputs, start=1):
            if o.name is None:
                o.named(stem if len(outputs) == 1 else f"{stem}_{k}")
        return output, after


class _WithLoss(Cell):
    """A step of a network with its loss: a map from (x, target) to the loss."""

    def __init__(self, network: StepNetwork, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> State:
        """The initial state of the network."""
        return self.network.initial_state(batch_size, dtype)

    def step(self, given: Any, state: Any) -> tuple[Any, Any]:
        """Loss of step t from (x_t, y_t) or from y_t alone, and the next state."""
        x, y = given if isinstance(given, tuple) else (None, given)
        for name, part in (("x", x), ("y", y)):
            parts = [] if part is None else flatten(part)
            for k, tensor in enumerate(parts, start=1):
                tensor.node.name = name if len(parts) == 1 else f"{name}_{k}"
        output, after = self.network(x, state)
        loss = as_tensor(self.loss(output, y))
        if loss.size != 1 or loss.dtype.kind != "f":
            raise ShapeError(f"loss(o, y) must return a single number, the loss of a step, not {loss.node.spec}")
        return reshape(loss, ()), after


class ByHand:
    """A network over one sequence, forward and backward, one operation after another.

    Parameters
    ----------
    model : Module
        A model that :class:`StepNetwork` takes.
    xs : array_like, or nested tuples of them, or None
        One sequence; see :func:`one_example`.
    targets : array_like
        One target for each step.
    loss : callable
    notation : {"UW", "WU"}, optional
        Letters of the input matrix and of the recurrent matrix; see :class:`Letters`.

    Attributes
    ----------
    network : StepNetwork
    T : int
    parameters : dict of str to Node
        The parameters by symbol; a second parameter with the same symbol has a number, as ``W_2``.
    values : dict of str to Node
        The named values of a step, in the order in which the step computes them.
    given : dict of str to (Node, ndarray)
        Inputs and targets, each (T, 1, …).
    slots, after : list of Node
        The values of the state's slots before the step, and after the step.
    held : list of (str, int)
        For each slot, the name of the value that the slot holds at the start, and the step of this value: 0 or less.
    loss : Node
    order : tuple of Node
        All nodes of the step, each after its inputs.

    Raises
    ------
    TinygradError
        If the model is not a network with one cell.
    ShapeError
        If there is no step, or lengths differ.
    DtypeError
        If nothing in the step has a derivative.
    """

    def __init__(self, model: Any, xs: Any, targets: Any, loss: Loss, notation: Notation | None = None) -> None:
        letters = Letters(notation=notation)
        self.network = StepNetwork(model)
        codes = any(isinstance(m.codes, int) for _, m in self.network.modules())
        inputs = [] if xs is None else [one_example(x if codes else as_floats(x)) for x in flatten(xs)]
        try:
            step, sequences = self._traced(xs, [*inputs, one_example(targets)], loss)
        except TinygradError:
            if as_tensor(targets).dtype.kind not in "iub":
                raise
            step, sequences = self._traced(xs, [*inputs, one_example(as_floats(targets))], loss)  # the targets are not classes
        self.T = len(sequences[-1])
        self.loss = step.output.node
        self.slots, self.after = [slot.node for slot in step.state], [end.node for end in step.after]
        for end, name in zip(self.after, step.names, strict=True):
            if end.primitive is not None and end.name is None:
                end.name = name
        leaves = [x.node for x in flatten(step.x)]
        self.order = tuple(ancestors([*leaves, *self.slots, *self.after, self.loss]))
        for node in self.order:  # the network is a copy, so its names may be replaced
            node.name = node.name and letters(node.name)
        if self.loss.dtype.kind != "f" or not any(n.role == "parameter" for n in self.order):
            raise DtypeError(f"there is no derivative to compute: a step of {type(model).__name__} has no parameters")
        self.given = {str(node.name): (node, x) for node, x in zip(leaves, sequences, strict=True)}
        paths = {p.node: path for path, p in self.network.named_parameters()}
        self.parameters = _by_name((n, n.name or path) for n, path in paths.items() if n in self.order)
        whole = read_whole(self.order, [*self.after, self.loss])
        self.values = _by_name((n, n.name) for n in self.order if n.primitive is not None and n.name is not None and n in whole)
        self.held = self._held()
        sources = {n for n in self.order if n.dtype.kind == "f" and (n in self.slots or n.role == "parameter")}
        for node in self.order:
            if node.dtype.kind == "f" and not sources.isdisjoint(node.inputs):
                sources.add(node)
        self._differentiable = sources

    def tell_parameters_from_values(self) -> None:
        """Add a prime to parameters that share a value's name, such as the bias c of an output."""
        renamed = {f"{name}'" if name in self.values else name: node for name, node in self.parameters.items()}
        for name, node in renamed.items():
            node.name = name
        self.parameters = renamed

    def _traced(self, xs: Any, sequences: list[Array], loss: Loss) -> tuple[Step, list[Array]]:
        """One traced step of the network with its loss, and its sequences."""
        if len({len(x) for x in sequences}) > 1:
            raise ShapeError(
                f"inputs and targets must have the same length, but have shapes {', '.join(str(x.shape) for x in sequences)}"
            )
        if not len(sequences[-1]):
            raise ShapeError("the sequence is empty; give at least one step")
        elements = [Spec(x.shape[1:], x.dtype) for x in sequences]
        example: Any = elements[-1]
        if xs is not None:
            example = (rebuild(xs, iter(elements)) if isinstance(xs, tuple) else elements[0], elements[-1])
        return trace_step(_WithLoss(self.network, loss), 1, example), sequences

    def _held(self) -> list[tuple[str, int]]:
        names = {node: name for name, node in self.values.items()} | {node: name for name, (node, _) in self.given.items()}
        after, found = dict(zip(self.slots, self.after, strict=True)), []
        for number, slot in enumerate(self.slots, start=1):
            source, delay = after[slot], 1
            while source in after and delay <= len(after):
                source, delay = after[source], delay + 1
            found.append((names.get(source, f"state {number}"), 1 - delay))
        return found

    @property
    def reads_target(self) -> bool:
        """Whether the target is an integer class, which the loss uses as an index."""
        same = {next(reversed(self.given.values()))[0]}
        for node in self.order:
            if facts_of(node).copies and not same.isdisjoint(node.inputs):
                same.add(node)
            elif facts_of(node).reads is not None and not same.isdisjoint(node.inputs[1:]):
                return True
        return False

    def start(self) -> list[Array]:
        """Initial values of the slots."""
        with no_grad():
            return [slot.data.astype(np.float64) if slot.dtype.kind == "f" else slot.data for slot in self._initial()]

    def _initial(self) -> list[Tensor]:
        return flatten(self.network.initial_state(1))

    def arrays(self) -> dict[str, Array]:
        """Current values of the parameters."""
        return {name: node.value for name, node in self.parameters.items()}

    def forward(
        self,
        parameters: Mapping[str, Array],
        given: Mapping[str, Array],
        start: Sequence[Array],
        rounded: Callable[[Array], Array] | None = None,
    ) -> HandRun:
        """Compute all values of all steps.

        Parameters
        ----------
        parameters, given : mapping of str to ndarray
        start : sequence of ndarray
        rounded : callable, optional
            A function applied to each named value and each loss before the value is used.
        """
        told = {*self.values.values(), self.loss}
        fixed = {node: parameters[name] for name, node in self.parameters.items()}
        carried, run = list(start), []
        for t in range(self.T):
            known = fixed | dict(zip(self.slots, carried, strict=True))
            known |= {node: given[name][t] for name, (node, _) in self.given.items()}
            now: dict[Node, Node] = {}
            for node in self.order:
                inputs = tuple(now[i] for i in node.inputs)
                value = known.get(node, node.value)
                if node.primitive is not None:
                    value = np.asarray(node.primitive.kernel(*[i.value for i in inputs], **node.attributes))
                    value = rounded(value) if rounded and node in told else value
                now[node] = Node(node.primitive, inputs, node.attributes, value)
            carried = [now[node].value for node in self.after]
            run.append(now)
        return run

    def pull(
        self,
        run: HandRun,
        t: int,
        seed: float,
        carried: Mapping[int, Array],
        rounded: Callable[[Array], Array] | None = None,
        known: Mapping[Node, Array] | None = None,
        pulled: Pulled | None = None,
    ) -> dict[Node, Array]:
        """Cotangents of the nodes of one step.

        Parameters
        ----------
        run : HandRun
        t : int
            The step, from 0.
        seed : float
            The cotangent of the loss of the step.
        carried : mapping of int to ndarray
            Cotangents of the slot values that enter step t + 1.
        rounded : callable, optional
            A function applied to the cotangent of each named value before the cotangent is used.
        known : mapping of Node to ndarray, optional
            Cotangents that replace the computed cotangents.
        pulled : callable, optional
            Another gradient rule for some operations.
        """
        now, known, told = run[t], known or {}, set(self.values.values())
        table: dict[Node, Array] = {self.loss: np.asarray(float(seed))} if seed else {}
        for k, g in carried.items():
            table[self.after[k]] = table.get(self.after[k], 0) + g
        table |= known
        with no_grad():
            for node in reversed(self.order):
                if node not in table:
                    continue
                if node in known:
                    table[node] = known[node]
                elif rounded and node in told:
                    table[node] = rounded(table[node])
                if node.primitive is None:
                    continue
                found = pulled(run, t, node, table[node]) if pulled else None
                for k, g in self.rule(now[node], node, table[node]) if found is None else found:
                    source = node.inputs[k]
                    table[source] = table.get(source, 0) + g
        return table

    def backward(
        self, run: HandRun, seeds: Sequence[float], rounded: Callable[[Array], Array] | None = None
    ) -> list[dict[Node, Array]]:
        """Cotangents of the nodes of each step, for the sum of the losses weighted by `seeds`."""
        tables: list[dict[Node, Array]] = []
        carried: dict[int, Array] = {}
        for t in reversed(range(self.T)):
            tables.append(self.pull(run, t, seeds[t], carried, rounded))
            carried = self.carried(tables[-1])
        return tables[::-1]

    def carried(self, table: Mapping[Node, Array]) -> dict[int, Array]:
        """Cotangents of the slots, which are added to the cotangents of the next states of the step before."""
        return {k: table[slot] for k, slot in enumerate(self.slots) if slot in table}

    def has_derivative(self, node: Node, position: int) -> bool:
        """Whether an operation passes a cotangent to one of its inputs."""
        return node in self._differentiable and node.inputs[position] in self._differentiable

    def rule(self, concrete: Node, node: Node, g: Array, only: Iterable[int] | None = None) -> list[tuple[int, Array]]:
        """Cotangents of an operation's inputs, by position.

        Parameters
        ----------
        concrete : Node
            The operation with the values of a step, or with other values.
        node : Node
            The operation of the traced step.
        g : ndarray
        only : iterable of int, optional
            Positions of inputs; if not given, of all inputs with a derivative.
        """
        positions = range(len(node.inputs)) if only is None else only
        alone = concrete.again(tuple(leaf(i.value) for i in concrete.inputs))  # an input used twice counts as two inputs
        wanted = {alone.inputs[k]: k for k in positions if node.inputs[k] in self._differentiable}
        found = []
        for source, gx in pullback(alone, Tensor(constant(g)), wanted):
            if isinstance(gx, Part):
                raise TinygradError(
                    f"a step with {node.operation} cannot be worked out by hand, because {node.operation} computes "
                    "several results "
                    "at once"
                )
            value = scatter([gx], source.shape) if isinstance(gx, Sparse) else gx
            found.append((wanted[source], value.data))
        return found


def as_floats(sequence: Any) -> Array:
    """A sequence converted to floats."""
    return np.asarray(as_tensor(sequence).data, np.float64)


def one_example(sequence: Any) -> Array:
    """One sequence with a batch axis, (T, 1, …), and floats in float64.

    Parameters
    ----------
    sequence : array_like
        Floats: (T, 1, features), (T, features) or (T,). Integer codes: (T, 1) or (T,).

    Raises
    ------
    ShapeError
        If there are several sequences.

    Examples
    --------
    >>> one_example([[1.0, 2.0]]).shape, one_example([1.0, 2.0]).shape, one_example([3, 4]).shape
    ((1, 1, 2), (2, 1, 1), (2, 1))
    """
    found = np.asarray(as_tensor(sequence).data)
    least = 3 if found.dtype.kind == "f" else 2
    if found.ndim == 0:
        raise ShapeError("a sequence must have shape (T, features), not be a single number")
    if found.ndim == 1 and least == 3:
        found = found[:, None]
    if found.ndim < least:
        found = found[:, None]
    if found.shape[1] != 1:
        raise ShapeError(f"give a single sequence, (T, 1, features) or (T, features), not a batch of {found.shape[1]}")
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def read_whole(order: Sequence[Node], ends: Sequence[Node]) -> set[Node]:
    """Values that are read as a whole; the stacked gates of a cell, in contrast, are only sliced."""
    parts = {node for node in order if facts_of(node).reads and math.prod(node.shape) < math.prod(node.inputs[0].shape)}
    return {*ends, *(source for node in order if node not in parts for source in node.inputs)}


def _by_name(named: Iterable[tuple[Node, str]]) -> dict[str, Node]:
    """Nodes by name; repeated names are numbered."""
    found: dict[str, Node] = {}
    for node, name in named:
        numbered = itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2)))
        found[next(each for each in numbered if each not in found)] = node
    return found
