"""Results of a gradient check: errors for its verdicts, and reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...console import counted, preformatted

__all__ = ["GradientCheckError", "KinkError", "PrimitiveReport", "Report", "UndecidedError", "order_in_words"]


def order_in_words(order: int) -> str:
    """The order of a derivative, as written in reports: ``first order``, ``order 2``."""
    return "first order" if order == 1 else f"order {order}"


class GradientCheckError(AssertionError):
    """A gradient is wrong or could not be judged; the message names the gradient, the position and the error.

    Attributes
    ----------
    verdict : str
        ``"wrong"``, or ``"kink"`` or ``"undecided"`` in the subclasses.
    """

    verdict = "wrong"


class KinkError(GradientCheckError):
    """The function has no derivative at this point, so no gradient can be right or wrong there."""

    verdict = "kink"


class UndecidedError(GradientCheckError):
    """No oracle can tell the derivative from rounding at this point: the gradient may be right or wrong."""

    verdict = "undecided"


@dataclass
class Report:
    """The result of `check_gradients`: the judged gradients, and the largest error.

    Attributes
    ----------
    arguments : list of str
        The arguments with respect to which gradients were taken, with their shapes.
    order : int
        The highest order of derivative that was checked.
    oracles : list of str
        The oracles, in order of first use.
    error : float
        The largest difference of an analytic from a numeric value, relative to both.
    zero : list of str
        Arguments that no output depends on, so that their whole gradient is zero.
    """

    arguments: list[str]
    order: int
    oracles: list[str] = field(default_factory=list)
    error: float = 0.0
    zero: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"gradients are right to {order_in_words(self.order)} in {', '.join(self.arguments)}"
        if self.oracles:
            said += f": within {self.error:.0e} of {' and '.join(self.oracles)}"
        if self.zero:
            said += f" (zero everywhere in {', '.join(self.zero)})"
        return said

    def _repr_html_(self) -> str:
        return preformatted(str(self))


@dataclass
class PrimitiveReport:
    """The result of `check_primitive` or `check_case`: the number of cases that passed each check.

    Attributes
    ----------
    name : str
    order : int
        The highest order of derivative that was checked.
    cases : int
        Number of cases in which kernel, ``out=``, shape rule and leading axis were as declared.
    gradients : int
        Number of these cases whose gradients were judged right.
    barred : int
        Number of these cases whose attributes allow no further leading axis, as declared.
    undecided : int
        Number of further cases in which no oracle can separate the derivative from rounding.
    error : float
        The largest relative difference from a numeric gradient.
    """

    name: str
    order: int
    cases: int = 0
    gradients: int = 0
    barred: int = 0
    undecided: int = 0
    error: float = 0.0

    def add(self, other: PrimitiveReport) -> None:
        """Add the counts of another report about the same primitive."""
        self.cases += other.cases
        self.gradients += other.gradients
        self.barred += other.barred
        self.error = max(self.error, other.error)

    def __str__(self) -> str:
        order = order_in_words(self.order)
        lines = [f"{self.name}: kernel, out=, shape rule and leading axis are as declared in {counted(self.cases, 'case')}"]
        if self.gradients:
            lines.append(f"  gradients are right to {order} in {self.gradients} of them, within {self.error:.0e}")
        else:
            lines.append("  there was no gradient to check")
        if self.barred:
            lines.append(f"  in {self.barred} of them a further leading axis does not pass through, as declared")
        if self.undecided:
            lines.append(f"  {self.undecided} more cases are undecided: no oracle sees the derivative beside rounding")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return preformatted(str(self))
