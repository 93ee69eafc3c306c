"""Writer: a schedule as a function in C."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ...graph.node import Node, Spec
from ...ops.facts import facts_of
from ..partition import INVARIANT, When
from ..schedule import Schedule
from ..time_sums import TimeSum
from .groups import Group, Groups
from .indexing import indexed
from .names import Names
from .places import Memory, Place, Places, literal_of
from .types import C_TYPES, form_of, line_dtype, literal, operand_dtype, suffix, template_of

__all__ = ["CSource"]

LETTERS = "ijklmopqrsuvw"
PANEL = 64
"""Columns of packed matrices are a multiple of this at the most."""


class CSource:
    """A schedule as C.

    The number of steps and the batch size are arguments of the function; features are numbers in the source. A size that is
    equal to the batch size may be called B anywhere: the source is written anew for each batch size, and right for that one.
    Two batch sizes with one source share the compiled function.

    Parameters
    ----------
    schedule : Schedule
    title : str

    Attributes
    ----------
    text : str
        The function ``run``.
    memories : list of Memory
        The memories that a run needs, in the order of the argument `memory`.
    places : Places
    batch : int
    types : set of str
        The types whose products are called.
    functions : list of str
        The functions of ``kernels.c`` that are called.
    """

    def __init__(self, schedule: Schedule, title: str = "") -> None:
        self.schedule, self.loop, self.partition = schedule, schedule.loop, schedule.partition
        self.places = Places(schedule)
        self.groups = Groups(self.places)
        leaves = (*self.loop.carry, *self.loop.sequences)
        self.batch = next((leaf.shape[0] for leaf in leaves if leaf.shape), 1)
        self.types: set[str] = set()
        self.functions: list[str] = []
        self.memories: list[Memory] = []
        self._names = Names()
        self._called: dict[Memory, str] = {}
        self._panels: dict[Node, Memory] = {}
        self._packs: list[str] = []
        self._lines: list[str] = []
        self._depth = 1
        self._once: bool = True
        self._count = 0
        self.text = self._written(title)

    # -- the function ----------------------------------------------------------------------

    def _written(self, title: str) -> str:
        once = self._collected(lambda: self._items(INVARIANT))
        starts = self._collected(self._starts)
        self._depth = 2
        stages = self._collected(self._stages)
        sums = self._collected(self._sums)
        firsts, lasts = (self._collected(lambda first=first: self._carry(first)) for first in (True, False))  # type: ignore[misc]
        self._depth = 1
        end = self._collected(self._end)
        reverse = self.loop.reverse
        bounds = (
            "long start = (T - 1) / length * length; start >= 0; start -= length"
            if reverse
            else "long start = 0; start < T; start += length"
        )
        rows = [f"        {line}" for memory in self._called if (line := self._rows_of_chunk(memory))]
        text = "\n".join([*once, *starts, *rows, *stages, *sums, *firsts, *lasts, *end])
        lines = [
            *([f"/* {title} */"] if title else []),
            "int run(long T, long B, long length, void **memory, void **inputs, void **results, long data) {",
            *[f"    {self._declared(memory)}" for memory in self._called],
            *(["    int failed = 0;"] if "&failed" in text else []),
            *once,
            *self._packs,
            *starts,
            f"    for ({bounds}) {{",
            "        long n = T - start < length ? T - start : length;",
            *rows,
            *firsts,
            *stages,
            *sums,
            *lasts,
            "    }",
            *end,
            f"    return {'failed' if '&failed' in text else '0'};",
            "}",
        ]
        return "\n".join(lines) + "\n"

    def _collected(self, write: Any) -> list[str]:
        before, self._lines = self._lines, []
        write()
        found, self._lines = self._lines, before
        return found

    def _say(self, line: str) -> None:
        self._lines.append(f"{'    ' * self._depth}{line}" if not line.startswith("#") else line)

    @contextmanager
    def _for(self, variable: str, size: str, backwards: bool = False) -> Iterator[None]:
        if backwards:
            self._say(f"for (long {variable} = {size} - 1; {variable} >= 0; {variable}--) {{")
        else:
            self._say(f"for (long {variable} = 0; {variable} < {size}; {variable}++) {{")
        self._depth += 1
        yield
        self._depth -= 1
        self._say("}")

    @contextmanager
    def _nest(self, shape: Sequence[int]) -> Iterator[list[str]]:
        """Loops over all elements of a shape; their variables, "0" for an axis of one element."""
        with ExitStack() as stack:
            variables = self._variables(shape)
            for axis, (variable, n) in enumerate(zip(variables, shape, strict=True)):
                if n != 1:
                    stack.enter_context(self._for(variable, self._size(n, axis)))
            yield variables

    def _variables(self, shape: Sequence[int]) -> list[str]:
        """The names of the loops over a shape: b over the batch, j over the last axis."""
        found = []
        for axis, n in enumerate(shape):
            back = len(shape) - 1 - axis
            if n == 1:
                found.append("0")
            elif self._size(n, axis) == "B":
                found.append("b")
            else:
                found.append("j" if back == 0 else "i" if back == 1 else f"i{back}")
        return found

    def _size(self, n: int, axis: int = 1) -> str:
        return "B" if axis == 0 and n == self.batch != 1 else str(n)

    def _total(self, shape: Sequence[int]) -> str:
        """The number of elements of a shape."""
        if shape and self._size(shape[0], 0) == "B":
            rest = math.prod(shape[1:])
            return "B" if rest == 1 else f"B * {rest}"
        return str(math.prod(shape))

    # -- memory ----------------------------------------------------------------------------

    def _name(self, memory: Memory) -> str:
        if memory not in self._called:
            name = f"{memory.name}s" if memory.name and memory.over_time else memory.name
            self._called[memory] = self._names.new(name)
            if not memory.given:
                self.memories.append(memory)
        return self._called[memory]

    def _declared(self, memory: Memory) -> str:
        name, kind = self._called[memory], C_TYPES[memory.spec.dtype]
        kept = memory.over_time and memory.kind in ("input", "result", "whole")
        called = f"{name}_all" if kept else name
        if memory.kind == "input":
            return f"const {kind} *{called} = data_(inputs[{memory.position}], data);"
        if memory.kind == "result":
            return f"{kind} *{called} = data_(results[{memory.position}], data);"
        return f"{kind} *{called} = memory[{self.memories.index(memory)}];"

    def _rows_of_chunk(self, memory: Memory) -> str:
        if not (memory.over_time and memory.kind in ("input", "result", "whole")):
            return ""
        name = self._called[memory]
        const = "const " * (memory.kind == "input")
        return f"{const}{C_TYPES[memory.spec.dtype]} *{name} = {name}_all + start * {_factor(self._total(memory.spec.shape))};"

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], over_time: bool = False) -> Memory:
        return Memory("chunk" if over_time else "once", Spec(shape, dtype), name, over_time=over_time)

    def _row(self, place: Place, t: str = "t") -> list[str]:
        """The terms of the row of a step."""
        if not place.memory.over_time:
            return []
        row = self._total(place.memory.spec.shape)
        if place.row:
            t = f"({t} + {place.row})" if t != "0" else str(place.row)
        return [] if t == "0" else [t if row == "1" else row if t == "1" else f"{t} * {row}"]

    def _at(self, place: Place, shape: Sequence[int], index: Sequence[str], t: str = "t") -> str:
        """The sum of the terms that say where an element lies."""
        index = list(index)[len(index) - len(shape) :]
        terms = self._row(place, t)
        if place.offset:
            terms.append(str(place.offset))
        for variable, n, stride in zip(index, shape, place.strides, strict=True):
            if n != 1 and stride and variable != "0":
                terms.append(variable if stride == 1 else f"{variable} * {_factor(str(stride))}")
        return " + ".join(terms) or "0"

    def _element(self, node: Node, index: Sequence[str]) -> str:
        number = literal_of(node)
        if number is not None and node not in self.places:
            return literal(number.value, node.dtype)
        place = self.places[node]
        return f"{self._name(place.memory)}[{self._at(place, node.shape, index)}]"

    def _pointer(self, node: Node, index: Sequence[str], t: str = "t") -> str:
        place = self.places[node]
        at = self._at(place, node.shape, index, t)
        name = self._name(place.memory)
        return name if at == "0" else f"{name} + {at}"

    def _call(self, text: str, dtype: np.dtype[Any]) -> str:
        """The text with its functions for a dtype."""

        def named(match: re.Match[str]) -> str:
            function = f"{match[1]}{suffix(dtype)}"
            if function not in self.functions:
                self.functions.append(function)
            return f"{function}("

        return re.sub(r"\b([a-z]\w*_)\(", named, text)

    # -- stages ----------------------------------------------------------------------------

    def _starts(self) -> None:
        first = len(self.loop.sequences)
        for slot, end in self.places.ends.items():
            given = Memory("input", slot.spec, f"{end.name}_start", position=first + self.loop.slot[slot])
            self._copy_row(self._name(end), self._name(given), slot)
        for time_sum in self.schedule.time_sums:
            if time_sum.kind != "steps":
                place = self.places[time_sum.leaf]
                self._say(f"for (long i = 0; i < {self._total(time_sum.leaf.shape)}; i++) {self._name(place.memory)}[i] = 0;")

    def _copy_row(self, to: str, source: str, slot: Node) -> None:
        self._say(f"for (long i = 0; i < {self._total(slot.shape)}; i++) {to}[i] = {source}[i];")

    def _carry(self, first: bool) -> None:
        """Copy what the slots carry into the first row of a chunk, or out of the last one."""
        for slot, end in self.places.ends.items():
            memory = self.places[slot].memory
            row = _factor(self._total(slot.shape))
            at = f"{self._name(memory)} + n * {row}" if first == self.loop.reverse else self._name(memory)
            pair = (f"({at})" if " " in at else at, self._name(end))
            self._copy_row(*(pair if first else pair[::-1]), slot)

    def _stages(self) -> None:
        for stage in sorted(stage for stage in self.groups.stages if stage is not None and stage != INVARIANT):
            if When.of(stage) is When.LOOP:
                self._say("/* step by step */")
                with self._for("t", "n", self.loop.reverse):
                    self._items(stage)
            else:
                self._items(stage)

    def _end(self) -> None:
        for time_sum in self.schedule.time_sums:
            if time_sum.kind == "steps":
                self._say(f"{self._name(self.places[time_sum.leaf].memory)}[0] = T;")
        self._items(None)

    def _items(self, stage: int | None) -> None:
        batched = stage is not None and stage != INVARIANT and When.of(stage) is When.BATCHED
        for item in self.groups.stages.get(stage, ()):
            if isinstance(item, Group):
                nodes = [node for node in item.nodes if self._is_written(node, item)]
                if not nodes:
                    continue
                with ExitStack() as stack:
                    if batched:
                        stack.enter_context(self._for("t", "n", self.loop.reverse))
                    self._group(nodes)
                continue
            form = form_of(item)
            if form == "product" and self._product(item, batched, stage):
                continue
            with ExitStack() as stack:
                if batched:
                    stack.enter_context(self._for("t", "n", self.loop.reverse))
                if form == "line":
                    self._line(item)
                elif form == "scatter":
                    self._scatter(item, self.places[item], zero=True)
                elif form == "flat":
                    self._flat(item)
                else:
                    self._einsum(item)

    # -- elementwise -----------------------------------------------------------------------

    def _is_written(self, node: Node, group: Group) -> bool:
        """Whether anything reads a value: a number that is repeated is written in place, for most readers."""
        return node in self.places or literal_of(node) is None

    def _group(self, nodes: Sequence[Node]) -> None:
        """One loop for operations on the elements at one place."""
        shape = nodes[0].shape
        uses = Counter(i for node in nodes for i in self._operands(node))
        held: dict[Node, str] = {}
        with ExitStack() as stack:
            variables = self._variables(shape)
            inner = max((axis for axis, n in enumerate(shape) if n != 1), default=None)
            simple = all(form_of(node) == "element" for node in nodes)
            for axis, (variable, n) in enumerate(zip(variables, shape, strict=True)):
                if n != 1:
                    if axis == inner and simple:
                        self._say("#pragma omp simd")
                    stack.enter_context(self._for(variable, self._size(n, axis)))
            for node in nodes:
                gathers = form_of(node) == "gather"
                expression = self._gathered(node, variables) if gathers else self._expression(node, variables, held)
                stored = node in self.places
                if not stored and uses[node] == 1 and node.name is None and node.dtype.kind == "f" and not gathers:
                    held[node] = expression if re.fullmatch(r"[\w.]+(\[[^\]]*\])?|\w+\([^()]*\)", expression) else f"({expression})"
                    continue
                if uses[node]:
                    held[node] = self._names.new(node.name)
                    self._say(f"{C_TYPES[node.dtype]} {held[node]} = {expression};")
                    expression = held[node]
                if stored:
                    self._say(f"{self._element(node, variables)} = {expression};")

    def _operands(self, node: Node) -> Iterator[Node]:
        """The values that the C of an operation reads from registers, once for each time."""
        template = template_of(node)
        if form_of(node) != "element" or literal_of(node) is not None or template is None:
            return
        assert node.primitive is not None
        inputs = dict(zip(node.primitive.named_arguments, node.inputs, strict=False))
        for _, field, _, _ in string.Formatter().parse(template):
            if field in inputs and self.groups.in_register(inputs[field], node):
                yield inputs[field]

    def _expression(self, node: Node, variables: Sequence[str], held: dict[Node, str]) -> str:
        number, template = literal_of(node), template_of(node)
        if number is not None:
            return literal(number.value, node.dtype)
        assert node.primitive is not None and template is not None
        dtype = operand_dtype(node)
        texts = {}
        for name, i in zip(node.primitive.named_arguments, node.inputs, strict=True):
            number = literal_of(i)
            if number is not None:
                texts[name] = literal(np.asarray(number.value).astype(dtype), dtype)
                continue
            text = held[i] if self.groups.in_register(i, node) else self._element(i, variables)
            texts[name] = text if i.dtype == dtype else f"({C_TYPES[dtype]}){text}"
        attributes = {name: str(value) for name, value in node.attributes.items()}
        return self._call(template.format(**texts, **attributes), dtype)

    def _gathered(self, node: Node, variables: Sequence[str]) -> str:
        table, *arrays = node.inputs
        place = self.places[table]
        found = indexed(table.shape, place.strides, node.attributes[str(facts_of(node).reads)], [a.shape for a in arrays])
        terms = self._pointed(found, arrays, variables)
        at = self._at(place._replace(strides=found.strides, offset=place.offset + found.offset), node.shape, variables)
        return f"{self._name(place.memory)}[{' + '.join([at, *terms]) if at != '0' else ' + '.join(terms)}]"

    def _pointed(self, found: Any, arrays: Sequence[Node], variables: Sequence[str]) -> list[str]:
        """The terms of index arrays; lines before say where each points to."""
        index = variables[found.first : found.first + found.rank]
        terms = []
        for array, (what, n, stride) in zip(arrays, found.arrays, strict=True):
            self._count += 1
            at = f"at{self._count}"
            function = "index_" if what.codes is None else "code_"
            self._say(f"long {at} = {self._call(f'{function}({self._element(array, index)}, {n}, &failed)', np.dtype(np.int64))};")
            terms.append(at if stride == 1 else f"{at} * {stride}")
        return terms

    # -- one operation alone ---------------------------------------------------------------

    def _line(self, node: Node) -> None:
        """A function of the elements along some axes, for each place along the others."""
        (x,), facts, template = node.inputs, facts_of(node), template_of(node)
        assert template is not None
        chosen = node.attributes[str(facts.reduces or facts.along)]
        axes = sorted(axis % len(x.shape) for axis in (chosen if isinstance(chosen, tuple) else (chosen,)))
        free = [axis for axis in range(len(x.shape)) if axis not in axes]
        dtype = line_dtype(node)
        count = " * ".join(self._size(x.shape[axis], axis) for axis in axes) or "1"
        variables = self._variables(x.shape)
        last = len(x.shape) - 1
        with ExitStack() as stack:
            for axis in free:
                if x.shape[axis] != 1:
                    stack.enter_context(self._for(variables[axis], self._size(x.shape[axis], axis)))
            outer = [variables[axis] if axis in free else "0" for axis in range(len(x.shape))]
            kept = len(node.shape) == len(x.shape)
            index = outer if kept else [variables[axis] for axis in free]
            unit = literal_of(x) is None and axes == [last] and x.dtype == dtype and self.places[x].strides[-1] == 1
            if unit:
                source = self._pointer(x, outer)
            else:
                source = self._name(self._scratch("line", (math.prod(x.shape[axis] for axis in axes),), dtype))
                self._along(axes, x, variables, f"{source}[k++] = {self._element(x, variables)};")
            if facts.reduces:
                value = self._call(template.format(n=count, x=source), dtype)
                self._say(f"{self._element(node, index)} = {value};")
                return
            wide = node.dtype if node.dtype.kind == "f" else np.dtype(np.int64)
            if axes == [last] and node.dtype == wide and self.places[node].strides[-1] == 1:
                self._say(self._call(template.format(n=count, x=source, y=self._pointer(node, outer)), dtype) + ";")
                return
            target = self._name(self._scratch("line", (math.prod(x.shape[axis] for axis in axes),), wide))
            self._say(self._call(template.format(n=count, x=source, y=target), dtype) + ";")
            self._along(axes, x, variables, f"{self._element(node, variables)} = {target}[k++];")

    def _along(self, axes: Sequence[int], x: Node, variables: Sequence[str], line: str) -> None:
        """Loops over some axes of a value, with a counter k."""
        self._say("{")
        self._depth += 1
        self._say("long k = 0;")
        with ExitStack() as stack:
            for axis in axes:
                if x.shape[axis] != 1:
                    stack.enter_context(self._for(variables[axis], self._size(x.shape[axis], axis)))
            self._say(line)
        self._depth -= 1
        self._say("}")

    def _flat(self, node: Node) -> None:
        (x,) = node.inputs
        place = self.places[node]
        line = f"{self._name(place.memory)}[{self._at(place._replace(strides=()), (), ())} + k++] = {self._element(x, self._variables(x.shape))};"
        self._along(range(len(x.shape)), x, self._variables(x.shape), line)

    def _scatter(self, node: Node, place: Place, zero: bool) -> None:
        """Zeros, with each value added at its index."""
        name = self._name(place.memory)
        if zero:
            with self._nest(node.shape) as variables:
                self._say(f"{name}[{self._at(place, node.shape, variables)}] = 0;")
        rest = iter(node.inputs)
        for index in node.attributes["indices"]:
            value = next(rest)
            arrays = [next(rest) for part in index if not isinstance(part, (int, slice)) and part not in (None, Ellipsis)]
            found = indexed(node.shape, place.strides, index, [array.shape for array in arrays])
            target = place._replace(strides=found.strides, offset=place.offset + found.offset)
            shape = self._indexed_shape(node.shape, index, arrays)
            with self._nest(shape) as variables:
                terms = self._pointed(found, arrays, variables)
                at = self._at(target, shape, variables)
                at = " + ".join([at, *terms] if at != "0" else terms or ["0"])
                self._say(f"{name}[{at}] += {self._element(value, variables)};")

    def _indexed_shape(self, shape: tuple[int, ...], index: tuple[Any, ...], arrays: Sequence[Node]) -> tuple[int, ...]:
        """The shape of an array at an index."""
        nothing = np.broadcast_to(np.empty((), np.int8), shape)
        given = iter(arrays)
        parts = [
            part if isinstance(part, (int, slice)) or part in (None, Ellipsis) else np.zeros(next(given).shape, int)
            for part in index
        ]
        return nothing[tuple(parts)].shape

    def _einsum(self, node: Node) -> None:
        """A sum of products over named axes; a matrix product is one too."""
        if facts_of(node).product:
            outer = string.ascii_lowercase[: len(node.shape) - 2]
            terms = [outer[len(outer) - len(i.shape) + 2 :] for i in node.inputs]
            self._sum_over([f"{terms[0]}XZ", f"{terms[1]}ZY"], f"{outer}XY", node.inputs, node, self.places[node], "=")
        else:
            left, result = node.attributes["subscripts"].split("->")
            self._sum_over(left.split(","), result, node.inputs, node, self.places[node], "=")

    def _sum_over(
        self, terms: Sequence[str], result: str, inputs: Sequence[Node], node: Node, place: Place, assign: str
    ) -> None:
        """The sum of products of inputs over the axes whose letters the result has not."""
        sizes: dict[str, str] = {}
        lengths: dict[str, int] = {}
        for term, i in zip(terms, inputs, strict=True):
            for axis, (letter, n) in enumerate(zip(term, i.shape, strict=True)):
                if n != 1 or letter not in lengths:
                    lengths[letter] = n
                    if sizes.get(letter) != "B":
                        sizes[letter] = self._size(n, axis)
        kind = C_TYPES[node.dtype] if node.dtype.kind == "f" else "long long"
        variables = {letter: f"i_{letter}" if n != 1 else "0" for letter, n in lengths.items()}
        with ExitStack() as stack:
            for letter in result:
                if lengths[letter] != 1:
                    stack.enter_context(self._for(variables[letter], sizes[letter]))
            factors = []
            for term, i in zip(terms, inputs, strict=True):
                factor = self._element(i, [variables[letter] for letter in term])
                factors.append(factor if i.dtype == node.dtype else f"({kind}){factor}")
            self._say("{")
            self._depth += 1
            self._say(f"{kind} total = 0;")
            with ExitStack() as summed:
                for letter, n in lengths.items():
                    if letter not in result and n != 1:
                        summed.enter_context(self._for(variables[letter], sizes[letter]))
                self._say(f"total += {' * '.join(factors)};")
            at = self._at(place, node.shape, [variables[letter] for letter in result])
            self._say(f"{self._name(place.memory)}[{at}] {assign} total;")
            self._depth -= 1
            self._say("}")

    # -- products --------------------------------------------------------------------------

    def _product(self, node: Node, batched: bool, stage: int | None) -> bool:
        """Write a product of packed matrices; False for one that has to be written as a sum of products."""
        a, b = node.inputs
        out = self.places[node]
        if node.dtype.kind != "f" or {a.dtype, b.dtype} != {node.dtype} or out.strides[-1] != 1:
            return False
        m, k, columns = a.shape[-2], a.shape[-1], node.shape[-1]
        self._say(f"/* {self._called_so(node)} = {self._called_so(a)} {self._called_so(b)} */")
        before = self.partition.is_invariant(b) and stage is not None and stage != INVARIANT and len(b.shape) == 2
        if batched and before and len(node.shape) == 2 and self._rows_follow(a) and self._rows_follow(node):
            rows = f"n * {self._size(m, 0)}" if m != 1 else "n"
            self._multiply(node, rows, columns, a, b, self._packed_before(b), "0", ["0", "0"])
            return True
        with ExitStack() as stack:
            if batched:
                stack.enter_context(self._for("t", "n", self.loop.reverse))
            index: list[str] = []
            for axis, (variable, n) in enumerate(zip(self._variables(node.shape), node.shape[:-2], strict=False)):
                index.append(variable)
                if n != 1:
                    stack.enter_context(self._for(variable, self._size(n, axis)))
            index += ["0", "0"]
            panels = self._packed_before(b) if before else self._packed(b, k, columns, index)
            rows = self._size(m, 0) if len(node.shape) == 2 else str(m)
            self._multiply(node, rows, columns, a, b, panels, "t", index)
        return True

    def _called_so(self, node: Node) -> str:
        if node.name is not None:
            return node.name
        order = facts_of(node).reorders
        if order and node.inputs[0].name:
            return f"{node.inputs[0].name}ᵀ"
        return "…" if node not in self.places else self._name(self.places[node].memory)

    def _rows_follow(self, node: Node) -> bool:
        """Whether the rows of a matrix of all steps are so far apart as those of one step."""
        place = self.places[node]
        row = math.prod(place.memory.spec.shape)
        return place.memory.over_time and (row == node.shape[0] * place.strides[0])

    def _packed_before(self, b: Node) -> str:
        """The name of a matrix that is packed before the first step."""
        if b not in self._panels:
            k, n = b.shape
            self._panels[b] = self._scratch("packed", (k * -(-n // PANEL) * PANEL,), b.dtype)
            self.types.add(suffix(b.dtype))
            place = self.places[b]
            name = self._name(self._panels[b])
            self._packs.append(
                f"    pack_{suffix(b.dtype)}({k}, {n}, {self._pointer(b, ['0', '0'])}, {place.strides[0]}, {place.strides[1]}, {name});"
            )
        return self._name(self._panels[b])

    def _packed(self, b: Node, k: int, n: int, index: Sequence[str]) -> str:
        """The name of a matrix that is packed where it is used."""
        self.types.add(suffix(b.dtype))
        name = self._name(self._scratch("packed", (k * -(-n // PANEL) * PANEL,), b.dtype))
        place = self.places[b]
        rows = self._size(k, 0) if len(b.shape) == 2 else str(k)
        self._say(
            f"pack_{suffix(b.dtype)}({rows}, {n}, {self._pointer(b, index)}, {place.strides[-2]}, {place.strides[-1]}, {name});"
        )
        return name

    def _multiply(
        self, node: Node, rows: str, columns: int, a: Node, b: Node, panels: str, t: str, index: Sequence[str]
    ) -> None:
        left, out = self.places[a], self.places[node]
        k = self._size(b.shape[-2], 0) if len(b.shape) == 2 and not self.partition.is_invariant(b) else str(b.shape[-2])
        self._say(
            f"product_{suffix(node.dtype)}({rows}, {columns}, {k}, {self._pointer(a, index, t)}, "
            f"{left.strides[-2]}, {left.strides[-1]}, {panels}, {self._pointer(node, index, t)}, {out.strides[-2]}, 0);"
        )

    # -- sums over time --------------------------------------------------------------------

    def _sums(self) -> None:
        for time_sum in self.schedule.time_sums:
            place = self.places[time_sum.leaf]
            if time_sum.kind == "plain":
                (x,) = time_sum.operands
                with self._for("t", "n", self.loop.reverse), self._nest(x.shape) as variables:
                    self._say(f"{self._name(place.memory)}[{self._at(place, x.shape, variables)}] += {self._element(x, variables)};")
            elif time_sum.kind == "scatter":
                with self._for("t", "n", self.loop.reverse):
                    self._scatter(time_sum.operands[0], place, zero=False)
            elif time_sum.kind != "steps":
                self._sum_of_products(time_sum, place)

    def _sum_of_products(self, time_sum: TimeSum, place: Place) -> None:
        """Σ_t a_t b_t, as one product over the rows of all steps of a chunk."""
        a, b = time_sum.operands
        flipped, dtype = time_sum.kind == "flipped product", time_sum.leaf.dtype
        backwards = self.loop.reverse
        if {a.dtype, b.dtype} != {dtype}:
            with self._for("t", "n", backwards):
                self._sum_over(["XZ", "ZY"], "YX" if flipped else "XY", (a, b), time_sum.leaf, place, "+=")
            return
        k, left, right, end = a.shape[1], self.places[a], self.places[b], suffix(dtype)
        self.types.add(end)
        steps = self._size(k, 0)
        follow = all(
            p.memory.over_time and math.prod(p.memory.spec.shape) == k * stride
            for p, stride in ((left, left.strides[1]), (right, right.strides[0]))
        )
        count = steps if not follow else "n" if k == 1 else f"n * {steps}"
        with ExitStack() as stack:
            if not follow:
                stack.enter_context(self._for("t", "n", backwards))
            t = "0" if follow else "t"
            first = (a.shape[0], self._pointer(a, ["0", "0"], t), *left.strides)
            second = (b.shape[1], self._pointer(b, ["0", "0"], t), *right.strides)
            if flipped:  # the transpose is a product too: bᵀ aᵀ
                first, second = (*second[:2], *second[:1:-1]), (*first[:2], *first[:1:-1])
            (rows, x, row, column), (columns, y, *strides) = first, second
            packed = self._name(self._scratch("packed", (k, -(-columns // PANEL) * PANEL), dtype, over_time=True))
            self._say(f"pack_{end}({count}, {columns}, {y}, {strides[0]}, {strides[1]}, {packed});")
            self._say(
                f"product_{end}({rows}, {columns}, {count}, {x}, {row}, {column}, {packed}, "
                f"{self._name(place.memory)}, {columns}, 1);"
            )


def _factor(text: str) -> str:
    """A factor of a product: in brackets, if it is a sum or a product itself."""
    return text if re.fullmatch(r"\w+", text) else f"({text})"
