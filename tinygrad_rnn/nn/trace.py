"""Tracing: call a module once with symbolic tensors, and get its graph without arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import ShapeError, TinygradError, TraceError
from ..graph.node import Spec, leaf
from ..graph.place import mode
from ..tensor import Tensor
from .cell import Cell, flatten, rebuild
from .module import Module
from .recurrent import slot_names

__all__ = ["Step", "symbolic", "trace_step", "try_inputs"]

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
    """

    x: Any
    state: list[Tensor]
    output: Any
    after: list[Tensor]
    names: list[str]


def symbolic(spec: Spec, name: str | None = None, role: str | None = None) -> Tensor:
    """A tensor with a shape and a dtype, and no values."""
    return Tensor(leaf(spec, name, role))


def try_inputs(module: Module, run: Callable[[Any], Result]) -> Result:
    """Run with the element x_t of a sequence that the module takes, found without being told.

    The feature size is the module's `input_size`, or that of a module in it, or the first
    length among its parameters' shapes that fits; or else the elements are integer codes,
    or there is no input at all.

    Parameters
    ----------
    module : Module
    run : callable
        ``run(spec)``, which raises an error of the library's kind if the spec doesn't fit;
        the spec has no batch axis, and is None for no input.

    Raises
    ------
    ShapeError
        If nothing fits; the first attempt's error is told.
    TraceError
        If the values of a symbolic tensor are looked at.
    """
    first: TinygradError | None = None
    for spec in _candidates(module):
        try:
            return run(spec)
        except TraceError:
            raise
        except (TinygradError, AttributeError, TypeError) as error:
            first = first or (error if isinstance(error, TinygradError) else None)
    raise ShapeError(f"no input was found that {type(module).__name__} takes; give an example with inputs=… ({first})")


def _candidates(module: Module) -> Iterator[Spec | None]:
    sizes = [getattr(m, "input_size", None) for _, m in module.modules()]
    known = [n for n in sizes if isinstance(n, int)]
    lengths = [n for p in module.parameters() for n in p.shape]
    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float32))
    if not any(hasattr(m, "num_embeddings") for _, m in module.modules()):
        yield from (Spec((n,), dtype) for n in dict.fromkeys(known + lengths))
    yield Spec((), np.dtype(np.int64))
    yield from (Spec((n,), dtype) for n in dict.fromkeys(known + lengths))
    yield None


def trace_step(cell: Cell, batch_size: int = 1) -> Step:
    """Call a cell's step with symbolic tensors.

    Parameters
    ----------
    cell : Cell
    batch_size : int

    Raises
    ------
    ShapeError
        If no input was found that the cell takes.
    TraceError
        If the step looks at the values of its tensors.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> step = trace_step(nn.RNNCell(3, 5))
    >>> step.names, step.after[0].shape
    (['h'], (1, 5))
    """

    def run(spec: Spec | None) -> Step:
        with mode(tracing=True):
            x = None if spec is None else symbolic(Spec((batch_size, *spec.shape), spec.dtype), "x", "input")
            start = cell.initial_state(batch_size)
            slots = [symbolic(slot.node.spec, None, "initial") for slot in flatten(start)]
            output, after = cell(x, rebuild(start, iter(slots)))
        names = slot_names(after)
        new = flatten(after)
        if [n.shape for n in new] != [s.shape for s in slots]:
            raise ShapeError(f"the step makes a state of {[n.shape for n in new]} out of {[s.shape for s in slots]}")
        for slot, name in zip(slots, names, strict=True):
            slot.node.name = name
        return Step(x, slots, output, new, names)

    return try_inputs(cell, run)
