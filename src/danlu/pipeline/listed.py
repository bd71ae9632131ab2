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
from danlu.auditing.finding import numbers_in_words
from danlu.data import TargetEncoder
from danlu.data.images.files import some_of
from danlu.data.text import TextEncoder, read_texts
from danlu.errors import ConfigError
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.pictures import keys as picture_keys
from danlu.pipeline.pixels import cells, encoder_for
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
        said += _in_both(domain.keys(found, np.arange(len(found))), domain.keys(new, np.arange(len(new))), "texts")
        looked.append("texts in both files")
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
    return checks.text_probabilities(texts, own.codes, len(own.classes), cut)


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
    small = cells(encoder.transform(found.images), _SIDE)
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
        new = domain.find(config, other)
        said += _in_both(keys, picture_keys(new, np.arange(len(new))), "images")
        looked.append("images in both sources")
    return Audit.of("", said, len(found), unit="images", looked=tuple(looked))


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


def _in_both(one: Any, two: Any, noun: str) -> Iterator[Finding]:
    known, other = set(one), list(two)
    rows = np.flatnonzero([key in known for key in other])
    if not len(rows):
        return
    share = len(rows) / len(other)
    yield Finding(
        f"{noun} in both sources",
        "serious" if share >= 0.01 else "warning",
        f"{len(rows):,} {noun} of the other source ({percent(share, 1)}) are in the first as well: "
        f"{numbers_in_words(rows + 1, noun.rstrip('s'))} of the other",
        (),
        tuple((rows + 1).tolist()),
        {"share": round(share, 4)},
        "take them out of one: a model has learnt their answers",
    )
