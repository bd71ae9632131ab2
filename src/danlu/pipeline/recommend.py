"""Users and items: ratings to foretell, or items to rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint
from danlu.data import read_table
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate import Rows
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.recommendation import Rankings
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.used import COMMON, RECIPE, WRITTEN, check_columns
from danlu.recommend import baselines
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.features import Features
from danlu.recommend.head import RecommendHead, known_scores
from danlu.recommend.interactions import Interactions, Named, divide, interactions_of
from danlu.recommend.learn import learn_recommend, lessons
from danlu.recommend.rank import Scores, ranking
from danlu.recommend.settings import Recommend, recommend_recipe
from danlu.tasks import Recipe
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["PreparedPairs", "Recommendations"]

_STRENGTHS = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)  # of EASE, of which the validation pairs choose
_NEIGHBOURS = (10, 20, 50, 100, 200)  # of item-kNN


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPairs(Prepared):
    """Pairs of the three parts by number.

    Attributes:
        settings: with nothing left open.
        encoder: the numbers of users and items of the first two parts; what users had is not in it yet.
        head: of the answers.
        train, validation: what is learnt from, and what chooses the epoch.
        test: pairs with numbers of users and items, 0 where they are not known, or None.
        tested: the names in the test pairs, columns of the user and the item.
    """

    settings: Recommend
    encoder: RecommendEncoder
    head: RecommendHead
    train: Interactions
    validation: Interactions
    test: Interactions | None
    tested: pl.DataFrame

    def lines(self) -> Iterable[str]:
        settings, encoder = self.settings, self.encoder
        pairs = len(self.train) + len(self.validation)
        users, items = len(encoder.users), len(encoder.items)
        goal = f"{self.head.rating!r} of pairs" if self.head.rating else "items are ranked for each user"
        return [
            f"recommend: {goal}; learnt from {pairs:,} pairs of {users:,} users and {items:,} items ({pairs / (users * items):.2%} of all)",
            f"model: {settings.model}, by {settings.loss}",
        ]


class Recommendations(Domain):
    """Pairs of users and items, to foretell ratings or to rank items."""

    kind = "recommend"
    noun = "recommendations"
    encoder = RecommendEncoder
    head = RecommendHead
    instead_of_why = "danlu recommend RUN --user NAME --because says which of the user's items each is most like"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"recommend": Recommend}
    options = (Option("--recommend", "recommend.columns", "Learn to recommend: USER:ITEM[:RATING[:TIME]], columns."),)
    sources = ("recommend.users", "recommend.items")
    uses = (*COMMON, RECIPE, WRITTEN, "recommend.*")
    beside = (
        Beside(
            "split.test",
            lambda config: config.recommend.split != "last",
            "each user's last pair is tested, and split.test=0 leaves that out",
        ),
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--recommend USER:ITEM:RATING names the ratings; leave --target out",
        "split.method": "recommend.split=last, time or random",
        "trainer.loss": "recommend.loss=squared, softmax or bpr",
        "model.width": "recommend.dim",
        "model.depth": "recommend.layers, of a sequence",
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.recommend.columns)

    # Learning.

    def prepare(self, config: TrainConfig, source: Any) -> PreparedPairs:
        settings, data = config.recommend, config.data
        named = Named.of(settings.columns)
        notices: list[str] = []
        table = _read(config, source, named)
        check_columns(data, table.names)
        frame = table.frame.drop(data.drop)
        once, said = interactions_of(frame, named)
        notices += [*table.notices, *said]
        settings = settings.settled(rated=bool(named.rating), timed=bool(named.time))
        rated = settings.loss == "squared"
        if rated and once["rating"].n_unique() == 1:
            raise DataError(
                f"all ratings in {named.rating!r} are {once['rating'][0]:g}, so there is nothing to foretell",
                hint="recommend.loss=softmax ranks items, and takes each rating as a pair that was",
            )
        if named.rating and not rated:
            notices.append(f"each pair counts as one, whatever its {named.rating!r}: items are ranked")
        outside = data.test is not None
        share = 0.0 if outside else config.split.test
        numbers = [once[name].rank("dense").to_numpy().astype(np.int64) for name in ("user", "item")]
        pairs = _pairs(once, *numbers)
        part, how = divide(
            pairs, settings.split, validation=config.split.validation, test=share, seed=config.trainer.seed, rated=rated
        )
        learnt = once.filter(part < 2)
        users, items = (tuple(learnt[name].unique().sort().to_list()) for name in ("user", "item"))
        if len(items) < 2:
            raise DataError(f"there is only one item, {items[0]!r}; expected two or more to choose from")
        encoder = RecommendEncoder(named, users, items, np.zeros(len(users) + 2, np.int64), np.zeros(0, np.int32))
        encoder, more = _with_features(config, encoder, frame, learnt["row"])
        notices += more
        if settings.model == "sequence":
            encoder = dataclasses.replace(encoder, length=settings.history)
        tested = once.filter(part == 2)
        if outside:
            other = _read(config, data.test, named)
            tested, said = interactions_of(other.frame, named)
            notices += [f"test: {notice}" for notice in said]
        train, validation, test = (
            _numbered(encoder, rows) for rows in (once.filter(part == 0), once.filter(part == 1), tested)
        )
        if not rated and outside:
            had = encoder.knowing(train.joined(validation))
            fresh = _fresh(had, test)
            if not fresh.all():
                notices.append(
                    f"test: {(~fresh).sum():,} pairs are of items that the user had in training, and are left out"
                )
            tested, test = tested.filter(pl.Series(fresh)), test.take(fresh)
        strange = [int((values == 0).sum()) for values in (test.user, test.item)]
        if any(strange):
            notices.append(
                f"test: {strange[0]:,} pairs are of users who were not in training and {strange[1]:,} of items which were not"
                + ("" if rated else "; such an item counts as not found")
            )
        rating = learnt["rating"] if rated else None
        ends = {} if rating is None else {"low": float(rating.min()), "high": float(rating.max())}  # type: ignore[arg-type]
        return PreparedPairs(
            rows={"train": len(train), "validation": len(validation), "test": len(test)},
            unit="pairs",
            split=how if not outside else f"{how}; the test pairs come from a file",
            notices=tuple(notices),
            settings=settings,
            encoder=encoder,
            head=RecommendHead(named.user, named.item, named.rating if rated else "", **ends),
            train=train,
            validation=validation,
            test=test if len(test) else None,
            tested=tested,
        )

    def plan(self, config: TrainConfig, prepared: PreparedPairs) -> Recipe:
        settings, train = prepared.settings, prepared.train
        rows = len(lessons(settings, train)[1])
        if not rows:
            raise DataError(
                "no user has two items in the training part, so there is no sequence to learn from",
                hint="recommend.model=factors needs none",
            )
        return recommend_recipe(settings, prepared.encoder, rows, len(train), **config.decided())

    def learn(self, config: TrainConfig, prepared: PreparedPairs, plan: Recipe, **how: Any) -> Learned:
        return learn_recommend(
            prepared.train,
            encoder=prepared.encoder,
            settings=prepared.settings,
            plan=plan,
            validation=prepared.validation,
            head=prepared.head,
            refit=config.recommend.refit,
            seed=config.trainer.seed,
            **how,
        )

    def for_trial(self, config: TrainConfig) -> TrainConfig:
        return config.with_setting("recommend.refit", value=False)

    # The test.

    def test(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        rows, truth, rows_are = _tested(trained, prepared.tested, prepared.test)
        return trained.judge(trained.encoder.transform(rows), truth, rows=rows, noun=rows_are, seed=config.trainer.seed)

    def simple(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained, ours: Any) -> Iterable[Simple]:
        test = prepared.test
        if test is None:
            return
        both = prepared.train.joined(prepared.validation)
        if isinstance(ours, Rows):
            yield from _rated(trained.encoder, both, test, trained.head, ours)
        else:
            yield from _ranked(trained.encoder, prepared, both, test)

    def report(self, prepared: PreparedPairs, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        encoder = trained.encoder
        facts = {
            "users": f"{len(encoder.users):,}",
            "items": f"{len(encoder.items):,}",
            "model": f"{prepared.settings.model}, by {prepared.settings.loss}",
        }
        return {"target": trained.head.rating or trained.head.item, "task": trained.head.task, "facts": facts}

    # The trained model.

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """Pairs of users and items; with the truth, of ratings the ratings, of rankings the items that each user then had."""
        encoder, head = trained.encoder, trained.head
        named = encoder.named
        wanted = (named.user, named.item, *((head.rating,) if truth and head.rating else ()))
        table = read_table(
            source, kinds={named.user: "categorical", named.item: "categorical"}, **_known(source, named)
        )
        for notice in table.notices:
            say(notice)
        lost = [name for name in wanted if name not in table.names]
        if lost:
            raise SchemaError(
                f"there is no column {', '.join(map(repr, lost))}; the columns are: {', '.join(table.names[:30])}",
                hint=f"danlu recommend RUN --user NAME names the items for a user; pairs have {named.user!r} and {named.item!r}",
            )
        frame = table.frame.with_columns(pl.col(named.user, named.item).cast(pl.String).str.strip_chars())
        frame = frame.with_columns(pl.col(named.user, named.item).replace("", None))
        whole = frame.drop_nulls(list(wanted))
        if whole.height < frame.height:
            if not truth:
                lacking = frame.with_row_index("row").filter(pl.any_horizontal(pl.col(*wanted).is_null()))["row"]
                first = table.line_offset
                shown = ", ".join(str(row + (first or 1)) for row in lacking[:5]) + (", …" if len(lacking) > 5 else "")
                raise SchemaError(
                    f"{len(lacking):,} rows lack {named.user!r} or {named.item!r}: {'row' if first is None else 'line'} {shown}; "
                    "expected both in each",
                    hint="leave these rows out, or fill them",
                )
            say(f"{frame.height - whole.height:,} rows lack {', '.join(map(repr, wanted))} and are left out")
        if not whole.height:
            raise SchemaError("there is no pair of a user and an item")
        encoder.tell(whole, say)
        if not truth:
            return Read(whole, given=frame)
        once, said = interactions_of(whole, Named(named.user, named.item, head.rating))
        for notice in said:
            say(notice)
        pairs = _numbered(encoder, once)
        fresh = _fresh(encoder, pairs)
        if not fresh.any() and not head.rating:
            raise SchemaError("the users had all of these items in training, so there is nothing to find")
        if not fresh.any():
            say(
                f"all {len(fresh):,} pairs were in the training data: the scores show how well they were learnt, not how well new pairs "
                "are predicted"
            )
        elif not fresh.all():
            say(f"{(~fresh).sum():,} pairs are of items that the user had in training, and are left out")
            once, pairs = once.filter(pl.Series(fresh)), pairs.take(fresh)
        rows, found, noun = _tested(trained, once, pairs)
        return Read(rows, found, noun=noun, given=whole[once["row"].to_list()] if head.rating else None)

    def purpose(self, trained: Trained) -> str:
        head = trained.head
        return (
            f"{head.rating} of a pair of {head.user} and {head.item}"
            if head.rating
            else f"ranking of {head.item} for a {head.user}"
        )

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        users, items = trained.encoder.users, trained.encoder.items
        return (("recommend", run, "--user", users[0]), ("recommend", run, "--like", items[0]))


def _known(source: Any, named: Named) -> dict[str, Any]:
    """How a file without a header, whose columns are called c1 to cn, is read again."""
    return {"header": False} if named.user == "c1" and isinstance(source, str) else {}


def _read(config: TrainConfig, source: Any, named: Named) -> Any:
    data = config.data
    kinds = {named.user: "categorical", named.item: "categorical"}
    return read_table(source, **data.form(), missing=data.marks(), kinds={**kinds, **data.kinds}, dates=data.dates)


def _pairs(rows: pl.DataFrame, user: np.ndarray, item: np.ndarray) -> Interactions:
    more = [rows[name].to_numpy() if name in rows.columns else None for name in ("rating", "time")]
    return Interactions(user, item, *more)


def _numbered(encoder: RecommendEncoder, rows: pl.DataFrame) -> Interactions:
    """Rows of names as pairs of numbers."""
    return _pairs(rows, encoder.user_numbers(rows["user"].to_list()), encoder.item_numbers(rows["item"].to_list()))


def _fresh(encoder: RecommendEncoder, pairs: Interactions) -> np.ndarray:
    """Which pairs are of items that the user did not have."""
    count = len(encoder.items) + 1
    users = np.repeat(np.arange(len(encoder.users) + 1), np.diff(encoder.starts))
    known = users * count + encoder.had
    return ~np.isin(pairs.user.astype(np.int64) * count + pairs.item, known) | (pairs.item == 0)


def _with_features(
    config: TrainConfig, encoder: RecommendEncoder, frame: pl.DataFrame, learnt: pl.Series
) -> tuple[RecommendEncoder, list[str]]:
    """The encoder with what is known about users and items, from further columns and from files."""
    settings, found, notices = config.recommend, encoder, []
    for whose, file, columns, key, names in (
        ("user", settings.users, settings.user_features, encoder.named.user, encoder.users),
        ("item", settings.items, settings.item_features, encoder.named.item, encoder.items),
    ):
        tables = []
        if columns:
            lacking = [name for name in columns if name not in frame.columns]
            if lacking:
                raise ConfigError(
                    f"recommend.{whose}_features names {lacking[0]!r}; the columns are: {', '.join(frame.columns[:30])}"
                )
            rows = frame[learnt.to_list()].with_columns(pl.col(key).cast(pl.String).str.strip_chars())
            tables.append(
                rows.select(key, *columns).group_by(key, maintain_order=True).agg(pl.all().drop_nulls().first())
            )
        if file is not None:
            side = read_table(file, kinds={key: "categorical"})
            if key not in side.names:
                raise ConfigError(
                    f"recommend.{whose}s={file} has no column {key!r}; its columns are: {', '.join(side.names[:30])}",
                    hint=f"the {whose}s of the data are in the column {key!r}, and this file names them too",
                )
            rows = side.frame.with_columns(pl.col(key).cast(pl.String).str.strip_chars()).drop_nulls(key)
            once = rows.unique(key, keep="first", maintain_order=True)
            if once.height < rows.height:
                notices.append(
                    f"{file} has {rows.height - once.height:,} {whose}s more than once; the first row is taken"
                )
            tables.append(once)
        if not tables:
            continue
        known = pl.DataFrame({key: list(names)})
        for table in tables:
            known = known.join(table, on=key, how="left")
        features = known.drop(key)
        if not features.width:
            raise ConfigError(f"nothing is known about {whose}s: {file} has only the column {key!r}")
        made = Features.fit(features)
        lost = int(features.select(pl.all_horizontal(pl.all().is_null())).to_series().sum())
        if lost:
            notices.append(f"nothing is known about {lost:,} of {len(names):,} {whose}s")
        blank = made.transform(
            features.clear().vstack(pl.DataFrame({n: [None] for n in features.columns}, schema=features.schema))
        )
        values = np.concatenate([blank, made.transform(features)])
        found = (
            dataclasses.replace(found, of_users=made, user_features=values)
            if whose == "user"
            else dataclasses.replace(found, of_items=made, item_features=values)
        )
    return found, notices


def _tested(trained: Trained, names: pl.DataFrame, pairs: Interactions) -> tuple[pl.DataFrame, Any, str]:
    """The rows of a test, what is true of them, and what they are called.

    Args:
        names: of the users and items of ``pairs``.
    """
    head, encoder = trained.head, trained.encoder
    users = names["user"].rank("dense").to_numpy().astype(np.int64) - 1
    order = np.argsort(users, kind="stable") if not head.rating else np.arange(len(users))
    rows = names.select(pl.col("user").alias(head.user), pl.col("item").alias(head.item))[order]
    if head.rating:
        return rows, {"rating": pairs.rating, "user": users}, f"ratings of {users.max() + 1:,} users"
    asked, owner = _asked(pairs, users)
    return rows, ranking(known_scores(trained), encoder, asked, owner, pairs.item[order]), ""


def _asked(pairs: Interactions, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each tested user, and the place of the user that each pair is of, pairs standing by user."""
    order = np.argsort(users, kind="stable")
    owner = users[order]
    return pairs.user[order][np.searchsorted(owner, np.arange(owner[-1] + 1))], owner


def _rated(
    encoder: RecommendEncoder, both: Interactions, test: Interactions, head: RecommendHead, ours: Rows
) -> Iterable[Simple]:
    users, items = len(encoder.users) + 1, len(encoder.items) + 1
    mean = float(np.asarray(both.rating).mean())
    overall, user, item = baselines.biases(both, users, items)
    answers = {
        "the mean of all ratings": np.full(len(test), mean),
        "the mean of each user": baselines.user_means(both, users)[test.user],
        "the mean of each item": baselines.item_means(both, items)[test.item],
        "user and item biases": overall + user[test.user] + item[test.item],
    }
    notes: tuple[str, ...] = ()
    if items <= baselines.MOST_ITEMS and users * items <= 2**28:
        answers["item-kNN"] = baselines.rated_knn(both, users, items, test)
    for label, found in answers.items():
        yield Simple(label, dataclasses.replace(ours, prediction=np.clip(found, head.low, head.high)), notes=notes)


def _ranked(
    encoder: RecommendEncoder, prepared: PreparedPairs, both: Interactions, test: Interactions
) -> Iterable[Simple]:
    names = prepared.tested["user"].rank("dense").to_numpy().astype(np.int64) - 1
    asked, owner = _asked(test, names)
    true = test.item[np.argsort(names, kind="stable")]

    def judged(scores: Scores) -> Rankings:
        return ranking(scores, encoder, asked, owner, true)

    popular = baselines.popular(encoder)
    users, items = len(encoder.users) + 1, len(encoder.items) + 1
    if items > baselines.MOST_ITEMS or users * items > 2**28:
        note = f"item-kNN and EASE are not among the baselines: they need a matrix of all {items - 1:,} items"
        yield Simple("popularity", judged(popular), constant=False, notes=(note,))
        return
    yield Simple("popularity", judged(popular), constant=False)
    before, after = (baselines.matrix(part, users, items) for part in (prepared.train, both))
    known = encoder.knowing(prepared.train)
    held = prepared.validation.take(np.argsort(prepared.validation.user, kind="stable"))
    who, place = np.unique(held.user, return_inverse=True)

    def on(had: np.ndarray, weights: np.ndarray) -> Scores:
        counts = popular(np.zeros(1, int))

        def scores(numbers: np.ndarray) -> np.ndarray:
            found = had[numbers].astype(np.float64) @ weights
            found[numbers == 0] = counts
            return found

        return scores

    def judge(weights: np.ndarray) -> float:
        return ranking(on(before, weights), known, who, place, held.item).measures(None, ("ndcg",))["ndcg"]

    for label, options, make in (
        ("item-kNN", _NEIGHBOURS, lambda had, best: baselines.knn(had, int(best))),
        ("EASE", _STRENGTHS, baselines.ease),
    ):
        best, _ = baselines.chosen(options, lambda option, make=make: make(before, option), judge)  # type: ignore[misc]
        what = f"{best:g} neighbours" if label == "item-kNN" else f"a strength of {best:g}"
        note = f"with {what}, chosen on the validation pairs"
        yield Simple(label, judged(on(after, make(after, best))), constant=False, notes=(note,))
