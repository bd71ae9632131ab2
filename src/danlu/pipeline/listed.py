"""Labelled texts and images as an audit looks at them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing import Audit, Finding
from danlu.auditing import items as checks
from danlu.auditing.finding import are, numbers_in_words
from danlu.auditing.sources import image_drift, looks, text_drift
from danlu.data import TargetEncoder
from danlu.data.images import read_images
from danlu.data.images.files import shapes_of, some_of
from danlu.data.text import TextEncoder, read_texts
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.pictures import keys as picture_keys
from danlu.pipeline.pixels import cells, encoder_for, memory_of
from danlu.prose import percent

__all__ = ["audit_images", "audit_texts"]

_SIDE = 14  # cells of a picture to a side
_LARGEST = 64


def _no_date(at: str | None, noun: str) -> None:
    if at is not None:
        raise ConfigError(
            f"at (--at) is {at!r}; it names a column of dates of a table, and these are {noun}", hint="leave it out"
        )


def audit_texts(
    domain: Any, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool
) -> Audit:
    """The audit of labelled texts."""
    _no_date(at, "texts")
    found = domain.find(config, source)
    labels = domain.names(_labels_of(domain, found, source))
    inferred = domain.infer(config, labels)
    target = TargetEncoder.fit(labels, task=inferred.task)
    numbers = np.arange(len(found)) if found.numbers is None else np.asarray(found.numbers)
    codes = target.transform(labels) if target.classes else labels.cast(pl.Float64).to_numpy()
    texts = [str(text) for text in found.texts]
    own = checks.Labels(
        labels.name or "label",
        codes.astype(np.int64) if target.classes else codes,
        target.classes,
        numbers + 1,
        parts=found.parts,
    )
    said: list[Finding] = list(_from_reading(found.notices))
    said += _empty(config, source)
    said += checks.text_findings(own, texts)
    said += checks.labelled(own, None if not label_errors else lambda: _of_texts(own, texts))
    other = against if against is not None else config.data.test
    looked = [
        "reading",
        "equal texts",
        "nearly equal texts",
        "target in texts",
        "class counts",
        *(["label errors"] if label_errors else []),
    ]
    if other is not None:
        new = domain.find(config, other, found)
        first, second = (domain.keys(each, np.arange(len(each))) for each in (found, new))
        same, both = _in_both(first, second, "texts")
        more = [str(text) for text in new.texts]
        first, second = ([checks.bare_text(text) for text in each] for each in (texts, more))
        said += [*both, *_in_both(first, second, "texts", but=same, nearly="but for signs and spaces")[1]]
        given = None if new.labels is None else domain.names(new.labels)
        said += text_drift((texts, more), (labels, given), TextEncoder.fit([*texts, *more]).tokenizer.cut)
        looked += ["texts in both files", "drift", "files told apart"]
    return Audit.of("", said, len(found), unit="texts", looked=tuple(looked))


def _empty(config: TrainConfig, source: Any) -> Iterator[Finding]:
    """Texts without a word."""
    data = config.data
    gone = read_texts(source, text=data.text, target=data.target or None, delimiter=data.delimiter).empty() + 1
    if len(gone):
        yield Finding(
            "empty texts",
            "warning",
            f"{len(gone):,} text{'s are' if len(gone) > 1 else ' is'} empty: {numbers_in_words(gone, 'text')}",
            (),
            tuple(gone.tolist()),
            remedy="training leaves them out; delete them, or find out why they are empty",
        )


def _of_texts(own: checks.Labels, texts: list[str]) -> np.ndarray:
    cut = TextEncoder.fit(texts).tokenizer.cut
    return checks.text_probabilities(texts, own.codes, len(own.classes), cut, letters=True)


def audit_images(
    domain: Any, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool
) -> Audit:
    """The audit of labelled images."""
    _no_date(at, "images")
    found = domain.find(config, source)
    labels = domain.names(_labels_of(domain, found, source))
    target = TargetEncoder.fit(labels, task=domain.infer(config, labels).task)
    names = None if found.paths is None else [str(Path(path)) for path in found.paths]
    own = checks.Labels(
        labels.name or "label",
        target.transform(labels).astype(np.int64),
        target.classes,
        np.arange(1, len(found) + 1),
        parts=found.parts,
        names=names,
        unit="images",
    )
    keys = list(picture_keys(found, np.arange(len(found))))
    encoder, _ = encoder_for(some_of(found.images, np.arange(len(found))), config.data.image_size, largest=_LARGEST)
    whole = encoder.transform(found.images)
    small = cells(whole, _SIDE)
    said: list[Finding] = [*_from_reading(found.notices), *checks.plain_images(own, small)]
    said += checks.copies(own, keys)
    said += checks.near_images(own, small, keys)
    said += checks.labelled(
        own, None if not label_errors else lambda: checks.image_probabilities(small, own.codes, len(own.classes))
    )
    looked = ["files that cannot be read", "constant images", "equal images", "nearly equal images", "class counts"]
    looked += ["label errors"] if label_errors else []
    other = against if against is not None else config.data.test
    if other is not None:
        new = _other_images(domain, config, other)
        same, both = _in_both(keys, picture_keys(new, np.arange(len(new))), "images")
        pixels = encoder.transform(new.images)
        group = checks.near_groups(255 * np.concatenate([small, cells(pixels, _SIDE)]))
        first, second = np.split(group, [len(small)])
        said += [*both, *_in_both(first, second, "images", but=same, nearly=checks.AS_BRIGHT)[1]]
        given = None if new.labels is None else domain.names(new.labels)
        said += image_drift(
            (small, cells(pixels, _SIDE)),
            (looks(whole, shapes_of(found.images)), looks(pixels, shapes_of(new.images))),
            (labels, given),
        )
        looked += ["images in both sources", "drift", "files told apart"]
    return Audit.of("", said, len(found), unit="images", looked=tuple(looked))


def _other_images(domain: Any, config: TrainConfig, source: Any) -> Any:
    """The images of a second source, with their labels where they have any."""
    data = config.data
    if not isinstance(source, str | Path):
        return domain.find(config, source)
    return read_images(source, memory=memory_of(data), path_column=data.image_column, target=data.target or None)


def _labels_of(domain: Any, found: Any, source: Any) -> pl.Series:
    if found.labels is None:
        raise ConfigError(f"the {domain.items} of {source} have no labels", hint=domain.label_hint)
    labels: pl.Series = found.labels
    return labels


def _from_reading(notices: tuple[str, ...]) -> Iterator[Finding]:
    """What was said while reading."""
    for notice in notices:
        if "were left out" in notice:  # told of with their rows
            continue
        broken = re.search(r"cannot be read", notice)
        yield Finding(
            "cannot be read" if broken else "reading",
            "warning" if broken else "note",
            notice,
            remedy="repair or delete the files" if broken else "",
        )


def _in_both(one: Any, two: Any, noun: str, *, but: Any = (), nearly: str = "") -> tuple[np.ndarray, list[Finding]]:
    """Which items of the other source have a key of the first, and what is to be said of them.

    Args:
        but: items that were told of already.
        nearly: how near they are, where they are not equal.
    """
    known, other = set(one), list(two)
    rows = np.setdiff1d(np.flatnonzero([key in known for key in other]), np.asarray(but, int))
    if not len(rows):
        return rows, []
    share = len(rows) / len(other)
    told = Finding(
        f"near-duplicate {noun} in both sources" if nearly else f"{noun} in both sources",
        "serious" if share >= 0.01 and not nearly else "warning",
        f"{are(len(rows), noun)} in the other source ({percent(share, 1)} of it) and {f'nearly ({nearly}) ' if nearly else ''}in the first "
        f"as well: {numbers_in_words(rows + 1, noun.rstrip('s'))} of the other",
        (),
        tuple((rows + 1).tolist()),
        {"share": round(share, 4)},
        "take them out of one: a model has learnt their answers",
    )
    return rows, [told]
