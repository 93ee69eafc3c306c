"""Count lines of code, without docstrings, comments and blank lines: ``python tools/count_lines.py [FOLDER …]``.

A line counts if a token of code begins or goes on there. Without arguments, the package is counted, room by room.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tinygrad_rnn"
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}


def code_lines(source: str) -> int:
    """Return how many lines of a module hold code.

    Examples
    --------
    >>> code_lines('"A docstring."\\n\\n# a comment\\nx = [\\n    1,\\n]\\n')
    3
    """
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and ast.get_docstring(node) is not None
        ):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines)


def main(folders: list[Path]) -> None:
    """Print the lines of each room, or of each file of a folder without rooms, and their sum."""
    for folder in folders:
        counts: Counter[str] = Counter()
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).parts
            counts[inner[0].removesuffix(".py")] += code_lines(path.read_text(encoding="utf-8"))
        for room, count in counts.most_common():
            print(f"{count:7,}  {room}")
        print(f"{counts.total():7,}  in {folder.name}")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or [PACKAGE])
