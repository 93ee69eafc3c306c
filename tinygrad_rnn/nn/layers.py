"""Layers without a state: Linear, Embedding, Dropout, Sequential, and sums of products."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import init
from ..checks import is_int
from ..console import counted
from ..errors import DtypeError, ShapeError, TinygradError
from ..ops import TensorLike, multiply, tanh
from ..ops.core import as_tensor
from ..ops.indexing import IndexArray, look_up
from ..sampling import sample
from ..tensor import Parameter, Tensor
from .module import Module, forget_name, remember_arguments

__all__ = ["Dropout", "Embedding", "Linear", "Sequential", "linear"]


def uniform(symbol: str, shape: tuple[int, ...], fan: int, dtype: npt.DTypeLike) -> Parameter:
    """A parameter with initial values uniform within 1/√fan, as in PyTorch's linear and recurrent layers.

    Raises
    ------
    ValueError
        If the first length of the shape is 0, or if lengths are not whole numbers.

    Examples
    --------
    >>> bool((abs(uniform("W", (5, 4), 4, float).data) <= 0.5).all())
    True
    """
    if shape[0] == 0 or not all(is_int(n, least=0) for n in shape):
        raise ValueError(
            f"sizes must be whole numbers, at least 0, and a layer must have at least 1 unit: {symbol} cannot have shape "
            f"{shape}"
        )
    return Parameter(init.uniform(shape, 1 / math.sqrt(max(1, fan))), symbol, dtype)


def linear(x: TensorLike, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The affine map W x + b of every row of x, with a weight of shape (out, in) as in PyTorch.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> linear([[1.0, 2.0]], tr.tensor([[1.0, 1.0]]), tr.tensor([0.5]))
    tensor([[3.5]])
    """
    y = x @ weight.T
    return y if bias is None else y + bias


class Linear(Module):
    """The affine layer y = W x + b over the last axis.

    Parameters
    ----------
    in_features, out_features : int
        The lengths of x and of y along the last axis.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.
    symbols : pair of str
        The letters of weight and bias in pictures and equations. The default, V and c, is the
        textbook's for the output layer of a recurrent network.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter or None, shape (out_features,)
        Initial values of both are uniform within 1/√in_features, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> Linear(3, 2)(np.ones((5, 4, 3), "float32")).shape
    (5, 4, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        symbols: tuple[str, str] = ("V", "c"),
    ) -> None:
        super().__init__()
        self.input_size = in_features
        self.weight = uniform(symbols[0], (out_features, in_features), in_features, dtype)
        self.bias = uniform(symbols[1], (out_features,), in_features, dtype) if bias else None

    def forward(self, x: TensorLike) -> Tensor:
        """Apply the layer to the last axis of `x`, of length in_features."""
        x = as_tensor(x)
        if x.shape[-1:] != (self.input_size,):
            hint = "; give a single feature an axis of its own: x[..., None]" if self.input_size == 1 else ""
            features = counted(self.input_size, "feature")
            raise ShapeError(f"x has shape {x.shape}, but must have {features} along its last axis{hint}")
        return linear(x, self.weight, self.bias)


class TapSum(Module):
    """The sum of products b + Σ_k W_k u_k, with a matrix for each vector u_k.

    Parameters
    ----------
    sizes : mapping of str to int
        From the name of each matrix, such as ``"W_3"``, to the length of its vector.
    output_size : int
        Length of the result.
    bias : str or None
        Name of the bias; None for no bias.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    W_0, … : Parameter, shape (output_size, length of the vector)
        The matrices, by name. Initial values of matrices and bias are uniform within
        1/√(sum of the lengths), as for one matrix of all columns.

    Examples
    --------
    >>> import numpy as np
    >>> total = TapSum({"W_0": 3, "W_2": 3}, 2, "b")
    >>> total(np.ones((4, 3), "float32"), np.zeros((4, 3), "float32")).shape
    (4, 2)
    >>> [name for name, _ in total.named_parameters()]
    ['W_0', 'W_2', 'b']
    """

    def __init__(
        self, sizes: Mapping[str, int], output_size: int, bias: str | None = "b", dtype: npt.DTypeLike = np.float32
    ) -> None:
        super().__init__()
        fan_in = sum(sizes.values())
        for name, size in sizes.items():
            setattr(self, name, uniform(name, (output_size, size), fan_in, dtype))
        if bias is not None:
            setattr(self, bias, uniform(bias, (output_size,), fan_in, dtype))
        self.names, self.bias = tuple(sizes), bias

    def forward(self, *vectors: TensorLike) -> Tensor:
        """Compute the sum, of vectors of shape (batch, length) in the order of their matrices."""
        first, *others = (linear(u, getattr(self, name)) for u, name in zip(vectors, self.names, strict=True))
        total = sum(others, first)
        return total if self.bias is None else total + getattr(self, self.bias)


class Embedding(Module):
    """A learnt vector for each of n symbols.

    Parameters
    ----------
    num_embeddings : int
        n, the number of symbols.
    embedding_dim : int
        Length of each vector.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Initial values are Gaussian with variance 1, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Embedding(4, 2)
    >>> codes = np.array([2, 0])
    >>> bool(np.allclose(layer(codes), np.eye(4)[codes] @ layer.weight.data))
    True
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: npt.DTypeLike = np.float32) -> None:
        super().__init__()
        self.num_embeddings = self.codes = num_embeddings
        self.weight = Parameter(init.normal((num_embeddings, embedding_dim)), "E", dtype)

    def forward(self, codes: TensorLike) -> Tensor:
        """Look up the vectors of integer codes: an array of shape ``codes.shape + (embedding_dim,)``.

        Raises
        ------
        DtypeError
            If the codes are not integers.
        ShapeError
            If a code is negative, or not less than `num_embeddings`.
        """
        codes = as_tensor(codes)
        if codes.dtype.kind not in "iu":
            raise DtypeError(f"an embedding needs the codes of symbols, integers, not {codes.dtype}")
        return look_up(self.weight, codes, IndexArray("codes", "embeddings"))


class Dropout(Module):
    """Set elements to zero with probability p while training, and scale the others by 1/(1-p).

    Parameters
    ----------
    p : float
        In [0, 1).
    once : bool
        Within the steps of a cell, drop the same elements at all steps of a run, as
        recommended for recurrent connections (Gal and Ghahramani, 2016). Otherwise each step
        drops new elements.

    Raises
    ------
    ValueError
        If p is not in [0, 1).

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> Dropout(0.5).eval()(tr.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, once: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p, the probability that an element is dropped, must be at least 0 and below 1, not {p}")
        self.p, self.once = p, once

    def forward(self, x: TensorLike) -> Tensor:
        """Drop elements of `x`; each call draws new elements to drop."""
        x = as_tensor(x)
        if x.dtype.kind != "f":
            raise DtypeError(f"dropout needs floats, not {x.dtype}: it scales the elements that it keeps")
        if not self.training or self.p == 0:
            return x
        shape, dtype, p = x.shape, x.dtype, self.p

        def keep(generator: np.random.Generator) -> npt.NDArray[Any]:
            return ((generator.random(shape) >= p) / np.asarray(1 - p, dtype)).astype(dtype)

        return multiply(x, sample(keep, self.once))


class Sequential(Module):
    """Layers applied one after another; of a layer that returns (outputs, state), the outputs are passed on.

    The first layer may take several arguments. ``model[i]`` is a layer. ``model[:-1]`` has
    all layers but the last; these layers keep their names and their parameters.

    Parameters
    ----------
    *layers : Module or callable
        A function such as ``tr.tanh`` is a layer without parameters.

    Raises
    ------
    TinygradError
        If a layer cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> model = nn.Sequential(nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2), tr.tanh)
    >>> model(np.zeros((7, 4, 3), "float32")).shape
    (7, 4, 2)
    """

    def __init__(self, *layers: Callable[..., Any]) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            if not callable(layer):
                hint = ": nn.Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TinygradError(f"layer {i} of Sequential must be a Module or a function, not {layer!r:.80}{hint}")
            setattr(self, str(i), layer)
        self.names = tuple(map(str, range(len(layers))))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int | slice) -> Any:
        """One layer, or for a slice a Sequential of the same layers under the same names."""
        names = self.names[index]
        if isinstance(names, str):
            return getattr(self, names)
        part = copy.copy(self)
        for name in set(self.names) - set(names):
            delattr(part, name)
        part.names = names
        forget_name(part)
        remember_arguments(part, *part)
        return part

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self.names)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Apply the layers in order.

        Parameters
        ----------
        *inputs
            Arguments of the first layer.
        **options
            Options such as ``lengths`` or ``force``; each goes to every layer that takes it.
        """
        taken = [_options_of(layer, options) for layer in self]
        if unknown := set(options).difference(*taken):
            raise TypeError(f"no layer of this Sequential takes the option {', '.join(sorted(unknown))}")
        for layer, own in zip(self, taken, strict=True):
            outputs = layer(*inputs, **own)
            inputs = outputs[:1] if isinstance(outputs, tuple) else (outputs,)
        return inputs[0]


def _options_of(layer: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a layer's call takes by name."""
    if not options:
        return {}
    if isinstance(layer, Sequential):
        return {name: value for name, value in options.items() if any(_options_of(part, {name: value}) for part in layer)}
    try:
        known = inspect.signature(layer.forward if isinstance(layer, Module) else layer).parameters
    except (TypeError, ValueError):  # a function of C
        return {}
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    return {name: value for name, value in options.items() if takes_all or name in known}


def f_or_units(
    f: Callable[..., Any] | None, hidden_size: int | None, sizes: Mapping[str, int], output_size: int, dtype: npt.DTypeLike
) -> Callable[..., Any]:
    """The function f of a cell, or, if f is None, a layer of tanh units c + V tanh(b + Σ_k W_k u_k).

    Parameters
    ----------
    f : callable or None
    hidden_size : int or None
        Number of units, if f is None; 10 by default.
    sizes : mapping of str to int
        From the names of the W_k to the lengths of the vectors; see :class:`TapSum`.
    output_size : int
        Length of the result of f.
    dtype : dtype
        Dtype of the parameters.

    Raises
    ------
    ValueError
        If both f and hidden_size are given.
    """
    if f is None:
        units = 10 if hidden_size is None else hidden_size
        return Sequential(TapSum(sizes, units, dtype=dtype), _hidden, Linear(units, output_size, dtype=dtype))
    if hidden_size is not None:
        raise ValueError(f"hidden_size={hidden_size} is for the layer that is made without f; give either hidden_size or f")
    return f


def _hidden(a: Tensor) -> Tensor:
    return tanh(a).named("h")
