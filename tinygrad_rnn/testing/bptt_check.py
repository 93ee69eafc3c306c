"""Check of a backward pass written by hand: which gradient is wrong, at which step, and which term is missing.

The right gradient is a sum over paths: from the loss of step t back to step k, one operation after another. A mistake
changes this sum: an operation has a wrong pullback, steps are left out, or a result is transposed. The check tries each
change. The diagnosis is the change that gives the student's own numbers. This module knows no cell.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..checks import no_such
from ..console import counted
from ..errors import ShapeError
from ..explain.by_hand import Array, ByHand, HandRun, Loss, StepNetwork, as_floats, one_example
from ..graph.node import Node, Spec
from ..nn.module_trace import trace_step
from ..ops import mse
from ..tree import flatten, rebuild
from ..views.letters import Notation
from .bptt_mistakes import Change, changes_of, weightings
from .gradients.verdicts import GradientCheckError

__all__ = ["BpttError", "BpttReport", "Mistake", "check_bptt"]

CLOSE = 1e-7
"""Largest difference of two equal gradients, relative to the largest element."""

Gradients = Mapping[str, Array]


class Mistake(NamedTuple):
    """A mistake that explains wrong gradients.

    Attributes
    ----------
    gradients : tuple of str
        The parameters whose gradients the mistake explains.
    words : str

    Examples
    --------
    >>> Mistake(("U", "W"), "W is transposed the wrong way").gradients
    ('U', 'W')
    """

    gradients: tuple[str, ...]
    words: str


class BpttError(GradientCheckError):
    """A backward pass is wrong; the message has the diagnosis.

    Attributes
    ----------
    mistakes : tuple of Mistake
        Mistakes that explain all wrong gradients except the gradients in `unexplained`.
    unexplained : tuple of str

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> try:
    ...     check_bptt(lambda p, xs, ys: {"U": 0 * p["U"], "W": 0 * p["W"]}, nn.RNNCell(2, 3, bias=False))
    ... except BpttError as error:
    ...     print(error.mistakes)
    (Mistake(gradients=('U', 'W'), words='it is zero'),)
    """

    def __init__(self, message: str, mistakes: Sequence[Mistake] = (), unexplained: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.mistakes, self.unexplained = tuple(mistakes), tuple(unexplained)


@dataclass(frozen=True)
class BpttReport:
    """The result of :func:`check_bptt` for a right backward pass.

    Attributes
    ----------
    gradients : tuple of str
        The parameters whose gradients were compared, and the values whose δ was compared.
    steps : int
    error : float
        The largest difference, relative to the largest element of a gradient.

    Examples
    --------
    >>> print(BpttReport(("U", "W"), steps=4, error=2e-16))
    the backward pass is right in U, W: 4 steps, within 2e-16
    """

    gradients: tuple[str, ...]
    steps: int
    error: float = field(compare=False)

    def __str__(self) -> str:
        names, steps = ", ".join(self.gradients), counted(self.steps, "step")
        return f"the backward pass is right in {names}: {steps}, within {self.error:.0e}"


def check_bptt(
    function: Callable[[dict[str, Array], Any, Array], Mapping[str, Any]],
    cell: Any,
    loss: Loss = mse,
    T: int | None = None,
    xs: Any = None,
    targets: Any = None,
    seed: int = 0,
    notation: Notation | None = None,
) -> BpttReport:
    """Check a backward pass through time that was written by hand in NumPy, and name its mistakes.

    Parameters
    ----------
    function : callable
        ``function(parameters, xs, targets) -> gradients``. `parameters` has an array for each
        symbol of the cell, such as ``parameters["W"]``; `xs` and `targets` are one sequence,
        (T, features), or (T,) for integer codes. The function returns a dict with the gradient
        of the sum of all losses with respect to each parameter. The dict may also have δ of
        named values, such as ``"h"``, shape (T, units). Then the check finds the first step, on
        the way back in time, at which δ is wrong.
    cell : Module
        A cell, or ``nn.Sequential`` with one ``nn.Recurrent(cell)`` among layers that work at
        each step, such as ``nn.Linear``. The initial state of the cell is a constant.
    loss : callable
        ``loss(o, y)`` gives the loss of one step, a number; o and y have the shape (1, features).
    T : int, optional
        Number of steps of a random sequence. If not given, 4, or another small number that differs from all sizes of the cell.
    xs, targets : array_like, optional
        One sequence and its targets; if not given, they are random.
    seed : int
        Seed of the random values.
    notation : {"UW", "WU"}, optional
        Letters of the input matrix and of the recurrent matrix, in this order, in `parameters` and in the result:
        ``U x + W h``, as in Goodfellow, Bengio and Courville (2016), or ``W x + U h``.

    Returns
    -------
    BpttReport

    Raises
    ------
    BpttError
        If a gradient is wrong or missing. The message names the mistakes that give the student's numbers.
    TinygradError
        If the model is not a network with one cell.
    ShapeError
        If there is no step, or if no fitting input or target was found.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> def backward(p, xs, ys):
    ...     h = [np.zeros(3)]
    ...     for x in xs:
    ...         h.append(np.tanh(p["U"] @ x + p["b"] + p["W"] @ h[-1] + p["b'"]))
    ...     dU, dW, db, dh_next = 0, 0, 0, 0
    ...     for t in reversed(range(len(xs))):
    ...         dh = 2 * (h[t + 1] - ys[t]) / 3 + dh_next
    ...         da = dh * (1 - h[t + 1] ** 2)
    ...         dU, dW, db = dU + np.outer(da, xs[t]), dW + np.outer(da, h[t + 1]), db + da
    ...         dh_next = p["W"].T @ da
    ...     return {"U": dU, "W": dW, "b": db, "b'": db}
    >>> check_bptt(backward, nn.RNNCell(2, 3))
    Traceback (most recent call last):
        ...
    tinygrad_rnn.testing.bptt_check.BpttError: the backward pass is wrong for W, and right for U, b, b'
      W: h_t is used instead of h_{t-1}
    """
    draws = _draws(function, cell, loss, T, xs, targets, seed, notation)
    names = list(draws[0].hand.parameters)
    _check_names(draws[0], names)
    deltas = [name for name in draws[0].student if name not in names]
    wrong = [name for name in names if not all(_alike(d.student[name], d.right[name]) for d in draws)]
    late = [words for name in deltas if (words := _first_wrong_step(draws, name)) is not None]
    if not wrong and not late:
        error = max(_error(d.student[name], d.right[name]) for d in draws for name in names)
        return BpttReport((*names, *(f"δ{name}" for name in deltas)), draws[0].hand.T, error)
    mistakes = _explained(draws, wrong)
    unexplained = [name for name in wrong if not any(name in mistake.gradients for mistake in mistakes)]
    right = [name for name in names if name not in wrong]
    lines = [
        f"the backward pass is wrong for {', '.join(wrong) or 'δ'}" + (f", and right for {', '.join(right)}" if right else "")
    ]
    lines += [f"{', '.join(mistake.gradients)}: {mistake.words}" for mistake in mistakes]
    lines += [_compared(draws[0], name) for name in unexplained]
    raise BpttError("\n  ".join([*lines, *late]), mistakes, unexplained)


# -- comparison ------------------------------------------------------------------------------


@dataclass
class Draw:
    """One run with random values: the right gradients, and the student's gradients.

    Attributes
    ----------
    hand : ByHand
    run : HandRun
    student : dict of str to ndarray
    """

    hand: ByHand
    run: HandRun
    student: dict[str, Array]

    @functools.cached_property
    def by_loss(self) -> list[list[dict[Node, Array]]]:
        """The cotangents of all nodes at each step, for the loss of each single step."""
        T = self.hand.T
        return [self.hand.backward(self.run, [float(s == t) for s in range(T)]) for t in range(T)]

    @functools.cached_property
    def right(self) -> dict[str, Array]:
        """The right gradients."""
        return self.summed(np.ones((self.hand.T, self.hand.T)))

    def summed(self, weights: Array) -> dict[str, Array]:
        """Σ over t and k of weights[t, k] times the part of each gradient from the loss of step t and the use at step k."""
        return {name: np.tensordot(weights, self.parts(node), 2) for name, node in self.hand.parameters.items()}

    def parts(self, node: Node) -> Array:
        """The cotangent of a node at step k from the loss of step t: shape (T, T, *node.shape)."""
        zeros = np.zeros(node.shape)
        return np.array([[table.get(node, zeros) for table in tables] for tables in self.by_loss])

    @functools.cached_property
    def tables(self) -> list[dict[Node, Array]]:
        """The cotangents of all nodes at each step."""
        return self.hand.backward(self.run, [1.0] * self.hand.T)

    def changed(self, change: Change, carries: bool = True, adds: bool = True) -> dict[str, Array]:
        """Gradients with a changed operation: in the gradient carried to the step before, in the sum, or in both."""
        hand, found = self.hand, {name: np.zeros(node.shape) for name, node in self.hand.parameters.items()}
        carried: dict[int, Array] = {}
        for t in reversed(range(hand.T)):
            carried = {k: g for k, g in carried.items() if k not in change.slots}
            table = other = hand.pull(self.run, t, 1.0, carried, pulled=functools.partial(change.pulled, hand))
            if not adds:
                table = hand.pull(self.run, t, 1.0, carried)
            for name, node in hand.parameters.items():
                found[name] = found[name] + table.get(node, 0)
            carried = hand.carried(other if carries else self.tables[t])
        return found


def _draws(
    function: Any, cell: Any, loss: Loss, T: int | None, xs: Any, targets: Any, seed: int, notation: Notation | None = None
) -> list[Draw]:
    """Two runs of one sequence, with random parameters; the sequence is also random if none is given."""
    by_hand = functools.partial(ByHand, cell, loss=loss, notation=notation)
    hand = _hand(by_hand, StepNetwork(cell), T, xs, targets, np.random.default_rng([seed, 0]))
    given = {name: array for name, (_, array) in hand.given.items()}
    *inputs, target = [array[:, 0] for array in given.values()]
    x = None if not inputs else inputs[0] if len(inputs) == 1 else tuple(inputs)
    found = []
    for k in (1, 2):
        rng = np.random.default_rng([seed, k])
        parameters = {name: 0.7 * rng.standard_normal(array.shape) for name, array in hand.arrays().items()}
        run = hand.forward(parameters, given, hand.start())
        said = function(_Parameters(copy.deepcopy(parameters)), *copy.deepcopy((x, target)))
        if not isinstance(said, Mapping):
            raise BpttError(
                f"the backward pass must return a dict from symbols to gradients, not of type {type(said).__name__}"
            )
        found.append(Draw(hand, run, {name: np.asarray(g, float) for name, g in said.items()}))
    return found


class _Parameters(dict[str, Array]):
    """The parameters that a student's function reads; the error for a wrong name lists all names."""

    def __missing__(self, name: object) -> Array:
        raise BpttError(no_such("parameter", name, self))


def _hand(
    by_hand: Callable[..., ByHand], network: StepNetwork, T: int | None, xs: Any, targets: Any, rng: np.random.Generator
) -> ByHand:
    """A network over a sequence, which is random if none is given."""
    if T is not None and T < 1:
        raise ShapeError(f"T must be a whole number, at least 1, not {T}")
    example = None
    if xs is not None:
        looks_up = any(isinstance(m.codes, int) for _, m in network.modules())
        sequences = [one_example(part if looks_up else as_floats(part)) for part in flatten(xs)]
        steps = len(sequences[0])
        example = rebuild(xs, iter([part[0] for part in sequences])) if steps else None
    else:
        sizes = {n for p in network.parameters() for n in p.shape}
        steps = T or next(n for n in itertools.count(4) if n not in sizes)
    step = trace_step(network, 1, example)
    if xs is None and step.x is not None:
        codes = min((m.codes for _, m in network.modules() if isinstance(m.codes, int)), default=2)
        xs = rebuild(step.x, iter([_drawn(part.node.spec, steps, codes, rng) for part in flatten(step.x)]))
    if targets is not None:
        return by_hand(xs, targets)
    shape = flatten(step.output)[0].shape
    try:
        found = by_hand(xs, rng.integers(0, shape[-1], (steps, 1)))
        if found.reads_target:
            return found
    except (TypeError, ValueError):
        pass
    try:
        return by_hand(xs, rng.standard_normal((steps, *shape)))
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"the loss fails for all targets that were tried; give targets=…. The last error was: {error}"
        ) from error


def _drawn(spec: Spec, steps: int, codes: int, rng: np.random.Generator) -> Array:
    shape = (steps, *spec.shape)
    return rng.standard_normal(shape) if spec.dtype.kind == "f" else rng.integers(0, codes, shape)


def _check_names(draw: Draw, names: Sequence[str]) -> None:
    """Raise if a gradient is missing, or has an unknown name.

    Raises
    ------
    BpttError
        If a gradient is missing or has an unknown name.
    """
    hand, said = draw.hand, ", ".join(draw.student) or "none"
    if missing := [name for name in names if name not in draw.student]:
        raise BpttError(f"the gradient of {', '.join(missing)} is missing: the backward pass returned {said}")
    if unknown := [name for name in draw.student if name not in {**hand.parameters, **hand.values}]:
        raise BpttError(no_such("gradient", unknown[0], [*names, *hand.values]))


def _alike(a: Array, b: Array) -> bool:
    """Whether two gradients are equal, up to axes of length 1."""
    if a.shape != b.shape and np.squeeze(a).shape != np.squeeze(b).shape:
        return False
    return _error(a, b) <= CLOSE


def _error(a: Array, b: Array) -> float:
    return float(np.abs(a.reshape(b.shape) - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-12))


def _first_wrong_step(draws: Sequence[Draw], name: str) -> str | None:
    """The first wrong δ of the student on the way back in time, in words."""
    for draw in draws:
        node = draw.hand.values[name]
        right = draw.parts(node).sum(0)
        said = draw.student[name]
        T = draw.hand.T
        if said.size != right.size:
            return f"δ{name} has shape {said.shape}, but must be (T, units) = {(T, *node.shape[1:])}"
        off = [t for t in range(T) if not _alike(said.reshape(right.shape)[t], right[t])]
        if off:
            good = "" if off[-1] == T - 1 else f", and right at {'step' if off[-1] == T - 2 else 'steps'} {off[-1] + 2}"
            good += f" to {T}" if off[-1] < T - 2 else ""
            return f"going back in time, δ{name} is first wrong at step {off[-1] + 1}{good}"
    return None


def _compared(draw: Draw, name: str) -> str:
    """Text about a wrong gradient that no mistake explains."""
    said, right = draw.student[name], draw.right[name]
    if np.squeeze(said).shape != np.squeeze(right).shape:
        return f"{name}: the gradient has shape {said.shape}, but the parameter has {right.shape}"
    said = said.reshape(right.shape)
    at = np.unravel_index(int(np.abs(said - right).argmax()), right.shape)
    where = f"[{', '.join(map(str, at))}]"
    return (
        f"{name}: no single known mistake explains these numbers; the gradient at {where} is {said[at]:.6g}, but must be "
        f"{right[at]:.6g}"
    )


# -- explanation -----------------------------------------------------------------------------


class Hypothesis(NamedTuple):
    """A mistake that may explain wrong gradients.

    Attributes
    ----------
    words : str
    predict : callable
        Maps a run to the gradients that the mistake gives.
    alone : bool
        Whether the mistake affects a single gradient, which may be any gradient.
    """

    words: str
    predict: Callable[[Draw], Gradients]
    alone: bool = False


def _explained(draws: Sequence[Draw], wrong: Sequence[str]) -> list[Mistake]:
    """Mistakes that explain the wrong gradients: one mistake for all of them, otherwise as few mistakes as possible."""
    if not wrong:
        return []
    right = [name for name in draws[0].hand.parameters if name not in wrong]
    candidates: list[tuple[set[str], bool, str]] = []
    scales = {name: words for name in wrong if (words := _scale(draws, name))}
    if len(scales) == len(wrong) and len(set(scales.values())) == 1:
        return [Mistake(tuple(wrong), scales[wrong[0]])]
    for hypothesis in _hypotheses(draws[0].hand):
        found, fits = set(wrong), True
        for draw in draws:
            if found:
                predicted = hypothesis.predict(draw)
                found = {name for name in found if _alike(draw.student[name], predicted[name])}
                fits = fits and (hypothesis.alone or all(_alike(draw.student[name], predicted[name]) for name in right))
        if found:
            candidates.append((found, fits, hypothesis.words))
        if fits and len(found) == len(wrong):
            break
    candidates += [({name}, True, words) for name, words in scales.items()]
    mistakes: dict[str, set[str]] = {}
    rest = set(wrong)
    while rest and candidates:
        found, _, words = max(candidates, key=lambda candidate: (len(candidate[0] & rest), candidate[1]))
        if not found & rest:
            break
        mistakes.setdefault(words, set()).update(found & rest)
        rest -= found
    return [Mistake(tuple(name for name in wrong if name in found), words) for words, found in mistakes.items()]


def _scale(draws: Sequence[Draw], name: str) -> str | None:
    """The factor by which a gradient is wrong, in words; None if the gradient is not a multiple of the right one."""
    factors = []
    for draw in draws:
        said, right = draw.student[name], draw.right[name]
        if said.size != right.size:
            return None
        factors.append(float((said.ravel() @ right.ravel()) / max((right**2).sum(), 1e-300)))
        if not _alike(said, factors[-1] * right):
            return None
    factor, T = factors[0], draws[0].hand.T
    if abs(factors[1] - factor) > CLOSE * abs(factor):
        return None
    if abs(factor + 1) < CLOSE:
        return "the sign is wrong"
    if abs(factor * T - 1) < CLOSE:
        return f"it is the mean over the {T} steps, but must be the sum over them"
    return f"it is {factor:.6g} times the right gradient" if factor else "it is zero"


def _hypotheses(hand: ByHand) -> Iterator[Hypothesis]:
    """All mistakes to try, the simplest first."""
    for weights in weightings(hand.T):
        yield Hypothesis(weights.words, functools.partial(Draw.summed, weights=weights.table))
    yield from _turned()
    changes = list(changes_of(hand))
    for change in changes:
        yield Hypothesis(change.words, functools.partial(Draw.changed, change=change))
    for change in changes:
        if change.node is not None:
            words = f"{change.words}, in the δ that is carried to the step before"
            yield Hypothesis(words, functools.partial(Draw.changed, change=change, adds=False))
            yield Hypothesis(change.words, functools.partial(Draw.changed, change=change, carries=False), alone=True)


def _turned() -> Iterator[Hypothesis]:
    """Results that are transposed, or summed over another axis than time."""
    yield Hypothesis("it is transposed", lambda draw: {name: g.T for name, g in draw.right.items()}, alone=True)
    yield Hypothesis("it is summed over the wrong axis: over the units, not over the steps", _over_units, alone=True)


def _over_units(draw: Draw) -> Gradients:
    parts = {name: draw.parts(node).sum(0) for name, node in draw.hand.parameters.items()}
    return {name: part.sum(-1) if part.ndim == 2 else part.sum((0, -1)) for name, part in parts.items()}
