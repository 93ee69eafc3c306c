"""Summary: the contents of a model file in words. No object of the file is built, so no class is needed."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from ..console import counted
from ..files import Stored, read_tensors
from ..nn.module import BESIDE
from .describe import Json
from .model_file import FILE_KEY, errors_of, read_contents

__all__ = ["summary"]

MOST = 60
"""Largest number of characters that are shown of one argument."""


def summary(path: str | os.PathLike[str]) -> str:
    """Contents of a ``.safetensors`` file in words: architecture, parameters and additional values.

    Raises
    ------
    DataError
        As in :func:`tinygrad_rnn.load`; but classes need not be known.

    Examples
    --------
    >>> import tempfile
    >>> import tinygrad_rnn as tr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.save(tr.nn.Linear(2, 1), f"{folder}/m.safetensors", unit="mV", training={"update": 7})
    ...     print(summary(f"{folder}/m.safetensors"))
    nn.Linear(2, 1)
    <BLANKLINE>
    parameters: 3 numbers, 12 bytes
      bias    float32  (1,)
      weight  float32  (1, 2)
    along with it
      unit      'mV'
      training  dict: update
    written by tinygrad_rnn ... in format 1
    """
    with read_tensors(path) as (texts, stored):
        if FILE_KEY not in texts:
            return "\n".join(["arrays alone, without an architecture", "", *_table("arrays", stored, ())])
    with read_contents(path) as (name, description, arrays), errors_of(name):
        model, values = description["model"], description["values"]
        described = _all_said([*model["objects"], *[o for c in model["changes"] for o in c["objects"]], *values["objects"]])
        own = {name: array for name, array in arrays.items() if not name.startswith(BESIDE)}
        changes = [
            ".".join(map(str, (*keys, name))) + f" = {_said(value, described)}"
            for change in model["changes"]
            for keys, name, value in change["set"]
        ]
        lines = [_said(model["value"], described, most=1000), ""]
        lines += ["changed since it was made", *[f"  {_plain(line)}" for line in changes]] if changes else []
        lines += _table("parameters", own, description["frozen"])
        named = {_plain(name): _said(value, described) for name, value in values["named"].items()}
        width = max(map(len, named), default=0)
        lines += ["along with it", *[f"  {name:{width}}  {said}" for name, said in named.items()]] if named else []
        lines.append(f"written by tinygrad_rnn {_plain(str(description['library']))} in format {description['format']}")
    return "\n".join(lines)


def _table(title: str, arrays: Mapping[str, Stored], frozen: Sequence[str]) -> list[str]:
    names = [_plain(name) for name in arrays]
    width = max(map(len, names), default=0)
    count = sum(math.prod(array.shape) for array in arrays.values())
    size = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
    rows = [
        f"  {shown:{width}}  {array.dtype}  {array.shape}" + "  frozen" * (name in frozen)
        for shown, (name, array) in zip(names, arrays.items(), strict=True)
    ]
    return [f"{title}: {counted(count, 'number')}, {size:,} bytes", *rows]


def _all_said(objects: Sequence[Json]) -> list[str]:
    """Each object of a file in words; an object refers only to earlier objects."""
    said: list[str] = []
    for description in objects:
        kind, content = next(iter(description.items()))
        if kind == "module":
            args = [_said(value, said) for value in description["args"]]
            args += [f"{name}={_said(value, said)}" for name, value in description["kwargs"].items()]
            found = f"{content}({', '.join(args)})"
        elif kind == "object":
            found = str(content)
        else:
            found = f"{kind} {content!r}" if kind == "parameter" else kind
        said.append(_plain(found))
    return said


def _said(value: Json, objects: Sequence[str], most: int = MOST) -> str:
    """A value of a file in words."""
    if not isinstance(value, dict):
        return _short(repr(value), most)
    kind, content = next(iter(value.items()))
    if kind == "#":
        return _short(objects[content], most)
    if kind in ("list", "tuple"):
        inner = ", ".join(_said(part, objects) for part in content[:MOST])
        return _short(f"[{inner}]" if kind == "list" else f"({inner}{',' * (len(content) == 1)})", most)
    if kind == "dict":
        return _short(f"dict: {', '.join(str(key) for key, _ in content[:MOST])}", most)
    return _short(str(content) if isinstance(content, str) else kind, most)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(text: str) -> str:
    """A text of a file, made safe for a terminal."""
    return text if text.isprintable() else repr(text)
