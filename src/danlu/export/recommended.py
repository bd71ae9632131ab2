"""Pairs of users and items as nodes: their names enter a file, which holds the number of each and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.export.graph import Graph
from danlu.export.heads import HEADS, Answer, Spoken
from danlu.export.primitives import BATCH, Input, Value
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.head import RecommendHead
from danlu.trained import Trained

__all__ = ["about_pairs", "encode_pairs", "feed_pairs", "made_pairs"]

_MADE = 96  # pairs of a trial


def encode_pairs(graph: Graph, encoder: RecommendEncoder) -> Any:
    """The number of each name, 0 for one that is not known, and by it the features and the history."""
    found: dict[str, Input] = {}
    for whose, column, names, tables in (
        ("user", encoder.named.user, encoder.users, encoder.of_user_numbers(np.arange(len(encoder.users) + 1))),
        ("item", encoder.named.item, encoder.items, encoder.of_item_numbers(np.arange(len(encoder.items) + 1))),
    ):
        number = graph.op(
            "LabelEncoder", graph.input(column, object, (BATCH,)), domain="ai.onnx.ml", keys_strings=list(names),
            values_int64s=list(range(1, len(names) + 1)), default_int64=0,
        )  # fmt: skip
        found[whose] = Input(graph.cast(number, np.int32), np.int32, ())
        for name, table in tables.items():
            if name != whose:
                rows = graph.op("Gather", graph.constant(table), number)
                found[name] = Input(rows, table.dtype.type, table.shape[1:])
    return found


def feed_pairs(encoder: RecommendEncoder, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """The names of users and items."""
    return {name: rows[name].to_numpy().astype(object) for name in (encoder.named.user, encoder.named.item)}


def made_pairs(encoder: RecommendEncoder, random: np.random.Generator) -> pl.DataFrame:
    """Names that are known, and some that are not."""
    names = ((encoder.named.user, encoder.users), (encoder.named.item, encoder.items))
    return pl.DataFrame(
        {column: [*random.choice(np.array(known), _MADE).tolist(), "", "never seen"] for column, known in names}
    )


def about_pairs(encoder: RecommendEncoder) -> list[dict[str, Any]]:
    """The two inputs."""
    return [{"name": name, "kind": "category", "type": "text"} for name in (encoder.named.user, encoder.named.item)]


def _rated(graph: Graph, head: RecommendHead, outputs: Value) -> Answer:
    found = graph.cast(outputs.name, np.float64)
    if head.rating:
        found = graph.op("Clip", found, graph.constant(np.float64(head.low)), graph.constant(np.float64(head.high)))
    graph.output("value", found, np.float64, (BATCH,))
    return Answer(value="value")


def _differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    own = np.asarray(trained.answer_rows(rows))
    return float((np.abs(given[answer.value] - own) / np.maximum(np.abs(own), 1.0)).max(initial=0))


def _told(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime no value differs by more than {greatest} of its size, or of 1"


HEADS[RecommendHead] = Spoken(_rated, _differ, _told)
