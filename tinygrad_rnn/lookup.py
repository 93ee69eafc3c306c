"""Look-up of a cell by the name that a user types: a name, ``module:Name`` or ``path/to/file.py:Name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from . import nn
from .checks import no_such
from .errors import DataError, TinygradError
from .files import read_text
from .storing import load

__all__ = ["find_cell", "find_model", "load_model", "running"]

CellFactory = Callable[..., nn.Cell]
HERE = Path(__file__).parent


def find_cell(name: str) -> CellFactory:
    """Find the class or factory of a cell by the name that a user types.

    Parameters
    ----------
    name : str
        A cell of ``tinygrad_rnn.nn``, such as ``"RNNCell"`` or ``"rnn"``. Or a module or ``.py`` file,
        a colon, and a name in this module. The module is imported, so its code runs.

    Returns
    -------
    callable
        A class called with (input_size, hidden_size), or a factory without arguments.

    Raises
    ------
    DataError
        If there is no such module or name, or if the import of the module fails.

    Examples
    --------
    >>> find_cell("RNNCell")
    <class 'tinygrad_rnn.nn.cell.RNNCell'>
    >>> find_cell("tinygrad_rnn.nn:RNNCell")
    <class 'tinygrad_rnn.nn.cell.RNNCell'>
    """
    where, colon, attribute = name.rpartition(":")
    if not colon and name.endswith(".py"):
        module = _module_of_file(Path(name))
        raise DataError(f"give the name of the cell, {name}:Name; {_cells_of(module)}")
    if not colon or not where:
        known = {key: value for key, value in vars(nn).items() if _is_cell_class(value)}
        spelt = {key.lower(): key for key in known}
        for key in (name, spelt.get(name.lower()), spelt.get(f"{name.lower()}cell")):
            if key in known:
                return known[key]
        raise DataError(
            f"{no_such('cell', name, sorted(known))}. For a cell of your own, give module:Name or path/to/file.py:Name"
        )
    module, found = _found(name)
    if isinstance(found, nn.Cell):
        return lambda: found
    if isinstance(found, nn.Module):
        raise DataError(
            f"{name} must be a cell, which computes one time step, not of type {type(found).__name__}; {_cells_of(module)}"
        )
    if not callable(found):
        raise DataError(f"{where} has no cell {attribute!r}; {_cells_of(module)}")
    return found


def find_model(name: str) -> nn.Module:
    """Find a model by the name that a user types.

    Parameters
    ----------
    name : str
        A module or ``.py`` file, a colon, and the name in this module of a model, or of a function
        without arguments that makes a model. The module is imported, so its code runs.

    Raises
    ------
    DataError
        If there is no such module or name, if its code fails, or if the named object is no model.

    Examples
    --------
    >>> find_model("tinygrad_rnn.nn:RNN")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: tinygrad_rnn.nn:RNN failed: TypeError: ...
    """
    if not name.rpartition(":")[0]:
        raise DataError(
            f"a model must be given as a file, model.safetensors, or as path/to/file.py:make_model, not as {name!r}"
        )
    _, found = _found(name)
    if callable(found) and not isinstance(found, nn.Module):
        with running(name):
            found = found()
    if not isinstance(found, nn.Module):
        raise DataError(
            f"{name} must be a model, an nn.Module, or a function that makes one, not of type {type(found).__name__}"
        )
    return found


def _found(name: str) -> tuple[ModuleType, Any]:
    """The module in ``module:Name`` or ``path/to/file.py:Name``, and its object called ``Name``, or None."""
    where, _, attribute = name.rpartition(":")
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = module
    with running(name):
        for part in attribute.split("."):
            found = getattr(found, part, None)
    return module, found


def load_model(path: str, sources: Sequence[str] = (), known: Sequence[type[nn.Module]] = ()) -> nn.Module:
    """Load a model file whose classes may be in a user's own modules.

    Parameters
    ----------
    path : str
    sources : sequence of str
        Modules or ``.py`` files with the classes of the model. They are imported, so their code runs.
    known : sequence of type
        Further classes that the model may use. A class of the same name in `sources` has priority.

    Raises
    ------
    DataError
        As :func:`tinygrad_rnn.load` and :func:`find_cell` do.

    Examples
    --------
    >>> load_model("no.safetensors")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot read no.safetensors: No such file or directory
    """
    modules = [_module_of_file(Path(name)) if name.endswith(".py") else _module(name) for name in sources]
    own = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
    ]
    names = {kind.__name__ for kind in own}
    return load(path, classes=[*own, *[kind for kind in known if kind.__name__ not in names]])


def _cells_of(module: ModuleType) -> str:
    own = sorted(key for key, value in vars(module).items() if _is_cell_class(value) and value.__module__ == module.__name__)
    return f"its cells are {', '.join(own)}" if own else "it has no class derived from nn.Cell"


@contextmanager
def running(name: str, doing: str = "failed", verdicts: type[Exception] = TinygradError) -> Iterator[None]:
    """Convert any exception of a user's code, inside the block, to an error that names the file and line.

    Errors of the library, and Ctrl-C, are not converted.

    Parameters
    ----------
    name : str
        The name that the user typed, for the message.
    doing : str
        The action that failed, for the message.
    verdicts : type of exception
        Further exceptions that are not converted.

    Raises
    ------
    DataError

    Examples
    --------
    >>> with running("cells.py:Cell"):
    ...     1 / 0
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cells.py:Cell failed: ZeroDivisionError: division by zero (...)
    """
    try:
        yield
    except (TinygradError, verdicts, KeyboardInterrupt):
        raise
    except BaseException as error:  # a file may call sys.exit, or pytest.skip
        said = error.msg if isinstance(error, SyntaxError) else str(error)  # without the line, which the message names anyway
        words = " ".join(said.split())
        kind = type(error).__name__
        raise DataError(f"{name} {doing}: {kind}{words and ': '}{words:.300} ({_line_of(error)})") from error


def _line_of(error: BaseException) -> str:
    """File and line in a user's own code at which an error was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    lines, trace = [], error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        foreign = path.is_relative_to(HERE) or "site-packages" in path.parts or str(path).startswith("<frozen")
        lines.append((foreign, f"{path.name}:{trace.tb_lineno}"))
        trace = trace.tb_next
    return next((line for foreign, line in reversed(lines) if not foreign), lines[-1][1])


def _is_cell_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Cell) and value is not nn.Cell


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does, so that the user's own modules are found
        sys.path.insert(0, here)
    with running(name, "cannot be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                hint = "; for a file, write path/to/file.py:Name"
                raise DataError(f"there is no module {name!r} in this folder or among the installed modules{hint}") from None
            raise


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DataError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}")
    try:
        with tokenize.open(path) as source:
            source.read()
    except (SyntaxError, UnicodeDecodeError):
        read_text(path)  # its error names the encoding, and says how to convert the file
    except OSError:
        pass  # the import will raise the error
    name = f"_cell_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # any .py file has them
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # as `python path` does, so that the file can import modules from its own folder
        sys.path.insert(0, folder)
    try:
        with running(str(path), "cannot be imported"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
