"""Logs of bandits: estimators by all logs that there can be, scores of actions, what a model of rewards is taught; and what bandits
that act know of their arms, and slates."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.bandits.losses import LoggedReward, PolicyValue, robust_scores
from danlu.evaluate.logged import Logged
from danlu.rl.arms import PlacedArms, RidgeArms
from danlu.rl.distributions import PlackettLuce
from danlu.rl.environments import Shop
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

CONTEXTS = np.array([0.3, 0.7])  # their probabilities
LOGGING = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
POLICY = np.array([[0.7, 0.1, 0.2], [0.1, 0.4, 0.5]])
MEANS = np.array([[0.9, 0.2, 0.4], [0.3, 0.8, 0.5]])  # of rewards of 0 and 1
MODEL = np.array([[0.5, 0.5, 0.1], [0.2, 0.9, 0.4]])
VALUE = float((CONTEXTS[:, None] * POLICY * MEANS).sum())


def log_of(rows: list[tuple[int, int, int]]) -> Logged:
    """Rows of context, action and reward under the policy."""
    context, action, reward = (np.array(part) for part in zip(*rows, strict=True))
    return Logged(action, reward.astype(float), LOGGING[context, action], MODEL[context], POLICY[context])


@case("bandits.unbiased")
def every_log(check: Check) -> None:
    """The mean of IPS and of the doubly robust estimate over every log of two rows, each as likely as it is."""
    rows = list(itertools.product(range(2), range(3), range(2)))
    chance = {(x, a, r): CONTEXTS[x] * LOGGING[x, a] * (MEANS[x, a] if r else 1 - MEANS[x, a]) for x, a, r in rows}
    found = {"ips_value": 0.0, "dr_value": 0.0}
    for pair in itertools.product(rows, rows):
        for name, value in log_of(list(pair)).measures(None, tuple(found)).items():
            found[name] += chance[pair[0]] * chance[pair[1]] * value
    check(found["ips_value"], VALUE, oracle="by hand")
    check(found["dr_value"], VALUE, oracle="by hand")


@case("bandits.estimators")
def by_hand(check: Check) -> None:
    """Each formula as a sum over rows; without residuals the doubly robust estimate is the model's own."""
    rows = [(0, 0, 1), (1, 2, 0), (1, 1, 1), (0, 2, 1), (1, 0, 0)]
    log = log_of(rows)
    weights = [POLICY[x, a] / LOGGING[x, a] for x, a, _ in rows]
    ips = [w * r for w, (_, _, r) in zip(weights, rows, strict=True)]
    direct = [sum(POLICY[x] * MODEL[x]) for x, _, _ in rows]
    residual = [w * (r - MODEL[x, a]) for w, (x, a, r) in zip(weights, rows, strict=True)]
    found = log.measures()
    check(found["ips_value"], sum(ips) / 5, oracle="by hand")
    check(found["snips_value"], sum(ips) / sum(weights), oracle="by hand")
    check(found["dm_value"], sum(direct) / 5, oracle="by hand")
    check(found["dr_value"], (sum(direct) + sum(residual)) / 5, oracle="by hand")
    exact = Logged(log.action, log.values[np.arange(5), log.action], log.propensity, log.values, log.policy)
    check(exact.measures()["dr_value"], sum(direct) / 5, oracle="by hand")
    moved = Logged(log.action, log.reward + 7, log.propensity, log.values, log.policy)
    check(moved.measures()["snips_value"], 7 + sum(ips) / sum(weights), oracle="by hand")
    check(log.effective_rows, sum(weights) ** 2 / sum(w * w for w in weights), oracle="by hand")


PAGES = list(itertools.permutations(range(3), 2))
WORTH = np.array([[0.9, 0.2, 0.5], [0.3, 0.8, 0.6]])  # of each item, once it is looked at


def page_of(context: int, page: tuple[int, int], depends: str) -> tuple[float, np.ndarray, np.ndarray]:
    """The chance of a page (one item after the other), what its propensities are, and how likely each place is clicked."""
    first, second = page
    of = LOGGING[context]
    then = of[second] / (1 - of[first])
    at_second = sum(of[other] * of[second] / (1 - of[other]) for other in range(3) if other != second)
    looked = {
        "place": 0.4,
        "above": 1 - WORTH[context, first],
        "page": abs(first - second) / 2,
    }[depends]
    liked = WORTH[context, first] * (1.0 if depends != "page" else 0.3 + 0.3 * second)
    clicks = np.array([liked, looked * WORTH[context, second]])
    return of[first] * then, np.array([of[first], at_second if depends == "place" else then]), clicks


@case("bandits.pages")
def every_page(check: Check) -> None:
    """The mean of IPS and of the doubly robust estimate over every page with every click, for each kind of dependence, and the value of
    the policy's own pages; SNIPS of two pages by hand."""
    chosen = {0: (2, 0), 1: (1, 2)}
    policy = np.stack([np.eye(3)[list(chosen[x])] for x in range(2)])  # (contexts, places, items)
    model = np.stack([MODEL, 0.5 * MODEL], axis=1)
    for depends in ("place", "above", "page"):
        truth = sum(CONTEXTS[x] * page_of(x, chosen[x], depends)[2].sum() for x in range(2))
        found = {"ips_value": 0.0, "dr_value": 0.0}
        for x, page, clicks in itertools.product(range(2), PAGES, itertools.product((0, 1), repeat=2)):
            drawn, propensity, likely = page_of(x, page, depends)
            chance = CONTEXTS[x] * drawn * np.where(clicks, likely, 1 - likely).prod()
            log = Logged(
                np.array([page]),
                np.array([clicks], float),
                propensity[None],
                model[None, x],
                policy[None, x],
                depends,
            )
            for name, value in log.measures().items():
                if name in found:
                    found[name] += 0.0 if np.isnan(value) else chance * value
            if (
                not log.weights.any()
            ):  # nothing is seen of the policy: its doubly robust value is the model's, and IPS's 0
                found["dr_value"] += chance * log.measures(None, ("dm_value",))["dm_value"]
        check(found["ips_value"], truth, oracle="by hand")
        check(found["dr_value"], truth, oracle="by hand")
    two = Logged(
        np.array([[0, 1], [0, 2]]),
        np.array([[1.0, 1.0], [0.0, 1.0]]),
        np.array([[0.5, 0.2], [0.25, 0.4]]),
        np.zeros((2, 2, 3)),
        np.tile(np.eye(3)[[0, 1]], (2, 1, 1)),
    )
    check(two.measures()["snips_value"], 2 / (2 + 4) + 5 / 5, oracle="by hand")


@case("bandits.policy_value")
def scores(check: Check) -> None:
    """A policy's loss is minus its doubly robust value; with members it is the mean of theirs."""
    rows = [(0, 0, 1), (1, 2, 0), (1, 1, 1), (0, 2, 1), (1, 0, 0)]
    log = log_of(rows)
    given = robust_scores(log.action, log.reward, log.propensity, log.values)
    logits = draw(5, 2, 3)
    each = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    values = [log.following(each[:, member]).measures()["dr_value"] for member in range(2)]
    found = PolicyValue()(jnp.asarray(logits), jnp.asarray(given)).mean()
    check(found, -np.mean(values), oracle="by hand")
    soft = PolicyValue(entropy=0.5)(jnp.asarray(logits), jnp.asarray(given)).mean()
    check(soft, found + 0.5 * (each * np.log(each)).sum(-1).mean(), oracle="by hand")
    bounded = robust_scores(log.action, log.reward, log.propensity, log.values, most=2.0)[0]
    check(bounded, [0.5 + 2 * (1 - 0.5), 0.5, 0.1], oracle="by hand")


@case("bandits.logged_reward")
def rewards(check: Check) -> None:
    """Only what was done is learnt from: the loss of the entry, by hand."""
    outputs, action, reward = draw(4, 2, 6), np.array([2, 0, 1, 1]), np.array([1.0, 0.0, 0.0, 1.0])
    targets: Any = {"action": jnp.asarray(action), "reward": jnp.asarray(reward)}
    z = outputs[np.arange(4), :, action]  # (rows, members)
    p = 1 / (1 + np.exp(-z))
    entropy = -(reward[:, None] * np.log(p) + (1 - reward[:, None]) * np.log(1 - p)).mean(1)
    logged = np.exp(outputs[..., 3:])[np.arange(4), :, action] / np.exp(outputs[..., 3:]).sum(-1)
    values = jnp.asarray(outputs)
    check(LoggedReward(3, share=True)(values[..., :3], targets), entropy, oracle="by hand")
    squared = np.square(z - reward[:, None]).mean(1)
    check(LoggedReward(3)(values[..., :3], targets), squared, oracle="by hand")
    both = entropy - np.log(logged).mean(1)
    check(LoggedReward(3, share=True, logging=True)(values, targets), both, oracle="by hand")


@case("bandits.page_reward")
def page_rewards(check: Check) -> None:
    """The loss of a page by hand, of which the third place is not there: a place is looked at and the item liked."""
    outputs = draw(4, 2, 3 + 2 + 9)
    action, reward = np.array([[2, 0, -2], [0, 1, 2], [1, 2, 0], [1, 0, 2]]), draw(4, 3, seed=1)
    clicks = (reward > 0) * 1.0
    z, u = outputs[..., :3], outputs[..., 3:5]
    looked = np.concatenate([np.ones((4, 2, 1)), 1 / (1 + np.exp(-u))], axis=-1)
    shares, squares, logged = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    for row, member in np.ndindex(4, 2):
        there = [place for place in range(3) if action[row, place] >= 0]
        for place in there:
            item, v = action[row, place], looked[row, member, place]
            q, r = v / (1 + np.exp(-z[row, member, item])), clicks[row, place]
            shares[row, member] -= (r * np.log(q) + (1 - r) * np.log(1 - q)) / len(there)
            squares[row, member] += (v * (z[row, member, item] + 0.7) - 0.7 - reward[row, place]) ** 2 / len(there)
            of = np.exp(outputs[row, member, 5 + 3 * place : 8 + 3 * place])
            logged[row, member] -= np.log(of[item] / of.sum()) / len(there)
    values, given = jnp.asarray(outputs), {"action": jnp.asarray(action), "reward": jnp.asarray(clicks)}
    found = LoggedReward(3, share=True, places=3)
    check(found(values[..., :5], given), shares.mean(1), oracle="by hand")
    check(found.replace(logging=True)(values, given), (shares + logged).mean(1), oracle="by hand")
    amounts = {"action": jnp.asarray(action), "reward": jnp.asarray(reward)}
    check(LoggedReward(3, places=3, offset=0.7)(values[..., :5], amounts), squares.mean(1), oracle="by hand")


def pulled() -> tuple[RidgeArms, Any, np.ndarray]:
    """A regression of two arms that learnt in two parts, and features of new contexts with a 1 behind them."""
    arms = RidgeArms(2, penalty=0.7)
    x, arm, reward = draw(9, 3), np.array([0, 1, 0, 0, 1, 1, 0, 1, 0]), draw(9, seed=1)
    state = arms.init(jax.random.key(0), (3,))[1]
    for part in (slice(0, 4), slice(4, 9)):
        state = arms.learn(state, jnp.asarray(x[part]), jnp.asarray(arm[part]), jnp.asarray(reward[part]))
    return arms, state, np.concatenate([draw(4, 3, seed=2), np.ones((4, 1))], axis=1)


def closed_form(arm: int) -> tuple[np.ndarray, np.ndarray]:
    """``θ`` and ``A⁻¹`` of an arm by least squares on its rows and as many rows of the penalty."""
    x, which, reward = draw(9, 3), np.array([0, 1, 0, 0, 1, 1, 0, 1, 0]), draw(9, seed=1)
    own = np.concatenate([x[which == arm], np.ones(((which == arm).sum(), 1))], axis=1)
    rows = np.concatenate([own, np.sqrt(0.7) * np.eye(4)])
    inverse = np.linalg.pinv(rows)
    return inverse @ np.concatenate([reward[which == arm], np.zeros(4)]), inverse @ inverse.T


@case("bandits.linucb")
def ridge(check: Check) -> None:
    """What LinUCB goes by, learnt row by row, is ridge regression of all rows at once, and its standard error."""
    arms, state, phi = pulled()
    x = jnp.asarray(phi[:, :3])
    both = [closed_form(arm) for arm in range(2)]
    means = np.stack([phi @ theta for theta, _ in both], axis=1)
    widths = np.stack(
        [np.sqrt(np.einsum("ri,ij,rj->r", phi, inverse, phi)) for _, inverse in both], axis=1
    )  # (rows, arms)
    check(arms.apply({}, state, x)[0], means, oracle="least squares")
    check(arms.width(state, x), widths, oracle="least squares")


@case("bandits.thompson")
def posterior(check: Check) -> None:
    """A draw is the posterior's mean, moved by noise through a root of its covariance: by another factorisation."""
    arms, state, phi = pulled()
    x = jnp.asarray(phi[:, :3])
    scale, key = 0.4, jax.random.key(3)
    factors = [np.linalg.cholesky(np.linalg.inv(inverse)) for _, inverse in map(closed_form, range(2))]
    noise = np.asarray(jax.random.normal(key, (4, 2, 4)))
    expected = np.stack(
        [
            [
                phi[row] @ (closed_form(arm)[0] + scale * np.linalg.solve(factors[arm].T, noise[row, arm]))
                for arm in range(2)
            ]
            for row in range(4)
        ]
    )
    check(arms.draw(state, x, key, scale), expected, oracle="closed form")


@case("bandits.places")
def in_turn(check: Check) -> None:
    """Items in places: what is known of the items is least squares of rows that are looked at less, and how much places are looked at is
    the least squares of the second factor, both by a solver; one place is the regression of single arms."""
    layer = PlacedArms(3, 2, penalty=0.7)
    x, pages, reward = draw(12, 2), np.array([[0, 1], [2, 0], [1, 2]] * 4), draw(12, 2, seed=1) + 1
    weight = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 4)
    state = layer.init(jax.random.key(0), (2,))[1]
    for part in (slice(0, 5), slice(5, 12)):
        arrays = (jnp.asarray(each[part]) for each in (x, pages, reward, weight))
        state = layer.learn(state, *arrays)
    phi = np.concatenate([x, np.ones((12, 1))], axis=1)

    def items(looked: np.ndarray, rows: int) -> np.ndarray:
        found = []
        for item in range(3):
            row, place = np.nonzero((pages[:rows] == item) & (weight[:rows] > 0))
            features = np.concatenate([looked[place][:, None] * phi[row], np.sqrt(0.7) * np.eye(3)])
            found.append(np.linalg.lstsq(features, np.concatenate([reward[row, place], np.zeros(3)]), rcond=None)[0])
        return np.stack(found)

    looked = np.ones(2)
    for rows in (5, 12):  # one turn after each part
        mean = np.einsum("ri,rki->rk", phi[:rows], items(looked, rows)[pages[:rows]])  # (rows, places)
        root = np.sqrt(weight[:rows, 1])
        design = np.concatenate([root * mean[:, 1], [np.sqrt(0.7)]])
        target = np.concatenate([root * reward[:rows, 1], [np.sqrt(0.7)]])
        looked = np.array([1.0, np.clip(np.linalg.lstsq(design[:, None], target, rcond=None)[0][0], 0.01, 10)])
    check(state["looked"], looked, oracle="least squares")
    check(layer.apply({}, state, jnp.asarray(x))[0], phi @ items(looked, 12).T, oracle="least squares")
    single, one = PlacedArms(2, 1, penalty=0.7), RidgeArms(2, penalty=0.7)
    given = jnp.asarray(x), jnp.asarray(pages[:, 0] % 2), jnp.asarray(reward[:, 0])
    known = one.learn(one.init(jax.random.key(0), (2,))[1], *given)
    placed = single.learn(single.init(jax.random.key(0), (2,))[1], given[0], given[1][:, None], given[2][:, None])
    check(single.width(placed, given[0]), one.width(known, given[0]), oracle="RidgeArms")
    check(single.apply({}, placed, given[0])[0], one.apply({}, known, given[0])[0], oracle="RidgeArms")


@case("bandits.cascade")
def cascade(check: Check) -> None:
    """A shop whose visitors look down to the first item they like: every way that likes can fall, by hand; and the best page of all."""
    shop = Shop(items=4, slots=3, features=2, clicks="cascade")
    visitor = jnp.asarray(draw(2) / np.linalg.norm(draw(2)))
    liked, slates = np.asarray(shop.attraction(visitor), np.float64), list(itertools.permutations(range(4), 3))
    expected = np.zeros((len(slates), 3))
    for row, slate in enumerate(slates):
        for likes in itertools.product((False, True), repeat=3):
            chance = np.prod(
                [liked[item] if like else 1 - liked[item] for item, like in zip(slate, likes, strict=True)]
            )
            if any(likes):
                expected[row, likes.index(True)] += chance
    pages = jnp.asarray(slates)
    check(jax.vmap(lambda page: shop.chances(visitor, page))(pages), expected, oracle="by hand")
    check(shop.value(visitor, shop.best(visitor)), expected.sum(1).max(), oracle="by hand")
    state = shop.reset(jax.random.key(0))[0]
    keys = jax.random.split(jax.random.key(1), 200)
    seen = jax.vmap(lambda key: shop.step(state, pages[5], key)[1])(keys)
    check(seen.parts.sum(1), seen.reward, oracle="the sum")
    check(seen.reward.max(), 1.0, oracle="one click at most")


@case("bandits.slates")
def plackett_luce(check: Check) -> None:
    """Every slate by hand: the chances add up to 1, and each is that of its choices one after the other."""
    z = draw(5)
    p, slates = np.exp(z) / np.exp(z).sum(), list(itertools.permutations(range(5), 3))
    expected = [p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b]) for a, b, c in slates]
    found = jnp.exp(PlackettLuce(5, 3).log_prob(jnp.tile(jnp.asarray(z), (len(slates), 1)), jnp.asarray(slates)))
    check(found, expected, oracle="by hand")
    check(found.sum(), 1.0, oracle="by hand")
    check(PlackettLuce(5, 1).entropy(jnp.asarray(z)), -(p * np.log(p)).sum(), oracle="by hand")
