"""The log-likelihood of a sequence: a sum over its steps."""

from __future__ import annotations

import numpy.typing as npt

from ..ops import TensorLike, cross_entropy, negative
from ..tensor import Tensor

__all__ = ["log_likelihood"]


def log_likelihood(logits: TensorLike, ys: TensorLike, lengths: npt.ArrayLike | None = None) -> Tensor:
    """The log-probability of each sequence in nats, Σ_t log p(y_t | the symbols before).

    By the chain rule of probability, p(y_1, …, y_T) = Π_t p(y_t | y_1, …, y_{t-1}), given the
    input if there is an input. The network decides on which earlier symbols the logits of step t
    depend: on all of them if its outputs are fed back, and on none if they are not.

    Parameters
    ----------
    logits : array_like, shape (T, batch, n)
        The outputs before the softmax.
    ys : array_like of int, shape (T, batch)
        The symbols, as codes.
    lengths : array_like of int, shape (batch,), optional
        The length of each sequence; symbols after its end are ignored.

    Returns
    -------
    Tensor, shape (batch,)
        The log-probabilities. For bits per symbol, divide them by -ln 2 and by the lengths.

    Raises
    ------
    ShapeError, DtypeError
        If the symbols do not fit the logits, or the lengths do not fit the symbols.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 10.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.zeros((3, 1, 2))  # three tosses of a fair coin
    >>> log_p = log_likelihood(logits, [[0], [1], [1]])
    >>> np.exp(log_p.data), -log_p.data / np.log(2) / 3
    (array([0.125]), array([1.]))
    """
    return negative(cross_entropy(logits, ys, "none", lengths=lengths).sum(axis=0))
