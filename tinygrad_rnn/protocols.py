"""NumPy's own functions called with tensors.

Each call runs the function of the same name in this library, with the arguments given by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import ops
from .errors import DtypeError, TraceError
from .graph.node import Spec
from .ops import core

__all__ = ["call_function", "call_ufunc"]

WITHOUT_SIGNATURE: Mapping[str, Callable[..., None]] = {
    "concatenate": lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "dot": lambda a, b, out=None: None,
    "where": lambda condition, x=None, y=None, /: None,
}
"""Parameters of functions written in C; older NumPy versions do not report their signatures."""

OTHER_NAMES: Mapping[str, Mapping[str, str]] = {
    "clip": {"a_min": "min", "a_max": "max"},
    "reshape": {"newshape": "shape"},
    "where": {"x": "a", "y": "b"},
}
"""Optional arguments of NumPy that have another name in this library."""

NO_MATTER = {"optimize", "kind", "stable"}
"""Arguments that change how a result is computed, but not the result."""

UFUNC_DEFAULTS = {"where": True, "casting": "same_kind", "subok": True, "order": "K"}
IN_PLACE = {"copyto", "put", "putmask", "place", "fill_diagonal", "put_along_axis"}
SHAPE_ONLY = {"zeros_like", "ones_like", "full_like", "empty_like"}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Implement ``__array_ufunc__``: a NumPy ufunc called with tensors.

    Raises
    ------
    DtypeError
        If a gradient would be lost, or if tensors do not have an option of the call.
    TraceError
        If there is no such function for tensors, and the given tensors have no values yet.
    """
    function = _ufuncs().get(ufunc)
    if method != "__call__" or function is None:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        return _outside_the_graph(f"np.{name}", getattr(ufunc, method), inputs, options, in_place=method == "at")
    _refuse(f"np.{ufunc.__name__}", function, {name: value for name, value in options.items() if not _is_default(name, value)})
    return function(*inputs)


def call_function(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Implement ``__array_function__``: a NumPy function called with tensors.

    Raises
    ------
    TypeError
        If NumPy's function does not take such arguments; the message is NumPy's.
    DtypeError, TraceError
        In the same cases as `call_ufunc`.
    """
    name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
    ours = getattr(ops, function.__name__, None)
    if ours is not None and getattr(np, function.__name__, None) is function:
        positional, named = _by_name(name, function, ours, args, options)
        try:
            bound = inspect.signature(ours).bind(*positional, **named)
        except TypeError:  # NumPy can be asked with fewer arguments, such as np.where(condition)
            pass
        else:
            return ours(*bound.args, **bound.kwargs)
    return _outside_the_graph(name, function, args, options, in_place=function.__name__ in IN_PLACE)


def _by_name(
    name: str, function: Callable[..., Any], ours: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a NumPy function, under the names of our function: variadic arguments, and all others."""
    signature, names = _correspondence(function, ours)
    found = signature.bind(*args, **options).arguments
    positional: tuple[Any, ...] = ()
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = found.pop(parameter.name, ())
        elif parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(parameter.name, {}))
    given = {
        key: value
        for key, value in found.items()
        if key in names
        or not _is_default(key, value, signature.parameters[key].default if key in signature.parameters else None)
    }
    _refuse(name, ours, {key: value for key, value in given.items() if key not in names})
    named: dict[str, Any] = {}
    for key, value in given.items():
        if value is not np._NoValue:
            if names[key] in named:
                raise DtypeError(f"{name} of a tensor: the option {names[key]} is given twice, also as {key}")
            named[names[key]] = value
    return positional, named


@functools.cache
def _correspondence(function: Callable[..., Any], ours: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, str]]:
    """The signature of a NumPy function, and our names for the parameters that we support."""
    name = function.__name__
    try:
        signature = inspect.signature(function)
    except ValueError:
        signature = inspect.signature(WITHOUT_SIGNATURE[name])
    own = [parameter for parameter in inspect.signature(ours).parameters if parameter != "out"]
    names = {key: key for key in own} | dict(OTHER_NAMES.get(name, {}))
    for mine, theirs in zip(own, signature.parameters.values(), strict=False):
        # a required argument, such as the array, has another name in many NumPy functions
        if theirs.default is theirs.empty and theirs.name not in names and mine not in signature.parameters:
            names[theirs.name] = mine
    return signature, names


def _is_default(name: str, value: Any, default: Any = None) -> bool:
    """Whether an argument that we do not support has its default value."""
    if name in NO_MATTER or value is None or value is default or value is np._NoValue:
        return True
    return isinstance(value, (str, bool)) and value in (default, UFUNC_DEFAULTS.get(name))


def _refuse(name: str, ours: Callable[..., Any], given: Mapping[str, Any]) -> None:
    if given:
        listed = ", ".join(f"{key}=" for key in given)
        own = ", ".join(key for key in inspect.signature(ours).parameters if key != "out")
        raise DtypeError(
            f"{name} of a tensor has no option {listed}: it runs tr.{ours.__name__}({own}). To compute with NumPy, without a "
            "gradient, give x.data"
        )


def _outside_the_graph(name: str, function: Callable[..., Any], args: Any, options: Any, in_place: bool) -> Any:
    """NumPy's own result, if its dtype is not float: a result of floats would silently lose its gradient."""

    def bare(x: Any) -> Any:
        if isinstance(x, core.tensor_class):
            if isinstance(x.node.value, Spec):
                raise TraceError(
                    f"{name} needs values, but a step is recorded once for all t, before there are values; "
                    'use functions of tinygrad_rnn, or nn.Recurrent(cell, mode="unroll")'
                )
            return x.data
        return type(x)(map(bare, x)) if type(x) in (list, tuple) else x

    if not in_place and "out" not in options:
        found = function(*bare(args), **{key: bare(value) for key, value in options.items()})
        if not _has_floats(found) or function.__name__ in SHAPE_ONLY:
            return found
    raise DtypeError(
        f"{name}, called with these arguments, has no gradient in tinygrad_rnn. To compute with NumPy, without a gradient, "
        "give x.data"
    )


def _has_floats(found: Any) -> bool:
    if isinstance(found, (tuple, list)):
        return any(map(_has_floats, found))
    return isinstance(found, float) or getattr(getattr(found, "dtype", None), "kind", "") in ("f", "c")


@functools.cache
def _ufuncs() -> dict[Any, Callable[..., Any]]:
    """NumPy's ufuncs, and our functions of the same names."""
    found = {getattr(np, name, None): getattr(ops, name) for name in ops.functions}
    return {ufunc: function for ufunc, function in found.items() if isinstance(ufunc, np.ufunc)}
