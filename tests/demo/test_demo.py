"""The demo: its text, its network, its report; with tiny settings; a person looks at runs with the real settings."""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn.demo import UNKNOWN, CharModel, History, Settings, prose, read_text, run, split, train
from tinygrad_rnn.demo.figures import loss_curve
from tinygrad_rnn.demo.training import check_length
from tinygrad_rnn.errors import DataError, MissingExtraError
from tinygrad_rnn.explain.page import inline_svg
from tinygrad_rnn.scan.native import executable, is_ready
from tinygrad_rnn.scan.native.compiler import CompilerError
from tinygrad_rnn.sequences import CharVocabulary

TEXT = "The quick brown fox jumps over the lazy dog.\nIt barks (twice), says “wow”, and sleeps.\n" * 12
TINY = Settings(updates=6, batch=4, length=8, embedding=4, hidden=6, sample=20, temperatures=(0.0, 1.0))

# -- text ----------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=100, max_size=300).filter(lambda text: text.strip()))
def test_a_split_covers_the_text_and_says_what_it_does_not_know(text: str) -> None:
    corpus = split(text)
    back = corpus.vocabulary.decode(np.concatenate([corpus.training, corpus.held_out]))
    assert len(corpus.training) > len(corpus.held_out) > 0
    assert len(back) == len(text)
    border = len(corpus.training)
    assert corpus.unknown == back[border:].count(UNKNOWN)
    for was, now in zip(text, back, strict=True):
        assert now == was if now != UNKNOWN else was == UNKNOWN or text[:border].count(was) < 2


def test_at_most_50000_characters_are_held_out() -> None:
    assert len(split("ab" * 300_000).held_out) == 50_000


def test_the_prose_is_the_same_every_time_and_has_no_paragraph_twice() -> None:
    text = prose()
    assert text == prose()
    assert len(text) > 100_000
    paragraphs = text.splitlines()
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any(p.startswith(("+--", "===", ">>>", "***")) for p in paragraphs)


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), (" \n\t" * 50, "empty"), ("short", "too few"), ("x" * 99, "99 characters")]
)
def test_a_text_without_anything_to_learn(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        split(text)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"not a text file: .* at byte 0"):
        read_text(tmp_path / "picture")
    with pytest.raises(DataError, match="No such file"):
        read_text(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("\ufeffone\r\ntwo\r\n".encode())
    assert read_text(tmp_path / "text") == "one\ntwo\n"


# -- network and training ------------------------------------------------------------------


def test_training_learns_and_is_the_same_for_the_same_seed() -> None:
    corpus = split(TEXT)
    settings = Settings(updates=60, batch=4, length=8, embedding=4, hidden=6)
    histories = []
    for _ in range(2):
        tr.seed(3)
        model = CharModel(corpus.vocabulary, settings.embedding, settings.hidden)
        histories.append(train(model, corpus.training, settings))
    assert histories[0].bits == histories[1].bits
    assert len(histories[0].bits) == 60
    assert histories[0].ended == "done"
    assert np.mean(histories[0].bits[-10:]) < np.mean(histories[0].bits[:10]) - 0.5
    assert {p.dtype for p in model.parameters()} == {np.dtype("float32")}


def test_training_ends_in_time_and_when_interrupted() -> None:
    corpus = split(TEXT)
    model = CharModel(corpus.vocabulary, 4, 6)
    slow = Settings(updates=10**9, seconds=0.2, batch=4, length=8)
    history = train(model, corpus.training, slow)
    assert history.ended == "out of time"
    assert 0 < len(history.bits) < 10**5
    seen: list[int] = []
    history = train(model, corpus.training, slow, lambda h: seen.append(len(h.bits)), lambda: len(seen) == 3)
    assert (seen, history.ended) == ([1, 2, 3], "interrupted")
    assert train(model, corpus.training, Settings(updates=0, batch=4, length=8)).bits == []


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 30))
def test_a_text_of_one_chunk_is_enough_and_less_is_not(batch: int, length: int, n: int) -> None:
    settings = Settings(updates=2, batch=batch, length=length)
    codes = np.zeros(n, np.int64)
    if n <= batch * length:
        with pytest.raises(DataError, match="the text is too short"):
            check_length(n, settings)
        return
    history = train(CharModel(CharVocabulary("ab"), 2, 2), codes, settings)
    assert len(history.bits) == 2


def test_scores_are_what_the_network_says_step_by_step() -> None:
    tr.seed(0)
    corpus = split(TEXT)
    model = CharModel(corpus.vocabulary, 4, 6)
    before, codes = corpus.training[-30:], corpus.held_out[:20]
    everything = np.concatenate([before, codes])
    logits, _ = model(everything[:, None])
    p = np.exp(tr.log_softmax(logits).data[:, 0])
    expected = [p[len(before) + i - 1, c] for i, c in enumerate(codes)]
    np.testing.assert_allclose(model.score(codes, before), expected, rtol=1e-5)


def test_samples_at_temperature_zero_are_the_likeliest_characters() -> None:
    tr.seed(0)
    model = CharModel(CharVocabulary("abc"), 4, 6)
    text = model.sample(5, [0.0], "ab")[0]
    written = "ab"
    for _ in range(5):
        logits, _ = model(model.vocabulary.encode(written)[:, None])
        written += model.vocabulary.decode(logits.argmax(-1)[-1])
    assert "ab" + text == written
    assert model.sample(0, [1.0, 2.0], "a") == ["", ""]


def test_a_model_in_a_file_is_the_same_again(tmp_path: Path) -> None:
    for characters in ('ab"\n\\é', "".join(map(chr, range(1, 500))) + "隐藏状态𝄞"):
        model = CharModel(CharVocabulary(characters), 4, 6)
        tr.save(model, tmp_path / "m.safetensors")
        again = tr.load(tmp_path / "m.safetensors", classes=[CharModel])
        assert again.vocabulary.characters == model.vocabulary.characters and again.sizes == model.sizes
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(again.state_dict()[name], array)


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"length": -1}, {"hidden": 0}, {"updates": -1}, {"rate": 0.0}, {"clip": float("nan")}]
)
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        Settings(**wrong)


def test_temperatures_out_of_range() -> None:
    for wrong in ((), (-1.0,), (float("inf"),), (float("nan"),)):
        with pytest.raises(DataError, match="temperature"):
            Settings(temperatures=wrong)


# -- report --------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


class _Page(HTMLParser):
    """Collects the closed tags, the ids, and the resources that a browser would load."""

    void = ("meta", "br", "img", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [value for key, value in attributes if key == "id" and value]
        links = [value or "" for key, value in attributes if key in ("src", "href", "xlink:href")]
        self.loads += [link for link in links if not link.startswith(("#", "data:"))]
        assert tag != "script"
        if tag == "svg":
            self.pictures.append(found)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(TINY, text, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.safetensors", "report.html"]
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = _Page(html)
    assert page.open == []
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    assert len(page.pictures) >= 6
    assert all(picture.get("aria-label") or picture.get("aria-labelledby") for picture in page.pictures)
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    said = capsys.readouterr().out
    for score in results.scores:
        assert score.name in html and f"{score.bits:.3f}" in html and f"{score.bits:.3f}" in said
    again = tr.load(tmp_path / "out" / "model.safetensors", classes=[CharModel])
    assert again.score(results.corpus.held_out, results.corpus.training) == pytest.approx(
        results.model.score(results.corpus.held_out, results.corpus.training)
    )


def test_the_backend_that_ran_is_in_the_report(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(settings: Settings) -> tuple[str, History]:
        results = run(settings, text, tmp_path)
        found = re.search(r"<dt>backend</dt>\s*<dd>(\w+)</dd>", (tmp_path / "report.html").read_text(encoding="utf-8"))
        assert found
        return found[1], results.history

    native = replace(TINY, backend="native")
    run_natively = Mock(side_effect=executable.NativeExecutable.__call__)
    monkeypatch.setattr(executable.NativeExecutable, "__call__", lambda *arguments: run_natively(*arguments))
    name, expected = shown(replace(TINY, backend="numpy"))
    assert (name, run_natively.called) == ("numpy", False)
    if is_ready():
        name, found = shown(native)
        assert (name, run_natively.call_count > TINY.updates) == ("native", True)
        np.testing.assert_allclose(found.bits, expected.bits, rtol=1e-4)
    monkeypatch.setattr(executable, "find_compiler", Mock(side_effect=CompilerError("none")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert shown(native)[0] == "numpy"
    with tr.use("native"):
        assert Settings().backend == "native"


def test_text_in_the_report_is_never_markup(tmp_path: Path) -> None:
    path = tmp_path / "<b>&.txt"
    path.write_text("<script>alert('$x$ & \"y\"')</script>\n" * 30)
    run(TINY, path, tmp_path / "out")
    assert _Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).open == []


@pytest.mark.parametrize("sign", ["日本語の文字", "ab", "\U0001f600\U0001f601 "])
def test_any_script_makes_a_report(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(sign * 60, encoding="utf-8")
    run(TINY, path, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_the_pictures_of_the_report_need_no_renderer(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_rnn.draw.render.render", lambda *given: pytest.fail("a renderer was called"))
    run(TINY, text, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count('class="node state"') == 1 + 4 + 1 + 4  # folded, unrolled, gate by gate, and with gradients
    assert _Page(html).open == []


@pytest.mark.parametrize("missing", ["tqdm", "matplotlib", "threadpoolctl"])
def test_a_missing_extra_is_named_before_anything_is_done(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # makes the import fail
    with pytest.raises(MissingExtraError, match=rf"{missing}.*\[demo\]"):
        run(TINY, text, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file(tmp_path: Path, text: Path) -> None:
    with pytest.raises(DataError, match="cannot write to the output folder"):
        run(TINY, text, text)
    assert text.read_text(encoding="utf-8") == TEXT


def test_a_prompt_of_unknown_characters(tmp_path: Path, text: Path) -> None:
    with pytest.raises(DataError, match="'☃' at position 1"):
        run(Settings(prompt="T☃", batch=4, length=8), text, tmp_path / "out")


def test_no_update_makes_a_report_too(tmp_path: Path, text: Path) -> None:
    run(Settings(updates=0, batch=4, length=8, hidden=4, sample=5), text, tmp_path / "out")
    assert "there was no update" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


# -- the parts of the page -----------------------------------------------------------------


def test_ids_and_references_of_an_svg_get_a_prefix_together() -> None:
    svg = '<!DOCTYPE svg><svg><defs><path id="g"/></defs><use xlink:href="#g"/><a clip-path="url(#g)" href="https://x"/></svg>'
    assert inline_svg(svg, 'a "b"', "p") == (
        '<svg role="img" aria-label="a &quot;b&quot;"><defs><path id="p-g"/></defs><use xlink:href="#p-g"/>'
        '<a clip-path="url(#p-g)" href="https://x"/></svg>'
    )


def test_a_loss_curve_of_one_update() -> None:
    from tinygrad_rnn.demo import Score

    assert "<svg" in loss_curve([3.0], [Score("unigram", 4.0), Score("this network", 5.0)])


def test_history_tells_the_mean_of_the_last_updates() -> None:
    assert np.isnan(History().recent)
    assert History([5.0] * 100 + [1.0] * 50).recent == 1.0
