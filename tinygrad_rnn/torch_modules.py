"""Conversion of PyTorch modules to modules of this library and back, with their weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from . import nn, ops
from .errors import DataError
from .extras import optional
from .nn.module import arguments_of
from .tensor import Parameter

__all__ = ["from_torch", "to_torch"]

_LAYER = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_CELL = ("input_size", "hidden_size", "bias")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "RNN": (*_LAYER, "nonlinearity"),
    "LSTM": (*_LAYER, "proj_size"),
    "GRU": _LAYER,
    "RNNCell": (*_CELL, "nonlinearity"),
    "LSTMCell": _CELL,
    "GRUCell": _CELL,
    "Linear": ("in_features", "out_features", "bias"),
    "Embedding": ("num_embeddings", "embedding_dim"),
    "Dropout": ("p",),
}
"""The classes that have the same name in both libraries, with the arguments that both libraries have."""

ONLY_THERE = {"proj_size": 0, "padding_idx": None, "max_norm": None, "scale_grad_by_freq": False, "sparse": False}
"""Options of PyTorch's modules that these classes do not have here, with the value that has no effect."""

ONLY_HERE = {"reset_after": True, "recurrent_dropout": 0.0, "once": False, "proj_size": 0}
"""Options of modules of this library that PyTorch's modules do not have."""

FUNCTIONS: dict[str, Callable[..., Any]] = {"Tanh": ops.tanh, "ReLU": ops.relu, "Sigmoid": ops.sigmoid}
"""Layers of PyTorch that are functions here."""


def from_torch(module: Any) -> nn.Module:
    """Convert a PyTorch module to a module of this library, with its weights.

    Parameters
    ----------
    module : torch.nn.Module
        An RNN, LSTM, GRU, a cell of these, Linear, Embedding, Dropout, Tanh, ReLU, Sigmoid, or a
        Sequential of these. A Sequential of this library passes on the outputs of a recurrent layer,
        but not its state.

    Returns
    -------
    Module
        A module of the class with the same name, with copies of the weights. Tied parameters stay
        tied, and frozen parameters stay frozen.

    Raises
    ------
    DataError
        If a submodule is of another class, or has an option that this library does not have.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> model = from_torch(torch.nn.LSTM(3, 5, num_layers=2))  # doctest: +SKIP
    >>> model(np.zeros((7, 2, 3), "float32"))[0].shape  # doctest: +SKIP
    (7, 2, 5)
    """
    made: nn.Module = _from(module, {})
    if not isinstance(made, nn.Module):
        raise DataError(
            f"PyTorch's {type(module).__name__} is the function tr.{made.name} here, not a module; convert a Sequential with it"
        )
    for path, parameters in _tied(module.named_parameters(remove_duplicate=False)):
        first = dict(made.named_parameters())[path]
        for other in parameters:
            _set(made, other, first)
    try:
        made.load_state_dict({name: value.detach().cpu().numpy() for name, value in module.state_dict().items()})
    except TypeError as error:
        raise DataError(f"NumPy does not have the dtype of these weights; convert them by module.float(): {error}") from None
    for name, parameter in module.named_parameters():
        dict(made.named_parameters())[name].requires_grad_(parameter.requires_grad)
    for name, part in module.named_modules():
        if name in (parts := dict(made.modules())):
            parts[name].train(part.training)
    return made


def to_torch(module: nn.Module) -> Any:
    """Convert a module of this library to a PyTorch module, with its weights.

    Parameters
    ----------
    module : Module
        An RNN, LSTM, GRU, a cell of these, Linear, Embedding, Dropout, or a Sequential of them and of tanh,
        relu and sigmoid. PyTorch's Sequential passes on all that a layer returns, so a recurrent layer can only
        be the last layer of a Sequential.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    DataError
        If a submodule is of another class, or has an option that PyTorch does not have.
    MissingExtraError
        If PyTorch is not installed.

    Examples
    --------
    >>> to_torch(nn.GRU(3, 5))  # doctest: +SKIP
    GRU(3, 5)
    """
    torch = optional("torch", "bench", "to_torch needs")
    made = _to(torch, module, {})
    for path, others in _tied(module.named_parameters(remove_duplicate=False)):
        first = made.get_parameter(path)
        for other in others:
            holder, _, name = other.rpartition(".")
            setattr(made.get_submodule(holder), name, first)
    arrays = {name: torch.from_numpy(parameter.numpy()) for name, parameter in module.named_parameters(remove_duplicate=False)}
    made.load_state_dict(arrays)
    for name, parameter in module.named_parameters():
        made.get_parameter(name).requires_grad_(parameter.requires_grad)
    parts = dict(made.named_modules())
    for name, part in module.modules():
        if name in parts:
            parts[name].train(part.training)
    return made


# -- from one to the other -----------------------------------------------------------------


def _from(module: Any, known: dict[int, Any]) -> Any:
    """The converted counterpart of a submodule; one counterpart for a submodule that occurs several times."""
    if id(module) in known:
        return known[id(module)]
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch.nn."):
        raise DataError(
            f"{type(module).__qualname__} is not a class of torch.nn; convert its parts, and write a Module of them"
        )
    if kind == "Sequential":
        made: Any = nn.Sequential(*[_from(part, known) for part in module])
    elif kind in FUNCTIONS:
        made = FUNCTIONS[kind]
    elif kind in ARGUMENTS:
        for name, value in ONLY_THERE.items():
            if name not in ARGUMENTS[kind] and getattr(module, name, value) != value:
                raise DataError(f"PyTorch's {kind} has {name}={getattr(module, name)!r}, which this library does not have")
        options = {name: getattr(module, name) for name in ARGUMENTS[kind]}
        if "bias" in options and not isinstance(options["bias"], bool):
            options["bias"] = options["bias"] is not None
        if (parameter := next(module.parameters(), None)) is not None:
            options["dtype"] = _dtype(str(parameter.dtype).removeprefix("torch."))
        made = getattr(nn, kind)(**options)
    else:
        raise DataError(f"this library has no counterpart of PyTorch's {kind}; docs/pytorch.md lists the modules that it has")
    known[id(module)] = made
    return made


def _to(torch: Any, module: Any, known: dict[int, Any]) -> Any:
    if id(module) in known:
        return known[id(module)]
    kind = type(module).__name__
    function = next((name for name, known_function in FUNCTIONS.items() if known_function is module), None)
    if function is not None:
        return getattr(torch.nn, function)()
    if type(module) is nn.Sequential:
        made = torch.nn.Sequential()
        for name, part in zip(module.names, module, strict=True):
            made.add_module(name, _to(torch, part, known))
    elif kind in ARGUMENTS and type(module) is getattr(nn, kind):
        args, kwargs = arguments_of(module)
        bound = inspect.signature(type(module)).bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in ONLY_HERE.items():
            if name not in ARGUMENTS[kind] and bound.arguments.get(name, value) != value:
                raise DataError(f"PyTorch's {kind} cannot have {name}={bound.arguments[name]!r}")
        options = {name: bound.arguments[name] for name in ARGUMENTS[kind]}
        if options.get("nonlinearity") == "sigmoid" or np.ndim(options.get("num_layers", 1)):
            raise DataError(f"PyTorch's {kind} cannot have these options: {options}")
        if (parameter := next(iter(module.parameters()), None)) is not None:
            options["dtype"] = getattr(torch, str(parameter.dtype))
        made = getattr(torch.nn, kind)(**options)
    else:
        called = getattr(module, "__name__", getattr(module, "name", kind))
        raise DataError(f"PyTorch has no counterpart of {called}; convert its parts, and write a PyTorch module of them")
    known[id(module)] = made
    return made


def _dtype(name: str) -> npt.DTypeLike:
    try:
        return np.dtype(name)
    except TypeError:
        raise DataError(f"NumPy does not have the dtype {name} of these weights; convert them by module.float()") from None


# -- ties ----------------------------------------------------------------------------------


def _tied(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The first name of each parameter that has several names, and its other names."""
    found: dict[int, list[str]] = {}
    for name, parameter in named:
        found.setdefault(id(parameter), []).append(name)
    return ((names[0], names[1:]) for names in found.values() if len(names) > 1)


def _set(module: nn.Module, path: str, parameter: Parameter) -> None:
    holder, _, name = path.rpartition(".")
    setattr(dict(module.modules())[holder], name, parameter)
