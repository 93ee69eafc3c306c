"""Every example runs, explains, compares with a baseline, and has a page with the output of a full run of the same code."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
from example_runs import EXAMPLES, NAMES, quick, runs
from hypothesis import example, given
from hypothesis import strategies as st

each_example = pytest.mark.parametrize("name", NAMES)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = _load(EXAMPLES / "results" / "make.py")


def test_the_table_has_every_example_once() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\S+)\) \(\[code\]\((\S+)\)\) \|", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(rows) == [(name, f"results/{name}/README.md", f"{name}.py") for name in NAMES]
    assert {path.name for path in (EXAMPLES / "results").iterdir() if (path / "README.md").exists()} == set(NAMES)


test_they_run = runs("hello", "characters", "embeddings", "digits_rows", "digits_two_dimensions")


def test_each_example_is_run_by_one_file() -> None:
    """Each example belongs to one test file, so that it runs only once."""
    sources = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    run = [
        re.findall(r'"(\w+)"', "".join(re.findall(r"^test_they_run = runs\((.*?)\)", source, re.M | re.S)))
        for source in sources
    ]
    assert sorted(name for names in run for name in names) == NAMES
    for source, names in zip(sources, run, strict=True):
        others = set(NAMES) - set(names)
        assert not others & set(re.findall(r'(?:quick|results_of|table|last_lines|shares|rows)\("(\w+)"', source))


@each_example
def test_help_teaches(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The help shows the docstring and the options, each with an explanation."""
    path = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    docstring = re.match(r'"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL)
    assert docstring is not None and docstring[1].strip() in said
    assert f"python examples/{name}.py" in said
    for option in ("--quick", "--seed [A-Z]+", "--out [A-Z]+"):
        assert re.search(rf"^  {option}\s+\w+", said, re.MULTILINE), f"{option} is not explained:\n{said}"


# -- what the docs show ------------------------------------------------------------------------


@each_example
def test_what_the_docs_show_was_printed_by_this_code(name: str) -> None:
    assert results.is_current(name), f"kept results are not of this code; python examples/results/make.py {name}"
    assert results.printed(name).startswith(f"$ python examples/{name}.py  # ")


@each_example
def test_it_has_a_page_with_all_there_is(name: str) -> None:
    """The page has the current docstring, the printed output, each picture in the folder, and a link to the code."""
    folder = EXAMPLES / "results" / name
    page = (folder / "README.md").read_text("utf-8")
    assert page == results.page(name, results.printed(name)), "python examples/results/make.py writes the pages anew"
    assert f"](../../{name}.py)" in page
    assert sorted(re.findall(r"^!\[.+\]\((.+)\)$", page, re.MULTILINE)) == sorted(
        {p.name for p in folder.iterdir()} - {"README.md"}
    )


@example("as follows::")
@given(st.text(alphabet="ab*_$<[]|` :.", max_size=30).map(str.strip))
def test_prose_is_escaped_but_for_its_code(line: str) -> None:
    escaped = results.prose(line)
    assert re.sub(r"\\(.)", r"\1", escaped) == (line[:-1] if line.endswith("::") else line)
    prose = re.sub(r"\\.|``[^`]+``|`[^`]+`", "", escaped)
    assert not re.search(r"[*_$<\[\]|`]", prose)


def test_a_fingerprint_is_of_the_code_alone() -> None:
    code = '"""Says."""\n\nimport math\n\n\ndef f(x):\n    """Returns."""\n    return math.pi  # π\n'
    same = code.replace("Says.", "Says\nmore.").replace("Returns.", "Gives\n\n    back.").replace("  # π", "\n\n    # done")
    assert results.fingerprint(code) == results.fingerprint(same)
    for other in (code.replace("pi", "e"), code.replace("f(x)", "f(y)"), code.replace("import math", "import numpy")):
        assert results.fingerprint(code) != results.fingerprint(other)


# -- hello -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hello_learns_to_spell_and_draws(seed: int) -> None:
    said, out = quick("hello", seed)
    assert "after:  hello" in said
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", said)]
    assert losses[0] > 3
    assert losses[-1] < 0.05
    source = "".join(path.read_text(encoding="utf-8") for path in out.iterdir())
    for name in ("h₁", "h₄", "L₁", "L₄"):
        assert name in source


# -- characters, words, digits -----------------------------------------------------------------


def results_of(name: str) -> dict[str, float]:
    """The table at the end: the text before the last number of each line, and the number."""
    lines = quick(name).printed.rpartition("\n\n")[2].splitlines()
    return {m[1]: float(m[2]) for line in lines if (m := re.match(r"  (\S.*?)\s+([\d.]+)%?$", line))}


def test_after_150_updates_the_character_model_knows_more_than_pairs_tell() -> None:
    bits = results_of("characters")
    assert list(bits) == ["unigram", "bigram", "trigram", "LSTM"]
    assert bits["trigram"] < bits["bigram"] < bits["unigram"] < 6
    assert 1.5 < bits["LSTM"] < bits["bigram"]


def test_after_two_passes_the_word_model_knows_more_than_single_words_tell() -> None:
    perplexity = results_of("embeddings")
    assert list(perplexity) == ["unigram", "bigram", "trigram", "GRU"]
    assert 50 < perplexity["GRU"] < 0.8 * perplexity["unigram"]
    table = re.findall(r"words in -(\w+)\s+(\d+)%\s+(\d+)%\s+(\d+)%", quick("embeddings").printed)
    assert len(table) == 4
    for _, before, _, share in table:  # random vectors have no information about endings
        assert abs(int(before) - int(share)) <= 6


def test_digits_are_read_by_either_reader() -> None:
    rows, both = results_of("digits_rows"), results_of("digits_two_dimensions")
    assert rows["logistic regression"] > 90
    assert rows["GRU, row by row"] > 80
    assert both["row by row"] > 70
    assert both["along both dimensions"] > 40
    assert (quick("digits_rows").out / "digits_rows.svg").exists()
    picture = (quick("digits_two_dimensions").out / "digits_two_dimensions.svg").read_text(encoding="utf-8")
    assert picture.count('class="node delay"') == 3  # along the rows in both directions, and down
