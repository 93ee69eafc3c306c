r"""Letters: the symbols that a reader chooses for values and parameters, in drawings and in equations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, get_args

from ..checks import no_such

__all__ = ["Letters", "Notation", "layer_marks", "number_of", "stem_of"]

Notation = Literal["UW", "WU"]
"""The letters of the input's and of the recurrent matrix, in this order: U x + W h, or W x + U h."""

_STEM = re.compile(r"(\\[A-Za-z]+\{[^{}]*\}|\\[A-Za-z]+|[^\\_^'{}]+)(.*)", re.DOTALL)
"""The letter of a name, with its accent, primes and scripts."""


class Letters:
    r"""A reader's symbols for the values and parameters of a model.

    Parameters
    ----------
    symbols : Mapping of str to str, optional
        Maps the names of a model to the symbols of the reader. ``{"h": "s"}`` renames ``h`` and all
        names of this letter with scripts or primes, such as ``h_1``. An entry for a full name, such as
        ``"W_f"``, has priority over an entry for its letter.
    notation : {"UW", "WU"}, optional
        Letters of the input matrix and of the recurrent matrix, in this order. Models use "UW"; "WU"
        exchanges the two letters. Numbered matrices, such as the ``W_0`` and ``W_1`` of a
        time-delay layer, belong to delays and keep their letter.

    Raises
    ------
    ValueError
        If the notation is neither of these, or a symbol is not a string.

    Examples
    --------
    >>> letters = Letters({"h": "s", "W_g": "W_C"}, notation="WU")
    >>> [letters(name) for name in ("h", "h_1", "U", "W", "W_f", "W_g", "W_0", "b'")]
    ['s', 's_1', 'W', 'U', 'U_f', 'W_C', 'W_0', "b'"]
    """

    def __init__(self, symbols: Mapping[str, str] | None = None, notation: Notation | None = None) -> None:
        self.symbols = dict(symbols or {})
        self.notation = notation
        if notation is not None and notation not in get_args(Notation):
            raise ValueError(f'notation must be "UW", for U x + W h, or "WU", for W x + U h, not {notation!r}')
        for name, symbol in self.symbols.items():
            if not (isinstance(name, str) and isinstance(symbol, str) and symbol):
                raise ValueError(
                    f'symbols must be a dict from names in the model to new symbols, such as {{"U": "A"}}, but has '
                    f"{name!r}: {symbol!r}"
                )

    def __call__(self, name: str) -> str:
        """The reader's symbol for the value or parameter of a name."""
        if name in self.symbols:
            return self.symbols[name]
        found = _STEM.fullmatch(name)
        if found is None:
            return name
        stem, scripts = found.groups()
        if stem in self.symbols:
            return self.symbols[stem] + scripts
        if self.notation == "WU" and stem in ("U", "W") and number_of(name) is None:
            return {"U": "W", "W": "U"}[stem] + scripts
        return name

    def check(self, names: Iterable[str]) -> None:
        """Refuse symbols for letters that occur in no name of a model.

        Parameters
        ----------
        names : iterable of str
            The names of the model.

        Raises
        ------
        ValueError
            If a letter occurs in no name; the message lists the names.
        """
        there = dict.fromkeys(names)
        stems = set(map(stem_of, there))
        unknown = [name for name in self.symbols if name not in there and stem_of(name) not in stems]
        if unknown:
            raise ValueError(f"symbols: {no_such('name', unknown[0], there)}")


def stem_of(name: str) -> str:
    r"""The letter of a name, with its accent, without primes and scripts.

    Examples
    --------
    >>> stem_of("W_f"), stem_of("b'"), stem_of(r"\hat{y}_1")
    ('W', 'b', '\\hat{y}')
    """
    found = _STEM.fullmatch(name)
    return found[1] if found else name


def number_of(name: str) -> int | None:
    """The number at the start of a name's subscript, or None.

    Examples
    --------
    >>> number_of("W_0"), number_of("A_{12}"), number_of("W_f")
    (0, 12, None)
    """
    found = re.search(r"_\{?(\d+)", name)
    return int(found[1]) if found else None


class Directed(Protocol):
    """Protocol of anything that runs over a sequence, forwards or in reverse."""

    @property
    def reverse(self) -> bool:
        """Whether the run starts at the end of the sequence."""


def layer_marks(runs: Sequence[Directed]) -> list[str]:
    """Marks for equal names in several runs: arrows for two directions, numbers for layers.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn.views import traced
    >>> from tinygrad_rnn.views.runs import Runs
    >>> model = tr.nn.RNN(3, 5, num_layers=2, bidirectional=True)
    >>> layer_marks(list(Runs(traced(model, 2).nodes)))
    ['→^{(1)}', '←^{(1)}', '→^{(2)}', '←^{(2)}']
    """
    directions = [run.reverse for run in runs]
    if directions.count(True) == directions.count(False):
        arrows = ["←" if reverse else "→" for reverse in directions]
        layers = [arrows[: k + 1].count(arrow) for k, arrow in enumerate(arrows)]
        return [arrow + (f"^{{({k})}}" if len(runs) > 2 else "") for arrow, k in zip(arrows, layers, strict=True)]
    return [f"^{{({k})}}" for k in range(1, len(runs) + 1)]
