"""From data of any kind to a trained model in a run directory: prepare, train, save, measure."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine import Fitted, JSONLogger
from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError, DataError, shorten
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.files import write_atomic
from danlu.memory import in_words
from danlu.pipeline.config import SECTIONS, TrainConfig, config_from, saved_config, setting_names
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.domains import DOMAINS, domain_of
from danlu.pipeline.fingerprint import check_unchanged, data_of, located
from danlu.pipeline.judge import judge
from danlu.pipeline.names import answer
from danlu.pipeline.piped import kept_names, taken_in, with_kept
from danlu.pipeline.plain import plain
from danlu.pipeline.record import write_record
from danlu.pipeline.used import check_used
from danlu.report import TensorBoardLogger
from danlu.rl.allow import allow as allow_modules
from danlu.rl.registry import meant_by, modules_in
from danlu.stages import display_kind, showing, stage
from danlu.trained import Say, Trained

__all__ = ["TrainResult", "baseline_seconds", "prepare", "resume", "train", "train_from"]

_LEAST_SECONDS = 30.0  # seconds that baselines have at least


@dataclasses.dataclass(frozen=True, eq=False)
class TrainResult:
    """The result of a training run.

    Attributes:
        run: where it is.
        model: the trained model.
        fitted: the history of the training.
        judgement: the test, with intervals and baselines; None without test rows.
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

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={figure(value)}" for name, value in self.scores.items())
        return f"TrainResult({str(self.run.path)!r}, {shown})"

    def _repr_html_(self) -> str:
        tested = "" if self.judgement is None else self.judgement._repr_html_()
        rows = ", ".join(f"{count:,} {part}" for part, count in self.rows.items() if count)
        place = html.escape(str(self.run.path))
        return f"<p><b>{place}</b>: {rows} {self.unit}, {self.seconds:.0f} s</p>{tested}"


def _begin(
    config: TrainConfig, source: Any, domain: Domain, root: str | Path, name: str | None, piped: tuple[Path, ...]
) -> RunDirectory:
    with stage("hashing the data"):
        data = data_of(config, source, domain)
    kept, files = kept_names(config, piped)
    return RunDirectory.create(
        root,
        name=name,
        dataset=Path(config.data.source).stem,
        config=located(kept, domain).as_dict(),
        files={"source.json": data},
        data=files,
    )


def train_from(
    config: TrainConfig,
    source: Any = None,
    *,
    root: str | Path = "runs",
    name: str | None = None,
    display: str = "auto",
    say: Say = print,
    resume: RunDirectory | None = None,
    allow: Sequence[str] = (),
) -> TrainResult:
    """Train a model on the data in ``source`` and save it, with its record, in a new run directory.

    Everything that is fitted (encoder, target, bins) is fitted on the training rows only; the validation rows choose the
    best epoch; the test rows are used once, for the scores.

    Args:
        config: what to do.
        source: a frame or arrays to learn from, instead of the file ``config.data.source``.
        root: the folder of the runs.
        name: the run's name (default: the data's name and the time).
        display: see :class:`danlu.engine.FitOptions`.
        say: called with each line for the user.
        resume: the run to go on with, instead of a new one; its ``config`` must be the one given.
        allow: modules that an environment of the config's may import.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    begun = time.perf_counter()
    display_kind(display)  # what cannot be is refused before anything is read
    need_devices(config.trainer.devices)
    allow_modules(allow)
    in_file = source is None
    with showing(display), contextlib.ExitStack() as held:
        piped: tuple[Path, ...] = ()
        if in_file and resume is None:
            config, piped = held.enter_context(taken_in(config, root))
        source = config.data.source if source is None else source
        if resume is not None:
            held.enter_context(resume.locked())
            with stage("comparing the data"):
                check_unchanged(resume, config, source, domain_of)
        domain, prepared, plan = prepare(config, source, say=say, begun=resume is not None)
        run = resume or _begin(config, source, domain, root, name, piped)
        if resume is None:
            held.enter_context(run.locked())
            config = with_kept(kept_names(config, piped)[0], run.path)
        for file in piped:
            say(
                f"note: the data from the pipe is saved in the run ({in_words(file.stat().st_size)}), so the run can be resumed"
            )
        allowed = "".join(f" --allow {module}" for module in modules_in(source))
        again = (
            f"danlu train --resume {run.path}{allowed}"
            if in_file
            else f"danlu.pipeline.resume({str(run.path)!r}, source=…)"
        )
        say(f"run: {run.path} (to continue after a stop: {again})")
        learned = domain.learn(
            config,
            prepared,
            plan,
            callbacks=[JSONLogger(run.metrics_path), TensorBoardLogger(run.path)],
            checkpoint=run.checkpoints_path,
            resume=resume is not None,
            display=display,
        )
        for subject, text in learned.model.head.facts().items():
            say(f"{subject}: {text}")
        own = {"rows": prepared.rows, "source": Path(config.data.source).name, "split": prepared.split}
        provenance = {**learned.model.provenance, **own}
        model = dataclasses.replace(learned.model, reader=domain, provenance=provenance)
        model.save(run.artifact_path)  # kept whatever the test brings
        with stage("judging"):
            judgement = judge(_bounded(config, learned.fitted), domain, prepared, model)
        if judgement is not None:
            metrics = {name: interval.value for name, interval in judgement.scores.items()}
            model = dataclasses.replace(model, metrics=metrics, kept=judgement.kept)
            model.save(run.artifact_path)
            if judgement.simple_predictions is not None and judgement.simple_predictions.width:
                write_atomic(run.path / "baselines.csv", judgement.simple_predictions.write_csv())
            if judgement.predictions is not None:
                write_atomic(run.predictions_path, judgement.predictions.write_csv())
        seconds = time.perf_counter() - begun
        with stage("writing the report"):
            write_record(run, config, domain, prepared, model, learned.fitted, judgement, seconds=seconds)
    return TrainResult(run, model, learned.fitted, judgement, prepared.rows, seconds, prepared.unit, config.data.source)


def baseline_seconds(config: TrainConfig, training: float) -> float:
    """The time limit of the baselines in seconds: by default that of the training."""
    return config.evaluate.baseline_seconds or max(_LEAST_SECONDS, training)


def _bounded(config: TrainConfig, fitted: Fitted) -> TrainConfig:
    seconds = baseline_seconds(config, sum(row.get("seconds", 0.0) for row in fitted.history))
    return config.replace(evaluate=config.evaluate.replace(baseline_seconds=seconds))


def prepare(config: TrainConfig, source: Any, *, say: Say, begun: bool = False) -> tuple[Domain, Prepared, Any]:
    """The domain of a source, its data ready for training, and the recipe; prints what was found.

    Args:
        begun: whether a run was begun with these settings; those that are not used are then no news.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    domain = domain_of(config, source)
    if not begun:
        check_used(config, domain, source, DOMAINS)
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


def train(
    source: Any,
    *,
    target: str = "",
    test: str | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    display: str = "auto",
    say: Say = print,
    **settings: Mapping[str, Any],
) -> TrainResult:
    """Train a model on a table or on images.

    Args:
        source: a file (CSV, Parquet, Arrow, JSON lines, Excel), a polars, pandas or pyarrow frame, or a dict of columns; or
            images (a folder with a folder for each class, an npz file, …; see :func:`danlu.data.images.read_images`).
        target: the column to predict; images in folders need none.
        test: a file of test rows, instead of a part of ``source``.
        name: the run's name (default: the data's name and the time).
        runs: the folder of the runs.
        display: ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``.
        say: called with each line for the user.
        **settings: sections of the config, such as ``trainer={"epochs": 20}, imbalance={"threshold": "f1"}``; see
            :class:`TrainConfig`.

    Returns:
        A :class:`TrainResult`: its ``model`` predicts, its ``run`` holds the record.

    Raises:
        DanluError: input that cannot be used; one clear message.

    Example:
        >>> import tempfile
        >>> table = {"x": [float(i) for i in range(80)], "y": ["low", "high"] * 40}
        >>> result = train(table, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                model={"members": 2, "width": 8}, trainer={"epochs": 1})
        >>> result.model.predict({"x": [3.0]}).columns
        ['y', 'probability high', 'probability low']
    """
    is_file = isinstance(source, str | Path)
    given = plain(settings.pop("data", {}), "data")
    if not isinstance(given, Mapping):
        raise ConfigError(f"data is {shorten(given)}; expected a table of settings, such as data={{'drop': ['id']}}")
    for section in [each for each in settings if each not in SECTIONS]:
        raise ConfigError(
            f"danlu.train received {section}, which is not a section",
            hint=answer(section, settings[section], setting_names(), python=True)
            or f"the sections are: {', '.join(SECTIONS)}",
        )
    named = {"source": str(source) if is_file else "table", "target": target, "test": test}
    data = {
        **given,
        **{key: value for key, value in named.items() if not (value is None or (isinstance(value, str) and not value))},
    }
    for key in [each for each in named if each in given and named[each] is not None and data[each] != given[each]]:
        raise ConfigError(
            f"{key} is {shorten(data[key])}, and data={{{key!r}: {shorten(given[key])}}}; expected one of them"
        )
    config = config_from({**settings, "data": data})
    allow_modules(modules_in(source))  # who writes a module's name means it
    return train_from(config, None if is_file else source, root=runs, name=name, display=display, say=say)


def resume(
    run: str | Path, *, source: Any = None, display: str = "auto", say: Say = print, allow: Sequence[str] = ()
) -> TrainResult:
    """Resume a run that was killed or stopped; the weights will equal those of an uninterrupted run.

    Args:
        run: the run's folder.
        source: the frame or arrays it was started with, when it was not a file.
        allow: modules that its environment may import, such as ``("my_package",)`` for ``"my_package:Walk-v0"``.

    Raises:
        UntrustedError: its environment needs a module that is not allowed.
        ArtifactError: there is no such run.
        DataError: the data is not found.
        ConfigError: the data is not what the run was started with.
    """
    directory = RunDirectory.open(run)
    saved, lost = saved_config(directory.read_json("config.json"))
    for name in lost:
        say(f"note: the run was started with the setting {name}, which this version does not know")
    config = with_kept(saved, directory.path)
    return train_from(config, source, display=display, say=say, resume=directory, allow=allow)
