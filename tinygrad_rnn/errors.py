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
    """Base of every error that the library raises on purpose."""


class ShapeError(TinygradError, ValueError):
    """Shapes, axes or a state's structure that do not fit together."""


class LengthError(ShapeError, TypeError):
    """The length, the elements or the one number of a tensor that has none, as Python asks for it."""


class DtypeError(TinygradError, TypeError):
    """A dtype that an operation cannot take, or that has no gradient."""


class GradientError(TinygradError, RuntimeError):
    """A gradient that was asked for and does not exist."""


class ImmutableError(TinygradError, TypeError):
    """An attempt to change a tensor in place."""


class TraceError(TinygradError, TypeError):
    """The value of a symbolic tensor was asked for; it has a shape and a dtype only."""


class SideEffectError(TraceError):
    """A step of a cell changes what it reads, or reads what changes by itself: a random number, a counter, the time."""


class NonFiniteError(TinygradError, FloatingPointError):
    """NaN or inf, where they are looked for: under :func:`tinygrad_rnn.debug`, in a loss's target, when clipping, in a fit."""


class FoldError(TinygradError, ValueError):
    """A graph whose steps differ, or that has no steps, was to be folded."""


class StateDictError(TinygradError, KeyError):
    """Names or shapes of stored parameters that do not match the module's."""

    def __str__(self) -> str:  # KeyError would print the repr, with its newlines escaped
        return str(self.args[0]) if self.args else ""


class DataError(TinygradError, ValueError):
    """A text, a file or a sequence that cannot be used."""


class RendererError(TinygradError, RuntimeError):
    """A picture was asked for and nothing here can render DOT."""


class MissingExtraError(TinygradError, ImportError):
    """An optional dependency is missing; the message names the extra that has it."""
