"""Where a NaN began: the first step and value in which it turned up."""

from __future__ import annotations

import numpy as np

from ..scan.compiled import CompiledScan
from ..scan.loop import Output
from .loop_run import Array, LoopRun
from .model_run import ModelRun, Part
from .offsets import run_with_offsets, with_offsets

__all__ = ["nan_began"]


def nan_began(run: ModelRun, part: Part, seeds: Array) -> str:
    """Words for the step and the value of a part in which the first NaN or inf turned up, forwards or in a gradient.

    Parameters
    ----------
    run : ModelRun
    part : Part
        Its gradients hold a NaN.
    seeds : ndarray, shape (1, *losses.shape)
        Cotangents of the losses.
    """
    values = {name: node for name, node in part.values.items() if node.dtype.kind == "f"}
    names, nodes = list(values), list(values.values())
    forwards = part.loop.asking(Output("stack", node) for node in nodes)
    recorded = LoopRun(CompiledScan(forwards), part.inputs, part.steps)
    first = len(part.loop.outputs)
    arrays = [recorded.outputs[first + i] for i in range(len(names))]
    if found := _first(names, arrays, part.loop.reverse):
        return f"{found} already in the forward pass, and the gradients are NaN because of it"
    offsets = range(len(part.loop.sequences), len(part.loop.sequences) + len(nodes))
    reverse = run_with_offsets(part, CompiledScan(with_offsets(part.loop, *nodes)))
    gradients = reverse.pull(run.outputs_of(part, seeds), offsets)
    there = [(name, g[0]) for name, g in zip(names, gradients, strict=True) if g is not None]
    found = _first([name for name, _ in there[::-1]], [g for _, g in there[::-1]], not part.loop.reverse)
    at = np.flatnonzero(seeds[0].reshape(len(run.losses), -1).any(axis=1))
    of = f"the loss at step t = {at[0] + 1}" if len(at) == 1 else "the whole loss"
    where = f"it began where the gradient of {found}" if found else "it began behind the recurrent part"
    return f"the gradient of {of} is NaN: {where}"


def _first(names: list[str], arrays: list[Array], backwards: bool) -> str | None:
    """The first value that is not finite at the first step where there is one, in words."""
    bad = np.array([~np.isfinite(x.reshape(len(x), -1)).all(axis=1) for x in arrays])  # (values, steps)
    steps = np.flatnonzero(bad.any(axis=0))
    if not len(steps):
        return None
    k = steps[-1] if backwards else steps[0]
    i = int(bad[:, k].argmax())
    flat = arrays[i][k].reshape(-1)
    return f"{names[i]} at step k = {k + 1} is {flat[~np.isfinite(flat)][0]}"
