"""See, prove, explain and run recurrent networks.

A small NumPy autodiff engine whose computation graphs are explicit. A recurrent cell is
written once, in plain primitives. Its pictures, gradients, gradient checks and equations
are all made from that one graph.

>>> import tinygrad_rnn as tr
>>> x = tr.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from . import _start as _start  # isort: skip  # first, because the other imports take time
from typing import Any as _Any

from . import datasets, errors, nn, ops, optim, scan, sequences
from ._version import __version__
from .autodiff import debug, grad, jacobian, jvp, no_grad
from .cache import cache_limit
from .compilation import compile
from .graph.context import scope
from .graph.graph import Graph, graph
from .ops import *
from .ops import functions as _functions
from .ops.core import primitive
from .ops.facts import Facts
from .ops.formula import Formula
from .pytorch import missing as _missing
from .random import seed
from .sampling import sample
from .scan.use import use
from .storing import load, save
from .tensor import Parameter, Tensor, tensor
from .torch_modules import from_torch, to_torch
from .unrolling import steps

__all__ = [
    "Facts",
    "Formula",
    "Graph",
    "Parameter",
    "Tensor",
    "__version__",
    "cache_limit",
    "compile",
    "datasets",
    "debug",
    "errors",
    "from_torch",
    "grad",
    "graph",
    "jacobian",
    "jvp",
    "load",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "primitive",
    "sample",
    "save",
    "scan",
    "scope",
    "seed",
    "sequences",
    "steps",
    "tensor",
    "to_torch",
    "use",
]
__all__ += _functions


def __getattr__(name: str) -> _Any:
    raise _missing("tr", name, __name__)
