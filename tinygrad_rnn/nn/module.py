"""Module, the base of all layers: parameters and other modules under names."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence, ValuesView
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..checks import clean_name
from ..errors import StateDictError, TinygradError
from ..files import Stored, read_arrays, write_arrays, write_tensors
from ..graph.context import Location, at, current
from ..guards import Unread, UnreadDict
from ..ops.dtypes import fits
from ..pytorch import missing
from ..tensor import Parameter, Tensor

if TYPE_CHECKING:
    from ..draw import Drawing
    from ..explain import Latex
    from ..scan.plan import Plan
    from .streaming import Stream

__all__ = ["Module"]


HOLDERS = (list, tuple, dict)
"""Containers that may hold modules and parameters, at any depth; their content may change at any time."""


def _walk(path: str, value: Any, above: tuple[int, ...]) -> Iterator[tuple[str, Module | Parameter]]:
    """Yield modules and parameters in nested lists, tuples and dictionaries, by path."""
    if isinstance(value, (Module, Parameter)):
        yield path, value
    elif isinstance(value, HOLDERS) and id(value) not in above:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(part, (Module, Parameter, *HOLDERS)):
                yield from _walk(f"{path}.{key}", part, (*above, id(value)))
            else:
                _refuse_what_is_not_walked(f"{path}.{key}", part)


def _tell_path(parameter: Parameter, path: str) -> None:
    """Set scope and name of a parameter from its path in a module."""
    scope, _, name = path.rpartition(".")
    if name.isdigit():  # in a list
        scope, _, holder = scope.rpartition(".")
        name = f"{holder}_{name}"
    node = parameter.node
    node.location, node.name = Location(clean_name(scope)), clean_name(parameter.symbol or name) or None


def forget_name(module: Module) -> None:
    """Remove a module's name, so that its nodes have the caller's scope."""
    module._name = ""


BOOKKEEPING = frozenset({"_children", "_held", "_made_with", "_name"})
"""Attributes of a module that follow from its other attributes."""


BESIDE = "/"
"""First character of the names of arrays in a file that are not parameters."""


def attributes_of(module: Module) -> dict[str, Any]:
    """The attributes that define a module, without bookkeeping and cached properties."""
    kind = type(module)
    return {
        name: value
        for name, value in module.__dict__.items()
        if name not in BOOKKEEPING and not isinstance(getattr(kind, name, None), functools.cached_property)
    }


def remember_arguments(module: Module, *args: Any, **kwargs: Any) -> None:
    """Record constructor arguments that would make a module which was made in another way."""
    module.__dict__["_made_with"] = Unread((args, kwargs))


def arguments_of(module: Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the named arguments with which a module was made."""
    return module._made_with.value


def _may_hold(value: Any) -> bool:
    """Whether a value may contain modules, now or later; a tuple of numbers, such as a shape, may not."""
    if isinstance(value, tuple):
        return any((part is not None and not isinstance(part, (int, float, str, tuple))) or _may_hold(part) for part in value)
    return isinstance(value, HOLDERS)


def _refuse_what_is_not_walked(name: str, value: Any) -> None:
    """Raise if modules or parameters are in a set or another collection that is not searched."""
    if isinstance(value, (set, frozenset, deque, KeysView, ValuesView)) and any(
        isinstance(part, (Module, Parameter)) for part in value
    ):
        raise TinygradError(
            f"{name}: modules and parameters cannot be kept in a {type(value).__name__}; put them into a list, a tuple or "
            "a dict"
        )


class Module:
    """Base of all layers: modules with parameters and other modules as attributes, and a method `forward`.

    Modules and parameters may also be in lists, tuples and dictionaries that are attributes. An
    element of a list is named by its index, as in ``layers.0.weight``.

    Attributes
    ----------
    training : bool
        Set by :meth:`train` and :meth:`eval`.
    codes : int or None
        For a module whose input is integer codes 0, 1, …: the number of different codes. Set it
        in a module of your own that looks codes up. Drawings and checks use it to make an example
        of the input if none is given.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.a = nn.Parameter([2.0], symbol="a")
    ...     def forward(self, x):
    ...         return self.a * x
    >>> model = Scale()
    >>> model(tr.tensor([3.0]))
    tensor([6.])
    >>> [name for name, _ in model.named_parameters()]
    ['a']
    """

    codes: int | None = None
    _held: dict[str, Module | Parameter]
    _made_with: Unread

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # the class, to type checkers
        """Remember the arguments of the constructor, for files."""
        made = super().__new__(cls)
        remember_arguments(made, *args, **kwargs)
        return made

    def __init__(self) -> None:
        # attributes set before this call count too, also an empty list, which may be filled later
        self._children = UnreadDict({name: value for name, value in self.__dict__.items() if _may_hold(value)})
        self.__dict__["_held"] = UnreadDict()
        self._name = ""
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Module, Parameter)):
            if "_children" not in self.__dict__:
                raise TinygradError(f"call super().__init__() before {type(self).__name__} sets {name!r}")
            if isinstance(value, Module):
                if any(module is self for _, module in value.modules()):
                    raise TinygradError(
                        f"{name!r} cannot be set: the {type(value).__name__} contains the {type(self).__name__} whose "
                        "attribute it would be"
                    )
                value._name = clean_name(name)
            self._children[name] = value
        elif "_children" in self.__dict__:
            _refuse_what_is_not_walked(name, value)
            if isinstance(value, (Tensor, np.ndarray)) and isinstance(self._children.get(name), Parameter):
                raise TinygradError(
                    f"{name} is a parameter and cannot become an array; write {name}.data = …, or set a new nn.Parameter"
                )
            self._children.pop(name, None)
            if _may_hold(value):
                self._children[name] = value
        object.__setattr__(self, name, value)
        if isinstance(value, (Module, Parameter)):
            self._tell_paths()
        elif name in self.__dict__.get("_children", ()):
            self._parts()

    def __getattr__(self, name: str) -> Any:
        if name == "_children":
            raise TinygradError(f"call super().__init__() first in {type(self).__name__}.__init__")
        raise missing("Module", name, type(self).__name__)

    def __copy__(self) -> Module:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _children=UnreadDict(self._children))
        return twin

    def __delattr__(self, name: str) -> None:
        self._children.pop(name, None)
        object.__delattr__(self, name)

    def _parts(self) -> dict[str, Module | Parameter]:
        """Modules and parameters of this module by name, those in lists, tuples and dictionaries by path.

        A list may have been changed since it was set. So it is walked at each call, and its new parts get their names.
        """
        for value in self._children.values():
            if isinstance(value, HOLDERS):
                return self._parts_and_held()
        return self._parts_and_held() if self._held else dict(self._children)

    def _parts_and_held(self) -> dict[str, Module | Parameter]:
        parts: dict[str, Module | Parameter] = {}
        for name, value in self._children.items():
            for path, part in ((name, value),) if isinstance(value, (Module, Parameter)) else _walk(name, value, ()):
                if path in parts and parts[path] is not part:
                    raise TinygradError(
                        f"two parts of this {type(self).__name__} have the name {path!r}; give one of them another key"
                    )
                parts[path] = part
        held = UnreadDict({path: part for path, part in parts.items() if path not in self._children})
        before = self._held
        if len(held) != len(before) or any(before.get(path) is not part for path, part in held.items()):
            for path, part in held.items():
                if isinstance(part, Module):
                    if any(module is self for _, module in part.modules()):
                        raise TinygradError(f"{path!r} contains the {type(self).__name__} whose part it is; take it out")
                    part._name = path
            self.__dict__["_held"] = held
            self._tell_paths()
        return parts

    def _tell_paths(self) -> None:
        for path, parameter in self.named_parameters():
            _tell_path(parameter, path)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the module's outputs; subclasses define this method, and calls of the module run it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward method; write forward(self, x), which returns the outputs"
        )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run :meth:`forward` under the module's scope; errors name the layer."""
        self._parts()  # gives a name to a module that was put into a list since the last call
        return self._within(self.forward, *inputs, **options)

    def _within(self, method: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        try:
            if not self._name:
                return method(*inputs, **options)
            here = current().location
            with at(Location(f"{here.scope}.{self._name}" if here.scope else self._name, *here[1:])):
                return method(*inputs, **options)
        except TinygradError as error:
            if not hasattr(error, "layer"):  # the innermost layer is the one to name
                error.layer = self._at_scope(error.scope) if hasattr(error, "scope") else self  # type: ignore[attr-defined]
                error.args = (f"{type(error.layer).__name__}: {error.args[0]}", *error.args[1:])  # type: ignore[attr-defined]
            raise

    def _at_scope(self, scope: str) -> Module:
        """The innermost module whose nodes are made under a scope, for an error in a compiled step."""
        above = f"{current().location.scope}.{self._name}".strip(".")
        found, path = self, scope.removeprefix(above).lstrip(".")
        while inner := [m for _, m in found.children() if not m._name or path == m._name or path.startswith(f"{m._name}.")]:
            found, path = inner[0], path.removeprefix(inner[0]._name).lstrip(".")
        return found

    # -- parameters ------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this module, by name."""
        return ((name, child) for name, child in self._parts().items() if isinstance(child, Module))

    def modules(self) -> Iterator[tuple[str, Module]]:
        """This module, under the name ``""``, and all modules in it, by path."""
        yield "", self
        for name, child in self.children():
            for path, module in child.modules():
                yield f"{name}.{path}" if path else name, module

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters by path, in the order in which they were set; a shared parameter once, or under each of its paths."""
        if not remove_duplicate:
            yield from self._all_parameters()
            return
        seen: set[int] = set()
        for path, parameter in self._all_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield path, parameter

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, child in self._parts().items():
            if isinstance(child, Parameter):
                yield name, child
            else:
                yield from ((f"{name}.{path}", parameter) for path, parameter in child._all_parameters())

    def parameters(self) -> list[Parameter]:
        """All parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training: bool = True) -> Module:
        """Set the mode of this module and all modules in it to training, in which dropout is active."""
        for _, module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Set the mode to evaluation."""
        return self.train(False)

    # -- step by step ----------------------------------------------------------------------

    def stream(self, batch: int = 1, **options: Any) -> Stream:
        """A stream, which runs this module one step at a time and keeps its state.

        Parameters
        ----------
        batch : int
            How many sequences run side by side.
        **options
            Further arguments of the module, the same at all steps.

        Raises
        ------
        TinygradError
            If a part of the module reads the sequence from its end.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> stream = nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)).stream(batch=4)
        >>> stream(np.zeros((4, 3), "float32")).shape
        (4, 2)
        """
        from .streaming import Stream

        return Stream(self, batch, **options)

    # -- storing ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of every parameter's array, by path."""
        return {path: parameter.numpy() for path, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Rebind every parameter to an array of a mapping; if the mapping does not fit, no parameter is changed.

        Parameters
        ----------
        state : Mapping of str to array_like
            An array for each parameter, by the path of the parameter.

        Raises
        ------
        StateDictError
            If names are missing or not known, or shapes do not fit; the message lists them.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> nn.Linear(2, 1).load_state_dict({"weight": [[1.0, 2.0, 3.0]], "extra": 0.0})
        Traceback (most recent call last):
            ...
        tinygrad_rnn.errors.StateDictError: this state does not fit Linear:
          missing: bias
          not known: extra
          shape: weight is (1, 2) and the state has (1, 3)
        """
        try:
            arrays = {name: np.asarray(value) for name, value in state.items()}
        except ValueError as error:  # a ragged list
            raise self._misfit({"shape": [f"{error}"]}) from None
        own = self.check_state_dict(arrays)
        first: dict[int, str] = {}
        for name, parameter in own.items():
            first.setdefault(id(parameter), name)
        tied = [(first[id(parameter)], name) for name, parameter in own.items()]
        problems = {
            "too large": [f"{name} has numbers beyond {p.dtype}" for name, p in own.items() if not fits(arrays[name], p.dtype)],
            "tied": [
                f"{other} and {name} are one parameter and two arrays in the state"
                for other, name in tied
                if not np.array_equal(arrays[other], arrays[name], equal_nan=True)
            ],
        }
        if any(problems.values()):
            raise self._misfit(problems)
        for name, parameter in own.items():
            parameter.data = arrays[name]

    def check_state_dict(self, state: Mapping[str, npt.NDArray[Any] | Stored]) -> dict[str, Parameter]:
        """The parameter for each array of a state, after a check of names, shapes and dtypes.

        A shared parameter has several paths. The state may have it under one of these names, or several.

        Parameters
        ----------
        state : mapping of str to array
            Values may be any objects with a shape and a dtype.

        Raises
        ------
        StateDictError
            As in :meth:`load_state_dict`.
        """
        known = dict(self._all_parameters())
        found = {id(known[name]) for name in state if name in known}
        problems = {
            "missing": [name for name, parameter in self.named_parameters() if id(parameter) not in found],
            "not known": [name for name in state if name not in known],
            "shape": [
                f"{name} is {known[name].shape} and the state has {array.shape}"
                for name, array in state.items()
                if name in known and known[name].shape != array.shape
            ],
            "dtype": [
                f"{name} cannot be made of {array.dtype}" for name, array in state.items() if array.dtype.kind not in "fiub"
            ],
        }
        if any(problems.values()):
            raise self._misfit(problems)
        return {name: known[name] for name in state}

    def _misfit(self, problems: Mapping[str, list[str]]) -> StateDictError:
        lines = [f"  {kind}: {_listed(found)}" for kind, found in problems.items() if found]
        return StateDictError("\n".join([f"this state does not fit {type(self).__name__}:", *lines]))

    def save(self, path: str | Path) -> None:
        """Write the parameters to a file, completely or not at all; :func:`tinygrad_rnn.save` also writes the architecture.

        An existing file is replaced when the new file is complete; the permissions of the existing
        file are kept. A symbolic link is followed.

        Parameters
        ----------
        path : str or path
            A name that ends in ``.npz`` makes a NumPy archive, any other name a ``.safetensors`` file.

        Raises
        ------
        DataError
            If the file cannot be written.
        MissingExtraError
            For a ``.safetensors`` file, if the extra ``files`` is not installed.
        """
        if os.fsdecode(path).endswith(".npz"):
            write_arrays(path, self.state_dict(), "the parameters")
        else:
            write_tensors(path, self.state_dict(), what="the parameters")

    def load(self, path: str | Path) -> Module:
        """Rebind the parameters to those of a file, and return the module.

        The file is an ``.npz`` or a ``.safetensors`` file: written by :meth:`save`, by
        :func:`tinygrad_rnn.save`, or from a PyTorch module with the same names. Nothing in the file
        is executed. Names, shapes and dtypes are compared first, so no file takes more
        memory than the module's own arrays.

        Raises
        ------
        DataError
            If the file is not of these kinds, or is damaged.
        StateDictError
            If names or shapes in the file do not fit.
        MissingExtraError
            For a ``.safetensors`` file, if the extra ``files`` is not installed.
        """
        with read_arrays(path) as stored:
            known = dict(self._all_parameters())
            stored = {name: array for name, array in stored.items() if name in known or not name.startswith(BESIDE)}
            self.check_state_dict(stored)
            state = {name: array.read() for name, array in stored.items()}
        self.load_state_dict(state)
        return self

    # -- pictures --------------------------------------------------------------------------

    def draw(
        self,
        time: Literal["folded", "unrolled", "step"] = "folded",
        detail: Literal["slots", "values", "ops", "layers"] | None = None,
        steps: int = 4,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        targets: Any = None,
        inputs: Any = None,
        values: bool = False,
        force: Sequence[str] = (),
        total: bool = False,
        shared: Literal["label", "node"] = "label",
        aspect: float | None = None,
        highlight: Sequence[str] = (),
        symbols: Mapping[str, str] | None = None,
        notation: Literal["UW", "WU"] | None = None,
    ) -> Drawing:
        """Draw the network, without data: it is run with symbolic tensors.

        Parameters
        ----------
        time : {"folded", "unrolled", "step"}
            ``"folded"``: one step, with its states closed through delays. ``"unrolled"``: the steps
            side by side. ``"step"``: one step of the cell gate by gate, without detail and loss.
        detail : {"slots", "values", "ops", "layers"}, optional
            ``"slots"``: inputs, states, outputs and losses. ``"values"``: named values too.
            ``"ops"``: all operations. ``"layers"``: a box for each layer and step.
        steps : int
            Number of steps of an unrolled drawing; more if a delay needs more steps.
        loss : callable, optional
            ``loss(output, target)``, drawn at each step.
        targets : array_like, optional
            An example of the targets, (time, batch, …), if the loss takes unusual targets.
        inputs : array_like, optional
            An example of the inputs, (time, batch, …), if no input that fits is found.
        values : bool
            Whether nodes show numbers; a symbolic run has numbers of parameters only.
        force : sequence of str
            Slots that carry data y from step to step, as in training with teacher forcing, in
            place of the network's values. The data are the targets of the loss, if their shapes
            agree.
        total : bool
            Whether the losses of the steps are summed to one node L.
        shared : {"label", "node"}
            Whether a parameter is a label of edges, or a node with an edge to each of its uses.
        aspect : float, optional
            Width of the picture over its height, such as ``16 / 9`` for a slide.
        highlight : sequence of str
            Gates and operations of one step that are shown with their lines, while all others are
            faint. A value without a name is called by its operation, such as ``"tanh c"`` or ``"i×g"``.
        symbols : mapping of str to str, optional
            From names of the model to names in the drawing: ``{"h": "s"}`` draws s for h, and s_1 for h_1.
        notation : {"UW", "WU"}, optional
            Letters of the input's and of the recurrent matrix; the model's own are "UW".

        Returns
        -------
        Drawing

        Notes
        -----
        A cell may have an attribute ``layout``: a mapping from the names of its values to their
        positions in the folded drawing, as (column, row). Likewise ``step_layout``
        for the drawing of one step, where a value without a name is called by its operation,
        such as ``"tanh c"`` or ``"i×g"``.

        Raises
        ------
        TinygradError
            If the module runs on no input that was tried.
        ValueError
            If time, detail, shared or aspect has another value, if ``time="step"`` and the module has no
            cell or cells of several kinds, or if a name to highlight is not in the step.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> nn.LSTM(3, 5).draw(time="unrolled", steps=3)
        <Drawing of LSTM, unrolled over 3 steps>
        """
        from ..draw import draw_module

        return draw_module(
            self._drawn(),
            time,
            detail,
            steps,
            loss,
            targets,
            inputs,
            values,
            force,
            total,
            shared,
            aspect,
            highlight,
            symbols,
            notation,
        )

    def _drawn(self) -> Module:
        """The module to show when this module is drawn."""
        return self

    def drawn_with(self, xs: Any) -> tuple[tuple[Any, ...], Tensor | None]:
        """Arguments for drawing this module, and targets if they are among the arguments.

        A module that takes more arguments than a sequence of inputs overrides this method.

        Parameters
        ----------
        xs : Tensor, nested tuples of them, or None
            A sequence of inputs without values.

        Returns
        -------
        tuple
            The arguments of the module's call.
        Tensor or None

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> decoder = nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0)
        >>> decoder.draw(time="unrolled", loss=nn.cross_entropy)
        <Drawing of Decoder, unrolled over 4 steps>
        """
        return (xs,), None

    def equations(
        self,
        backward: bool | Literal["paths"] = False,
        inputs: Any = None,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        targets: Any = None,
        symbols: Mapping[str, str] | None = None,
        notation: Literal["UW", "WU"] | None = None,
        net: str | None = None,
        bias: Literal["one"] | None = None,
        form: Literal["joined"] | None = None,
    ) -> Latex:
        r"""The equations of the model as LaTeX, or those of its backpropagation through time.

        Parameters
        ----------
        backward, inputs, loss, targets, symbols, notation, net, bias, form
            As in :func:`tinygrad_rnn.explain.equations`.

        Returns
        -------
        Latex
            A text, which notebooks show as typeset formulas.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> print(nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2)).equations(bias="one"))
        \begin{aligned}
        h_t &= \tanh\left(U x_t + b + W h_{t-1}\right) \\
        o_t &= V h_t + c
        \end{aligned}
        """
        from ..explain import equations

        return equations(
            self._drawn(),
            backward,
            inputs,
            loss=loss,
            targets=targets,
            symbols=symbols,
            notation=notation,
            net=net,
            bias=bias,
            form=form,
        )

    def plan(self, T: int, B: int = 1, inputs: Any = None) -> Plan | dict[str, Plan]:
        """The compiler's plan of the recurrent parts, for T steps and a batch of B; nothing is run.

        Parameters
        ----------
        T, B : int
            Number of steps, and batch size.
        inputs : array_like, Spec, nested tuples of them, or mapping, optional
            An example of the input sequence of the recurrent part, (time, batch, features).
            With several recurrent parts, examples by path. If not given, several shapes and
            dtypes are tried.

        Returns
        -------
        Plan, or mapping from path to Plan
            The plan of the only recurrent part, or the plans of all. A plan prints as a table,
            has the program's `source`, and draws itself.

        Raises
        ------
        TinygradError
            If there is no recurrent part.
        ShapeError
            If no input was found that fits, or the example does not fit.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> plan = nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)).plan(T=100, B=2)
        >>> plan.forward.counts.products
        1
        """
        from .planning import plan_parts

        return plan_parts(self, T, B, inputs)

    def __repr__(self) -> str:
        own = ", ".join(f"{n}={p.shape}" for n, p in self._parts().items() if isinstance(p, Parameter))
        inside = "".join(f"\n  ({n}): " + repr(m).replace("\n", "\n  ") for n, m in self.children())
        return f"{type(self).__name__}({own}{inside}{chr(10) if inside else ''})"


def _listed(found: list[str], most: int = 20) -> str:
    """The first lines of an error joined with commas, shortened and escaped."""
    shown = [text if text.isprintable() else repr(text) for text in found[:most]]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join([text if len(text) < 200 else f"{text[:150]}…" for text in shown] + more)
