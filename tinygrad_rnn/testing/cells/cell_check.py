"""`check_cell`: are the gradients of a cell right, in all ways to run the cell over a sequence?

Needs hypothesis (the extra ``test``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ... import nn, random
from ...console import counted, preformatted
from ...errors import DataError, TinygradError
from ...graph.node import Spec
from ...nn.module_trace import trace_step
from ...ops.domains import BOOLEAN, Interval
from ...tensor import Parameter, Tensor, tensor
from ...tree import flatten, rebuild
from ..gradients.function_check import check_gradients
from ..gradients.verdicts import GradientCheckError, KinkError, Report, UndecidedError, order_in_words

__all__ = ["CellReport", "check_cell", "make_cell", "takes_sizes"]

Array = npt.NDArray[Any]
CellFactory = Callable[..., nn.Cell]

LONGEST = 6  # steps; a mistake in the recurrence shows after two steps
SIZES = (1, 2, 3, 2, 3, 4, 5, 7)
"""Sizes of input, hidden layer and batch: mostly small; equal sizes, which hide a wrong transpose, and different sizes."""


@dataclass
class CellReport:
    """The result of `check_cell`: the number of runs that were judged right, and the largest error.

    Attributes
    ----------
    name : str
        Name of the class or function that makes the cell.
    order : int
        The highest order of derivative that was checked.
    runs : int
        Number of runs over a sequence whose gradients were judged right.
    kinks : int
        Number of runs at points without a derivative, which cannot be judged.
    undecided : int
        Number of runs in which no oracle can separate some derivative from rounding.
    error : float
        The largest relative difference from a numeric gradient.
    parameters : list of str
    unreached : list of str
        Parameters on which no output and no final state depended in any run.
    """

    name: str
    order: int = 1
    runs: int = 0
    kinks: int = 0
    undecided: int = 0
    error: float = 0.0
    parameters: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reached = [name for name in self.parameters if name not in self.unreached]
        lines = [
            f"{self.name}: the gradients are right to {order_in_words(self.order)} "
            f"in {counted(self.runs, 'run')} of 0 to {LONGEST} steps, within {self.error:.0e}",
            "  checked in the inputs, the initial state" + (f", and {', '.join(reached)}" if reached else ""),
        ]
        if self.unreached:
            lines.append(f"  warning: nothing ever depended on {', '.join(self.unreached)}; does step use it?")
        if self.kinks:
            lines.append(f"  {counted(self.kinks, 'more run')} met a kink, where there is no derivative to be right or wrong")
        if self.undecided:
            lines.append(f"  {counted(self.undecided, 'more run')} undecided: no oracle sees some derivative beside rounding")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return preformatted(str(self))


class _Trial(NamedTuple):
    """A cell with weights, inputs, initial state and forcing: one run to judge."""

    cell: nn.Cell
    made: str
    weights: dict[str, Array]
    x: Array | None
    steps: int
    state: list[Array] | None
    force: dict[str, Array]
    mask: Array | None
    lengths: Array | None

    @property
    def arguments(self) -> dict[str, Array]:
        """Arrays with respect to which gradients may be taken: input, initial state and forcing data, by name."""
        named = {} if self.x is None else {"x": self.x}
        named |= {f"state[{i}]": array for i, array in enumerate(self.state or [])}
        return named | {f"force[{name!r}]": array for name, array in self.force.items()}

    def __str__(self) -> str:
        given = {"x": self.x, "lengths": self.lengths, "force_mask": self.mask} | self.arguments
        given |= {_called(p, path): self.weights[path] for path, p in self.cell.named_parameters()}
        lines = [
            f"{self.made}, {counted(self.steps, 'step')}",
            *(f"{k} = {_shown(v)}" for k, v in given.items() if v is not None),
        ]
        return "\n".join(f"    {line}" for line in lines)

    def check(self, order: int) -> Report:
        """Judge the gradients of outputs and final state with respect to the arguments and the cell's parameters."""
        recurrent = nn.Recurrent(self.cell)
        state, slots = self.state or [], list(self.force)

        def outputs(*values: Tensor) -> Any:
            rest = list(values)
            x = None if self.x is None else rest.pop(0)
            parts, data = rest[: len(state)], rest[len(state) :]
            start = rebuild(self.cell.initial_state(1), iter(parts)) if self.state is not None else None
            forced = dict(zip(slots, data, strict=True))
            return recurrent(x, start, steps=self.steps, lengths=self.lengths, force=forced or None, force_mask=self.mask)

        arguments = [tensor(array).named(name) for name, array in self.arguments.items()]
        floats = [i for i, argument in enumerate(arguments) if argument.dtype.kind == "f"]

        wrt = [*floats, *self.cell.parameters()]
        with _as_drawn(self.cell, self.weights):
            return check_gradients(outputs, *arguments, wrt=wrt, order=order)


def check_cell(
    factory: CellFactory, *, examples: int = 50, order: int = 1, input_size: int | None = None, hidden_size: int | None = None
) -> CellReport:
    """Check the gradients of your own cell, in runs over sequences that hypothesis draws.

    Hypothesis draws sizes, batch size, length (including 0, 1 and 2 steps, and rows of different
    lengths), inputs, initial states, weights, and forcing with a mask. In each run,
    :func:`check_gradients` judges the gradients of outputs and final state with respect to inputs,
    initial state, forcing data and parameters. A failing run is shrunk to a smallest failing run.

    Parameters
    ----------
    factory : callable
        The cell's class, called with (input_size, hidden_size); or a function without
        arguments that makes a cell.
    examples : int
        Number of runs.
    order : int
        2 also checks the gradient of the gradient.
    input_size, hidden_size : int, optional
        Fixed sizes; if not given, sizes are drawn. A factory without arguments chooses its own sizes.

    Returns
    -------
    CellReport
        The report; its text is the verdict.

    Raises
    ------
    GradientCheckError
        If a gradient is wrong, with its position, its error, and the smallest run that shows the error;
        or if the cell cannot be run, with the reason.
    KinkError, UndecidedError
        If most runs met a kink or are undecided, so that too few runs were judged.
    DataError
        If the factory does not make a cell.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> print(check_cell(nn.RNNCell, examples=5))
    RNNCell: the gradients are right to first order in ... runs of 0 to 6 steps, within ...
      checked in the inputs, the initial state, and U, W, b, b'
    """
    from hypothesis import Phase, Verbosity, given
    from hypothesis import strategies as st

    from ..strategies import repeatable

    report = CellReport(_name(factory), order)
    reached: set[str] = set()
    failed: list[_Trial] = []

    @repeatable(examples, phases=(Phase.generate, Phase.shrink), verbosity=Verbosity.quiet, report_multiple_bugs=False)
    @given(st.data())
    def judge(data: st.DataObject) -> None:
        run = _drawn(data.draw, factory, input_size, hidden_size)
        try:
            found = run.check(order)
        except KinkError:
            report.kinks += 1
            return
        except UndecidedError:
            report.undecided += 1
            return
        except GradientCheckError:
            failed.append(run)
            raise
        except Exception as error:
            failed.append(run)
            raise GradientCheckError(f"the cell cannot be run: {_said(error)}") from error
        report.runs += 1
        report.error = max(report.error, found.error)
        report.parameters = [_called(p, path) for path, p in run.cell.named_parameters()]
        if run.steps:
            zero = {name.split(" (")[0] for name in found.zero}
            reached.update(name for name in report.parameters if name not in zero)

    try:
        with _own_random_numbers():
            judge()
    except GradientCheckError as error:
        raise GradientCheckError(f"{error}\n  the smallest run that shows it:\n{failed[-1]}") from error.__cause__
    if report.runs <= report.undecided or not report.runs:
        verdict = KinkError if report.kinks > report.undecided else UndecidedError
        raise verdict(
            f"{report.name}: {report.runs} runs were right, {report.kinks} met a kink and {report.undecided} are undecided, "
            "too many to judge the gradients; make the values of the cell smoother, or closer to 1"
        )
    report.unreached = [name for name in report.parameters if name not in reached]
    return report


# -- drawing a run -------------------------------------------------------------------------


def _drawn(draw: Callable[[Any], Any], factory: CellFactory, input_size: int | None, hidden_size: int | None) -> _Trial:
    from hypothesis import strategies as st

    from ..strategies import arrays

    def some(shape: tuple[int, ...]) -> Array:
        return draw(arrays(shape=shape)) / 2  # states of networks are about 1, and not saturated

    sizes = [size or draw(st.sampled_from(SIZES)) for size in (input_size, hidden_size)] if takes_sizes(factory) else []
    steps = draw(st.sampled_from([2, 1, 3, 0, 2, 4, 3, LONGEST]))
    seed = draw(st.integers(0, 99))
    random.seed(seed)
    cell = make_cell(factory, *sizes)
    rng = np.random.default_rng(seed)
    weights = {  # moved a little, so that biases, which start at zero, are not zero
        path: array + rng.uniform(-0.25, 0.25, array.shape).astype(array.dtype) for path, array in cell.state_dict().items()
    }
    spec, names = _interface(cell, sizes[0] if sizes else input_size)
    batch = draw(st.sampled_from(SIZES)) if spec else 1
    x = None
    if spec and spec.dtype.kind == "f":
        x = some((steps, batch, *spec.shape))
    elif spec:
        codes = min([m.codes for _, m in cell.modules() if isinstance(m.codes, int)], default=2)
        x = draw(arrays(Interval(-1, codes, "int"), (steps, batch, *spec.shape)))

    def like(slot: Tensor, *leading: int) -> Array:
        """Draw values for a slot; a slot of integers or booleans, which has no gradient, keeps its initial values."""
        shape = (*leading, *slot.shape)
        return some(shape) if slot.dtype.kind == "f" else np.broadcast_to(slot.data, shape).copy()

    start = flatten(cell.initial_state(batch))
    state = [like(slot) for slot in start] if draw(st.booleans()) else None
    force, mask = {}, None
    if steps and draw(st.booleans()):
        force = {name: like(slot, steps) for name, slot in zip(names, start, strict=False)}
        mask = draw(arrays(BOOLEAN, (steps, batch))) if force else None
    lengths = draw(arrays(Interval(-1, steps + 1, "int"), (batch,))) if draw(st.sampled_from([False, False, True])) else None
    return _Trial(cell, f"{_name(factory)}({', '.join(map(str, sizes))})", weights, x, steps, state, force, mask, lengths)


def _interface(cell: nn.Cell, input_size: int | None) -> tuple[Spec | None, list[str]]:
    """Shape and dtype of a cell's input at one step, or None without an input, and the names of its slots."""
    try:
        step = trace_step(cell)
    except Exception:  # if this is a mistake of the cell, the run will report it
        size = input_size or getattr(cell, "input_size", None) or 1
        return Spec((size,), np.dtype(float)), []
    return None if step.x is None else Spec(step.x.shape[1:], step.x.dtype), step.names


# -- making a cell -------------------------------------------------------------------------


def takes_sizes(factory: CellFactory) -> bool:
    """Whether a factory is called with (input_size, hidden_size): a class if it accepts them, a function if it requires them.

    Examples
    --------
    >>> takes_sizes(nn.RNNCell), takes_sizes(lambda: nn.RNNCell(2, 3))
    (True, False)
    """
    with_sizes, without = _can_take(factory, 1, 1), _can_take(factory)
    return with_sizes and (isinstance(factory, type) or not without)


def _can_take(factory: CellFactory, *arguments: int) -> bool:
    try:
        inspect.signature(factory).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def make_cell(factory: CellFactory, *sizes: int) -> nn.Cell:
    """Call a factory to make a cell, with these sizes if the factory takes sizes.

    Parameters
    ----------
    factory : callable
    *sizes : int
        Input size and hidden size.

    Raises
    ------
    DataError
        If the factory can be called in neither way, fails, or does not return a cell.

    Examples
    --------
    >>> make_cell(nn.RNNCell, 2, 3).state_shape
    (3,)
    """
    name = _name(factory)
    if not takes_sizes(factory) and not _can_take(factory):
        raise DataError(
            f"{name} must take (input_size, hidden_size), or no arguments; give its other arguments defaults, or give a "
            "function without arguments that makes the cell"
        )
    try:
        cell = factory(*sizes) if takes_sizes(factory) else factory()
    except TinygradError:
        raise
    except Exception as error:
        raise DataError(f"{name} failed when it was called: {type(error).__name__}: {error}") from error
    if not isinstance(cell, nn.Cell):
        raise DataError(f"{name} must make a cell, not of type {type(cell).__name__}; derive the class from nn.Cell")
    return cell


@contextmanager
def _as_drawn(cell: nn.Cell, weights: dict[str, Array]) -> Iterator[None]:
    """Within the block, the cell has these weights and no dropout; restored later, since a factory may return it again."""
    before, training = cell.state_dict(), cell.training
    cell.load_state_dict(weights)
    cell.eval()
    try:
        yield
    finally:
        cell.load_state_dict(before)
        cell.train(training)


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Within the block, other random numbers are drawn; the library's generator is restored at the end."""
    before = random.generator()
    try:
        yield
    finally:
        random.use(before)


# -- words ---------------------------------------------------------------------------------


def _name(factory: CellFactory) -> str:
    return getattr(factory, "__name__", "the cell")


def _called(parameter: Parameter, path: str) -> str:
    return parameter.name or path


def _shown(array: Array) -> str:
    return np.array2string(array, separator=", ", precision=4, threshold=40).replace("\n", "")


def _said(error: Exception | None) -> str:
    if isinstance(error, TinygradError):
        return str(error)
    return f"{type(error).__name__}: {error}"
