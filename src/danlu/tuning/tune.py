"""``danlu.tune``: searches settings by training many networks in few programs, then trains with the best as ``danlu.train`` does."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError, TrainingError, shorten, unknown_name
from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure
from danlu.evaluate.metrics import metrics_of
from danlu.launch.workers import Workers, as_workers
from danlu.pipeline.agents import Agents
from danlu.pipeline.config import TrainConfig, saved_config
from danlu.pipeline.crossed import crosses
from danlu.pipeline.domain import Domain
from danlu.pipeline.domains import domain_of
from danlu.pipeline.fingerprint import check_unchanged, located
from danlu.pipeline.labelled import Labelled
from danlu.pipeline.once import SEARCH, begin, is_searching, prepare
from danlu.pipeline.owners import check_in_one_place
from danlu.pipeline.piped import kept_names, taken_in, with_kept
from danlu.pipeline.space import Place, as_place, in_words
from danlu.pipeline.train import config_of, train_from
from danlu.rl.allow import allow as allow_modules
from danlu.rl.registry import modules_in
from danlu.stages import display_kind, showing, stage
from danlu.trained import Say
from danlu.tuning.agents import CONTINUOUS as OF_AGENTS
from danlu.tuning.networks import CONTINUOUS as OF_NETWORKS
from danlu.tuning.part import TRIALS, Part, run_trials
from danlu.tuning.places import current, places, with_values
from danlu.tuning.sampler import optuna
from danlu.tuning.search import Limits
from danlu.tuning.show import sections_of
from danlu.tuning.trainings import LOSS
from danlu.tuning.tuned import Tuned, command_of, fixed_settings

__all__ = ["BATCH", "TRIALS", "Tuned", "resume", "tune", "tune_from"]

BATCH = 9
"""Trials of a batch, of which three go on after the first rung and one to the end."""
TRIED = "trials"
"""The folder of a run that holds the checkpoints of the trials under way."""
_METRICS = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}


def tune(
    source: Any,
    *,
    target: str = "",
    test: str | None = None,
    search: Mapping[str, Any] | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    metric: str | None = None,
    storage: str | Path | None = None,
    batch: int = BATCH,
    name: str | None = None,
    runs: str | Path = "runs",
    display: str = "auto",
    say: Say = print,
    workers: int | Workers | None = None,
    **settings: Mapping[str, Any],
) -> Tuned:
    """Search for better settings, then train with the best that were found.

    A trial's score is that of the answers for training rows that the answering network did not learn from (its folds, or the validation
    rows). The test rows are not looked at until the best settings are trained with and judged. Trials come in batches of networks of one
    shape; after a ninth and after a third of the epochs the better third of a batch goes on (successive halving).

    Args:
        source, target, test, name, runs, display, say: as of :func:`danlu.train`.
        search: where to look, by dotted names: a span ``(low, high)`` or choices ``[a, b]``; these come to what the kind of data proposes.
        trials: how many; None is 50, or as many as fit in ``minutes``.
        minutes: when to begin no further batch.
        metric: what is best; None is the log loss of classes, the RMSE of quantities, the return of agents, and the validation loss
            of whatever has not one label a row (``loss``; of boxes, masks and several labels also what they are compared by).
        storage: a file or the URL of a data base for the study, by which several processes share it; None keeps it in the run.
        batch: trials of a batch.
        workers: who does the trials: so many processes of this machine, or ``danlu.launch.Workers(4, on="ray")``; None is this process.
        **settings: sections of the config, as of :func:`danlu.train`; what is set there is not searched.

    Returns:
        A :class:`Tuned`: its ``settings`` are the best, its ``model`` is trained with them.

    Raises:
        DanluError: input that cannot be used; one clear message.
        MissingExtraError: optuna is not installed.

    Example:
        >>> import tempfile
        >>> table = {"x": [float(i % 9) for i in range(80)], "y": ["low" if i % 9 < 4 else "high" for i in range(80)]}
        >>> tuned = tune(table, target="y", trials=2, search={"trainer.learning_rate": (1e-3, 0.1)}, runs=tempfile.mkdtemp(),
        ...              display="none", say=lambda line: None,
        ...              model={"kind": "network", "members": 2, "width": 8, "depth": 1, "dropout": 0.1},
        ...              trainer={"epochs": 1, "weight_decay": 0.1}, evaluate={"report": False, "baselines": False})
        >>> list(tuned.settings), len(tuned.trials)
        (['trainer.learning_rate'], 2)
    """
    config = config_of("tune", source, {"target": target, "test": test}, settings)
    if search is not None and not isinstance(search, Mapping):
        raise ConfigError(
            f"search is {shorten(search)}; expected a dict", hint='search={"trainer.learning_rate": (0.001, 0.1)}'
        )
    allow_modules(modules_in(source))  # who writes a module's name means it
    return tune_from(
        config,
        None if isinstance(source, str | Path) else source,
        asked={name: as_place(name, given) for name, given in (search or {}).items()},
        trials=trials,
        minutes=minutes,
        metric=metric,
        storage=storage,
        batch=batch,
        root=runs,
        name=name,
        display=display,
        say=say,
        workers=as_workers(workers),
    )


def tune_from(
    config: TrainConfig,
    source: Any = None,
    *,
    asked: Mapping[str, Place],
    trials: int | None = None,
    minutes: float | None = None,
    metric: str | None = None,
    storage: str | Path | None = None,
    batch: int = BATCH,
    root: str | Path = "runs",
    name: str | None = None,
    display: str = "auto",
    say: Say = print,
    allow: Sequence[str] = (),
    begun: RunDirectory | None = None,
    workers: Workers | None = None,
) -> Tuned:
    """:func:`tune` for a config; arguments as of it and of ``train_from``.

    Args:
        asked: what is searched beside what the kind of data proposes.
        begun: the run to go on with; the rest are what it was begun with.
        workers: who does the trials; None is this process.
    """
    for named, count in (("trials", trials), ("batch", batch)):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ConfigError(f"{named} is {count!r}; expected a whole number >= 1")
    if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int | float) or not minutes > 0):
        raise ConfigError(f"minutes is {minutes!r}; expected a number above 0")
    if crosses(config):
        raise ConfigError(
            f"evaluate.folds is {config.evaluate.folds}, but would not be used: a search judges its trials within the training rows",
            hint=f"leave it out, and cross-validate what was found: danlu train … --folds {config.evaluate.folds}. To search anew "
            "without each fold, add evaluate.fold=1, then 2, …",
        )
    check_in_one_place(config, "a search for settings")
    if config.tower.begin:
        raise ConfigError(
            "towers that begin with trained models (tower.begin) are not searched with",
            hint="search without them, and train with them and with what was found",
        )
    if config.pretrain.source is not None:
        raise ConfigError(
            "the network would be pretrained (--pretrain) again in each trial of a search",
            hint="search without --pretrain, and train with it and with what was found",
        )
    if config.private.on:
        raise ConfigError(
            "the training is private, and each trial of a search would spend the budget again",
            hint="search on public rows of the same kind, without --private, and train in private with what was found",
        )
    for setting in ("average", "snapshots"):
        value = getattr(config.trainer, setting)
        if value in ("none", "auto", "ema", None):
            continue
        raise ConfigError(
            f"trainer.{setting} is {value}, which needs a training that runs to its end, and a search ends most of its trials early",
            hint="leave it out, and train with it afterwards; trainer.average=ema goes with a search",
        )
    display_kind(display)
    optuna()
    need_devices(config.trainer.devices)
    allow_modules(allow)
    most = TRIALS if trials is None and minutes is None else trials
    limits = Limits(most, None if minutes is None else 60.0 * minutes)
    in_file, started = source is None, time.perf_counter()
    with showing(display), contextlib.ExitStack() as held:
        piped: tuple[Path, ...] = ()
        if in_file and begun is None:
            config, piped = held.enter_context(taken_in(config, root))
        if begun is not None:
            held.enter_context(begun.locked())
            with stage("comparing the data"):
                check_unchanged(begun, config, config.data.source if in_file else source, domain_of)
        given = config.data.source if in_file else source
        domain, prepared, plan = prepare(config, given, say=say)
        space = places(config, domain, plan, asked)
        metric, higher = _metric(metric, domain, prepared)
        facts = {
            "state": "searching",
            "config": located(kept_names(config, piped)[0], domain).as_dict(),
            "search": {name: _plain(place) for name, place in asked.items()},
            "trials": trials,
            "minutes": minutes,
            "metric": metric,
            "storage": None if storage is None else str(storage),
            "batch": batch,
        }
        run = begun or begin(config, given, domain, root, name, piped, more={SEARCH: facts})
        if begun is None:
            held.enter_context(run.locked())
            config = with_kept(kept_names(config, piped)[0], run.path) if piped else config
            given = config.data.source if in_file else source
        part = Part(
            config=config,
            source=given if in_file is False else _whole(given),
            storage=_whole(str(storage or run.path / "study.log")),
            facts={"data": _identity(run) or config.data.source, "metric": metric, "fixed": fixed_settings(config)},
            space=space,
            structure=[
                name for name in space if name not in (OF_AGENTS if isinstance(domain, Agents) else OF_NETWORKS)
            ],
            first={name: current(config, plan, name) for name in space},
            higher=higher,
            size=batch,
            metric=metric,
            limits=limits,
            folder=str((run.path / TRIED).resolve()),
            allow=allow,
        )
        study = part.study()
        say(f"run: {run.path} (to continue after a stop: danlu tune --resume {run.path})")
        say(f"searching {', '.join(f'{name} in {place}' for name, place in space.items())}")
        over = begun is not None and not is_searching(begun)  # what is left is the training with what was found
        stopped = None if over else run_trials(study, part, (domain, prepared), workers, run, say)
    trials_told, best = study.told(), study.best()
    found = {} if best is None else dict(best.values)
    seconds = time.perf_counter() - started
    command = command_of(config, found)
    tuned = Tuned(
        run=run,
        settings=found,
        score=None if best is None else best.score,
        metric=metric,
        trials=trials_told,
        importances=study.importances(),
        command=command,
        result=None,
        seconds=seconds,
        stopped_by=stopped,
    )
    if stopped is not None:
        return tuned
    if best is None:
        raise TrainingError(
            f"none of the {len(trials_told)} trials ended with a score: all have diverged",
            hint="search lower learning rates: trainer.learning_rate=0.0001..0.01",
        )
    settled = with_values(config, found)
    run.write_json("config.json", located(settled, domain).as_dict())
    run.write_json(SEARCH, {**facts, "state": "found", "found": found, "command": command})
    say(
        f"best of {len(trials_told)} trials in {seconds:.0f} s: {metric} {figure(best.score or 0.0)} with {in_words(found)}"
    )
    say("training with these settings")
    result: Any = train_from(
        settled,
        source,
        display=display,
        say=lambda line: None,  # said before
        resume=run,
        allow=allow,
        sections=sections_of(tuned),
    )
    return dataclasses.replace(tuned, result=result)


def _whole(source: str) -> str:
    """The name of a file or a folder that another process finds too."""
    return source if "://" in source or not Path(source).absolute().parent.exists() else str(Path(source).absolute())


def resume(
    run: str | Path,
    *,
    source: Any = None,
    display: str = "auto",
    say: Say = print,
    allow: Sequence[str] = (),
    workers: Workers | None = None,
) -> Tuned:
    """Go on with a search that was killed or stopped; what it tries will be what it would have tried.

    Args:
        run: the run's folder.
        source: the frame or arrays it was started with, when it was not a file.
        allow: as of :func:`danlu.pipeline.resume`.
        workers: who does the trials that are left; None is this process.

    Raises:
        ConfigError: the run is no search, or the data is not what it was started with.
        ArtifactError: there is no such run.
    """
    directory = RunDirectory.open(run)
    if not (directory.path / SEARCH).is_file():
        raise ConfigError(f"the run {directory.path} is no search", hint=f"danlu train --resume {directory.path}")
    facts = directory.read_json(SEARCH)
    saved, lost = saved_config(facts["config"])
    for name in lost:
        say(f"note: the run was started with the setting {name}, which this version does not know")
    return tune_from(
        with_kept(saved, directory.path),
        source,
        asked={name: as_place(name, tuple(v) if kind == "span" else v) for name, (kind, v) in facts["search"].items()},
        trials=facts["trials"],
        minutes=facts["minutes"],
        metric=facts["metric"],
        storage=facts["storage"],
        batch=facts["batch"],
        display=display,
        say=say,
        allow=allow,
        begun=directory,
        workers=workers,
    )


def _plain(place: Place) -> list[Any]:
    return ["span" if len(place.ends) == 2 and hasattr(place, "low") else "choices", list(place.ends)]


def _metric(name: str | None, domain: Domain, prepared: Any) -> tuple[str, bool]:
    """The name of what is best, and whether more of it is better.

    Raises:
        ConfigError: a measure that there is not, or not for this target.
    """
    if isinstance(domain, Agents):
        if name not in (None, "return"):
            raise ConfigError(f"the metric is {name!r}; expected return, which is what agents are judged by")
        return "return", True
    if not isinstance(domain, Labelled):
        known = [LOSS, *domain.searched_by]
        if name not in (None, *known):
            raise ConfigError(
                f"the metric is {name!r}; of {domain.noun} a search goes by one of: {', '.join(known)}",
                hint="loss is that of the validation rows, which training watches",
            )
        return name or LOSS, name is not None and name in MEASURES and MEASURES[name].higher_is_better
    if prepared.validation is None and prepared.folds is None:
        raise ConfigError(
            "there are no validation rows, and a search judges its trials by them", hint="split.validation=0.15"
        )
    task = prepared.target.task
    name = _METRICS[task] if name is None else name
    known = [metric.name for metric in metrics_of(task)]
    if name not in known:
        if name in MEASURES:
            what = "a quantity" if task == "regression" else "of classes"
            raise ConfigError(
                f"the metric {name} is not for this target, which is {what}; expected one of: {', '.join(known)}"
            )
        raise unknown_name("metric", name, known)
    return name, MEASURES[name].higher_is_better


def _identity(run: RunDirectory) -> Any:
    """What the data of a run is, wherever it lies."""
    pieces = run.read_json("source.json").get("data", {})
    return {name: each.get("sha256") or each.get("path") for name, each in pieces.items() if isinstance(each, Mapping)}
