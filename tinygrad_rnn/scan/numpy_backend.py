"""The NumPy backend: writes a program as Python source, binds it to memory, and runs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..graph.node import Node, Spec
from .loop import is_number
from .program import Buffer, Call, Copy, Home, Program, is_elementwise, is_view, registry

__all__ = ["Executable"]

Array: TypeAlias = npt.NDArray[Any]

_MATMUL, _TRANSPOSE, _GETITEM = registry["matmul"], registry["transpose"], registry["getitem"]

CHUNK_BYTES = 1 << 21
"""Arrays of all steps of a chunk should fit the second-level cache."""
CHUNK_ROWS = 256
"""Rows that a product over all steps of a chunk needs to be worth it."""
TABLE = 1024
"""Steps up to which the views of each step are made once and kept."""


class Executable:
    """A program, ready to run for any number of steps, in any number of threads.

    Parameters
    ----------
    program : Program
    batch_last : bool
        Whether arrays lie in memory with the first axis of each step's value, the batch,
        as the last one: gates are then contiguous. Kernels see no difference.
    """

    def __init__(self, program: Program, batch_last: bool = True) -> None:
        self.program = program
        self.batch_last = batch_last
        writer = _Writer(program, batch_last)
        self.source = writer.source()
        self._writer = writer
        space: dict[str, Any] = dict(writer.constants)
        exec(compile(self.source, "<program>", "exec"), space)
        self._run = space["run"]
        self._pool: dict[int, list[Memory]] = {}
        self._lock = threading.Lock()

    def __call__(self, inputs: Sequence[Array], steps: int) -> tuple[list[Any], Memory]:
        """Run.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
            As a :class:`Loop` has them.
        steps : int
            T.

        Returns
        -------
        results : list of numpy.ndarray
            One for each item.
        memory : Memory
            What lent items lie in; give it back by :meth:`release`.
        """
        with self._lock:
            pool = self._pool.setdefault(steps, [])
            memory = pool.pop() if pool else None
        if memory is None:
            memory = Memory(self, steps)
        return self._run(inputs, memory, steps), memory

    def release(self, memory: Memory) -> None:
        """Memory that nobody reads any more, for a next call."""
        with self._lock:
            pool = self._pool.setdefault(memory.steps, [])
            if len(pool) < 4:
                pool.append(memory)
            while len(self._pool) > 8:  # lengths that no longer turn up
                self._pool.pop(next(iter(self._pool)))


# -- memory --------------------------------------------------------------------------------


class Memory:
    """The buffers of one run, and all views of them that a run needs."""

    def __init__(self, executable: Executable, steps: int) -> None:
        program, writer = executable.program, executable._writer
        self.program = program
        self.steps = steps
        self.batch_last = executable.batch_last
        self.length = min(steps, _chunk(program))
        self._arrays = [self._allocate(buffer) for buffer in program.buffers]
        self._views: dict[Any, Any] = {}
        self.constant = [_turned(self._view(node, None), flipped) for node, flipped in writer.constant_nodes]
        starts = range(0, steps, max(1, self.length))
        bounds = [(start, min(start + self.length, steps)) for start in starts]
        reverse = program.loop.reverse
        self.chunks = [self._chunk(writer, *pair) for pair in (bounds[::-1] if reverse else bounds)]
        self._views.clear()

    def _allocate(self, buffer: Buffer) -> Array:
        shape = buffer.spec.shape
        physical = (*shape[1:], *shape[:1]) if self.batch_last and len(shape) > 1 else shape
        rows = {"whole": (self.steps + buffer.carry,), "chunk": (self.length + buffer.carry,)}.get(buffer.extent, ())
        array = np.empty((*rows, *physical), buffer.spec.dtype)
        return np.moveaxis(array, -1, len(rows)) if self.batch_last and len(shape) > 1 else array

    def lent(self, node: Node) -> Array:
        """The values of a node at all steps."""
        found: Array = self._view(node, (0, self.steps))
        return found

    def _chunk(self, writer: _Writer, start: int, stop: int) -> tuple[Any, ...]:
        span = (start, stop)
        arrays = [self._view(node, span) for node in writer.time_nodes]
        attributes = [_leading(node, self.program, stop - start) for node in writer.attributed]
        tables = [self.table(self._view(node, span), flipped) for node, flipped in writer.tables]
        forward = not self.program.loop.reverse
        firsts, lasts = [], []
        for i in writer.slots:
            leaf = self.program.loop.state[i]
            rows = self._rows(self.program.homes[leaf].buffer, span)
            ends = rows[0, ...], rows[-1, ...]
            firsts.append(ends[0] if forward else ends[1])
            lasts.append(ends[1] if forward else ends[0])
        return start, stop, arrays, attributes, tables, firsts, lasts

    def _rows(self, buffer: Buffer | None, span: tuple[int, int]) -> Array:
        """A slot's rows for a chunk: one more than steps."""
        assert buffer is not None
        array = self._arrays[buffer.number]
        start, stop = span
        return array[start : stop + 1] if buffer.extent == "whole" else array[: stop - start + 1]

    def _view(self, node: Node, span: tuple[int, int] | None) -> Any:
        """A node's array, with a row for each step of the span if it is not None."""
        key = node, span
        if key not in self._views:
            self._views[key] = self._find(node, span)
        return self._views[key]

    def _find(self, node: Node, span: tuple[int, int] | None) -> Any:
        program = self.program
        home = program.homes[node]
        if home.kind == "view":
            (source, *_) = node.inputs
            attributes = node.attributes if span is None else _leading(node, program, span[1] - span[0])
            return node.primitive.kernel(self._view(source, span), **attributes)  # type: ignore[union-attr]
        return self._at(home, span)

    def _at(self, home: Home, span: tuple[int, int] | None) -> Array:
        if home.kind == "piece":
            assert home.of is not None and home.part is not None
            axis, start, stop = home.part
            whole: Array = self._view(home.of, span)
            return whole[(..., slice(start, stop), *[slice(None)] * (-axis - 1))]
        assert home.buffer is not None
        if home.kind in ("before", "after"):
            assert span is not None
            rows = self._rows(home.buffer, span)
            earlier = (home.kind == "before") != self.program.loop.reverse
            return rows[:-1] if earlier else rows[1:]
        array = self._arrays[home.buffer.number]
        if span is None:
            return array
        return array[slice(*span)] if home.buffer.extent == "whole" else array[: span[1] - span[0]]

    def table(self, array: Array, flipped: bool = False) -> Any:
        """What a loop iterates over: the views of each step."""
        if self.program.loop.reverse:
            array = array[::-1]
        array = _turned(array, flipped)
        if array.ndim == 1:
            return [array[i, ...] for i in range(len(array))]
        return list(array) if self.steps <= TABLE else array


def _turned(array: Array, flipped: bool) -> Array:
    return array.swapaxes(-1, -2) if flipped else array


def _chunk(program: Program) -> int:
    """How many steps go together."""
    widths = [b.spec.dtype.itemsize * int(np.prod(b.spec.shape)) for b in program.buffers if b.extent in ("chunk", "whole")]
    rows = max([n for b in program.buffers if b.extent != "once" for n in b.spec.shape[:1]], default=1)
    return max(8, CHUNK_ROWS // max(1, rows), CHUNK_BYTES // max(1, sum(widths)))


# -- a further leading axis ----------------------------------------------------------------


def _leading(node: Node, program: Program, steps: int) -> Mapping[str, Any]:
    """The attributes under which a node's operation is done for all steps at once."""
    primitive = node.primitive
    assert primitive is not None
    if primitive.leading is None or not program.over_time(node):
        return node.attributes
    return primitive.leading(node.attributes, [(steps, *i.shape) for i in node.inputs])


def _batchable(node: Node, program: Program) -> bool:
    """Whether one call of the kernel can do all steps."""
    primitive, steps = node.primitive, 7
    assert primitive is not None
    if primitive is _GETITEM and len(node.inputs) > 1:
        table, *arrays = node.inputs
        index = node.attributes["index"]
        first = all(isinstance(part, str) for part in index[: len(arrays)])
        return first and not program.over_time(table)
    try:
        attributes = _leading(node, program, steps)
        if attributes is NotImplemented:
            return False
        specs = [
            Spec((steps, *i.shape), i.dtype) if program.over_time(i) or primitive.leading is not None else i.spec
            for i in node.inputs
        ]
        return primitive.shape(*specs, **attributes).shape == (steps, *node.shape)
    except Exception:
        return False


# -- kernels of the backend ----------------------------------------------------------------


def product(a: Array, b: Array, out: Array) -> None:
    """Matrix products of all steps; `b` may be one matrix for all."""
    if b.ndim == 2 and a.ndim == 3:
        if out.flags.c_contiguous and a.flags.c_contiguous:
            np.dot(a.reshape(-1, a.shape[-1]), b, out.reshape(-1, b.shape[-1]))
            return
    if out.strides[-1] > out.strides[-2]:
        np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out=out.swapaxes(-1, -2))
    else:
        np.matmul(a, b, out=out)


def rows(x: Array) -> Array:
    """The rows of all steps, (steps, rows, columns), as one matrix."""
    n, r, c = x.shape
    if x.flags.c_contiguous or x.strides[-1] <= x.strides[-2]:
        return x.reshape(n * r, c)
    turned = np.empty((c, n, r), x.dtype)
    np.copyto(turned, x.transpose(2, 0, 1))
    return turned.reshape(c, n * r).T


# -- writing -------------------------------------------------------------------------------


class _Writer:
    """Writes the source, and keeps what it refers to."""

    def __init__(self, program: Program, batch_last: bool) -> None:
        self.program = program
        self.constants: dict[str, Any] = {
            "np": np,
            "copyto": np.copyto,
            "product": product,
            "rows": rows,
            "dot": np.dot,
            "matmul": np.matmul,
            "add": np.add,
            "empty": np.empty,
            "broadcast_to": np.broadcast_to,
        }
        self.lines: list[str] = []
        self.names: dict[Node, str] = {}
        self.batch_last = batch_last
        self.constant_nodes: list[tuple[Node, bool]] = []
        self.turned: dict[Node, str] = {}
        self.time_nodes: list[Node] = []
        self.attributed: list[Node] = []
        self.tables: list[tuple[Node, bool]] = []
        self._rows: dict[Node, str] = {}
        self.slots = [i for i, leaf in enumerate(program.loop.state) if leaf in program.homes]

    # -- names -----------------------------------------------------------------------------

    def _name(self, node: Node) -> str:
        """What a value is called: w once, x over time, s at one step; the number is the same."""
        program = self.program
        if node not in self.names:
            self.names[node] = f"{len(self.names)}"
        number = self.names[node]
        if is_number(node):
            self.constants[f"n{number}"] = node.value
            return f"n{number}"
        return f"x{number}" if program.over_time(node) else f"w{number}"

    def _kernel(self, node: Node) -> str:
        assert node.primitive is not None
        name = node.primitive.name
        self.constants.setdefault(f"_{name}", node.primitive.kernel)
        return f"_{name}"

    def _attributes(self, node: Node) -> str:
        if not node.attributes:
            return ""
        name = f"a{self._name(node)[1:]}"
        self.constants[name] = dict(node.attributes)
        return f", **{name}"

    def _indexed(self, node: Node) -> str:
        """A slice, as one writes it."""
        (x,) = node.inputs
        index = node.attributes["index"]
        self.constants[name := f"a{self._name(node)[1:]}"] = (slice(None), *index) if self.program.over_time(x) else index
        return f"{self._name(x)}[{name}]"

    def _dynamic(self, node: Node) -> bool:
        """Whether its array is another one in every run."""
        home = self.program.homes.get(node)
        if home is None:
            return True
        if home.kind == "view":
            return self._dynamic(node.inputs[0])
        return home.kind == "input" or (home.kind == "buffer" and home.buffer is None)

    # -- the source ------------------------------------------------------------------------

    def source(self) -> str:
        program = self.program
        once: list[str] = []
        for k, node in enumerate((*program.loop.sequences, *program.loop.state, *program.loop.captured)):
            home = program.homes.get(node)
            if home is not None and home.kind == "input" and node not in program.loop.sequences:
                once.append(f"{self._name(node)} = inputs[{k}]")
        once += self._once(program.once.calls)
        chunk = self._inputs()
        for section in program.sections:
            if section.kind == "batched":
                for call in section.calls:
                    chunk += self._batched(call)
            elif section.calls:
                chunk += self._loop(section.calls)
        results, ends = self._results()
        chunk += results
        totals, closing = self._totals()
        chunk += totals
        after = self._once(program.after.calls, fresh=True)
        head = ["def run(inputs, memory, steps):"]
        body: list[str] = []
        if self.constant_nodes:
            body.append(f"{_tuple(self._const_names)} = memory.constant")
        body += once
        body += [f"{name} = {self._name(node)}.swapaxes(-1, -2)" for node, name in self.turned.items()]
        sequences, slots = len(program.loop.sequences), self.slots
        body.append(f"ends = [{', '.join(f'inputs[{sequences + i}]' for i in slots)}]")
        body += self._fresh_results()
        body += [f"{name} = None" for name in self._total_names]
        body.append("for start, stop, arrays, attributes, tables, firsts, lasts in memory.chunks:")
        inner = ["for into, end in zip(firsts, ends):", "    copyto(into, end)", "ends = lasts"] if slots else []
        if self.time_nodes:
            inner.append(f"{_tuple([self._time_name(n) for n in self.time_nodes])} = arrays")
        if self.attributed:
            inner.append(f"{_tuple([f'b{self._name(n)[1:]}' for n in self.attributed])} = attributes")
        if self.tables:
            inner.append(f"{_tuple([self._table_name(*t) for t in self.tables])} = tables")
        body += [f"    {line}" for line in inner + chunk] or ["    pass"]
        if not inner + chunk:
            body.append("    pass")
        body += closing
        body += after
        body.append(f"return [{', '.join(ends)}]")
        return "\n".join(head + [f"    {line}" for line in body]) + "\n"

    @property
    def _const_names(self) -> list[str]:
        return [
            self._step_name(node) + "T" * flipped if self.program.over_time(node) else self._name(node)
            for node, flipped in self.constant_nodes
        ]

    def _step_name(self, node: Node) -> str:
        return f"s{self._name(node)[1:]}"

    def _time_name(self, node: Node) -> str:
        return f"x{self._name(node)[1:]}"

    def _table_name(self, node: Node, flipped: bool) -> str:
        return f"t{self._name(node)[1:]}{'T' * flipped}"

    def _inputs(self) -> list[str]:
        """Views of the sequences that the caller gave."""
        program = self.program
        found = []
        for k, node in enumerate(program.loop.sequences):
            if node in program.partition.stage:
                name = self._name(node) if program.homes[node].kind == "input" else f"{self._name(node)}_given"
                found.append(f"{name} = inputs[{k}][start:stop]")
        return found

    # -- once ------------------------------------------------------------------------------

    def _once(self, calls: Sequence[Call | Copy], fresh: bool = False) -> list[str]:
        found = []
        for call in calls:
            assert isinstance(call, Call)
            node = call.node
            arguments = ", ".join(self._name(i) for i in node.inputs)
            name = self._name(node)
            if node.primitive is _GETITEM and is_view(node):
                found.append(f"{name} = {self._indexed(node)}")
            elif is_view(node) or fresh:
                found.append(f"{name} = {self._kernel(node)}({arguments}{self._attributes(node)})")
            else:
                self._constant(node)
                found.append(f"{self._kernel(node)}({arguments}, out={name}{self._attributes(node)})")
        return found

    def _constant(self, node: Node, flipped: bool = False) -> None:
        if (node, flipped) not in self.constant_nodes:
            self.constant_nodes.append((node, flipped))

    # -- batched ---------------------------------------------------------------------------

    def _time(self, node: Node) -> str:
        """The array of a value, for a batched call."""
        program = self.program
        if not is_number(node) and program.over_time(node) and not self._dynamic(node) and node not in self.time_nodes:
            self.time_nodes.append(node)
        return self._name(node)

    def _batched(self, call: Call | Copy) -> list[str]:
        program = self.program
        if isinstance(call, Copy):
            return [f"copyto({self._target(call)}, {self._source(call)})"]
        node = call.node
        if is_view(node):
            if not self._dynamic(node):
                return []
            if node.primitive is _GETITEM:
                self._time(node.inputs[0])
                return [f"{self._name(node)} = {self._indexed(node)}"]
            return [f"{self._name(node)} = {self._kernel(node)}({self._time(node.inputs[0])}{self._led(node)})"]
        out = self._time(node)
        names = [self._time(i) for i in node.inputs]
        if not _batchable(node, program):
            steps = [f"{n}[i, ...]" if program.over_time(i) else n for n, i in zip(names, node.inputs, strict=True)]
            arguments = ", ".join(steps)
            return [
                "for i in range(stop - start):",
                f"    {self._kernel(node)}({arguments}, out={out}[i, ...]{self._attributes(node)})",
            ]
        if node.primitive is _MATMUL and program.over_time(node.inputs[0]):
            return [f"product({', '.join(names)}, {out})"]
        if node.primitive is not None and node.primitive.leading is not None and node.primitive is not _GETITEM:
            names = [
                n if program.over_time(i) else f"broadcast_to({n}, (stop - start, *{n}.shape))"
                for n, i in zip(names, node.inputs, strict=True)
            ]
        arguments = ", ".join(names)
        return [f"{self._kernel(node)}({arguments}, out={out}{self._led(node)})"]

    def _led(self, node: Node) -> str:
        """The attributes for all steps at once: the same for any number of steps, or bound with the memory."""
        primitive = node.primitive
        if primitive is None or not node.attributes:
            return ""
        if primitive.leading is None or (primitive is _GETITEM and len(node.inputs) > 1):
            return self._attributes(node)
        if node not in self.attributed:
            self.attributed.append(node)
        return f", **b{self._name(node)[1:]}"

    def _target(self, call: Copy) -> str:
        """The array that is copied into: a home that no node has is given a name of its own."""
        return self._time(self._stand_in(call))

    def _source(self, call: Copy) -> str:
        if call.source in self.program.loop.sequences and self.program.homes[call.source] == call.into:
            return f"{self._name(call.source)}_given"
        return self._time(call.source)

    def _stand_in(self, call: Copy) -> Node:
        """A node whose home is where the copy goes."""
        program = self.program
        if program.homes.get(call.like) == call.into:
            return call.like
        for node, home in program.homes.items():
            if home == call.into and node.primitive is None and node not in program.loop.sequences:
                return node
        stand_in = Node(None, (), {}, call.like.spec)
        program.homes[stand_in] = call.into
        program.partition.stage[stand_in] = 0
        return stand_in

    # -- loops -----------------------------------------------------------------------------

    def _loop(self, calls: Sequence[Call | Copy]) -> list[str]:
        used: list[tuple[Node, bool]] = []
        body: list[str] = []
        for call in calls:
            if isinstance(call, Copy):
                body.append(f"copyto({self._step(self._stand_in(call), used)}, {self._step(call.source, used)})")
                continue
            node = call.node
            if is_view(node):
                continue
            names = [self._step(i, used) for i in node.inputs]
            if node.primitive is _MATMUL and len(node.shape) == 2:
                body.append(self._product(node, used))
                continue
            out = self._step(node, used)
            if is_elementwise(node):
                body.append(f"{self._kernel(node)}({', '.join(names)}, {out})")
            else:
                body.append(f"{self._kernel(node)}({', '.join(names)}, out={out}{self._attributes(node)})")
        given = [entry for entry in used if self._dynamic(entry[0])]
        for entry in used:
            if entry not in self.tables and entry not in given:
                self.tables.append(entry)
        steps = [f"{self._step_name(node)}{'T' * flipped}" for node, flipped in used]
        tables = [self._table_name(*entry) for entry in used]
        if not used:
            head = "for _ in range(stop - start):"
        elif len(used) == 1:
            head = f"for {steps[0]} in {tables[0]}:"
        else:
            head = f"for {', '.join(steps)} in zip({', '.join(tables)}):"
        made = [f"{self._table_name(*entry)} = memory.table({self._name(entry[0])}, {entry[1]})" for entry in given]
        return [*made, head, *[f"    {line}" for line in body]] if body else []

    def _step(self, node: Node, used: list[tuple[Node, bool]], flipped: bool = False) -> str:
        """The array of a value at one step."""
        program = self.program
        if is_number(node) or not program.over_time(node):
            if not flipped:
                return self._name(node)
            return self.turned.setdefault(node, f"{self._name(node)}T")
        buffer = program.root(node)
        if buffer is not None and buffer.extent == "step":
            self._constant(node, flipped)
        elif (node, flipped) not in used:
            used.append((node, flipped))
        return self._step_name(node) + "T" * flipped

    def _product(self, node: Node, used: list[tuple[Node, bool]]) -> str:
        """A product by np.dot, in the orientation in which the result is contiguous."""
        a, b = node.inputs
        if not self._in_one_block(node) or np.result_type(a.dtype, b.dtype) != node.dtype:
            return f"matmul({self._step(a, used)}, {self._step(b, used)}, {self._step(node, used)})"
        if self.batch_last:
            return f"dot({self._step(b, used, True)}, {self._step(a, used, True)}, {self._step(node, used, True)})"
        return f"dot({self._step(a, used)}, {self._step(b, used)}, {self._step(node, used)})"

    def _in_one_block(self, node: Node) -> bool:
        """Whether a value's memory has no gaps, in the layout that is used."""
        home = self.program.homes[node]
        while home.kind == "piece":
            assert home.of is not None and home.part is not None
            if home.part[0] != (-1 if self.batch_last else -2) or len(home.of.shape) != 2:
                return False
            home = self.program.homes[home.of]
        return home.kind in ("buffer", "before", "after")

    # -- results ---------------------------------------------------------------------------

    def _fresh_results(self) -> list[str]:
        found = []
        for k, item in enumerate(self.program.loop.items):
            if item.kind == "stack" and not item.lent:
                self.constants[f"d{k}"] = item.node.dtype
                found.append(f"r{k} = empty((steps, {''.join(f'{n}, ' for n in item.node.shape)}), d{k})")
        return found

    def _results(self) -> tuple[list[str], list[str]]:
        program = self.program
        lines, ends = [], []
        sums: Iterator[Node] = iter(program.sums)
        order = {i: k for k, i in enumerate(self.slots)}
        leaves = {leaf: i for i, leaf in enumerate(program.loop.state)}
        for k, item in enumerate(program.loop.items):
            if item.kind == "sum":
                ends.append(self._name(next(sums)))
            elif item.kind == "final":
                ends.append(f"ends[{order[leaves[item.node]]}].copy()")
            elif item.lent:
                ends.append("None")
            else:
                lines.append(f"r{k}[start:stop] = {self._time(item.node)}")
                ends.append(f"r{k}")
        return lines, ends

    @property
    def _total_names(self) -> list[str]:
        return [self._name(total.leaf) for total in self.program.totals]

    def _totals(self) -> tuple[list[str], list[str]]:
        lines, closing = [], []
        for total in self.program.totals:
            name = self._name(total.leaf)
            self.constants[f"d{name}"] = total.leaf.dtype
            shape = f"({''.join(f'{n}, ' for n in total.leaf.shape)})"
            if total.kind == "steps":
                closing.append(f"{name} = np.array(steps, d{name})")
                continue
            if total.kind == "plain":
                (node,) = total.operands
                part = f"add.reduce({self._time(node)}, axis=0)"
            elif total.kind == "scatter":
                (node,) = total.operands
                names = [
                    self._time(i)
                    if self.program.over_time(i)
                    else f"broadcast_to({self._time(i)}, (stop - start, *{self._time(i)}.shape))"
                    for i in node.inputs
                ]
                part = f"{self._kernel(node)}({', '.join(names)}{self._attributes(node)})"
            else:
                left, right = total.operands
                first, second = self._rows_of(left, True, lines), self._rows_of(right, False, lines)
                part = f"dot({first}.T, {second})" if total.kind == "product" else f"dot({second}.T, {first})"
            lines += [f"part = {part}", f"{name} = part if {name} is None else add({name}, part, {name})"]
            closing.append(f"{name} = np.zeros({shape}, d{name}) if {name} is None else {name}")
        return lines, closing

    def _rows_of(self, node: Node, turned: bool, lines: list[str]) -> str:
        """The rows of all steps of a matrix, or of its transpose."""
        if turned and node.primitive is _TRANSPOSE and len(node.shape) == 2 and node.attributes["axes"] == (-1, -2):
            node, turned = node.inputs[0], False
        name = f"rows{self._name(node)[1:]}{'T' * turned}"
        if name not in self._rows.values():
            self._rows[node] = name
            array = self._time(node)
            lines.append(f"{name} = rows({array}.swapaxes(-1, -2))" if turned else f"{name} = rows({array})")
        return name


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)"
