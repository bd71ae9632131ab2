"""How far a score may be from the truth: an interval for every measure, by leaving out a part of the rows at a time.

There is one mechanism for all measures. A measure is a function of weights of the rows. Each part of the rows (a single row, where
there are few; rows that belong together are one part) is left out in turn, which gives the measure's variance and skewness (the
jackknife). How an interval comes from them depends on the measure's :class:`~danlu.evaluate.families.Family`:

- **share** (ROC-AUC, F1, IoU, BLEU, …): the exact binomial interval of Clopper and Pearson for as many rows as would have this variance
  (Korn and Graubard's). Accuracy, precision and recall have the binomial interval itself; means of these over classes that of the mean.
- **loss** (log loss, RMSE, …) and **fit** (R², 1 minus a loss): Fay and Feuer's gamma interval, whose upper end is that of the rows with
  a few more as bad as the worst. Squared errors, whose tails are longer, are given more of these.
- **mean** (returns, differences of losses): Student's t, or that with the skewness removed by Hall's transformation where it is wider.
- **middle**: between two of the sorted errors, whose places are binomial.
- **gap** (calibration error, reliability): as far to either side as noise of this covariance reaches; see
  :mod:`~danlu.evaluate.gaps`.

What a few rows have not shown is thus allowed for: the interval of a perfect score is never a point. ``benchmarks/coverage.py``
measures how often the intervals hold.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.families import Family
from danlu.evaluate.gaps import gap_interval
from danlu.evaluate.measures import MEASURES

if TYPE_CHECKING:
    from danlu.evaluate.evidence import Evidence

__all__ = ["Interval", "apart", "difference", "intervals", "leave_out"]

_PARTS, _LEAST_PARTS = 400, 50  # that are left out in turn
_WORK = 2e7  # numbers that are gone through at most, but for the least parts
_FEWEST = 10  # rows for the interval of a loss
_FEWEST_OF_A_CLASS = 5  # for the interval of a calibration error
_CERTAIN = 6  # rows that all say the same: by chance once in 32 times
_NAN = float("nan")
_FEW = "too few rows"


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value and the interval that contains the true one for most samples of this size; NaN ends where there is none.

    Attributes:
        value, low, high: the value and the ends.
        why: why there is no interval, where there is none.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    why: str = dataclasses.field(default="", kw_only=True)

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def between(self) -> str:
        """The ends, with enough digits to differ."""
        if not self.known:
            return f"no interval: {self.why}" if self.why else "no interval"
        least = 1e-6 * max(abs(self.low), abs(self.high))  # what is less is 0 beside the other end
        ends = [0.0 if abs(end) < least else end for end in (self.low, self.high)]
        for digits in range(4, 12):
            low, high = (figure(end, digits) for end in ends)
            if low != high or self.low == self.high:
                break
        return f"{low} to {high}"

    @property
    def brief(self) -> str:
        """The value and the ends, if they are known, with three digits."""
        ends = f" ({figure(self.low, 3)} to {figure(self.high, 3)})" if self.known else ""
        return f"{figure(self.value, 3)}{ends}"

    def __str__(self) -> str:
        return f"{figure(self.value)} ({self.between})"


def figure(value: float, digits: int = 4) -> str:
    """A number as text: with that many significant digits, or all digits of a large one."""
    text = f"{value + 0.0:.{digits}g}"  # and no −0
    if abs(value) < 1e12 and (abs(value) >= 1e4 or "e+" in text):
        text = f"{value:,.0f}"
    return text.replace("-", "−", 1) if value < 0 else text


def parts_of(evidence: Evidence, seed: int) -> np.ndarray:
    """The part that each row belongs to, ``(rows,)``, from 0."""
    together = evidence.together
    if together is not None:
        return np.unique(together, return_inverse=True)[1]
    return _dealt(len(evidence), evidence.size, seed)


def _dealt(rows: int, size: int, seed: int) -> np.ndarray:
    """Independent rows, of which so many numbers are gone through, dealt out to parts."""
    most = int(min(_PARTS, max(_LEAST_PARTS, _WORK / max(size, 1))))
    if rows <= most:
        return np.arange(rows)
    return np.random.default_rng(seed).permutation(rows) % most


def leave_out(evidence: Evidence, part: np.ndarray, names: Sequence[str], count: int | None = None) -> np.ndarray:
    """Each measure without each part, ``(names, parts)``; NaN where there is one part. ``count``: how many parts there are in all."""
    found = np.full((len(names), int(part.max()) + 1 if count is None else count), _NAN)
    if found.shape[1] < 2:
        return found
    for number in range(found.shape[1]):
        values = evidence.measures((part != number).astype(np.float64), names)
        found[:, number] = [values[name] for name in names]
    if evidence.eased:
        whole = evidence.measures(None, names)
        found += np.array([[whole[name]] for name in names]) - found.mean(axis=1, keepdims=True)
    return found


def intervals(
    evidence: Evidence, names: Sequence[str] | None = None, *, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Every measure that is defined, with its interval.

    Args:
        evidence: test rows and what was predicted.
        names: which measures; None is all.
        level: how often the interval is to hold the true value, in (0, 1).
        seed: deals many rows out to parts.

    Raises:
        ConfigError: a level outside (0, 1).

    Reference:
        Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey
        data" (1998), Survey Methodology 24; half a row is added to the variance, so that they hold for a score of 1 as well.
        Fay & Feuer, "Confidence intervals for directly standardized rates" (1997), Statistics in Medicine 16; Hall, "On the removal
        of skewness by transformation" (1992), JRSS B 54. The model is not trained again: an
        interval tells what other test rows, not what other training rows, would change.

    Example:
        >>> from danlu.evaluate import Rows
        >>> perfect = Rows("binary", np.tile([0, 1], 15), np.tile([[0.9, 0.1], [0.2, 0.8]], (15, 1)))
        >>> str(intervals(perfect)["accuracy"])
        '1 (0.8843 to 1)'
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; expected a share above 0 and below 1")
    values = {name: value for name, value in evidence.measures(None, names).items() if math.isfinite(value)}
    part, found = parts_of(evidence, seed), dict.fromkeys(values, Interval(_NAN))
    plain = tuple(name for name in values if MEASURES[name].family.kind != "gap")
    for name, without in zip(plain, leave_out(evidence, part, plain), strict=True):
        ends = _widened(values[name], _ends(evidence, name, values[name], without, level), evidence, name)
        why = "" if np.isfinite(ends).all() else _why(evidence, name, without)
        found[name] = Interval(values[name], *ends, why=why)
    for name in (name for name in values if name not in plain):
        ends = _widened(values[name], _gap(evidence, name, part, level), evidence, name)
        found[name] = Interval(values[name], *ends, why="" if np.isfinite(ends).all() else _FEW)
    return found


def _widened(value: float, ends: tuple[float, float], evidence: Evidence, name: str) -> tuple[float, float]:
    """The ends further from the value, where the rows were answered by models that learnt from the same rows."""
    if not evidence.shared > 0:
        return ends
    by, (least, most) = math.sqrt(1 + evidence.shared), MEASURES[name].family.bounds
    return max(value + by * (ends[0] - value), least), min(value + by * (ends[1] - value), most)


def _why(evidence: Evidence, name: str, without: np.ndarray) -> str:
    """Why there is no interval."""
    if MEASURES[name].family.kind == "middle" and evidence.together is not None:
        return "rows belong together"
    enough = len(without) >= _FEWEST and np.isfinite(without).all()
    alike = enough and np.ptp(without) <= 1e-12 * max(float(np.abs(without).max()), 1e-300)
    return "rows are all alike" if alike else _FEW


def _ends(evidence: Evidence, name: str, value: float, without: np.ndarray, level: float) -> tuple[float, float]:
    family = MEASURES[name].family
    if family.kind == "middle":
        return evidence.middle(name, level)
    if len(without) < 2 or not np.isfinite(without).all():
        return _NAN, _NAN
    shares = evidence.shares(name)
    if shares is not None and evidence.together is None:
        return _mean_of_shares(*shares, level)
    if family.kind == "share":
        return _share(family, value, without, evidence.support(name), level)
    if family.kind == "mean":
        return _mean(value, without, evidence.support(name), level)
    doubt = evidence.doubted(name)
    if family.kind == "fit":
        low, high = _loss(family, 1 - value, 1 - without, doubt, evidence, level)
        return 1 - high, 1 - low
    return _loss(family, value, without, doubt, evidence, level)


def _gap(evidence: Evidence, name: str, part: np.ndarray, level: float) -> tuple[float, float]:
    if int(part.max()) + 1 < _FEWEST or evidence.support(name) < _FEWEST_OF_A_CLASS:
        return _NAN, _NAN
    return gap_interval(MEASURES[name].family, *evidence.terms(name, part), level)


def _share(family: Family, value: float, without: np.ndarray, support: float, level: float) -> tuple[float, float]:
    """The binomial interval of as many rows as have this variance."""
    if support < 1:
        return _NAN, _NAN
    share, without = (value - family.low) / family.range, (without - family.low) / family.range
    if family.dice:
        share, without = share / (2 - share), without / (2 - without)
    # Half a row more, hit and missed: of a perfect score it makes as many rows as the score rests on.
    drawn = (support * share + 0.5) / (support + 1)
    variance = _variance(without) + (0.5 * support + 0.25) / (support * (support + 1) ** 2)
    rows = drawn * (1 - drawn) / variance
    # An average precision is too high in small samples. The jackknife says by how much, and the interval reaches that far as well.
    unbiased = min(max(share - (len(without) - 1) * float(without.mean() - share), 0.0), 1.0)
    low = binomial(rows * min(share, unbiased), rows, level)[0]
    high = binomial(rows * max(share, unbiased), rows, level)[1]
    if family.dice:
        low, high = 2 * low / (1 + low), 2 * high / (1 + high)
    return family.low + family.range * float(low), family.low + family.range * float(high)


def binomial(hits: Any, rows: Any, level: float) -> tuple[Any, Any]:
    """Clopper and Pearson's interval of ``hits`` in ``rows``, which need not be whole numbers."""
    from scipy.special import betaincinv

    misses, tail = rows - hits, (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, betaincinv(np.maximum(hits, 1e-300), misses + 1, tail), 0.0)
        high = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, 1e-300), 1 - tail), 1.0)
    return low, high


def _mean_of_shares(hits: np.ndarray, rows: np.ndarray, level: float) -> tuple[float, float]:
    """The interval of the mean of independent shares: the distances to their ends are added as squares.

    Reference: Zou & Donner, "Construction of confidence limits about effect measures" (2008), Statistics in Medicine 27.
    """
    low, high = binomial(hits, rows, level)
    share = np.divide(hits, rows, out=np.zeros(len(rows)), where=rows > 0)
    mean, count = float(share.mean()), len(rows)
    down, up = (float(np.sqrt(((share - end) ** 2).sum())) / count for end in (low, high))
    return max(mean - down, 0.0), min(mean + up, 1.0)


def _variance(without: np.ndarray) -> float:
    """The jackknife's."""
    return float((len(without) - 1) * without.var())


def _loss(
    family: Family, value: float, without: np.ndarray, doubt: float, evidence: Evidence, level: float
) -> tuple[float, float]:
    """The gamma interval of a sum of so many rare losses; the upper end is that with some more of the worst."""
    from scipy.special import gammaincinv

    count, single = len(without), evidence.together is None
    if not value > 0 or not (without >= 0).all() or (single and count < _FEWEST):
        return _NAN, _NAN
    value, without = value**family.power, without**family.power
    variance = _variance(without)
    worst = max(float(without.mean() - without.min()) * (count - 1) / count, doubt)  # what it adds beyond its share
    guards = family.guards[0] + (family.guards[1] / count if single else 0.0)
    if not variance + worst > 1e-12 * value:
        return _NAN, _NAN  # all rows say the same: nothing tells how far others may differ
    above, spread, tail = value + guards * worst, variance + guards * worst**2, (1 - level) / 2
    low = value if not variance > 0 else float(gammaincinv(value**2 / variance, tail)) * variance / value
    high = float(gammaincinv(above**2 / spread, 1 - tail)) * spread / above
    return low ** (1 / family.power), high ** (1 / family.power)


def _mean(value: float, without: np.ndarray, support: float, level: float) -> tuple[float, float]:
    """Student's interval, and where that is wider, that with its skewness removed.

    Each end is moved as one more of the best or worst part would move it.
    """
    from scipy.special import stdtrit

    count = len(without)
    influence = (count - 1) * (without.mean() - without)
    spread = float(influence.std(ddof=1))
    if not spread > 1e-12 * max(1e-300, float(np.abs(without).max())):
        return _NAN, _NAN
    skewness = float((influence**3).mean() / (influence**2).mean() ** 1.5)
    error, z = spread / math.sqrt(count), float(stdtrit(max(min(count, support) - 1, 1), (1 + level) / 2))
    low, high = influence.min() / (count + 1), influence.max() / (count + 1)
    return (
        value + min(low, 0.0) - error * max(_hall(z, skewness, count), z),
        value + max(high, 0.0) - error * min(_hall(-z, skewness, count), -z),
    )


def _hall(z: float, skewness: float, count: int) -> float:
    """The quantile of the skewed t whose transform has the quantile ``z``: the inverse of ``t + a·t²/3 + a²·t³/27 + a/6``."""
    a = skewness / math.sqrt(count)
    if abs(a) < 1e-9:
        return z
    return float(3 / a * (np.cbrt(1 + a * (z - a / 6)) - 1))


def difference(
    ours: Evidence, theirs: Evidence, name: str, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of our measure minus theirs; NaN where there are too few rows.

    A part of the rows is left out of both at once; of independent samples (whose rows are not pairs), out of the one that it is of.

    Raises:
        DataError: evidence of other rows.
    """
    ours.check_same(theirs)
    support = [each.support(name) for each in (ours, theirs)]
    if ours.paired:
        parts = [parts_of(ours, seed)] * 2
    else:
        both = [each.together for each in (ours, theirs)]
        if both[0] is not None and both[1] is not None:
            part = np.unique(np.concatenate([both[0], both[1]]), return_inverse=True)[1]
        else:
            part = _dealt(len(ours) + len(theirs), ours.size + theirs.size, seed)
        parts = np.split(part, [len(ours)])
    count = max(int(part.max()) for part in parts) + 1
    without = leave_out(ours, parts[0], (name,), count)[0] - leave_out(theirs, parts[1], (name,), count)[0]
    value = ours.measures(None, (name,))[name] - theirs.measures(None, (name,))[name]
    family = MEASURES[name].family
    if len(without) < 2 or not np.isfinite([value, *without]).all():
        return _NAN, _NAN
    by = math.sqrt(1 + max(ours.shared, theirs.shared))
    if family.kind == "share":
        low, high = _share_gap(family, value, without, min(support), level)
        return max(value + by * (low - value), -family.range), min(value + by * (high - value), family.range)
    if family.kind == "gap":  # no normal variable where one of the two is near 0: both intervals hold at once
        own, other = (intervals(each, (name,), level=(1 + level) / 2, seed=seed)[name] for each in (ours, theirs))
        return own.low - other.high, own.high - other.low
    ends = _mean(value, without, support[0] if ours.paired else sum(support), level)
    if not np.isfinite(ends).all() and min(len(np.unique(part)) for part in parts) >= _CERTAIN:
        return value, value  # every row says the same
    return value + by * (ends[0] - value), value + by * (ends[1] - value)


def apart(ours: Interval, theirs: Interval) -> Interval:
    """The difference of two scores of independent tests, from the interval of each.

    ``d − √((a − a₁)² + (b₂ − b)²)`` to ``d + √((a₂ − a)² + (b − b₁)²)`` with ``d = a − b``, for ``a`` in ``a₁`` to ``a₂`` and ``b`` in
    ``b₁`` to ``b₂``: it has the level of the two. Of tests that share rows it is wider than need be.

    Reference: Zou & Donner, "Construction of confidence limits about effect measures: a general approach" (2008), Statistics in
    Medicine 27.

    Example:
        >>> apart(Interval(0.9, 0.86, 0.93), Interval(0.8, 0.7, 0.84)).between
        '0.04343 to 0.2044'
    """
    low = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    high = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    value = ours.value - theirs.value
    return Interval(value, value - low, value + high)


def _share_gap(family: Family, value: float, without: np.ndarray, support: float, level: float) -> tuple[float, float]:
    """Student's interval with a row more for either side.

    Reference: Bonett & Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data" (2012).
    """
    from scipy.special import stdtrit

    support = max(support, 1.0)
    shrunk = value * support / (support + 2)
    error = math.sqrt(_variance(without) + 2 * (family.range / (support + 2)) ** 2)
    reach = float(stdtrit(len(without) - 1, (1 + level) / 2)) * error
    return max(shrunk - reach, -family.range), min(shrunk + reach, family.range)
