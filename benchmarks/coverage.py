"""How often the intervals of the scores hold, and how often two equal models are called different: by simulation.

    python benchmarks/coverage.py --replicates 1000 --output benchmarks/results/coverage.md
    python benchmarks/coverage.py --kind "two classes" --measures ece,brier_reliability,brier_resolution --sizes 30,300

Test sets are drawn again and again from worlds whose true scores are known: rows of two classes with scores of two normal
distributions, of several classes, of quantities with normal, Student (3 degrees of freedom) and log-normal errors, images, sentences,
time series, episodes. An interval holds when the true score is in it. A comparison is false when two models that are equally good are
called different.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from danlu.evaluate import (
    DetectionCounts,
    Evidence,
    Found,
    LabelRows,
    MaskCounts,
    Quantiles,
    Rows,
    Sample,
    TranslationCounts,
    difference,
    intervals,
)
from danlu.evaluate.forecast import Forecasts
from danlu.evaluate.tokens import TokenLosses

Draw = Callable[[np.random.Generator, int], Evidence]
_MANY = 400_000


@dataclasses.dataclass(frozen=True)
class World:
    """A world of test sets: how one is drawn, of which sizes, of how many rows the truth is found, and what is known of it exactly."""

    kind: str
    name: str
    draw: Draw
    sizes: tuple[int, ...] = (30, 100, 300, 1000)
    many: int = _MANY
    exact: dict[str, float] = dataclasses.field(default_factory=dict)


COSTS = np.array([[0.0, 1.0], [5.0, 0.0]])
CALIBRATED = {"ece": 0.0, "brier_reliability": 0.0}  # a large sample shows a little more than 0


def two_classes(auc: float, share: float, sharpened: float = 1.0) -> World:
    """Scores of two normal distributions and the probabilities that belong to them, or sharpened ones."""
    from scipy.special import ndtri

    apart = np.sqrt(2) * ndtri(auc)

    def draw(rng: np.random.Generator, rows: int) -> Rows:
        truth = (rng.random(rows) < share).astype(int)
        score = rng.normal(size=rows) + apart * truth
        odds = np.log(share / (1 - share)) + apart * score - apart**2 / 2
        p = 1 / (1 + np.exp(-sharpened * odds))
        return Rows("binary", truth, np.stack([1 - p, p], 1), min(0.5, 0.1 + share), costs=COSTS)

    name = f"AUC {auc:g}, {share:.0%} positive"
    return World("two classes", name + _sharper(sharpened), draw, exact=CALIBRATED if sharpened == 1 else {})


def _sharper(sharpened: float) -> str:
    return "" if sharpened == 1 else f", odds to the power {sharpened:g}"


def several_classes(sharpness: float, classes: int, sharpened: float = 1.0) -> World:
    """Classes of falling shares, with probabilities of a true model, or sharpened ones."""
    shares = 1.0 / np.arange(1, classes + 1)
    shares /= shares.sum()

    def draw(rng: np.random.Generator, rows: int) -> Rows:
        logits = np.log(shares) + sharpness * rng.normal(size=(rows, classes))
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        truth = (p.cumsum(1) < rng.random((rows, 1))).sum(1).clip(0, classes - 1)
        p = p**sharpened
        return Rows("multiclass", truth, p / p.sum(1, keepdims=True))

    name = f"{classes} classes, sharpness {sharpness:g}"
    return World("several classes", name + _sharper(sharpened), draw, exact=CALIBRATED if sharpened == 1 else {})


ERRORS: dict[str, Callable[..., np.ndarray]] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "Student's t, 3": lambda rng, rows: rng.standard_t(3, size=rows),
    "log-normal": lambda rng, rows: rng.lognormal(size=rows) - np.exp(0.5),
    "exponential": lambda rng, rows: rng.exponential(size=rows) - 1,
}


def quantity(errors: str, noise: float) -> World:
    def draw(rng: np.random.Generator, rows: int) -> Rows:
        truth = 10 + rng.normal(size=rows)
        return Rows("regression", truth, truth + noise * ERRORS[errors](rng, rows))

    square = noise**2 * {"Student's t, 3": 3.0, "log-normal": (np.e - 1) * np.e}.get(errors, 1.0)
    exact = {
        "rmse": square**0.5,
        "r2": 1 - square,
        "explained_variance": 1 - square,
    }  # no sample is large enough for squares with such tails
    return World("quantity", f"{errors} errors × {noise:g}", draw, many=4_000_000, exact=exact)


def quantiles(errors: str, levels: tuple[float, ...], wide: float = 1.0) -> World:
    """The true quantiles of the errors, or quantiles ``wide`` times as far from the centre."""
    at = np.quantile(ERRORS[errors](np.random.default_rng(0), _MANY), levels)

    def draw(rng: np.random.Generator, rows: int) -> Quantiles:
        centre = rng.normal(size=rows)
        return Quantiles(centre + ERRORS[errors](rng, rows), centre[:, None] + wide * at, levels)

    return World("quantiles", f"{errors} errors, {len(levels)} quantiles × {wide:g}", draw)


def labels(sharpness: float) -> World:
    shares = np.array([0.5, 0.3, 0.2, 0.1, 0.05])

    def draw(rng: np.random.Generator, rows: int) -> LabelRows:
        odds = np.log(shares / (1 - shares)) + sharpness * rng.normal(size=(rows, len(shares)))
        p = 1 / (1 + np.exp(-odds))
        return LabelRows(rng.random(p.shape) < p, p)

    return World("several labels", f"5 labels, sharpness {sharpness:g}", draw, many=100_000)


def masks(error: float) -> World:
    def draw(rng: np.random.Generator, rows: int) -> MaskCounts:
        pixels = 256
        share = rng.dirichlet([3.0, 1.5, 0.7], size=rows)
        true = np.array([rng.multinomial(pixels, p) for p in share], float)
        wrong = rng.beta(error * 4, 4 * (1 - error), size=(rows, 1))
        missed = rng.binomial(true.astype(int), np.broadcast_to(wrong, true.shape)).astype(float)
        hits = true - missed
        found = hits + np.roll(missed, 1, axis=1)
        return MaskCounts(hits, true, found)

    return World("masks", f"{error:.0%} of the pixels wrong", draw, many=100_000)


def boxes(quality: float) -> World:
    def draw(rng: np.random.Generator, rows: int) -> DetectionCounts:
        true, found = [], []
        for _ in range(rows):
            count = rng.integers(1, 4)
            corner = rng.uniform(0, 80, size=(count, 2)) + 100 * np.arange(count)[:, None]
            box = np.concatenate([corner, corner + rng.uniform(10, 30, size=(count, 2))], axis=1)
            kind = rng.integers(0, 3, size=count)
            seen = rng.random(count) < quality
            moved = box[seen] + rng.normal(scale=6 * (1 - quality) + 0.4, size=(seen.sum(), 4))
            false = rng.random() < 1 - quality
            extra = np.array([[900.0, 900, 920, 920]]) if false else np.zeros((0, 4))
            score = np.concatenate([rng.beta(6, 2, seen.sum()), rng.beta(2, 4, len(extra))])
            classes = np.concatenate([kind[seen], rng.integers(0, 3, size=len(extra))])
            true.append(Found(box, kind))
            found.append(Found(np.concatenate([moved, extra]), classes, score))
        return DetectionCounts.of(found, true, classes=3)

    return World("boxes", f"{quality:.0%} of the objects seen", draw, sizes=(30, 100, 300), many=30_000)


def translated(rng: np.random.Generator, rows: int, error: float, models: int = 1) -> list[TranslationCounts]:
    """The same sentences in the words of several models, each with errors of its own."""
    words = np.array([f"w{number}" for number in range(300)])
    often = 1 / np.arange(1, 301)
    often /= often.sum()
    found: list[list[str]] = [[] for _ in range(models)]
    references = []
    for _ in range(rows):
        reference = rng.choice(words, size=rng.integers(3, 20), p=often)
        references.append(" ".join(reference))
        for own in found:
            wrong = rng.random(len(reference)) < error * 2 * rng.random()
            own.append(" ".join(np.where(wrong, rng.choice(words, len(reference)), reference)))
    return [TranslationCounts.of(own, references, tokenization="none") for own in found]


def sentences(error: float) -> World:
    def draw(rng: np.random.Generator, rows: int) -> TranslationCounts:
        return translated(rng, rows, error)[0]

    return World("translations", f"{error:.0%} of the words wrong", draw, sizes=(30, 100, 300), many=8000)


def stream(persistence: float) -> World:
    """Windows of one series: errors of neighbouring steps are alike, and windows overlap."""

    def draw(rng: np.random.Generator, rows: int) -> Forecasts:
        horizon = 8
        steps = rows + horizon - 1
        noise = rng.normal(size=steps + 200)
        series = np.zeros(steps + 200)
        for step in range(1, steps + 200):
            series[step] = persistence * series[step - 1] + noise[step]
        errors = np.lib.stride_tricks.sliding_window_view(series[200:], horizon)[:, :, None].copy()
        truth = np.full_like(errors, 20.0)
        bands = np.stack([truth + errors - 1.5, truth + errors, truth + errors + 1.5], axis=-1)
        one = np.ones((rows, 1))
        return Forecasts(truth, truth + errors, one, one, np.arange(rows), (0.1, 0.5, 0.9), bands)

    return World(
        "forecasts", f"horizon 8, errors of persistence {persistence:g}", draw, sizes=(200, 500, 2000), many=_MANY
    )


def tokens(spread: float) -> World:
    def draw(rng: np.random.Generator, rows: int) -> TokenLosses:
        counts = rng.integers(5, 40, size=rows)
        level = rng.lognormal(0.5, spread, size=rows)
        return TokenLosses(rng.gamma(counts * 1.0, 1.0) * level, counts, int(counts.sum() * 4))

    return World("tokens", f"lines of log-normal losses, σ {spread:g}", draw, many=_MANY)


def returns(kind: str) -> World:
    of: dict[str, Callable[..., np.ndarray]] = {
        "normal": lambda rng, rows: rng.normal(size=rows),
        "mostly full marks": lambda rng, rows: np.where(rng.random(rows) < 0.9, 500.0, rng.uniform(0, 500, rows)),
        "sparse": lambda rng, rows: (rng.random(rows) < 0.2).astype(float),
        "exponential": lambda rng, rows: -rng.exponential(size=rows),
    }
    return World("returns", kind, lambda rng, rows: Sample(of[kind](rng, rows), "return"))


def seeds(kind: str) -> World:
    def draw(rng: np.random.Generator, rows: int) -> Sample:
        values = rng.normal(size=rows) if kind == "normal" else rng.standard_t(3, size=rows)
        return Sample(values, "iqm_return")

    return World("seeds", kind, draw, sizes=(3, 5, 10), many=_MANY)


WORLDS: tuple[World, ...] = (
    *(two_classes(auc, share) for share in (0.5, 0.1, 0.03) for auc in (0.5, 0.7, 0.9, 0.98, 0.998)),
    *(two_classes(auc, share, 2.0) for auc, share in ((0.7, 0.5), (0.9, 0.1))),
    several_classes(3.0, 3, 2.0),
    *(several_classes(sharpness, classes) for sharpness in (1.0, 3.0, 8.0) for classes in (3, 8)),
    *(quantity(errors, noise) for errors in ERRORS for noise in (0.3, 1.0)),
    *(quantiles(errors, (0.1, 0.5, 0.9)) for errors in ERRORS),
    quantiles("normal", (0.05, 0.95), 0.7),
    quantiles("log-normal", tuple((np.arange(19) + 1) / 20)),
    *(labels(sharpness) for sharpness in (1.0, 4.0)),
    *(masks(error) for error in (0.3, 0.05, 0.005)),
    *(boxes(quality) for quality in (0.6, 0.95)),
    *(sentences(error) for error in (0.5, 0.05)),
    *(stream(persistence) for persistence in (0.0, 0.8)),
    *(tokens(spread) for spread in (0.3, 0.8)),
    *(returns(kind) for kind in ("normal", "mostly full marks", "sparse", "exponential")),
    *(seeds(kind) for kind in ("normal", "Student's t, 3")),
)


def coverage(
    world: World, rows: int, replicates: int, seed: int = 0, names: tuple[str, ...] = ()
) -> dict[str, dict[str, float]]:
    """Of each measure: how often its interval holds the true value, on which side it misses, how often there is none."""
    truth = {name: each.value for name, each in _point(world.draw(np.random.default_rng(10**6), world.many)).items()}
    truth |= world.exact
    counted: dict[str, dict[str, Any]] = {}
    own = zlib.crc32(f"{world.kind} {world.name}".encode())
    for number in range(replicates):
        drawn = world.draw(np.random.default_rng([seed, own, rows, number]), rows)
        known = [name for name in names if name in drawn.measures()]
        for name, each in (intervals(drawn, known) if names else drawn.scores()).items():
            found = counted.setdefault(name, {"held": 0, "above": 0, "below": 0, "none": 0, "widths": []})
            if not each.known:
                found["none"] += 1
                continue
            found["held"] += each.low <= truth[name] <= each.high
            found["above"] += each.low > truth[name]
            found["below"] += each.high < truth[name]
            found["widths"].append(each.high - each.low)
    for found in counted.values():
        count = len(found["widths"])
        found["share"] = found["held"] / count if count else float("nan")
        found["width"] = float(np.median(found.pop("widths"))) if count else float("nan")
    return counted


Pair = Callable[[np.random.Generator, int], tuple[Evidence, Evidence]]


def _classifiers(share: float, noise: float) -> Pair:
    """Two models with the same signal and noise of their own."""

    def draw(rng: np.random.Generator, rows: int) -> tuple[Evidence, Evidence]:
        truth = (rng.random(rows) < share).astype(int)
        signal = 2.0 * (truth - 0.5) + rng.normal(size=rows)
        p = 1 / (1 + np.exp(-signal - noise * rng.normal(size=(2, rows))))
        return tuple(Rows("binary", truth, np.stack([1 - each, each], 1)) for each in p)  # type: ignore[return-value]

    return draw


def _predictors(first: str, second: str) -> Pair:
    """Two models whose errors share a part, and have the same mean square."""
    spread = {"normal": 1.0, "Student's t, 3": 3.0**0.5, "exponential": 1.0}

    def draw(rng: np.random.Generator, rows: int) -> tuple[Evidence, Evidence]:
        shared, truth = rng.normal(size=rows), np.zeros(rows)
        errors = [shared + ERRORS[kind](rng, rows) / spread[kind] for kind in (first, second)]
        return tuple(Rows("regression", truth, each) for each in errors)  # type: ignore[return-value]

    return draw


def _quantile_pairs(rng: np.random.Generator, rows: int) -> tuple[Evidence, Evidence]:
    """Two forecasts of the same number, each with noise of its own."""
    truth, at = rng.normal(size=rows), np.array([-1.81, 0.0, 1.81])
    centres = truth + rng.normal(size=rows) + rng.normal(size=(2, rows))
    ours, theirs = (Quantiles(truth, centre[:, None] + at, (0.1, 0.5, 0.9)) for centre in centres)
    return ours, theirs


def _translators(rng: np.random.Generator, rows: int) -> tuple[Evidence, Evidence]:
    ours, theirs = translated(rng, rows, 0.3, models=2)
    return ours, theirs


PAIRS: dict[str, tuple[tuple[str, ...], Pair]] = {
    "two classes, half positive": (
        ("accuracy", "roc_auc", "log_loss", "f1", "mcc", "ece", "brier"),
        _classifiers(0.5, 1.0),
    ),
    "two classes, 10 % positive": (("accuracy", "roc_auc", "average_precision", "log_loss"), _classifiers(0.1, 1.0)),
    "two classes, almost equal models": (("accuracy", "roc_auc"), _classifiers(0.3, 0.2)),
    "normal errors": (("rmse", "mae", "r2"), _predictors("normal", "normal")),
    "Student's t errors": (("rmse", "mae"), _predictors("Student's t, 3", "Student's t, 3")),
    "normal and exponential errors": (("rmse",), _predictors("normal", "exponential")),
    "quantiles": (("crps", "coverage"), _quantile_pairs),
    "translations": (("bleu",), _translators),
}


def false_claims(draw: Pair, name: str, rows: int, replicates: int, seed: int = 0) -> float:
    """How often two equally good models are called different."""
    claims = 0
    for number in range(replicates):
        low, high = difference(*draw(np.random.default_rng([seed, rows, number]), rows), name)
        claims += low > 0 or high < 0
    return claims / replicates


def _point(evidence: Evidence) -> dict[str, Any]:
    from danlu.evaluate import Interval

    values = dict(evidence.measures())
    if isinstance(evidence, TokenLosses):
        bits = evidence.counts.sum() / evidence.characters / np.log(2)
        values |= {"perplexity": np.exp(values["token_loss"]), "bits_per_character": values["token_loss"] * bits}
    return {name: Interval(value) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--kind", default="")
    parser.add_argument("--world", default="", help="only worlds whose name is one of these, between semicolons")
    parser.add_argument("--measures", default="", help="only these, between commas")
    parser.add_argument("--sizes", default="", help="only test sets of so many rows, between commas")
    parser.add_argument("--output", type=Path, default=None)
    given = parser.parse_args()
    begun = time.perf_counter()
    lines = []
    pooled: dict[tuple[str, int], list[float]] = defaultdict(list)
    for world in WORLDS:
        if given.kind not in world.kind or (given.world and world.name not in given.world.split(";")):
            continue
        for rows in map(int, given.sizes.split(",")) if given.sizes else world.sizes:
            names = tuple(filter(None, given.measures.split(",")))
            for name, found in coverage(world, rows, given.replicates, names=names).items():
                known = given.replicates - found["none"]
                line = (
                    f"| {world.kind} | {world.name} | {rows} | {name} | {found['share']:.3f} | {found['above'] / max(known, 1):.3f} "
                    f"| {found['below'] / max(known, 1):.3f} | {found['none'] / given.replicates:.2f} | {found['width']:.3g} |"
                )
                lines.append(line)
                if known:
                    pooled[name, rows].append(found["share"])
                if found["share"] < 0.93:
                    print(line, flush=True)
            print(
                f"-- {world.kind} {world.name} {rows}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True
            )
    claims = []
    for label, (names, draw) in PAIRS.items():
        for name in names if given.kind in "comparisons" else ():
            for rows in (30, 100, 300):
                share = false_claims(draw, name, rows, given.replicates)
                claims.append(f"| {label} | {rows} | {name} | {share:.3f} |")
                if share > 0.07:
                    print(claims[-1], flush=True)
    if given.output:
        summary = [
            f"| {name} | {rows} | {len(shares)} | {np.mean(shares):.3f} | {min(shares):.3f} |"
            for (name, rows), shares in sorted(pooled.items())
        ]
        parts = (
            HEAD.format(replicates=given.replicates, chance=2 * (0.95 * 0.05 / given.replicates) ** 0.5),
            lines,
            POOLED,
            summary,
            CLAIMS,
            claims,
        )
        given.output.write_text("".join(part if isinstance(part, str) else "\n".join(part) for part in parts) + "\n")


HEAD = """# How often the intervals hold

`python benchmarks/coverage.py`: {replicates} test sets of each kind and size. *Held*: the share of the 95 % intervals
that hold the true score, by chance ± {chance:.3f}; *above* and *below*: those that lie wholly above or below it; *none*: the share of
test sets that were too few rows for an interval; *width*: the median.

| kind | world | rows | measure | held | above | below | none | width |
|---|---|---:|---|---:|---:|---:|---:|---:|
"""
POOLED = """

# All worlds together

| measure | rows | worlds | held, mean | held, least |
|---|---:|---:|---:|---:|
"""
CLAIMS = """

# How often two equal models are called different

At most 5 % are meant to be.

| models | rows | measure | called different |
|---|---:|---|---:|
"""


if __name__ == "__main__":
    main()
