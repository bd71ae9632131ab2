"""What every kind of evidence keeps to: weights and taken rows say the same, and comparisons go by one measure and the same rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from danlu.errors import DataError
from danlu.evaluate import (
    MEASURES,
    DetectionCounts,
    Episodes,
    Evidence,
    Forecasts,
    Found,
    LabelRows,
    MaskCounts,
    Quantiles,
    Rows,
    Sample,
    TokenLosses,
    TranslationCounts,
    compare,
    difference,
    intervals,
)
from danlu.evaluate.clustered import Clustered
from danlu.evaluate.drawn import DrawnRows
from danlu.evaluate.generated import Drawings, RowScores
from danlu.evaluate.logged import Logged
from danlu.evaluate.recommendation import Rankings
from danlu.evaluate.retrieval import Retrieved
from danlu.evaluate.stored import restored, stored
from danlu.evaluate.uplift import Campaign

ROWS = 24
Draw = Callable[[np.random.Generator], Evidence]


def classes(rng: np.random.Generator, task: str, count: int, groups: Any = None) -> Rows:
    truth = np.arange(ROWS) % count
    p = rng.dirichlet(np.ones(count), ROWS).round(1) + 0.4 * np.eye(count)[truth]
    return Rows(task, truth, p / p.sum(1, keepdims=True), 0.6, groups)


def made(rng: np.random.Generator, task: str) -> DrawnRows:
    cells = np.random.default_rng(5).integers(0, 3, (ROWS, 3))
    truth = cells[:, 0].astype(float)
    answers = rng.normal(size=(2, ROWS)) if task == "regression" else rng.integers(0, 3, (2, ROWS)).astype(float)
    sides = rng.random((2, 2, ROWS))
    return DrawnRows(
        cells, rng.integers(0, 3, (ROWS, 3)), *rng.random((2, ROWS)), task, truth, *answers, *sides, rng.random(ROWS)
    )


def detections(rng: np.random.Generator) -> DetectionCounts:
    true, found = [], []
    for image in range(ROWS):
        corners = rng.integers(0, 20, (3, 2))
        boxes = np.concatenate([corners, corners + rng.integers(5, 15, (3, 2))], axis=1).astype(float)
        true.append(Found(boxes, np.array([image % 2, 0, 1])))
        # Scores are often tied, also those of other images.
        shifted = boxes + rng.integers(0, 3, (3, 4))
        found.append(Found(shifted, np.array([image % 2, 0, 0]), rng.integers(3, 8, 3) / 10))
    return DetectionCounts.of(found, true, classes=2, threshold=0.45)


def translations(rng: np.random.Generator) -> TranslationCounts:
    references = [" ".join(f"w{word}" for word in rng.integers(0, 9, 5 + row % 4)) for row in range(ROWS)]
    ours = [" ".join(f"w{word}" for word in rng.permutation(text.split())) for text in references]
    return TranslationCounts.of([own.replace("ww", "w") for own in ours], references, tokenization="none")


def forecasts(rng: np.random.Generator, quantiles: bool = True) -> Forecasts:
    truth = rng.normal(size=(ROWS, 2, 2))
    prediction = truth + rng.normal(size=truth.shape)
    naive = np.abs(rng.normal(size=(ROWS, 2)))
    naive[3] = 0  # of one window MASE is not defined
    bands = np.sort(rng.normal(size=(*truth.shape, 3)), axis=-1)
    known: dict[str, Any] = {"levels": (0.1, 0.5, 0.9), "bands": bands} if quantiles else {}
    return Forecasts(truth, prediction, 1 + naive, naive, np.arange(ROWS), **known)


def shots(rng: np.random.Generator) -> Episodes:
    """Episodes of 4 of 24 classes, and pairs whose distances are often tied."""
    drawn = np.stack([rng.permutation(ROWS)[:4] for _ in range(40)])
    p = rng.random((40, 4, 2, 4)) + 2 * np.eye(4)[:, None]
    first, second = rng.integers(ROWS, size=(2, 300))
    first[:150] = second[:150]
    far = (rng.random(300).round(1) + (first != second)).round(1)
    return Episodes(drawn, p / p.sum(-1, keepdims=True), first, second, far, 0.8)


def rankings(rng: np.random.Generator) -> Rankings:
    """Of 24 users with one to three true items of 30, one of them never found."""
    owner = np.repeat(np.arange(ROWS), 1 + np.arange(ROWS) % 3)
    ranks = rng.integers(1, 20, len(owner)).astype(float)
    ranks[7] = np.inf
    top = np.stack([rng.permutation(30)[:10] for _ in range(ROWS)])
    return Rankings(ranks, owner, top, rng.random(30))


def retrieved(rng: np.random.Generator, groups: Any = None) -> Retrieved:
    return Retrieved(*rng.integers(1, 14, (2, ROWS)), (ROWS, ROWS), groups)


def clustered(rng: np.random.Generator) -> Clustered:
    whole = np.random.default_rng(5).uniform(1, 2, ROWS)
    return Clustered(rng.integers(0, 3, (ROWS, 2, 2)), rng.uniform(0, 1, ROWS), whole)


def logs(rng: np.random.Generator) -> Logged:
    policy = rng.dirichlet(np.ones(3), ROWS)
    return Logged(
        rng.integers(3, size=ROWS), rng.random(ROWS), rng.uniform(0.2, 0.6, ROWS), rng.random((ROWS, 3)), policy
    )


def logged_pages(rng: np.random.Generator) -> Logged:
    log = logs(rng)
    two = {name: np.stack([getattr(log, name)] * 2, axis=1) for name in ("action", "propensity", "values", "policy")}
    return Logged(**two, reward=rng.random((ROWS, 2)), depends="above", given=rng.random((ROWS, 2)))


def campaigns(rng: np.random.Generator) -> Campaign:
    values, treat = rng.random((ROWS, 2)), rng.random(ROWS)
    outcome = rng.integers(2, size=ROWS) * 1.0
    return Campaign(
        np.arange(ROWS) % 2 == 0, outcome, rng.uniform(0.3, 0.7, ROWS), values, rng.integers(9, size=ROWS) * 1.0, treat
    )


KINDS: dict[str, Draw] = {
    "campaigns": campaigns,
    "segments": clustered,
    "pages": logged_pages,
    "quantities": lambda rng: Rows("regression", (x := 9 + rng.normal(size=ROWS)), x + rng.normal(size=ROWS)),
    "two classes": lambda rng: classes(rng, "binary", 2),
    "several classes": lambda rng: classes(rng, "multiclass", 3),
    "one class": lambda rng: Rows("binary", np.zeros(ROWS, int), rng.dirichlet(np.ones(2), ROWS)),
    "groups": lambda rng: classes(rng, "binary", 2, np.arange(ROWS) // 2),
    "labels": lambda rng: LabelRows((t := rng.integers(2, size=(ROWS, 3))), 0.3 * t + 0.7 * rng.random((ROWS, 3))),
    "masks": lambda rng: MaskCounts.of(*rng.integers(3, size=(2, ROWS, 4, 4)), classes=3),
    "boxes": detections,
    "translations": translations,
    "tokens": lambda rng: TokenLosses.of(rng.random(90), np.concatenate([[0], np.cumsum(1 + LINES)]), 300),
    "forecasts": forecasts,
    "forecasts without quantiles": lambda rng: forecasts(rng, quantiles=False),
    "quantiles": lambda rng: Quantiles(rng.normal(size=ROWS), np.sort(rng.normal(size=(ROWS, 3))), (0.1, 0.5, 0.9)),
    "returns": lambda rng: Sample(rng.normal(size=ROWS), "return"),
    "scores of rows": lambda rng: RowScores(rng.random((ROWS, 2)), ("elbo", "importance_weighted"), rng.random(ROWS)),
    "drawings": lambda rng: Drawings(
        *rng.normal(size=(2, ROWS, 3)),
        rng.random((ROWS, 2)),
        rng.integers(0, 2, ROWS),
        rng.random((ROWS, 1)),
        ("elbo",),
    ),
    "made-up rows": lambda rng: made(rng, "classes"),
    "made-up quantities": lambda rng: made(rng, "regression"),
    "seeds": lambda rng: Sample(rng.normal(size=ROWS), "iqm_return"),
    "episodes": shots,
    "logs": logs,
    "rankings": rankings,
    "pairs": retrieved,
    "pairs that share a part": lambda rng: retrieved(rng, np.arange(ROWS) // 2),
}
LINES = np.array([*[2, 5, 4] * 8, 2])[:ROWS]
LINES[-1] += 90 - LINES.sum()


@pytest.fixture(params=list(KINDS))
def evidence(request: pytest.FixtureRequest) -> Evidence:
    return KINDS[request.param](np.random.default_rng(3))


def assert_equal(found: Any, expected: Any) -> None:
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-9, atol=1e-12)


def test_every_kind_is_here() -> None:
    known = {cls for cls in Evidence.__subclasses__() if cls.__module__.startswith("danlu.")}
    assert {type(draw(np.random.default_rng(0))) for draw in KINDS.values()} == known


def test_weights_of_one_are_the_measures(evidence: Evidence) -> None:
    assert len(evidence) == ROWS
    assert_equal(evidence.measures(np.ones(ROWS)), evidence.measures())
    for name, value in evidence.measures().items():
        assert_equal(evidence.measures(None, (name,)), {name: value})
        assert name in MEASURES, "each measure is registered"


def test_taken_rows_are_weighted_rows(evidence: Evidence) -> None:
    """Rows kept have a weight of 1, others of 0; a row that is taken twice has a weight of 2; the order tells nothing."""
    rng = np.random.default_rng(5)
    for rows in (np.arange(ROWS), np.arange(0, ROWS, 2), rng.permutation(ROWS)[:15], rng.integers(ROWS, size=30)):
        rows = np.sort(rows)
        part = evidence.take(rows)
        assert type(part) is type(evidence)
        assert len(part) == len(rows)
        weights = np.bincount(rows, minlength=ROWS).astype(float)
        weighted = dict(evidence.measures(weights))
        taken = dict(part.measures())
        assert_equal(taken, weighted)
        assert_equal(evidence.take(rows[::-1]).take(np.arange(len(rows))[::-1]).measures(), taken)
        assert intervals(part).keys() == {name for name, value in taken.items() if np.isfinite(value)}
        assert part.scores().keys() >= intervals(part).keys()
        assert (part.noun, part.paired) == (evidence.noun, evidence.paired)


def test_all_rows_are_the_same_evidence(evidence: Evidence) -> None:
    everything = evidence.take(range(ROWS))
    evidence.check_same(everything)
    assert everything.measures() == pytest.approx(evidence.measures(), nan_ok=True, rel=0, abs=0)
    assert repr(everything.scores()) == repr(evidence.scores()), "to the bit"
    assert repr(everything.together) == repr(evidence.together)


def test_kept_evidence_is_the_same_to_the_bit(evidence: Evidence) -> None:
    arrays, told = stored(evidence)
    again = restored(arrays, json.loads(json.dumps(told)))
    assert type(again) is type(evidence)
    assert repr(again.scores()) == repr(evidence.scores())
    evidence.check_same(again)


def test_rows_are_taken_of_rows_taken(evidence: Evidence) -> None:
    """Each copy of a row is a row of its own."""
    rows, again = np.array([3, 1, 3, 8, 2, 20, 1, 9, 10, 11]), np.array([0, 1, 4, 5, 7, 8, 9])
    assert_equal(evidence.take(rows).take(again).measures(), evidence.take(rows[again]).measures())


def test_blocks_taken_stand_for_their_share_of_the_characters() -> None:
    losses = KINDS["tokens"](np.random.default_rng(3))
    found = losses.take([0, 4, 4]).scores()
    whole = losses.scores()
    a_token = [each["bits_per_character"].value / each["token_loss"].value for each in (found, whole)]
    assert a_token[0] == pytest.approx(a_token[1])


def test_what_belongs_together_stays_together() -> None:
    rng = np.random.default_rng(3)
    assert KINDS["groups"](rng).take([0, 3, 2, 0]).together.tolist() == [0, 1, 1, 0]
    stretches = forecasts(rng).together
    assert len(set(stretches)) == 6, "of windows 2 long, in stretches of 4 origins"
    assert forecasts(rng).take(np.arange(16)).together.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize("rows", [[], [ROWS], [-1], [0.5], [[0]], [True] * ROWS, "0", None])
def test_rows_that_do_not_exist_are_refused(evidence: Evidence, rows: Any) -> None:
    with pytest.raises(DataError, match="expected"):
        evidence.take(rows)


PRIMARIES = {
    "campaigns": "qini",
    "segments": "segment_stability",
    "made-up rows": "learnt_accuracy",
    "made-up quantities": "learnt_r2",
    "rankings": "ndcg",
    "pairs": "pair_recall",
    "pairs that share a part": "pair_recall",
    "quantities": "rmse",
    "two classes": "roc_auc",
    "several classes": "accuracy",
    "one class": "accuracy",
    "groups": "roc_auc",
    "labels": "label_precision",
    "masks": "mean_iou",
    "boxes": "map",
    "translations": "bleu",
    "tokens": "token_loss",
    "forecasts": "mse",
    "forecasts without quantiles": "mse",
    "quantiles": "crps",
    "returns": "return",
    "scores of rows": "elbo",
    "drawings": "frechet",
    "seeds": "iqm_return",
    "logs": "dr_value",
    "pages": "dr_value",
    "episodes": "episode_accuracy",
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_comparisons_go_by_the_primary_measure(kind: str) -> None:
    evidence = KINDS[kind](np.random.default_rng(3))
    assert evidence.primary == PRIMARIES[kind]
    assert evidence.primary in evidence.measures()
    assert np.isfinite(evidence.measures()[evidence.primary])
    itself = compare(evidence, evidence, "itself", constant=False)
    assert itself.metric == evidence.primary
    assert itself.verdict == "undecided"
    assert itself.difference.value == 0
    alone = evidence.take([0])
    assert compare(alone, alone, "itself").few == f"1 {ONE[evidence.noun]} is too few to tell"


ONE = {
    "test rows": "test row",
    "test images": "test image",
    "test sentences": "test sentence",
    "blocks of text": "block of text",
    "windows": "window",
    "test episodes": "test episode",
    "test classes": "test class",
    "rows of the log": "row of the log",
    "pages of the log": "page of the log",
    "test users": "test user",
    "test pairs": "test pair",
    "persons": "person",
}


def test_the_primary_measure_is_that_of_the_rows_taken() -> None:
    rows = classes(np.random.default_rng(3), "binary", 2)
    assert rows.primary == "roc_auc"
    one = rows.take(np.flatnonzero(rows.truth == 1))
    assert one.primary == "accuracy"
    assert len(one.right) == ROWS / 2
    np.testing.assert_array_equal(one.right, rows.right[rows.truth == 1])


@pytest.mark.parametrize("kind", list(KINDS))
def test_other_rows_are_refused(kind: str) -> None:
    rng = np.random.default_rng(3)
    evidence = KINDS[kind](rng)
    others: list[Any] = [KINDS["returns" if kind != "returns" else "masks"](rng)]
    if not isinstance(evidence, Rows):
        others.append(np.ones(ROWS))
    if evidence.paired:
        others.append(evidence.take(np.arange(ROWS - 1)))
    else:
        others.append(Sample(np.ones(ROWS), "sampled_return"))
    if isinstance(evidence, TranslationCounts):
        others.append(dataclasses.replace(evidence, tokenization="char"))
    if evidence.paired and kind not in ("one class", "pairs"):  # nothing tells their rows apart
        others.append(evidence.take([0] * ROWS))
    for other in others:
        with pytest.raises(DataError, match="expected"):
            compare(evidence, other, "another test")
        if isinstance(other, Evidence):
            with pytest.raises(DataError, match="expected"):
                difference(evidence, other, evidence.primary)


def test_one_answer_for_all_rows_is_known_where_it_can_be(evidence: Evidence) -> None:
    assert not evidence.constant
    one: Any = None
    if isinstance(evidence, Rows | LabelRows | Forecasts | Quantiles):
        one = dataclasses.replace(
            evidence, prediction=np.broadcast_to(evidence.prediction[0], evidence.prediction.shape)
        )
    if isinstance(evidence, MaskCounts):
        one = MaskCounts.of(np.zeros((ROWS, 4, 4), int), np.arange(ROWS * 16).reshape(ROWS, 4, 4) % 3, classes=3)
        evidence = dataclasses.replace(one, found=one.true, hits=one.true)
    if one is None:
        return
    assert one.constant
    found = compare(evidence, one, "one answer")
    assert found.constant
    assert not compare(evidence, one, "one answer", constant=False).constant
    assert found.verdict == "better" or "not better than always answering one answer" in found.sentence


def test_samples_are_no_pairs() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = Sample(rng.normal(1, 1, 40), "return"), Sample(rng.normal(0, 1, 25), "return")
    found = compare(ours, theirs, "chance", name="the agent")
    assert found.verdict == "better"
    assert found.difference == compare(ours.take(np.arange(40)), theirs, "chance").difference
    turned = compare(theirs, ours, "chance").difference
    assert (-turned.high, -turned.low) == pytest.approx((found.difference.low, found.difference.high))
    stats = pytest.importorskip("scipy.stats")
    welch = stats.ttest_ind(ours.values, theirs.values, equal_var=False).confidence_interval()
    width = found.difference.high - found.difference.low
    assert width == pytest.approx(welch.high - welch.low, rel=0.2)
    same = compare(Sample(np.full(6, 9.0), "return"), Sample(np.full(8, 5.0), "return"), "chance")
    assert (same.verdict, same.difference.low, same.difference.high) == ("better", 4, 4)
    few = compare(Sample(np.full(5, 9.0), "return"), Sample(np.full(8, 5.0), "return"), "chance")
    assert few.sentence.endswith("5 test episodes are too few to tell.")
