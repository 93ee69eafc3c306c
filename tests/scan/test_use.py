"""The backend is chosen by an argument, a context, a call, or the environment, in this order."""

from __future__ import annotations

import threading

import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.scan import use as chosen
from tinygrad_rnn.scan.use import backend_name


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setattr(chosen, "_everywhere", [None])
    monkeypatch.delenv("TINYGRAD_RNN_BACKEND", raising=False)


def test_argument_over_context_over_use_over_environment(monkeypatch):
    assert backend_name() == "numpy"
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "native")
    assert backend_name() == "native"
    tr.use("numpy")
    assert backend_name() == "numpy"
    with tr.use("native"):
        assert backend_name() == "native"
        with tr.use("numpy"):
            assert backend_name() == "numpy" and backend_name("native") == "native"
        assert backend_name() == "native"
    assert backend_name() == "numpy"


def test_a_context_is_left_after_an_error_and_ends_no_earlier_choice():
    tr.use("native")
    with pytest.raises(RuntimeError), tr.use("numpy"):
        raise RuntimeError
    assert backend_name() == "native"


def test_use_is_for_all_threads_and_a_context_for_its_own():
    found = []

    def look():
        found.append(backend_name())

    with tr.use("native"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    tr.use("native")
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == ["numpy", "native"]


def test_a_name_that_is_none_is_an_error_with_all_names(monkeypatch):
    for call in (lambda: tr.use("cuda"), lambda: nn.Recurrent(nn.RNNCell(2, 2), backend="cuda")):
        with pytest.raises(ValueError, match="backend must be 'numpy' or 'native', not 'cuda'"):
            call()
    assert backend_name() == "numpy"
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "fast")
    with pytest.raises(ValueError, match="TINYGRAD_RNN_BACKEND must be 'numpy' or 'native', not 'fast'"):
        backend_name()


def test_a_layer_keeps_its_plans_of_both_backends():
    layer = nn.Recurrent(nn.RNNCell(2, 3))
    by_numpy = layer.plan(T=5)
    with tr.use("native"):
        source = layer.plan(T=5).source
    assert "int run(long T" in source and "def run(inputs" in by_numpy.source
    assert "def run(inputs" in layer.plan(T=5).source
