"""PyTorch's names: an error gives the code for this library, docs/pytorch.md gives the same code, and the code runs."""

from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim, sequences
from tinygrad_rnn.pytorch import HABITS, markdown

OWNERS = {"tr": tr, "nn": nn, "optim": optim, "Tensor": tr.tensor([1.0]), "Module": nn.Linear(3, 2)}
NAMES = [(habit, name) for habit in HABITS for name in habit.names.split()]


def test_the_page_shows_the_table():
    page = Path(__file__).parents[2] / "docs" / "pytorch.md"
    assert markdown() in page.read_text(encoding="utf-8")


def test_no_name_is_told_twice():
    assert len({(habit.owner, name) for habit, name in NAMES}) == len(NAMES)


@pytest.mark.parametrize(("habit", "name"), NAMES, ids=lambda v: v if isinstance(v, str) else v.owner)
def test_a_name_of_pytorchs_is_answered_with_ours(habit, name):
    with pytest.raises(AttributeError) as caught:
        getattr(OWNERS[habit.owner], name)
    message = str(caught.value)
    assert f"PyTorch's {name} is written {habit.written(name)} here" in message and "docs/pytorch.md" in message
    assert not hasattr(OWNERS[habit.owner], name)


@pytest.mark.parametrize(("habit", "name"), NAMES, ids=lambda v: v if isinstance(v, str) else v.owner)
def test_what_is_written_here_runs(habit, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    w = tr.Parameter(2.0)
    (w * w).backward()
    space = {"tr": tr, "nn": nn, "optim": optim, "sequences": sequences, "np": np, "w": w, "model": nn.Linear(3, 2)}
    assert eval(habit.written(name), {**space, "x": tr.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])}) is not NotImplemented


@pytest.mark.parametrize("owner", OWNERS)
def test_other_names_get_a_plain_error(owner):
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        OWNERS[owner].nonsense  # noqa: B018
