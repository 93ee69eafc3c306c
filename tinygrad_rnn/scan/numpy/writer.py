"""Writer: a program as the source of a Python function that calls NumPy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph.node import Node
from ...ops.facts import facts_of
from ..loop import Output, is_scalar_constant, is_ufunc
from ..partition import When
from ..time_sums import TimeSum
from .arrays import Form, Needs, array_index, batchable
from .program import Call, Copy, NumpyProgram, Storage

__all__ = ["SourceWriter"]

_SUFFIX: dict[Form, str] = {"": "", "T": "T", "0": "_0"}
_BY_KEYWORD = (np.maximum, np.minimum)
"""Ufuncs that deprecate ``out`` as a positional argument, which would be faster."""


class SourceWriter:
    """The source of a program.

    A value's name is a letter, its number, and the name that the author gave. The letter is ``w`` for an
    array that is the same at all steps, ``x`` for an array with a row for each step of a chunk,
    ``s`` for the value at one step, ``t`` for the views over which a loop iterates, ``n`` for a
    number, and ``r`` for a result.

    Parameters
    ----------
    program : NumpyProgram
    batch_last : bool
        The layout of arrays. Products are transposed accordingly.

    Attributes
    ----------
    constants : dict of str to Any
        The kernels, attributes and numbers to which the source refers.
    needs : Needs
        The arrays and views that the source reads.
    source : str
        ``def run(inputs, memory, steps) -> list of arrays``. If memory holds values that are the
        same in all runs, also ``def fill(memory)``.
    """

    def __init__(self, program: NumpyProgram, batch_last: bool) -> None:
        self.program = program
        self.schedule, self.loop = program.schedule, program.schedule.loop
        self.batch_last = batch_last
        self.constants: dict[str, Any] = {}
        self.needs = Needs([], [], [], [], self.schedule.live)
        self._labels: dict[Node, str] = {}
        self._turned: dict[Node, str] = {}
        self._bound: dict[str, str] = {}
        self._rows: dict[str, str] = {}
        self.source = self._written()

    def _written(self) -> str:
        program, time_sums = self.program, self.schedule.time_sums
        consts = self._consts()
        fixed = [line for call in program.fixed for line in self._once(call)]
        once = [line for call in program.once for line in self._once(call)]
        chunk = [line for stage, calls in enumerate(program.stages) for line in self._stage(stage, calls)]
        results, returned = self._results()
        sums, closing = self._time_sums()
        closing += [line for node in self.schedule.closing for line in self._once(node)]
        memory = [f"{_tuple([self._const(*entry) for entry in self.needs.constant])} = memory.constant"]
        memory = memory if self.needs.constant else []
        run = [
            *consts,
            *once,
            *[f"{name} = {self._name(node)}.swapaxes(-1, -2)" for node, name in self._turned.items()],
            *[f"{method} = {matrix}.dot" for matrix, method in self._bound.items()],
            f"ends = [{', '.join(f'inputs[{len(self.loop.sequences) + i}]' for i in self.needs.slots)}]",
            *self._fresh_results(),
            *[f"{self._name(time_sum.leaf)} = None" for time_sum in time_sums],
            "for start, stop, arrays, attributes, tables, firsts, lasts in memory.chunks:",
            *_indented([*self._unpacked(), *chunk, *results, *sums] or ["pass"]),
            *closing,
            f"return [{', '.join(returned)}]",
        ]
        source = _function("run(inputs, memory, steps)", [*memory, *_views_again(fixed, run), *run])
        return _function("fill(memory)", [*memory, *fixed]) + "\n\n" + source if fixed else source

    def _consts(self) -> list[str]:
        """Lines that name the consts that are read."""
        nodes = [*self.schedule.nodes, *self.schedule.summing]
        used = {i for node in nodes for i in node.inputs}.union(self.schedule.nodes)
        first = len(self.loop.sequences) + len(self.loop.carry)
        return [f"{self._name(node)} = inputs[{k}]" for k, node in enumerate(self.loop.consts, first) if node in used]

    def _unpacked(self) -> list[str]:
        """Lines that name the arrays of a chunk."""
        lines = ["for into, end in zip(firsts, ends):", "    copyto(into, end)", "ends = lasts"] if self.needs.slots else []
        for names, held in (
            ([self._name(node) for node in self.needs.arrays], "arrays"),
            ([f"b{self._label(node)}" for node in self.needs.attributed], "attributes"),
            ([self._table(*entry) for entry in self.needs.tables], "tables"),
        ):
            if names:
                lines.append(f"{_tuple(names)} = {held}")
        for k, node in enumerate(self.loop.sequences):
            if node in self._labels:
                name = self._name(node) if self.program.storage[node].kind == "input" else self._given(node)
                lines.append(f"{name} = inputs[{k}][start:stop]")
        for node, storage in self.program.storage.items():
            if storage.kind == "result":
                lines.append(f"{self._name(node)} = r{storage.position}[start:stop]")
        return lines

    # -- names -----------------------------------------------------------------------------

    def _label(self, node: Node) -> str:
        if node not in self._labels:
            name = f"_{node.name}"
            self._labels[node] = f"{len(self._labels)}{name if node.name and name.isidentifier() else ''}"
        return self._labels[node]

    def _name(self, node: Node) -> str:
        if is_scalar_constant(node):
            name = f"n{self._label(node)}"
            self.constants[name] = node.value
            return name
        return f"{'x' if self.program.over_time(node) else 'w'}{self._label(node)}"

    def _given(self, node: Node) -> str:
        """The name of a sequence as the caller gave it, from which it is copied."""
        return f"given{self._label(node)}"

    def _const(self, node: Node, form: Form) -> str:
        return f"{'s' if self.program.over_time(node) else 'w'}{self._label(node)}{_SUFFIX[form]}"

    def _table(self, node: Node, form: Form) -> str:
        return f"t{self._label(node)}{_SUFFIX[form]}"

    def _kernel(self, node: Node) -> str:
        assert node.primitive is not None
        name, kernel = f"_{node.primitive.name}", node.primitive.kernel
        if node.primitive.ufunc is not None and any(i.dtype.kind == "f" for i in node.inputs):
            kernel = node.primitive.ufunc  # no integers have to be converted to floats at every step
        while self.constants.setdefault(name, kernel) is not kernel:
            name += "_"  # the name is taken, by the kernel for integers or by an earlier primitive of this name
        return name

    def _attributes(self, node: Node) -> str:
        if not node.attributes:
            return ""
        name = f"a{self._label(node)}"
        self.constants[name] = dict(node.attributes)
        return f", **{name}"

    def _led(self, node: Node) -> str:
        """The attributes for all steps at once; those that depend on the number of steps come from the memory."""
        primitive = node.primitive
        if primitive is None or not node.attributes:
            return ""
        if primitive.leading is None or array_index(node) is not None:
            return self._attributes(node)
        if node not in self.needs.attributed:
            self.needs.attributed.append(node)
        return f", **b{self._label(node)}"

    def _dynamic(self, node: Node) -> bool:
        """Whether the array of a node is a new one in every run."""
        while self._is_view(node):
            node = node.inputs[0]
        storage = self.program.storage.get(node)
        return storage is None or storage.kind in ("input", "result", "fresh")

    def _is_view(self, node: Node) -> bool:
        storage = self.program.storage.get(node)
        return storage is not None and storage.kind == "view"

    def _viewed(self, node: Node, argument: str, attributes: str) -> str:
        reads = facts_of(node).reads
        if reads is None:
            return f"{self._kernel(node)}({argument}{attributes})"
        name, index = f"a{self._label(node)}", node.attributes[reads]
        self.constants[name] = (slice(None), *index) if self.program.over_time(node) else index
        return f"{argument}[{name}]"

    # -- once ------------------------------------------------------------------------------

    def _once(self, call: Call) -> list[str]:
        if isinstance(call, Copy):
            return [f"copyto({self._stored(call.target)}, {self._array(call.source)})"]
        node = call
        names = ", ".join(self._array(i) for i in node.inputs)
        if self._is_view(node):
            return [f"{self._name(node)} = {self._viewed(node, names, self._attributes(node))}"]
        if self._dynamic(node):
            made = f"{self._kernel(node)}({names}{self._attributes(node)})"
            makes_an_array = is_ufunc(node) or facts_of(node).product
            return [f"{self._name(node)} = {made if makes_an_array else f'unshared({made}, {names})'}"]
        return [f"{self._kernel(node)}({names}, out={self._stored(node)}{self._attributes(node)})"]

    def _stored(self, node: Node, form: Form = "") -> str:
        """The name of an array that all steps share."""
        if (node, form) not in self.needs.constant:
            self.needs.constant.append((node, form))
        return self._const(node, form)

    # -- for all steps of a chunk at once --------------------------------------------------

    def _stage(self, stage: int, calls: Sequence[Call]) -> list[str]:
        if When.of(stage) is When.LOOP:
            return self._loop(calls) if calls else []
        return [line for call in calls for line in self._batched(call)]

    def _array(self, node: Node) -> str:
        """The name of the array of all steps, or of the single value that all steps share."""
        program = self.program
        if is_scalar_constant(node) or self._dynamic(node):
            return self._name(node)
        if not program.over_time(node):
            return self._name(node) if self._is_view(node) else self._stored(node)
        if node not in self.needs.arrays:
            self.needs.arrays.append(node)
        return self._name(node)

    def _batched(self, call: Call) -> list[str]:
        program = self.program
        if isinstance(call, Copy):
            source, target = call
            self._label(source)
            return [f"copyto({self._array(target)}, {self._given(source) if target is source else self._array(source)})"]
        node = call
        if self._is_view(node):
            if not self._dynamic(node):
                return []
            return [f"{self._name(node)} = {self._viewed(node, self._array(node.inputs[0]), self._led(node))}"]
        out = self._array(node)
        if node in self.schedule.partition.running:
            return [self._running_sum(node, out)]
        if not batchable(node, program):
            steps = [f"{self._array(i)}[i, ...]" if program.over_time(i) else self._array(i) for i in node.inputs]
            one = f"{self._kernel(node)}({', '.join(steps)}, out={out}[i, ...]{self._attributes(node)})"
            return ["for i in range(stop - start):", f"    {one}"]
        if facts_of(node).product and program.over_time(node.inputs[0]):
            return self._batched_product(node, out)
        by_axes = node.primitive is not None and node.primitive.leading is not None and facts_of(node).reads is None
        names = [self._repeated(i) if by_axes else self._array(i) for i in node.inputs]
        return [f"{self._kernel(node)}({', '.join(names)}, out={out}{self._led(node)})"]

    def _running_sum(self, node: Node, out: str) -> str:
        partition = self.schedule.partition
        slot, term = self.loop.carry[partition.running[node]], partition.term(node)
        turn = "[::-1]" if self.loop.reverse else ""
        terms = f"{self._array(term)}{turn if self.program.over_time(term) else ''}"
        return f"accumulate({self._array(slot)}{turn}, {terms}, {out}{turn})"

    def _repeated(self, node: Node) -> str:
        """An array with a row for each step, also for a value that all steps share."""
        name = self._array(node)
        return name if self.program.over_time(node) else f"broadcast_to({name}, (stop - start, *{name}.shape))"

    def _batched_product(self, node: Node, out: str) -> list[str]:
        a, b = node.inputs
        one = not self.program.over_time(b) and len(b.shape) == 2 == len(a.shape)
        if one and self.program.storage[node].kind == "result" and np.result_type(a.dtype, b.dtype) == node.dtype:
            lines: list[str] = []
            rows = self._rows_of(a, False, lines)
            return [*lines, f"dot({rows}, {self._array(b)}, rows({out}))"]
        return [f"product({self._array(a)}, {self._array(b)}, {out})"]

    # -- step by step ----------------------------------------------------------------------

    def _loop(self, calls: Sequence[Call]) -> list[str]:
        used: list[tuple[Node, Form]] = []
        body = [line for call in calls for line in self._at_step(call, used)]
        given = [entry for entry in used if self._dynamic(entry[0])]
        self.needs.tables.extend(entry for entry in used if entry not in self.needs.tables and entry not in given)
        lines = [f"{self._table(*entry)} = memory.table({self._name(entry[0])}, {entry[1]!r})" for entry in given]
        steps, tables = [self._const(*entry) for entry in used], [self._table(*entry) for entry in used]
        if not used:
            lines.append("for _ in range(stop - start):")
        elif len(used) == 1:
            lines.append(f"for {steps[0]} in {tables[0]}:")
        else:
            lines.append(f"for {', '.join(steps)} in zip({', '.join(tables)}):")
        return [*lines, *[f"    {line}" for line in body]] if body else []

    def _at_step(self, call: Call, used: list[tuple[Node, Form]]) -> list[str]:
        if isinstance(call, Copy):
            return [f"copyto({self._step(call.target, used)}, {self._step(call.source, used)})"]
        node = call
        if self._is_view(node):
            return []
        if facts_of(node).product and len(node.shape) == 2:
            return [self._product(node, used)]
        names = [self._step(i, used, self._form(i, node)) for i in node.inputs]
        out = self._step(node, used)
        if is_ufunc(node) and node.primitive is not None and node.primitive.ufunc not in _BY_KEYWORD:
            return [f"{self._kernel(node)}({', '.join(names)}, {out})"]
        return [f"{self._kernel(node)}({', '.join(names)}, out={out}{self._attributes(node)})"]

    def _step(self, node: Node, used: list[tuple[Node, Form]], form: Form = "") -> str:
        """The name of a value at one step."""
        program = self.program
        if is_scalar_constant(node) or not program.over_time(node):
            name = self._array(node)
            return self._turned.setdefault(node, f"{name}T") if form == "T" else name
        buffer = program.buffer(node)
        if buffer is not None and buffer.extent == "step":
            return self._stored(node, form)
        if (node, form) not in used:
            used.append((node, form))
        return self._const(node, form)

    def _form(self, operand: Node, node: Node) -> Form:
        """The form of an operand. A single number that is broadcast is passed as a scalar, which is as fast as equal shapes."""
        one = math.prod(operand.shape) == 1 != math.prod(node.shape)
        return "0" if one and operand.shape and self.program.over_time(operand) and is_ufunc(node) else ""

    def _product(self, node: Node, used: list[tuple[Node, Form]]) -> str:
        """The call of a product: `np.dot`, in the orientation in which the result is contiguous."""
        a, b = node.inputs
        if not self._in_one_block(node) or np.result_type(a.dtype, b.dtype) != node.dtype:
            return f"matmul({self._step(a, used)}, {self._step(b, used)}, {self._step(node, used)})"
        form: Form = "T" if self.batch_last else ""
        left, right = (b, a) if self.batch_last else (a, b)
        first = self._step(left, used, form)
        rest = f"{self._step(right, used, form)}, {self._step(node, used, form)}"
        if self.program.over_time(left):
            return f"dot({first}, {rest})"
        return f"{self._bound.setdefault(first, f'dot_{first}')}({rest})"  # a bound method is looked up once, and is faster

    def _in_one_block(self, node: Node) -> bool:
        """Whether the memory of a value has no gaps."""
        storage = self.program.storage[node]
        while storage.kind == "piece":
            assert storage.of is not None and storage.part is not None
            if storage.part[0] != (-1 if self.batch_last else -2) or len(storage.of.shape) != 2:
                return False
            storage = self.program.storage[storage.of]
        return storage.kind in ("own", "before", "after")

    # -- results ---------------------------------------------------------------------------

    def _fresh_results(self) -> list[str]:
        lines = []
        for k, output in enumerate(self.loop.outputs):
            if output.kind == "stack" and not self._is_residual(output):
                self.constants[f"d{k}"] = output.node.dtype
                lines.append(f"r{k} = empty((steps, {''.join(f'{n}, ' for n in output.node.shape)}), d{k})")
        return lines

    def _is_residual(self, output: Output) -> bool:
        """Whether an output stays in memory; a rewrite may have replaced it by an array of the caller."""
        return output.residual and self.program.over_time(output.node) and not self._dynamic(output.node)

    def _results(self) -> tuple[list[str], list[str]]:
        """Lines that copy outputs, for each chunk; and the values that are returned."""
        lines, returned = [], []
        order = {self.loop.carry[i]: k for k, i in enumerate(self.needs.slots)}
        for k, (output, node) in enumerate(zip(self.loop.outputs, self.schedule.results, strict=True)):
            if output.kind == "sum":
                returned.append(self._name(node))
            elif output.kind == "final":
                returned.append(f"ends[{order[node]}].copy()")
            elif output.kind == "once":
                copied = self.program.storage[node].kind != "fresh" or node.shape == ()  # for shape (), ufuncs return numbers
                returned.append(f"np.array({self._array(node)})" if copied else self._name(node))
            elif self._is_residual(output):
                returned.append("None")
            else:
                if self.program.storage.get(node) != Storage("result", position=k):
                    lines.append(f"r{k}[start:stop] = {self._array(node)}")
                returned.append(f"r{k}")
        return lines, returned

    def _time_sums(self) -> tuple[list[str], list[str]]:
        """Lines that add up sums over time, for each chunk; and lines for after the last chunk."""
        lines: list[str] = []
        closing: list[str] = []
        for time_sum in self.schedule.time_sums:
            name = self._name(time_sum.leaf)
            self.constants[f"d{name}"] = time_sum.leaf.dtype
            if time_sum.kind == "steps":
                closing.append(f"{name} = np.array(steps, d{name})")
                continue
            # in float16 the sum over many steps would stop growing
            half = time_sum.leaf.dtype == np.float16
            wide = "np.float32" if half else f"d{name}"
            part = self._part(time_sum, wide, lines)
            if half and time_sum.kind != "plain":
                part = f"{part}.astype({wide})"
            lines += [f"part = {part}", f"{name} = part if {name} is None else add({name}, part, {name})"]
            if half:
                closing.append(f"{name} = None if {name} is None else {name}.astype(d{name})")
            shape = f"({''.join(f'{n}, ' for n in time_sum.leaf.shape)})"
            closing.append(f"{name} = np.zeros({shape}, d{name}) if {name} is None else {name}")
        return lines, closing

    def _part(self, time_sum: TimeSum, dtype: str, lines: list[str]) -> str:
        """A chunk's part of a sum over time; `lines` gets the lines that must come before."""
        if time_sum.kind == "plain":
            return f"add.reduce({self._array(time_sum.operands[0])}, axis=0, dtype={dtype})"
        if time_sum.kind == "scatter":
            (node,) = time_sum.operands
            return f"{self._kernel(node)}({', '.join(self._repeated(i) for i in node.inputs)}{self._attributes(node)})"
        left, right = time_sum.operands
        first, second = self._rows_of(left, True, lines), self._rows_of(right, False, lines)
        return f"dot({first}.T, {second})" if time_sum.kind == "product" else f"dot({second}.T, {first})"

    def _rows_of(self, node: Node, turned: bool, lines: list[str]) -> str:
        """The name of one matrix with the rows of all steps of a matrix, or of its transpose."""
        order = facts_of(node).reorders
        if turned and order and node.attributes[order] == (-1, -2):
            node, turned = node.inputs[0], False
        array = f"{self._array(node)}.swapaxes(-1, -2)" if turned else self._array(node)
        if array not in self._rows:
            self._rows[array] = f"rows{self._label(node)}{'T' * turned}"
            lines.append(f"{self._rows[array]} = rows({array})")
        return self._rows[array]


def _views_again(fixed: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The lines that name views which `lines` read, among the lines that are run once for all runs."""
    said = set(re.findall(r"\w+", "\n".join(lines)))
    found: list[str] = []
    for line in reversed(fixed):
        name, equals, made = line.partition(" = ")
        if equals and name in said:
            found.insert(0, line)
            said.update(re.findall(r"\w+", made))
    return found


def _function(signature: str, lines: Sequence[str]) -> str:
    return "\n".join([f"def {signature}:", *_indented(lines), ""])


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)"
