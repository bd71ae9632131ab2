"""Logs of pages: several items that were shown together, each at a place."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.bandits import LoggedBandit, LoggedReward, NamedLog, apart_notice, logged_rows, of_the_items
from danlu.bandits.head import Choosing
from danlu.data.seen import row_hashes
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.pipeline import bandits
from danlu.pipeline.bandits import Logs
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import DOMAINS
from danlu.pipeline.once import prepare
from danlu.pipeline.used import check_used
from danlu.trained import Learned, Trained

NAMED = NamedLog.of("item:clicked:chance", "visit:place")


def pages(count: int = 20, **columns: Any) -> pl.DataFrame:
    """Pages of two of three items, row by row."""
    rows = range(2 * count)
    base = {
        "visit": [f"v{row // 2}" for row in rows],
        "place": [1 + row % 2 for row in rows],
        "item": ["abc"[(row // 2 + row % 2) % 3] for row in rows],
        "clicked": [row % 3 == 0 for row in rows],
        "chance": [1 / 3] * 2 * count,
        "age": [20 + row // 2 for row in rows],
        "price": [(row // 2 + row % 2) % 3 for row in rows],
    }
    return pl.DataFrame({**base, **columns})


def test_rows_in_any_order_become_pages() -> None:
    whole = logged_rows(pages(), NAMED)[0]
    assert whole.action.shape == (20, 2)
    assert whole.rows.tolist() == list(range(0, 40, 2))
    mixed = pages().with_row_index().sample(fraction=1, shuffle=True, seed=1)
    found = logged_rows(mixed, NAMED)[0]
    index = np.array([int(name[1:]) for name in mixed["visit"][found.rows.tolist()]])
    np.testing.assert_array_equal(found.action, whole.action[index])
    np.testing.assert_array_equal(found.reward, whole.reward[index])
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert of_the_items(pages(), NAMED) == ["price"]


def test_pages_of_one_place_are_rows() -> None:
    one = pages().filter(pl.col("place") == 1)
    found, plain = logged_rows(one, NAMED)[0], logged_rows(one, NamedLog.of("item:clicked:chance"))[0]
    for name in ("rows", "action", "reward", "propensity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def test_pages_that_lack_something() -> None:
    short = pages().filter((pl.col("visit") != "v3") | (pl.col("place") == 1))
    found = logged_rows(short, NAMED)[0]
    assert found.action[3].tolist() == ["a", ""]
    truth = found.truth(("a", "b"), places=3)
    assert truth["action"][3].tolist() == [0, -2, -2]
    assert truth["action"][1].tolist() == [1, -1, -2]
    assert (truth["propensity"][3], truth["reward"][3].tolist()) == (
        pytest.approx([1 / 3, 1, 1]),
        [1.0 * short["clicked"][6], 0, 0],
    )
    lost, said = logged_rows(pages(clicked=[None, *[0, 1] * 19, 1]), NAMED)
    assert len(lost) == 19
    assert said[0] == "1 pages lack an action, a reward or a place in a row and are left out"
    with pytest.raises(DataError, match="pages of 2 places; the model was trained for up to 1"):
        found.truth(("a", "b"))
    counted, said = logged_rows(pages(place=[row % 2 for row in range(40)]), NAMED)
    assert counted.places == 2
    assert said == ["the places in 'place' are counted from 0"]


def test_clicks_that_keep_others_away_are_told() -> None:
    rng = np.random.default_rng(0)
    likes = rng.random((300, 2)) < 0.5
    log, _ = logged_rows(pages(300, clicked=likes.ravel()), NAMED)
    assert apart_notice(log) is None
    first = likes & (likes.cumsum(axis=1) == 1)
    told = apart_notice(logged_rows(pages(300, clicked=first.ravel()), NAMED)[0])
    assert told is not None
    assert told.startswith(
        "pages have 0 pairs of rewarded places, where places that do not depend on each other would have "
    )
    assert apart_notice(log.take(np.arange(20))) is None


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"place": [1] * 40}, "20 places have two rows or more, such as place 1 of page 'v0' in 'visit'"),
        ({"place": ["top", "below"] * 20}, "the places in 'place' are texts"),
        ({"place": [1.0, 2.5] * 20}, "20 places in 'place' are none, such as 2.5"),
        ({"place": [1, 1000] * 20}, "20 places in 'place' are none, such as 1000"),
        ({"place": [-1, 1] * 20}, "20 places in 'place' are none, such as -1"),
        ({"visit": [None] * 40}, "no page in 'visit' has an action, a reward and a place in each of its rows"),
        ({"visit": [f"v{row // 4}" for row in range(40)], "place": [1, 2, 3, 4] * 10}, "pages have 4 places and 'item' holds 3"),
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        logged_rows(pages(**columns), NAMED)
    assert said in str(caught.value)


def test_settings_of_pages() -> None:
    for slate in ("visit", "visit:", "visit:visit", "visit:place:more", "item:place"):
        with pytest.raises(DataError, match="two columns that --bandit does not name"):
            NamedLog.of("item:clicked", slate)
    with pytest.raises(
        ConfigError, match=r"bandit.depends is 'above', but would not be used: a row is no place of a page"
    ):
        check_used(config_from({"bandit": {"columns": "a:b:c", "depends": "above"}}), Logs(), "log.csv", DOMAINS)
    with pytest.raises(ConfigError, match="no column holds propensities"):
        LoggedBandit(columns="a:b", slate="c:d", depends="page")


def test_a_place_that_is_surely_looked_at_is_a_row() -> None:
    outputs = jax.random.normal(jax.random.key(0), (4, 2, 4))
    action, reward = jnp.array([0, 2, 1, 2]), jnp.array([1.0, 0.0, 1.0, 0.0])
    first = jnp.stack([action, jnp.full(4, -2)], axis=1)  # the second place is not there
    for share in (True, False):
        row = LoggedReward(3, share=share)(outputs[..., :3], {"action": action, "reward": reward})
        given = {"action": first, "reward": jnp.stack([reward, reward], axis=1)}
        page = LoggedReward(3, share=share, places=2)(outputs, given)
        np.testing.assert_allclose(page, row, rtol=1e-5)


HEAD = Choosing(("a", "b", "c"), "item", "clicked", "chance", share=True, slate="visit:place", places=2, page=(2, 0))
OUTPUTS = {"value": np.array([[[0.0, 2.0, -1.0, 0.0]]]), "policy": np.array([[[1.0, 0.0, 3.0]]])}


def test_an_answer_is_a_page_in_its_order() -> None:
    answers = HEAD(OUTPUTS)
    a, b, c = (1 / (1 + np.exp(-z)) for z in (0.0, 2.0, -1.0))
    assert HEAD.frame(answers).row(0) == pytest.approx(("c", "a", c + 0.5 * a, a, b, c))
    compiled = HEAD(jax.tree.map(jnp.asarray, OUTPUTS))
    assert compiled["order"].tolist() == answers["order"].tolist() == [[2, 0]]
    alone = HEAD(dict(OUTPUTS, policy=OUTPUTS["value"][..., :3]))
    assert HEAD.frame(alone).row(0)[:2] == HEAD.frame(HEAD({"value": OUTPUTS["value"]})).row(0)[:2] == ("b", "a")


def test_evidence_of_pages_and_what_it_must_beat() -> None:
    truth = {
        "action": np.array([[2, 1], [2, -2], [-1, 0]]),
        "reward": np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]),
        "propensity": np.full((3, 2), 0.5),
    }
    answers = HEAD(jax.tree.map(lambda leaf: np.tile(leaf, (3, 1, 1)), OUTPUTS))
    log = HEAD.evidence(answers, truth)
    assert log.by_place.tolist() == [[2, 0], [2, 1], [0, 2]]
    simple = {each.label: each.evidence for each in HEAD.simple(None, log)}
    assert list(simple) == ["the logging policy", "always the same page", "pages at random"]
    assert simple["always the same page"].measures() == log.measures()
    told = HEAD.beside(answers, truth).row(0, named=True)
    assert (told["item 1"], told["logged item 1"], told["logged item 2"], told["weight 1"]) == ("c", "c", "b", 2.0)
    assert "at 3 of 5 places of 3 pages" in HEAD.notes(log)[0]


def test_pages_at_random_by_hand() -> None:
    truth = {"action": np.array([[0, 1]]), "reward": np.ones((1, 2)), "propensity": np.array([[0.25, 0.5]])}
    for depends, weights in (("place", (4 / 3, 2 / 3)), ("above", (4 / 3, 4 / 3)), ("page", (4 / 3, 4 / 3))):
        head = dataclasses.replace(HEAD, depends=depends)
        *_, drawn = head.simple(None, head.evidence(HEAD(OUTPUTS), truth))
        np.testing.assert_allclose(drawn.evidence.by_place, [weights])


def test_a_damaged_page_is_refused() -> None:
    for page in ((0, 0), (0, 7)):
        with pytest.raises(ArtifactError, match="its pages are not of different items"):
            dataclasses.replace(HEAD, page=page).check(_Shapes(), _Shapes())


class _Shapes:
    in_shape = ()

    def out_shape(self, shape: Any) -> Any:
        return {"value": (1, 4)}  # of a member


def test_a_model_of_pages_reads_pages() -> None:
    model = danlu.load(Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "pages" / "model")
    rows = pages(6).drop("price").with_columns(item=pl.Series(["hat", "coat", "scarf", "bag"] * 3))
    said: list[str] = []
    read = model.read(rows, say=said.append, truth=True)
    assert read.truth["action"].shape == (6, 2)
    assert "3 rows are of actions that were not in training; the policy takes none of them" in said
    said.clear()
    answers = model.predict(rows, say=said.append)
    assert answers.height == 6
    assert "12 rows are of 6 pages in 'visit'; each page is answered once" in said
    assert all(len({*row[:2]}) == 2 for row in answers.rows())


def test_the_plan_names_its_loss_and_training_rows_are_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from({"bandit": {"columns": "item:clicked:chance", "slate": "visit:place", "folds": 2}})
    domain, prepared, plan = prepare(config, pages(80), say=lambda text: None)
    assert plan.loss == "logged_reward"
    model = Trained(plan.model, (), (), prepared.encoder, prepared.head)
    monkeypatch.setattr(bandits, "learn_bandit", lambda *_, **__: Learned(model, None))
    learned = domain.learn(config, prepared, plan).model
    for (inputs, truth), known in ((prepared.train, True), (prepared.test, False)):  # ages tell the pages apart
        assert (np.isin(row_hashes(inputs, learned.head.marks(truth)), learned.seen) == known).all()
    assert not learned.head.apart
