"""Checks of the arguments of `Recurrent`, and of the values that a step returns."""

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError, TinygradError


def test_a_sequence_without_a_batch_axis_is_refused_with_the_fix():
    with pytest.raises(ShapeError, match=r"xs\[:, None\]"):
        nn.Recurrent(nn.RNNCell(3, 5))(np.zeros((7, 3), "float32"))
    with pytest.raises(ShapeError, match=r"h.*\(4, 5\).*\(1, 5\)"):
        nn.Recurrent(nn.RNNCell(3, 5))(np.zeros((7, 1, 3), "float32"), tr.tensor(np.zeros((4, 5))))


class OneSlot(nn.Cell):
    state_shape = 2

    def __init__(self, result):
        super().__init__()
        self.result = result

    def step(self, x, h):
        return self.result(x, h)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x, h: h, r"\(output, next state\)"),
        (lambda x, h: None, r"\(output, next state\)"),
        (lambda x, h: (None, h), "output"),
        (lambda x, h: ({"y": h}, h), "output"),
        (lambda x, h: (h, [h]), "tuple"),
        (lambda x, h: (h, (h, h)), "state of 2 tensors"),
        (lambda x, h: (h, h[:, :1]), r"\(1, 2\).*\(1, 1\)"),
    ],
)
def test_what_a_step_returns_is_checked(result, message):
    with pytest.raises(ShapeError, match=message) as caught:
        nn.Recurrent(OneSlot(result))(np.zeros((3, 1, 2)))
    assert "OneSlot" in str(caught.value)


def test_a_state_shape_may_be_a_number_and_outputs_may_be_arrays():
    outputs, _ = nn.Recurrent(OneSlot(lambda x, h: (np.ones((1, 2)), h)))(np.zeros((3, 1, 2)))
    assert outputs.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("state", "message"),
    [(np.zeros((1, 3)), r"\(1, 3\).*\(1, 2\)"), ((np.zeros((1, 2)),) * 2, r"\(\(1, 2\), \(1, 2\)\), but .* need \(1, 2\)")],
)
def test_a_state_that_is_not_the_cells(state, message):
    with pytest.raises(ShapeError, match=message):
        nn.Recurrent(OneSlot(lambda x, h: (h, h)))(np.zeros((3, 1, 2)), state)


def test_state_and_forced_data_take_the_dtype_of_the_network():
    model = nn.Recurrent(nn.RNNCell(2, 3))
    xs = np.zeros((3, 1, 2), "float32")
    outputs, h = model(xs, np.zeros((1, 3)), force={"h": np.zeros((3, 1, 3))})
    assert outputs.dtype == h.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"force": {"h": np.zeros((3, 1, 2))}, "force_mask": np.ones(3)}, "booleans"),
        ({"force": {"h": np.zeros((3, 1, 2))}, "force_mask": np.ones((3, 5), bool)}, r"\(3, 5\)"),
    ],
)
def test_masks_of_forcing(options, message):
    def step(x, h):
        h = (h + x).named("h")
        return h, h

    with pytest.raises(TinygradError, match=message):
        nn.Recurrent(OneSlot(step))(np.zeros((3, 1, 2)), **options)


def test_a_negative_number_of_steps():
    with pytest.raises(ShapeError, match="-1"):
        nn.Recurrent(OneSlot(lambda x, h: (h, h)))(None, steps=-1)
