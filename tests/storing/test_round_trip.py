"""A model from a file equals the saved model: modules of the library, users' modules, and later changes to a model."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import STEPS

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim, sequences
from tinygrad_rnn.errors import DataError, StateDictError
from tinygrad_rnn.nn.module import attributes_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "m.safetensors"


def own_classes(model: nn.Module) -> list[type]:
    """Classes of a model's modules that are not in the library."""
    return list({type(m) for _, m in model.modules() if not type(m).__module__.startswith("tinygrad_rnn.")})


def facts(model: nn.Module) -> dict[str, Any]:
    """All properties that distinguish two models, computed in another way than in `TwinComparison`."""
    found: dict[str, Any] = {"repr": repr(model), "state": model.state_dict()}
    parts = dict(model.modules())
    number = {id(part): name for name, part in reversed([*parts.items(), *model.named_parameters()])}
    for name, part in parts.items():
        for key, value in attributes_of(part).items():
            found[f"{name}.{key}"] = number.get(id(value)) or (
                (type(value), value) if isinstance(value, (bool, int, float, str, tuple)) else type(value)
            )
    for name, p in model.named_parameters():
        found[f"parameter {name}"] = (p.requires_grad, p.symbol, p.name, p.dtype)
    return found


def returned(model: nn.Module, path: Path, **options: Any) -> nn.Module:
    """The model after it was written and read again, without use of the library's random numbers."""
    before = tr.random.generator().bit_generator.state
    tr.save(model, path)
    again = tr.load(path, classes=own_classes(model), **options)
    assert tr.random.generator().bit_generator.state == before
    np.testing.assert_equal(facts(again), facts(model))
    return again


# -- modules of the library ----------------------------------------------------------------

sizes = st.integers(1, 4)
dtypes = st.sampled_from([np.float32, np.float64, "float16", np.dtype("float32"), float])
rates = st.sampled_from([0.0, 0.25])
delays = st.one_of(st.integers(1, 3), st.sets(st.integers(1, 6), min_size=1, max_size=3).map(sorted))


def options(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options."""
    return st.fixed_dictionaries({}, optional=choices)


flag, nonlinearity = st.booleans(), st.sampled_from(["tanh", "relu", "sigmoid"])
mode, checkpoint = st.sampled_from(["scan", "unroll"]), st.none() | st.integers(1, 3)
backends = st.sampled_from(
    [{}, {"backend": "numpy"}, {"backend": "native"}, {"backend": "native", "threads": 2}, {"threads": 3}]
)


@st.composite
def cells(draw: Any, n: int | None = None, m: int | None = None) -> nn.Cell:
    kind = draw(st.sampled_from(["RNNCell", "LSTMCell", "GRUCell", "ResidualCell", "JordanCell"]))
    extra = {
        "RNNCell": options(nonlinearity=nonlinearity, bias=flag, dtype=dtypes, recurrent_dropout=rates),
        "LSTMCell": options(bias=flag, dtype=dtypes, recurrent_dropout=rates),
        "GRUCell": options(bias=flag, dtype=dtypes, reset_after=flag, recurrent_dropout=rates),
        "ResidualCell": options(bias=flag, dtype=dtypes, recurrent=flag),
        "JordanCell": options(bias=flag, dtype=dtypes, nonlinearity=nonlinearity),
    }[kind]
    return getattr(nn, kind)(n or draw(sizes), m or draw(sizes), **draw(extra))


@st.composite
def layers(draw: Any) -> nn.Module:
    kind = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    found = draw(
        options(
            num_layers=st.integers(1, 3), bias=flag, batch_first=flag, dropout=rates, bidirectional=flag, dtype=dtypes,
            recurrent_dropout=rates, mode=mode, checkpoint=checkpoint,
            **({"nonlinearity": nonlinearity} if kind == "RNN" else {}),
        )
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(nn, kind)(draw(sizes), draw(sizes), **found, **draw(backends))


@st.composite
def decoders(draw: Any, **more: Any) -> nn.Decoder:
    n, m = draw(sizes), draw(sizes)
    found = draw(
        options(at=st.sampled_from(["start", "every_step", "both"]), temperature=st.sampled_from([None, 0.5]), mode=mode)
    )
    size = draw(st.none() | sizes)
    return nn.Decoder(nn.Embedding(3, n), nn.GRUCell(n, m), nn.Linear(m, 3), 0, draw(st.none() | st.just(1)), size, **found)


def functions() -> st.SearchStrategy[Any]:
    return st.sampled_from([tr.tanh, tr.relu, tr.sigmoid, tr.softmax, tr.exp, tr.absolute])


KINDS: list[st.SearchStrategy[nn.Module]] = [
    cells(),
    st.builds(nn.RNNCell, sizes, sizes),
    st.builds(nn.LSTMCell, sizes, sizes),
    st.builds(nn.ResidualCell, sizes, sizes),
    st.builds(nn.JordanCell, sizes, sizes),
    st.builds(nn.RNN, sizes, sizes),
    st.builds(nn.LSTM, sizes, sizes),
    st.builds(nn.GRU, sizes, sizes),
    layers(),
    decoders(),
    st.builds(nn.Recurrent, cells(), mode=mode, reverse=flag, checkpoint=checkpoint),
    st.builds(nn.Linear, sizes, sizes, bias=flag, dtype=dtypes, symbols=st.sampled_from([("V", "c"), ("R", "b_R")])),
    st.builds(nn.Embedding, sizes, sizes, dtype=dtypes),
    st.builds(nn.Dropout, rates, once=flag),
    st.builds(nn.Jordan, sizes, sizes, sizes, bias=flag, dtype=dtypes, mode=mode),
    st.builds(nn.NARX, sizes, sizes, input_delays=delays, feedback_delays=delays, hidden_size=sizes, dtype=dtypes),
    st.builds(lambda f, d: nn.NARX(0, 1, feedback_delays=d, f=nn.Sequential(f)), functions(), delays),
    st.builds(nn.AR, sizes, sizes, dtype=dtypes, mode=mode),
    st.builds(nn.ARCell, sizes, sizes),
    st.builds(nn.TimeDelay, sizes, sizes, delays, dilation=sizes, bias=flag, nonlinearity=st.none() | nonlinearity),
    st.builds(nn.SystemCell, st.integers(0, 2), sizes, hidden_size=sizes),
    st.builds(lambda f: nn.SystemCell(0, 1, f=f), functions()),
    st.builds(
        nn.RecurrentLayer, st.sampled_from([nn.GRUCell, nn.LSTMCell]), sizes, sizes, num_layers=sizes, bidirectional=flag
    ),
    st.builds(nn.Seq2Seq, layers(), decoders(), st.none() | st.builds(nn.Embedding, sizes, sizes)),
]
modules = st.one_of(KINDS)
models = st.one_of(
    modules,
    st.lists(st.one_of(modules, functions()), max_size=3).map(lambda parts: nn.Sequential(*parts)),
    st.lists(modules, min_size=2, max_size=3).map(lambda parts: nn.Sequential(nn.Sequential(*parts), tr.tanh)[:1]),
)


@given(models, st.data())
def test_any_module_comes_back(path, model, data):
    for parameter in model.parameters():
        parameter.requires_grad_(data.draw(flag))
    for _, module in model.modules():
        module.training = data.draw(flag)
    again = returned(model, path)
    np.testing.assert_equal(facts(returned(again, path)), facts(model))


@settings(max_examples=1)
@given(st.tuples(*KINDS))
def test_every_public_module_is_tried(found):
    tried = {type(part).__name__ for model in found for _, part in model.modules()}
    public = {name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)}
    assert not public - tried - {"Module", "Cell", "Sequential", "Recurrent"}


@pytest.mark.parametrize("name", STEPS)
def test_cells_of_the_zoo(name, path):
    model = STEPS[name]()
    again = returned(model, path)
    assert model.equations() == again.equations()


# -- a user's own classes --------------------------------------------------------------------


class Scaled(nn.Cell):
    """Positional, named and default arguments, and a tie that the constructor makes."""

    def __init__(self, size: int, scale: float = 2.0, *taps: int, name: str = "h", **more: Any) -> None:
        super().__init__()
        self.W = nn.Parameter((size, size), symbol="W")
        self.again = [self.W]
        self.scale, self.taps, self.label, self.more = scale, taps, name, more
        self.state_shape = (size,)
        self.f = lambda x: scale * x

    def step(self, x: Any, h: Any) -> Any:
        h = tr.tanh(self.f(x) + h @ self.W).named(self.label)
        return h, h


class Deeper(Scaled):
    def __init__(self, cell: nn.Cell) -> None:
        super().__init__(3, 0.5, 1, 2, name="g", unit="mV")
        self.cell = cell


class Cloned(Deeper):
    """A class without its own constructor."""


class Shared(nn.Module):
    """A module that reads a parameter made elsewhere, and keeps random values."""

    def __init__(self, weight: nn.Parameter, layers: list[Any], table: dict[str, Any]) -> None:
        super().__init__()
        self.weight, self.layers, self.table = weight, layers, table
        self.noise = np.random.default_rng().normal(size=3)
        self.mask = tr.tensor([1.0, 0.0])

    def forward(self, x: Any) -> Any:
        return x @ self.weight.T


CASES: dict[str, Any] = {
    "named arguments": lambda: Scaled(size=3, scale=-0.0, name="ĥ"),
    "all kinds": lambda: Scaled(3, float("inf"), 1, 2, a=None, b=[1, (2.5, "x")], c={"k": True, 3: np.float32}),
    "subclasses": lambda: Deeper(Scaled(3)),
    "no constructor": lambda: Cloned(nn.GRUCell(2, 3)),
    "numbers of NumPy": lambda: Scaled(np.int64(3), np.float32(0.1)),
    "own class as an argument": lambda: nn.RecurrentLayer(Narrow, 3, 3, num_layers=2),
    "given parameter": lambda: Shared(nn.Parameter([[1.0, 2.0]], symbol="S"), [nn.Linear(2, 3), [nn.Linear(3, 1)]], {}),
}


class Narrow(Scaled):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)


@pytest.mark.parametrize("case", CASES)
def test_own_classes(case, path):
    model = CASES[case]()
    again = returned(model, path)
    for copied in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(again)) if case == "given parameter" else again,
        copy.copy(model),
    ):
        returned(copied, path)


def test_a_parameter_that_is_shared_is_shared_again(path):
    embedding = nn.Embedding(4, 3)
    model = nn.Sequential(embedding, Shared(embedding.weight, [embedding], {"out": embedding}))
    again = returned(model, path)
    assert again[1].weight is again[0].weight and again[1].layers[0] is again[0] and again[1].table["out"] is again[0]
    np.testing.assert_array_equal(again[1].noise, model[1].noise)


def _tied(model: Any) -> None:
    model[2].weight = model[0].weight


def _untied(model: Any) -> None:
    model[3].again = [nn.Parameter(model[3].W.data, symbol="W")]


def _swapped(model: Any) -> None:
    first, second = model[1].l0.cell, model[1].l1.cell
    first.weight_hh, second.weight_hh = second.weight_hh, first.weight_hh


def _added(model: Any) -> None:
    model.head = nn.Sequential(nn.Linear(2, 2), tr.relu).eval()
    model.head.unit = "mV"
    model.head[0].bias = None
    model.parts = [nn.Linear(1, 1), {"x": nn.GRUCell(1, 2)}]
    model.parts[0].bias.requires_grad_(False)


def _attributes(model: Any) -> None:
    model.notes = {"by": "me", "at": (1, [2.0, None])}
    model[1].dropout.p = 0.75
    model[1].l0.cell.f = tr.relu
    model.mean = np.arange(6.0).reshape(2, 3)
    model.std = tr.tensor(np.float64([np.nan, np.inf, -0.0]))
    model[3].scale = np.float16(0.1)
    model[3].size = np.dtype("int8")


def _grown(model: Any) -> None:
    model[3].again.append(model[0].weight)
    model[3].more["layer"] = nn.Linear(1, 2)


def _removed(model: Any) -> None:
    del model[3].label
    model[2].bias = None


def _replaced(model: Any) -> None:
    setattr(model, "1", nn.LSTM(3, 4))


CHANGES = [_tied, _untied, _swapped, _added, _attributes, _grown, _removed, _replaced]


@given(st.lists(st.sampled_from(CHANGES), max_size=4, unique=True), st.booleans())
def test_what_was_changed_since_comes_back(path, changes, training):
    model: Any = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 3, num_layers=2), nn.Linear(3, 4), Scaled(3)).train(training)
    for change in changes:
        if not (change is _swapped and _replaced in changes) and not (change is _attributes and _replaced in changes):
            change(model)
    again: Any = returned(model, path)
    np.testing.assert_equal(facts(returned(again, path)), facts(model))
    if _tied in changes:
        assert again[2].weight is again[0].weight
    if _attributes in changes and _replaced not in changes:
        np.testing.assert_array_equal(again.mean, model.mean)
        assert np.signbit(again.std.data[2]) and again[1].l0.cell.f is tr.relu and again[3].scale == np.float16(0.1)


# -- in a new process ------------------------------------------------------------------------

READ = """
import sys, numpy as np, tinygrad_rnn as tr
sys.path.insert(0, sys.argv[1])
from test_round_trip import Deeper, Scaled, OUTPUTS
for name in OUTPUTS:
    model = tr.load(f"{sys.argv[2]}/{name}.safetensors", classes=[Deeper, Scaled])
    np.save(f"{sys.argv[2]}/{name}.npy", OUTPUTS[name][1](model).data)
"""

OUTPUTS: dict[str, tuple[Any, Any]] = {
    "gru": (lambda: nn.GRU(3, 4, num_layers=2), lambda m: m(np.ones((5, 2, 3), "float32"))[0]),
    "own": (lambda: Deeper(Scaled(3)), lambda m: nn.Recurrent(m)(np.ones((5, 2, 3), "float32"))[0]),
    "narx": (lambda: nn.NARX(1, 1), lambda m: m(np.ones((5, 1, 1)), m.history(np.ones((2, 1, 1)), np.ones((2, 1, 1))))[0]),
    "words": (
        lambda: nn.Sequential(nn.Embedding(4, 3), nn.LSTM(3, 4), nn.Linear(4, 4), tr.softmax).eval(),
        lambda m: m([[1], [2]]),
    ),
}


def test_in_a_new_process(tmp_path):
    expected = {}
    for name, (make, run) in OUTPUTS.items():
        model = make()
        tr.save(model, tmp_path / f"{name}.safetensors")
        expected[name] = run(model).data
    subprocess.run([sys.executable, "-c", READ, str(Path(__file__).parent), str(tmp_path)], check=True, env=_environment())
    for name, array in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), array)


def _environment() -> dict[str, str]:
    import os

    folders = [str(Path(tr.__file__).parents[1]), str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


# -- additional data -------------------------------------------------------------------------


def test_vocabularies_and_scalers(path):
    from sklearn.preprocessing import StandardScaler

    chars = sequences.CharVocabulary("hello\ud800", specials=["<pad>", "<end>"], unknown="?")
    words = sequences.WordVocabulary("the cat and the dog", min_count=1)
    scaler = StandardScaler().fit(np.random.default_rng(0).normal(size=(20, 3)))
    mine = {"mean": np.float32([1, 2]), "std": np.float64(3.5), "names": ("a", "b"), 3: [None, True]}
    model = nn.Linear(3, 2)
    tr.save(model, path, chars=chars, words=words, scaler=scaler, mine=mine, weight=model.weight, classes=[StandardScaler])
    assert isinstance(tr.load(path, classes=[StandardScaler]), nn.Linear)
    again, c, w, s, m, weight = tr.load(path, "model", "chars", "words", "scaler", "mine", "weight", classes=[StandardScaler])
    assert weight is again.weight
    assert (c.symbols, c.specials, c.unknown, c.characters) == (chars.symbols, chars.specials, chars.unknown, chars.characters)
    assert w.encode("the dog").tolist() == words.encode("the dog").tolist() and type(w) is type(words)
    np.testing.assert_array_equal(s.transform(np.eye(3)), scaler.transform(np.eye(3)))
    np.testing.assert_equal(m, mine)
    assert type(m["std"]) is np.float64
    with pytest.raises(
        DataError, match=r"there is no value 'units'; there are 'model', 'chars', 'words', 'scaler', 'mine', 'weight'"
    ):
        tr.load(path, "units")
    with pytest.raises(DataError, match=r"scaler is of class StandardScaler; a file can hold .*classes=\["):
        tr.save(model, path, scaler=scaler)
    with pytest.raises(DataError, match=r"needs the class 'StandardScaler'.*give it as classes=\[StandardScaler\]"):
        tr.load(path, "scaler")


def test_what_goes_along_and_is_no_part_of_the_model(path):
    model, alone = nn.Linear(3, 2), nn.Parameter([1.5, -2.0], symbol="z").requires_grad_(False)
    tr.save(model, path, alone=alone, twice=(alone, [model.bias]), part=model)
    again, first, (second, (bias,)), part = tr.load(path, "model", "alone", "twice", "part")
    assert first is second and bias is again.bias and part is again
    assert first.data.tolist() == [1.5, -2.0] and first.symbol == "z" and not first.requires_grad
    with pytest.raises(DataError, match=r"other\[0\] is a GRU that is not a part of the model; save it to a file of its own"):
        tr.save(model, path, other=[nn.GRU(2, 3)])


class InPlace(nn.Module):
    def __init__(self, table: Any) -> None:
        super().__init__()
        table *= 2.0
        self.table = table


def test_a_constructor_that_changes_its_argument(path):
    """A twin is made of copies. A constructor that changes its arguments is refused, because the given values are lost."""
    model = InPlace(np.ones(3))
    with pytest.raises(DataError, match="table differs each time the model is made"):
        tr.save(model, path)
    assert model.table.tolist() == [2.0] * 3


def test_weights_of_a_whole_model(path):
    model = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5))
    model[0].counts = np.arange(4)
    tr.save(model, path, mean=np.ones(3))
    other = nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5))
    np.testing.assert_equal(other.load(path).state_dict(), model.state_dict())
    other.save(path)
    with pytest.raises(DataError, match=r"has only arrays and no architecture; make the model, and call model.load"):
        tr.load(path)
    np.testing.assert_equal(nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5)).load(path).state_dict(), model.state_dict())


# -- refused models --------------------------------------------------------------------------


def square(x: Any) -> Any:
    return x * x


class Odd(nn.Module):
    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        self.values = values


class Fickle(nn.Module):
    """A module that differs each time, although it is made of the same arguments."""

    count = 0

    def __init__(self) -> None:
        super().__init__()
        Fickle.count += 1
        setattr(self, f"layer{Fickle.count}", {1, 2})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: nn.Sequential(nn.Linear(2, 3), square),
            r"Sequential\.layers\[1\] is the function square, and a file cannot hold code",
        ),
        (lambda: nn.Sequential(nn.Sequential(lambda x: x)), r"Sequential\.layers\[0\]\.layers\[0\] is the function .*<lambda>"),
        (lambda: nn.SystemCell(0, 1, f=functools.partial(square)), r"SystemCell\.f is the function"),
        (lambda: nn.NARX(1, 1, f=nn.Sequential(np.tanh)), r"NARX\.f\.layers\[0\] is the function tanh"),
        (lambda: Odd(1, {2}), r"Odd\.values\[1\] is of class set"),
        (lambda: Odd(x=object()), r"Odd\.x is of class object"),
        (lambda: Odd({"a": [1, Path("x")]}), r"Odd\.values\[0\]\['a'\]\[1\] is of class \w+Path"),
        (lambda: Odd(np.array(["a"])), r"Odd\.values\[0\] is of dtype <U1"),
        (lambda: Odd(1 + 2j), r"Odd\.values\[0\] is of class complex"),
        (lambda: Odd(1 << 700), r"a number of more than 180 digits"),
        (lambda: Odd(str), r"Odd\.values\[0\] is the class str"),
        (Fickle, r"layer\d+ is of class set|is another whenever"),
    ],
)
def test_what_a_file_does_not_hold_is_told_by_its_path(make, words, path):
    path.write_bytes(b"before")
    with pytest.raises(DataError, match=words) as caught:
        tr.save(make(), path)
    assert str(caught.value).startswith("cannot save ") and "\n" not in str(caught.value)
    assert path.read_bytes() == b"before"


def test_what_holds_itself_is_refused(path):
    model = nn.Linear(1, 1)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(DataError, match="contains itself"):
        tr.save(model, path, loop=loop)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deeply"):
        tr.save(model, path, deep=deep)
    while isinstance(deep, list):
        deep = deep.pop()


def test_attributes_that_a_file_does_not_hold(path):
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].callback = square
    with pytest.raises(DataError, match=r"Sequential\.0\.callback is the function square"):
        tr.save(model, path)
    del model[0].callback
    model.seen = {1, 2}
    with pytest.raises(DataError, match=r"Sequential\.seen is of class set"):
        tr.save(model, path)


def test_longdouble_is_refused_by_name(path):
    if np.dtype(np.longdouble) == np.float64:
        pytest.skip("a long double is a double here")
    with pytest.raises(DataError, match=r"'weight' has dtype float128|'weight' has dtype longdouble|'weight' has dtype"):
        tr.save(nn.Linear(1, 1, dtype=np.longdouble), path)


def test_wrong_arguments_of_save(path):
    for call in (lambda: tr.save(optim.SGD, path), lambda: tr.load(path, classes=[3])):
        with pytest.raises((TypeError, DataError)):
            call()


def test_two_classes_of_one_name(path):
    first, second = (type("Twin", (nn.Linear,), {}) for _ in range(2))
    with pytest.raises(DataError, match="two of the classes have the name Twin"):
        tr.save(nn.Sequential(first(1, 1), second(1, 1)), path)
    tr.save(first(1, 1), path)
    with pytest.raises(DataError, match="two of the classes have the name Twin"):
        tr.load(path, classes=[first, second])
    assert type(tr.load(path, classes=[second])) is second
    with pytest.raises(DataError, match=r"needs the class 'Twin', .* give it as classes=\[Twin\]"):
        tr.load(path)


def test_a_class_that_is_not_as_it_was(path):
    tr.save(Scaled(3), path)
    wider = type("Scaled", (nn.Module,), {"__init__": lambda self, *a, **k: (nn.Module.__init__(self), None)[1]})
    with pytest.raises(StateDictError, match="not known: W"):
        tr.load(path, classes=[wider])
    other = type("Scaled", (nn.Module,), {"__init__": lambda self: nn.Module.__init__(self)})
    with pytest.raises(DataError, match=r"Scaled cannot be made from its arguments: TypeError"):
        tr.load(path, classes=[other])
