"""Logs of what was done in which context and what it brought, from which it is learnt what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.bandits import (
    Choosing,
    Log,
    LoggedBandit,
    NamedLog,
    apart_notice,
    bandit_recipe,
    learn_bandit,
    logged_rows,
    of_the_items,
)
from danlu.blueprint import Blueprint
from danlu.data import Schema, Split, Table, TableEncoder, check_frame, infer_schema, read_table, split_rows
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.logged import ABSENT, Logged
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.used import RECIPE, WRITTEN, check_columns
from danlu.tasks import Recipe, fold_numbers
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["Contexts", "Logs", "PreparedLog", "contexts_of", "read_log"]

_FEWEST = 50  # training rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedLog(Prepared):
    """A log, encoded.

    Attributes:
        encoder: of the contexts, fitted to the training rows.
        head: of the answers.
        train, test: encoded contexts with what was done in them and what it brought; ``test`` is None without any.
        shown: the test rows as they were read.
        places: their numbers in the source, where they are of it.
        folds: the fold of each training row.
        shares: how often each action was done in the training rows.
    """

    encoder: TableEncoder
    head: Choosing
    train: tuple[Any, dict[str, np.ndarray]]
    test: tuple[Any, dict[str, np.ndarray]] | None
    shown: pl.DataFrame | None
    places: np.ndarray | None
    folds: np.ndarray
    shares: np.ndarray

    def lines(self) -> Iterable[str]:
        head, reward = self.head, self.train[1]["reward"]
        order = np.argsort(-self.shares, kind="stable")[:6]
        some = ", ".join(f"{head.actions[each]} {self.shares[each]:.1%}" for each in order)
        yield f"actions: {len(head.actions)} in {head.action!r}: {some}{', …' if len(head.actions) > len(order) else ''}"
        known = f"propensities in {head.propensity!r}" if head.propensity else "propensities are estimated"
        if head.places == 1:
            yield f"reward: {head.reward!r}, {reward.mean():.4g} a row as it was logged; {known}"
            return
        yield f"reward: {head.reward!r}, {reward.sum() / len(reward):.4g} a page as it was logged; {known}"
        there = (self.train[1]["action"] != ABSENT).sum(axis=1)
        yield f"pages: {there.mean():.3g} places on average, {head.places} at most"


class Logs(Domain):
    """Logs of actions, rewards and propensities."""

    kind = "bandit"
    noun = "logs of actions and rewards"
    encoder = TableEncoder
    head = Choosing
    model_name = "the learnt policy"
    instead_of_why = "danlu predict RUN FILE shows what each action is expected to bring"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"bandit": LoggedBandit}
    options = (
        Option(
            "--bandit",
            "bandit.columns",
            "Learn from a log what to do: ACTION:REWARD[:PROPENSITY], columns; all others are the context.",
        ),
        Option(
            "--slate",
            "bandit.slate",
            "With --bandit, a row is a place of a page of several items: PAGE:PLACE, columns.",
        ),
    )
    uses = (
        RECIPE,
        WRITTEN,
        "bandit.*",
        "data.source|test",
        "evaluate.baselines|report",
        "model.width|depth|dropout|members",
        "split.column|method|test",
        "track.*",
        "trainer.seed",
    )
    beside = (
        Beside(
            "bandit.depends",
            lambda config: bool(config.bandit.slate),
            "a row is no place of a page; --slate page:place says so",
        ),
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--bandit ACTION:REWARD names what is learnt; leave --target out",
        "split.validation": "bandit.folds: every training row is used for validation in turn",
        "trainer.loss": "bandit.learn=robust, ips or direct",
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.bandit.columns)

    # Learning.

    def prepare(self, config: TrainConfig, source: Any) -> PreparedLog:
        data, settings = config.data, config.bandit
        named = NamedLog.of(settings.columns, settings.slate)
        table = read_log(config, source, named.action)
        check_columns(data, table.names)
        log, said = logged_rows(table.frame, named)
        apart = apart_notice(log) if settings.depends == "place" else None
        said += [apart] if apart else []
        items = of_the_items(table.frame, named)
        known = contexts_of(config, table, log, named.columns, "--bandit", items=items)
        notices = [*table.notices, *said, *known.notices]
        contexts, schema, split = known.contexts, known.schema, known.split
        train, test = log.take(split.train), log.take(split.test)
        actions = train.actions
        if len(actions) < max(2, log.places):
            raise DataError(
                f"the training rows have only {len(actions)} of the actions, {actions[0]!r} first; expected {max(2, log.places)} or more"
            )
        shown = contexts[split.test]
        if data.test is not None:
            other = read_log(config, data.test, named.action)
            test, said = logged_rows(other.frame, named, learning=False)
            shown, more = check_frame(other.frame[test.rows.tolist()], schema)
            notices += [f"test: {notice}" for notice in (*other.notices, *said, *more)]
        encoder = TableEncoder.fit(contexts[split.train], schema)
        reward = log.reward[log.there]
        low, high = settings.ends(float(reward.min()), float(reward.max()))
        share = set(np.unique(reward).tolist()) == {0.0, 1.0}
        head = Choosing(
            actions,
            named.action,
            named.reward,
            named.propensity,
            share=share,
            mean=0.0 if share else float(train.reward[train.there].mean()),
            std=1.0 if share else float(train.reward[train.there].std()) or 1.0,
            low=low,
            high=high,
            estimated=not named.propensity,
            slate=settings.slate,
            places=log.places,
            depends=settings.depends,
        )
        truth, asked = train.truth(actions, log.places), test.truth(actions, log.places)
        strange = int((asked["action"] == -1).sum())
        if strange:
            notices.append(
                f"test: {strange:,} rows are of actions that were not in training; the policy takes none of them"
            )
        return PreparedLog(
            rows={"train": len(train), "test": len(test)},
            split=split.description if data.test is None else f"{split.description}; the test rows come from a file",
            notices=tuple(notices),
            encoder=encoder,
            head=head,
            train=(encoder.transform(contexts[split.train]), truth),
            test=(encoder.transform(shown), asked) if len(test) else None,
            shown=shown if len(test) else None,
            places=test.rows if len(test) and data.test is None else None,
            folds=fold_numbers(_first(truth["action"]), "multiclass", settings.folds, seed=config.trainer.seed),
            shares=np.bincount(known := truth["action"][train.there], minlength=len(actions)) / len(known),
        )

    def plan(self, config: TrainConfig, prepared: PreparedLog) -> Recipe:
        head = prepared.head
        return bandit_recipe(
            prepared.encoder,
            prepared.rows["train"],
            head.outputs,
            folds=config.bandit.folds,
            **config.decided("members", "width", "depth", "dropout"),
        )

    def learn(self, config: TrainConfig, prepared: PreparedLog, plan: Recipe, **how: Any) -> Learned:
        learned = learn_bandit(
            *prepared.train,
            prepared.folds,
            encoder=prepared.encoder,
            head=prepared.head,
            plan=plan,
            learn=config.bandit.learn,
            seed=config.trainer.seed,
            **how,
        )
        return dataclasses.replace(learned, model=learned.model.remembering(prepared.train))

    # The test.

    def test(self, config: TrainConfig, prepared: PreparedLog, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        found = trained.judge(*prepared.test, rows=prepared.shown, seed=config.trainer.seed)
        return dataclasses.replace(
            found, name=self.model_name, rows_are="rows of the log" if prepared.head.places == 1 else "pages of the log"
        )

    def simple(self, config: TrainConfig, prepared: PreparedLog, trained: Trained, ours: Any) -> Iterable[Simple]:
        return trained.head.simple(None, ours)

    def report(self, prepared: PreparedLog, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        head = prepared.head
        facts = {
            "actions": f"{len(head.actions):,}",
            "propensities": "estimated" if head.estimated else f"in {head.propensity!r}",
            "rewards": f"{head.low:g} to {head.high:g}",
        }
        if head.places > 1:
            facts["places of a page"] = f"{head.places}"
        which = f"which {head.action} brings the most {head.reward}"
        if head.places > 1:
            which = f"which page of {head.action} brings the most {head.reward}"
        fields = {"target": which, "task": head.task, "facts": facts}
        if judgement is None or not isinstance(judgement.evidence, Logged):
            return fields
        from danlu.report.policies import policy_section

        return {**fields, "sections": [policy_section(judgement.evidence, head.actions, head.reward)]}

    # The trained model.

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        head = trained.head
        named = head.columns
        raw, rows, notices = asked_contexts(trained, source, named.columns, lenient=lenient)
        if not truth:
            for notice in (*raw.notices, *notices):
                say(notice)
            if not named.page or named.page not in raw.names:
                return Read(rows, given=raw.frame)
            first = raw.frame[named.page].is_first_distinct()
            if not first.all():
                say(f"{len(first):,} rows are of {first.sum():,} pages in {named.page!r}; each page is answered once")
            return Read(rows.filter(first), given=raw.frame.filter(first))
        lost = [name for name in named.columns if name not in raw.names]
        if lost:
            raise SchemaError(
                f"the data lacks the columns {', '.join(map(repr, lost))}, by which a policy is evaluated",
                hint="danlu predict needs only the context",
            )
        table = read_table(source, kinds={head.action: "categorical"})
        log, said = logged_rows(table.frame, named, learning=False)
        truths = log.truth(head.actions, head.places)
        strange = int((truths["action"] == -1).sum())
        if strange:
            said.append(f"{strange:,} rows are of actions that were not in training; the policy takes none of them")
        for notice in (*table.notices, *notices, *said):
            say(notice)
        return Read(rows[log.rows.tolist()], truths, given=raw.frame[log.rows.tolist()])

    def purpose(self, trained: Trained) -> str:
        return f"which {trained.head.action} to choose for the highest {trained.head.reward}"


@dataclasses.dataclass(frozen=True, eq=False)
class Contexts:
    """What is known of the rows of a log beside what was done and came of it.

    Attributes:
        contexts: the columns that are learnt from.
        schema: of them.
        split: of the rows of the log.
        notices: what the user should know.
    """

    contexts: pl.DataFrame
    schema: Schema
    split: Split
    notices: tuple[str, ...]


def contexts_of(
    config: TrainConfig,
    table: Table,
    log: Log,
    names: Sequence[str],
    option: str,
    strata: str | None = None,
    items: Sequence[str] = (),
) -> Contexts:
    """The contexts of a log, divided into rows to learn from and to test on.

    Args:
        names: the columns that are no context.
        option: the option that names them.
        strata: a column whose values are shared out evenly where rows are drawn.
        items: further columns that are no context, as they are of what is shown.

    Raises:
        ConfigError: one of them is left out by ``data.drop``.
        DataError: there are no other columns, or too few rows.
    """
    data = config.data
    lost = [name for name in names if name in data.drop]
    if lost:
        raise ConfigError(f"data.drop leaves out {lost[0]!r}, which {option} names; expected other columns")
    frame, notices = table.frame[log.rows.tolist()], []
    drop, column = [*data.drop, *names], config.split.column
    items = [name for name in items if name not in drop]
    if items:
        drop += items
        told = ", ".join(map(repr, items))
        notices.append(
            f"columns that differ between the rows of a page are of the items, not part of the context: {told}"
        )
    if config.split.method in ("time", "group", "column") and column in frame.columns and column not in drop:
        drop.append(str(column))
        notices.append(f"column {column!r} defines the split and is not part of the context")
    contexts = frame.drop(name for name in drop if name in frame.columns)
    if not contexts.width:
        raise DataError(
            f"beside {', '.join(names)} the log has no columns: there is no context to decide by",
            hint="without one the best action is that with the highest mean reward",
        )
    kinds = {name: kind for name, kind in data.kinds.items() if name in contexts.columns}
    schema = infer_schema(contexts, kinds=kinds, formats=table.formats)
    drawn, share = config.split.method == "stratified", 0.0 if data.test is not None else config.split.test
    how: dict[str, Any] = {"method": "random"} if drawn and strata is None else {"method": config.split.method}
    how |= {"target": strata, "task": "multiclass"} if drawn and strata is not None else {"column": column}
    split = split_rows(frame, **how, validation=0.0, test=share, seed=config.trainer.seed)
    if len(split.train) < _FEWEST:
        raise DataError(
            f"the split left {len(split.train)} training rows of {len(log):,}; expected {_FEWEST} or more",
            hint="give more rows",
        )
    return Contexts(contexts, schema, split, tuple(notices))


def asked_contexts(
    trained: Trained, source: Any, names: Sequence[str], *, lenient: bool
) -> tuple[Table, pl.DataFrame, tuple[str, ...]]:
    """A table as it stands in its file, the contexts of its rows, and what is to be said of them.

    Args:
        names: the columns that are no context, where they are there.
    """
    raw = read_table(source, typed=False)
    known = [name for name in names if name in raw.names]
    return raw, *check_frame(raw.frame.drop(known), trained.encoder.schema, lenient=lenient)


def read_log(config: TrainConfig, source: Any, action: str) -> Table:
    """A table whose column of actions is read as text."""
    data = config.data
    kinds = {action: "categorical", **data.kinds}
    return read_table(source, **data.form(), missing=data.marks(), kinds=kinds, dates=data.dates)


def _first(action: np.ndarray) -> np.ndarray:
    """What was done in each row, of a page at its first place."""
    return action if action.ndim == 1 else np.maximum(action[:, 0], 0)
