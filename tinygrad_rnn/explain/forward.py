"""The forward equations of a system: its named values, in the reader's form and letters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from ..graph.node import Node
from ..views.letters import Letters, layer_marks, stem_of
from ..views.runs import Run
from .names import subscripted, word
from .printer import Printer, Symbol, over_axes
from .system import System
from .textbook import AS_WRITTEN, Form, Textbook

__all__ = ["Forward"]

LONG = 200
"""Largest length of LaTeX for an unnamed value that is used several times; a longer value gets a name and a line."""


class Forward:
    """Forward equations of a system: its named values, in a reader's form and symbols.

    Parameters
    ----------
    system : System
    form : Form
    letters : Letters, optional
    paths : Mapping of Node to str
        The path of each parameter in the model.

    Attributes
    ----------
    system : System
        The system in the form of a textbook.
    parts : dict of Node to Node
        The expressions that leaves for parts or sums of parameters represent; see :class:`Textbook`.
    named : list of Node
        The values that get an equation, each after the values that it is computed from.
    parameters : list of Node
    symbols : dict of Node to Symbol
    ones : set of Node
        Leaves whose elements are all 1, such as the derivative of a loss with respect to itself.
    """

    def __init__(
        self, system: System, form: Form = AS_WRITTEN, letters: Letters | None = None, paths: Mapping[Node, str] | None = None
    ) -> None:
        delayed = [leaf for leaf, reference in system.references.items() if reference.delay]
        book = Textbook([*system.all_ends, *(reference.node for reference in system.references.values())], delayed, form)
        self.system, self.parts = system.rewritten(book.new), book.parts
        self.ones: set[Node] = set()
        for total, value in book.sums.items():
            if value in self.system.runs:
                self.system.runs[total] = self.system.runs[value]
            elif value in self.system.once:
                self.system.once.add(total)
        self.nodes = self.system.nodes
        self.named = [node for node in self.nodes if node.primitive is not None and node.name is not None]
        self.parameters = [node for node in self.nodes if node.role == "parameter"]
        self.symbols = self._symbols(letters or Letters(), paths or {})
        self.mixes = any(self.system.batch in over_axes(node) for node in self.nodes)
        self.printer = self.printer_of()
        self.named = sorted([*self.named, *self.abbreviate(self.nodes, self.printer)], key=lambda node: node.serial)

    def printer_of(self, later: int = 0, dropped: Iterable[Node] = (), base: str | int = "t") -> Printer:
        """A printer of values at step t, at a number of steps after t, or at a fixed step."""
        over_time = any(reference.when in ("sum", "all") for reference in self.system.references.values())
        steps = self.system.steps if over_time else 0
        return Printer(self.symbols, self.system.batch, later, set(dropped), base, steps, self.ones)

    def lines(self) -> list[str]:
        """LaTeX lines for each named value, and for each slot that the author named."""
        lines = [self.line(node, self.printer) for node in self.named]
        lines = [line for line in lines if line.partition(" &= ")[0] != line.partition(" &= ")[2]]
        for name, slot in self.system.held:  # slots with an author's name: print the value that the slot holds
            symbol = self.symbols[slot]
            held = symbol if symbol.delay is None else symbol._replace(delay=symbol.delay - 1)
            lines.append(f"{subscripted(name, 't')} &= {held.at(0)}")
        if any(loss not in self.system.once for loss in self.system.losses):
            (loss,) = self.system.losses
            lines.append(f"{self.symbols[loss]._replace(delay=None).at(0)} &= \\sum_t {self.printer.symbol(loss)}")
        return lines

    def line(self, node: Node, printer: Printer) -> str:
        """The equation of a named value, as a line of LaTeX."""
        return f"{printer.symbol(node)} &= {printer.right_side(node)}"

    # -- symbols -----------------------------------------------------------------------------

    def _symbols(self, letters: Letters, paths: Mapping[Node, str]) -> dict[Node, Symbol]:
        system = self.system
        inputs = [node for node in self.nodes if node.role in ("input", "mask")]
        starts = {initial.node: initial for initial in system.initials}
        called = [node for node in [*inputs, *self.parameters, *self.named] if node not in starts]
        runs = system.runs | {p: run for p, run in self._runs_of_parameters().items() if run is not None}
        letters.check(map(name_of, called))
        alone = {node: letters(name_of(node)) for node in called}
        alone |= _hats(alone, inputs, self.named)
        layers = _layers(alone, runs)
        names = {node: layered(name, layers.get(node, "")) for node, name in alone.items()}
        marks = _marks(names, {node: paths.get(node, node.scope) for node in called}, set(paths))
        symbols = {}
        for node in called:
            is_fixed = node.role == "parameter" or node in system.once
            symbols[node] = Symbol(names[node], None if is_fixed else 0, mark=marks[node])
        for node, initial in starts.items():
            symbols[node] = symbols[initial.state]._replace(delay=None, when=str(initial.time))
        for leaf, (node, delay, when) in system.references.items():
            symbol = symbols[node]
            symbols[leaf] = symbol._replace(delay=None if symbol.delay is None or when else delay, when=when)
        return symbols

    def _runs_of_parameters(self) -> dict[Node, Run | None]:
        """The first run that uses each parameter; None if the parameter is also used outside of runs."""
        of: dict[Node, dict[Run | None, None]] = {}
        helps: dict[Node, set[Node]] = {}
        for node in self.nodes:
            if node.role == "parameter":
                helps[node] = {node}
            elif node.primitive is not None:
                found = set().union(*(helps.get(i, ()) for i in node.inputs))
                if node.name is None:
                    helps[node] = found
                else:
                    for parameter in found:
                        of.setdefault(parameter, {})[self.system.runs.get(node)] = None
        return {parameter: next(iter(runs)) for parameter, runs in of.items()}

    # -- values without a name ---------------------------------------------------------------

    def abbreviate(self, nodes: Iterable[Node], printer: Printer) -> list[Node]:
        """Name long values that occur more than once, to keep the text short."""
        uses: dict[Node, int] = {}
        nodes = list(nodes)
        for node in nodes:
            for source in node.inputs:
                uses[source] = uses.get(source, 0) + 1
        found = []
        taken = {symbol.name for symbol in self.symbols.values()}
        for node in nodes:
            if node.primitive is None or node in self.symbols or uses.get(node, 0) < 2 or printer.number(node) is not None:
                continue
            printer.prepare([node])
            natural = printer.is_row(node) is not False
            if len(printer.form(node, natural)[0]) > LONG:
                name = next(name for name in _free_letters() if name not in taken)
                taken.add(name)
                self.symbols[node] = Symbol(name)
                printer.forms.pop((node, True)), printer.forms.pop((node, False))
                found.append(node)
        return found


def name_of(node: Node) -> str:
    """The author's name of a value or a parameter."""
    return node.name or node.operation


def _hats(names: Mapping[Node, str], inputs: Iterable[Node], made: Iterable[Node]) -> dict[Node, str]:
    """Names with hats for computed values that share an input's name, such as ŷ for a target y, as in drawings."""
    taken, given = set(names.values()), {names[node] for node in inputs if node in names}
    found = {}
    for node in made:
        name = names.get(node)
        if name in given:
            stem = stem_of(name)
            hatted = rf"\hat{{{stem}}}{name[len(stem) :]}"
            if hatted not in taken:
                found[node] = hatted
    return found


def layered(name: str, mark: str) -> str:
    r"""A name with the mark of its layer: an arrow over the letter, or a number above.

    Examples
    --------
    >>> layered("W_f", "→^{(2)}"), layered("h", ""), layered("h'", "^{(1)}")
    ('\\overrightarrow{W}_f^{(2)}', 'h', "h'^{(1)}")
    """
    arrow, number = (mark[:1], mark[1:]) if mark[:1] in ("→", "←") else ("", mark)
    if arrow:
        stem = stem_of(name)
        over = {"→": "overrightarrow", "←": "overleftarrow"}[arrow]
        name = rf"\{over}{{{stem}}}{name[len(stem) :]}"
    return name + number


def _layers(names: Mapping[Node, str], runs: Mapping[Node, Run]) -> dict[Node, str]:
    """Marks of layers and directions, for values and parameters with equal names in several runs."""
    groups: dict[tuple[bool, str], list[Node]] = {}
    for node, name in names.items():
        is_parameter = node.role == "parameter"
        groups.setdefault((is_parameter, stem_of(name) if is_parameter else name), []).append(node)
    found = {}
    for group in groups.values():
        owners = sorted({runs[node] for node in group if node in runs}, key=lambda run: run.number)
        if len(owners) > 1:
            marks = dict(zip(owners, layer_marks(owners), strict=True))
            found.update({node: marks[runs[node]] for node in group if node in runs})
    return found


def _marks(names: Mapping[Node, str], places: Mapping[Node, str], with_path: set[Node]) -> dict[Node, str]:
    """LaTeX marks that distinguish nodes with equal names by their position in the model."""
    groups: dict[tuple[bool, str], list[Node]] = {}
    for node, name in names.items():
        groups.setdefault((node.role == "parameter", name), []).append(node)
    found = {}
    for group in groups.values():
        marks = [""] * len(group)
        if len(group) > 1:
            full = [places[node] for node in group]
            scopes = [place.rpartition(".")[0] if node in with_path else place for place, node in zip(full, group, strict=True)]
            last = [scope.rpartition(".")[2] for scope in scopes]
            found_marks = (m for m in (last, scopes, full) if len(set(m)) == len(m))
            marks = next(found_marks, [str(i + 1) for i in range(len(group))])
        for node, mark in zip(group, marks, strict=True):
            found[node] = mark if mark.isdecimal() or not mark else word(mark)
    return found


def _free_letters() -> Iterable[str]:
    yield from "abcdefgkmnpqrsuvwyz"
    yield from (f"a_{i}" for i in itertools.count(1))
