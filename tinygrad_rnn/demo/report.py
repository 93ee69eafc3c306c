"""The demo's report: one page about the network, its results, and its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape

from .. import explain
from ..console import counted
from ..explain.page import definitions, figure, inline_svg, page, section, table
from ..explain.report import ABOUT
from ..explain.task import READ
from .baselines import Score
from .corpus import Corpus
from .figures import loss_curve
from .model import CharModel
from .settings import Settings
from .training import History

__all__ = ["DemoResults", "write_report"]


@dataclass
class DemoResults:
    """The results of the demo for the report.

    Attributes
    ----------
    corpus : Corpus
    settings : Settings
    model : CharModel
    history : History
    scores : list of Score
        The scores of all models; the network's score is the last.
    samples : list of str
        One sample for each temperature of the settings.
    prompt : str
        The text that the network read before it wrote the samples.
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
        _training(results),
        *_explained(results),
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
        "Every model predicts each held-out character once, after it has read all characters before. The score is the mean "
        "of −log₂ of the probability that the model gave to the right character, so less is better. The n-gram models count "
        "the same training part, and are smoothed by interpolation with weights fitted to a fifth of it."
        f"{unknown}</p>",
        table(("model", "bits", "per character"), rows),
    )


def _samples(results: DemoResults) -> str:
    parts = [
        "<p>The network writes: each character is drawn at random from the network's prediction, and is the next input. With a "
        "low temperature, the likeliest characters are drawn; with a high temperature, unlikely ones too.</p>"
    ]
    for temperature, text in zip(results.settings.temperatures, results.samples, strict=True):
        parts.append(f"<p>temperature {temperature:g}</p>\n<pre><mark>{escape(results.prompt)}</mark>{escape(text)}</pre>")
    return section("What it writes", *parts)


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
    own, best = results.scores[-1], min(results.scores[:-1], key=lambda score: score.bits)
    alt = f"Loss curve, from {history.bits[0]:.2f} down to {history.recent:.2f} bits per character"
    return section("How it learnt", figure(inline_svg(loss_curve(history.bits, [best, own]), alt, "loss"), caption))


def _explained(results: DemoResults) -> list[str]:
    """The report's sections from `explain.report`, computed over the held-out text."""
    text = results.model.vocabulary.decode(results.corpus.held_out[: READ + 1])
    made = explain.report(results.model, text)
    about = (
        "The sections below were made by <code>explain.report(model, text)</code>, which explains any recurrent network: here "
        f"the network of the demo, while it reads {counted(len(text), 'held-out character')}. {ABOUT}"
    )
    return [section("What it does", f"<p>{about}</p>"), *made.parts()]


def _settings(results: DemoResults) -> str:
    values = asdict(results.settings)
    values["at most, seconds of training"] = values.pop("seconds")
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
