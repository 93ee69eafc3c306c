"""Result: the base class of the results of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

__all__ = ["Result"]


class Result:
    """Base of the frozen dataclasses that measurements return."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as a new dictionary, with nested measurements as dictionaries; arrays are not copied.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import explain, nn
        >>> list(explain.jacobians(nn.Recurrent(nn.RNNCell(2, 3)), np.ones((4, 1, 2))).to_dict())
        ['slots', 'arrays']
        """
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    return {name: _plain(part) for name, part in value.items()} if isinstance(value, Mapping) else value
