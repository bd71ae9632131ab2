"""What the optimizers refuse, and what they say."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from danlu import optim
from danlu.errors import ConfigError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.sgd(-0.1), "sgd.learning_rate is -0.1; expected a number >= 0"),
        (lambda: optim.sgd("0.1"), "sgd.learning_rate is '0.1'"),
        (lambda: optim.momentum(0.1, momentum=1.0), "momentum.momentum is 1.0; expected a number >= 0 and < 1"),
        (lambda: optim.nesterov(0.1, momentum=-1), "nesterov.momentum is -1"),
        (lambda: optim.adagrad(0.1, initial_accumulator=-1), "adagrad.initial_accumulator is -1"),
        (lambda: optim.rmsprop(0.1, decay=1.0), "rmsprop.decay is 1.0"),
        (lambda: optim.adam(0.1, beta1=1.0), "adam.beta1 is 1.0"),
        (lambda: optim.adam(0.1, beta2=float("nan")), "adam.beta2 is nan"),
        (lambda: optim.adam(0.1, epsilon=0), "adam.epsilon is 0; expected a number > 0"),
        (lambda: optim.adamw(0.1, weight_decay=-1), "adamw.weight_decay is -1"),
        (lambda: optim.clip_by_value(0), "clip_by_value.limit is 0"),
        (lambda: optim.clip_by_norm(0), "clip_by_norm.max_norm is 0"),
        (lambda: optim.clip_by_global_norm(-1), "clip_by_global_norm.max_norm is -1"),
        (lambda: optim.chain(), "chain() was given nothing"),
        (lambda: optim.chain(optim.adam), "expected optimizers"),
        (lambda: optim.get_optimizer("adm"), "did you mean 'adam'"),
        (lambda: optim.get_optimizer("adam", lerning_rate=1), "did you mean 'learning_rate'"),
        (lambda: optim.hyperparameter(optim.adam().init({}), "beta3"), "unknown hyper-parameter 'beta3'"),
        (lambda: optim.set_hyperparameter(optim.sgd().init({}), "momentum", 0.5), "unknown hyper-parameter 'momentum'"),
        (lambda: optim.set_hyperparameter(optim.sgd().init({}), "learning_rate", "x"), "is 'x'"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_a_vector_sets_the_members_of_a_population() -> None:
    state = optim.chain(optim.clip_by_value(1.0), optim.adamw(0.1)).init({"w": jnp.zeros(2)})
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    members = optim.set_hyperparameter(members, "learning_rate", jnp.array([0.1, 0.2]))
    assert optim.hyperparameter(members).round(3).tolist() == pytest.approx([0.1, 0.2])
    members = optim.set_hyperparameter(members, "weight_decay", 0.5)
    assert optim.hyperparameter(members, "weight_decay").tolist() == [0.5, 0.5]


def test_every_public_name_is_in_all() -> None:
    public = {n for n, v in vars(optim).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    # The submodules `momentum` … share a name with their function; the function is what the room shows.
    assert public == set(optim.__all__)
    assert optim.__all__ == sorted(optim.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
