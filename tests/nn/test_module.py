"""Modules and parameters in lists, tuples and dictionaries, changed at any time; slices of Sequential."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import TinygradError
from tinygrad_rnn.guards import guard


class Holder(nn.Module):
    """Applies all linear layers that the module holds, in any structure."""

    def __init__(self, held=None):
        super().__init__()
        self.layers = held

    def forward(self, x):
        for _, layer in self.children():
            x = layer(x)
        return x


def linear():
    return nn.Linear(2, 2)


def put_by_assignment(holder, layer):
    holder.layers = [layer]
    return "layers.0"


def put_by_append(holder, layer):
    holder.layers = [linear()]
    holder.layers.append(layer)
    return "layers.1"


def put_by_insert(holder, layer):
    holder.layers = [linear()]
    holder.layers.insert(0, layer)
    return "layers.0"


def put_by_extend(holder, layer):
    holder.layers = []
    holder.layers += [linear(), layer]
    return "layers.1"


def put_by_slice(holder, layer):
    holder.layers = [linear(), linear()]
    holder.layers[:1] = [layer]
    return "layers.0"


def put_by_replacement(holder, layer):
    holder.layers = [linear()]
    list(holder.named_parameters())
    holder.layers[0] = layer
    return "layers.0"


def put_into_a_tuple(holder, layer):
    holder.layers = (linear(), layer)
    return "layers.1"


def put_into_a_dict(holder, layer):
    holder.layers = {}
    holder.layers["gate"] = layer
    return "layers.gate"


def put_by_update(holder, layer):
    holder.layers = {"a": linear()}
    holder.layers.update(b=layer)
    return "layers.b"


def put_deep_down(holder, layer):
    holder.layers = {"a": [(linear(), {"b": [linear()]})]}
    holder.layers["a"][0][1]["b"].append(layer)
    return "layers.a.0.1.b.1"


def put_into_a_private_list(holder, layer):
    holder._mine = [layer]
    return "_mine.0"


WAYS = [value for name, value in list(globals().items()) if name.startswith("put_")]


@pytest.mark.parametrize("put", WAYS, ids=lambda way: way.__name__)
def test_what_is_put_into_a_holder_is_a_part(put):
    holder, layer = Holder(), linear()
    before = guard(holder).key
    path = put(holder, layer)
    named = dict(holder.named_parameters())
    assert named[f"{path}.weight"] is layer.weight and any(p is layer.weight for p in holder.parameters())
    assert any(module is layer and name == path for name, module in holder.modules())
    assert guard(holder).key != before
    holder.eval()
    assert not layer.training
    y = holder(np.ones((1, 2), "float32"))
    assert path in {node.scope for node in tr.graph(y).nodes}
    y.sum().backward()
    assert layer.weight.grad is not None
    holder.zero_grad()
    assert layer.weight.grad is None
    state = holder.state_dict()
    for twin in (copy.deepcopy(holder), pickle.loads(pickle.dumps(holder))):
        assert twin.state_dict().keys() == state.keys()
        np.testing.assert_array_equal(twin(np.ones((1, 2), "float32")).data, y.data)
        twin.load_state_dict({name: array * 0 for name, array in state.items()})
        assert holder.state_dict()[f"{path}.weight"].any() and not twin.state_dict()[f"{path}.weight"].any()
    assert f"({path})" in repr(holder)


@pytest.mark.parametrize("put", WAYS, ids=lambda way: way.__name__)
def test_and_in_a_module_within(put):
    outer, inner = Holder(), Holder()
    outer.inner = inner
    path = put(inner, linear())
    assert f"inner.{path}.weight" in dict(outer.named_parameters())
    y = outer(np.ones((1, 2), "float32"))
    assert f"inner.{path}" in {node.scope for node in tr.graph(y).nodes}


def test_what_is_taken_out_is_no_part_any_more():
    holder = Holder([linear(), linear()])
    before = guard(holder).key
    del holder.layers[0]
    assert [name for name, _ in holder.named_parameters()] == ["layers.0.weight", "layers.0.bias"]
    assert guard(holder).key != before
    holder.layers = "nothing"
    assert not holder.parameters()
    holder.layers = [linear()]
    del holder.layers
    assert not holder.parameters()


def test_parameters_in_a_list_have_names_of_their_own():
    holder = Holder([nn.Parameter([1.0]), nn.Parameter([2.0], symbol="b")])
    assert list(dict(holder.named_parameters())) == ["layers.0", "layers.1"]
    assert [p.name for p in holder.parameters()] == ["layers_0", "b"]


def test_a_cell_with_a_list_runs_what_the_list_holds_now():
    class Deep(nn.Cell):
        state_shape = (2,)

        def __init__(self):
            super().__init__()
            self.layers = [linear()]

        def step(self, x, h):
            for layer in self.layers:
                h = tr.tanh(layer(h) + x)
            return h, h

    cell = Deep()
    xs = np.random.default_rng(0).standard_normal((5, 2, 2)).astype("float32")
    scan, unroll = nn.Recurrent(cell), nn.Recurrent(cell, mode="unroll")
    for change in (
        lambda: None,
        lambda: cell.layers.append(linear()),
        lambda: cell.layers.__setitem__(0, linear()),
        cell.layers.pop,
    ):
        change()
        np.testing.assert_allclose(scan(xs)[0].data, unroll(xs)[0].data, rtol=1e-5, atol=1e-6)
        assert len(scan.parameters()) == 2 * len(cell.layers)


@pytest.mark.parametrize("kind", [set, frozenset, __import__("collections").deque, lambda x: {"a": x[0]}.values()])
def test_what_cannot_be_walked_in_order_is_refused(kind):
    with pytest.raises(TinygradError, match="a list, a tuple or a dict"):
        Holder(kind([linear()]))
    holder = Holder([])
    holder.layers.append(kind([linear()]))
    with pytest.raises(TinygradError, match="a list, a tuple or a dict"):
        holder.parameters()


def test_names_that_clash_and_circles_are_refused():
    with pytest.raises(TinygradError, match=r"have the name 'layers\.1'"):
        Holder({1: linear(), "1": linear()})
    holder = Holder([])
    with pytest.raises(TinygradError, match="contains"):
        holder.layers = [holder]
    around = []
    around.append(around)
    assert not Holder(around).parameters()


def test_a_list_set_before_the_module_is_ready_is_found():
    class Early(nn.Module):
        def __init__(self):
            self.layers = []
            super().__init__()
            self.layers.append(linear())

    assert len(Early().parameters()) == 2


def test_plain_lists_are_left_alone():
    holder = Holder(["a", 1, None, {"b": (2, 3)}])
    assert holder.layers == ["a", 1, None, {"b": (2, 3)}] and not holder.parameters()
    holder(np.ones((1, 2)))


# -- Sequential ------------------------------------------------------------------------------------------


def sequential():
    return nn.Sequential(nn.Linear(2, 3), tr.tanh, nn.Linear(3, 2), nn.Dropout(0.5))


INDICES = [slice(n, m, k) for n in (None, 0, 1, -2) for m in (None, 1, -1, 9) for k in (None, 2, -1)]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_slice_of_sequential_is_one_of_the_same_layers(index):
    model = sequential()
    state, names = model.state_dict(), dict(model.named_parameters())
    part = model[index]
    assert type(part) is nn.Sequential
    assert [a is b for a, b in zip(part, list(model)[index], strict=True)] == [True] * len(part)
    assert all(names[name] is parameter for name, parameter in part.named_parameters())
    assert model.state_dict().keys() == state.keys() and len(model) == 4
    if index.step in (None, 1) and len(part) and index.start in (None, 0):
        x = np.ones((1, 2), "float32")
        y = x
        for layer in list(model.eval())[index]:
            y = layer(y)
        np.testing.assert_array_equal(part(x).data, np.asarray(y))


def test_items_of_sequential():
    model = sequential()
    layers = list(model)
    assert [model[i] for i in range(-4, 4)] == [*layers, *layers]
    assert model[np.int64(-1)] is layers[-1] and len(model) == 4 and model[:2][-1] is tr.tanh
    with pytest.raises(IndexError):
        model[4]
    with pytest.raises(TypeError):
        model["a"]
    assert model[1:][:1][0] is tr.tanh
    assert copy.deepcopy(model[2:]).state_dict().keys() == {"2.weight", "2.bias"}


def test_sequential_applies_functions_too_and_refuses_the_rest():
    model = nn.Sequential(nn.Linear(2, 2), tr.tanh)
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(model(x).data, np.tanh(model[0](x).data))
    with pytest.raises(TinygradError, match="3"):
        nn.Sequential(nn.Linear(2, 2), 3)


def test_a_parameter_is_not_replaced_by_a_tensor_without_a_word():
    layer = nn.Linear(2, 1)
    with pytest.raises(TinygradError, match=r"weight\.data"):
        layer.weight = layer.weight - 0.1
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


def test_copies_of_a_module_have_parameters_of_their_own():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = twin.state_dict()
        assert not set(map(id, twin.parameters())) & set(map(id, model.parameters()))
        for p in model.parameters():
            p.data = p.data + 1
        for name, array in twin.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        loss = twin(np.ones((3, 1, 2), "float32")).sum()
        loss.backward()
        assert twin[1].weight.grad is not None and model[1].weight.grad is None
    shallow = copy.copy(model[1])
    shallow.weight = nn.Parameter((1, 3))
    assert dict(model[1].named_parameters())["weight"] is model[1].weight


def test_modules_in_a_circle_are_refused():
    parent, child = nn.Sequential(), nn.Linear(1, 1)
    parent.child = child
    with pytest.raises(TinygradError, match="contains"):
        child.parent = parent
