"""The card of a model: what it learnt from, how good it is, what it is for, and what it does not know.

A card is Markdown with front matter in Hugging Face's form, so that a saved model's folder can be published as it is. All of it comes
from the model; what only people can say (licence, purpose) is given.

Reference: Mitchell et al. 2019, "Model Cards for Model Reporting"; Hugging Face, "Model Cards" (front matter).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.errors import ConfigError
from danlu.evaluate.compare import conclusion
from danlu.evaluate.group_lines import fairness_lines
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.slice_lines import slice_lines
from danlu.evaluate.usual import DIRECTIONLESS
from danlu.files import write_atomic
from danlu.language import said
from danlu.nn.counted import numbers
from danlu.privacy import privacy_lines
from danlu.trained.card_front import front_of, is_finite, known_scores
from danlu.trained.markdown import Block, code, front_matter, heading, items, paragraph, table

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["CARD", "Card", "card", "facts_of"]

CARD = "README.md"
"""The file of a saved model that holds its card. It may be edited: it is no part of what is checked at loading."""

_FIELDS = 60  # columns that are shown
_CATEGORIES = 8
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_DATASET = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Card:
    """A model's card.

    Attributes:
        front: its front matter.
        blocks: the parts of its text.
    """

    front: Mapping[str, Any]
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return self.told(lambda text: text)

    def told(self, say: Callable[[str], str] = said) -> str:
        """The card as Markdown, in the reader's language; names of the user's stay as they are."""
        return "\n\n".join([front_matter(self.front), *(block(say) for block in self.blocks)]) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the card to a file, in the reader's language.

        Raises:
            ConfigError: the file cannot be written.
        """
        write_atomic(path, self.told(), error=ConfigError)
        return Path(path)


def facts_of(judgement: Judgement) -> dict[str, Any]:
    """What a card says of a test beside its scores, as plain data that a saved model keeps."""
    told, compared = judgement.as_dict(), judgement.comparisons
    sentences = [each.sentence for each in compared]
    if len(compared) > 1:
        sentences.append(conclusion(compared, name=judgement.name, tested=judgement.rows_are)[1])
    found = {
        "what": judgement.tested,
        "intervals": told["intervals"],
        "baselines": told["baselines"],
        "sentences": sentences,
        "undecided": [each.label for each in compared if each.verdict == "undecided"],
        "worse": [each.label for each in compared if each.verdict == "worse"],
        "notes": told["notes"],
        "groups": [fairness_lines(each) for each in judgement.fairness],
        "slices": [] if judgement.slices is None else slice_lines(judgement.slices),
    }
    return {name: value for name, value in found.items() if value}


def card(
    trained: Trained,
    *,
    name: str = "",
    license: str = "",
    intended_use: str = "",
    languages: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> Card:
    """The card of a trained model.

    Args:
        name: what the model is called; empty names what it does.
        license: its identifier, such as ``"cc-by-4.0"``; empty leaves it open, and the card says so.
        intended_use: what the model is for, and for whom, in sentences.
        languages: of its texts, as codes, such as ``("en", "zh")``.
        datasets: what it learnt from, as Hugging Face calls it, such as ``("ylecun/mnist",)``.

    Raises:
        ConfigError: a licence that is no identifier, a language that is no code, a data set's name that cannot be one.

    Example:
        >>> import tempfile, danlu
        >>> rows = {"x": [float(i) for i in range(60)], "y": ["low", "high"] * 30}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> found = card(model, license="cc-by-4.0")
        >>> found.front["pipeline_tag"], found.front["license"]
        ('tabular-classification', 'cc-by-4.0')
        >>> [line for line in str(found).splitlines() if line.startswith("## ")]
        ['## Data', '## Scores', '## Groups and slices', '## Intended use', '## Limits', '## Provenance', '## Licence', '## How to use it']
    """
    short = license.strip().lower()
    if license and not _LICENSE.fullmatch(short):
        raise ConfigError(
            f"the licence is {license[:60]!r}; expected an identifier, such as cc-by-4.0, apache-2.0 or other"
        )
    if strange := [each for each in languages if not _LANGUAGE.fullmatch(each)]:
        raise ConfigError(f"{strange[0][:60]!r} is no language; expected its code, such as en, zh or pt-BR")
    if strange := [each for each in datasets if not _DATASET.fullmatch(each)]:
        raise ConfigError(
            f"{strange[0][:60]!r} is no name of Hugging Face's; expected NAME or ORG/NAME, such as ylecun/mnist"
        )
    title = name or trained.purpose
    blocks = (
        heading(1, title),
        paragraph(f"A model for {trained.purpose}, trained with danlu."),
        heading(2, "Data"),
        *_data(trained),
        heading(2, "Scores"),
        *_scores(trained),
        heading(2, "Groups and slices"),
        *_groups(trained),
        heading(2, "Intended use"),
        paragraph(
            intended_use
            or "Who trained it has not said what it is for. It answers what is described under Data, and nothing else."
        ),
        *_privacy(trained),
        heading(2, "Limits"),
        items(_limits(trained)),
        heading(2, "Provenance"),
        *_provenance(trained),
        heading(2, "Licence"),
        paragraph(short or "None is given: without a licence nobody but its author may use it."),
        heading(2, "How to use it"),
        *_use(trained),
    )
    return Card(front_of(trained, title, short, languages, datasets), blocks)


def _data(trained: Trained) -> list[Block]:
    known, blocks = trained.provenance, []
    if rows := known.get("rows"):
        shown = ", ".join(f"{count:,} {part}" for part, count in rows.items() if count)
        source = f" from {known['source']}" if known.get("source") else ""
        blocks.append(paragraph(f"It was trained and tested on data{source}: {shown}."))
    if first := known.get("pretraining"):
        blocks.append(
            paragraph(f"Before that it learnt from {first['pictures']:,} pictures of {first['source']} without labels.")
        )
    if known.get("begun"):
        blocks.append(paragraph(f"How it began: {known['begun']}."))
    if known.get("split"):
        blocks.append(paragraph(f"How the data was divided: {known['split']}."))
    classes = getattr(getattr(getattr(trained.head, "lead", trained.head), "target", None), "classes", ())
    if classes:
        more = f", and {len(classes) - _FIELDS} more" if len(classes) > _FIELDS else ""
        blocks.append(
            paragraph(f"Its answers are one of {len(classes)} classes: {', '.join(map(str, classes[:_FIELDS]))}{more}.")
        )
    schema = getattr(trained.encoder, "schema", None)
    shares = (
        {} if schema is None or not schema.rows else {each.name: each.missing / schema.rows for each in schema.columns}
    )
    lines = [
        (field.name, field.kind, _range(field), _missing(shares.get(field.name))) for field in trained.fields[:_FIELDS]
    ]
    blocks.append(table(["field", "kind", "in training", "missing"], lines))
    if len(trained.fields) > _FIELDS:
        blocks.append(paragraph(f"{len(trained.fields) - _FIELDS} more fields are not shown."))
    unused = [] if schema is None else [each for each in schema.columns if not each.used and each.name != schema.target]
    if unused:
        blocks.append(paragraph("Columns that it does not see:"))
        blocks.append(items([f"{each.name}: {each.reason or 'left out'}" for each in unused[:_FIELDS]]))
    return blocks


def _range(field: Any) -> str:
    if field.categories:
        more = f", and {len(field.categories) - _CATEGORIES} more" if len(field.categories) > _CATEGORIES else ""
        return ", ".join(field.categories[:_CATEGORIES]) + more
    if field.low is not None and field.high is not None:
        return f"{figure(field.low)} to {figure(field.high)}" + (f" {field.unit}" if field.unit else "")
    return " × ".join("any" if size is None else str(size) for size in field.shape)


def _missing(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def _scores(trained: Trained) -> list[Block]:
    known, tested = known_scores(trained), trained.provenance.get("tested", {})
    if not known:
        return [paragraph("It was not tested.")]
    others: Mapping[str, Mapping[str, float]] = tested.get("baselines", {})
    lines = []
    for name, interval in known.items():
        measure = MEASURES.get(name)
        arrow = "" if measure is None or name in DIRECTIONLESS else " ↑" if measure.higher_is_better else " ↓"
        label = f"{name if measure is None else measure.label}{arrow}"
        each = [figure(own[name]) if is_finite(own.get(name)) else "–" for own in others.values()]
        lines.append([label, figure(interval.value), interval.between if interval.known else "–", *each])
    count = f"{tested['what']}, " if tested.get("what") else ""
    blocks = [
        paragraph(f"Of {count}which it did not learn from; ↑: more is better, ↓: less is better."),
        table(["measure", "value", "95 % interval", *others], lines, numbers=range(1, len(others) + 3)),
    ]
    words = [*tested.get("sentences", ()), *tested.get("notes", ())]
    return [*blocks, items(words)] if words else blocks


def _groups(trained: Trained) -> list[Block]:
    tested = trained.provenance.get("tested", {})
    found = [code("\n".join(lines)) for lines in tested.get("groups", ())]
    if not found and trained.kind == "agent":
        found.append(paragraph("An agent acts in one environment, whose episodes were not divided into groups."))
    elif not found:
        found.append(paragraph("Groups of rows were not compared: whether it treats people differently is not known."))
    if tested.get("slices"):
        found += [paragraph("Where it is worst:"), code("\n".join(tested["slices"]))]
    return found


def _privacy(trained: Trained) -> list[Block]:
    """What is promised of the rows that it learnt from; nothing of a model that was not trained in private."""
    known = trained.provenance.get("privacy")
    return [heading(2, "Privacy"), items(privacy_lines(known))] if known else []


def _limits(trained: Trained) -> list[str]:
    """What it does not know, from what it is."""
    tested, kinds = trained.provenance.get("tested", {}), {field.kind for field in trained.fields}
    found = [
        "Its returns hold in the environment as it was trained in; in another one, or in the world, they are not known."
        if trained.kind == "agent"
        else "The scores hold for rows drawn as the test rows were; for rows of another time, place or group they are not known."
    ]
    if "number" in kinds:
        found.append("Numbers outside the ranges under Data are guesses: it has not learnt from any there.")
    if "category" in kinds:
        found.append(
            "A category that is not under Data, or has been too rare in training, is one unknown category to it."
        )
    if kinds & {"image", "sound"}:
        found.append(
            "Pictures and recordings made in another way than those it learnt from may be answered wrongly, and with certainty."
        )
    if kinds & {"text"}:
        found.append("Words that it has not learnt from mean nothing to it.")
    if trained.task in ("binary", "multiclass"):
        found.append("Its answer is always one of the classes under Data, even for a row that is none of them.")
    if tested.get("undecided"):
        found.append(f"The test rows do not tell it from {', '.join(tested['undecided'])}, which may do as well.")
    if tested.get("worse"):
        found.append(f"By the test rows {', '.join(tested['worse'])} is better.")
    if trained.metrics and not tested.get("intervals"):
        found.append("How sure its scores are is not recorded.")
    found.append("What goes with the answer in the data need not be its cause.")
    return found


def _provenance(trained: Trained) -> list[Block]:
    known = trained.provenance
    count, _ = numbers(trained.params, trained.state)
    lines = [["network", trained.mixture or type(trained.network).__name__], ["parameters", f"{count:,}"]]
    lines += [[name, text] for name, text in trained.head.facts().items()]
    lines += [[name, str(known[name])] for name in ("danlu", "jax", "numpy", "python") if known.get(name)]
    lines += [["saved", str(known["created"])]] if known.get("created") else []
    lines += [["seed", str(known["seed"])]] if known.get("seed") is not None else []
    lines += [[f"SHA-256 of the {name}", str(digest)] for name, digest in (known.get("data") or {}).items()]
    return [table(["what", "value"], lines)]


def _use(trained: Trained) -> list[Block]:
    file = {"table": "new.csv", "text": "new.csv", "series": "new.csv", "sequence": "new.csv"}.get(trained.kind, "FILE")
    if trained.kind == "agent":
        return [code("pip install danlu\ndanlu play FOLDER", "bash")]
    return [
        paragraph("FOLDER is the folder of this file."),
        code(f"pip install danlu\ndanlu predict FOLDER {file} -o answers.csv", "bash"),
        code(f'import danlu\n\nmodel = danlu.load("FOLDER")\nanswers = model.predict("{file}")', "python"),
    ]
