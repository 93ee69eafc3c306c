"""Scan: traces and kept values, threads, memory, and cells that are in no library."""

from __future__ import annotations

import copy
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from scan_cases import agree

import tinygrad_rnn as tr
import tinygrad_rnn.nn.trace_cache as compiled_steps
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, NonFiniteError, ShapeError, TraceError
from tinygrad_rnn.nn.trace_cache import _caches
from tinygrad_rnn.ops import core
from tinygrad_rnn.scan.rewrites import without
from tinygrad_rnn.tree import flatten


def array(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def weight(*shape, seed=0):
    return nn.Parameter(array(*shape, seed=seed) / np.sqrt(shape[0]), dtype=np.float64)


@pytest.fixture
def traces(monkeypatch):
    """The traced cells, in order."""
    made, trace = [], compiled_steps.trace

    def noted(*arguments):
        made.append(trace(*arguments))
        return made[-1]

    monkeypatch.setattr(compiled_steps, "trace", noted)
    return made


class Plain(nn.Cell):
    def __init__(self, dtype="float64"):
        super().__init__()
        self.W = nn.Parameter(array(3, 3), dtype=dtype)
        self.state_shape = (3,)

    def step(self, x, h):
        h = tr.tanh(x + h @ self.W)
        return h, h


def results(model, xs, state=None, order=2, **options):
    """Outputs, final state and gradients with respect to all inputs, to second order."""
    xs = tr.tensor(xs, requires_grad=True)
    outputs, final = model(xs, state, **options)
    ends = [end for end in (*flatten(outputs), *flatten(final)) if end is not None]
    leaves = {"x": xs, **{name.removeprefix("cell."): p for name, p in model.named_parameters()}}
    found = {f"end {i}": end.numpy() for i, end in enumerate(ends)}
    total = sum((end * tr.tensor(array(*end.shape, seed=i).astype(end.dtype))).sum() for i, end in enumerate(ends))
    for n in range(order):
        total = total + sum((0.0 * leaf).sum() for leaf in leaves.values())
        gradients = tr.grad(total, list(leaves.values()))
        found |= {f"{'grad ' * (n + 1)}{name}": g.numpy() for name, g in zip(leaves, gradients, strict=True)}
        total = sum((g * tr.tensor(array(*g.shape, seed=n + 1).astype(g.dtype))).sum() for g in gradients)
    return found


def as_unrolled(cell, xs, state=None, order=2, **options):
    call = {name: options.pop(name) for name in ("lengths", "force", "force_mask", "steps") if name in options}
    expected = results(nn.Recurrent(cell, mode="unroll", reverse=options.get("reverse", False)), xs, state, order, **call)
    agree(expected, results(nn.Recurrent(cell, **options), xs, state, order, **call))
    return expected


# -- the trace -----------------------------------------------------------------------------


def test_another_length_neither_traces_nor_rewrites_again(monkeypatch, traces):
    cell = Plain()
    model = nn.Recurrent(cell)
    tr.grad((model(array(4, 2, 3))[0] ** 2).sum(), [cell.W])
    found = len(traces)
    assert found == 2  # the second trace shows that the step does the same at each call
    for name in ("rewrite", "canonical", "differentiate", "Schedule"):
        monkeypatch.setattr(f"tinygrad_rnn.scan.compiled.{name}", lambda *_: pytest.fail("made anew"))
    for T in (1, 7, 4):
        tr.grad((model(array(T, 2, 3))[0] ** 2).sum(), [cell.W])
    assert len(traces) == found


def test_another_batch_size_or_dtype_is_traced_anew(traces):
    model = nn.Recurrent(Plain())
    model(array(4, 2, 3))
    found = len(traces)
    model(array(4, 1, 3))
    assert len(traces) > found


class Scaled(nn.Cell):
    state_shape = (2,)

    def __init__(self):
        super().__init__()
        self.factor = 2.0

    def step(self, x, h):
        h = h + self.factor * x
        return h, h


def test_an_attribute_that_is_assigned_is_seen():
    cell = Scaled()
    model = nn.Recurrent(cell)
    xs = np.ones((3, 1, 2))
    np.testing.assert_array_equal(model(xs)[1].numpy(), [[6, 6]])
    cell.factor = 3.0
    np.testing.assert_array_equal(model(xs)[1].numpy(), [[9, 9]])


def test_steps_of_an_optimiser_are_seen_without_tracing(traces):
    cell = Plain()
    model, xs = nn.Recurrent(cell), array(4, 2, 3)
    optimiser = tr.optim.SGD(model.parameters(), 0.1)
    unrolled = nn.Recurrent(cell, mode="unroll")
    counts = []
    for _ in range(3):
        optimiser.zero_grad()
        (model(xs)[0] ** 2).sum().backward()
        optimiser.step()
        agree({"h": unrolled(xs)[1].numpy()}, {"h": model(xs)[1].numpy()})
        counts.append(len(traces))
    assert len(set(counts)) == 1


class Capturing(nn.Cell):
    state_shape = (2,)

    def __init__(self, held):
        super().__init__()
        self.held = held

    def step(self, x, h):
        h = tr.tanh(x + h * self.held["it"])
        return h, h


@pytest.mark.parametrize("shape", [(2,), ()])
def test_a_captured_array_is_read_afresh_also_if_it_was_written_into(shape):
    held = {"it": np.full(shape, 0.5)}
    model, unrolled = nn.Recurrent(Capturing(held)), nn.Recurrent(Capturing(held), mode="unroll")
    xs, found = array(3, 1, 2), []
    for change in (lambda: None, lambda: held["it"].__iadd__(0.25), lambda: held.update(it=np.full(shape, -1.0))):
        change()
        found.append(model(xs)[1].numpy())
        agree({"h": unrolled(xs)[1].numpy()}, {"h": found[-1]})
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[1], found[2])


def test_a_captured_tensor_gets_its_gradient_and_is_read_afresh():
    held = {}
    model, unrolled = nn.Recurrent(Capturing(held)), nn.Recurrent(Capturing(held), mode="unroll")
    xs = array(3, 1, 2)
    for seed in (1, 2):
        start = tr.tensor(array(2, seed=seed), requires_grad=True)
        held["it"] = tr.tanh(start) * 2
        gradients = [tr.grad((m(xs)[0] ** 2).sum(), [start])[0].numpy() for m in (unrolled, model)]
        agree({"g": gradients[0]}, {"g": gradients[1]})


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    cell = nn.LSTMCell(3, 2, dtype=np.float64)
    cell.weight_hh.requires_grad_(False)
    model = nn.Recurrent(cell)
    (model(array(4, 2, 3))[0] ** 2).sum().backward()
    assert cell.weight_hh.grad is None
    got = cell.weight_ih.grad.numpy().copy()
    cell.weight_ih.grad = None
    (nn.Recurrent(cell, mode="unroll")(array(4, 2, 3))[0] ** 2).sum().backward()
    agree({"g": cell.weight_ih.grad.numpy()}, {"g": got})


class Dropping(nn.Cell):
    state_shape = (50,)

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def step(self, x, h):
        h = 0.5 * h + self.drop(x)
        return h, h


def test_train_and_eval_switch_dropout_and_a_seed_gives_the_same_in_both_modes():
    cell = Dropping()
    model, unrolled = nn.Recurrent(cell), nn.Recurrent(cell, mode="unroll")
    xs, found = np.ones((6, 1, 50)), []
    for m in (model, unrolled):
        tr.seed(3)
        found.append(m(xs)[0].numpy())
    agree({"y": found[1]}, {"y": found[0]})
    assert (model(xs)[0].numpy() != found[0]).any()
    cell.eval()
    assert model(xs)[0].numpy().std(axis=-1).max() == 0
    cell.train()
    assert model(xs)[0].numpy().std(axis=-1).max() > 0


class Looking(nn.Cell):
    state_shape = (2,)

    def step(self, x, h):
        return (h, h + x) if (h > 0).all() else (h, h - x)


def test_control_flow_on_a_value_says_where_and_unroll():
    with pytest.raises(TraceError, match=r'recorded once for all t.*mode="unroll"'):
        nn.Recurrent(Looking())(array(3, 1, 2))
    nn.Recurrent(Looking(), mode="unroll")(array(3, 1, 2))


def test_a_model_and_its_plans_are_freed_together():
    model = nn.Recurrent(Plain())
    (model(array(4, 2, 3))[0] ** 2).sum().backward()
    plans = [weakref.ref(plan) for plan in _caches[model].plans.values()]
    assert plans and all(plan() for plan in plans)
    del model
    gc.collect()
    assert not any(plan() for plan in plans)


def test_a_copy_of_a_model_that_was_run_is_a_model_of_its_own():
    model = nn.Recurrent(nn.LSTMCell(3, 2, dtype=np.float64))
    xs = array(4, 2, 3)
    before = results(model, xs, order=1)
    twin = copy.deepcopy(model)
    agree(before, results(twin, xs, order=1))
    twin.cell.weight_hh.data = np.zeros_like(twin.cell.weight_hh.data)
    agree(before, results(model, xs, order=1))
    assert not np.allclose(results(twin, xs, order=1)["end 0"], before["end 0"])


# -- parallel calls ------------------------------------------------------------------------


def test_threads_that_run_one_model_get_what_each_would_get_alone():
    model = nn.Recurrent(nn.LSTMCell(5, 4, dtype=np.float64))
    inputs = [array(T, 3, 5, seed=T) for T in (3, 9, 20, 9, 40, 3)]

    def of(xs):
        xs = tr.tensor(xs, requires_grad=True)
        outputs, (h, c) = model(xs)
        gradients = tr.grad((outputs**2).sum() + (h * c).sum(), [xs, *model.parameters()])
        return {str(i): value.numpy() for i, value in enumerate((outputs, h, c, *gradients))}

    alone = [of(xs) for xs in inputs]
    errors = []

    def work(k):
        try:
            for _ in range(20):
                agree(alone[k], of(inputs[k]))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]


@pytest.mark.parametrize("options", [{}, {"checkpoint": 1}, {"checkpoint": 3}], ids=str)
def test_a_later_call_changes_nothing_of_an_earlier_one(options):
    model = nn.Recurrent(nn.LSTMCell(3, 4, dtype=np.float64), **options)
    xs = tr.tensor(array(7, 2, 3), requires_grad=True)
    expected = results(model, xs.numpy(), order=1)
    outputs, (h, c) = model(xs)
    total = sum((end * tr.tensor(array(*end.shape, seed=i))).sum() for i, end in enumerate((outputs, h, c)))
    kept = [end.numpy().copy() for end in (outputs, h, c)]
    for seed in (1, 2, 3):
        results(model, array(7, 2, 3, seed=seed), order=2)
    for end, was in zip((outputs, h, c), kept, strict=True):
        np.testing.assert_array_equal(end.numpy(), was)
    leaves = {"x": xs, **{name.removeprefix("cell."): p for name, p in model.named_parameters()}}
    gradients = tr.grad(total, list(leaves.values()))
    first = [g.numpy().copy() for g in gradients]
    agree(
        {f"grad {name}": expected[f"grad {name}"] for name in leaves},
        dict(zip([f"grad {n}" for n in leaves], first, strict=True)),
    )
    results(model, array(7, 2, 3, seed=4), order=2)
    for g, was in zip(gradients, first, strict=True):
        np.testing.assert_array_equal(g.numpy(), was)


def test_results_do_not_share_memory_with_what_was_given():
    class Identity(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            return x, h

    xs, start = array(3, 1, 2), array(1, 2)
    outputs, h = nn.Recurrent(Identity())(xs, start)
    xs[:], start[:] = 0, 0
    assert (outputs.numpy() != 0).any() and (h.numpy() != 0).any()


class Nested(nn.Cell):
    """Runs an inner network over a few copies of its input."""

    state_shape = (3,)

    def __init__(self):
        super().__init__()
        self.inner = nn.Recurrent(nn.RNNCell(3, 3, dtype=np.float64))

    def step(self, x, h):
        _, h = self.inner(tr.stack([x, x * 2]), h)
        return h, h


def test_a_network_within_a_step():
    as_unrolled(Nested(), array(4, 2, 3))


# -- memory --------------------------------------------------------------------------------


def peak(work):
    """Peak memory of NumPy and Python during a call, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


B, H = 16, 32


def lstm(**options):
    model = nn.Recurrent(nn.LSTMCell(H, H), **options)
    (model(np.zeros((3, B, H), "float32"))[0] ** 2).sum().backward()  # compile before anything is measured
    for parameter in model.parameters():
        parameter.grad = None
    return model


def peak_of_gradient(model, T):
    """Peak memory of a loss and its gradient, including the outputs, the input and the input's gradient."""
    xs = tr.tensor(np.zeros((T, B, H), "float32"), requires_grad=True)

    def work():
        model(xs)[0].sum().backward()

    found = peak(work)
    assert xs.grad.shape == xs.shape
    return found


SLOT = B * H * 4  # bytes of a state, or of a gate, at one step


def test_only_the_final_state_takes_memory_that_does_not_grow_with_time():
    model = lstm()

    def of(T):
        xs = tr.tensor(np.zeros((T, B, H), "float32"))

        def work():
            with tr.no_grad():
                model(xs, final_state_only=True)

        return peak(work)

    few, many = of(2000), of(12000)
    assert many < few + 10000 * SLOT / 20  # a history of one slot would be 20 times that


def test_a_hundred_thousand_steps_forward_and_back():
    model = nn.Recurrent(nn.LSTMCell(8, 32))
    xs = tr.tensor(np.zeros((100_000, 1, 8), "float32"), requires_grad=True)
    model(xs)[0].sum().backward()
    assert xs.grad.shape == xs.shape and np.isfinite(model.cell.weight_hh.grad.numpy()).all()


def test_the_gradient_takes_little_more_than_what_must_be_saved():
    # kept: h, c and four gates. Beside them stand what the caller sees: the outputs, their
    # cotangent (of a sum: one number), and the input's gradient
    T = 5000
    assert peak_of_gradient(lstm(), T) < 1.3 * T * SLOT * (6 + 2)


def test_with_states_alone_memory_is_that_of_the_states():
    T = 2000
    assert peak_of_gradient(lstm(checkpoint=1), T) < 1.3 * T * SLOT * (2 + 2)


def test_with_checkpoints_memory_grows_like_the_number_of_segments_and_their_length():
    for n in (4, 20):  # for each step: outputs, their cotangent, the input's gradient, and 1/n of h and c
        model = lstm(checkpoint=n)
        peak_of_gradient(model, 400)  # allocates the memory of a segment
        grown = (peak_of_gradient(model, 1000) - peak_of_gradient(model, 400)) / (600 * SLOT)
        assert 2 < grown < 1.3 * (3 + 2 / n), (n, grown)
    T, (few, many) = 5000, (1200, 2400)
    taken = [peak_of_gradient(lstm(checkpoint=n), T) for n in (few, many)]
    grown = (taken[1] - taken[0]) / ((many - few) * SLOT)
    assert 6 < grown < 1.3 * 8, grown  # for each step of a segment: all residuals saved without checkpoints


def test_no_operation_of_the_loop_goes_through_the_one_door(monkeypatch):
    calls: list[str] = []
    apply = core.apply

    def counted(primitive, *arguments, **options):
        calls.append(primitive.name)
        return apply(primitive, *arguments, **options)

    for module in ("tinygrad_rnn.ops.core", "tinygrad_rnn.scan.primitive"):
        monkeypatch.setattr(f"{module}.apply", counted)
    model, counts = lstm(), []
    for T in (3, 10, 1000):  # the first one compiles
        calls.clear()
        xs = tr.tensor(np.zeros((T, B, H), "float32"), requires_grad=True)
        tr.grad((model(xs)[0] ** 2).sum(), [xs, *model.parameters()])
        counts.append(list(calls))
    assert "scan" in counts[1] and counts[1] == counts[2]


# -- cells that are in no library ----------------------------------------------------------


class Coupled(nn.Cell):
    """Two cycles, of which the second reads the first; both use the same matrix."""

    def __init__(self):
        super().__init__()
        self.U, self.W, self.V = weight(3, 4, seed=1), weight(4, 4, seed=2), weight(4, 4, seed=3)
        self.state_shape = ((4,), (4,))

    def step(self, x, state):
        a, b = state
        a = tr.tanh(x @ self.U + a @ self.W)
        b = tr.sigmoid(a @ self.V + b @ self.W) * b + a
        return b, (a, b)


class BothWays(Coupled):
    """Two slots, each of which reads the old value of the other slot."""

    def step(self, x, state):
        a, b = state
        return a * b, (tr.tanh(x @ self.U + b @ self.W), tr.sin(a @ self.V + x @ self.U))


class Concatenated(nn.Cell):
    def __init__(self):
        super().__init__()
        self.W, self.b = weight(7, 12, seed=1), weight(12, seed=2)
        self.state_shape = (4,)

    def step(self, x, h):
        z = tr.concatenate([h, x], axis=-1) @ self.W + self.b
        i, f, g = z[:, 0:4], z[:, 4:8], z[:, 8:12]
        h = tr.sigmoid(f) * h + tr.sigmoid(i) * tr.tanh(g)
        return h, h


class Normalised(nn.Cell):
    """An LSTM with layer normalisation of its gates."""

    def __init__(self):
        super().__init__()
        self.U, self.W, self.g, self.b = weight(3, 16, seed=1), weight(4, 16, seed=2), weight(16, seed=3), weight(16, seed=4)
        self.state_shape = ((4,), (4,))

    def step(self, x, state):
        h, c = state
        z = x @ self.U + h @ self.W
        z = z - tr.mean(z, axis=-1, keepdims=True)
        z = z / tr.sqrt(tr.mean(z * z, axis=-1, keepdims=True) + 1e-3) * self.g + self.b
        i, f, o, g = (z[:, 4 * k : 4 * k + 4] for k in range(4))
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        h = tr.sigmoid(o) * tr.tanh(c)
        return h, (h, c)


class Attending(nn.Cell):
    """Attention of the present over the last three inputs and its own state."""

    def __init__(self):
        super().__init__()
        self.Q, self.K = weight(3, 3, seed=1), weight(3, 3, seed=2)
        self.state_shape = ((3,), (3,), (3,), (3,))

    def step(self, x, state):
        a, b, c, h = state
        memory = tr.stack([x, a, b, c], axis=1)
        scores = tr.einsum("bkn,bn->bk", memory @ self.K, (x + h) @ self.Q)
        h = tr.tanh(tr.einsum("bk,bkn->bn", tr.softmax(scores, axis=-1), memory))
        return h, (x, a, b, h)


class Hidden(nn.Cell):
    """A state that the output does not contain."""

    def __init__(self):
        super().__init__()
        self.W, self.V = weight(3, 3, seed=1), weight(3, 2, seed=2)
        self.state_shape = ((3,), (3,))

    def step(self, x, state):
        h, n = state
        h = tr.tanh(x + (h * n) @ self.W)
        return h @ self.V, (h, 0.9 * n + h * h)


UNSEEN = [Coupled, BothWays, Concatenated, Normalised, Attending, Hidden]


@pytest.mark.parametrize("kind", UNSEEN)
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"checkpoint": 1}, {"checkpoint": 2}], ids=str)
@pytest.mark.parametrize("T", [1, 6])
def test_cells_never_seen_to_second_order(kind, options, T):
    as_unrolled(kind(), array(T, 2, 3), **options)


def in_torch(kind):
    """The same step written in PyTorch."""
    torch = pytest.importorskip("torch")
    cat, sig, tanh = torch.cat, torch.sigmoid, torch.tanh

    def coupled(p, x, s):
        a = tanh(x @ p["U"] + s[0] @ p["W"])
        b = sig(a @ p["V"] + s[1] @ p["W"]) * s[1] + a
        return b, (a, b)

    def both(p, x, s):
        a, b = s
        return a * b, (tanh(x @ p["U"] + b @ p["W"]), torch.sin(a @ p["V"] + x @ p["U"]))

    def concatenated(p, x, s):
        i, f, g = (cat([s[0], x], -1) @ p["W"] + p["b"]).split(4, -1)
        h = sig(f) * s[0] + sig(i) * tanh(g)
        return h, (h,)

    def normalised(p, x, s):
        z = x @ p["U"] + s[0] @ p["W"]
        i, f, o, g = (torch.nn.functional.layer_norm(z, (16,), eps=1e-3) * p["g"] + p["b"]).split(4, -1)
        c = sig(f) * s[1] + sig(i) * tanh(g)
        h = sig(o) * tanh(c)
        return h, (h, c)

    def attending(p, x, s):
        a, b, c, h = s
        memory = torch.stack([x, a, b, c], 1)
        weights = ((memory @ p["K"]) * ((x + h) @ p["Q"])[:, None]).sum(-1).softmax(-1)
        h = tanh((weights[..., None] * memory).sum(1))
        return h, (x, a, b, h)

    def hidden(p, x, s):
        h = tanh(x + (s[0] * s[1]) @ p["W"])
        return h @ p["V"], (h, 0.9 * s[1] + h * h)

    return dict(zip(UNSEEN, (coupled, both, concatenated, normalised, attending, hidden), strict=True))[kind]


@pytest.mark.parametrize("kind", UNSEEN)
def test_cells_never_seen_as_pytorch_says_to_second_order(kind):
    torch = pytest.importorskip("torch")
    cell, step, xs = kind(), in_torch(kind), array(5, 2, 3)
    ours = results(nn.Recurrent(cell), xs)
    leaves = {name: torch.tensor(p.data, requires_grad=True) for name, p in [("x", tr.tensor(xs)), *cell.named_parameters()]}
    slots = [torch.zeros(s.shape, dtype=torch.float64) for s in flatten(cell.initial_state(2))]
    outputs = []
    for x in leaves["x"]:
        y, slots = step(leaves, x, slots)
        outputs.append(y)
    ends = [torch.stack(outputs), *slots]
    total = sum((end * torch.tensor(array(*end.shape, seed=i))).sum() for i, end in enumerate(ends))
    found = {f"end {i}": end.detach().numpy() for i, end in enumerate(ends)}
    for n in range(2):
        total = total + sum((0.0 * leaf).sum() for leaf in leaves.values())
        gradients = torch.autograd.grad(total, list(leaves.values()), create_graph=True)
        found |= {f"{'grad ' * (n + 1)}{name}": g.detach().numpy() for name, g in zip(leaves, gradients, strict=True)}
        total = sum((g * torch.tensor(array(*g.shape, seed=n + 1))).sum() for g in gradients)
    agree(ours, found)


# -- lengths -------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", UNSEEN)
def test_rows_of_any_length_are_as_if_run_alone_and_padding_is_never_read(kind, reverse):
    cell, xs, lengths = kind(), array(5, 4, 3), [3, 0, 5, 1]
    padded = xs.copy()
    for row, n in enumerate(lengths):
        padded[n:, row] = np.nan
    model = nn.Recurrent(cell, reverse=reverse)
    inputs = tr.tensor(padded, requires_grad=True)
    outputs, final = model(inputs, lengths=lengths)
    gradient = tr.grad((outputs**2).sum() + sum((end**2).sum() for end in flatten(final)), [inputs])[0].numpy()
    weights = tr.grad((outputs**2).sum() + sum((end**2).sum() for end in flatten(final)), model.parameters())
    assert all(np.isfinite(g.numpy()).all() for g in weights)
    for row, n in enumerate(lengths):
        alone = tr.tensor(xs[:n, row : row + 1], requires_grad=True)
        y, s = nn.Recurrent(cell, mode="unroll", reverse=reverse)(alone)
        found = {"y": outputs.numpy()[:n, row : row + 1]}
        found |= {f"s{i}": end.numpy()[row : row + 1] for i, end in enumerate(flatten(final))}
        expected = {"y": y.numpy(), **{f"s{i}": end.numpy() for i, end in enumerate(flatten(s))}}
        if n:
            total = (y**2).sum() + sum((end**2).sum() for end in flatten(s))
            expected["grad"] = tr.grad(total, [alone])[0].numpy()
            found["grad"] = gradient[:n, row : row + 1]
        agree(expected, found)
        assert not outputs.numpy()[n:, row].any() and not gradient[n:, row].any()


def test_lengths_to_second_order():
    for kind in UNSEEN:
        as_unrolled(kind(), array(5, 3, 3), lengths=[2, 0, 5])


@pytest.mark.parametrize(
    "lengths, error, said",
    [
        ([1, 2, 3], ShapeError, "one for each row"),
        ([1, 9], ShapeError, "5 steps"),
        ([-1, 2], ShapeError, "5 steps"),
        ([1.5, 2.0], DtypeError, "integers"),
        ([[1, 2]], ShapeError, "one for each row"),
    ],
)
def test_wrong_lengths(lengths, error, said):
    with pytest.raises(error, match=said):
        nn.Recurrent(Coupled())(array(5, 2, 3), lengths=lengths)


def test_a_forced_slot_to_second_order():
    ys = array(5, 2, 4, seed=5)
    mask = np.array([True, False, True, True, False])

    class Named(Concatenated):
        def step(self, x, h):
            y, h = super().step(x, h)
            return y, h.named("h")

    for given in ({}, {"force_mask": mask}):
        as_unrolled(Named(), array(5, 2, 3), force={"h": ys}, **given)


# -- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_in_the_data_goes_where_it_goes_in_unroll(value):
    xs = array(5, 2, 3)
    xs[2, 1, 0] = value
    with np.errstate(all="ignore"):
        for kind in (Coupled, Hidden, Attending):
            as_unrolled(kind(), xs, order=1)


class Counter(nn.Cell):
    """A state of integers beside one of numbers: how often x was positive."""

    def initial_state(self, batch_size, dtype=None):
        return tr.tensor(np.zeros((batch_size, 3))), tr.tensor(np.zeros((batch_size, 3), np.int64))

    def step(self, x, state):
        h, n = state
        n = n + (x > 0).astype(np.int64)
        h = 0.5 * h + x * n
        return (h, n), (h, n)


def test_slots_of_integers():
    xs = array(5, 2, 3)
    outputs, (_, n) = nn.Recurrent(Counter())(xs)
    assert n.dtype == np.int64 and outputs[1].dtype == np.int64
    np.testing.assert_array_equal(outputs[1].numpy(), np.cumsum(xs > 0, axis=0))
    inputs = tr.tensor(xs, requires_grad=True)
    gradients = [
        tr.grad((nn.Recurrent(Counter(), mode=mode)(inputs)[0][0] ** 2).sum(), [inputs])[0].numpy()
        for mode in ("unroll", "scan")
    ]
    agree({"g": gradients[0]}, {"g": gradients[1]})


class LookingUp(nn.Cell):
    def __init__(self, dtype):
        super().__init__()
        self.E = nn.Parameter(array(4, 3), dtype=dtype)
        self.state_shape = (3,)

    def step(self, x, h):
        h = tr.tanh(0.5 * h + tr.take(self.E, x, axis=0))
        return h, h


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_for_inputs(dtype):
    codes = np.random.default_rng(0).integers(0, 4, (6, 2))
    found = []
    for mode in ("unroll", "scan"):
        cell = LookingUp(dtype)
        outputs, h = nn.Recurrent(cell, mode=mode)(codes)
        found.append({"y": outputs.numpy(), "h": h.numpy(), "g": tr.grad((outputs**2).sum(), [cell.E])[0].numpy()})
    agree(*found)
    assert found[1]["g"].dtype == dtype


@pytest.mark.parametrize("data", ["float32", "float64"])
@pytest.mark.parametrize("own", ["float32", "float64"])
@pytest.mark.parametrize("start", [None, "float32", "float64"])
def test_dtypes_are_as_in_unroll(data, own, start):
    cell = nn.LSTMCell(3, 2, dtype=own)
    state = None if start is None else (array(2, 2, dtype=start), array(2, 2, dtype=start))
    as_unrolled(cell, array(4, 2, 3, dtype=data), state, order=2)


class Widening(nn.Cell):
    """A cell with a float32 state whose next value is float64."""

    def initial_state(self, batch_size, dtype=None):
        return tr.tensor(np.zeros((batch_size, 3), "float32"))

    def step(self, x, h):
        return h, tr.tanh(h + x.astype(np.float64))


def test_a_state_that_grows_wider_ends_as_in_unroll():
    ends = [nn.Recurrent(Widening(), mode=mode)(array(3, 1, 3, dtype="float32")) for mode in ("unroll", "scan")]
    agree({"h": ends[0][1].numpy()}, {"h": ends[1][1].numpy()})


# -- the rest of the library ---------------------------------------------------------------


def test_debugging_names_the_step():
    class Bad(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            h = tr.log(x) + h
            return h, h

    xs = np.ones((4, 1, 2))
    xs[2] = -1
    with np.errstate(all="ignore"), tr.debug(), pytest.raises(NonFiniteError, match="t=3"):
        nn.Recurrent(Bad())(xs)


def test_without_recording_nothing_is_recorded_and_the_numbers_are_the_same():
    model, xs = nn.Recurrent(Coupled()), array(5, 2, 3)
    outputs, _ = model(xs)
    with tr.no_grad():
        again, _ = model(xs)
    np.testing.assert_array_equal(outputs.numpy(), again.numpy())
    assert not again.node.inputs


def test_no_steps():
    for kind in UNSEEN:
        outputs, final = nn.Recurrent(kind())(np.zeros((0, 2, 3)))
        assert outputs.shape[0] == 0 and all(not end.numpy().any() for end in flatten(final))


def test_rewrites_that_do_not_exist_are_told():
    with pytest.raises(ValueError, match="no rewrite 'nonsense'"), without("nonsense"):
        pass


def test_a_direction_that_is_changed_is_taken():
    xs = np.random.default_rng(0).normal(size=(5, 3, 2))
    run = nn.Recurrent(nn.GRUCell(2, 3, dtype=float))
    forwards = run(xs)[0].data
    run.reverse = True
    np.testing.assert_array_equal(run(xs)[0].data, nn.Recurrent(run.cell, reverse=True)(xs)[0].data)
    run.reverse = False
    np.testing.assert_array_equal(run(xs)[0].data, forwards)


@pytest.mark.parametrize("lengths", [None, "some"])
@pytest.mark.parametrize(
    ("T", "batch", "inputs", "hidden"), [(0, 2, 3, 2), (3, 0, 3, 2), (3, 2, 0, 2), (2, 0, 0, 2), (1, 0, 0, 1)]
)
def test_axes_of_length_zero_are_as_good_as_any(T, batch, inputs, hidden, lengths):
    cell = nn.LSTMCell(inputs, hidden)
    xs = np.ones((T, batch, inputs), "float32")
    options = {} if lengths is None else {"lengths": np.arange(batch) % (T + 1)}
    found = []
    for mode in ("scan", "unroll"):
        outputs, state = nn.Recurrent(cell, mode=mode)(xs, **options)
        found.append([outputs, *state, *tr.grad(outputs.sum() + sum(part.sum() for part in state), list(cell.parameters()))])
    for scanned, unrolled in zip(*found, strict=True):
        assert scanned.shape == unrolled.shape
        np.testing.assert_allclose(scanned.numpy(), unrolled.numpy(), rtol=1e-6, atol=1e-7)
