"""A trained recommender: what it answers, what it refuses, and that its rows, draws and networks are as said."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.data.fields import check_records
from danlu.engine import Callback
from danlu.errors import ConfigError, SchemaError
from danlu.pipeline.config import config_from
from danlu.pipeline.recommend import Recommendations
from danlu.recommend import CodeTower, FeatureTower, Matcher, Ranked, Recommend, SequenceTower
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.interactions import Interactions
from danlu.recommend.newcomer import newcomer, ranked_newcomer, rated_newcomer
from danlu.serve import bodies

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


def test_who_comes_with_a_history_is_found_among_the_users(model) -> None:
    """Of users who rate and choose by a taste, a newcomer's taste is found by what it had; a sequence is read as it is."""
    rng = np.random.default_rng(0)
    taste, kind, new = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), np.array([1.5, -1.0, 0.5])
    taste[:, 2], kind[:, 2] = 0.2 * taste[:, 2], 0.1 * kind[:, 2]  # biases
    user, item = np.repeat(np.arange(1, 41), 30), np.tile(np.arange(1, 31), 40)
    said = 3 + (taste[:, :2] @ kind[:, :2].T + taste[:, 2:] + kind[:, 2]).ravel() + 0.1 * rng.normal(size=1200)
    names = (tuple(map(str, range(40))), tuple(map(str, range(30))))
    blank = RecommendEncoder(model.encoder.named, *names, np.zeros(42, int), np.zeros(0, np.int32))
    encoder = blank.knowing(Interactions(user, item, said))
    params = {
        name: {"vector": np.r_[np.zeros((1, 2)), each[:, :2]], "bias": np.r_[0.0, each[:, 2]]}
        for name, each in (("user", taste), ("item", kind))
    }
    network, state = Matcher(CodeTower(41, 2), CodeTower(31, 2)), {"user": {}, "item": {}, "offset": np.float32(3)}
    wanted = 3 + kind[:, :2] @ new[:2] + kind[:, 2]
    had = rng.choice(30, 12, replace=False)
    found = newcomer(network, params, state, encoder, had + 1, wanted[had])(np.zeros(2, int))
    assert found.shape == (2, 31)
    assert np.corrcoef(found[0, 1:], wanted)[0, 1] > 0.99
    best = np.argsort(-wanted)[:8]
    found = newcomer(network, params, state, encoder, best[:5] + 1, None)(np.zeros(1, int))
    assert np.corrcoef(found[0, 1:], wanted)[0, 1] > 0.8


def test_a_history_is_not_recommended_again_and_says_because(model) -> None:
    history = {"b3": 5.0, "b1": 1.0, "b2": 4.0}
    found = model.recommend(history=history, count=40, because=True, say=lambda line: None)
    assert set(found["book"]) == set(model.encoder.items) - set(history)
    assert set(found["because"]) <= {"b3", "b2"}
    assert found["stars"].is_sorted(descending=True)
    again = model.recommend(history=history, count=40, again=True, say=lambda line: None)
    assert set(again["book"]) == set(model.encoder.items)


def test_histories_that_cannot_be_are_refused(model) -> None:
    said: list[str] = []
    assert model.recommend(history={"b3": 5, "new": 1}, count=2, say=said.append).height == 2
    assert "1 of 2 items of the history were not in the training data: 'new'" in said[0]
    for history, message in (
        (["b3"], "the history has no ratings"),
        ({"new": 1.0}, "none of the history was in the training data: 'new'"),
        ({"b3": 99.0}, "the rating 99; expected"),
    ):
        with pytest.raises((ConfigError, SchemaError), match=message):
            model.recommend(history=history)
    for how in ({}, {"users": "001", "history": {"b3": 1.0}}):
        with pytest.raises(ConfigError, match="either users or a history"):
            model.recommend(**how)


def test_a_ranked_newcomer_is_the_best_by_its_own_formula() -> None:
    rng = np.random.default_rng(0)
    items, had, mean = rng.normal(size=(9, 4)), np.array([1, 4, 4]), rng.normal(size=4)
    root = np.linalg.cholesky(np.cov(rng.normal(size=(4, 20))))

    def loss(v: np.ndarray) -> float:
        scores = items[:, -1] + items[:, :-1] @ v[:-1] + v[-1]
        w = np.linalg.solve(root, v - mean)
        return -(scores[had] - np.log(np.exp(scores).sum())).sum() + 0.5 * w @ w

    found = ranked_newcomer(items, had, mean, root)
    assert all(loss(found) <= loss(found + 0.05 * step) for step in [*np.eye(4), *-np.eye(4)])
    with pytest.raises(ConfigError, match="neural knows users by number"):
        newcomer(Matcher(CodeTower(2, 2), CodeTower(3, 2), (4,)), {}, {}, None, had, None)
    ratings = rng.normal(size=3)
    a = np.c_[items[had, :-1], np.ones(3)]
    normal = a.T @ a / 0.3 + np.linalg.inv(root @ root.T)
    by_hand = mean + np.linalg.solve(normal, a.T @ (ratings - items[had, -1] - a @ mean) / 0.3)
    assert rated_newcomer(items[had], ratings, mean, root, 0.3) == pytest.approx(by_hand)


def test_pairs_without_a_name_are_told_by_their_row(model) -> None:
    with pytest.raises(SchemaError, match="2 rows lack 'reader' or 'book': row 2, 3"):
        model.predict(pl.DataFrame({"reader": ["001", None, "001"], "book": ["b1", "b2", " "]}))


def test_a_service_takes_numbers_as_names_and_does_not_offer_null() -> None:
    model = danlu.load(GOLDEN)
    assert bodies._typed([{"reader": 1, "book": "b3"}], model.fields) == [{"reader": 1, "book": "b3"}]
    with pytest.raises(SchemaError) as caught:
        check_records([{"reader": 1}], model.fields)
    assert "a record has: reader, book" in str(caught.value)
    assert "null" not in str(caught.value)
