"""Stream: a module run one step at a time, on data that come one by one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import random
from ..checks import check_int
from ..errors import ShapeError, TinygradError
from ..ops.core import as_tensor
from ..scan.compiled import CompiledScan
from ..scan.numpy.one_step import OneStep
from ..tree import flatten, nesting, rebuild
from .module import Module
from .recurrent import Recurrent
from .stream_trace import TRIED, StreamTrace

__all__ = ["Stream"]

Array = npt.NDArray[Any]


class Stream:
    """A module that is run one step at a time and keeps its state; made by :meth:`Module.stream`.

    The module's step is traced at the first call: the module runs over a sequence of one
    step, and each recurrent part starts from the state that the stream carries. The traced step
    becomes a list of NumPy calls on memory that is reused. The list is first tried on three random
    steps. If a run over the whole sequence gives other outputs, the module is refused. The stream
    sees later changes of the parameters' arrays; for any other change of the module make a new stream.

    Parameters
    ----------
    module : Module
    batch : int
        How many sequences run side by side.
    **options
        Further arguments of the module that are the same at all steps, such as a decoder's ``context``.

    Raises
    ------
    TinygradError
        If a part of the module reads the sequence from its end.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> model = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5), nn.Linear(5, 4))
    >>> codes = np.array([[2], [0], [3]])
    >>> stream = model.stream()
    >>> steps = [stream(x) for x in codes]
    >>> steps[0].shape, np.allclose(steps, model(codes), atol=1e-6)
    ((1, 4), True)

    To feed back measured values in place of the model's own, give them by the name of the slot
    that carries them. So a NARX model runs in open or in closed loop:

    >>> narx = nn.NARX(1, 1).stream()
    >>> measured, x = np.ones((1, 1)), np.zeros((1, 1))
    >>> open_loop, closed_loop = narx(x, y=measured), narx(x)
    """

    def __init__(self, module: Module, batch: int = 1, **options: Any) -> None:
        for path, part in module.modules():
            if isinstance(part, Recurrent) and part.reverse:
                raise TinygradError(
                    f"{path or type(part).__name__} cannot be run step by step: it reads the sequence from its end, which a "
                    "stream does not have yet; use only layers that run forwards"
                )
        self.module, self.batch, self.options = module, check_int("batch", batch), options
        self._steps: dict[Any, _Step] = {}
        self._step: _Step | None = None
        self._key: tuple[Any, ...] = ()
        self._waiting: list[Array] | None = None  # a state that was set before the first step

    def __call__(self, x: Any = None, **forced: Any) -> Any:
        """Make one step.

        Parameters
        ----------
        x : array_like, shape (batch, features) or (batch,), nested tuples of them, or None
            The element x_t of the input sequence.
        **forced : array_like, shape (batch, …)
            Data that replace the value that a slot carries into the next step, by the name of
            the slot, or by the name of a history such as ``y`` for its first slot ``y_1``.

        Returns
        -------
        numpy.ndarray or nested tuples of them
            The module's output at this step. If the output has no time axis, as that of a
            classifier, it is the output for the sequence so far.

        Raises
        ------
        ShapeError
            If an argument has another shape than the module takes, or a slot does not exist.
        TinygradError
            If the module cannot be run step by step: the message says why.
        """
        if type(x) is np.ndarray and not forced:
            given, key = [x], (x.shape, x.dtype, None)
        else:
            given = [np.asarray(leaf) for leaf in (*flatten(() if x is None else x), *forced.values())]
            key = tuple([(array.shape, array.dtype) for array in given]), tuple(forced), nesting(x)
        step = self._step
        if step is None or key != self._key:
            step = self._switched(key, x, given, tuple(forced))
        else:
            step.refresh()
        outputs = step.run(given)
        return outputs[0] if step.single else rebuild(step.output, iter(outputs))

    @property
    def state(self) -> Any:
        """Copies of the carried values; assign to it to continue from another state.

        The state of the module's recurrent part, in the structure of its cell's state. With several
        recurrent parts, a tuple with the state of each. None before the first step.
        """
        if self._step is None:
            return None
        states = rebuild(self._step.start, iter([slot.copy() for slot in self._step.program.state]))
        return states[0] if len(states) == 1 else states

    @state.setter
    def state(self, state: Any) -> None:
        given = [np.array(as_tensor(slot).data) for slot in flatten(state)]
        if self._step is None:
            self._waiting = given
        else:
            self._step.carry(given)

    def reset(self) -> None:
        """Return to the module's initial state."""
        self._waiting = None
        if self._step is not None:
            self._step.carry(self._step.initial)

    def copy(self) -> Stream:
        """An independent stream of the same module, in the same state."""
        twin = Stream(self.module, self.batch, **self.options)
        twin._waiting = self._carried()
        return twin

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the module and the state to a file; ``tr.load(path, "stream")`` continues with it.

        Raises
        ------
        DataError
            As in :func:`tinygrad_rnn.save`.
        """
        from ..storing import save

        save(self.module, path, stream=self)

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module, "batch": self.batch, "options": self.options, "state": self._carried()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["module"], state["batch"], **state["options"])  # type: ignore[misc]
        self._waiting = state["state"]

    def _carried(self) -> list[Array] | None:
        return self._waiting if self._step is None else [slot.copy() for slot in self._step.program.state]

    def _switched(self, key: Any, x: Any, given: Sequence[Array], forced: Sequence[str]) -> _Step:
        """The step for a kind of inputs, made if needed, which continues from the present state."""
        carried = self._carried()
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = _Step(self, x, given, forced)
        step.refresh()
        step.carry(step.initial if carried is None else carried)
        self._step, self._key, self._waiting = step, key, None
        return step


class _Step:
    """A traced step of a module, and the program that runs it."""

    def __init__(self, stream: Stream, x: Any, given: Sequence[Array], forced: Sequence[str]) -> None:
        found = StreamTrace(stream.module, stream.batch, stream.options, x, given, forced)
        made = found.trace
        self.start, self.output = found.start, found.output
        self.single = not isinstance(self.output, tuple)
        self.initial = [slot.data for slot in flatten(self.start)]
        self.parameters = made.consts
        self._loop = CompiledScan(made.loop).rewritten(False)
        self._once = [node.attributes["draw"](random.generator()) for node in made.draws if node.attributes["once"]]
        self._draws = [node.attributes["draw"] for node in made.draws if not node.attributes["once"]]
        self._make()
        self.carry(self.initial)
        if not made.draws:
            found.compare(self._tried(found.data))

    def _make(self) -> None:
        self.nodes = [parameter.node for parameter in self.parameters]
        self.program = OneStep(self._loop, [*[parameter.data for parameter in self.parameters], *self._once])

    def refresh(self) -> None:
        """Remake the program if a parameter has another array."""
        if [parameter.node for parameter in self.parameters] != self.nodes:
            before = self.program.state
            self._make()
            self.carry(before)

    def carry(self, state: Sequence[Array]) -> None:
        """Set the carried values of the slots.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        """
        slots = self.program.state
        if [array.shape for array in state] != [slot.shape for slot in slots]:
            needed = [slot.shape for slot in slots]
            raise ShapeError(f"the state has shapes {[array.shape for array in state]}, but this stream needs {needed}")
        for slot, array in zip(slots, state, strict=True):
            slot[...] = array

    def run(self, given: Sequence[Array]) -> list[Array]:
        """Make one step, and return copies of the outputs."""
        program = self.program
        for element, array in zip(program.elements, given):  # noqa: B905, random numbers follow
            element[...] = array
        for element, draw in zip(program.elements[len(given) :], self._draws, strict=True):
            element[...] = draw(random.generator())
        program.run()
        return [output.copy() for output in program.outputs]

    def _tried(self, data: Sequence[Array]) -> list[list[Array]]:
        return [self.run([sequence[t] for sequence in data]) for t in range(TRIED)]
