"""The audit of labelled texts and images: copies, empty ones, wrong labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from danlu.auditing.finding import Finding, are, numbers_in_words
from danlu.auditing.labels import class_counts, out_of_fold, wrong_labels
from danlu.data.twins import equal_rows
from danlu.prose import percent
from danlu.stages import stage

__all__ = [
    "AS_BRIGHT",
    "Labels",
    "bare_text",
    "copies",
    "image_probabilities",
    "labelled",
    "near_groups",
    "near_images",
    "plain_images",
    "text_findings",
    "text_probabilities",
]

_MANY = 0.01
_PLAIN = 1.0  # standard deviation of the brightness, of 255
_SAME = 3.0  # of 255: the largest difference of the brightness of two pictures' cells that are nearly the same
_FEW_TEXTS = 1000
_ROWS = 15_000  # that each fold's model learns from at most
_WORK = 2e7  # the same times columns times classes


class Labels:
    """The labels of items, their numbers and names in the source.

    Args:
        target: what the label is called.
        codes: class codes ``(rows,)``, or values of a quantity.
        classes: the names of the classes; empty of a quantity.
        numbers: of the items in the source, from 1.
        parts: the part of each, where the source says so.
        names: of the items' files, where there are.
        unit: what they are called.
    """

    def __init__(
        self,
        target: str,
        codes: np.ndarray,
        classes: Sequence[str],
        numbers: np.ndarray,
        *,
        parts: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        unit: str = "texts",
    ) -> None:
        self.target, self.codes, self.classes, self.numbers = target, codes, classes, numbers
        self.parts, self.names, self.unit = parts, names, unit

    def take(self, rows: np.ndarray) -> Labels:
        """Those of some of the items."""
        return Labels(
            self.target,
            self.codes[rows],
            self.classes,
            self.numbers[rows],
            parts=None if self.parts is None else self.parts[rows],
            names=None if self.names is None else [self.names[row] for row in rows],
            unit=self.unit,
        )

    def said(self, rows: np.ndarray) -> str:
        """Some items in words: their files, or their numbers."""
        if self.names is None:
            return numbers_in_words(self.numbers[rows], self.unit.rstrip("s"))
        shown = [self.names[row] for row in rows[:3]]
        return ", ".join(shown) + (", …" if len(rows) > 3 else "")

    def rows(self, rows: np.ndarray) -> tuple[int, ...]:
        """Their numbers in the source."""
        return tuple(int(number) for number in self.numbers[rows])

    def evidence(self, rows: np.ndarray, **more: Any) -> dict[str, Any]:
        """Figures about some items, with their files' names."""
        return {**more, **({} if self.names is None else {"names": [self.names[row] for row in rows]})}


def copies(labels: Labels, keys: Sequence[Any], *, nearly: str = "") -> Iterator[Finding]:
    """Items that are equal by their keys: within a part, across parts, and with different labels.

    Args:
        nearly: how near they are, where they are not equal.
    """
    groups = equal_rows(keys)
    sizes = np.bincount(groups)
    again = np.ones(len(groups), bool)
    again[np.unique(groups, return_index=True)[1]] = False
    if not again.any():
        return
    kind = f"nearly equal to another one ({nearly})" if nearly else "equal to an earlier one"
    same = "nearly equal" if nearly else "equal"
    check = f"near-duplicate {labels.unit}" if nearly else f"duplicate {labels.unit}"
    if labels.parts is not None:
        train = np.isin(groups, groups[labels.parts == "train"]) & (labels.parts != "train")
        rows = np.flatnonzero(train)
        if len(rows):
            share = len(rows) / max(int((labels.parts != "train").sum()), 1)
            yield Finding(
                f"{labels.unit} in two parts",
                "serious" if share >= _MANY and not nearly else "warning",
                f"{are(len(rows), labels.unit)} in the validation and test parts ({percent(share, 1)} of these) and {same} to one of "
                f"the training part: {labels.said(rows)}",
                (),
                labels.rows(rows),
                labels.evidence(rows, share=round(share, 4)),
                "take them out of one part: a model has learnt their answers",
            )
    rows = np.flatnonzero(again)
    yield Finding(
        check,
        "warning" if len(rows) >= _MANY * len(groups) else "note",
        f"{are(len(rows), labels.unit)} {kind} ({percent(len(rows) / len(groups), 1)}): {labels.said(rows)}",
        (),
        labels.rows(rows),
        labels.evidence(rows, repeats=len(rows), largest=int(sizes.max())),
        "delete all but one"
        if nearly
        else "divided at random, equal ones stay in one part (split.equal_rows=together, the default)",
    )
    if not labels.classes:
        return
    low, high = np.full(len(sizes), np.iinfo(np.int64).max), np.full(len(sizes), -1)
    np.minimum.at(low, groups, labels.codes)
    np.maximum.at(high, groups, labels.codes)
    rows = np.flatnonzero((low < high)[groups])
    if len(rows):
        yield Finding(
            f"equal {labels.unit}, other {labels.target}",
            "warning" if len(rows) >= _MANY * len(groups) else "note",
            f"{len(rows):,} {labels.unit} are {same} to another one and have a different {labels.target}: "
            f"{labels.said(rows)}",
            (labels.target,),
            labels.rows(rows),
            labels.evidence(rows),
            "one of the labels is wrong: correct it",
        )


def labelled(labels: Labels, predict: Callable[[], np.ndarray] | None) -> Iterator[Finding]:
    """What the labels say by themselves, and those that a model contradicts.

    Args:
        predict: gives probabilities out of fold, ``(rows, classes)``; None looks for no label errors.
    """
    if not labels.classes:
        return
    counts = np.bincount(labels.codes, minlength=len(labels.classes))
    yield from class_counts(labels.target, counts, labels.classes, unit=labels.unit)
    if predict is not None and len(labels.codes) >= 50 and (counts > 0).sum() > 1:
        yield from wrong_labels(
            labels.target,
            labels.codes,
            predict(),
            labels.classes,
            labels.numbers,
            unit=labels.unit,
            names=labels.names,
        )


def bare_text(text: str) -> str:
    """A text without its signs and spaces, in small letters; one of signs alone as it is."""
    return re.sub(r"[\W_]+", "", text.casefold()) or text


def text_findings(labels: Labels, texts: Sequence[str]) -> Iterator[Finding]:
    """Equal and nearly equal texts, and texts in which the name of their class stands."""
    with stage("comparing the texts"):
        plain = [" ".join(text.split()).casefold() for text in texts]
        yield from copies(labels, plain)
        bare = [bare_text(text) for text in plain]
        first: dict[str, int] = {}
        for place, text in enumerate(plain):
            first.setdefault(text, place)
        kept = np.array(sorted(first.values()))  # one of each text
        some = labels.take(kept)
        yield from copies(some, [bare[row] for row in kept], nearly="but for signs and spaces")
    names = [name.casefold() for name in labels.classes]
    if not names or any(len(name) < 3 or name.isdigit() for name in names):
        return
    own = np.array([names[code] in text for code, text in zip(labels.codes, plain, strict=True)])
    other = np.array(
        [
            any(name in text for place, name in enumerate(names) if place != code)
            for code, text in zip(labels.codes, plain, strict=True)
        ]
    )
    rows = np.flatnonzero(own)
    if len(rows) >= 0.5 * len(texts) and other.mean() < 0.1 * own.mean():
        yield Finding(
            "target in text",
            "serious",
            f"{percent(len(rows) / len(texts))} of the texts have the name of their class in them: {labels.said(rows)}",
            (labels.target,),
            labels.rows(rows),
            {"share": round(float(own.mean()), 4)},
            "take the words out of the texts, if new texts do not have them",
        )


def text_probabilities(
    texts: Sequence[str], codes: np.ndarray, classes: int, cut: Callable[[str], list[str]], *, letters: bool = False
) -> np.ndarray:
    """Probabilities out of fold of texts by the mean of logistic regression and naive Bayes of their TF-IDF.

    Args:
        cut: cuts a text into words.
        letters: whether a logistic regression of pieces of words (2 to 5 letters) has a share in the mean: better, and half as long again.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB

    with stage("words"):
        words = TfidfVectorizer(
            tokenizer=cut, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True
        )
        inputs = words.fit_transform(texts)
        models: list[tuple[Any, Any]] = [
            (LogisticRegression(C=10.0, max_iter=200), inputs),
            (ComplementNB(alpha=0.5), inputs),
        ]
        if letters:
            least = 1 if len(texts) < _FEW_TEXTS else 3  # texts that a piece is in
            pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=least, sublinear_tf=True)
            models.append((LogisticRegression(C=5.0, max_iter=60), pieces.fit_transform(texts)))

    def predict(learnt: np.ndarray, asked: np.ndarray) -> np.ndarray:
        found = np.zeros((len(asked), classes))
        if len(np.unique(codes[learnt])) < 2:
            found[:, codes[learnt][0]] = 1
            return found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # order is enough
            for model, x in models:
                model.fit(x[learnt], codes[learnt])
                found[:, model.classes_] += model.predict_proba(x[asked]) / len(models)
        return found

    return out_of_fold(codes, classes, predict, most=_ROWS)


def plain_images(labels: Labels, cells: np.ndarray) -> Iterator[Finding]:
    """Pictures of one brightness."""
    rows = np.flatnonzero(255 * cells.std(axis=1) < _PLAIN)
    if not len(rows):
        return
    yield Finding(
        "constant images",
        "warning",
        f"{are(len(rows), labels.unit)} of one colour: {labels.said(rows)}",
        (),
        labels.rows(rows),
        labels.evidence(rows),
        "delete them: they show nothing",
    )


def near_images(labels: Labels, cells: np.ndarray, keys: Sequence[Any]) -> Iterator[Finding]:
    """Pictures whose cells differ by 3 of 255 at most: saved anew, or changed a little."""
    first: dict[Any, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    kept = np.array(sorted(first.values()))
    x = 255 * cells[kept]
    kept, x = kept[x.std(axis=1) >= _PLAIN], x[x.std(axis=1) >= _PLAIN]
    if len(x) < 2:
        return
    group = near_groups(x)
    if len(np.unique(group)) == len(group):
        return
    some = labels.take(kept)
    yield from copies(some, group.tolist(), nearly=AS_BRIGHT)


AS_BRIGHT = "each part of the picture is as bright"
"""How pictures of one of :func:`near_groups` are alike."""


def near_groups(x: np.ndarray) -> np.ndarray:
    """The group of each picture ``(pictures,)``: those whose cells, 0 … 255, differ by 3 at most are of one."""
    line = x @ np.random.default_rng(0).normal(size=x.shape[1]) / np.sqrt(x.shape[1])
    order = np.argsort(line)
    group = np.arange(len(x))
    for step in range(1, 4):
        one, two = order[:-step], order[step:]
        near = np.abs(x[one] - x[two]).max(axis=1) <= _SAME
        for i, j in zip(one[near], two[near], strict=True):
            group[group == group[j]] = group[i]
    return group


def image_probabilities(cells: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities out of fold of pictures by logistic regression of their cells."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def predict(learnt: np.ndarray, asked: np.ndarray) -> np.ndarray:
        found = np.zeros((len(asked), classes))
        if len(np.unique(codes[learnt])) < 2:
            found[:, codes[learnt][0]] = 1
            return found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # order is enough
            model = LogisticRegression(C=0.3, max_iter=60).fit(cells[learnt], codes[learnt])
        found[:, model.classes_] = model.predict_proba(cells[asked])
        return found

    most = int(max(2000, min(_ROWS, _WORK / max(cells.shape[1] * classes, 1))))
    return out_of_fold(codes, classes, predict, most=most)
