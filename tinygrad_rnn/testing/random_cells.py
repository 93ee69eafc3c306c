"""Random cells, each with all that a run needs; what breaks a way to run cells is found among them.

:func:`tinygrad_rnn.testing.strategies.cells` draws them with hypothesis, which shrinks what
fails; `random_cell` draws the cell of a seed, and needs no hypothesis.

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
from ..autodiff import grad
from ..graph.node import Spec
from ..nn.module_trace import Step, trace_step
from ..ops.core import as_tensor
from ..ops.domains import Choose
from ..tensor import Tensor, tensor
from ..tree import flatten, rebuild
from .builder import Builder
from .kinds import kinds_of
from .motifs import ACROSS, DELAYED, MOTIFS
from .programs import BATCH, Interpreted, Program, Structure, structures
from .slots import PATTERNS, Writer, draw_slots

__all__ = ["CellRun", "leaves", "outcome", "random_cell", "run"]

Array = npt.NDArray[Any]

CODES = 3


@dataclass(frozen=True, repr=False)
class CellRun:
    """A cell, and one way to run it.

    Attributes
    ----------
    cell : Cell
        Its `repr` is the step, an equation a line.
    T, batch_size : int
    state : structure of numpy.ndarray, or None
        What step 1 starts from; the cell's own initial state if None.
    force : dict of str to numpy.ndarray
        What some slots are replaced by; often empty.
    force_mask : numpy.ndarray or None
    lengths : numpy.ndarray or None
        Of each sequence of the batch, within 0 and T.
    reverse : bool
    cotangents : dict of str to numpy.ndarray
        Of the outputs, ``"output[0]"``, and the final states, ``"state[h1]"``, that are
        differentiated.
    kinds : frozenset of str
        Names of the motifs, kinds of slots, operations and options in it.
    seed : int
        Of the inputs.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> drawn = random_cell(RandomChoices(1))
    >>> isinstance(drawn.cell, nn.Cell) and isinstance(drawn.kinds, frozenset)
    True
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
    kinds: frozenset[str]
    seed: int

    @property
    def captured(self) -> dict[str, Array | Tensor]:
        """Values that the step uses and that are no parameters, by name."""
        return self.cell.captured

    def inputs(self, T: int | None = None) -> Any:
        """The input sequences: an array, a tuple of arrays, or None for a cell without an input.

        Parameters
        ----------
        T : int, optional
            Another length; a shorter sequence is the beginning of a longer one.
        """
        program = self.cell.program
        if program.inputs is None:
            return None
        steps = self.T if T is None else T
        found = []
        for i, name in enumerate(flatten(program.inputs)):
            rng = np.random.default_rng([self.seed, i])
            shape = (steps, self.batch_size, *program.shapes[name][1:])
            found.append(rng.integers(0, CODES, shape) if name.startswith("codes") else rng.uniform(-1, 1, shape))
        return rebuild(program.inputs, iter(found))

    def __repr__(self) -> str:
        lines = [str(self.cell.program)]
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


def random_cell(choose: Choose, lengths: bool = False) -> CellRun:
    """A cell and a run, as the choices say.

    Parameters
    ----------
    choose : Choose
        Such as ``RandomChoices(seed)``; :func:`tinygrad_rnn.testing.strategies.cells` lets
        hypothesis choose.
    lengths : bool
        Whether to draw lengths of the sequences, now and then.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> print(random_cell(RandomChoices(25)).cell)
    x (B, ...
    """
    b = Builder(choose)
    with_lengths = lengths and choose.flag()
    inputs = _inputs(b)
    pattern = choose.pick(PATTERNS)
    motifs = MOTIFS + (ACROSS if not with_lengths else ()) + (DELAYED if pattern == "line" else ())
    slots = draw_slots(b, pattern)
    state = choose.pick(list(structures([slot.name for slot in slots])))
    after = Writer(b, slots, pattern, motifs).after()
    b.allowed = frozenset(slot.name for slot in slots)
    output = _output(b, motifs, constants=not with_lengths)
    learnt = [b.rarely() for _ in range(4)]
    start = {slot.name: f"s{slot.name[1:]}" for slot, is_learnt in zip(slots, learnt, strict=False) if is_learnt}
    b.parameters |= {start[s.name]: b.rng.uniform(-1, 1, s.sample.shape[1:]) for s in slots if s.name in start}
    program = Program(inputs, state, b.tagged(), output, tuple(value.name for value in after), b.shapes)
    if not b.rarely():
        program = program.pruned()
        alive = program.reads(*flatten(output), *program.after) | set(start.values())
        b.parameters = {name: array for name, array in b.parameters.items() if name in alive}
        b.captured = {name: value for name, value in b.captured.items() if name in alive}
    return _run_of(b, Interpreted(program, b.parameters, b.captured, start), with_lengths)


def _inputs(b: Builder) -> Structure:
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


def _output(b: Builder, motifs: tuple[Any, ...], constants: bool) -> Structure:
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


def _run_of(b: Builder, cell: Interpreted, with_lengths: bool) -> CellRun:
    choose, rng, program = b.choose, b.rng, cell.program
    numbers = any(not isinstance(name, str) for name in flatten(program.output))  # without steps they have no shape
    T = choose.pick((1, 2, 3, 5, 2, 3, 5, 5 if numbers else 0))
    given = bool(program.slots) and choose.flag()
    batch_size = choose.integer(1, 3) if program.inputs is not None or given else 1
    shapes = {slot: (batch_size, *program.shapes[slot][1:]) for slot in program.slots}
    state = rebuild(program.state, iter([rng.uniform(-1, 1, shapes[slot]) for slot in program.slots])) if given else None
    force, mask = {}, None
    if program.slots and b.rarely():
        force = {slot: rng.uniform(-1, 1, (T, *shapes[slot])) for slot in _forceable(program) if choose.flag()}
        form = choose.pick(("everywhere", "by step", "by row")) if force else "everywhere"
        if form != "everywhere":
            mask = rng.random((T,) if form == "by step" else (T, batch_size)) < 0.5
    lengths = np.array([choose.integer(0, T) for _ in range(batch_size)]) if with_lengths else None
    options = {"T": T, "batch_size": batch_size, "state": state, "force": force, "force_mask": mask, "lengths": lengths}
    options |= {"reverse": b.rarely(), "seed": choose.integer(0, 99)}
    step = _traced(cell, batch_size)
    ends = {f"output[{i}]": (T, *leaf.shape) for i, leaf in enumerate(flatten(step.output)) if leaf.dtype.kind == "f"}
    ends |= {f"state[{slot}]": shapes[slot] for slot in program.slots}
    chosen = [name for name in ends if choose.flag()] or list(ends)[:1]
    cotangents = {name: rng.uniform(-1, 1, ends[name]) for name in chosen}
    kinds = kinds_of(cell, options, set(ends) - set(chosen), step)
    return CellRun(cell=cell, cotangents=cotangents, kinds=kinds, **options)


def _forceable(program: Program) -> list[str]:
    """Slots that have a name, of a named tuple or of the value that an equation makes."""
    made = {equation.name for equation in program.equations}
    if hasattr(program.state, "_fields"):
        return program.slots
    return [slot for slot, name in zip(program.slots, program.after, strict=True) if name in made]


def _traced(cell: Interpreted, batch_size: int) -> Step:
    program = cell.program
    specs = None
    if program.inputs is not None:
        names = flatten(program.inputs)
        dtypes = [np.dtype(np.int64 if name.startswith("codes") else np.float64) for name in names]
        rows = [tuple(batch_size if n == BATCH else n for n in program.shapes[name]) for name in names]
        specs = rebuild(program.inputs, iter([Spec(*pair) for pair in zip(rows, dtypes, strict=True)]))
    step = trace_step(cell, batch_size, specs)
    return step._replace(output=rebuild(step.output, map(as_tensor, flatten(step.output))))


def leaves(drawn: CellRun) -> dict[str, Tensor]:
    """All tensors that a run can be differentiated by: data, parameters and what is captured.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> "x" in leaves(random_cell(RandomChoices(25)))
    True
    """
    program = drawn.cell.program
    given: dict[str, Array] = {}
    if program.inputs is not None:
        given = dict(zip(flatten(program.inputs), flatten(drawn.inputs()), strict=True))
    if drawn.state is not None:
        given |= {f"initial {slot}": array for slot, array in zip(program.slots, flatten(drawn.state), strict=True)}
    given |= {f"force {slot}": array for slot, array in drawn.force.items()}
    found = {name: tensor(array) for name, array in given.items()}
    found |= dict(drawn.cell.named_parameters())
    found |= {name: value for name, value in drawn.captured.items() if isinstance(value, Tensor)}
    return found


def outcome(
    drawn: CellRun, values: Mapping[str, Tensor], mode: str = "unroll", final_state_only: bool = False, **options: Any
) -> dict[str, Tensor]:
    """Outputs and final states of a run with these values.

    Parameters
    ----------
    drawn : CellRun
    values : Mapping
        As :func:`leaves` returns them; parameters and captured tensors are the cell's own.
    mode : str
    final_state_only : bool
        Whether to leave the outputs out.
    **options
        Of :class:`tinygrad_rnn.nn.Recurrent`.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> drawn = random_cell(RandomChoices(25))
    >>> sorted(outcome(drawn, leaves(drawn)))
    ['output[0]'...]
    """
    program = drawn.cell.program
    xs = program.inputs and rebuild(program.inputs, iter([values[name] for name in flatten(program.inputs)]))
    state = None
    if drawn.state is not None:
        state = rebuild(program.state, iter([values[f"initial {slot}"] for slot in program.slots]))
    given: dict[str, Any] = {"steps": drawn.T} if xs is None else {}
    if drawn.force:
        given |= {"force": {slot: values[f"force {slot}"] for slot in drawn.force}, "force_mask": drawn.force_mask}
    if drawn.lengths is not None:
        given["lengths"] = drawn.lengths
    recurrent: Any = nn.Recurrent
    given["final_state_only"] = final_state_only
    outputs, final = recurrent(drawn.cell, mode=mode, reverse=drawn.reverse, **options)(xs, state, **given)
    found = {} if final_state_only else {f"output[{i}]": leaf for i, leaf in enumerate(flatten(outputs))}
    return found | {f"state[{slot}]": leaf for slot, leaf in zip(program.slots, flatten(final), strict=True)}


def run(drawn: CellRun, mode: str = "unroll", order: int = 1, **options: Any) -> dict[str, Array]:
    """All that a run comes to, by name: outputs, final states and gradients.

    Parameters
    ----------
    drawn : CellRun
    mode : str
        Of :class:`tinygrad_rnn.nn.Recurrent`.
    order : int
        0 is without gradients; 2 is with those of a random combination of the first ones
        too, by the cotangents as well.
    **options
        Of :func:`outcome`.

    Returns
    -------
    dict of str to numpy.ndarray
        ``"output[0]"``, ``"state[h1]"``, ``"grad x"``, ``"grad initial h1"``, ``"grad W1"``,
        ``"grad force h1"``, ``"grad grad x"``, ``"grad grad cotangent state[h1]"``.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> found = run(random_cell(RandomChoices(25)), order=2)
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
    """Gradients, zero also where every path is cut: a term of zero reaches everything."""
    if not by:
        return {}
    zeros = [(0.0 * value).sum() for value in by.values()]
    found = grad([*ends.values(), *zeros], list(by.values()), [*[cotangents[name] for name in ends], *[1.0] * len(zeros)])
    return dict(zip(by, found, strict=True))
