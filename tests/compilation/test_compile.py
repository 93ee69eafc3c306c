"""Compiled functions: the code that they refuse, the values that they keep, and their results."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.compilation import compiled as module
from tinygrad_rnn.compilation.number import Arithmetic, Number
from tinygrad_rnn.compilation.program import ScanCall, Section
from tinygrad_rnn.guards import Unread

X = np.float32([[1.0, -2.0]])


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


class Counter:
    def __init__(self) -> None:
        self.calls = 0


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, start = inspect.getsourcelines(function)
    return start + next(k for k, line in enumerate(lines) if text in line)


def refused(function: Callable[..., Any], *args: Any, words: str, text: str = "") -> None:
    """Assert that the compiled function raises an error with these words, which shows the line with this text."""
    with pytest.raises(tr.errors.TraceError, match=words) as caught:
        tr.compile(function)(*args)
    if text:
        assert f"in line {line_of(function, text)} of {__file__}: " in str(caught.value)


# -- refusals ------------------------------------------------------------------------------


def condition(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


def number_of(x: Any) -> Any:
    return x * float(x[0, 0])


def item_of(x: Any) -> Any:
    return (x * x).sum().item()


def array_of(x: Any) -> Any:
    return np.linalg.norm(x.data)


def printed(x: Any) -> Any:
    print("loss", x)
    return x


def written(x: Any) -> Any:
    return f"{x.sum():.3f}"


def decided_by_a_number(x: Any, rate: float) -> Any:
    return x if rate > 0.5 else -x


def looped(x: Any) -> Any:
    while x.max() > 1:
        x = x / 2
    return x


def texts(x: Any, rate: float) -> Any:
    return x, f"{rate}"


def kept_object(x: Any) -> Any:
    return Point(x)


def generates(x: Any) -> Any:
    yield x


def appends(x: Any, seen: list[Any]) -> Any:
    seen.append(x)
    return x


def draws_itself(x: Any) -> Any:
    return x * tr.random.generator().normal()


def draws_anew(x: Any) -> Any:
    return x * random.Random().random()


@pytest.mark.parametrize(
    "function, args, words, text",
    [
        (condition, (X,), "truth value.*recorded once for many calls.*tr.where", "if x.sum() > 0:"),
        (number_of, (X,), r"float\(\)", "float(x[0, 0])"),
        (item_of, (X,), r"item\(\)", ".item()"),
        (array_of, (X,), "data of x|data of input", "x.data"),
        (printed, (X,), "print.*return it", 'print("loss", x)'),
        (written, (X,), r"format\(\)", 'f"{x.sum():.3f}"'),
        (decided_by_a_number, (X, 0.6), "a number that may differ between calls", "rate > 0.5"),
        (looped, (X,), "truth value", "while x.max() > 1:"),
        (texts, (X, 0.5), "a number that may differ between calls", 'f"{rate}"'),
        (kept_object, (X,), "returns a Point, and the next call would return the same", ""),
        (generates, (X,), "returns a generator", ""),
        (appends, (X, []), "cannot change a list or a dict among its arguments", ""),
        (draws_itself, (X,), "random numbers by tr.sample", ""),
        (draws_anew, (X,), "reads Random, which is not an argument", ""),
    ],
)
def test_what_needs_a_value_is_refused_with_its_line(function: Any, args: Any, words: str, text: str) -> None:
    refused(function, *args, words=words, text=text)


def test_what_it_changes_must_be_of_the_library() -> None:
    counter, seen = Counter(), []

    def counts(x: Any) -> Any:
        counter.calls += 1
        return x * counter.calls

    def collects(x: Any) -> Any:
        seen.append(1)
        return x * len(seen)

    refused(counts, X, words="counts changes calls.*give it as an argument")
    refused(collects, X, words="collects changes")
    w = tr.Parameter([1.0])

    def freezes(x: Any) -> Any:
        w.requires_grad_(False)
        return x * w

    refused(freezes, X, words="cannot freeze")
    assert w.requires_grad and w.item() == 1.0 and isinstance(w.data, np.ndarray)
    refused(lambda x: tr.seed(0) or x, X, words="cannot call tr.seed")


def test_what_it_reads_must_be_known() -> None:
    large = np.zeros(2000)
    refused(lambda x: x + large[:2], X, words="reads an object of type ndarray of 16,000 bytes.*a tr.tensor if it is an array")
    tensor = tr.tensor(large)
    assert tr.compile(lambda x: x + tensor[:2])(X).shape == (1, 2)
    refused(lambda model, x: model(x), nn.Linear(2, 3), X, words="an argument of a compiled function cannot be of type Linear")
    w = tr.Parameter([1.0, 2.0])
    refused(lambda w, x: w * x, w, X, words="a parameter cannot be an argument")
    refused(lambda s, x: (s * x).sum().backward(), w * 2, X, words=r"computed from parameters.*detach")


def test_a_call_that_python_runs_is_told_once(monkeypatch):
    def fails(*_):
        raise FloatingPointError

    @tr.compile
    def double(x):
        return x * 2

    np.testing.assert_array_equal(double(np.ones(3)).data, [2, 2, 2])
    monkeypatch.setattr("tinygrad_rnn.compilation.recording.Recording.run", fails)
    with pytest.warns(RuntimeWarning, match="^double: the compiled program cannot compute this call.* are slower$"):
        np.testing.assert_array_equal(double(np.ones(3)).data, [2, 2, 2])
    double(np.ones(3))  # without a second warning, which would be an error


def test_a_failed_call_changes_nothing() -> None:
    model = nn.Linear(2, 3)
    adam = optim.Adam(model.parameters(), lr=0.1)

    @tr.compile
    def step(x: Any, y: Any) -> Any:
        adam.zero_grad()
        loss = tr.cross_entropy(model(x), y)
        loss.backward()
        adam.step()
        return loss

    step(X, [0]), step(X, [1])
    before = copy.deepcopy((model.state_dict(), adam.state_dict()))
    for y, error in (
        ([3], "classes go from 3 to 3, but there are only 3 logits"),
        ([0.5], "targets that are classes must be integers"),
    ):
        with pytest.raises(tr.errors.TinygradError, match=error):
            step(X, np.array(y))
    with pytest.raises(tr.errors.ShapeError, match="features"):
        step(X[:, :1], [0])
    np.testing.assert_equal((model.state_dict(), adam.state_dict()), before)
    assert step(X, [0]).item() > 0


# -- kept values and results -----------------------------------------------------------------


def test_values_that_somebody_holds_stay() -> None:
    w = tr.Parameter([1.0, 2.0])
    adam = optim.Adam([w], lr=0.1)

    @tr.compile
    def step(x: Any) -> Any:
        adam.zero_grad()
        loss = tr.square(w * x).sum()
        loss.backward()
        adam.step()
        return loss, w * 1

    held = []
    for _ in range(6):
        loss, copied = step(X)
        held.append((loss, copied, w.data, w.grad, w.data.copy(), w.grad.data.copy(), loss.item()))
    for loss, copied, data, grad, data_then, grad_then, loss_then in held:
        np.testing.assert_array_equal(data, data_then)
        np.testing.assert_array_equal(copied.data, data_then)
        np.testing.assert_array_equal(grad.data, grad_then)
        assert loss.item() == loss_then and not data.flags.writeable


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: x.reshape(-1),
        lambda x: tr.tanh(x).reshape(-1),
        lambda x: tr.einsum("ij->ji", x),
        lambda x: tr.einsum("ij->ji", tr.tanh(x)),
        lambda x: nn.Dropout(0.0)(x),
    ],
)
def test_a_result_is_nobody_elses_memory(function: Any) -> None:
    """Neither that of an argument, which its owner may change, nor that of the next run."""
    compiled, x = tr.compile(function), X.copy()
    result = compiled(x)
    then = result.data.copy()
    compiled(X * 3)
    x[:] = 7
    np.testing.assert_array_equal(result.data, then)
    assert compiled(X).shape == then.shape

    constant = tr.compile(lambda x: (x, np.zeros(2), [1]))
    first = constant(X)
    first[1][:], first[2][0] = 1, 2
    np.testing.assert_equal(constant(X)[1:], (np.zeros(2), [1]))


def test_a_function_is_recorded_once_for_each_kind_of_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 3)
    rate = tr.tensor(2.0)

    def function(x: Any, scale: float = 1.0, name: str = "a", **more: Any) -> Any:
        return model(x) * scale * rate, name, more

    kinds: list[int] = []
    record = module.record
    monkeypatch.setattr(module, "record", lambda *args: (kinds.append(1), record(*args))[1])
    compiled = tr.compile(function)
    for n, args, kwargs in (
        (1, (X,), {}),
        (1, (X * 2,), {}),
        (2, (X, 0.5), {}),
        (2, (X, 2.5), {}),
        (3, (X, 2), {}),
        (4, (X.astype(float),), {}),
        (5, (np.vstack([X, X]),), {}),
        (6, (X,), {"name": "b"}),
        (7, (X,), {"extra": [X, (1, {"k": X})]}),
        (7, (X * 3,), {"extra": [X, (1, {"k": X})]}),
        (8, (tr.tensor(X),), {}),
    ):
        found = compiled(*args, **kwargs)
        expected = function(*args, **kwargs)
        np.testing.assert_allclose(found[0].data, expected[0].data, rtol=1e-6)
        assert found[0].dtype == expected[0].dtype and found[1] == expected[1] and len(kinds) == n
    model.weight.data = model.weight.data * 2
    compiled(X)
    assert len(kinds) == 8
    model.eval()
    compiled(X)
    assert len(kinds) == 9
    with tr.no_grad():
        compiled(X)
    assert len(kinds) == 10


def test_a_tensor_that_wants_a_gradient_gets_it() -> None:
    model = nn.GRU(2, 3)

    def step(x: Any) -> Any:
        outputs, _ = model(x)
        outputs.sum().backward()
        return outputs

    gradients = []
    for function in (step, tr.compile(step)):
        model.zero_grad()
        x = tr.tensor(X[:, None], requires_grad=True)
        for _ in range(2):
            function(x)
        gradients.append([x.grad.data, model.weight_hh_l0.grad.data])
    np.testing.assert_allclose(gradients[1][0], gradients[0][0], rtol=1e-6)
    np.testing.assert_allclose(gradients[1][1], gradients[0][1], rtol=1e-6)


def padded_losses(outputs: Any, state: Any, lengths: Any, **options: Any) -> Any:
    scores = tr.cross_entropy(outputs, np.ones(outputs.shape[:2], int), lengths=lengths, **options)
    errors = tr.mse(outputs, np.ones(outputs.shape), lengths=lengths, **options)
    return scores + errors + sum(tr.square(slot).sum() for slot in tr.tree.flatten(state))


def batch_first(x: Any, lengths: Any, model: Any) -> Any:
    return padded_losses(*model(tr.swapaxes(x, 0, 1), lengths=lengths), lengths, batch_first=True)


def two_steps_ahead(x: Any, lengths: Any, model: Any) -> Any:
    return tr.square(model.n_step(2, x, model.history(x[:2], x[:2]), x, lengths=lengths)).sum()


PADDED: dict[str, tuple[Callable[[], Any], Callable[..., Any] | None]] = {
    "both ways": (lambda: nn.LSTM(2, 3, bidirectional=True, checkpoint=2, dtype=float), None),
    "delays": (lambda: nn.TimeDelay(2, 3, delays=2, dtype=float), None),
    "unrolled": (lambda: nn.GRU(2, 3, mode="unroll", dtype=float), None),
    "batch first": (lambda: nn.RNN(2, 3, batch_first=True, dtype=float), batch_first),
    "steps ahead": (lambda: nn.NARX(2, 2, hidden_size=3, dtype=float), two_steps_ahead),
}


@pytest.mark.parametrize("kind", PADDED)
def test_arrays_of_lengths_are_recorded_once(kind: str) -> None:
    make, losses = PADDED[kind]
    model, x = make(), np.random.default_rng(0).normal(size=(5, 2, 2))

    def step(x: Any, lengths: Any) -> Any:
        model.zero_grad()
        loss = losses(x, lengths, model) if losses else padded_losses(*model(x, lengths=lengths), lengths)
        loss.backward()
        return loss

    compiled = tr.compile(step)
    for lengths in ([5, 2], [0, 3], [4, 4], [0, 0]):
        right = step(x, lengths).item(), [p.grad.data for p in model.parameters()]
        for given in (np.array(lengths), tr.tensor(np.uint8(lengths)), lengths):
            assert compiled(x, given).item() == pytest.approx(right[0], rel=1e-12)
            for p, g in zip(model.parameters(), right[1], strict=True):
                np.testing.assert_allclose(p.grad.data, g, atol=1e-12)
    assert [len(known.recordings) for known in compiled._cache.value.known] == [2 + 4]


@pytest.mark.parametrize("lengths, words", [([6, 1], "lengths go from 1 to 6.*5 steps"), ([2, -1], "lengths go from -1 to 2")])
def test_lengths_out_of_range_are_refused_in_each_run(lengths: Any, words: str) -> None:
    model, x = nn.RNN(2, 3), np.ones((5, 2, 2), "float32")
    last = tr.compile(lambda x, lengths: model(x, lengths=lengths, final_state_only=True)[1])
    last(x, np.array([5, 0]))
    with pytest.raises(tr.errors.ShapeError, match=words):
        last(x, np.array(lengths))


def test_a_checkpoint_saves_memory_in_a_compiled_step() -> None:
    def kept(n: int | None) -> int:
        layer = nn.LSTM(3, 5, checkpoint=n)
        plan = tr.compile(lambda x: layer(x)[0].sum().backward()).plan(np.ones((40, 2, 3), "float32"))
        return next(call.executable.kept(40) for call in plan.calls if isinstance(call, ScanCall))

    assert kept(8) == kept(1) < 0.4 * kept(None) and kept(50) == kept(None)


def test_padding_of_a_target_may_be_nan_in_a_compiled_loss() -> None:
    loss = tr.compile(lambda y, target, lengths: tr.mse(y, target, lengths=lengths))
    target = np.array([[1.0, 2.0], [np.nan, 4.0]])
    for lengths, right in (([1, 2], True), ([2, 2], False)):
        recording, *_, given = loss._prepared(((np.zeros((2, 2)), target, np.array(lengths)), {}))
        values, _ = recording.run(given.arrays, given.numbers)
        assert all(np.isfinite(values[k]).all() for k in recording.finite) == right


def test_second_order_is_compiled_as_well() -> None:
    cell = nn.Recurrent(nn.RNNCell(2, 3, dtype=float))
    x = np.random.default_rng(0).normal(size=(4, 2, 2))

    def step(x: Any) -> Any:
        outputs, _ = cell(x)
        first = tr.grad(tr.square(outputs).sum(), cell.parameters())
        penalty = sum((tr.square(g).sum() for g in first), tr.square(outputs).sum())
        penalty.backward()
        return penalty

    step(x)
    right = [p.grad.data for p in cell.parameters()]
    cell.zero_grad()
    tr.compile(step)(x)
    for p, g in zip(cell.parameters(), right, strict=True):
        np.testing.assert_allclose(p.grad.data, g, rtol=1e-9)


def test_a_learning_rate_may_be_an_argument_or_set_inside() -> None:
    results = []
    for wrap in (lambda f: f, tr.compile):
        w = tr.Parameter([1.0, 2.0], dtype=float)
        adam = optim.Adam([w], lr=0.1)

        def step(lr: float, *, w: Any = w, adam: Any = adam) -> None:
            adam.lr = lr / 2
            adam.zero_grad()
            tr.square(w).sum().backward()
            adam.step()

        function = wrap(step)
        for lr in (0.1, 0.2, 0.3):
            function(lr)
        results.append((w.data, adam.lr, adam.state_dict()))
    np.testing.assert_equal(results[1][1], 0.15)
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)


def test_a_compiled_function_within_another_and_in_a_step_is_the_function_itself() -> None:
    inner = tr.compile(lambda x: tr.tanh(x) * 2)
    outer = tr.compile(lambda x: inner(x) + 1)
    np.testing.assert_allclose(outer(X).data, np.tanh(X) * 2 + 1, rtol=1e-6)
    with tr.debug():
        assert np.isfinite(outer(X).data).all()


def test_a_method_is_compiled_too() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = nn.Linear(2, 1)
            self.sgd = optim.SGD(self.model.parameters(), lr=0.1)
            self.step = tr.compile(self.update)

        def update(self, x: Any) -> Any:
            self.sgd.zero_grad()
            loss = tr.square(self.model(x)).mean()
            loss.backward()
            self.sgd.step()
            return loss

    trainer = Trainer()
    losses = [trainer.step(X).item() for _ in range(3)]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


class Twice:
    def __init__(self) -> None:
        self.w = tr.Parameter([1.0])
        self.sgd = optim.SGD([self.w], lr=0.25)

    @tr.compile
    def step(self, x: Any) -> Any:
        self.sgd.zero_grad()
        loss = (self.w * x).sum()
        loss.backward()
        self.sgd.step()
        return loss

    @classmethod
    @tr.compile
    def triple(cls, x: Any) -> Any:
        return x * 3


def test_a_decorated_method_is_compiled_for_each_object() -> None:
    one, other = Twice(), Twice()
    one.step(X), one.step(X)
    copied = copy.deepcopy(one)
    assert other.step(X).item() == -1.0 and one.step(X).item() == -1.5 and Twice.triple(X).shape == (1, 2)
    assert copied.step(X).item() == -1.5 and (copied.w.item(), one.w.item(), other.w.item()) == (1.75, 1.75, 1.25)
    kept = Twice.step._methods.value  # type: ignore[attr-defined]
    assert len(kept) == 3
    del one, other, copied
    gc.collect()
    assert not kept


def test_a_copy_of_a_compiled_function_changes_its_own_parameters() -> None:
    class Trainer(Twice):
        def __init__(self) -> None:
            super().__init__()
            self.compiled = tr.compile(Twice.step.function.__get__(self))  # type: ignore[attr-defined]

    one = Trainer()
    for _ in range(3):
        one.compiled(X)
    other = copy.deepcopy(one)
    assert other.compiled(X).item() == one.compiled(X).item() == -1.75
    assert other.w.item() == one.w.item() == 2.0


def test_a_state_may_be_computed_inside() -> None:
    """From an encoder, or from a parameter of the cell."""

    class Learned(nn.RNNCell):
        def __init__(self) -> None:
            super().__init__(2, 3, dtype=float)
            self.first = nn.Parameter((3,), dtype=float)

        def initial_state(self, batch: int, dtype: Any = None) -> Any:
            return tr.tanh(tr.broadcast_to(self.first, (batch, 3)) + 1)

    x = np.random.default_rng(0).normal(size=(4, 2, 2))

    def trained(wrap: Callable[..., Any]) -> list[Any]:
        tr.seed(0)
        encoder, decoder = nn.Recurrent(Learned()), nn.GRU(2, 3, dtype=float)
        parameters = [*encoder.parameters(), *decoder.parameters()]
        sgd = optim.SGD(parameters, lr=0.1)

        def step(x: Any) -> Any:
            sgd.zero_grad()
            loss = tr.square(decoder(x, encoder(x)[1][None])[0]).sum()
            loss.backward()
            sgd.step()
            return loss

        function = wrap(step)
        return [function(x).data for _ in range(3)] + [p.data for p in parameters]

    for one, other in zip(trained(tr.compile), trained(lambda f: f), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_calls_wait_while_another_thread_records() -> None:
    """Parameters have no values meanwhile."""
    w = tr.Parameter([2.0])
    step = tr.compile(lambda x: (w * x).sum())
    step(np.ones(1))
    recording, end = threading.Event(), threading.Event()
    held, found = Unread((recording, end)), []

    def slow(x: Any) -> Any:
        held.value[0].set()
        held.value[1].wait(10)
        return w * x

    threads = [threading.Thread(target=lambda: found.append(tr.compile(slow)(np.ones(1)).item()))]
    threads[0].start()
    assert recording.wait(10)
    threads.append(threading.Thread(target=lambda: found.append(step(np.ones(1)).item())))
    threads[1].start()
    threads[1].join(0.05)
    end.set()
    for thread in threads:
        thread.join()
    assert found == [2.0, 2.0]


def test_threads_record_one_after_another() -> None:
    w = tr.Parameter([2.0])
    step = tr.compile(lambda x: (w * x).sum())
    found: list[float] = []
    threads = [threading.Thread(target=lambda k=k: found.append(step(np.float32([k])).item())) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [2.0 * k for k in range(8)]


def test_a_step_is_sections_and_scans() -> None:
    model, out = nn.LSTM(2, 3), nn.Linear(3, 2)
    sgd = optim.SGD([*model.parameters(), *out.parameters()], lr=0.1)

    @tr.compile
    def step(x: Any) -> Any:
        sgd.zero_grad()
        loss = tr.square(out(model(x)[0])).mean()
        loss.backward()
        sgd.step()
        return loss

    plan = step.plan(X[:, None])
    assert [type(call) for call in plan.calls] == [ScanCall, Section, ScanCall, Section]
    text = str(plan)
    assert "scan     of 1 step" in text and "in reverse" in text and "matmul" in text and "def run(" in plan.source


def test_numbers_are_those_of_python() -> None:
    lr, n = Number(0.1), Number(3)
    wanted = [-(lr / (1 - 0.9**n)), np.sqrt(lr), 2 * lr - n % 2 + abs(-n) // 2, n + 1]
    arithmetic = Arithmetic([lr, n], wanted)
    for a, b in ((0.1, 3), (0.25, 4)):
        found = arithmetic.run([a, b])
        right = [-(a / (1 - 0.9**b)), np.sqrt(a), 2 * a - b % 2 + abs(-b) // 2, b + 1]
        assert found == right and list(map(type, found)) == list(map(type, right))
    np.testing.assert_equal(
        [part.data for part in tr.compile(lambda x, r: (r < x, r == x, np.ones(2) + r))(X, 1.0)],
        [[[False, False]], [[True, False]], [2.0, 2.0]],
    )
    with pytest.raises(ZeroDivisionError):
        Arithmetic([lr], [1 / lr]).run([0.0])


def test_what_an_optimiser_computes_for_each_parameter_is_one_number() -> None:
    parameters = [tr.Parameter([1.0]) for _ in range(5)]
    adam = optim.Adam(parameters, lr=0.1)

    @tr.compile
    def step(x: Any) -> None:
        tr.square(sum(parameters) * x).sum().backward()
        adam.step()

    step(X)  # from the second step on, the count of steps is also a number
    recording, *_ = step._prepared(((X,), {}))
    assert len(recording.scalars) == 2  # the step size and the correction of the second moment


@pytest.mark.torch
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_the_losses_are_those_of_pytorch(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from tinygrad_rnn.scan.native import libraries

    monkeypatch.setattr(libraries, "LEVEL", "-O0")
    torch.manual_seed(0)
    theirs = torch.nn.ModuleList([torch.nn.Embedding(7, 3), torch.nn.GRU(3, 4, bidirectional=True), torch.nn.Linear(8, 7)])
    ours = [nn.Embedding(7, 3), nn.GRU(3, 4, bidirectional=True), nn.Linear(8, 7)]
    for one, other in zip(ours, theirs, strict=True):
        one.load_state_dict({name: value.detach().numpy() for name, value in other.state_dict().items()})
    parameters = [p for module in ours for p in module.parameters()]
    adam, torch_adam = optim.AdamW(parameters, lr=0.03), torch.optim.AdamW(theirs.parameters(), lr=0.03)

    @tr.compile
    def step(x: Any, y: Any) -> Any:
        adam.zero_grad()
        loss = tr.cross_entropy(ours[2](ours[1](ours[0](x))[0]), y)
        loss.backward()
        optim.clip_grad_norm(parameters, 0.5)
        adam.step()
        return loss

    generator = np.random.default_rng(0)
    with tr.use(backend):
        for _ in range(12):
            x, y = generator.integers(0, 7, (2, 5, 3))
            torch_adam.zero_grad()
            scores = theirs[2](theirs[1](theirs[0](torch.tensor(x)))[0])
            loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), torch.tensor(y).flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            torch_adam.step()
            assert step(x, y).item() == pytest.approx(loss.item(), abs=2e-5)


PARAMETERS = """
import numpy as np, tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

rnn, out, scale, offset = nn.LSTM(2, 3), nn.Linear(3, 2), tr.Parameter(np.ones(2)), tr.Parameter(np.zeros(2))
parameters = [scale, offset, *out.parameters(), *rnn.parameters()]
adam = optim.Adam(parameters)

@tr.compile
def step(x):
    adam.zero_grad()
    loss = (out(rnn(x)[0]) * scale + offset).sum()
    loss.backward()
    optim.clip_grad_norm(parameters, 1.0)
    adam.step()
    return loss

print(step.plan(np.ones((3, 1, 2), "float32")).source)
"""


def test_each_process_makes_the_same_program() -> None:
    """Texts have other hashes in each process, and so sets of names another order."""
    made = {
        subprocess.run(
            [sys.executable, "-c", PARAMETERS], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_all_programs_run_in_one_call_of_c(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of the GRU, whose gradient reads a part of a product."""
    from tinygrad_rnn.scan.native import libraries

    monkeypatch.setattr(libraries, "LEVEL", "-O0")
    rnn = layer(2, 3)
    sgd = optim.SGD(rnn.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        sgd.zero_grad()
        loss = (rnn(x)[0] ** 2).sum()
        loss.backward()
        sgd.step()
        return loss

    x = np.random.default_rng(0).normal(size=(4, 2, 2))
    before = rnn.state_dict()
    expected = [step(x).item() for _ in range(3)]
    rnn.load_state_dict(before)
    with tr.use("native"):
        compiled = tr.compile(step)
        assert [compiled(x).item() for _ in range(3)] == pytest.approx(expected, rel=1e-5)
        recording, *_ = compiled._prepared(((x,), {}))
    assert recording.program._together is not None
