r"""The equations of a model, and of its backpropagation through time, as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..checks import one_of
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
    r"""Equations as LaTeX: a string, which a notebook shows typeset.

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
    r"""The equations of a model, or of its backpropagation through time, as LaTeX.

    A long value without a name gets a name if it is used more than once. Before the first
    step, a symbol such as :math:`x_{t-2}` means the initial state. A superscript number
    distinguishes layers, and arrows distinguish two directions.

    Parameters
    ----------
    module : Module
        A cell, a layer or a whole model.
    backward : bool or {"paths"}
        Print the recursion for δ, the derivative of the loss L with respect to each named value,
        and the gradients of the parameters as sums over steps. ℓ_t is the part of L that the
        output of step t adds. The equations are for one example, unless the step itself combines
        the examples of a batch. With "paths", print the part of δ that comes from each step's
        loss: see :class:`tinygrad_rnn.explain.paths.Paths`.
    inputs : array_like, Tensor, Spec, or nested tuples of them, optional
        An example of the module's input, (time, batch, features), or of a cell's input
        at one step, (batch, features). If not given, a fitting input is searched.
    loss : callable, optional
        ``loss(output, target)``, called at each step if the outputs are a sequence.
    targets : array_like, optional
        An example of the targets, (time, batch, …), if the loss takes unusual targets.
    symbols : Mapping of str to str, optional
        Maps the names in the model to the reader's symbols, in any alphabet. ``{"h": "s"}``
        renames h and all names of this letter with scripts. An entry for a full name, such as
        ``"W_f"``, has priority over an entry for its letter.
        :meth:`tinygrad_rnn.nn.Module.draw` takes the same mapping.
    notation : {"UW", "WU"}, optional
        The letters of the input matrix and of the recurrent matrix, and the order of sums:
        b + W h + U x, or U h + W x + b with the two letters exchanged. Numbered matrices, such
        as those of delays, keep their letter. If not given, the model's own letters and order.
    net : str, optional
        The name of the sum within a nonlinear function, such as "a" or "z". The sum is then
        printed on a separate line.
    bias : {"one"}, optional
        Print biases that are only added to each other as a single bias.
    form : {"joined"}, optional
        Print the products of a sum as one product with a joined vector,
        :math:`W_f \cdot [h_{t-1}, x_t]`, and the biases as a single bias.

    Returns
    -------
    Latex
        Lines of an ``aligned`` environment, with one equation for each named value.

    Raises
    ------
    ShapeError
        If no input was found that fits the module.
    TraceError
        If a step needs the values of its tensors.
    FoldError
        If the steps are not alike.
    ValueError
        If an option has no allowed value, or a symbol is given for a name that the module does not have.

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
            raise ValueError(one_of(name, given, (None, known)))
    form_of_sums = Form(notation, bias == "one" or form == "joined", form == "joined", net)
    modes = [(part, part.training) for _, part in module.modules()]
    module.eval()  # dropout is only for training
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
        raise ValueError(one_of("backward", backward, (False, True, "paths")))
    lines = (Paths if backward == "paths" else Backward)(found).lines() if backward else found.lines()
    return Latex("\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}")
