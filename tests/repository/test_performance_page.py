"""The page about performance shows the numbers in the files of results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import pictures

    yield pictures
    del sys.modules["pictures"]


def test_tables_are_made_from_the_results(pictures):
    text = pictures.PAGE.read_text(encoding="utf-8")
    assert pictures.filled(text, pictures.read(pictures.HERE / "results")) == text
    assert {name for _, name, _ in pictures.PART.findall(text)} == set(pictures.TABLES)


def test_a_ratio_is_their_time_over_ours_and_a_mean_is_geometric(pictures):
    results = [
        {"cell": "RNN", "size": [n], "milliseconds": {"jax": theirs, "ours, native": ours}}
        for n, theirs, ours in ((1, 8.0, 1.0), (2, 1.0, 2.0), (3, 4.0, 1.0))
    ] + [{"cell": "GRU", "size": [1], "milliseconds": {"jax": 1.0}}]
    report = {"results": results}
    assert pictures.mean(pictures.ratios(report, "RNN", "jax", "ours, native")) == "2.52 (0.50)"
    assert pictures.mean(pictures.ratios(report, "GRU", "jax", "ours, native")) == "–"
    reports = {"recurrent": report, "steps": {"results": []}, "threads": {"results": []}}
    assert pictures.behind(reports).splitlines()[2:] == ["| layer | RNN | 2 | JAX | 0.50 |"]
