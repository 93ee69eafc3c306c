"""The whole demo: read the text, count n-grams, train, compare, write samples, write the report."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import random
from .._version import __version__
from ..console import counted, forgiving, shows
from ..extras import optional
from ..files import check_writable, make_folder, write_bytes
from ..plots import new_figure
from ..scan.use import backend_named, use
from ..storing import save
from .baselines import LONGEST, Score, count_models, score_all
from .corpus import MOST, Corpus, prose, read_text, split
from .interrupt import Interrupt
from .model import CharModel
from .progress import Progress
from .report import DemoResults, write_report
from .settings import Settings
from .training import History, check_length, train

__all__ = ["run"]

MODEL = "model.safetensors"


@forgiving()
def run(settings: Settings | None = None, text: str | Path | None = None, out: str | Path = "tinygrad-rnn-demo") -> DemoResults:
    """Train a character-level language model, and write a report about it.

    All options and files are checked before training. Ctrl-C only ends training early; the report
    is still written.

    Parameters
    ----------
    settings : Settings, optional
    text : path, optional
        A UTF-8 file; if not given, the prose of Python's own help texts.
    out : path
        The folder for ``report.html`` and ``model.safetensors``.

    Returns
    -------
    Results

    Raises
    ------
    DataError
        If the text cannot be used, or the folder cannot be written to.
    MissingExtraError
        If tqdm or matplotlib is missing.
    """
    settings = settings or Settings()
    # the report names the backend that ran, which is NumPy if there is no compiler
    settings = replace(settings, backend=backend_named(settings.backend, to_run=True).name)
    start = time.perf_counter()
    # small products take microseconds; on a busy machine, a second thread costs more than all products
    one_thread = optional("threadpoolctl", "demo", "the demo needs").threadpool_limits(1, user_api="blas")
    with Interrupt() as interrupt, one_thread, use(settings.backend):
        progress = Progress(settings.updates)
        new_figure(1, 1, extra="demo")  # raises before training if matplotlib is missing
        optional("safetensors", "demo", "the file of the model needs")
        corpus = _corpus(text)
        check_length(len(corpus.training), settings)
        prompt = _prompt(corpus, settings)
        folder = _writable(out)

        random.seed(settings.seed)
        model = CharModel(corpus.vocabulary, settings.embedding, settings.hidden)
        _describe(corpus, model, settings)
        counted = count_models(corpus, LONGEST)
        with progress:
            history = train(model, corpus.training, settings, progress, lambda: interrupt.requested)
        _tell_end(history, settings)
        save(model, folder / MODEL)  # first, so that the trained model is safe if a later step fails

        scores = score_all(model, counted, corpus)
        _print_scores(scores, corpus)
        samples = model.sample(settings.sample, settings.temperatures, prompt)
        _print_samples(samples, prompt, settings)
        results = DemoResults(corpus, settings, model, history, scores, samples, prompt, _versions())
        page = write_report(results)
        write_bytes(folder / "report.html", page.encode("utf-8", "replace"))
    print(f"\nreport    {folder / 'report.html'}\nmodel     {folder / MODEL}")
    print(f"took      {time.perf_counter() - start:.0f} s")
    return results


def _writable(out: str | Path) -> Path:
    """The output folder, created if needed, after a check that all files can be written to it."""
    folder = make_folder(out, "the output folder")
    for name in ("report.html", MODEL):
        check_writable(folder / name)
    return folder


def _corpus(text: str | Path | None) -> Corpus:
    if text is not None:
        return split(read_text(text, MOST + 1), str(text))
    return split(prose(), f"the English prose in the help texts of Python {platform.python_version()}")


def _prompt(corpus: Corpus, settings: Settings) -> str:
    if settings.prompt:
        corpus.vocabulary.encode(settings.prompt)  # raises if a character is unknown
        return settings.prompt
    usual = "The "
    return usual if all(c in corpus.vocabulary for c in usual) else corpus.vocabulary.decode(corpus.training[: len(usual)])


def _versions() -> dict[str, str]:
    return {
        "tinygrad_rnn": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


# -- messages ------------------------------------------------------------------------------


def _describe(corpus: Corpus, model: CharModel, settings: Settings) -> None:
    parameters = sum(parameter.size for parameter in model.parameters())
    trained, held = len(corpus.training), len(corpus.held_out)
    print(f"text      {corpus.source}: {counted(trained + held, 'character')}, {counted(len(corpus.vocabulary), 'symbol')}")
    print(f"split     the first {trained:,} to learn from, the last {held:,} held out")
    print(
        f"model     embedding {model.sizes['embedding']} → RNNCell, tanh {model.sizes['hidden']} → linear "
        f"{len(corpus.vocabulary)}: {counted(parameters, 'parameter')}"
    )
    print(f"backend   {settings.backend}", flush=True)


def _tell_end(history: History, settings: Settings) -> None:
    why = {"done": "", "out of time": f", for its {settings.seconds:g} s were over", "interrupted": ", interrupted"}[
        history.ended
    ]
    print(
        f"learnt    {len(history.bits):,} of {counted(settings.updates, 'update')} in {history.seconds:.0f} s{why}", flush=True
    )


def _print_scores(scores: list[Score], corpus: Corpus) -> None:
    print(f"\nheld-out bits per character, {counted(len(corpus.held_out), 'character')}, {corpus.unknown:,} of them unknown:")
    longest, block = max(score.bits for score in scores), "█" if shows("█") else "#"
    for score in scores:
        print(f"  {score.name:12}  {score.bits:6.3f}  {block * round(30 * score.bits / longest)}", flush=True)


def _print_samples(samples: list[str], prompt: str, settings: Settings) -> None:
    for temperature, text in zip(settings.temperatures, samples, strict=True):
        print(f"\ntemperature {temperature:g}:\n{prompt}{text}", flush=True)
