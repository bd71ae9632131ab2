"""Translation as a file: tokens of sentences in, tokens of their translations out. The beam search is inside, as a loop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.data.text import SentenceEncoder
from danlu.data.text.encoders import WIDTHS
from danlu.errors import ConfigError, DanluError
from danlu.export.functions import Function, Run, Trial
from danlu.export.primitives import Input
from danlu.nn.transformer import beam_search
from danlu.tasks.tokens import text_until_end
from danlu.trained import Trained

__all__ = ["translator"]

_FEW = 8  # sentences that a file is tried on; of one width each time, since danlu compiles a program for each
_READ = 1000  # sentences of the data among which they are
_TIE = 1e-4  # scores that are nearer are equally good


def translator(trained: Trained) -> Function:
    """The function of a translation: ``source (rows, time)`` to ``tokens (rows, 2·time + 10)`` and the ``score (rows,)`` of each.

    A source is a sentence's tokens and the end token, then padding. A translation is what stands before its first end token.
    """
    encoder: SentenceEncoder = trained.encoder
    head: Any = trained.head
    source, target = encoder.source, encoder.target
    params, state = jax.tree.map(jnp.asarray, (trained.params, trained.state))

    def call(x: dict[str, Any]) -> dict[str, Any]:
        tokens = x["source"]
        real = tokens != source.pad_id
        begun = jnp.full((tokens.shape[0], 1), target.begin_id, jnp.int32)
        prompt = {"source": tokens, "source_mask": real, "target": begun}
        found, score = _searched(trained, params, state, prompt)
        empty = real.sum(axis=1) < 2
        return {"tokens": jnp.where(empty[:, None], target.end_id, found), "score": jnp.where(empty, 0.0, score)}

    def tried(run: Run, sources: Sequence[str]) -> Iterator[Trial]:
        for said, texts in _sentences(trained, sources):
            _compare(trained, run, texts)
            yield Trial(len(texts), None, f"{said}: the same translations")

    about = {
        "languages": list(encoder.languages),
        "tokens": source.kind,
        "pad": source.pad_id,
        "end": target.end_id,
        "widths": list(WIDTHS),
        "space_in_front": source.kind == "bpe",
        "beams": head.beams,
        "length_penalty": head.length_penalty,
    }
    shared = source == target
    beside = (
        {"tokenizer": source.to_library()} if shared else {"source": source.to_library(), "target": target.to_library()}
    )
    said = (f"the search with {head.beams} beams is inside: one call translates",)
    return Function(call, (Input("source", np.int32, ("time",)),), tried, (), about, beside, said)


def _searched(trained: Trained, params: Any, state: Any, prompt: Any) -> tuple[jax.Array, jax.Array]:
    """Tokens and scores as the model's head finds them."""
    head: Any = trained.head
    target = trained.encoder.target
    return beam_search(
        trained.network, params, state, prompt,
        length=2 * prompt["source"].shape[1] + 10, end=target.end_id, beams=head.beams, length_penalty=head.length_penalty,
        forbidden=(target.pad_id, target.unknown_id, target.begin_id),
    )  # fmt: skip


def _sentences(trained: Trained, sources: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Real sentences, and words of the vocabulary in any order; an empty one is among them."""
    for source, truth in itertools.product(sources, (True, False)):
        try:
            found = list(trained.read(source, lenient=True, truth=truth, say=lambda line: None).rows)
        except DanluError:
            continue
        places = np.searchsorted(np.asarray(WIDTHS), np.minimum(trained.encoder.lengths(found[:_READ]), WIDTHS[-1]))
        alike = np.flatnonzero(places == np.bincount(places).argmax())
        rows = [found[place] for place in alike[:: -(-len(alike) // _FEW)]]
        yield f"tried on {len(rows)} sentences of {source}", rows
        break
    random, tokenizer = np.random.default_rng(0), trained.encoder.source
    drawn = (" ".join(_drawn(tokenizer, random, WIDTHS[0] // 2)) for _ in range(10 * _FEW))
    short = [text for text in drawn if trained.encoder.lengths([text])[0] <= WIDTHS[0]]
    made = ["", *short[: _FEW - 1]]
    yield f"tried on {len(made)} sentences that are made up", made


def _drawn(tokenizer: Any, random: np.random.Generator, longest: int) -> list[str]:
    numbers = random.integers(tokenizer.end_id + 1, tokenizer.size, random.integers(1, longest + 1))
    return tokenizer.decode(numbers).split()


def _compare(trained: Trained, run: Run, texts: Sequence[str]) -> None:
    """Refuse a file that translates otherwise, unless both translations are equally good.

    Raises:
        ConfigError: see above.
    """
    inputs = trained.encoder.transform(texts)
    own = trained.answer(inputs)
    lengths = inputs["source_mask"].sum(axis=1)
    places = np.searchsorted(np.asarray(WIDTHS), lengths)
    for place in np.unique(places):  # sentences that danlu translates together, padded as it does
        those = np.flatnonzero(places == place)
        width = WIDTHS[int(place)]
        found = run({"source": inputs["source"][those, :width]})
        for row, tokens, score in zip(those, found["tokens"], found["score"], strict=True):
            text = text_until_end(trained.encoder.target, tokens).strip()
            if text != own[row] and not _as_good(trained, inputs, int(row), width, score):
                raise ConfigError(
                    f"the file translates {texts[int(row)][:60]!r} as {text[:60]!r}, danlu as {own[row][:60]!r}; nothing was written",
                    hint="this is a fault of danlu; please report it with the run's config.json",
                )


def _as_good(trained: Trained, inputs: Any, row: int, width: int, score: float) -> bool:
    prompt = {name: each[row : row + 1, :width] for name, each in inputs.items()}
    _, own = _searched(trained, trained.params, trained.state, prompt)
    return bool(abs(float(own[0]) - float(score)) < _TIE)
