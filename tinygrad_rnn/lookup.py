"""Finding a cell by what a user types: a name, ``module:Name`` or ``path/to/file.py:Name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from . import nn
from .errors import DataError

__all__ = ["find_cell"]

CellFactory = Callable[..., nn.Cell]


def find_cell(name: str) -> CellFactory:
    """What makes the cell of this name.

    Parameters
    ----------
    name : str
        A cell of ``tinygrad_rnn.nn``, such as ``"RNNCell"``, or ``"rnn"``; or a module, or a file that
        ends in ``.py``, then a colon and the name in it. That module is imported, so its
        code runs.

    Returns
    -------
    callable
        A class called with (input_size, hidden_size), or a factory without arguments.

    Raises
    ------
    DataError
        If there is no such module or name, or it fails when it is imported.

    Examples
    --------
    >>> find_cell("RNNCell")
    <class 'tinygrad_rnn.nn.cell.RNNCell'>
    >>> find_cell("tinygrad_rnn.nn:RNNCell")
    <class 'tinygrad_rnn.nn.cell.RNNCell'>
    """
    where, colon, attribute = name.rpartition(":")
    if not colon:
        known = {key: value for key, value in vars(nn).items() if _is_cell_class(value)}
        spelt = {key.lower(): key for key in known}
        for key in (name, spelt.get(name.lower()), spelt.get(f"{name.lower()}cell")):
            if key in known:
                return known[key]
        raise DataError(
            f"there is no cell {name!r} in tinygrad_rnn.nn, which has {', '.join(sorted(known))}; "
            "a cell of your own is module:Name or path/to/file.py:Name"
        )
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, nn.Cell):
        return lambda: found
    if not callable(found):
        own = sorted(
            key for key, value in vars(module).items() if _is_cell_class(value) and value.__module__ == module.__name__
        )
        has = f"its cells are {', '.join(own)}" if own else "it has no class derived from nn.Cell"
        raise DataError(f"{where} has no cell {attribute!r}; {has}")
    return found


def _is_cell_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Cell) and value is not nn.Cell


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does, so that one's own modules are found
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = "; for a file, write path/to/file.py:Name"
            raise DataError(f"there is no module {name!r} here or among those installed{hint}") from None
        raise _import_failed(name, error) from error
    except Exception as error:
        raise _import_failed(name, error) from error


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    name = f"_cell_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # any .py file has them
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # as `python path` does, for what the file imports from beside it
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _import_failed(str(path), error) from error
    return module


def _import_failed(name: str, error: Exception) -> DataError:
    trace, line = error.__traceback__, None
    while trace is not None:
        line, trace = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    return DataError(f"{name} cannot be imported: {type(error).__name__}: {error} ({line})")
