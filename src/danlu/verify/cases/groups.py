"""What is told of groups of rows: rates and gaps by counting, and the worst slices by trying all."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.evaluate import Groups, Rows, fairness, worst_slices
from danlu.evaluate.group_thresholds import group_thresholds
from danlu.tasks.fair import reweighed
from danlu.tasks.penalty import GroupGap
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

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


@case("metric.group_thresholds")
def thresholds(check: Check) -> None:
    """No other pair of thresholds is right more often while the groups are as close."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], [30, 20])
    p = rng.permutation(50) / 50
    truth = (rng.random(50) < np.clip(p + 0.2 * (group == 0) - 0.1, 0, 1)).astype(int)

    def rates(cut, code, criterion):
        own = group == code
        chosen = p[own] >= cut
        if criterion == "demographic_parity":
            return [chosen.mean()]
        found = [chosen[truth[own] == 1].mean()]
        return found if criterion == "equal_opportunity" else [*found, chosen[truth[own] == 0].mean()]

    cuts = [1.001, *sorted(set(p.tolist()))]
    for criterion in ("demographic_parity", "equal_opportunity", "equalized_odds"):
        # half a step of a rate is allowed beyond the gap: brute force looks for the same
        for gap in (0.1, 0.2):
            found = group_thresholds(p, truth, group, criterion=criterion, gap=gap)
            off = [abs(a - b) for a, b in zip(*(rates(found[code], code, criterion) for code in (0, 1)), strict=True)]
            right = sum(int(((p[group == code] >= found[code]) == truth[group == code]).sum()) for code in (0, 1))
            best = max(
                sum(int(((p[group == code] >= cut) == truth[group == code]).sum()) for code, cut in enumerate(pair))
                for pair in itertools.product(cuts, cuts)
                if all(
                    abs(a - b) <= gap - 1 / 25
                    for a, b in zip(*(rates(pair[code], code, criterion) for code in (0, 1)), strict=True)
                )
            )
            check([max(off) <= gap + 0.03, right >= best], [True, True], oracle="brute force")


@case("loss.group_gap")
def penalty(check: Check) -> None:
    """The penalty on groups by its sums in float64, for classes, for members of an ensemble and for a quantity, and its gradient."""
    weights = np.abs(draw(12)) + 0.1
    group, label = np.array([0, 1, 2] * 3 + [0, -1, 1]), np.array([0, 1] * 6)
    targets = {"label": jnp.asarray(label), "group": jnp.asarray(group)}

    def spread(rates, where):
        total, found = weights[where].sum(), 0.0
        mean = (weights[where, None] * rates[where]).sum(axis=0) / total
        for code in range(3):
            own = where & (group == code)
            if own.any():
                rate = (weights[own, None] * rates[own]).sum(axis=0) / weights[own].sum()
                found += weights[own].sum() * ((rate - mean) ** 2).sum()
        return found / total

    def expected(outputs, criterion, classes):
        rates = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True) if classes else outputs
        rates, kept = rates.mean(axis=1), group >= 0
        if criterion == "demographic_parity":
            return spread(rates, kept)
        if criterion == "equal_opportunity":
            return spread(rates[:, 1:2], kept & (label == 1))
        return sum(spread(rates, kept & (label == code)) for code in range(classes))

    for criterion, classes in (
        ("demographic_parity", 2), ("equal_opportunity", 2), ("equalized_odds", 2), ("demographic_parity", 0),
    ):  # fmt: skip
        outputs = draw(12, 3, max(classes, 1))
        loss = GroupGap(groups=3, classes=classes, criterion=criterion)

        def ours(z, loss=loss):
            return loss(z, targets, jnp.asarray(weights, jnp.float32))

        check(ours(jnp.asarray(outputs, jnp.float32)), expected(outputs, criterion, classes))
        slope = finite_difference(functools.partial(expected, criterion=criterion, classes=classes), outputs)
        check(jax.grad(ours)(jnp.asarray(outputs, jnp.float32)), slope, oracle="finite differences")


@case("data.reweighing")
def reweighing(check: Check) -> None:
    """With the weights the share of each class is the same in every group, and no class or group counts more than before."""
    rng = np.random.default_rng(0)
    label, group = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    weight = reweighed(label, group)
    for code in range(4):
        own = group == code
        check(weight[own].sum(), own.sum(), oracle="closed form")
        for name in range(3):
            share = weight[own & (label == name)].sum() / weight[own].sum()
            check(share, np.mean(label == name), oracle="closed form")
