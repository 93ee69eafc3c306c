"""The gradient of a parameter, split by the step that uses the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checks import check_int, no_such
from ..console import joined
from ..errors import GradientError, NonFiniteError, ShapeError
from ..graph.node import Node
from ..nn.module import Module
from ..scan.loop import Loop
from ..scan.work import size_of
from ..tensor import Parameter, Tensor, tensor
from .first_nan import nan_began
from .loop_run import Array, Ask, LoopRun, derived
from .model_run import Loss, Model, ModelRun, RecurrentPart, run_model
from .offsets import norm

__all__ = ["gradient_by_step"]


def gradient_by_step(
    model: Model,
    xs: Any,
    targets: Any,
    loss: Loss,
    W: Parameter | str,
    *,
    norms: bool = False,
    max_bytes: int = 1 << 28,
) -> Array:
    """Gradient of the total loss with respect to a parameter, split by the step that uses the parameter.

    ∂L/∂W = Σ_k ∂L/∂W^(k), where W^(k) is the copy of W that step k reads. ``W.grad`` has only the sum of these terms.

    Parameters
    ----------
    model, xs, targets, loss
        As for :func:`gradient_flow`.
    W : Parameter or str
        A parameter of the model, or its name. A layer outside the recurrent parts, such as a readout, uses its parameter
        at step k to compute the output of step k.
    norms : bool
        Whether only the norm of each contribution is computed, which saves memory for a large W.
    max_bytes : int
        Largest memory of the contributions, in bytes.

    Returns
    -------
    ndarray, shape (T, …) with the shape of W, or (T,) of norms
        The contributions of the steps. For an encoder, T is the number of steps of the encoder.

    Raises
    ------
    ShapeError
        If the model has no parameter of that name (the message lists the names); if the loss is not one number for each
        step; if T is 0; if runs of different lengths use the parameter.
    GradientError
        If no loss depends on the parameter.
    NonFiniteError
        If a contribution is NaN. The message names the step and the value in which the first NaN appeared.
    ValueError
        If the contributions take more than `max_bytes`.

    References
    ----------
    Werbos, "Backpropagation through time: what it does and how to do it", 1990. Goodfellow, Bengio and Courville, *Deep
    Learning*, 2016, section 10.2.2, for the copies W^(k).

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> model = nn.Sequential(nn.LSTM(3, 5, dtype=np.float64), nn.Linear(5, 1, dtype=np.float64))
    >>> xs = np.ones((7, 2, 3))
    >>> loss = lambda outputs, _: (outputs**2).sum(axis=-1)
    >>> W = model[0].weight_hh_l0
    >>> parts = explain.gradient_by_step(model, xs, None, loss, W)
    >>> loss(model(xs), None).sum().backward()
    >>> parts.shape, bool(np.allclose(parts.sum(axis=0), W.grad.data, rtol=1e-12))
    ((7, 20, 5), True)
    """
    check_int("max_bytes", max_bytes)
    parameter = parameter_of(model, W)
    run = run_model(model, xs, targets, loss)
    uses = _Uses(run, parameter.node)
    T = uses.steps
    size = T * size_of(parameter.node.spec)
    if norms and (alone := uses.norms_of_the_only_one()) is not None:
        return _checked(alone, run)
    if size > max_bytes:
        raise ValueError(
            f"the gradients of {T} steps need {size:,} bytes, but max_bytes is {max_bytes:,}; give norms=True, or a larger "
            "max_bytes"
        )
    found = _checked(uses.contributions(max_bytes), run)
    return np.array([norm(tensor(x)).data for x in found]) if norms else found


def parameter_of(model: Model, W: Parameter | str) -> Parameter:
    """The parameter of a model with a given name; a parameter is returned as it is.

    Raises
    ------
    ShapeError
        If the model has no parameter of that name.
    """
    if isinstance(W, Parameter):
        return W
    own = dict(model.named_parameters()) if isinstance(model, Module) else {}
    if W not in own:
        raise ShapeError(no_such("parameter", W, own) if own else f"there is no parameter {W!r}; give the Parameter itself")
    return own[W]


def _checked(found: Array, run: ModelRun) -> Array:
    if np.isnan(found).any():
        raise NonFiniteError(nan_began(run, np.ones((1, *run.losses.shape), run.losses.dtype)))
    return found


class _Uses:
    """All uses of a parameter: in the steps of recurrent parts, and in layers outside of them.

    A gradient reaches a layer outside of recurrent parts from the losses, or from an input of a recurrent part. Each such
    gradient is split into its steps, and is carried back to the parameter separately for each step.
    """

    def __init__(self, run: ModelRun, parameter: Node) -> None:
        self.run, self.parameter = run, parameter
        self.ones = np.ones((1, *run.losses.shape), run.losses.dtype)
        self.parts: list[tuple[RecurrentPart, list[int], list[int]]] = []  # with the inputs and the consts that depend on W
        for part in run.parts:
            behind = [k for k in part.loop.float_inputs if self._is_behind(part.node.inputs[k])]
            if behind:
                consts = [k for k in behind if part.loop.inputs[k] in part.loop.consts]
                self.parts.append((part, [k for k in behind if k not in consts], consts))
        self.outside = self._is_behind(run.losses.node)
        steps = {part.steps for part, _, _ in self.parts} | ({len(run.losses)} if self.outside else set())
        if not steps:
            raise GradientError(f"the loss does not depend on {parameter.name or 'the parameter'}, so there is no gradient")
        if len(steps) > 1:
            raise ShapeError(
                f"{parameter.name or 'the parameter'} is used in loops of different lengths, "
                f"{joined(sorted(map(str, steps)))} steps, "
                "so its gradient cannot be split by steps"
            )
        (self.steps,) = steps

    def _is_behind(self, node: Node) -> bool:
        """Whether a node depends on the parameter by a path outside of loops."""
        return bool(self.run.traced((node,), (self.parameter,))[1])

    def norms_of_the_only_one(self) -> Array | None:
        """Norms of the contributions, if only the steps of one recurrent part use the parameter."""
        if self.outside or len(self.parts) != 1:
            return None
        ((part, others, consts),) = self.parts
        if others or [part.node.inputs[k] for k in consts] != [self.parameter]:
            return None
        (found,) = self._pulled(part, [], consts, _norm_of_each)
        return None if found is None else found[0]

    def contributions(self, max_bytes: int) -> Array:
        """Contributions of all uses, shape (T, *W.shape)."""
        T = self.steps
        total = np.zeros((T, *self.parameter.shape), self.parameter.dtype)
        if self.outside:
            self._add(total, self.run.losses.node, self.ones[0], True, max_bytes)
        for part, others, consts in self.parts:
            for k, g in zip([*others, *consts], self._pulled(part, others, consts), strict=True):
                if g is None:
                    continue
                if part.loop.inputs[k] in part.loop.slot:  # an initial state, which the first step uses
                    g = np.concatenate([g, np.zeros((T - 1, *g.shape[1:]), g.dtype)])
                    g = g[::-1] if part.loop.reverse else g
                    self._add(total, part.node.inputs[k], g, False, max_bytes)
                else:
                    self._add(total, part.node.inputs[k], g[0], k in others, max_bytes)
        return total

    def _add(self, total: Array, node: Node, steps: Array, over_time: bool, max_bytes: int) -> None:
        """Add the contributions of a node, whose cotangent is given for each step.

        Parameters
        ----------
        total : ndarray
            The array to which the contributions are added.
        node : Node
        steps : ndarray, shape (T, …)
        over_time : bool
            Whether the first axis of the node is time: the cotangent of a step is zero at all other steps.
        max_bytes : int
        """
        if node is self.parameter:
            total += steps
            return
        T = len(steps)
        rows = max(1, min(T, max_bytes // max(1, 4 * steps.nbytes)))
        for start in range(0, T, rows):
            part = steps[start : start + rows]
            if over_time:
                given = np.zeros((len(part), *steps.shape), steps.dtype)
                given[np.arange(len(part)), np.arange(start, start + len(part))] = part
            else:
                given = part
            total[start : start + rows] += self.run.between_loops({node: given}, (self.parameter,))[self.parameter]

    def _pulled(self, part: RecurrentPart, others: list[int], consts: list[int], ask: Ask | None = None) -> list[Array | None]:
        """Cotangents of a part's inputs, with those of consts split by step: shape (1, T, …)."""
        try:
            cotangents = self.run.outputs_of(part, self.ones)
        except GradientError:  # the losses do not depend on this part
            return [None] * (len(others) + len(consts))
        moved = tuple(consts)
        plan = derived(part.plan, ("unshared", moved), lambda loop: _unshared(loop, moved))
        sequences, state, captured = part.loop.parts(part.inputs)
        each = [np.broadcast_to(part.inputs[k], (part.steps, *part.inputs[k].shape)) for k in consts]
        kept = [x for k, x in enumerate(captured, len(sequences) + len(state)) if k not in moved]
        run = LoopRun(plan, [*sequences, *each, *state, *kept], part.steps)
        first = len(sequences)
        wanted = [k if k < first else k + len(consts) for k in others] + [first + i for i in range(len(consts))]
        return run.pull(cotangents, wanted, ask)


def _norm_of_each(parts: Sequence[Tensor]) -> list[Tensor]:
    return [norm(x) for x in parts]


def _unshared(loop: Loop, numbers: tuple[int, ...]) -> Loop:
    """The loop with some consts turned into sequences, so that each step has its own copy."""
    moved = [loop.inputs[k] for k in numbers]
    consts = tuple([node for node in loop.consts if node not in moved])
    return replace(loop, sequences=(*loop.sequences, *moved), consts=consts)
