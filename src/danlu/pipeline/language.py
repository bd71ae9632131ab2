"""Plain texts, whose language is learnt: the next token from those before it."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data.text import Corpus, Tokenizer, Tokens, read_corpus, split_corpus, tokens_of
from danlu.data.text.read import is_text_source
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import TokenLosses, compare
from danlu.evaluate.ngrams import NGrams
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import Language, LanguageModel, Recipe, language_recipe, learn_language

__all__ = ["LanguageTexts", "PreparedText", "Writer"]

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
        """Whether each line is a text of its own."""
        return self.corpora["train"].lines

    def lines(self) -> Iterable[str]:
        kind = "lines, each a text of its own" if self.is_lines else "one stream of text"
        size = sum(corpus.characters for corpus in self.corpora.values())
        unit = {"char": "characters", "word": "words", "bpe": "byte pairs"}[self.tokenizer.kind]
        yield f"{kind}: {size:,} characters; tokens are {unit}, {self.tokenizer.size:,} different ones"

    def known(self) -> Tokens:
        """All tokens that the network sees, validation included: what a baseline may learn from, the last of them if many."""
        train, held = self.tokens["train"], self.tokens["validation"]
        flat = np.concatenate([train.tokens, held.tokens])
        bounds = np.concatenate([train.bounds, held.bounds[1:] + train.bounds[-1]])
        first = max(len(flat) - _COUNTED, 0)
        return Tokens(flat[first:], np.unique(np.maximum(bounds - first, 0)), 0)


class LanguageTexts(Domain):
    """Text files from which a language model learns."""

    kind = "language"
    noun = "language models"
    uses = (
        *COMMON,
        *RECIPE,
        "language.*",
        "model.depth",
        "model.dropout",
        "model.width",
    )
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
                raise DataError(f"the {name} part of {source} has no two tokens", hint="is there more text?")
        counts = {name: len(_lines_of(part)) for name, part in parts.items()}
        return PreparedText(
            corpora=parts, tokens=tokens, tokenizer=tokenizer, rows=counts, split=said, notices=tuple(notices)
        )

    def plan(self, config: TrainConfig, prepared: PreparedText) -> Recipe:
        wanted = {"dim": config.model.width, "num_layers": config.model.depth, "dropout": config.model.dropout}
        known = [prepared.tokens[name] for name in ("train", "validation")]
        return language_recipe(
            prepared.tokenizer.size,
            prepared.tokens["train"].predicted,
            longest=max(part.longest for part in known) if prepared.is_lines else None,
            context=config.language.context,
            network={name: value for name, value in wanted.items() if value is not None},
            **config.trainer.chosen(),
        )

    def learn(self, config: TrainConfig, prepared: PreparedText, plan: Recipe, **how: Any) -> Any:
        return learn_language(
            prepared.tokens["train"],
            tokenizer=prepared.tokenizer,
            plan=plan,
            validation=prepared.tokens["validation"],
            lines=prepared.is_lines,
            seed=config.trainer.seed,
            **how,
        )

    def judge(self, config: TrainConfig, prepared: PreparedText, trained: LanguageModel) -> Judgement | None:
        test = prepared.tokens["test"]
        if not test.predicted:
            return None
        options: dict[str, Any] = {"seed": config.trainer.seed}
        ours, own = judgement_of(trained, test, **options)
        frame = by_line(trained, prepared.corpora["test"])
        if not config.evaluate.baselines:
            return dataclasses.replace(own, predictions=frame)
        known, others, comparisons = prepared.known(), {}, []
        for label, order in _BASELINES.items():
            counts = NGrams(known.tokens, known.bounds, vocabulary=trained.tokenizer.size, order=order)
            theirs = TokenLosses.of(counts.losses(test.tokens, test.bounds), test.bounds, test.characters)
            others[label] = theirs.scores(**options)
            comparisons.append(compare(ours, theirs, label, constant=order == 1, **options))
        return dataclasses.replace(own, others=others, comparisons=tuple(comparisons), predictions=frame)

    def save(
        self, folder: str | Path, trained: LanguageModel, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        encoder = {"kind": self.kind, "tokenizer": trained.tokenizer.to_json()}
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": self.kind, "context": trained.context, "lines": trained.lines},
            encoder=encoder,
            metrics=metrics,
            provenance=provenance,
        )

    def load(self, artifact: Artifact) -> Writer:
        task, encoder = artifact.task, artifact.encoder
        context, lines = (task.get(name) if isinstance(task, Mapping) else None for name in ("context", "lines"))
        if type(context) is not int or not 4 <= context <= 1_000_000 or type(lines) is not bool:
            raise ArtifactError(f"the saved language model is damaged: its task is {str(task)[:80]!r}")
        tokenizer = Tokenizer.from_json(encoder.get("tokenizer") if isinstance(encoder, Mapping) else None)
        scores = artifact.model.out_shape((context,)) if hasattr(artifact.model, "out_shape") else None
        if scores != (context, tokenizer.size):
            raise ArtifactError(
                f"the saved network gives {scores} for {context} tokens; expected {(context, tokenizer.size)}, the tokenizer's"
            )
        trained = LanguageModel(artifact.model, artifact.params, artifact.state, tokenizer, context, lines)
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: LanguageModel, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Writer:
        return Writer(trained, metrics, provenance)

    def report(self, prepared: PreparedText, trained: LanguageModel, judgement: Judgement | None) -> dict[str, Any]:
        unit = {"char": "character", "word": "word", "bpe": "piece of a word"}[prepared.tokenizer.kind]
        samples = trained.write(length=400, samples=12 if trained.lines else _SAMPLES, temperature=0.8)
        shown = "\n".join(samples) if trained.lines else "\n\n· · ·\n\n".join(samples)
        settings = "<p class='note'>Drawn with temperature 0.8; danlu generate draws more.</p>"
        size = sum(corpus.characters for corpus in prepared.corpora.values())
        facts = {
            "text": f"{size:,} characters",
            "context": f"{trained.context} tokens",
            "vocabulary": f"{trained.tokenizer.size:,} tokens",
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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Writer(Model):
    """A language model as the user meets it."""

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        return (("generate", run), ("generate", run, "--temperature", "0.7", "--samples", "3"))

    @property
    def purpose(self) -> str:
        return f"language, {'lines' if self.predictor.lines else 'a stream'} of {self.predictor.tokenizer.kind} tokens"

    def generate(self, prompt: str = "", **options: Any) -> list[str]:
        """Texts that go on from ``prompt``; options as of :meth:`~danlu.tasks.LanguageModel.write`."""
        found: list[str] = self.predictor.write(prompt, **options)
        return found

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The loss of each line of a text file: how little the model expected it.

        Returns:
            A row a line: ``line`` (from 1), ``text``, ``tokens`` (how many were predicted) and ``loss``, their mean in nats,
            null where nothing was predicted.
        """
        return by_line(self.predictor, self._read(source, lenient, say))

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        tokens = tokens_of(self._read(source, lenient, say), self.predictor.tokenizer)
        if not tokens.predicted:
            raise SchemaError(f"{source} has no two tokens, so there is none to predict")
        return judgement_of(self.predictor, tokens)[1]

    def _read(self, source: Any, lenient: bool, say: Say) -> Corpus:
        tokenizer = self.predictor.tokenizer
        if not isinstance(source, str | Path):
            raise SchemaError(f"a language model judges a text file; received a {type(source).__name__}")
        corpus = read_corpus(source, lines=self.predictor.lines)
        for notice in corpus.notices:
            say(notice)
        strange = [p for p in corpus.pieces() if tokenizer.unknown_id in tokenizer.encode_one(p)]
        if strange:
            pieces = dict.fromkeys(c for p in strange for c in (p if tokenizer.kind == "char" else p.split()))
            names = [c for c in pieces if tokenizer.unknown_id in tokenizer.encode_one(c)]
            said = f"{source} holds {', '.join(map(repr, names[:5]))}{' and more' if len(names) > 5 else ''}"
            if not lenient:
                raise SchemaError(f"{said}, not in the model's vocabulary", hint="--lenient takes them as unknown")
            say(f"{said}, not in the vocabulary: taken as unknown")
        return corpus


def _attention(prepared: PreparedText, trained: LanguageModel) -> list[tuple[str, str]]:
    """A section of what the tokens at the beginning of the test text looked at; none without attention or a test."""
    from danlu.explain import attention_maps
    from danlu.report.attention import attention_section

    test = prepared.tokens["test"]
    first = test.tokens[: min(_DRAWN, trained.context, test.bounds[1] if len(test.bounds) > 1 else 0)]
    if len(first) < 2:
        return []
    try:
        maps = attention_maps(trained.network, trained.params, trained.state, np.asarray(first)[None])
    except ConfigError:  # a network without attention
        return []
    pieces = [_piece(trained.tokenizer, int(token)) for token in first]
    return [attention_section({path: np.asarray(each[0]) for path, each in maps.items()}, pieces)]


def _piece(tokenizer: Tokenizer, token: int) -> str:
    """A token as text; marks, which have none, by their names."""
    marks = {tokenizer.begin_id: "⟨begin⟩", tokenizer.end_id: "⟨end⟩", tokenizer.unknown_id: "⟨unknown⟩"}
    return marks.get(token) or tokenizer.decode([token])


def judgement_of(trained: LanguageModel, test: Tokens, *, seed: int = 0) -> tuple[TokenLosses, Judgement]:
    """The losses on a test, and the scores with their intervals."""
    ours = TokenLosses.of(trained.token_losses(test), test.bounds, test.characters)
    tested = f"{test.predicted:,} test tokens"
    return ours, Judgement(ours.scores(seed=seed), tested=tested)


def _lines_of(corpus: Corpus) -> list[str]:
    """The lines of a corpus; those of a stream with their ends."""
    return [line for text in corpus.texts for line in ([text] if corpus.lines else text.splitlines(keepends=True))]


def by_line(trained: LanguageModel, corpus: Corpus) -> pl.DataFrame:
    """The mean loss of each line's tokens; see :meth:`Writer.predict`."""
    tokenizer = trained.tokenizer
    texts = _lines_of(corpus)
    if corpus.lines:
        tokens = tokens_of(corpus, tokenizer)
        counts = np.diff(tokens.bounds) - 1
    else:
        rows = [tokenizer.encode_one(text) for text in texts]
        flat = np.fromiter((token for row in rows for token in row), np.int32)
        tokens = Tokens(flat, np.array([0, len(flat)], np.int64), 0)
        counts = np.array([len(row) for row in rows])
        first = int(np.argmax(counts > 0)) if len(counts) else 0
        counts[first : first + 1] -= 1  # the first token of all is not predicted
    losses = trained.token_losses(tokens) if tokens.predicted else np.zeros(0)
    ends = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])[np.concatenate([[0], np.cumsum(counts)])]
    means = [total / count if count else None for total, count in zip(np.diff(ends), counts, strict=True)]
    return pl.DataFrame(
        {
            "line": np.arange(1, len(texts) + 1),
            "text": [text.rstrip("\n") for text in texts],
            "tokens": counts.astype(np.int64),
            "loss": pl.Series(means, dtype=pl.Float64),
        }
    )
