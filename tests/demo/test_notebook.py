"""The outputs of a notebook's cells, run in a fresh kernel."""

import sys
import warnings

import pytest

from tinygrad_rnn import console, demo, nn
from tinygrad_rnn.demo.progress import Progress
from tinygrad_rnn.testing import check_cell, check_gradients

CELLS = {
    "drawing": "import numpy as np\nimport tinygrad_rnn as tr\nfrom tinygrad_rnn import nn\nmodel = nn.RNN(3, 5)\nmodel.draw()",
    "row": "model.draw() | model.draw(time='unrolled')",
    "slides": "model.draw(time='unrolled', steps=3).build_up()",
    "graph": "tr.graph(model(np.ones((3, 1, 3), 'float32'))[0])",
    "plan": "model.plan(T=8, B=2)",
    "report": "from tinygrad_rnn import testing\ntesting.check_gradients(tr.tanh, np.zeros(3))",
    "demo": (
        "from tinygrad_rnn import demo\n"
        "demo.run(demo.Settings(updates=20, hidden=8, embedding=4, sample=20), text='text.txt', out='out')"
    ),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The outputs of each cell of the notebook, by their kind."""
    nbformat, nbclient = (pytest.importorskip(name) for name in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 400, encoding="utf-8")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    # this Python interpreter, regardless of the installed kernels
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.create_kernel_manager()
    client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.execute()
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def data(outputs):
    return next(output.data for output in outputs if output.output_type == "execute_result")


@pytest.mark.parametrize(
    ("cell", "kind", "words"),
    [
        ("drawing", "image/svg+xml", ["<svg", "RNN, folded over time"]),
        ("graph", "image/svg+xml", ["<svg"]),
        ("row", "text/html", ["display: flex", "RNN, folded over time", "RNN, unrolled over 4 steps"]),
        ("slides", "text/html", ["display: flex", "after 1 step"]),
        ("plan", "text/html", ["matrix products among them", "<svg", "forward", "backward", "display: flex"]),
        ("report", "text/html", ["<pre", "gradients are right"]),
        ("demo", "text/html", ["<iframe srcdoc=", "bits"]),
    ],
)
def test_what_a_cell_shows(shown, cell, kind, words):
    content = data(shown[cell])[kind]
    assert [word for word in words if word not in content] == []


def test_training_has_a_bar(shown):
    written = "".join(output.get("text", "") + str(output.get("data", "")) for output in shown["demo"])
    assert "training" in written and "20/20" in written
    assert "IProgress" not in written and "Warning" not in written


# -- the same without a kernel ---------------------------------------------------------------


def test_plans_and_reports_are_html():
    plan = nn.LSTM(3, 5, num_layers=2).plan(T=4)
    assert plan._repr_html_().count("<h4>") == 2 and plan._repr_html_().count("<svg") == 4
    assert nn.RNN(3, 5).plan(T=4)._repr_html_().startswith(console.preformatted(str(nn.RNN(3, 5).plan(T=4))))
    report = check_gradients(lambda x: x * x, [1.0])
    assert report._repr_html_() == console.preformatted(str(report))
    cell = check_cell(nn.RNNCell, examples=1)
    assert cell._repr_html_() == console.preformatted(str(cell))


def test_a_notebook_without_widgets_has_a_bar_of_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    history = demo.History()
    with Progress(2) as progress:
        for _ in range(2):
            history.bits.append(1.0)
            progress(history)
    assert "2/2" in capsys.readouterr().err
