"""Streams: steps computed one by one give the same results as a run over the whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from counting import calls
from hypothesis import given
from zoo import STEPS

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError, ShapeError, TinygradError
from tinygrad_rnn.testing.strategies import cells, repeatable
from tinygrad_rnn.tree import flatten, rebuild

T, B = 6, 2
generator = np.random.default_rng(0)


def equal(found: Any, expected: Any) -> None:
    for one, other in zip(flatten(found), map(np.asarray, flatten(expected)), strict=True):
        tolerance = 1e-12 if other.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(one, other, tolerance, tolerance)


def streamed(stream: nn.Stream, xs: Any, **forced: Any) -> Any:
    """The outputs of a stream over a sequence, time first."""
    made = [
        stream(
            None if xs is None else tuple(x[t] for x in xs) if isinstance(xs, tuple) else xs[t],
            **{k: v[t] for k, v in forced.items()},
        )
        for t in range(T)
    ]
    return tuple(np.stack(column) for column in zip(*made)) if isinstance(made[0], tuple) else np.stack(made)  # noqa: B905


def inputs(size: int | None) -> Any:
    return generator.integers(0, 4, (T, B)) if size is None else generator.normal(size=(T, B, size))


MODELS: dict[str, tuple[Any, int | None]] = {
    "stack": (lambda: nn.LSTM(3, 4, num_layers=2, dtype=float), 3),
    "stack of sizes": (lambda: nn.GRU(3, 4, num_layers=[2, 4], dtype=float), 3),
    "layers around": (
        lambda: nn.Sequential(nn.Linear(3, 2, dtype=float), nn.RNN(2, 4, dtype=float), tr.relu, nn.Linear(4, 2)),
        3,
    ),
    "classifier of each step": (lambda: nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5), nn.Linear(5, 4), tr.softmax), None),
    "Jordan": (lambda: nn.Jordan(3, 4, 2, dtype=float), 3),
    "two TDNNs": (
        lambda: nn.Sequential(nn.TimeDelay(3, 3, 1, dtype=float), nn.TimeDelay(3, 2, [0, 3], dilation=2, dtype=float)),
        3,
    ),
    "explicit": (lambda: nn.Recurrent(nn.GRUCell(3, 4, dtype=float), mode="unroll"), 3),
    "checkpoints": (lambda: nn.Recurrent(nn.GRUCell(3, 4, dtype=float), checkpoint=2), 3),
    "residual around a layer": (lambda: Around(), 3),
    "half precision": (lambda: nn.GRU(3, 4, dtype=np.float16), 3),
    "no layer over time": (lambda: nn.Linear(3, 2, dtype=float), 3),
}


class Around(nn.Module):
    """The same layer twice, and a sum around it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 3, dtype=float)

    def forward(self, xs: Any) -> Any:
        ys = xs + self.rnn(xs)[0]
        return ys * self.rnn(ys)[0]


@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_the_whole_run(name):
    make, size = MODELS[name]
    model, xs = make(), inputs(size)
    whole = model(xs)
    whole = whole[0] if isinstance(whole, tuple) else whole
    stream = model.stream(batch=B)
    for _ in range(2):
        if name == "half precision":
            np.testing.assert_allclose(streamed(stream, xs), whole.data, atol=1e-12)  # of float64 input
        else:
            equal(streamed(stream, xs), whole.data)
        stream.reset()


@pytest.mark.parametrize("name", STEPS)
def test_cells(name):
    cell = STEPS[name]().eval()
    for parameter in cell.parameters():
        parameter.data = generator.normal(size=parameter.shape)
    size = getattr(cell, "input_size", 3) if not name.startswith("decoder") else 0
    xs = generator.normal(size=(T, B, size)).astype("f4") if size else None
    layer = nn.Recurrent(cell)
    start = cell.initial_state(B)
    expected = layer(xs, start, steps=T)[0]
    equal(
        streamed(cell.stream(batch=B), xs),
        tuple(x.data for x in flatten(expected)) if isinstance(expected, tuple) else expected.data,
    )


@repeatable(30)
@given(cells())
def test_random_cells(drawn):
    """Cells of any kind, with several inputs, slots and outputs, forced or not, equal a run from the same initial state."""
    cell, steps = drawn.cell, 4
    xs, force = drawn.inputs(steps), {name: data[:1].repeat(steps, 0) for name, data in drawn.force.items() if len(data)}
    layer = nn.Recurrent(cell)
    start = cell.initial_state(drawn.batch_size) if drawn.state is None else drawn.state
    expected, final = layer(xs, start, steps=steps, force=force or None)
    stream = layer.stream(batch=drawn.batch_size)
    stream.state = start
    made = []
    for t in range(steps):
        x = None if xs is None else rebuild(xs, iter([part[t] for part in flatten(xs)]))
        made.append(flatten(stream(x, **{name: data[t] for name, data in force.items()})))
    for column, whole in zip(zip(*made, strict=True), flatten(expected), strict=True):
        np.testing.assert_allclose(np.stack(column), whole.data, 1e-9, 1e-9)
    for slot, whole in zip(flatten(stream.state), flatten(final), strict=True):
        np.testing.assert_allclose(slot, whole.data, 1e-9, 1e-9)


def test_batch_first_is_only_for_sequences():
    model = nn.Sequential(nn.LSTM(3, 4, batch_first=True, dtype=float), nn.Linear(4, 2, dtype=float))
    xs = inputs(3)
    equal(streamed(model.stream(batch=B), xs), model(xs.swapaxes(0, 1)).data.swapaxes(0, 1))


class Last(nn.Module):
    """The output of a classifier at the end of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 4, dtype=float), nn.Linear(4, 2, dtype=float)

    def forward(self, xs: Any) -> Any:
        return self.out(self.rnn(xs)[1].h[-1])


def test_a_classifier_says_what_it_thinks_so_far():
    model, xs = Last(), inputs(3)
    found = streamed(model.stream(batch=B), xs)
    for t in range(T):
        equal(found[t], model(xs[: t + 1]).data)


def test_narx_in_open_and_in_closed_loop():
    narx = nn.NARX(1, 2, input_delays=2, feedback_delays=[1, 3], hidden_size=4, dtype=float)
    xs, ys = inputs(1), inputs(2)
    history = narx.history(inputs(1)[:3], inputs(2)[:3])
    stream = narx.stream(batch=B)
    stream.state = history
    equal(streamed(stream, xs), narx.free_run(xs, history).data)
    stream.state = history
    equal(streamed(stream, xs, y=ys), narx.one_step(xs, history, ys).data)
    stream.state = history
    mixed, state = narx(xs[:3], history, ys[:3], force_mask=[True, False, False])
    equal(np.stack([stream(xs[0], y=ys[0]), stream(xs[1]), stream(xs[2])]), mixed.data)
    equal(stream.state, rebuild(state, iter([slot.data for slot in state])))


def test_ar_and_jordan_read_what_was_measured():
    ar, ys = nn.AR(3, dtype=float), inputs(1)
    history = ar.history(inputs(1))
    stream = ar.stream(batch=B)
    stream.state = history
    equal(streamed(stream, None, y=ys), ar.one_step(ys, history).data)
    stream.state = history
    equal(streamed(stream, None), ar.forecast(history, T).data)
    jordan, xs, os = nn.Jordan(3, 4, 2, dtype=float), inputs(3), inputs(2)
    equal(streamed(jordan.stream(batch=B), xs, o=os), jordan(xs, force={"o": os})[0].data)


def test_decoders():
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, context_size=2, at="both")
    context, ys = generator.normal(size=(B, 2)).astype("f4"), inputs(None)
    stream = decoder.stream(batch=B, context=context)
    equal(streamed(stream, ys), decoder(ys, context).data)
    cell = nn.DecoderCell(nn.Embedding(4, 3), nn.LSTMCell(3, 5), nn.Linear(5, 4), start=0, temperature=1.0)
    writer = cell.stream(batch=3)
    tr.seed(3)
    found = [writer() for _ in range(T)]
    tr.seed(3)
    equal(np.stack(found), nn.Recurrent(cell)(None, cell.initial_state(3), steps=T)[0].data)
    assert writer.state.y.shape == (3,)
    tr.seed(None)


def test_state_copy_and_reset():
    model, xs = nn.Sequential(nn.LSTM(3, 4, dtype=float), nn.GRU(4, 2, dtype=float)), inputs(3)
    stream = model.stream(batch=B)
    assert stream.state is None
    first = streamed(stream, xs)
    lstm, gru = stream.state
    assert lstm.h.shape == (B, 4) and gru.shape == (B, 2)
    twin = stream.copy()
    ahead = streamed(twin, xs)
    equal(streamed(stream, xs), ahead)
    stream.state = lstm, gru
    equal(streamed(stream, xs), ahead)
    stream.reset()
    equal(streamed(stream, xs), first)
    before = stream.state[1].copy()
    stream.state[1][:] = 0.0  # a copy
    equal(stream.state[1], before)
    with pytest.raises(ShapeError, match="the state has shapes"):
        stream.state = gru


def test_new_weights_are_used():
    model, xs = nn.GRU(3, 4, dtype=float), inputs(3)
    stream = model.stream(batch=B)
    streamed(stream, xs)
    for parameter in model.parameters():
        parameter.data = parameter.data * 0.5
    stream.reset()
    equal(streamed(stream, xs), model(xs)[0].data)


def test_inputs_of_several_kinds():
    model, xs = nn.GRU(3, 4), inputs(3).astype("f4")
    stream = model.stream(batch=B)
    expected = model(xs)[0].data
    equal(
        [stream(xs[0]), stream(xs[1].tolist()), stream(tr.tensor(xs[2])), stream(xs[3].astype("f8"))], expected[:4].astype("f4")
    )


def test_a_stream_goes_on_in_another_process(tmp_path):
    for model in (nn.Sequential(nn.LSTM(3, 4, dtype=float), nn.Linear(4, 2, dtype=float)), nn.GRUCell(3, 4, dtype=float)):
        stream, xs = model.stream(batch=B), inputs(3)
        streamed(stream, xs)
        stream.save(tmp_path / "s.safetensors")
        again, read = tr.load(tmp_path / "s.safetensors", "stream", "model")
        assert again.module is read and again.batch == B
        equal(streamed(again, xs), streamed(stream, xs))
    with pytest.raises(DataError):
        stream.save(tmp_path / "no" / "folder")


# -- refused arguments ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [nn.LSTM(3, 4, bidirectional=True), nn.Sequential(nn.Recurrent(nn.GRUCell(3, 4), reverse=True))],
    ids=["both directions", "reverse"],
)
def test_layers_from_the_end_are_refused(model):
    with pytest.raises(TinygradError, match="reads the sequence from its end, which a stream does not have yet"):
        model.stream()


class Outside(nn.Module):
    def __init__(self, f: Any) -> None:
        super().__init__()
        self.rnn, self.f = nn.GRU(3, 4), f

    def forward(self, xs: Any) -> Any:
        return self.f(self.rnn(xs)[0])


@pytest.mark.parametrize(
    "f",
    [
        lambda ys: ys.mean(axis=0),
        lambda ys: ys - ys.mean(axis=0),
        lambda ys: ys[::-1],
        lambda ys: ys[::2],
        lambda ys: tr.cumsum(ys, axis=0),
        lambda ys: tr.softmax(ys, axis=0),
        lambda ys: tr.concatenate([ys[:1], ys], axis=0),
        lambda ys: ys[0],
    ],
)
def test_computing_across_steps_is_refused(f):
    with pytest.raises(TinygradError, match=r"cannot be run step by step|one step has the output"):
        Outside(f).stream()(np.ones((1, 3), "f4"))


def test_an_encoder_before_a_decoder_is_refused():
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0)
    with pytest.raises(TinygradError):
        nn.Seq2Seq(nn.GRU(2, 5), decoder).stream(ys=[[1]])(np.ones((1, 2), "f4"))


def test_wrong_inputs():
    stream = nn.GRU(3, 4).stream(batch=2)
    for x, words in (
        (np.ones(3), "this stream has a batch of 2"),
        (np.ones((1, 3)), "a batch of 2"),
        (np.ones((2, 4)), "with 3 features"),
    ):
        with pytest.raises(ShapeError, match=words):
            stream(x)
    with pytest.raises(ShapeError, match=r"there is no slot 'o'; there is 'h'"):
        stream(np.ones((2, 3)), o=np.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"force\['h'\] has shape"):
        stream(np.ones((2, 3)), h=np.ones((2, 5)))
    assert stream(np.ones((2, 3), "f4")).shape == (2, 4)
    with pytest.raises(ValueError, match="batch must be a whole number"):
        nn.GRU(3, 4).stream(batch=0)


def test_a_step_takes_few_calls():
    """A step of a GRU makes about twenty calls of NumPy, and few calls of Python functions."""
    stream, x = nn.GRU(3, 16).stream(), np.ones((1, 3), "f4")
    stream(x)
    assert calls(lambda: stream(x)) < 40
