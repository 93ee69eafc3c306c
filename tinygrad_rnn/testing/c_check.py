"""Comparison of the C code of primitives with their kernels: all cases are compiled together and run by the native backend."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.node import Node, Spec, leaf
from ..ops.core import Primitive, registry
from ..scan.loop import Loop, Output
from ..scan.native.compiler import CompilerError, find_compiler
from ..scan.native.executable import NativeExecutable
from ..scan.native.libraries import program_text, runners
from ..scan.native.types import C_TYPES, form_of
from ..scan.native.writer import CSource
from ..scan.schedule import Schedule
from .cases import Array, Case
from .gradients.verdicts import GradientCheckError

__all__ = ["check_c", "has_compiler"]

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, 100.0, -100.0, 0.5)
RELATIVE = {4: 2e-6, 8: 1e-12}
"""Tolerances of float32 and float64, by item size; multiplied by the largest number, or by 1 if that is larger."""


def has_compiler() -> bool:
    """Whether there is a C compiler on this machine."""
    try:
        find_compiler()
    except CompilerError:
        return False
    return True


def check_c(cases: Iterable[tuple[Primitive, Case]], level: str = "-O0") -> int:
    """Check on cases that the C of primitives gives the results of the kernels, with the same NaN and infinities.

    Each case is run in float64 and float32, and with inputs in the reverse memory order. Elementwise primitives of floats
    are also run with NaN, infinities and zeros of both signs.

    Parameters
    ----------
    cases : iterable of (Primitive, Case)
    level : str
        The compiler's optimisation level.

    Returns
    -------
    int
        Number of programs that were run. Cases without C code for a dtype are left out.

    Raises
    ------
    GradientCheckError
        If results differ. The message names the primitive, the inputs, and both results.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn.testing import random_cases
    >>> not has_compiler() or check_c([(tr.tanh, case) for case in random_cases(tr.tanh, 2)]) > 4
    True
    """
    programs: list[tuple[Primitive, Case, Loop, bool]] = []
    for primitive, case in cases:
        for variant, turned in _variants(primitive, case):
            loop = _loop(primitive, variant, turned)
            if loop is not None:
                programs.append((primitive, variant, loop, turned))
    written = [CSource(Schedule(loop)) for _, _, loop, _ in programs]
    texts = [program_text(source.text, source.page.functions, source.page.types) for source in written]
    with tempfile.TemporaryDirectory() as folder:
        functions = runners(dict(zip(texts, written, strict=True)), Path(folder), level)
        for (primitive, case, loop, turned), text in zip(programs, texts, strict=True):
            _compare(primitive, case, NativeExecutable(Schedule(loop), functions[text]), turned)
    return len(programs)


def _variants(primitive: Primitive, case: Case) -> Iterable[tuple[Case, bool]]:
    """The cases to run, each with whether its inputs have the reverse memory order."""
    for dtype in (np.float64, np.float32):
        inputs = tuple([x.astype(dtype) if x.dtype.kind == "f" else x for x in case.inputs])
        yield Case(inputs, case.attributes), False
        if dtype is np.float64 and any(x.ndim > 1 for x in inputs):
            yield Case(inputs, case.attributes), True
    if primitive.elementwise and all(x.dtype.kind == "f" for x in case.inputs):
        grid = np.meshgrid(*[np.array(SPECIAL)] * len(case.inputs))
        yield Case(tuple(grid), case.attributes), False


def _loop(primitive: Primitive, case: Case, turned: bool) -> Loop | None:
    """A loop without a state that applies a primitive to sequences; None if there is no C for these dtypes."""
    leaves = tuple([leaf(Spec(x.shape[::-1] if turned else x.shape, x.dtype)) for x in case.inputs])
    inputs = tuple([_transposed(node) for node in leaves]) if turned else leaves
    spec = primitive.shape(*[node.spec for node in inputs], **case.attributes)
    node = Node(primitive, inputs, case.attributes, spec)
    is_view = primitive.view is not None and primitive.view(case.attributes, inputs[0].shape)
    joins = primitive.facts.joins and all(i.dtype in C_TYPES for i in leaves)
    if not (is_view or joins) and form_of(node) is None:
        return None
    return Loop(leaves, (), (), (), (Output("stack", node),))


def _transposed(node: Node) -> Node:
    axes = tuple(range(-1, -len(node.shape) - 1, -1))
    return Node(registry["transpose"], (node,), {"axes": axes}, Spec(node.shape[::-1], node.dtype))


def _compare(primitive: Primitive, case: Case, run: NativeExecutable, turned: bool) -> None:
    with np.errstate(all="ignore"):
        expected = np.asarray(primitive.kernel(*case.inputs, **case.attributes))
    steps = [np.stack([x.T, x.T] if turned else [x, x]) for x in case.inputs]
    found: Any = run(steps, 2)[0][0]
    if not (_alike(expected, found[0]) and _alike(expected, found[1])):
        inputs = ", ".join(str(x.tolist()) for x in case.inputs)
        raise GradientCheckError(
            f"{primitive.name}: the C code gives {found[0].tolist()} for {inputs} {dict(case.attributes) or ''}, "
            f"but the kernel {expected.tolist()}"
        )


def _alike(expected: Array, found: Array) -> bool:
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        return False
    if expected.dtype.kind != "f":
        return np.array_equal(expected, found)
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return False
    allowed = RELATIVE[expected.dtype.itemsize] * np.maximum(1, np.abs(expected[finite]))
    return bool((np.abs(expected[finite] - found[finite]) <= allowed).all())
