"""Drawings side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .drawing import Drawing

__all__ = ["Drawings"]


class Drawings(tuple["Drawing", ...]):
    """Several drawings that a notebook shows in a row: ``model.draw() | model.draw(time="unrolled")``.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> cell = nn.RNNCell(3, 5)
    >>> cell.draw() | cell.draw(time="unrolled") | cell.draw(time="step")
    <Drawings of RNNCell, folded over time | RNNCell, unrolled over 4 steps | RNNCell, one step>
    """

    def save(self, path: str | Path) -> list[Path]:
        """Write each drawing to a separate file, with its number before the suffix: rnn-1.svg, rnn-2.svg.

        Parameters
        ----------
        path : str or Path
            The name without the numbers, such as ``"rnn.svg"``; the suffix is one of those of ``Drawing.save``.

        Returns
        -------
        list of Path

        Raises
        ------
        DataError, RendererError
            In the same cases as ``Drawing.save``.

        Examples
        --------
        >>> import tempfile
        >>> from tinygrad_rnn import nn
        >>> slides = nn.RNNCell(3, 5).draw(time="unrolled", steps=2).build_up()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in slides.save(f"{folder}/rnn.svg")]
        ['rnn-1.svg', 'rnn-2.svg']
        """
        path = Path(path)
        names = [path.with_name(f"{path.stem}-{k}{path.suffix}") for k in range(1, len(self) + 1)]
        return [drawing.save(name) for drawing, name in zip(self, names, strict=True)]

    def __or__(self, other: Drawing | Drawings) -> Drawings:
        if not isinstance(other, Drawings) and not hasattr(other, "sketch"):
            return NotImplemented
        return Drawings((*self, *(other if isinstance(other, Drawings) else (other,))))

    def __repr__(self) -> str:
        return f"<Drawings of {' | '.join(drawing.title or 'a graph' for drawing in self)}>"

    def _repr_html_(self) -> str:
        shrinking = '<svg style="max-width: 100%; height: auto" '
        cards = (drawing.svg().replace("<svg ", shrinking, 1) for drawing in self)
        inside = "".join(f'<div style="min-width: 180px">{card}</div>' for card in cards)
        return f'<div style="display: flex; gap: 12px; align-items: center; overflow-x: auto">{inside}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
