"""The settings of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import DataError
from ..scan.use import backend_name, check_backend

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Sizes and training options of the demo; the defaults suit a quarter of a megabyte of English.

    Attributes
    ----------
    updates : int
        Number of steps of the optimiser; with 0, the model keeps its random weights.
    seconds : float
        Time limit of training, for any number of updates.
    batch, length : int
        Number of rows of text read in parallel, and number of characters of a chunk. Gradients go
        back at most to the start of the chunk.
    embedding, hidden : int
        Length of a character's vector, and number of units of the cell.
    rate : float
        Adam's learning rate, which falls linearly to 0 in the second half of training.
    clip : float
        Largest Euclidean norm of the gradient.
    temperatures : tuple of float
        Temperatures of the samples; one sample is written for each.
    sample : int
        Number of characters of a sample.
    prompt : str
        The text that the network reads before it writes. If empty, the prompt is "The ", or, if the
        vocabulary lacks its characters, the start of the text.
    seed : int
        Seed of the initial weights and the samples.
    backend : {"numpy", "native"}
        The backend that runs the network; if not given, the backend in use (see :class:`use`).

    Raises
    ------
    DataError
        If a number is outside its range.
    ValueError
        If there is no such backend.

    Examples
    --------
    >>> Settings(batch=0)
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: batch must be at least 1, not 0
    """

    updates: int = 3000
    seconds: float = 60.0
    batch: int = 32
    length: int = 32
    embedding: int = 64
    hidden: int = 256
    rate: float = 5e-3
    clip: float = 1.0
    temperatures: tuple[float, ...] = (0.5, 0.8, 1.0)
    sample: int = 300
    prompt: str = ""
    seed: int = 0
    backend: str = field(default_factory=backend_name)

    def __post_init__(self) -> None:
        check_backend(self.backend)
        least = {"updates": 0, "sample": 0, "seed": 0}
        for name, value in vars(self).items():
            if isinstance(value, int) and value < least.get(name, 1):
                raise DataError(f"{name} must be at least {least.get(name, 1)}, not {value}")
            if isinstance(value, float) and not 0 < value < float("inf"):
                raise DataError(f"{name} must be more than 0 and finite, not {value:g}")
        if not self.temperatures or not all(0 <= t < float("inf") for t in self.temperatures):
            raise DataError(
                f"temperatures must be at least 0, not {', '.join(f'{t:g}' for t in self.temperatures) or 'an empty list'}"
            )
