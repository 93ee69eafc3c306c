"""Sequences as arrays for networks: vocabularies, padding and lengths, windows, sessions, splits, chunks."""

from .padding import pad, reverse_padded, unpad
from .series import sessions, split, tbptt_chunks, windows
from .vocabulary import CharVocabulary, Vocabulary, WordVocabulary

__all__ = [
    "CharVocabulary",
    "Vocabulary",
    "WordVocabulary",
    "pad",
    "reverse_padded",
    "sessions",
    "split",
    "tbptt_chunks",
    "unpad",
    "windows",
]
