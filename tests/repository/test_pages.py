"""README and the docs' pages show the results of their code: text word for word, pictures by their source."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_run", ROOT / "docs" / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


run = _load()


@pytest.mark.parametrize("path", run.pages(), ids=lambda path: path.relative_to(ROOT).with_suffix("").as_posix())
def test_a_page_shows_what_its_code_gives(path: Path) -> None:
    differences = "\n".join(run.differences(path))
    assert not differences, f"{differences}\npython docs/run.py {path.stem} writes the page anew; look at the difference"


PAGE = """# A page

```python
1 + 1
```

```text
2
```

## Pictures

```python
from tinygrad_rnn import nn

nn.RNNCell(2, 3).draw()
```

![RNNCell, folded over time](pictures/page/pictures.svg)

Prose.
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that is up to date."""
    monkeypatch.setattr(run, "PICTURES", tmp_path / "pictures")
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    run.update(path)
    return path


def test_a_page_that_is_up_to_date_stays_as_it_is(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGE
    assert run.differences(page) == [] == run.update(page)


@pytest.mark.parametrize(
    "now, then",
    [
        ("1 + 1", "1 + 2"),
        ("```text\n2\n```\n\n", ""),
        ("text\n2", "text\n3"),
        ("nn.RNNCell(2, 3)", "nn.GRUCell(2, 3)"),
        (".draw()", ".draw(time='unrolled')"),
        (".draw()\n", ".draw(), 1\n"),
        ("![RNNCell, folded over time](pictures/page/pictures.svg)\n", ""),
        ("[RNNCell, folded", "[GRUCell, folded"),
        ("## Pictures", "## Another"),
    ],
)
def test_a_page_that_says_something_else_is_told_and_mended(page: Path, now: str, then: str) -> None:
    assert now in PAGE
    page.write_text(PAGE.replace(now, then), encoding="utf-8")
    assert run.differences(page)
    assert run.update(page)
    assert run.differences(page) == []
    assert page.read_text(encoding="utf-8").endswith("\n\nProse.\n")


def test_a_picture_of_other_code_or_of_no_page_is_told(page: Path) -> None:
    picture = page.parent / "pictures" / "page" / "pictures.svg"
    (picture.parent / "old.svg").write_text("<svg/>", encoding="utf-8")
    svg = picture.read_text(encoding="utf-8")
    picture.write_text(svg.replace("<!-- made from ", "<!-- made from 0"), encoding="utf-8")
    assert run.differences(page) == ["pictures.svg is of other code", "old.svg is on no page"]
    run.update(page)
    assert picture.read_text(encoding="utf-8") == svg and not (picture.parent / "old.svg").exists()


@pytest.mark.parametrize(
    "code, given",
    [
        ("print('a')\nx = 1\nx", "text\na\n1"),
        (r"print(r'\begin{aligned}x\end{aligned}')", "math\n" + r"\begin{aligned}x\end{aligned}"),
        ("None", ""),
    ],
)
def test_what_a_block_gives_stands_below_it(tmp_path: Path, code: str, given: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"```python\n{code}\n```\n\nProse.\n", encoding="utf-8")
    expected = f"\n```{given}\n```\n" if given else ""
    assert run.run(path)[0].text == f"```python\n{code}\n```\n{expected}\nProse.\n"


def test_an_error_has_to_be_expected(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    block = "```python\nint('x')\n```\n"
    for text in ("", "\n```text\nTypeError: no\n```\n"):
        path.write_text(block + text, encoding="utf-8")
        with pytest.raises(run.PageError, match=r"(?s)page\.md.*int\('x'\)"):
            run.run(path)
    path.write_text(block + "\n```text\nValueError:\n```\n", encoding="utf-8")
    assert "ValueError: invalid literal" in run.run(path)[0].text


def test_rounding_errors_and_what_varies_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    for block, same, other in [
        ("```python\n1e-15\n```\n\n```text\n{}\n```\n", "3e-15", "3e-03"),
        ("```python varies\nlen('abc')\n```\n\n```text\n{}\n```\n", "4", None),
    ]:
        path.write_text(block.format(same), encoding="utf-8")
        assert run.differences(path) == [] == run.update(path)
        assert path.read_text(encoding="utf-8") == block.format(same)
        if other:
            path.write_text(block.format(other), encoding="utf-8")
            assert run.differences(path)


def test_blocks_share_files_and_leave_nothing_behind(tmp_path: Path) -> None:
    import tinygrad_rnn as tr

    before = set(tr.ops.registry), Path.cwd(), list(sys.path)
    path = tmp_path / "page.md"
    path.write_text(
        "```python\n# of_a_page.py\nimport math\nroot = math.sqrt\n```\n\n"
        "```python\nimport tinygrad_rnn as tr\nimport numpy as np\nfrom of_a_page import root\n\n"
        "@tr.primitive(np.cbrt, gradient=(None,), formula='{x}')\ndef of_a_page(x):\n    'Root.'\n\n"
        "root(4.0)\n```\n\n```py\n1 / 0\n```\n",
        encoding="utf-8",
    )
    assert "2.0" in run.run(path)[0].text
    assert "of_a_page" not in sys.modules
    assert (set(tr.ops.registry), Path.cwd(), list(sys.path)) == before


# -- translations ----------------------------------------------------------------------------

ORIGINAL = """# Letters

```python
import itertools

U, W = 2, 3
count = itertools.count(1)
```

```python
print(U - W)
```

```text
-1
```

```python
from tinygrad_rnn import nn

nn.RNNCell(2, 3).draw()
```

![RNNCell, folded over time](pictures/page/letters.svg)

```python
U = next(count)
U
```

```text
1
```
"""
TRANSLATION = """# 字母

```python
{}```

```python
{}```

那么：

```python
{}```

```python
```
"""


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A page that is up to date, and the path of its translation."""
    monkeypatch.setattr(run, "DOCS", tmp_path)
    monkeypatch.setattr(run, "PICTURES", tmp_path / "pictures")
    (tmp_path / "page.md").write_text(ORIGINAL, encoding="utf-8")
    run.update(tmp_path / "page.md")
    (tmp_path / "zh").mkdir()
    return tmp_path / "page.md", tmp_path / "zh" / "page.md"


def test_a_translation_has_the_code_and_the_output_of_its_original(pages: tuple[Path, Path]) -> None:
    page, translation = pages
    translation.write_text(TRANSLATION.format("", "", ""), encoding="utf-8")
    assert run.differences(page)
    assert run.update(page) == ["page.md"]
    expected = ORIGINAL.replace("# Letters", "# 字母").replace("pictures/", "../pictures/")
    expected = expected.replace("-1\n```\n", "-1\n```\n\n那么：\n")
    assert translation.read_text(encoding="utf-8") == expected
    assert page.read_text(encoding="utf-8") == ORIGINAL
    assert run.differences(page) == []


def test_a_block_of_a_translation_that_differs_is_run_with_all_that_reads_its_names(pages: tuple[Path, Path]) -> None:
    page, translation = pages
    draw = 'from tinygrad_rnn import nn\n\nnn.RNNCell(2, 3).draw(notation="WU")  # 图\n'
    translation.write_text(
        TRANSLATION.format("import itertools\n\nW, U = 2, 3\ncount = itertools.count(1)\n", "", draw), encoding="utf-8"
    )
    assert run.update(page) == ["page.md", "letters-zh.svg"]
    text = translation.read_text(encoding="utf-8")
    assert "```text\n1\n```\n\n那么" in text  # U - W
    assert draw in text and "(../pictures/page/letters-zh.svg)" in text
    assert text.endswith("U\n```\n\n```text\n1\n```\n")  # the last block runs once, because it sets U again
    assert run.differences(page) == []
    assert page.read_text(encoding="utf-8") == ORIGINAL
    translation.write_text(text.replace("```text\n1\n```\n\n那么", "```text\n-1\n```\n\n那么"), encoding="utf-8")
    assert run.differences(page)
    translation.write_text(TRANSLATION.format("", "", ""), encoding="utf-8")
    assert run.update(page) == ["page.md", "letters-zh.svg (removed)"]


def test_a_block_of_a_translation_reads_the_names_of_its_original(pages: tuple[Path, Path]) -> None:
    page, translation = pages
    translation.write_text(TRANSLATION.format("", "print(W - U)\n", ""), encoding="utf-8")
    run.update(page)
    assert "print(W - U)\n```\n\n```text\n1\n```" in translation.read_text(encoding="utf-8")


def test_what_a_command_gives_now_is_below_it_in_each_language(pages: tuple[Path, Path]) -> None:
    for path in pages:
        path.write_text("```console\n$ tinygrad-rnn --version\ntinygrad_rnn 0\n```\n", encoding="utf-8")
    assert run.update(pages[0]) == ["page.md", "page.md", "letters.svg (removed)"]
    mine, theirs = (path.read_text(encoding="utf-8") for path in pages)
    assert mine == theirs and "tinygrad_rnn 0\n" not in mine


def test_a_translation_draws_the_random_numbers_of_its_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "DOCS", tmp_path)
    (tmp_path / "zh").mkdir()
    blocks = "```python\nimport numpy as np\n\nrng = np.random.default_rng(0)\n```\n\n"
    shown = "```python\nprint({} rng.random())\n```\n\n```text\nx\n```\n\n"
    for folder, word in (("", '"random",'), ("zh", '"随机数",')):
        (tmp_path / folder / "page.md").write_text(blocks + shown.format(word) * 2, encoding="utf-8")
    mine, theirs = (re.findall(r"[\d.]{6,}", result.text) for result in run.run(tmp_path / "page.md"))
    assert mine == theirs and len(set(mine)) == 2


@pytest.mark.parametrize(
    "mine, message",
    [
        (TRANSLATION.format("import itertools\n\nU, W = 2, 4\ncount = itertools.count(1)\n", "", ""), "its code is another"),
        (TRANSLATION.format("", "", "from tinygrad_rnn import nn\n\nnn.GRUCell(2, 3).draw()\n"), "its code is another"),
        ("# 字母\n\n```python\nU, W = 2, 3\n```\n", "1 blocks here and 4 there"),
    ],
)
def test_a_translation_of_other_code_is_refused(pages: tuple[Path, Path], mine: str, message: str) -> None:
    page, translation = pages
    translation.write_text(mine, encoding="utf-8")
    with pytest.raises(run.PageError, match=message):
        run.differences(page)


# -- from your notes to the library ----------------------------------------------------------

CALL = re.compile(r"^\| .*? \| `([^`]+)` \| ", re.MULTILINE)


def test_each_call_for_what_stands_in_notes_runs_and_is_the_same_in_each_language() -> None:
    path = run.DOCS / "from_your_notes.md"
    text = path.read_text(encoding="utf-8")
    calls = CALL.findall(text)
    assert len(calls) > 70
    with run._Running(path) as page:
        run.PART.sub(page.part, text)
        for call in calls:
            assert eval(call, page.namespace) is not False, call
    for language in run.LANGUAGES:
        translated = CALL.findall((run.DOCS / language / path.name).read_text(encoding="utf-8"))
        assert list(map(run._without_presentation, translated)) == list(map(run._without_presentation, calls))
