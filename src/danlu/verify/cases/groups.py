"""What is told of groups of rows: rates and gaps by counting, and the worst slices by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from danlu.evaluate import Groups, Rows, fairness, worst_slices
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("metric.fairness")
def gaps(check: Check) -> None:
    """Each criterion's difference and ratio, by counting rows one at a time; fairlearn's where it is installed."""
    rng = np.random.default_rng(0)
    names = np.repeat(["a", "b", "c"], [90, 70, 50])
    truth = (rng.random(210) < np.repeat([0.5, 0.4, 0.3], [90, 70, 50])).astype(int)
    p = np.clip(0.3 + 0.3 * truth + 0.3 * draw(210), 0.01, 0.99)
    found = fairness(Rows("binary", truth, np.stack([1 - p, p], axis=1)), Groups.of(pl.Series("g", names)))
    chosen = [int(each >= 0.5) for each in p]
    rows = list(zip(names.tolist(), truth.tolist(), chosen, p.tolist(), strict=True))

    def rate(value, where):
        each = []
        for name in "abc":
            own = [value(y, z, q) for g, y, z, q in rows if g == name and where(y, z)]
            each.append(sum(own) / len(own))
        return max(each) - min(each), min(each) / max(each)

    positive = rate(lambda y, z, q: z, lambda y, z: y == 1)
    false = rate(lambda y, z, q: z, lambda y, z: y == 0)
    expected = {
        "demographic_parity": rate(lambda y, z, q: z, lambda y, z: True),
        "equal_opportunity": positive,
        "equalized_odds": (max(positive[0], false[0]), min(positive[1], false[1])),
        "predictive_parity": rate(lambda y, z, q: y, lambda y, z: z == 1),
        "accuracy_parity": rate(lambda y, z, q: y == z, lambda y, z: True),
    }
    for name, (difference, ratio) in expected.items():
        gap = found.gap(name)
        check([gap.difference.value, 0.0 if gap.ratio is None else gap.ratio.value], [difference, ratio])
    check(found.gap("calibration").difference.value, rate(lambda y, z, q: q - y, lambda y, z: True)[0])
    if library := check.module("fairlearn.metrics"):
        given = {"y_true": truth, "y_pred": chosen, "sensitive_features": names}
        for name in ("demographic_parity", "equalized_odds"):
            theirs = [getattr(library, f"{name}_{way}")(**given) for way in ("difference", "ratio")]
            gap = found.gap(name)
            check([gap.difference.value, 0.0 if gap.ratio is None else gap.ratio.value], theirs, oracle="fairlearn")


@case("metric.slices")
def slices(check: Check) -> None:
    """The worst slice of up to three conditions is that of all slices on the rows searched, and is judged on the others alone."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {name: rng.choice(list(levels), 400) for name, levels in (("a", "xyz"), ("b", "uvw"), ("c", "pq"))}
    )
    bad = ((frame["a"] == "x") & (frame["b"] == "u")).to_numpy()
    error = np.abs(draw(400)) * np.where(bad, 3.0, 1.0)
    order = np.random.default_rng(0).permutation(400)
    search, judge = np.sort(order[:200]), np.sort(order[200:])
    best, worst = -np.inf, np.zeros(400, bool)
    conditions = [(frame[name] == level).to_numpy() for name in "abc" for level in sorted(set(frame[name]))]
    for count in (1, 2, 3):
        for some in itertools.combinations(conditions, count):
            mask = np.logical_and.reduce(some)
            inside, outside = error[search][mask[search]], error[search][~mask[search]]
            if min(len(inside), len(outside)) < 20:
                continue
            t = (inside.mean() - outside.mean()) / np.sqrt(
                inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)
            )
            if t > best:
                best, worst = t, mask
    found = worst_slices(Rows("regression", np.zeros(400), error), frame, most=1)
    first = found.slices[0]
    inside, outside = error[judge][worst[judge]], error[judge][~worst[judge]]
    check([first.rows, first.loss, first.others], [len(inside), inside.mean(), outside.mean()], oracle="brute force")
