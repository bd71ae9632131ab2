"""Ensembles: networks from different seeds in one program and one artifact, and how far they disagree."""

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.errors import ConfigError
from danlu.nn import Ensemble
from danlu.pipeline import resume
from danlu.tasks.snapshots import with_best_snapshots
from danlu.trained import HeldOut, Learned
from danlu.trained.spread import spread_of

SMALL = {"model": {"kind": "network", "members": 2, "width": 8}, "trainer": {"epochs": 2, "batch_size": 32}}
FAST = {"baselines": False, "report": False}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    size, place = rng.normal(size=120).round(3), rng.choice(["red", "green"], 120)
    label = np.where(size + (place == "red") > 0.8, "rare", "common")
    return pl.DataFrame({"size": size, "place": place, "label": label})


def train(frame, folder, folds=2, **settings):
    how = {**SMALL, "evaluate": FAST, "split": {"folds": folds}, **settings}
    how["model"] = {**SMALL["model"], **settings.get("model", {})}
    return danlu.train(frame, target="label", runs=folder, display="none", say=lambda line: None, **how)


@pytest.fixture(scope="module")
def ensemble(frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    return train(frame, folder, model={"ensemble": 3}, imbalance={"resample": "oversample"})


def test_there_are_so_many_networks_of_each_fold_and_no_two_are_alike(frame, ensemble):
    model = ensemble.model
    assert isinstance(model.network, Ensemble)
    assert model.network.count == 6
    kernel = max((np.asarray(leaf) for leaf in jax.tree.leaves(model.params)), key=lambda leaf: leaf.size)
    assert len({row.tobytes() for row in kernel}) == 6


def test_each_answer_comes_with_the_disagreement_of_the_members(frame, ensemble):
    model = danlu.load(ensemble.run.path)
    found = model.predict(frame)
    logits = model.outputs(model.encoder.transform(frame))
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert shares.shape[1] == 6  # each fold has half of the network's two members

    def entropy(p):
        return -(p * np.log(p)).sum(axis=-1)

    expected = entropy(shares.mean(axis=1)) - entropy(shares).mean(axis=1)
    np.testing.assert_allclose(found["disagreement"].to_numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(model.disagreement(frame), expected, atol=1e-9)
    assert expected.max() > 1e-4
    reply = model.respond(frame.head(2).to_dicts())[1]
    assert reply["disagreement"] == pytest.approx(expected[1], abs=1e-9)


def test_every_row_is_judged_by_the_networks_of_its_fold(frame, ensemble):
    """What the head is fitted to are answers of the networks that did not see the row: a sixth of the outputs, three of one fold."""
    from danlu.tasks.folds import out_of_fold

    model = ensemble.model
    inputs = model.encoder.transform(frame)
    folds = np.arange(120) % 2
    logits = model.outputs(inputs)
    own = np.where(folds[:, None, None] == 0, logits[:, :3], logits[:, 3:])
    np.testing.assert_allclose(out_of_fold(model, inputs, folds), model.head(own))


def test_resuming_a_finished_ensemble_changes_nothing(frame, ensemble):
    again = resume(ensemble.run.path, source=frame, display="none", say=lambda line: None)
    np.testing.assert_array_equal(again.model.predict_values(frame), ensemble.model.predict_values(frame))


def test_a_model_of_one_network_has_no_disagreement(frame, tmp_path):
    one = train(frame, tmp_path, folds=1, model={"members": 1})
    assert "disagreement" not in one.model.predict(frame).columns
    with pytest.raises(ConfigError, match="agrees with itself"):
        one.model.disagreement(frame)


def test_the_spread_of_a_quantity_is_in_its_unit():
    values = np.random.default_rng(0).normal(5, 2, (4, 7))
    np.testing.assert_allclose(spread_of(values), values.std(axis=0))


class Chunked:
    """Rows in two chunks."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def chunks(self, epoch, start):
        half = len(self.x) // 2
        for part in [np.s_[:half], np.s_[half:]][start:]:
            yield {"x": self.x[part], "y": self.y[part], "weight": np.ones(half, np.float32)}


def test_the_members_of_a_population_on_a_stream_are_what_each_is_alone():
    x = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    y = x @ np.array([1.0, 2.0], np.float32)
    how = {"loss": "mse", "epochs": 2, "batch_size": 8, "optimizers": danlu.optim.sgd(0.05), "display": "none"}
    both = danlu.fit_population(danlu.nn.Dense(1), Chunked(x, y), seeds=[3, 4], **how)
    how["optimizer"] = how.pop("optimizers")
    alone = danlu.fit(danlu.nn.Dense(1), Chunked(x, y), seed=3, **how)
    np.testing.assert_allclose(both[0].params["kernel"], alone.params["kernel"], rtol=1e-5)
    assert not np.array_equal(both[0].params["kernel"], both[1].params["kernel"])
    with pytest.raises(ConfigError, match="share the rows of a stream"):
        danlu.fit_population(danlu.nn.Dense(1), Chunked(x, y), loss="mse", seeds=[0], train_rows=[np.arange(4)])


@pytest.mark.slow
def test_a_stream_is_learnt_by_an_ensemble(frame, tmp_path):
    frame.write_parquet(tmp_path / "t.parquet")
    result = train(tmp_path / "t.parquet", tmp_path / "runs", folds=1, model={"ensemble": 2}, data={"stream": True})
    assert result.model.network.count == 2
    assert result.model.predict(frame)["disagreement"].max() > 0


def test_of_snapshots_the_last_that_answer_held_out_rows_best_are_kept(frame, ensemble):
    """The six networks of the ensemble stand for six snapshots: with labels that the last two find surest, these two are kept."""
    model = ensemble.model
    inputs = model.encoder.transform(frame)
    logits = model.outputs(inputs)
    truth = logits[:, -2:].mean(axis=1).argmax(axis=1)
    held = HeldOut(model.answer(inputs), truth)
    found = with_best_snapshots(Learned(model, ensemble.fitted, held), (inputs, truth), None)

    def loss(count):
        shares = np.exp(logits[:, -count:]) / np.exp(logits[:, -count:]).sum(axis=-1, keepdims=True)
        return -np.log(shares.mean(axis=1)[np.arange(120), truth]).mean()

    best = min(range(1, 7), key=loss)
    assert best < 6
    assert found.model.network == Ensemble(model.network.network, best)
    assert f"the last {best if best > 1 else 'one'} of 6, chosen on 120 rows" in found.notes[0]
    np.testing.assert_allclose(found.held_out.answers, found.model.answer(inputs), atol=1e-6)
    assert found.model.provenance["snapshots"] == best


@pytest.mark.slow
def test_snapshots_are_members_of_the_saved_model(frame, tmp_path):
    result = train(frame, tmp_path, model={"ensemble": 2}, trainer={**SMALL["trainer"], "epochs": 4, "snapshots": 2})
    model = danlu.load(result.run.path)
    assert isinstance(model.one[0], type(model.network.network.network))
    assert model.network.count == 4
    assert "disagreement" in model.predict(frame).columns
    again = resume(result.run.path, source=frame, display="none", say=lambda line: None)
    np.testing.assert_array_equal(again.model.predict_values(frame), model.predict_values(frame))


@pytest.mark.slow
def test_pictures_are_learnt_by_an_ensemble(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 60, (60, 12, 12), np.uint8)
    images[labels == 1, 3:5] = 250
    images[labels == 0, :, 3:5] = 250
    np.savez(tmp_path / "bars.npz", x=images, y=labels)
    how = {"model": {"width": 4, "ensemble": 3}, "trainer": {"epochs": 2, "batch_size": 16}}
    result = danlu.train(tmp_path / "bars.npz", runs=tmp_path, display="none", say=lambda line: None, **how)
    assert result.model.network.count == 3
    assert result.model.predict(images[:4])["disagreement"].min() >= 0
    assert result.run.report_path.exists()
