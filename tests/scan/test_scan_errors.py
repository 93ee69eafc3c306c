"""Scan and unroll accept and refuse the same cells and inputs, with the same numbers or the same error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError, TinygradError
from tinygrad_rnn.ops import registry

N = 4
"""Codes go from 0 to N - 1."""


@pytest.fixture(scope="module", autouse=True)
def picky():
    """A user's primitive that refuses some values."""

    @tr.primitive(gradient=(lambda g, y, x: g,), formula=r"\operatorname{{picky}}\left({x}\right)")
    def picky(x, out=None):
        if (x > 2).any():
            raise ValueError(f"{x.max():g} is more than 2")
        if (x < -2).any():
            raise RuntimeError("not an error of NumPy's kind")
        return np.copyto(out, x) if out is not None else x.copy()

    yield
    del registry["picky"]


def _lookup(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return cell.embed(codes)


def _of_the_state(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    """Codes that are computed in the loop."""
    steps = (h.sum(axis=-1) * 0).astype(np.int64)
    return cell.embed(codes + steps)


def _loss(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return tr.cross_entropy(h @ cell.V, codes, reduction="none")[:, None]


def _take(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return tr.take(cell.embed.weight, codes, axis=0)


def _take_along(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return tr.take_along_axis(h @ cell.V, codes[:, None], axis=-1)


def _index(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return (h @ cell.V)[np.arange(len(codes)), codes][:, None]


def _own(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    return registry["picky"](codes[:, None].astype(h.dtype) - 1.0 + 0 * h)


def _nested(cell: nn.Cell, codes: tr.Tensor, h: tr.Tensor) -> tr.Tensor:
    outputs, _ = cell.inner(tr.stack([codes, codes]))
    return outputs[-1]


class Lookup(nn.Cell):
    """A cell with only an embedding, which runs inside another cell."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(N, 3)
        self.state_shape = (3,)

    def step(self, x, h):
        h = tr.tanh(h + self.embed(x))
        return h, h


class Reading(nn.Cell):
    """A cell whose operation on codes fails for some values."""

    def __init__(self, does: Callable[..., tr.Tensor]) -> None:
        super().__init__()
        self.does = does
        self.embed = nn.Embedding(N, 3)
        self.inner = nn.Recurrent(Lookup())
        self.V = nn.Parameter(np.linspace(-1, 1, 3 * N).reshape(3, N), symbol="V")
        self.state_shape = ((3,), ())

    def initial_state(self, batch_size, dtype=np.float32):
        return np.zeros((batch_size, 3), dtype), np.zeros(batch_size, np.int64)

    def step(self, x, state):
        h, before = state
        codes = (before if x is None else x).named("code")
        u = self.does(self, codes, h)
        h = tr.tanh(h + u + before[:, None].astype(h.dtype)).named("h")
        return h, (h, (codes * 1).named("before"))


DOES = [_lookup, _of_the_state, _loss, _take, _take_along, _index, _own, _nested]


def outcome(run: Callable[[], Any], inputs: bool = True) -> Any:
    """Numbers, or an error's type and words; with the inputs by name, or without."""
    try:
        found = run()
    except Exception as error:
        return type(error), str(error) if inputs else str(error).partition(" (x = ")[0]
    return [np.asarray(x.data) for x in found]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) or isinstance(other, tuple):
        return one == other
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in zip(one, other, strict=True))


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    T, B = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    low, high = draw(st.sampled_from([(0, N), (0, N), (-1, N), (0, N + 1), (-N - 1, N + 1), (0, 1000)]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    codes = rng.integers(0, N, (T, B))
    odd = rng.random((T, B)) < draw(st.sampled_from([0.1, 0.5]))
    codes[odd] = rng.integers(low, high, (T, B))[odd]
    codes = codes.astype(draw(st.sampled_from([np.int64, np.int64, np.int32, np.int8])) if abs(codes).max() < 100 else np.int64)
    return {
        "codes": codes,
        "lengths": rng.integers(0, T + 1, B) if draw(st.booleans()) else None,
        "force": draw(st.booleans()),
        "reverse": draw(st.booleans()),
        "checkpoint": draw(st.sampled_from([None, 1, 2])),
        "recording": draw(st.booleans()),
    }


@pytest.mark.parametrize("does", DOES, ids=lambda does: does.__name__[1:])
def test_scan_refuses_what_unroll_refuses_in_the_same_words(does):
    seen = set()

    @given(runs())
    def holds(case: dict[str, Any]) -> None:
        cell, codes, found = Reading(does), case["codes"], {}
        given = {"steps": len(codes), "force": {"before": codes}} if case["force"] else {}
        for mode in ("scan", "unroll"):
            checkpoint = case["checkpoint"] if mode == "scan" else None
            layer = nn.Sequential(nn.Recurrent(cell, mode=mode, reverse=case["reverse"], checkpoint=checkpoint))[0]

            def run(layer: nn.Recurrent = layer) -> Any:
                outputs, (h, _) = layer(None if given else codes, lengths=case["lengths"], **given)
                if not case["recording"]:
                    return outputs, h
                return outputs, h, *tr.grad(outputs.sum() + h.sum(), [cell.embed.weight, cell.V, cell.inner.cell.embed.weight])

            if case["recording"]:
                found[mode] = outcome(run)
            else:
                with tr.no_grad():  # without gradients, an inner loop cannot distinguish computed and given values
                    found[mode] = outcome(run, inputs=does is not _nested)
        assert same(found["scan"], found["unroll"]), found
        seen.add(found["scan"][0] if isinstance(found["scan"], tuple) else None)

    with np.errstate(all="ignore"):
        holds()
    assert None in seen and len(seen) > 1  # some ran, some were refused


@pytest.mark.parametrize("code", [-1, N, 1000])
@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_an_error_names_layer_codes_range_and_step(mode, code):
    codes = np.array([[0, 1], [2, 3], [1, code]])
    words = rf"Embedding: codes go from {min(1, code)} to {max(1, code)}, but .* 4 embeddings in 'cell.embed' at step t=3"
    with pytest.raises(ShapeError, match=words):
        nn.Recurrent(Reading(_lookup), mode=mode)(codes)
    words = (
        rf"cross_entropy: classes go from {min(1, code)} to {max(1, code)}, but there are only 4 logits in 'cell' at step t=3"
    )
    with pytest.raises(ShapeError, match=words):
        nn.Recurrent(Reading(_loss), mode=mode)(codes)
    words = r"Embedding: codes go from .* in 'cell.inner.cell.embed' at step t=1"  # of the inner loop
    with pytest.raises(ShapeError, match=words):
        nn.Recurrent(Reading(_nested), mode=mode)(codes)


@pytest.mark.parametrize("mode", ["scan", "unroll"])
@pytest.mark.parametrize("bad", [-1, N, 10**9])
def test_codes_in_the_padding_are_not_looked_at(mode, bad):
    codes = np.array([[0, 1], [2, bad], [1, bad]])
    for does in (_lookup, _loss, _of_the_state, _nested):
        layer = nn.Recurrent(Reading(does), mode=mode)
        outputs, _ = layer(codes, lengths=[3, 1])
        plain, _ = layer(np.where(codes == bad, 0, codes), lengths=[3, 1])
        assert np.array_equal(outputs.data, plain.data)
        with pytest.raises(ShapeError):
            layer(codes, lengths=[3, 2])
        layer(None, steps=3, force={"before": codes}, lengths=[3, 1])


def test_indices_by_numpys_rules_may_be_negative():
    table = tr.tensor([[1.0], [2.0]])
    assert table[np.array([-1])].data == 2.0 and tr.take(table, [-2], axis=0).data == 1.0


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, ">i4", np.uint8, np.uint64])
def test_codes_of_all_integer_dtypes_are_held_to_their_range(dtype):
    layer = nn.Embedding(N, 2)
    assert layer(np.array([0, N - 1], dtype)).shape == (2, 2)
    for bad in (N, 100, *([] if np.dtype(dtype).kind == "u" else [-1, -100])):
        with pytest.raises(ShapeError, match="but there are only 4 embeddings"):
            layer(np.array([0, bad], dtype))
    assert layer(np.zeros((0, 2), dtype)).shape == (0, 2, 2)


def test_a_layer_works_again_after_an_error():
    layer = nn.Recurrent(Reading(_lookup))
    codes = np.array([[0, 1], [2, 3]])
    expected = layer(codes)[0].data.copy()
    with pytest.raises(TinygradError):
        layer(codes + 1)
    assert np.array_equal(layer(codes)[0].data, expected)
