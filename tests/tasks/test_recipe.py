"""The recipe: deterministic, within its budget, overridable, and able to learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.nn.table_embeddings import NumericEmbedding
from danlu.optim.schedules import Schedule
from danlu.tasks.recipe import recipe


def is_schedule(node):
    return isinstance(node, Schedule)


def test_same_table_same_recipe_and_json():
    plan = recipe("multiclass", 5000, numeric=6, vocabularies=[4, 90], classes=5)
    assert plan == recipe("multiclass", 5000, numeric=6, vocabularies=(4, 90), classes=5)
    assert from_json(to_json(plan)) == plan
    assert plan.model.units == 5


@pytest.mark.parametrize("rows", [1, 30, 64, 1000, 50_000, 2_000_000])
@pytest.mark.parametrize("numeric", [1, 500])
def test_sizes_within_bounds(rows, numeric):
    plan = recipe("regression", rows, numeric=numeric)
    assert 1 <= plan.batch_size <= min(rows, 256)
    assert 8 <= plan.epochs <= 225
    assert plan.model.numeric.dim * numeric <= 1200
    spent = 3 * plan.model.flops({"numeric": (numeric,)}) * rows * plan.epochs
    assert spent <= 3.5e12 or plan.epochs == 8 or rows < 5000


def test_any_field_can_be_set():
    plan = recipe("binary", 500, numeric=2, epochs=3, learning_rate=1e-3)
    assert (plan.epochs, plan.learning_rate, plan.model.units) == (3, 1e-3, 2)


def test_few_rows_are_learnt_without_waves_and_for_long():
    few, more, many = (recipe("binary", rows, numeric=2, folds=5) for rows in (1999, 9999, 10_000))
    assert [plan.model.numeric.frequencies for plan in (few, more, many)] == [0, 0, 16]
    assert [plan.flat for plan in (few, more, many)] == [0.5, 0.5, 0]
    assert few.epochs * 8 >= 900  # 8 batches an epoch
    assert few.patience == few.epochs // 3
    assert recipe("binary", 500, numeric=2, folds=5, epochs=300).patience == 100
    assert recipe("binary", 500, numeric=2, folds=5, patience=7).patience == 7


def test_the_rate_rises_stays_and_falls():
    plan = recipe("binary", 500, numeric=2, folds=5, epochs=50)
    batches = -(-400 // plan.batch_size)
    state = plan.optimizer(400).init(plan.initial(jax.random.key(0), {"numeric": np.zeros((8, 2), np.float32)})[0])
    [schedule] = [leaf for leaf in jax.tree.leaves(state, is_leaf=is_schedule) if is_schedule(leaf)]
    steps = 50 * batches
    rates = [float(schedule(jnp.int32(step))) / plan.learning_rate for step in range(steps + 1)]
    assert rates[0] == 0
    assert rates[steps // 20 : steps // 20 + steps // 2] == pytest.approx([1] * (steps // 2))
    assert rates[steps * 9 // 10] < 0.2
    assert rates[steps] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("sorting", 10), {"numeric": 1}),
        (("binary", 0), {"numeric": 1}),
        (("binary", 10), {}),
        (("binary", 10), {"numeric": 1, "epoch": 3}),
        (("binary", 10), {"numeric": 1, "epochs": 0}),
    ],
)
def test_refusals(arguments, settings):
    with pytest.raises(ConfigError):
        recipe(*arguments, **settings)


def test_learns_a_step_that_no_line_fits():
    x = np.linspace(-2, 2, 128, dtype=np.float32)[:, None]
    y = jnp.asarray(np.abs(x[:, 0]) > 1, jnp.float32)
    plan = recipe("regression", 128, numeric=1, epochs=40)
    plan = plan.replace(model=plan.model.replace(members=2, width=16, dropout=0.0, numeric=NumericEmbedding(4, bins=8)))
    params, state = plan.initial(jax.random.key(0), {"numeric": x})
    optimizer = plan.optimizer(128)
    opt_state = optimizer.init(params)

    def loss(params):
        outputs, _ = plan.model.apply(params, state, {"numeric": x})
        return jnp.mean((outputs[..., 0] - y[:, None]) ** 2)

    @jax.jit
    def step(params, opt_state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(jnp.add, params, updates), opt_state, value

    for _ in range(160):
        params, opt_state, value = step(params, opt_state)
    assert value < 0.05  # the best line leaves the variance, 0.25
