"""The contents of plans: the table, the program and the pictures, for cells that the library does not know."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from draw_networks import DelayLine, EncoderDecoder, Gated, InputsAndOutputs, Odd, OutputFeedback, Residual, TwoSlots

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError, TinygradError
from tinygrad_rnn.graph.node import Spec
from tinygrad_rnn.nn.planning import plan_parts
from tinygrad_rnn.scan.partition import When


class Sums(nn.Cell):
    """Other kinds of slots: a running sum, a sum with a factor, a slot that never changes, a slot without a reader."""

    def __init__(self, n=3):
        super().__init__()
        self.input_size = n
        self.U = nn.Parameter((n, n), symbol="U")
        self.state_shape = ((n,),) * 4

    def step(self, x, state):
        s, m, k, _ = state
        f = tr.sigmoid(x)
        s = (s + x @ self.U).named("s")
        m = (f * m + (1 - f) * x).named("m")
        return s + m + k, (s, m, k, tr.tanh(x).named("u"))


class Signs(nn.Cell):
    """A cell whose gradient with respect to its state is 1, but which is not a sum."""

    state_shape = (3,)

    def step(self, x, h):
        h = (h + x + tr.sign(h)).named("h")
        return h, h


CELLS = {
    "rnn": lambda: nn.RNNCell(3, 5),
    "lstm": lambda: nn.LSTMCell(3, 5),
    "gru": lambda: nn.GRUCell(3, 5),
    "eight matrices": TwoSlots,
    "gated": Gated,
    "taps": DelayLine,
    "narx": InputsAndOutputs,
    "jordan": OutputFeedback,
    "residual": Residual,
    "odd": Odd,
    "sums": Sums,
}


def plan(name, T=50, B=2, **options):
    return nn.Recurrent(CELLS[name]()).plan(T, B, **options)


def slots(one):
    return {slot.name: str(slot) for slot in one.slots}


# -- contents ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "eight matrices"])
def test_one_product_a_step(name):
    found = plan(name)
    assert found.forward.counts.products == found.backward.counts.products == 1


def test_as_many_products_were_written():
    found = plan("eight matrices")
    assert (found.forward.written_counts.products, found.backward.written_counts.products) == (8, 16)
    assert (plan("lstm").forward.written_counts.products, plan("lstm").backward.written_counts.products) == (2, 4)


@pytest.mark.parametrize(("name", "options"), [("taps", {}), ("jordan", {"force": ("o",)})])
def test_no_cycle_no_loop(name, options):
    found = plan(name, **options)
    for one in (found.forward, found.backward):
        assert one.counts.inside == one.counts.bytes_inside == 0
        assert all(slot.kind == "delay" for slot in one.slots)
        assert calls(one.source)[0] == 0
    assert "step by step" not in found.draw().source


def test_output_feedback_is_a_cycle_unless_forced():
    assert slots(plan("jordan").forward) == {"o": "cycle"}
    assert slots(plan("jordan", force=("o",)).forward) == {"o": "delay of 1 step"}


def test_a_slot_that_is_not_there_cannot_be_forced():
    with pytest.raises(ShapeError, match="no slot 'y'; there is 'o'"):
        plan("jordan", force=("y",))


def test_kinds_of_slots():
    assert slots(plan("lstm").forward) == {"h": "cycle with c", "c": "cycle with h"}
    assert slots(plan("taps").forward) == {"x": "delay of 1 step", "state": "delay of 2 steps of x"}
    found = plan("sums").forward
    kinds = {slot.name: slot.kind for slot in found.slots}
    assert list(kinds.values()) == ["additive", "linear", "unchanged", "unused"]


def test_what_the_gradient_does_not_show_is_no_sum():
    found = nn.Recurrent(Signs()).plan(5, inputs=np.zeros((2, 1, 3)))
    assert [slot.kind for slot in found.forward.slots] == ["cycle"]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "eight matrices", "residual", "odd", "jordan"])
def test_every_reverse_pass_is_linear(name):
    assert {slot.kind for slot in plan(name).backward.slots} <= {"linear", "additive", "delay"}


def test_what_is_kept_is_what_the_memory_holds():
    found = plan("rnn", T=100, B=4)
    assert found.forward.counts.kept == 101 * 4 * 5 * 4  # h before the first step and after each
    fewer = nn.Recurrent(nn.RNNCell(3, 5), checkpoint=10).plan(100, 4)
    assert fewer.forward.counts.kept < found.forward.counts.kept / 4


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gated", "residual", "odd"])
def test_as_written_is_what_unrolling_makes(name):
    cell = CELLS[name]()
    views = ("transpose", "reshape", "getitem", "stack", "broadcast_to")

    def operations(T):
        outputs, _ = nn.Recurrent(cell, mode="unroll")(np.zeros((T, 2, cell.input_size), "float32"))
        return sum(node.primitive is not None and node.operation not in views for node in tr.graph(outputs).nodes)

    assert plan(name).forward.written_counts.inside == operations(6) - operations(5)


def test_planning_runs_nothing_and_tells_what_is_run():
    layer = nn.Recurrent(nn.LSTMCell(3, 5))
    found = layer.plan(4, 2)
    out, _ = layer(np.zeros((4, 2, 3), "float32"))
    (node,) = [node for node in tr.graph(out).nodes if node.operation == "scan"]
    assert found.forward.source == node.attributes["plan"].executable(True).source


# -- counted again from the source ---------------------------------------------------------

VIEWS = ("transpose", "reshape", "broadcast_to")
CALL = re.compile(r"^(?:[\w.]+ = )?(\w[\w.]*)\(")
BOOKKEEPING = ("rows", "memory.table", "empty", "inputs", "zip", "np.")


def calls(source):
    """Kernel calls inside the loops over steps, and outside, by reading the program."""
    inside = outside = 0
    indent = None
    for line in source[source.index("def run") :].splitlines()[1:]:  # the lines before `run` set up buffers once
        depth, text = len(line) - len(line.lstrip()), line.strip()
        if indent is not None and depth <= indent:
            indent = None
        if re.match(r"for (?!start|into|i in)", text):
            indent = depth
            continue
        call = CALL.match(text)
        if call is None and not re.match(r"r\d+\[start:stop\] = ", text):
            continue
        name = call[1] if call else "copyto"
        is_view = text.split(" = ")[0] != text and name.lstrip("_").rstrip("0123456789") in VIEWS
        if is_view or name.startswith(BOOKKEEPING) or name.endswith(".swapaxes") or "copyto(into" in text:
            continue
        inside, outside = inside + (indent is not None), outside + (indent is None)
    return inside, outside


@pytest.mark.parametrize("name", CELLS)
def test_operations_are_the_calls_of_the_source(name):
    found = plan(name)
    for one in (found.forward, found.backward):
        assert calls(one.source) == (one.counts.inside, one.counts.outside)


# -- the table -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_the_table_fits_a_terminal(name):
    text = str(plan(name, T=100_000, B=64))
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "100,000 steps" in text


def test_the_table():
    lines = str(nn.LSTM(3, 5).plan(T=1000, B=2)).splitlines()
    assert lines[0] == "LSTMCell, T = 1,000, B = 2"
    assert lines[1].split() == ["forward", "backward"]
    (products,) = [line for line in lines if "matrix products" in line]
    assert products.split()[-4:] == ["2", "1", "4", "1"]
    assert any(line.split() == ["state", "forward", "h", "cycle", "with", "c"] for line in lines)


# -- models --------------------------------------------------------------------------------


def test_a_model_of_several_parts_has_a_plan_for_each():
    found = EncoderDecoder().plan(10)
    assert list(found) == ["encoder", "decoder"]
    assert str(found).startswith("encoder:\nRNNCell, T = 10, B = 1\n")
    found = EncoderDecoder().plan(10, inputs={"encoder": Spec((4, 1, 3), np.dtype("float64"))})
    assert list(found) == ["encoder", "decoder"]
    with pytest.raises(TinygradError, match="'encoder', 'decoder'"):
        EncoderDecoder().plan(10, inputs=np.zeros((4, 1, 3)))


def test_a_model_of_one_part_and_a_cell():
    model = nn.Sequential(nn.GRU(3, 5), nn.Linear(5, 2))
    assert model.plan(7).forward.counts == nn.GRUCell(3, 5).plan(7).forward.counts
    assert plan_parts(Gated(), 3).steps == 3


def test_a_model_without_a_recurrent_part():
    with pytest.raises(TinygradError, match="no recurrent part"):
        nn.Linear(2, 3).plan(5)


@pytest.mark.parametrize(("T", "B"), [(0, 1), (3, 0), (2.5, 1)])
def test_sizes_are_numbers(T, B):
    with pytest.raises(ValueError, match="must be a whole number, at least 1"):
        nn.RNN(3, 5).plan(T, B)


# -- pictures ------------------------------------------------------------------------------

PICTURES = [
    ("rnn", "before", "forward"),
    ("rnn", "after", "forward"),
    ("rnn", "after", "backward"),
    ("eight matrices", "before", "forward"),
    ("eight matrices", "after", "forward"),
    ("taps", "after", "forward"),
]


def snapshot(name, when, direction):
    return Path(__file__).parent / "pictures" / f"plan-{name.replace(' ', '-')}-{direction}-{when}.gv"


@pytest.mark.parametrize("case", PICTURES, ids=" ".join)
def test_the_dot_is_as_it_was(case):
    """Rewrite with ``PYTHONPATH=tests/helpers python tests/scan/test_plan.py`` after looking at the pictures."""
    name, when, direction = case
    assert plan(name).draw(when, direction).source == snapshot(*case).read_text()


@pytest.mark.parametrize("name", CELLS)
def test_a_box_for_each_operation(name):
    found = plan(name)
    for one, direction in ((found.forward, "forward"), (found.backward, "backward")):
        after = found.draw("after", direction).source
        copies = sum(operation.kind == "copy" and operation.when is When.LOOP for operation in one.run)
        assert after.count("at each step") == one.counts.inside - copies
        kernels = sum(operation.kind == "kernel" for operation in one.written)
        words = (") at each step", ") at all steps", ") once")
        before = found.draw("before", direction).source
        assert sum(before.count(f'{word}"') for word in words) == kernels


def test_two_loops_are_two_boxes():
    source = plan("odd").draw().source
    assert source.count('label="step by step"') == 2
    assert "all steps at once, between" in source


def test_pictures_are_the_same_in_every_run():
    code = (
        "import sys; sys.path[:0] = ['tests/scan', 'tests/helpers']; from test_plan import plan\n"
        "for n in ('odd', 'lstm'):\n"
        "    for d in ('forward', 'backward'): print(plan(n).draw('after', d), plan(n).draw('before', d), plan(n))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="'before' or 'after'"):
        plan("rnn").draw("during")

    class Codes(nn.Cell):
        state_shape = ()

        def initial_state(self, batch_size, dtype=None):
            return tr.tensor(np.zeros(batch_size, int))

        def step(self, x, n):
            return n, n + 1

    found = nn.Recurrent(Codes()).plan(3, inputs=Spec((3, 1), np.dtype(int)))
    assert found.backward is None
    assert "backward" not in str(found)
    with pytest.raises(ValueError, match="no backward pass"):
        found.draw(direction="backward")


if __name__ == "__main__":
    for one in PICTURES:
        snapshot(*one).write_text(plan(one[0]).draw(*one[1:]).source)
