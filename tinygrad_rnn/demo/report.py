"""The demo's report: one page about the network, what it learnt, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

import numpy as np

from ..console import counted
from ..explain import heatmap, passage, states
from ..explain.page import definitions, figure, inline_svg, page, section, table
from ..nn import cross_entropy
from .baselines import Score
from .corpus import Corpus
from .figures import formula, loss_curve
from .model import CharModel
from .settings import Settings
from .training import History

__all__ = ["DemoResults", "write_report"]

SHOWN = 60  # characters of the heatmap
READ = 5000  # characters that its units are chosen by


@dataclass
class DemoResults:
    """The results of the demo, which the report shows.

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

    def _repr_html_(self) -> str:
        page = escape(write_report(self), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 600px; border: 1px solid #d0d7de"></iframe>'


def write_report(results: DemoResults) -> str:
    """The report as HTML."""
    parts = [
        _summary(results),
        _comparison(results),
        _samples(results),
        _network(results.model),
        _equations(results.model),
        _training(results),
        _memory(results),
        _settings(results),
    ]
    return page("A recurrent network that learnt to write", parts)


def _summary(results: DemoResults) -> str:
    own, best = results.scores[-1], min(results.scores[:-1], key=lambda score: score.bits)
    verdict = "fewer than" if own.bits < best.bits else "not yet fewer than"
    history = results.history
    done = f"{len(history.bits):,} of {counted(results.settings.updates, 'update')}"
    notice = {
        "interrupted": f"Training was interrupted after {done}.",
        "out of time": f"Training used up its {results.settings.seconds:g} s after {done}; a faster machine gets further.",
    }.get(history.ended)
    return "\n".join(
        [
            "<h1>A recurrent network that learnt to write</h1>",
            '<p class="lead">'
            f"A plain recurrent network with {counted(results.settings.hidden, 'hidden unit')} "
            f"read {escape(results.corpus.source)}, "
            f"one character at a time, for {counted(round(history.seconds), 'second')}. On text that it never saw it needs "
            f"<mark>{own.bits:.2f} bits per character</mark>, {verdict} the {best.bits:.2f} of a {best.name} model.</p>",
            *([f'<p class="notice">{escape(notice)}</p>'] if notice else []),
        ]
    )


def _comparison(results: DemoResults) -> str:
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
        f"<p>The first {counted(len(corpus.training), 'character')} were for training, "
        f"the last {len(corpus.held_out):,} were held out. "
        "Every model predicts each held-out character once, after reading all before it; its score is the mean of "
        "−log₂ of the probability that it gave to the character that came, so less is better. The n-gram models count "
        "the same training part, and are smoothed by interpolation with weights fitted to a fifth of it."
        f"{unknown}</p>",
        table(("model", "bits", "per character"), rows),
    )


def _samples(results: DemoResults) -> str:
    parts = [
        "<p>The network writes: each character is drawn from its prediction and fed back as its next input. A low temperature "
        "makes it careful, a high one inventive.</p>"
    ]
    for temperature, text in zip(results.settings.temperatures, results.samples, strict=True):
        parts.append(f"<p>temperature {temperature:g}</p>\n<pre><mark>{escape(results.prompt)}</mark>{escape(text)}</pre>")
    return section("What it writes", *parts)


def _network(model: CharModel) -> str:
    """Both pictures of the network."""
    views = [
        (
            "folded",
            "Folded: one time step. The black square is the delay that carries the hidden state h into the next step.",
            model.draw(),
        ),
        (
            "unrolled",
            "Unrolled: the same step, four times, with the loss L of each prediction o against the character y that came. "
            "Every step uses the same weights, and gradients flow against the arrows.",
            model.draw(time="unrolled", steps=4, loss=cross_entropy),
        ),
    ]
    figures = [figure(inline_svg(drawing.svg(), caption, time), caption) for time, caption, drawing in views]
    return section("The network", *figures)


OUTPUT = r"\hat{y}_t = \mathrm{softmax}\left(c + V h_t\right)"


def _equations(model: CharModel) -> str:
    cell = model.recurrent.cell
    parts: list[str] = []
    for words, latex in (
        ("In each time step t the cell reads a character's vector x, a row of E:", cell.equations()),
        ("The output layer predicts the next character:", OUTPUT),
        ("Backpropagation through time, from the last step of a chunk to its first:", cell.equations(backward=True)),
    ):
        lines = formula(latex)
        if lines is None:
            content = f"<pre>{escape(latex)}</pre>"
        else:
            pictures = [inline_svg(line, latex, f"equation{len(parts)}{i}") for i, line in enumerate(lines)]
            content = "\n".join(f'<div class="formula">{picture}</div>' for picture in pictures)
        parts += [f"<p>{words}</p>", content]
    return section("Its equations", *parts)


def _training(results: DemoResults) -> str:
    history = results.history
    if not history.bits:
        return section("How it learnt", "<p>Nothing was learnt: there was no update.</p>")
    seen = (
        f"{counted(len(history.bits), 'update')}, {counted(history.characters, 'character')} "
        f"in {counted(round(history.seconds), 'second')}"
    )
    caption = (
        f"Loss of {seen}, and the "
        "mean of the last 50. The training loss ends below the held-out result: part of what the network learns is "
        "this text by heart."
        if history.recent < results.scores[-1].bits
        else f"Loss of {seen}, and the mean of the last 50."
    )
    alt = f"Loss curve, from {history.bits[0]:.2f} down to {history.recent:.2f} bits per character"
    return section("How it learnt", figure(inline_svg(loss_curve(history.bits, results.scores), alt, "loss"), caption))


def _memory(results: DemoResults) -> str:
    model, codes = results.model, results.corpus.held_out[:READ]
    text = model.vocabulary.decode(codes)
    found = states(model, text)
    units = found.units()
    if not units:
        return section("What it remembers", "<p>No unit was found that goes with anything a reader can see.</p>")
    shown = passage(text, SHOWN)
    signs = [1 if unit.correlation > 0 else -1 for unit in units]
    rows = np.stack([found[unit.value][shown, unit.number] for unit in units], axis=1) * signs
    labels = [f"{unit.property} · unit {unit.number}, {abs(unit.correlation):.2f}" for unit in units]
    words = (
        "The hidden state is all that the network knows of the text so far. Here are some of its units while it reads "
        "held-out text: each is the one that goes best with something that a reader can see too, though nobody told "
        "the network about it. The number is the correlation of the two."
    )
    caption = (
        f"The passage reads “{text[shown].strip()}”. Red is the state that goes with the feature (1, or -1 for "
        "units that go against it), blue is the other one."
    )
    drawing = heatmap(rows, text[shown], labels=labels, bound=1.0, width=SHOWN, title=caption)
    picture = figure(drawing.svg(), caption, wide=True)
    return section("What it remembers", f"<p>{words}</p>", picture)


def _settings(results: DemoResults) -> str:
    values = asdict(results.settings)
    values["prompt"] = repr(results.prompt)
    values["temperatures"] = ", ".join(f"{t:g}" for t in results.settings.temperatures)
    parameters = sum(parameter.size for parameter in results.model.parameters())
    pairs = [
        ("text", results.corpus.source),
        ("symbols", f"{len(results.corpus.vocabulary)}"),
        ("parameters", f"{parameters:,}"),
        *(
            (name, f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value)
            for name, value in values.items()
        ),
        *results.versions.items(),
    ]
    code = (
        "import tinygrad_rnn as tr\n"
        "from tinygrad_rnn.demo import CharModel\n"
        'model = tr.load("model.safetensors", classes=[CharModel])\n'
        f'print(model.sample(300, temperatures=[0.8], prompt="{escape(results.prompt.strip())} ")[0])'
    )
    return section(
        "To do it again",
        definitions(pairs),
        "<p>The model lies beside this page, in <code>model.safetensors</code>:</p>",
        f"<pre>{code}</pre>",
    )
