"""Formulas: an operation as LaTeX, with placeholders for its inputs."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Formula"]

OPEN, RELATION, SUM, TERM, PRODUCT, MATRIX, ATOM, SYMBOL = range(8)

PRECEDENCE = {"relation": RELATION, "sum": SUM, "term": TERM, "product": PRODUCT, "matrix": MATRIX, "atom": ATOM}
PRECEDENCE |= {"symbol": SYMBOL, "base": SYMBOL}
"""Places of an input in a formula, with their binding strength."""


class Formula(NamedTuple):
    r"""A LaTeX template with placeholders for the inputs, and its binding strength.

    Attributes
    ----------
    latex : str
        The template, such as ``r"{a:sum} + {b:sum}"``. TeX's own braces are doubled, as in
        ``r"\sqrt{{{x}}}"``. ``{rest}`` stands for the inputs of a variadic
        primitive, and ``{over}`` for the subscript of a reduction over more than one example.
        The name of an attribute stands for its value: ``{index:index}`` as an index in brackets, with
        the integer arrays in it, and ``{subscripts:typed}`` as code. ``{x:own}`` is an input as
        it is stored, for places where an index counts.
    binds : int
        Binding strength. From the loosest: OPEN, RELATION, SUM, TERM, PRODUCT, MATRIX, ATOM, SYMBOL.
        An argument that binds less tightly than its placeholder, such as ``{x:product}``, is put in
        brackets. ``{x}`` is a place that has brackets of its own, ``{x:base}`` a place before a
        superscript, and ``{x:factor}`` a place with a dot before a joined vector.
    transposed : str, optional
        The template of the transposed result; ``{x:T}`` in it stands for the transpose of an input.
        If not given, every input is transposed in `latex`.
    special : tuple of (str, float or str, str or Formula)
        Other templates for special inputs. For an input that is a known number: ``("b", 1, "{a}")``,
        or with another binding strength ``("b", -1, Formula("-{a:term}", SUM))``. For an input that
        was made by a certain primitive, with placeholders for the inputs of that primitive:
        ``("x", "log_softmax", r"\operatorname{{softmax}}\left({x}\right)")``.
    """

    latex: str
    binds: int = ATOM
    transposed: str | None = None
    special: tuple[tuple[str, float | str, str | Formula], ...] = ()


def check_formula(name: str, formula: Formula, arguments: Sequence[str], attributes: Sequence[str]) -> None:
    inputs = [a for a in arguments if not a.startswith("*")]
    known = [*inputs, *attributes, "over", *(["rest"] if len(inputs) < len(arguments) else [])]
    for place, _, _ in formula.special:
        if place not in inputs:
            raise ValueError(
                f"{name}: a special formula names the input {place!r}, but the inputs are {', '.join(inputs) or 'none'}"
            )
    special = [instead.latex if isinstance(instead, Formula) else instead for _, _, instead in formula.special]
    own = [latex for latex, (_, case, _) in zip(special, formula.special, strict=True) if not isinstance(case, str)]
    for template in (formula.latex, formula.transposed or "", *own):
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{name}: the formula {template} has single braces ({error}); double the braces of TeX") from None
        text, used = "", set()
        for literal, field, spec, conversion in parts:
            text += literal
            if field is None:
                continue
            shown = f"{{{field}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
            if field not in known:
                raise ValueError(
                    f"{name}: the placeholder {shown} in the formula {template} must be one of {', '.join(known)}; "
                    f"double the braces of TeX: {{{shown}}}"
                )
            allowed: tuple[str, ...] = ()
            if field in inputs or field == "rest":
                allowed = (*PRECEDENCE, "T", "own", "factor")
            elif field in attributes:
                allowed = ("index", "typed")
            if conversion or (spec and any(part not in allowed for part in spec.split(","))):
                raise ValueError(
                    f"{name}: the placeholder {shown} in the formula {template} has an unknown format; the formats of "
                    f"{field} are: {', '.join(allowed) or 'none'}"
                )
            if field != "over" and re.search(r"(\\[A-Za-z]+|[\^_])$", text):
                raise ValueError(
                    f"{name}: in the formula {template}, {shown} is only a placeholder, and TeX needs braces of its own: "
                    f"write {{{{{shown}}}}}"
                )
            used.add(field)
            text += " "
        bare = [i for i in inputs if i not in used and re.search(rf"(?<![\\A-Za-z]){i}(?![A-Za-z])", text)]
        if bare and template is formula.latex:
            raise ValueError(f"{name}: the input {bare[0]} is plain text in the formula {template}; write {{{bare[0]}}}")


def check_template(name: str, c: str | Mapping[str, str] | None, arguments: Sequence[str], attributes: Sequence[str]) -> None:
    """Refuse a C template with a placeholder that is neither an input nor an attribute.

    Raises
    ------
    ValueError
        The message names the primitive and the allowed placeholders.
    """
    known = [*[a for a in arguments if not a.startswith("*")], *attributes, "n", "y"]
    for template in () if c is None else (c,) if isinstance(c, str) else c.values():
        for field in (field for _, field, _, _ in string.Formatter().parse(template) if field is not None):
            if field not in known:
                raise ValueError(f"{name}: the placeholder {{{field}}} in c={template!r} must be one of {', '.join(known)}")
