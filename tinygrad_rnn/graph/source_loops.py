"""Loops of the user's code: whether the code that asked a loop for its next step can ask again, or has left it.

Python tells an iterator that its loop has ended only if nothing else holds the iterator.
A variable, a ``zip`` or a saved exception may hold the iterator for ever.
"""

from __future__ import annotations

import bisect
import dis
import functools
import inspect
import sys
from types import CodeType, FrameType
from typing import NamedTuple

__all__ = ["Asker", "askers", "is_left"]


class Asker(NamedTuple):
    """A frame that asked an iterator for the next step, kept without a reference, so that the frame's variables are freed.

    Attributes
    ----------
    frame : int
        Identity of the frame.
    code : CodeType
    loop : frozenset of int
        Offsets of the instructions of the innermost loop that the asking instruction stands in.
    """

    frame: int
    code: CodeType
    loop: frozenset[int]


def askers() -> list[Asker]:
    """The frames that called this function's caller; for the frame of a generator, the frames it yields to as well."""
    found: list[Asker] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        found.append(Asker(id(frame), code, _loop_around(code, frame.f_lasti)))
        if not code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
            break
        frame = frame.f_back
    return found


def is_left(asked: list[Asker]) -> bool:
    """Whether the innermost running asker has left the loop it asked from, or no asker is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        for asker in asked:
            if asker.frame == id(frame) and asker.code is frame.f_code:
                offsets, _ = _loops(asker.code)
                return _instruction(offsets, frame.f_lasti) not in asker.loop
        frame = frame.f_back
    return True


def _never_falls_through(opname: str) -> bool:
    return opname.startswith(("RETURN", "RAISE", "RERAISE")) or (opname.startswith("JUMP") and "IF" not in opname)


def _instruction(offsets: list[int], last: int) -> int:
    return offsets[bisect.bisect_right(offsets, last) - 1]  # the offset that was run last may lie inside an instruction's cache


def _loop_around(code: CodeType, last: int) -> frozenset[int]:
    offsets, loops = _loops(code)
    at = _instruction(offsets, last)
    return min((loop for loop in loops if at in loop), key=len, default=frozenset())


@functools.lru_cache(maxsize=256)
def _loops(code: CodeType) -> tuple[list[int], list[frozenset[int]]]:
    """Offsets of all instructions of a code object, and of the instructions within each of its loops."""
    bytecode = dis.Bytecode(code)
    instructions = list(bytecode)
    offsets = [each.offset for each in instructions]
    before: dict[int, list[int]] = {offset: [] for offset in offsets}
    backwards: dict[int, list[int]] = {}
    jumps = {*dis.hasjrel, *dis.hasjabs}
    for i, each in enumerate(instructions):
        if i + 1 < len(instructions) and not _never_falls_through(each.opname):
            before[offsets[i + 1]].append(each.offset)
        if each.opcode in jumps:
            before[each.argval].append(each.offset)
            if each.argval <= each.offset:
                backwards.setdefault(each.argval, []).append(each.offset)
    for handled in getattr(bytecode, "exception_entries", ()):  # before Python 3.11 exception handlers are jumps
        before[handled.target] += [offset for offset in offsets if handled.start <= offset < handled.end]
    loops: list[frozenset[int]] = []
    for start, ends in backwards.items():
        inside = {start}
        pending = list(ends)
        while pending:
            offset = pending.pop()
            if offset not in inside:
                inside.add(offset)
                pending.extend(before[offset])
        loops.append(frozenset(inside))
    return offsets, loops
