"""Conformal prediction: against brute force and other libraries, how often it holds, and few rows, ties and lacking classes."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest

from danlu.data import TargetEncoder
from danlu.data.seen import row_hashes
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.evaluate import choose_threshold, intervals
from danlu.evaluate.conformal import (
    aps_scores,
    conformal_quantile,
    cv_plus,
    fit_spread,
    group_quantiles,
    lac_scores,
    spread_helps,
)
from danlu.trained import HeldOut, Labels, Read
from danlu.trained.grouped import Grouped, scores_on
from danlu.trained.scores import Asked, Scores

THREE = TargetEncoder("y", "multiclass", ("a", "b", "c"))
QUANTITY = TargetEncoder("y", "regression")


def by_hand(scores: np.ndarray, level: float) -> float:
    """The least score that is not below ``level`` of ``n + 1`` places."""
    n = len(scores)
    for place, score in enumerate(sorted(scores), start=1):
        if place >= round((n + 1) * level, 9):
            return float(score)
    return math.inf


@pytest.mark.parametrize("rows", [1, 6, 9, 10, 19, 99, 100, 1000])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_quantile_is_that_of_n_plus_1_places(rows, level):
    scores = np.random.default_rng(rows).normal(size=rows)
    assert conformal_quantile(scores, level) == by_hand(scores, level)


def test_levels_and_scores_that_are_none_are_refused():
    for level in (0, 1, 1.5, -0.1, True, "0.9", float("nan")):
        with pytest.raises(ConfigError, match="expected a share above 0 and below 1"):
            conformal_quantile(np.ones(9), level)
    with pytest.raises(ConfigError, match=r"for 90 %: 0.9"):
        conformal_quantile(np.ones(9), 90)
    with pytest.raises(DataError, match="not a number"):
        conformal_quantile(np.array([1.0, np.nan]), 0.9)


@pytest.mark.parametrize(("rows", "level"), [(6, 0.8), (6, 0.9), (40, 0.9), (99, 0.95)])
def test_it_holds_as_often_as_it_says_and_hardly_more(rows, level):
    """Over 1,000 divisions the share lies in [level, level + 1/(n + 1)], but for chance."""
    rng = np.random.default_rng(rows)
    held = []
    for _ in range(1000):
        drawn = rng.exponential(size=rows + 20)
        held.append((drawn[rows:] <= conformal_quantile(drawn[:rows], level)).mean())
    exact = min(math.ceil((rows + 1) * level - 1e-9), rows + 1) / (rows + 1)
    assert level - 1e-12 <= exact <= level + 1 / (rows + 1)
    assert np.mean(held) == pytest.approx(exact, abs=4 * np.std(held) / math.sqrt(1000) + 1e-12)


def test_it_holds_within_each_group_and_a_group_of_6_rows_has_its_own():
    rng, level = np.random.default_rng(0), 0.8
    sizes, held = np.array([6, 30, 4]), np.zeros((1000, 3))
    groups = np.repeat(np.arange(3), sizes)
    for number in range(1000):
        scale = np.array([1.0, 5.0, 25.0])
        limits = group_quantiles(rng.exponential(size=40) * scale[groups], groups, level, 3)
        held[number] = (rng.exponential(size=(50, 3)) * scale <= limits).mean(axis=0)
    for group, rows in enumerate(sizes):
        exact = math.ceil((rows + 1) * level - 1e-9) / (rows + 1)
        assert held[:, group].mean() == pytest.approx(exact, abs=4 * held[:, group].std() / math.sqrt(1000) + 1e-12)
    assert group_quantiles(np.ones(3), np.zeros(3, int), 0.5, 2).tolist() == [1.0, math.inf]  # a group without rows


def test_equal_scores_only_make_it_surer():
    rng, level = np.random.default_rng(1), 0.9
    drawn = rng.integers(0, 3, (1000, 60)).astype(float)
    held = [(row[40:] <= conformal_quantile(row[:40], level)).mean() for row in drawn]
    assert np.mean(held) >= level
    assert conformal_quantile(np.zeros(20), level) == 0.0


def test_scores_of_classes():
    probability = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45]])
    np.testing.assert_allclose(lac_scores(probability), 1 - probability)
    np.testing.assert_allclose(aps_scores(probability), [[0.5, 0.8, 1.0], [1.0, 0.45, 0.9]])
    np.testing.assert_allclose(aps_scores(probability, np.array([1, 0])), [0.8, 1.0])
    np.testing.assert_allclose(lac_scores(probability, np.array([1, 0])), [0.7, 0.9])


@pytest.mark.parametrize("folds", [2, 5, 40])
def test_cv_plus_is_its_definition(folds):
    """With as many folds as rows it is the jackknife+."""
    rng = np.random.default_rng(folds)
    n, level = 40, 0.9
    of, scores, answers = np.arange(n) % folds, rng.exponential(size=n), rng.normal(size=(7, folds))
    low, high = cv_plus(answers, scores, of, level)
    for row in range(7):
        below = sorted(answers[row, of[i]] - scores[i] for i in range(n))
        above = sorted(answers[row, of[i]] + scores[i] for i in range(n))
        assert low[row] == below[math.floor(round((n + 1) * (1 - level), 9)) - 1]
        assert high[row] == above[math.ceil(round((n + 1) * level, 9)) - 1]
    low, high = cv_plus(answers, scores[:6], of[:6] % folds, level)
    assert np.isinf([low, high]).all()


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_intervals_that_vary_hold_as_often_and_are_narrower(level):
    """Errors that grow with the answer; the spread is fitted to the same rows as the limit, which must cost no coverage."""
    rng, held, widths, even = np.random.default_rng(0), [], [], []
    for _ in range(250):
        answers = rng.uniform(1, 10, 400)
        errors = rng.normal(size=400) * answers
        own, new = slice(0, 220), slice(220, 400)
        scores = Scores.of(answers[own], answers[own] + errors[own], classes=False, level=level)
        reach = scores.reach(Asked(level), answers[new])
        held.append((np.abs(errors[new]) <= reach).mean())
        widths.append(reach.mean())
        even.append(conformal_quantile(np.abs(errors[own]), level))
    chance = 4 * np.std(held) / math.sqrt(250)
    assert level - 0.005 - chance < np.mean(held) < level + 1 / 221 + chance
    assert np.mean(widths) < 0.97 * np.mean(even)


def test_even_errors_have_an_even_width_and_few_rows_too():
    rng = np.random.default_rng(0)
    varied = [spread_helps(rng.normal(size=400), rng.normal(size=400), 0.9) for _ in range(30)]
    assert np.mean(varied) < 0.2
    answers = rng.uniform(1, 10, 199)
    assert not spread_helps(answers, answers * rng.normal(size=199), 0.9)
    assert not spread_helps(np.ones(300), np.zeros(300), 0.9)
    assert fit_spread(np.ones(300), np.ones(300)).tolist() == [[1.0], [1.0]]  # equal answers are one knot


# The same as other libraries, where they are installed.


def test_intervals_are_those_of_crepes():
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(0)
    residuals, answers, bins = rng.normal(size=52), rng.normal(size=9), np.arange(52) % 3
    for level in (0.5, 0.8, 0.9, 0.95):
        reach = conformal_quantile(np.abs(residuals), level)
        theirs = crepes.ConformalRegressor().fit(residuals=residuals).predict_int(answers, confidence=level)
        np.testing.assert_allclose(np.stack([answers - reach, answers + reach], 1), theirs, atol=1e-12)
        reach = group_quantiles(np.abs(residuals), bins, level, 3)[np.arange(9) % 3]
        mondrian = crepes.ConformalRegressor().fit(residuals=residuals, bins=bins)
        theirs = mondrian.predict_int(answers, bins=np.arange(9) % 3, confidence=level)
        np.testing.assert_allclose(np.stack([answers - reach, answers + reach], 1), theirs, atol=1e-12)


def test_sets_are_those_of_crepes():
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(0)
    probability, truth, asked = rng.dirichlet(np.ones(4), 82), rng.integers(0, 4, 82), rng.dirichlet(np.ones(4), 50)
    scores = lac_scores(probability, truth)
    for level in (0.5, 0.8, 0.9):
        theirs = (
            crepes.ConformalClassifier()
            .fit(alphas=scores)
            .predict_set(lac_scores(asked), confidence=level, smoothing=False)
        )
        np.testing.assert_array_equal(lac_scores(asked) <= conformal_quantile(scores, level), theirs == 1)


def test_cv_plus_is_that_of_mapie():
    regression = pytest.importorskip("mapie.regression")
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    y = x[:, 0] + rng.normal(size=50)
    asked = rng.normal(size=(8, 2))
    cuts = list(KFold(5).split(x))
    fitted = [LinearRegression().fit(x[train], y[train]) for train, _ in cuts]
    folds, scores = np.zeros(50, int), np.zeros(50)
    for number, (_, own) in enumerate(cuts):
        folds[own], scores[own] = number, np.abs(y[own] - fitted[number].predict(x[own]))
    low, high = cv_plus(np.stack([each.predict(asked) for each in fitted], 1), scores, folds, 0.9)
    other = regression.CrossConformalRegressor(LinearRegression(), confidence_level=0.9, method="plus", cv=KFold(5))
    _, theirs = other.fit_conformalize(x, y).predict_interval(asked)
    np.testing.assert_allclose(np.stack([low, high], 1), theirs[:, :, 0], atol=1e-12)


# A head.


def held(rows: int, seed: int = 0, classes: int = 3) -> HeldOut:
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(classes), rows)
    return HeldOut(probability, np.array([rng.choice(classes, p=each) for each in probability], int))


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("by_class", [False, True])
def test_sets_hold_the_truth_as_often_as_they_say(score, by_class):
    asked, shares = Asked(0.8, score, by_class), []
    for seed in range(150):
        own, new = held(60, seed), held(40, 10_000 + seed)
        sets = Scores.of(own.answers, own.truth, classes=True).sets(new.answers, asked)
        shares.append(sets[np.arange(40), new.truth].mean())
    least = 0.8 - 4 * np.std(shares) / math.sqrt(150)
    assert np.mean(shares) > least
    if score == "lac" and not by_class:
        assert np.mean(shares) < 0.8 + 1 / 61 + 4 * np.std(shares) / math.sqrt(150)


def test_the_likeliest_class_is_always_in_a_set():
    sure = HeldOut(np.tile([[0.98, 0.01, 0.01]], (50, 1)), np.zeros(50, int))
    sets = Scores.of(sure.answers, sure.truth, classes=True).sets(np.array([[0.4, 0.3, 0.3]]), Asked(0.5))
    assert sets.tolist() == [[True, False, False]]


def test_a_class_without_held_out_rows_is_in_every_set_and_that_is_said():
    given = held(60)
    two = HeldOut(given.answers[given.truth < 2], given.truth[given.truth < 2])
    scores = Scores.of(two.answers, two.truth, classes=True)
    asked = Asked(0.8, by_class=True)
    assert scores.sets(held(30, 5).answers, asked)[:, 2].all()
    assert "'c'" in scores.doubts(asked, ("a", "b", "c"))[0]
    assert scores.doubts(Asked(0.8), ("a", "b", "c")) == ()


def test_too_few_rows_for_a_level_say_so_instead_of_promising():
    few = held(6)
    head = Labels(THREE).fitted(few)
    asked = head.asking(sets=0.9)
    assert asked.frame(few.answers)["set"].str.count_matches(r"\|").to_list() == [2] * 6
    assert "the highest level is 85.7 %" in asked.doubts()[0]
    quantity = Labels(QUANTITY).fitted(HeldOut(np.arange(6.0), np.zeros(6)))
    asked = quantity.asking(interval=0.9)
    assert np.isinf(asked.frame(np.array([1.0]))["high"][0])
    assert "all numbers" in asked.doubts()[0]
    assert asked.replies(np.array([1.0])) == [{"y": 1.0, "low": None, "high": None}]
    for own, answers, truth in ((head, few.answers, few.truth), (quantity, np.ones(9), np.zeros(9))):
        evidence = own.evidence(answers, truth)  # that every answer is in it is no success
        assert evidence.covered is None
        assert "with 6 rows not learnt from" in own.notes(evidence)[-1]
    (said,) = quantity.asking(interval=0.8).doubts()  # the largest of six errors: Beta(6, 1)
    assert "hold in 61 to 99 %" in said
    assert Labels(QUANTITY).fitted(HeldOut(np.arange(60.0), np.zeros(60))).asking(interval=0.8).doubts() == ()


@pytest.mark.parametrize("rows", [6, 10, 320, 999])
def test_the_highest_level_that_is_named_can_be_asked_for(rows):
    head = Labels(QUANTITY).fitted(HeldOut(np.arange(float(rows)), np.zeros(rows)))
    (said,) = head.asking(interval=0.9995).doubts()
    named = float(said.split("highest level is ")[1].split(" %")[0]) / 100
    assert head.scores.doubts(Asked(named)) == ()
    assert head.scores.doubts(Asked(min(named + 0.0011, 0.9999))) != ()


def test_a_constant_quantity_has_an_interval_of_no_width():
    head = Labels(QUANTITY).fitted(HeldOut(np.full(30, 2.0), np.full(30, 2.0))).asking(interval=0.9)
    assert head.frame(np.array([2.0])).row(0) == (2.0, 2.0, 2.0)


def test_an_interval_is_in_the_target_s_own_unit_and_measured_on_other_rows():
    target = TargetEncoder("price", "regression", mean=100.0, std=10.0)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=3000)
    head = Labels(target).fitted(HeldOut(target.inverse(truth) + rng.normal(size=3000), truth))
    assert head.scores.reach(Asked(0.9), 0.0) == pytest.approx(1.645, abs=0.1)
    fresh = rng.normal(size=500)
    evidence = head.evidence(target.inverse(fresh) + rng.normal(size=500), fresh)
    found = intervals(evidence)["interval_coverage"]
    assert found.low < 0.9 < found.high
    assert evidence.take(np.arange(9)).covered.tolist() == evidence.covered[:9].tolist()
    assert "as they should" in head.notes(evidence)[-1]
    assert "wide" in head.notes(evidence)[-1]
    assert "interval_coverage" not in intervals(evidence.with_prediction(evidence.prediction))
    frame = head.asking(interval=0.9).frame(np.array([100.0]))
    assert frame.columns == ["price", "low", "high"]


def test_sets_are_written_with_the_likeliest_first():
    head = Labels(THREE).fitted(held(100)).asking(sets=0.95)
    row = np.array([[0.3, 0.25, 0.45]])
    assert head.frame(row)["set"][0].startswith("c | a")
    assert head.replies(row)[0]["set"][:2] == ["c", "a"]
    assert head.frame(row).columns[:2] == ["y", "set"]
    named = Labels(TargetEncoder("set", "multiclass", ("a", "b", "c"))).fitted(held(100)).asking(sets=0.95)
    assert named.frame(row).columns[:2] == ["set", "set of classes"]


def test_what_a_model_does_not_give_is_refused():
    head = Labels(THREE).fitted(held(30))
    with pytest.raises(ConfigError, match="this model predicts classes"):
        head.asking(interval=0.9)
    with pytest.raises(ConfigError, match="this model predicts a quantity"):
        Labels(QUANTITY).asking(sets=0.9)
    with pytest.raises(ConfigError, match="no scores of rows that it did not learn from"):
        head.plain().asking(sets=0.9)
    with pytest.raises(ConfigError, match="unknown score of sets"):
        head.asking(sets=0.9, score="raps")
    assert head.asking() is head


_ANSWERS = np.linspace(1, 10, 300)
VARIED = Labels(QUANTITY).fitted(HeldOut(_ANSWERS, _ANSWERS * (1 + np.tile([-0.3, 0.1, 0.2], 100))))


def test_scores_are_saved_and_damaged_ones_are_refused():
    for head in (Labels(THREE).fitted(held(30), level=0.8), VARIED):
        told, arrays = head.state()
        told = json.loads(json.dumps(told))
        again = Labels.from_state(told, arrays)
        np.testing.assert_array_equal(again.scores.values, head.scores.values)
        assert (again.level, again.said) == (head.level, head.said)
        bad = [{**arrays, "scores": arrays["scores"][:, None]}, {**arrays, "scores": arrays["scores"] * np.nan}]
        if head.task == "regression":
            np.testing.assert_array_equal(again.scores.spread, head.scores.spread)
            bad += [
                {**arrays, "spread": change(arrays["spread"])}
                for change in (np.negative, lambda x: x[:, ::-1], np.ravel)
            ]
        else:
            bad += [{"scores": arrays["scores"]}, {**arrays, "scores_of": arrays["scores_of"] + 3}]
        for damaged in bad:
            with pytest.raises(ArtifactError, match="scores of held-out rows"):
                Labels.from_state(told, damaged)
        with pytest.raises(ArtifactError, match="level"):
            Labels.from_state({**told, "level": 2}, arrays)


def test_of_many_rows_ten_thousand_scores_are_kept():
    rng = np.random.default_rng(0)
    scores = Scores.of(np.zeros(30_000), rng.normal(size=30_000), classes=False)
    assert len(scores) == 10_000
    assert scores.reach(Asked(0.9), 0.0) == pytest.approx(1.645, abs=0.05)


class Stub:
    """A model of a table with one column, whose answers are in the table."""

    def __init__(self, head, frame, truth, seen=None):
        self.head, self.frame, self.truth, self.seen, self.encoder = head, frame, truth, seen, self

    def read(self, source, **how):
        return Read(self.frame, self.truth)

    def transform(self, rows):
        return {"x": rows["answer"].to_numpy()}

    def answer(self, inputs):
        return inputs["x"]


def grouped(rows: int = 120, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Answers of 0; errors of the groups a, b and c are 1, 10 and 100 large."""
    groups = np.array(["a", "b", "c"])[np.arange(rows) % 3]
    size = np.array([1.0, 10.0, 100.0])[np.arange(rows) % 3]
    frame = pl.DataFrame({"answer": np.zeros(rows), "who": groups.tolist()})
    return frame, np.random.default_rng(seed).normal(size=rows) * size


def test_scores_of_own_rows_by_group_hold_in_each_group():
    frame, truth = grouped()
    head = Labels(QUANTITY)
    asked = Asked(0.8)
    scores = scores_on(Stub(head, frame, truth), "rows", by="who")
    reach = scores.reach(asked, np.zeros(4), pl.DataFrame({"who": ["c", "a", "b", "new"]}))
    by_group = [conformal_quantile(np.abs(truth[number::3]), 0.8) for number in range(3)]
    assert reach.tolist() == [by_group[2], by_group[0], by_group[1], math.inf]
    assert scores.doubts(asked) == ()
    assert [each[:6] for each in scores.doubts(Asked(0.99))] == ["who=a:", "who=b:", "who=c:"]
    even = scores_on(Stub(head, frame, truth), "rows")
    assert even.reach(asked, np.zeros(1)).tolist() == [conformal_quantile(np.abs(truth), 0.8)]
    shown = dataclasses.replace(head, scores=scores).asking(interval=0.8).frame(np.zeros(3), frame.head(3))
    assert shown["high"].to_list() == by_group
    told, arrays = dataclasses.replace(head, scores=scores).state()
    again = Labels.from_state(json.loads(json.dumps(told)), arrays).scores
    assert again.reach(asked, np.zeros(1), frame[2:3]).tolist() == by_group[2:]
    for bad in ({"column": "who"}, {"column": "who", "names": ["a", "a", "b"]}, {"column": 3, "names": ["a"]}, "who"):
        with pytest.raises(ArtifactError):
            Labels.from_state({**told, "groups": bad}, arrays)


def test_sets_by_group_and_rows_that_were_learnt_from():
    own = held(90)
    frame = pl.DataFrame({"who": ["a", "b"] * 45}).with_columns(
        pl.Series("answer", own.answers, dtype=pl.Array(pl.Float64, 3))
    )
    scores = scores_on(Stub(Labels(THREE), frame, own.truth), "rows", by="who")
    sets = scores.sets(own.answers, Asked(0.8), frame)
    for group in range(2):
        one = Scores.of(own.answers[group::2], own.truth[group::2], classes=True)
        np.testing.assert_array_equal(sets[group::2], one.sets(own.answers[group::2], Asked(0.8)))
    assert scores.sets(own.answers[:1], Asked(0.8), pl.DataFrame({"who": ["c"]})).all()  # a group that was not there
    frame, truth = grouped()
    hashes = row_hashes({"x": frame["answer"].to_numpy()}, truth)
    said: list[str] = []
    fewer = scores_on(Stub(Labels(QUANTITY), frame, truth, np.sort(hashes[:50])), "rows", say=said.append)
    assert len(fewer) == 70
    assert "50 of 120 rows were seen in training" in said[0]
    with pytest.raises(DataError, match="learnt from all of these rows"):
        scores_on(Stub(Labels(QUANTITY), frame, truth, np.sort(hashes)), "rows")
    with pytest.raises(ConfigError, match="unknown column to group by 'whom'"):
        scores_on(Stub(Labels(QUANTITY), frame, truth), "rows", by="whom")
    with pytest.raises(ConfigError, match="need rows of a table"):
        dataclasses.replace(Labels(THREE), scores=scores).asking(sets=0.8).frame(own.answers)


def test_predictions_beside_the_truth_have_the_interval_of_each_group_where_the_rows_are_known():
    rows = pl.DataFrame({"region": ["north", "south"]})
    scores = Grouped.of(
        np.zeros(40),
        np.repeat([1.0, 5.0], 20),
        ["north", "south"] * 10 + ["south"] * 20,
        column="region",
        classes=False,
        level=0.5,
    )
    head = dataclasses.replace(Labels(QUANTITY), scores=scores).asking(interval=0.5)
    found = head.beside(np.zeros(2), np.zeros(2), rows)
    assert found["high"].to_list() == [1.0, 5.0]
    assert head.beside(np.zeros(2), np.zeros(2)).columns == ["true y", "y"]


def test_a_group_without_scores_is_named():
    parts = Grouped.of(
        np.zeros(60), np.arange(60.0), ["north"] * 30 + ["south"] * 30, column="region", classes=False, level=0.9
    )
    head, rows = Labels(QUANTITY, scores=parts), pl.DataFrame({"region": ["north", "west", None]})
    assert head.remarks(rows) == (), "nothing was asked for"
    asked = head.asking(interval=0.8)
    (said,) = asked.remarks(rows)
    assert said.startswith("2 of 3 rows are of region='west', '', of which no row has a score")
    assert asked.frame(np.zeros(3), rows)["high"].is_infinite().to_list() == [False, True, True]
    assert asked.remarks(rows[:1]) == ()


def test_unequal_weights_count_in_scores_and_the_threshold():
    rng = np.random.default_rng(0)
    truth, weight = rng.normal(size=400), rng.uniform(0.2, 3, 400)
    truth[weight > 1.5] *= 3  # heavy rows are further off
    found = Scores.of(np.zeros(400), truth, classes=False, weight=weight)
    order = np.argsort(np.abs(truth))
    share = np.cumsum(weight[order]) / weight.sum()
    for level in (0.5, 0.8, 0.9):
        expected = np.abs(truth)[order][np.searchsorted(share, level)]
        assert found.reach(Asked(level), [0.0])[0] == pytest.approx(expected, rel=0.1)
    assert len(found) == round(weight.sum() ** 2 / (weight**2).sum()) < 400
    even = Scores.of(np.zeros(400), truth, classes=False, weight=np.full(400, 2.0))
    np.testing.assert_array_equal(even.values, Scores.of(np.zeros(400), truth, classes=False).values)
    codes, chance = rng.integers(0, 2, 50), rng.random(50)
    times = rng.integers(1, 4, 50)
    again = choose_threshold(np.repeat(codes, times), np.repeat(chance, times))
    own = choose_threshold(codes, chance, weight=times.astype(float))
    assert (own.value, own.score) == pytest.approx((again.value, again.score))
    held = HeldOut(np.stack([1 - chance, chance], 1), codes, counts=times.astype(float))
    binary = Labels(TargetEncoder("y", "binary", ("a", "b")))
    assert binary.fitted(held, threshold="f1").threshold == pytest.approx(again.value)
