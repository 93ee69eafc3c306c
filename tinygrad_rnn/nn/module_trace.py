"""Tracing a module: one call with symbolic tensors gives its graph without arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import ShapeError, TinygradError, TraceError
from ..graph.context import mode
from ..graph.node import Spec, leaf
from ..ops.core import as_tensor
from ..tensor import Tensor
from ..tree import flatten, rebuild
from .call import slot_fields, slot_names
from .cell import Cell
from .module import Module

__all__ = ["OptionError", "Step", "symbolic", "trace_step", "try_inputs"]

Result = TypeVar("Result")


class Step(NamedTuple):
    """One traced step of a cell.

    Attributes
    ----------
    x : Tensor, nested tuples of Tensors, or None
    state : list of Tensor
        The slots, flat, named as `names`.
    output : Tensor or nested tuples of Tensors
    after : list of Tensor
        The next values of the slots.
    names : list of str
    fields : list of (str or None)
        The fields of named tuples that the slots stand in.
    """

    x: Any
    state: list[Tensor]
    output: Any
    after: list[Tensor]
    names: list[str]
    fields: list[str | None]


class OptionError(ShapeError):
    """An option of a trace, such as a loss or forced slots, does not fit a module whose input was found."""


def symbolic(spec: Spec, name: str | None = None, role: str | None = None) -> Tensor:
    """A tensor with a shape and a dtype, and without values."""
    return Tensor(leaf(spec, name, role))


def try_inputs(module: Module, run: Callable[[Spec | None], Result]) -> Result:
    """Call a function with the specs of inputs that a module may take, until one of them fits.

    These inputs are tried in order: elements with the feature size `input_size` of the module or of
    a module in it; elements whose feature size is a length among the parameters' shapes; integer
    codes; no input. If a module in it has `codes`, integer codes are tried first.

    Parameters
    ----------
    module : Module
    run : callable
        ``run(spec)``, which raises an error if the spec doesn't fit; the spec has no batch
        axis, and is None for no input.

    Raises
    ------
    ShapeError
        If no input fits; with the error of the first attempt.
    TraceError
        If the values of a symbolic tensor are looked at.
    Exception
        If no input fits, and the module's own code raised an error that is not of the
        library's kind, such as an AttributeError for a misspelt name.
    """
    first: TinygradError | None = None
    option: OptionError | None = None
    own: Exception | None = None
    for spec in _candidates(module):
        try:
            return run(spec)
        except TraceError:
            raise
        except OptionError as error:
            option = option or error
        except TinygradError as error:
            first = first or error
        except Exception as error:  # a mistake in the module, unless another input fits
            if spec is not None:  # without an input, an error may come from the None in place of a tensor
                own = own or error
            elif first is None and own is None:
                raise
    if option is not None:
        raise option
    advice = f"the inputs that were tried do not fit {type(module).__name__}; give an example of its input as inputs=…"
    if own is not None:
        if hasattr(own, "add_note"):  # from Python 3.11
            own.add_note(advice)
        raise own
    raise ShapeError(f"{first} ({advice})")


def _candidates(module: Module) -> Iterator[Spec | None]:
    sizes = [getattr(m, "input_size", None) for _, m in module.modules()]
    known = [n for n in sizes if isinstance(n, int)]
    lengths = [n for p in module.parameters() for n in p.shape]
    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float32))
    if not any(isinstance(m.codes, int) for _, m in module.modules()):
        yield from (Spec((n,), dtype) for n in dict.fromkeys(known + lengths))
    yield Spec((), np.dtype(np.int64))
    yield from (Spec((n,), dtype) for n in dict.fromkeys(known + lengths))
    yield None


def _example(inputs: Any, batch_size: int, name: str = "x") -> Any:
    """Symbolic tensors with the shapes and dtypes of an example, and another batch size."""
    if isinstance(inputs, tuple) and not isinstance(inputs, Spec):
        parts = [_example(part, batch_size, f"{name}_{i}") for i, part in enumerate(inputs, start=1)]
        return rebuild(inputs, iter(parts), depth=1)
    spec = inputs if isinstance(inputs, Spec) else as_tensor(inputs).node.spec
    if not spec.shape:
        raise ShapeError(
            "an example of an input must have shape (batch, features), or (batch,) for codes, and here is a single number"
        )
    name = getattr(inputs, "name", None) or name
    return symbolic(Spec((batch_size, *spec.shape[1:]), np.dtype(spec.dtype)), name, "input")


def trace_step(cell: Cell, batch_size: int = 1, inputs: Any = None) -> Step:
    """Trace one step of a cell with symbolic tensors.

    Parameters
    ----------
    cell : Cell
    batch_size : int
    inputs : array_like, Tensor, Spec, or nested tuples of them, optional
        An example of x_t, shape (batch, features). If not given, several shapes and dtypes are
        tried.

    Raises
    ------
    ShapeError
        If no input was found that fits, or the example does not fit.
    TraceError
        If the step looks at the values of its tensors.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> step = trace_step(nn.RNNCell(3, 5))
    >>> step.names, step.after[0].shape
    (['h'], (1, 5))
    """

    def run(spec: Any) -> Step:
        with mode(tracing=True):
            x = None if spec is None else _example(spec, batch_size, cell.input_name)
            start = cell.initial_state(batch_size)
            slots = [symbolic(slot.node.spec, None, "initial") for slot in flatten(start)]
            output, after = cell(x, rebuild(start, iter(slots)))
        names = slot_names(after)
        new = flatten(after)
        if [n.shape for n in new] != [s.shape for s in slots]:
            raise ShapeError(
                f"the step got a state of shapes {[s.shape for s in slots]} and returned {[n.shape for n in new]}; a "
                "state must "
                "keep its shapes"
            )
        for slot, name in zip(slots, names, strict=True):
            slot.node.name = name
        return Step(x, slots, output, new, names, [field for field, _ in slot_fields(after)])

    if inputs is not None:
        return run(inputs)
    return try_inputs(cell, lambda spec: run(spec and Spec((batch_size, *spec.shape), spec.dtype)))
