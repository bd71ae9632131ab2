"""Few examples: episodes, what new classes are told by, and the whole way from folders of classes to an answer."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.cli.entry import main
from danlu.data.images import read_classes
from danlu.data.seen import known_rows, row_hashes
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate import Episodes, intervals
from danlu.fewshot import METHODS, Changed, Drawn, Episode, FewShots, Quiz, Shots, episodes, shot_recipe
from danlu.fewshot.answers import logits_of, softmax
from danlu.pipeline import load, similar, with_support
from danlu.pipeline.config import config_from
from danlu.pipeline.fewshot import FewShotPictures

GOLDEN = Path(__file__).parents[1] / "trained/golden/version-3/fewshot/model"
DOMAIN = FewShotPictures()


def sign(kind: int, rng: np.random.Generator) -> np.ndarray:
    image = rng.integers(0, 40, (12, 12)).astype(np.uint8)
    image[(kind % 3) * 4 : (kind % 3) * 4 + 3] = 220
    image[:, (kind // 3) * 3 : (kind // 3) * 3 + 2] = 250
    return image


@pytest.fixture(scope="module")
def alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("alphabets"), np.random.default_rng(0)
    for kind in range(12):
        place = root / f"group{kind % 3}" / f"sign{kind // 3}"
        place.mkdir(parents=True)
        for drawer in range(4):
            Image.fromarray(sign(kind, rng)).save(place / f"{drawer}.png")
    return root


@pytest.fixture(scope="module")
def model() -> Any:
    return load(GOLDEN)


def prepared(source: Path, **sections: Any) -> Any:
    shots = {"k": 1, **sections.pop("shots", {})}
    config = config_from({"data": {"source": str(source)}, "shots": shots, **sections})
    return DOMAIN.prepare(config, str(source))


# Episodes.


def test_an_episode_has_so_many_classes_of_one_group_and_no_row_twice() -> None:
    codes, episode = np.repeat(np.arange(10), 7), Episode(4, 2, 3)
    groups = np.array([0] * 5 + [1] * 4 + [2])  # the last group is too small
    draw = episodes(codes, episode, 50, groups=groups)
    order = draw(3, np.random.default_rng(3))
    assert np.array_equal(order, draw(3, np.random.default_rng(3)))
    assert not np.array_equal(order, draw(4, np.random.default_rng(4)))
    seen = set()
    for rows in order.reshape(50, 4, 5):
        assert len(np.unique(rows)) == 20
        own = codes[rows]
        assert (own == own[:, :1]).all()
        assert len(np.unique(own)) == 4
        assert len(np.unique(groups[own])) == 1
        seen |= set(own.ravel().tolist())
    assert seen == set(range(9))


def test_too_few_rows_or_classes_are_told() -> None:
    with pytest.raises(DataError, match=r"a class has 4 rows; expected 5 or more: 2 shots and 3 queries"):
        episodes(np.repeat(np.arange(3), 4), Episode(2, 2, 3), 1)
    with pytest.raises(DataError, match="at most 2 classes in a group"):
        episodes(np.repeat(np.arange(4), 4), Episode(3, 1, 1), 1, groups=np.array([0, 0, 1, 1]))


def test_a_class_is_turned_as_a_whole_and_becomes_another() -> None:
    episode, rng = Episode(3, 1, 2), np.random.default_rng(0)
    x = rng.integers(0, 255, (9, 5, 5, 1)).astype(np.uint8)
    batch = {"x": jnp.asarray(x), "y": jnp.repeat(jnp.arange(3), 3), "weight": jnp.ones(9)}
    turned = set()
    for seed in range(4):
        found = Changed(episode, (), turns=True, classes=3)(jax.random.key(seed), batch)
        turn = np.asarray(found["y"]) // 3
        turned |= set(turn.tolist())
        for row in range(9):
            assert turn[row] == turn[row // 3 * 3]
            np.testing.assert_allclose(found["x"][row], np.rot90(x[row], turn[row]), atol=1e-3)
    assert turned == {0, 1, 2, 3}


# The evidence.


def test_the_interval_is_that_of_classes_and_not_of_queries() -> None:
    """Many queries of few classes tell no more than the classes do."""
    rng = np.random.default_rng(0)
    hard = rng.random(8) < 0.5  # classes that are never told, beside classes that always are
    ways = np.stack([rng.permutation(8)[:4] for _ in range(100)])
    p = np.full((100, 4, 20, 4), 0.1)
    for way in range(4):
        p[:, way, :, way] = np.where(hard[ways[:, way]], 0.0, 0.7)[:, None]
    nothing = np.zeros(0, int)
    found = Episodes(ways, p, nothing, nothing, np.zeros(0))
    score = intervals(found, ("episode_accuracy",))["episode_accuracy"]
    assert score.high - score.low > 0.4
    assert found.measures(np.eye(8)[0])["episode_accuracy"] != found.measures(np.eye(8)[0])["episode_accuracy"], "alone"


def test_a_class_that_is_left_out_is_no_answer_any_more() -> None:
    p = np.array([[[[0.3, 0.2, 0.5]], [[0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6]]]])
    nothing = np.zeros(0, int)
    found = Episodes(np.array([[0, 1, 2]]), p, nothing, nothing, np.zeros(0))
    assert found.measures()["episode_accuracy"] == pytest.approx(2 / 3)
    without = found.measures(np.array([1.0, 1.0, 0.0]))
    assert without["episode_accuracy"] == 1
    assert without["episode_log_loss"] == pytest.approx(-np.log([0.3 / 0.5, 0.8 / 0.9]).mean())


# What is prepared.


def test_whole_groups_or_classes_are_divided(alphabets: Path) -> None:
    found = prepared(alphabets)
    groups = {name: {label.split("/")[0] for label in part[1]} for name, part in
              (("train", found.train), ("validation", found.validation), ("test", found.test))}  # fmt: skip
    assert [len(each) for each in groups.values()] == [1, 1, 1]
    assert len(set.union(*groups.values())) == 3
    assert (found.episode, found.within) == (Episode(4, 1, 3), True)
    single = prepared(alphabets, shots={"divide": "classes", "within": False})
    own = [set(part[1].tolist()) for part in (single.train, single.validation, single.test)]
    assert [len(each) for each in own] == [8, 2, 2]
    assert len(set.union(*own)) == 12
    assert single.judged.ways == 2


def test_folders_named_like_parts_say_what_classes_are_for(alphabets: Path, tmp_path: Path) -> None:
    for part, group in (("train", 0), ("val", 1), ("test", 2)):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"sub{group}").symlink_to(alphabets / f"group{group}")
    found = read_classes(tmp_path)
    assert set(found.parts.tolist()) == {"train", "validation", "test"}
    assert "sub0/sign0" in found.labels.to_list()
    assert prepared(tmp_path).split == "the source's own parts"
    (tmp_path / "test" / "sub0").symlink_to(alphabets / "group0")
    shared = read_classes(tmp_path)
    assert shared.parts is None
    assert "4 classes are in several parts" in shared.notices[-1]


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"shots": {"k": 4}}, DataError, "no class has more than 4 examples"),
        (
            {"shots": {"ways": 9}},
            ConfigError,
            "shots.ways is 9, and the training part has 4 classes in its largest group",
        ),
        ({"shots": {"queries": 4}}, ConfigError, "shots.queries is 4, and a class has 3"),
        ({"data": {"target": "y"}}, ConfigError, "is a folder, whose folders are the classes"),
        ({"split": {"test": 0.7, "validation": 0.3}}, DataError, "3 groups of classes are too few to divide"),
    ],
)
def test_mistakes_are_told(alphabets: Path, sections: Any, error: type[Exception], message: str) -> None:
    data = {"source": str(alphabets), **sections.pop("data", {})}
    with pytest.raises(error, match=message):
        prepared(alphabets, data=data, **sections) if len(data) == 1 else DOMAIN.prepare(
            config_from({"data": data, "shots": {"k": 1}}), str(alphabets)
        )


def test_a_batch_is_whole_episodes() -> None:
    with pytest.raises(ConfigError, match="expected a multiple of 10, the pictures of an episode"):
        shot_recipe(FewShots(k=1), Episode(5, 1, 1), 100, (12, 12, 1), classes=9, batch_size=12)
    with pytest.raises(ConfigError, match="expected square ones"):
        shot_recipe(FewShots(k=1, turns=True), Episode(5, 1, 1), 100, (12, 16, 1), classes=9)


# What a model answers.


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[] if method in ("prototypes", "matching", "supcon", "probe") else pytest.mark.slow)
        for method in METHODS
    ],
)
def test_a_support_makes_a_classifier_that_says_what_the_episodes_do(model: Any, method: str) -> None:
    """The layer that follows from a support gives each query the probabilities that the learner gives it in an episode."""
    rng = np.random.default_rng(1)
    images = np.stack([sign(kind, rng) for kind in (0, 4, 8) for _ in range(4)])[..., None]
    labels = np.repeat(["a", "b", "c"], 4)
    adapts = method in ("maml", "fomaml", "reptile")
    start = np.full((model.network.out_shape((12, 12, 1))[0], 1), 0.1, np.float32) if adapts else None
    scale = 0.1 if method == "prototypes" else 5.0
    head = Shots(method, 3, 2, 2, scale=scale, steps=3, rate=0.05, temperature=2.0, start=start)
    ours = dataclasses.replace(model, head=head)
    order = np.arange(12).reshape(1, 3, 4)
    drawn = Drawn(Episode(3, 2, 2), order, np.repeat(np.arange(3), 4), ("a", "b", "c"), None, 0)
    inputs = ours.encoder.transform(images)
    items = ours.answer(inputs).astype(np.float32) if head.learner.compares else inputs
    expected = softmax(logits_of(ours.network, head.learner, *head.variables(ours), drawn, items), 2.0)
    shown, asked = order[0, :, :2].ravel(), order[0, :, 2:].ravel()
    classifier = ours.head.classifier(ours, images[shown], labels[shown].tolist())
    assert classifier.head.target.classes == ("a", "b", "c")
    np.testing.assert_allclose(classifier.answer_rows(images[asked]), expected.reshape(6, 3), rtol=2e-4, atol=1e-6)


def test_from_a_folder_to_a_classifier_and_to_what_is_alike(model: Any, alphabets: Path) -> None:
    classifier = with_support(model, alphabets)
    answers = classifier.predict(str(alphabets / "group0" / "sign0"))
    assert answers.columns[:2] == ["file", "class"]
    assert classifier.kind == "image"
    found = similar(model, str(alphabets / "group0" / "sign0" / "0.png"), str(alphabets), most=3)
    assert found["similar"][0].endswith("group0/sign0/0.png")
    assert found["distance"][0] == pytest.approx(0, abs=1e-3)
    assert found["same class"][0] == "yes"
    assert found["distance"].is_sorted()
    judged = model.evaluate(str(alphabets))
    assert {"episode_accuracy", "pair_auc", "equal_error"} <= set(judged.scores)
    assert judged.predictions.height == 200 * judged.evidence.classes.shape[1] * 2


def test_what_was_taught_is_a_classifier_like_any_other(
    model: Any, alphabets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "my classifier"
    monkeypatch.setattr(sys, "argv", ["danlu", "teach", str(GOLDEN), str(alphabets), "-o", str(place)])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capfd.readouterr().out
    assert stop.value.code == 0
    assert "a classifier of 12 classes" in said
    assert f"danlu predict '{place}' PICTURES" in said
    asked = str(alphabets / "group0" / "sign0")
    assert load(place).predict(asked).equals(with_support(model, alphabets).predict(asked))


def test_a_test_of_the_examples_themselves_is_told(model: Any, alphabets: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for name in ("sign0", "sign1"):
        shutil.copytree(alphabets / "group0" / name, few / name)
        (few / name / "3.png").unlink()
    said: list[str] = []
    with_support(model, few).evaluate(str(few), say=said.append)
    assert said[0].startswith("all 6 rows were in the training data")
    said.clear()
    for name in ("sign0", "sign1"):
        shutil.copy(alphabets / "group0" / name / "3.png", few / name)
    classifier = model.head.classifier(model, *_read(alphabets, ("sign0", "sign1"), range(3)))
    classifier = dataclasses.replace(classifier, reader=with_support(model, few).reader)
    assert len(classifier.evaluate(str(few), say=said.append).evidence) == 2
    assert said[-1].startswith("6 of 8 rows were in the training data")


def _read(root: Path, names: tuple[str, ...], numbers: range) -> tuple[list[np.ndarray], list[str]]:
    files = [(root / "group0" / name / f"{number}.png", name) for name in names for number in numbers]
    return [np.asarray(Image.open(file)) for file, _ in files], [name for _, name in files]


def test_a_table_of_features_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    with pytest.raises(DataError, match=r"no column of image files(.|\n)*--shots learns from pictures"):
        prepared(tmp_path / "f.csv")


def test_episodes_of_an_evaluation_are_of_classes_that_were_not_learnt_from(model: Any, alphabets: Path) -> None:
    found = DOMAIN.read(model, str(alphabets), lenient=False, say=print, truth=True)
    learnt = np.isin(found.truth, np.unique(found.truth)[:5])
    rows = model.encoder.transform(found.rows[learnt])
    seen = known_rows(row_hashes(rows, model.head.marks(found.truth[learnt])))
    told: list[str] = []
    tested = dataclasses.replace(model, seen=seen).evaluate(str(alphabets), say=told.append)
    assert told[-1].startswith("20 of 48 rows were in the training data")
    assert len(tested.evidence) == 7


def test_a_support_of_one_class_or_for_another_kind_is_refused(model: Any, alphabets: Path) -> None:
    with pytest.raises(SchemaError, match="the support has 1 class"):
        model.head.classifier(model, [np.zeros((12, 12), np.uint8)], ["one"])
    other = load(GOLDEN.parents[1] / "image" / "model")
    with pytest.raises(ConfigError, match="a support is for models that learn new classes"):
        with_support(other, alphabets)


def test_probabilities_and_threshold_are_fitted_to_classes_that_were_held_out() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(6), 10)
    vectors = np.eye(6)[codes] + 0.05 * rng.normal(size=(60, 6))
    drawn = Drawn.of(np.array([f"c{code}" for code in codes]), Episode(4, 1, 3), 30, within=False)
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    logits = 100 * np.where(rng.random((30, 4, 3, 4)) < 0.2, 1, 0) + 0.0
    head = Shots("prototypes", 4, 1, 3).fitted(danlu.trained.HeldOut(Quiz(drawn, logits, vectors), None))
    assert head.temperature > 10, "answers that are sure and wrong are made less sure"
    same = codes[:, None] == codes[None]
    assert far[same].max() < head.threshold < far[~same].min()
    assert (head.false_same, head.false_different) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_trained_tested_and_loaded(method: str, alphabets: Path, tmp_path: Path) -> None:
    how: Any = {
        "runs": tmp_path,
        "display": "none",
        "say": lambda line: None,
        "evaluate": {"report": method == "supcon"},
    }
    settings: Any = {"shots": {"k": 1, "method": method, "divide": "classes", "within": False, "turns": method == "arcface"},
                     "trainer": {"epochs": 3}, "model": {"width": 4}}  # fmt: skip
    result = danlu.train(str(alphabets), name=method, **how, **settings)
    assert result.judgement.evidence.primary == "episode_accuracy"
    assert {"the nearest picture, pixel by pixel", "the network untrained, by prototypes"} <= set(
        result.judgement.others
    )
    again = load(result.run.path)
    assert again.head.method == method
    told: list[str] = []
    tested = again.evaluate(str(alphabets), say=told.append)
    assert "the scores are of the" in told[-1]  # classes that were learnt from are no new ones
    assert tested.scores["episode_accuracy"].value == result.judgement.scores["episode_accuracy"].value
    classifier = again.shown(str(alphabets))
    assert len(classifier.head.target.classes) == 12
