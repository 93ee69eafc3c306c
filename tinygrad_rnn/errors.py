"""The library's own kinds of error.

Each also derives from the built-in exception that a NumPy user would expect, so that
``except ValueError`` keeps working.
"""

__all__ = [
    "DataError",
    "DtypeError",
    "FoldError",
    "GradientError",
    "ImmutableError",
    "LengthError",
    "MissingExtraError",
    "NonFiniteError",
    "RendererError",
    "ShapeError",
    "SideEffectError",
    "StateDictError",
    "TinygradError",
    "TraceError",
]


class TinygradError(Exception):
    """Base class of all errors that the library raises on purpose."""


class ShapeError(TinygradError, ValueError):
    """Shapes, axes or state structures do not fit together."""


class LengthError(ShapeError, TypeError):
    """A tensor has no length, no elements to iterate over, or is not a single number."""


class DtypeError(TinygradError, TypeError):
    """An operation cannot take a dtype, or a dtype has no gradient."""


class GradientError(TinygradError, RuntimeError):
    """The requested gradient does not exist."""


class ImmutableError(TinygradError, TypeError):
    """Code tried to change a tensor in place."""


class TraceError(TinygradError, TypeError):
    """The value of a symbolic tensor was requested, which has only a shape and a dtype."""


class SideEffectError(TraceError):
    """A cell's step changes a variable that it reads, or reads a variable that changes by itself, such as a clock."""


class NonFiniteError(TinygradError, FloatingPointError):
    """NaN or inf was found: by :func:`tinygrad_rnn.debug`, in the target of a loss, in clipping, or in a fit."""


class FoldError(TinygradError, ValueError):
    """A graph cannot be folded: its steps differ, or it has no steps."""


class StateDictError(TinygradError, KeyError):
    """Names or shapes of stored parameters do not match those of the module."""

    def __str__(self) -> str:  # KeyError would print the repr, with its newlines escaped
        return str(self.args[0]) if self.args else ""


class DataError(TinygradError, ValueError):
    """A text, a file or a sequence cannot be used."""


class RendererError(TinygradError, RuntimeError):
    """A picture was requested in a format that needs a renderer, and none is installed."""


class MissingExtraError(TinygradError, ImportError):
    """An optional dependency is missing; the message names the extra that installs it."""
