"""Distributions, losses, value heads, statistics: by hand, against SciPy, numerical integrals and finite differences in float64."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from danlu import optim
from danlu.errors import ConfigError
from danlu.nn import Dense, Ensemble, Parallel, Sequential
from danlu.rl.actor_critic import ActorCritic, ActorCriticLoss, each_its_own
from danlu.rl.distributions import Categorical, Gaussian, MultiCategorical, TanhGaussian, distribution_for
from danlu.rl.dqn import Dueling, QLoss
from danlu.rl.networks import IDENTITY, Standardise, encoder, learn_statistics
from danlu.rl.policy_losses import PolicyGradientLoss, PPOLoss
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete, Space
from danlu.rl.value_heads import Expected, Histogram, Quantiles

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
BOX = Box((-2.0, 0.0), (2.0, 10.0), (2,))


# Distributions.


def test_categorical_against_scipy() -> None:
    logits = RNG.normal(size=(5, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ours, numbers = Categorical(3), jnp.asarray(logits, jnp.float32)
    action = np.array([0, 1, 2, 1, 0])
    np.testing.assert_allclose(ours.log_prob(numbers, action), np.log(p[np.arange(5), action]), rtol=1e-5)
    np.testing.assert_allclose(ours.entropy(numbers), scipy.stats.entropy(p, axis=1), rtol=1e-5)
    assert ours.mode(numbers).tolist() == p.argmax(axis=1).tolist()
    drawn = np.asarray(ours.sample(jnp.broadcast_to(numbers, (4000, 5, 3)), KEY))
    assert drawn.dtype == np.int32
    for row in range(5):
        counted = np.bincount(drawn[:, row], minlength=3)
        assert scipy.stats.chisquare(counted, 4000 * p[row]).pvalue > 1e-4


def test_multi_categorical_is_the_product_of_its_parts() -> None:
    ours, numbers = MultiCategorical((2, 3)), jnp.asarray(RNG.normal(size=(4, 5)), jnp.float32)
    first, second = (Categorical(2), numbers[:, :2]), (Categorical(3), numbers[:, 2:])
    total = np.zeros(4)
    for a in range(2):
        for b in range(3):
            joint = ours.log_prob(numbers, jnp.broadcast_to(jnp.array([a, b]), (4, 2)))
            parts = [one.log_prob(part, jnp.full(4, c)) for (one, part), c in zip((first, second), (a, b), strict=True)]
            np.testing.assert_allclose(joint, parts[0] + parts[1], rtol=1e-6)
            total += np.exp(joint)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    np.testing.assert_allclose(
        ours.entropy(numbers), sum(one.entropy(part) for one, part in (first, second)), rtol=1e-6
    )
    assert ours.mode(numbers).T.tolist() == [one.mode(part).tolist() for one, part in (first, second)]
    drawn = np.asarray(ours.sample(jnp.broadcast_to(numbers[0], (4000, 5)), KEY))
    counted = np.histogram2d(drawn[:, 0], drawn[:, 1], bins=(2, 3))[0]
    joint = np.outer(*(np.exp(log_softmax(np.asarray(part[0], np.float64))) for _, part in (first, second)))
    assert scipy.stats.chisquare(counted.ravel(), 4000 * joint.ravel()).pvalue > 1e-4, "independent"


def test_gaussian_against_scipy() -> None:
    ours, mean, log_std = Gaussian(BOX), RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2)) / 2
    numbers, action = jnp.asarray(np.hstack([mean, log_std]), jnp.float32), RNG.normal(size=(4, 2))
    theirs = scipy.stats.norm(mean, np.exp(log_std))
    np.testing.assert_allclose(ours.log_prob(numbers, action), theirs.logpdf(action).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(ours.entropy(numbers), theirs.entropy().sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(ours.mode(numbers), mean, rtol=1e-6)
    drawn = np.asarray(ours.sample(jnp.broadcast_to(numbers, (4000, 4, 4)), KEY), np.float64)
    uniform = theirs.cdf(drawn).reshape(4000, -1)
    assert scipy.stats.kstest(uniform[:, 3], "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(uniform.T) - np.eye(8)).max() < 0.08, "independent"


@pytest.mark.parametrize(("mean", "log_std"), [(0.3, -0.5), (-1.0, 0.2)])
def test_the_squashed_density_integrates_to_one(mean: float, log_std: float) -> None:
    ours, numbers = TanhGaussian(Box(-1.0, 1.0, (1,))), jnp.float32([mean, log_std])
    grid = np.tanh(np.linspace(-7, 7, 4001))
    density = np.exp(
        np.asarray(ours.log_prob(jnp.broadcast_to(numbers, (4001, 2)), jnp.asarray(grid, jnp.float32)[:, None]))
    )
    assert scipy.integrate.trapezoid(density, grid) == pytest.approx(1, abs=2e-3)
    inner = scipy.stats.norm(mean, math.exp(log_std))
    np.testing.assert_allclose(
        density[500:3500], (inner.pdf(np.arctanh(grid)) / (1 - grid**2))[500:3500], rtol=0.01, atol=1e-9
    )
    action, log_prob = ours.sample_with_log_prob(jnp.broadcast_to(numbers, (2000, 2)), KEY)
    np.testing.assert_allclose(ours.log_prob(jnp.broadcast_to(numbers, (2000, 2)), action), log_prob, atol=2e-3)
    assert scipy.stats.kstest(np.arctanh(np.asarray(action, np.float64)[:, 0]), inner.cdf).pvalue > 1e-4
    assert ours.mode(numbers).tolist() == pytest.approx([math.tanh(mean)])


def test_the_squashed_log_prob_has_the_gradient_of_its_own_sample() -> None:
    """SAC's actor learns through the sample: d log π(a(μ, σ)) by reparametrisation, against differences in float64 NumPy."""
    ours, numbers = TanhGaussian(BOX), np.array([0.4, -0.8, -0.3, 0.2])
    noise = np.asarray(jax.random.normal(KEY, (2,)), np.float64)

    def formula(numbers: np.ndarray) -> float:
        u = numbers[:2] + np.exp(numbers[2:]) * noise
        return float((scipy.stats.norm.logpdf(noise) - numbers[2:] - np.log(1 - np.tanh(u) ** 2)).sum())

    received = jax.grad(lambda numbers: ours.sample_with_log_prob(numbers, KEY)[1])(jnp.asarray(numbers, jnp.float32))
    np.testing.assert_allclose(received, differences(formula, numbers), rtol=1e-4, atol=1e-5)
    far = ours.sample_with_log_prob(jnp.float32([60.0, -60.0, 2.0, 2.0]), KEY)
    assert np.isfinite(far[1]), "no overflow far out"
    assert ours.log_prob(jnp.float32([0, 0, 0, 0]), jnp.float32([1, -1])) > -np.inf, "nor at the bounds"


def test_actions_go_to_the_environment_and_back() -> None:
    for ours in (Gaussian(BOX), TanhGaussian(BOX)):
        assert ours.to_env(jnp.float32([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.5]])).tolist() == [[-2, 0], [2, 10], [0, 7.5]]
        assert ours.to_env(jnp.float32([3.0, -3.0])).tolist() == [2, 0], "clipped into the bounds"
        action = jnp.asarray(RNG.uniform(-1, 1, (7, 2)), jnp.float32)
        np.testing.assert_allclose(ours.from_env(ours.to_env(action)), action, atol=1e-6)
    fixed = TanhGaussian(Box((1.0, 0.0), (1.0, 4.0), (2,)))
    assert np.isfinite(fixed.from_env(jnp.float32([[1.0, 3.0]]))).all(), "a number that has only one value"


def test_which_distribution_for_which_actions() -> None:
    assert distribution_for(Discrete(3)) == Categorical(3)
    assert distribution_for(MultiDiscrete((2, 3))) == MultiCategorical((2, 3))
    assert (distribution_for(BOX), distribution_for(BOX, squashed=True)) == (Gaussian(BOX), TanhGaussian(BOX))
    for space in (Box(-math.inf, 1.0, (2,)), Box(-1.0, 1.0, (2, 2)), DictSpace((("a", Discrete(2)),))):
        with pytest.raises(ConfigError, match=r"actions are"):
            distribution_for(space)


# Losses of policies.


def differences(formula: Any, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences in float64."""
    found = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        found[index] = (formula(x + moved) - formula(x - moved)) / (2 * step)
    return found


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


LOGITS, VALUE = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 1))
ACTION, ADVANTAGE, RETURN = np.array([0, 1, 2, 2, 1, 0]), RNG.normal(size=6), RNG.normal(size=6)
LOG_PROB = log_softmax(LOGITS)[np.arange(6), ACTION]


def outputs_of(logits: Any) -> dict[str, jax.Array]:
    return {"policy": jnp.asarray(logits, jnp.float32), "value": jnp.asarray(VALUE, jnp.float32)}


def targets_of(log_prob: np.ndarray) -> dict[str, jax.Array]:
    numbers = {"log_prob": log_prob, "advantage": ADVANTAGE, "return": RETURN}
    return {"action": jnp.asarray(ACTION), **{name: jnp.asarray(x, jnp.float32) for name, x in numbers.items()}}


def policy_gradient(loss: Any, targets: Any) -> jax.Array:
    return jax.grad(lambda z: loss({**outputs_of(LOGITS), "policy": z}, targets).sum())(
        jnp.asarray(LOGITS, jnp.float32)
    )


def test_the_policy_gradient_is_the_advantage_times_the_gradient_of_log_prob() -> None:
    expected = -ADVANTAGE[:, None] * (
        np.eye(3)[ACTION] - np.exp(log_softmax(LOGITS))
    )  # ∇_z log π(a) = 1_a − π, by hand
    numeric = differences(lambda z: -(log_softmax(z)[np.arange(6), ACTION] * ADVANTAGE).sum(), LOGITS)
    np.testing.assert_allclose(expected, numeric, atol=1e-8)
    for loss in (PolicyGradientLoss(Categorical(3), value_weight=0.7), PPOLoss(Categorical(3))):  # of PPO at ρ = 1
        np.testing.assert_allclose(policy_gradient(loss, targets_of(LOG_PROB)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [PolicyGradientLoss, PPOLoss])
def test_value_error_and_entropy_enter_the_loss_with_their_weights(kind: Any) -> None:
    def loss(value: float, entropy: float) -> np.ndarray:
        return np.asarray(
            kind(Categorical(3), value_weight=value, entropy_weight=entropy)(outputs_of(LOGITS), targets_of(LOG_PROB))
        )

    p = np.exp(log_softmax(LOGITS))
    np.testing.assert_allclose(loss(2.0, 0.0) - loss(0.0, 0.0), (VALUE[:, 0] - RETURN) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss(0.0, 1.0) - loss(0.0, 0.0), -scipy.stats.entropy(p, axis=1), rtol=1e-4)


def test_ppo_by_hand_and_its_gradient_where_it_is_clipped() -> None:
    """ρ above, below and within [0.8, 1.2], with advantages of both signs."""
    ratio = np.array([1.5, 1.5, 0.5, 0.5, 1.1, 0.9])
    advantage = np.array([1.0, -1.0, 1.0, -1.0, 2.0, -2.0])
    targets = {**targets_of(LOG_PROB - np.log(ratio)), "advantage": jnp.asarray(advantage, jnp.float32)}
    loss = PPOLoss(Categorical(3), clip=0.2, value_weight=0.0)
    np.testing.assert_allclose(loss(outputs_of(LOGITS), targets), [-1.2, 1.5, -0.5, 0.8, -2.2, 1.8], rtol=1e-5)
    free = np.array([0, 1, 1, 0, 1, 1])[:, None]  # no gain in going further, but a way back
    expected = -(free * (ratio * advantage)[:, None]) * (np.eye(3)[ACTION] - np.exp(log_softmax(LOGITS)))
    received = np.asarray(policy_gradient(loss, targets))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)
    assert (received[[0, 3]] == 0).all()


# An actor and its critics.


def tiny(distribution: TanhGaussian | None, count: int = 2) -> ActorCritic:
    critic = Sequential((Parallel((IDENTITY, IDENTITY), inputs=("observation", "action")), Dense(4, "tanh"), Dense(1)))
    return ActorCritic(Dense(2 if distribution is None else 4), Ensemble(critic, count), distribution)


X = {
    "observation": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32),
    "action": jnp.asarray(RNG.uniform(-1, 1, (5, 2)), jnp.float32),
}
Y = {"target": jnp.asarray(RNG.normal(size=5), jnp.float32)}


def started(network: ActorCritic) -> tuple[Any, Any]:
    return network.init(KEY, {"observation": (3,), "action": (2,)})[:2]


def gradient(network: ActorCritic, loss: Any, params: Any, state: Any, y: Any = Y) -> Any:
    return jax.grad(lambda p: loss(network.apply(p, state, X, train=True, key=KEY)[0], y).mean())(params)


def critic_gradient(network: ActorCritic, params: Any, state: Any) -> Any:
    """That of ½(Q − y)² alone."""

    def error(critic: Any) -> jax.Array:
        q = network.values({**params, "critic": critic}, state, X["observation"], X["action"])
        return 0.5 * jnp.square(q - Y["target"][:, None]).sum(axis=1).mean()

    return jax.grad(error)(params["critic"])


def close(ours: Any, theirs: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)


def test_critics_and_deterministic_actor_learn_apart() -> None:
    """The critics' gradient is that of their own error; the actor's is the hand-written ∇μ · ∇_a Q_1."""
    network = tiny(None)

    @jax.jit
    def everything() -> Any:
        params, state = started(network)
        action = jnp.tanh(network.numbers(params, state, X["observation"]))
        slope = jax.grad(lambda a: network.values(params, state, X["observation"], a)[:, 0].sum())(action)
        found = gradient(network, ActorCriticLoss(), params, state)
        return found, critic_gradient(network, params, state), action, slope

    found, critic, action, slope = everything()
    close(found["critic"], critic)
    assert float(found["log_alpha"]) == 0
    chain = (
        -np.asarray(slope) * (1 - np.asarray(action) ** 2) / 5
    )  # d tanh = 1 − tanh²; the mean of five rows; descent on −Q
    close(found["actor"], {"kernel": np.asarray(X["observation"]).T @ chain, "bias": chain.sum(axis=0)})


def test_the_stochastic_actor_learns_apart_and_its_temperature_follows_the_entropy() -> None:
    network = tiny(TanhGaussian(BOX))

    @jax.jit
    def everything() -> Any:
        params, state = started(network)
        params = {**params, "log_alpha": jnp.float32(0.4)}

        def actor_loss(actor: Any) -> jax.Array:
            drawn, log_prob = network.decide({**params, "actor": actor}, state, X["observation"], KEY)
            q = network.values(params, state, X["observation"], drawn)
            return (math.exp(0.4) * log_prob - q.min(axis=1)).mean()

        alone = {"actor": jax.grad(actor_loss)(params["actor"]), "critic": critic_gradient(network, params, state)}
        far = gradient(network, ActorCriticLoss(-2.0), params, state, {"target": Y["target"] + 3.0})
        log_prob = network.decide(params, state, X["observation"], KEY)[1]
        return gradient(network, ActorCriticLoss(-2.0), params, state), far, alone, log_prob

    found, far, alone, log_prob = everything()
    close({name: found[name] for name in alone}, alone)
    close((far["actor"], far["log_alpha"]), (found["actor"], found["log_alpha"]))
    entropy = -float(log_prob.mean())
    assert float(found["log_alpha"]) == pytest.approx(entropy + 2.0, abs=1e-4)
    outputs = {"q": jnp.zeros((1, 2)), "q_policy": jnp.zeros((1, 2)), "log_prob": jnp.float32([-0.5])}
    slopes = [
        jax.grad(
            lambda z, wanted=wanted: ActorCriticLoss(wanted)(
                {**outputs, "log_alpha": z}, {"target": jnp.zeros(1)}
            ).sum()
        )
        for wanted in (1.0, 0.0)
    ]
    assert slopes[0](jnp.zeros(1)) < 0 < slopes[1](jnp.zeros(1)), "too little entropy: descent raises the temperature"


def test_actor_critic_loss_by_hand() -> None:
    outputs = {"q": jnp.float32([[1.0, 4.0]]), "q_policy": jnp.float32([[5.0, 3.0]]), "log_prob": jnp.float32([-0.5])}
    outputs["log_alpha"] = jnp.log(jnp.float32([2.0]))
    y = {"target": jnp.float32([2.0])}
    assert ActorCriticLoss()(outputs, y).tolist() == [0.5 + 2.0 - 5.0]
    expected = 2.5 + (2 * -0.5 - 3.0) - math.log(2) * (-0.5 - 1.0)
    assert ActorCriticLoss(-1.0)(outputs, y).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_each_its_own_is_two_optimizers(every: int) -> None:
    params = {"actor": jnp.float32([1.0, -2.0]), "critic": jnp.float32([3.0])}
    ours = each_its_own(actor=(optim.adam(0.1), every), critic=(optim.adam(0.3), 1))
    state, parts = ours.init(params), {"actor": optim.adam(0.1), "critic": optim.adam(0.3)}
    states, alone = {name: one.init(params[name]) for name, one in parts.items()}, dict(params)
    update = jax.jit(ours.update)
    for step in range(1, 8):
        slopes = {"actor": jnp.cos(step + params["actor"]), "critic": jnp.sin(step + params["critic"])}
        moves, state = update(slopes, state, params)
        params = jax.tree.map(jnp.add, params, moves)
        for name in ("actor", "critic"):
            if name == "actor" and step % every:
                continue
            move, states[name] = parts[name].update(slopes[name], states[name], alone[name])
            alone[name] = alone[name] + move
        close(params, alone)


# Value heads.


def test_expected_and_dueling_by_hand() -> None:
    head = Expected()
    numbers, target = jnp.float32([[1.0], [1.0], [1.0]]), jnp.float32([[1.5], [4.0], [-1.0]])
    assert head.loss(numbers, target).tolist() == [0.125, 2.5, 1.5]
    assert jax.grad(lambda n: head.loss(n, target).sum())(numbers).tolist() == [[-0.5], [-1.0], [1.0]], "cut at ±1"
    assert head.td_error(numbers, target).tolist() == [0.5, 3.0, 2.0]
    assert head.target(numbers, jnp.float32([1, 2, 3]), jnp.float32([0.5, 0, 1])).tolist() == [[1.5], [2.0], [4.0]]
    layer = Dueling(3, 2)
    x = {"value": jnp.float32([[1.0, -1.0]]), "advantage": jnp.float32([[0.0, 3.0, 3.0, 6.0, 6.0, 9.0]])}
    q = layer.apply({}, {}, x)[0].reshape(1, 3, 2)
    np.testing.assert_allclose(q, [[[-2, -4], [1, -1], [4, 2]]])  # V + A − mean A, each number for itself
    np.testing.assert_allclose(q.mean(axis=1), x["value"], rtol=1e-6)
    with pytest.raises(ConfigError, match="v_min below v_max"):
        Histogram(1.0, 1.0)


def test_the_loss_looks_at_the_action_taken_alone() -> None:
    outputs, y = (
        jnp.asarray(RNG.normal(size=(2, 6)), jnp.float32),
        {"action": jnp.array([2, 0]), "target": jnp.zeros((2, 2))},
    )
    slope = jax.grad(lambda z: QLoss(Quantiles(2))(z, y).sum())(outputs)
    assert (np.asarray(slope) != 0).tolist() == [[False] * 4 + [True] * 2, [True] * 2 + [False] * 4]


def test_distributional_targets_by_hand() -> None:
    head = Histogram(0.0, 4.0, atoms=5)
    numbers = jnp.log(jnp.float32([[0.0, 0.0, 0.0, 0.5, 0.5]] * 3))
    reward, discount = jnp.float32([1.0, 2.25, 3.0]), jnp.float32([0.5, 0.0, 1.0])
    expected = [
        [0, 0, 0.25, 0.75, 0],
        [0, 0, 0.75, 0.25, 0],
        [0, 0, 0, 0, 1],
    ]  # 2½ and 3; 2¼ is the end; 6 and 7 are cut
    np.testing.assert_allclose(head.target(numbers, reward, discount), expected, atol=1e-6)
    assert head.mean(numbers).tolist() == pytest.approx([3.5] * 3)
    z = jnp.float32([[0.0, 1.0, 2.0, 0.0, 0.0]])
    y = jnp.float32([[0.0, 0.25, 0.0, 0.75, 0.0]])
    slope = jax.grad(lambda z: head.loss(z, y).sum())(z)
    np.testing.assert_allclose(slope, jax.nn.softmax(z) - y, atol=1e-6)  # the cross-entropy's
    quantiles = Quantiles(2)
    assert quantiles.target(jnp.float32([[1.0, 3.0]]), jnp.float32([1.0]), jnp.float32([0.5])).tolist() == [[1.5, 2.5]]
    assert quantiles.mean(jnp.float32([[1.0, 3.0]])).tolist() == [2.0]
    # u = target − predicted, [[2, 4], [1, 3]]: Huber's 1½, 3½ and ½, 2½; times τ = ¼ and ¾; means over targets, summed.
    assert quantiles.loss(jnp.float32([[0.0, 1.0]]), jnp.float32([[2.0, 4.0]])).tolist() == [0.25 * 2.5 + 0.75 * 1.5]


def test_quantiles_descend_to_the_quantiles() -> None:
    """Gradient descent on samples of a distribution finds its quantiles at the midpoints (κ is small beside the spread)."""
    head, samples = (
        Quantiles(4),
        jnp.asarray(scipy.stats.norm.ppf((np.arange(400) + 0.5) / 400) * 40, jnp.float32)[None],
    )
    step = jax.jit(lambda z: z - 20.0 * jax.grad(lambda z: head.loss(z, samples).sum())(z))
    z = jnp.zeros((1, 4))
    for _ in range(400):
        z = step(z)
    np.testing.assert_allclose(z[0] / 40, scipy.stats.norm.ppf([0.125, 0.375, 0.625, 0.875]), atol=0.05)


# What an observation becomes.


def test_statistics_in_pieces_are_those_of_the_whole() -> None:
    x = (RNG.normal(size=(200, 3)) * [1.0, 10.0, 0.01] + [1000.0, 0.0, 5.0]).astype(np.float32)
    layer = Standardise()
    _, state, _ = layer.init(KEY, (3,))
    assert layer.apply({}, state, jnp.float32([[4.0, 40.0, -40.0]]))[0].tolist() == [[4.0, 10.0, -10.0]], (
        "before: as it is, cut"
    )
    for start, stop in ((0, 1), (1, 90), (90, 92), (92, 200)):
        state = layer.learn(state, jnp.asarray(x[start:stop]))
    exact = x.astype(np.float64)
    assert float(state["count"]) == 200
    np.testing.assert_allclose(state["mean"], exact.mean(axis=0), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(state["variance"], exact.var(axis=0), rtol=1e-3)
    shown = layer.apply({}, state, jnp.asarray(x))[0]
    np.testing.assert_allclose(shown, (exact - exact.mean(axis=0)) / exact.std(axis=0), atol=0.01)


def test_statistics_are_found_in_dicts_and_behind_flatten() -> None:
    space = DictSpace(
        (("grid", Box(-9.0, 9.0, (2, 2))), ("kind", Discrete(3)), ("pixels", Box(0, 255, (4, 4, 1), "uint8")))
    )
    network = Sequential((encoder(space, standardise=True), Dense(2)))
    x = {
        "grid": jnp.asarray(RNG.normal(size=(50, 2, 2)) * 3 + 1, jnp.float32),
        "kind": jnp.asarray(RNG.integers(3, size=50)),
        "pixels": jnp.asarray(RNG.integers(256, size=(50, 4, 4, 1)), jnp.uint8),
    }

    @jax.jit
    def everything(x: Any) -> Any:
        params, state, _ = network.init(KEY, space.shape)
        learnt = learn_statistics(network, state, x)
        return state, learnt, network.layers[0].apply(params[0], learnt[0], x)[0]

    state, learnt, shown = everything(x)
    assert jax.tree.structure(learnt) == jax.tree.structure(state)
    assert [leaf.shape for leaf in jax.tree.leaves(learnt)] == [(), (4,), (4,)]
    shown = np.asarray(shown)
    assert shown.shape == (50, 4 + 3 + 2 * 2 * 16)
    np.testing.assert_allclose(shown[:, :4].mean(axis=0), np.zeros(4), atol=1e-5)
    np.testing.assert_allclose(shown[:, :4].std(axis=0), np.ones(4), atol=1e-4)
    assert shown[:, 4:7].argmax(axis=1).tolist() == x["kind"].tolist()
    with pytest.raises(ConfigError, match="observations are"):
        encoder(Space())
