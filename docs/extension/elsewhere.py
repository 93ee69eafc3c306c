"""Pages that stand elsewhere in the repository, and links to what is another page in the built docs.

In the repository a link leads to a file that can be read there: a page outside docs/, or a module's source. In the built
docs such a page has a copy, and a public module has its page of the reference. Nothing here needs Sphinx.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from . import reference

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
LISTED = re.compile(r"^(?:- |\d+\. |\| )\[[^\]]*\]\(([^)\s#]+)\.(?:md|rst)\)", re.MULTILINE)


def copies() -> dict[Path, str]:
    """Files that are copied, and their pages in docs/."""
    found = {ROOT / f"{name}.md": f"generated/{name.lower()}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")}
    found |= {ROOT / folder / "README.md": f"generated/{folder}/index.md" for folder in ("examples", "benchmarks")}
    results = sorted((ROOT / "examples" / "results").glob("*/README.md"))
    return found | {path: f"generated/examples/{path.parent.name}.md" for path in results}


def sources() -> dict[Path, str]:
    """Source files of the public modules, and their pages of the reference in docs/."""
    return {reference.source(module): f"generated/reference/{module}.rst" for module in reference.MODULES}


def linked(text: str, path: Path, docname: str) -> str:
    """A page's text, whose links lead on from where it stands in docs/; links to folders become plain words."""
    pages = copies() | sources()

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        file = Path(os.path.normpath(path.parent / target))
        if re.match("[a-z]+:", target) or not file.exists():
            return match[0]
        if file.is_dir():
            return words
        there = DOCS / pages[file] if file in pages else file
        return f"[{words}]({Path(os.path.relpath(there, (DOCS / docname).parent)).as_posix()}{anchor or ''})"

    return LINK.sub(link, text)


def side_bar(text: str) -> str:
    """A hidden table of contents for each section that lists pages, a link at the beginning of a line for each."""
    parts = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        title = re.match("## (.*)", section)
        if found := LISTED.findall(section):
            parts += ["", "```{toctree}", ":hidden:", *([f":caption: {title[1]}"] if title else []), *found, "```", ""]
    return "\n".join(parts)


def write(app: Any) -> None:
    """Write the copies, and remove those of pages that are gone."""
    wanted = {DOCS / page: path for path, page in copies().items()}
    for folder in {page.parent for page in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
        for page in set(folder.glob("*.md")) - set(wanted):
            page.unlink()
    for page, path in wanted.items():
        text = linked(path.read_text(encoding="utf-8"), path, page.relative_to(DOCS).with_suffix("").as_posix())
        if path.parent.parent.name == "results":
            code = os.path.relpath(ROOT / "examples" / f"{path.parent.name}.py", page.parent)
            text += f"\n## The code\n\n```{{literalinclude}} {code}\n:language: python\n```\n"
        if page.name == "index.md":
            text += side_bar(text)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
