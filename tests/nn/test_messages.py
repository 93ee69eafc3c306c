"""Common wrong calls, and their error messages, word for word."""

import contextlib
import math

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
        "cross_entropy: targets that are classes must be integers, not float32; give targets.astype(int)",
    ),
    (
        lambda: nn.cross_entropy(ROWS[None], NUMBERS[None].astype("float64"), lengths=[1] * 7),
        "cross_entropy: targets that are classes must be integers, not float64; give targets.astype(int)",
    ),
    (
        lambda: nn.cross_entropy(ROWS, ROWS[:, :2]),
        "cross_entropy: targets that are probabilities must have the shape of the logits, (7, 3), not (7, 2)",
    ),
    # one axis where a layer needs more
    (
        lambda: nn.Recurrent(CELL)(NUMBERS),
        "Recurrent: an input sequence must have shape (time, batch, features), not (7,); "
        "to run a single sequence, add axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(ROWS),
        "Recurrent: an input sequence must have shape (time, batch, features), not (7, 3); "
        "to run a single sequence, add a batch axis: xs[:, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(CODES),
        "Recurrent: an input sequence must have shape (time, batch) of codes, not (3,); "
        "to run a single sequence, add a batch axis: xs[:, None]",
    ),
    (
        lambda: nn.Recurrent(CELL)(1.0),
        "Recurrent: an input sequence must have shape (time, batch, features), and here is a single number",
    ),
    (
        lambda: nn.AR(2)(NUMBERS),
        "AR: an input sequence must have shape (time, batch, features), not (7,); "
        "to run a single sequence, add axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.TimeDelay(1, 2, 3)(NUMBERS),
        "TimeDelay: an input sequence must have shape (time, batch, features), not (7,); "
        "to run a single sequence, add axes of batch and features: xs[:, None, None]",
    ),
    (
        lambda: nn.Jordan(3, 4, 2)(ROWS),
        "Jordan: an input sequence must have shape (time, batch, features), not (7, 3); "
        "to run a single sequence, add a batch axis: xs[:, None]",
    ),
    (lambda: nn.Linear(3, 2)(NUMBERS), "Linear: x has shape (7,), but must have 3 features along its last axis"),
    (
        lambda: nn.Linear(1, 2)(NUMBERS),
        "Linear: x has shape (7,), but must have 1 feature along its last axis; give a single feature an axis of its own: "
        "x[..., None]",
    ),
    (
        lambda: nn.RNN(3, 4)(NUMBERS),
        "RNN: the input has shape (7,), but must be (time, batch, features), "
        "or (time, features) for a single sequence, with 3 features",
    ),
    # what a drawing is asked for
    (lambda: nn.RNN(3, 4).draw(loss="mse"), "loss must be a function of output and target, such as nn.mse, not 'mse'"),
    (lambda: nn.Sequential(nn.RNN(3, 4)).draw(loss=3), "loss must be a function of output and target, such as nn.mse, not 3"),
    (lambda: nn.RNN(3, 4).draw(force=["q"]), "force: there is no slot 'q'; there are 'h', 'h_l0'"),
    (lambda: nn.RNN(3, 4).draw(force="state"), "force: there is no slot 'state'; there are 'h', 'h_l0'"),
    (lambda: nn.Recurrent(nn.LSTMCell(3, 4)).draw(force=["q", "h"]), "force: there is no slot 'q'; there are 'h', 'c'"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_a_wrong_call_is_told(call, message):
    with pytest.raises(TinygradError) as caught:
        call()
    assert str(caught.value) == message


def test_a_loss_that_fits_no_target_is_not_told_as_a_missing_input():
    with pytest.raises(TinygradError, match=r"the loss fails for all targets that were tried"):
        nn.RNN(3, 4).draw(loss=lambda o, y: nn.mse(o, y[0, 0, 0, 0]))


def test_an_input_that_is_not_found_still_is():
    class Odd(nn.Module):
        def forward(self, x):
            return x @ tr.tensor(np.ones((17, 2)))

    with pytest.raises(TinygradError, match=r"^Odd: matmul: .*\(the inputs that were tried do not fit Odd; give an example"):
        Odd().draw()


# -- a cell by hand ------------------------------------------------------------------------


def cell(step, **attributes):
    return type("Mine", (nn.Cell,), {"state_shape": (2,), "step": step, **attributes})()


KEEPING: list = []


def kept(self, x, h):
    KEEPING[:] = [h]
    return h, h


MISTAKES = {
    "no state": (lambda self, x: x, r"step\(self, x\) must take an input and a state: write step\(self, x, state\)"),
    "two states": (lambda self, x, h, c: (h, (h, c)), r"step\(self, x, h, c\) must take .* several slots is one tuple"),
    "no self": (lambda x, h: (h, h), r"step\(x, h\) must take an input and a state"),
    "three results": (lambda self, x, h: (h, h, h), "must return a tuple of two, .* returned a tuple of 3"),
    "one result": (lambda self, x, h: h, "must return a tuple of two, .* returned a Tensor"),
    "max": (lambda self, x, h: (max(h, 0), h), "no single truth value: .*tr.maximum and tr.minimum instead of max"),
    "and": (lambda self, x, h: (h > 0 and h, h), r"no single truth value: .*& and \| instead of and"),
    "math": (lambda self, x, h: (math.tanh(h), h), "a function of math takes one number"),
    "W x": (
        lambda self, x, h: (np.ones((2, 2)) @ (x @ np.ones((3, 4))).T, h),
        r"\(2, 2\) @ \(4, 5\) do not fit: .* different lengths \(",
    ),
    "swapped": (lambda self, x, h: (np.ones((3, 4)) @ x, h), r"\(3, 4\) @ \(5, 3\) .*; in the other order, b @ a, they fit"),
    "transposed": (
        lambda self, x, h: (x @ np.ones((4, 3)), h),
        r"\(5, 3\) @ \(4, 3\) .*; with b transposed, a @ b.T, they fit",
    ),
    "a vector": (
        lambda self, x, h: (x @ np.ones(4), h),
        r"\(5, 3\) @ \(4,\) do not fit: the axes to sum over have lengths 3 and 4",
    ),
    "not a list": (lambda self, x, h: (tr.concatenate(x, h), h), r"as one list, tr.concatenate\(\[a, b\]\)"),
    "axis": (lambda self, x, h: (tr.concatenate([x, h]), h), "joined along axis -1"),
    "name": (lambda self, x, h: (h.named(3), h), 'a name must be a string, such as "h", not 3'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_step_is_told_with_its_mending(mistake):
    step, words = MISTAKES[mistake]
    with pytest.raises((TinygradError, TypeError), match=words):
        nn.Recurrent(cell(step))(np.ones((4, 5, 3)))


def test_an_error_within_a_step_is_not_taken_for_one_of_its_arguments():
    with pytest.raises(TypeError, match=r"^sqrt\(\) takes|exactly one argument"):
        nn.Recurrent(cell(lambda self, x, h: (math.sqrt(), h)))(np.ones((4, 5, 3)))


def test_a_value_that_a_step_kept_is_told_as_that():
    with contextlib.suppress(TinygradError):
        nn.Recurrent(cell(kept))(np.ones((4, 5, 3)))
    with pytest.raises(TinygradError, match=r"has no value: a cell's step kept it .* or read it by states\(xs\)"):
        KEEPING[0] * 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nn.Sequential([nn.Linear(3, 2)]), r"layer 0 of Sequential must be .*.*nn.Sequential\(\*layers\)"),
        (lambda: nn.Recurrent(nn.RNNCell), r"not the class RNNCell: call it, RNNCell\("),
        (lambda: nn.Recurrent(nn.RNN(3, 4)), "not RNN, which takes whole sequences"),
        (lambda: nn.Parameter(3, 5), r"a shape is one tuple"),
        (lambda: tr.tensor([[1, 2], [3]]), "sequences.pad"),
        (lambda: nn.RNN(3, 4)(None), "a tensor cannot hold values of type NoneType"),
        (lambda: nn.RNN(3, 4).draw(time="unrolled", steps="4"), "steps must be a whole number, at least 0, not '4'"),
        (
            lambda: nn.Recurrent(cell(lambda self, x, h: h)).draw(),
            r"^Recurrent: Mine.step at t=1 must return .* a Tensor \(the inputs that were tried",
        ),
    ],
)
def test_what_is_given_in_the_wrong_form_is_told_with_the_right_one(call, words):
    with pytest.raises((TinygradError, TypeError, ValueError), match=words):
        call()
