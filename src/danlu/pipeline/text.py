"""Labelled texts: reviews, messages, documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from danlu.auditing import Audit
from danlu.data import TargetEncoder
from danlu.data.spelling import merge_spellings
from danlu.data.text import TextEncoder, TextSet, is_text_source, read_texts
from danlu.errors import ConfigError, SchemaError
from danlu.evaluate import Rows, baselines
from danlu.evaluate.tfidf import tfidf
from danlu.explained import Asked, Explained, explain_texts
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.domain import Option, Simple
from danlu.pipeline.items import LabelledItems, left_out, newly_read
from danlu.pipeline.labelled import DECISIONS, PreparedRows, row_in_words
from danlu.pipeline.listed import audit_texts
from danlu.pipeline.used import COMMON, LABELLED, RECIPE
from danlu.tasks import Recipe
from danlu.tasks.text import private_text_recipe, text_recipe
from danlu.trained import Read, Say, Trained

__all__ = ["Texts"]

_MISTAKES = 24


class Texts(LabelledItems):
    """Texts, each with a class or a quantity."""

    kind = "text"
    encoder = TextEncoder
    options = (*DECISIONS, Option("--text", "data.text", "The column of texts to learn from."))
    noun = "labelled texts"
    items = "texts"
    uses = (
        *COMMON,
        RECIPE,
        "data.delimiter|spellings|target|task|text",
        *LABELLED,
        "model.dropout|width",
        "private.*",
        "split.equal_rows|method",
        "trainer.loss",
    )

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return config.data.text is not None or is_text_source(source)

    def find(self, config: TrainConfig, source: Any, before: TextSet | None = None) -> TextSet:
        data = config.data
        found = read_texts(source, text=data.text, target=data.target or None, delimiter=data.delimiter)
        found = left_out(found, "rows", text=np.isin(np.arange(len(found)), found.empty()))
        if before is not None or found.labels is None or data.spellings != "merge":
            return found
        labels, respelt = merge_spellings(found.labels)
        return dataclasses.replace(found, labels=labels, notices=(*found.notices, *respelt))

    def keys(self, found: TextSet, rows: np.ndarray) -> Iterable[str]:
        return (" ".join(str(found.texts[row]).split()).casefold() for row in rows)

    def leaves(self, config: TrainConfig) -> str:
        if config.federated.noise is not None:
            return "the classes"
        return "the classes, the words that come twice or more, and how long texts are"

    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        learnt = parts.found.rows(parts.places["train"]).texts
        column = config.data.text or "text"
        # Of private texts nothing is counted: their words are hashed, and how many are kept is fixed.
        hidden = config.private.on or config.federated.noise is not None
        encoder = TextEncoder.of_any(column=column) if hidden else TextEncoder.fit(learnt, column=column)
        return parts.encoded(encoder, lambda part: part.texts, lambda part: target.transform(part.labels))

    def audit(self, config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
        return audit_texts(self, config, source, against=against, at=at, label_errors=label_errors)

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        if config.private.on:
            for name in config.decided("width", "dropout").keys() & {"width", "dropout"}:
                raise ConfigError(
                    f"model.{name} is {config.setting(f'model.{name}')}, and the private network of texts is linear and has none",
                    hint="leave it out",
                )
            return private_text_recipe(
                prepared.target.task,
                prepared.rows["train"],
                prepared.encoder,
                classes=prepared.target.units,
                **config.decided("loss"),
            )
        return text_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder,
            classes=prepared.target.units,
            **config.decided("width", "dropout", "loss"),
        )

    def simple(self, config: TrainConfig, prepared: Any, trained: Trained, ours: Any) -> Iterable[Simple]:
        """The most common class (or the mean), and a linear model of TF-IDF of the network's words."""
        target, (_, labels), parts = prepared.target, prepared.known(), prepared.parts
        learnt = parts.found.rows(np.concatenate([parts.places[name] for name in ("train", "validation")])).texts
        regression, shown = target.task == "regression", parts.tested.texts
        nothing, asked = ({"numeric": np.zeros((len(rows), 1))} for rows in (labels, shown))
        classes = 0 if regression else target.units
        found = baselines(target.task, (nothing, labels), asked, classes=classes, names=("commonest",))
        back = target.inverse if regression else np.asarray
        for each in found.values():
            yield Simple(each.label, ours.with_prediction(back(each.prediction)))
        cut = prepared.encoder.tokenizer.cut
        name, prediction, used = tfidf(
            learnt, labels, shown, classes=classes, cut=cut, seconds=config.evaluate.baseline_seconds
        )
        if prediction is not None:
            some = () if used == len(labels) else (f"fitted to {used:,} of the {len(labels):,} texts",)
            yield Simple(name, ours.with_prediction(back(prediction)), notes=some)

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        encoder, target = trained.encoder, trained.head.target
        names = {"text": _column_for(source, encoder.column), "target": target.name}
        hint = f"the model was trained on the column {encoder.column!r}"
        found = newly_read(lambda: read_texts(source, **names), say, hint=hint)
        if not len(found):
            raise SchemaError("the data has no rows", hint="give at least one text to predict")
        empty = found.empty()
        if len(empty):
            said = f"{len(empty)} of {len(found)} texts are empty, the first in row {empty[0] + 1}"
            if not lenient:
                raise SchemaError(
                    said, hint="leave those rows out, or predict them as texts without words: lenient=True (--lenient)"
                )
            say(f"{said}; they are predicted as texts without words")
        return Read([text or "" for text in found.texts], found.labels)

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_texts(trained, found.rows, asked)

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        """The test texts that were predicted worst, their words coloured by what they added."""
        from markupsafe import Markup

        from danlu.explain import word_attribution
        from danlu.report.words import adding_up, coloured_words

        regression, worst, shown = rows.task == "regression", rows.worst(_MISTAKES), []
        if not len(worst):
            return {}
        texts = [prepared.parts.tested.texts[row] for row in worst]
        chosen, true = (None, None) if regression else (rows.chosen[worst], rows.truth[worst])
        network = trained.one
        added, gap = word_attribution(*network, trained.encoder, texts, chosen, true)
        for row, text, each in zip(worst, texts, added, strict=True):
            words = prepared.encoder.tokenizer.cut(text)
            shown.append({**row_in_words(rows, row, prepared.target), "text": Markup(coloured_words(words, each))})
        what = "a higher value, blue for a lower one" if regression else "the predicted class, blue for the true one"
        note = f"Orange words spoke for {what}, by integrated gradients from a text without words. " + adding_up(
            gap, "the difference of the network's outputs"
        )
        return {"mistakes": shown, "mistakes_note": note}


def _column_for(source: Any, column: str) -> str | None:
    """The column to read: texts that do not come in a table have none."""
    plain = column == "text" and isinstance(source, str | Path) and Path(source).suffix.lower() == ".txt"
    return None if plain or is_text_source(source) or isinstance(source, list) else column
