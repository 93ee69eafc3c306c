"""Values that a step names: the same names, values and gradients in both modes."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import GradientError, ShapeError

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(4, 3, 2))
MODES = ("scan", "unroll")


class Named(nn.Cell):
    """A cell of two slots whose step is given."""

    state_shape = ((2,), (2,))

    def __init__(self, does):
        super().__init__()
        self.does = does
        self.W = nn.Parameter(np.array([[0.5, -0.2], [0.3, 0.8]]), symbol="W", dtype=float)

    def step(self, x, state):
        return self.does(self, x, *state)


def _passed_on(cell, x, a, b):
    h = tr.tanh(a @ cell.W + x).named("h")
    return h, (h, a.named("before"))


def _named_alike(cell, x, a, b):
    h = tr.tanh(a @ cell.W + x).named("h")
    return h, (h, b.named("b"))


def _input_passed_on(cell, x, a, b):
    return (a * 1).named("o"), (x.named("now"), a)


def _only_kept(cell, x, a, b):
    h = tr.tanh(a @ cell.W + x).named("h")
    return h, (h, b)


def _behind_detach(cell, x, a, b):
    z = tr.sigmoid(x @ cell.W).named("z")
    h = tr.tanh(a + z.detach()).named("h")
    return h, (h, b)


def _detached_and_named(cell, x, a, b):
    z = tr.sigmoid(x @ cell.W).named("z").detach().named("cut")
    h = tr.tanh(a + z).named("h")
    return h.detach().named("o"), (h.detach().named("c"), b.detach().named("d"))


def _gates(cell, x, a, b):
    both = (tr.concatenate([x, b], axis=-1)).named("both")
    z = tr.sigmoid(both[:, :2] @ cell.W).named("z")
    h = (z * a + (1 - z) * x).named("h")
    return (h @ cell.W).named("o"), (h, tr.tanh(h + b).named("k"))


STEPS = (_passed_on, _named_alike, _input_passed_on, _only_kept, _behind_detach, _detached_and_named, _gates)


@pytest.mark.parametrize("does", STEPS, ids=lambda does: does.__name__[1:])
@pytest.mark.parametrize("lengths", [None, [4, 2, 0]])
@pytest.mark.parametrize("named", [False, True])
def test_both_modes_name_the_same_values(does, lengths, named):
    cell, start = Named(does), (np.ones((3, 2)), np.zeros((3, 2)))
    if named:
        start = tuple(tr.tensor(slot).named(name) for slot, name in zip(start, ("h", "start"), strict=True))
    found = []
    for mode in MODES:
        for recording in (True, False):
            layer = nn.Recurrent(cell, mode=mode)
            if recording:
                found.append(layer.states(XS, start, lengths=lengths))
            else:
                with tr.no_grad():
                    found.append(layer.states(XS, start, lengths=lengths))
            gc.collect()
    for other in found[1:]:
        assert list(other) == list(found[0])
        for name, value in other.items():
            assert np.allclose(value.data, found[0][name].data), name
            assert lengths is None or not value.data[2:, 1:].any()
    assert found[0]


@pytest.mark.parametrize("name", ["both", "z", "h", "o", "k"])
@pytest.mark.parametrize("lengths", [None, [4, 2, 1]])
def test_gradients_pass_through_what_is_recorded(name, lengths):
    """Recorded values equal those of a loop in Python whose loss depends on them; also in second order."""
    found = []
    for mode in ("loop", *MODES):
        cell = Named(_gates)
        xs, a, b = (tr.tensor(array, requires_grad=True) for array in (XS, np.ones((3, 2)), np.full((3, 2), 0.5)))
        if mode == "loop":
            values, slots = [], (a, b)
            real = np.arange(4)[:, None] < np.array(lengths or [4, 4, 4])
            for t in range(4):
                both = tr.concatenate([xs[t], slots[1]], axis=-1)
                z = tr.sigmoid(both[:, :2] @ cell.W)
                o, (h, k) = cell.step(xs[t], slots)
                values.append({"both": both, "z": z, "h": h, "o": o, "k": k}[name] * real[t][:, None])
                slots = tuple(tr.where(real[t][:, None], new, old) for new, old in zip((h, k), slots, strict=True))
            value = tr.stack(values)
        else:
            value = nn.Recurrent(cell, mode=mode).recorded(xs, (a, b), lengths=lengths, names=[name])[2][name]
        assert value.requires_grad
        wanted = [xs, a, b, cell.W]
        first = tr.grad((value**3).sum() + sum((0.0 * x).sum() for x in wanted), wanted)
        second = tr.grad(sum((g * g).sum() for g in first), wanted)
        found.append([g.data for g in (*first, *second)])
        cell.W.grad = None
        (value**3).sum().backward()
        found[-1].append(cell.W.grad.data if cell.W.grad is not None else 0 * cell.W.data)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.allclose(one, two, rtol=1e-9, atol=1e-11)
    assert np.abs(found[0][0]).max() > 0


@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_state_of_recorded_have_gradients_too(mode):
    layer = nn.Recurrent(Named(_gates), mode=mode)
    outputs, state, named = layer.recorded(XS)
    plain = layer(XS)
    for one, other in zip((outputs, *state), (plain[0], *plain[1]), strict=True):
        assert np.allclose(tr.grad((one**2).sum(), layer.cell.W).data, tr.grad((other**2).sum(), layer.cell.W).data)
    with tr.no_grad():
        outputs, state, named = layer.recorded(XS)
    assert not any(x.requires_grad for x in (outputs, *state, *named.values()))


@pytest.mark.parametrize("what", ["W", "xs", "start"])
@pytest.mark.parametrize("collected", [False, True])
def test_a_gradient_behind_a_detach_in_a_cell_is_refused_in_both_modes(what, collected):
    words = []
    for mode in MODES:
        cell = Named(_behind_detach)
        given = {"W": cell.W, "xs": tr.tensor(XS, requires_grad=True), "start": tr.tensor(np.ones((3, 2)), requires_grad=True)}
        outputs, _ = nn.Recurrent(cell, mode=mode)(given["xs"], (given["start"], np.zeros((3, 2))))
        if collected:
            gc.collect()
        if what == "start":  # on the path, not before the cut
            words.append(tr.grad(outputs.sum(), given["start"]).data.round(9).tolist())
            continue
        with pytest.raises(GradientError, match=r"the detached z \(3, 2\) in 'cell' at step t=4 cuts") as error:
            tr.grad(outputs.sum(), given[what])
        words.append(str(error.value))
    assert words[0] == words[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_force_mask_has_an_element_for_each_step_or_for_each_row_of_it(mode):
    layer, data = nn.Recurrent(Named(_gates), mode=mode), np.ones((4, 3, 2))
    for shape in ((4,), (4, 3)):
        layer(XS, force={"h": data}, force_mask=np.ones(shape, bool))
    for shape in ((4, 4), (4, 1), (4, 3, 2), (4, 3, 1), (4, 2)):
        with pytest.raises(ShapeError, match=r"force_mask has shape .*, but must have shape \(T,\) or \(T, batch\)"):
            layer(XS, force={"h": data}, force_mask=np.ones(shape, bool))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_carries_on_what_it_had_at_its_own_end(mode, reverse):
    """Delays, which are not held step by step, are also recorded."""
    lengths = [4, 2, 0]
    layer = nn.Recurrent(Named(_input_passed_on), mode=mode, reverse=reverse)
    start = (np.full((3, 2), 7.0), np.full((3, 2), 9.0))
    _, found = layer(XS, start, lengths=lengths)
    for row, n in enumerate(lengths):
        alone = tuple(slot[row : row + 1] for slot in start)
        expected = layer(XS[:n, row : row + 1], alone)[1] if n else alone
        for one, other in zip(found, expected, strict=True):
            assert np.allclose(one.data[row], np.asarray(other.data if n else other)[0]), (row, n)


@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_a_gradient_in_values_of_another_run_is_an_error_that_names_recorded(mode):
    model = nn.Recurrent(nn.GRUCell(3, 2), mode=mode)
    xs = np.ones((4, 1, 3), "float32")
    beside = model.states(xs)["z"]
    with pytest.raises(tr.errors.GradientError, match=r"layer\.recorded\(xs\)"):
        tr.grad((model(xs)[0] ** 2).sum(), beside)


@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_a_gradient_in_a_record_of_the_same_run_is_an_error_that_names_gradient_flow(mode):
    outputs, _, named = nn.Recurrent(nn.GRUCell(3, 2), mode=mode).recorded(np.ones((4, 1, 3), "float32"))
    for value in named.values():
        with pytest.raises(tr.errors.GradientError, match=r"only records values of the steps; explain\.gradient_flow"):
            tr.grad((outputs**2).sum(), value)
        assert tr.grad((outputs**2).sum() + value.sum(), value).data.all()
