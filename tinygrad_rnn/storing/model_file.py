"""Model files: a whole model, additional values, and the state of its training."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from .. import random
from .._version import __version__
from ..checks import no_such
from ..errors import DataError, TinygradError
from ..files import Stored, read_tensors, write_tensors
from ..nn import Module
from ..nn.module import BESIDE
from .build import Builder, apart
from .compare import TwinComparison
from .describe import Describer, Json
from .known import by_name

__all__ = ["FILE_KEY", "FORMAT", "Contents", "errors_of", "load", "read_contents", "save"]

FILE_KEY = "tinygrad_rnn"
"""Name of the description among the texts of a file."""
FORMAT = 1
"""The format of the description in the files that are written."""
ROUNDS = 8
"""Most comparisons of a model with its twin: objects that were added to a model may have later changes too."""
AnyPath = str | os.PathLike[str]


def save(
    model: Module,
    path: AnyPath,
    *,
    training: Mapping[str, Any] | None = None,
    classes: Sequence[type] = (),
    **values: Any,
) -> None:
    """Write a whole model to a ``.safetensors`` file: architecture, parameters and additional values.

    The file holds the parameters under the names of `state_dict`, and the architecture as
    JSON: class and arguments of each module, and changes made after the constructor. The
    description is tested before the file is written: a second model is made from it and compared.
    An existing file stays until the new file is complete.

    Parameters
    ----------
    model : Module
        The model, of this library or of your own class.
    path : str or path
        The file.
    training : mapping of str to value, optional
        All objects that a run needs to continue: optimisers, schedules, counts, random generators.
        With ``"rng": True`` the file has the state of the library's random generator too.
    classes : sequence of type
        Classes whose objects are stored by their attributes, such as a scaler of another library.
    **values
        Additional values, such as vocabularies, scalers, units. Allowed are numbers, strings,
        booleans, None, dtypes, arrays, and tuples, lists and dictionaries of them; vocabularies of
        :mod:`tinygrad_rnn.sequences`; objects of `classes`.

    Raises
    ------
    DataError
        If a value cannot be stored, with its path in the message; if the file cannot be written.
    MissingExtraError
        If the library safetensors, the extra ``files``, is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> vocabulary = tr.sequences.CharVocabulary("hello")
    >>> model = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5), nn.Linear(5, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.save(model, f"{folder}/m.safetensors", vocabulary=vocabulary)
    ...     again, vocabulary = tr.load(f"{folder}/m.safetensors", "model", "vocabulary")
    >>> again([[3]]).data.tolist() == model([[3]]).data.tolist()
    True
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0])
    """
    if not isinstance(model, Module):
        raise TypeError(f"tr.save(model, path) needs a module, not of type {type(model).__name__}")
    state = None if training is None else {**training, **({"rng": random.generator()} if training.get("rng") else {})}
    kept = values if state is None else {**values, "training": state}
    try:
        with errors_of(f"cannot save {type(model).__name__}"):
            texts, arrays = _described(model, kept, classes)
    except RecursionError:
        raise DataError(f"cannot save {type(model).__name__}: something in it is nested too deeply") from None
    write_tensors(path, arrays, texts, "the model")


@overload
def load(path: AnyPath, *, classes: Sequence[type] = ()) -> Module: ...
@overload
def load(path: AnyPath, name: str, /, *names: str, classes: Sequence[type] = ()) -> Any: ...
def load(path: AnyPath, *names: str, classes: Sequence[type] = ()) -> Any:
    """Read a model, or its additional values, from a file that :func:`save` wrote.

    Nothing in the file is executed: modules of this library come from a table, and your own
    classes from `classes`. Names, shapes and dtypes are compared before an array is read, so
    the memory that a file takes is at most a few times its size.

    Parameters
    ----------
    path : str or path
        The file.
    *names : str
        Names of the wanted values: ``"model"``, ``"training"``, or names of additional values.
        Without a name, the model is returned; with several names, a tuple.
    classes : sequence of type
        Your own classes in the file: modules, optimisers, and the `classes` given to :func:`save`.

    Returns
    -------
    Module, value, or tuple of them
        With ``"training"``, the library's random generator gets the stored state, if there is one.

    Raises
    ------
    DataError
        If the file cannot be read, is not a model file, is damaged, or was written by a newer
        version; if a class is missing in `classes`. In these cases nothing is changed.
    StateDictError
        If the arrays do not fit the architecture.
    MissingExtraError
        If the library safetensors, the extra ``files``, is not installed.

    Examples
    --------
    A run that continues after it was killed:

    >>> import tempfile
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.Adam(model.parameters(), lr=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.save(model, f"{folder}/run.safetensors", training={"optimizer": optimizer, "update": 7, "rng": True})
    ...     model, training = tr.load(f"{folder}/run.safetensors", "model", "training")
    >>> training["update"], training["optimizer"].parameters[0] is model.weight
    (7, True)
    """
    with read_contents(path) as contents, apart():
        found = _built(contents, names, classes)
    rng = found["training"].get("rng") if isinstance(found.get("training"), dict) else None
    if isinstance(rng, np.random.Generator):
        random.use(rng)
    if not names:
        return found["model"]
    return found[names[0]] if len(names) == 1 else tuple(found[name] for name in names)


# -- describing ----------------------------------------------------------------------------


def _described(
    model: Module, values: Mapping[str, Any], classes: Sequence[type]
) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    """The texts and arrays of a model file."""
    state = dict(model.named_parameters())
    describer = Describer({id(parameter): name for name, parameter in state.items()}, classes)
    root = describer.of(model, type(model).__name__)
    description: dict[str, Json] = {
        "format": FORMAT,
        "library": __version__,
        "model": {"objects": describer.take_objects(), "value": root, "changes": []},
        "frozen": [name for name, parameter in state.items() if not parameter.requires_grad],
    }
    comparison = _change_until_alike(model, describer, description["model"])
    describer.places, describer.takes_modules = comparison.places, False
    described = {name: describer.of(value, name) for name, value in values.items()}
    description["values"] = {"objects": describer.take_objects(), "named": described}
    by_name(describer.used)  # raises if two classes have the same name
    text = json.dumps(description, allow_nan=False, separators=(",", ":"))
    return {FILE_KEY: text}, {**{name: parameter.data for name, parameter in state.items()}, **describer.arrays}


def _change_until_alike(model: Module, describer: Describer, description: Json) -> TwinComparison:
    """Describe later changes to a model, until a twin built from the description is equal to the model."""
    for _ in range(ROUNDS):
        # the twin gets the arrays as they are now
        arrays = {**{n: p.data for n, p in model.named_parameters()}, **describer.arrays}
        stored = {name: Stored(array.shape, array.dtype, array.copy) for name, array in arrays.items()}
        with apart():
            twin = Builder(stored, by_name(describer.used)).model(
                description["objects"], description["value"], description["changes"]
            )
        found = TwinComparison(model, twin)
        if not found.alike:
            raise DataError(
                "calling its class again makes an object of another class; let __new__ return an instance of the class"
            )
        if not found.different and not found.gone:
            return found
        describer.places = found.places
        changes = [
            [list(keys), name, describer.of(value, ".".join(map(str, (type(model).__name__, *keys, name))))]
            for keys, name, value in found.different
        ]
        gone = [[list(keys), name] for keys, name in found.gone]
        description["changes"].append({"objects": describer.take_objects(), "set": changes, "delete": gone})
    keys, name = [*[one[:2] for one in found.different], *found.gone][0]
    raise DataError(
        f"{'.'.join(map(str, (*keys, name)))} differs each time the model is made from the same arguments; make __init__ "
        "give the "
        "same value, or pass the value as an argument"
    )


# -- reading -------------------------------------------------------------------------------


class Contents(NamedTuple):
    """A model file that is open, before any object is built.

    Attributes
    ----------
    path : str
    description : dict
        The architecture and the additional values, as JSON.
    arrays : dict of str to Stored
    """

    path: str
    description: dict[str, Json]
    arrays: dict[str, Stored]


@contextlib.contextmanager
def read_contents(path: AnyPath) -> Iterator[Contents]:
    """Open a model file, and check that this version can read it."""
    with read_tensors(path) as (texts, arrays):
        name = os.fsdecode(path)
        with errors_of(name):
            if FILE_KEY not in texts:
                raise DataError("it has only arrays and no architecture; make the model, and call model.load(path)")
            description = _parsed(texts[FILE_KEY])
            written = description.get("format")
            if type(written) is int and written > FORMAT:
                raise DataError(
                    f"version {description.get('library')!r:.30} of this library wrote it in format {written}, but version "
                    f"{__version__} reads only up to format {FORMAT}; install a newer version"
                )
            if type(written) is not int or written < 1:
                raise DataError(f"its format is {written!r:.60}")
        yield Contents(name, description, arrays)


def _parsed(text: str) -> dict[str, Json]:
    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise DataError("its description has a key twice")
        return found

    def whole(digits: str) -> int:
        if len(digits) > 200:
            raise DataError("it has a number of more than 180 digits")
        return int(digits)

    def never(constant: str) -> None:
        raise DataError(f"its description has {constant}, which is not JSON")

    found = json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_constant=never)
    if not isinstance(found, dict):
        raise DataError("its description must be a JSON object")
    return found


def _built(contents: Contents, names: Sequence[str], classes: Sequence[type]) -> dict[str, Any]:
    """The model, and the additional values of the given names."""
    description = contents.description
    with errors_of(contents.path):
        builder = Builder(contents.arrays, by_name(classes))
        part = description["model"]
        model = builder.model(part["objects"], part["value"], part["changes"])
        own = dict(model.named_parameters())
        stored = {name: array for name, array in contents.arrays.items() if name in own or not name.startswith(BESIDE)}
        frozen = set(description["frozen"])
        if unknown := [name for name in frozen if name not in own]:
            raise DataError(f"it freezes {unknown[0]!r:.60}, but the model has no such parameter")
        model.check_state_dict(stored)
        model.load_state_dict({name: builder.array(name) for name in stored})
        for name, parameter in own.items():
            parameter.requires_grad_(name not in frozen)
        found = {"model": model}
        known = description["values"]["named"]
        if unknown := [name for name in names if name not in known and name != "model"]:
            raise DataError(no_such("value", unknown[0], ["model", *known]))
        if any(name in known for name in names):
            builder.objects(description["values"]["objects"])
            found |= {name: builder.value(known[name]) for name in names if name in known}
    return found


@contextlib.contextmanager
def errors_of(what: str) -> Iterator[None]:
    """Name the file in errors inside the block, and convert errors about a damaged description to a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{what}: {error}") from error.__cause__
    except TinygradError:
        raise
    except RecursionError:
        raise DataError(f"{what}: its description is nested too deeply") from None
    except Exception as error:  # a damaged description may raise any error
        raise DataError(f"{what}: its description is damaged: {type(error).__name__}: {error!s:.200}") from error
