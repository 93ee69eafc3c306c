"""The report: a self-contained page with the pictures that its code makes, and with measured numbers."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.draw.symbols import plain
from tinygrad_rnn.errors import DataError, ShapeError
from tinygrad_rnn.explain import Latex, ModelReport
from tinygrad_rnn.explain.mathml import mathml
from tinygrad_rnn.explain.names import subscripted
from tinygrad_rnn.explain.report import _flow
from tinygrad_rnn.sequences import CharVocabulary, WordVocabulary

TEXT = "The cat (a small one) sat on the mat; then it said “no”. "


class Twice(nn.Cell):
    """A cell that is not in the library: two states, one of which changes slowly."""

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__()
        self.A = nn.Parameter((units, units), symbol="A")
        self.B = nn.Parameter((input_size, units), symbol="B")
        self.state_shape = ((units,), (units,))

    def step(self, x: Any, state: Any) -> Any:
        u, s = state
        new = tr.tanh(x @ self.B + u @ self.A + s).named("u")
        slow = (0.9 * s + 0.1 * new).named("s")
        return new, (new, slow)


def text_model(vocabulary: Any, recurrent: nn.Module, units: int) -> nn.Module:
    model = nn.Sequential(nn.Embedding(len(vocabulary), 3), recurrent, nn.Linear(units, len(vocabulary)))
    model.vocabulary = vocabulary
    return model


def reports() -> dict[str, ModelReport]:
    tr.seed(1)
    characters = CharVocabulary(TEXT)
    wave = np.sin(np.arange(50) / 3)
    return {
        "characters": explain.report(text_model(characters, nn.RNN(3, 5), 5), TEXT * 2),
        "words": explain.report(text_model(WordVocabulary(TEXT), nn.LSTM(3, 4), 4), TEXT * 2),
        "a series": explain.report(nn.Sequential(nn.RNN(1, 4, num_layers=2), nn.Linear(4, 1)), wave),
        "batch first": explain.report(
            nn.Sequential(nn.RNN(2, 3, batch_first=True), nn.Linear(3, 2)), np.stack([wave, -wave], 1)
        ),
        "both directions": explain.report(
            nn.Sequential(nn.RNN(1, 3, bidirectional=True), nn.Linear(6, 3)), wave, targets=np.arange(50)[:, None] % 3
        ),
        "a cell of one's own": explain.report(nn.Sequential(nn.Recurrent(Twice(1, 3)), nn.Linear(3, 1)), wave),
        "a loss of one's own": explain.report(
            nn.RNN(1, 3), wave, targets=np.zeros(50), loss=lambda outputs, _: (outputs**2).sum(axis=-1)
        ),
    }


@pytest.fixture(scope="module", name="found")
def _found() -> dict[str, ModelReport]:
    return reports()


def test_each_picture_is_that_of_the_code_below_it(found: dict[str, ModelReport]) -> None:
    for page in found.values():
        names = {"model": page.model, "page": page, "explain": explain, "nn": nn}
        for part in page.sections:
            assert part.exhibits, (page, part)
            for exhibit in part.exhibits:
                again = eval(exhibit.code, names)
                if isinstance(exhibit.content, Latex):
                    assert again == exhibit.content
                else:
                    assert again.source == exhibit.content.source, exhibit.code


def test_every_number_is_measured(found: dict[str, ModelReport]) -> None:
    for page in found.values():
        words = {part.title: part.words for part in page.sections}
        parameters = sum(p.size for p in page.model.parameters())
        assert f"{parameters:,} parameter" in page.lead and f"{parameters:,} parameter" in words["Unrolled over time"]
        for name in page.flows:
            flow = explain.gradient_flow(page.model, page.xs, page.targets, page.loss, name)
            if np.isfinite(flow.gamma):
                at = re.escape(page.letter(name))
                said = re.search(
                    rf"At {at}, .{{,15}} multiplies the gradient by γ = (\S+) on average \(R² = (\S+)\): (all )?(\d+) steps?",
                    words["Gradient flow"],
                )
                assert said is not None
                assert (said[1], said[2]) == (f"{flow.gamma:.3g}", f"{flow.r_squared:.2f}")
                lag = int(said[4])
                assert np.all(flow.decay[:lag] >= 0.01)
                assert flow.decay[lag] < 0.01 if not said[3] else lag == len(flow.decay) - 1
        for name, norms in page.contributions.items():
            again = explain.gradient_by_step(page.model, page.xs, page.targets, page.loss, name, norms=True)
            np.testing.assert_array_equal(norms, again)
            k = int(again.argmax())
            share = f"{again[k] / again.sum():.1%}"
            assert f"{name}, step {k + 1} adds the most, {share} of the sum" in words["Contributions"]
        for name, (low, high) in page.states.bounds.items():
            near = 0.1 * (high - low)
            values = page.states[name]
            share = f"{np.mean((values < low + near) | (values > high - near)):.1%}"
            said = re.search(rf"(\S+) of the values of {re.escape(page.letter(name))}[ .]", words["Gate by gate"])
            assert said is None or said[1] == share


def test_the_loss_and_its_baseline(found: dict[str, ModelReport]) -> None:
    page = found["characters"]
    codes = page.model.vocabulary.encode(TEXT * 2)
    logits = page.model(codes[:-1, None]).data[:, 0]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bits = -np.log2(p[np.arange(len(codes) - 1), codes[1:]]).mean()
    assert f"{bits:.3g} bits a symbol" in page.lead
    assert f"{np.log2(len(page.model.vocabulary)):.3g}." in page.lead
    wave = np.sin(np.arange(50) / 3)
    assert f"a prediction that repeats the last value has {np.mean((wave[1:] - wave[:-1]) ** 2):.3g}." in found["a series"].lead


def test_targets_that_are_given_are_guessed_without_the_input() -> None:
    model = nn.Sequential(nn.RNN(1, 3), nn.Linear(3, 2))
    model[0].weight_hh_l0.requires_grad_(False)
    xs, rng = np.sin(np.arange(30)), np.random.default_rng(0)
    ys = rng.normal((3.0, -1.0), size=(30, 1, 2))
    lead = explain.report(model, xs, targets=ys).lead
    assert f"a prediction of the mean has {ys.var(axis=0).mean():.3g}." in lead
    assert lead.endswith("Frozen, so not changed by training: 0.weight_hh_l0.")
    classes = np.arange(30)[:, None] % 3 // 2  # two of three are 0
    lead = explain.report(model, xs, targets=classes).lead
    assert f"a guess by the class frequencies has {np.log(3) - np.log(4) / 3:.3g}." in lead


def test_of_several_states_the_one_whose_gradient_reaches_farthest_counts(found: dict[str, ModelReport]) -> None:
    page, flow = found["a cell of one's own"], found["a cell of one's own"].flows["u"]
    for factor, is_said in ((0.8, True), (1.0, False)):  # 0.5^7 and 0.8^21 are the first powers below 1%
        flows = {name: dataclasses.replace(flow, decay=g ** np.arange(50.0)) for name, g in (("u", 0.5), ("s", factor))}
        words, _ = _flow(dataclasses.replace(page, flows=flows), None)
        assert "7 steps back, less than 1% of it is left" in words
        assert ("The model can hardly learn from what is more than 21 steps back" in words) == is_said == ("hardly" in words)


def test_values_are_called_as_in_the_pictures(found: dict[str, ModelReport]) -> None:
    mixed = explain.report(nn.Sequential(nn.GRU(1, 2), nn.RNN(2, 2), nn.Linear(2, 1)), np.sin(np.arange(9)))
    assert [exhibit.content.title for exhibit in mixed.sections[3].exhibits] == ["GRUCell, one step", "RNNCell, one step"]
    for page in (mixed, found["a series"], found["both directions"], found["words"]):
        labels = {plain(vertex.label) for vertex in page.sections[2].exhibits[0].content.sketch.vertices}
        assert {f"{page.letter(name)}₁" for name in page.flows} <= labels
        for name in page.flows:
            assert page.letter(name) in page.sections[1].words and (
                name == page.letter(name) or name not in page.sections[5].words
            )


def test_a_model_that_needs_what_came_before_is_run_as_it_is_said() -> None:
    narx, wave = nn.NARX(1, 1, input_delays=1, feedback_delays=2, hidden_size=3), np.sin(np.arange(40))[:, None, None]
    xs, history, ys = narx.prepare(np.roll(wave, 3, axis=0), wave)
    with pytest.raises(ShapeError, match=r"(?s)a history.*a function that runs it: report\(model, xs, targets=…, run=lambda"):
        explain.report(narx, xs, targets=ys)
    page = explain.report(narx, xs, targets=ys, run=lambda xs: narx.free_run(xs, history))
    assert f"Its mean loss is {np.mean((narx.free_run(xs, history).data - ys) ** 2):.3g} mean squared error" in page.lead
    for part in page.sections:
        for exhibit in part.exhibits:
            again = eval(exhibit.code, {"model": narx, "page": page, "explain": explain, "nn": nn})
            assert again == exhibit.content if isinstance(again, Latex) else again.source == exhibit.content.source
    labels = {vertex.label for vertex in page.sections[-1].exhibits[0].content.sketch.vertices}
    assert {"x_{1}", "x_{0}", "ŷ_{1}", "ŷ_{−1}", "y_{1}"} <= labels  # inputs and histories under their names
    opened = explain.report(narx, xs, targets=ys, run=lambda xs: narx.one_step(xs, history, ys[: len(xs)]))
    assert "less than 1% of it is left" in opened.sections[5].words and "hardly" not in opened.sections[5].words


def test_units_are_labelled_with_what_they_go_with(found: dict[str, ModelReport]) -> None:
    page = found["characters"]
    best = page.states.units(values=["h"])[0]
    words = {part.title: part.words for part in page.sections}["States"]
    assert f"The strongest correlation is that of {best}" in words
    assert f"unit {best.number}: {best.property}, {best.correlation:.2f}" in page.html()
    assert "steps back" in found["a series"].html()  # memory of a series


def test_the_page_stands_alone(found: dict[str, ModelReport], tmp_path: Path) -> None:
    for page in found.values():
        html = page.html()
        root = ET.fromstring(re.sub(r"<!DOCTYPE html>|<meta[^>]*>", "", html))  # each element is closed
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert not [element for element in root.iter() if element.tag.endswith("script")]
        attributes = [pair for element in root.iter() for pair in element.attrib.items()]
        links = [value for key, value in attributes if key.endswith(("href", "src"))]
        assert all(link.startswith("#") for link in links)
        assert "@import" not in html and not re.search(r"url\((?!#)", html)
        assert len(list(root.iter("math"))) > 8
        assert page._repr_html_().startswith("<iframe srcdoc=")
    assert found["words"].save(tmp_path / "page.html").read_text(encoding="utf-8") == found["words"].html()


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0.0, "γ = 0 on average: 1 step back, less than 1% of it is left"),
        (0.5, r"γ = 0\.5 on average \(R² = 1\.00\): 7 steps back, less than 1% of it is left"),
        (2.0, r"γ = 2 on average \(R² = 1\.00\): all 18 steps back, it is 2\.62e\+05 times as large"),
        (np.nan, "For h there is no picture: .* NaN"),
    ],
)
def test_gradients_that_vanish_explode_or_are_nan(weight: float, words: str) -> None:
    model = nn.Sequential(nn.RNN(1, 2, nonlinearity="relu"), nn.Linear(2, 1))
    for parameter in model.parameters():
        parameter.data = np.ones(parameter.shape, "float32")
    model[0].weight_hh_l0.data = weight * np.eye(2, dtype="float32")
    page = explain.report(model, np.abs(np.sin(np.arange(20))))
    assert re.search(words, page.sections[5].words)
    assert "In the gradient of ." not in page.html()


@pytest.mark.parametrize("layer", [nn.TimeDelay(1, 3, 2), nn.Jordan(1, 3, 3)])
def test_models_that_remember_inputs_or_outputs(layer: nn.Module) -> None:
    page = explain.report(nn.Sequential(layer, nn.Linear(3, 1)), np.sin(np.arange(20)))
    assert page.flows and all(part.exhibits for part in page.sections)


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    model = nn.Sequential(nn.RNN(1, 3), nn.Linear(3, 1))
    with pytest.raises(DataError, match="needs a vocabulary"):
        explain.report(model, "a text")
    with pytest.raises(DataError, match="too short"):
        explain.report(model, np.ones(2))
    with pytest.raises(ShapeError, match="targets=…, loss=…"):
        explain.report(nn.RNN(1, 3), np.ones(9))
    with pytest.raises(DataError, match="the report"):
        explain.report(model, np.ones(9), tmp_path / "no" / "page.html")


def test_mathml_of_every_command() -> None:
    lines = mathml(
        r"\begin{aligned} \delta^{h}_t &= -\frac{\partial L}{\partial x_1} + {W_f}^{\top} \left(1 - \hat{y} \odot b'\right) \\"
        r" a_{\text{net \%}} &= \operatorname{softmax}\left(E{}_{[x_t]}\right) \cdot 0.5 \end{aligned}"
    )
    first, second = (ET.fromstring(f"<p>{line}</p>") for line in lines)
    assert "".join(first.itertext()).replace("\n", "") == "δth=−∂L∂x1+Wf⊤(1−y^⊙b′)"
    assert [len(list(part)) for part in (first, second)] == [3, 2]
    assert "".join(second.itertext()).replace("\n", "") == "anet %=softmax(E[xt])·0.5"
    assert [part[0].tag for part in first] == ["msubsup", "mo", "mo"]


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12)
    | st.sampled_from([r"\mathbf{W_{1}}"])
)
def test_any_name_is_well_formed_and_loses_no_letter(name: str) -> None:
    (line,) = mathml(rf"{subscripted(name, 't')} &= x + 1")
    root = ET.fromstring(f"<p>{line}</p>")
    shown = "".join(root.itertext())
    assert shown.replace("\n", "").endswith("=x+1")
    assert not any(c in "{}" and c not in name for c in shown)
    if name.isalnum():
        assert all(c in shown for c in name)
