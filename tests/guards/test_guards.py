"""Guards: a trace is used only while all that the step reads, in addition to its arguments, is unchanged."""

from __future__ import annotations

import abc
import array
import builtins
import collections
import contextvars
import copy
import dataclasses
import decimal
import enum
import functools
import gc
import itertools
import os
import pickle
import random
import secrets
import subprocess
import sys
import tempfile
import textwrap
import time
import types
import uuid
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import SideEffectError
from tinygrad_rnn.guards import Watch, guard
from tinygrad_rnn.nn.trace_cache import _caches

XS = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 2, 2)


def cell(read):
    """A cell whose step multiplies by ``read(cell)``."""

    class Read(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            h = x + read(self) * h
            return h, h

    return Read()


# -- places where a number may be stored, and ways to change the number ------------------------

GLOBAL = 0.0


def set_global(value):
    globals()["GLOBAL"] = value


def read_global():
    return GLOBAL


def in_closure():
    number = 0.0

    def change(value):
        nonlocal number
        number = value

    return (lambda _: number), change


def in_item(container, key):
    return (lambda _: container[key]), functools.partial(container.__setitem__, key)


def in_attribute(owner, name="value"):
    setattr(owner, name, 0.0)
    return (lambda _: getattr(owner, name)), functools.partial(setattr, owner, name)


class Slots:
    __slots__ = ("value",)


class Base(abc.ABC):  # noqa: B024
    @property
    def doubled(self):
        return 2 * self.value


class Derived(Base):
    value = 0.0


@dataclasses.dataclass
class Settings:
    value: float = 0.0
    inner: Any = None


class Pair(NamedTuple):
    name: str
    value: Any


class Choice(enum.Enum):
    LOW = 0.25
    HIGH = 0.75


def in_default():
    def read(_, numbers=[0.0]):  # noqa: B006
        return numbers[0]

    return read, lambda value: read.__defaults__[0].__setitem__(0, value)


def in_keyword_default():
    def read(_, *, number=0.0):
        return number

    return read, lambda value: read.__kwdefaults__.update(number=value)


def in_partial():
    held = [functools.partial(float.__mul__, 0.0)]
    return (lambda _: held[0](1.0)), lambda value: held.__setitem__(0, functools.partial(float.__mul__, value))


def in_derived_class():
    derived = Derived()
    return (lambda _: derived.doubled), lambda value: setattr(Derived, "value", value / 2)


def in_named_tuple():
    pair = Pair("a", [0.0])
    return (lambda _: pair.value[0]), lambda value: pair.value.__setitem__(0, value)


def in_settings():
    settings = Settings(inner=Settings())
    return (lambda _: settings.inner.value), lambda value: setattr(settings.inner, "value", value)


def in_method_of_a_list():
    numbers = [0.0]
    return (lambda _: numbers.__getitem__(0)), lambda value: numbers.__setitem__(0, value)


def in_bound_method():
    held = Derived()
    method = types.MethodType(lambda self: self.__dict__.get("own", 0.0), held)
    return (lambda _: method()), lambda value: setattr(held, "own", value)


def in_module():
    module = types.ModuleType("settings_of_a_user")
    sys.modules[module.__name__] = module
    space = {"module": module}
    exec("def read(cell):\n    return module.value", space)
    module.value = 0.0
    return space["read"], lambda value: setattr(module, "value", value)


def in_replaced_function():
    space = {}
    exec("def helper():\n    return 0.0\ndef read(cell):\n    return helper()", space)
    return space["read"], lambda value: space.update(helper=lambda: value)


def in_comprehension():
    numbers = {"a": [0.0]}
    return (lambda _: sum(numbers[key][0] for key in ["a"])), lambda value: numbers["a"].__setitem__(0, value)


def in_large_array():
    array = np.zeros(100_000)
    return (lambda _: float(array[-1])), functools.partial(array.__setitem__, -1)


def in_large_list():
    numbers = [0.0] * 5000
    return (lambda _: numbers[-1]), functools.partial(numbers.__setitem__, -1)


def in_deep_list():
    inner = [0.0]
    outer = inner
    for _ in range(200):
        outer = [outer]

    def read(_):
        found = outer
        while isinstance(found[0], list):
            found = found[0]
        return found[0]

    return read, functools.partial(inner.__setitem__, 0)


def in_parameter():
    parameter = tr.Parameter([0.0])
    return (lambda _: float(parameter.data[0])), lambda value: setattr(parameter, "data", [value])


def in_written_code(source, name="number", **space):
    """A global variable that only the source code of this test reads."""
    space.setdefault("__name__", "code_of_a_user")
    space[name] = 0.0
    exec(source, space)
    return space["read"], functools.partial(space.__setitem__, name)


def in_module_read_by(source):
    module = types.ModuleType("settings_of_a_user")
    sys.modules[module.__name__] = module
    read, _ = in_written_code(source, "unused", module=module)
    return read, functools.partial(setattr, module, "value")


class Private:
    __slots__ = ("__value",)

    def __float__(self):
        return self.__value

    def set(self, value):
        self.__value = value


def in_private_slot():
    held = Private()
    return (lambda _: float(held)), held.set


def in_extended(kind, *args):
    return in_attribute(type("Extended", (kind,), {})(*args))


def in_array_of_a_class():
    return in_attribute(np.ones(2).view(type("Extended", (np.ndarray,), {})))


def in_function():
    def helper():
        return helper.value

    return (lambda _: helper()), functools.partial(setattr, helper, "value")


def in_code():
    def helper():
        return 0.0

    def change(value):
        helper.__code__ = in_written_code(f"def read():\n    return {value}")[0].__code__

    return (lambda _: helper()), change


def in_wrapper():
    number = [0.0]

    @functools.wraps(np.exp)
    def wrapper():
        return number[0]

    return (lambda _: wrapper()), functools.partial(number.__setitem__, 0)


def in_cached_object():
    @functools.lru_cache
    def settings():
        return types.SimpleNamespace()

    return (lambda _: settings().value), lambda value: setattr(settings(), "value", value)


def in_metaclass():
    meta = type("Meta", (type,), {"value": 0.0})
    made = meta("Made", (), {})
    return (lambda _: made.value), functools.partial(setattr, meta, "value")


def in_view_of_a_dict():
    held = {"a": 0.0}
    values = held.values()
    return (lambda _: sum(values)), functools.partial(held.__setitem__, "a")


def in_factory():
    number = [0.0]

    @dataclasses.dataclass
    class Made:
        value: float = dataclasses.field(default_factory=lambda: number[0])

    return (lambda _: Made().value), functools.partial(number.__setitem__, 0)


def in_default_factory():
    number = [0.0]
    held = collections.defaultdict(lambda: number[0])
    return (lambda _: held[0] + 0 * held.pop(0)), functools.partial(number.__setitem__, 0)


def in_function_of_arrays():
    number = [0.0]
    function = np.frompyfunc(lambda x: x * number[0], 1, 1)
    return (lambda _: float(function(1.0))), functools.partial(number.__setitem__, 0)


def in_file(tmp=[]):  # noqa: B006
    folder = tempfile.TemporaryDirectory()
    tmp.append(folder)
    path = Path(folder.name) / "number"
    return (lambda _: float(path.read_text())), lambda value: path.write_text(str(value))


def in_order():
    held = collections.OrderedDict(low=0.25, high=0.75, other=-0.5)

    def change(value):
        held.move_to_end(next(key for key in held if held[key] == value), last=False)

    return (lambda _: next(iter(held.values()))), change


def in_environment():
    return (lambda _: float(os.getenv("NUMBER_OF_A_USER", "0"))), lambda value: os.environ.update(NUMBER_OF_A_USER=str(value))


VARIABLE: contextvars.ContextVar[float] = contextvars.ContextVar("number")


def in_precision(value):
    decimal.getcontext().prec = int(100 + 50 * value)


UNGUARDED = {
    "an array": lambda: in_item(np.zeros(3), 1),
    "a large array": in_large_array,
    "a large list": in_large_list,
    "a deep list": in_deep_list,
    "a parameter's array": in_parameter,
    "an object of a cached function": in_cached_object,
    "a view of a dict": in_view_of_a_dict,
    "a function of arrays": in_function_of_arrays,
    "a file": in_file,
    "the environment": in_environment,
    "a context variable": lambda: (lambda _: VARIABLE.get(), VARIABLE.set),
    "a cell of a closure": lambda: in_attribute(types.CellType(0.0), "cell_contents"),
    "an array of objects": lambda: in_item(np.array([0.0, None], object), 0),
    "globals()": lambda: in_written_code("def read(_):\n    return globals()['number']"),
    "eval": lambda: in_written_code("def read(_):\n    return eval('num' + 'ber')"),
    "the context of decimals": lambda: (lambda _: decimal.getcontext().prec / 100, in_precision),
}
"""Places that no guard checks, so that the step is traced at each call."""

PLACES = {
    **UNGUARDED,
    "a module that is imported in the step": lambda: in_module_read_by(
        "def read(_):\n    import settings_of_a_user as s\n    return s.value"
    ),
    "a module's variable that is imported in the step": lambda: in_module_read_by(
        "def read(_):\n    from settings_of_a_user import value\n    return value"
    ),
    "a module that is given to a function": lambda: in_module_read_by(
        "def get(m):\n    return m.value\ndef read(_):\n    return get(module)"
    ),
    "a module by getattr": lambda: in_module_read_by("def read(_):\n    return getattr(module, 'va' + 'lue')"),
    "a module's dict": lambda: in_module_read_by("def read(_):\n    return vars(module)['value']"),
    "a constructor": lambda: in_written_code(
        "class Made:\n    def __init__(self):\n        self.value = number\ndef read(_):\n    return Made().value"
    ),
    "a builtin": lambda: (
        in_written_code("def read(_):\n    return number_of_a_user")[0],
        functools.partial(setattr, builtins, "number_of_a_user"),
    ),
    "an array of Python": lambda: in_item(array.array("d", [0.0]), 0),
    "a private slot": in_private_slot,
    "an attribute of a number": lambda: in_extended(float, 1.0),
    "an attribute of a string": lambda: in_extended(str, "a"),
    "an attribute of an array": in_array_of_a_class,
    "an attribute of a function": in_function,
    "the code of a function": in_code,
    "a wrapper of a function of NumPy": in_wrapper,
    "a metaclass": in_metaclass,
    "a dataclass's factory": in_factory,
    "the factory of a defaultdict": in_default_factory,
    "the order of a dict": in_order,
    "a global": lambda: (lambda _: read_global(), set_global),
    "a closure": in_closure,
    "a list": lambda: in_item([0.0], 0),
    "a dict": lambda: in_item({"a": 0.0}, "a"),
    "a dict of integers": lambda: in_item({1: 0.0}, 1),
    "a defaultdict": lambda: in_item(collections.defaultdict(float, a=0.0), "a"),
    "a deque": lambda: in_item(collections.deque([0.0]), 0),
    "an object": lambda: in_attribute(types.SimpleNamespace()),
    "an object with slots": lambda: in_attribute(Slots()),
    "a class": lambda: in_attribute(type("Anything", (), {})),
    "a base class's property": in_derived_class,
    "a dataclass within another": in_settings,
    "a named tuple's list": in_named_tuple,
    "a default argument": in_default,
    "a default of a keyword": in_keyword_default,
    "a partial": in_partial,
    "a list's own method": in_method_of_a_list,
    "a bound method": in_bound_method,
    "a module": in_module,
    "a function that is replaced": in_replaced_function,
    "a comprehension": in_comprehension,
    "a module's attribute": lambda: in_attribute(nn.Linear(2, 2)),
    "an optimiser's attribute": lambda: in_attribute(tr.optim.SGD([tr.Parameter([1.0])], 0.1), "lr"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_changes_between_calls_is_seen(place):
    read, change = PLACES[place]()
    model = nn.Recurrent(cell(read))
    unrolled = nn.Recurrent(model.cell, mode="unroll")
    found = []
    for value in (0.25, 0.75, 0.75, 0.25, -0.5):
        change(value)
        found.append(model(XS)[0].numpy())
        np.testing.assert_array_equal(found[-1], unrolled(XS)[0].numpy())
    np.testing.assert_array_equal(found[1], found[2])
    np.testing.assert_array_equal(found[0], found[3])
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[3], found[4])


def kept(layer):
    """The traces that are kept by the runs within a layer."""
    return [entry.value for _, part in layer.modules() if part in _caches for entry in _caches[part].steps.values()]


@pytest.mark.parametrize("place", sorted(PLACES.keys() - UNGUARDED.keys()))
def test_what_is_small_is_guarded_and_not_traced_again(place):
    read, change = PLACES[place]()
    model = nn.Recurrent(cell(read))
    change(0.25)
    model(XS)
    assert [found.lasting for found in kept(model)] == [True]


@pytest.mark.parametrize(
    "layer", [nn.RNN(2, 3), nn.LSTM(2, 3), nn.GRU(2, 3, num_layers=2, bidirectional=True), nn.Jordan(2, 3, 2)]
)
def test_layers_of_the_library_are_not_traced_again(layer):
    layer(XS)
    assert kept(layer) and all(found.lasting for found in kept(layer))


@pytest.mark.parametrize("change", [lambda cell, v: setattr(cell, "value", v), lambda cell, v: setattr(type(cell), "value", v)])
def test_attributes_of_the_cell_and_of_its_class_are_seen(change):
    twin = cell(lambda cell: cell.value)
    model = nn.Recurrent(twin)
    for value in (0.5, 1.5):
        change(twin, value)
        np.testing.assert_array_equal(model(XS)[0].numpy(), nn.Recurrent(twin, mode="unroll")(XS)[0].numpy())


def test_that_a_parameter_is_frozen_is_seen():
    parameter = tr.Parameter([0.0])
    model = nn.Recurrent(cell(lambda _: 0.25 if parameter.requires_grad else 0.75))
    first = model(XS)[0].numpy()
    parameter.requires_grad_(False)
    assert not np.array_equal(first, model(XS)[0].numpy())


def test_a_method_of_the_library_that_is_replaced_is_seen(monkeypatch):
    model = nn.Recurrent(nn.RNNCell(2, 2))
    before = model(XS)[0].numpy()
    for factor in (0.5, 2.0):
        with monkeypatch.context() as patch:
            patch.setattr(nn.RNNCell, "step", lambda self, x, h: (factor * x, h))  # noqa: B023
            np.testing.assert_allclose(model(XS)[0].numpy(), factor * XS)
        np.testing.assert_array_equal(model(XS)[0].numpy(), before)


def test_a_guard_runs_no_code_of_what_it_looks_at():
    ran = []

    class Lazy(dict):
        __slots__ = ("unset",)

        @property
        def value(self):
            ran.append("value")

        def __getattr__(self, name):
            ran.append(name)
            raise AttributeError(name)

        def __iter__(self):
            ran.append("iter")
            return iter(())

        items = values = keys = __len__ = __eq__ = __iter__
        __hash__ = None

    class LazyNumber(float):
        def __repr__(self):
            ran.append("repr")
            return "0"

    guard([Lazy(a=1), type("LazyList", (list,), {"__iter__": Lazy.__iter__, "__len__": Lazy.__iter__})(), LazyNumber(2)])
    assert ran == []
    assert guard([LazyNumber(2)]).key != guard([LazyNumber(3)]).key


def test_a_method_that_is_replaced_is_seen():
    first, second = cell(lambda _: 0.5), cell(lambda _: 2.0)
    model = nn.Recurrent(first)
    model(XS)
    type(first).step = type(second).step
    np.testing.assert_array_equal(model(XS)[0].numpy(), nn.Recurrent(second)(XS)[0].numpy())


def test_an_enum_and_an_iterator_can_be_read():
    held = types.SimpleNamespace(choice=Choice.LOW, anything=itertools.repeat(1.0))
    model = nn.Recurrent(cell(lambda _: held.choice.value * next(held.anything)))
    for held.choice in (Choice.LOW, Choice.HIGH):
        np.testing.assert_array_equal(model(XS)[0].numpy(), nn.Recurrent(model.cell, mode="unroll")(XS)[0].numpy())


# -- the guard itself ----------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(values)
def test_a_guard_of_a_copy_is_the_same(value):
    assert guard([value]).key == guard([copy.deepcopy(value)]).key
    assert guard([value]).complete


@given(values, values)
def test_guards_of_different_values_differ(one, other):
    same = repr(one) == repr(other)
    assert (guard([one]).key == guard([other]).key) == same


def test_numbers_that_are_equal_and_not_the_same_differ():
    numbers = [1, 1.0, True, np.float32(1), np.float64(1), 1 + 0j, "1", b"1", np.ones(1), np.ones(1, "float32"), [1], (1,)]
    assert len({guard(number).key for number in numbers}) == len(numbers)
    assert guard(0.0).key != guard(-0.0).key and guard(float("nan")).key == guard(float("nan")).key


def test_a_guard_holds_nothing_alive():
    class Owner:
        def __call__(self):
            return self

    owner = Owner()
    owner.function = lambda: owner
    found = guard(owner)
    assert found.valid
    del owner.function
    assert not found.valid


def test_a_module_that_its_step_knows_is_freed_with_its_traces():
    def made():
        held = {}
        model = held["model"] = nn.Recurrent(cell(lambda _: len(held)))
        model(XS)
        return weakref.ref(model)

    alive = made()
    gc.collect()
    assert alive() is None


# -- the quick check, instead of the whole guard ------------------------------------------------

NO_GLANCE = {
    "a dataclass within another",
    "a dataclass's factory",
    "a defaultdict",
    "a wrapper of a function of NumPy",
    "an array of Python",
    "the factory of a defaultdict",
}
"""Places that only the whole guard checks."""


@pytest.mark.parametrize("place", sorted(PLACES.keys() - UNGUARDED.keys()))
def test_a_glance_sees_what_a_guard_sees(place):
    read, change = PLACES[place]()
    twin, watch = cell(read), Watch()
    change(0.25)
    first, second, third = (watch.guard(twin) for _ in range(3))
    assert (first is second is third) == (place not in NO_GLANCE)
    for value in (0.75, 0.75, 0.75, 0.25, -0.5):
        change(value)
        assert watch.guard(twin).key == guard(twin).key
        assert value == 0.25 or watch.guard(twin).key != first.key


def test_a_copy_of_a_module_does_not_end_its_glances():
    layer = nn.Linear(2, 2)
    copy.deepcopy(layer)  # leaves a list of slots on the class
    reader, watch = cell(in_attribute(layer)[0]), Watch()
    first, second, third = (watch.guard(reader) for _ in range(3))
    assert first is second is third


changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "append", "pop", "replace", "array", "nest", "delete", "nothing", "class"]),
        st.sampled_from("abc"),
        st.integers(0, 2),
    ),
    max_size=30,
)


@given(changes)
def test_a_glance_finds_every_change_of_many(changes):
    """Lists and arrays are deleted and made again, so that new objects get the addresses of old objects."""

    class TypeRule:
        number = 0

    held, watch = TypeRule(), Watch()
    for how, name, number in changes:
        before = getattr(held, name, None)
        if how == "set":
            setattr(held, name, number)
        elif how == "append" and isinstance(before, list):
            before.append({"n": number})
        elif how == "pop" and isinstance(before, list) and before:
            before.pop()
        elif how == "replace":
            setattr(held, name, [number])
        elif how == "array" and isinstance(before, np.ndarray):
            before[number] += 1
        elif how == "array":
            setattr(held, name, np.zeros(3))
        elif how == "nest":
            setattr(held, name, (number, [before]))
        elif how == "delete":
            vars(held).pop(name, None)
        elif how == "class":
            TypeRule.number = number
        before = None
        assert watch.guard(held).key == guard(held).key


def test_a_glance_holds_nothing_alive():
    class Owner:
        def __call__(self):
            return self

    owner, watch = Owner(), Watch()
    owner.inner = [Owner()]
    owner.function = functools.partial(lambda held: held.inner, owner)
    assert len({id(watch.guard(owner)) for _ in range(4)}) == 1
    alive = [weakref.ref(owner), weakref.ref(owner.inner[0])]
    del owner
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


class Holder:
    pass


def test_a_glance_sees_a_new_number_at_the_address_of_an_old_one():
    held, watch = Holder(), Watch()
    for n in range(6):
        vars(held).clear()
        held.a = float(n)  # CPython reuses the memory of the last freed float
        assert [watch.guard(held).key for _ in range(4)] == [guard(held).key] * 4


def test_a_glance_runs_no_code_of_a_container():
    log = []

    class Loud(list):
        def __iter__(self):
            log.append("run")
            return super().__iter__()

    held, watch = Holder(), Watch()
    held.items = [1]
    first, second, third = (watch.guard(held) for _ in range(3))
    assert first is second is third
    held.items = Loud([1])
    assert watch.guard(held).key != first.key and not log


# -- actions of a step in Python, in addition to tensors -----------------------------------------

ITERATOR, RANDOM, NUMPY, STATE = itertools.count(), random.Random(0), np.random.default_rng(0), np.random.RandomState(0)
COUNT = {"n": 0}
LOG: list[Any] = []
BYTES = bytearray(1)


def count_in_attribute(cell):
    cell.count = getattr(cell, "count", 0) + 1
    return 1.0


def count_in_dict(cell):
    COUNT["n"] += 1
    return COUNT["n"]


def count_in_bytes(cell):
    BYTES[0] += 1
    return 1.0


def log_in_list(cell):
    LOG.append(cell)
    return 1.0


def sometimes(cell):
    return 2.0 if random.random() < 0.5 else 1.0


SIDE_EFFECTS = {
    "np.random.randn": (lambda _: np.random.randn(), "NumPy's random generator"),  # noqa: NPY002
    "np.random.normal of a shape": (lambda _: np.random.normal(size=2), "NumPy's random generator"),  # noqa: NPY002
    "a generator of NumPy": (lambda _: NUMPY.normal(), "NUMPY"),
    "a generator's bits": (lambda _: NUMPY.bit_generator.random_raw() / 2**64, "NUMPY"),
    "a random state": (lambda _: STATE.uniform(), "STATE"),
    "random.random": (lambda _: random.random(), "Python's random generator"),
    "a generator of Python": (lambda _: RANDOM.gauss(), "RANDOM"),
    "a choice by chance": (sometimes, "Python's random generator"),
    "the library's generator": (lambda _: float(tr.Parameter((2, 2)).data[0, 0]), "the library's random generator"),
    "the time": (lambda _: time.perf_counter() % 1, "the number"),
    "an iterator": (lambda _: next(ITERATOR), "the number"),
    "an array of an iterator": (lambda _: np.full(2, next(ITERATOR)), "of shape (2,)"),
    "more operations each time": (
        lambda _: functools.reduce(lambda x, _: tr.tanh(x), range(next(ITERATOR)), 1.0),
        "what is computed",
    ),
    "secrets": (lambda _: float(secrets.randbelow(10**6)), "the number"),
    "uuid": (lambda _: float(uuid.uuid4().int % 1_000_003), "the number"),
    "a generator of the system": (lambda _: random.SystemRandom().random(), "the number"),
    "a generator without a seed": (lambda _: float(np.random.default_rng().normal()), "the number"),
    "a counter in bytes": (count_in_bytes, "BYTES"),
    "a counter in an attribute": (count_in_attribute, "count"),
    "a counter in a dict": (count_in_dict, "COUNT"),
    "a log": (log_in_list, "LOG"),
}


@pytest.mark.parametrize("mode", ["scan", "unroll"])
@pytest.mark.parametrize("effect", SIDE_EFFECTS)
def test_a_side_effect_in_a_step_is_an_error_that_names_it(effect, mode):
    read, name = SIDE_EFFECTS[effect]
    with pytest.raises(SideEffectError, match=r"Read.step .*tr\.sample.*a slot of the state") as caught:
        nn.Recurrent(cell(read), mode=mode)(XS)
    assert name in str(caught.value)


def test_both_modes_say_the_same_of_a_side_effect():
    twin = cell(SIDE_EFFECTS["a counter in a dict"][0])
    said = []
    for mode in ("scan", "unroll"):
        with pytest.raises(SideEffectError) as caught:
            nn.Recurrent(twin, mode=mode)(XS)
        said.append(str(caught.value))
    assert said[0] == said[1]


def keep_for_later(cell):
    if not hasattr(cell, "kept"):
        cell.kept = np.float32(0.5)
    return cell.kept


@pytest.mark.parametrize("read", [keep_for_later, lambda _: tr.sample(lambda g: g.normal(size=2)), lambda _: 1.0])
def test_what_is_computed_once_or_drawn_by_the_library_is_no_side_effect(read):
    for mode in ("scan", "unroll"):
        nn.Recurrent(cell(read), mode=mode)(XS)


def test_a_value_that_is_kept_and_not_read_is_no_side_effect():
    class Shows(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            self.last = tr.tanh(x + h)
            return self.state_shape[0] * x, x

    nn.Recurrent(Shows())(XS)


# -- copies, pickles and other processes -----------------------------------------------------

WAYS = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@given(
    st.sampled_from(sorted(WAYS)),
    st.none() | st.sampled_from(["W", "W_f", "Ω"]),
    st.booleans(),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_a_copy_of_a_parameter_is_what_the_parameter_is(way, symbol, frozen, dtype):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.ones(2, dtype), symbol=symbol)

    model = nn.Sequential(Holder(), Holder())
    model[1].weight.requires_grad_(not frozen)
    own = model[1].weight
    twin = WAYS[way](own)

    def facts(parameter):
        node = parameter.node
        return (
            parameter.symbol,
            parameter.name,
            node.role,
            node.scope,
            parameter.dtype,
            parameter.requires_grad,
            parameter.shape,
        )

    assert facts(twin) == facts(own)
    assert type(twin) is type(own) and twin is not own
    twin.data = np.zeros(2)
    assert own.data.all()


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_of_a_model_keeps_what_is_frozen_and_tied(way):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    twin = WAYS[way](model)
    assert twin[1].weight is twin[0].weight
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    assert [p.name for p in twin.parameters()] == [p.name for p in model.parameters()]


def test_a_model_from_another_process_sees_what_is_set_on_it(tmp_path):
    """Code that counts changes starts from one again in each process."""
    model = nn.GRU(2, 3)
    for _ in range(50):
        model.training = not model.training
    (tmp_path / "model").write_bytes(pickle.dumps(model))
    script = """
        import pickle, sys
        import numpy as np
        from tinygrad_rnn import nn
        model = pickle.loads(open(sys.argv[1], "rb").read())
        xs = np.ones((3, 1, 2), "float32")
        model(xs)
        for _, part in model.modules():
            for name, value in list(vars(part).items()):
                if isinstance(value, nn.Parameter):
                    setattr(part, name, nn.Parameter(np.zeros(value.shape, "float32")))
        assert not model(xs)[0].numpy().any()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path / "model"], check=True)
