"""Optional dependencies: imported where they are used, with an error that says how to install them."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingExtraError

__all__ = ["installing", "optional"]


def optional(module: str, extra: str, what: str) -> Any:
    """Import an optional dependency, or raise an error that says which extra installs it.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"matplotlib.figure"``.
    extra : str
        The extra in ``setup.cfg`` that lists the dependency.
    what : str
        The first words of the error message, which say who needs the module: ``"the plots of the report need"``.

    Raises
    ------
    MissingExtraError
        If the module is not installed; the message shows the command that installs it.

    Examples
    --------
    >>> optional("math", "demo", "circles need").pi
    3.141592653589793
    >>> optional("no_such_module", "demo", "circles need")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.MissingExtraError: circles need no_such_module: pip install no_such_module,
    or with all that belongs to it: pip install ".[demo]" in the folder of the source
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise MissingExtraError(f"{what} {name}: {installing(name, extra)}") from None


def installing(package: str, extra: str) -> str:
    """The command that installs an optional dependency, for an error message.

    This library is not on a package index, so its extras are installed from its source. The
    dependency itself is on an index.

    Examples
    --------
    >>> installing("tqdm", "demo")
    'pip install tqdm, or with all that belongs to it: pip install ".[demo]" in the folder of the source'
    """
    return f'pip install {package}, or with all that belongs to it: pip install ".[{extra}]" in the folder of the source'
