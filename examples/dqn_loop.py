"""Deep Q-learning, with the three things that popular articles leave out of it.

The target of ``Q(s, a)`` is ``r + γ·max_a' Q⁻(s', a')``, and ``r`` alone where the episode terminated. A loop that always takes the
best action, learns from the step that it has just made, and takes its target from the network that it is changing, is not DQN:

- it must *explore*: with probability ε an action is drawn at random, or what is never tried is never learnt;
- it must learn from a *memory*: a batch of old steps, drawn at random, since steps in a row are alike;
- its targets must hold still: they come from a *target network*, which follows slowly.

Here a ball falls on a grid (``danlu/Catch-v0``), and the paddle must be under it: 1 if it is caught, −1 if not.

Reference: Mnih et al., "Human-level control through deep reinforcement learning" (2015), algorithm 1.
"""

from __future__ import annotations

from danlu import rl

STEPS = 12_000


def agent(**changes: object) -> rl.DQN:
    """The whole of DQN, small."""
    settings = {
        "environments": 8,
        "train_freq": 1,
        "gradient_steps": 4,
        "batch_size": 32,
        "hidden": (32,),
        "learning_starts": 500,
        "epsilon_steps": 6_000,
        "standardise": False,
        "tau": 0.02,
    }
    return rl.DQN(**{**settings, **changes})  # type: ignore[arg-type]


def train(learner: rl.DQN, *, seed: int = 0) -> float:
    """The mean return of 200 episodes after the training, by what was learnt last."""
    options = {"evaluations": 1, "episodes": 1, "display": "none", "restore_best": False}
    trained = rl.fit(learner, rl.make("danlu/Catch-v0"), steps=STEPS, seed=seed, **options)  # type: ignore[arg-type]
    return float(trained.play(episodes=200).returns.mean())


def main() -> None:
    """Train, and show what is missed."""
    chance = float(rl.play_at_random(rl.make("danlu/Catch-v0"), episodes=200).returns.mean())
    print(f"random actions:                      {chance:+.2f}")
    print(f"DQN:                                 {train(agent()):+.2f}")
    bare = {"epsilon_start": 0.0, "epsilon_end": 0.0, "learning_starts": 8, "capacity": 8, "batch_size": 8}
    alone = agent(**bare, tau=1.0, double=False)
    print(f"no exploration, no memory, no target: {train(alone):+.2f}")


if __name__ == "__main__":
    main()
