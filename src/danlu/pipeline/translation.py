"""Sentences with their translations, from which translating is learnt."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data.text import Tokenizer
from danlu.data.text.buckets import Buckets, PairTokens
from danlu.data.text.pairs import Pairs, read_pairs, read_sources, sentence_tokens, split_pairs, tokens_of_pairs
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import Interval, TranslationCounts, compare
from danlu.evaluate.dictionary import WordByWord
from danlu.explain import cross_attention
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import Recipe, Translation, Translator, learn_translation, translation_recipe
from danlu.tasks.translation import training_widths

__all__ = ["Interpreter", "PreparedPairs", "Translations"]

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
        unit = {"char": "characters", "word": "words", "bpe": "byte pairs"}[source.kind]
        sizes = (
            f"{source.size:,} different ones in both languages"
            if source is target
            else f"{source.size:,} and {target.size:,} different ones"
        )
        train = self.tokens["train"]
        mean = sum(len(row) for side in (train.sources, train.targets) for row in side) / (2 * len(train))
        yield f"{sum(map(len, self.pairs.values())):,} pairs; tokens are {unit}, {sizes}, {mean:.0f} a sentence"


class Translations(Domain):
    """Pairs of sentences from which a Transformer learns to translate."""

    kind = "translation"
    noun = "translations"
    uses = (
        *COMMON,
        *RECIPE,
        "data.delimiter",
        "model.depth",
        "model.dropout",
        "model.width",
        "translation.*",
    )
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
                hint="say --translate en:de: the two columns, or the endings of the two files",
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
            said += f", but for the {'test' if config.data.test is not None else 'validation'} in a file of its own"
        notices += _beside(config, source)
        tokenizers = _tokenizers(settings, parts["train"])
        tokens = {}
        for name in ("train", "validation"):
            every = tokens_of_pairs(parts[name], *tokenizers)
            fitting = np.flatnonzero(every.lengths <= settings.longest + 1)
            if len(fitting) < len(every):
                notices.append(
                    f"{len(every) - len(fitting):,} pairs of the {name} part have a side of more than {settings.longest} tokens "
                    "and are left out (translation.longest)"
                )
            if not len(fitting):
                raise DataError(
                    f"no pair of the {name} part has at most {settings.longest} tokens a side; raise translation.longest"
                )
            tokens[name] = every.rows(fitting)
        return PreparedPairs(
            pairs=parts, tokens=tokens, tokenizers=tokenizers, rows={name: len(part) for name, part in parts.items()},
            split=said, notices=tuple(notices),
        )  # fmt: skip

    def plan(self, config: TrainConfig, prepared: PreparedPairs) -> Recipe:
        wanted = {"dim": config.model.width, "num_layers": config.model.depth, "dropout": config.model.dropout}
        train = prepared.tokens["train"]
        batches = Buckets(train, training_widths(train), batch_size=1)
        source, target = prepared.tokenizers
        return translation_recipe(
            source.size,
            target.size,
            len(train),
            length=batches.width,
            network={name: value for name, value in wanted.items() if value is not None},
            **config.trainer.chosen(),
        )

    def learn(self, config: TrainConfig, prepared: PreparedPairs, plan: Recipe, **how: Any) -> Any:
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

    def judge(self, config: TrainConfig, prepared: PreparedPairs, trained: Translator) -> Judgement | None:
        test = prepared.pairs["test"]
        if not len(test):
            return None
        options: dict[str, Any] = {"seed": config.trainer.seed}
        ours, judgement = judgement_of(trained, test, **options)
        if not config.evaluate.baselines:
            return judgement
        train, held = prepared.pairs["train"], prepared.pairs["validation"]
        dictionary = WordByWord([*train.sources, *held.sources], [*train.targets, *held.targets])
        others: dict[str, Mapping[str, Interval]] = {}
        comparisons = []
        for label, texts in (
            ("the source left as it is", test.sources),
            ("a word-by-word dictionary", dictionary.translate(test.sources)),
        ):
            theirs = TranslationCounts.of(texts, test.targets, tokenization=ours.tokenization)
            others[label] = theirs.scores(**options)
            comparisons.append(compare(ours, theirs, label, **options))
        return dataclasses.replace(judgement, others=others, comparisons=tuple(comparisons))

    def save(
        self, folder: str | Path, trained: Translator, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        shared = trained.source == trained.target
        encoder = {
            "kind": self.kind,
            "source": trained.source.to_json(),
            "target": None if shared else trained.target.to_json(),
        }
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={
                "task": self.kind, "languages": list(trained.languages), "longest": trained.longest,
                "beams": trained.beams, "alpha": trained.alpha,
            },
            encoder=encoder,
            metrics=metrics,
            provenance=provenance,
        )  # fmt: skip

    def load(self, artifact: Artifact) -> Interpreter:
        task, encoder = artifact.task, artifact.encoder
        told: Any = task if isinstance(task, Mapping) else {}
        languages, longest, beams, alpha = (told.get(name) for name in ("languages", "longest", "beams", "alpha"))
        sound = (
            isinstance(languages, list | tuple)
            and len(languages) == 2
            and all(isinstance(name, str) for name in languages)
            and type(longest) is int
            and 1 <= longest <= 100_000
            and type(beams) is int
            and 1 <= beams <= 64
            and isinstance(alpha, int | float)
            and 0 <= alpha <= 100
        )
        if not sound or not isinstance(encoder, Mapping):
            raise ArtifactError(f"the saved translation model is damaged: its task is {str(task)[:80]!r}")
        source = Tokenizer.from_json(encoder.get("source"))
        target = source if encoder.get("target") is None else Tokenizer.from_json(encoder["target"])
        trained = Translator(
            artifact.model, artifact.params, artifact.state, source, target, (languages[0], languages[1]), longest, beams,
            float(alpha),
        )  # fmt: skip
        scores = artifact.model.out_shape(trained.in_shape) if hasattr(artifact.model, "out_shape") else None
        if scores != (longest, target.size):
            raise ArtifactError(
                f"the saved network gives {scores} for {longest} tokens; expected {(longest, target.size)}, the tokenizer's"
            )
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: Translator, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Interpreter:
        return Interpreter(trained, metrics, provenance)

    def report(self, prepared: PreparedPairs, trained: Translator, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.translations import attention_plot, translation_tables

        source, target = trained.languages
        known = f"{trained.target.size:,} tokens"
        facts = {
            "vocabulary": f"{known} of both languages" if trained.source == trained.target else known,
            "search": f"{trained.beams} beams, length penalty {trained.alpha:g}",
        }
        sections: list[tuple[str, str]] = []
        if judgement is not None and judgement.predictions is not None:
            sections = translation_tables(judgement.predictions)
            drawn = _drawn(trained, judgement.predictions)
            if drawn is not None:
                note = (
                    "<p class='note'>Cross-attention of the last layer, the mean of its heads: darker is more. A row is a written "
                    "token, a column a token of the source. It shows what was read, not why a word was chosen.</p>"
                )
                sections.append(("Attention", f"<div class='figures'><div>{attention_plot(*drawn)}</div></div>{note}"))
        return {"target": f"{target} from {source}", "task": self.kind, "facts": facts, "sections": sections}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Interpreter(Model):
    """A translation model as the user meets it."""

    def next_steps(self, run: str, source: str) -> tuple[tuple[str, ...], ...]:
        asked = source if Path(source).is_file() else f"{source}.{self.predictor.languages[0]}"
        return (("predict", run, asked, "-o", "answers.csv"),)

    @property
    def purpose(self) -> str:
        source, target = self.predictor.languages
        return f"translation from {source} to {target}"

    def translate(self, texts: str | Sequence[str], **options: Any) -> list[str]:
        """The translation of each sentence; options as of :meth:`~danlu.tasks.Translator.translate`."""
        found: list[str] = self.predictor.translate([texts] if isinstance(texts, str) else list(texts), **options)
        return found

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """Translate a text file's lines, a table's column, or sentences in a list.

        Returns:
            A row a sentence: ``source`` and ``translation``.
        """
        trained = self.predictor
        try:
            texts = read_sources(source, trained.languages[0])
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        _warn_of_long(trained, texts, say)
        _check_known(trained, texts, lenient, say)
        return pl.DataFrame({"source": texts, "translation": trained.translate(texts)})

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        try:
            pairs = read_pairs(source, self.predictor.languages)
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in pairs.notices:
            say(notice)
        _warn_of_long(self.predictor, pairs.sources, say)
        _check_known(self.predictor, pairs.sources, lenient, say)
        return judgement_of(self.predictor, pairs)[1]


def judgement_of(trained: Translator, test: Pairs, *, seed: int = 0) -> tuple[TranslationCounts, Judgement]:
    """The counts of a test's translations, and the scores with their intervals."""
    texts = trained.translate(test.sources)
    ours = TranslationCounts.of(texts, test.targets)
    columns = {"source": test.sources, "translation": texts, "reference": test.targets, "chrf": ours.by_sentence()}
    tested = f"{len(test):,} test sentences"
    return ours, Judgement(ours.scores(seed=seed), tested=tested, predictions=pl.DataFrame(columns))


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
            said.append(f"{found[0]} lies beside the training pairs and is not used: {how}{found[0]} would take it")
    return said


def _warn_of_long(trained: Translator, texts: Sequence[str], say: Say) -> None:
    long = int(np.count_nonzero(trained.lengths(texts) > trained.longest))
    if long:
        said = "sentence is" if long == 1 else "sentences are"
        say(
            f"{long:,} {said} longer than any that was learnt from ({trained.longest} tokens): expect little of the translation"
        )


def _check_known(trained: Translator, texts: Sequence[str], lenient: bool, say: Say) -> None:
    tokenizer = trained.source
    if tokenizer.kind == "bpe":
        return
    strange = {
        piece: None
        for text in texts
        for piece, number in zip(tokenizer.cut(text), tokenizer.encode_one(text), strict=True)
        if number == tokenizer.unknown_id
    }
    if strange:
        some = list(strange)
        said = f"the sentences hold {', '.join(map(repr, some[:5]))}{' and more' if len(some) > 5 else ''}"
        if not lenient:
            raise SchemaError(f"{said}, not in the model's vocabulary", hint="--lenient takes them as unknown")
        say(f"{said}, not in the vocabulary: taken as unknown")


def _drawn(trained: Translator, predictions: pl.DataFrame) -> tuple[np.ndarray, list[str], list[str]] | None:
    """The attention weights of one good translation of middling length, and both sides' tokens."""
    good = predictions.sort("chrf", descending=True, maintain_order=True).head(max(len(predictions) // 4, 1))
    texts = list(good.select("source", "translation").iter_rows())
    for least, (text, written) in itertools.product((8, 4), texts):
        rows = sentence_tokens(trained.source, text), sentence_tokens(trained.target, written)
        if not all(least <= len(row) < _DRAWN for row in rows):
            continue
        source = np.append(rows[0], trained.source.end_id)[None]
        target = np.insert(rows[1], 0, trained.target.begin_id)[None]
        weights = cross_attention(trained.network, trained.params, trained.state, {"source": source, "target": target})
        mean = np.asarray(weights[-1, 0].mean(axis=0))
        names = [
            [tokenizer.decode([token]).strip() or "␣" for token in row]
            for tokenizer, row in ((trained.source, rows[0]), (trained.target, rows[1]))
        ]
        return mean, [*names[0], "(end)"], [*names[1], "(end)"]
    return None
