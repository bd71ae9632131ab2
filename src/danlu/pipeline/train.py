"""From data of any kind to a trained model in a run directory: prepare, train, save, measure."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import processes
from danlu.artifact import RunDirectory
from danlu.data.remote import brought
from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError, shorten
from danlu.launch.workers import Workers, as_workers
from danlu.memory import in_words
from danlu.pipeline.branched import check_fresh
from danlu.pipeline.compressed import check_trained_there
from danlu.pipeline.config import SECTIONS, TrainConfig, config_from, saved_config, setting_names
from danlu.pipeline.crossed import CrossValidation, cross_train, crosses, first_fold
from danlu.pipeline.domains import domain_of
from danlu.pipeline.effort import Effort
from danlu.pipeline.fingerprint import check_unchanged
from danlu.pipeline.mlflow import check_mlflow, tracked
from danlu.pipeline.names import answer
from danlu.pipeline.once import TrainResult, baseline_seconds, begin, is_searching, prepare, train_once
from danlu.pipeline.piped import kept_names, taken_in, with_kept
from danlu.pipeline.plain import plain
from danlu.pipeline.private import guarded, kept_looks
from danlu.pipeline.spanning import quiet, spanning, with_batches
from danlu.rl.allow import allow as allow_modules
from danlu.rl.registry import modules_in
from danlu.stages import display_kind, showing, stage
from danlu.trained import Say

__all__ = [
    "TrainResult",
    "baseline_seconds",
    "config_of",
    "cross_validate",
    "prepare",
    "resume",
    "train",
    "train_from",
]


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
    sections: Sequence[tuple[str, str]] = (),
    known: bool = False,
    workers: Workers | None = None,
) -> TrainResult | CrossValidation:
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
        sections: further parts of the report: each a title and its HTML.
        known: whether what is found in the data need not be said.
        workers: who trains the folds of ``evaluate.folds``; None is this process, one after the other.

    Returns:
        A :class:`TrainResult`; with ``evaluate.folds`` a :class:`CrossValidation`.

    Raises:
        DanluError: input that cannot be used; one clear message.
    """
    begun = Effort()
    display_kind(display)  # what cannot be is refused before anything is read
    if not processes.is_first():
        display, say = "none", quiet
    config = spanning(config, say, resumed=resume is not None)
    need_devices(config.trainer.devices)
    check_mlflow(config.track)
    allow_modules(allow)
    if workers is not None and not crosses(config):
        raise ConfigError(
            "workers share out the folds of a cross-validation, and there are none here; expected --folds 5 with it",
            hint="for one training by several processes: danlu launch --processes 2 -- train …",
        )
    in_file = source is None
    with showing(display), contextlib.ExitStack() as held:
        piped: tuple[Path, ...] = ()
        if in_file and resume is None:
            config, piped = held.enter_context(taken_in(config, root))
        source = config.data.source if source is None else brought(source)
        config = guarded(config)
        keep_looks = held.enter_context(kept_looks(None if resume is None else resume.path))
        if resume is not None:
            held.enter_context(resume.locked())
            with stage("comparing the data"):
                check_unchanged(resume, config, source, domain_of)
        heard = (lambda line: None) if known else say
        domain, prepared, plan = prepare(first_fold(config), source, say=heard, begun=resume is not None)
        if resume is None:
            config = with_batches(config, plan)
        run = resume or begin(config, source, domain, root, name, piped)
        processes.tell("run", str(run.path))
        if resume is None:
            held.enter_context(run.locked())
            config = with_kept(kept_names(config, piped)[0], run.path) if piped else config
        keep_looks(run.path)
        for file in piped:
            say(
                f"note: the data from the pipe is saved in the run ({in_words(file.stat().st_size)}), so the run can be resumed"
            )
        allowed = "".join(f" --allow {module}" for module in modules_in(source))
        again = f"{run.again}{allowed}" if in_file else f"danlu.pipeline.resume({str(run.path)!r}, source=…)"
        say(f"run: {run.path} (to continue after a stop: {again})")
        callbacks = held.enter_context(tracked(run, config.track, say))
        if crosses(config):
            return cross_train(
                run, config, source, domain, (prepared, plan), display=display, say=say, begun=begun, workers=workers
            )
        return train_once(
            run,
            config,
            domain,
            prepared,
            plan,
            display=display,
            say=say,
            resume=resume is not None,
            begun=begun,
            sections=sections,
            callbacks=callbacks,
        )


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
    config = config_of("train", source, {"target": target, "test": test}, settings)
    if crosses(config):
        raise ConfigError(
            f"danlu.train received evaluate={{'folds': {config.evaluate.folds}}}; it gives the result of one training",
            hint=f"danlu.cross_validate(…, folds={config.evaluate.folds}) trains and tests all folds",
        )
    found: Any = _trained(config, source, root=runs, name=name, display=display, say=say)
    return found


def cross_validate(
    source: Any,
    *,
    target: str = "",
    folds: int = 5,
    repeats: int = 1,
    name: str | None = None,
    runs: str | Path = "runs",
    display: str = "auto",
    say: Say = print,
    workers: int | Workers | None = None,
    **settings: Mapping[str, Any],
) -> CrossValidation:
    """Train a model for each fold of the rows, without it, and test it there: every row is tested once.

    Everything is done anew for each fold: what is fitted to rows (encoder, target, network, threshold) is fitted to the other folds only.
    Classes are shared out evenly among the folds; ``split={"method": "group", "column": …}`` keeps rows of one group in one fold, and
    ``"time"`` trains on what came before. It is for tables, images, recordings, texts and sequences with labels, and series.

    Args:
        folds: how many, at least 2.
        repeats: how often the rows are divided into folds anew, which takes chance out of the division.
        workers: who trains the folds: so many processes of this machine, or ``danlu.launch.Workers(4, on="ray")``; None is this process,
            one after the other. The result is the same.
        source, target, name, runs, display, say, **settings: as of :func:`danlu.train`.

    Returns:
        A :class:`CrossValidation`: the scores of all rows with intervals, those in each fold, the predictions for every row by the model
        that did not see it, and the models of the folds as one ``model``.

    Raises:
        DanluError: input that cannot be used; one clear message.

    Example:
        >>> import tempfile
        >>> table = {"x": [float(i) for i in range(80)], "y": ["low", "high"] * 40}
        >>> found = cross_validate(table, target="y", folds=2, runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                        model={"members": 2, "width": 8}, trainer={"epochs": 1},
        ...                        evaluate={"baselines": False, "report": False})
        >>> len(found.folds), found.predictions.height, found.model.predict({"x": [3.0]}).height
        (2, 80, 1)
    """
    if hasattr(source, "init") or isinstance(source, tuple) or "loss" in settings:
        raise ConfigError(
            "danlu.cross_validate learns from data of any kind: a file, a folder, a frame",
            hint="danlu.fit_folds(network, (x, y), loss=…) trains a network of yours on arrays by folds",
        )
    given = plain(settings.pop("evaluate", {}), "evaluate")
    if not isinstance(given, Mapping):
        raise ConfigError(f"evaluate is {shorten(given)}; expected a table of settings")
    settings["evaluate"] = {**given, "folds": folds, "repeats": repeats}
    config = config_of("cross_validate", source, {"target": target}, settings)
    found: Any = _trained(config, source, root=runs, name=name, display=display, say=say, workers=as_workers(workers))
    return found


def _trained(config: TrainConfig, source: Any, **how: Any) -> TrainResult | CrossValidation:
    """The result of what the config says, of a file that it names or of data in memory."""
    allow_modules(modules_in(source))  # who writes a module's name means it
    return train_from(config, None if isinstance(source, str | Path) else source, **how)


def config_of(function: str, source: Any, named: Mapping[str, Any], settings: Mapping[str, Any]) -> TrainConfig:
    """The config of a function's arguments: the names of what is learnt from, and the sections.

    Raises:
        ConfigError: what is no section, or a name that is said twice.
    """
    sections = dict(settings)
    given = plain(sections.pop("data", {}), "data")
    if not isinstance(given, Mapping):
        raise ConfigError(f"data is {shorten(given)}; expected a table of settings, such as data={{'drop': ['id']}}")
    for section in [each for each in sections if each not in SECTIONS]:
        raise ConfigError(
            f"danlu.{function} received {section}, which is not a section",
            hint=answer(section, sections[section], setting_names(), python=True)
            or f"the sections are: {', '.join(SECTIONS)}",
        )
    named = {"source": str(source) if isinstance(source, str | Path) else "table", **named}
    data = {
        **given,
        **{key: value for key, value in named.items() if not (value is None or (isinstance(value, str) and not value))},
    }
    for key in [each for each in named if each in given and named[each] is not None and data[each] != given[each]]:
        raise ConfigError(
            f"{key} is {shorten(data[key])}, and data={{{key!r}: {shorten(given[key])}}}; expected one of them"
        )
    return config_from({**sections, "data": data})


def resume(
    run: str | Path,
    *,
    source: Any = None,
    display: str = "auto",
    say: Say = print,
    allow: Sequence[str] = (),
    workers: Workers | None = None,
) -> TrainResult | CrossValidation:
    """Resume a run that was killed or stopped; the weights will equal those of an uninterrupted run.

    Args:
        run: the run's folder.
        source: the frame or arrays it was started with, when it was not a file.
        allow: modules that its environment may import, such as ``("my_package",)`` for ``"my_package:Walk-v0"``.
        workers: who trains the folds that are not finished, where it has folds.

    Raises:
        UntrustedError: its environment needs a module that is not allowed.
        ArtifactError: there is no such run.
        DataError: the data is not found.
        ConfigError: the data is not what the run was started with.
    """
    directory = RunDirectory.open(run)
    if is_searching(directory):
        raise ConfigError(
            f"the run {directory.path} is a search for settings that has not ended",
            hint=f"danlu tune --resume {directory.path}",
        )
    check_fresh(directory, "resumed")
    check_trained_there(directory, "danlu compress {} --prune 0.8 makes another one")
    saved, lost = saved_config(directory.read_json("config.json"))
    for name in lost:
        say(f"note: the run was started with the setting {name}, which this version does not know")
    config = with_kept(saved, directory.path)
    return train_from(config, source, display=display, say=say, resume=directory, allow=allow, workers=workers)
