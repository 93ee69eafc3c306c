"""Modules of this library and of PyTorch are converted to each other: equal up to rounding, for random configurations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError, StateDictError
from tinygrad_rnn.files import write_tensors

torch_is_here = pytest.mark.torch
flag, sizes = st.booleans(), st.integers(1, 4)


@st.composite
def parts(draw: Any) -> Any:
    """A module of PyTorch, and the size of its input; the size is None for codes."""
    import torch

    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    kind, n, m = draw(st.sampled_from(["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "Linear", "Embedding"])), 3, 4
    options: dict[str, Any] = {"dtype": dtype}
    if kind in ("RNN", "LSTM", "GRU"):
        options |= {"num_layers": draw(st.integers(1, 3)), "batch_first": draw(flag), "bidirectional": draw(flag)}
        options["dropout"] = draw(st.sampled_from([0.0, 0.5])) if options["num_layers"] > 1 else 0.0
    if kind == "LSTM":
        options["proj_size"] = draw(st.sampled_from([0, 2]))
    if kind.startswith("RNN"):
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind != "Embedding":
        options["bias"] = draw(flag)
    return getattr(torch.nn, kind)(n, m, **options).eval(), n if kind != "Embedding" else None


def flat(found: Any) -> list[Any]:
    return [leaf for part in found for leaf in flat(part)] if isinstance(found, tuple) else [found]


def outputs(theirs: Any, ours: nn.Module, size: int | None) -> None:
    """Compare the outputs of both modules for one input, and their states."""
    import torch

    generator = np.random.default_rng(0)
    shape = (5, 2, size or 1) if not isinstance(ours, nn.Cell) else (2, size or 1)
    x = generator.normal(size=shape) if size else generator.integers(0, 3, shape[:2])
    dtypes = [parameter.dtype for parameter in ours.parameters()]
    x = x.astype(dtypes[0]) if size else x
    expected = theirs(torch.from_numpy(x))
    state = (ours.initial_state(2),) if isinstance(ours, nn.Cell) else ()
    found = ours(x, *state)
    if isinstance(ours, nn.Cell):
        found = found[1]  # PyTorch's cells return only the state
    tolerance = 1e-12 if dtypes[0] == np.float64 else 1e-5
    for one, other in zip(flat(found), flat(expected), strict=True):
        np.testing.assert_allclose(one.data, other.detach().numpy(), tolerance, tolerance)


@torch_is_here
@given(st.data())
def test_both_ways(data):
    theirs, size = data.draw(parts())
    for parameter in theirs.parameters():
        parameter.requires_grad_(data.draw(flag))
    ours = tr.from_torch(theirs)
    outputs(theirs, ours, size)
    assert not any(part.training for _, part in ours.modules())
    again = tr.to_torch(ours)
    assert repr(again) == repr(theirs)
    for (name, one), (other, two) in zip(theirs.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and one.requires_grad == two.requires_grad and one.dtype == two.dtype
        np.testing.assert_array_equal(one.detach().numpy(), two.detach().numpy())


@torch_is_here
def test_sequential_and_ties():
    import torch

    embedding = torch.nn.Embedding(4, 3)
    theirs = torch.nn.Sequential(
        embedding, torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Dropout(0.25), torch.nn.Linear(5, 3)
    )
    theirs.append(torch.nn.ReLU()).append(torch.nn.Linear(3, 4, bias=False)).eval()
    theirs[6].weight = embedding.weight
    ours: Any = tr.from_torch(theirs)
    assert ours[6].weight is ours[0].weight and ours[3].p == 0.25
    outputs(theirs, ours, None)
    again = tr.to_torch(ours)
    assert again[6].weight is again[0].weight and repr(again) == repr(theirs)
    recurrent = tr.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GRU(3, 4)))
    assert recurrent(np.zeros((5, 1, 2), "float32")).shape == (5, 1, 4)


@torch_is_here
def test_a_state_dict_in_a_file(tmp_path):
    """PyTorch lists tied weights twice; its own way to store a model leaves one of them out."""
    import torch
    from safetensors.torch import save_file, save_model

    theirs = torch.nn.Sequential(torch.nn.Embedding(4, 3), torch.nn.GRU(3, 3, num_layers=2), torch.nn.Linear(3, 4))
    theirs[2].weight = theirs[0].weight
    ours: Any = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 3, num_layers=2), nn.Linear(3, 4))
    ours[2].weight = ours[0].weight
    save_file({name: value.clone() for name, value in theirs.state_dict().items()}, tmp_path / "both.safetensors")
    save_model(theirs, str(tmp_path / "one.safetensors"))
    for name in ("both", "one"):
        for parameter in ours.parameters():
            parameter.data = np.zeros(parameter.shape)
        ours.load(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(ours[2].weight.data, theirs[0].weight.detach().numpy())
    tr.save(ours, tmp_path / "ours.safetensors", note="PyTorch reads the weights of a whole model too")
    from safetensors.torch import load_file

    found = load_file(tmp_path / "ours.safetensors")
    assert torch.equal(found["1.weight_hh_l1"], theirs[1].weight_hh_l1)


@torch_is_here
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda torch: torch.nn.Conv1d(1, 1, 1), "no counterpart of PyTorch's Conv1d"),
        (lambda torch: torch.nn.Embedding(3, 2, padding_idx=0), "Embedding has padding_idx=0"),
        (lambda torch: torch.nn.Tanh(), "is the function tr.tanh here"),
        (lambda torch: torch.nn.Linear(2, 1).bfloat16(), r"convert them by module\.float\(\)"),
        (lambda torch: type("Mine", (torch.nn.Module,), {})(), "Mine is not a class of torch.nn"),
    ],
)
def test_what_there_is_not_here(make, words):
    import torch

    with pytest.raises(DataError, match=words):
        tr.from_torch(make(torch))


@torch_is_here
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.GRU(2, 3, reset_after=False), "GRU cannot have reset_after=False"),
        (lambda: nn.RNN(2, 3, nonlinearity="sigmoid"), "cannot have these options"),
        (lambda: nn.RNN(2, 3, num_layers=[2, 3]), "cannot have these options"),
        (lambda: nn.LSTMCell(2, 3, recurrent_dropout=0.5), "cannot have recurrent_dropout=0.5"),
        (lambda: nn.Jordan(2, 3, 1), "no counterpart of Jordan"),
        (lambda: nn.Sequential(tr.exp), "no counterpart of exp"),
    ],
)
def test_what_there_is_not_there(make, words):
    with warnings.catch_warnings(), pytest.raises(DataError, match=words):
        tr.to_torch(make())


# -- without PyTorch -------------------------------------------------------------------------


def test_tied_weights_may_be_listed_once_or_twice(tmp_path):
    model: Any = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4))
    model[1].weight = model[0].weight
    weight, bias = np.arange(12.0).reshape(4, 3), np.zeros(4)
    for names in (["0.weight"], ["1.weight"], ["0.weight", "1.weight"]):
        model[0].weight.data = np.zeros((4, 3))
        state = {**dict.fromkeys(names, weight), "1.bias": bias}
        model.load_state_dict(state)
        np.testing.assert_array_equal(model[1].weight.data, weight)
        write_tensors(tmp_path / "m.safetensors", state)
        np.testing.assert_array_equal(model.load(tmp_path / "m.safetensors")[0].weight.data, weight)
    with pytest.raises(StateDictError, match=r"tied: 0\.weight and 1\.weight are one parameter and two arrays"):
        model.load_state_dict({"0.weight": weight, "1.weight": weight + 1, "1.bias": bias})
    with pytest.raises(StateDictError, match=r"missing: 0\.weight"):
        model.load_state_dict({"1.bias": bias})
    np.testing.assert_array_equal(model[0].weight.data, weight)
