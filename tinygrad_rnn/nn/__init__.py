"""Modules: cells that read as their equations, layers, and the ways to apply them."""

from typing import Any as _Any

from .. import init
from ..ops import cross_entropy, mse
from ..pytorch import missing as _missing
from ..tensor import Parameter
from .autoregressive import AR, ARCell
from .beam import Sequences
from .cell import Cell, RNNCell
from .decoder import Decoder
from .decoder_cell import DecoderCell, DecoderState
from .feedback import Jordan, JordanCell
from .gated import GRUCell, LSTMCell, LSTMState
from .layers import Dropout, Embedding, Linear, Sequential, linear
from .likelihood import log_likelihood
from .module import Module
from .narx import NARX
from .narx_cell import NARXCell
from .recurrent import Recurrent
from .recurrent_layers import GRU, LSTM, RNN
from .seq2seq import Seq2Seq
from .stacked import RecurrentLayer
from .streaming import Stream
from .systems import ResidualCell, SystemCell
from .time_delay import TimeDelay, TimeDelayCell
from .truncated import truncated_bptt

__all__ = [
    "AR",
    "ARCell",
    "Cell",
    "Decoder",
    "DecoderCell",
    "DecoderState",
    "Dropout",
    "Embedding",
    "GRU",
    "GRUCell",
    "Jordan",
    "JordanCell",
    "LSTM",
    "LSTMCell",
    "LSTMState",
    "Linear",
    "Module",
    "NARX",
    "NARXCell",
    "Parameter",
    "RNN",
    "RNNCell",
    "Recurrent",
    "RecurrentLayer",
    "ResidualCell",
    "Seq2Seq",
    "Sequences",
    "Sequential",
    "Stream",
    "SystemCell",
    "TimeDelay",
    "TimeDelayCell",
    "cross_entropy",
    "init",
    "linear",
    "log_likelihood",
    "mse",
    "truncated_bptt",
]


def __getattr__(name: str) -> _Any:
    raise _missing("nn", name, __name__)
