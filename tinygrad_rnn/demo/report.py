"""The report: one page that shows what was learnt, and by what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

from ..errors import RendererError
from .baselines import Score
from .corpus import Corpus
from .figures import formula, heatmap, loss_curve
from .model import CharModel
from .page import definitions, figure, inline_svg, page, section, table
from .settings import Settings
from .training import History
from .units import interesting

__all__ = ["Results", "write_report"]

SHOWN = 96  # characters of the heatmap
UNITS = 12


@dataclass
class Results:
    """All that the report tells about.

    Attributes
    ----------
    corpus : Corpus
    settings : Settings
    model : CharModel
    history : History
    scores : list of Score
        The network's own is the last.
    samples : list of str
        One for each temperature of the settings.
    prompt : str
        What the network read before it wrote them.
    versions : dict of str to str
    """

    corpus: Corpus
    settings: Settings
    model: CharModel
    history: History
    scores: list[Score]
    samples: list[str]
    prompt: str
    versions: dict[str, str]


def write_report(results: Results) -> tuple[str, str | None]:
    """The page as HTML, and what to tell if its pictures could not be rendered."""
    pictures, hint = _network(results.model)
    parts = [
        _summary(results),
        _comparison(results),
        _samples(results),
        pictures,
        _equations(results.model),
        _training(results),
        _memory(results),
        _settings(results),
    ]
    return page("A recurrent network that learnt to write", parts), hint


def _summary(results: Results) -> str:
    own, best = results.scores[-1], min(results.scores[:-1], key=lambda score: score.bits)
    verdict = "fewer than" if own.bits < best.bits else "not yet fewer than"
    history = results.history
    notice = {
        "interrupted": f"Training was interrupted after {len(history.bits):,} of {results.settings.updates:,} updates.",
        "out of time": f"Training used up its {results.settings.seconds:g} seconds after {len(history.bits):,} of "
        f"{results.settings.updates:,} updates; a faster machine gets further.",
    }.get(history.ended)
    return "\n".join(
        [
            "<h1>A recurrent network that learnt to write</h1>",
            '<p class="lead">'
            f"A plain recurrent network with {results.settings.hidden} hidden units read {escape(results.corpus.source)}, "
            f"one character at a time, for {history.seconds:.0f} seconds. On text that it never saw it needs "
            f"<mark>{own.bits:.2f} bits per character</mark>, {verdict} the {best.bits:.2f} of a {best.name} model.</p>",
            *([f'<p class="notice">{escape(notice)}</p>'] if notice else []),
        ]
    )


def _comparison(results: Results) -> str:
    corpus = results.corpus
    longest = max(score.bits for score in results.scores)
    rows = []
    for score in results.scores:
        own = score is results.scores[-1]
        rows.append(
            (
                "own" if own else "",
                f'<th scope="row">{escape(score.name)}</th><td class="number">{score.bits:.3f}</td>'
                f'<td class="bar"><i style="width:{100 * score.bits / longest:.1f}%"></i></td>',
            )
        )
    unknown = (
        f" Characters seen fewer than twice in training all count as one symbol, for every model alike; "
        f"{corpus.unknown:,} of those held out do."
        if corpus.unknown
        else ""
    )
    return section(
        "How well it predicts",
        f"<p>The first {len(corpus.training):,} characters were for training, the last {len(corpus.held_out):,} were held "
        "out. Every model predicts each held-out character once, after reading all before it; its score is the mean of "
        "−log₂ of the probability that it gave to the character that came, so less is better. The n-gram models count "
        "the same training part, and are smoothed by interpolation with weights fitted to a fifth of it."
        f"{unknown}</p>",
        table(("model", "bits per character", ""), rows),
    )


def _samples(results: Results) -> str:
    parts = [
        "<p>The network writes: each character is drawn from its prediction and fed back as its next input. A low temperature "
        "makes it careful, a high one inventive.</p>"
    ]
    for temperature, text in zip(results.settings.temperatures, results.samples, strict=True):
        parts.append(f"<p>temperature {temperature:g}</p>\n<pre><mark>{escape(results.prompt)}</mark>{escape(text)}</pre>")
    return section("What it writes", *parts)


def _network(model: CharModel) -> tuple[str, str | None]:
    """Both pictures, and the hint of the error if nothing here can render them."""
    views = {
        "folded": (
            "Folded: one time step. The black square is the delay that carries the hidden state h into the next step.",
            {},
        ),
        "unrolled": (
            "Unrolled: the same step, four times. Every step uses the same U, W and V; gradients flow back along the arrows.",
            {"steps": 4},
        ),
    }
    parts: list[str] = []
    hint = None
    for time, (caption, options) in views.items():
        drawing = model.draw(time=time, **options)
        try:
            content = inline_svg(drawing.svg(), caption, time)
        except RendererError as error:
            hint = str(error)
            content = f"<p>{escape(hint)}</p>\n<pre>{escape(drawing.source)}</pre>"
        parts.append(figure(content, caption))
    return section("The network", *parts), hint


def _equations(model: CharModel) -> str:
    parts = []
    for backward, words in (
        (False, "In each time step t:"),
        (True, "Backpropagation through time, from the last step to the first:"),
    ):
        latex = model.recurrent.cell.equations(backward=backward)
        lines = formula(latex)
        if lines is None:
            content = f"<pre>{escape(latex)}</pre>"
        else:
            content = "\n".join(
                f'<div class="formula">{inline_svg(line, latex, f"equation{backward:d}{i}")}</div>'
                for i, line in enumerate(lines)
            )
        parts += [f"<p>{words}</p>", content]
    return section("Its equations", *parts)


def _training(results: Results) -> str:
    history = results.history
    if not history.bits:
        return section("How it learnt", "<p>Nothing was learnt: there was no update.</p>")
    caption = (
        f"Loss of {len(history.bits):,} updates, {history.characters:,} characters in {history.seconds:.0f} seconds, and the "
        "mean of the last 50. The training loss ends below the held-out result: part of what the network learns is "
        "this text by heart."
        if history.recent < results.scores[-1].bits
        else f"Loss of {len(history.bits):,} updates, {history.characters:,} characters in {history.seconds:.0f} seconds, and "
        "the mean of the last 50."
    )
    alt = f"Loss curve, from {history.bits[0]:.2f} down to {history.recent:.2f} bits per character"
    return section("How it learnt", figure(inline_svg(loss_curve(history.bits, results.scores), alt, "loss"), caption))


def _memory(results: Results) -> str:
    codes = results.corpus.held_out[:5000]
    _, hidden, _ = next(results.model.read(codes))
    codes = codes[: len(hidden)]
    units = interesting(hidden, codes, UNITS)
    text = results.model.vocabulary.decode(codes)
    start = max(0, text.find("\n")) + 1 if "\n" in text[: len(text) - SHOWN] else 0
    shown = slice(start, start + SHOWN)
    labels = [f"unit {unit.number} · {100 * unit.explained:.0f} %" for unit in units]
    svg = heatmap(hidden[shown][:, [unit.number for unit in units]], text[shown], labels)
    caption = (
        "States of some hidden units while the network reads held-out text, blue for -1 and red for 1. The percentage says how "
        "much of a unit's variance the present character explains: units at the bottom answer to the character itself, "
        "those at the top remember what came before it."
    )
    return section("What it remembers", figure(inline_svg(svg, caption, "heat"), caption, wide=True))


def _settings(results: Results) -> str:
    values = asdict(results.settings)
    values["temperatures"] = ", ".join(f"{t:g}" for t in results.settings.temperatures)
    parameters = sum(parameter.size for parameter in results.model.parameters())
    pairs = [
        ("text", results.corpus.source),
        ("symbols", f"{len(results.corpus.vocabulary)}"),
        ("parameters", f"{parameters:,}"),
        *((name, f"{value:,}" if isinstance(value, int) else f"{value}") for name, value in values.items()),
        *results.versions.items(),
    ]
    code = (
        "from tinygrad_rnn.demo import CharModel\n"
        'model = CharModel.restore("this folder")\n'
        f'print(model.sample(300, temperatures=[0.8], prompt="{escape(results.prompt.strip())} ")[0])'
    )
    return section(
        "To do it again",
        definitions(pairs),
        "<p>The model lies beside this page, in <code>model.npz</code> and <code>model.json</code>:</p>",
        f"<pre>{code}</pre>",
    )
