"""Every public optimizer of optax is run as what it is, or refused by name."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from danlu import nn, optim
from danlu.engine import fit, fit_population
from danlu.engine.build import build_program
from danlu.engine.options import FitOptions
from danlu.engine.sources import as_source
from danlu.errors import ConfigError

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = (X @ np.float32([1, 2, 3])).astype(np.float32)
MODEL = nn.Sequential((nn.Dense(4, "tanh"), nn.Dense(1)))
DATA = as_source((X, Y), batch_size=32, seed=0)
C = optax.contrib

NOT_OPTIMIZERS = {
    "apply_if_finite", "apply_updates", "assignment", "chain", "flatten", "freeze", "lookahead", "masked",
    "multi_transform", "named_chain", "partition", "selective_transform", "conditionally_mask", "inject_hyperparams",
    "conditionally_transform", "inject_stateful_hyperparams", "with_extra_args_support", "nnls",
    "optimistic_adam",  # deprecated for its second version
}  # fmt: skip
MADE: dict[str, Any] = {
    "noisy_sgd": lambda: optax.noisy_sgd(0.01, key=jax.random.key(0)),
    "polyak_sgd": optax.polyak_sgd,
    "lookahead": lambda: optax.lookahead(optax.sgd(0.01), 5, 0.5),
    "MultiSteps": lambda: optax.MultiSteps(optax.sgd(0.01), 2),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.sgd(0.01), 2),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(0.01),
    "partition": lambda: optax.partition({"a": optax.sgd(0.01)}, lambda p: jax.tree.map(lambda _: "a", p)),
    "scale_by_backtracking_linesearch": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
    ),
    "contrib.dpsgd": lambda: C.dpsgd(0.01, 1.0, 1.0, key=jax.random.key(0)),
    "contrib.galore": lambda: C.galore(0.01, rank=1),
    "contrib.mechanize": lambda: C.mechanize(optax.sgd(0.01)),
    "contrib.normalize": lambda: optax.chain(C.normalize(), optax.sgd(0.01)),
    "contrib.reduce_on_plateau": lambda: optax.chain(optax.adam(0.01), C.reduce_on_plateau()),
    "contrib.sam": lambda: C.sam(optax.sgd(0.01), optax.chain(C.normalize(), optax.sgd(0.05))),
    "contrib.schedule_free": lambda: C.schedule_free(optax.sgd(0.01), 0.01),
    "contrib.differentially_private_aggregate": lambda: C.differentially_private_aggregate(
        1.0, 1.0, key=jax.random.key(0)
    ),
}
REFUSED = {
    "lookahead": "two sets of parameters",
    "contrib.dpsgd": "the gradient of each row",
    "contrib.differentially_private_aggregate": "the gradient of each row",
    "contrib.sam": "adversarial points",
    "contrib.schedule_free": "schedule_free_eval_params",
    "contrib.schedule_free_adamw": "schedule_free_eval_params",
    "contrib.schedule_free_sgd": "schedule_free_eval_params",
}


def _public() -> dict[str, Any]:
    """Every function of optax and optax.contrib that makes an optimizer from a learning rate, or from nothing, and those above."""
    found = dict(MADE)
    for prefix, module in (("", optax), ("contrib.", C)):
        for name in dir(module):
            make = getattr(module, name)
            if name.startswith("_") or name in NOT_OPTIMIZERS or prefix + name in MADE or not inspect.isfunction(make):
                continue
            parameters = inspect.signature(make).parameters
            if "learning_rate" not in parameters or "params" in parameters:
                continue
            found[prefix + name] = lambda make=make: make(learning_rate=0.01)
    return found


OPTIMIZERS = _public()


def built(optimizer: Any) -> Any:
    return build_program(MODEL, DATA, loss="mse", optimizer=optimizer, metrics=(), options=FitOptions(batch_size=32))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_fits_a_step_or_is_refused_by_name(name: str) -> None:
    try:
        optimizer = OPTIMIZERS[name]()
    except TypeError:
        pytest.skip("made from more than a learning rate")
    if name in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[name]):
            built(optimizer)
    else:
        built(optimizer)


def test_the_table_holds_what_it_should() -> None:
    assert len(OPTIMIZERS) > 45
    assert {"lbfgs", "polyak_sgd", "contrib.momo", "contrib.sophia", "adam"} <= set(OPTIMIZERS)


COMMON: dict[str, Any] = {"loss": "mse", "display": "none", "epochs": 2, "batch_size": 32}


def test_polyak_sgd_is_given_the_value() -> None:
    """α = f / |∇f|², by hand over a step on all rows."""
    start = ({"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}, {})
    kwargs = COMMON | {"epochs": 1, "batch_size": 64}
    fitted = fit(nn.Dense(1), (X, Y), optimizer=optax.polyak_sgd(max_learning_rate=10.0), initial=start, **kwargs)
    gradient = -2 * np.concatenate([X.T @ Y / 64, [Y.mean()]]).astype(np.float64)
    step = np.mean(Y**2) / np.sum(gradient**2)
    np.testing.assert_allclose(fitted.params["kernel"][:, 0], -step * gradient[:3], rtol=1e-4)


SEARCH = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=8))


def test_a_line_search_is_given_the_objective() -> None:
    """The whole batch, micro-batches and penalties included; and through danlu's own wrappers the same step is found."""
    kwargs = COMMON | {"l2": 1e-2, "epochs": 3}
    plain = fit(nn.Dense(1), (X, Y), optimizer=SEARCH, **kwargs)
    wrapped = optim.by_part(optim.chain(optim.weight_decay(0.0), optim.flatten(SEARCH)), {"*": 1.0})
    other = fit(nn.Dense(1), (X, Y), optimizer=wrapped, accumulate=2, **kwargs)
    assert plain.history[-1]["loss"] < 0.1 * np.mean(Y**2)
    np.testing.assert_allclose(plain.params["kernel"], other.params["kernel"], rtol=1e-4)


def test_a_frozen_part_stays_where_it_is_in_a_search() -> None:
    start = ({"kernel": jnp.zeros((3, 1)), "bias": jnp.full(1, 5.0)}, {})
    fitted = fit(
        nn.Dense(1),
        (X, Y),
        optimizer=optim.by_part(SEARCH, {"bias": 0.0}),
        initial=start,
        **COMMON | {"epochs": 60, "batch_size": 64},
    )
    least = np.linalg.lstsq(X, Y - 5, rcond=None)[1][0] / 64
    assert float(fitted.params["bias"][0]) == 5.0
    assert least < fitted.history[-1]["loss"] < 1.01 * least < 0.8 * fitted.history[0]["loss"]


@pytest.mark.slow
def test_lbfgs_learns() -> None:
    fitted = fit(MODEL, (X, Y), optimizer=optax.lbfgs(), **COMMON)
    assert fitted.history[-1]["loss"] < 0.7 * np.mean(Y**2)


@pytest.mark.slow
def test_a_population_searches_each_member_its_line() -> None:
    members = fit_population(MODEL, (X, Y), optimizers=optax.lbfgs(), seeds=[0, 1], **COMMON)
    for seed, member in enumerate(members):
        alone = fit(MODEL, (X, Y), optimizer=optax.lbfgs(), seed=seed, **COMMON)
        np.testing.assert_allclose(member.params[1]["kernel"], alone.params[1]["kernel"], rtol=2e-3)


def test_what_changes_its_state_or_asks_for_more_is_refused() -> None:
    def update(grads: Any, state: Any, params: Any = None, *, curvature: Any) -> Any:
        return grads, state

    with pytest.raises(ConfigError, match=r"does not work in a training step: .*curvature"):
        built(optax.GradientTransformationExtraArgs(lambda params: (), update))
    with pytest.raises(ConfigError, match="structure of its state"):
        built(optax.chain(optax.sgd(0.1), optax.monitor({"norm": optax.tree.norm})))
