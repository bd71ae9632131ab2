"""The shop, slates, and bandits that learn as they act."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.rl.agent import AgentProgram, learner_of
from danlu.rl.bandits import ContextualBandit, LinearGreedy, LinearThompson, LinUCB, NeuralLinear
from danlu.rl.distributions import PlackettLuce
from danlu.rl.environments import CartPole, Pendulum, Shop
from danlu.rl.on_policy import REINFORCE
from danlu.rl.recipes import agent_recipe
from danlu.rl.spaces import Slate

SHOP = Shop(items=4, features=3, taste="linear")


def rows_of(agent: ContextualBandit, iterations: int, shop: Shop = SHOP) -> tuple[Any, Any]:
    """The state of a bandit after some iterations, and what it saw and did in them, ``(steps, …)``."""
    program = AgentProgram(agent, shop, learner_of(agent, shop, 1))

    def run(key: jax.Array) -> Any:
        params, state, _ = program.model.init(key, agent.in_shape(shop))
        model_state, world = agent.begin(program, params, state, key)
        first = TrainState(jnp.int32(0), key, params, model_state, agent.optimizer(1).init(params), {}, world)

        def one(state: TrainState, _: None) -> Any:
            state, _, rows = agent.collect(program, state)
            return state, rows

        state, rows = jax.lax.scan(one, first, None, length=iterations)
        return state, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), rows)  # (steps, …)

    return jax.jit(run)(jax.random.key(0))


def test_the_shop_is_known_to_itself() -> None:
    shop = Shop(items=4, slots=2, features=3)
    visitors = jax.random.normal(jax.random.key(0), (3, 3))
    slates = jnp.asarray(list(itertools.permutations(range(4), 2)), jnp.int32)
    values = jax.vmap(lambda slate: shop.value(visitors, jnp.tile(slate, (3, 1))))(slates)
    np.testing.assert_allclose(values.max(0), shop.value(visitors, shop.best(visitors)), rtol=1e-6)
    assert (shop.regret(visitors, jnp.tile(slates[0], (3, 1))) >= 0).all()
    twice = shop.chances(visitors, jnp.full((3, 2), 1))
    assert (twice[:, 0] > 0).all()
    assert (twice[:, 1] == 0).all()
    linear = SHOP.attraction(visitors / jnp.linalg.norm(visitors, axis=1, keepdims=True))
    assert ((linear >= 0.05) & (linear <= 0.95)).all()


def test_a_slate_has_as_many_things_as_places() -> None:
    with pytest.raises(ConfigError, match="5 places for 4 things"):
        Slate(4, 5)
    with pytest.raises(ConfigError, match="5 slots for 4 items"):
        Shop(items=4, slots=5)
    drawn = PlackettLuce(6, 3).sample(jnp.zeros((50, 6)), jax.random.key(0))
    assert all(Slate(6, 3).contains(np.asarray(each)) for each in drawn)


class Untold(Shop):
    """A shop that says only how many were clicked."""

    id = None

    def step(self, state: Any, action: Any, key: Any) -> Any:
        state, seen = super().step(state, action, key)
        return state, dataclasses.replace(seen, parts=None)


PAGES = Shop(items=5, features=3, slots=3, taste="linear", decay=1.5)


def test_a_bandit_of_slates_learns_items_and_places() -> None:
    state, rows = rows_of(LinUCB(n_steps=100), 12, PAGES)
    assert rows["action"].shape == rows["reward"].shape == (1200, 3)
    assert all(len(set(page)) == 3 for page in np.asarray(rows["action"]).tolist())
    looked = np.asarray(state.model_state[1]["looked"])
    np.testing.assert_allclose(looked, [1, 2**-1.5, 3**-1.5], atol=0.2)
    shown = PAGES.regret(rows["observation"], rows["action"])
    fixed = jnp.tile(jnp.arange(3), (400, 1))
    assert shown[-400:].mean() < 0.4 * PAGES.regret(rows["observation"][-400:], fixed).mean()


def test_only_what_was_looked_at_is_learnt_in_a_cascade() -> None:
    clicks = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    known, pages = {"looked": jnp.ones(3)}, jnp.zeros((3, 3), jnp.int32)
    found = LinUCB(clicks="cascade").lesson(known, pages, clicks)
    assert found["weight"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert LinUCB(clicks="all").lesson(known, pages, clicks)["weight"].min() == 1


def test_a_bandit_knows_the_ridge_regression_of_what_it_saw() -> None:
    agent = LinUCB(n_steps=40, penalty=0.5)
    state, rows = rows_of(agent, 5)
    phi = np.concatenate([rows["observation"], np.ones((200, 1))], axis=1)
    for arm in range(4):
        own = np.asarray(rows["action"]) == arm
        precision = 0.5 * np.eye(4) + phi[own].T @ phi[own]
        np.testing.assert_allclose(state.model_state[1]["precision"][arm], precision, rtol=1e-4, atol=1e-4)
    shown = SHOP.regret(rows["observation"], rows["action"])
    assert shown[-100:].mean() < 0.7 * SHOP.regret(rows["observation"], rows["action"] * 0).mean()


def test_what_a_bandit_refuses() -> None:
    with pytest.raises(ConfigError, match="a linear bandit has no hidden layers"):
        LinUCB(hidden=(8,))
    with pytest.raises(ConfigError, match="expected a hidden layer or more"):
        NeuralLinear(hidden=())
    with pytest.raises(ConfigError, match="chooses one of several actions, or a slate of them"):
        LinearThompson().check(Pendulum())
    with pytest.raises(ConfigError, match="one action has no places"):
        LinUCB(clicks="cascade").check(SHOP)
    with pytest.raises(ConfigError, match="which a cascade does not have"):
        Shop(slots=2, clicks="cascade", decay=0.5)
    with pytest.raises(ConfigError, match="learns from each place"):
        rows_of(LinUCB(), 1, Untold(items=4, features=3, slots=2))
    with pytest.raises(ConfigError, match="discount"):
        LinearGreedy(discount=0.9)
    LinUCB().check(CartPole())
    assert isinstance(agent_recipe(Shop(slots=3), "reinforce")[0], REINFORCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "slope"), [(LinUCB(), 0.65), (LinearThompson(), 0.65), (LinearGreedy(epsilon=1.0), 1.05)]
)
def test_regret_grows_as_it_should(agent: ContextualBandit, slope: float) -> None:
    _, rows = rows_of(agent, 80)
    regret = np.asarray(SHOP.regret(rows["observation"], rows["action"])).cumsum()
    found = np.log(regret[-1] / regret[999]) / np.log(4)
    assert slope - 0.6 < found < slope


@pytest.mark.slow
def test_a_neural_bandit_and_slates_learn() -> None:
    from danlu.rl import fit

    shop = Shop(items=5, features=3, visitors=20)
    found = fit(NeuralLinear(hidden=(16,)), shop, steps=1500, evaluations=2)
    chance = float(shop.value(jax.random.normal(jax.random.key(1), (500, 3)), jnp.arange(500) % 5).mean()) * 20
    assert found.fitted.history[-1]["val_return"] > 1.3 * chance
    slates = shop.replace(slots=2)
    pages = fit(
        NeuralLinear(hidden=(16,), clicks="cascade"), slates.replace(clicks="cascade"), steps=1500, evaluations=1
    )
    assert pages.fitted.history[-1]["val_return"] > 12
    agent = agent_recipe(slates, "reinforce", environments=16, n_steps=64)[0]
    taught = fit(agent, slates, steps=40_000, evaluations=4).fitted.history
    assert taught[-1]["val_return"] > 1.2 * taught[0]["val_return"] or taught[-1]["val_return"] > 15
