"""Sunspots, NARMA-10 and Mackey-Glass: the printed results are better than the baselines, and are labelled."""

from __future__ import annotations

import re

import pytest
from example_runs import quick, runs

test_they_run = runs("sunspots", "narma10", "mackey_glass", "open_and_closed")


def table(name: str) -> dict[str, list[float]]:
    """The rows of the last table, by their names."""
    rows = quick(name).printed.rpartition("\n\n")[2].splitlines()[1:]
    found = {}
    for row in rows:
        if numbers := re.findall(r"(?<=\s)\d+\.\d+|–", row):
            found[re.split(r"\s{2,}", row.strip())[0]] = [float("nan") if n == "–" else float(n) for n in numbers]
    return found


def test_sunspots_are_yules_and_the_network_beats_the_mean_and_the_last_value() -> None:
    said = quick("sunspots").printed
    ours, yule = (re.findall(r"-?\d+\.\d+", line) for line in said.splitlines()[1:3])
    for own, his, within in zip(ours, yule, (0.01, 0.01, 0.1, 0.1), strict=True):
        assert float(own) == pytest.approx(float(his), abs=within)
    rmse = table("sunspots")
    assert list(rmse) == ["mean", "last value", "AR(2)", "AR(9)", "NAR"]
    for years_ahead in range(4):
        assert rmse["NAR"][years_ahead] < rmse["mean"][years_ahead]
    for years_ahead in range(3):
        assert rmse["NAR"][years_ahead] < rmse["last value"][years_ahead]
    assert rmse["NAR"][0] < rmse["AR(2)"][0] and rmse["NAR"][3] < 0.8 * rmse["AR(2)"][3]


def test_narma_is_simulated_better_after_closed_loop_training() -> None:
    nrmse = table("narma10")
    linear, opened, closed = nrmse.values()
    assert list(nrmse) == ["ARX, open loop", "NARX, open loop", "then closed loop"]
    assert closed[2] < opened[2] < 0.9 * linear[2] < 1
    assert closed[1] < opened[1] < linear[1]
    assert "in open loop 0 operations at each step" in quick("narma10").printed


def test_mackey_glass_is_predicted_84_steps_ahead_by_free_runs() -> None:
    nrmse = table("mackey_glass")
    assert list(nrmse) == ["last value", "AR(18)", "TDNN", "NAR"]
    assert nrmse["NAR"][2] < 0.1 < nrmse["TDNN"][2] < nrmse["AR(18)"][2] < 1 < nrmse["last value"][2]
    assert nrmse["AR(18)"][0] < nrmse["NAR"][0] < 0.01 < nrmse["last value"][0]


def test_who_was_trained_one_step_ahead_simulates_worse_and_closed_loops_help() -> None:
    said = quick("open_and_closed").printed
    rows = re.findall(r"^  (\w+) +(open|closed|open, closed) +(\d+\.\d+) +(\d+\.\d+|grows)$", said, re.MULTILINE)
    tanks = {(name, way): (float(one), float(free.replace("grows", "inf"))) for name, way, one, free in rows[:9]}
    assert len(rows) == 18 and len(tanks) == 9
    for name in ("AR", "NARX", "GRU"):
        one_step, free = tanks[name, "open"]
        assert 2 * one_step < free
        assert one_step <= tanks[name, "closed"][0]
        assert tanks[name, "open, closed"][1] < free


@pytest.mark.parametrize("name", ["sunspots", "narma10", "mackey_glass", "open_and_closed"])
def test_pictures(name: str) -> None:
    assert (quick(name).out / f"{name}.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
