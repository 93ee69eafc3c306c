"""The demo: a character-level language model, trained on real text in about a minute.

Read the modules in this order: `corpus` (the text and its split), `model`, `training` (truncated
backpropagation through time), `ngram` and `baselines` (models for comparison), `report`.
"""

from .baselines import Score, count_models, score_all
from .corpus import UNKNOWN, Corpus, prose, read_text, split
from .model import CharModel
from .ngram import NGram, bits_per_character
from .run import run
from .settings import Settings
from .training import History, train

__all__ = [
    "UNKNOWN",
    "CharModel",
    "Corpus",
    "History",
    "NGram",
    "Score",
    "Settings",
    "bits_per_character",
    "count_models",
    "prose",
    "read_text",
    "run",
    "score_all",
    "split",
    "train",
]
