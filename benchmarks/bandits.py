"""How often the intervals of off-policy estimates hold the truth, and how much bandits regret.

    python benchmarks/bandits.py [--logs 400] [--against-obp] [--pages]

Logs of a known world are simulated: contexts of five kinds, actions, a logging policy that likes some of them (the sharper, the less it
overlaps with what is evaluated), rewards of 0 and 1 or with a long tail. The evaluated policy is fixed; a model of rewards that is wrong on
purpose serves the doubly robust estimate. For each size and overlap: the share of logs whose interval holds the value and the mean width,
for the intervals of danlu and for the one that holds for any weights. ``--against-obp`` compares the estimates of one log with those
of Open Bandit Pipeline where it is installed; else its formulas stand here, written out.

Pages of three of several items are drawn item by item, and clicked by the position-based model or by a cascade; the evaluated policy
shows the best page of each context. ``--pages`` does only these.

The regret is of the compiled shop with linear tastes: mean over eight runs, and the slope of its logarithm from 1,000 to 4,000 visitors.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from danlu.evaluate.logged import Logged, sure_interval

RESULTS = Path(__file__).with_name("results") / "bandits.md"
ESTIMATORS = ("dr_value", "snips_value", "ips_value", "sure")
PAGES_HEAD = (
    "| logs | clicks | depends | pages | items | sharpness of logging | effective pages, median | doubly robust: holds, width "
    "| SNIPS: holds, width | IPS: holds, width | any weights: holds, width |"
)


def world(rng: np.random.Generator, actions: int, sharp: float, tail: bool) -> dict[str, np.ndarray]:
    """Contexts of five kinds: what is liked, what was logged, what is evaluated, and a model of rewards that is wrong."""
    means = rng.uniform(0.05, 0.6, (5, actions))
    logging = np.exp(sharp * rng.normal(size=(5, actions)))
    logging /= logging.sum(1, keepdims=True)
    policy = 0.1 / actions + 0.9 * np.eye(actions)[means.argmax(1)]
    model = np.clip(means + rng.normal(0, 0.15, means.shape), 0, 1)
    return {"means": means, "logging": logging, "policy": policy, "model": model, "tail": np.array(tail)}


def drawn(rng: np.random.Generator, of: dict[str, np.ndarray], rows: int) -> Logged:
    """A log of this world."""
    context = rng.integers(5, size=rows)
    logging = of["logging"][context]
    action = (rng.random((rows, 1)) > logging.cumsum(1)).sum(1).clip(max=logging.shape[1] - 1)
    mean = of["means"][context, action]
    reward = rng.exponential(mean) if of["tail"] else (rng.random(rows) < mean).astype(float)
    return Logged(action, reward, logging[np.arange(rows), action], of["model"][context], of["policy"][context])


def coverage(
    logs: int, rows: int, actions: int, sharp: float, tail: bool, seed: int = 0
) -> dict[str, tuple[float, ...]]:
    """Share of intervals that hold, their mean width, and the error of the estimate; the effective rows come as ``"effective"``."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ESTIMATORS}
    effective = []
    for _ in range(logs):
        of = world(rng, actions, sharp, tail)
        truth = float((of["policy"] * of["means"]).sum(1).mean())
        log = drawn(rng, of, rows)
        effective.append(log.effective_rows)
        scores = log.scores()
        if not tail:
            scores["sure"] = sure_interval(log, 0.0, 1.0)
        for name in found:
            each = scores.get(name)
            if each is not None and each.known:
                found[name].append((each.low <= truth <= each.high, each.high - each.low, (each.value - truth) ** 2))
    told = {name: tuple(np.mean(part, axis=0)) if part else () for name, part in found.items()}
    return {**told, "effective": (float(np.median(effective)), min(effective))}


def page_log(
    rng: np.random.Generator, rows: int, actions: int, sharp: float, clicks: str, depends: str
) -> tuple[Logged, float]:
    """A log of pages of three items, and the value of the best page of each context."""
    of, places = world(rng, actions, sharp, False), 3
    looked = np.arange(1, places + 1) ** -1.0 if clicks == "positions" else np.ones(places)
    pages = np.array(list(itertools.permutations(range(actions), places)))
    chance, given = np.ones((5, len(pages))), np.ones((5, len(pages), places))
    left = np.ones((5, len(pages)))
    for place in range(places):
        own = of["logging"][:, pages[:, place]]
        given[:, :, place] = own / left
        chance *= own / left
        left = left - own
    marginal = np.zeros((5, places, actions))
    for place in range(places):
        for item in range(actions):
            marginal[:, place, item] = chance[:, pages[:, place] == item].sum(1)

    def value(context: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """How likely each place is clicked, ``(rows, places)``."""
        liked = np.take_along_axis(of["means"][context], shown, axis=1)
        if clicks == "positions":
            return liked * looked
        missed = np.cumprod(1 - liked, axis=1)
        return liked * np.concatenate([np.ones((len(liked), 1)), missed[:, :-1]], axis=1)

    context = rng.integers(5, size=rows)
    drawn = (rng.random((rows, 1)) > chance[context].cumsum(1)).sum(1).clip(max=len(pages) - 1)
    action = pages[drawn]
    if clicks == "positions":
        reward = (rng.random(action.shape) < value(context, action)).astype(float)
    else:
        likes = rng.random(action.shape) < np.take_along_axis(of["means"][context], action, axis=1)
        reward = (likes & (likes.cumsum(1) == 1)).astype(float)
    best = np.argsort(-of["means"], axis=1)[:, :places]
    policy = (best[..., None] == np.arange(actions)) * 1.0
    if depends == "place":
        propensity = marginal[context[:, None], np.arange(places), action]
    else:
        propensity = given[context, drawn]
    values = of["model"][:, None] * np.arange(1, places + 1)[:, None] ** -0.8
    truth = float(value(np.arange(5), best).sum(1).mean())
    return Logged(action, reward, propensity, values[context], policy[context], depends), truth


def pages_hold(logs: int, seed: int = 0) -> list[str]:
    """The lines of the table of pages."""
    lines = []
    for clicks, depends, rows, actions, sharp in (
        ("positions", "place", 300, 5, 0.5),
        ("positions", "place", 1000, 10, 0.5),
        ("positions", "place", 1000, 10, 1.0),
        ("positions", "above", 1000, 5, 0.5),
        ("cascade", "above", 1000, 5, 0.5),
        ("cascade", "above", 3000, 5, 1.0),
        ("cascade", "page", 3000, 5, 0.5),
        ("cascade", "place", 1000, 5, 0.5),
    ):
        rng = np.random.default_rng(seed)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ESTIMATORS}
        effective = []
        for _ in range(logs):
            log, truth = page_log(rng, rows, actions, sharp, clicks, depends)
            effective.append(log.effective_rows)
            for name, each in {**log.scores(), "sure": sure_interval(log, 0.0, 1.0)}.items():
                if name in found and each.known:
                    found[name].append((each.low <= truth <= each.high, each.high - each.low))
        told = {name: np.mean(part, axis=0) if part else None for name, part in found.items()}
        cells = ["–" if each is None else f"{each[0]:.1%}, {each[1]:.3f}" for each in told.values()]
        lines.append(
            f"| {logs} | {clicks} | {depends} | {rows:,} | {actions} | {sharp} | {np.median(effective):.0f} | {' | '.join(cells)} |"
        )
        print(lines[-1], flush=True)
    return lines


def against_formulas(rng: np.random.Generator) -> dict[str, float]:
    """The largest difference to the estimators of Open Bandit Pipeline 0.5.5 (``obp/ope/estimators.py``), as they are written there."""
    log = drawn(rng, world(rng, 6, 1.0, False), 5000)
    pscore, reward, rows = log.propensity, log.reward, np.arange(len(log))
    iw = log.policy[rows, log.action] / pscore
    q = log.values
    base = np.average(q, weights=log.policy, axis=1)
    theirs = {
        "ips_value": (reward * iw).mean(),
        "snips_value": (reward * iw / iw.mean()).mean(),
        "dm_value": base.mean(),
        "dr_value": (iw * (reward - q[rows, log.action]) + base).mean(),
    }
    ours = log.measures()
    return {name: abs(ours[name] - value) for name, value in theirs.items()}


def with_obp(rng: np.random.Generator) -> dict[str, float]:
    """The same with the package itself, where it is installed."""
    from obp.ope import (
        DirectMethod,
        DoublyRobust,
        InverseProbabilityWeighting,
        SelfNormalizedInverseProbabilityWeighting,
    )

    log = drawn(rng, world(rng, 6, 1.0, False), 5000)
    given = {
        "reward": log.reward,
        "action": log.action,
        "pscore": log.propensity,
        "action_dist": log.policy[:, :, None],
        "estimated_rewards_by_reg_model": log.values[:, :, None],
    }
    theirs = {
        "ips_value": InverseProbabilityWeighting(),
        "snips_value": SelfNormalizedInverseProbabilityWeighting(),
        "dm_value": DirectMethod(),
        "dr_value": DoublyRobust(),
    }
    ours = log.measures()
    return {name: abs(ours[name] - each.estimate_policy_value(**given)) for name, each in theirs.items()}


def regrets(visitors: int = 4000, runs: int = 8) -> dict[str, tuple[float, float]]:
    """The regret of each bandit after all visitors, and the slope of its logarithm over the last two doublings."""
    from danlu.rl.bandits import LinearGreedy, LinearThompson, LinUCB
    from danlu.rl.environments import Shop

    agents = (
        ("LinUCB", LinUCB()),
        ("Thompson", LinearThompson()),
        ("ε-greedy", LinearGreedy()),
        ("at random", LinearGreedy(epsilon=1.0)),
    )
    return {name: regret_of(agent, Shop(taste="linear"), visitors, runs) for name, agent in agents}


def regret_of(agent: Any, env: Any, visitors: int, runs: int) -> tuple[float, float]:
    """The regret after all visitors, the mean over runs, and the slope of its logarithm over the last two doublings."""
    import jax
    import jax.numpy as jnp

    from danlu.engine.state import TrainState
    from danlu.rl.agent import AgentProgram, learner_of

    program = AgentProgram(agent, env, learner_of(agent, env, 1))

    def run(key: jax.Array) -> jax.Array:
        params, state, _ = program.model.init(key, agent.in_shape(env))
        model_state, begun = agent.begin(program, params, state, jax.random.fold_in(key, 1))
        optimizer = agent.optimizer(1).init(params)
        first = TrainState(jnp.int32(0), key, params, model_state, optimizer, {}, begun)

        def one(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
            state, _, rows = agent.collect(program, state)
            return state, env.regret(rows["observation"], rows["action"]).sum()

        return jax.lax.scan(one, first, None, length=visitors // agent.frames)[1]

    total = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), runs))).cumsum(1).mean(0)
    quarter = len(total) // 4
    return float(total[-1]), float(np.log(total[-1] / total[quarter - 1]) / np.log(4))


def slate_regrets(visitors: int = 4000, runs: int = 4) -> dict[str, tuple[float, float]]:
    """The same of pages of three of ten items, by what agents take of how a page is looked at."""
    from danlu.rl.bandits import LinearGreedy, LinUCB
    from danlu.rl.environments import Shop

    found = {}
    for shop, name in (
        (Shop(taste="linear", slots=3), "positions"),
        (Shop(taste="linear", slots=3, clicks="cascade"), "cascade"),
    ):
        for label, agent in (
            ("LinUCB, right model", LinUCB(clicks=name)),
            ("LinUCB, all places alike", LinUCB(clicks="all")),
            ("at random", LinearGreedy(epsilon=1.0)),
        ):
            found[f"{name}: {label}"] = regret_of(agent, shop, visitors, runs)
    return found


def print_regrets(found: dict[str, tuple[float, float]]) -> None:
    """A line for each."""
    for name, (total, slope) in found.items():
        print(f"| {name} | {total:.0f} | {slope:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=400)
    parser.add_argument("--against-obp", action="store_true")
    parser.add_argument("--no-regret", action="store_true")
    parser.add_argument("--pages", action="store_true")
    asked = parser.parse_args()
    if asked.pages:
        pages_hold(asked.logs)
        print_regrets(slate_regrets())
        return
    if asked.against_obp:
        print(with_obp(np.random.default_rng(0)))
        return
    labels = ("doubly robust", "SNIPS", "IPS", "any weights")
    head = " | ".join(f"{label}: holds, width" for label in labels)
    lines = [
        "# Bandits",
        "",
        f"`python benchmarks/bandits.py --logs {asked.logs}`: {asked.logs} simulated logs a line, 95 % intervals.",
        "",
        f"| rewards | rows | actions | sharpness of logging | effective rows, median | {head} |",
        "|---" * (5 + len(labels)) + "|",
    ]
    for tail, rows, actions, sharp in (
        (False, 100, 3, 0.5),
        (False, 300, 3, 0.5),
        (False, 1000, 3, 0.5),
        (False, 300, 10, 0.5),
        (False, 1000, 10, 0.5),
        (False, 300, 3, 1.5),
        (False, 1000, 10, 1.0),
        (False, 1000, 10, 2.0),
        (True, 300, 3, 0.5),
        (True, 1000, 10, 1.0),
    ):
        found = coverage(asked.logs, rows, actions, sharp, tail)
        cells = [f"{found[n][0]:.1%}, {found[n][1]:.3f}" if found[n] else "–" for n in ESTIMATORS]
        kind = "exponential" if tail else "0 and 1"
        row = f"| {kind} | {rows:,} | {actions} | {sharp} | {found['effective'][0]:.0f} | {' | '.join(cells)} |"
        print(row, flush=True)
        lines.append(row)
    apart = against_formulas(np.random.default_rng(0))
    lines += [
        "",
        f"Largest difference to Open Bandit Pipeline's formulas on one log of 5,000 rows: {max(apart.values()):.1e}.",
        "",
    ]
    lines += ["", "Pages of three items:", "", PAGES_HEAD, "|---" * 11 + "|", *pages_hold(asked.logs), ""]
    if not asked.no_regret:
        lines += ["| bandit in the shop of linear tastes | regret of 4,000 visitors | slope |", "|---|---|---|"]
        lines += [f"| {name} | {total:.0f} | {slope:.2f} |" for name, (total, slope) in regrets().items()]
        lines += ["", "| pages of three in the same shop | regret of 4,000 visitors | slope |", "|---|---|---|"]
        lines += [f"| {name} | {total:.0f} | {slope:.2f} |" for name, (total, slope) in slate_regrets().items()]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-8:]))


if __name__ == "__main__":
    main()
