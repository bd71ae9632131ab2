"""danlu's own speed in two source trees, in turn: ``python benchmarks/two_trees.py BEFORE AFTER``, for a change that may move it.

A tree is a folder of this project's files, such as what ``git worktree add FOLDER COMMIT`` makes. Each training runs in its own process
on one core, with an empty cache of compiled programs; every other round goes in the reverse sequence. The figures are of time on the core,
which a busy machine disturbs least. The same weights at the end, the same loss: a change of speed alone leaves it as it is.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CASES = {"mlp64": 25, "mlp256": 12, "cnn": 6, "lstm": 8, "gpt": 10, "cartpole": 12, "cartpole, 4 seeds": 12}  # epochs


def train(tree: str, case: str) -> dict[str, Any]:
    """The least CPU time of a step after the first epoch, what came before, and the loss (or return) at the end."""
    os.environ["DANLU_CACHE"] = "off"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.path[:0] = [f"{tree}/src", f"{tree}/benchmarks"]
    begun = time.process_time()
    ends: list[float] = []
    import danlu
    from danlu import nn, optim, rl
    from danlu.engine import LambdaCallback

    if not danlu.__file__.startswith(tree):
        raise SystemExit(f"danlu was imported from {danlu.__file__}, not from {tree}")
    clock = LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.process_time()))
    settings: Any = {"callbacks": [clock], "display": "none"}
    if case.startswith("cartpole"):
        env, seed = rl.make("CartPole-v1"), [0, 1, 2, 3] if "seeds" in case else 0
        agent, _ = rl.agent_recipe(env, "ppo")
        trained = rl.fit(agent, env, steps=60_000, seed=seed, evaluations=CASES[case], episodes=1, **settings)
        steps, last = trained.fitted.history[0]["frames"], trained.fitted.history[-1]["return"]
    else:
        module = importlib.import_module("mlp" if case.startswith("mlp") else case)
        net = nn.MLP((int(case[3:]),) * 2, module.CLASSES) if case.startswith("mlp") else module.danlu_net()
        decay, data = getattr(module, "DECAY", 0.0), module.make_data()
        optimizer = optim.adamw(1e-3, weight_decay=decay) if decay else optim.adam(1e-3)
        fitted = danlu.fit(
            net, data, loss="ce", optimizer=optimizer, epochs=CASES[case], batch_size=module.BATCH, **settings
        )
        steps, last = len(data[0]) // module.BATCH, fitted.history[-1]["loss"]
    least = min(b - a for a, b in itertools.pairwise(ends)) / steps * 1e3
    return {"step_ms": least, "start_s": ends[0] - begun, "last": last}


def main() -> None:
    """Train in turn, and write ``results/two_trees.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs=2, help="before, after")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    trees = [str(Path(tree).resolve()) for tree in options.trees]
    if options.case:
        print(json.dumps(train(trees[0], options.case)))
        return
    import harness

    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        for case in CASES:
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                command = [sys.executable, __file__, trees[place], trees[place], "--case", case]
                out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                found.setdefault((case, place), []).append(json.loads(out.splitlines()[-1]))
                print(case, options.trees[place], out.splitlines()[-1], file=sys.stderr, flush=True)
    rows = [
        ["", "CPU ms a step: before", "after", "CPU s to the end of epoch 1: before", "after", "last: before", "after"]
    ]
    for case in CASES:
        pair = [found[case, place] for place in (0, 1)]
        least = [[min(run[name] for run in runs) for runs in pair] for name in ("step_ms", "start_s")]
        cells = [f"{value:.4g}" for values in least for value in values]
        rows.append([case, *cells, *(f"{runs[0]['last']:.5g}" for runs in pair)])
    about = harness.machine()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if name != "torch")
    facts = f"{about['cpu']}, one core of {about['cores']}; {versions}; {about['date']}. Rounds: {options.rounds}, the least of each."
    page = ["# Two source trees", "", facts, *harness.table(*rows)]
    (Path(__file__).parent / "results" / "two_trees.md").write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
