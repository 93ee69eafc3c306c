"""Modules: cells that read as their equations, layers, and the ways to apply them."""

from .. import init
from ..ops import cross_entropy, mse
from ..tensor import Parameter
from .cell import Cell, RNNCell
from .layers import Dropout, Embedding, Linear, Sequential, linear
from .module import Module
from .recurrent import Recurrent

__all__ = [
    "Cell",
    "Dropout",
    "Embedding",
    "Linear",
    "Module",
    "Parameter",
    "RNNCell",
    "Recurrent",
    "Sequential",
    "cross_entropy",
    "init",
    "linear",
    "mse",
]
