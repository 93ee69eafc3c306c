"""Print the first line of the docstring of each function and class, public or private, as a table of contents.

Read the list from top to bottom: each line must be understood alone. ``python tools/first_lines.py graph`` prints one room.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "tinygrad_rnn"


def definitions(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Qualified name and docstring's first line of each function and class of a module; "" where there is no docstring."""
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, node = pending.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = prefix + child.name
                yield name, (ast.get_docstring(child) or "").partition("\n")[0]
                pending.append((name + ".", child))


def first_lines(room: str = "") -> Iterator[tuple[str, str, str]]:
    """Module, name and first line of all functions and classes of the package, or of one room, in order."""
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        if module == room or module.startswith(room + "." if room else ""):
            for name, line in definitions(ast.parse(file.read_text(encoding="utf-8"))):
                yield module, name, line


def main() -> None:
    """Print the lines of the rooms that the command line names, or of all rooms."""
    for room in sys.argv[1:] or [""]:
        last = None
        for module, name, line in first_lines(room):
            if module != last:
                print(f"\n{module}")
                last = module
            print(f"  {name:<40} {line}")


if __name__ == "__main__":
    main()
