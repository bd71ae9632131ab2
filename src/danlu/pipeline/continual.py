"""A model that learns on: from its weights, with new rows and with old ones against forgetting; and what got better and worse by it."""

from __future__ import annotations

import contextlib
import dataclasses
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.artifact import RunDirectory
from danlu.data.seen import row_hashes
from danlu.data.split import split_rows
from danlu.data.task import InferredTask
from danlu.engine.mesh import need_devices
from danlu.errors import ConfigError, DataError
from danlu.evaluate.compare import Comparison, compare
from danlu.nn.ensemble import Ensemble
from danlu.nn.scorecard import Scorecard
from danlu.pipeline.again import Again, settings_of
from danlu.pipeline.branched import CONTINUED, is_continued
from danlu.pipeline.config import TrainConfig, config_from
from danlu.pipeline.crossed import crosses
from danlu.pipeline.domains import domain_of, load_model
from danlu.pipeline.effort import Effort
from danlu.pipeline.fingerprint import check_unchanged
from danlu.pipeline.labelled import PreparedRows
from danlu.pipeline.once import TrainResult, begin, train_once
from danlu.pipeline.owners import check_in_one_place
from danlu.pipeline.private import guarded, spent_by
from danlu.stages import showing, stage
from danlu.tasks import Recipe
from danlu.trained import Say, Trained

__all__ = ["train_on"]

_KINDS = ("table", "image")
_SLOWER = 0.3  # of the recipe's learning rate: the weights are good already
_LEAST = 20  # new rows


def train_on(
    run: str | Path,
    source: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    replay: float = 1.0,
    root: str | Path = "runs",
    name: str | None = None,
    display: str = "auto",
    say: Say = print,
) -> TrainResult:
    """Go on from a trained run with new rows. The old run stays as it is.

    The new rows are divided as the run's were, and read by its schema, so that a new category is unknown and a new class is refused.
    The network begins with the
    run's weights and learns from new and old training rows together (*replay*, the simplest answer to forgetting, and hard to beat),
    at 0.3 of the learning
    rate. The other parts of a blend are fitted anew on both. The test is of new rows; both models are then compared on new test rows,
    and on the run's own.

    Args:
        run: the folder of a run on a table or on images of one label each.
        source: new rows with true answers.
        settings: sections of settings that change, such as ``{"trainer": {"epochs": 5}}``.
        replay: the share of the run's training rows that is learnt along; 0 needs none of its data.
        root, name, display, say: as of :func:`danlu.train`.

    Raises:
        ConfigError: a run of another kind, or settings that cannot be changed here.
        DataError: the run's data is not found, or there are too few new rows.

    Reference:
        Rolnick et al., "Experience replay for continual learning" (NeurIPS 2019); Prabhu et al., "GDumb" (ECCV 2020).

    Example:
        >>> import tempfile, danlu, polars as pl
        >>> folder, small = tempfile.mkdtemp(), {"model": {"members": 2, "width": 8, "kind": "network"}, "trainer": {"epochs": 1}}
        >>> table = pl.DataFrame({"x": [float(i) for i in range(120)], "y": ["low", "high"] * 60})
        >>> table[:60].write_csv(folder + "/old.csv")
        >>> how = {"display": "none", "say": lambda line: None}
        >>> old = danlu.train(folder + "/old.csv", target="y", runs=folder, name="old", **how, **small)
        >>> table[60:].write_csv(folder + "/new.csv")
        >>> new = train_on(old.run.path, folder + "/new.csv", root=folder, name="new", **how)
        >>> new.rows["train"] > old.rows["train"]
        True
    """
    begun = Effort()
    if not 0 <= replay <= 1:
        raise ConfigError(f"replay is {replay}; expected a share of the old training rows, from 0 to 1")
    directory = RunDirectory.open(run)
    with showing(display), contextlib.ExitStack() as held:
        old = load_model(directory.path)
        config = guarded(_changed(settings_of(directory), source, settings or {}))
        _check(directory, config, old)
        if config.private.on and replay and not old.provenance.get("privacy"):
            raise ConfigError(
                f"the training is private, and replay is {replay:g}: {directory.path} has learnt from the rows that it would learn along "
                "without privacy",
                hint=_WITHOUT,
            )
        need_devices(config.trainer.devices)
        before = _learnt(directory) if replay else None
        domain: Any = domain_of(settings_of(directory), settings_of(directory).data.source)
        with stage("reading and encoding"):
            prepared, counts = _prepared(config, old, before, source, replay, say)
            prepared = dataclasses.replace(prepared, spent=spent_by(old))
        plan = _plan(domain.plan(config, prepared), old, config)
        made = begin(config, source, domain, root, name, (), more={CONTINUED: {"run": str(directory.path), **counts}})
        held.enter_context(made.locked())
        say(f"run: {made.path}, which goes on from {directory.path}")
        say(_rows_in_words(counts))
        result = train_once(
            made, config, domain, prepared, plan, display=display, say=say, resume=False, begun=begun,
            initial=_weights(old, plan),
            beside=lambda new: _sections(directory.path.name, new, old, prepared, before, say),
        )  # fmt: skip
    return result


_WITHOUT = "--replay 0 goes on without its rows"


def _changed(config: TrainConfig, source: Any, settings: Mapping[str, Any]) -> TrainConfig:
    fixed = [name for name in settings if name not in ("trainer", "evaluate", "track", "split", "private")]
    if fixed:
        raise ConfigError(
            f"{fixed[0]}.{next(iter(settings[fixed[0]]), '')} cannot change where a model goes on: its network, its columns and "
            "its answers stay",
            hint="trainer, evaluate, split and track can",
        )
    config_from(settings)  # says what is no setting
    whole = config.as_dict()
    merged: dict[str, Any] = {**whole, **{name: {**whole[name], **part} for name, part in settings.items()}}
    merged["data"] = {**merged["data"], "source": str(source) if isinstance(source, str | Path) else "", "test": None}
    return config_from(merged)


def _check(run: RunDirectory, config: TrainConfig, old: Trained) -> None:
    what = ""
    check_in_one_place(config, "danlu train --from")
    if old.kind not in _KINDS:
        what = f"a model for {old.purpose}"
    elif crosses(config) or old.provenance.get("folds"):
        what = "a cross-validation, which is several models"
    if isinstance(old.network, Scorecard):
        what = "a scorecard, whose points are no weights to go on from"
    if config.trainer.snapshots is not None or int(old.provenance.get("snapshots") or 1) > 1:
        what = "a model of snapshots"
    if old.head.needs or old.provenance.get("sensitive"):
        what = "a model that was trained with sensitive columns"
    if what:
        raise ConfigError(
            f"{run.path} is {what}, and cannot go on with new rows",
            hint="models of tables and of images with one label each can; train anew on all rows together",
        )


def _prepared(
    config: TrainConfig, old: Trained, before: Any, source: Any, replay: float, say: Say
) -> tuple[PreparedRows, dict[str, Any]]:
    """New and old rows, encoded by the old model's encoder."""
    found = old.read(source, lenient=True, say=lambda line: say(f"note: {line}"), truth=True)
    x, y = old.encoder.transform(found.rows), np.asarray(found.truth)
    known = [] if old.seen is None else [old.seen]
    if before is not None and before.test is not None:  # it would learn what it is tested on
        known.append(row_hashes(*before.test[:2]))
    fresh = np.flatnonzero(~np.isin(row_hashes(x, y), np.concatenate(known))) if known else np.arange(len(y))
    if len(fresh) < len(y):
        say(
            f"note: {len(y) - len(fresh):,} of {len(y):,} rows are rows of the run, or look the same; they are left out"
        )
    if len(fresh) < _LEAST:
        raise DataError(f"{source} has {len(fresh)} new rows with an answer; expected {_LEAST} at least")
    x, y = jax.tree.map(lambda leaf: leaf[fresh], (x, y))
    raw = found.rows[fresh] if isinstance(found.rows, pl.DataFrame) else None
    parts, said = _divided(config, old, y, raw, folded=_folds(old) > 1)
    new = {part: jax.tree.map(lambda leaf, rows=rows: leaf[rows], (x, y)) for part, rows in parts.items()}
    train, validation, counts = new["train"], new["validation"], {"replay": replay, "old": 0}
    folds = None
    random = np.random.default_rng(config.trainer.seed)
    if _folds(old) > 1:
        folds = random.permutation(len(train[1])) % _folds(old)
    if before is not None:
        _same_encoding(before.encoder, old.encoder)
        if not isinstance(before.train, tuple):
            raise ConfigError("the run learnt from a stream, which cannot be learnt along", hint=_WITHOUT)
        kept = np.sort(random.permutation(len(before.train[1]))[: round(replay * len(before.train[1]))])
        train = _joined(jax.tree.map(lambda leaf: leaf[kept], before.train[:2]), train)
        counts["old"] = len(kept)
        if folds is not None:
            folds = np.concatenate([before.folds[kept], folds])
        elif before.validation is not None:
            validation = _joined(before.validation[:2], validation)
    rows = {
        "train": len(train[1]),
        "validation": 0 if folds is not None else len(validation[1]),
        "test": len(new["test"][1]),
    }
    schema = getattr(old.encoder, "schema", None)
    counts |= {"new": len(parts["train"]), "tested": len(parts["test"])}
    prepared = PreparedRows(
        schema=schema,
        inferred=InferredTask(old.task, "as before", getattr(old.head.target, "classes", ())),
        target=old.head.target,
        encoder=old.encoder,
        train=train,
        validation=None if folds is not None else validation,
        folds=folds,
        test=new["test"],
        shown=None if raw is None else raw[parts["test"]],
        background=None if raw is None else raw[parts["train"]][:2000],
        rows=rows,
        split=said,
    )
    return prepared, counts


def _folds(old: Trained) -> int:
    """How many folds its networks were judged on; 1 without."""
    network, copies = old.part("network").network, int(old.provenance.get("ensemble") or 1)
    return network.count // copies if isinstance(network, Ensemble) else 1


def _divided(
    config: TrainConfig, old: Trained, y: np.ndarray, raw: pl.DataFrame | None, *, folded: bool
) -> tuple[dict[str, np.ndarray], str]:
    name, split = old.head.name, config.split
    frame = pl.DataFrame({name: y}) if raw is None else raw.with_columns(pl.Series(name, y))
    method = split.method if raw is not None and split.column in (raw.columns if raw is not None else ()) else None
    found = split_rows(
        frame,
        method=method or "stratified",
        column=split.column if method else None,
        target=name,
        task="regression" if old.task == "regression" else old.task,
        validation=0.0 if folded else split.validation or 0.15,
        test=split.test if split.test is not None else 0.2,
        seed=config.trainer.seed,
    )
    parts = {part: np.asarray(getattr(found, part)) for part in ("train", "validation", "test")}
    return parts, f"the new rows: {found}"


def _joined(one: Any, two: Any) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), one, two)


def _learnt(run: RunDirectory) -> Any:
    """The rows of a run, as they were divided and encoded; of one that went on, those that it learnt along as well.

    Raises:
        DataError, ConfigError: data that is not found, or not what it was.
    """
    try:
        if not is_continued(run):
            return Again.of(run.path, say=lambda line: None).prepared
        said, config = run.read_json(CONTINUED), settings_of(run)
        check_unchanged(run, config, config.data.source, domain_of)
    except DataError as error:
        raise DataError(error.message, hint=f"put it back where it was; {_WITHOUT}") from error
    first, replay = RunDirectory.open(said["run"]), float(said["replay"])
    before = _learnt(first) if replay else None
    return _prepared(config, load_model(first.path), before, config.data.source, replay, lambda line: None)[0]


def _same_encoding(one: Any, other: Any) -> None:
    mine, theirs = (encoder.state() for encoder in (one, other))
    same = mine[0] == theirs[0] and all(np.array_equal(mine[1][name], theirs[1].get(name)) for name in mine[1])
    if not same:
        raise ConfigError(
            "this version of danlu reads the run's data in another way than the one that trained it",
            hint="train anew on all rows together",
        )


def _plan(plan: Recipe, old: Trained, config: TrainConfig) -> Recipe:
    network = old.part("network").network
    copies = network.count // _folds(old) if isinstance(network, Ensemble) else 1
    one = network.network if isinstance(network, Ensemble) else network
    changes: dict[str, Any] = {"model": one, "folds": _folds(old), "copies": copies}
    if config.trainer.learning_rate is None:
        changes["learning_rate"] = _SLOWER * plan.learning_rate
    return plan.replace(**changes)


def _weights(old: Trained, plan: Recipe) -> list[tuple[Any, Any]]:
    """The weights that each network begins with."""
    part = old.part("network")
    variables = part.params, part.state
    if not isinstance(part.network, Ensemble):
        return [variables]
    return [jax.tree.map(lambda leaf, number=number: leaf[number], variables) for number in range(plan.networks)]


def _rows_in_words(counts: Mapping[str, Any]) -> str:
    return f"learning from {counts['new']:,} new rows and {counts['old']:,} old ones"


def _sections(
    name: str, new: Trained, old: Trained, prepared: PreparedRows, before: Any, say: Say
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Both models on new and on old test rows: for the report, and for the record."""
    tests = {"new rows": prepared.test}
    if before is not None:
        tests["old rows"] = before.test
    told: dict[str, Comparison] = {}
    for what, test in tests.items():
        if test is None or not len(test[1]):
            continue
        ours, theirs = (model.judge(*test[:2]).evidence for model in (new, old))
        assert ours is not None
        assert theirs is not None
        told[what] = compare(ours, theirs, name, name="the model that went on")
    lines = [f"on {len(tests[what][1]):,} {what} of the test: {found.sentence}" for what, found in told.items()]
    for line in lines:
        say(line)
    record = {
        what: {
            "metric": found.metric,
            "new": found.ours,
            "old": found.theirs,
            "difference": [found.difference.value, found.difference.low, found.difference.high],
            "verdict": found.verdict,
        }
        for what, found in told.items()
    }
    body = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return [("What got better and worse", body)] if body else [], {"continued": record}
