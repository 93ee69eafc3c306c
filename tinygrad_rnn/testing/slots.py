"""The state of a random cell: slots, and what each carries on."""

from __future__ import annotations

from collections.abc import Sequence

from .builder import Builder, Value
from .gates import BOUNDED, activated
from .motifs import Motif

__all__ = ["Writer", "draw_slots"]


def draw_slots(b: Builder) -> list[Value]:
    """Up to four slots: vectors, single numbers and matrices for each row of the batch."""
    found: list[Value] = []
    for i in range(b.choose.pick((0, 1, 2, 3, 4, 1, 2, 3))):
        n = b.features()
        shape = b.choose.pick(((n,), "same", (n,), "same", (), (min(n, 3),) * 2))
        if shape == "same":
            like = found[-1] if found else next((v for v in b.pool if v.is_vector), None)
            shape = like.sample.shape[1:] if like else (n,)
        found.append(b.add_source(f"h{i + 1}", *shape, slot=True))
    return found


class Writer:
    """Writes the next value of each slot.

    Parameters
    ----------
    b : Builder
    slots : list of Value
    motifs : sequence of Motif
    """

    def __init__(self, b: Builder, slots: list[Value], motifs: Sequence[Motif]) -> None:
        self.b = b
        self.slots = slots
        self.motifs = motifs
        self.found: dict[str, Value] = {}
        b.pool.sort(key=lambda value: not value.slots)  # a step's simplest values first: slots, then inputs

    def after(self) -> list[Value]:
        """The next values, in the order of the slots."""
        for i, slot in enumerate(self.slots):
            if slot.name not in self.found:
                self.found[slot.name] = self.next_value(i, slot)
        return [self.found[slot.name] for slot in self.slots]

    def next_value(self, i: int, slot: Value) -> Value:
        """The next value of slot number i; where two are swapped, that of the other is settled too."""
        b, shape = self.b, slot.sample.shape[1:]
        forms = ("bounded", "delay", "bounded", "gated", "additive", "linear", "unchanged", "swapped", "leaky", "bounded")
        form = b.choose.pick(forms)
        earlier = [s.name for s in self.slots[:i]]
        others = [s.name for s in self.slots if s is not slot]
        if form == "unchanged":
            return slot
        if form == "swapped":
            partner = next((s for s in self.slots[i + 1 :] if s.shape == slot.shape), None)
            if partner:
                self.found[partner.name] = slot
                return partner
        if form in ("delay", "swapped"):
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
        every = [s.name for s in self.slots]
        b.allowed = frozenset(b.choose.pick(([slot.name], [*earlier, slot.name], every, every, earlier)))
        change = b.fit(self.body(slot), *shape)
        if form == "leaky":
            return b.tag(b("add", b("multiply", slot, b.number()), b("tanh", change)), "leaky slot")
        change = activated(b, change, b.choose.pick(BOUNDED))
        if form == "gated":
            gate = b("sigmoid", b.fit(self.body(slot), *shape))
            kept = b("multiply", gate, slot)
            return b.tag(b("add", kept, b("multiply", b("subtract", 1.0, gate), change)), "gated slot")
        return change

    def linear(self, slot: Value) -> Value:
        """A product that does not grow."""
        b = self.b
        if slot.is_vector and b.choose.flag():
            return b.tag(b("matmul", slot, b.weight(slot.size, slot.size)), "linear slot")
        return b.tag(b("multiply", slot, b.weight(*b.choose.pick(((), slot.sample.shape[1:])))), "linear slot", "diagonal slot")

    def body(self, slot: Value | None = None) -> Value:
        """A value made by a few motifs; of this slot too, mostly, if one is given."""
        b = self.b
        found = [b.keep(b.choose.pick(self.motifs)(b)) for _ in range(b.choose.integer(0, 3))]
        value = found[-1] if found else b.vector()
        if slot is None or slot.name not in b.allowed or slot.name in value.slots:
            return value
        own, n = b.fit(slot, slot.size if slot.sample.ndim > 1 else 1), b.features()
        return b("add", b.fit(value, n), b("matmul", own, b.weight(own.size, n)))
