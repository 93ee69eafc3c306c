"""Optimisers, which rebind parameters; gradient clipping, a schedule of the learning rate, and second-order fits."""

from typing import Any as _Any

from ..pytorch import missing as _missing
from .base import Optimizer
from .clipping import clip_grad_norm, clip_grad_value
from .first_order import SGD, Adam, AdamW, RMSProp
from .schedules import WarmupCosine
from .second_order import Fit, lbfgs, levenberg_marquardt

__all__ = [
    "Adam",
    "AdamW",
    "Fit",
    "Optimizer",
    "RMSProp",
    "SGD",
    "WarmupCosine",
    "clip_grad_norm",
    "clip_grad_value",
    "lbfgs",
    "levenberg_marquardt",
]


def __getattr__(name: str) -> _Any:
    raise _missing("optim", name, __name__)
