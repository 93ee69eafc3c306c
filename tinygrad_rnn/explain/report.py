"""A report about a model: one page with its equations, its memory, and the reach of its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..console import counted, joined
from ..draw import Drawing
from ..draw.symbols import plain, pretty
from ..errors import TinygradError
from ..files import check_writable, write_bytes
from ..nn.cell import Cell
from ..nn.module import Module
from ..ops import cross_entropy, mse
from ..sequences import Vocabulary
from ..views.letters import layer_marks
from .backward_pass import draw_backward_pass
from .by_hand import Array
from .equations import Latex
from .gradient_by_step import gradient_by_step
from .gradient_flow import GradientFlow, gradient_flow
from .heatmaps import heatmap
from .mathml import mathml
from .model_run import Loss, Model, RecurrentPart, run_model
from .page import figure, formulas, page, section
from .states import States, Unit, states
from .task import Task, task_of

__all__ = ["Exhibit", "ModelReport", "Section", "report"]

ABOUT = (
    "Below each picture is the Python expression that makes it: <code>model</code> is the model, and <code>page</code> is "
    "this report, <code>explain.report(model, …)</code>."
)
ROWS, COLUMNS = 8, 30
"""Number of a value's units in a picture, and number of steps side by side."""
MATRICES = 4
"""Number of parameters whose contributions are shown."""
LOSSES: Mapping[str, Any] = {"nn.cross_entropy": cross_entropy, "nn.mse": mse}
"""Losses, by their Python expressions."""
LITTLE = 0.01
"""Fraction of a gradient below which it counts as vanished."""


class Exhibit(NamedTuple):
    """Equations or a picture of a report, and the Python expression that reproduces it.

    Attributes
    ----------
    code : str
        A Python expression of `model`, `page` (the report), `explain` and `nn`.
    content : Latex or Drawing
    """

    code: str
    content: Latex | Drawing


class Section(NamedTuple):
    """A section of a report.

    Attributes
    ----------
    title : str
    words : str
        The text of the section, with the numbers of this model.
    exhibits : tuple of Exhibit
    """

    title: str
    words: str
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True, eq=False, repr=False)
class ModelReport:
    """A page about a model; notebooks display it.

    Attributes
    ----------
    model : Module
    title : str
    run : callable
        The model, or a function that runs the model on an input.
    lead : str
        The first sentences of the page.
    sections : tuple of Section
    source : str or ndarray
        The text or series that the model read.
    xs, targets : ndarray
        The inputs and targets of the passage over which gradients are measured.
    loss : callable
        ``loss(outputs, targets)`` gives the loss of each step.
    shown : slice
        The position of the passage in the source.
    letters : dict of str to str
        Symbols of the values of `states` in pictures and equations: ``h⁽¹⁾`` is ``"h_l0"`` in Python.
    states : States
        All named values over the source.
    flows : dict of str to GradientFlow, or to an error
        The gradient flow back to each state, or the error that says why there is none. If the model only keeps inputs,
        its named values take the place of the states.
    contributions : dict of str to ndarray, shape (T,)
        For each matrix of the model, the norms of each step's contribution to the gradient of the matrix, as measured by
        :func:`~tinygrad_rnn.explain.gradient_by_step`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> page = explain.report(nn.Sequential(nn.GRU(1, 2), nn.Linear(2, 1)), np.sin(np.arange(30)))
    >>> for part in page.sections[5:]:
    ...     print(part.title, *[exhibit.code for exhibit in part.exhibits])
    Gradient flow explain.gradient_flow(model, page.xs, page.targets, page.loss, 'h').draw()
    Contributions explain.draw_backward_pass(model, page.xs, page.targets, page.loss,
        parameters=['0.weight_hh_l0', '0.weight_ih_l0', '1.weight'], steps=6)
    """

    model: Module
    title: str
    run: Model
    lead: str
    sections: tuple[Section, ...]
    source: Any
    xs: Any
    targets: Any
    loss: Loss
    shown: slice
    letters: Mapping[str, str]
    states: States
    flows: Mapping[str, GradientFlow | TinygradError]
    contributions: Mapping[str, Array]

    @property
    def called(self) -> str:
        """The expression for the model in the report's code."""
        return "model" if self.run is self.model else "page.run"

    def letter(self, name: str) -> str:
        """Symbol of a value of `states` in pictures and equations."""
        return self.letters.get(name, name)

    def __repr__(self) -> str:
        return f"<ModelReport of {self.title}: {', '.join(part.title.lower() for part in self.sections)}>"

    def parts(self) -> list[str]:
        """Sections as HTML."""
        return [section(part.title, f"<p>{escape(part.words)}</p>", *map(_shown, part.exhibits)) for part in self.sections]

    def html(self) -> str:
        """The page as a self-contained document without scripts."""
        head = f'<h1>{escape(self.title)}</h1>\n<p class="lead">{escape(self.lead)}</p>\n<p>{ABOUT}</p>'
        return page(self.title, [head, *self.parts()])

    def save(self, path: str | Path) -> Path:
        """Write the page to a file.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        return write_bytes(path, self.html().encode("utf-8", "replace"), "the report")

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html(), quote=True)}" '
            'style="width: 100%; height: 600px; border: 1px solid #d0d7de"></iframe>'
        )


def report(
    model: Module,
    data: Any,
    out: str | Path | None = None,
    *,
    targets: Any = None,
    loss: Loss | None = None,
    run: Model | None = None,
    vocabulary: Vocabulary | None = None,
    title: str = "",
) -> ModelReport:
    """Explain a model on one page: equations and pictures, states over data, and the reach of gradients.

    Parameters
    ----------
    model : Module
        A network with a prediction at each step.
    data : str or array_like
        A text, in which the model predicts each next symbol; or a series, of shape (T,), (T, features) or the shape of the
        model's input. The first 5000 steps are read, and pictures show a passage of 60 steps.
    out : str or Path, optional
        The HTML file to write.
    targets : array_like, optional
        The values that the model predicts from a series; if not given, the next values of the series.
    loss : callable, optional
        ``loss(outputs, targets)`` gives the loss of each step, as for :func:`gradient_flow`. If not given, the loss is the
        cross entropy for symbols and classes, and the squared error otherwise.
    run : callable, optional
        A function that runs the model on an input, for a model that needs more than the input, such as
        ``lambda xs: narx.free_run(xs, history)``. It is called with the first steps of a series, and with all steps.
    vocabulary : Vocabulary, optional
        The vocabulary that encodes the text; if not given, the model's attribute `vocabulary`.
    title : str, optional
        The title of the page; if not given, the name of the model's class.

    Returns
    -------
    ModelReport

    Raises
    ------
    DataError
        If the data are too short, a text has no vocabulary, or the file cannot be written.
    ShapeError
        If the targets are unknown, or the model needs more than its input.
    TinygradError
        If the model has no recurrence.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> model = nn.Sequential(nn.RNN(1, 4), nn.Linear(4, 1))
    >>> page = explain.report(model, np.sin(np.arange(30)))
    >>> page
    <ModelReport of Sequential: equations, one step, unrolled over time, gate by gate, states, gradient flow, contributions>
    >>> page.flows["h"].norms.shape, "<script" in page.html()
    ((29, 29), False)
    """
    if out is not None:
        check_writable(out, "the report")  # check first, before the measurements
    called = model if run is None else run
    task = task_of(model, called, data, targets, loss, vocabulary)
    first = run_model(called, task.xs, task.targets, task.loss)
    carried = [
        name
        for name, (part, node) in first.places.items()
        if node in part.loop.next_carry and node.dtype.kind == "f" and node.primitive is not None
    ]
    found = states(called, task.source, names=carried, vocabulary=vocabulary)
    flows: dict[str, GradientFlow | TinygradError] = {}
    for name in carried or [name for name, array in found.values.items() if array.dtype.kind == "f"]:
        try:
            flows[name] = gradient_flow(called, task.xs, task.targets, task.loss, name)
        except TinygradError as error:  # such as NaN, which the page reports
            flows[name] = error
    made = ModelReport(
        model,
        title or type(model).__name__,
        called,
        _lead(model, called, task),
        (),
        task.source,
        task.xs,
        task.targets,
        task.loss,
        task.shown,
        _letters(first.parts),
        found,
        flows,
        _contributions(model, called, task),
    )
    parts = tuple(_told(*given, made, task) for given in SECTIONS)
    made = ModelReport(**{**vars(made), "sections": parts})
    if out is not None:
        made.save(out)
    return made


def _told(title: str, tell: Callable[[ModelReport, Task], tuple[str, list[Exhibit]]], made: ModelReport, task: Task) -> Section:
    """A section, or the reason why it is missing."""
    try:
        words, exhibits = tell(made, task)
    except TinygradError as error:
        return Section(title, f"This section could not be made: {error}", ())
    return Section(title, words, tuple(exhibits))


def _shown(exhibit: Exhibit) -> str:
    """An exhibit as HTML."""
    if isinstance(exhibit.content, Latex):
        return f"{formulas(mathml(exhibit.content))}\n<pre>{escape(exhibit.code)}</pre>"
    is_wide = exhibit.code.startswith("explain.heatmap(")
    return figure(exhibit.content.svg(), exhibit.content.title, is_wide, exhibit.code)


# -- texts ---------------------------------------------------------------------------------


def _lead(model: Module, called: Model, task: Task) -> str:
    parameters = dict(model.named_parameters())
    frozen = [name for name, p in parameters.items() if not p.requires_grad]
    what, alone = task.baseline
    beside = f"; {what} has {alone:.3g}" if np.isfinite(alone) else ""
    size = sum(p.size for p in parameters.values())
    return (
        f"A {type(model).__name__} with {counted(size, 'parameter')} reads {task.size}, and makes a prediction at each "
        f"step. Its mean loss is {task.mean_loss(called):.3g} {task.unit}{beside}."
        f"{f' Frozen, so not changed by training: {joined(frozen)}.' if frozen else ''}"
    )


def _letters(parts: Sequence[RecurrentPart]) -> dict[str, str]:
    """Symbols in pictures and equations for the values of recurrent parts, by their Python names."""
    owners: dict[str, list[RecurrentPart]] = {}
    for part in parts:
        for name in part.values:
            owners.setdefault(name, []).append(part)
    found = {}
    for name, those in owners.items():
        for part, mark in zip(those, layer_marks(those) if len(those) > 1 else [""], strict=True):
            found[f"{name}_{part.label}" if part.label else name] = plain(pretty(name) + mark)
    return found


def _contributions(model: Module, called: Model, task: Task) -> dict[str, Array]:
    """Norms of each step's contribution to the gradients of the largest matrices."""
    found: dict[str, Array] = {}
    matrices = [(name, p) for name, p in model.named_parameters() if p.ndim > 1]
    for name, parameter in sorted(matrices, key=lambda pair: -pair[1].size)[:MATRICES]:
        try:
            found[name] = gradient_by_step(called, task.xs, task.targets, task.loss, parameter, norms=True)
        except TinygradError:  # no loss depends on this parameter
            continue
    return found


def _equations(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    loss = f"loss={task.drawn}" if task.drawn else ""
    forward, backward = f"model.equations({loss})", f"model.equations(backward=True{', ' * bool(loss)}{loss})"
    exhibits = [
        Exhibit(forward, made.model.equations(loss=LOSSES.get(task.drawn))),
        Exhibit(backward, made.model.equations(True, loss=LOSSES.get(task.drawn))),
    ]
    n, m = (len(mathml(exhibit.content)) for exhibit in exhibits)  # type: ignore[arg-type]
    sizes = joined([f"{made.letter(name)} of {counted(made.states[name].shape[1], 'unit')}" for name in made.flows])
    otherwise = joined([f"{made.letter(name)} is {name!r}" for name in made.flows if made.letter(name) != name])
    in_code = f" In Python {otherwise}." if otherwise else ""
    return (
        f"{'The first equation is' if n == 1 else f'The first {n} equations are'} the forward pass at step t; the state of the "
        f"model is {sizes}.{in_code} The other {m} are backpropagation through time: δ is the derivative of the loss L with "
        "respect to a value, and a term with t + 1 comes back from the next step. All steps share each parameter, so its "
        "gradient is a sum over all steps.",
        exhibits,
    )


def _folded(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    steps = made.shown.stop - made.shown.start
    carried = joined([made.letter(name) for name in made.flows])
    return (
        f"One step of the model; all {counted(steps, 'step')} of the passage are copies of it. Each black square is a delay, "
        f"which carries {carried} from one step to the next. The model remembers only through these delays.",
        [Exhibit("model.draw()", made.model.draw())],
    )


def _unrolled(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    parameters = sum(p.size for p in made.model.parameters())
    code = f"model.draw(time='unrolled', steps=4{f', loss={task.drawn}' if task.drawn else ''})"
    return (
        f"The same step four times, with time from left to right. All steps share the {counted(parameters, 'parameter')}. "
        "A gradient flows against the arrows: the gradient of the loss at step 4 goes back through 3 steps to step 1.",
        [Exhibit(code, made.model.draw(time="unrolled", steps=4, loss=LOSSES.get(task.drawn)))],
    )


def _step(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    names = list(map(made.letter, made.states.values))
    inside = (
        "All operations of one step, gate by gate, from the inputs at the left to the outputs at the right. "
        f"The step computes {joined(names)}."
    )
    shares = sorted((found.share, made.letter(name)) for name, found in made.states.saturation().items())
    if shares:
        inside += (
            " A bounded function passes on almost no gradient where it saturates, in the outer tenth of its range on either "
            "side. Saturated are "
            f"{joined([f'{share:.1%} of the values of {name}' for share, name in dict.fromkeys((shares[-1], shares[0]))])}."
        )
    cells = {type(part): path for path, part in reversed([*made.model.modules()]) if isinstance(part, Cell)}
    if len(cells) < 2:
        return inside, [Exhibit("model.draw(time='step')", made.model.draw(time="step"))]
    parts = dict(made.model.modules())
    return inside, [
        Exhibit(f"dict(model.modules())[{path!r}].draw(time='step')", parts[path].draw(time="step"))
        for path in reversed(cells.values())
    ]


def _states(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    told = _units(made, task)
    columns = None if task.steps is None else task.steps[task.shown]
    start, stop = task.shown.start, task.shown.stop
    exhibits = []
    for name in made.flows:
        values = made.states[name]
        chosen = {unit.number: f"unit {unit.number}: {unit.property}, {unit.correlation:.2f}" for unit in told.get(name, ())}
        for unit in map(int, np.argsort(-values.std(axis=0), kind="stable")):
            if len(chosen) < ROWS:
                chosen.setdefault(unit, f"unit {unit}")
        units, labels, title = list(chosen), list(chosen.values()), f"{made.letter(name)} at the steps {start + 1} to {stop}"
        at = "" if columns is None else f", {columns if list(columns) != list(''.join(columns)) else ''.join(columns)!r}"
        exhibits.append(
            Exhibit(
                f"explain.heatmap(page.states[{name!r}][{start}:{stop}]{at},\n"
                f"    units={units},\n    labels={labels},\n    width={COLUMNS}, title={title!r})",
                heatmap(values[start:stop], columns, units=units, labels=labels, width=COLUMNS, title=title),
            )
        )
    every = [unit._replace(value=made.letter(unit.value)) for units in told.values() for unit in units]
    every.sort(key=lambda unit: -abs(unit.correlation))
    clearest = (
        f"The strongest correlation is that of {every[0]}."
        if every
        else "No unit correlates with one of the properties of the input that were tried."
    )
    return (
        "All that the model knows about the steps before is in its states. The pictures show some units of each state over a "
        "passage, red above zero and blue below. A label names the property of the input that correlates best with the unit, "
        f"and the correlation, over all steps that were read. {clearest}",
        exhibits,
    )


def _units(made: ModelReport, task: Task) -> dict[str, list[Unit]]:
    """For each state, the units that correlate best with a visible property of the text."""
    source, properties = task.properties()
    if not properties:
        return {}
    n = min(len(source), made.states.steps)
    found = States(source[:n], {name: made.states[name][:n] for name in made.flows}, {})
    return {name: found.units(properties, [name])[:ROWS] for name in made.flows}


def _flow(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    exhibits, told = [], []
    for name, flow in made.flows.items():
        if isinstance(flow, TinygradError):
            told.append(f"For {made.letter(name)} there is no picture: {flow}.")
            continue
        code = f"explain.gradient_flow({made.called}, page.xs, page.targets, page.loss, {name!r}).draw()"
        exhibits.append(Exhibit(code, flow.draw()))
        told.append(_reach(made.letter(name), flow))
    measured = [flow for flow in made.flows.values() if isinstance(flow, GradientFlow)]
    reaches = [_reached(flow) for flow in measured]
    farthest = max((reach for reach in reaches if reach is not None), default=0)
    is_gone = None not in reaches and any(flow.decay[1:].any() for flow in measured)  # not where only inputs are kept
    far = f" The model can hardly learn from what is more than {counted(farthest, 'step')} back." if is_gone else ""
    return (
        "Each row is the loss of one step t, and each column a step k that its gradient has come back to. The colour is the "
        "norm of the gradient, from small (dark) to large (light). "
        f"{' '.join(told)}{far}",
        exhibits,
    )


def _reached(flow: GradientFlow) -> int | None:
    """Number of steps after which the remaining gradient is negligible, or None."""
    gone = np.flatnonzero(flow.decay < LITTLE)
    return int(gone[0]) if gone.size else None


def _reach(name: str, flow: GradientFlow) -> str:
    """The reach of gradients, in one or two sentences."""
    if not np.isfinite(flow.gamma):
        return f"At {name}, the norm of the whole gradient is between {flow.totals.min():.2g} and {flow.totals.max():.2g}."
    fit = f" (R² = {flow.r_squared:.2f})" if np.isfinite(flow.r_squared) else ""
    words = f"At {name}, each step back multiplies the gradient by γ = {flow.gamma:.3g} on average{fit}"
    reach = _reached(flow)
    if reach is not None:
        return f"{words}: {counted(reach, 'step')} back, less than {LITTLE:.0%} of it is left."
    last = len(flow.decay) - 1
    left = flow.decay[last]
    end = f"it is {left:.3g} times as large" if left > 1 else f"{left:.0%} of it is left"
    return f"{words}: all {counted(last, 'step')} back, {end}."


def _backward(made: ModelReport, task: Task) -> tuple[str, list[Exhibit]]:
    names = list(made.contributions)
    parameters, told = dict(made.model.named_parameters()), []
    for name, norms in made.contributions.items():
        k = int(norms.argmax())
        at = "" if task.steps is None else f", where it reads {task.steps[task.shown.start + k]!r}"
        share = norms[k] / norms.sum() if norms.sum() else 0.0
        letter = f"{symbol}, " if (symbol := parameters[name].symbol) else ""
        told.append(f"{letter}{name}, step {k + 1} adds the most, {share:.1%} of the sum of all norms{at}")
    given = f"{names}" if made.run is made.model else f"[dict(model.named_parameters())[name] for name in {names}]"
    code = f"explain.draw_backward_pass({made.called}, page.xs, page.targets, page.loss,\n    parameters={given}, steps=6)"
    said = "; of ".join(told)
    matrices = [parameters[name] for name in names]
    drawing = draw_backward_pass(made.run, made.xs, made.targets, made.loss, parameters=matrices, steps=6)
    return (
        "The unrolled model, with the gradient that flows back along each edge. Below each step is the norm of the part that "
        f"the step adds to the gradient of each matrix. {f'In the gradient of {said}.' if told else ''}",
        [Exhibit(code, drawing)],
    )


SECTIONS = (
    ("Equations", _equations),
    ("One step", _folded),
    ("Unrolled over time", _unrolled),
    ("Gate by gate", _step),
    ("States", _states),
    ("Gradient flow", _flow),
    ("Contributions", _backward),
)
