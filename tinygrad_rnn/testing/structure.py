"""Assertions about structure: causality, shared weights, the receptive field, and the difference of two graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import no_grad
from ..checks import check_int
from ..errors import ShapeError
from ..graph.context import Location, Unrolling, at, mode
from ..graph.graph import Graph, graph, outer_step
from ..graph.node import Node, Spec, ancestors, leaf
from ..graph.structure import line_by_line
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.module_trace import try_inputs
from ..nn.recurrent import Recurrent, standalone
from ..ops import stack
from ..ops.core import as_tensor
from ..ops.facts import facts_of
from ..tensor import Parameter, Tensor
from ..tree import flatten, rebuild
from ..views import per_step

__all__ = ["ReceptiveField", "assert_causal", "assert_shared", "difference", "receptive_field"]

BATCH = 2
STEPS = 6
CLOSE = 1e-6
"""Largest relative difference of equal outputs, which allows for rounding in another order of sums."""


def assert_causal(model: Module, T: int = STEPS, inputs: Any = None) -> None:
    """Assert that no output of a step depends on the input of a later step, in the graph and in numbers.

    Parameters
    ----------
    model : Module
        A cell, a layer or a network that gives an output for each step.
    T : int
        How many steps are looked at.
    inputs : array_like, Spec, or nested tuples of them, optional
        An example of the input at one step, (batch, features); it is found if not given.

    Raises
    ------
    AssertionError
        If an output depends on a later input. The message has the path from the input to the output, or the numbers.
    ShapeError
        If no fitting input was found, or the model has no output for each step.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> assert_causal(nn.LSTM(3, 5))
    >>> assert_causal(nn.RNN(3, 5, bidirectional=True), T=2)
    Traceback (most recent call last):
        ...
    AssertionError: the output of step 1 depends on a later input: x[2] → l0_reverse.cell.h[1] → l0_reverse.cell.h[2] → y[1]
    """
    run = _symbolic_run(model, check_int("T", T), inputs)
    for t, (outputs, reached) in enumerate(zip(run.outputs, run.reached, strict=True), start=1):
        late = [s for s, given in enumerate(run.inputs, start=1) if s > t and not reached.isdisjoint(given)]
        if late:
            path = _path(run.inputs[late[0] - 1], outputs)
            words = " → ".join([f"x[{late[0]}]", *path, f"y[{t}]"])
            raise AssertionError(f"the output of step {t} depends on a later input: {words}")
    _assert_causal_by_numbers(model, run)


def assert_shared(W: Parameter, uses: int, of: Tensor) -> None:
    """Assert the number of uses of a parameter: a weight that all steps share is used once at each step.

    A layer that is applied to the whole sequence counts as one use for each step.

    Parameters
    ----------
    W : Parameter
        The parameter.
    uses : int
        The expected number: T, or a multiple of T if a step uses the parameter several times.
    of : Tensor
        A value that was computed with the parameter, such as the loss.

    Raises
    ------
    AssertionError
        If the number of uses differs; the message lists the steps.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> rnn = nn.Recurrent(nn.RNNCell(3, 5))
    >>> outputs, h = rnn(np.ones((7, 2, 3), "float32"))
    >>> assert_shared(rnn.cell.weight_hh, uses=7, of=outputs)
    >>> assert_shared(rnn.cell.weight_hh, uses=8, of=outputs)
    Traceback (most recent call last):
        ...
    AssertionError: W is used 7 times, at steps 1 to 7, not 8 times
    """
    explicit = per_step(graph(of))
    name = W.name or "the parameter"
    found = _uses(explicit, W.node) if W.node in explicit.names else []
    if len(found) == uses:
        return
    others = {node for node in explicit.inputs if node.role == "parameter" and node.name == W.name} - {W.node}
    hint = f"; {len(others)} other parameters have the same name, so the weights may not be shared" if others and W.name else ""
    raise AssertionError(f"{name} is used {_times(len(found))}{_at_steps(found)}, not {_times(uses)}{hint}")


class ReceptiveField(tuple[int, ...]):
    """The delays that an output depends on, sorted: y_t reads x_{t-k} for each delay k.

    Attributes
    ----------
    unbounded : bool
        Whether there is no longest delay, as in a recurrence. Then the tuple has the delays
        within the traced steps.

    Examples
    --------
    >>> ReceptiveField([3, 0]) == (0, 3), ReceptiveField(range(3), unbounded=True)
    (True, ReceptiveField(0, 1, 2, …))
    """

    unbounded: bool

    def __new__(cls, delays: Sequence[int], unbounded: bool = False) -> ReceptiveField:
        """Sort the delays."""
        made = super().__new__(cls, sorted(delays))
        made.unbounded = unbounded
        return made

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self))
        return f"ReceptiveField({shown}{', …' if self.unbounded else ''})"


def receptive_field(model: Module, T: int = STEPS, inputs: Any = None) -> ReceptiveField:
    """The delays k such that some output y_t depends on the input x_{t-k}; a negative delay reads a future input.

    The delays are read from the graph, which treats each value as a whole. So a state that holds a
    history in one tensor counts as a recurrence.

    Parameters
    ----------
    model : Module
        A cell, a layer or a network that gives an output for each step.
    T : int
        Smallest number of traced steps. The number of traced steps is always larger than the number
        of state slots, because only a recurrence has a delay longer than the number of slots.
    inputs : array_like, Spec, or nested tuples of them, optional
        An example of the input at one step, (batch, features); it is found if not given.

    Raises
    ------
    ShapeError
        If no input was found that fits, or the model has no output for each step.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> receptive_field(nn.TimeDelay(3, 5, delays=[0, 3, 6]))
    ReceptiveField(0, 3, 6)
    >>> receptive_field(nn.RNN(3, 5))
    ReceptiveField(0, 1, 2, 3, 4, 5, …)
    """
    slots = [slot for cell in _cells(model) for slot in flatten(cell.initial_state(1))]
    T = max(check_int("T", T), len(slots) + 2)
    run = _symbolic_run(model, T, inputs)
    found = {
        t - s for t, reached in enumerate(run.reached) for s, given in enumerate(run.inputs) if not reached.isdisjoint(given)
    }
    return ReceptiveField(list(found), unbounded=T > 1 and not found.isdisjoint((T - 1, 1 - T)))


def difference(first: Graph, second: Graph) -> str | None:
    """The first operation in which two graphs differ, in words; None if they are equal.

    Graphs are compared as ``first == second`` does, in the order in which a walk from their
    outputs meets the operations.

    Parameters
    ----------
    first, second : Graph

    Returns
    -------
    str or None

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0, 2.0]).named("x")
    >>> difference(tr.graph(tr.tanh(x) * 2), tr.graph(tr.tanh(x) * 2)) is None
    True
    >>> difference(tr.graph(tr.tanh(x) * 2), tr.graph(tr.sin(x) * 2))
    'the first graph has tanh: tanh(x), and the second has sin: sin(x)'
    """
    one, other = first.opened(), second.opened()
    lines = [list(line_by_line(g.outputs)) for g in (one, other)]
    for (line, node), (twin, theirs) in zip(*lines, strict=False):
        if line != twin:
            return f"the first graph has {_say(one, node)}, and the second has {_say(other, theirs)}"
    if len(lines[0]) != len(lines[1]):
        longer, source = (0, one) if len(lines[0]) > len(lines[1]) else (1, other)
        extra = _say(source, lines[longer][len(lines[1 - longer])][1])
        return f"only the {'second' if longer else 'first'} graph has {extra}"
    return None


# -- which inputs reach which outputs --------------------------------------------------------


class _SymbolicRun(NamedTuple):
    """A symbolic run: the structure of its input, and for each step the inputs, the outputs, and all they depend on."""

    like: Any
    inputs: list[list[Node]]
    outputs: list[list[Node]]
    reached: list[set[Node]]


def _symbolic_run(model: Module, T: int, inputs: Any) -> _SymbolicRun:
    def run(specs: Sequence[Spec], like: Any) -> _SymbolicRun:
        here = Unrolling()  # elements with steps, so that operations on a whole sequence are split into steps
        places = [Location("", here, t) for t in range(1, T + 1)]
        with at(Location()), mode(tracing=True, recording=True):
            steps = [[Tensor(leaf(spec, "x", "input", place)) for spec in specs] for place in places]
            outputs = _outputs(model, like, [stack(column) for column in zip(*steps, strict=True)], T)
            elements = [output[t] for t in range(T) for output in outputs]
        split = per_step(Graph([element.node for element in elements])).outputs
        each = [list(split[t * len(outputs) : (t + 1) * len(outputs)]) for t in range(T)]
        return _SymbolicRun(like, [[x.node for x in xs] for xs in steps], each, [set(ancestors(nodes)) for nodes in each])

    def alone(spec: Spec | None) -> _SymbolicRun:
        if spec is None:
            raise ShapeError(f"{type(model).__name__} has no input, so there is no dependence to check")
        return run([Spec((BATCH, *spec.shape), spec.dtype)], None)

    if inputs is None:
        return try_inputs(model, alone)
    if isinstance(inputs, Spec):
        return run([inputs], None)
    return run([as_tensor(part).node.spec for part in flatten(inputs)], inputs)


def _cells(model: Module) -> list[Cell]:
    if isinstance(model, Cell):
        return [model]
    return [part.cell for _, part in model.modules() if isinstance(part, Recurrent)]


def _outputs(model: Module, like: Any, sequences: Sequence[Tensor], T: int) -> list[Tensor]:
    """The output sequences of a model for input sequences in the structure of an example, time first.

    Raises
    ------
    ShapeError
        If the outputs do not have one element for each step.
    """
    callee = standalone(model) if isinstance(model, Cell) else model
    second = any(getattr(part, "batch_first", False) for _, part in callee.modules())
    given = [x.swapaxes(0, 1) for x in sequences] if second else sequences
    outputs = callee(rebuild(like, iter(given)))
    found = [as_tensor(part) for part in flatten(outputs[0] if isinstance(outputs, tuple) else outputs)]
    found = [y.swapaxes(0, 1) if second and y.ndim > 1 else y for y in found]
    for y in found:
        if y.ndim == 0 or len(y) != T:
            raise ShapeError(
                f"{type(model).__name__} must have an output for each step, but returns shape {y.shape} for {T} steps"
            )
    return found


def _assert_causal_by_numbers(model: Module, run: _SymbolicRun) -> None:
    """Assert that changing the inputs from some step on leaves all earlier outputs unchanged.

    Raises
    ------
    AssertionError
        If an earlier output changes.
    ShapeError
        If the model draws random numbers.
    """
    T, rng = len(run.inputs), np.random.default_rng(0)
    codes = min((m.codes for _, m in model.modules() if isinstance(m.codes, int)), default=2)

    def drawn() -> list[Any]:
        specs = [node.spec for node in run.inputs[0]]
        real = [rng.standard_normal((T, *spec.shape)) for spec in specs]
        coded = [rng.integers(0, codes, (T, *spec.shape)) for spec in specs]
        return [(x if spec.dtype.kind == "f" else n).astype(spec.dtype) for x, n, spec in zip(real, coded, specs, strict=True)]

    def called(arrays: Sequence[Any]) -> list[Any]:
        with no_grad():
            return [y.data for y in _outputs(model, run.like, [as_tensor(x) for x in arrays], T)]

    def alike(a: Any, b: Any) -> bool:
        return bool(np.all(np.abs(a - b) <= CLOSE * np.abs(a).max(initial=1)))

    xs, others = drawn(), drawn()
    before = called(xs)
    if not all(map(alike, before, called(xs))):
        raise ShapeError(f"{type(model).__name__} draws random numbers: call model.eval() first")
    for t in range(1, T):
        mixed = [np.concatenate([x[:t], other[t:]]) for x, other in zip(xs, others, strict=True)]
        for y, changed in zip(before, called(mixed), strict=True):
            if not alike(y[:t], changed[:t]):
                raise AssertionError(
                    f"an output of steps 1 to {t} changes with the inputs of the steps after {t}, but the graph has no "
                    "such path, so the model reads values outside of its graph, such as x.data"
                )


# -- words -----------------------------------------------------------------------------------


def _path(sources: Sequence[Node], ends: Sequence[Node]) -> list[str]:
    """The named values on a shortest path from an input to an output, between the two."""
    before: dict[Node, Node | None] = dict.fromkeys(ends)
    queue = list(ends)
    for node in queue:
        if node in sources:
            break
        for source in node.inputs:
            if source not in before:
                before[source] = node
                queue.append(source)
    names = Graph(ends).names
    found = [before[node]]
    while found[-1] is not None and found[-1] not in ends:
        found.append(before[found[-1]])
    return [names[node] for node in found if node is not None and node.name is not None]


def _uses(graph: Graph, parameter: Node) -> list[Node]:
    """Operations that use a parameter; an operation that transposes it for all steps, as W.T does, does not count."""
    found: list[Node] = []
    stack = [parameter]
    while stack:
        for user in graph.users(stack.pop()):
            turned = facts_of(user).reorders is not None and outer_step(user) is None
            (stack if turned else found).append(user)
    return found


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _at_steps(nodes: Sequence[Node]) -> str:
    """Steps of some operations, in words."""
    steps = sorted({moment[1] for node in nodes if (moment := outer_step(node)) is not None})
    if not steps:
        return ""
    if len(steps) == 1:
        return f", at step {steps[0]}"
    if steps == list(range(steps[0], steps[-1] + 1)):
        return f", at steps {steps[0]} to {steps[-1]}"
    return f", at steps {', '.join(map(str, steps))}"


def _say(graph: Graph, node: Node) -> str:
    """An operation of a graph in words: its name and its formula."""
    if node.primitive is None:
        return f"{graph.names[node]} {node.spec}"
    arguments = ", ".join(graph.names[i] for i in node.inputs)
    return f"{graph.names[node]}: {node.operation}({arguments})"
