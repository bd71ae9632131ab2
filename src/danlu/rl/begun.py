"""An agent that begins with the policy of another: imitate first, then learn from rewards."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError
from danlu.rl.agent import Agent
from danlu.rl.environment import Environment

__all__ = ["placed", "policy_of"]

_ASKED = 8  # observations


def _at(tree: Any, path: tuple[int | str, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def _put(tree: Any, path: tuple[int | str, ...], value: Any) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(tree, dict):
        return {**tree, step: _put(tree[step], rest, value)}
    return tuple(_put(part, rest, value) if number == step else part for number, part in enumerate(tree))


def placed(agent: Agent, variables: Any, policy: Any) -> tuple[Any, Any]:
    """The ``(params, state)`` of an agent's network with what :func:`policy_of` found in the places of its policy."""
    params, state = variables
    for path, (own, moving) in zip(agent.policy_at, policy, strict=True):
        params, state = _put(params, path, own), _put(state, path, moving)
    return params, state


def policy_of(given: Any | None, agent: Agent, env: Environment) -> list[tuple[Any, Any]] | None:
    """The variables of a trained agent's policy, for another agent to begin with; what else it has, such as values, begins anew.

    They must fit the agent's network, and mean the same there: its likeliest actions are then those of the trained agent.

    Args:
        given: the trained agent's model, or None of an agent that begins with nothing.

    Returns:
        ``(params, state)`` for each place of :attr:`Agent.policy_at`; None for None.

    Raises:
        ConfigError: no agent, other observations or actions, or a network of another size or kind; none for an agent that needs one.

    Example:
        >>> from danlu import rl
        >>> how = {"evaluations": 1, "episodes": 1, "display": "none"}
        >>> first = rl.fit(rl.A2C(hidden=(4,), environments=2, n_steps=4), "CartPole-v1", steps=8, **how)
        >>> [len(jax.tree.leaves(part)) for part in policy_of(first.model, rl.PPO(hidden=(4,)), first.env)]
        [3, 4]
    """
    name = type(agent).__name__
    if given is None:
        if agent.needs_policy:
            raise ConfigError(
                f"{name} with a detector sees by that of a policy that it begins with, and none was given",
                hint="danlu train driving agent.algorithm=dagger agent.settings.detector=1 agent.environment.observation=camera "
                "trains one; then add --from RUN",
            )
        return None
    head = given.head
    if not isinstance(getattr(head, "agent", None), Agent):
        raise ConfigError(f"an agent was to begin with the policy of a model for {head.task}; expected a trained agent")
    other, was = head.agent, type(head.agent).__name__
    for what in ("observation_space", "action_space"):
        here, there = getattr(env, what), getattr(head.env, what)
        if here != there:
            raise ConfigError(
                f"{name} cannot begin with that policy: its {what} is {there}; that of {env.id} is {here}"
            )
    hint = (
        f"a policy of {was} fits {was}; one of DAgger, A2C or PPO fits A2C and PPO with the same agent.settings.hidden and, of a "
        "policy with a detector, agent.settings.detector=true"
    )
    if len(agent.policy_at) != len(other.policy_at) or not agent.policy_at:
        raise ConfigError(f"{name} cannot begin with the policy of {was}, whose network is of another kind", hint=hint)
    policy = [(_at(given.params, path), _at(given.state, path)) for path in other.policy_at]

    def begun() -> Any:
        params, state, _ = agent.network(env).init(jax.random.key(0), agent.in_shape(env))
        return params, state

    shapes = jax.eval_shape(begun)
    own = [(_at(shapes[0], path), _at(shapes[1], path)) for path in agent.policy_at]
    sizes, wanted = (_sizes(each) for each in (policy, own))
    if sizes != wanted or str(jax.tree.structure(policy)) != str(jax.tree.structure(own)):
        raise ConfigError(
            f"{name} cannot begin with the policy of {was}: its arrays are {sizes}; expected {wanted}", hint=hint
        )

    @jax.jit
    def leant(policy: Any, variables: Any, key: jax.Array) -> Any:
        """What both do, and how likely it is to them."""
        seen = jax.vmap(env.observation_space.sample)(jax.random.split(key, _ASKED))
        pairs: tuple[Any, ...] = ((agent, placed(agent, begun(), policy)), (other, variables))
        return [
            (who.act(env, *own, seen, None), who.describe(env, *own, seen).get("probabilities")) for who, own in pairs
        ]

    ours, theirs = leant(policy, (given.params, given.state), jax.random.key(1))
    if not all(jax.tree.leaves(jax.tree.map(lambda one, two: np.allclose(one, two, atol=1e-3), ours, theirs))):
        raise ConfigError(
            f"{name} would act otherwise than {was} with the same policy; expected a network with the same activations",
            hint=hint,
        )
    return policy


def _sizes(policy: Any) -> str:
    return ", ".join("×".join(map(str, leaf.shape)) or "1" for leaf in jax.tree.leaves(policy))
