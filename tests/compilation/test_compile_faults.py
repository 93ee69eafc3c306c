"""A fault planted in any mechanism of compile makes the compiled twin differ from the other twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_compile_random import Events, hold_together

from tinygrad_rnn.compilation import compiled, recording
from tinygrad_rnn.compilation.number import Arithmetic
from tinygrad_rnn.guards import Watch

Fault = Callable[[pytest.MonkeyPatch], None]


def _remembers_nothing(patch: pytest.MonkeyPatch) -> None:
    commit = compiled._commit
    patch.setattr(compiled, "_commit", lambda r, *rest: _with_effects(commit, r, rest, memories=[]))


def _with_effects(commit: Any, made: Any, rest: Any, **effects: Any) -> None:
    before, made.effects = made.effects, made.effects._replace(**effects)
    try:
        commit(made, *rest)
    finally:
        made.effects = before


def _keeps_parameters(patch: pytest.MonkeyPatch) -> None:
    commit = compiled._commit
    patch.setattr(compiled, "_commit", lambda r, *rest: _with_effects(commit, r, rest, parameters=[]))


def _keeps_gradients(patch: pytest.MonkeyPatch) -> None:
    commit = compiled._commit
    patch.setattr(compiled, "_commit", lambda r, *rest: _with_effects(commit, r, rest, gradients=[]))


def _numbers_stay(patch: pytest.MonkeyPatch) -> None:
    run, known = Arithmetic.run, {}  # type: ignore[var-annotated]
    patch.setattr(Arithmetic, "run", lambda self, given: known.setdefault(self, run(self, given)))


def _ignores_nan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compiled, "_is_finite", lambda value: True)


def _draws_once(patch: pytest.MonkeyPatch) -> None:
    flat, known = recording._flat, []  # type: ignore[var-annotated]
    patch.setattr(recording, "_flat", lambda drawn, count: known or known.extend(flat(drawn, count)) or known)


def _forgets_the_generator(patch: pytest.MonkeyPatch) -> None:
    class Source:
        state = None

    class Generator:
        bit_generator = Source()

    patch.setattr(compiled, "generator", Generator)


def _sees_no_change(patch: pytest.MonkeyPatch) -> None:
    guard, known = Watch.guard, {}  # type: ignore[var-annotated]
    patch.setattr(Watch, "guard", lambda self, value: known.setdefault(self, guard(self, value)))


@pytest.mark.parametrize(
    "fault, events",
    [
        (_remembers_nothing, "call call call"),
        (_keeps_parameters, "call call"),
        (_keeps_gradients, "accumulate"),
        (_numbers_stay, "call call call learning-rate call"),
        (_ignores_nan, "call NaN"),
        (_draws_once, "train call call"),
        (_forgets_the_generator, "call a-class-that-does-not-exist"),
        (_sees_no_change, "call call eval call"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_planted_fault_is_found(fault: Fault, events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: Events = [(event.replace("-", " "), 0) for event in events.split()]
    hold_together("RNN", "Adam", "norm", float, told, 1e-9)
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        hold_together("RNN", "Adam", "norm", float, told, 1e-9)
