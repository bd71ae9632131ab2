"""One training: its data prepared, its run begun, the training itself, the test, and the record."""

from __future__ import annotations

import dataclasses
import html
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import processes
from danlu.artifact import RunDirectory
from danlu.data.remote import url_of
from danlu.engine import Callback, Fitted, JSONLogger
from danlu.errors import ConfigError, DataError, TrainingError
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.files import check_there, write_atomic
from danlu.interrupt import told
from danlu.pipeline.background import keep_background
from danlu.pipeline.branched import with_start
from danlu.pipeline.client_files import keep_clients
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.domains import DOMAINS, domain_of
from danlu.pipeline.effort import Effort
from danlu.pipeline.fingerprint import data_of, digests_of, located
from danlu.pipeline.health import as_record, lines
from danlu.pipeline.judge import judge
from danlu.pipeline.piped import kept_names
from danlu.pipeline.private import facts_of_privacy, privacy_section
from danlu.pipeline.record import write_record
from danlu.pipeline.sensitive import remembered
from danlu.pipeline.spanning import check_spanned
from danlu.pipeline.tested import keep_test
from danlu.pipeline.used import check_used
from danlu.pipeline.watched import profiled
from danlu.privacy import privacy_lines
from danlu.prose import wrapped
from danlu.report import TensorBoardLogger, log_test
from danlu.report.events import log_plots
from danlu.report.svg import drawn
from danlu.rl.registry import meant_by
from danlu.stages import stage
from danlu.trained import Learned, Say, Trained
from danlu.trained.answers import as_csv
from danlu.trained.card import facts_of

__all__ = [
    "SEARCH",
    "TrainResult",
    "baseline_seconds",
    "begin",
    "is_searching",
    "judged",
    "prepare",
    "record",
    "train_once",
]

_LEAST_SECONDS = 30.0  # seconds that baselines have at least


@dataclasses.dataclass(frozen=True, eq=False)
class TrainResult:
    """The result of a training run.

    Attributes:
        run: where it is.
        model: the trained model.
        fitted: the history of the training.
        judgement: the test, with intervals and baselines; None without test rows, and of several processes in all but the first.
        rows: the number of rows of each part.
        seconds: from the start to the saved model.
        unit: what ``rows`` counts.
        source: the file, folder or environment that it learnt from.
    """

    run: RunDirectory
    model: Trained
    fitted: Fitted
    judgement: Judgement | None
    rows: dict[str, int]
    seconds: float
    unit: str = "rows"
    source: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """The test scores; empty without test rows."""
        return {} if self.judgement is None else {k: v.value for k, v in self.judgement.scores.items()}

    @property
    def stopped_by(self) -> int | None:
        """The number of the signal that stopped the training, or None."""
        return self.fitted.stopped_by

    def said(self) -> list[str]:
        """How it ended and what the test says, line by line."""
        ended = [wrapped(self.fitted.stopped_because)] if self.fitted.stopped_because else []
        rest = shlex.join(("danlu", "show", str(self.run.path)))
        return ended if self.judgement is None else [*ended, f"\n{self.judgement.told(rest)}"]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={figure(value)}" for name, value in self.scores.items())
        return f"TrainResult({str(self.run.path)!r}, {shown})"

    def _repr_html_(self) -> str:
        tested = "" if self.judgement is None else self.judgement._repr_html_()
        rows = ", ".join(f"{count:,} {part}" for part, count in self.rows.items() if count)
        place = html.escape(str(self.run.path))
        return f"<p><b>{place}</b>: {rows} {self.unit}, {self.seconds:.0f} s</p>{tested}"


SEARCH = "tune.json"
"""The file that a run of ``danlu tune`` has: what is searched, and whether the search has ended."""


def is_searching(run: RunDirectory) -> bool:
    """Whether the run is a search for settings that has not ended."""
    return (run.path / SEARCH).is_file() and run.read_json(SEARCH).get("state") == "searching"


def begin(
    config: TrainConfig,
    source: Any,
    domain: Domain,
    root: str | Path,
    name: str | None,
    piped: tuple[Path, ...],
    more: Mapping[str, Any] | None = None,
    files: Mapping[str, Path] | None = None,
) -> RunDirectory:
    """A new run directory with the config and the fingerprint of the data.

    Args:
        piped: files with what came through pipes, which the run keeps.
        more: further JSON files of the run, by name.
        files: further files that are copied into it, by name.
    """
    with stage("hashing the data"):
        data = data_of(config, source, domain)
    processes.same("the data", {name: own["sha256"] for name, own in data["data"].items()})
    kept, taken = kept_names(config, piped)
    return RunDirectory.create(
        root,
        name=name,
        dataset=Path(config.data.source).stem,
        config=located(kept, domain).as_dict(),
        files={"source.json": data, **(more or {})},
        data={**taken, **(files or {})},
    )


def prepare(config: TrainConfig, source: Any, *, say: Say, begun: bool = False) -> tuple[Domain, Prepared, Any]:
    """The domain of a source, its data ready for training, and the recipe; prints what was found.

    Args:
        begun: whether a run was begun with these settings; those that are not used are then no news.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    domain = domain_of(config, source)
    check_spanned(domain, source)
    try:
        if not begun:
            check_used(config, domain, source, DOMAINS)
    except ConfigError:
        if domain.kind == "table" and isinstance(source, str):  # which claim all, what is not there as well
            check_there(source)
        raise
    with stage("reading and encoding"):
        try:
            prepared = domain.prepare(config, source)
        except DataError as error:
            meant = meant_by(source) if isinstance(source, str) and not Path(source).exists() else None
            if meant is None:
                raise
            raise DataError(error.message, hint=f"did you mean {meant}?") from error
    for line in (*(f"note: {notice}" for notice in prepared.notices), *prepared.lines()):
        say(line)
    return domain, prepared, domain.plan(config, prepared)


def baseline_seconds(config: TrainConfig, training: float) -> float:
    """The time limit of the baselines in seconds: by default that of the training."""
    return config.evaluate.baseline_seconds or max(_LEAST_SECONDS, training)


def _bounded(config: TrainConfig, fitted: Fitted) -> TrainConfig:
    seconds = baseline_seconds(config, sum(row.get("seconds", 0.0) for row in fitted.history))
    return config.replace(evaluate=config.evaluate.replace(baseline_seconds=seconds))


def train_once(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Any,
    plan: Any,
    *,
    display: str,
    say: Say,
    resume: bool,
    begun: Effort,
    whole: bool = False,
    sections: Sequence[tuple[str, str]] = (),
    callbacks: Sequence[Callback] = (),
    initial: Sequence[tuple[Any, Any]] | None = None,
    beside: Callable[[Trained], tuple[list[tuple[str, str]], dict[str, Any]]] | None = None,
) -> TrainResult:
    """Train by a plan, test and record it in its run.

    Args:
        resume: whether to go on from the run's checkpoint.
        begun: the clock that started with it.
        whole: whether a training that is stopped by a signal is not to be tested.
        sections: further parts of the report.
        callbacks: what else watches the training.
        initial: the parameters and the state that each network begins with, instead of drawn ones.
        beside: further parts of the report and of the record, for the model that was trained.

    Raises:
        TrainingError: it was stopped, and ``whole`` says that this is an error.
    """
    learned = domain.learn(
        config.to_learn,
        prepared,
        plan,
        callbacks=[
            JSONLogger(run.metrics_path),
            TensorBoardLogger(run.path, draw=config.track.tensorboard),
            *callbacks,
        ],
        checkpoint=with_start(run, run.checkpoints_path),
        resume=resume,
        display=display,
        **({} if initial is None else {"initial": initial}),
    )
    if whole and learned.fitted.stopped_by is not None:
        error = TrainingError(f"{told(learned.fitted.stopped_by)}; what was learned is kept")
        error.stopped_by = learned.fitted.stopped_by
        raise error
    if not processes.is_first():
        return TrainResult(
            run, learned.model, learned.fitted, None, prepared.rows, begun.seconds, prepared.unit, config.data.source
        )
    with processes.alone():
        return record(run, config, domain, prepared, learned, say=say, begun=begun, sections=sections, beside=beside)


def record(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Any,
    learned: Learned,
    *,
    say: Say,
    begun: Effort,
    sections: Sequence[tuple[str, str]] = (),
    beside: Callable[[Trained], tuple[list[tuple[str, str]], dict[str, Any]]] | None = None,
) -> TrainResult:
    """Save what was learned in a run, test it and write the report; arguments as of :func:`train_once`."""
    for note in learned.notes:
        say(note)
    for line in lines(as_record(learned.fitted.health, run, domain)):
        say(line)
    for subject, text in learned.model.head.facts().items():
        if subject not in (
            "intervals",
            "sets",
        ):  # the test says how often they hold, the report and `show` how large they are
            say(f"{subject}: {text}")
    own: dict[str, Any] = {"rows": prepared.rows, "source": Path(config.data.source).name, "split": prepared.split}
    own |= {"seed": config.trainer.seed, "data": digests_of(run)}
    if config.model.ensemble is not None:
        own["ensemble"] = config.model.ensemble
    own |= remembered(prepared)
    if private := facts_of_privacy(config, prepared, learned.fitted):
        own = {
            **{name: value for name, value in own.items() if name != "data"},
            **private,
        }  # a digest would tell of each row
        for line in privacy_lines(private["privacy"]):
            say(f"privacy: {line}")
        sections = [*privacy_section(private["privacy"]), *sections]
    before = {name: value for name, value in learned.model.provenance.items() if name != "tested"}  # of another model
    provenance = {**before, **own}
    model = dataclasses.replace(learned.model, reader=domain, provenance=provenance)
    model.save(run.artifact_path)  # kept whatever the test brings
    keep_background(run.path, getattr(prepared, "background", None))
    bounded = _bounded(config, learned.fitted)
    judgement = judged(bounded, domain, prepared, model)
    steps = int((learned.fitted.history or [{}])[-1].get("step", 0))
    if judgement is not None:
        metrics = {name: interval.value for name, interval in judgement.scores.items()}
        provenance = {**provenance, "tested": facts_of(judgement)}
        model = dataclasses.replace(model, metrics=metrics, kept=judgement.kept, provenance=provenance)
        if judgement.simple_predictions is not None and judgement.simple_predictions.width:
            write_atomic(run.path / "baselines.csv", as_csv(judgement.simple_predictions))
        if judgement.predictions is not None:
            write_atomic(run.predictions_path, as_csv(judgement.predictions))
        if judgement.clients is not None:
            keep_clients(run, model, judgement.clients)
        keep_test(run.path, judgement.evidence, getattr(prepared, "places", None))
        log_test(run.path, _told(config), metrics, step=steps)
    model = profiled(prepared, model)
    model.save(run.artifact_path)
    seconds = begun.seconds
    added, more = ([], {}) if beside is None else beside(model)
    more = {**more, **private}
    with stage("writing the report"), drawn("images" in config.track.tensorboard) as plots:
        write_record(
            run, config, domain, prepared, model, learned, judgement, begun, sections=[*added, *sections], more=more
        )
    if plots:
        log_plots(run.path, plots, step=steps)
    named = url_of(config.data.source) or config.data.source
    return TrainResult(run, model, learned.fitted, judgement, prepared.rows, seconds, prepared.unit, named)


def _told(config: TrainConfig) -> dict[str, Any]:
    """The settings that a training goes by, by their dotted names."""
    return {
        f"{section}.{name}": value
        for section, values in config.as_dict().items()
        if section not in ("data", "evaluate")
        for name, value in values.items()
    }


def judged(config: TrainConfig, domain: Domain, prepared: Prepared, model: Trained) -> Judgement | None:
    """The test of a model and its comparison with the baselines."""
    with stage("judging"):
        return judge(config, domain, prepared, model)
