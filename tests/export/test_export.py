"""Saved models of every version as files that other programs run: the same answers, or a refusal that leaves no file."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu import nn
from danlu.data.series import OneSeries, SeriesEncoder, SeriesTable, read_series
from danlu.engine import Fitted
from danlu.errors import ConfigError
from danlu.export import heads
from danlu.export.export import FORMATS, export
from danlu.export.heads import spoken_of
from danlu.export.kinds import kind_of
from danlu.export.runtime import session_of
from danlu.export.written import checked, kind_of_model, onnx_of
from danlu.tasks.quantiles import Quantiles
from danlu.trained import Trained
from danlu.trained.cuts import Cuts
from danlu.trained.scores import Scores
from danlu.trained.together import together

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

GOLDEN = Path(__file__).parents[1] / "trained" / "golden"
TABLES = ["version-2/quantity", "version-3/table", "version-3/table-blend", "version-3/table-card"]

ALONE = """
import csv, json, sys

class Refused:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("danlu", "jax", "jaxlib", "polars"):
            raise ImportError(name)

sys.meta_path.insert(0, Refused())
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
rows = list(csv.DictReader(open(sys.argv[2])))
feed = {}
for each in session.get_inputs():
    texts = [row[each.name] for row in rows]
    is_text = each.type == "tensor(string)"
    feed[each.name] = np.array(texts, object) if is_text else np.array([float(text or "nan") for text in texts])
found = dict(zip([each.name for each in session.get_outputs()], session.run(None, feed)))
print(json.dumps({name: each.tolist() for name, each in found.items()}))
"""


def golden(name: str) -> Trained:
    return danlu.load(GOLDEN / name / "model")


@pytest.mark.parametrize("name", TABLES)
def test_a_file_answers_as_danlu_does_in_a_process_without_it(name: str, tmp_path: Path) -> None:
    model, asked = golden(name), GOLDEN / name / "asked.csv"
    found = export(model, tmp_path / "model.onnx", license="CC0-1.0")
    assert found.trial is not None
    assert found.trial.rows > 50
    command = [sys.executable, "-I", "-c", ALONE, str(found.path), str(asked)]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = np.asarray(model.predict_values(asked))
    if model.task == "regression":
        np.testing.assert_allclose(answers["value"], own, rtol=1e-5)
        return
    np.testing.assert_allclose(answers["probabilities"], own, atol=1e-5)
    assert answers["label"] == model.predict(asked)[model.head.name].cast(pl.String).to_list()


@pytest.mark.parametrize("name", ["image", "sequence", "text", "sound"])
def test_pixels_sequences_recordings_and_texts_are_answered_as_danlu_does(name: str, tmp_path: Path) -> None:
    model = golden(f"version-3/{name}")
    found = export(model, tmp_path / "model.onnx")
    assert found.trial is not None
    assert found.trial.rows >= 14
    assert (tmp_path / "model.tokenizer.json").exists() == (name == "text")
    session = ort.InferenceSession(found.path)
    asked = next((GOLDEN / f"version-3/{name}").glob("asked.*"))
    rows = model.read(np.load(asked) if asked.suffix == ".npy" else asked, lenient=True, say=lambda line: None).rows
    label, probabilities = session.run(["label", "probabilities"], kind_of(model.encoder).feed(model.encoder, rows))
    np.testing.assert_allclose(probabilities, model.answer_rows(rows), atol=1e-5)
    assert (
        label.tolist()
        == np.asarray(model.head.target.classes)[model.head.decide(model.answer_rows(rows), rows)].tolist()
    )


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("multilabel", {"labels", "probabilities"}),
        ("segmentation", {"mask", "probabilities"}),
        pytest.param("detection", {"label", "boxes", "scores"}, marks=pytest.mark.slow),
    ],
)
def test_labels_masks_and_objects_of_pictures(name: str, outputs: set[str]) -> None:
    model = golden(f"version-3/{name}")
    data, answer = onnx_of(model)
    assert set(answer.names) == outputs
    encoder, asked = model.encoder, np.load(GOLDEN / f"version-3/{name}" / "asked.npy")
    rows = [kind_of(encoder).made(encoder, np.random.default_rng(2)), encoder.transform(asked)]
    assert checked(data, model, answer, [(each, each) for each in rows]).difference < 5e-6
    weaker = jax.tree.map(lambda leaf: leaf * 0.9, model.params)
    with pytest.raises(ConfigError, match="nothing was written"):
        checked(data, dataclasses.replace(model, params=weaker), answer, [(rows[1], rows[1])])


def test_long_sequences_are_fed_as_the_encoder_cuts_them() -> None:
    model = golden("version-3/sequence")
    encoder, kind = model.encoder, kind_of(model.encoder)
    random = np.random.default_rng(3)
    long = [encoder.inverse(random.normal(size=(3 * encoder.steps + 2, len(encoder.columns)))) for _ in range(4)]
    for each in long:
        each[random.random(each.shape) < 0.4] = np.nan
    data, answer = onnx_of(model)
    assert checked(data, model, answer, [(long, long)]).rows == 4
    assert kind.feed(encoder, long)["length"].tolist() == [encoder.steps * encoder.every] * 4


def test_forecasts_of_several_series_with_columns_known_ahead() -> None:

    table = {
        "t": [*range(40)] * 2,
        "which": ["a"] * 40 + ["b"] * 40,
        "y": np.arange(80.0) % 7,
        "price": np.arange(80.0) % 5,
    }
    found = read_series(table, ["y"], time="t", series="which", known=["price"])
    encoder = SeriesEncoder.fit(found, 40, context=6, horizon=3)
    network = nn.Forecaster(3, 1, known=1)
    params, state, _ = network.init(jax.random.key(0), encoder.in_shape)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * np.random.default_rng(0).normal(size=leaf.shape), params)
    head = Quantiles((0.1, 0.5, 0.9), 1, np.ones((2, 1)), np.asarray([1.0, 1.5, 2.0]))
    model = Trained(network, params, state, encoder, head)
    data, answer = onnx_of(model)
    rows = encoder.windows(found)
    assert checked(data, model, answer, [(rows, rows)]).rows == len(rows) > 50
    feed = kind_of(encoder).feed(encoder, rows)
    assert set(feed) == {"past", "known", "series"}
    feed["series"][0] = "never seen"
    (forecast,) = ort.InferenceSession(data).run(["forecast"], feed)
    assert np.isnan(forecast[0]).all()
    assert np.isfinite(forecast[1:]).all()


def test_forecasts_of_numbers_that_cancel_are_compared_by_what_comes_in() -> None:
    found = read_series({"t": [*range(40)], "y": np.arange(40.0) % 7}, ["y"], time="t")
    encoder = SeriesEncoder.fit(found, 40, context=6, horizon=3)
    network = nn.Forecaster(3, 1)
    params, state, _ = network.init(jax.random.key(0), encoder.in_shape)
    model = Trained(network, params, state, encoder, Quantiles((0.1, 0.5, 0.9), 1, np.ones((1, 1)), np.ones(3)))
    values = np.asarray([1e5, -1e5, 1e5, -1e5, 1e5, -1e5 + 1.0, 0.0, 0.0, 0.0])[:, None]
    rows = encoder.following(
        SeriesTable(encoder.columns, encoder.calendar, (OneSeries("", 0, values, np.zeros(9, bool), 6),))
    )
    data, answer = onnx_of(model)
    (own,) = session_of(data).run(["forecast"], kind_of(encoder).feed(encoder, rows))
    differ = spoken_of(model.head).differ
    assert differ(model, rows, answer, {"forecast": own + 1e-2}) < 1e-5  # a ten-millionth of what comes in
    assert differ(model, rows, answer, {"forecast": own + 10.0}) > 1e-5


@pytest.mark.parametrize(("place", "hint"), [("none/m.onnx", "make it first"), ("file/m.onnx", "no folder")])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    place: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys.modules["danlu.export.export"], "onnx_of", lambda *given: pytest.fail("written first"))
    with pytest.raises(ConfigError, match="cannot write") as refused:
        export(golden("version-3/table-blend"), tmp_path / place)
    assert hint in str(refused.value)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    model = golden("version-3/table-blend")
    export(model, tmp_path / "model.onnx", license="CC0-1.0")
    told = ort.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert told["license"] == "CC0-1.0"
    assert json.loads(told["classes"]) == list(model.head.target.classes)
    assert {each["name"] for each in json.loads(told["inputs"])} == {field.name for field in model.fields}
    assert json.loads(told["schema"]) == json.loads(json.dumps(model.encoder.schema.to_json()))


def with_scores(name: str) -> Trained:
    """A saved model with scores for its intervals or sets, of rows made up."""
    model, random = golden(name), np.random.default_rng(5)
    rows = kind_of(model.encoder).made(model.encoder, random)
    answers = np.asarray(model.answer_rows(rows))
    if model.task == "regression":
        truth, classes = answers + model.head.target.std * random.normal(size=len(answers)), False
    else:
        truth, classes = random.integers(answers.shape[1], size=len(answers)), True
    scores = Scores.of(answers, truth, classes=classes)
    if not classes:  # intervals that are wider where the answer is greater
        scores = dataclasses.replace(scores, spread=np.stack([np.quantile(answers, [0.2, 0.8]), [0.5, 2.0]]))
    return dataclasses.replace(model, head=dataclasses.replace(model.head, scores=scores, level=0.8))


@pytest.mark.parametrize(
    ("name", "outputs"), [("quantity", ("value", "low", "high")), ("table", ("label", "probabilities", "set"))]
)
def test_intervals_and_sets_are_inside(name: str, outputs: tuple[str, ...]) -> None:
    model = with_scores(f"version-3/{name}")
    data, answer = onnx_of(model)
    assert answer.names == outputs
    rows = kind_of(model.encoder).made(model.encoder, np.random.default_rng(1))
    assert checked(data, model, answer, [(rows, rows)]).difference < 1e-6
    asked = dataclasses.replace(model, head=dataclasses.replace(model.head, level=0.5))
    with pytest.raises(ConfigError, match="nothing was written"):
        checked(data, asked, answer, [(rows, rows)])


def test_several_models_that_are_one_are_one_file() -> None:
    model = golden("version-3/table-blend")
    both = together([model, model])
    data, answer = onnx_of(both)
    rows = kind_of(model.encoder).made(model.encoder, np.random.default_rng(1))
    assert checked(data, both, answer, [(rows, rows)]).difference < 1e-6


@pytest.mark.parametrize(
    ("columns", "limits", "names"),
    [
        (("sex", "years"), ((), (30.0, 45.5)), ("f & below 30", "m & 45.5 and more", "missing & 30 to 45.5")),
        (("size",), ((10.0, 20.0),), ("below 10", "10 to 19")),
        (("city",), ((),), ("Bern", "Oslo")),
    ],
)
def test_thresholds_of_groups_are_inside(columns: Any, limits: Any, names: tuple[str, ...]) -> None:
    cuts = Cuts(columns, limits, names, tuple(np.linspace(0.1, 0.9, len(names)).tolist()))
    plain = golden("version-3/table")
    model = dataclasses.replace(plain, head=dataclasses.replace(plain.head, cuts=cuts))
    data, answer = onnx_of(model)
    kind = kind_of_model(model)
    rows = kind.made(model.encoder, np.random.default_rng(4))
    own = cuts.of(rows, model.head.threshold)
    assert len(set(own)) > 1
    assert checked(data, model, answer, [(rows, rows)]).difference < 1e-6
    assert {each["name"] for each in kind.about(model.encoder)} == set(kind.feed(model.encoder, rows))
    other = dataclasses.replace(cuts, thresholds=cuts.thresholds[::-1])
    with pytest.raises(ConfigError, match="nothing was written"):
        checked(
            data, dataclasses.replace(model, head=dataclasses.replace(model.head, cuts=other)), answer, [(rows, rows)]
        )


def test_groups_that_cannot_be_written_are_refused() -> None:
    plain = golden("version-3/table")
    for columns, limits, names, said in (
        (("sex", "size"), ((), ()), ("a & b & 1",), "within the name"),
        (("city",), ((1.0,),), ("below 1",), "between numbers"),
    ):
        head = dataclasses.replace(plain.head, cuts=Cuts(columns, limits, names, (0.5,)))
        with pytest.raises(ConfigError, match=said):
            onnx_of(dataclasses.replace(plain, head=head))


def test_estimators_and_networks_of_arrays(tmp_path: Path) -> None:
    model = golden("version-3/table")
    fitted = types.SimpleNamespace(model_=model)
    assert export(fitted, tmp_path / "estimator", format="safetensors").path.is_file()
    for wrong, said in ((danlu.Classifier(), "has not learnt yet"), (3, "received a int")):
        with pytest.raises(ConfigError, match=said):
            export(wrong, tmp_path / "model.onnx")
    network = nn.Parallel((nn.Dense(2), nn.Flatten()), "dict", inputs=("a", "b"), outputs=("u", "v"))
    program = types.SimpleNamespace(model=network)
    shape = {"a": (3,), "b": (2, 2)}
    params, state, _ = network.init(jax.random.key(0), shape)
    record = Fitted(program, params, state, [], None, in_shape=shape)
    rows = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 2, 2), np.float32)}
    found = export(record, tmp_path / "network.onnx")
    assert found.outputs == ("u", "v")
    given = ort.InferenceSession(found.path).run(["u", "v"], rows)
    own, _ = network.apply(params, state, rows)
    np.testing.assert_allclose(given[0], own["u"], atol=1e-6)
    np.testing.assert_array_equal(given[1], own["v"])
    with pytest.raises(ConfigError, match="not as safetensors"):
        export(record, tmp_path / "network", format="safetensors")


def test_trees_of_a_blend_are_one_node() -> None:
    data, _ = onnx_of(golden("version-3/table-blend"))
    kinds = [node.op_type for node in onnx.load_from_string(data).graph.node]
    assert kinds.count("TreeEnsembleRegressor") == 1


def test_a_file_that_answers_otherwise_is_refused() -> None:
    model = golden("version-3/table")
    data, answer = onnx_of(model)
    rows = kind_of(model.encoder).made(model.encoder, np.random.default_rng(0))
    assert checked(data, model, answer, [(rows, rows)]).difference < 1e-5
    other = onnx.load_from_string(data)
    weights = max(
        (each for each in other.graph.initializer if each.data_type == 1), key=lambda each: len(each.raw_data)
    )
    changed = onnx.numpy_helper.to_array(weights) * 1.01
    weights.CopyFrom(onnx.numpy_helper.from_array(changed.astype(np.float32), weights.name))
    with pytest.raises(ConfigError, match="nothing was written"):
        checked(other.SerializeToString(), model, answer, [(rows, rows)])


def test_what_cannot_be_written_is_refused_by_name_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="onnxx"):
        export(golden("version-3/table"), format="onnxx")
    with monkeypatch.context() as without:
        without.setattr(heads, "HEADS", {})
        with pytest.raises(ConfigError, match="'binary' cannot be written as ONNX yet"):
            export(golden("version-3/table"), tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="is a folder"):
        export(golden("version-3/table"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_plain_formats_hold_the_model(tmp_path: Path) -> None:
    from safetensors import safe_open

    model = golden("version-3/table")
    assert set(FORMATS) == {"onnx", "safetensors", "stablehlo", "web"}
    export(model, tmp_path / "m.safetensors", format="safetensors")
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        assert json.loads(file.metadata()["blueprint"])
        sizes = sum(file.get_tensor(name).size for name in file.keys() if name.startswith("params"))  # noqa: SIM118
    assert sizes == sum(np.size(leaf) for leaf in jax.tree.leaves(model.params))
    export(model, tmp_path / "m.stablehlo", format="stablehlo")
    inputs = model.encoder.transform(kind_of(model.encoder).made(model.encoder, np.random.default_rng(0)))
    called = jax.export.deserialize(bytearray((tmp_path / "m.stablehlo").read_bytes())).call(inputs)
    np.testing.assert_allclose(called, model.answer(inputs), atol=1e-5)
