"""Agents in the classic environments: returns over seeds, and the time to solve CartPole beside Stable-Baselines3.

    .venv/bin/python benchmarks/agents.py [--parts quality,race,gymnasium] [--seeds 10] [--peers 3] [--only CartPole-v1:ppo]

quality: each recipe of danlu with ``--seeds`` seeds: of each seed's agent the mean return of 100 episodes of its likeliest actions, apart
from training and from the evaluations that chose its weights; the inter-quartile mean over seeds with its stratified-bootstrap interval.

race: until 100 episodes of likeliest actions bring 475 on the mean in CartPole, checked every 2,048 (danlu's PPO), 3,200 (its DQN) or 5,000
steps (Stable-Baselines3, with RL-Zoo's settings, and PPO with its own defaults); the clock runs while training alone. Then the whole
process, start and import included: of danlu with all that it compiles and its evaluations, the first time (an empty cache) and the second;
of Stable-Baselines3 without its evaluations.

gymnasium: steps a second of PPO of one size (8 environments, 128 steps, 4 epochs, 4 minibatches, 64×64) on Gymnasium's own CartPole,
both on the host.

What the results' file holds of other parts is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine
from step import product_rates

RESULTS = Path(__file__).parent / "results" / "agents.json"
QUALITY = (
    ("CartPole-v1", "ppo", "500 (100k), one run"),
    ("CartPole-v1", "dqn", "500 (50k), one run"),
    ("CartPole-v1", "sac", "–"),
    ("Acrobot-v1", "ppo", "−73.5 (1M), one run"),
    ("MountainCar-v0", "ppo", "−110.4 (1M), one run"),
    ("MountainCarContinuous-v0", "td3", "93.5 (300k), one run"),
    ("Pendulum-v1", "sac", "−157.0 (20k), one run"),
    ("Pendulum-v1", "td3", "−151.9 (20k), one run"),
    ("Pendulum-v1", "ddpg", "−152.1 (20k), one run"),
    ("LunarLander-v3", "ppo", "242.1 (1M, version 2), one run"),
)
SOLVED, EPISODES = 475.0, 100


def quality(name: str, algorithm: str, seeds: int) -> dict[str, Any]:
    """A recipe's returns with several seeds, side by side where the environment is compiled."""
    from danlu import rl
    from danlu.evaluate import run_intervals

    env = rl.make(name)
    agent, steps = rl.agent_recipe(env, algorithm)
    begun = time.perf_counter()
    groups = [list(range(seeds))] if env.pure else [[seed] for seed in range(seeds)]
    scores, few = [], {} if env.pure else {"evaluations": 10, "episodes": 10}
    for group in groups:
        trained = rl.fit(agent, env, steps=steps, seed=group if len(group) > 1 else group[0], display="none", **few)
        for member in range(len(group)):
            played = rl.play_episodes(agent, env, *trained.variables(member), episodes=EPISODES, seed=1_000_003)
            scores.append(float(played.returns.mean()))
    seconds = time.perf_counter() - begun
    interval = run_intervals(np.array(scores))["iqm"] if len(scores) > 1 else None
    return {
        "environment": name,
        "algorithm": algorithm,
        "steps": steps,
        "seeds": seeds,
        "scores": scores,
        "iqm": [interval.value, interval.low, interval.high] if interval else [scores[0]] * 3,
        "seconds_a_seed": round(seconds / seeds, 2),
    }


def race_danlu(algorithm: str, seed: int) -> dict[str, Any]:
    """Seconds of training and steps until CartPole is solved; the first run of a process compiles."""
    from danlu import rl
    from danlu.engine import Callback

    env = rl.make("CartPole-v1")
    agent, steps = rl.agent_recipe(env, algorithm)

    class Clock(Callback):
        def __init__(self) -> None:
            self.seconds, self.frames, self.solved = 0.0, agent.prelude, None

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.seconds += (logs["frames"] - self.frames) / logs[
                "rows_per_second"
            ]  # the evaluation is not in this rate
            self.frames = logs["frames"]
            if self.solved is None and logs["val_return"] >= SOLVED:
                self.solved = (self.seconds, logs["frames"])
                self.training.stop("solved")

    clock, every = Clock(), agent.frames if agent.frames > 1000 else 3200
    begun = time.perf_counter()
    rl.fit(
        agent,
        env,
        steps=2 * steps,
        seed=seed,
        evaluations=2 * steps // every,
        episodes=EPISODES,
        display="none",
        callbacks=[clock],
    )
    total = time.perf_counter() - begun
    seconds, frames = clock.solved or (float("inf"), 2 * steps)
    return {"seconds": seconds, "frames": frames, "with_all": total}


ZOO = {
    "ppo": {
        "environments": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "decaying": {"learning_rate": 1e-3, "clip_range": 0.2},
    },
    "dqn": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}
PEER = """
import json, sys, time
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

algorithm, seed, settings, most, solved, episodes = json.loads(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
count = settings.pop("environments", 1)
for name, value in settings.pop("decaying", {}).items():
    settings[name] = lambda left, value=value: left * value
env, judge = make_vec_env("CartPole-v1", count, seed=seed), make_vec_env("CartPole-v1", 8, seed=seed + 1000)
model = {"ppo": PPO, "dqn": DQN}[algorithm]("MlpPolicy", env, seed=seed, device="cpu", **settings)
from stable_baselines3.common.callbacks import BaseCallback

class Watch(BaseCallback):
    def __init__(self):
        super().__init__()
        self.away, self.due, self.solved, self.begun = 0.0, 5000, None, time.perf_counter()
    def _on_step(self):
        if self.num_timesteps >= self.due:
            now = time.perf_counter()
            self.due += 5000
            mean, _ = evaluate_policy(self.model, judge, n_eval_episodes=episodes, deterministic=True)
            self.away += time.perf_counter() - now
            if mean >= solved:
                self.solved = (now - self.begun - (self.away - (time.perf_counter() - now)), self.num_timesteps)
                return False
        return True

watch = Watch()
model.learn(most, callback=watch)
seconds = time.perf_counter() - watch.begun - watch.away
print(json.dumps({"seconds": watch.solved[0] if watch.solved else float("inf"), "frames": watch.solved[1] if watch.solved else most,
                  "rate": model.num_timesteps / seconds, "away": watch.away}))
"""


def race_peer(algorithm: str, seed: int, settings: dict[str, Any], threads: int = 1) -> dict[str, Any]:
    """The same of Stable-Baselines3, in a process of its own; one thread is its faster setting for networks this small."""
    asked = json.dumps([algorithm, seed, settings, 150_000, SOLVED, EPISODES])
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PEER, asked, str(threads)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "process": time.perf_counter() - begun - found["away"]}


def rate_danlu() -> dict[str, float]:
    """Steps a second in CartPole while the recipe's PPO trains, compiled: the best of five; and how near the products' limit that is.

    A step of the environment takes the network once to act and, in each pass, three times what that takes (forward, and backward twice).
    """
    from danlu import rl

    env = rl.make("CartPole-v1")
    agent, _ = rl.agent_recipe(env, "ppo")
    trained = rl.fit(agent, env, steps=400_000, seed=0, evaluations=6, episodes=1, display="none")
    flops = agent.network(env).flops(agent.in_shape(env)) * (1 + 3 * agent.n_epochs)
    product = max(product_rates("danlu").values())
    return {
        "steps": max(row["rows_per_second"] for row in trained.fitted.history[1:]),
        "flops": flops,
        "product": product,
    }


def gymnasium_danlu() -> float:
    """Steps a second on Gymnasium's own CartPole."""
    from danlu import rl

    env = rl.make("gymnasium:CartPole-v1")
    agent = rl.PPO(environments=8, n_steps=128, n_epochs=4, minibatches=4, hidden=(64, 64))
    trained = rl.fit(agent, env, steps=40_960, seed=0, evaluations=4, episodes=1, display="none")
    return max(row["rows_per_second"] for row in trained.fitted.history[1:])


def gymnasium_peer(threads: int) -> float:
    """The same of Stable-Baselines3."""
    code = """
import sys, time, torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
torch.set_num_threads(int(sys.argv[1]))
model = PPO("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=0), n_steps=128, batch_size=256, n_epochs=4, device="cpu", seed=0)
model.learn(4096)
best = 0
for _ in range(3):
    begun = time.perf_counter(); model.learn(10240, reset_num_timesteps=True); best = max(best, 10240 / (time.perf_counter() - begun))
print(best)
"""
    done = subprocess.run([sys.executable, "-c", code, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def processes(algorithm: str, seed: int) -> list[float]:
    """Seconds of a whole process that solves CartPole: with an empty cache of compiled programs, and once more with what it left there."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import agents, json; "
    code += f"print(json.dumps(agents.race_danlu({algorithm!r}, {seed})))"
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            begun = time.perf_counter()
            environment = {**os.environ, "DANLU_CACHE": cache}
            subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begun)
    return seconds


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    published = {(name, algorithm): figure for name, algorithm, figure in QUALITY}
    lines = ["# Agents", ""]
    for key in ("quality", "race", "gymnasium"):
        about = found.get(f"{key}_machine")
        if about:
            versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
            place = f"{about['cpu']}, {about['cores']} cores, load {about['load']}"
            lines += [f"{key}: {place}; {versions}; {about['date']}, commit {about['commit']}.", ""]
    if found.get("quality"):
        lines += [
            "Mean return of 100 episodes of likeliest actions; IQM over seeds with a 95 % stratified-bootstrap interval.",
            "",
        ]
        lines += [
            "| environment | algorithm | seeds | steps | IQM | least | published (RL-Zoo) | seconds a seed |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
        ]
        for row in found["quality"]:
            value, low, high = row["iqm"]
            cells = [row["environment"], row["algorithm"], str(row["seeds"]), f"{row['steps']:,}"]
            cells += [f"{value:.1f} ({low:.1f} to {high:.1f})", f"{min(row['scores']):.1f}"]
            cells += [published.get((row["environment"], row["algorithm"]), "–"), str(row["seconds_a_seed"])]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    if found.get("race"):
        lines += ["Seconds of training until CartPole is solved (475 on the mean of 100 episodes), and steps:", ""]
        lines += ["| algorithm | danlu, median | worst | steps | Stable-Baselines3, median | steps | ratio |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|"]
        for name, row in found["race"].items():
            ours, theirs = ([r["seconds"] for r in row[who]] for who in ("danlu", "peer"))
            steps = [int(np.median([r["frames"] for r in row[who]])) for who in ("danlu", "peer")]
            mine, other = float(np.median(ours)), float(np.median(theirs))
            lines.append(
                f"| {name} | {mine:.2f} | {max(ours):.2f} | {steps[0]:,} | {other:.1f} | {steps[1]:,} | {other / mine:.0f}x |"
            )
        lines += [
            "",
            "Seconds of the whole process, the import included (of danlu compilation and evaluations too):",
            "",
        ]
        lines += [
            "| algorithm | danlu, first time | again | Stable-Baselines3, its evaluations not counted | ratio, first time | again |"
        ]
        lines += ["|---|--:|--:|--:|--:|--:|"]
        for name, row in found["race"].items():
            first, again = np.median(row["processes"], axis=0)
            other = float(np.median([r["process"] for r in row["peer"]]))
            lines.append(
                f"| {name} | {first:.1f} | {again:.1f} | {other:.1f} | {other / first:.1f}x | {other / again:.1f}x |"
            )
        plain = found["race"]["ppo"]["defaults"]
        median = {name: float(np.median([r[name] for r in plain])) for name in ("seconds", "frames", "process")}
        lines += [
            "",
            f"Stable-Baselines3's PPO with its own defaults instead of RL-Zoo's settings: {median['seconds']:.1f} s of training, "
            f"{median['frames']:,.0f} steps, {median['process']:.1f} s of the whole process.",
        ]
        rate = found["rate"]
        reached = rate["steps"] * rate["flops"] / 1e9
        lines += [
            "",
            f"Steps a second while PPO trains in the compiled CartPole: {rate['steps']:,.0f}. A step is {rate['flops'] / 1e3:.0f} kFLOP of "
            "matrix products (the network once to act, and in each pass over the rollout forward and backward), so these are "
            f"{reached:.0f} GFLOP/s: {reached / rate['product']:.0%} of the {rate['product']:.0f} that a large product reaches here.",
            "",
        ]
    if found.get("gymnasium"):
        row = found["gymnasium"]
        lines += [
            f"PPO on Gymnasium's CartPole, steps a second: danlu {row['danlu']:,.0f}, Stable-Baselines3 {row['peer']:,.0f}.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Run the parts, and write the results after each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="quality,race,gymnasium")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--peers", type=int, default=3, help="seeds of Stable-Baselines3")
    parser.add_argument("--only", default="", help="of quality: ENVIRONMENT:ALGORITHM, with commas")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    parts = arguments.parts.split(",")

    def write(part: str) -> None:
        found[f"{part}_machine"] = {**machine(), "load": round(os.getloadavg()[0], 1)}
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(page(found))

    if "quality" in parts:
        only = {tuple(each.split(":")) for each in arguments.only.split(",") if each}
        for name, algorithm, _ in QUALITY:
            if only and (name, algorithm) not in only:
                continue
            row = quality(name, algorithm, arguments.seeds)
            print(row, flush=True)
            kept = [
                old for old in found.get("quality", []) if (old["environment"], old["algorithm"]) != (name, algorithm)
            ]
            order = [pair[:2] for pair in QUALITY]
            found["quality"] = sorted(
                [*kept, row], key=lambda each: order.index((each["environment"], each["algorithm"]))
            )
            write("quality")
    if "race" in parts:
        for algorithm in ("ppo", "dqn"):
            race_danlu(algorithm, 99)  # compiles
            ours = [race_danlu(algorithm, seed) for seed in range(arguments.seeds)]
            theirs = [race_peer(algorithm, seed, dict(ZOO[algorithm])) for seed in range(arguments.peers)]
            whole = [processes(algorithm, seed) for seed in range(3)]
            row = {"danlu": ours, "peer": theirs, "processes": whole}
            if algorithm == "ppo":
                row["defaults"] = [race_peer(algorithm, seed, {}) for seed in range(arguments.peers)]
            found.setdefault("race", {})[algorithm] = row
            print(algorithm, row, flush=True)
        found["rate"] = rate_danlu()
        write("race")
    if "gymnasium" in parts:
        found["gymnasium"] = {"danlu": gymnasium_danlu(), "peer": max(gymnasium_peer(1), gymnasium_peer(2))}
        print(found["gymnasium"], flush=True)
        write("gymnasium")


if __name__ == "__main__":
    main()
