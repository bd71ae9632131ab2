"""A trained recommender: what it answers, what it refuses, and that its rows, draws and networks are as said."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.engine import Callback
from danlu.errors import ConfigError, SchemaError
from danlu.pipeline.config import config_from
from danlu.pipeline.recommend import Recommendations
from danlu.recommend import CodeTower, FeatureTower, Matcher, Ranked, Recommend, SequenceTower

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "recommend" / "model"


@pytest.fixture(scope="module")
def model():
    return danlu.load(GOLDEN)


def test_items_for_a_user_are_the_best_that_it_did_not_have(model) -> None:
    found = model.recommend("001", count=30, say=lambda line: None)
    encoder = model.encoder
    had = {encoder.items[k - 1] for k in encoder.had[encoder.starts[2] : encoder.starts[3]]}
    assert set(found["book"]) == set(encoder.items) - had
    assert found["stars"].is_sorted(descending=True)
    assert found["rank"].to_list() == list(range(1, found.height + 1))
    pairs = model.predict({"reader": ["001"] * found.height, "book": found["book"]}, say=lambda line: None)
    assert found["stars"].to_list() == pytest.approx(pairs["stars"].to_list(), abs=1e-5)
    again = model.recommend(["001"], count=30, again=True, because=True, say=lambda line: None)
    assert again.height == len(encoder.items)
    assert set(again["because"]) <= had


def test_who_is_not_known_gets_what_most_had_and_is_told(model) -> None:
    said: list[str] = []
    found = model.recommend("nobody", count=3, say=said.append)
    counts = np.bincount(model.encoder.had, minlength=len(model.encoder.items) + 1)
    assert counts[model.encoder.item_numbers(found["book"].to_list())].tolist() == sorted(counts, reverse=True)[:3]
    assert found["stars"].to_list() == [None] * 3
    assert "'nobody'" in said[0]
    model.respond([{"reader": 1, "book": "b3"}], say=said.append)
    assert "'1'" in said[1]  # 1 is not 001


def test_similar_items(model) -> None:
    found = model.similar("b3", count=5)
    assert "b3" not in found["book"]
    assert found["similarity"].is_sorted(descending=True)
    assert found.height == 5
    with pytest.raises(SchemaError, match="'b33' was not in the training data"):
        model.similar("b33")
    for count in (0, 10**6):
        with pytest.raises(ConfigError, match="count is"):
            model.recommend("001", count=count)


def test_ratings_are_measured_by_user(model, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"reader": ["001", "001", "002"] * 8, "book": [f"b{k}" for k in range(8) for _ in range(3)], "stars": 3}
    )
    with pytest.raises(SchemaError, match="no column 'stars'"):
        model.evaluate(frame.drop("stars"), say=lambda line: None)
    told: list[str] = []
    rated = frame.with_columns(stars=pl.int_range(24) % 5 + 1, note=pl.int_range(24))
    found = model.evaluate(rated, say=told.append)
    assert len(np.unique(found.evidence.together)) == 2
    assert found.tested == "10 ratings of 2 users"
    assert "6 pairs are of items that the user had in training, and are left out" in told
    rows = model.reader.read(model, rated, lenient=False, say=told.append, truth=True)
    assert rows.given["note"].to_list() == [
        k for k in range(24) if k % 3 != 1 and f"b{k // 3}" not in known(model, "002" if k % 3 else "001")
    ]
    assert rows.given["reader"].dtype == pl.String
    had = rated.filter((pl.col("reader") == "001") & pl.col("book").is_in(known(model, "001")))
    model.evaluate(had, say=told.append)
    assert told[-1].startswith(f"all {had['book'].n_unique()} pairs were in the training data")


def known(model, user: str) -> list[str]:
    """The items that a user had in training."""
    encoder = model.encoder
    number = int(encoder.user_numbers([user])[0])
    return [encoder.items[item - 1] for item in encoder.had[encoder.starts[number] : encoder.starts[number + 1]]]


def test_settings_that_do_not_go_together_are_refused() -> None:
    def settled(rated: bool = True, timed: bool = True, **settings: object) -> Recommend:
        return Recommend(**settings).settled(rated=rated, timed=timed)  # type: ignore[arg-type]

    assert settled().model == "factors"
    assert settled(rated=False).model == "sequence"
    assert settled(rated=False, timed=False).model == "factors"
    assert settled(items="films.csv").model == "towers"
    for wrong, why in (
        ({"loss": "squared", "rated": False}, "no column of ratings"),
        ({"model": "sequence"}, "does not foretell ratings"),
        ({"model": "sequence", "loss": "bpr", "timed": False}, "no column of times"),
        ({"model": "towers"}, "nothing is known"),
        ({"model": "neural", "users": "u.csv"}, "reads no features"),
        ({"model": "svd\N{PLUS SIGN}+", "loss": "bpr"}, "is for ratings"),
        ({"negatives": 5}, "is for rankings"),
        ({"history": 9}, "it is for recommend.model=sequence"),
    ):
        with pytest.raises(ConfigError, match=why):
            settled(**wrong)  # type: ignore[arg-type]


def test_all_the_same_rating_is_nothing_to_foretell() -> None:
    rows = pl.DataFrame({"u": ["a", "b"] * 6, "i": [str(k) for k in range(12)], "r": [5] * 12})
    config = config_from({"data": {"source": "table"}, "recommend": {"columns": "u:i:r"}})
    with pytest.raises(danlu.errors.DataError, match="all ratings in 'r' are 5"):
        Recommendations().prepare(config, rows)


def test_a_sequence_does_not_see_what_comes_later() -> None:
    net = Matcher(SequenceTower(8, 5, 1), CodeTower(9, 8))
    params, state, _ = net.init(jax.random.key(0), {"user": (), "item": (), "history": (5,)})
    history = jnp.array([[0, 1, 2, 3, 4], [0, 1, 2, 7, 8]])
    found = net.along(params, state, history)
    assert np.allclose(found[0, :3], found[1, :3], atol=1e-6)
    assert not np.allclose(found[0, 3], found[1, 3], atol=1e-3)
    assert np.allclose(found[:, 0], 0)


def test_features_answer_for_a_number_that_is_not_known() -> None:
    net = Matcher(FeatureTower(4, 3, 2), CodeTower(5, 3))
    params, state, _ = net.init(jax.random.key(1), {"user": (), "item": (), "user_features": (2,)})
    state = {**state, "user": {**state["user"], "features": jnp.arange(8.0).reshape(4, 2)}}
    told = net.users(params, state, {"user": jnp.array([0, 0]), "user_features": jnp.array([[2.0, 3.0], [9.0, 9.0]])})
    assert not np.allclose(told[0], told[1])
    own = net.users(params, state, {"user": jnp.array([1])})
    with_own = net.users(params, state, {"user": jnp.array([1]), "user_features": jnp.array([[2.0, 3.0]])})
    assert np.allclose(own, with_own)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_what_is_drawn_follows_from_the_key(loss: str) -> None:
    net = Matcher(CodeTower(4, 3), CodeTower(30, 3))
    params, state, _ = net.init(jax.random.key(0), {"user": (), "item": ()})
    objective = Ranked(net, 30, loss, 5)
    batch = {"x": {"user": jnp.array([1, 2, 3])}, "y": jnp.array([4, 5, 6]), "weight": jnp.ones(3)}
    one, same, other = (objective(params, state, batch, jax.random.key(k), train=True)[0] for k in (0, 0, 1))
    assert (one == same).all()
    assert not (one == other).any()
    judged = objective(
        params,
        state,
        {**batch, "x": {**batch["x"], "history": jnp.array([[4], [1], [2]])}},
        jax.random.key(0),
        train=False,
    )
    assert judged[2]["ndcg"].shape == (3,)


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["u:i:r", "u:i::t"])
def test_a_killed_training_goes_on_to_the_same_bits(columns: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"{u}", f"{i}", float(rng.integers(1, 6)), t)
        for u in range(20)
        for t, i in enumerate(rng.choice(15, 6, replace=False))
    ]
    frame = pl.DataFrame(rows, schema=["u", "i", "r", "t"], orient="row")
    config = config_from(
        {
            "data": {"source": "table"},
            "recommend": {"columns": columns, "dim": 4},
            "trainer": {"epochs": 4, "batch_size": 16},
        }
    )
    domain = Recommendations()
    prepared = domain.prepare(config, frame)
    plan = domain.plan(config, prepared)

    class Killed(Callback):
        def on_epoch_end(self, epoch: int, logs: object) -> None:
            if epoch == 1:
                raise RuntimeError("killed")

    whole = domain.learn(config, prepared, plan, checkpoint=tmp_path / "a", display="none")
    with pytest.raises(RuntimeError, match="killed"):
        domain.learn(config, prepared, plan, checkpoint=tmp_path / "b", callbacks=[Killed()], display="none")
    again = domain.learn(
        config, prepared, plan, checkpoint=tmp_path / "b", resume=True, callbacks=[Callback()], display="none"
    )
    assert len(again.fitted.history) == len(whole.fitted.history)
    for one, other in zip(jax.tree.leaves(whole.model.params), jax.tree.leaves(again.model.params), strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
