"""Confident learning: which labels are probably wrong, from probabilities of a model that did not see them."""

from __future__ import annotations

import dataclasses

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.calibrate import fit_temperature, scaled

__all__ = ["LabelErrors", "Overlap", "confident_joint", "label_errors", "overlap"]

_LEAST_LEFT = 1  # rows of a class that are never all called wrong
_SURE = 3.0  # standard deviations
_RANGE = (-3.0, 3.0)  # of the logarithm of a temperature


@dataclasses.dataclass(frozen=True, eq=False)
class LabelErrors:
    """Labels that are probably wrong.

    Attributes:
        rows: indices of rows, the least believed label first.
        belief: of every row, the probability of its label, ``(rows,)``: the smaller, the less it is believed.
        suggested: of every row, the most probable class, ``(rows,)``.
        joint: how many rows of each label (down) are of each class (across) by the estimate, ``(classes, classes)``; it sums to
            the number of rows.
    """

    rows: np.ndarray
    belief: np.ndarray
    suggested: np.ndarray
    joint: np.ndarray

    @property
    def share(self) -> float:
        """The estimated share of labels that are wrong."""
        return float(1 - np.trace(self.joint) / self.joint.sum())


def confident_joint(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    r"""How many rows of each given label are of each true class, as far as a model is confident.

    .. math::
        t_j = \frac{1}{|X_j|} \sum_{x \in X_j} p_j(x), \qquad
        C_{ij} = |\{x : \text{label}(x) = i,\ \arg\max_{k:\, p_k(x) \ge t_k} p_k(x) = j\}|,

    X_j the rows with the label j: a row counts as of class j if its probability is at least the mean probability of j among the rows
    that are labelled so. The counts are then scaled so that row i sums to the number of labels i.

    Args:
        labels: class codes, ``(rows,)``.
        probabilities: ``(rows, classes)``, of a model that did not see the row's label.

    Returns:
        ``(classes, classes)``: labels down, classes across.

    Raises:
        DataError: arrays that do not fit each other.

    Reference:
        Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (JAIR 2021), section 3.1.

    Example:
        >>> joint = confident_joint(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]]))
        >>> joint.tolist()
        [[1.0, 1.0], [0.0, 2.0]]
    """
    labels, found = _checked(labels, probabilities)
    classes = found.shape[1]
    counts = np.bincount(labels, minlength=classes)
    bound = np.bincount(labels, found[np.arange(len(labels)), labels], minlength=classes) / np.maximum(counts, 1)
    bound[counts == 0] = 2.0  # a class that no label names is never confident
    confident = found >= bound - 1e-6
    sure = confident.any(1)
    where = np.where(confident.sum(1) > 1, found.argmax(1), confident.argmax(1))
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[sure], where[sure]), 1)
    joint[np.diag_indices(classes)] = np.maximum(joint.diagonal(), 1)
    scaled = joint / joint.sum(1)[:, None] * counts[:, None]
    return np.array([_rounded(line) for line in scaled])


def _rounded(line: np.ndarray) -> np.ndarray:
    """Whole numbers with the same sum: those whose rounding is furthest off are rounded the other way."""
    whole = np.round(line)
    lack = int(np.round(line.sum())) - int(whole.sum())
    order = np.argsort(line - whole)
    whole[(order[::-1] if lack > 0 else order)[: abs(lack)]] += np.sign(lack)
    return whole


def label_errors(labels: np.ndarray, probabilities: np.ndarray) -> LabelErrors:
    """The labels that are probably wrong.

    Of the rows with label i as many are called wrong in favour of class j as :func:`confident_joint` says: those whose margin
    ``p_j − p_i`` is largest ("prune by noise rate"). A row whose label is the most probable class is never called wrong, and one row of
    a class always stays. They are sorted by the probability of their label ("self-confidence").

    Args:
        labels: class codes, ``(rows,)``.
        probabilities: ``(rows, classes)``, of a model that did not see the row's label: out of fold.

    Raises:
        DataError: arrays that do not fit each other.

    Reference:
        Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels" (JAIR 2021), section 3.2, method
        4, with the two cautions of cleanlab's ``find_label_issues``: whole counts, and a label that is the most probable class stays.

    Example:
        >>> sure = np.array([[0.95, 0.05]] * 10 + [[0.05, 0.95]] * 10)
        >>> labels = np.array([0] * 9 + [1] + [1] * 10)
        >>> found = label_errors(labels, sure)
        >>> found.rows.tolist(), found.suggested[9].item(), round(found.share, 2)
        ([9], 0, 0.05)
    """
    labels, found = _checked(labels, probabilities)
    joint = confident_joint(labels, found)
    rows, classes = found.shape
    counts = np.bincount(labels, minlength=classes)
    off = _to_prune(joint)
    own = found[np.arange(rows), labels]
    wrong = np.zeros(rows, bool)
    for label in range(classes):
        at = np.flatnonzero(labels == label)
        if counts[label] <= _LEAST_LEFT:
            continue
        for other in range(classes):
            if other != label:
                margin = found[at, other] - own[at]
                wrong[at[np.argsort(-margin)[: off[label, other]]]] = True
    suggested = found.argmax(1)
    wrong &= suggested != labels
    chosen = np.flatnonzero(wrong)
    return LabelErrors(chosen[np.argsort(own[chosen], kind="stable")], own, suggested, joint)


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What a model's probabilities say of labels: how far classes overlap, and how many labels are wrong beside that.

    Attributes:
        doubted: how many labels :func:`label_errors` would call wrong, in the mean, if none were.
        wrong: the estimated share of labels that are wrong wherever the row lies.
        gain: twice the gain of log likelihood by that share, over overlap alone.
    """

    doubted: float
    wrong: float
    gain: float

    @property
    def exceeded(self) -> bool:
        """Whether overlap alone surely does not explain the labels (three standard deviations)."""
        return self.gain > _SURE**2


def overlap(labels: np.ndarray, probabilities: np.ndarray, *, draws: int = 4, seed: int = 0) -> Overlap:
    r"""How many labels would be doubted if none were wrong, and whether some are.

    A model that is right in four of five rows doubts a fifth of the labels, and no label need be wrong. Where classes overlap,
    contradicted rows are those that the model is unsure of; wrong labels lie anywhere. So two explanations of the labels are compared
    by their likelihood: calibrated probabilities :math:`p_{ik}(T) \propto p_{ik}^{1/T}` alone, and these with a share of labels drawn
    blindly,

    .. math::
        q_{ik} = (1 - \varepsilon)\, p_{ik}(T) + \varepsilon / K, \qquad \text{wrong} = \varepsilon (1 - 1/K), \qquad
        \text{gain} = 2 \left( \max_{T, \varepsilon} \sum_i \ln q_{i y_i} - \max_T \sum_i \ln p_{i y_i}(T) \right).

    Labels drawn from the first explanation are doubted as those that there are, which gives ``doubted``.

    Args:
        labels: class codes, ``(rows,)``.
        probabilities: ``(rows, classes)``, of a model that did not see the row's label.
        draws: how many times labels are drawn for the mean of those doubted.
        seed: decides them.

    Reference:
        The floor is that of robust regression of classes (Copas 1988, "Binary regression models for contaminated data", J. R. Stat. Soc. B
        50), with calibrated answers in place of the regression.

    Example:
        >>> rng = np.random.default_rng(3)
        >>> second = rng.beta(0.3, 0.3, 4000)  # classes that overlap
        >>> p, labels = np.column_stack([1 - second, second]), (rng.random(4000) < second).astype(int)
        >>> found = overlap(labels, p)
        >>> 0.9 < len(label_errors(labels, p).rows) / found.doubted < 1.1, found.exceeded
        (True, False)
        >>> found = overlap(np.where(rng.random(4000) < 0.05, 1 - labels, labels), p)
        >>> found.exceeded, 0.04 < found.wrong < 0.06
        (True, True)
    """
    from scipy.optimize import minimize

    labels, found = _checked(labels, probabilities)
    at, classes = np.arange(len(labels)), found.shape[1]
    temperature = fit_temperature(found, labels)
    likely = scaled(found, temperature)

    def misfit(place: np.ndarray) -> float:
        blind = 1 / (1 + np.exp(-place[1]))
        own = scaled(found, np.exp(np.clip(place[0], *_RANGE)))[at, labels]
        return -float(np.log((1 - blind) * own + blind / classes).sum())

    alone = -float(np.log(np.maximum(likely[at, labels], np.finfo(float).tiny)).sum())
    begins = [(np.log(temperature), -4.0), (np.log(temperature) - 0.7, -2.5)]
    best = min((minimize(misfit, start, method="Nelder-Mead") for start in begins), key=lambda each: each.fun)
    blind = float(1 / (1 + np.exp(-best.x[1])))
    rng, doubted = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = (likely.cumsum(1) < rng.random((len(labels), 1))).sum(1).clip(0, classes - 1)
        doubted.append(len(label_errors(drawn, found).rows))
    return Overlap(float(np.mean(doubted)), blind * (1 - 1 / classes), max(2 * (alone - float(best.fun)), 0.0))


def _to_prune(joint: np.ndarray) -> np.ndarray:
    """How many rows of each label are called wrong in favour of each class, when one row of each stays."""
    kept = np.maximum(joint.diagonal(), _LEAST_LEFT)
    others = np.maximum(np.count_nonzero(joint, axis=1) - 1, 1)
    less = np.maximum(joint - ((kept - joint.diagonal()) / others)[:, None], 0)
    less[np.diag_indices(len(joint))] = kept
    return np.array([_rounded(line) for line in less.T]).T.astype(np.int64)


def _checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, found = np.asarray(labels), np.asarray(probabilities, np.float64)
    if found.ndim != 2 or labels.shape != found.shape[:1] or not len(labels):
        raise DataError(f"labels {labels.shape} and probabilities {found.shape}; expected (rows,) and (rows, classes)")
    if labels.min() < 0 or labels.max() >= found.shape[1] or not np.isfinite(found).all():
        raise DataError(
            f"labels reach {labels.max()} of {found.shape[1]} classes; expected codes from 0 and finite probabilities"
        )
    return labels.astype(np.int64), found
