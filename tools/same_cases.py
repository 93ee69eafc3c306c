"""Cases that `same.py` runs in each checkout, and what each of them comes to.

Only public names of the package are used here, so that a case outlives moves and new names of internal modules.

A case is called with a dictionary of facts, and adds to it in the order in which a reader looks for the cause:
work before numbers, results before gradients. A fact is an array, a text, a number, or a mapping of numbers.
"""

from __future__ import annotations

import ast
import os
import pickle
import re
import sys
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

Facts = dict[str, Any]
Case = tuple[str, Callable[[Facts], None]]
MODES = ("scan", "unroll")
ROOT = Path(__file__).parents[1]


def facts_of(case: Callable[[Facts], None]) -> Facts:
    """All facts of a case; an error that ends it is the last of them."""
    facts: Facts = {}
    tr.seed(0)
    np.random.seed(0)  # noqa: NPY002  no case reads it, but a fault might
    try:
        with np.errstate(all="ignore"):
            case(facts)
    except Exception as error:
        facts["raises"] = f"{type(error).__name__}: {error}"
    return facts


# -- work ----------------------------------------------------------------------------------


@contextmanager
def counted(facts: Facts, of: str) -> Iterator[None]:
    """Add the number of kernel calls inside: lines of generated programs that are run."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        return line if file[0] == "<" and not file.startswith(("<string", "<frozen")) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)
        facts[f"kernel calls, {of}"] = count


@contextmanager
def uncounted(facts: Facts, of: str) -> Iterator[None]:
    """Add nothing."""
    yield


def operations(ends: Sequence[Any]) -> dict[str, int]:
    """How many nodes of each primitive a graph has: the kernel calls of a run without a program."""
    nodes = tr.graph(*ends).nodes if ends else ()
    return dict(Counter(node.primitive.name for node in nodes if node.primitive is not None))


def planned(facts: Facts, make: Callable[[], Any]) -> None:
    """Add the counts of a plan, of one recurrent part or of several, and then all that it prints."""
    plan = make()
    for path, part in plan.items() if isinstance(plan, dict) else [("", plan)]:
        for name in ("forward", "backward"):
            if (one := getattr(part, name)) is not None:
                facts[" ".join(filter(None, ("counts", path, name)))] = one.counts._asdict()
    facts["plan"] = str(plan)


# -- numbers -------------------------------------------------------------------------------


def flat(nested: Any) -> list[Any]:
    """The leaves of nested tuples."""
    return [leaf for part in nested for leaf in flat(part)] if isinstance(nested, tuple) else [nested]


def like(structure: Any, leaves: Iterator[Any]) -> Any:
    """Nested tuples of the same structure, named ones too, with other leaves."""
    if not isinstance(structure, tuple):
        return next(leaves)
    parts = [like(part, leaves) for part in structure]
    return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)


def floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that may have a gradient."""
    return {name: value for name, value in values.items() if value.dtype.kind == "f"}


def to_second_order(
    facts: Facts, ends: Mapping[str, Any], by: Mapping[str, Any], cotangents: Mapping[str, Any], count: Any = counted
) -> None:
    """Add gradients of some ends, and those of a combination of these gradients, by all values."""
    by = floats(by)
    if not by:
        return
    cotangents = {name: tr.tensor(array) for name, array in cotangents.items()}
    with count(facts, "gradients"):
        first = _gradients({name: ends[name] for name in cotangents}, by, cotangents)
    facts["operations, gradients"] = operations(list(first.values()))
    facts |= {f"grad {name}": g.numpy() for name, g in first.items()}
    along = {name: tr.tensor(array) for name, array in drawn_like(first, 1).items()}
    with count(facts, "gradients of gradients"):
        second = _gradients(first, {**by, **{f"cotangent {name}": value for name, value in cotangents.items()}}, along)
    facts["operations, gradients of gradients"] = operations(list(second.values()))
    facts |= {f"grad grad {name}": g.numpy() for name, g in second.items()}


def _gradients(ends: Mapping[str, Any], by: Mapping[str, Any], cotangents: Mapping[str, Any]) -> dict[str, Any]:
    zeros = [(0.0 * value).sum() for value in by.values()]  # so that there is a path from every value
    found = tr.grad([*ends.values(), *zeros], list(by.values()), [*[cotangents[name] for name in ends], *[1.0] * len(zeros)])
    return dict(zip(by, found, strict=True))


def drawn_like(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Random arrays of the same shapes and dtypes."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, value.shape).astype(value.dtype) for name, value in floats(values).items()}


def by_backward(
    facts: Facts, ends: Mapping[str, Any], by: Mapping[str, Any], cotangents: Mapping[str, Any], count: Any
) -> None:
    """Add the gradients that ``.backward()`` leaves; the values are leaves that take one."""
    for value in by.values():
        value.grad = None
    total = sum((ends[name] * array).sum() for name, array in cotangents.items()) + sum((0.0 * v).sum() for v in by.values())
    with count(facts, "backward"):
        total.backward()
    facts |= {f"backward {name}": value.grad.numpy() for name, value in by.items()}


# -- random cells --------------------------------------------------------------------------


class WrittenCell(nn.Cell):
    """A cell whose step is a list of equations, as `same.py` writes them down.

    Parameters
    ----------
    cell : dict
        Its `program` has ``equations``, each (name, operation, arguments, options), the structures
        ``inputs``, ``state`` and ``output``, and ``after``, the next value of each slot.
    cast : callable
        Takes an array to the dtype in which the cell is run.
    """

    def __init__(self, cell: Mapping[str, Any], cast: Callable[[Any], Any]) -> None:
        super().__init__()
        self.cell = cell
        self.cast = cast
        self.program = cell["program"]
        self.has_names = cell["fields"] is not None
        state = self.program["state"]
        self.structure = namedtuple("State", cell["fields"])(*state) if self.has_names else state
        self.slots = flat(state)
        for name, array in cell["parameters"].items():
            setattr(self, name, nn.Parameter(cast(array), symbol=name, dtype=cast(array).dtype))
        captured = cell["captured"].items()
        self.constants = {k: tr.tensor(cast(v), requires_grad=True) if live else cast(v) for k, (live, v) in captured}

    def initial_state(self, batch_size: int, dtype: Any = None) -> Any:
        """Zeros, or a parameter for every row the same."""

        def first(slot: str) -> Any:
            shape = (batch_size, *self.program["shapes"][slot][1:])
            if slot in self.cell["start"]:
                return tr.broadcast_to(getattr(self, self.cell["start"][slot]), shape)
            return tr.tensor(self.cast(np.zeros(shape)))

        return like(self.structure, map(first, self.slots))

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Evaluate the equations, in order."""
        program = self.program
        given = dict(zip(self.slots, flat(state), strict=True))
        if program["inputs"] is not None:
            given |= zip(flat(program["inputs"]), flat(x), strict=True)
        values = {**dict(self.named_parameters()), **self.constants, **given}
        batch = next((value.shape[0] for value in given.values()), 1)
        for name, operation, arguments, options in program["equations"]:
            read = [values[a] if isinstance(a, str) else a for a in arguments]
            values[name] = _apply(operation, read, {key: _sized(option, batch) for key, option in options})
        made = {name for name, *_ in program["equations"]}
        after = [
            values[name].named(slot) if name in made and not self.has_names else values[name]
            for slot, name in zip(self.slots, program["after"], strict=True)
        ]
        output = [values[name] if isinstance(name, str) else name for name in flat(program["output"])]
        return like(program["output"], iter(output)), like(self.structure, iter(after))


def _apply(operation: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    if operation == "detach":
        return tr.tensor(arguments[0]).detach() if isinstance(arguments[0], np.ndarray) else arguments[0].detach()
    if operation == "einsum":
        return tr.einsum(options["subscripts"], *arguments)
    if operation in ("concatenate", "stack"):
        return getattr(tr, operation)(arguments, **options)
    return getattr(tr, operation)(*arguments, **options)


def _sized(option: Any, batch: int) -> Any:
    return tuple(batch if n == "B" else n for n in option) if isinstance(option, tuple) and "B" in option else option


class CellCase:
    """A random cell with its run, in one mode; kernel calls are counted where the options say so, as that takes time.

    Parameters
    ----------
    cell : dict
        As `same.py` writes it down.
    mode : {"scan", "unroll"}
    """

    def __init__(self, cell: Mapping[str, Any], mode: str) -> None:
        self.given, self.mode = cell, mode
        self.options = cell["options"]

    def cast(self, array: Any) -> Any:
        """An array in the dtype of this run."""
        return array.astype(self.options["dtype"]) if array.dtype.kind == "f" else array

    def __call__(self, facts: Facts) -> None:
        """Run the cell, forward and backward."""
        given, cell = self.given, WrittenCell(self.given, self.cast)
        recurrent = nn.Recurrent(cell, mode=self.mode, reverse=given["reverse"], checkpoint=self.options["checkpoint"])
        if self.mode == "scan" and given["T"] and self.options["work"]:
            inputs = given["inputs"] and tuple(map(self.cast, given["inputs"]))
            example = inputs and like(given["program"]["inputs"], iter(inputs))
            planned(facts, lambda: recurrent.plan(given["T"], given["batch_size"], example))
        count = counted if self.options["work"] else uncounted
        values = self.leaves(cell, requires_grad=False)
        with count(facts, "forward"):
            ends = self.ends(recurrent, values)
        if self.mode == "unroll":
            facts["graph"] = tr.graph(*ends.values()).text()
        facts |= {name: end.numpy() for name, end in ends.items()}
        cotangents = {name: self.cast(array) for name, array in given["cotangents"].items() if name in ends}
        cotangents |= drawn_like({name: end for name, end in ends.items() if name.startswith("recorded")}, 2)
        to_second_order(facts, ends, values, cotangents, count)
        if self.options["backward"] and floats(values):
            values = self.leaves(cell, requires_grad=True)
            by_backward(facts, self.ends(recurrent, values), floats(values), cotangents, count)

    def leaves(self, cell: WrittenCell, requires_grad: bool) -> dict[str, Any]:
        """All that the run reads, by name."""
        given, program = self.given, self.given["program"]
        arrays = dict(zip(flat(program["inputs"]), given["inputs"], strict=True)) if given["inputs"] else {}
        arrays |= {f"initial {slot}": v for slot, v in zip(cell.slots, given["state"] or [], strict=False)}
        arrays |= {f"force {slot}": v for slot, v in given["force"].items()}
        found = {k: tr.tensor(self.cast(v), requires_grad=requires_grad and v.dtype.kind == "f") for k, v in arrays.items()}
        return found | dict(cell.named_parameters()) | {k: v for k, v in cell.constants.items() if isinstance(v, tr.Tensor)}

    def ends(self, recurrent: nn.Recurrent, values: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs, final states, and recorded values."""
        given, program, cell = self.given, self.given["program"], recurrent.cell
        xs = program["inputs"] and like(program["inputs"], iter([values[name] for name in flat(program["inputs"])]))
        state = given["state"] and like(cell.structure, iter([values[f"initial {slot}"] for slot in cell.slots]))
        options: dict[str, Any] = {"steps": given["T"]} if xs is None else {}
        if given["force"]:
            options |= {"force": {slot: values[f"force {slot}"] for slot in given["force"]}, "force_mask": given["force_mask"]}
        if given["lengths"] is not None:
            options["lengths"] = given["lengths"]
        named: Mapping[str, Any] = {}
        if self.options["call"] == "recorded":
            outputs, final, named = recurrent.recorded(xs, state or None, **options)
        else:
            options["final_state_only"] = self.options["call"] == "final state only"
            outputs, final = recurrent(xs, state or None, **options)
        found = {} if outputs is None else {f"output[{i}]": leaf for i, leaf in enumerate(flat(outputs))}
        found |= {f"state[{slot}]": leaf for slot, leaf in zip(cell.slots, flat(final), strict=True)}
        return found | {f"recorded[{name}]": value for name, value in named.items()}


# -- layers --------------------------------------------------------------------------------

T, B = 5, 3
LENGTHS = np.array([5, 0, 3])
CODES = np.array([[1, 2, 3], [3, 0, 2], [2, 1, 1], [0, 3, 2], [1, 1, 0]])


def _decoder(cell: Any, mode: str, size: int = 5, **options: Any) -> Any:
    return nn.Decoder(nn.Embedding(4, 3), cell, nn.Linear(size, 4), start=0, end=1, mode=mode, **options)


def _layer(name: str, *sizes: int, **options: Any) -> tuple[str, Callable[[str], Any]]:
    told = ", ".join([*map(str, sizes), *[f"{key}={value!r}" for key, value in options.items()]])
    return f"{name}({told})", lambda mode: getattr(nn, name)(*sizes, **options, mode=mode)


def _recurrent(name: str, *sizes: int, wrap: Mapping[str, Any] | None = None, **options: Any) -> tuple[str, Any]:
    told = ", ".join([*map(str, sizes), *[f"{key}={value!r}" for key, value in options.items()]])
    wrap = wrap or {}
    title = f"Recurrent({', '.join([f'{name}({told})', *[f'{k}={v!r}' for k, v in wrap.items()]])})"
    return title, lambda mode: nn.Recurrent(getattr(nn, name)(*sizes, **options), mode=mode, **wrap)


STACKS: tuple[dict[str, Any], ...] = (
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": (4, 5)},
    {"num_layers": 3, "dropout": 0.5},
    {"recurrent_dropout": 0.5},
    {"bias": False},
    {"batch_first": True},
    {"checkpoint": 2},
    {"dtype": "float64"},
)
SEQUENCES: dict[str, Callable[[str], Any]] = dict(
    [
        *[_layer(name, 3, 5, **options) for name in ("RNN", "LSTM", "GRU") for options in STACKS],
        *[_layer("RNN", 3, 5, nonlinearity=f) for f in ("relu", "sigmoid")],
        _layer("LSTM", 3, 5, proj_size=2),
        _layer("LSTM", 3, 5, num_layers=2, bidirectional=True, proj_size=2),
        _layer("LSTM", 3, 5, forget_bias=1.0),
        _layer("GRU", 3, 5, reset_after=False),
        _layer("Jordan", 3, 5, 2),
        _layer("TimeDelay", 3, 5, delays=2),
        _layer("TimeDelay", 3, 5, delays=[0, 2], dilation=2),
        *[_recurrent(name, 3, 5) for name in ("RNNCell", "LSTMCell", "GRUCell", "JordanCell", "TimeDelayCell", "NARXCell")],
        _recurrent("RNNCell", 3, 5, wrap={"reverse": True}),
        _recurrent("ResidualCell", 3, 5),
        _recurrent("ResidualCell", 3, 5, recurrent=False),
        _recurrent("SystemCell", 3, 5),
    ]
)
"""Layers that are called with a sequence of 3 features."""
UNSEEN = re.compile("bias|batch_first|checkpoint|dtype|dropout|forget_bias|num_layers=\\(")
"""Options that make no other picture than those without them."""


def _stack(mode: str) -> Any:
    return nn.Sequential(nn.LSTM(3, 5, mode=mode), nn.Dropout(0.5), nn.GRU(5, 4, mode=mode), nn.Linear(4, 2))


def _narx(mode: str, **options: Any) -> Any:
    return nn.NARX(3, 2, input_delays=2, feedback_delays=[1, 3], mode=mode, **options)


def _seq2seq(mode: str, cell: str = "GRU", **options: Any) -> Any:
    encoder = getattr(nn, cell)(3, 5, mode=mode, bidirectional="context_size" in options)
    return nn.Seq2Seq(encoder, _decoder(getattr(nn, f"{cell}Cell")(3, 5), mode, **options))


def _narx_runs(model: Any, x: Any, y: Any) -> dict[str, Any]:
    history = model.history(x[:3], y[:3])
    return {
        "closed loop": model(x[3:], history),
        "open loop": model(x[3:], history, y[3:]),
        "two steps": model.n_step(2, x[3:], history, y[3:]),
        "mixed": model(x[3:], history, y[3:], force_mask=np.arange(len(y) - 3) % 2 == 0),
    }


def _decoder_runs(model: Any, context: Any) -> dict[str, Any]:
    given = {"context": context} if model.context_size is not None else {}
    free = given or {"batch_size": 2}
    return {
        "logits": model(CODES, **given, lengths=LENGTHS),
        "scheduled": model(CODES, **given, force_mask=CODES > 1),
        "log likelihood": model.log_likelihood(CODES, **given),
        "greedy": model.greedy(**free, max_steps=4),
        "sample": model.sample(**free, max_steps=4),
        "beam": model.beam(**free, max_steps=4, width=3),
    }


def _seq2seq_runs(model: Any, x: Any) -> dict[str, Any]:
    return {
        "logits": model(x, CODES, lengths=LENGTHS, target_lengths=np.array([4, 5, 1])),
        "greedy": model.greedy(x, max_steps=4),
        "beam": model.beam(x, max_steps=4, width=2),
    }


def _ar_runs(model: Any, y: Any) -> dict[str, Any]:
    history = model.history(y[:2])
    return {
        "one step": model.one_step(y[2:], history),
        "forecast": model.forecast(history, 4),
        "sample": model.sample(history, 4),
        "log likelihood": model.log_likelihood(y),
    }


OTHERS: dict[str, tuple[Callable[[str], Any], Callable[..., dict[str, Any]], dict[str, tuple[int, ...]]]] = {
    "Sequential": (_stack, lambda model, x: {"": model(x)}, {"x": (T, B, 3)}),
    "NARX": (_narx, _narx_runs, {"x": (8, B, 3), "y": (8, B, 2)}),
    "AR": (lambda mode: nn.AR(2, 2, mode=mode), _ar_runs, {"y": (8, B, 2)}),
    **{
        f"Decoder({cell}, {at})": (
            lambda mode, cell=cell, at=at: _decoder(getattr(nn, cell)(3, 5), mode, context_size=2, at=at),
            _decoder_runs,
            {"context": (B, 2)},
        )
        for cell, at in (("RNNCell", "start"), ("GRUCell", "every_step"), ("LSTMCell", "both"))
    },
    "Decoder without a context": (
        lambda mode: _decoder(nn.GRUCell(3, 5), mode, temperature=0.7),
        lambda model, **_: _decoder_runs(model, None),
        {},
    ),
    "Seq2Seq": (_seq2seq, _seq2seq_runs, {"x": (T, B, 3)}),
    "Seq2Seq, with a context": (
        lambda mode: _seq2seq(mode, "LSTM", context_size=20, at="every_step"),
        _seq2seq_runs,
        {"x": (T, B, 3)},
    ),
}
"""Other models: how each is made, what is run of it, and the shapes of its inputs."""


def numbered(model: Any, seed: int = 0) -> Any:
    """The model with parameters that depend on no other random number of the library."""
    rng = np.random.default_rng(seed)
    state = model.state_dict()
    model.load_state_dict({name: rng.uniform(-0.7, 0.7, array.shape).astype(array.dtype) for name, array in state.items()})
    return model


def run_model(facts: Facts, model: Any, runs: Callable[..., dict[str, Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Add what the runs of a model come to."""
    facts |= {f"initial {name}": array for name, array in model.state_dict().items()}
    model = numbered(model)
    rng = np.random.default_rng(1)
    dtype = next((p.dtype for p in model.parameters()), np.dtype("float32"))
    inputs = {name: tr.tensor(rng.uniform(-1, 1, shape).astype(dtype)) for name, shape in shapes.items()}
    with counted(facts, "forward"):
        found = runs(model, **inputs)
    leaves = {f"{name}[{i}]".strip(): leaf for name, nested in found.items() for i, leaf in enumerate(flat(nested))}
    ends = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, tr.Tensor)}
    facts["graph"] = tr.graph(*ends.values()).opened().text()
    facts |= {name: np.asarray(leaf) for name, leaf in leaves.items()}
    to_second_order(facts, ends, inputs | dict(model.named_parameters()), drawn_like(ends, 2))


SLOTS = {"JordanCell": "o", "SystemCell": "s", "TimeDelayCell": None, "NARXCell": None}
"""The slot that is forced, by the kind of cell; h of all others."""


def layer_runs(model: Any, x: Any) -> dict[str, Any]:
    """A layer called in every way that it can be."""
    xs = x.swapaxes(0, 1) if getattr(model, "batch_first", False) else x
    recorded = model.states(xs, lengths=LENGTHS)
    found = {
        "result": model(xs),
        "with lengths": model(xs, lengths=LENGTHS),
        "final state": model(xs, final_state_only=True)[1],
        **{f"recorded {name}": value for name, value in recorded.items()},
    }
    slot = SLOTS.get(type(getattr(model, "cell", None)).__name__, "h")
    several = len(list(model.cells())) > 1 if isinstance(model, nn.RecurrentLayer) else False
    if slot is not None:
        name = f"{slot}_l0" if isinstance(model, nn.RecurrentLayer) else slot
        data = drawn_like(recorded, 3)[name]
        data = data.swapaxes(0, 1) if x is not xs else data
        found["forced"] = model(xs, force={name if several else slot: data}, force_mask=np.arange(T) % 2 == 0)
    return found


# -- pictures and equations ----------------------------------------------------------------


def pictures(title: str, make: Callable[[], Any], **options: Any) -> Iterator[Case]:
    """A case for each way to draw a model, and its plan."""
    for time in ("folded", "unrolled"):
        for detail in ("slots", "values", "ops", "layers"):
            yield (
                f"picture {title}, {time}, {detail}",
                lambda facts, t=time, d=detail: facts.update(dot=make().draw(time=t, detail=d, **options).source),
            )
    yield f"picture {title}, step", lambda facts: facts.update(dot=make().draw(time="step").source)


def equations(title: str, make: Callable[[], Any]) -> Iterator[Case]:
    """A case for the equations of a model in each direction."""
    for backward in (False, True):
        yield (
            f"equations {title}, {'backward' if backward else 'forward'}",
            lambda facts, b=backward: facts.update(equations=make().equations(backward=b)),
        )


def _plan_of(facts: Facts, make: Callable[[], Any]) -> None:
    planned(facts, lambda: make().plan(T=7, B=2))
    plan = make().plan(T=7, B=2)
    if not isinstance(plan, dict):
        facts["dot"] = plan.draw().source


def gallery() -> Iterator[Case]:
    """A case for each block of the docs' gallery that draws something, after the definitions of the blocks before it."""
    page = (ROOT / "docs" / "models" / "gallery.md").read_text(encoding="utf-8")
    definitions: list[ast.stmt] = []
    for number, code in enumerate(re.findall(r"^```\{python-run\}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)):
        *body, last = ast.parse(re.sub(r"^:.*\n", "", code, flags=re.MULTILINE)).body
        if not isinstance(last, ast.Expr):
            body.append(last)
        definitions += body
        if isinstance(last, ast.Expr):
            yield f"gallery {number}, {ast.unparse(last)[:60]}", partial(_block, tuple(definitions), last.value)


def _block(definitions: Sequence[ast.stmt], drawings: ast.expr, facts: Facts) -> None:
    space: dict[str, Any] = {}
    exec(compile(ast.Module(list(definitions), []), "gallery.md", "exec"), space)  # the docs' own code
    for i, drawing in enumerate(flat(eval(compile(ast.Expression(drawings), "gallery.md", "eval"), space))):
        facts[f"dot[{i}]"] = drawing.source


def all_cases(cells: Sequence[Mapping[str, Any]]) -> Iterator[Case]:
    """Every case, those that take least first."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from draw_networks import NETWORKS

    models = {name: make for name, make in SEQUENCES.items() if not UNSEEN.search(name)}
    models |= {name: make for name, (make, _, _) in OTHERS.items()}
    drawn = {name: (lambda make=make: make("scan"), {}) for name, make in models.items()} | NETWORKS
    for title, (make, options) in drawn.items():
        yield from equations(title, make)
        yield f"plan {title}", lambda facts, make=make: _plan_of(facts, make)
        yield from pictures(title, make, **options)
    yield from gallery()
    for mode in MODES:
        for title, make in SEQUENCES.items():
            yield (
                f"layer {title}, {mode}",
                lambda facts, make=make, mode=mode: run_model(facts, make(mode), layer_runs, {"x": (T, B, 3)}),
            )
        for title, (make, runs, shapes) in OTHERS.items():
            yield (
                f"layer {title}, {mode}",
                lambda facts, make=make, runs=runs, shapes=shapes, mode=mode: run_model(facts, make(mode), runs, shapes),
            )
    for number, cell in enumerate(cells):
        for mode in MODES:
            yield f"cell {number}, {mode}", CellCase(cell, mode)


def main(cells: str, only: str) -> None:
    """Write the facts of all cases whose names match, as they are found, to standard output."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a checkout prints goes to standard error
    drawn = pickle.loads(Path(cells).read_bytes())  # written by same.py for this process
    chosen = [(name, case) for name, case in all_cases(drawn) if re.fullmatch(only, name)]
    pickle.dump((str(Path(tr.__file__).parents[1]), len(chosen)), out)
    out.flush()
    for name, case in chosen:
        pickle.dump((name, facts_of(case)), out)
        out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
