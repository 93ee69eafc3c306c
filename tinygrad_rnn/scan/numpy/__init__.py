"""The NumPy backend: a schedule as a Python function that calls NumPy on preallocated memory."""

from ..backend import Backend
from .executable import NumpyExecutable
from .layout import batch_last

__all__ = ["NUMPY"]

NUMPY = Backend("numpy", batch_last, NumpyExecutable)
