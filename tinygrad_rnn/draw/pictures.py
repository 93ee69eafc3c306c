"""Pictures of graphs and modules: the entry points of the package draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from ..checks import check_int, one_of
from ..console import counted
from ..errors import FoldError
from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.module_trace import Step, trace_step
from ..ops.core import as_tensor
from ..tensor import Tensor
from ..tree import flatten
from ..views.contraction import contract, cotangents
from ..views.full_lengths import without_padding
from ..views.letters import Letters, Notation
from ..views.per_step import per_step
from ..views.runs import Runs, longest_delay
from ..views.symbolic_run import traced
from .backwards import turn_round
from .colors import HIGH, LOW, magnitudes
from .drawing import Drawing
from .finish import add_note, bundle, elide, give_strokes, tell_targets
from .folded import folded
from .heatmap import add_rows
from .highlight import highlight as highlight_parts
from .lanes import add_shared_parameters, place_totals
from .layer_view import add_parameters, merged
from .operations import add_legend, operations
from .over_time import Options, Shared, sketched
from .plain import any_graph, join
from .positions import Layout, place, set_rows, share_columns
from .route import branch_dots, route
from .sketch import Sketch
from .step import diagram
from .step_lines import step_sketch
from .symbols import plain

__all__ = ["draw", "draw_module", "draw_with_gradients"]

Time = Literal["folded", "unrolled", "step"]
Detail = Literal["slots", "values", "ops", "layers"]

COLUMNS = 10
"""Largest number of steps that are all drawn; in a longer run, the middle steps are left out."""
FIRST = 4
"""Number of steps in the trace of a module for a folded drawing, if no delay is longer."""
LONGEST = 64
"""Largest number of steps in the trace of a module, used to find all its delays."""


def draw(
    graph: Graph,
    time: Time | None = None,
    detail: Detail | None = None,
    steps: int | None = None,
    values: bool = False,
    backward: bool = False,
    name: str = "graph",
    labels: Iterable[str] | None = None,
    shared: Shared = "label",
    aspect: float | None = None,
    symbols: Mapping[str, str] | None = None,
    notation: Notation | None = None,
) -> Drawing:
    """Draw a graph: over time if it has steps, otherwise as it is.

    Parameters
    ----------
    graph : Graph
    time, detail, steps, values, backward, name, labels, shared, aspect, symbols, notation
        As in :meth:`tinygrad_rnn.graph.Graph.draw`.

    Returns
    -------
    Drawing

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> W = tr.Parameter([[1.0]], symbol="W")
    >>> h = tr.tensor([[0.0]])
    >>> for t, x in tr.steps(tr.tensor([[[1.0]], [[2.0]]]).named("x")):
    ...     h = tr.tanh(x + h @ W).named("h")
    >>> drawing = draw(tr.graph(h), time="folded")
    >>> "a delay of one step" in drawing.source
    True
    """
    options = _options(values, labels, shared, aspect, symbols, notation)
    _check(time, detail)
    if time == "step":
        raise ValueError('time="step" needs a cell, not a graph: call cell.draw(time="step")')
    graph = without_padding(graph.opened())
    has_gradient = any(node.location.origin is not None for node in graph.nodes)
    split = graph if backward else per_step(graph)
    nameless = has_gradient and not cotangents(split.nodes, Runs(split.nodes))
    if backward or nameless or not split.unrollings():
        if time == "folded":
            raise FoldError("the graph has no steps to fold; write the loop over time as `for t, x in tr.steps(xs):`")
        kind = "gradient" if has_gradient or backward else "operations"
        sketch, shown = any_graph(graph, values, options.letters)
        join(sketch, shown)
        sketch.aspect = aspect
        return Drawing(sketch, f"{name}, {kind}", graph.text(limit=60), name)
    return _over_time(split, time or "unrolled", detail, steps or COLUMNS, options, name, {})


def draw_with_gradients(
    graph: Graph,
    seeds: Mapping[Node, Any],
    rows: Mapping[str, Any] | None = None,
    detail: Detail | None = None,
    steps: int | None = None,
    values: bool = False,
    name: str = "graph",
    labels: Iterable[str] | None = None,
    aspect: float | None = None,
    symbols: Mapping[str, str] | None = None,
    notation: Notation | None = None,
) -> Drawing:
    """Draw the gradient of each value in an unrolled graph, in the layout of the forward picture.

    Parameters
    ----------
    graph : Graph
        A graph with numbers, made by :func:`tinygrad_rnn.views.per_step`.
    seeds : mapping of Node to array_like
        Cotangents of the values at which the backward pass begins, such as 1 for losses.
    rows : mapping of str to ndarray, shape (T,), optional
        Rows of norms, one number for each step, that are shown below the columns; the keys are their labels.
    detail : {"slots", "values"}, optional
        As in :meth:`tinygrad_rnn.graph.Graph.draw`.
    steps, values, name, labels, aspect, symbols, notation
        As in :meth:`tinygrad_rnn.graph.Graph.draw`.

    Returns
    -------
    Drawing

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h = tr.tensor(1.0)
    >>> for t, x in tr.steps(tr.tensor([1.0, 1.0]).named("x")):
    ...     h = (0.5 * h + x).named("h")
    >>> graph = per_step(tr.graph(h))
    >>> drawing = draw_with_gradients(graph, {graph.outputs[0]: 1.0})
    >>> [f"{arc.source.label} → {arc.target.label}: {arc.label}" for arc in drawing.sketch.arcs if arc.lag]
    ['h_{1} → h_{0}: 0.25', 'h_{2} → h_{1}: 0.5']
    """
    if detail not in (None, "slots", "values"):
        raise ValueError(one_of("detail of a backward pass", detail, ("slots", "values")))
    options = _options(values, labels, "label", aspect, symbols, notation)._replace(seeds=seeds)
    drawing = _over_time(graph, "unrolled", detail, steps or COLUMNS, options, name, {})
    if rows:
        add_rows(drawing.sketch, rows, magnitudes(LOW, HIGH))
    return drawing


def draw_module(
    module: Module,
    time: Time = "folded",
    detail: Detail | None = None,
    steps: int = 4,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    targets: Any = None,
    inputs: Any = None,
    values: bool = False,
    force: Sequence[str] = (),
    total: bool = False,
    shared: Shared = "label",
    aspect: float | None = None,
    highlight: Sequence[str] = (),
    symbols: Mapping[str, str] | None = None,
    notation: Notation | None = None,
) -> Drawing:
    """Draw a network, run with symbolic tensors, so that no data is needed.

    Parameters
    ----------
    module : Module
        A cell, a recurrent layer, or a whole model.
    time, detail, steps, loss, targets, inputs, values, force, total, shared, aspect, highlight, symbols, notation
        As in :meth:`tinygrad_rnn.nn.Module.draw`.

    Returns
    -------
    Drawing

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> model = nn.Sequential(nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2))
    >>> drawing = model.draw(time="unrolled", loss=nn.cross_entropy, steps=3)
    >>> drawing
    <Drawing of Sequential, unrolled over 3 steps>
    >>> [f"L[{t}]" in drawing.source for t in (1, 3, 4)]
    [True, True, False]
    """
    options = _options(values, None, shared, aspect, symbols, notation)
    _check(time, detail)
    steps = check_int("steps", steps, 0)
    force = [force] if isinstance(force, str) else force
    name = type(module).__name__
    if time == "step":
        return _draw_step(module, inputs, options, [highlight] if isinstance(highlight, str) else highlight)
    if highlight:
        raise ValueError('highlight needs time="step", the picture of one step gate by gate')
    T = FIRST if time == "folded" else steps
    graph = traced(module, T, inputs, loss, targets, force, total)
    if longest_delay(graph) >= T:
        T = max(T, min(LONGEST, 1 + sum(node.role == "initial" for node in graph.inputs)))
        graph = traced(module, T, inputs, loss, targets, force, total)
        if time == "unrolled" and (needed := max(steps, longest_delay(graph) + 1)) < T:
            graph = traced(module, needed, inputs, loss, targets, force, total)
    if time == "folded" and detail is None and not _has_memory(graph):
        detail = "ops"  # no named value to contract to
    titles = {path: type(part).__name__.removesuffix("Cell") or name for path, part in module.modules()}
    cells = [path for path, part in module.modules() if isinstance(part, Cell)]
    for path in titles:  # all parts of a cell are one box with the cell's name
        titles[path] = next((titles[cell] for cell in cells if f"{path}.".startswith(f"{cell}." if cell else "")), titles[path])
    layouts = [layout for _, part in module.modules() if (layout := getattr(part, "layout", None))]
    layout = layouts[0] if len(layouts) == 1 and detail in (None, "values") else None
    return _over_time(graph, time, detail, COLUMNS, options, name, titles, layout)


def _has_memory(graph: Graph) -> bool:
    return longest_delay(graph) > 0 or any(node.role == "initial" for node in graph.inputs)


def _draw_step(module: Module, inputs: Any, options: Options, highlighted: Sequence[str]) -> Drawing:
    """Draw one step of a module's only cell."""
    cells = [module] if isinstance(module, Cell) else [part for _, part in module.modules() if isinstance(part, Cell)]
    if len({type(cell) for cell in cells}) != 1:
        found = ", ".join(dict.fromkeys(type(cell).__name__ for cell in cells)) or "none"
        raise ValueError(f'time="step" draws one cell, and the cells in {type(module).__name__} are: {found}; draw one of them')
    step, name = _lettered(trace_step(cells[0], 2, inputs), options.letters), type(cells[0]).__name__
    layout = {options.letters(part): place for part, place in getattr(cells[0], "step_layout", {}).items()}
    sketch = step_sketch(diagram(step, options.letters), layout)
    if highlighted:
        highlight_parts(sketch, highlighted)
    sketch.aspect = options.aspect
    return Drawing(sketch, f"{name}, one step", _described(sketch), name)


def _lettered(step: Step, letters: Letters) -> Step:
    """A new trace of a step, in which values have the reader's names."""
    nodes = Graph([as_tensor(value).node for value in (*flatten(step.output), *step.after)]).nodes
    letters.check(node.name for node in nodes if node.name)
    for node in dict.fromkeys((*nodes, *(slot.node for slot in step.state))):
        if node.name and node.role != "parameter":
            node.name = letters(node.name)
    return step._replace(names=list(map(letters, step.names)))


def _check(time: Any, detail: Any) -> None:
    for word, given, known in (("time", time, get_args(Time)), ("detail", detail, get_args(Detail))):
        if given is not None and given not in known:
            raise ValueError(one_of(word, given, known))


def _options(
    values: bool,
    labels: Iterable[str] | None,
    shared: Any,
    aspect: Any,
    symbols: Mapping[str, str] | None,
    notation: Notation | None,
) -> Options:
    if shared not in get_args(Shared):
        raise ValueError(one_of("shared", shared, get_args(Shared)))
    if aspect is not None and not (isinstance(aspect, (int, float)) and 0.05 <= aspect <= 20):
        raise ValueError(
            f"aspect, the width of a picture over its height, must be from 0.05 to 20, such as 16 / 9, not {aspect!r}"
        )
    return Options(values, None if labels is None else list(labels), shared, aspect, Letters(symbols, notation))


def _over_time(
    graph: Graph,
    time: Time,
    detail: Detail | None,
    shown: int,
    options: Options,
    name: str,
    titles: Mapping[str, str],
    layout: Layout | None = None,
) -> Drawing:
    fold = time == "folded"
    if fold:
        for unrolling in graph.unrollings():
            graph.fold(unrolling)  # the picture shows one step, so all steps must be alike
    tints: dict[str, str] = {}
    if detail == "ops":
        if options.shared == "node":
            raise ValueError('shared="node" does not go with detail="ops", which has a box for each use of a parameter')
        sketch, tints = operations(graph, options, fold)
    else:
        chosen = "slots" if detail == "layers" else detail or ("values" if fold else None)
        sketch, _ = sketched(contract(graph, chosen), options, fold, detail == "slots")
    sketch.aspect = options.aspect
    if options.shared == "node":
        for arc in sketch.arcs:
            if not arc.plain:
                arc.label = ""
    runs = Runs(behind_cuts(graph.outputs))
    tell_targets(sketch)
    share_columns(sketch, {run.number: run.length for run in runs})
    give_strokes(sketch)
    if detail == "layers":
        sketch = merged(sketch, _layer_titles(graph, runs, titles))
    length = max((run.length for run in Runs(graph.nodes)), default=0)
    if fold:
        sketch = folded(sketch, layout)
    else:
        if detail in (None, "slots", "values"):
            bundle(sketch)
        elide(sketch, shown)
        set_rows(sketch)
        place(sketch)
        place_totals(sketch)
    if options.shared == "node":
        add_shared_parameters(sketch)
    route(sketch)
    branch_dots(sketch)
    if options.seeds is not None:
        turn_round(sketch)
    if detail == "layers" and options.shared == "label":
        add_parameters(sketch)
    if tints or sketch.numbers:
        add_legend(sketch, tints)
    numbers = ", numbers of step " + " and ".join(map(str, sketch.numbered)) if sketch.numbered else ""
    if numbers:
        add_note(sketch, numbers.removeprefix(", "))
    title = f"{name}, folded over time{numbers}" if fold else f"{name}, unrolled over {counted(length, 'step')}"
    return Drawing(sketch, title, _described(sketch), name)


def _layer_titles(graph: Graph, runs: Runs, titles: Mapping[str, str]) -> dict[int, str]:
    """Title of each unrolling: its module's name, with a number if there are several."""
    scopes: dict[int, str] = {}
    for node in graph.nodes:
        step = runs.step(node)
        if step is not None and node.primitive is not None:
            scopes.setdefault(step[0].number, node.scope)
    found = {number: titles.get(scope) or scope.split(".")[0] or "step" for number, scope in scopes.items()}
    reverse = {run.number: run.reverse for run in runs}
    called: dict[int, str] = {}
    for number, title in found.items():
        alike = [other for other, name in found.items() if name == title]
        same_way = [other for other in alike if reverse[other] == reverse[number]]
        nth = f" {same_way.index(number) + 1}" if len(same_way) > 1 else ""
        arrow = "" if len(same_way) == len(alike) else " ←" if reverse[number] else " →"
        called[number] = f"{title}{nth}{arrow}"
    return called


def _described(sketch: Sketch) -> str:
    """The edges of a picture in words, for screen readers."""
    edges = [plain(f"{a.source.label} → {a.target.label}" + (f" by {a.label}" if a.label else "")) for a in sketch.arcs[:60]]
    return ("; ".join(edges) + "." + sketch.description).replace("\n", " ")
