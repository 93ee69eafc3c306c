"""Elementwise operations in C: one expression for each element."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ...graph.node import Node
from ...ops.facts import facts_of
from .groups import Groups
from .indexing import Indexed, indexed
from .names import identifier
from .page import Page
from .places import literal_of
from .types import C_TYPES, form_of, literal, numbers_of, operand_dtype, template_of

__all__ = ["write_group", "write_pointers"]

_SIMPLE = re.compile(r"[\w.]+(\[[^\]]*\])?|\w+\([^()]*\)")
"""Pattern of an expression that needs no brackets: a name, an element or a call."""

_CALL = re.compile(r"\w+\(\{\w+\}(, \{\w+\})*\)")
"""Pattern of an operation in C that is a call, so that its operands need no brackets."""


def write_group(page: Page, groups: Groups, nodes: Sequence[Node]) -> None:
    """Write one loop for a group of operations on the same elements.

    A value that is used only once is written where it is used, unless it has a name. Above each line stands its formula.
    """
    uses = Counter(i for node in nodes for i in _operands(node, groups))
    held: dict[Node, str] = {}
    formulas: dict[Node, str] = {}
    with page.nest(nodes[0].shape, simd=all(form_of(node) == "element" for node in nodes)) as variables:
        for node in nodes:
            gathers, stored = form_of(node) == "gather", node in page.places
            text = _gathered(page, node, variables) if gathers else _expression(page, groups, node, variables, held)
            formula = "" if gathers or literal_of(node) is not None else _formula(page, groups, node, formulas)
            if not stored and uses[node] == 1 and node.name is None and node.dtype.kind == "f" and not gathers:
                held[node], formulas[node] = text, formula
                continue
            if uses[node]:
                held[node] = page.names.new(node.name)
            formulas[node] = _called(page, node) if stored or not uses[node] else held[node]
            if not re.fullmatch(r"\w*", formula):  # a plain copy needs no formula
                page.say(f"/* {formulas[node]} = {formula} */")
            if uses[node]:
                page.say(f"{C_TYPES[node.dtype]} {held[node]} = {text};")
                text = held[node]
            if stored:
                page.say(f"{page.element(node, variables)} = {text};")


def _operands(node: Node, groups: Groups) -> Iterator[Node]:
    """Values that the C of an operation reads from registers, without repetitions."""
    template = template_of(node)
    if form_of(node) != "element" or literal_of(node) is not None or template is None or node.primitive is None:
        return
    inputs = dict(zip(node.primitive.named_arguments, node.inputs, strict=True))
    for _, field, _, _ in string.Formatter().parse(template):
        if field in inputs and groups.in_register(inputs[field], node):
            yield inputs[field]


def _expression(page: Page, groups: Groups, node: Node, variables: Sequence[str], held: dict[Node, str]) -> str:
    number, template = literal_of(node), template_of(node)
    if number is not None:
        return literal(number.value, node.dtype)
    assert node.primitive is not None and template is not None
    dtype = operand_dtype(node)
    texts = {name: literal(value, dtype) for name, value in numbers_of(node).items()}
    for name, i in zip(node.primitive.named_arguments, node.inputs, strict=True):
        number = literal_of(i)
        if number is not None:
            texts[name] = literal(np.asarray(number.value).astype(dtype), dtype)
        else:
            text = held[i] if groups.in_register(i, node) else page.element(i, variables)
            decides = i.dtype.kind == "b" and template.startswith(f"{{{name}}} ?")
            bare = _SIMPLE.fullmatch(text) or (i.dtype == dtype and _CALL.fullmatch(template))
            texts[name] = f"{'' if decides or i.dtype == dtype else f'({C_TYPES[dtype]})'}{text if bare else f'({text})'}"
    return page.call(template.format(**texts), dtype)


def _formula(page: Page, groups: Groups, node: Node, formulas: dict[Node, str]) -> str:
    """The C of an operation without places and types, for use in a comment."""
    template = template_of(node)
    assert node.primitive is not None and template is not None
    texts = {name: f"{value:g}" for name, value in numbers_of(node).items()}
    for name, i in zip(node.primitive.named_arguments, node.inputs, strict=True):
        number = literal_of(i)
        if number is not None:
            text = f"{np.asarray(number.value).flat[0]:g}"
        else:
            text = formulas[i] if groups.in_register(i, node) else _called(page, i)
        texts[name] = text if _SIMPLE.fullmatch(text) or _CALL.fullmatch(template) else f"({text})"
    return re.sub(r"\b([a-z]\w*)_\(", r"\1(", template.format(**texts)).replace("&failed", "")


def _called(page: Page, node: Node) -> str:
    """The name of a value in comments: its own name, or that of the memory in which the value lies."""
    return identifier(node.name or "") or page.name(page.places[node].memory)


def _gathered(page: Page, node: Node, variables: Sequence[str]) -> str:
    table, *arrays = node.inputs
    place = page.places[table]
    found = indexed(table.shape, place.strides, node.attributes[str(facts_of(node).reads)], [a.shape for a in arrays])
    terms = write_pointers(page, found, arrays, variables)
    first = place._replace(strides=found.strides, offset=place.offset + found.offset)
    return f"{page.name(place.memory)}[{page.at(first, node.shape, variables, also=terms)}]"


def write_pointers(page: Page, found: Indexed, arrays: Sequence[Node], variables: Sequence[str]) -> list[str]:
    """Write pointers for index arrays, and return the terms that they add to an element's index."""
    index = variables[found.first : found.first + found.rank]
    terms = []
    for array, (what, n, stride) in zip(arrays, found.arrays, strict=True):
        at = f"at{page.number()}"
        function = "index_" if what.codes is None else "code_"
        text = page.call(f"{function}({page.element(array, index)}, {n}, &failed)", np.dtype(np.int64))
        page.say(f"long {at} = {text};")
        terms.append(at if stride == 1 else f"{at} * {stride}")
    return terms
