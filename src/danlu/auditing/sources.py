"""Whether two sources of texts or of images are of one kind: what stands in both, what differs, and a classifier that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing.drift import apart, differing
from danlu.auditing.finding import Finding
from danlu.auditing.items import image_probabilities, text_probabilities
from danlu.evaluate.histograms import holm
from danlu.prose import percent

__all__ = ["image_drift", "looks", "text_drift", "words_apart"]

_MOST = 10_000  # items of each source
_WORDS, _SHOWN = 3000, 5  # that are compared, and shown
_LEVEL, _TIMES = 0.01, 1.5  # of all words together; times as often in one source as in the other
_HEAVY = 0.02  # of the texts: the difference of a word's shares from which it is told


def _differences(
    frames: Sequence[pl.DataFrame], labels: Sequence[pl.Series | None], noun: str
) -> tuple[list[Finding], list[str]]:
    """A finding of each feature, and of the labels, that is distributed otherwise; and the features in words."""
    one, two = frames
    found = differing((one[name], two[name]) for name in one.columns)
    said = [f"{each.name} ({each.said})" for each in found]
    own = [each for each in labels if each is not None]
    if len(own) == 2:
        pair = [each.cast(pl.String).rename(own[0].name or "label") for each in own]
        for each in differing([(pair[0], pair[1])]):
            said_of = f"the {noun} of the other source have other labels: {each.said}"
            evidence = {"distance": round(each.far, 4), "by chance": each.chance}
            remedy = "do they mean the same? A model's probabilities follow the shares that it has learnt"
            return [Finding("drift", "warning", said_of, (each.name,), evidence=evidence, remedy=remedy)], said
    return [], said


def _some(count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:_MOST])


def text_drift(
    texts: Sequence[Sequence[str]], labels: Sequence[pl.Series | None], cut: Callable[[str], list[str]]
) -> Iterator[Finding]:
    """How the texts of a second source differ: their labels, length and signs, their words, and a linear model of TF-IDF.

    Args:
        texts: of the one and of the other.
        labels: the same, where they have any.
        cut: cuts a text into words.
    """
    chosen = [_some(len(each), place) for place, each in enumerate(texts)]
    some = [[each[row] for row in rows] for each, rows in zip(texts, chosen, strict=True)]
    found, said = _differences([_of_texts(each, cut) for each in some], labels, "texts")
    yield from found
    said += words_apart(*([set(cut(text)) for text in each] for each in some))
    file = np.repeat([0, 1], [len(each) for each in some])
    yield from apart(file, lambda: text_probabilities([*some[0], *some[1]], file, 2, cut), unit="texts", by=said)


def _of_texts(texts: Sequence[str], cut: Callable[[str], list[str]]) -> pl.DataFrame:
    text = pl.Series(texts, dtype=pl.String)
    letters = text.str.len_chars().clip(1)
    shares = {
        "capital letters": r"\p{Lu}",
        "digits": r"\d",
        "signs": r"[^\p{L}\d\s]",
        "letters beyond A to Z": r"[\p{L}--[A-Za-z]]",
    }
    return pl.DataFrame(
        {"words in a text": [len(cut(each)) for each in texts]}
        | {f"share of {name}": text.str.count_matches(form) / letters for name, form in shares.items()}
    )


def words_apart(one: Sequence[set[str]], two: Sequence[set[str]]) -> list[str]:
    """The words that surely come in more, or fewer, of the other texts (a test of two shares, Holm's correction), in words.

    Args:
        one, two: the words of each text.

    Example:
        >>> words_apart([{"good"}] * 60 + [{"bad"}] * 40, [{"good"}] * 20 + [{"bad"}] * 80)
        ['words in more of the texts now: bad (40 % → 80 %)', 'words in fewer of the texts now: good (60 % → 20 %)']
    """
    from scipy.special import ndtr

    counts: dict[str, list[int]] = {}
    for place, texts in enumerate((one, two)):
        for words in texts:
            for word in words:
                counts.setdefault(word, [0, 0])[place] += 1
    names = sorted(counts, key=lambda word: (-sum(counts[word]), word))[:_WORDS]
    sizes = np.array([len(one), len(two)], float)
    if not names or not sizes.all():
        return []
    shares = np.array([counts[name] for name in names]) / sizes
    pooled = (shares @ sizes) / sizes.sum()
    gap = shares[:, 1] - shares[:, 0]
    spread = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / sizes).sum(), 1e-12))
    chance = 2 * ndtr(-np.abs(gap) / spread)  # of a gap as large as this, by the normal distribution
    order = np.argsort(chance, kind="stable")
    sure = np.asarray(holm(chance.tolist())) <= _LEVEL
    kept = [
        row
        for row in order
        if sure[row] and abs(gap[row]) >= _HEAVY and shares[row].max() >= _TIMES * shares[row].min()
    ]
    said = []
    for sign, how in ((1, "more"), (-1, "fewer")):
        own = sorted((row for row in kept if sign * gap[row] > 0), key=lambda row: -abs(gap[row]))[:_SHOWN]
        shown = ", ".join(f"{names[row]} ({percent(shares[row, 0])} → {percent(shares[row, 1])})" for row in own)
        said += [f"words in {how} of the texts now: {shown}"] if own else []
    return said


def image_drift(
    cells: Sequence[np.ndarray], pictures: Sequence[pl.DataFrame], labels: Sequence[pl.Series | None]
) -> Iterator[Finding]:
    """How the images of a second source differ: their labels, brightness, contrast, colours and sizes, and a linear model of their cells.

    Args:
        cells: of the images of each source, ``(images, cells)`` in 0 … 1.
        pictures: how they look, see :func:`looks`.
        labels: the same, where they have any.
    """
    found, said = _differences(pictures, labels, "images")
    yield from found
    chosen = [_some(len(each), place) for place, each in enumerate(cells)]
    x = np.concatenate([each[rows] for each, rows in zip(cells, chosen, strict=True)])
    seen = np.concatenate([each.to_numpy()[rows] for each, rows in zip(pictures, chosen, strict=True)])
    seen = (seen - seen.mean(0)) / np.maximum(seen.std(0), 1e-9)
    file = np.repeat([0, 1], [len(rows) for rows in chosen])
    whole = np.concatenate([x, seen, seen**2], axis=1)  # a change of width shows in squares
    yield from apart(file, lambda: image_probabilities(whole, file, 2), unit="images", by=said)


def looks(pixels: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> pl.DataFrame:
    """How images look, a row each: brightness, contrast, detail, of colours their saturation, and their sizes.

    Args:
        pixels: encoded images ``(images, height, width, channels)``, 0 … 255.
        shapes: the sizes that they have in their files.
    """
    x = np.asarray(pixels, np.float32)
    grey = x.mean(axis=3)
    steps = (np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    columns: dict[str, Any] = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "detail": sum(steps),
    }
    if x.shape[3] == 3:
        columns["saturation"] = (x.max(axis=3) - x.min(axis=3)).mean(axis=(1, 2))
        columns["redness"] = (x[..., 0] - grey).mean(axis=(1, 2))
        columns["blueness"] = (x[..., 2] - grey).mean(axis=(1, 2))
    columns["height"], columns["width"] = (np.array([shape[side] for shape in shapes], np.float32) for side in (0, 1))
    return pl.DataFrame(columns)
