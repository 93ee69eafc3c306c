"""A page for each example: what it says, what a full run printed and drew, and its source.

Nothing is run here: ``examples/results/make.py`` has done it. Nothing here needs Sphinx, so that the tests
look at the pages as well.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
UP = "../../../examples"  # from docs/generated/examples, where the pages are written to


def names() -> list[str]:
    """The examples in the order of the table in ``examples/README.md``."""
    return re.findall(r"^\| \[(\w+)\.py\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)


def overview() -> str:
    """``examples/README.md``, with links to the pages instead of files, and the list of them."""
    text = (EXAMPLES / "README.md").read_text("utf-8")
    text = re.sub(r"\[([^\]]*)\]\((?!\w+\.py)[^)]*\)", r"\1", text)
    text = re.sub(r"\((\w+)\.py\)", r"(\1.md)", text)
    return "\n".join([text, "```{toctree}", ":hidden:", *names(), "```", ""])


def page(name: str) -> str:
    """The page of an example."""
    source = (EXAMPLES / f"{name}.py").read_text("utf-8")
    tree = ast.parse(source)
    results = EXAMPLES / "results" / name
    parts = [f"# {name.replace('_', ' ').capitalize()}", _prose(ast.get_docstring(tree) or "")]
    if results.exists():
        parts += [
            "## What it prints",
            "```{literalinclude} " + f"{UP}/results/{name}/printed.txt\n:language: text\n:class: printed\n```",
        ]
        pictures = sorted(path for path in results.iterdir() if path.suffix in (".svg", ".png"))
        parts += [
            "```{image} " + f"{UP}/results/{name}/{path.name}\n:class: drawing\n:alt: {path.stem}\n```" for path in pictures
        ]
    parts += [
        f"## The code: examples/{name}.py",
        "```{literalinclude} " + f"{UP}/{name}.py\n:language: python\n:lines: {tree.body[1].lineno}-\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _prose(docstring: str) -> str:
    """A docstring as Markdown: indented lines are code in both; stars, brackets and the like are only themselves."""
    return "\n".join(line if line.startswith("    ") else _escaped(line) for line in docstring.splitlines())


def _escaped(line: str) -> str:
    line = line[:-1] if line.endswith("::") else line
    parts = re.split(r"(``[^`]+``|`[^`]+`)", line)  # every other one is code
    parts[::2] = [re.sub(r"([*_$<\[\]|`])", r"\\\1", text) for text in parts[::2]]
    return "".join(parts)


def write(app: Any) -> None:
    """Write the pages into generated/, and remove those of examples that are gone."""
    folder = Path(app.srcdir) / "generated" / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"index": overview()} | {name: page(name) for name in names()}
    for path in folder.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
