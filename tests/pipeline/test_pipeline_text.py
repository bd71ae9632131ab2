"""Texts from a table, lines or folders to a trained, saved, loaded and judged model."""

import json

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.artifact.artifact import sealed
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.explain import word_attribution

SMALL = {
    "trainer": {"epochs": 4, "patience": 4, "batch_size": 16, "learning_rate": 0.02},
    "model": {"width": 4},
}
GOOD, BAD = ("lovely", "tasty", "很好吃", "warm and kind"), ("awful", "cold", "难吃", "slow and rude")


def reviews(count, seed=0):
    """Reviews whose words tell their label, the one in the other's ground."""
    rng = np.random.default_rng(seed)
    filler = ("the soup was", "our waiter seemed", "we came on a Monday and", "as for the rice, it is")
    found = {"review": [], "label": []}
    for row in range(count):
        label = ("bad", "good")[row % 2]
        found["review"].append(f"{rng.choice(filler)} {rng.choice(GOOD if label == 'good' else BAD)} .")
        found["label"].append(label)
    return pl.DataFrame(found)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    said, folder = [], tmp_path_factory.mktemp("texts")
    frame = pl.concat([reviews(240), pl.DataFrame({"review": ["", None], "label": ["good", "bad"]})])
    frame.write_ndjson(folder / "reviews.jsonl")
    source, data = str(folder / "reviews.jsonl"), {"text": "review"}
    result = danlu.train(source, target="label", data=data, runs=folder, display="none", say=said.append, **SMALL)
    return result, said


def test_reviews_are_learnt_and_judged_beside_simple_models(trained):
    result, said = trained
    assert result.scores["accuracy"] > 0.9
    assert sum(result.rows.values()) == 240
    assert abs(result.rows["validation"] - 36) <= 2  # equal texts stay in one part
    assert abs(result.rows["test"] - 48) <= 2
    assert any("2 of 242 rows have no text" in line for line in said)
    assert set(result.judgement.others) == {"the most common class", "TF-IDF and logistic regression"}
    assert result.judgement.others["TF-IDF and logistic regression"]["accuracy"].value > 0.9
    assert "TF-IDF" in result.run.report_path.read_text(encoding="utf-8")


def test_the_loaded_model_predicts_tables_and_lists(trained):
    result, _ = trained
    model, fresh = danlu.load(result.run.path), reviews(20, seed=1)
    found = model.predict(fresh)
    assert found.columns == ["label", "probability bad", "probability good"]
    assert (found["label"] == fresh["label"]).mean() > 0.9
    np.testing.assert_array_equal(model.predict_values(fresh["review"].to_list()), found[:, 1:].to_numpy())
    np.testing.assert_array_equal(model.predict_values(fresh[7:8])[0], model.predict_values(fresh)[7])
    assert model.evaluate(fresh).scores["accuracy"].value > 0.9


def test_what_does_not_fit_is_one_message(trained):
    result, said = trained
    model = danlu.load(result.run.path)
    with pytest.raises(SchemaError, match="unknown text column 'review'"):
        model.predict({"reviews": ["tasty"], "other": ["x"]})
    with pytest.raises(SchemaError, match="not texts"):
        model.predict({"review": [1.5, 2.5]})
    with pytest.raises(SchemaError, match="1 of 2 texts are empty, the first in row 2"):
        model.predict({"review": ["tasty", "  "]})
    assert model.predict({"review": ["tasty", "  "]}, lenient=True, say=said.append).height == 2
    with pytest.raises(SchemaError, match=r"3 \(int\) in row 2"):
        model.predict(["tasty", 3])
    with pytest.raises(SchemaError, match="lacks the target 'label'"):
        model.evaluate({"review": ["tasty"]})


def test_settings_and_sources_that_cannot_be_are_one_message(tmp_path):
    quiet = {"runs": tmp_path, "display": "none", "say": lambda line: None}
    with pytest.raises(DataError, match="did you mean 'review'"):
        danlu.train(reviews(40), target="label", data={"text": "revew"}, **quiet)
    with pytest.raises(DataError, match="no column 'mark'"):
        danlu.train(reviews(40), target="mark", data={"text": "review"}, **quiet)
    with pytest.raises(ConfigError, match="texts are split at random"):
        danlu.train(reviews(40), target="label", data={"text": "review"}, split={"method": "time"}, **quiet)
    with pytest.raises(DataError, match="has both a text and a label"):
        danlu.train({"review": ["", ""], "label": ["a", "b"]}, target="label", data={"text": "review"}, **quiet)


def test_a_damaged_encoder_is_refused(trained, tmp_path):
    result, _ = trained
    path = result.run.artifact_path / "model.json"
    whole = path.read_text(encoding="utf-8")
    for change in ({"words": 0}, {"grams": 10**9}, {"column": 3}, {"tokenizer": {"kind": "word"}}):
        document = json.loads(whole)
        document["encoder"].update(change)
        path.write_text(json.dumps(sealed(document)), encoding="utf-8")
        with pytest.raises(ArtifactError, match="damaged"):
            danlu.load(result.run.path)
    path.write_text(whole, encoding="utf-8")


@pytest.mark.slow
def test_lines_with_labels_and_files_of_parts(tmp_path):
    for name, seed in (("train", 0), ("dev", 1), ("test", 2)):
        lines = [f"{int(label == 'good')} {text}" for text, label in reviews(80, seed).iter_rows()]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    result = danlu.train(str(tmp_path), runs=tmp_path / "runs", display="none", say=lambda line: None, **SMALL)
    assert result.rows == {"train": 80, "validation": 80, "test": 80}
    assert result.judgement.rows.classes == 2


@pytest.mark.slow
def test_a_quantity_is_learnt_from_texts(tmp_path):
    frame = reviews(200).with_columns(stars=pl.when(pl.col("label") == "good").then(4.5).otherwise(1.5) + 0.01)
    frame = frame.with_columns(stars=pl.col("stars") + pl.int_range(pl.len()) * 0.001)
    data, longer = {"text": "review", "task": "regression"}, {**SMALL, "trainer": {"epochs": 20}}
    result = danlu.train(
        frame, target="stars", data=data, runs=tmp_path, display="none", say=lambda line: None, **longer
    )
    assert result.scores["r2"] > 0.5
    assert "TF-IDF and ridge regression" in result.judgement.others


def test_what_words_added_is_the_difference_of_the_outputs(trained):
    model = trained[0].model
    texts = ["the soup was lovely and awful .", "我们 很好吃 tasty tasty"]
    added, gap = word_attribution(model.network, model.params, model.state, model.encoder, texts, np.array([1, 1]))
    assert gap < 0.01
    encoder, inputs = model.encoder, model.encoder.transform(texts)
    blank = jax.tree.map(lambda leaf: leaf, model.params)
    for member in blank:  # no words
        member[0][0]["table"] = 0 * member[0][0]["table"]
    scores = [
        np.asarray(model.network.apply(params, model.state, inputs)[0]).mean(axis=1)[:, 1]
        for params in (model.params, blank)
    ]
    np.testing.assert_allclose([each.sum() for each in added], scores[0] - scores[1], atol=0.02)
    words = encoder.tokenizer.cut(texts[0])
    assert added[0][words.index("lovely")] > 0 > added[0][words.index("awful")]
    for text, row in zip(texts, inputs["grams"]["x"], strict=True):
        assert [number for number in row if number] == list(encoder.places(text))
