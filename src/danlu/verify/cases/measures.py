"""Every measure that is reported, for plain and for weighted rows, against scikit-learn and its definition in float64."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.evaluate.alert import alert_threshold
from danlu.evaluate.detection import DetectionCounts, Found
from danlu.evaluate.forecast import Forecasts, by_step, mase_scale
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.metrics import METRICS
from danlu.evaluate.ranking import Ranking
from danlu.evaluate.reliability import learning_curve, optimality_gap, performance_profile, run_intervals
from danlu.evaluate.residuals import residuals
from danlu.evaluate.rows import Rows
from danlu.evaluate.threshold import calibration, choose_threshold
from danlu.evaluate.tokens import TokenLosses
from danlu.nn.losses.metrics import METRICS as WATCHED
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

ROWS = 60


def weightings() -> tuple[np.ndarray, np.ndarray]:
    """Each row once, and the counts of a resample in which some are missing."""
    return np.ones(ROWS), np.random.default_rng(7).integers(0, 3, ROWS).astype(np.float64)


def chances(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """True codes, and probabilities that are often right; rounded, so that some are tied."""
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, ROWS)
    p = rng.dirichlet(np.ones(classes), ROWS) * 0.6 + 0.4 * np.eye(classes)[truth]
    p = (p / p.sum(1, keepdims=True)).round(1)
    p[:, 0] = 1 - p[:, 1:].sum(1)
    return truth, np.clip(p, 0.0, 1.0)


def by_library(check: Check, rows: Rows, y: Any, p: Any, w: Any) -> dict[str, float]:
    """Every measure of classes by scikit-learn."""
    m: Any = check.module("sklearn.metrics")
    chosen = (p[:, 1] >= rows.threshold).astype(int) if rows.task == "binary" else p.argmax(1)
    two = rows.task == "binary"
    how: dict[str, Any] = {"average": "binary" if two else "macro", "zero_division": 0.0, "sample_weight": w}
    clipped = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    ranked = [m.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in ((1,) if two else range(p.shape[1]))]
    found = {
        "accuracy": m.accuracy_score(y, chosen, sample_weight=w),
        "balanced_accuracy": m.balanced_accuracy_score(y, chosen, sample_weight=w),
        "precision": m.precision_score(y, chosen, **how),
        "recall": m.recall_score(y, chosen, **how),
        "f1": m.f1_score(y, chosen, **how),
        "mcc": m.matthews_corrcoef(y, chosen, sample_weight=w),
        "roc_auc": np.mean(ranked),
        "log_loss": np.average(-np.log(clipped[np.arange(ROWS), y]), weights=w),
        "brier": np.average(((p - np.eye(p.shape[1])[y]) ** 2).sum(1) / (2 if two else 1), weights=w),
    }
    if two:
        wrong, right, _ = m.roc_curve(y, p[:, 1], sample_weight=w, drop_intermediate=False)
        found |= {"gini": 2 * ranked[0] - 1, "ks": np.abs(right - wrong).max()}
    true = y[:, None] == ((1,) if two else np.arange(p.shape[1]))
    found["average_precision"] = m.average_precision_score(true, p[:, 1:] if two else p, sample_weight=w)
    if not two:
        found["average_precision_weighted"] = m.average_precision_score(true, p, average="weighted", sample_weight=w)
        # Of equal probabilities the first class comes before the others.
        found["top3_accuracy"] = m.top_k_accuracy_score(y, p - 1e-9 * np.arange(p.shape[1]), k=3, sample_weight=w)
    return found


def by_bins(rows: Rows, y: Any, p: Any, w: Any) -> dict[str, float]:
    """Calibration error, reliability and resolution, bin by bin and row by row."""

    def bins(happened: Any, chance: Any) -> Any:
        for k in range(10):
            inside = [i for i in range(ROWS) if min(int(chance[i] * 10), 9) == k and w[i] > 0]
            weight = sum(w[i] for i in inside)
            if weight:
                observed = sum(w[i] * happened[i] for i in inside) / weight
                predicted = sum(w[i] * chance[i] for i in inside) / weight
                yield weight / w.sum(), observed, predicted

    two = rows.task == "binary"
    certain = bins(y == 1, p[:, 1]) if two else bins(p.argmax(1) == y, p.max(1))
    found = {
        "ece": sum(share * abs(o - q) for share, o, q in certain),
        "brier_reliability": 0.0,
        "brier_resolution": 0.0,
    }
    for k in (1,) if two else range(p.shape[1]):
        of_all = (w * (y == k)).sum() / w.sum()
        for share, o, q in bins(y == k, p[:, k]):
            found["brier_reliability"] += share * (o - q) ** 2
            found["brier_resolution"] += share * (o - of_all) ** 2
    return found


@case("metric.classes")
def classes(check: Check) -> None:
    for task, count, threshold in (("binary", 2, 0.5), ("binary", 2, 0.35), ("multiclass", 4, 0.5)):
        truth, p = chances(count)
        rows = Rows(task, truth, p, threshold)
        for weights in weightings():
            expected = by_library(check, rows, truth, rows.prediction, weights)
            ours = by_bins(rows, truth, rows.prediction, weights)
            defined = {name for name, value in rows.measures(weights).items() if math.isfinite(value)}
            check(defined == set(expected) | set(ours), True)
            for name, value in expected.items():
                check(METRICS[name].compute(rows, weights), value, oracle="sklearn")
            for name, value in ours.items():
                check(METRICS[name].compute(rows, weights), value)
    many = np.random.default_rng(6).dirichlet(np.ones(7), ROWS)
    codes = np.arange(ROWS) % 7
    fifth = np.sort(many, axis=1)[:, -5]
    check(
        METRICS["top5_accuracy"].compute(Rows("multiclass", codes, many), np.ones(ROWS)),
        (many[np.arange(ROWS), codes] >= fifth).mean(),
    )
    dear = np.array([[0.0, 2.0], [7.0, 0.0]])
    truth, p = chances(2)
    spent = [dear[y, int(row[1] >= 0.3)] for y, row in zip(truth, p, strict=True)]
    check(METRICS["cost"].compute(Rows("binary", truth, p, 0.3, costs=dear), np.ones(ROWS)), np.mean(spent))
    perfect = Rows("binary", np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6]]))
    check(perfect.confusion(), [[1, 0], [0, 2]], oracle="closed form")


@case("metric.alert")
def alert(check: Check) -> None:
    truth, p = chances(2)
    for rate in (0.01, 0.13, 0.5):
        ours = alert_threshold(p[:, 1], rate)
        each = [
            value for value in {0.0, *p[:, 1]} if (p[:, 1] > value).mean() <= rate
        ]  # the rows above it are not too many
        check((p[:, 1] >= ours.threshold).mean(), (p[:, 1] > min(each)).mean())
        rows = Rows("binary", truth, p, ours.threshold, alert_rate=rate)
        # Tied rows in random order: the mean over many orders of what a fraction of the last row more holds.
        score, most = p[:, 1], rate * ROWS
        above, tied = score > (cut := np.sort(score)[::-1][int(most)]), score == cut
        share = (most - above.sum()) / tied.sum()
        check(
            METRICS["recall_at_rate"].compute(rows, np.ones(ROWS)),
            (truth @ above + share * (truth @ tied)) / truth.sum(),
        )
        check(METRICS["alert_rate"].compute(rows, np.ones(ROWS)), ours.share)


@case("metric.quantities")
def quantities(check: Check) -> None:
    truth = 3 + np.abs(draw(ROWS))
    rows = Rows("regression", truth, truth + draw(ROWS, seed=1))
    error = np.abs(rows.prediction - truth)
    for weights in weightings():
        copies = np.repeat(np.arange(ROWS), weights.astype(int))
        y, e = truth[copies], error[copies]
        expected = {
            "rmse": math.sqrt((e**2).mean()),
            "mae": e.mean(),
            "median_error": np.median(e),
            "mape": (e / y).mean(),
            "r2": 1 - (e**2).sum() / ((y - y.mean()) ** 2).sum(),
            "explained_variance": 1 - (rows.prediction[copies] - y).var() / y.var(),
        }
        check(set(expected) == {name for name, value in rows.measures(weights).items() if math.isfinite(value)}, True)
        for name, value in expected.items():
            check(METRICS[name].compute(rows, weights), value)
        if m := check.module("sklearn.metrics"):
            p = rows.prediction[copies]
            theirs = {
                "rmse": m.root_mean_squared_error(y, p),
                "mae": m.mean_absolute_error(y, p),
                "median_error": m.median_absolute_error(y, p),
                "mape": m.mean_absolute_percentage_error(y, p),
                "r2": m.r2_score(y, p),
                "explained_variance": m.explained_variance_score(y, p),
            }
            for name, value in theirs.items():
                check(METRICS[name].compute(rows, weights), value, oracle="sklearn")
    below = Rows("regression", -truth, -rows.prediction)
    check(METRICS["mape"].compute(below, np.ones(ROWS)), (error / truth).mean())
    signed = rows.prediction - truth
    found = residuals(rows)
    spread = math.sqrt(((signed - signed.mean()) ** 2).mean())
    check([found.bias, found.spread, found.median], [signed.mean(), spread, np.median(signed)])
    ordered = np.sort(signed)  # of 60 numbers the 5 % quantile lies at place 0.05·59
    check(found.low, ordered[2] + 0.95 * (ordered[3] - ordered[2]))
    check(found.high, ordered[56] + 0.05 * (ordered[57] - ordered[56]))
    check([found.row, found.largest], [int(error.argmax()), signed[error.argmax()]])


@case("metric.directions")
def directions(check: Check) -> None:
    """A better prediction has a higher value of what is better when higher, and a lower one of the others."""
    truth, p = chances(2)
    several, q = chances(4)
    value = 3 + np.abs(draw(ROWS))
    pairs = [
        (Rows("binary", truth, p), Rows("binary", truth, np.eye(2)[truth])),
        (Rows("multiclass", several, q), Rows("multiclass", several, np.eye(4)[several])),
        (Rows("regression", value, value + draw(ROWS, seed=1)), Rows("regression", value, value + draw(ROWS) / 9)),
    ]
    for worse, better in pairs:
        for metric in METRICS.values():
            if worse.task in metric.tasks and not metric.name.startswith("top"):
                gain = metric.compute(better, np.ones(ROWS)) - metric.compute(worse, np.ones(ROWS))
                if math.isfinite(gain):  # what costs and intervals there are is not known here
                    check(gain > 0, metric.higher_is_better, oracle="closed form")
    errors = (
        "mse",
        "scaled_mae",
        "mase",
        "smape",
        "pinball",
        "crps",
        "ece",
        "brier_reliability",
        "token_loss",
        "perplexity",
        "bits_per_character",
        "loss_of_rows",
        "episode_log_loss",
        "equal_error",
        "alert_rate",
        "episode_cost",
        "detectability",
        "marginals",
        "associations",
        "closeness",
        "membership",
        "frechet",
        "elbo",
        "importance_weighted",
        "denoising_loss",
        "velocity_loss",
        "critic",
        "negative_log_likelihood",
        "forth_median_rank",
        "back_median_rank",
    )
    lower = {"log_loss", "brier", "cost", "rmse", "mae", "median_error", "mape", *errors}
    for name, measure in MEASURES.items():
        check(measure.higher_is_better, name not in lower, oracle="closed form")


@case("metric.watched")
def watched(check: Check) -> None:
    """What is watched in training, of one network and of the mean of an ensemble's members."""
    z, labels, bits = 2 * draw(8, 3, 4), np.arange(8) % 4, np.arange(8) % 2
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    mean = p.mean(1)
    q = 1 / (1 + np.exp(-z[..., 0]))
    chance = q.mean(1)
    many = (np.arange(32).reshape(8, 4) % 3 == 0).astype(float)
    single = jnp.asarray(z, jnp.float32)
    expected: dict[str, list[tuple[Any, Any, Any]]] = {
        "accuracy": [
            (single, labels, mean.argmax(1) == labels),
            (single[:, 0], labels, p[:, 0].argmax(1) == labels),
            (single[:, 0, 0], bits, (q[:, 0] > 0.5) == bits),
        ],
        "log_loss": [
            (single, labels, -np.log(mean[np.arange(8), labels])),
            (single[:, 0, 0], bits, -np.log(np.where(bits == 1, q[:, 0], 1 - q[:, 0]))),
            (single[..., :1], bits, -np.log(np.where(bits == 1, chance, 1 - chance))),
        ],
        "label_accuracy": [(single[:, 0], many, ((z[:, 0] > 0) == many).mean(1))],
        "squared_error": [(single[:, 0], many, ((z[:, 0] - many) ** 2).mean(1))],
        "absolute_error": [(single[:, 0], many, np.abs(z[:, 0] - many).mean(1))],
    }
    check(set(WATCHED) <= set(expected), True)
    for name, examples in expected.items():
        for outputs, targets, values in examples:
            check(WATCHED[name](outputs, jnp.asarray(targets)), values)
    members = z[..., :1].mean(1) - many[:, :1]
    check(WATCHED["squared_error"](single[..., :1], jnp.asarray(many[:, :1])), (members**2)[:, 0])
    check(WATCHED["absolute_error"](single[..., :1], jnp.asarray(many[:, :1])), np.abs(members)[:, 0])


@case("metric.ranking")
def ranking(check: Check) -> None:
    """The points of the curves, threshold by threshold."""
    truth, p = chances(2)
    score, positive = p[:, 1], truth == 1
    false, recall, precision = Ranking(positive, score).curves()
    levels = np.unique(score)[::-1]
    called = [score >= level for level in levels]
    check(false, [(c & ~positive).sum() / (~positive).sum() for c in called])
    check(recall, [(c & positive).sum() / positive.sum() for c in called])
    check(precision, [(c & positive).sum() / c.sum() for c in called])


@case("metric.threshold")
def threshold(check: Check) -> None:
    """The best of all thresholds by each measure; predicted and observed shares in bins of equal width."""
    truth, p = chances(2)
    score, m = p[:, 1], check.module("sklearn.metrics")
    levels = [*np.unique(score), 1.01]
    measures = {"f1": "f1_score", "balanced_accuracy": "balanced_accuracy_score", "accuracy": "accuracy_score"}
    for name, function in {**measures, "mcc": "matthews_corrcoef"}.items():
        values = [getattr(m, function)(truth, (score >= level).astype(int)) for level in levels]
        found = choose_threshold(truth, score, name)
        check(found.score, max(values), oracle="sklearn")
        check(getattr(m, function)(truth, (score >= found.value).astype(int)), max(values), oracle="sklearn")
    found_bins = calibration(truth, np.clip(score, 0, 0.999), bins=5)
    bins = np.minimum((np.clip(score, 0, 0.999) * 5).astype(int), 4)
    used = [k for k in range(5) if (bins == k).any()]
    observed = np.array([truth[bins == k].mean() for k in used])
    predicted = np.array([np.clip(score, 0, 0.999)[bins == k].mean() for k in used])
    shares = np.array([(bins == k).mean() for k in used])
    check(found_bins.observed, observed)
    check(found_bins.predicted, predicted)
    check(found_bins.error, (shares * np.abs(observed - predicted)).sum())


@case("metric.forecasts")
def forecasts(check: Check) -> None:
    """Each measure number by number in plain loops; MASE's scale; the mean at each step ahead."""
    truth, prediction = draw(40, 3, 2), draw(40, 3, 2, seed=1)
    spread, naive = np.abs(draw(40, 2, seed=2)) + 0.5, np.abs(draw(40, 2, seed=3)) + 0.5
    levels = (0.1, 0.5, 0.9)
    bands = np.sort(draw(40, 3, 2, 3, seed=4), axis=-1)
    found = Forecasts(truth, prediction, spread, naive, np.arange(40), levels, bands)
    totals: dict[str, list[Any]] = {
        name: [] for name in ("mse", "scaled_mae", "mase", "smape", "pinball", "crps", "coverage")
    }
    for w, h, c in np.ndindex(40, 3, 2):
        y, e = truth[w, h, c], prediction[w, h, c] - truth[w, h, c]
        totals["mse"].append((e / spread[w, c]) ** 2)
        totals["scaled_mae"].append(abs(e) / spread[w, c])
        totals["mase"].append(abs(e) / naive[w, c])
        totals["smape"].append(200 * abs(e) / (abs(y) + abs(prediction[w, h, c])))
        below = [(y - bands[w, h, c, k]) / spread[w, c] for k in range(3)]
        totals["pinball"].append(np.mean([q * d if d > 0 else (q - 1) * d for q, d in zip(levels, below, strict=True)]))
        totals["crps"].append(
            2 * np.dot([0.3, 0.4, 0.3], [max(q * d, (q - 1) * d) for q, d in zip(levels, below, strict=True)])
        )
        totals["coverage"].append(float(bands[w, h, c, 0] <= y <= bands[w, h, c, 2]))
    scores = found.scores()
    check(sorted(scores) == sorted(totals), True)
    for name, values in totals.items():
        check(scores[name].value, np.mean(values))
        check(by_step(found, name), np.reshape(values, (40, 3, 2)).mean((0, 2)))
    series = draw(50, 2, seed=5)
    check(mase_scale(series, 7), [np.mean([abs(x[t] - x[t - 7]) for t in range(7, 50)]) for x in series.T])


@case("metric.tokens")
def tokens(check: Check) -> None:
    """Sums over all tokens of all lines, not means of the lines' means; perplexity, and bits a character."""
    losses, lengths = np.abs(draw(30)), np.array([5, 1, 20, 8])
    found = TokenLosses.of(losses, np.concatenate([[0], np.cumsum(lengths)]), 77).scores()
    check(found["token_loss"].value, losses.sum() / 30)
    check(found["perplexity"].value, math.exp(losses.mean()))
    check(found["bits_per_character"].value, losses.sum() / math.log(2) / 77)


@case("metric.runs")
def runs(check: Check) -> None:
    """What several runs say, beside their sorted scores; the profile and the learning curve point by point."""
    scores = draw(10, 3)
    found = run_intervals(scores, target=0.5, resamples=10)
    flat = sorted(scores.ravel())
    check(found["iqm"].value, np.mean(flat[7:23]))
    check(found["mean"].value, np.mean(flat))
    check(found["median"].value, sorted(scores[:, k].sum() / 10 for k in range(3))[1])
    gap = np.mean([0.5 - x if x < 0.5 else 0.0 for x in flat])
    check([found["optimality_gap"].value, optimality_gap(scores, target=0.5)], [gap, gap])
    at = np.array([-1.0, 0.0, flat[20]])
    profile = performance_profile(scores, at, resamples=10)
    check(profile.value, [np.mean([x > level for x in flat]) for level in at])
    curve = learning_curve([10, 20], draw(8, 2), resamples=10)
    check(curve.value, [np.mean(sorted(points)[2:6]) for points in draw(8, 2).T])


@case("metric.boxes")
def boxes(check: Check) -> None:
    """The F1 of what is shown: 2·right over shown and true ones, at an overlap of ½, an object found once."""
    true = [
        Found(np.array([[0, 0, 10, 10], [20, 0, 30, 10]]), np.array([0, 1])),
        Found(np.zeros((0, 4)), np.array([], int)),
    ]
    found = [
        Found(
            np.array([[0, 0, 10, 8], [0, 0, 10, 9], [20, 0, 30, 4], [21, 0, 31, 10]]),
            np.array([0, 0, 1, 1]),
            np.array([0.9, 0.8, 0.95, 0.3]),
        ),
        Found(np.array([[0, 0, 5, 5]]), np.array([1]), np.array([0.7])),
    ]
    counts = DetectionCounts.of(found, true, classes=2, threshold=0.5)
    check(counts.f1(), 2 * 1 / (4 + 2), oracle="closed form")  # one of four shown is right, of two
    check(counts.f1(threshold=0.2), 2 * 2 / (5 + 2), oracle="closed form")
    check(counts.f1(np.array([1.0, 3.0])), 2 * 1 / (6 + 2), oracle="closed form")
