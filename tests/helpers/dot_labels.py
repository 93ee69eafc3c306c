"""DOT with labels that a test can read: without HTML, as :func:`plain` writes them."""

import html
import re

import graphviz

from tinygrad_rnn.draw.symbols import literal, plain

SIGNS = {"SUB": "_", "SUP": "^"}


def readable(source):
    """The DOT of a drawing, whose labels with scripts are text: ``h<SUB>1</SUB>`` is h₁."""
    return re.sub(r"\b(x?label)=<(.*?)>(?=\]| \w+=)", _text, source, flags=re.DOTALL)


def _text(found):
    pieces = re.split(r"<(SUB|SUP)>(.*?)</\1>", found[2].replace("<BR/>", "\n"), flags=re.DOTALL)
    texts, tags, scripts = pieces[::3], pieces[1::3], pieces[2::3]
    label = literal(html.unescape(texts[0]))
    for tag, script, text in zip(tags, scripts, texts[1:], strict=True):
        label += f"{SIGNS[tag]}{{{literal(html.unescape(script))}}}{literal(html.unescape(text))}"
    return f"{found[1]}={graphviz.quoting.quote(graphviz.escape(plain(label)))}"
