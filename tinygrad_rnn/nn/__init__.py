"""Modules: cells that read as their equations, layers, and the ways to apply them."""

from .. import init
from ..ops import cross_entropy, mse
from ..tensor import Parameter
from .cell import Cell, RNNCell
from .gated import GRUCell, LSTMCell, LSTMState
from .layers import Dropout, Embedding, Linear, Sequential, linear
from .module import Module
from .recurrent import Recurrent
from .recurrent_layers import GRU, LSTM, RNN
from .stacked import RecurrentLayer

__all__ = [
    "Cell",
    "Dropout",
    "Embedding",
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "LSTMState",
    "Linear",
    "Module",
    "Parameter",
    "RNN",
    "RNNCell",
    "Recurrent",
    "RecurrentLayer",
    "Sequential",
    "cross_entropy",
    "init",
    "linear",
    "mse",
]
