"""The first step and value with a NaN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import GradientError
from ..scan.compiled import CompiledScan
from ..scan.loop import Output
from .loop_run import Array, LoopRun
from .model_run import ModelRun, RecurrentPart
from .offsets import run_with_offsets, with_offsets

__all__ = ["nan_began"]


def nan_began(run: ModelRun, seeds: Array) -> str:
    """Step and value where the first NaN or inf appeared, forwards or in a gradient, in words.

    Parameters
    ----------
    run : ModelRun
        A run whose gradients contain a NaN.
    seeds : ndarray, shape (1, *losses.shape)
        Cotangents of the losses.
    """
    for found in _in_the_forward_pass(run):
        return f"the gradients are NaN because {found} already in the forward pass"
    where = next(
        (f"it began where the gradient of {found}" for found in _in_gradients(run, seeds)),
        "it began outside of the recurrent parts",
    )
    at = np.flatnonzero(seeds[0].reshape(len(run.losses), -1).any(axis=1))
    of = f"the loss at step t = {at[0] + 1}" if len(at) == 1 else "the whole loss"
    return f"the gradient of {of} is NaN: {where}"


def _in_the_forward_pass(run: ModelRun) -> Iterator[str]:
    """The first values that are not finite, for each recurrent part."""
    for part in run.parts:
        names, nodes = part.floats()
        plan = CompiledScan(part.loop.asking(Output("stack", node) for node in nodes))
        outputs = LoopRun(plan, part.inputs, part.steps).outputs
        first = len(part.loop.outputs)
        yield from _first(part, names, [outputs[first + i] for i in range(len(names))], part.loop.reverse)


def _in_gradients(run: ModelRun, seeds: Array) -> Iterator[str]:
    """The first values with gradients that are not finite, for each recurrent part, backwards from the losses."""
    for part in run.parts[::-1]:
        names, nodes = part.floats()
        offsets = range(len(part.loop.sequences), len(part.loop.sequences) + len(nodes))
        reverse = run_with_offsets(part, CompiledScan(with_offsets(part.loop, *nodes)))
        try:
            gradients = reverse.pull(run.outputs_of(part, seeds), offsets)
        except GradientError:  # the losses do not depend on this part
            continue
        there = [(name, g[0]) for name, g in zip(names, gradients, strict=True) if g is not None][::-1]
        yield from _first(part, [name for name, _ in there], [g for _, g in there], not part.loop.reverse)


def _first(part: RecurrentPart, names: list[str], arrays: list[Array], backwards: bool) -> Iterator[str]:
    """The first value that is not finite, at the first step that has one, in words."""
    bad = np.array([~np.isfinite(x.reshape(len(x), -1)).all(axis=1) for x in arrays])  # (values, steps)
    steps = np.flatnonzero(bad.any(axis=0)) if len(bad) else bad
    if len(steps):
        k = steps[-1] if backwards else steps[0]
        i = int(bad[:, k].argmax())
        flat = arrays[i][k].reshape(-1)
        name = f"{names[i]}_{part.label}" if part.label else names[i]
        yield f"{name} at step k = {k + 1} is {flat[~np.isfinite(flat)][0]}"
