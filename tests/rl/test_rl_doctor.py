"""The doctor of agents: what keeps one from learning is said, and nothing of those that learn."""

import types

import numpy as np
import pytest

from danlu import rl
from danlu.engine.case import Case, Clues
from danlu.engine.doctor import findings_of

RISING = [10.0, 20.0, 60.0, 120.0, 200.0]
FLAT = [20.0, 21.0, 19.5, 20.5, 20.0]


def kinds(returns, *, moved=0.3, grown=1.0, entropy=(), training=None):
    """What is said of an agent with these returns, whose weights went that far, and grew by that."""
    before = {"kernel": np.ones((1, 8), np.float32)}
    way = np.where(np.arange(8) % 2, moved, -moved) if grown == 1.0 else grown - 1.0
    now = {"kernel": before["kernel"] * (1 + way)}
    program = types.SimpleNamespace(members=None)
    clues = Clues(program, None, {}, None, False, before, now)
    record = {"val_return": returns, "return": returns if training is None else training, "entropy": entropy}
    columns = {name: np.asarray(values, float) for name, values in record.items()}
    losses = np.ones(len(returns))
    case = Case(clues, losses, np.ones(0), np.full(len(returns), 1e-3), 1000, record=columns)
    return tuple(finding.kind for finding in findings_of(case))


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        ((), {"returns": RISING}),
        ((), {"returns": FLAT}),  # it may learn yet
        ((), {"returns": RISING, "moved": 1e-5}),
        ((), {"returns": RISING, "grown": 5.0}),
        ((), {"returns": RISING, "entropy": [0.7, 0.3, 0.1, 0.01, 0.001]}),
        ((), {"returns": [0.0] * 3}),
        ((), {"returns": [0.0] * 5, "training": [0.0, 0.0, 0.1, 0.0, 0.0]}),
        (("no_reward",), {"returns": [-200.0] * 5}),
        (("rate_too_low",), {"returns": FLAT, "moved": 1e-5}),
        (("rate_too_high",), {"returns": FLAT, "grown": 5.0}),
        (("policy_collapse",), {"returns": FLAT, "entropy": [0.7, 0.3, 0.1, 0.01, 0.001]}),
    ],
)
def test_what_is_said_of_an_agents_record(expected, of):
    assert kinds(**of) == expected


@pytest.mark.slow
def test_agents_that_are_sick_and_one_that_learns():
    how = {"steps": 8000, "evaluations": 6, "episodes": 10, "display": "none"}
    both = rl.fit(rl.PPO(), "CartPole-v1", seed=[0, 1], learning_rate=[1e-3, 1e-9], **how).fitted.health
    assert both.kinds == ("rate_too_low",)
    assert both.findings[0].members == (1,)
    assert "trainer.learning_rate" in both.findings[0].settings
    assert rl.fit(rl.PPO(learning_rate=1.0), "CartPole-v1", **how).fitted.health.kinds == ("rate_too_high",)
    assert rl.fit(rl.DQN(), "MountainCar-v0", **{**how, "steps": 6000}).fitted.health.kinds == ("no_reward",)
