"""Drivers: the expert, cloning with and without aggregation, PPO with and without a limit on costs, and two that see by a camera.

    .venv/bin/python benchmarks/driving.py [--only dagger,cloning,…] [--steps 10000] [--episodes 100]

Each trains at its recipe, or at the steps given here, with one seed; with ``--steps`` all train for so many, which
tells less: PPO needs 200,000. ``limited-from-dagger`` is PPO under limits that begins with the policy of ``dagger``; then it drives the same ``--episodes`` new roads with its likeliest
actions. Of each, ``results/driving.json`` keeps the mean return with its interval, and for each kind of cost the share of
the episodes in which it was met and its mean. What the file holds of others is kept.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "driving.json"
SEED = 1_000_003
LIMITS = {"collision": 0.02, "off_lane": 1.0, "speeding": 1.0}
CAMERA: dict[str, Any] = {"environment": {"observation": "camera"}, "steps": 20_000}
SEES: dict[str, Any] = {"gradient_steps": 24, "learning_rate": 1e-3}
# The algorithm, its settings, steps (None is the recipe's), parameters of the world, and the limit on costs.
DRIVERS: dict[str, dict[str, Any]] = {
    "dagger": {"algorithm": "dagger"},
    "cloning": {"algorithm": "dagger", "settings": {"beta": 1.0}},
    "ppo": {"algorithm": "ppo", "steps": 200_000},
    "ppo-limited": {"algorithm": "ppo", "steps": 200_000, "cost_limit": LIMITS},
    "limited-from-dagger": {"algorithm": "ppo", "cost_limit": LIMITS, "policy": "dagger"},
    "camera-detector": {"algorithm": "dagger", "settings": {**SEES, "detector": 1.0}, **CAMERA},
    "camera-end-to-end": {"algorithm": "dagger", "settings": SEES, **CAMERA},
}


def told(found: Any, seconds: float) -> dict[str, Any]:
    """The figures of some episodes."""
    from danlu.evaluate import Sample

    score = Sample(found.returns, "return").interval()
    row: dict[str, Any] = {"return": [score.value, score.low, score.high], "seconds": seconds}
    for kind, cost in found.costs.items():
        share = Sample(cost > 0, "share_of_rows").interval()
        row[kind] = {"episodes": [share.value, share.low, share.high], "cost": float(cost.mean())}
    return row


def main() -> None:
    from danlu import rl

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(("expert", "random", *DRIVERS)))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--episodes", type=int, default=100)
    given = parser.parse_args()
    drivers: dict[str, Any] = {}
    for name in given.only.split(","):
        begun, steps = time.perf_counter(), 0
        if name in ("expert", "random"):
            play = rl.play_expert if name == "expert" else rl.play_at_random
            found = play(rl.make("driving"), episodes=given.episodes, seed=SEED)
        else:
            how = DRIVERS[name]
            policy = None if "policy" not in how else drivers[how["policy"]]
            env = rl.make("driving", **how.get("environment", {}))
            agent, usual = rl.agent_recipe(env, how["algorithm"], begun=policy is not None, **how.get("settings", {}))
            steps = given.steps or how.get("steps", usual)
            learned = drivers[name] = rl.fit(
                agent,
                env,
                steps=steps,
                policy=policy,
                evaluations=10,
                episodes=50,
                cost_limit=how.get("cost_limit"),
                display="none",
            )
            found = learned.play(episodes=given.episodes, seed=SEED)
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        rows[name] = {"steps": steps, **told(found, time.perf_counter() - begun)}
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, json.dumps(rows[name]), flush=True)


if __name__ == "__main__":
    main()
