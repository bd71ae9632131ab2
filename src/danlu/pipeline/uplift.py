"""Campaigns: who was treated and what came of it, from which it is learnt for whom the treatment changes something."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.auditing.balance import Balance, balance_of
from danlu.bandits import NamedCampaign, Treating, Uplift, bandit_recipe, campaign_rows, learn_uplift
from danlu.bandits.settings import apart
from danlu.blueprint import Blueprint
from danlu.data import TableEncoder, check_frame, read_table
from danlu.errors import DataError, SchemaError
from danlu.evaluate import permutation_importance, related_columns
from danlu.evaluate.baselines import linear_model
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.kept import stacked
from danlu.pipeline.bandits import asked_contexts, contexts_of, read_log
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.used import RECIPE, WRITTEN, check_columns
from danlu.prose import percent
from danlu.tasks import Recipe, fold_numbers
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["PreparedCampaign", "Uplifts"]

_FEWEST = 25  # training rows of each group
_ALIKE = 0.1  # a standardised difference that is small
_TOLD = 0.99  # of a ROC-AUC: hardly anybody is like somebody of the other group
_NAMED = 3
_RELATED = 5000  # rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedCampaign(Prepared):
    """A campaign, encoded.

    Attributes:
        encoder: of the columns, fitted to the training rows.
        head: of the answers.
        train, test: encoded people with ``action`` (1: was treated) and ``reward``; ``test`` is None without any.
        shown: the test rows as they were read.
        folds: the fold of each training row.
        balance: of the training rows.
    """

    encoder: TableEncoder
    head: Treating
    train: tuple[Any, dict[str, np.ndarray]]
    test: tuple[Any, dict[str, np.ndarray]] | None
    shown: pl.DataFrame | None
    folds: np.ndarray
    balance: Balance

    def lines(self) -> Iterable[str]:
        head, (_, truth) = self.head, self.train
        means = [float(truth["reward"][truth["action"] == each].mean()) for each in (1, 0)]
        yield f"treatment: {head.actions[1]!r} in {head.treatment!r}, {head.treated:.1%} of the people, against {head.actions[0]!r}"
        what = f"{head.outcome} = {head.wanted}" if head.wanted else head.outcome
        yield f"outcome: {what}, {figure(means[0])} of the treated and {figure(means[1])} of the others"
        yield f"given by chance: {'no, propensities are estimated' if head.estimated else 'yes'}; {told(self.balance)}"


class Uplifts(Domain):
    """Tables of people, treatments and outcomes."""

    kind = "uplift"
    noun = "campaigns with people who were treated and people who were not"
    encoder = TableEncoder
    head = Treating
    model_name = "the model of the uplift"
    instead_of_why = "the report of the run shows which columns the uplift goes by, and danlu predict the outcome without and with it"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"uplift": Uplift}
    options = (
        Option(
            "--uplift",
            "uplift.columns",
            "Learn what a campaign changes for whom: TREATMENT:OUTCOME, columns; all others say what a person is like.",
        ),
        Option("--cost", "uplift.cost", "With --uplift: what treating one person costs, in the outcome's unit.", float),
        Option(
            "--budget", "uplift.budget", "With --uplift: the share of people who can be treated, such as 0.3.", float
        ),
    )
    uses = (
        RECIPE,
        WRITTEN,
        "data.source|test",
        "evaluate.baselines|importance|report",
        "model.width|depth|dropout|members",
        "split.column|method|test",
        "track.*",
        "trainer.seed",
        "uplift.*",
    )
    beside = (
        Beside(
            "uplift.clip",
            lambda config: config.uplift.assigned != "chance",
            "the propensity is the share of the treated where the treatment was given by chance",
        ),
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--uplift TREATMENT:OUTCOME names what is learnt; leave --target out",
        "split.validation": "uplift.folds: every training row is used for validation in turn",
        "trainer.loss": "uplift.learn=robust, transformed or two",
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.uplift.columns)

    # Learning.

    def prepare(self, config: TrainConfig, source: Any) -> PreparedCampaign:
        data, settings, seed = config.data, config.uplift, config.trainer.seed
        named = NamedCampaign.of(settings.columns)
        table = read_log(config, source, named.treatment)
        check_columns(data, table.names)
        log, named, other, said = campaign_rows(table.frame, named)
        known = contexts_of(config, table, log, named.columns, "--uplift", named.treatment)
        notices, split = [*table.notices, *said, *known.notices], known.split
        actions = (other, named.treated)
        train, test = log.take(split.train), log.take(split.test)
        shown = known.contexts[split.test]
        if data.test is not None:
            separate = read_log(config, data.test, named.treatment)
            test, _, _, more = campaign_rows(separate.frame, named, learning=False)
            shown, found = check_frame(separate.frame[test.rows.tolist()], known.schema)
            notices += [f"test: {notice}" for notice in (*separate.notices, *more, *found)]
        people = known.contexts[split.train]
        encoder = TableEncoder.fit(people, known.schema)
        inputs, truth = encoder.transform(people), train.truth(actions)
        groups = np.bincount(truth["action"], minlength=2)
        if groups.min() < _FEWEST:
            raise DataError(
                f"of the training rows {groups[1]:,} people were treated and {groups[0]:,} were not; expected {_FEWEST} or more of each",
                hint="give more people",
            )
        balance = balance_of(
            people.select(column.name for column in known.schema.features), inputs, truth["action"] == 1, seed=seed
        )
        notices += _checked(balance, named, settings.assigned)
        share = bool(np.isin(log.reward, (0.0, 1.0)).all())
        head = Treating(
            actions,
            named.treatment,
            named.outcome,
            named.wanted,
            share=share,
            mean=0.0 if share else float(train.reward.mean()),
            std=1.0 if share else float(train.reward.std()) or 1.0,
            treated=float(groups[1] / groups.sum()),
            estimated=settings.assigned == "chosen" or (settings.assigned == "auto" and not balance.by_chance),
            clip=settings.clip,
            cost=settings.cost,
            budget=settings.budget,
        )
        return PreparedCampaign(
            rows={"train": len(train), "test": len(test)},
            split=split.description if data.test is None else f"{split.description}; the test rows come from a file",
            notices=tuple(notices),
            unit="persons",
            encoder=encoder,
            head=head,
            train=(inputs, truth),
            test=(encoder.transform(shown), test.truth(actions)) if len(test) else None,
            shown=shown if len(test) else None,
            folds=fold_numbers(truth["action"], "multiclass", settings.folds, seed=seed),
            balance=balance,
        )

    def plan(self, config: TrainConfig, prepared: PreparedCampaign) -> Recipe:
        plan = bandit_recipe(
            prepared.encoder,
            prepared.rows["train"],
            4 if prepared.head.estimated else 2,
            folds=config.uplift.folds,
            **config.decided("members", "width", "depth", "dropout"),
        )
        return apart(plan) if config.uplift.learn == "two" else plan

    def learn(self, config: TrainConfig, prepared: PreparedCampaign, plan: Recipe, **how: Any) -> Learned:
        learned = learn_uplift(
            *prepared.train,
            prepared.folds,
            encoder=prepared.encoder,
            head=prepared.head,
            plan=plan,
            learn=config.uplift.learn,
            seed=config.trainer.seed,
            **how,
        )
        return dataclasses.replace(learned, model=learned.model.remembering(prepared.train))

    # The test.

    def test(self, config: TrainConfig, prepared: PreparedCampaign, trained: Trained) -> Judgement | None:
        if prepared.test is None or prepared.shown is None:
            return None
        found = trained.judge(*prepared.test, rows=prepared.shown, seed=config.trainer.seed)
        found = dataclasses.replace(found, name=self.model_name, rows_are="persons")
        if not config.evaluate.importance:
            return found
        names = [column.name for column in prepared.encoder.schema.features]
        rows: Any = found.evidence
        importance = permutation_importance(
            lambda frame: np.asarray(trained.answer_rows(frame)["uplift"]),
            prepared.shown,
            rows,
            names,
            groups=related_columns(prepared.shown.head(_RELATED), names),
            seed=config.trainer.seed,
        )
        return dataclasses.replace(found, importance=importance)

    def simple(self, config: TrainConfig, prepared: PreparedCampaign, trained: Trained, ours: Any) -> Iterable[Simple]:
        """Two linear models, of the treated and of the others, and what needs no training."""
        inputs, truth = prepared.train
        if prepared.test is not None:
            both = [_linear(inputs, truth, each, prepared.head.share, prepared.test[0]) for each in (0, 1)]
            if all(each is not None for each in both):
                uplift = np.asarray(both[1]) - np.asarray(both[0])
                head = trained.head.with_budget(uplift)
                yield Simple("two linear models", ours.ordered(uplift, head.decide(uplift) * 1.0), constant=False)
        yield from trained.head.simple(None, ours)

    def report(self, prepared: PreparedCampaign, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.uplift import uplift_sections

        head = trained.head
        facts = {
            "treated": f"{head.actions[1]} in {head.treatment}, {percent(head.treated)} of the people",
            "given by chance": "no: propensities are estimated" if head.estimated else "yes",
            "treats": f"where the uplift is above {figure(head.limit, 3)}",
        }
        fields = {"target": f"what {head.actions[1]} changes of {head.outcome}", "task": head.task, "facts": facts}
        return {**fields, "sections": uplift_sections(judgement, prepared.balance, head.outcome)}

    # The trained model.

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        head = trained.head
        named = NamedCampaign(head.treatment, head.outcome, head.actions[1], head.wanted)
        raw, rows, notices = asked_contexts(trained, source, named.columns, lenient=lenient)
        if not truth:
            for notice in (*raw.notices, *notices):
                say(notice)
            return Read(rows, given=raw.frame)
        lost = [name for name in named.columns if name not in raw.names]
        if lost:
            raise SchemaError(
                f"the data lacks the columns {', '.join(map(repr, lost))}, by which an uplift is evaluated",
                hint="danlu predict needs neither of them",
            )
        table = read_table(source, kinds={head.treatment: "categorical"})
        log, _, _, said = campaign_rows(table.frame, named, learning=False)
        for notice in (*table.notices, *notices, *said):
            say(notice)
        return Read(rows[log.rows.tolist()], log.truth(head.actions), given=raw.frame[log.rows.tolist()])

    def purpose(self, trained: Trained) -> str:
        return f"what {trained.head.actions[1]} changes of {trained.head.outcome}"


def told(balance: Balance) -> str:
    """How alike the groups are, in words."""
    far = [(name, value) for name, value in balance.differences if value > _ALIKE][:_NAMED]
    named = ", ".join(f"{name} {figure(value, 2)}" for name, value in far)
    return f"the columns tell who was treated with a ROC-AUC of {balance.auc.brief}; standardised differences " + (
        f"above {_ALIKE:g}: {named}" if far else f"of all columns are up to {_ALIKE:g}"
    )


def _checked(balance: Balance, named: NamedCampaign, assigned: str) -> list[str]:
    """What is to be said of the balance.

    Raises:
        DataError: hardly anybody is like somebody of the other group.
    """
    first, most = balance.differences[0]
    if balance.auc.value >= _TOLD or most == np.inf:
        raise DataError(
            f"the other columns tell who was treated (ROC-AUC {figure(balance.auc.value, 3)}, most by {first!r}): nobody is like "
            f"somebody of the other group, so nothing shows what {named.treated!r} changes",
            hint=f"a column that is only known after the treatment is no description of a person: data.drop={first}",
        )
    if balance.by_chance:
        if assigned == "chosen":
            return [
                "nothing in the columns tells who was treated, and propensities are estimated as uplift.assigned=chosen says"
            ]
        return []
    if assigned == "chance":
        return [
            f"uplift.assigned=chance says that the treatment was given by chance, but {told(balance)}: the figures are wrong if it was not"
        ]
    return [
        f"the treatment was not given by chance: {told(balance)}. Propensities are estimated from the columns, and what it was decided by "
        "and no column shows can make all figures wrong"
    ]


def _linear(inputs: Any, truth: Mapping[str, np.ndarray], group: int, share: bool, asked: Any) -> np.ndarray | None:
    """What a linear model of one group's training rows foretells of the outcome; None where it cannot be fitted."""
    own = truth["action"] == group
    outcome = truth["reward"][own]
    if share and outcome.min() == outcome.max():
        return None
    model = linear_model("binary" if share else "regression", inputs).fit(stacked(inputs)[own], outcome)
    x = stacked(asked)
    return np.asarray(model.predict_proba(x)[:, 1] if share else model.predict(x), np.float64)
