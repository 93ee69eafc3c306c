"""Run the code in README and on the docs' pages, and write what it gives below it: ``python docs/run.py [PAGE ...]``.

A page is plain Markdown, and can be read where it stands. Its ``python`` blocks are run in order, in one namespace and in
a folder of their own. Below a block stands what it gave: what it printed and its last value as ``text`` (LaTeX as
``math``), then its pictures. ``console`` blocks hold a command of the library and its output. Four conventions:

- an error is accepted if its name already opens the text below the block: write ``ShapeError:`` there for a new one;
- a block whose first line is a comment such as ``# cells.py`` is also written into that file;
- ``python varies`` opens a block whose text is another with other versions of Python or hypothesis: it is not compared;
- ``py`` blocks are shown, and not run.

A page is up to date if its text is what the code gives now, but for numbers of the size of rounding errors. A picture
is up to date if it was made from the same DOT text, or else from the same code; its file ends with a fingerprint of that.
What is up to date is left as it is. Nothing here needs Sphinx.

A page in the folder of a language is a translation: ``zh/tutorial/bptt.md`` has the blocks of ``tutorial/bptt.md``, in the
same order, or none. An empty block is filled from the original, and what a block gives is copied from there. A block may
have its own comments, texts and options of PRESENTATION, and may exchange the letters U and W. A block whose code differs by
that, or that reads names which mean something else by that, is run right after the original's, with the same random numbers;
no other block is run a second time. It must not change objects of the blocks before it.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import functools
import io
import linecache
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PICTURES = DOCS / "pictures"

HEADING = r"^#+ (?P<heading>[^\n]+)\n"
BLOCK = (
    r"^```(?P<kind>python|console)(?P<varies> varies)?\n(?P<code>.*?)^```\n"
    r"(?:\n```(?:text|math)\n(?P<text>.*?)^```\n)?"
    r"(?:\n(?:!\[[^\n]*\]\([\w./]*pictures/\w+/[\w-]+\.svg\)\n)+)?"
)
PART = re.compile(f"{HEADING}|{BLOCK}", re.DOTALL | re.MULTILINE)
LANGUAGES = ("zh",)
PRESENTATION = {"notation", "symbols", "bias", "net", "form"}  # options of draw and equations that a translation may set
LETTER = re.compile(r"(?<![A-Za-z])(d?)([UW])(?![A-Za-z])")
PICTURE = re.compile(r"(?<=\]\()[\w./]*(?=pictures/\w+/[\w-]+\.svg\))")
ROUNDING = re.compile(r"\b[\d.]+e-(0[789]|[1-9]\d)\b")


class PageError(Exception):
    """A block failed, and the page does not say that it does."""


class Picture(NamedTuple):
    """A picture that a page shows, before it is drawn."""

    alt: str
    fingerprint: str
    draw: Callable[[], str]

    def is_in(self, path: Path) -> bool:
        """Whether a file has this very picture."""
        return path.exists() and path.read_text(encoding="utf-8").endswith(self._end())

    def svg(self) -> str:
        """The content of the file."""
        return self.draw().rstrip() + self._end()

    def _end(self) -> str:
        return f"\n<!-- made from {self.fingerprint} -->\n"


class Result(NamedTuple):
    """A page as its code would have it, and its pictures by the names of their files."""

    path: Path
    text: str
    pictures: dict[Path, Picture]


class Pair(NamedTuple):
    """A block of a translation, and the block of the original that it stands for."""

    code: str
    original: re.Match[str]
    heading: str

    def differs(self, changed: set[str]) -> bool:
        """Whether the translation's block gives something else; `changed` names mean something else there, and are updated."""
        if self.original["kind"] != "python":  # a command, which may name a file that a block wrote
            return bool(changed & set(re.findall(r"\w+", self.code)))
        theirs, found = set(map(ast.dump, ast.parse(self.original["code"]).body)), False
        for statement in ast.parse(self.code).body:
            reads, writes = _names(statement)
            if ast.dump(statement) not in theirs or reads & changed:
                found = True
                changed |= writes
            else:
                changed -= writes
        if found and (file := re.match(r"# (\w+)\.py\n", self.code)):
            changed.add(file[1])
        return found

    def is_translation(self) -> bool:
        """Whether the two blocks differ in presentation alone."""
        theirs = self.original["code"]
        if self.original["kind"] != "python":
            return self.code.partition("\n")[0] == theirs.partition("\n")[0]  # the command
        exchanged = LETTER.sub(lambda found: found[1] + {"U": "W", "W": "U"}[found[2]], theirs)
        return _without_presentation(self.code) in map(_without_presentation, (theirs, exchanged))


def pages() -> list[Path]:
    """README, and every page of the docs that is kept in the repository and is no translation."""
    found = (path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.relative_to(DOCS).parts))
    return [ROOT / "README.md", *sorted(path for path in found if not _language(path) or not _original(path).exists())]


def run(path: Path) -> list[Result]:
    """Run a page with its translations.

    Raises
    ------
    PageError
        If a block fails, and the text below it does not begin with the name of the error; or if a translation has other code.
    """
    with _Running(path) as page:
        folders = [DOCS / language for language in LANGUAGES if DOCS in path.parents]
        others = [other for folder in folders if (other := folder / path.relative_to(DOCS)).exists()]
        translations = [_Translation(other, page) for other in others]

        def part(match: re.Match[str]) -> str:
            before = dict(page.namespace), page.random_numbers()
            given = page.part(match)
            if not match["heading"]:
                for translation in translations:
                    translation.follow(given, *before)
            return given

        text = PART.sub(part, path.read_text(encoding="utf-8"))
        return [Result(path, text, page.pictures), *(translation.result() for translation in translations)]


def _language(path: Path) -> str:
    """The language of a translation, or nothing."""
    return next((language for language in LANGUAGES if DOCS / language in path.parents), "")


def _original(path: Path) -> Path:
    """The page that a translation is of."""
    return DOCS / path.relative_to(DOCS / _language(path))


def differences(path: Path) -> list[str]:
    """How a page, its translations and their pictures differ from what their code gives: lines to read, none if they don't."""
    found = []
    for result in run(path):
        kept, now = (_compared(text).splitlines() for text in (result.path.read_text(encoding="utf-8"), result.text))
        found += difflib.unified_diff(kept, now, "kept", "now", lineterm="", n=1)
        found += [f"{file.name} is of other code" for file, picture in result.pictures.items() if not picture.is_in(file)]
        found += [f"{file.name} is on no page" for file in _needless(result)]
    return found


def update(path: Path) -> list[str]:
    """Write a page, its translations and their pictures anew; the names of the files that changed."""
    changed = []
    for result in run(path):
        for file in _needless(result):
            file.unlink()
            changed.append(f"{file.name} (removed)")
        for file, picture in result.pictures.items():
            if not picture.is_in(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(picture.svg(), encoding="utf-8")
                changed.append(file.name)
        if _compared(result.text) != _compared(result.path.read_text(encoding="utf-8")):
            result.path.write_text(result.text, encoding="utf-8")
            changed.insert(0, result.path.name)
    return changed


def _pairs(path: Path, original: Path) -> list[Pair]:
    """The blocks of a translation with those of its original.

    Raises
    ------
    PageError
        If the pages have other blocks.
    """
    mine = [match for match in PART.finditer(path.read_text(encoding="utf-8")) if not match["heading"]]
    theirs, heading = [], ""
    for match in PART.finditer(original.read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        theirs += [] if match["heading"] else [(match, heading)]
    if not mine:
        return []
    pairs = [Pair(own["code"] or match["code"], match, heading) for own, (match, heading) in zip(mine, theirs, strict=False)]
    headings = [pair.heading for pair in pairs if not pair.is_translation()]
    if headings or len(mine) != len(theirs):
        raise PageError(
            f"{path}, the block for one under {(headings or [theirs[len(pairs) - 1][1]])[0]!r}: its code is another than in "
            f"{original}, by more than comments, texts and letters; there are {len(mine)} blocks here and {len(theirs)} there. "
            f"Empty the block, or add an empty one, and python docs/run.py {path.stem} fills it"
        )
    return pairs


def _without_presentation(code: str) -> str:
    """What a block does, without its texts and the options that only change how something is shown."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in PRESENTATION]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Names that a statement reads, modules among them; and names that it sets, or whose values it changes."""
    reads, writes, inside = set(), set(), set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            (reads if isinstance(node.ctx, ast.Load) else writes).add(node.id)
        elif isinstance(node, ast.arg):
            inside.add(node.arg)
        elif isinstance(node, ast.alias):
            writes.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            reads.add(node.module or "")
        elif isinstance(node, (ast.For, ast.comprehension)):
            inside |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            reads.add(node.target.id)
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            writes |= {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        inside, writes = inside | writes, {statement.name}
    return reads - inside, writes


def _compared(text: str) -> str:
    """A page without what may differ: rounding errors, and what blocks gave whose text varies."""

    def part(match: re.Match[str]) -> str:
        return (
            (match["code"] if match["kind"] == "python" else match["code"].partition("\n")[0]) if match["varies"] else match[0]
        )

    return ROUNDING.sub("a rounding error", PART.sub(part, text))


def _needless(result: Result) -> list[Path]:
    folder, language = PICTURES / result.path.stem, _language(result.path)
    translated = {file for other in LANGUAGES for file in folder.glob(f"*-{other}.svg")}
    drawn = set(folder.glob(f"*-{language}.svg")) if language else set(folder.glob("*.svg")) - translated
    return sorted(drawn - set(result.pictures))


class _Running:
    """A page while it runs: the namespace and the folder that its blocks share, and what they gave."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.folder = tempfile.TemporaryDirectory()
        self.pictures: dict[Path, Picture] = {}
        self.heading = self.code = ""

    def __enter__(self) -> _Running:
        from threadpoolctl import threadpool_limits

        import tinygrad_rnn as tr

        self._primitives = set(tr.ops.registry)
        self._threads = threadpool_limits(1)  # products are small, and sums come in the same order in every run
        tr.seed(0)
        return self

    def __exit__(self, *exception: object) -> None:
        """Forget the modules that the page wrote, and the primitives that it registered."""
        import tinygrad_rnn as tr

        self._threads.restore_original_limits()
        for name in set(tr.ops.registry) - self._primitives:
            del tr.ops.registry[name]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(self.folder.name):
                del sys.modules[name]
        self.folder.cleanup()

    def random_numbers(self) -> list[tuple[Any, Any]]:
        """The generators of random numbers that blocks may draw from, with their states."""
        import numpy as np

        from tinygrad_rnn.random import generator

        found = [generator(), *(value for value in self.namespace.values() if isinstance(value, np.random.Generator))]
        return [(value, value.bit_generator.state) for value in found]

    def part(self, match: re.Match[str]) -> str:
        """What stands in the place of a heading, or of a block and all that is below it."""
        if match["heading"]:
            self.heading = match["heading"]
            return match[0]
        return f"```{match['kind']}{match['varies'] or ''}\n{self.given(match['kind'], match['code'], match['text'] or '')}"

    def given(self, kind: str, code: str, kept: str) -> str:
        """A block's code, and what it gives; `kept` is the text that stands there now."""
        try:
            return self._console(code) if kind == "console" else self._python(code, kept)
        except PageError as error:
            raise PageError(f"{self.path.name}, under {self.heading!r}: {error}\n{code}") from error.__cause__

    def _python(self, code: str, kept: str) -> str:
        self.code += code
        named = re.match(r"# (\w+\.py)\n", code)
        file = named[1] if named else f"{self.path.stem}.py"
        if named:
            (Path(self.folder.name) / file).write_text(code, encoding="utf-8")
        linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
        tree = ast.parse(code, file)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed, pictures = io.StringIO(), []
        with contextlib.redirect_stdout(printed), _at(self.folder.name):
            try:
                exec(compile(tree, file, "exec"), self.namespace)
                if last is not None:
                    value = eval(compile(ast.Expression(last.value), file, "eval"), self.namespace)
                    pictures = self._drawn(value)
                    if value is not None and not pictures:
                        print(repr(value))
            except Exception as error:
                if not kept.startswith(f"{type(error).__name__}:"):
                    raise PageError(traceback.format_exc(limit=-3)) from error
                print(f"{type(error).__name__}: {error}")
        given = f"{code}```\n"
        if text := printed.getvalue().strip("\n"):
            language = "math" if text.startswith(r"\begin{aligned}") else "text"
            given += f"\n```{language}\n{text}\n```\n"
        return given + self._shown(pictures)

    def _console(self, code: str) -> str:
        command = code.splitlines()[0].removeprefix("$ ")
        program, *arguments = shlex.split(command)
        if program != "tinygrad-rnn":
            raise PageError(f"only tinygrad-rnn is run, not {program}")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        ended = subprocess.run(
            [sys.executable, "-m", "tinygrad_rnn", *arguments],
            cwd=self.folder.name,
            env={**os.environ, "PYTHONHASHSEED": "0", "COLUMNS": "100", "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=300,
        )
        drawn = [self._read(path) for path in sorted(Path(self.folder.name).glob("*.svg"))]
        return f"$ {command}\n{ended.stdout}".rstrip("\n") + "\n```\n" + self._shown(drawn)

    def _drawn(self, value: Any) -> list[Picture]:
        """Drawings and matplotlib's figures, alone or in a tuple."""
        if isinstance(value, tuple) and value:
            found = [self._drawn(part) for part in value]
            return [picture for part in found for picture in part] if all(found) else []
        if hasattr(value, "svg") and hasattr(type(value), "source"):  # which is written when it is read
            return [Picture(value.title, _fingerprint(value.source), value.svg)]
        if hasattr(value, "savefig"):
            plots = (f"{a.get_title() or a.get_ylabel()} over {a.get_xlabel()}" for a in value.axes if a.get_xlabel())
            return [Picture("; ".join(plots), _fingerprint(self.code), functools.partial(_figure, value))]
        return []

    def _read(self, path: Path) -> Picture:
        """A picture that a command wrote."""
        svg = path.read_text(encoding="utf-8")
        path.unlink()
        title, edges = re.search(r'aria-label="([^"]*)">\s*<desc>(.*?)</desc>', svg, re.DOTALL).groups()
        return Picture(title, _fingerprint(title + edges), lambda: svg)

    def _shown(self, pictures: list[Picture]) -> str:
        """The lines that show pictures, which are called after the heading that they stand under."""
        lines = []
        for picture in pictures:
            name = "-".join(re.findall("[a-z0-9]+", self.heading.lower())[:5])
            folder = PICTURES / self.path.stem
            language = f"-{_language(self.path)}" if _language(self.path) else ""
            numbered = (folder / f"{name}{n}{language}.svg" for n in ("", *(f"-{k}" for k in range(2, 100))))
            file = next(file for file in numbered if file not in self.pictures)
            self.pictures[file] = picture
            lines.append(f"![{picture.alt}]({Path(os.path.relpath(file, self.path.parent)).as_posix()})\n")
        return "".join(["\n", *lines]) if lines else ""


class _Translation:
    """A translation while its original runs."""

    def __init__(self, path: Path, page: _Running) -> None:
        self.path, self.page = path, page
        self.pairs = iter(_pairs(path, page.path))
        self.folder = os.path.relpath(page.path.parent, path.parent)
        self.changed: set[str] = set()
        self.names: dict[str, Any] = {}  # that mean something else than in the original
        self.pictures: dict[Path, Picture] = {}
        self.blocks: list[str] = []

    def follow(self, given: str, namespace: dict[str, Any], random_numbers: list[tuple[Any, Any]]) -> None:
        """Take what a block of the original gave, or run the translation's where the original's started from."""
        if (pair := next(self.pairs, None)) is None:
            return
        opening = f"```{pair.original['kind']}{pair.original['varies'] or ''}\n"
        if not pair.differs(self.changed):
            given = PICTURE.sub(self._from_here, given)
            if pair.original["kind"] == "python":  # with its own comments
                given = opening + pair.code + given.removeprefix(opening + pair.original["code"])
            self.blocks.append(given)
            return
        page = copy.copy(self.page)
        page.path, page.pictures, page.namespace = self.path, self.pictures, namespace | self.names
        for generator, state in random_numbers:
            generator.bit_generator.state = state
        self.blocks.append(opening + page.given(pair.original["kind"], pair.code, pair.original["text"] or ""))
        self.names = {name: page.namespace[name] for name in self.changed if name in page.namespace}

    def result(self) -> Result:
        """The translation as its code and its original would have it."""
        text, blocks = self.path.read_text(encoding="utf-8"), iter(self.blocks)
        if self.blocks:
            text = PART.sub(lambda match: match[0] if match["heading"] else next(blocks), text)
        return Result(self.path, text, self.pictures)

    def _from_here(self, found: re.Match[str]) -> str:
        return Path(os.path.normpath(Path(self.folder, found[0]))).as_posix() + "/"


def _fingerprint(source: str) -> str:
    return f"{zlib.crc32(source.encode()):08x}"


def _figure(figure: Any) -> str:
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "docs", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


@contextlib.contextmanager
def _at(folder: str) -> Iterator[None]:
    """Work in a folder, and import from it."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        os.chdir(before)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    chosen = [path for path in pages() if not sys.argv[1:] or path.stem in sys.argv[1:]]
    with ProcessPoolExecutor() as pool:
        for path, changed in zip(chosen, pool.map(update, chosen), strict=True):
            print(f"{path.relative_to(ROOT)}: {', '.join(changed) or 'as it was'}", flush=True)
