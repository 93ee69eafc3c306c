"""A worked example: backpropagation through time with numbers, as a sheet that a student can check by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_int
from ..console import counted
from ..errors import NonFiniteError
from ..graph.node import ancestors
from ..tree import rebuild
from ..views.letters import Notation
from .bptt import Backward
from .by_hand import Array, ByHand, HandRun, Loss
from .forward import Forward
from .names import subscripted
from .plain_text import plain
from .system import of_cell
from .textbook import Form

__all__ = ["WorkedExample", "worked_example"]

LEAST, MOST = 4, 9
"""Default number of significant digits of a sheet."""
NEAR = 1e-3
"""Largest difference between the gradients of such a sheet and full precision, relative to the largest element."""

Lines = Iterator[tuple[str, Array]]


@dataclass(frozen=True, eq=False, repr=False)
class WorkedExample:
    """Backpropagation through time over a short sequence, with all its numbers.

    Each number is computed from printed numbers, and then rounded to the printed digits. So a
    student who computes the number from the sheet alone gets the same last digit.

    Attributes
    ----------
    title : str
    digits : int
        Number of significant digits.
    forward, backward : tuple of str
        The equations, each as a line of LaTeX.
    blocks : dict of str to dict of str to ndarray of int
        For parameters that the equations split, such as the stacked matrices of gates: the symbol of
        each part, and the positions of its elements in the parameter.
    parameters : dict of str to ndarray
    inputs : dict of str to ndarray, shape (T, …)
        Inputs x and targets y.
    start : dict of (str, int) to ndarray
        Values before the first step, such as ``("h", 0)``.
    values : dict of str to ndarray, shape (T, …)
        The named values of each step.
    losses : ndarray, shape (T,)
    deltas : dict of str to ndarray, shape (T, T, …)
        δ(t,k), the derivative of the loss of step t with respect to a named value of step k, at
        ``[t-1, k-1]``. NaN for k > t.
    totals : dict of str to ndarray, shape (T, …)
        δ_k, the sums of δ(t,k) over t.
    contributions : dict of str to ndarray, shape (T, …)
        The contribution of each step to the gradient of a parameter.
    gradients : dict of str to ndarray
        The gradients of the parameters: the sums of the contributions.
    error : float
        The largest difference of a gradient from full precision, relative to its largest element.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> sheet = worked_example(nn.RNNCell(1, 1), [[0.5], [1.0]], [[0.1], [0.2]], nn.mse, digits=4)
    >>> sheet
    <WorkedExample of RNNCell, 2 steps, 4 digits>
    >>> sheet.deltas["h"].shape, sheet.contributions["W"].shape
    ((2, 2, 1), (2, 1, 1))
    """

    title: str
    digits: int
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    blocks: Mapping[str, Mapping[str, Array]]
    parameters: Mapping[str, Array]
    inputs: Mapping[str, Array]
    start: Mapping[tuple[str, int], Array]
    values: Mapping[str, Array]
    losses: Array
    deltas: Mapping[str, Array]
    totals: Mapping[str, Array]
    contributions: Mapping[str, Array]
    gradients: Mapping[str, Array]
    error: float

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.losses)

    def __repr__(self) -> str:
        return f"<WorkedExample of {self.title}, {counted(self.steps, 'step')}, {self.digits} digits>"

    def __str__(self) -> str:
        return self.text()

    # -- as text, as LaTeX, as data --------------------------------------------------------

    def text(self) -> str:
        """The sheet as plain text; ``h[2]`` is h at step 2, ``δh[3,2]`` is the derivative of L[3] with respect to h[2]."""
        lines = [
            f"{self.title}, {counted(self.steps, 'step')}. Each number is computed from the printed numbers before it, and "
            f"rounded to {self.digits} significant digits (halves are rounded up).",
            *self._section("Given", (), self._given()),
            *self._section("Forward", self.forward, self._forward()),
            *self._section("Backward: δ[t,k] is the derivative of the loss of step t alone", self.backward, self._backward()),
            *self._section("Sums of δ[t,k] over t", (), self._totals()),
            *self._section("Gradients: the part of each step, and the sum", (), self._gradients()),
        ]
        return "\n".join(lines)

    def _section(self, title: str, formulas: tuple[str, ...], lines: Lines) -> Iterator[str]:
        yield from ("", title)
        yield from (f"  {plain(formula)}" for formula in formulas)
        yield from (f"  {plain(name)} = {_text(array, self.digits)}" for name, array in lines)

    def _given(self) -> Lines:
        for name, array in self.parameters.items():
            yield from self._parts(name, array)
        yield from ((f"{name}[{t}]", array) for (name, t), array in self.start.items())
        for t in range(self.steps):
            yield from ((f"{name}[{t + 1}]", array[t]) for name, array in self.inputs.items())

    def _forward(self) -> Lines:
        for t in range(self.steps):
            yield from ((f"{name}[{t + 1}]", array[t]) for name, array in self.values.items())
            yield f"L[{t + 1}]", self.losses[t]

    def _backward(self) -> Lines:
        for t in range(self.steps):
            for k in reversed(range(t + 1)):
                for name, array in reversed(list(self.deltas.items())):
                    if k == t or array[t, k].any():
                        yield f"δ{name}[{t + 1},{k + 1}]", array[t, k]

    def _totals(self) -> Lines:
        for k in range(self.steps):
            yield from ((f"δ{name}[{k + 1}]", array[k]) for name, array in reversed(list(self.totals.items())))

    def _gradients(self) -> Lines:
        for name, array in self.gradients.items():
            each = [list(self._parts(name, part)) for part in (*self.contributions[name], array)]
            for *steps, (symbol, total) in zip(*each, strict=True):
                yield from ((f"∂L/∂{symbol}[{k}]", part) for k, (_, part) in enumerate(steps, start=1))
                yield f"∂L/∂{symbol}", total

    def _parts(self, name: str, array: Array) -> Lines:
        """Array of a parameter, or arrays of its slices if the equations use these."""
        if name not in self.blocks:
            yield name, array
        for symbol, positions in self.blocks.get(name, {}).items():
            yield symbol, array.ravel()[positions]

    def _repr_latex_(self) -> str:
        def symbol(name: str) -> str:
            stem, _, index = name.removesuffix("]").partition("[")
            if stem.startswith("∂"):
                step = rf"\Big|_{{{index}}}" if index else ""
                return rf"\frac{{\partial L}}{{\partial {subscripted(stem.removeprefix('∂L/∂'))}}}{step}"
            if stem.startswith("δ"):
                return rf"\delta^{{{subscripted(stem[1:])}}}" + (f"({index})" if "," in index else f"_{{{index}}}")
            return subscripted(stem, index) if index else subscripted(stem)

        numbers = [*self._given(), *self._forward(), *self._backward(), *self._totals(), *self._gradients()]
        found = [*self.forward, *self.backward, *(f"{symbol(name)} &= {_latex(array, self.digits)}" for name, array in numbers)]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(found) + "\n\\end{aligned}$$"

    def to_dict(self) -> dict[str, Any]:
        """The sheet as plain data: numbers, lists and texts; δ(t,k) has the key ``"t,k"``."""
        T = self.steps
        return {
            "title": self.title,
            "digits": self.digits,
            "equations": {"forward": list(self.forward), "backward": list(self.backward)},
            "start": {f"{name}[{t}]": array.tolist() for (name, t), array in self.start.items()},
            "losses": self.losses.tolist(),
            "deltas": {
                name: {f"{t + 1},{k + 1}": array[t, k].tolist() for t in range(T) for k in range(t + 1)}
                for name, array in self.deltas.items()
            },
            **{
                key: {name: array.tolist() for name, array in getattr(self, key).items()}
                for key in ("parameters", "inputs", "values", "totals", "contributions", "gradients")
            },
            "error": self.error,
        }


def worked_example(
    model: Any, xs: Any, targets: Any, loss: Loss, digits: int | None = None, notation: Notation | None = None
) -> WorkedExample:
    r"""Compute backpropagation through time with numbers that a student can check by hand.

    Parameters
    ----------
    model : Module
        A cell, or an ``nn.Sequential`` of one ``nn.Recurrent(cell)`` and layers that work at each
        step, such as ``nn.Linear``.
    xs : array_like
        One short sequence: floats of shape (T, features) or (T, 1, features), or codes of shape (T,).
    targets : array_like
        One target for each step, in the same form as `xs`.
    loss : callable
        ``loss(o, y)`` gives the loss of one step, a number.
    digits : int, optional
        Number of significant digits, 2 to 9. If not given, the smallest number (at least 4) with which
        all gradients are within a thousandth of the gradients in full precision.
    notation : {"UW", "WU"}, optional
        Letters of the input matrix and of the recurrent matrix, in this order: ``U x + W h``, as in Goodfellow, Bengio and
        Courville (2016), or ``W x + U h``. The equations then have the order of the textbooks; see :func:`equations`.

    Returns
    -------
    WorkedExample
        The sheet. It prints as text, is shown as LaTeX in a notebook, and has all numbers as arrays.

    Raises
    ------
    TinygradError
        If the model is not a network with one cell.
    ShapeError
        If there is no step, or lengths differ.
    NonFiniteError
        If a value is NaN or inf.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> cell = nn.RNNCell(1, 1, bias=False)
    >>> cell.weight_ih.data, cell.weight_hh.data = [[0.5]], [[-1.0]]
    >>> print(worked_example(cell, [[1.0], [2.0]], [[0.5], [0.0]], nn.mse))
    RNNCell, 2 steps. Each number is computed from the printed numbers before it, and rounded to 4 significant digits
    (halves are rounded up).
    <BLANKLINE>
    Given
      U = [[0.5]]
      W = [[-1]]
      h[0] = [0]
      x[1] = [1]
      y[1] = [0.5]
      x[2] = [2]
      y[2] = [0]
    <BLANKLINE>
    Forward
      a_t = U x_t + W h_{t-1}
      h_t = tanh(a_t)
      a[1] = [0.5]
      h[1] = [0.4621]
      L[1] = 0.001436
      a[2] = [0.5379]
      h[2] = [0.4914]
      L[2] = 0.2415
    <BLANKLINE>
    Backward: δ[t,k] is the derivative of the loss of step t alone
      δh_t = ∂ℓ_t/∂h_t + Wᵀ δa_{t+1}
      δa_t = δh_t ⊙ (1 - h_t ⊙ h_t)
      ∂L/∂U = Σ_t δa_t x_tᵀ
      ∂L/∂W = Σ_t δa_t h_{t-1}ᵀ
      δh[1,1] = [-0.0758]
      δa[1,1] = [-0.05961]
      δh[2,2] = [0.9828]
      δa[2,2] = [0.7455]
      δh[2,1] = [-0.7455]
      δa[2,1] = [-0.5863]
    <BLANKLINE>
    Sums of δ[t,k] over t
      δh[1] = [-0.8213]
      δa[1] = [-0.6459]
      δh[2] = [0.9828]
      δa[2] = [0.7455]
    <BLANKLINE>
    Gradients: the part of each step, and the sum
      ∂L/∂U[1] = [[-0.6459]]
      ∂L/∂U[2] = [[1.491]]
      ∂L/∂U = [[0.8451]]
      ∂L/∂W[1] = [[0]]
      ∂L/∂W[2] = [[0.3445]]
      ∂L/∂W = [[0.3445]]
    """
    if digits is not None and check_int("digits", digits, 2) > MOST:
        raise ValueError(f"digits must be a whole number, at most {MOST}, not {digits}")
    hand = ByHand(model, xs, targets, loss, notation)
    hand.tell_parameters_from_values()
    given = {name: array for name, (_, array) in hand.given.items()}
    exact = hand.forward(hand.arrays(), given, hand.start())
    _check_finite(hand, exact)
    tables = hand.backward(exact, [1.0] * hand.T)
    right = {name: sum(table.get(node, np.zeros(node.shape)) for table in tables) for name, node in hand.parameters.items()}
    title = _title(model)
    formulas = _formulas(hand, xs, notation)
    for n in range(LEAST, MOST + 1) if digits is None else [digits]:
        found = _sheet(hand, given, n, right, title, formulas)
        if found.error <= NEAR:
            break
    return found


def _sheet(
    hand: ByHand,
    given: Mapping[str, Array],
    digits: int,
    right: Mapping[str, Any],
    title: str,
    formulas: _Formulas,
) -> WorkedExample:
    """The sheet with a given number of digits; `right` are the gradients in full precision."""
    rounded, T = rounding(digits), hand.T
    parameters = {name: rounded(array) for name, array in hand.arrays().items()}
    given = {name: rounded(array) if array.dtype.kind == "f" else array for name, array in given.items()}
    start = list(map(rounded, hand.start()))
    run = hand.forward(parameters, given, start, rounded)
    deltas = {name: np.full((T, T, *node.shape), np.nan) for name, node in hand.values.items() if node.dtype.kind == "f"}
    for t in range(T):
        tables = hand.backward(run, [float(s == t) for s in range(T)], rounded)
        for name, delta in deltas.items():
            for k in range(t + 1):
                delta[t, k] = tables[k].get(hand.values[name], 0.0)
    totals = {name: rounded(np.nansum(delta, axis=0)) for name, delta in deltas.items()}
    steps = [
        hand.pull(run, k, 0.0, {}, known={hand.values[name]: total[k] for name, total in totals.items()}) for k in range(T)
    ]
    contributions = {
        name: rounded(np.array([table.get(node, np.zeros(node.shape)) for table in steps]))
        for name, node in hand.parameters.items()
    }
    gradients = {name: rounded(parts.sum(0)) for name, parts in contributions.items()}
    error = max(float(np.abs(g - right[name]).max() / max(np.abs(right[name]).max(), 1e-300)) for name, g in gradients.items())
    each = {name: np.array([run[t][node].value for t in range(T)]) for name, node in hand.values.items()}
    return WorkedExample(
        title,
        digits,
        formulas.forward,
        formulas.backward,
        formulas.blocks,
        parameters,
        {name: _alone(array, 1) for name, array in given.items()},
        {hand.held[k]: _alone(array, 0) for k, array in enumerate(start)},
        {name: _alone(array, 1) for name, array in each.items()},
        np.array([float(run[t][hand.loss].value) for t in range(T)]),
        {name: _alone(array, 2) for name, array in deltas.items()},
        {name: _alone(array, 1) for name, array in totals.items()},
        contributions,
        gradients,
        error,
    )


def _alone(array: Array, axis: int) -> Array:
    """An array without the batch axis, for a single example."""
    return array.squeeze(axis) if array.ndim > axis and array.shape[axis] == 1 else array


class _Formulas(NamedTuple):
    """Equations of a network, with the parameter slices that occur in the equations.

    For each such parameter, `blocks` has the symbols of its parts and the positions of their elements.
    """

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    blocks: dict[str, dict[str, Array]]


def _formulas(hand: ByHand, xs: Any, notation: Notation | None) -> _Formulas:
    inputs = [array[0] for _, array in hand.given.values()][:-1]
    example = None if xs is None else rebuild(xs, iter(inputs)) if isinstance(xs, tuple) else inputs[0]
    paths = {parameter.node: path for path, parameter in hand.network.named_parameters()}
    found = Forward(of_cell(hand.network, example), Form(notation), paths=paths)
    names = {node: name for name, node in hand.parameters.items()}
    blocks: dict[str, dict[str, Array]] = {}
    for leaf, part in found.parts.items():
        (parameter,) = (node for node in ancestors([part]) if node in names)
        positions = np.arange(parameter.value.size).reshape(parameter.shape)
        known = {parameter: positions}
        for node in ancestors([part]):
            if node.primitive is not None:
                known[node] = np.asarray(node.primitive.kernel(*(known[i] for i in node.inputs), **node.attributes))
        blocks.setdefault(names[parameter], {})[found.symbols[leaf].at(0)] = known[part]
    return _Formulas(tuple(found.lines()), tuple(Backward(found).lines()), blocks)


def _title(model: Any) -> str:
    parts = list(model) if hasattr(model, "__iter__") else [model]
    return " → ".join(
        type(getattr(part, "cell", part)).__name__ if hasattr(part, "forward") else part.__name__ for part in parts
    )


def _check_finite(hand: ByHand, run: HandRun) -> None:
    """Raise if a value is NaN or inf.

    Raises
    ------
    NonFiniteError
        The message names the first step and value.
    """
    for t, now in enumerate(run, start=1):
        for name, node in {**hand.values, "L": hand.loss}.items():
            if not np.isfinite(now[node].value).all():
                raise NonFiniteError(f"{name} has NaN or inf at step {t}, {now[node].value}; give smaller weights or inputs")


# -- numbers ---------------------------------------------------------------------------------


def rounding(digits: int) -> Callable[[Array], Array]:
    """Round to significant digits as in a calculation by hand: halves are rounded away from zero.

    A binary number may be slightly below the half that it represents: 0.15625 · 2 ≈ 0.3125. So the last
    bits are ignored.

    Examples
    --------
    >>> rounding(2)(np.array([0.125, 0.1 + 0.2, -1234.0]))
    array([ 1.3e-01,  3.0e-01, -1.2e+03])
    """

    def one(value: float) -> float:
        known = Decimal(f"{value:.{digits + 5}e}")
        return float(known.quantize(Decimal(1).scaleb(known.adjusted() - digits + 1), ROUND_HALF_UP)) + 0.0 if value else 0.0

    return np.vectorize(one, otypes=[float])


def _text(array: Any, digits: int) -> str:
    """Numbers in brackets, in Python's syntax."""
    if np.ndim(array):
        return f"[{', '.join(_text(part, digits) for part in array)}]"
    return str(array) if np.asarray(array).dtype.kind in "iub" else f"{array:.{digits}g}"


def _latex(array: Any, digits: int) -> str:
    r"""A number, a column or a matrix, as LaTeX."""
    if np.ndim(array) == 0:
        mantissa, _, power = _text(array, digits).partition("e")
        return rf"{mantissa} \cdot 10^{{{int(power)}}}" if power else mantissa
    rows = [" & ".join(_latex(element, digits) for element in np.atleast_1d(row).ravel()) for row in array]
    return "\\begin{pmatrix} " + " \\\\ ".join(rows) + " \\end{pmatrix}"
