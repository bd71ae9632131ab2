"""Translation: sentences with their translations."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data.text import SentenceEncoder, Tokenizer
from danlu.data.text.buckets import Buckets, PairTokens
from danlu.data.text.pairs import Pairs, read_pairs, read_sources, sentence_tokens, split_pairs, tokens_of_pairs
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.bleu import TranslationCounts
from danlu.evaluate.dictionary import WordByWord
from danlu.evaluate.judgement import Judgement
from danlu.explain import cross_attention
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.used import COMMON, RECIPE
from danlu.pipeline.vocabulary import TOKENS, check_known, network_settings
from danlu.tasks import BeamSearch, Recipe, Translation, learn_translation, translation_recipe
from danlu.tasks.translation import training_widths
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["PreparedPairs", "Translations"]

_FEW = 10_000  # pairs below which a smaller vocabulary is learnt better
_VOCABULARY = (1_000, 4_000, 8_000)
_DRAWN = 24  # tokens of the longest sentence whose attention is drawn


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPairs(Prepared):
    """Pairs in tokens.

    Attributes:
        pairs: the parts as text.
        tokens: the training and the validation part in tokens, without pairs that are too long.
        tokenizers: of the source and of the target, fitted on the training part; the same one where they share it.
    """

    pairs: Mapping[str, Pairs]
    tokens: Mapping[str, PairTokens]
    tokenizers: tuple[Tokenizer, Tokenizer]

    def lines(self) -> Iterable[str]:
        source, target = self.tokenizers
        sizes = (
            f"{source.size:,} different ones in both languages"
            if source is target
            else f"{source.size:,} and {target.size:,} different ones"
        )
        train = self.tokens["train"]
        mean = sum(len(row) for side in (train.sources, train.targets) for row in side) / (2 * len(train))
        yield f"{sum(map(len, self.pairs.values())):,} pairs; tokens are {TOKENS[source.kind]}, {sizes}, {mean:.0f} a sentence"


def languages(pair: str) -> dict[str, str]:
    """The settings for ``FROM:TO``.

    Raises:
        ConfigError: it is not such a pair.
    """
    first, _, second = (part.strip() for part in pair.partition(":"))
    if not first or not second:
        raise ConfigError(f"--translate is {pair!r}; expected FROM:TO, such as en:de")
    return {"translation.source": first, "translation.target": second}


class Translations(Domain):
    """Pairs of sentences from which a Transformer learns to translate."""

    kind = "translation"
    noun = "translations"
    instead_of_why = "the report of the run shows which source words were read for each word"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"translation": Translation}
    options = (
        Option(
            "--translate", "", "FROM:TO, such as en:de: two columns, or the endings of two files.", settings=languages
        ),
    )
    sources = ("translation.validation",)
    beside = (
        Beside(
            "split.validation",
            lambda config: config.translation.validation is None,
            "the validation pairs come from a separate file",
        ),
    )
    encoder = SentenceEncoder
    head = BeamSearch
    uses = (*COMMON, RECIPE, "data.delimiter", "model.depth|dropout|width", "translation.*")
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--translate FROM:TO names the two columns; leave --target out"
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.translation.source or config.translation.target)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedPairs:
        settings, split = config.translation, config.split
        if not settings.source or not settings.target:
            raise ConfigError(
                f"translation.source is {settings.source!r} and translation.target {settings.target!r}; expected both",
                hint="use --translate en:de with the two columns, or the endings of the two files",
            )

        def read(place: Any) -> Pairs:
            return read_pairs(place, (settings.source, settings.target), delimiter=config.data.delimiter)

        everything = read(source)
        shares = {
            "validation": 0.0 if settings.validation is not None else min(split.validation, 3000 / len(everything)),
            "test": 0.0 if config.data.test is not None else min(split.test, 3000 / len(everything)),
        }
        parts, said = split_pairs(everything, seed=config.trainer.seed, **shares)
        notices = [*everything.notices]
        for name, place in (("validation", settings.validation), ("test", config.data.test)):
            if place is not None:
                parts[name] = read(place)
                notices += [f"{place}: {notice}" for notice in parts[name].notices]
                learnt = set(parts["train"].sources)
                again = sum(text in learnt for text in parts[name].sources)
                if again:
                    notices.append(
                        f"{again:,} of {len(parts[name]):,} source sentences of {place} are in the training part as well"
                    )
        if config.data.test is not None and settings.validation is not None:
            said = "by files"
        elif config.data.test is not None or settings.validation is not None:
            said += f", but for the {'test' if config.data.test is not None else 'validation'} in a separate file"
        notices += _beside(config, source)
        tokenizers = _tokenizers(settings, parts["train"])
        tokens = {}
        for name in ("train", "validation"):
            every = tokens_of_pairs(parts[name], *tokenizers)
            fitting = np.flatnonzero(every.lengths <= settings.max_length + 1)
            if len(fitting) < len(every):
                notices.append(
                    f"{len(every) - len(fitting):,} pairs of the {name} part have a side with more than {settings.max_length} tokens "
                    "and are left out (translation.max_length)"
                )
            if not len(fitting):
                raise DataError(
                    f"no pair of the {name} part has at most {settings.max_length} tokens a side; raise translation.max_length"
                )
            tokens[name] = every.rows(fitting)
        return PreparedPairs(
            pairs=parts, tokens=tokens, tokenizers=tokenizers, rows={name: len(part) for name, part in parts.items()},
            split=said, notices=tuple(notices),
        )  # fmt: skip

    def plan(self, config: TrainConfig, prepared: PreparedPairs) -> Recipe:
        train = prepared.tokens["train"]
        batches = Buckets(train, training_widths(train), batch_size=1)
        source, target = prepared.tokenizers
        return translation_recipe(
            source.size,
            target.size,
            len(train),
            length=batches.width,
            network=network_settings(config),
            **config.trainer.chosen(),
        )

    def learn(self, config: TrainConfig, prepared: PreparedPairs, plan: Recipe, **how: Any) -> Learned:
        return learn_translation(
            prepared.tokens["train"],
            tokenizers=prepared.tokenizers,
            languages=(config.translation.source, config.translation.target),
            plan=plan,
            validation=prepared.tokens["validation"],
            settings=config.translation,
            seed=config.trainer.seed,
            **how,
        )

    def test(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained) -> Judgement | None:
        test = prepared.pairs["test"]
        if not len(test):
            return None
        inputs = trained.encoder.transform(test.sources)
        return trained.judge(inputs, test.targets, rows=test.sources, seed=config.trainer.seed)

    def simple(self, config: TrainConfig, prepared: PreparedPairs, trained: Trained, ours: Any) -> Iterable[Simple]:
        train, held, test = (prepared.pairs[name] for name in ("train", "validation", "test"))
        dictionary = WordByWord([*train.sources, *held.sources], [*train.targets, *held.targets])
        for label, texts in (
            ("the source left as it is", test.sources),
            ("a word-by-word dictionary", dictionary.translate(test.sources)),
        ):
            yield Simple(label, TranslationCounts.of(texts, test.targets, tokenization=ours.tokenization))

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """A text file's lines, a table's column, or sentences in a list; with the truth, pairs as training reads them."""
        encoder = trained.encoder
        try:
            if truth:
                pairs = read_pairs(source, encoder.languages)
                found, notices = Read(pairs.sources, pairs.targets), pairs.notices
            else:
                found, notices = Read(read_sources(source, encoder.languages[0])), ()
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in (*notices, *encoder.long(found.rows)):
            say(notice)
        check_known(encoder.source, found.rows, "the sentences hold", lenient=lenient, say=say)
        return found

    def purpose(self, trained: Trained) -> str:
        source, target = trained.encoder.languages
        return f"translation from {source} to {target}"

    def next_steps(self, trained: Trained, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        asked = source if Path(source).is_file() else f"{source}.{trained.encoder.languages[0]}"
        return (("predict", run, asked, "-o", "answers.csv"),)

    def old_encoder(self, artifact: Artifact) -> Any:
        return {**artifact.encoder, **{name: artifact.task.get(name) for name in ("languages", "longest")}}

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"beams": artifact.task.get("beams"), "length_penalty": artifact.task.get("alpha")}, {}

    def report(self, prepared: PreparedPairs, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.translations import attention_plot, translation_tables

        encoder = trained.encoder
        head: Any = trained.head
        source, target = encoder.languages
        known = f"{encoder.target.size:,} tokens"
        facts = {
            "vocabulary": f"{known} of both languages" if encoder.source == encoder.target else known,
            "search": f"{head.beams} beams, length penalty {head.length_penalty:g}",
        }
        sections: list[tuple[str, str]] = []
        if judgement is not None and judgement.predictions is not None:
            sections = translation_tables(judgement.predictions)
            drawn = _drawn(trained, judgement.predictions)
            if drawn is not None:
                note = (
                    "<p class='note'>Cross-attention of the last layer, the mean of its heads: darker is more. A row is a written "
                    "token, a column a token of the source. It shows what was read, not why a word was written.</p>"
                )
                sections.append(("Attention", f"<div class='figures'><div>{attention_plot(*drawn)}</div></div>{note}"))
        return {"target": f"{target} from {source}", "task": self.kind, "facts": facts, "sections": sections}


def _tokenizers(settings: Translation, train: Pairs) -> tuple[Tokenizer, Tokenizer]:
    """Of the source and of the target; the vocabulary grows with the pairs."""
    size = settings.vocabulary
    if size is None and settings.tokens == "bpe":
        size = _VOCABULARY[0 if len(train) < _FEW else 1 if len(train) < 10 * _FEW else 2]
    before = " " if settings.tokens == "bpe" else ""  # see sentence_tokens
    sides = [[before + text for text in side] for side in (train.sources, train.targets)]
    options: dict[str, Any] = {"kind": settings.tokens, "size": size}
    if settings.shared:
        both = Tokenizer.fit([*sides[0], *sides[1]], **options)
        return both, both
    return Tokenizer.fit(sides[0], **options), Tokenizer.fit(sides[1], **options)


def _beside(config: TrainConfig, source: Any) -> list[str]:
    """A word on files beside the training pairs that look like the other parts and are not used."""
    path = Path(source) if isinstance(source, str | Path) else None
    if path is None or path.is_file() or not path.name.lower().startswith("train"):
        return []
    settings, said = config.translation, []
    stems = sorted({file.with_suffix("") for file in path.parent.glob(f"*.{settings.source}")})
    whole = [stem for stem in stems if Path(f"{stem}.{settings.target}").is_file()]
    for asked, names, how in (
        (settings.validation, ("val", "dev"), "translation.validation="),
        (config.data.test, ("test",), "--test "),
    ):
        found = [stem for stem in whole if stem.name.lower().startswith(names)]
        if asked is None and found:
            said.append(f"{found[0]} is next to the training pairs but is not used: {how}{found[0]} uses it")
    return said


def _drawn(trained: Trained, predictions: pl.DataFrame) -> tuple[np.ndarray, list[str], list[str]] | None:
    """The attention weights of one good translation of middling length, and both sides' tokens."""
    good = predictions.sort("chrf", descending=True, maintain_order=True).head(max(len(predictions) // 4, 1))
    texts = list(good.select("source", "translation").iter_rows())
    encoder = trained.encoder
    for least, (text, written) in itertools.product((8, 4), texts):
        rows = sentence_tokens(encoder.source, text), sentence_tokens(encoder.target, written)
        if not all(least <= len(row) < _DRAWN for row in rows):
            continue
        source = np.append(rows[0], encoder.source.end_id)[None]
        target = np.insert(rows[1], 0, encoder.target.begin_id)[None]
        weights = cross_attention(trained.network, trained.params, trained.state, {"source": source, "target": target})
        mean = np.asarray(weights[-1, 0].mean(axis=0))
        names = [
            [tokenizer.decode([token]).strip() or "␣" for token in row]
            for tokenizer, row in ((encoder.source, rows[0]), (encoder.target, rows[1]))
        ]
        return mean, [*names[0], "(end)"], [*names[1], "(end)"]
    return None
