"""The state of a random cell: its slots, and the next value of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .motifs import Motif
from .product_motifs import BOUNDED, activated
from .step_builder import StepBuilder, StepValue

__all__ = ["PATTERNS", "SlotWriter", "draw_slots"]

PATTERNS = ("each", "each", "each", "each", "line", "ring")
"""Connections between the slots: independent choices, a tapped delay line, or one cycle of all slots."""

FORMS = (
    "unchanged",
    "bounded",
    "delay",
    "bounded",
    "gated",
    "additive",
    "linear",
    "swapped",
    "leaky",
    "gates",
    "shared",
    "bounded",
)
"""Kinds of next values of a slot."""


def draw_slots(b: StepBuilder, pattern: str) -> list[StepValue]:
    """Draw up to four state slots: a vector, a single number or a matrix for each row of the batch."""
    found: list[StepValue] = []
    for _ in range(4):  # a missing slot also uses its choices, so that removing a slot changes nothing else
        there, n = b.choose.integer(0, 4) > 1, b.features()
        shape = b.choose.pick(((n,), "same", (n,), "same", (), (min(n, 3),) * 2))
        if shape == "same" or pattern == "line":
            like = found[-1] if found else next((v for v in b.pool if v.is_vector), None)
            shape = like.sample.shape[1:] if like else (n,)
        if there:
            found.append(b.add_source(f"h{len(found) + 1}", *shape, slot=True))
    return found


class SlotWriter:
    """Writes the next value of each slot.

    Parameters
    ----------
    b : StepBuilder
    slots : list of StepValue
    pattern : str
    motifs : sequence of Motif
    """

    def __init__(self, b: StepBuilder, slots: list[StepValue], pattern: str, motifs: Sequence[Motif]) -> None:
        self.b = b
        self.slots = slots
        self.pattern = pattern
        self.motifs = motifs
        self.found: dict[str, StepValue] = {}
        b.pool.sort(key=lambda value: not value.slots)  # the simplest values of a step first: slots, then inputs

    def after(self) -> list[StepValue]:
        """The next values, in the order of the slots."""
        if self.pattern == "line" and len(self.slots) > 1:
            taps = self.b.choose.integer(2, len(self.slots))
            self.found = {slot.name: before for before, slot in zip(self.slots[: taps - 1], self.slots[1:taps], strict=True)}
        for i, slot in enumerate(self.slots):
            if slot.name not in self.found:
                self.found[slot.name] = self.b.choose.part(partial(self.next_value, i, slot))
        return [self.found[slot.name] for slot in self.slots]

    def next_value(self, i: int, slot: StepValue) -> StepValue:
        """Write the next value of slot i; if two slots are swapped, the next values of both."""
        b, shape = self.b, slot.sample.shape[1:]
        form = b.choose.pick(FORMS) if self.pattern == "each" else "delay" if self.pattern == "line" and i == 0 else "bounded"
        earlier = [s.name for s in self.slots[:i]]
        others = [s.name for s in self.slots if s is not slot]
        if form == "unchanged":
            return slot
        if form == "swapped":
            partner = next((s for s in self.slots[i + 1 :] if s.shape == slot.shape), None)
            if partner:
                self.found[partner.name] = slot
                return partner
        if form == "shared":
            alike = [v for v in self.found.values() if v.shape == slot.shape]
            if alike:
                return b.choose.pick(alike)
        if form in ("delay", "swapped", "shared"):
            b.allowed = frozenset(earlier)
            alike = [v for v in b.usable() if v.shape == slot.shape]
            return b.choose.pick(alike[:4]) if alike else b.fit(self.body(), *shape)
        if form == "additive":
            b.allowed = frozenset(b.choose.pick((earlier, [], others)))
            change = b.fit(self.body(), *shape)
            change = b("tanh", change) if change.slots else change
            return b.tag(b(b.choose.pick(("add", "subtract")), slot, change), "additive slot")
        if form == "linear":
            b.allowed = frozenset(earlier if b.choose.flag() else [])
            kept = self.linear(slot)
            return b.tag(b("add", kept, b.fit(self.body(), *shape)), "linear slot") if b.choose.flag() else kept
        if form == "gates" and slot.is_vector:
            return self.gates(slot)
        every = [s.name for s in self.slots]
        own = self.slots[i - 1] if self.pattern == "ring" else slot
        b.allowed = frozenset(b.choose.pick(([own.name], [*earlier, own.name], every, every, earlier)))
        change = b.fit(self.body(own), *shape)
        if form == "leaky":
            return b.tag(b("add", b("multiply", slot, b.number()), b("tanh", change)), "leaky slot")
        change = activated(b, change, b.choose.pick(BOUNDED))
        if form == "gated":
            gate = b("sigmoid", b.fit(self.body(slot), *shape))
            kept = b("multiply", gate, slot)
            return b.tag(b("add", kept, b("multiply", b("subtract", 1.0, gate), change)), "gated slot")
        return change

    def linear(self, slot: StepValue) -> StepValue:
        """Write a product of the slot and a weight that does not make the state grow."""
        b = self.b
        if slot.is_vector and b.choose.flag():
            return b.tag(b("matmul", slot, b.weight(slot.size, slot.size)), "linear slot")
        return b.tag(b("multiply", slot, b.weight(*b.choose.pick(((), slot.sample.shape[1:])))), "linear slot", "diagonal slot")

    def gates(self, slot: StepValue) -> StepValue:
        """Write the slot times a gate plus a new value times a gate; all gates are slices of one product."""
        b, n = self.b, slot.size
        other = next((value for value in b.pool if value.is_vector and not value.slots), slot)
        if b.choose.flag():
            joined = b("concatenate", slot, other, axis=-1)
            z = b("matmul", joined, b.weight(joined.size, 3 * n))
        else:
            z = b("add", b("matmul", slot, b.weight(n, 3 * n)), b("matmul", other, b.weight(other.size, 3 * n)))
        keep, let, new = [b("getitem", z, index=(slice(None), slice(k * n, k * n + n))) for k in range(3)]
        kept, added = b("multiply", b("sigmoid", keep), slot), b("multiply", b("sigmoid", let), b("tanh", new))
        return b.tag(b("add", kept, added), "gates side by side")

    def body(self, slot: StepValue | None = None) -> StepValue:
        """Write a value by a few motifs; if a slot is given, most values depend on this slot."""
        b = self.b
        value = b.some(self.motifs, 3) or b.vector()
        if slot is None or slot.name not in b.allowed or slot.name in value.slots:
            return value
        own, n = b.fit(slot, slot.size if slot.sample.ndim > 1 else 1), b.features()
        return b("add", b.fit(value, n), b("matmul", own, b.weight(own.size, n)))
