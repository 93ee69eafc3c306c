"""Operations at one step: the statements of facts and leading axes are compared with kernels, which drawing never runs."""

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.graph.node import Node, leaf
from tinygrad_rnn.ops.core import registry
from tinygrad_rnn.testing import random_cases
from tinygrad_rnn.views.time_axis import Way, at_one_step, element, moved, moves_only, rearranges

PRIMITIVES = sorted(name for name, p in registry.items() if p.__module__.startswith("tinygrad_rnn."))


def node_of(primitive, inputs, attributes):
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*inputs, **attributes))
    return Node(primitive, tuple(map(leaf, inputs)), attributes, value)


def at_step(node, found, t):
    """The result of the operation at step t."""
    inputs = []
    for i, way, axis in zip(node.inputs, found.ways, found.axes, strict=True):
        if way is not Way.DROPPED:
            inputs.append(i.value if way is Way.WHOLE else element(i.value, 0 if way is Way.FIRST else t, axis))
    with np.errstate(all="ignore"):
        return np.asarray(node.primitive.kernel(*inputs, **found.attributes))


def hold(node, axes, axis):
    """Whether the time axis is declared to pass through; if so, assert that it does."""
    found = at_one_step(node, axes, axis)
    for t in range(node.shape[axis]) if found else ():
        np.testing.assert_allclose(at_step(node, found, t), element(node.value, t, axis), rtol=1e-9, atol=1e-9)
    return found is not None


@pytest.mark.parametrize("name", PRIMITIVES)
def test_what_passes_by_facts_passes_by_numbers(name):
    """In random cases, all ways to treat axes of one length as time; some of them pass."""
    primitive = registry[name]
    passed = 0
    for case in random_cases(primitive, 30):
        node = node_of(primitive, case.inputs, case.attributes)
        choices = [(None, *range(-x.ndim, 0)) for x in case.inputs]
        for axis in range(-node.value.ndim, 0):
            for chosen in itertools.islice(itertools.product(*choices), 60):
                axes = {i: a for i, a in zip(node.inputs, chosen, strict=True) if a is not None}
                if axes and all(i.shape[a] == node.shape[axis] > 0 for i, a in axes.items()):
                    passed += hold(node, axes, axis)
    assert passed or name in ("scatter", "einsum")  # their attributes have another form at one step


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_further_leading_axis_is_found_again(name):
    primitive = registry[name]
    tried = found = 0
    for case in random_cases(primitive, 20):
        rank = max(x.ndim for x in case.inputs)
        inputs = case.inputs
        if primitive.domain.shapes is None:
            inputs = tuple(x.reshape((1,) * (rank - x.ndim) + x.shape) for x in inputs)
        stacked = [np.stack([np.roll(x.ravel(), t).reshape(x.shape) for t in range(3)]) for x in inputs]
        leading = primitive.leading
        attributes = case.attributes if leading is None else leading(case.attributes, [x.shape for x in stacked])
        if attributes is not NotImplemented:
            node = node_of(primitive, stacked, attributes)
            tried += 1
            found += hold(node, {i: -i.value.ndim for i in node.inputs}, -node.value.ndim)
    assert tried and (found == tried or name in ("scatter", "einsum"))


x = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("make", "axis", "to"),
    [
        (lambda x: x @ tr.tensor(np.ones((4, 2))), -2, -2),
        (lambda x: tr.log_softmax(x), -2, -2),
        (lambda x: x.sum(-1), -2, -1),
        (lambda x: x[:, :, 1:3], -2, -2),
        (lambda x: tr.expand_dims(x, -1), -2, -3),
        (lambda x: tr.take(x, [0, 2], axis=-1), -2, -2),
        (lambda x: tr.swapaxes(x, 0, 1), -2, -3),
        (lambda x: tr.concatenate([x, x], axis=-1), -2, -2),
        (lambda x: tr.stack([x, x], axis=-1), -2, -3),
    ],
)
def test_time_passes_where_it_is_the_second_axis(make, axis, to):
    tensor = tr.tensor(x)
    node = make(tensor).node
    assert hold(node, {i: axis for i in node.inputs if i is tensor.node}, to)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: tr.cumsum(x, 0),
        lambda x: tr.log_softmax(x, 0),
        lambda x: x[::-1],
        lambda x: x * tr.tensor(np.arange(6.0).reshape(2, 3, 1)),
        lambda x: tr.argsort(x, 0),
    ],
)
def test_time_does_not_pass_where_steps_meet(make):
    tensor = tr.tensor(x)
    node = make(tensor).node
    assert at_one_step(node, {i: -3 for i in node.inputs if i is tensor.node}, -3) is None


def test_an_operand_with_a_row_for_each_step_is_not_the_same_at_all_steps():
    """The answer is right even if the number of rows equals the number of steps, so that shapes also fit at one step."""
    square, rows = tr.tensor(np.arange(36.0).reshape(3, 3, 4)), tr.tensor(np.arange(12.0).reshape(3, 4))
    assert at_one_step((square * rows).node, {square.node: -2}, -2) is None
    assert hold((square * rows[0]).node, {square.node: -2}, -2)


def test_elements_picked_by_codes_are_picked_at_each_step():
    logits, codes = tr.tensor(x), tr.tensor([[0, 1, 2], [3, 0, 1]])
    node = tr.ops.indexing.pick(logits, codes, tr.ops.indexing.IndexArray("classes", "logits")).node
    (picked,) = node.inputs
    sequences = {logits.node: -3, **{i: -3 for i in picked.inputs[1:] if i.primitive is not None}}
    assert hold(picked, sequences, -3)
    assert Way.DROPPED in at_one_step(picked, sequences, -3).ways


def test_rearrangements_take_axes_whole():
    tensor = tr.tensor(x)
    for make in (
        lambda x: x.transpose((2, 0, 1)),
        lambda x: x.reshape((2, 12)),
        lambda x: x.reshape((6, 4)),
        lambda x: x[:, None, 1],
        lambda x: tr.broadcast_to(x, (5, 2, 3, 4)),
        lambda x: x.astype("float32"),
    ):
        node = make(tensor).node
        (read,) = node.inputs
        assert rearranges(node)
        for axis in range(-read.value.ndim, 0):
            steps = np.broadcast_to(np.arange(read.shape[axis]).reshape([-1] + [1] * (-axis - 1)), read.shape)
            seen = np.asarray(node.primitive.kernel(steps, **node.attributes))
            to = moved(node, axis)
            if to is not None:
                assert np.array_equal(
                    np.moveaxis(seen, to, -1), np.broadcast_to(np.arange(seen.shape[to]), np.moveaxis(seen, to, -1).shape)
                )
    assert moves_only(tensor.transpose((1, 0, 2)).node, -3, -2) and not moves_only(tensor.transpose((1, 2, 0)).node, -2, -3)
