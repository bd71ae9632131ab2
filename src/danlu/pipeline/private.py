"""Private training of data of any kind: what is refused, what is turned off, what is paid for, and what is told of it."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import html
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data import Schema, infer_schema
from danlu.data.text import TextEncoder
from danlu.engine import Fitted
from danlu.engine.poisson import Secret
from danlu.errors import ArtifactError, ConfigError
from danlu.federated.rounds import drawn
from danlu.federated.rows import ledger_of_rows
from danlu.files import check_there, write_atomic
from danlu.pipeline.config import TrainConfig
from danlu.privacy import NOTHING, Ledger, privacy_lines
from danlu.privacy.statistics import NUMERIC_LOOKS, drawn_names, drawn_numbers
from danlu.tasks import PrivateTraining, Recipe
from danlu.trained import Trained

__all__ = [
    "REFUSED",
    "Looks",
    "facts_of_privacy",
    "guarded",
    "kept_looks",
    "privacy_section",
    "private_recipe",
    "spent_by",
    "unseen",
]

_ROWS = 1024  # that are made up from the statistics
_TIMES = 8  # of which ε is told
_LOOKS = "looks.parquet"

REFUSED: tuple[tuple[str, Any, str, str], ...] = (
    ("imbalance.class_weight", "none", "class weights go by the exact counts of the classes", "imbalance.focal_gamma"),
    (
        "imbalance.resample",
        "none",
        "a row that is drawn again and again would count for more than one",
        "imbalance.focal_gamma",
    ),
    ("model.ensemble", None, "each network of an ensemble would spend the budget again", "one network"),
    ("evaluate.folds", None, "each fold's training would spend the budget again", "a test part: split.test"),
    (
        "augment.mixup",
        0.0,
        "it mixes rows, so a row would be in the gradient of others",
        "augment.translate or rotation",
    ),
    (
        "augment.cutmix",
        0.0,
        "it mixes rows, so a row would be in the gradient of others",
        "augment.translate or rotation",
    ),
    ("trainer.minutes", None, "further networks and trees would each spend the budget again", "trainer.epochs"),
    ("track.tensorboard", (), "gradients and pictures of training rows are not private", "leave it out"),
)
"""Settings that private rows do not allow: the name, its default, why, and what there is instead."""

_IF_GIVEN = (
    ("model.kind", "network", "trees and linear models beside the network would learn from the rows without noise"),
    ("data.stream", False, "each row is drawn by itself, for which the rows must be in memory"),
    ("split.folds", 1, "networks on folds of the rows would each spend the budget"),
)
"""Settings of which one value alone is right for private rows."""


def guarded(config: TrainConfig) -> TrainConfig:
    """The settings of a private training, with what looks at the training rows without noise turned off; others as they are.

    Raises:
        ConfigError: a setting that private rows do not allow.
    """
    if not config.private.on:
        return config
    usual = TrainConfig()
    for name, default, why, instead in REFUSED:
        value = config.setting(name)
        default = usual.setting(name) if default is None else default
        if value not in (default, "none", None, ()):
            raise ConfigError(f"{name} is {value!r}, and the training is private: {why}", hint=f"instead: {instead}")
    for name, given in (("noise", config.federated.noise), ("personal_epochs", config.federated.personal_epochs)):
        if given:
            why = (
                "hides whole clients, and private the rows of each"
                if name == "noise"
                else "would spend the budget of each client again"
            )
            raise ConfigError(
                f"federated.{name} is {given}, which {why}; expected one of them", hint="leave one of them out"
            )
    if config.fairness.mitigate in ("reweigh", "penalty"):
        raise ConfigError(
            f"fairness.mitigate is {config.fairness.mitigate!r}, and the training is private: it goes by exact counts of groups of rows",
            hint="fairness.mitigate=thresholds is fitted to the validation rows",
        )
    for name, right, why in _IF_GIVEN:
        if config.setting(name) not in (usual.setting(name), right):
            raise ConfigError(
                f"{name} is {config.setting(name)!r}, and the training is private: {why}", hint=f"{name}={right}"
            )
    return config.with_setting("evaluate.baselines", False)


def private_recipe(config: TrainConfig, plan: Recipe, prepared: Any) -> Recipe:
    """The recipe with noise that keeps to the budget."""
    shapes = jax.eval_shape(lambda key: plan.model.init(key, prepared.encoder.in_shape)[0], jax.random.key(0))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    private, rows, steps = config.private, prepared.rows["train"], None
    if prepared.owners is not None:  # the smallest draws each row most often; one budget that it keeps to holds for all
        rows, most, each = _of_clients(config, prepared)
        private = private.replace(delta=private.budget(most).delta)
        steps = functools.partial(_steps, config, rows, each)
    return private.recipe(
        plan,
        rows,
        prepared.spent,
        parameters=count,
        asked=config.trainer.chosen(),
        texts=isinstance(prepared.encoder, TextEncoder),
        steps=steps,
    )


def _of_clients(config: TrainConfig, prepared: Any) -> tuple[int, int, int]:
    """The fewest and the most rows of a client, and the rounds of the one that takes part most often."""
    sizes, asked = prepared.owners.sizes, config.federated
    taken = np.zeros(sizes.size, int)
    for number in range(asked.rounds):
        taken[drawn(config.trainer.seed, number, sizes.size, asked.per_round or sizes.size)] += 1
    return int(sizes.min()), int(sizes.max()), int(taken.max())


def _steps(config: TrainConfig, rows: int, rounds: int, batch: float) -> int:
    """The steps of a client in all its rounds."""
    asked = config.federated
    return rounds * (asked.local_steps or asked.local_epochs * max(1, round(rows / batch)))


@dataclasses.dataclass(frozen=True, eq=False)
class Looks:
    """What was seen of the columns of private training rows.

    Attributes:
        frame: rows that are made up from noisy counts.
        ledger: what the counts spent.
        said: for the user.
    """

    frame: pl.DataFrame
    ledger: Ledger
    said: str

    @classmethod
    def at(
        cls, frame: pl.DataFrame, schema: Schema, target: str, classes: tuple[str, ...], private: PrivateTraining
    ) -> Looks:
        """Look at the columns of training rows; a run that is resumed has done it already.

        Args:
            frame: the training rows.
            target: its column; empty where there is none.
            classes: of the target, which are public; empty for a quantity, which is looked at as a column is.
        """
        known = _KEPT.get()
        if known is not None and known.found is not None:
            return known.found
        if known is not None and known.lost is not None:
            raise ArtifactError(
                f"{known.lost} is not there, which has what was seen of the columns of private rows; to look again would spend more than "
                "this run says",
                hint="put the file back; a new training is allowed, but what both spend on the same rows adds up",
            )
        public = _public(private, [*(column.name for column in schema.features), *([target] if target else [])])
        kinds = {column.name: column.kind for column in schema.features}
        if texts := [name for name, kind in kinds.items() if kind == "text"]:
            raise ConfigError(
                f"column {texts[0]!r} is text, whose words are not looked at in private; expected numbers, categories, dates",
                hint=f"leave it out: data.drop={texts[0]}; texts alone can be learnt from: --text COLUMN",
            )
        kinds |= {target: "numeric"} if target and not classes else {}
        numeric = [name for name, kind in kinds.items() if kind in ("numeric", "datetime")]
        named = [name for name, kind in kinds.items() if kind == "categorical" and name not in public]
        looks = sum(1 if name in public else NUMERIC_LOOKS for name in numeric) + len(named)
        delta = private.budget(frame.height).delta
        failure = delta / 10 if named else 0.0
        noise = private.for_statistics(frame.height, looks, failure) if looks else 0.0
        rng = Secret.new().rng(0)
        made, blind = {}, known is not None and known.blind
        for name in frame.columns:
            if name not in kinds:
                continue
            kind = kinds[name]
            values = _nobodys(frame[name], kind) if blind else frame[name]
            if kind in ("numeric", "datetime"):
                made[name] = _numbers(values, noise, rng, public.get(name))
            elif kind == "boolean":
                made[name] = pl.Series(name, _booleans(values))
            elif name in public:
                made[name] = pl.Series(name, np.resize(np.asarray(public[name], object), _ROWS).tolist())
            else:
                told = drawn_names(
                    values.cast(pl.String).to_list(), _ROWS, noise=noise, failure=failure / len(named), rng=rng
                )
                made[name] = pl.Series(name, told, dtype=pl.String)
        if classes:
            made[target] = pl.Series(target, np.resize(np.asarray(classes, object), _ROWS).tolist())
        ledger = Ledger()
        if looks:
            ledger = ledger.with_steps(
                "counts of the columns' values", noise=noise, steps=looks, failure=failure / looks
            )
        free = f", {len(public)} of them public" if public else ""
        said = f"the statistics of {len(kinds)} columns{free} come from counts with noise of {noise:.3g} rows"
        if blind:
            said = (
                "a dry run looks at no private row: ranges and categories that are not public are made up. The training will look at "
                f"{len(kinds)} columns{free} by {looks} counts with noise of {noise:.3g} rows"
            )
        elif noise > frame.height / 40:
            said += f", much for {frame.height:,} rows: private.public gives ranges and categories without any"
        found = cls(pl.DataFrame(made), ledger, said)
        if known is not None:
            known.found = found
        return found

    def schema(self, of: Schema, target: str, private: PrivateTraining) -> Schema:
        """The schema as the rows that are made up show it, with the kinds of the columns as they were found."""
        kinds = {column.name: column.kind for column in of.features}
        found, public = infer_schema(self.frame, target=target, kinds=kinds), _public(private, [*kinds, target])
        rough = [each.kind in ("numeric", "datetime") and each.name not in public for each in found.columns]
        columns = tuple(
            dataclasses.replace(each, rough=is_rough) for each, is_rough in zip(found.columns, rough, strict=True)
        )
        return dataclasses.replace(found, columns=columns)


def _numbers(values: pl.Series, noise: float, rng: np.random.Generator, ends: Any) -> pl.Series:
    """A column of numbers or dates, made up."""
    dates = values.dtype.is_temporal()
    plain = values.cast(pl.Datetime("us")).dt.epoch("s") if dates else values
    numbers = plain.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    found = drawn_numbers(
        numbers, _ROWS, noise=noise, rng=rng, ends=None if ends is None else (float(ends[0]), float(ends[-1]))
    )
    made = pl.Series(values.name, found).fill_nan(None)
    return pl.from_epoch(made.cast(pl.Int64), time_unit="s").alias(values.name) if dates else made


def _nobodys(values: pl.Series, kind: str) -> pl.Series:
    """As many values of a column's kind that are of no row."""
    count = len(values)
    if kind == "categorical":
        return pl.Series(values.name, np.resize(np.array(["a", "b"], object), count).tolist(), dtype=pl.String)
    if kind in ("numeric", "datetime"):
        numbers = pl.Series(values.name, np.linspace(0, 1, count))
        return pl.from_epoch((numbers * 1e9).cast(pl.Int64), time_unit="s") if kind == "datetime" else numbers
    return values  # of true and false nothing is looked at


def _booleans(values: pl.Series) -> list[Any]:
    return (
        [place % 2 == 0 for place in range(_ROWS)] if values.dtype == pl.Boolean else ["true", "false"] * (_ROWS // 2)
    )


def _public(private: PrivateTraining, columns: list[str]) -> dict[str, list[Any]]:
    """What is known of the columns without the rows, from the user's file."""
    if private.public is None:
        return {}
    path = Path(private.public)
    check_there(private.public)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            import tomllib

            found = tomllib.loads(text)
        else:
            found = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"private.public is {private.public!r}, which cannot be read: {error}") from error
    form = 'expected {"age": [0, 120], "city": ["Bern", "Oslo"]}'
    if not isinstance(found, Mapping) or not all(isinstance(each, list) and each for each in found.values()):
        raise ConfigError(f"{path} holds no columns with their ranges or categories; {form}")
    if unknown := [name for name in found if name not in columns]:
        raise ConfigError(f"{path} names the column {unknown[0]!r}; the columns are: {', '.join(columns[:30])}")
    return dict(found)


@dataclasses.dataclass
class _Kept:
    """What a run has seen of the columns already; ``blind``, it sees nothing of them."""

    found: Looks | None = None
    lost: Path | None = None
    blind: bool = False


_KEPT: contextvars.ContextVar[_Kept | None] = contextvars.ContextVar("looks", default=None)


@contextlib.contextmanager
def kept_looks(run: Path | None) -> Iterator[Any]:
    """Within it, columns are looked at once: a run that is resumed has done so. Gives a function that keeps what was seen in a run."""
    kept = _Kept() if run is None else _Kept(_read(run / _LOOKS), run / _LOOKS if _has_learnt(run) else None)

    def keep(folder: Path) -> None:
        if kept.found is not None:
            buffer = io.BytesIO()
            record = json.dumps({"ledger": kept.found.ledger.record(), "said": kept.found.said})
            kept.found.frame.write_parquet(buffer, metadata={"looks": record})
            write_atomic(folder / _LOOKS, buffer.getvalue())

    token = _KEPT.set(kept)
    try:
        yield keep
    finally:
        _KEPT.reset(token)


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Within it no private column is looked at: many looks that nobody counts would take the noise away."""
    token = _KEPT.set(_Kept(blind=True))
    try:
        yield
    finally:
        _KEPT.reset(token)


def _has_learnt(run: Path) -> bool:
    """Whether a training of the run has begun, which looked at the columns before."""
    checkpoints = run / "checkpoints"
    return (run / "metrics.jsonl").is_file() or (checkpoints.is_dir() and any(checkpoints.iterdir()))


def _read(path: Path) -> Looks | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(pl.read_parquet_metadata(path)["looks"])
        return Looks(pl.read_parquet(path), Ledger.read(record["ledger"]), record["said"])
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"the statistics in {path} are damaged: {str(error)[:120]}") from error


def spent_by(old: Trained) -> Ledger:
    """What the training of a model spent that is gone on from: a row of both trainings is looked at by both."""
    known = old.provenance.get("privacy")
    return Ledger.read(known["ledger"]) if known else NOTHING


def facts_of_privacy(config: TrainConfig, prepared: Any, fitted: Fitted) -> dict[str, Any]:
    """What a model's provenance, report, card and record say of its privacy; empty of one that is not private."""
    gradient = getattr(fitted.program, "gradient", None)
    if not config.private.on or gradient is None or fitted.train_state is None:
        return {}
    if prepared.owners is not None:
        return {"privacy": _facts_of_clients(config, prepared, fitted, gradient)}
    rows, steps = prepared.rows["train"], int(np.asarray(fitted.train_state.step))
    budget, before = config.private.budget(rows), prepared.spent
    ledger = before + gradient.spent(steps)
    each = max(1, round(1 / gradient.sampling))
    epochs = sorted({round(place) for place in np.linspace(0, steps / each, _TIMES + 1)[1:]} - {0}) or [1]
    course = [[epoch, budget.spent(before + gradient.spent(epoch * each))] for epoch in epochs if epoch * each < steps]
    spent = budget.spent(ledger)
    return {
        "privacy": {
            "epsilon": spent,
            "delta": budget.delta,
            "accountant": budget.by,
            "rows": rows,
            "ledger": ledger.record(),
            "course": [*course, [round(steps / each, 2), spent]],
            "statistics": budget.spent(before) if before.mechanisms else 0.0,
            "clip": gradient.clip,
            "noise": gradient.noise,
            "unfinished": fitted.stopped_by is not None,
        }
    }


def _facts_of_clients(config: TrainConfig, prepared: Any, fitted: Fitted, gradient: Any) -> dict[str, Any]:
    """The ledger of each client: what it spent by its own steps on its own rows; the largest stands for all."""
    owners, before, state = prepared.owners, prepared.spent, fitted.train_state
    taken = np.asarray(state.world["clients"]["step"]).tolist() if state is not None else []
    budget = config.private.budget(int(owners.sizes.max()))
    ledgers = [
        before + ledger_of_rows(gradient, rows, steps) for rows, steps in zip(owners.sizes.tolist(), taken, strict=True)
    ]
    each = {name: budget.spent(ledger) for name, ledger in zip(owners.names, ledgers, strict=True)}
    worst = max(each, key=lambda name: each[name])
    return {
        "epsilon": each[worst],
        "delta": budget.delta,
        "accountant": budget.by,
        "rows": int(owners.sizes.sum()),
        "ledger": ledgers[owners.names.index(worst)].record(),
        "clients": each,
        "course": [],
        "statistics": budget.spent(before) if before.mechanisms else 0.0,
        "clip": gradient.clip,
        "noise": gradient.noise,
        "unfinished": fitted.stopped_by is not None,
    }


def privacy_section(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The part of a report about privacy: a title and HTML; none of a model that is not private."""
    if not facts:
        return []
    rows = "".join(f"<tr><td>{epoch:g}</td><td>{epsilon:.3f}</td></tr>" for epoch, epsilon in facts["course"])
    head = "epochs"
    if clients := facts.get("clients"):
        rows = "".join(
            f"<tr><td translate='no'>{html.escape(name)}</td><td>{epsilon:.3f}</td></tr>"
            for name, epsilon in sorted(clients.items(), key=lambda each: -each[1])[:_TIMES]
        )
        head = "client"
    said = "".join(f"<li>{html.escape(line)}</li>" for line in privacy_lines(facts))
    table = f"<table><thead><tr><th>{head}</th><th>epsilon spent</th></tr></thead><tbody>{rows}</tbody></table>"
    return [("Privacy", f"<ul>{said}</ul>{table}")]
