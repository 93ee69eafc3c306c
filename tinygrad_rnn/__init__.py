"""See, prove, explain and run recurrent networks.

A small NumPy autodiff engine whose computation graphs are explicit: a recurrent cell is
written once, in plain primitives, and its pictures, its gradients, their proof and its
equations all come from that one graph.

>>> import tinygrad_rnn as tr
>>> x = tr.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from . import errors, ops
from ._version import __version__
from .autodiff import debug, grad, jacobian, jvp, no_grad
from .graph.place import scope
from .ops import *
from .ops import functions as _functions
from .ops.core import Formula, primitive
from .tensor import Parameter, Tensor, tensor

__all__ = [
    "Formula",
    "Parameter",
    "Tensor",
    "__version__",
    "debug",
    "errors",
    "grad",
    "jacobian",
    "jvp",
    "no_grad",
    "ops",
    "primitive",
    "scope",
    "tensor",
]
__all__ += _functions
