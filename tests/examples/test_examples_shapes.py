"""The examples of one to many and many to many learn, and beat their baselines."""

from __future__ import annotations

import re

import pytest
from example_runs import quick, runs

test_they_run = runs("digit_captions", "written_numbers", "written_dates")


def shares(printed: str) -> dict[str, float]:
    """The first percentage of each line of the table at the end, by the label of the line."""
    return {line[1].strip(): float(line[2]) for line in re.finditer(r"^  (\w[\w ]+?)\s+(\d+\.\d)%", printed, re.MULTILINE)}


def test_captions_are_right_more_often_than_those_of_the_nearest_centroid() -> None:
    printed, out = quick("digit_captions")
    right = shares(printed)
    assert set(right) == {"context at both", "most frequent caption", "nearest centroid"}
    assert right["most frequent caption"] < 5
    assert right["context at both"] > right["nearest centroid"] > 70
    assert (out / "digit_captions.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "floor"), [("written_numbers", 70.0), ("written_dates", 30.0)])
def test_sequences_never_seen_are_translated_and_a_beam_helps_or_does_no_harm(name: str, floor: float) -> None:
    printed, out = quick(name)
    right = shares(printed)
    baseline = next(value for what, value in right.items() if what.startswith("most similar"))
    assert baseline == 0
    assert right["greedy"] > floor
    assert right["beam of width 5"] >= right["greedy"] - 3
    assert "o₁" in (out / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["written_numbers", "written_dates"])
def test_the_beams_probabilities_are_sorted_and_no_more_than_one(name: str) -> None:
    lines = re.findall(r"^  .*?[a-zA-Z0-9]:? +((?:[\d-]+ \d\.\d+(?:, )?){3})$", quick(name).printed, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        found = [float(p) for p in re.findall(r" (\d\.\d+)", line)]
        assert found == sorted(found, reverse=True) and sum(found) <= 1.01
