"""Model files: whole models with additional values, and the state of a training run."""

from .model_file import load, save

__all__ = ["load", "save"]
