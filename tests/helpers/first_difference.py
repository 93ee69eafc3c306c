"""The first difference between a scan and its loop, shown as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_rnn.draw import Drawing
from tinygrad_rnn.draw.plain import any_graph, join
from tinygrad_rnn.draw.sketch import Arc, Vertex
from tinygrad_rnn.draw.style import CUT, NOTE_FONT, PLAIN, Kind, Stroke
from tinygrad_rnn.graph.graph import Graph
from tinygrad_rnn.graph.node import Node, ancestors
from tinygrad_rnn.scan.compiled import CompiledScan
from tinygrad_rnn.scan.loop import Loop, Output, is_leaf
from tinygrad_rnn.scan.primitive import scan
from tinygrad_rnn.scan.rewrites import without
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.testing.gradients.oracles import replay

Array = npt.NDArray[Any]


def first_difference(*results: Tensor, rtol: float = 1e-6) -> Drawing | None:
    """The step in which a scan goes wrong, with the edges into the first wrong value marked.

    For each scan that the results depend on, in forward runs and in gradients, every value of a
    step is computed twice at all steps: by the compiled program, and operation by operation.

    Parameters
    ----------
    *results : Tensor
        Outputs, states, or gradients that were recorded (by :func:`tinygrad_rnn.grad`).
    rtol : float
        Largest relative difference of equal values.

    Returns
    -------
    Drawing or None
        None if all values are equal. Then the programs agree with their loops, and the fault is in
        the loops, which were made by tracing and differentiation.
    """
    for node in ancestors([result.node for result in results]):
        if node.primitive is scan:
            plan, steps = node.attributes["plan"], node.attributes["steps"]
            wrong = _first_wrong(plan, [i.value for i in node.inputs], steps, rtol)
            if wrong is not None:
                return picture(plan.traced, wrong)
    return None


def _first_wrong(plan: CompiledScan, arrays: Sequence[Array], steps: int, rtol: float) -> Node | None:
    loop = plan.traced
    expected = values_of(loop, arrays, steps)
    with without(*plan.off):
        for node in loop.body:
            if node in expected:
                asked = CompiledScan(loop.asking([Output("stack", node)]))
                found, _ = asked.executable(False)(arrays, steps)
                if not np.allclose(found[-1], expected[node], rtol, rtol, equal_nan=True):
                    return node
        # right if requested as an output, but wrong otherwise: then the results show the fault
        found, _ = plan.executable(True)(arrays, steps)
    for output, result in zip(loop.outputs, found, strict=False):
        stack = expected.get(loop.value_of(output))
        if stack is None or not steps:
            continue
        last = stack[0 if loop.reverse else -1]
        right = {"stack": stack, "sum": stack.sum(0), "final": last}[output.kind]
        if not np.allclose(result, right, rtol, rtol, equal_nan=True):
            return loop.value_of(output)
    return None


def values_of(loop: Loop, arrays: Sequence[Array], steps: int) -> dict[Node, Array]:
    """The values of a loop whose operations are computed one by one at each step.

    Parameters
    ----------
    loop : Loop
    arrays : sequence of numpy.ndarray
        Sequences, initial values of the slots, and consts, in the order of the loop.
    steps : int

    Returns
    -------
    dict of Node to numpy.ndarray
        The values at all steps of each operation, each along a new leading axis.
    """
    sequences, carry, consts = loop.parts(arrays)
    order = loop.body
    state: list[Any] = list(carry)
    columns: dict[Node, list[Any]] = {node: [None] * steps for node in order if not is_leaf(node)}
    with np.errstate(all="ignore"):
        for t in reversed(range(steps)) if loop.reverse else range(steps):
            now: dict[Node, Any] = {node: node.value for node in order if is_leaf(node)}
            now |= dict(zip(loop.consts, consts, strict=True))
            now |= {leaf: x[t] for leaf, x in zip(loop.sequences, sequences, strict=True)}
            now |= dict(zip(loop.carry, state, strict=True))
            replay(order, now)
            for node, column in columns.items():
                column[t] = now[node]
            state = [now.get(node) for node in loop.next_carry]
    return {node: np.array(column).reshape(steps, *node.shape) for node, column in columns.items()}


def picture(loop: Loop, wrong: Node) -> Drawing:
    """A folded picture of a step, with a box for each operation; the edges into one node are marked.

    Parameters
    ----------
    loop : Loop
    wrong : Node
    """
    order = loop.body
    graph = Graph(list(dict.fromkeys([*loop.next_carry, *[output.node for output in loop.outputs], *order[-1:]])))
    sketch, shown = any_graph(graph, False)
    for arc in sketch.arcs:
        if arc.target is shown[wrong]:
            arc.stroke = Stroke(CUT, 4.0)
    shown[wrong].color = CUT
    for k, (slot, after) in enumerate(zip(loop.carry, loop.next_carry, strict=True)):
        if slot in shown and after in shown:
            square = Vertex(f"z{k}", f"z{k}", Kind.DELAY, "z^{−1}", width=25.0, height=25.0, font=NOTE_FONT)
            sketch.vertices.append(square)
            sketch.arcs.append(Arc(shown[after], square, PLAIN, lag=1))
            sketch.arcs.append(Arc(square, shown[slot], PLAIN))
    join(sketch, shown)
    said = f"{graph.names[wrong]} is the first value of the step that differs"
    return Drawing(sketch, f"step; {said}", f"{said}; it is made of {_inputs(wrong, graph)}", "step")


def _inputs(node: Node, graph: Graph) -> str:
    return ", ".join(graph.names.get(i, "a number") for i in node.inputs) or "nothing"
