"""Random cells, each with all data of a run, which find faults in the ways to run cells.

:func:`tinygrad_rnn.testing.strategies.cells` draws cells with hypothesis, which shrinks a failing
cell. `random_cell` draws the cell of a seed, and does not need hypothesis.

>>> from tinygrad_rnn.testing.choices import RandomChoices
>>> for seed in range(3):
...     drawn = random_cell(RandomChoices(seed))
...     one, other = run(drawn, mode="unroll"), run(drawn, mode="scan")
...     assert all(np.allclose(one[name], other[name], rtol=1e-9) for name in one)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nn
from ..graph.node import Spec
from ..nn.module_trace import Step, trace_step
from ..ops.core import as_tensor
from ..tensor import Tensor, tensor
from ..tree import flatten, rebuild
from .cells.motifs import ACROSS, DELAYED, MOTIFS
from .cells.recipe import BATCH, Interpreted, Recipe, Structure, structures
from .cells.slots import PATTERNS, SlotWriter, draw_slots
from .cells.step_builder import StepBuilder
from .choices import RandomChoices
from .gradients.subject import grad_or_zero

__all__ = ["CellRun", "layer_of", "leaves", "outcome", "random_cell", "run"]

Array = npt.NDArray[Any]

CODES = 3


@dataclass(frozen=True, repr=False)
class CellRun:
    """A random cell with all data of a run: state, forcing, lengths and cotangents.

    Attributes
    ----------
    cell : Cell
        The cell; its `repr` is the step, with one equation per line.
    T, batch_size : int
    state : structure of numpy.ndarray, or None
        The state before step 1; if None, the cell's own initial state.
    force : dict of str to numpy.ndarray
        The data that replace some slots; often empty.
    force_mask : numpy.ndarray or None
    lengths : numpy.ndarray or None
        The length of each sequence of the batch, from 0 to T.
    reverse : bool
    cotangents : dict of str to numpy.ndarray
        Cotangents of the differentiated outputs, ``"output[0]"``, and final states,
        ``"state[h1]"``.
    seed : int
        Seed of the inputs.
    step : Step
        The traced step of the cell.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> drawn = random_cell(RandomChoices(5))
    >>> drawn.T, drawn.batch_size, sorted(drawn.cotangents)
    (3, 2, ['output[0]'])
    """

    cell: Interpreted
    T: int
    batch_size: int
    state: Any
    force: dict[str, Array]
    force_mask: Array | None
    lengths: Array | None
    reverse: bool
    cotangents: dict[str, Array]
    seed: int
    step: Step

    @property
    def captured(self) -> dict[str, Array | Tensor]:
        """Values that the step uses and that are not parameters, by name."""
        return self.cell.captured

    def inputs(self, T: int | None = None) -> Any:
        """The input sequences: an array, a tuple of arrays, or None for a cell without an input.

        Parameters
        ----------
        T : int, optional
            Another length. A shorter sequence is the beginning of the longer sequence.
        """
        recipe = self.cell.recipe
        if recipe.inputs is None:
            return None
        steps = self.T if T is None else T
        found = []
        for i, name in enumerate(flatten(recipe.inputs)):
            rng = np.random.default_rng([self.seed, i])
            shape = (steps, self.batch_size, *recipe.shapes[name][1:])
            found.append(rng.integers(0, CODES, shape) if name.startswith("codes") else rng.uniform(-1, 1, shape))
        return rebuild(recipe.inputs, iter(found))

    def __repr__(self) -> str:
        lines = [str(self.cell.recipe)]
        how = [f"T={self.T}", f"B={self.batch_size}", *["reverse"] * self.reverse]
        lines.append(f"run with {', '.join(how)}, from {'its own initial state' if self.state is None else 'a given state'}")
        lines += [f"{slot} starts from {name}" for slot, name in self.cell.start.items()]
        if self.force:
            where = "" if self.force_mask is None else f" where {self.force_mask.tolist()}"
            lines.append(f"{', '.join(self.force)} forced{where}")
        if self.lengths is not None:
            lines.append(f"lengths {self.lengths.tolist()}")
        for name, value in self.captured.items():
            lines.append(f"{name} is captured, {'a tensor' if isinstance(value, Tensor) else f'an array of {value.dtype}'}")
        lines.append(f"gradients from {', '.join(self.cotangents) or 'nothing'}")
        return "\n".join(lines)


# -- drawing -------------------------------------------------------------------------------


def random_cell(choose: RandomChoices, lengths: bool = False) -> CellRun:
    """Draw a cell and a run of the cell.

    Parameters
    ----------
    choose : RandomChoices
        The source of choices, such as ``RandomChoices(seed)``. In
        :func:`tinygrad_rnn.testing.strategies.cells`, hypothesis chooses.
    lengths : bool
        Whether some runs have different lengths of the sequences.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> print(random_cell(RandomChoices(5)).cell)
    x (B, 1), h1 (B, 1)
    a1 = sin(x)
    return h1, a1
    """
    b = StepBuilder(choose)
    with_lengths = lengths and choose.flag()
    inputs = _inputs(b)
    pattern = choose.pick(PATTERNS)
    motifs = MOTIFS + (ACROSS if not with_lengths else ()) + (DELAYED if pattern == "line" else ())
    slots = draw_slots(b, pattern)
    state = choose.pick(list(structures([slot.name for slot in slots])))
    after = SlotWriter(b, slots, pattern, motifs).after()
    b.allowed = frozenset(slot.name for slot in slots)
    output = _output(b, motifs, constants=not with_lengths)
    learnt = [b.rarely() for _ in range(4)]
    start = {slot.name: f"s{slot.name[1:]}" for slot, is_learnt in zip(slots, learnt, strict=False) if is_learnt}
    b.parameters |= {start[s.name]: b.rng.uniform(-1, 1, s.sample.shape[1:]) for s in slots if s.name in start}
    recipe = Recipe(inputs, state, b.tagged(), output, tuple(value.name for value in after), b.shapes)
    if not b.rarely():
        recipe = recipe.pruned()
        alive = recipe.reads(*flatten(output), *recipe.after) | set(start.values())
        b.parameters = {name: array for name, array in b.parameters.items() if name in alive}
        b.captured = {name: value for name, value in b.captured.items() if name in alive}
    return _run_of(b, Interpreted(recipe, b.parameters, b.captured, start), with_lengths)


def _inputs(b: StepBuilder) -> Structure:
    form = b.choose.pick(("x", "x", "x", "none", "codes", "x and codes", "two"))
    if form == "none":
        return None
    names = {"x": ["x"], "codes": ["codes"], "x and codes": ["x", "codes"], "two": ["x1", "x2"]}[form]
    for name in names:
        if name == "codes":
            b.add_codes(name, CODES)
        else:
            b.add_source(name, b.features())
    return names[0] if len(names) == 1 else tuple(names)


def _output(b: StepBuilder, motifs: tuple[Any, ...], constants: bool) -> Structure:
    b.some(motifs, 2)

    def one() -> Any:
        form = b.choose.pick(("last", "any", "any", "vector", "constant"))
        if form == "constant" and constants:
            return b.choose.pick((lambda: b.weight(b.features()).name, b.number, lambda: b.constant(np.arange(2)).name))()
        if form == "vector" or not b.pool:
            return b.vector().name
        return b.pool[-1].name if form == "last" else b.choose.pick(b.pool).name

    form = b.choose.pick(("one", "one", "two", "nested", "tuple of one"))
    if form == "one":
        return one()
    if form == "tuple of one":
        return (one(),)
    return (one(), one()) if form == "two" else (one(), (one(), one()))


# -- the run -------------------------------------------------------------------------------


def _run_of(b: StepBuilder, cell: Interpreted, with_lengths: bool) -> CellRun:
    choose, rng, recipe = b.choose, b.rng, cell.recipe
    numbers = any(not isinstance(name, str) for name in flatten(recipe.output))  # without steps, numbers have no shape
    T = choose.pick((1, 2, 3, 5, 2, 3, 5, 5 if numbers else 0))
    given = bool(recipe.slots) and choose.flag()
    batch_size = choose.integer(1, 3) if recipe.inputs is not None or given else 1
    shapes = {slot: (batch_size, *recipe.shapes[slot][1:]) for slot in recipe.slots}
    state = rebuild(recipe.state, iter([rng.uniform(-1, 1, shapes[slot]) for slot in recipe.slots])) if given else None
    force, mask = {}, None
    if recipe.slots and b.rarely():
        force = {slot: rng.uniform(-1, 1, (T, *shapes[slot])) for slot in _forceable(recipe) if choose.flag()}
        form = choose.pick(("everywhere", "by step", "by row")) if force else "everywhere"
        if form != "everywhere":
            mask = rng.random((T,) if form == "by step" else (T, batch_size)) < 0.5
    lengths = np.array([choose.integer(0, T) for _ in range(batch_size)]) if with_lengths else None
    options = {"T": T, "batch_size": batch_size, "state": state, "force": force, "force_mask": mask, "lengths": lengths}
    options |= {"reverse": b.rarely(), "seed": choose.integer(0, 99)}
    step = _traced_step(cell, batch_size)
    ends = {f"output[{i}]": (T, *leaf.shape) for i, leaf in enumerate(flatten(step.output)) if leaf.dtype.kind == "f"}
    ends |= {f"state[{slot}]": shapes[slot] for slot in recipe.slots}
    chosen = [name for name in ends if choose.flag()] or list(ends)[:1]
    cotangents = {name: rng.uniform(-1, 1, ends[name]) for name in chosen}
    return CellRun(cell=cell, cotangents=cotangents, step=step, **options)


def _forceable(recipe: Recipe) -> list[str]:
    """Slots with a name, which can be forced: a field of a named tuple, or the name of an equation's value."""
    made = {equation.name for equation in recipe.equations}
    if hasattr(recipe.state, "_fields"):
        return recipe.slots
    return [slot for slot, name in zip(recipe.slots, recipe.after, strict=True) if name in made]


def _traced_step(cell: Interpreted, batch_size: int) -> Step:
    """The traced step of a random cell, for inputs of its shapes and dtypes."""
    recipe = cell.recipe
    specs = None
    if recipe.inputs is not None:
        names = flatten(recipe.inputs)
        dtypes = [np.dtype(np.int64 if name.startswith("codes") else np.float64) for name in names]
        rows = [tuple(batch_size if n == BATCH else n for n in recipe.shapes[name]) for name in names]
        specs = rebuild(recipe.inputs, iter([Spec(*pair) for pair in zip(rows, dtypes, strict=True)]))
    step = trace_step(cell, batch_size, specs)
    return step._replace(output=rebuild(step.output, map(as_tensor, flatten(step.output))))


def leaves(drawn: CellRun) -> dict[str, Tensor]:
    """All tensors with respect to which a run can be differentiated: data, parameters and captured tensors, by name.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> "x" in leaves(random_cell(RandomChoices(5)))
    True
    """
    recipe = drawn.cell.recipe
    given: dict[str, Array] = {}
    if recipe.inputs is not None:
        given = dict(zip(flatten(recipe.inputs), flatten(drawn.inputs()), strict=True))
    if drawn.state is not None:
        given |= {f"initial {slot}": array for slot, array in zip(recipe.slots, flatten(drawn.state), strict=True)}
    given |= {f"force {slot}": array for slot, array in drawn.force.items()}
    found = {name: tensor(array) for name, array in given.items()}
    found |= dict(drawn.cell.named_parameters())
    found |= {name: value for name, value in drawn.captured.items() if isinstance(value, Tensor)}
    return found


def outcome(
    drawn: CellRun,
    values: Mapping[str, Tensor],
    mode: str | nn.Recurrent = "unroll",
    final_state_only: bool = False,
    **options: Any,
) -> dict[str, Tensor]:
    """Outputs and final states of a run with these values.

    Parameters
    ----------
    drawn : CellRun
    values : Mapping
        The values returned by :func:`leaves`; parameters and captured tensors are those of the cell.
    mode : str or Recurrent
        The way to run the cell, or the layer of an earlier run, which has traced the cell: see :func:`layer_of`.
    final_state_only : bool
        Whether to leave the outputs out.
    **options
        Options of :class:`tinygrad_rnn.nn.Recurrent`.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> drawn = random_cell(RandomChoices(5))
    >>> sorted(outcome(drawn, leaves(drawn)))
    ['output[0]'...]
    """
    recipe = drawn.cell.recipe
    xs = recipe.inputs and rebuild(recipe.inputs, iter([values[name] for name in flatten(recipe.inputs)]))
    state = None
    if drawn.state is not None:
        state = rebuild(recipe.state, iter([values[f"initial {slot}"] for slot in recipe.slots]))
    given: dict[str, Any] = {"steps": drawn.T} if xs is None else {}
    if drawn.force:
        given |= {"force": {slot: values[f"force {slot}"] for slot in drawn.force}, "force_mask": drawn.force_mask}
    if drawn.lengths is not None:
        given["lengths"] = drawn.lengths
    layer: Any = mode if isinstance(mode, nn.Recurrent) else layer_of(drawn, mode, **options)
    given["final_state_only"] = final_state_only
    outputs, final = layer(xs, state, **given)
    found = {} if final_state_only else {f"output[{i}]": leaf for i, leaf in enumerate(flatten(outputs))}
    return found | {f"state[{slot}]": leaf for slot, leaf in zip(recipe.slots, flatten(final), strict=True)}


def layer_of(drawn: CellRun, mode: str = "unroll", **options: Any) -> nn.Recurrent:
    """A layer that runs the steps, for several calls of :func:`outcome`; the first call traces the cell.

    Parameters
    ----------
    drawn : CellRun
    mode : str
    **options
        Of :class:`tinygrad_rnn.nn.Recurrent`.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> layer_of(random_cell(RandomChoices(5)), "scan").mode
    'scan'
    """
    recurrent: Any = nn.Recurrent
    return recurrent(drawn.cell, mode=mode, reverse=drawn.reverse, **options)


def run(drawn: CellRun, mode: str | nn.Recurrent = "unroll", order: int = 1, **options: Any) -> dict[str, Array]:
    """Outputs, final states and gradients of a run, by name.

    Parameters
    ----------
    drawn : CellRun
    mode : str or Recurrent
        As in :func:`outcome`.
    order : int
        0 gives no gradients. 2 also gives the gradients of a random combination of the first
        gradients, including those with respect to the cotangents.
    **options
        Options of :func:`outcome`.

    Returns
    -------
    dict of str to numpy.ndarray
        ``"output[0]"``, ``"state[h1]"``, ``"grad x"``, ``"grad initial h1"``, ``"grad W1"``,
        ``"grad force h1"``, ``"grad grad x"``, ``"grad grad cotangent state[h1]"``.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> found = run(random_cell(RandomChoices(5)), order=2)
    >>> "grad x" in found and "grad grad x" in found
    True
    """
    values = leaves(drawn)
    ends = outcome(drawn, values, mode, **options)
    found = {name: end.numpy() for name, end in ends.items()}
    floats = {name: value for name, value in values.items() if value.dtype.kind == "f"}
    cotangents = {name: tensor(array) for name, array in drawn.cotangents.items() if name in ends}
    if order > 0:
        first = _gradients({name: ends[name] for name in cotangents}, floats, cotangents)
        found |= {f"grad {name}": g.numpy() for name, g in first.items()}
    if order > 1:
        rng = np.random.default_rng(drawn.seed)
        along = {name: tensor(rng.uniform(-1, 1, g.shape)) for name, g in first.items()}
        floats |= {f"cotangent {name}": cotangent for name, cotangent in cotangents.items()}
        second = _gradients(first, floats, along)
        found |= {f"grad grad {name}": g.numpy() for name, g in second.items()}
    return found


def _gradients(ends: Mapping[str, Tensor], by: Mapping[str, Tensor], cotangents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not by:
        return {}
    found = grad_or_zero(list(ends.values()), list(by.values()), [cotangents[name] for name in ends])
    return dict(zip(by, found, strict=True))
