"""What agents learn by: policies, their losses and gradients, value heads, an actor beside its critics; in float64 NumPy and by finite
differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import Dense, Ensemble, Parallel, Sequential
from danlu.optim import sgd
from danlu.rl.actor_critic import ActorCritic, ActorCriticLoss, each_its_own
from danlu.rl.discrete_sac import DiscreteSACLoss
from danlu.rl.distributions import Categorical, Gaussian, MultiCategorical, TanhGaussian
from danlu.rl.dqn import Dueling, QLoss
from danlu.rl.networks import IDENTITY, Standardise
from danlu.rl.offline import ConservativeActorCriticLoss, ConservativeQLoss
from danlu.rl.policy_losses import PolicyGradientLoss, PPOLoss
from danlu.rl.spaces import Box
from danlu.rl.value_heads import Expected, Histogram, Quantiles
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

ROWS, CLIP = 12, 0.2
BOX = Box((-2.0, 0.0), (2.0, 10.0), (2,))
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOGITS, VALUE = draw(ROWS, 3), draw(ROWS, 1, seed=1)
ACTION, ADVANTAGE, RETURN = np.arange(ROWS) % 3, draw(ROWS, seed=2), draw(ROWS, seed=3)
OLD = draw(
    ROWS, 3, seed=4
)  # logits of the policy that acted: far enough away that some rows are clipped and some are not


def single(x: Any) -> jax.Array:
    return jnp.asarray(x, jnp.float32)


def log_softmax(z: Any) -> Any:
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def chosen(z: Any) -> Any:
    """log π(a) of each row."""
    return log_softmax(z)[np.arange(ROWS), ACTION]


def entropy(z: Any) -> Any:
    return -(np.exp(log_softmax(z)) * log_softmax(z)).sum(axis=-1)


def normal(u: Any, mean: Any, log_std: Any) -> Any:
    """log N(u; μ, σ²), each number for itself."""
    return -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - HALF_LOG_2PI


def losses_agree(check: Check, loss: Any, formula: Callable[[Any, Any], Any]) -> None:
    """A policy's loss and its gradients in logits and values, against ``formula(logits, value)``, a number a row."""
    targets = {"action": jnp.asarray(ACTION), "log_prob": single(chosen(OLD))}
    targets |= {"advantage": single(ADVANTAGE), "return": single(RETURN)}

    def total(outputs: Any) -> Any:
        return loss(outputs, targets).sum()

    outputs = {"policy": single(LOGITS), "value": single(VALUE)}
    check(jax.jit(loss)(outputs, targets), formula(LOGITS, VALUE), floor=0.1)
    slopes = jax.jit(jax.grad(total))(outputs)
    numeric = finite_difference(lambda z: formula(z, VALUE).sum(), LOGITS)
    check(slopes["policy"], numeric, oracle="finite differences", floor=0.1)
    numeric = finite_difference(lambda v: formula(LOGITS, v).sum(), VALUE)
    check(slopes["value"], numeric, oracle="finite differences", floor=0.1)


@case("rl.policy_gradient")
def policy_gradient(check: Check) -> None:
    def formula(z: Any, v: Any) -> Any:
        return -chosen(z) * ADVANTAGE + 0.5 * 0.7 * (v[:, 0] - RETURN) ** 2 - 0.1 * entropy(z)

    losses_agree(check, PolicyGradientLoss(Categorical(3), 0.7, 0.1), formula)


@case("rl.ppo")
def ppo(check: Check) -> None:
    def formula(z: Any, v: Any) -> Any:
        ratio = np.exp(chosen(z) - chosen(OLD))
        gain = np.minimum(ratio * ADVANTAGE, np.clip(ratio, 1 - CLIP, 1 + CLIP) * ADVANTAGE)
        return -gain + 0.5 * 0.7 * (v[:, 0] - RETURN) ** 2 - 0.1 * entropy(z)

    losses_agree(check, PPOLoss(Categorical(3), CLIP, 0.7, 0.1), formula)


@case("rl.Categorical")
def categorical(check: Check) -> None:
    ours, z = Categorical(3), single(LOGITS)
    check(ours.log_prob(z, jnp.asarray(ACTION)), chosen(LOGITS), floor=0.1)
    check(ours.entropy(z), entropy(LOGITS))
    both, pair = MultiCategorical((3, 3)), np.hstack([LOGITS, OLD])
    check(both.log_prob(single(pair), jnp.stack([ACTION, ACTION], axis=1)), chosen(LOGITS) + chosen(OLD), floor=0.1)
    check(both.entropy(single(pair)), entropy(LOGITS) + entropy(OLD))


@case("rl.Gaussian")
def gaussian(check: Check) -> None:
    ours, mean, log_std, action = Gaussian(BOX), draw(ROWS, 2), 0.5 * draw(ROWS, 2, seed=1), draw(ROWS, 2, seed=2)
    numbers = single(np.hstack([mean, log_std]))
    check(ours.log_prob(numbers, single(action)), normal(action, mean, log_std).sum(axis=1), floor=0.1)
    check(ours.entropy(numbers), (log_std + 0.5 + HALF_LOG_2PI).sum(axis=1), floor=0.1)
    inside = np.clip(action, -1, 1)
    check(ours.to_env(single(action)), np.array([-2.0, 0.0]) + (inside + 1) * np.array([2.0, 5.0]), floor=0.1)
    check(ours.from_env(ours.to_env(single(action))), inside, floor=0.1)


@case("rl.TanhGaussian")
def tanh_gaussian(check: Check) -> None:
    """``log N(u) − Σ log(1 − tanh² u)``, its gradient through the sample, and that the density integrates to 1."""
    ours, mean, log_std = TanhGaussian(BOX), draw(ROWS, 2), 0.5 * draw(ROWS, 2, seed=1)
    numbers, key = np.hstack([mean, log_std]), jax.random.key(0)
    noise = np.asarray(jax.random.normal(key, mean.shape), np.float64)

    def formula(numbers: Any) -> Any:
        u = numbers[:, :2] + np.exp(numbers[:, 2:]) * noise
        return (normal(u, numbers[:, :2], numbers[:, 2:]) - np.log(1 - np.tanh(u) ** 2)).sum(axis=1)

    action, log_prob = jax.jit(ours.sample_with_log_prob)(single(numbers), key)
    check(action, np.tanh(mean + np.exp(log_std) * noise), floor=0.1)
    check(log_prob, formula(numbers), floor=1.0)
    slope = jax.jit(jax.grad(lambda numbers: ours.sample_with_log_prob(numbers, key)[1].sum()))(single(numbers))
    check(slope, finite_difference(lambda x: formula(x).sum(), numbers), oracle="finite differences", floor=0.1)
    one, grid = TanhGaussian(Box(-1.0, 1.0, (1,))), np.linspace(-3, 3, 2001)
    inner = np.exp(one.log_prob(single(np.tile([0.2, -1.0], (2001, 1))), single(np.tanh(grid))[:, None]))
    mass = np.trapezoid(np.asarray(inner, np.float64) * (1 - np.tanh(grid) ** 2), grid)  # da = (1 − tanh² u) du
    check(mass, 1.0, oracle="integral")


@case("rl.Expected")
def expected(check: Check) -> None:
    """Huber's loss of the TD error and its gradient; the dueling network's sum."""
    head, predicted, target = Expected(), 2 * draw(ROWS, 1), 2 * draw(ROWS, 1, seed=1)

    def huber(z: Any) -> Any:
        u = np.abs(z - target)[:, 0]
        return np.where(u < 1, 0.5 * u**2, u - 0.5)

    check(head.loss(single(predicted), single(target)), huber(predicted))
    slope = jax.grad(lambda z: head.loss(z, single(target)).sum())(single(predicted))
    numeric = finite_difference(lambda z: huber(z).sum(), predicted)
    check(slope, numeric, oracle="finite differences", floor=0.01)
    reward, discount = draw(ROWS, seed=2), np.where(np.arange(ROWS) % 3 == 0, 0.0, 0.9)
    received = head.target(single(predicted), single(reward), single(discount))
    check(received, (reward + discount * predicted[:, 0])[:, None], floor=0.1)
    value, advantage = draw(ROWS, 2), draw(ROWS, 3, 2, seed=1)
    q = Dueling(3, 2).apply({}, {}, {"value": single(value), "advantage": single(advantage.reshape(ROWS, 6))})[0]
    check(q, (value[:, None] + advantage - advantage.mean(axis=1, keepdims=True)).reshape(ROWS, 6), floor=0.1)


@case("rl.Histogram")
def histogram(check: Check) -> None:
    """C51's target atom by atom, the cross-entropy with it, and its gradient."""
    head, z, other = Histogram(-2.0, 2.0, atoms=9), draw(ROWS, 9), draw(ROWS, 9, seed=1)
    reward, discount, support = draw(ROWS, seed=2), np.where(np.arange(ROWS) % 3 == 0, 0.0, 0.9), np.linspace(-2, 2, 9)
    p, target = np.exp(log_softmax(other)), np.zeros((ROWS, 9))
    for row, atom in np.ndindex(ROWS, 9):
        place = (np.clip(reward[row] + discount[row] * support[atom], -2, 2) + 2) / 0.5
        low = min(int(place), 7)
        target[row, low] += p[row, atom] * (low + 1 - place)
        target[row, low + 1] += p[row, atom] * (place - low)
    received = head.target(single(other), single(reward), single(discount))
    check(received, target, floor=0.05)
    check(head.mean(single(z)), np.exp(log_softmax(z)) @ support, floor=0.1)
    check(head.loss(single(z), received), -(target * log_softmax(z)).sum(axis=1))
    slope = jax.grad(lambda z: head.loss(z, received).sum())(single(z))
    check(slope, np.exp(log_softmax(z)) - target, oracle="closed form", floor=0.05)


@case("rl.Quantiles")
def quantiles(check: Check) -> None:
    head, z, other = Quantiles(5), draw(ROWS, 5), 2 * draw(ROWS, 5, seed=1)
    reward, discount = draw(ROWS, seed=2), np.where(np.arange(ROWS) % 3 == 0, 0.0, 0.9)
    target = reward[:, None] + discount[:, None] * other

    def formula(z: Any) -> Any:
        u = target[:, None, :] - z[:, :, None]
        size, tau = np.abs(u), ((np.arange(5) + 0.5) / 5)[None, :, None]
        return (np.abs(tau - (u < 0)) * np.where(size <= 1, 0.5 * u**2, size - 0.5)).mean(axis=2).sum(axis=1)

    received = head.target(single(other), single(reward), single(discount))
    check(received, target, floor=0.1)
    check(head.mean(single(z)), z.mean(axis=1), floor=0.1)
    check(head.loss(single(z), received), formula(z))
    slope = jax.grad(lambda z: head.loss(z, received).sum())(single(z))
    check(slope, finite_difference(lambda z: formula(z).sum(), z), oracle="finite differences", floor=0.05)


def actor_critic(distribution: TanhGaussian | None) -> tuple[ActorCritic, Any, Any, Any]:
    """A linear actor and two critics with one hidden layer; their parameters in float32, and the same in float64."""
    critic = Sequential((Parallel((IDENTITY, IDENTITY), inputs=("observation", "action")), Dense(4, "tanh"), Dense(1)))
    network = ActorCritic(Dense(2 if distribution is None else 4), Ensemble(critic, 2), distribution)
    shape: Any = {"observation": (3,), "action": (2,)}
    templates, state = jax.eval_shape(lambda key: network.init(key, shape)[:2], jax.random.key(0))
    leaves, structure = jax.tree.flatten(templates)
    arrays = [0.5 * draw(*leaf.shape, seed=number) for number, leaf in enumerate(leaves)]
    exact = jax.tree.unflatten(structure, arrays)
    return network, jax.tree.map(single, exact), state, exact


def values_of(p: Any, seen: Any, action: Any) -> Any:
    """Both critics', ``(batch, 2)``; the ensemble's parameters have a leading axis of critics."""
    _, hidden, last = p["critic"]
    x = np.hstack([seen, action])
    each = [
        np.tanh(x @ hidden["kernel"][k] + hidden["bias"][k]) @ last["kernel"][k] + last["bias"][k] for k in range(2)
    ]
    return np.hstack(each)


@case("rl.deterministic_policy_gradient")
def deterministic_policy_gradient(check: Check) -> None:
    """The actor's gradient is that of −Q_1(s, tanh(W s + b)) with the critics held still; the critics' that of their error alone."""
    network, params, state, p = actor_critic(None)
    seen, action, target = draw(ROWS, 3), np.tanh(draw(ROWS, 2, seed=1)), draw(ROWS, seed=2)
    x = {"observation": single(seen), "action": single(action)}
    slopes = jax.jit(
        jax.grad(lambda q: ActorCriticLoss()(network.apply(q, state, x)[0], {"target": single(target)}).sum())
    )(params)

    def climbed(kernel: Any) -> Any:
        return -values_of(p, seen, np.tanh(seen @ kernel + p["actor"]["bias"]))[:, 0].sum()

    check(
        slopes["actor"]["kernel"],
        finite_difference(climbed, p["actor"]["kernel"]),
        oracle="finite differences",
        floor=0.1,
    )

    def missed(kernel: Any) -> Any:
        join, hidden, last = p["critic"]
        q = values_of({"critic": (join, {**hidden, "kernel": kernel}, last)}, seen, action)
        return 0.5 * ((q - target[:, None]) ** 2).sum()

    check(
        slopes["critic"][1]["kernel"],
        finite_difference(missed, p["critic"][1]["kernel"]),
        oracle="finite differences",
        floor=0.1,
    )


@case("rl.soft_actor_critic")
def soft_actor_critic(check: Check) -> None:
    """SAC's loss, and its gradients in actor and temperature; the same of its form for a choice of actions."""
    network, params, state, p = actor_critic(TanhGaussian(BOX))
    seen, action, target, key = draw(ROWS, 3), np.tanh(draw(ROWS, 2, seed=1)), draw(ROWS, seed=2), jax.random.key(0)
    noise, wanted = np.asarray(jax.random.normal(key, (ROWS, 2)), np.float64), -2.0
    x = {"observation": single(seen), "action": single(action)}

    def loss(q: Any) -> Any:
        return ActorCriticLoss(wanted)(network.apply(q, state, x, key=key)[0], {"target": single(target)})

    def drawn(kernel: Any) -> tuple[Any, Any]:
        numbers = seen @ kernel + p["actor"]["bias"]
        u = numbers[:, :2] + np.exp(numbers[:, 2:]) * noise
        log_prob = (normal(u, numbers[:, :2], numbers[:, 2:]) - np.log(1 - np.tanh(u) ** 2)).sum(axis=1)
        return log_prob, values_of(p, seen, np.tanh(u)).min(axis=1)

    alpha, kernel = np.exp(p["log_alpha"]), p["actor"]["kernel"]
    log_prob, q = drawn(kernel)
    critic = 0.5 * ((values_of(p, seen, action) - target[:, None]) ** 2).sum(axis=1)
    check(jax.jit(loss)(params), critic + alpha * log_prob - q - p["log_alpha"] * (log_prob + wanted), floor=1.0)
    slopes = jax.jit(jax.grad(lambda q: loss(q).sum()))(params)
    numeric = finite_difference(lambda k: (alpha * drawn(k)[0] - drawn(k)[1]).sum(), kernel)
    check(slopes["actor"]["kernel"], numeric, oracle="finite differences", floor=0.5)
    check(slopes["log_alpha"], -(log_prob + wanted).sum(), oracle="closed form")

    values, still = draw(ROWS, 2, 3, seed=5), draw(ROWS, 2, 3, seed=5).min(axis=1)
    outputs = {"policy": single(LOGITS), "q": single(values), "log_alpha": single(np.full(ROWS, 0.3))}
    targets = {"action": jnp.asarray(ACTION), "target": single(target)}

    def choice(z: Any) -> Any:
        return (np.exp(log_softmax(z)) * (np.exp(0.3) * log_softmax(z) - still)).sum(axis=1)

    missed = 0.5 * ((values[np.arange(ROWS), :, ACTION] - target[:, None]) ** 2).sum(axis=1)
    whole = missed + choice(LOGITS) + 0.3 * (entropy(LOGITS) - 0.5)
    check(DiscreteSACLoss(0.5)(outputs, targets), whole, floor=1.0)
    found = jax.grad(lambda outputs: DiscreteSACLoss(0.5)(outputs, targets).sum())(outputs)
    numeric = finite_difference(lambda z: choice(z).sum(), LOGITS)
    check(found["policy"], numeric, oracle="finite differences", floor=0.1)
    check(found["log_alpha"], entropy(LOGITS) - 0.5, oracle="closed form", floor=0.1)


@case("rl.conservative_q_learning")
def conservative(check: Check) -> None:
    """What CQL adds for continuous actions and for a choice; the actor's gradient is SAC's all the same."""
    network, params, state, p = actor_critic(TanhGaussian(BOX))
    seen, action, target, key = draw(ROWS, 3), np.tanh(draw(ROWS, 2, seed=1)), draw(ROWS, seed=2), jax.random.key(0)
    x, y = {"observation": single(seen), "action": single(action)}, {"target": single(target)}
    doubting = network.replace(others=3)

    def added(q: Any) -> Any:
        after = ConservativeActorCriticLoss(-2.0, weight=0.7)(doubting.apply(q, state, x, key=key)[0], y)
        return after - ActorCriticLoss(-2.0)(network.apply(q, state, x, key=key)[0], y)

    evenly = np.asarray(jax.random.uniform(jax.random.fold_in(key, 1), (ROWS, 3, 2), minval=-1, maxval=1), np.float64)
    noise = np.asarray(jax.random.normal(jax.random.fold_in(key, 2), (ROWS * 3, 2)), np.float64)
    again = np.repeat(seen, 3, axis=0)
    numbers = again @ p["actor"]["kernel"] + p["actor"]["bias"]
    u = numbers[:, :2] + np.exp(numbers[:, 2:]) * noise
    log_prob = (normal(u, numbers[:, :2], numbers[:, 2:]) - np.log(1 - np.tanh(u) ** 2)).sum(axis=1)
    others = np.concatenate([evenly, np.tanh(u).reshape(ROWS, 3, 2)], axis=1).reshape(-1, 2)
    density = np.concatenate([np.full((ROWS, 3), np.log(0.25)), log_prob.reshape(ROWS, 3)], axis=1)

    def doubt(kernel: Any) -> Any:
        join, hidden, last = p["critic"]
        q = {"critic": (join, {**hidden, "kernel": kernel}, last)}
        weights = np.exp(values_of(q, np.repeat(seen, 6, axis=0), others).reshape(ROWS, 6, 2) - density[..., None])
        return 0.7 * (np.log(weights.mean(axis=1)) - values_of(q, seen, action)).sum(axis=1)

    kernel = p["critic"][1]["kernel"]
    check(jax.jit(added)(params), doubt(kernel), floor=1.0)
    slopes = jax.jit(jax.grad(lambda q: added(q).sum()))(params)
    numeric = finite_difference(lambda k: doubt(k).sum(), kernel)
    check(slopes["critic"][1]["kernel"], numeric, oracle="finite differences", floor=0.5)
    check(slopes["actor"]["kernel"], np.zeros_like(p["actor"]["kernel"]), oracle="closed form", floor=1.0)

    head, values = Expected(), draw(ROWS, 3, seed=5)
    chosen, rows = {"action": jnp.asarray(ACTION), "target": single(target[:, None])}, np.arange(ROWS)
    expected = 0.7 * (np.log(np.exp(values).sum(axis=1)) - values[rows, ACTION])
    found = ConservativeQLoss(head, 0.7)(single(values), chosen) - QLoss(head)(single(values), chosen)
    check(found, expected, floor=0.5)


@case("rl.each_its_own")
def two_optimizers(check: Check) -> None:
    optimizer = each_its_own(fast=(sgd(0.5), 1), slow=(sgd(0.25), 3))
    slopes = draw(7, 2)
    params: Any = {"fast": jnp.zeros(()), "slow": jnp.zeros(())}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for fast, slow in single(slopes):
        moves, state = update({"fast": fast, "slow": slow}, state, params)
        params = jax.tree.map(jnp.add, params, moves)
    check(params["fast"], -0.5 * slopes[:, 0].sum())
    check(params["slow"], -0.25 * (slopes[2, 1] + slopes[5, 1]))


@case("rl.Standardise")
def standardise(check: Check) -> None:
    """Moments of pieces put together (Chan), against the whole in float64."""
    x = draw(200, 3) * np.array([1.0, 10.0, 0.1]) + np.array([5.0, 0.0, -1.0])
    layer = Standardise()
    _, state, _ = layer.init(jax.random.key(0), (3,))
    for start, stop in ((0, 1), (1, 90), (90, 92), (92, 200)):
        state = layer.learn(state, single(x[start:stop]))
    check(state["mean"], x.mean(axis=0), floor=1.0)
    check(state["variance"], x.var(axis=0))
    scaled = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-8)
    check(layer.apply({}, state, single(x))[0], np.clip(scaled, -10, 10), floor=1.0)
