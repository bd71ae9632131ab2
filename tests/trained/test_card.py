"""The card of a model: Markdown and YAML that say what they were given, whatever that is, for every kind of data."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import danlu
from danlu.cli import main
from danlu.errors import ConfigError
from danlu.evaluate import Rows, compare, intervals
from danlu.evaluate.judgement import Judgement
from danlu.trained.card import CARD, card, facts_of
from danlu.trained.markdown import code, front_matter, literal, table

GOLDEN = Path(__file__).parent / "golden" / "version-3"
TAGS = {
    "agent": "reinforcement-learning",
    "detection": "object-detection",
    "image": "image-classification",
    "language": "text-generation",
    "multilabel": "image-classification",
    "recommend": None,
    "bandit": None,
    "pages": None,
    "uplift": None,
    "segmentation": "image-segmentation",
    "sequence": None,
    "series": "time-series-forecasting",
    "sound": "audio-classification",
    "table": "tabular-classification",
    "text": "text-classification",
    "translation": "translation",
}
yaml = pytest.importorskip("yaml")
markdown_it = pytest.importorskip("markdown_it")
ODD = "a|b `c` **d** <i>&amp;\n--- # 1. \\ \u2028 'x' \"y\": [z](w) 漢"


def front(text: str) -> dict[str, Any]:
    """The front matter, as another reader of YAML has it."""
    _, body, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(body)
    return found


def shown(markdown: str, tag: str) -> list[str]:
    """The texts of the elements of a kind, as a reader sees them."""
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(markdown)
    inside = [tokens[i + 1].children for i, token in enumerate(tokens) if token.type == f"{tag}_open"]
    return ["".join(each.content for each in children or ()) for children in inside]


@pytest.mark.parametrize("kind", TAGS)
def test_every_kind_of_model_has_a_card_that_others_can_read(kind: str) -> None:
    model = danlu.load(GOLDEN / kind / "model")
    text = str(card(model, license="CC0-1.0"))
    found = front(text)
    assert found["license"] == "cc0-1.0"
    assert found.get("pipeline_tag") == TAGS[kind]
    (own,) = found["model-index"]
    metrics = own["results"][0]["metrics"]
    assert [each["value"] for each in metrics] == [
        value for value in model.metrics.values() if isinstance(value, float)
    ]
    assert {field.name for field in model.fields} <= set(shown(text, "td"))
    assert not {"None", "nan"} & {word for cell in shown(text, "td") for word in cell.split()}


@given(st.text())
def test_a_text_is_shown_sign_by_sign(text: str) -> None:
    plain = " ".join(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", literal(text)).split())
    for sign in "\\`*_[]<>#|~&":
        assert literal(f"{sign}a") == f"\\{sign}a"
    page = f"{literal(text)}\n\n## {literal(text)}\n\n{table([text], [[text]])(str)}"
    assert shown(page, "paragraph") == ([plain] if plain else [])
    assert shown(page, "heading") == shown(page, "th") == shown(page, "td") == [plain]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["null", "off", "-"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


WORDS = st.sampled_from(["null", "true", "no", "on", "y", "-", "---", "-a", "~", "_", "="]) | st.text(min_size=1)


@given(st.dictionaries(WORDS, values, min_size=1, max_size=4))
def test_front_matter_is_read_as_it_was_given(data: dict[str, Any]) -> None:
    whole = json.loads(json.dumps(data).encode("utf-8", "replace"))
    assert yaml.safe_load(front_matter(whole).strip("-")) == whole


def test_code_ends_no_sooner_than_it_does() -> None:
    held = "a\n```\nb ```` c"
    (found,) = [t for t in markdown_it.MarkdownIt().parse(code(held, "x")(str) + "\n\nafter") if t.type == "fence"]
    assert found.content == held + "\n"


def test_names_of_the_users_break_nothing(tmp_path: Path) -> None:
    model = danlu.load(GOLDEN / "table" / "model")
    schema = model.encoder.schema
    columns = tuple(dataclasses.replace(each, name=each.name + ODD) for each in schema.columns)
    encoder = dataclasses.replace(model.encoder, schema=dataclasses.replace(schema, columns=columns))
    told = {"source": ODD, "split": ODD, "tested": {"baselines": {ODD: {"accuracy": 0.5}}, "notes": [ODD], "what": ODD}}
    odd = dataclasses.replace(model, encoder=encoder, provenance={**model.provenance, **told})
    text = card(odd, name=ODD, intended_use=ODD, datasets=["org/data-1.0"]).write(tmp_path / "card.md").read_text()
    found, plain = front(text), card(model, name="plain")
    assert found["model-index"][0]["name"] == ODD
    assert found["datasets"] == ["org/data-1.0"]
    assert len(shown(text, "heading")) == len(shown(str(plain), "heading"))
    assert len(shown(text, "tr")) == len(shown(str(plain), "tr"))


def test_the_test_is_kept_with_its_intervals_and_baselines() -> None:
    model = danlu.load(GOLDEN / "table-blend" / "model")
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=80)
    p = np.clip(0.5 + 0.3 * (truth - 0.5) + rng.normal(0, 0.2, 80), 0.02, 0.98)
    rows = Rows("binary", truth, np.stack([1 - p, p], axis=1))
    other = rows.with_prediction(np.full((80, 2), 0.5))
    scores = intervals(rows)
    judged = Judgement(scores, {"a coin": intervals(other)}, (compare(rows, other, "a coin"),), "80 test rows", rows)
    own = {"tested": json.loads(json.dumps(facts_of(judged)))}
    metrics = {name: each.value for name, each in scores.items()}
    text = str(card(dataclasses.replace(model, metrics=metrics, provenance=own)))
    (result,) = front(text)["model-index"][0]["results"]
    args = {each["name"].split(" (")[0]: each["args"] for each in result["metrics"] if "args" in each}
    assert args["ROC-AUC"] == {"level": 0.95, "low": scores["roc_auc"].low, "high": scores["roc_auc"].high}
    assert "a coin" in shown(text, "th")
    assert judged.comparisons[0].sentence in shown(text, "paragraph")


def test_a_card_may_be_edited_and_the_model_still_loads(tmp_path: Path) -> None:
    model = danlu.load(GOLDEN / "table" / "model")
    folder = model.save(tmp_path / "model")
    place = folder / CARD
    assert front(place.read_text())["library_name"] == "danlu"
    place.write_text("mine")
    danlu.load(folder)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["danlu", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_writes_what_only_people_can_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, model = tmp_path / "README.md", str(GOLDEN / "table" / "model")
    given = ("--license", "MIT", "--languages", "en, zh", "--intended-use", "To learn.")
    assert run(monkeypatch, "card", model, "-o", str(place), *given) == 0
    found = front(place.read_text())
    assert (found["license"], found["language"]) == ("mit", ["en", "zh"])
    assert "To learn." in place.read_text()
    assert run(monkeypatch, "card", model, "--license", "free for all!") == 1
    assert "expected an identifier, such as cc-by-4.0" in capsys.readouterr().err
    assert run(monkeypatch, "card", model, "--languages", "en,english") == 1
    assert "'english' is no language; expected its code, such as en, zh" in capsys.readouterr().err
    assert run(monkeypatch, "card", model, "--datasets", "a b") == 1
    assert "'a b' is no name of Hugging Face's" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="received a int; expected a trained model"):
        danlu.card(3)  # type: ignore[arg-type]


def test_hugging_face_reads_the_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    for kind in TAGS:
        place = card(danlu.load(GOLDEN / kind / "model"), name=ODD).write(tmp_path / f"{kind}.md")
        data = hub.ModelCard.load(place).data
        assert data.library_name == "danlu"
        assert len(data.eval_results) == len(
            [v for v in danlu.load(GOLDEN / kind / "model").metrics.values() if isinstance(v, float)]
        )
