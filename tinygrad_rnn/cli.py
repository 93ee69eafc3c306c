"""The command ``tinygrad-rnn``: train, draw, explain and check recurrent networks from a shell."""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from . import __version__
from ._start import quit_at_once
from .console import forgiving
from .errors import DataError, TinygradError
from .extras import optional
from .scan.use import BACKENDS

if TYPE_CHECKING:
    from .nn import Cell, Module

__all__ = ["main"]

ABOUT = """\
See, prove, explain and run recurrent networks.

  tinygrad-rnn demo                      train a network on text, and get a report about it
  tinygrad-rnn forecast plant.csv --target level --inputs pump
                                         a model of a machine or a series, and a report
  tinygrad-rnn predict out/model.safetensors plant.csv
                                         predictions of this model for new data
  tinygrad-rnn draw RNNCell              a picture of a recurrent cell
  tinygrad-rnn equations LSTMCell        the equations of its step, as LaTeX
  tinygrad-rnn plan GRUCell              which operations stay in the loop over time
  tinygrad-rnn check mycells.py:MyCell   are the gradients of your own cell right?
  tinygrad-rnn show model.safetensors    the contents of a model file
  tinygrad-rnn explain model.safetensors --text novel.txt
                                         a page about a model: its memory, its gradients

Instead of the name of a cell, you can give the file of a model that tr.save wrote.
Each command has its own --help."""

DEMO = """\
Train a character-level language model: a plain recurrent network that learns
to predict the next character of a text, by backpropagation through time.

The end of the text is held out. After training, the network is scored on this
end in bits per character (the size that a good compressor would need), and
compared with models that count runs of one to six characters. The command writes
samples and a report of one page, report.html. The report shows the loss curve,
equations, pictures, the memory of the hidden units, and how far back the network
learns. The command takes about a minute. Ctrl-C ends training earlier, and the
report is still written."""

DEMO_EXAMPLES = """\
examples:
  tinygrad-rnn demo --quick                       a first look, in a few seconds
  tinygrad-rnn demo --backend native              the network runs as compiled C
  tinygrad-rnn demo --text novel.txt --out novel  learn from a text of your own
  tinygrad-rnn demo --hidden 512 --length 64      more memory, and gradients that
                                                  reach further back"""

CELL = (
    "a cell of tinygrad_rnn.nn, such as RNNCell; or your own, as module:Name or path/to/file.py:Name (its code is run); "
    "or the file of a model, model.safetensors"
)

DRAW = """\
Draw a recurrent cell that runs over a sequence. A folded picture shows one time
step, and black squares for the delays that carry the state to the next step. An
unrolled picture shows the steps side by side, with time from left to right. The
picture of a single step shows each gate, as in textbooks."""

DRAW_EXAMPLES = """\
examples:
  tinygrad-rnn draw RNNCell
  tinygrad-rnn draw RNNCell --time unrolled --steps 5 --out rnn.png
  tinygrad-rnn draw LSTMCell --time step
  tinygrad-rnn draw mycells.py:MyCell --detail ops
  tinygrad-rnn draw model.safetensors --classes mycells.py"""

EQUATIONS = """\
Print the equations of a cell's step as LaTeX. With --backward, print the equations
of its backpropagation through time: δ of each state, and the gradients of all
parameters."""

EQUATIONS_EXAMPLES = """\
examples:
  tinygrad-rnn equations GRUCell
  tinygrad-rnn equations model.safetensors --backward > bptt.tex"""

PLAN = """\
Print how a cell is run over a sequence: which operations stay in the loop over
time, forward and backward, which are computed for all steps at once, and which
values are kept for the gradient."""

PLAN_EXAMPLES = """\
examples:
  tinygrad-rnn plan LSTMCell --steps 100 --batch 32
  tinygrad-rnn plan model.safetensors"""

SHOW = """\
Print the contents of a file that tr.save or Module.save wrote, or of any other
.safetensors file: the architecture, changes to the model after it was made, names,
dtypes and shapes of the parameters, and additional data, such as a vocabulary.
The command makes no model and runs no code of the file."""

SHOW_EXAMPLES = """\
examples:
  tinygrad-rnn show model.safetensors"""

CHECK = """\
Check the gradients of your own cell: a class called with (input_size,
hidden_size), or a function without arguments that makes a cell.

Sizes, lengths, values and initial states are drawn at random. The gradients of
outputs and final state with respect to inputs, initial state and parameters are
compared with numeric gradients. A failure is shrunk to a smallest case, and the
report says which operation at which step is wrong.

The output begins with the verdict. Exit status:
  RIGHT      0  all gradients are right
  WRONG      1  a gradient is wrong, or the cell cannot be run
  KINK       3  most runs met a kink, where there is no derivative to compare
  UNDECIDED  3  too few runs could be judged: values too large, small or rough
  ...        2  there was nothing to check, for example because the file is missing

Needs the extra "test"."""

CHECK_EXAMPLES = """\
examples:
  tinygrad-rnn check mycells.py:MyCell
  tinygrad-rnn check mypackage.cells:make_cell --order 2 --examples 200"""

EXPLAIN = """\
Write an HTML page about a model: its equations, pictures (folded, unrolled and
gate by gate), its states while it reads, how far back its gradients reach, and
the part of the gradient that each step adds. The numbers are measured on your
data. In a text, the model predicts each next symbol. In a CSV file with a row for
each step, the model predicts the next row."""

EXPLAIN_EXAMPLES = """\
examples:
  tinygrad-rnn explain model.safetensors --text novel.txt --out novel.html
  tinygrad-rnn explain models.py:make_model --csv series.csv
  tinygrad-rnn explain tinygrad-rnn-demo/model.safetensors --text novel.txt
  tinygrad-rnn explain own.safetensors --csv series.csv --classes mycells.py"""

FORECAST = """\
Learn a series from a table, and forecast the series. The table is a CSV file with a
row for each time step; its first line names the columns. A NARX network learns to
predict the target from the target's own past and the inputs, y_t = f(x_t, x_{t-1}, …,
y_{t-1}, …). The network is compared with an AR model and with the last value.

The last fifth of the rows is not used for training; errors are measured on these rows.
With inputs, the forecast covers the last rows if they have inputs and no target.
Without inputs, it covers the steps after the last row. The folder gets report.html,
forecast.csv, and model.safetensors, which `tinygrad-rnn predict` reads. The command
takes a few seconds.

Needs the extra "sklearn"."""

FORECAST_EXAMPLES = """\
examples:
  tinygrad-rnn forecast plant.csv --target level --inputs pump,valve --delays 1-3 --horizon 50 --out out
  tinygrad-rnn forecast sales.csv --target sold --delays 1-12 --horizon 12"""

PREDICT = """\
Predict with a model that was written by `tinygrad-rnn forecast` or by the method
save of an estimator. The table needs the columns that the model was fitted with. In
rows with a measured target, the model predicts one step ahead, or --horizon steps. In
the rows after the last measurement, the model runs freely: it reads its own predictions.
If the table has no column of the target, the model runs freely from the first row.

The command writes a CSV file with the times, the target, and the prediction."""

PREDICT_EXAMPLES = """\
examples:
  tinygrad-rnn predict out/model.safetensors tomorrow.csv --out predicted.csv
  tinygrad-rnn predict out/model.safetensors plant.csv --horizon 10"""

BACKEND = """\
Show which compiler runs compiled cells. The native backend writes a cell as C and
compiles the C code. The command shows which compiler is installed, whether the
compiler works, and which compiled programs of earlier runs are kept."""

BACKEND_EXAMPLES = """\
examples:
  tinygrad-rnn backend
  tinygrad-rnn backend --clear     remove the compiled programs"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises the library's own errors, with messages of one line."""

    def error(self, message: str) -> NoReturn:
        raise DataError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``tinygrad-rnn``, and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments; if not given, the arguments of the process.

    Returns
    -------
    int
        The exit status: 0 for success, 1 if gradients are wrong, 2 if the request cannot
        be carried out, 3 if gradients cannot be judged, 130 if interrupted, 141 if the output
        was closed.
    """
    with _interruptible(), forgiving():
        try:
            try:
                return _run(sys.argv[1:] if arguments is None else arguments)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # flush here, where an error can still be reported
        except TinygradError as error:
            return _complain(str(error), 2)
        except KeyboardInterrupt:
            return _complain("interrupted", 130)
        except BrokenPipeError:  # as with `| head`
            _drop_output()
            return 141
        except OSError as error:
            _drop_output(sys.stdout)
            return _complain(f"the output cannot be written: {error.strerror or error}", 2)


def _run(arguments: Sequence[str]) -> int:
    parser = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    chosen, unknown = parser.parse_known_args(arguments)
    if unknown:
        hint = "; names are separated by commas: --inputs pump,valve" if getattr(chosen, "inputs", None) else ""
        raise DataError(f"unrecognized arguments: {' '.join(unknown)}{hint} (see {parser.prog} {chosen.command} --help)")
    return chosen.run(chosen)


def _complain(words: str, status: int) -> int:
    try:
        print(f"tinygrad-rnn: {words}", file=sys.stderr)
    except OSError:
        _drop_output()
    return status


def _drop_output(*streams: TextIO | None) -> None:
    """Redirect output streams to nowhere, so that Python reports no error about the streams when it exits."""
    for stream in streams or (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())  # type: ignore[union-attr]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C inside the block."""
    before = signal.getsignal(signal.SIGINT)
    if before is not quit_at_once or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, quit_at_once)


# -- the commands --------------------------------------------------------------------------


def _demo(chosen: argparse.Namespace) -> int:
    from .demo import Settings, run

    names = [name for name in Settings.__dataclass_fields__ if getattr(chosen, name, None) is not None]
    given = {name: getattr(chosen, name) for name in names}
    if chosen.quick:
        given = {"updates": 300, "seconds": 10.0, **given}
    run(Settings(**given), chosen.text, chosen.out)
    return 0


def _draw(chosen: argparse.Namespace) -> int:
    from .lookup import running

    options = {"detail": chosen.detail} if chosen.detail else {}
    module = _module(chosen)
    with running(chosen.cell):
        drawing = module.draw(time=chosen.time, steps=chosen.steps, **options)
    out = chosen.out or Path(f"{type(module).__name__}-{chosen.time}.svg")
    drawing.save(out)
    print(out)
    return 0


def _equations(chosen: argparse.Namespace) -> int:
    from .lookup import running

    module = _module(chosen)
    with running(chosen.cell):
        equations = module.equations(backward=chosen.backward)
    print(equations)
    return 0


def _plan(chosen: argparse.Namespace) -> int:
    from .lookup import running

    module = _module(chosen)
    with running(chosen.cell):
        plan = module.plan(T=chosen.steps, B=chosen.batch)
    print(plan)
    return 0


def _show(chosen: argparse.Namespace) -> int:
    from .storing.summary import summary

    print(summary(chosen.file))
    return 0


def _is_file(name: str) -> bool:
    """Whether an argument names a model file."""
    return name.endswith(".safetensors")


def _loaded(path: str, sources: Sequence[str]) -> Module:
    """The model in a file, made of the library's classes, the demo's classes, or classes in the user's files."""
    from .demo.model import CharModel
    from .lookup import load_model

    return load_model(path, sources, known=[CharModel])


def _module(chosen: argparse.Namespace) -> Module:
    """The cell of a given name, or the model in a file."""
    from .lookup import find_cell, running
    from .testing.cells import make_cell

    if _is_file(chosen.cell):
        return _loaded(chosen.cell, chosen.classes)
    factory = find_cell(chosen.cell)
    with running(chosen.cell):
        return make_cell(factory, chosen.input_size, chosen.hidden_size)


def _factory(chosen: argparse.Namespace) -> Callable[..., Cell]:
    """A function that makes the cell of a given name, or the one cell of the model in a file."""
    from .lookup import find_cell
    from .nn import Cell

    if not _is_file(chosen.cell):
        return find_cell(chosen.cell)
    model = _loaded(chosen.cell, chosen.classes)
    cells = {path: part for path, part in model.modules() if isinstance(part, Cell)}
    outer = [cell for path, cell in cells.items() if not any(path != p and f"{path}.".startswith(f"{p}.") for p in cells if p)]
    outer = [cells[""]] if "" in cells else outer
    if len(outer) != 1:
        raise DataError(
            f"{chosen.cell} must have one cell to check, but has {len(outer)}: {', '.join(cells) or 'none'}; save a model with "
            "one cell, or check a class, as in mycells.py:MyCell"
        )
    return lambda: outer[0]


def _check(chosen: argparse.Namespace) -> int:
    from .lookup import running

    configuration = optional("hypothesis.configuration", "test", "check needs")
    from .testing import GradientCheckError
    from .testing.cells import check_cell

    with tempfile.TemporaryDirectory() as folder:  # hypothesis writes files, which do not belong in the user's folder
        configuration.set_hypothesis_home_dir(folder)
        factory = _factory(chosen)
        try:
            with running(chosen.cell, verdicts=GradientCheckError):
                report = check_cell(
                    factory,
                    examples=chosen.examples,
                    order=chosen.order,
                    input_size=chosen.input_size,
                    hidden_size=chosen.hidden_size,
                )
        except GradientCheckError as error:
            print(f"{error.verdict.upper()}  {chosen.cell}: {error}")
            return 1 if error.verdict == "wrong" else 3
    print(f"RIGHT  {report}")
    return 0


def _explain(chosen: argparse.Namespace) -> int:
    from .explain import report
    from .files import check_writable, read_table, read_text
    from .lookup import find_model, running

    check_writable(chosen.out, "the report")  # before the work
    data = read_text(chosen.text) if chosen.text else read_table(chosen.csv)
    model = _loaded(chosen.model, chosen.classes) if _is_file(chosen.model) else find_model(chosen.model)
    with running(chosen.model):
        page = report(model, data, chosen.out)
    print(page.lead)
    print(chosen.out)
    return 0


def _forecast(chosen: argparse.Namespace) -> int:
    from .estimators import forecast_report, read_csv_series
    from .files import check_folder

    with _naming_flags():
        series = read_csv_series(chosen.table, chosen.target, chosen.inputs, chosen.time, chosen.drop_missing)
    check_folder(chosen.out, "the folder of the report")  # before the training
    for line in series.found:
        print(line)
    with _warnings_as_notes():
        report = forecast_report(
            series,
            chosen.delays,
            chosen.horizon,
            hidden_size=chosen.hidden,
            random_state=chosen.seed,
            verbose=int(sys.stderr.isatty()),
        )
        written = report.save(chosen.out)
    print(report.lead)
    for path in written:
        print(path)
    return 0


def _predict(chosen: argparse.Namespace) -> int:
    from .estimators import load, predict_csv
    from .files import check_writable, write_bytes

    check_writable(chosen.out, "the predictions")
    with _warnings_as_notes(), _naming_flags():
        frame = predict_csv(load(chosen.model), chosen.table, chosen.horizon, chosen.time, chosen.drop_missing)
    write_bytes(chosen.out, frame.to_csv(index=frame.index.name is not None).encode(), "the predictions")
    print(chosen.out)
    return 0


@contextlib.contextmanager
def _naming_flags() -> Iterator[None]:
    """Name the command's flags in an error of the block, in place of the arguments of a function."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace("drop_missing=True", "--drop-missing")) from None


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print each warning in the block as one line on standard error, and only once."""
    with warnings.catch_warnings():
        said: set[str] = set()

        def show(message: Warning | str, *_: object) -> None:
            if str(message) not in said:
                said.add(str(message))
                print(f"note: {message}", file=sys.stderr)

        warnings.showwarning = show  # type: ignore[assignment]
        warnings.simplefilter("always")
        yield


def _backend(chosen: argparse.Namespace) -> int:
    from .scan.native.report import report

    for line in report(chosen.clear):
        print(line)
    return 0


# -- options of the commands ---------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("tinygrad-rnn", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"tinygrad-rnn {__version__}")
    commands = parser.add_subparsers(
        title="commands",
        dest="command",
        required=True,
        metavar="COMMAND",
    )
    _demo_options(_command(commands, "demo", "train a network on text", DEMO, DEMO_EXAMPLES))
    _forecast_options(_command(commands, "forecast", "learn a series from a table", FORECAST, FORECAST_EXAMPLES))
    _predict_options(_command(commands, "predict", "predict with a model of a series", PREDICT, PREDICT_EXAMPLES))
    _draw_options(_command(commands, "draw", "draw a cell", DRAW, DRAW_EXAMPLES))
    _equations_options(_command(commands, "equations", "print a cell's equations", EQUATIONS, EQUATIONS_EXAMPLES))
    _plan_options(_command(commands, "plan", "print how a cell is run", PLAN, PLAN_EXAMPLES))
    _check_options(_command(commands, "check", "check a cell's gradients", CHECK, CHECK_EXAMPLES))
    _show_options(_command(commands, "show", "print the contents of a model file", SHOW, SHOW_EXAMPLES))
    _explain_options(_command(commands, "explain", "write a page about a model", EXPLAIN, EXPLAIN_EXAMPLES))
    _backend_options(_command(commands, "backend", "show the compiler of cells", BACKEND, BACKEND_EXAMPLES))
    return parser


def _command(commands: argparse._SubParsersAction[_Parser], name: str, help: str, about: str, examples: str) -> _Parser:
    return commands.add_parser(
        name,
        help=help,
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _demo_options(parser: _Parser) -> None:
    add = parser.add_argument
    add("--text", metavar="FILE", help="a UTF-8 text to learn from (default: the prose of Python's help texts)")
    add("--out", metavar="DIR", default="tinygrad-rnn-demo", help="folder for report and model (%(default)s)")
    add("--quick", action="store_true", help="only 300 updates, for a first look")
    size = parser.add_argument_group("the network")
    size.add_argument("--hidden", type=int, metavar="N", help="hidden units (256)")
    size.add_argument("--embedding", type=int, metavar="N", help="length of each character's vector (64)")
    size.add_argument("--seed", type=_seed, metavar="N", help="seed of the initial weights and the samples (0)")
    learn = parser.add_argument_group("training")
    learn.add_argument("--updates", type=int, metavar="N", help="updates of the weights (3000)")
    learn.add_argument("--seconds", type=float, metavar="S", help="longest time of training (60)")
    learn.add_argument("--batch", type=int, metavar="N", help="parts of the text that are read in parallel (32)")
    learn.add_argument("--length", type=int, metavar="N", help="characters that gradients reach back (32)")
    learn.add_argument("--rate", type=float, metavar="R", help="Adam's learning rate (0.005)")
    learn.add_argument("--clip", type=float, metavar="R", help="largest norm of the gradient (1)")
    learn.add_argument("--backend", choices=BACKENDS, help="run the network with NumPy, or as compiled C code (numpy)")
    write = parser.add_argument_group("samples")
    write.add_argument(
        "--temperature", dest="temperatures", type=float, nargs="+", metavar="T", help="one sample each (0.5 0.8 1)"
    )
    write.add_argument("--sample", type=int, metavar="N", help="characters of a sample (300)")
    write.add_argument("--prompt", metavar="TEXT", help='text that the network reads before it writes ("The ")')
    parser.set_defaults(run=_demo)


def _forecast_options(parser: _Parser) -> None:
    add = parser.add_argument
    add("table", metavar="FILE", help="a CSV file: the first line names the columns, then a row for each step")
    add("--target", required=True, metavar="NAME", help="the column to forecast")
    add(
        "--inputs",
        type=_names,
        default=[],
        metavar="NAMES",
        help='columns that the target depends on: pump,valve or "flow, l/s",valve',
    )
    add(
        "--delays",
        type=_numbers,
        default=[1, 2],
        metavar="K",
        help="how many steps back the network reads: 3 (which is 1-3), 0-2 or 1,2,12 (1-2)",
    )
    add("--horizon", type=_positive, default=10, metavar="N", help="steps to forecast (%(default)s)")
    add("--time", metavar="NAME", help="the column of the times, if its name is not time, date, datetime, timestamp or t")
    add("--drop-missing", action="store_true", help="leave out rows with missing values, and cut the series there")
    add("--hidden", type=_positive, default=5, metavar="N", help="units of the network (%(default)s)")
    add("--seed", type=_seed, default=0, metavar="N", help="seed of the initial weights (%(default)s)")
    add("-o", "--out", type=Path, default=Path("forecast"), metavar="DIR", help="folder for report and model (%(default)s)")
    parser.set_defaults(run=_forecast)


def _predict_options(parser: _Parser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="the file of a fitted estimator, such as out/model.safetensors")
    add("table", metavar="FILE", help="a CSV file with the columns that the model was fitted with")
    add("--horizon", type=_positive, metavar="N", help="steps ahead in rows with a measured target (1)")
    add("--time", metavar="NAME", help="the column of the times, if its name is not time, date, datetime, timestamp or t")
    add("--drop-missing", action="store_true", help="leave out rows with missing values, and cut the series there")
    add("-o", "--out", type=Path, default=Path("predicted.csv"), metavar="FILE", help="(%(default)s)")
    parser.set_defaults(run=_predict)


def _names(text: str) -> list[str]:
    """Split names at commas; a name with a comma is in double quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip()]


def _numbers(text: str) -> list[int]:
    """Convert an argument such as ``3``, ``1-3`` or ``1,2,12`` to whole numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
            raise argparse.ArgumentTypeError(
                f"{text!r} must be a number of steps such as 3, a range such as 1-3, or a list such as 1,2,12"
            )
        found += range(int(first), int(last or first) + 1)
    return found


def _cell_options(parser: _Parser, input_size: int | None = 3, hidden_size: int | None = 4) -> None:
    """Add the options that select a cell or a model to a command."""
    given = "%(default)s" if input_size else "random if not given"
    parser.add_argument("cell", metavar="CELL", help=CELL)
    parser.add_argument("--classes", nargs="+", default=[], metavar="FILE", help="files of your own classes in the model")
    parser.add_argument(
        "--input-size", type=_positive, default=input_size, metavar="N", help=f"size of the input, if CELL is a class ({given})"
    )
    parser.add_argument(
        "--hidden-size", type=_positive, default=hidden_size, metavar="N", help=f"hidden units, if CELL is a class ({given})"
    )


def _equations_options(parser: _Parser) -> None:
    _cell_options(parser)
    parser.add_argument("--backward", action="store_true", help="print the equations of backpropagation through time")
    parser.set_defaults(run=_equations)


def _plan_options(parser: _Parser) -> None:
    _cell_options(parser)
    parser.add_argument("--steps", type=_positive, default=100, metavar="N", help="length of the sequence (%(default)s)")
    parser.add_argument("--batch", type=_positive, default=1, metavar="N", help="number of sequences (%(default)s)")
    parser.set_defaults(run=_plan)


def _show_options(parser: _Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="a .safetensors file")
    parser.set_defaults(run=_show)


def _draw_options(parser: _Parser) -> None:
    _cell_options(parser)
    parser.add_argument(
        "--time",
        choices=["folded", "unrolled", "step"],
        default="folded",
        help="one step with delays, steps side by side, or one step gate by gate (%(default)s)",
    )
    parser.add_argument(
        "--detail",
        choices=["slots", "values", "ops", "layers"],
        help="how much detail is shown (chosen automatically by default)",
    )
    parser.add_argument("--steps", type=_positive, default=4, metavar="N", help="steps of an unrolled picture (%(default)s)")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="file ending in .svg, .png, .pdf, .tex or .gv (default: named after the cell, .svg)",
    )
    parser.set_defaults(run=_draw)


def _check_options(parser: _Parser) -> None:
    _cell_options(parser, None, None)
    parser.add_argument("--examples", type=_positive, default=50, metavar="N", help="runs to draw (%(default)s)")
    parser.add_argument(
        "--order", type=_positive, default=1, metavar="N", help="2 also checks the gradient of the gradient (%(default)s)"
    )
    parser.set_defaults(run=_check)


def _explain_options(parser: _Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model.safetensors; or module:name or path/to/file.py:make_model")
    parser.add_argument("--classes", nargs="+", default=[], metavar="FILE", help="files of your own classes in the model")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--text", metavar="FILE", help="a UTF-8 text")
    data.add_argument("--csv", metavar="FILE", help="a table of numbers: a row for each step, a column for each feature")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE", help="(%(default)s)")
    parser.set_defaults(run=_explain)


def _backend_options(parser: _Parser) -> None:
    parser.add_argument("--clear", action="store_true", help="remove the compiled programs of earlier runs")
    parser.set_defaults(run=_backend)


def _positive(text: str) -> int:
    """Convert an argument to a whole number of 1 at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1")
    return int(text)


def _seed(text: str) -> int:
    """Convert an argument to a whole number from 0 to 2^32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 to {2**32 - 1}")
    return int(text)
