"""Modules, layers and the unrolled recurrence."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError, DtypeError, ShapeError, StateDictError, TinygradError, TraceError
from tinygrad_rnn.graph import ancestors
from tinygrad_rnn.nn.module_trace import trace_step
from tinygrad_rnn.testing import GradientCheckError, check_cell

sizes = st.integers(1, 4)


def numpy_rnn(cell, xs, h, f=np.tanh):
    U, W, b, c = (p.data for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh))
    hs = []
    for x in xs:
        h = f(U @ x.T + b[:, None] + W @ h.T + c[:, None]).T
        hs.append(h)
    return np.array(hs), h


@given(st.integers(1, 6), sizes, sizes, sizes, st.sampled_from(["tanh", "relu", "sigmoid"]))
def test_recurrent_is_the_textbooks_recursion(T, B, I, H, nonlinearity):
    cell = nn.RNNCell(I, H, nonlinearity=nonlinearity, dtype="float64")
    rng = np.random.default_rng(T)
    xs, h0 = rng.normal(size=(T, B, I)), rng.normal(size=(B, H))
    f = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": lambda a: 1 / (1 + np.exp(-a))}[nonlinearity]
    outputs, h = nn.Recurrent(cell)(xs, tr.tensor(h0))
    expected, last = numpy_rnn(cell, xs, h0, f)
    np.testing.assert_allclose(outputs.data, expected, atol=1e-12)
    np.testing.assert_allclose(h.data, last, atol=1e-12)


def test_bptt_by_hand_gives_the_same_gradient():
    """∂L/∂W = Σ_t Σ_k δ(t,k) h_{k-1}ᵀ, as in textbooks, for L = Σ_t Σ h_t²/2."""
    T, B, I, H = 5, 1, 3, 4
    cell = nn.RNNCell(I, H, dtype="float64")
    xs = np.random.default_rng(0).normal(size=(T, B, I))
    outputs, _ = nn.Recurrent(cell)(xs)
    (outputs * outputs / 2).sum().backward()
    hs, _ = numpy_rnn(cell, xs, np.zeros((B, H)))
    h = [np.zeros(H), *hs[:, 0]]
    W = cell.weight_hh.data
    dW = np.zeros((H, H))
    for t in range(1, T + 1):
        delta = h[t] * (1 - h[t] ** 2)  # δ(t,t) = ∂L_t/∂a_t
        for k in range(t, 0, -1):
            dW += np.outer(delta, h[k - 1])
            delta = (W.T @ delta) * (1 - h[k - 1] ** 2)  # δ(t,k-1)
    np.testing.assert_allclose(cell.weight_hh.grad.data, dW, atol=1e-12)


@given(sizes, sizes)
def test_no_steps_give_no_outputs_and_the_initial_state(B, H):
    outputs, h = nn.Recurrent(nn.RNNCell(3, H))(np.zeros((0, B, 3), "float32"))
    assert outputs.shape == (0, B, H) and h.shape == (B, H)


def test_an_empty_batch_works():
    outputs, _ = nn.Recurrent(nn.RNNCell(3, 2))(np.zeros((4, 0, 3), "float32"))
    assert outputs.shape == (4, 0, 2)
    outputs.sum().backward()


def test_reverse_runs_from_the_end_and_keeps_places():
    cell = nn.RNNCell(2, 3)
    xs = np.random.default_rng(0).normal(size=(5, 1, 2)).astype("float32")
    forward, last = nn.Recurrent(cell)(xs[::-1])
    backward, first = nn.Recurrent(cell, reverse=True)(xs)
    np.testing.assert_array_equal(backward.data, forward.data[::-1])
    np.testing.assert_array_equal(first.data, last.data)


class HC(NamedTuple):
    h: object
    c: object


class TwoSlots(nn.Cell):
    """Nested input, output and state: each keeps its structure."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(np.eye(2), dtype="float64")
        self.state_shape = HC((2,), ((2,), (2,)))

    def step(self, x, state):
        a, b = x
        h, (c, d) = state
        h = h @ self.W + a
        return (h, (a, b)), HC(h, (c + b, d - b))


def test_nested_structures():
    xs = np.arange(12.0).reshape(3, 2, 2)
    (h, (_, b)), state = nn.Recurrent(TwoSlots())((xs, 2 * xs))
    assert isinstance(state, HC)
    np.testing.assert_array_equal(h.data, np.cumsum(xs, axis=0))
    np.testing.assert_array_equal(b.data, 2 * xs)
    np.testing.assert_array_equal(state.c[0].data, 2 * xs.sum(axis=0))
    np.testing.assert_array_equal(state.c[1].data, -2 * xs.sum(axis=0))


class Oscillator(nn.Cell):
    """A dynamical system without an input: s_t = R s_{t-1}."""

    def __init__(self):
        super().__init__()
        self.R = nn.Parameter(np.array([[0.0, 1.0], [-1.0, 0.0]]))

    def initial_state(self, batch_size, dtype=None):
        return tr.tensor(np.tile([1.0, 0.0], (batch_size, 1)))

    def step(self, x, s):
        assert x is None
        s = (s @ self.R).named("s")
        return s, s


def test_a_cell_without_an_input():
    outputs, _ = nn.Recurrent(Oscillator())(None, steps=4)
    np.testing.assert_array_equal(outputs.data[:, 0], [[0, 1], [-1, 0], [0, -1], [1, 0]])


class Jordan(nn.Cell):
    """A cell that only feeds its output back."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(np.array([[0.5]]))
        self.state_shape = (1,)

    def step(self, x, y):
        y = (x + y @ self.W).named("y")
        return y, y


def test_forcing_replaces_what_a_slot_carries_on():
    xs, ys = np.ones((4, 1, 1)), np.arange(4.0).reshape(4, 1, 1)
    free, _ = nn.Recurrent(Jordan())(xs)
    np.testing.assert_allclose(free.data.ravel(), [1, 1.5, 1.75, 1.875])
    forced, last = nn.Recurrent(Jordan())(xs, force={"y": ys})
    np.testing.assert_allclose(forced.data.ravel(), [1, 1, 1.5, 2])
    np.testing.assert_allclose(last.data, [[3.0]])
    masked, _ = nn.Recurrent(Jordan())(xs, force={"y": ys}, force_mask=np.array([True, False, False, False]))
    np.testing.assert_allclose(masked.data.ravel(), [1, 1, 1.5, 1.75])


def recurrent(folded):
    """Whether a delayed value depends on a delayed value."""
    delayed = {delay.node for delay in folded.delays}
    return any(delayed & set(ancestors([delay.source])) for delay in folded.delays)


def test_under_teacher_forcing_no_step_depends_on_another():
    xs, ys = tr.tensor(np.ones((4, 1, 1))), np.zeros((4, 1, 1))
    forced, _ = nn.Recurrent(Jordan())(xs, force={"y": ys})
    assert not recurrent(tr.graph(forced).fold())
    free, _ = nn.Recurrent(Jordan())(xs)
    assert recurrent(tr.graph(free).fold())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m(np.zeros((3, 1, 1)), force={"z": np.zeros((3, 1, 1))}), "no slot 'z'; there is 'y'"),
        (lambda m: m(np.zeros((3, 1, 1)), force={"y": np.zeros((2, 1, 1))}), "3 steps"),
        (
            lambda m: m(np.zeros((3, 1, 1)), force={"y": np.zeros((3, 2, 1))}),
            r"force\['y'\] has shape \(3, 2, 1\), but .* need \(3, 1, 1\)",
        ),
        (lambda m: m(np.zeros((3, 1, 1)), force_mask=np.ones(3, bool)), "force"),
        (lambda m: m(np.zeros((3, 1, 5))), "Jordan.step at t=1 got state y of shape"),
        (lambda m: m(np.zeros(3)), "time, batch, features"),
        (lambda m: m(None), r"\(None, steps=10\), not None"),
        (lambda m: m(np.zeros((3, 1, 1)), steps=4), "leave steps out"),
        (lambda m: m((np.zeros((3, 1, 1)), np.zeros((4, 1, 1)))), "same lengths of time and batch"),
        (lambda m: m(np.zeros((3, 1, 1)), tr.tensor(np.zeros((1, 2)))), "initial state h has shape"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ShapeError, match=message):
        call(nn.Recurrent(Jordan()))


def test_a_shape_error_names_layer_step_value_and_shapes():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(4, 3)), nn.Linear(3, 2))
    with pytest.raises(ShapeError) as caught:
        model(tr.tensor(np.zeros((5, 2, 7), "float32")).named("x"))
    message = str(caught.value)
    for part in ("RNNCell", "'0.cell'", "t=1", "x (2, 7)", "transpose(U) (4, 3)"):
        assert part in message, message


def test_a_state_of_another_structure():
    class Wrong(Jordan):
        def step(self, x, y):
            return y, (y, y)

    with pytest.raises(ShapeError, match="got a state of 1 tensor and returned a state of 2 tensors"):
        nn.Recurrent(Wrong())(np.zeros((2, 1, 1)))


def test_recurrent_refuses_what_is_no_cell_and_unknown_modes():
    with pytest.raises(TinygradError, match="needs a cell"):
        nn.Recurrent(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="mode"):
        nn.Recurrent(Jordan(), mode="fast")


def test_control_flow_on_a_symbolic_value_says_what_to_use():
    class Branching(Jordan):
        def step(self, x, y):
            return (y, y) if (x.sum() > 0) else (x, x)

    with pytest.raises(TraceError, match=r"tr\.where"):
        trace_step(Branching())


# -- layers --------------------------------------------------------------------------------


@given(st.integers(1, 5), sizes, st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_an_embedding_is_a_one_hot_product(n, d, codes):
    codes = np.array(codes) % n
    layer = nn.Embedding(n, d, dtype="float64")
    one_hot = np.eye(n)[codes]
    layer(codes).sum().backward()
    looked_up, layer.weight.grad = layer.weight.grad, None
    product = one_hot @ layer.weight
    np.testing.assert_array_equal(layer(codes).data, product.data)
    product.sum().backward()
    np.testing.assert_allclose(looked_up.data, layer.weight.grad.data)


def test_embedding_of_what_is_no_code():
    layer = nn.Embedding(3, 2)
    with pytest.raises(ShapeError, match="from 0 to 3"):
        layer([0, 3])
    with pytest.raises(DtypeError, match="float"):
        layer([0.5])


def test_dropout_keeps_the_mean_and_is_off_in_evaluation():
    tr.seed(0)
    layer = nn.Dropout(0.25)
    x = tr.tensor(np.ones(20_000, "float32"))
    y = layer(x)
    assert y.dtype == np.float32
    assert abs(float(y.mean()) - 1) < 0.02
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match="probability"):
        nn.Dropout(1.0)


def test_seed_makes_everything_repeatable():
    def run():
        tr.seed(3)
        model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
        return model(np.ones((2, 4), "float32")).data

    np.testing.assert_array_equal(run(), run())


# -- modules -------------------------------------------------------------------------------


def test_parameters_have_paths_and_are_counted_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Linear(2, 1), shared)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert len(model.parameters()) == 4


def test_a_module_without_super_init_is_told_so():
    class Forgot(nn.Module):
        def __init__(self):
            self.W = nn.Parameter((2, 2))

    with pytest.raises(TinygradError, match=r"super\(\).__init__"):
        Forgot()


def test_state_dict_round_trip_through_a_file(tmp_path):
    first, second = (nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1)) for _ in range(2))
    first.save(tmp_path / "model.npz")
    second.load(tmp_path / "model.npz")
    xs = np.ones((4, 1, 2), "float32")
    np.testing.assert_array_equal(first(xs).data, second(xs).data)


def test_load_state_dict_is_all_or_nothing_and_names_everything():
    model = nn.Linear(2, 1)
    before = model.state_dict()
    with pytest.raises(StateDictError) as caught:
        model.load_state_dict({"weight": np.zeros((1, 3)), "unknown": np.zeros(1)})
    message = str(caught.value)
    for part in ("missing: bias", "not known: unknown", "weight is (1, 2) and the state has (1, 3)"):
        assert part in message
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_files_that_are_no_parameters(tmp_path):
    model = nn.Linear(2, 1)
    with pytest.raises(DataError, match="cannot read"):
        model.load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("not a zip file")
    with pytest.raises(DataError, match=r"not an \.npz file"):
        model.load(tmp_path / "text.npz")
    np.savez(tmp_path / "pickled.npz", weight=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"not an \.npz file"):
        model.load(tmp_path / "pickled.npz")
    with pytest.raises(DataError, match="cannot write"):
        model.save(tmp_path / "no" / "folder.npz")


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), nn.Linear(2, 2))
    model.eval()
    assert not any(m.training for _, m in model.modules())
    model.train()
    assert all(m.training for _, m in model.modules())


def test_initialisers():
    tr.seed(0)
    W = nn.init.orthogonal((5, 3))
    np.testing.assert_allclose(W.T @ W, np.eye(3), atol=1e-12)
    G = nn.init.glorot_uniform((100, 50))
    assert abs(G.var() - 2 / 150) < 0.001 and abs(G).max() <= np.sqrt(6 / 150)
    bound = 1 / np.sqrt(16)
    assert all(abs(p.data).max() <= bound for p in nn.RNNCell(4, 16).parameters())


class LooksUp(nn.Cell):
    """A cell with its own table instead of an nn.Embedding."""

    def __init__(self, rows=5):
        super().__init__()
        self.codes, self.state_shape = 5, (3,)
        self.E = nn.Parameter((rows, 3), symbol="E")

    def step(self, x, h):
        x = x if x.dtype.kind == "i" else x.sum(-1).astype(np.dtype(int))  # the cell would accept floats
        h = tr.tanh(self.E[x] + h).named("h")
        return h, h


def test_a_module_says_how_many_codes_it_takes():
    assert trace_step(LooksUp()).x.dtype == np.int64
    assert check_cell(LooksUp, examples=20).runs
    with pytest.raises(GradientCheckError, match="out of bounds"):
        check_cell(lambda: LooksUp(4), examples=20)  # all five cases are drawn
    assert nn.Embedding(4, 2).codes == 4 and nn.Linear(2, 2).codes is None


def test_a_slot_of_integers_keeps_its_values():
    class Counting(nn.Cell):
        """Two steps are enough."""

        def __init__(self):
            super().__init__()
            self.U = nn.Parameter((2, 2), symbol="U")

        def initial_state(self, batch_size, dtype=None):
            return tr.tensor(np.zeros((batch_size, 2), dtype or "float32")), tr.tensor(np.zeros(batch_size, int))

        def step(self, x, state):
            h, n = state
            h = h + tr.where((n < 2)[:, None], x @ self.U, 0.0)
            return h, (h.named("h"), (n + 1).named("n"))

    report = check_cell(Counting, examples=10, input_size=2)
    assert report.runs == 10 and report.parameters == ["U"]


def test_a_cell_without_slots():
    class Now(nn.Cell):
        def __init__(self):
            super().__init__()
            self.U = nn.Parameter((2, 2), symbol="U")

        def initial_state(self, batch_size, dtype=None):
            return ()

        def step(self, x, state):
            return tr.tanh(x @ self.U), state

    assert check_cell(Now, examples=10, input_size=2).runs == 10


def test_a_model_prints_the_equations_of_all_its_layers():
    model = nn.Sequential(nn.LSTM(3, 5, num_layers=2, bidirectional=True), nn.Linear(10, 2))
    lines = model.equations().splitlines()[1:-1]
    assert len(lines) == 4 * 6 + 1 and lines[-1].startswith("y_t &= V")  # two layers, both directions
    assert nn.Linear(2, 1).equations().splitlines()[1:-1] == ["y &= V x + c"]


def test_a_model_that_is_loaded_is_returned(tmp_path):
    nn.RNN(2, 3).save(tmp_path / "m.npz")
    assert isinstance(nn.RNN(2, 3).load(tmp_path / "m.npz"), nn.RNN)


def test_a_graph_of_outputs_and_state_is_told():
    with pytest.raises(DtypeError, match=r"tr\.graph needs tensors, not a tuple or a list"):
        tr.graph(nn.RNN(2, 3)(np.zeros((2, 1, 2), "float32")))


def test_dropout_of_integers_is_refused():
    with pytest.raises(DtypeError, match="float"):
        nn.Dropout(0.5)(tr.tensor([1, 2, 3]))


def test_options_of_a_sequential_go_to_the_layers_that_have_them():
    rng = np.random.default_rng(0)
    linear, jordan = nn.Linear(4, 3), nn.Jordan(3, 5, 2)
    xs, ys = rng.normal(size=(4, 2, 4)).astype("float32"), rng.normal(size=(4, 2, 2)).astype("float32")
    model = nn.Sequential(nn.Sequential(linear, tr.tanh), jordan)
    expected, _ = jordan(tr.tanh(linear(xs)), force={"o": ys}, lengths=[4, 2])
    np.testing.assert_array_equal(model(xs, force={"o": ys}, lengths=[4, 2]).data, expected.data)
    with pytest.raises(TypeError, match="no layer of this Sequential takes the option depth"):
        model(xs, depth=2)
