"""Parts of a batch run in threads: the same numbers up to rounding of sums, and the same bits in every run."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import settings
from native_cases import agree_closely, collecting, compiled, natively
from scan_cases import patched, sample

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.scan import use as chosen
from tinygrad_rnn.scan.native import executable
from tinygrad_rnn.scan.native.threads import run_together
from tinygrad_rnn.testing.c_check import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

SHARE = max(1, settings().max_examples // 40)


@pytest.fixture
def in_parts(monkeypatch):
    """The number of parts of each run so far."""
    found = []
    run = executable.NativeExecutable._run_parts

    def noted(self, count, *rest):
        found.append(count)
        return run(self, count, *rest)

    monkeypatch.setattr(executable.NativeExecutable, "_run_parts", noted)
    return found


def made(cell=nn.LSTM):
    """A layer whose number of units is equal or close to the number of sequences below."""
    tr.seed(0)
    return cell(3, 5, dtype="float64")


def gradients(B, layer=None, later=None):
    """Outputs and gradients of a layer."""
    layer, rng = layer or made(), np.random.default_rng(0)
    x = tr.tensor(rng.normal(size=(6, B, 3)), requires_grad=True)
    y, _ = layer(x)
    with tr.use("native", threads=later) if later else nullcontext():
        (y * rng.normal(size=y.shape)).sum().backward()
    return [y.data, x.grad.data, *[parameter.grad.data for parameter in layer.parameters()]]


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """The programs of the layers below, compiled."""
    with collecting() as programs:
        for B, cell in ((5, nn.LSTM), (4, nn.LSTM), (1, nn.LSTM), (5, nn.GRU)):
            gradients(B, made(cell))
    return programs.compile(tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(("B", "dtype"), [(5, "float32"), (1, "float64")])
def test_threads_that_compute_columns_give_the_bits_of_one_thread(cell, B, dtype, tmp_path):
    """Of large matrices, and of batches of one sequence too."""
    run, teams = executable.NativeExecutable._run_as_team, []

    def noted(self, count, arguments):
        teams.append(count)
        return run(self, count, arguments)

    def gradients():
        tr.seed(0)
        layer = cell(150, 300, dtype=dtype)
        x = tr.tensor(np.random.default_rng(0).normal(size=(4, B, 150)), requires_grad=True, dtype=dtype)
        y, _ = layer(x)
        return [y.data, *[g.data for g in tr.grad(y.sum(), [x, *layer.parameters()])]]

    with collecting() as programs:
        gradients()
    functions = programs.compile(tmp_path)
    with compiled(functions):
        alone = gradients()
    here = (executable, "CACHE", 1000), (executable.NativeExecutable, "_run_as_team", noted)
    for threads in (2, 2, 3):
        with patched(*here), compiled(functions, threads=threads):
            for one, other in zip(alone, gradients(), strict=True):
                np.testing.assert_array_equal(one, other)
    assert teams == [2, 2, 2, 2, 3, 3]


def test_random_cells_agree_in_parts(in_parts, tmp_path):
    for _, expected, found in natively(sample(15 * SHARE)[-6 * SHARE :], tmp_path, order=1, threads=3):
        agree_closely(expected, found)
    assert len(in_parts) > 3 * SHARE and set(in_parts) <= {2, 3}


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_bits_are_the_same_in_every_run_and_numbers_those_of_one_thread(cell, functions, in_parts):
    with compiled(functions):
        alone = gradients(5, made(cell))
    for threads in (2, 3, 8):
        with compiled(functions, threads=threads):
            runs = [gradients(5, made(cell)) for _ in range(2)]
        for one, other, again in zip(alone, *runs, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
            np.testing.assert_array_equal(other, again)
    assert in_parts == [2] * 4 + [3] * 4 + [5] * 4


def test_a_backward_pass_in_other_threads_than_its_forward_pass(functions, in_parts):
    found = []
    for threads, later in ((1, 3), (3, 1), (2, 3)):
        with compiled(functions, threads=threads):
            found.append(gradients(4, later=later))
    for other in found[1:]:
        for one, array in zip(found[0], other, strict=True):
            np.testing.assert_allclose(array, one, rtol=1e-12, atol=1e-12)
    assert in_parts == [3, 3, 2, 3]


def test_a_layer_has_threads_of_its_own(functions, in_parts):
    layer = made(lambda *sizes, **options: nn.LSTM(*sizes, **options, backend="native", threads=3))
    with compiled(functions, threads=2):
        expected = gradients(5)
        found = gradients(5, layer)
        layer.l0.threads = 1
        gradients(5, layer)
    assert in_parts == [2, 2, 3, 3]
    for one, array in zip(expected, found, strict=True):
        np.testing.assert_allclose(array, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of_the_layer", [True, False])
def test_a_compiled_function_has_the_threads_of_its_layers(of_the_layer, in_parts, monkeypatch):
    monkeypatch.setattr(executable, "LEAST_WORK", 1)
    layer = nn.GRU(3, 5, threads=3 if of_the_layer else None)
    with tr.use("native", threads=1 if of_the_layer else 3):
        tr.compile(lambda x: layer(x)[1])(np.ones((6, 4, 3), "float32"))
    assert in_parts == [3]


def test_one_sequence_or_little_work_is_one_thread(functions, in_parts):
    with compiled(functions, threads=2):
        gradients(1)
        with patched((executable, "LEAST_WORK", 10**9)):
            gradients(5)
    assert not in_parts


class Apart(nn.Cell):
    """A cell that may read values of each sequence, or values shared by all sequences."""

    input_size, state_shape = 3, (3,)

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.rows = np.arange(15.0).reshape(5, 3)

    def step(self, x, h):
        beside = {"apart": h * self.rows[0], "captured": h * self.rows, "all": h - h.mean(0), "turned": (h.T * 2).T}[self.how]
        h = tr.tanh(x + beside)
        return h, h


@pytest.mark.parametrize(("how", "apart"), [("apart", True), ("turned", False), ("captured", False), ("all", False)])
def test_sequences_that_may_meet_are_not_run_apart(how, apart):
    source = nn.Recurrent(Apart(how), backend="native").plan(T=3, B=5).forward.source
    assert ("+ first" in source) == apart


def test_threads_of_python_may_run_parts_at_once(functions):
    with compiled(functions, threads=2):
        expected = gradients(5)
        found = []

        def run(layer):
            with tr.use("native", threads=2):
                found.append(gradients(5, layer))

        threads = [threading.Thread(target=run, args=(made(),)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 6
    for one in found:
        for array, other in zip(expected, one, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_an_error_in_a_thread_is_raised_when_all_have_ended(wrong):
    ended = []

    def call(k):
        if k == wrong:
            raise MemoryError(f"part {k}")
        ended.append(k)
        return 0

    with pytest.raises(MemoryError, match=f"part {wrong}"):
        run_together([lambda k=k: call(k) for k in range(3)])
    assert sorted(ended) == sorted({0, 1, 2} - {wrong})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_that_is_forked_has_threads_of_its_own():
    assert run_together([lambda: 1, lambda: 2]) == [1, 2]
    child = os.fork()
    if not child:
        os._exit(0 if run_together([lambda: 3, lambda: 4]) == [3, 4] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_number_of_threads_is_chosen_as_the_backend_is(monkeypatch):
    monkeypatch.setattr(chosen, "_everywhere", [None])
    monkeypatch.delenv("TINYGRAD_RNN_THREADS", raising=False)
    assert chosen.thread_count() == 1
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "3")
    assert chosen.thread_count() == 3
    tr.use("native")
    assert chosen.thread_count() == 3
    tr.use("native", threads=2)
    assert chosen.thread_count() == 2
    with tr.use("native", threads=4):
        assert chosen.thread_count() == 4
    assert repr(tr.use("native", threads=2)) == "use('native', threads=2)"
    for threads in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="threads must be a whole number"):
            tr.use("native", threads=threads)
        with pytest.raises(ValueError, match="threads must be a whole number"):
            nn.Recurrent(nn.RNNCell(2, 3), threads=threads)
    for call in (lambda: tr.use("numpy", threads=2), lambda: nn.GRU(2, 3, backend="numpy", threads=2)):
        with pytest.raises(ValueError, match="threads=2 needs the backend \"native\", but the backend is 'numpy'"):
            call()
    for wrong in ("two", "0", "-1"):
        monkeypatch.setattr(chosen, "_everywhere", [None])
        monkeypatch.setenv("TINYGRAD_RNN_THREADS", wrong)
        with pytest.raises(ValueError, match=f"TINYGRAD_RNN_THREADS must be a number of threads, such as 2, not {wrong!r}"):
            chosen.thread_count()
