"""Model files: whole models with what goes along, and the state of a training run."""

from .model_file import load, save

__all__ = ["load", "save"]
