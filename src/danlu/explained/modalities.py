"""Why a row of several modalities was answered as it was: what each modality added, and what within each of them."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data.composite import TABLE
from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.evaluate.modalities import MOST, shapley_of_sets
from danlu.explained.answer import Block, Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.score import Score, answers_of, score_of
from danlu.report.picture import heat_over, png_uri
from danlu.report.words import coloured_words
from danlu.trained import Trained

__all__ = ["explain_modalities"]

_CELLS = 8  # a side of a picture, which are each covered in turn
_WORDS = 60
_SHOWN = 6
_METHOD = (
    "The exact Shapley values of the modalities, where one that is taken away is what was learnt for an absent one; within a modality, "
    "the change of the score when a column is emptied, a word left out, or a cell of a picture covered."
)


def explain_modalities(trained: Trained, rows: pl.DataFrame, asked: Asked) -> list[Explained]:
    """Each row by the exact Shapley values of its modalities, and each modality by what happens without its parts.

    Args:
        rows: as the encoder takes them.
        asked: how.

    Raises:
        ConfigError: a method by gradients, or too many modalities.
    """
    encoder = trained.encoder
    if asked.method in ("gradients", "smoothgrad"):
        raise ConfigError(
            f"method={asked.method} is for models of one kind of data; rows of several modalities are explained by taking parts away",
            hint="leave it out",
        )
    asked.check("", otherwise="rows of several modalities are explained by taking parts away")
    names = encoder.modalities
    if len(names) > MOST:
        raise ConfigError(
            f"{len(names)} modalities have too many subsets to explain an answer; expected {MOST} at most"
        )
    sets = [frozenset(s) for n in range(len(names) + 1) for s in itertools.combinations(range(len(names)), n)]
    found = []
    for place, name in enumerate(asked.names):
        row = rows[place]
        inputs = encoder.transform(row)
        answers = answers_of(trained, inputs)
        score, answer = score_of(trained, answers, of=asked.of, scale=asked.scale)
        present = np.stack([[float(i in some) for i in range(len(names))] for some in sets]).astype(np.float32)
        whole = _repeated(inputs, len(sets)) | {"present": inputs["present"] * present}
        value = dict(zip(sets, score.of(answers_of(trained, whole)).tolist(), strict=True))
        shares = shapley_of_sets(value, len(names))
        base, own = value[frozenset()], float(score.of(answers)[0])
        absent = [each for each, there in zip(names, inputs["present"][0], strict=True) if not there]
        blocks, data = [], {}
        for modality, kind in zip(names, encoder.kinds, strict=True):
            if modality not in absent:
                block, told = _within(trained, row, inputs, score, own, modality, kind)
                blocks.append(block)
                data[modality] = told
        found.append(
            Explained(
                row=name,
                answer=answer,
                scored=score.name,
                value=own,
                base=base,
                against="of a row with nothing in it",
                parts=tuple(
                    Part(each, "absent" if each in absent else "", share)
                    for each, share in zip(names, shares, strict=True)
                ),
                method=_METHOD,
                gap=own - base - sum(shares),
                noun="modality",
                blocks=tuple(blocks),
                data={"within": data, "class": score.label, "scale": score.scale or None},
            )
        )
    return found


def _repeated(inputs: Mapping[str, Any], count: int) -> dict[str, Any]:
    """One row so many times."""
    return jax.tree.map(lambda leaf: np.repeat(leaf, count, axis=0), dict(inputs))


def _within(
    trained: Trained, row: pl.DataFrame, inputs: Mapping[str, Any], score: Score, own: float, name: str, kind: str
) -> tuple[Block, list[dict[str, Any]]]:
    """What the score loses without each part of a modality: as a block, and as plain data."""
    encoder = trained.encoder

    def lost(changed: Mapping[str, Any]) -> np.ndarray:
        return own - score.of(answers_of(trained, changed))

    if name == TABLE:
        columns = [column.name for column in encoder.table.schema.features]
        emptied = pl.concat([row.with_columns(pl.lit(None, row.schema[each]).alias(each)) for each in columns])
        table = encoder.table.transform(emptied)
        values = lost(_repeated(inputs, len(columns)) | {"table": table})
        shown = [f"{each} = {row[each][0]}" for each in columns]
        return _listed("Its columns, each emptied in turn", shown, values), _data(columns, values)
    part = dict(encoder.parts)[name]
    if kind == "text":
        words = part.tokenizer.cut(row[name][0])[:_WORDS]
        if not words:
            return _listed(f"The words of {name}", [], np.zeros(0)), []
        texts = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
        changed = _repeated(inputs, len(words))
        values = lost(changed | {"parts": {**changed["parts"], name: part.transform(texts)}})
        block = _listed(f"The words of {name}, each left out in turn", words, values)
        drawn = f"<p class='words'>{coloured_words(words, values)}</p>"
        return Block(block.title, block.lines, drawn), _data(words, values)
    pixels = np.asarray(inputs["parts"][name])
    heat, values = _covered(pixels, lambda many: lost(_with(inputs, name, many)))
    places = [f"{down}, {across}" for down in ("top", "middle", "bottom") for across in ("left", "centre", "right")]
    thirds = [float(cell.sum()) for rows in np.array_split(heat, 3) for cell in np.array_split(rows, 3, axis=1)]
    title = f"The cells of {name}, each covered in turn"
    strongest = max(float(np.abs(values).max()), 1e-12)
    figures = "".join(
        f"<figure><img src='{png_uri(each)}' alt=''><figcaption>{said}</figcaption></figure>"
        for said, each in (
            (html.escape(name), pixels[0]),
            ("orange: it speaks for the answer, blue: against", heat_over(pixels[0], heat / strongest)),
        )
    )
    lines = _listed(title, places, np.array(thirds) / max(len(values) / 9, 1)).lines
    return Block(title, lines, f'<div class="pictures">{figures}</div>'), _data(places, np.array(thirds))


def _with(inputs: Mapping[str, Any], name: str, many: np.ndarray) -> dict[str, Any]:
    found = _repeated(inputs, len(many))
    return found | {"parts": {**found["parts"], name: many}}


def _covered(pixels: np.ndarray, lost: Any) -> tuple[np.ndarray, np.ndarray]:
    """What is lost where each cell is covered by the picture's plain brightness: a map ``(height, width)``, and the values of the cells."""
    height, width = pixels.shape[1:3]
    down, across = (np.array_split(np.arange(side), min(side, _CELLS)) for side in (height, width))
    cells = [(rows, columns) for rows in down for columns in across]
    many = np.repeat(pixels, len(cells), axis=0)
    ground = np.median(
        np.concatenate(
            [pixels[0, [0, -1]].reshape(-1, pixels.shape[3]), pixels[0, :, [0, -1]].reshape(-1, pixels.shape[3])]
        ),
        axis=0,
    )
    for each, (rows, columns) in zip(many, cells, strict=True):
        each[np.ix_(rows, columns)] = ground.astype(pixels.dtype)
    values, heat = lost(many), np.zeros((height, width))
    for (rows, columns), value in zip(cells, values, strict=True):
        heat[np.ix_(rows, columns)] = value
    return heat, values


def _listed(title: str, names: list[str], values: np.ndarray) -> Block:
    order = np.argsort(-np.abs(values))[:_SHOWN]
    lines = tuple(f"{'+' if values[i] >= 0 else '−'}{figure(abs(float(values[i])), 2)}  {names[i]}" for i in order)
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return Block(title, lines, f"<ul>{rows}</ul>")


def _data(names: list[str], values: np.ndarray) -> list[dict[str, Any]]:
    return [{"part": name, "lost": float(value)} for name, value in zip(names, values, strict=True)]
