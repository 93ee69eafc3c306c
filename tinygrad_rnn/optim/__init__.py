"""Optimisers, which rebind parameters; gradient clipping; a schedule of the learning rate."""

from .base import Optimizer
from .clipping import clip_grad_norm, clip_grad_value
from .first_order import SGD, Adam, AdamW, RMSProp
from .schedules import WarmupCosine

__all__ = [
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "SGD",
    "WarmupCosine",
    "clip_grad_norm",
    "clip_grad_value",
]
