"""Renderers: the first installed Graphviz, run with a time limit."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

from ..errors import RendererError
from ..extras import installing

__all__ = ["FORMATS", "HOW", "render"]

FORMATS = ("svg", "png", "pdf")
HOW = f'for PNG and PDF, install Graphviz (its "dot" on the PATH), or: {installing("pygraphviz", "draw")}'
"""Advice on how to install a renderer, in one line."""
DPI = "144"
"""Dots per inch of a PNG: sharp on a screen of double density."""
LIMIT = 60.0
"""Time limit for a picture, in seconds."""

_PYGRAPHVIZ = """
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
if sys.argv[1] == "png":
    graph.graph_attr["dpi"] = sys.argv[2]
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog=graph.graph_attr["layout"] or "dot"))
"""


def render(source: str, form: str, limit: float = LIMIT) -> bytes:
    """Render DOT text as a picture, with Graphviz.

    Parameters
    ----------
    source : str
    form : str
        ``"svg"``, ``"png"``, ``"pdf"``, or another format of Graphviz.
    limit : float
        Time limit, in seconds.

    Raises
    ------
    RendererError
        If no renderer is installed, or the renderer fails or takes too long.
    """
    command = _command(form)
    if command is None:
        raise RendererError(HOW)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        raise RendererError(f"Graphviz took more than {limit:g} s for the picture; draw fewer steps, or less detail") from None
    except OSError as error:
        raise RendererError(f"{command[0]} cannot be run: {error.strerror}; {HOW}") from None
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise RendererError(f"Graphviz could not draw the picture: {lines[-1]}")
    return done.stdout


def _command(form: str) -> list[str] | None:
    dot = shutil.which("dot")
    if dot is not None:
        return [dot, f"-T{form}", *([f"-Gdpi={DPI}"] if form == "png" else [])]
    if importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-c", _PYGRAPHVIZ, form, DPI]
    return None
