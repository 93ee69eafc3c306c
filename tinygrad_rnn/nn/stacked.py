"""RecurrentLayer, a cell in one layer or several, in one direction or both."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import is_int
from ..console import counted
from ..errors import ShapeError
from ..ops import TensorLike, concatenate, stack, swapaxes
from ..ops.core import as_tensor
from ..tensor import Parameter, Tensor
from ..tree import flatten, rebuild
from ..unrolling import as_input
from .call import cast
from .cell import Cell, State
from .layers import Dropout
from .module import Module
from .recurrent import Mode, Recurrent

__all__ = ["RecurrentLayer"]


class RecurrentLayer(Module):
    """Layers of a cell with PyTorch's arguments and parameter names; the base of RNN, LSTM and GRU.

    The parameters have PyTorch's names: the name in the cell, the layer's number and the
    direction. ``weight_hh_l0_reverse`` is ``weight_hh`` of the cell of ``l0_reverse``. So
    `state_dict` has PyTorch's keys, and `load_state_dict` accepts the state of a PyTorch layer.

    Parameters
    ----------
    cell : callable
        Makes a cell from (input_size, hidden_size). The outputs of the cell have `hidden_size`
        features, or `output_size` features if the cell has this attribute.
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    num_layers : int or sequence of int
        Number of layers, each of which reads the outputs of the layer below; or the hidden size
        of each layer, the last equal to `hidden_size`.
    batch_first : bool
        Whether inputs and outputs are (batch, time, features). It does not change states.
    dropout : float
        Probability that an element is dropped between two layers, while training.
    bidirectional : bool
        Whether each layer has a second cell that runs from the end to the start. The outputs
        of both cells are concatenated along the features.
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.
    checkpoint : int, optional
        Which values are kept for the gradient; see :class:`Recurrent`.
    backend : {"numpy", "native"}, optional
        The backend that runs the cells; see :class:`Recurrent`.
    threads : int, optional
        Number of threads of the native backend; see :class:`Recurrent`.
    **options
        Further arguments of each cell.

    Raises
    ------
    ValueError
        If there is no layer, or the sizes do not end in `hidden_size`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> layer = RecurrentLayer(nn.GRUCell, 3, 5, num_layers=2, bidirectional=True)
    >>> output, h_n = layer(np.zeros((7, 2, 3), "float32"))
    >>> output.shape, h_n.shape
    ((7, 2, 10), (4, 2, 5))
    >>> [name for name in layer.state_dict() if name.startswith("weight_hh")]
    ['weight_hh_l0', 'weight_hh_l0_reverse', 'weight_hh_l1', 'weight_hh_l1_reverse']
    """

    def __init__(
        self,
        cell: Callable[..., Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int | Sequence[int] = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        mode: Mode = "scan",
        checkpoint: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.sizes = _sizes(num_layers, hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers = len(self.sizes)
        self.batch_first, self.bidirectional = batch_first, bidirectional
        for k, size in enumerate(self.sizes):
            for reverse in (False, True)[: 1 + bidirectional]:
                made = cell(input_size, size, **options)
                layer = Recurrent(made, mode, reverse, checkpoint, backend, threads)
                setattr(self, f"l{k}" + "_reverse" * reverse, layer)
            input_size = getattr(made, "output_size", size) * (1 + bidirectional)
        self.dropout = Dropout(dropout)
        if dropout and self.num_layers == 1:
            warnings.warn(f"dropout={dropout} has no effect: it acts between layers, and num_layers is 1", stacklevel=3)

    def forward(self, xs: TensorLike, state: State | None = None, **options: Any) -> tuple[Any, State]:
        """Run the layers over a batch of sequences, or over a single one.

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), (batch, T, input_size) if `batch_first`, or (T, input_size)
        state : Tensor, shape (layers · directions, batch, hidden_size), or a tuple of them for an LSTM, optional
            The initial state of each cell, zeros if not given; without the batch axis for a
            single sequence. If layers differ in size, a tuple with a Tensor for each layer.
        **options
            Passed on to :class:`Recurrent`. ``lengths``, shape (batch,): how many steps of
            each sequence are real. ``final_state_only``: whether the outputs are not wanted.
            ``force``: with several cells, a slot's name ends in the name of its cell, such as
            ``{"h_l1": data}``; data always have time first, also with `batch_first`.

        Returns
        -------
        output : Tensor, shape as that of `xs`, with hidden_size · directions for input_size
            h of every step of the last layer.
        state : Tensor, or an LSTMState (h, c), shape as that of `state`
            The final state of each cell.

        Raises
        ------
        ShapeError
            If the input or the state has another shape than this layer needs.
        """
        return self._run(xs, state, options, None)

    def states(
        self, xs: TensorLike, state: State | None = None, names: Collection[str] | None = None, **options: Any
    ) -> dict[str, Tensor]:
        """All named values of the cells, at all steps: h, c and every gate.

        Parameters
        ----------
        xs, state
            As in a call.
        names : collection of str, optional
            Names of the wanted values of a cell, such as ``["c", "f"]``; see :meth:`Recurrent.states`.
        **options
            `lengths`, `force` and `force_mask`, as in a call.

        Returns
        -------
        dict of str to Tensor, shape as that of the output
            The values, by name, layer and direction: ``"c_l0"``, ``"f_l1_reverse"``. Gradients pass through them.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> found = nn.LSTM(3, 5, batch_first=True).states(np.zeros((2, 7, 3), "float32"))
        >>> list(found), found["c_l0"].shape
        (['i_l0', 'f_l0', 'g_l0', 'o_l0', 'c_l0', 'h_l0'], (2, 7, 5))
        """
        found: dict[str, Tensor] = {}
        self._within(self._run, xs, state, options, found, names)
        return found

    def cells(self) -> Iterator[tuple[str, Recurrent]]:
        """The recurrent parts by name: ``l0``, ``l0_reverse``, ``l1``, …"""
        return ((name, run) for name, run in self.children() if isinstance(run, Recurrent))

    def _run(
        self,
        xs: TensorLike,
        state: State | None,
        options: Mapping[str, Any],
        recorded: dict[str, Tensor] | None,
        names: Collection[str] | None = None,
    ) -> tuple[Any, State]:
        xs = as_input(xs)
        if xs.dtype.kind != "f" and (parameters := self.parameters()):
            xs = cast(xs, parameters[0].dtype, "iub")  # codes and counts: no reason to compute in float64
        alone = xs.ndim == 2
        axes = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
        if xs.ndim not in (2, 3) or xs.shape[-1] != self.input_size:
            raise ShapeError(
                f"the input has shape {xs.shape}, but must be {axes}, or (time, features) for a single sequence, "
                f"with {counted(self.input_size, 'feature')}"
            )
        turned = self.batch_first and not alone
        output: Any = xs[:, None] if alone else swapaxes(xs, 0, 1) if turned else xs

        def as_given(y: Tensor) -> Tensor:
            return y[:, 0] if alone else swapaxes(y, 0, 1) if turned else y

        states = self._split(state, output.shape[1], alone)
        final: list[State] = []
        for k in range(self.num_layers):
            below = self.dropout(output) if k else output
            outputs = []
            for name in (f"l{k}", f"l{k}_reverse")[: 1 + self.bidirectional]:
                run, own = getattr(self, name), self._own(name, options, k + 1 == self.num_layers)
                if recorded is None:
                    y, after = run(below, states.get(name), **own)
                else:
                    y, after, named = run.recorded(below, states.get(name), names, **own)
                    recorded |= {f"{value}_{name}": as_given(found) for value, found in named.items()}
                outputs.append(y)
                final.append(after)
            output = outputs[0] if len(outputs) == 1 else _side_by_side(outputs)
        return (as_given(output) if isinstance(output, Tensor) else output), self._joined(final, alone)

    def _own(self, name: str, options: Mapping[str, Any], last: bool) -> dict[str, Any]:
        """The options of a call for one of the cells."""
        own = dict(options)
        if not last:
            own.pop("final_state_only", None)
        if (force := own.get("force")) is not None and isinstance(force, Mapping):
            names = [other for other, _ in self.cells()]
            parts = {key: re.fullmatch(r"(.+)_(l\d+(?:_reverse)?)", key) for key in force}
            if len(names) == 1:  # with one cell, h may be given for h_l0
                parts = {key: part or re.fullmatch(r"(.+)()", key) for key, part in parts.items()}
            if unknown := [key for key, part in parts.items() if part is None or part[2] not in ("", *names)]:
                raise ShapeError(
                    f"force: {unknown[0]!r} names no cell; write h_{name}, and so on: the cells are {', '.join(names)}"
                )
            mine = {part[1]: force[key] for key, part in parts.items() if part is not None and part[2] in ("", name)}
            own["force"] = mine or None
            if not mine:
                own.pop("force_mask", None)
        return own

    # -- states: the cells' own, and all of them with an axis of layers and directions -----------

    def _split(self, state: State | None, batch_size: int, alone: bool) -> dict[str, State]:
        """The initial state of each cell, by its name."""
        if state is None:
            return {}
        runs = dict(self.cells())
        own = [run.cell.initial_state(batch_size) for run in runs.values()]
        shapes = [[slot.shape[1:] if alone else slot.shape for slot in flatten(part)] for part in own]
        needed = [self._over_cells(column, lambda same: (len(same), *same[0])) for column in zip(*shapes, strict=True)]
        given = [as_tensor(slot) for slot in flatten(state)]
        flat = [shape for slot in needed for shape in (slot if isinstance(slot[0], tuple) else [slot])]
        if [slot.shape for slot in given] != flat:
            raise ShapeError(
                f"the initial state has shape {rebuild(state, iter([slot.shape for slot in given]))}, but this layer and "
                f"batch need {rebuild(own[0], iter(needed))}"
            )
        tensors = iter(given)
        columns = []  # for each slot, one tensor per cell
        for slot in needed:
            parts = [next(tensors) for _ in (slot if isinstance(slot[0], tuple) else [slot])]
            columns.append([part[k][None] if alone else part[k] for part in parts for k in range(len(part))])
        return {name: rebuild(part, iter(slots)) for name, part, *slots in zip(runs, own, *columns, strict=True)}

    def _joined(self, final: list[State], alone: bool) -> State:
        """The states of all cells, joined along an axis of layers and directions."""
        columns = zip(*[[slot[0] if alone else slot for slot in flatten(state)] for state in final], strict=True)
        slots = [self._over_cells(column, _stacked, key=lambda slot: slot.shape) for column in columns]
        return rebuild(final[0], iter(slots))

    def _over_cells(
        self, column: Sequence[Any], join: Callable[[Sequence[Any]], Any], key: Callable[[Any], Any] = tuple
    ) -> Any:
        """One slot of all cells: joined if all shapes are equal, otherwise a tuple by layers."""
        if len(column) == 1 or len({key(one) for one in column}) == 1:
            return join(column)
        directions = 1 + self.bidirectional
        return tuple(join(column[k : k + directions]) for k in range(0, len(column), directions))

    # -- PyTorch's names for the parameters of the cells ---------------------------------------

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for path, parameter in super()._all_parameters():
            layer, inside, name = path.partition(".cell.")
            yield f"{name}_{layer}" if inside else path, parameter

    def _home(self, name: str) -> tuple[Cell, str] | None:
        """The cell that owns the parameter of a given name, and the parameter's name in the cell."""
        parts = re.fullmatch(r"(\w+)_(l\d+(?:_reverse)?)", name)
        run = parts and self.__dict__.get(parts[2])
        if parts and isinstance(run, Recurrent) and isinstance(getattr(run.cell, parts[1], None), Parameter):
            return run.cell, parts[1]
        return None

    def __getattr__(self, name: str) -> Any:
        home = self._home(name)
        return getattr(*home) if home else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        home = self._home(name)
        if not home:
            return super().__setattr__(name, value)
        setattr(*home, value)
        self._tell_paths()


def _sizes(num_layers: int | Sequence[int], hidden_size: int) -> tuple[int, ...]:
    """The hidden size of each layer."""
    if not np.iterable(num_layers):
        if not is_int(num_layers):
            raise ValueError(
                f"num_layers must be a whole number, at least 1, or a list of the sizes of the layers, not {num_layers!r}"
            )
        return (hidden_size,) * int(num_layers)
    sizes = list(num_layers)
    if not sizes or not all(map(is_int, sizes)) or sizes[-1] != hidden_size:
        raise ValueError(
            f"num_layers={sizes} must be sizes of layers, whole numbers of at least 1, and end with hidden_size={hidden_size}"
        )
    return tuple(sizes)


def _side_by_side(outputs: list[Any]) -> Any:
    """The outputs of two directions, concatenated along the features."""
    if any(output is None for output in outputs):
        return None
    columns = zip(*[flatten(output) for output in outputs], strict=True)
    return rebuild(outputs[0], iter([concatenate(column, axis=-1) for column in columns]))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else stack(parts)
