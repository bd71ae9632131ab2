"""The head that says which segment a row is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.blueprint import setting
from danlu.errors import ArtifactError
from danlu.evaluate.clustered import Clustered
from danlu.evaluate.judgement import Simple
from danlu.segments.choose import labels_by
from danlu.segments.network import TableAutoencoder
from danlu.trained import Head
from danlu.trained.head import namespace

__all__ = ["Segmenting", "clustered"]


class Segmenting(Head, fitted=("centres", "spread", "means", "halves", "tried")):
    """The segment of each row, with its probability and how far from the segment's centre the row is.

    Of the codes z the probability of segment k is ``exp(−|z − c_k|²/2σ²)``, over the sum of these: that of a mixture of normal
    distributions of one spread and equal shares, of which the likeliest segment is the nearest centre, as k-means has it. The distance is
    ``|z − c_k|/(σ·√codes)``: about 1 of a usual row of the segment.

    Args:
        words: each segment in words.
        said: how many segments were found, and why.
        clear: whether that number is confirmed.
        centres: of the segments ``(segments, codes)``.
        spread: σ, of each code within segments.
        means: of the columns in each segment, and then of all rows ``(segments + 1, places of the vector)``; see
            :meth:`TableAutoencoder.flat <danlu.segments.TableAutoencoder.flat>`.
        halves: centres by each half of the training rows ``(divisions, 2, segments, codes)``.
        tried: each number that was tried, its prediction strength, and the chance that rows without segments divide as clearly,
            −1 where that was not asked ``(numbers, 3)``.
    """

    kind = task = "segments"
    instead = "danlu predict RUN FILE gives the probability of each row's segment"

    words: tuple[str, ...]
    said: str
    clear: bool
    centres: Any = None
    spread: float = setting(default=1.0, above=0)
    means: Any = None
    halves: Any = None
    tried: Any = None

    def __call__(self, outputs: Any) -> Any:
        xp = namespace(outputs)
        far = xp.square(outputs[:, None, :] - self.centres[None]).sum(axis=-1)  # (batch, segments)
        weight = xp.exp(-(far - far.min(axis=-1, keepdims=True)) / (2 * self.spread**2))
        distance = xp.sqrt(far.min(axis=-1) / outputs.shape[-1]) / self.spread
        return {"probability": weight / weight.sum(axis=-1, keepdims=True), "distance": distance}

    @property
    def name(self) -> str:
        return "segment"

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        p = np.asarray(answers["probability"], np.float64)
        return pl.DataFrame(
            {
                "segment": p.argmax(axis=1) + 1,
                "probability": p.max(axis=1),
                "distance": np.asarray(answers["distance"], np.float64),
            }
        )

    def examined(self, trained: Any, inputs: Any, truth: Any) -> Any:
        codes = np.asarray(trained.outputs(inputs), np.float64)
        return {**self(codes), "codes": codes, "flat": np.asarray(trained.network.flat(inputs), np.float64)}

    def evidence(self, answers: Any, truth: Any) -> Clustered:
        own = np.asarray(answers["probability"]).argmax(axis=1)
        return clustered(answers["codes"], self.halves, own, answers["flat"], self.means)

    def notes(self, evidence: Any) -> tuple[str, ...]:
        return (
            "both halves are divided by the codes of one network: how another training would divide them is not in the stability",
        )

    def simple(self, inputs: Any, evidence: Any) -> Iterable[Simple]:
        """One segment for all."""
        if len(self.centres) > 1:
            alone = Clustered(np.zeros_like(evidence.labels), evidence.whole, evidence.whole)
            yield Simple("one segment for all rows", alone, constant=True)

    def facts(self) -> dict[str, str]:
        return {"segments": str(len(self.centres))}

    def check(self, network: Any, encoder: Any) -> None:
        shapes = [np.shape(each) for each in (self.centres, self.means, self.halves)]
        if not isinstance(network, TableAutoencoder):
            raise ArtifactError(f"the saved network is a {type(network).__name__}; expected one that gives rows codes")
        jax.eval_shape(lambda: network.init(jax.random.key(0), encoder.in_shape)[0])
        count = len(self.words)
        wanted = [(count, network.codes), (count + 1, network.total)]
        if shapes[:2] != wanted or len(shapes[2]) != 4 or shapes[2][1:] != (2, count, network.codes):
            raise ArtifactError(
                f"the saved segments have the shapes {shapes}; expected {count} segments of {network.codes} codes"
            )


def clustered(codes: np.ndarray, halves: np.ndarray, own: np.ndarray, flat: np.ndarray, means: np.ndarray) -> Clustered:
    """The evidence of rows that were divided.

    Args:
        codes: of the rows ``(rows, codes)``.
        halves: centres by each half of the training rows ``(divisions, 2, segments, codes)``.
        own: the segment of each row.
        flat: their columns ``(rows, places)``.
        means: of the columns in each segment, and then of all training rows ``(segments + 1, places)``.
    """
    labels = np.array([[labels_by(half, codes) for half in pair] for pair in np.asarray(halves)])
    gaps = [np.square(flat - np.asarray(means)[place]).sum(axis=1) for place in (own, np.full(len(own), -1))]
    return Clustered(labels.transpose(2, 0, 1).astype(np.int32), *gaps)
