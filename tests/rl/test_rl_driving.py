"""Driving: the car's circle, a picture worked by hand, each cost, the careful driver; and pupils that aggregate what they are told."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import rl
from danlu.blueprint import from_json, setting, to_json
from danlu.errors import ConfigError
from danlu.evaluate import Sample
from danlu.evaluate.compare import compare, conclusion
from danlu.nn.cells import Detections
from danlu.nn.losses import DetectionLoss
from danlu.report.agents import _by_kind
from danlu.rl.acting import trained_agent
from danlu.rl.agent import AgentProgram, learner_of
from danlu.rl.begun import placed, policy_of
from danlu.rl.constraint import Constraint
from danlu.rl.detecting import SIZE, STRIDE, DetectingLoss, told_of
from danlu.rl.distributions import distribution_for
from danlu.rl.environments import Driving, DrivingState
from danlu.rl.environments.driving import bicycle
from danlu.rl.environments.driving_view import ASPHALT, COLOURS, GRAVEL, LINE, PERSON, SKY, things
from danlu.rl.environments.road import POINTS, SIGNS, SPACING, Road
from danlu.rl.evaluation import play_expert
from danlu.rl.fit import _initial
from danlu.rl.offline import CloningLoss
from danlu.rl.spaces import Box, Discrete

KEY = jax.random.key(0)
FAR_AWAY = 1e3


def straight(**changes: Any) -> DrivingState:
    """A car at 100 m on a straight road to the east, in the middle of its lane at 8 m/s, where 11 m/s is the limit; nobody is near."""
    zero, line = jnp.zeros(POINTS), SPACING * jnp.arange(POINTS)
    road = Road(line, zero, zero, zero, jnp.ones(SIGNS, jnp.int32))
    people = {
        "walker_along": jnp.full(8, FAR_AWAY),
        "walker_offset": jnp.full(8, 3.5),
        "walker_speed": jnp.zeros(8),
        "walker_trigger": jnp.full(8, 20.0),
        "walking": jnp.zeros(8, bool),
    }
    place = {"x": 100.0, "y": 0.0, "heading": 0.0, "speed": 8.0, "along": 100.0, "offset": 0.0}
    return DrivingState(
        **{**{name: jnp.float32(value) for name, value in place.items()}, "road": road, **people, **changes}
    )


def test_constant_steering_drives_a_circle() -> None:
    """The radius is L / tan δ, whatever the step: all points are on the circle, and a whole turn comes back."""
    steering, wheelbase, speed = 0.3, 2.6, 7.0
    radius = wheelbase / math.tan(steering)
    steps = 40
    dt = 2 * math.pi * radius / speed / steps

    def move(pose: Any, _: None) -> Any:
        pose = bicycle(*pose, speed, steering, wheelbase=wheelbase, dt=dt)
        return pose, jnp.stack(pose)

    _, path = jax.jit(lambda pose: jax.lax.scan(move, pose, length=steps))((jnp.zeros(()),) * 3)
    x, y, heading = np.asarray(path, np.float64).T
    np.testing.assert_allclose(np.hypot(x, y - radius), radius, rtol=1e-5)
    np.testing.assert_allclose([x[-1], y[-1], heading[-1]], [0, 0, 2 * math.pi], atol=1e-4)


def test_a_picture_by_hand() -> None:
    """Row 24 is 1.4 · 40 / 12.5 = 4.48 m ahead, a pixel there 0.112 m wide: of the lane of 4 m 17.4 pixels lie on either side."""
    world = Driving(observation="camera")
    someone = straight(walker_along=jnp.full(8, FAR_AWAY).at[0].set(110.0), walker_offset=jnp.zeros(8))
    picture, truth, seen = jax.jit(lambda state: (world.seen(state), world.truth(state), things(state, 4.0)))(someone)
    picture = np.asarray(picture)
    assert world.observation_space.contains(picture)
    expected = [*[GRAVEL] * 7, *[LINE] * 3, *[ASPHALT] * 34, *[LINE] * 3, *[GRAVEL] * 7]
    np.testing.assert_array_equal(picture[24, 5:59], expected)
    np.testing.assert_array_equal(picture[5, 5], SKY)
    # Somebody 10 m ahead is 2.4 pixels wide, from row 12 − 0.35 · 4 = 10.6 to 12 + 1.4 · 4 = 17.6.
    there = (picture[:36] == PERSON).all(axis=-1)
    assert np.argwhere(there).min(axis=0).tolist() == [11, 31]
    assert np.argwhere(there).max(axis=0).tolist() == [17, 32]
    # The instruments: 8 of 20 m/s is 25.6 of 64 pixels; the limit of 11 m/s 35.2, in the colour of its sign.
    assert (picture[44] == LINE).all(axis=-1).sum() == 26
    assert (picture[46] == COLOURS[1]).all(axis=-1).sum() == 35
    np.testing.assert_allclose(seen["box"][0], [30.8, 10.6, 33.2, 17.6], rtol=1e-5)
    assert seen["shown"].tolist() == [True, *[False] * 7, True, False]
    # What a detector is to find: the same box, and 20 m ahead a sign of the second limit.
    np.testing.assert_array_equal(truth["boxes"][0], seen["box"][0])
    assert truth["labels"].tolist() == [0, *[-1] * 7, 2, -1]
    np.testing.assert_allclose(truth["numbers"], [0.4, *[0.0] * 7, 11 / 20], atol=1e-6)
    assert Driving().truth(someone) is None


@pytest.fixture(scope="module")
def step() -> Any:
    return jax.jit(Driving().step)


def test_costs_by_hand(step: Any) -> None:
    """Each kind alone, at its edge; what is no failure costs nothing; the reward is the way along the road."""
    person = {"walker_along": jnp.full(8, FAR_AWAY).at[3].set(103.0)}
    aside = {**person, "walker_offset": jnp.full(8, 1.3)}
    for changes, cost, over in (
        ({}, [0, 0, 0], False),
        ({"speed": jnp.float32(11.5)}, [0, 0, 0], False),  # 5 % are tolerated
        ({"speed": jnp.float32(11.6)}, [0, 0, 1], False),
        ({"y": jnp.float32(1.99)}, [0, 0, 0], False),
        ({"y": jnp.float32(-2.01)}, [0, 1, 0], False),
        ({"y": jnp.float32(5.01)}, [0, 1, 0], True),
        ({**person, "walker_offset": jnp.full(8, 1.1)}, [1, 0, 0], True),
        (aside, [0, 0, 0], False),
    ):
        after, outcome = step(straight(**changes), jnp.zeros(2), KEY)
        assert (outcome.cost.tolist(), bool(outcome.terminated)) == (cost, over), changes
    after, outcome = step(straight(), jnp.array([0.0, -1.0]), KEY)
    assert float(outcome.reward) == pytest.approx(0.08, abs=1e-5)
    assert float(after.speed) == pytest.approx(7.4, abs=1e-5)
    assert step(straight(), jnp.array([5.0, -9.0]), KEY)[0].speed == after.speed, "actions are clipped"


def test_people_cross_when_the_car_is_near(step: Any) -> None:
    person = {"walker_along": jnp.full(8, 121.0), "walker_speed": jnp.full(8, -1.5)}
    waits, _ = step(straight(**person), jnp.zeros(2), KEY)  # 20.2 m away after the step
    goes, _ = step(straight(**{**person, "walker_along": jnp.full(8, 119.0)}), jnp.zeros(2), KEY)
    assert not waits.walking.any()
    assert goes.walking.all()
    np.testing.assert_allclose(goes.walker_offset, 3.35, rtol=1e-6)
    done, _ = step(dataclasses.replace(goes, walker_offset=jnp.full(8, -4.6)), jnp.zeros(2), KEY)
    np.testing.assert_allclose(done.walker_offset, -4.6)


def test_the_expert_drives_well() -> None:
    found = play_expert(Driving(), episodes=6, seed=3)
    assert set(found.costs) == {"collision", "off_lane", "speeding"}
    assert found.costs["collision"].sum() == 0
    assert found.costs["off_lane"].sum() == 0
    assert found.returns.mean() > 15
    assert (found.lengths == 300).all()


class Risky(rl.Environment):
    """One step: action 1 pays 1 and costs 1, action 0 neither. With a cost of at most d the best is action 1 with probability d."""

    costs: ClassVar[tuple[str, ...]] = ("harm", "fuel")
    max_steps: int = setting(default=3, minimum=1, integer=True)

    @property
    def observation_space(self) -> Box:
        return Box(-1.0, 1.0, (1,))

    @property
    def action_space(self) -> Any:
        return Discrete(2)

    def reset(self, key: jax.Array) -> Any:
        seen = jax.random.uniform(key, (1,))
        return seen, seen

    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        paid = jnp.asarray(action, jnp.float32)
        return state, rl.Outcome(state, paid, jnp.ones((), bool), jnp.stack([paid, 0.25 * jnp.ones(())]))

    def expert(self, state: Any) -> jax.Array:
        return (state[0] > 0.5).astype(jnp.int32)


class Shown(Risky):
    """The same in a picture that is grey where it should be, with one box in it."""

    detected: ClassVar[tuple[str, ...]] = ("dot", "line")

    @property
    def observation_space(self) -> Box:
        return Box(0.0, 255.0, (48, 64, 3), "uint8")

    def reset(self, key: jax.Array) -> Any:
        return jax.random.uniform(key, (1,)), jnp.zeros((48, 64, 3), jnp.uint8)

    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        _, outcome = super().step(state, action, key)
        return state, dataclasses.replace(outcome, observation=jnp.zeros((48, 64, 3), jnp.uint8))

    def truth(self, state: Any) -> dict[str, jax.Array]:
        return {"boxes": 8 * jnp.ones((1, 4)) * state[None], "labels": jnp.ones(1, jnp.int32), "numbers": 2 * state}


def test_multipliers_find_the_optimum() -> None:
    """Exact gradients of a coin that pays 1 and costs 1 with probability p ≤ 0.3, with a tenth of its entropy H beside: p → 0.3, and λ
    where the slope ``(1 − λ)/(1 + λ) + H'(p)/10`` is 0, which is (1 + u)/(1 − u) with u = log(0.7/0.3)/10."""
    limited = Constraint((("harm", 0.3),), rate=0.02)
    kinds = ("harm", "fuel")
    costs = jnp.array([[1.0, 9.0], [0.0, 9.0]])

    def turn(carry: Any, _: None) -> Any:
        lean, multipliers = carry

        def worth(lean: Any) -> Any:
            p = jax.nn.sigmoid(lean)
            both = jnp.stack([p, 1 - p])
            return limited.priced(multipliers, jnp.array([1.0, 0.0]), costs, kinds) @ both - 0.1 * both @ jnp.log(both)

        p = jax.nn.sigmoid(lean)
        sums = {"episodes": jnp.float32(4.0), "cost_harm": 4 * p, "cost_fuel": jnp.float32(36.0)}
        return (lean + 0.5 * jax.grad(worth)(lean), limited.ascended(multipliers, sums, kinds)), None

    lean, multipliers = jax.jit(lambda carry: jax.lax.scan(turn, carry, length=4000)[0])(
        (jnp.float32(2.0), limited.begin())
    )
    slope = math.log(0.7 / 0.3) / 10
    assert float(jax.nn.sigmoid(lean)) == pytest.approx(0.3, abs=1e-3)
    assert float(multipliers[0]) == pytest.approx((1 + slope) / (1 - slope), abs=1e-2)


SMALL: dict[str, Any] = {"environments": 8, "hidden": (4,)}


@pytest.mark.parametrize(
    "agent",
    [
        rl.A2C(**{**SMALL, "environments": 2, "hidden": ()}, n_steps=2, standardise=False, anneal=False),
        pytest.param(
            rl.SAC(**SMALL, learning_starts=16, capacity=64, batch_size=4, train_freq=3), marks=pytest.mark.slow
        ),
    ],
    ids=lambda agent: type(agent).__name__,
)
def test_an_iteration_moves_the_multipliers(agent: Any) -> None:
    """By the rate times what is beyond the limit, in units of it; the learner sees priced rewards, the score stays the world's."""
    world = Risky() if isinstance(agent, rl.A2C) else Driving(max_steps=3)
    limited = Constraint(((world.costs[0], 0.01), ("total", 0.25)), rate=0.5)
    program = AgentProgram(agent, world, learner_of(agent, world, 1), constraint=limited)

    @jax.jit
    def once(key: jax.Array) -> Any:
        state = _initial.__wrapped__(program, 1, key)
        return state.world.multipliers, program.at(state, None, None, 0)

    before, (after, sums) = once(KEY)
    assert before.tolist() == [0, 0]
    each = np.array([sums[f"cost_{kind}"] for kind in world.costs]) / sums["episodes"]
    over = [(cost - most) / max(most, cost / 10) for cost, most in ((each[0], 0.01), (each.sum(), 0.25))]
    np.testing.assert_allclose(after.world.multipliers, 0.5 * np.maximum(over, 0), rtol=1e-5)
    assert program.means(sums)["cost_" + world.costs[1]] == pytest.approx(each[1])
    priced = program.priced(after.world, jnp.array(1.0), jnp.eye(len(world.costs))[0])
    total = float(after.world.multipliers.sum())
    assert float(priced) == pytest.approx((1 - total) / (1 + total), abs=1e-5)


def test_pupil_and_expert_take_turns() -> None:
    """With β = 1 the expert acts, and it is cloning; with β = 0 the pupil acts; what is stored is always the expert's action."""
    world = Risky()
    pupil = rl.DAgger(**SMALL, learning_starts=16, capacity=32, batch_size=4, train_freq=1, gradient_steps=1)
    assert from_json(to_json(pupil)) == pupil
    program = AgentProgram(pupil, world, learner_of(pupil, world, 1))

    @jax.jit
    def once(key: jax.Array) -> Any:
        state = _initial.__wrapped__(program, 1, key)
        envs = state.world.envs
        did = [pupil.replace(beta=beta).explore(world, state, envs, 0, None, key)[0] for beta in (0.0, 1.0)]
        after, _ = program.at(state, None, None, 0)
        own = pupil.act(world, state.params, state.model_state, envs.observation, None)
        return *did, own, jax.vmap(world.expert)(envs.state), after.world.memory["replay"]

    alone, guided, own, expert, replay = once(KEY)
    assert expert.tolist() != own.tolist()
    assert alone.tolist() == own.tolist()
    assert guided.tolist() == expert.tolist()
    rows = replay.in_time_order()
    assert rows["action"].shape == (3, 8)  # two steps of the first round, and one
    np.testing.assert_array_equal(rows["action"], rows["observation"][..., 0] > 0.5)


def test_an_agent_begins_with_a_clone() -> None:
    """Its likeliest actions are the clone's, in a network where the policy lies elsewhere; what does not fit is refused."""
    world = Risky()

    def begun(agent: Any, seed: int) -> Any:
        return jax.jit(lambda key: agent.network(world).init(key, agent.in_shape(world))[:2])(jax.random.key(seed))

    clone, learner = rl.DAgger(hidden=(4,)), rl.A2C(hidden=(4,))
    params, state = begun(clone, 1)
    params = jax.tree.map(lambda leaf: leaf + np.float32(0.3), params)
    model = trained_agent(clone, world, params, state)
    own = begun(learner, 2)
    after, moving = placed(learner, own, policy_of(model, learner, world))
    seen = jnp.linspace(-1, 1, 9)[:, None]
    numbers = clone.numbers(world, params, state, seen)
    np.testing.assert_array_equal(learner.outputs(world, after, moving, seen)["policy"], numbers)
    np.testing.assert_array_equal(after[1][1][0]["kernel"], own[0][1][1][0]["kernel"])  # the value function's
    for other, message in (
        (rl.A2C(hidden=(5,)), "its arrays are"),
        (rl.DQN(hidden=(4,)), "of another kind"),
        (rl.A2C(hidden=(4,), activation="relu"), "would act otherwise"),
    ):
        with pytest.raises(ConfigError, match=message):
            policy_of(model, other, world)
    with pytest.raises(ConfigError, match="its observation_space is"):
        policy_of(model, learner, Driving())


def test_an_expert_that_knows_more_is_no_model_to_use() -> None:
    ours, expert, rule = (Sample(np.arange(40.0) % 7 + shift, "return") for shift in (0.0, 9.0, 5.0))
    found = [dataclasses.replace(compare(ours, expert, "the expert", name="the agent"), yardstick=True)]
    assert "what can be reached" in conclusion(found, name="the agent")[1]
    found.append(compare(ours, rule, "the rule", name="the agent"))
    assert "use the rule" in conclusion(found, name="the agent")[1]


def test_a_detector_is_paid_for_its_errors() -> None:
    """By danlu's loss of detection for the boxes, and by squares for the rest; a box that fits costs less than one beside it."""
    truth = {
        "boxes": jnp.array([[[1.0, 0.0, 5.0, 4.0]], [[4.0, 0.0, 8.0, 4.0]]]),
        "labels": jnp.array([[1], [1]]),
        "numbers": jnp.array([[1.0, 0.0]] * 2),
    }
    # The first cell says (1, 0, 5, 4), surely the second class, and the other that there is nothing.
    cells = jnp.array([[0.25, 0.0, -0.405, -0.405, 9.0, -9.0, 9.0], [0.0, 0.0, 0.0, 0.0, -9.0, 0.0, 0.0]])
    cells = jnp.stack([cells[None]] * 2)  # (2, 1, 2, 7)
    outputs = {"policy": jnp.zeros((2, 2)), "cells": cells, "numbers": jnp.array([[1.0, 2.0]] * 2)}

    @jax.jit
    def both(outputs: Any, truth: Any) -> Any:
        boxes = {"boxes": truth["boxes"], "labels": truth["labels"]}
        alone = DetectionLoss(stride=STRIDE, size=SIZE)(outputs["cells"], boxes)
        paid = DetectingLoss(distribution_for(Discrete(2)), 3.0)
        return paid(outputs, {"action": jnp.zeros(2, jnp.int32), "truth": truth}), alone

    value, alone = map(np.asarray, both(outputs, truth))
    np.testing.assert_allclose(value, math.log(2) + 3 * (4 + alone), rtol=1e-6)
    assert alone[0] < 0.1
    assert alone[1] > 1


def test_cloning_learns_each_number_of_an_action() -> None:
    """The slope in a mean is its error in units of its own σ, however small another σ is; that of log σ is 0 where σ is the error."""
    loss = CloningLoss(distribution_for(Box(-1.0, 1.0, (2,))))
    numbers = jnp.array([[0.003, 0.3, math.log(0.003), math.log(0.3)]])
    slope = jax.grad(lambda numbers: loss(numbers, {"action": jnp.zeros((1, 2))}).sum())(numbers)
    np.testing.assert_allclose(slope, [[1, 1, 0, 0]], atol=1e-4)


def test_boxes_are_what_the_policy_sees() -> None:
    """The two tallest of each class that are sure enough, and where they stand; a box that moves moves them, and no gradient goes back."""
    boxes = jnp.array([[[8.0, 8.0, 12.0, 24.0], [20.0, 4.0, 24.0, 12.0], [0.0, 0.0, 4.0, 4.0], [40.0, 0.0, 44.0, 8.0]]])
    found = Detections(boxes, jnp.array([[0.9, 0.8, 0.1, 0.7]]), jnp.array([[0, 0, 0, 1]]))
    told = np.asarray(told_of(found, classes=2, most=2, sides=(48, 64), least=0.25)).reshape(2, 2, 5)
    np.testing.assert_allclose(told[0], [[1, 10 / 64, 0.5, 1 / 3, 1 / 8], [1, 22 / 64, 0.25, 1 / 6, 1 / 4]], rtol=1e-6)
    np.testing.assert_allclose(told[1], [[1, 42 / 64, 1 / 6, 1 / 6, 1 / 4], [0] * 5], rtol=1e-6)


def test_what_is_in_the_picture_is_kept_with_it() -> None:
    """The truth of the state that was seen goes into the memory, beside the expert's action; the network has a place for each part."""
    world, pupil = Shown(), rl.DAgger(**SMALL, detector=1.0)
    assert from_json(to_json(pupil)) == pupil
    envs = world.begin(KEY, 8)
    _, transition = world.advance(envs, jnp.zeros(8, jnp.int32), KEY)
    rows = pupil.kept(world, pupil.noted(world, envs, transition))
    np.testing.assert_array_equal(rows["truth"]["numbers"], 2 * envs.state)
    np.testing.assert_array_equal(rows["truth"]["boxes"][:, 0], 8 * np.repeat(envs.state, 4, axis=1))
    np.testing.assert_array_equal(rows["action"], envs.state[:, 0] > 0.5)
    network = pupil.network(world)
    shapes = jax.eval_shape(lambda key: network.init(key, (48, 64, 3))[:2], KEY)
    seen, _ = jax.eval_shape(lambda variables, x: network.apply(*variables, x), shapes, envs.observation)
    sizes = {name: leaf.shape for name, leaf in seen.items()}
    shape = jax.tree.map(lambda leaf: leaf.shape, shapes)
    learner = rl.PPO(hidden=(4,), detector=True)  # which has the same eye and policy, each in its place
    other = jax.eval_shape(lambda key: learner.network(world).init(key, (48, 64, 3))[:2], KEY)
    other = jax.tree.map(lambda leaf: leaf.shape, other)
    assert [(part[0], part[1]) for part in shape] == [(part[0], part[1][0]) for part in other]
    assert sizes == {"cells": (8, 12, 16, 7), "numbers": (8, 1), "seen": (8, 1 + 2 * 3 * 5), "policy": (8, 2)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rl.fit(rl.A2C(), "CartPole-v1", steps=10, cost_limit=1.0), "CartPole-v1 has no costs"),
        (lambda: rl.fit(rl.A2C(), Driving(), steps=10, cost_limit={"colision": 1}), "colision"),
        (lambda: Constraint.of(-1.0), "total is -1.0; expected a number of 0 or more"),
        (lambda: rl.fit(rl.DAgger(), "CartPole-v1", steps=10), "CartPole-v1 has none"),
        (lambda: rl.fit(rl.DAgger(), Driving(), steps=10, data="nowhere"), "no buffer"),
        (lambda: rl.DAgger(n_step=3), "DAgger.n_step is 3, but would not be used: rewards are not learnt from"),
        (lambda: rl.BehaviourCloning(tau=0.1), "there is no target network"),
        (lambda: rl.fit(rl.DAgger(detector=1), Driving(), steps=10), "does not say what is in a picture"),
        (lambda: rl.fit(rl.PPO(detector=True), Shown(), steps=10), "begins with, and none was given"),
        (lambda: Driving(observation="radar"), "radar"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        make()
    assert not isinstance(caught.value, AssertionError | TypeError | AttributeError)


def test_limits_as_users_write_them() -> None:
    assert Constraint.of(None) is None
    assert Constraint.of({}) is None
    assert Constraint.of(2) == Constraint((("total", 2.0),))
    assert Constraint.of({"harm": 1}).told(3.0, np.array([1.0, 5.0]), ("harm", "fuel")) == 3.0
    assert Constraint.of(2).told(3.0, np.array([1.0, 5.0]), ("harm", "fuel")) == -5e6


@pytest.mark.slow
def test_an_agent_keeps_a_limit() -> None:
    learned = rl.fit(
        rl.A2C(environments=64, n_steps=4, hidden=(8,), learning_rate=3e-3, anneal=False),
        Risky(),
        steps=120_000,
        evaluations=4,
        cost_limit={"harm": 0.3},
        display="none",
    )
    rows = learned.fitted.history[2:]
    assert np.mean([row["cost_harm"] for row in rows]) == pytest.approx(0.3, abs=0.1)
    assert np.mean([row["multiplier_harm"] for row in rows]) == pytest.approx(1.0, abs=0.3)


def test_short_name() -> None:
    assert rl.is_environment("driving")
    assert rl.make("driving", observation="camera").observation_space.shape == (48, 64, 3)
    with pytest.raises(ConfigError, match="wheels"):
        rl.make("driving", wheels=3)


def test_failures_are_told_by_kind() -> None:
    costs = {
        "collision": np.array([1.0, 0.0, 0.0, 0.0]),
        "off_lane": np.zeros(4),
        "speeding": np.array([2.0, 4.0, 0.0, 6.0]),
    }
    own = rl.Episodes(np.ones(4), np.ones(4, int), np.ones(4, bool), costs)
    assert own.frame()["speeding"].to_list() == [2, 4, 0, 6]
    told = _by_kind(Driving(), {"the agent": own, "the <expert>": own})
    assert told.count("<td>off lane</td>") == 2
    assert "the &lt;expert&gt;" in told
    assert "25 % (" in told  # of four episodes one had a collision
    assert "<td class='n'>3<" in told  # the mean cost of speeding
