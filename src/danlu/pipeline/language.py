"""Language models of plain texts: they predict each token from the tokens before it."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data.text import Corpus, CorpusEncoder, Tokenizer, Tokens, lines_of, read_corpus, split_corpus, tokens_of
from danlu.data.text.read import is_text_source
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate import TokenLosses
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.ngrams import NGrams
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared, Simple
from danlu.pipeline.used import COMMON, RECIPE
from danlu.pipeline.vocabulary import TOKENS, check_known, network_settings
from danlu.tasks import Language, NextToken, Recipe, language_recipe, learn_language
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["LanguageTexts", "PreparedText"]

_BASELINES = {"the unigram model": 1, "the bigram model": 2, "the trigram model": 3, "the 5-gram model": 5}
_COUNTED = 5_000_000  # the most tokens, the last ones, that baselines count
_SAMPLES = 3
_DRAWN = 32  # tokens whose attention is drawn


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedText(Prepared):
    """A text in tokens.

    Attributes:
        corpora: the parts as text.
        tokens: the parts as tokens.
        tokenizer: fitted on the training part.
    """

    corpora: Mapping[str, Corpus]
    tokens: Mapping[str, Tokens]
    tokenizer: Tokenizer

    @property
    def is_lines(self) -> bool:
        """Whether each line is an independent text."""
        return self.corpora["train"].lines

    def lines(self) -> Iterable[str]:
        kind = "lines, each an independent text" if self.is_lines else "one stream of text"
        size = sum(corpus.characters for corpus in self.corpora.values())
        yield f"{kind}: {size:,} characters; tokens are {TOKENS[self.tokenizer.kind]}, {self.tokenizer.size:,} different ones"

    def known(self) -> Tokens:
        """All tokens that the network sees, validation included: the training data of a baseline, only the last of them if many."""
        train, held = self.tokens["train"], self.tokens["validation"]
        flat = np.concatenate([train.tokens, held.tokens])
        bounds = np.concatenate([train.bounds, held.bounds[1:] + train.bounds[-1]])
        first = max(len(flat) - _COUNTED, 0)
        return Tokens(flat[first:], np.unique(np.maximum(bounds - first, 0)), 0)


class LanguageTexts(Domain):
    """Text files from which a language model learns."""

    kind = "language"
    noun = "language models"
    instead_of_why = "the report of the run shows which tokens attend to which"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"language": Language}
    encoder = CorpusEncoder
    head = NextToken
    uses = (*COMMON, RECIPE, "language.*", "model.depth|dropout|width")
    instead: ClassVar[Mapping[str, str]] = {"data.text": "a .txt file is text altogether; leave --text out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        if not isinstance(source, str | Path) or Path(source).suffix.lower() != ".txt" or config.data.target:
            return False
        # Lines that begin with their label are another domain's, unless the user speaks of language.
        return config.language != Language() or not (config.data.text or is_text_source(source))

    def prepare(self, config: TrainConfig, source: Any) -> PreparedText:
        settings, split = config.language, config.split
        asked = {"auto": None, "yes": True, "no": False}[settings.lines]
        corpus = read_corpus(source, lines=asked)
        share = 0.0 if config.data.test is not None else split.test
        parts, said = split_corpus(corpus, validation=split.validation, test=share, seed=config.trainer.seed)
        if config.data.test is not None:
            parts["test"] = read_corpus(config.data.test, lines=corpus.lines)
        tokenizer = Tokenizer.fit(parts["train"].pieces(), kind=settings.tokens, size=settings.vocabulary)
        tokens = {name: tokens_of(part, tokenizer) for name, part in parts.items()}
        notices = [*corpus.notices]
        for name, part in tokens.items():
            strange = int(np.count_nonzero(part.tokens == tokenizer.unknown_id))
            if strange:
                notices.append(
                    f"{strange:,} tokens of the {name} part are not in the vocabulary; they count as unknown"
                )
        for name in ("train", "validation"):
            if not tokens[name].predicted:
                raise DataError(f"the {name} part of {source} has fewer than two tokens", hint="give more text")
        counts = {name: sum(len(lines_of(text)) for text in part.texts) for name, part in parts.items()}
        return PreparedText(
            corpora=parts, tokens=tokens, tokenizer=tokenizer, rows=counts, split=said, notices=tuple(notices)
        )

    def plan(self, config: TrainConfig, prepared: PreparedText) -> Recipe:
        known = [prepared.tokens[name] for name in ("train", "validation")]
        return language_recipe(
            prepared.tokenizer.size,
            prepared.tokens["train"].predicted,
            longest=max(part.longest for part in known) if prepared.is_lines else None,
            context=config.language.context,
            network=network_settings(config),
            **config.trainer.chosen(),
        )

    def learn(self, config: TrainConfig, prepared: PreparedText, plan: Recipe, **how: Any) -> Learned:
        return learn_language(
            prepared.tokens["train"],
            tokenizer=prepared.tokenizer,
            plan=plan,
            validation=prepared.tokens["validation"],
            lines=prepared.is_lines,
            seed=config.trainer.seed,
            **how,
        )

    def test(self, config: TrainConfig, prepared: PreparedText, trained: Trained) -> Judgement | None:
        texts = prepared.corpora["test"].texts
        if not prepared.tokens["test"].predicted:
            return None
        return trained.judge(trained.encoder.transform(texts), texts, rows=texts, seed=config.trainer.seed)

    def simple(self, config: TrainConfig, prepared: PreparedText, trained: Trained, ours: Any) -> Iterable[Simple]:
        known, test = prepared.known(), prepared.tokens["test"]
        for label, order in _BASELINES.items():
            counts = NGrams(known.tokens, known.bounds, vocabulary=prepared.tokenizer.size, order=order)
            theirs = TokenLosses.of(counts.losses(test.tokens, test.bounds), test.bounds, test.characters)
            yield Simple(label, theirs, constant=order == 1)

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        if not isinstance(source, str | Path):
            raise SchemaError(f"a language model is evaluated on a text file; received a {type(source).__name__}")
        corpus = read_corpus(source, lines=trained.encoder.lines)
        for notice in corpus.notices:
            say(notice)
        check_known(trained.encoder.tokenizer, list(corpus.pieces()), f"{source} holds", lenient=lenient, say=say)
        return Read(corpus.texts, corpus.texts if truth else None)

    def purpose(self, trained: Trained) -> str:
        return (
            f"language, {'lines' if trained.encoder.lines else 'a stream'} of {trained.encoder.tokenizer.kind} tokens"
        )

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("generate", run), ("generate", run, "--temperature", "0.7", "--samples", "3"))

    def old_encoder(self, artifact: Artifact) -> Any:
        return {**artifact.encoder, **{name: artifact.task.get(name) for name in ("context", "lines")}}

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def report(self, prepared: PreparedText, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        unit = {"char": "character", "word": "word", "bpe": "piece of a word"}[prepared.tokenizer.kind]
        lines = prepared.is_lines
        samples = trained.generate(length=400, samples=12 if lines else _SAMPLES, temperature=0.8)
        shown = "\n".join(samples) if lines else "\n\n· · ·\n\n".join(samples)
        settings = "<p class='note'>Drawn with temperature 0.8; danlu generate writes more.</p>"
        size = sum(corpus.characters for corpus in prepared.corpora.values())
        facts = {
            "text": f"{size:,} characters",
            "context": f"{trained.in_shape[0]} tokens",
            "vocabulary": f"{prepared.tokenizer.size:,} tokens",
        }
        return {
            "target": f"the next {unit}",
            "task": self.kind,
            "facts": facts,
            "sections": [
                ("What it writes", f"<pre style='white-space: pre-wrap'>{html.escape(shown)}</pre>{settings}"),
                *_attention(prepared, trained),
            ],
        }


def _attention(prepared: PreparedText, trained: Trained) -> list[tuple[str, str]]:
    """A section of what the tokens at the beginning of the test text looked at; none without attention or a test."""
    from danlu.explain import attention_maps
    from danlu.report.attention import attention_section

    test = prepared.tokens["test"]
    first = test.tokens[: min(_DRAWN, trained.in_shape[0], test.bounds[1] if len(test.bounds) > 1 else 0)]
    if len(first) < 2:
        return []
    try:
        maps = attention_maps(trained.network, trained.params, trained.state, np.asarray(first)[None])
    except ConfigError:  # a network without attention
        return []
    pieces = [_piece(prepared.tokenizer, int(token)) for token in first]
    return [attention_section({path: np.asarray(each[0]) for path, each in maps.items()}, pieces)]


def _piece(tokenizer: Tokenizer, token: int) -> str:
    """A token as text; marks, which have none, by their names."""
    marks = {tokenizer.begin_id: "⟨begin⟩", tokenizer.end_id: "⟨end⟩", tokenizer.unknown_id: "⟨unknown⟩"}
    return marks.get(token) or tokenizer.decode([token])
