"""Wrong calls that users make, and what they are told, word for word."""

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import TinygradError

NUMBERS = np.ones(7, "float32")
ROWS = np.ones((7, 3), "float32")
CODES = np.array([0, 1, 2])
CELL = nn.RNNCell(3, 4)

MESSAGES = [
    # class targets of floats
    (
        lambda: nn.cross_entropy(ROWS, NUMBERS),
        "cross_entropy: class targets are integers, and these are float32; give targets.astype(int)",
    ),
    (
        lambda: nn.cross_entropy(ROWS[None], NUMBERS[None].astype("float64"), lengths=[1] * 7),
        "cross_entropy: class targets are integers, and these are float64; give targets.astype(int)",
    ),
    (
        lambda: nn.cross_entropy(ROWS, ROWS[:, :2]),
        "cross_entropy: probabilities (7, 2) for logits (7, 3); give both one shape",
    ),
    # one axis where a layer needs more
    (
        lambda: nn.Recurrent(CELL)(NUMBERS),
        "Recurrent: an input sequence is (time, batch, features), and this one is (7,); "
        "give a single sequence axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(ROWS),
        "Recurrent: an input sequence is (time, batch, features), and this one is (7, 3); "
        "give a single sequence a batch axis: xs[:, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(CODES),
        "Recurrent: an input sequence is (time, batch) of codes, and this one is (3,); "
        "give a single sequence a batch axis: xs[:, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(1.0),
        "Recurrent: an input sequence is (time, batch, features), and this is a single number",
    ),
    (
        lambda: nn.AR(2)(NUMBERS),
        "AR: an input sequence is (time, batch, features), and this one is (7,); "
        "give a single sequence axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.TimeDelay(1, 2, 3)(NUMBERS),
        "TimeDelay: an input sequence is (time, batch, features), and this one is (7,); "
        "give a single sequence axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.Jordan(3, 4, 2)(ROWS),
        "Jordan: an input sequence is (time, batch, features), and this one is (7, 3); "
        "give a single sequence a batch axis: xs[:, None]",
    ),
    (lambda: nn.Linear(3, 2)(NUMBERS), "Linear: the last axis of x has the 3 features, and x is (7,)"),
    (
        lambda: nn.Linear(1, 2)(NUMBERS),
        "Linear: the last axis of x has the 1 features, and x is (7,); one feature has an axis too: x[..., None]",
    ),
    (
        lambda: nn.RNN(3, 4)(NUMBERS),
        "RNN: the input has shape (7,); it is (time, batch, features), "
        "or (time, features) for a single sequence, with 3 features",
    ),
    # what a drawing is asked for
    (lambda: nn.RNN(3, 4).draw(loss="mse"), "loss is a function of output and target, such as nn.mse, and not 'mse'"),
    (lambda: nn.Sequential(nn.RNN(3, 4)).draw(loss=3), "loss is a function of output and target, such as nn.mse, and not 3"),
    (lambda: nn.RNN(3, 4).draw(force=["q"]), "force: there is no slot q to force; the slots are h, h_l0"),
    (lambda: nn.RNN(3, 4).draw(force="state"), "force: there is no slot state to force; the slots are h, h_l0"),
    (lambda: nn.Recurrent(nn.LSTMCell(3, 4)).draw(force=["q", "h"]), "force: there is no slot q to force; the slots are h, c"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_a_wrong_call_is_told(call, message):
    with pytest.raises(TinygradError) as caught:
        call()
    assert str(caught.value) == message


def test_a_loss_that_fits_no_target_is_not_told_as_a_missing_input():
    with pytest.raises(TinygradError, match=r"^loss\(output, target\) fits no target that was tried"):
        nn.RNN(3, 4).draw(loss=lambda o, y: nn.mse(o, y[0, 0, 0, 0]))


def test_an_input_that_is_not_found_still_is():
    class Odd(nn.Module):
        def forward(self, x):
            return x @ tr.tensor(np.ones((17, 2)))

    with pytest.raises(TinygradError, match=r"^no input was found that Odd takes"):
        Odd().draw()
