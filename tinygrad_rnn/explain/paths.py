r"""Paths of the gradient through time as equations: derivatives of each step's loss with respect to earlier values."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TinygradError
from ..graph.node import Node, ancestors
from ..ops.facts import facts_of
from ..ops.formula import TERM
from .bptt import Backward, Term, sum_of
from .forward import Forward

__all__ = ["Paths"]


class Paths(Backward):
    r"""Derivatives δ_{t,k} of the loss of step t alone with respect to values of step k.

    The equations are: the recursion of :class:`Backward` for one loss; δ as the sum over all
    losses; the product of the steps' Jacobians, and its growth γ^(t-k); the gradients of the
    parameters as double sums; and one element of the gradient of a matrix.

    Raises
    ------
    TinygradError
        If the system has a value outside the steps, a loss, or a run in reverse.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> text = nn.RNNCell(3, 5, bias=False).equations(backward="paths", net="z", notation="WU")
    >>> print(*text.splitlines()[1:5], sep="\n")
    \delta^{h}_k &= \sum_{t \ge k} \delta^{h}_{t,k} \\
    \delta^{h}_{t,t} &= \frac{\partial \ell_t}{\partial h_t} \\
    \delta^{h}_{t,k} &= U^{\top} \delta^{z}_{t,k+1} \quad (k < t) \\
    \delta^{z}_{t,k} &= \delta^{h}_{t,k} \odot \left(1 - h_k \odot h_k\right) \\
    """

    def __init__(self, forward: Forward) -> None:
        super().__init__(forward)
        system = self.system
        if (
            system.once
            or system.losses
            or any(reference.delay < 0 or reference.when for reference in system.references.values())
        ):
            raise TinygradError(
                'backward="paths" needs a recurrent layer that runs forwards, without other layers and without loss=; '
                "print the "
                "equations of the recurrent layer alone"
            )

    def lines(self) -> list[str]:
        """LaTeX lines of these derivatives."""
        terms = self.terms()
        symbols = self.forward.symbols
        for delta in self.deltas:
            symbols[delta] = symbols[delta]._replace(loss="t")
        states = list(dict.fromkeys(reference.node for reference in self.system.references.values() if reference.node in terms))
        lines = [rf"{self._delta(v, loss=False)} &= \sum_{{t \ge k}} {self._delta(v)}" for v in states]
        for node in reversed(self.forward.named):
            if node in terms:
                lines += self._recursion(node, terms[node])
        if states:
            lines += self._product(states)
        element = ""
        for parameter in self.forward.parameters:
            printed = self._printed(parameter, terms[parameter], TERM if len(terms[parameter]) == 1 else 0, base="k")
            if printed:
                total = printed[0] if len(printed) == 1 else rf"\left({sum_of(printed)}\right)"
                name = self.forward.printer.symbol(parameter)
                lines.append(rf"\frac{{\partial L}}{{\partial {name}}} &= \sum_t \sum_{{k \le t}} {total}")
                element = element or self._element(parameter, terms[parameter])
        return [*lines, element] if element else lines

    def _delta(self, node: Node, step: str = "k", loss: bool = True) -> str:
        return self.forward.symbols[node]._replace(delta=True, loss="t" if loss else "").at(0, step)

    def _recursion(self, node: Node, terms: Sequence[Term]) -> list[str]:
        """Lines of δ at the loss's step and at earlier steps; one line if both are equal."""
        now = self._printed(node, [term for term in terms if term.later == 0], base="k")
        later = self._printed(node, [term for term in terms if term.later], base="k")
        if not later and node not in self.system.outputs:
            return [f"{self._delta(node)} &= {sum_of(now)}"]
        here = self._printed(node, [term for term in terms if term.later == 0], base="t")
        if node in self.system.outputs:
            here = [rf"\frac{{\partial \ell_t}}{{\partial {self.forward.symbols[node].at(0)}}}", *here]
        lines = [f"{self._delta(node, 't')} &= {sum_of(here)}"]
        return [*lines, rf"{self._delta(node)} &= {sum_of([*now, *later])} \quad (k < t)"]

    def _product(self, states: Sequence[Node]) -> list[str]:
        """Lines of the derivative with respect to the state as a product of Jacobians, and its growth.

        This derivative equals δ if the value is the whole state and the only output. In general, δ
        also includes paths within the step, such as the paths from c_t to h_t.
        """
        references = self.system.references.values()
        parts = [(v, back) for v in states for back in range(max(r.delay for r in references if r.node is v))]

        def of(step: str, ahead: int = 0) -> str:
            printed = [self.forward.symbols[v].at(ahead - back, step) for v, back in parts]
            return printed[0] if len(printed) == 1 else rf"\left[{', '.join(printed)}\right]"

        jacobian = rf"\frac{{\partial {of('s')}}}{{\partial {of('s', -1)}}}"
        if len(parts) == 1 and self.system.outputs == list(states):
            here, end, last = self._delta(states[0]), self._delta(states[0], "t"), "t"
        else:
            here, end = (rf"\frac{{\partial \ell_t}}{{\partial {symbol}}}" for symbol in (of("k"), of("t", -1)))
            last = "t-1"
        bars = r"\left\| {} \right\|".format
        return [
            rf"{here} &= \left(\prod_{{s=k+1}}^{{{last}}} \left({jacobian}\right)^{{\top}}\right) {end}",
            rf"{bars(here)} &\approx \gamma^{{{last}-k}} {bars(end)} \quad \text{{where }} {bars(jacobian)} \approx \gamma",
        ]

    def _element(self, parameter: Node, terms: Sequence[Term]) -> str:
        """Line of one element of the gradient of a matrix that multiplies an earlier value."""
        if len(terms) != 1 or len(parameter.shape) != 2:
            return ""
        product, turned = terms[0].value, False
        while facts_of(product).reorders:
            (product,), turned = product.inputs, not turned
        if not facts_of(product).product:
            return ""
        rows, columns = product.inputs[::-1] if turned else product.inputs
        read = {self.system.references.get(self.originals.get(node, node)) for node in ancestors([columns])}
        if not any(reference is not None and reference.node in self.forward.named for reference in read):
            return ""
        printer = self.forward.printer_of(base="k")
        printer.prepare([product])
        first, second = printer.print(rows, turned), printer.print(columns, not turned)
        symbol = self.forward.symbols[parameter]
        name = symbol._replace(mark=",".join(filter(None, [symbol.mark, "ij"]))).at(0)
        return (
            rf"\frac{{\partial L}}{{\partial {name}}} &= \sum_t \sum_{{k \le t}} \left({first}\right)_i \left({second}\right)_j"
        )
