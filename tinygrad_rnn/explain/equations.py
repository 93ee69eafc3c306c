r"""The equations of a model, and of its backpropagation through time, as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..nn.cell import Cell
from ..nn.module import Module
from ..tensor import Tensor
from ..views.letters import Letters, Notation
from .bptt import Backward
from .forward import Forward
from .paths import Paths
from .system import of_cell
from .textbook import Form
from .whole_model import of_module

__all__ = ["Latex", "equations"]


class Latex(str):
    r"""Equations as LaTeX: a text, which a notebook shows as it is typeset.

    Examples
    --------
    >>> Latex(r"h_t &= x_t")._repr_latex_()
    '$$h_t &= x_t$$'
    """

    __slots__ = ()

    def _repr_latex_(self) -> str:
        return f"$${self}$$"


def equations(
    module: Module,
    backward: bool | Literal["paths"] = False,
    inputs: Any = None,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    targets: Any = None,
    symbols: Mapping[str, str] | None = None,
    notation: Notation | None = None,
    net: str | None = None,
    bias: Literal["one"] | None = None,
    form: Literal["joined"] | None = None,
) -> Latex:
    r"""The equations of a model as LaTeX, or those of its backpropagation through time.

    A value that is long, has no name and is used more than once is given one. What is
    called :math:`x_{t-2}` before the sequence began is what the state started from. Layers
    are told apart by a number above, and two directions by arrows.

    Parameters
    ----------
    module : Module
        A cell, a layer or a whole model.
    backward : bool or {"paths"}
        Print the recursion for δ, the derivative of the loss L by each named value, and
        the gradients of the parameters as sums over steps; ℓ_t is what the output of
        step t adds to L. All is for one example, unless the step itself goes over the
        examples of a batch. With "paths", the part of δ that comes from each step's loss is
        printed: see :class:`tinygrad_rnn.explain.paths.Paths`.
    inputs : array_like, Tensor, Spec, or nested tuples of them, optional
        An example of what the module takes, (time, batch, features), or of what a cell takes
        at one step, (batch, features); found out if not given.
    loss : callable, optional
        ``loss(output, target)``, of each step if the outputs are a sequence.
    targets : array_like, optional
        An example of the targets, (time, batch, …), if the loss takes an unusual one.
    symbols : Mapping of str to str, optional
        From the names in the model to the reader's, in any script: ``{"h": "s"}`` renames h and
        all that have this letter with scripts; a name in full, such as ``"W_f"``, counts before
        its letter. :meth:`tinygrad_rnn.nn.Module.draw` takes the same mapping.
    notation : {"UW", "WU"}, optional
        The letters of the input's and of the recurrent matrix, and the order of sums:
        b + W h + U x, or U h + W x + b with the two letters exchanged. Numbered matrices, such
        as those of delays, keep their letter. The model's own letters and order if not given.
    net : str, optional
        What the sum within a nonlinear function is called, such as "a" or "z": it has a line
        of its own then.
    bias : {"one"}, optional
        Print biases that are only added together as one.
    form : {"joined"}, optional
        Print the products of a sum as one product with a joined vector,
        :math:`W_f \cdot [h_{t-1}, x_t]`, and biases as one.

    Returns
    -------
    Latex
        Lines of an ``aligned`` environment, an equation for each named value.

    Raises
    ------
    ShapeError
        If no input was found that the module takes.
    TraceError
        If a step looks at the values of its tensors.
    FoldError
        If the steps are not alike.
    ValueError
        If an option is none of these, or a symbol is of no name in the module.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> print(equations(nn.RNNCell(3, 5), notation="UW", bias="one", net="a"))
    \begin{aligned}
    a_t &= b + W h_{t-1} + U x_t \\
    h_t &= \tanh\left(a_t\right)
    \end{aligned}
    >>> print(equations(nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2)), notation="WU", bias="one"))
    \begin{aligned}
    h_t &= \tanh\left(U h_{t-1} + W x_t + b\right) \\
    o_t &= V h_t + c
    \end{aligned}
    """
    for name, given, known in (("bias", bias, "one"), ("form", form, "joined")):
        if given not in (None, known):
            raise ValueError(f"{name} is {known!r}, or not given, and not {given!r}")
    form_of_sums = Form(notation, bias == "one" or form == "joined", form == "joined", net)
    modes = [(part, part.training) for _, part in module.modules()]
    module.eval()  # dropout is of training
    try:
        if isinstance(module, Cell) and loss is None:
            system = of_cell(module, inputs)
        else:
            system = of_module(module, inputs, loss, targets)
    finally:
        for part, training in modes:
            part.training = training
    paths = {p.node: path for path, p in module.named_parameters()}
    found = Forward(system, form_of_sums, Letters(symbols, notation), paths)
    if backward not in (False, True, "paths"):
        raise ValueError(f'backward is True, False or "paths", and not {backward!r}')
    lines = (Paths if backward == "paths" else Backward)(found).lines() if backward else found.lines()
    return Latex("\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}")
