"""Why a network gave a text its class: its words."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from danlu.explain import split_to_words, token_vectors
from danlu.explained.answer import Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.gradients import attributed, gradients_of, of_outputs
from danlu.explained.score import answers_of, score_of
from danlu.report.words import coloured_words
from danlu.trained import Trained

__all__ = ["explain_texts"]

_NOISE = 0.1
_WORDS = 400  # of a text that are shown


def explain_texts(trained: Trained, texts: list[str], asked: Asked) -> list[Explained]:
    """Each text by integrated gradients of its words' vectors, from a text without words."""
    asked.check("shapley", otherwise="texts have words, which are explained by gradients")
    source = gradients_of(trained, single=True)
    model, encoder = source.model, source.model.encoder
    found = []
    for text, name in zip(texts, asked.names, strict=True):
        inputs = encoder.transform([text])
        answers = answers_of(model, inputs)
        score, answer = score_of(model, answers, of=asked.of, scale=asked.scale)
        given = {"head": source.given["head"], "code": np.array([score.code or 0])}
        scored, vectors, known = token_vectors(
            model.network, model.params, model.state, inputs, of_outputs(score.scale), given
        )
        attribution, how = attributed(scored, vectors, _nothing(vectors), known, asked, noise=_NOISE)
        words = encoder.tokenizer.cut(text)
        own = {part: np.asarray(each, np.float64)[0].sum(axis=-1) for part, each in attribution.values.items()}
        added = split_to_words(own["grams"], list(encoder.places(text).values()), len(words))
        added[: len(own["words"])] += own["words"][: len(words)]
        value = float(score.of(answers)[0])
        rest = float(sum(each.sum() for each in own.values()) - added.sum())
        parts = [Part(word, "", float(each)) for word, each in zip(words, added, strict=True)]
        if abs(rest) > 1e-9:
            parts.append(Part("(beyond the words that are read)", "", rest))
        found.append(
            Explained(
                row=name,
                answer=answer,
                **source.told(score.name, value, attribution, how),
                against="of a text without words",
                parts=tuple(parts),
                ordered=True,
                noun="word",
                drawing=f"<p class='words'>{coloured_words([*words] or [html.escape(text)], added, most=_WORDS)}</p>"
                if words
                else "",
                data={"class": score.label, "scale": score.scale or None, "of": source.said or None},
            )
        )
    return found


def _nothing(vectors: Any) -> Any:
    return {name: np.zeros((1, 1, 1), np.float32) for name in vectors}
