"""Mixed precision: what is bfloat16, what stays float32, and that it learns as well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from danlu import nn, optim
from danlu.engine import FitOptions, LambdaCallback, Program, fit, step
from danlu.engine.precision import apply_in
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn.losses import CategoricalCrossEntropy

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
CNN = nn.Sequential(
    (
        nn.Rescale(),
        nn.RandomAffine(fill=-1.0),
        nn.Conv(8, 3, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool(2),
        nn.GlobalAveragePool(),
        nn.Dropout(0.1),
        nn.Dense(4),
    )
)
MODELS = {
    "mlp": (nn.MLP((32, 32), 4, norm="layer", dropout=0.1), RNG.normal(size=(64, 10)).astype(np.float32)),
    "cnn": (CNN, RNG.integers(0, 256, (64, 8, 8, 1)).astype(np.uint8)),
    "gpt": (nn.GPT(4, 6, dim=16, num_layers=1, num_heads=2), RNG.integers(0, 4, (64, 6))),
}


def leaves(tree):
    return [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(tree)]


def program_of(model, precision):
    optimizer = optim.sgd(1.0)  # so that a step is the gradient
    return Program.of(model, CategoricalCrossEntropy(), optimizer.update, precision=precision), optimizer


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    """The state, and what one step makes of it, in float32 and in bfloat16."""
    model, x = MODELS[request.param]
    params, state = jax.jit(lambda key: model.init(key, x.shape[1:])[:2])(KEY)
    out_shape = model.out_shape(x.shape[1:])
    y = jnp.asarray(RNG.integers(0, 4, (64, *out_shape[:-1])))
    batch = {"x": jnp.asarray(x), "y": y, "weight": jnp.ones(64)}
    found = {}
    for precision in ("float32", "bfloat16"):
        program, optimizer = program_of(model, precision)
        start = TrainState(jnp.int32(0), KEY, params, state, optimizer.init(params), {})
        after, sums = jax.jit(step, static_argnums=0)(program, start, batch)
        found[precision] = (start, after, sums, jax.tree.map(np.subtract, start.params, after.params))
    return model, batch, found


def test_gradients_are_close(pair):
    _, _, found = pair
    exact, rounded = (np.concatenate([g.ravel() for g in leaves(found[name][3])]) for name in found)
    error = np.linalg.norm(exact - rounded) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.03, "bfloat16 has 8 bits: errors of half a per cent a product"
    loss, other = (float(found[name][2]["loss"]) for name in found)
    assert abs(loss - other) < 0.01 * abs(loss)


def test_the_state_stays_float32(pair):
    _, _, found = pair
    start, after, sums, _ = found["bfloat16"]
    kinds = [[leaf.dtype for leaf in jax.tree.leaves(tree) if leaf.dtype != KEY.dtype] for tree in (start, after)]
    assert kinds[0] == kinds[1]
    for tree in (after.params, after.model_state, {k: v for k, v in sums.items() if k != "bad_step"}):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} <= {jnp.dtype("float32")}
    for exact, rounded in zip(leaves(found["float32"][1].model_state), leaves(after.model_state), strict=True):
        np.testing.assert_allclose(rounded, exact, rtol=0.02, atol=0.02)


def test_products_are_in_bfloat16_and_the_loss_in_float32(pair):
    model, batch, found = pair
    start = found["bfloat16"][0]
    run = jax.jit(lambda x: apply_in("bfloat16", model, start.params, start.model_state, x, key=KEY)[0])
    assert jax.eval_shape(run, batch["x"]).dtype == jnp.float32
    text = run.lower(batch["x"]).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line or "stablehlo.convolution" in line]
    assert products
    assert all("bf16>, tensor" in line for line in products), "a float32 operand makes the whole product float32"
    given = (start.params, start.model_state, batch["x"])
    whole = jax.jit(lambda *of: apply_in("float32", model, *of, key=KEY)[0])(*given)
    np.testing.assert_array_equal(whole, jax.jit(lambda *of: model.apply(*of, train=True, key=KEY)[0])(*given))


@pytest.mark.parametrize("layer", [nn.BatchNorm(), nn.LayerNorm(), nn.GroupNorm(1), nn.RMSNorm()], ids=repr)
def test_statistics_far_from_zero(layer):
    """A mean of 100 with a deviation of 2, where bfloat16's steps are ½: the statistics must not add to that."""
    x = jnp.asarray(RNG.normal(100, 2, (256, 64)), jnp.bfloat16)
    params, state, _ = layer.init(KEY, (64,))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    got, after = layer.apply(half, state, x, train=True)
    expected, moved = layer.apply(params, state, x.astype(jnp.float32), train=True)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), expected, rtol=2**-8, atol=2**-8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after, moved)


def test_softmax_over_many_keys_adds_up():
    """A thousand equal weights: added up in bfloat16 they stop at 256."""
    from danlu.nn.attention.dot_product import attend

    q, k, v = (jnp.ones((1, 1, 1, t, 4), jnp.bfloat16) for t in (1, 1024, 1024))
    y = attend(q, k[:, :, 0], v[:, :, 0], None, None)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), 1.0, atol=2**-8)


def digits():
    images, labels = load_digits(return_X_y=True)
    return (images / 8 - 1).astype(np.float32), labels


def test_it_learns_as_well():
    x, y = digits()
    settings = {"loss": "categorical_cross_entropy", "metrics": ["accuracy"], "display": "none", "epochs": 12}
    found = {
        precision: fit(nn.MLP((64,), 10), (x[:1400], y[:1400]), precision=precision, learning_rate=3e-3, **settings)
        for precision in ("float32", "bfloat16")
    }
    scores = {name: fitted.evaluate((x[1400:], y[1400:])) for name, fitted in found.items()}
    assert scores["float32"]["accuracy"] > 0.9
    assert abs(scores["float32"]["accuracy"] - scores["bfloat16"]["accuracy"]) < 0.02
    assert not np.array_equal(*(leaves(found[name].params)[0] for name in found))
    assert jnp.bfloat16 not in {leaf.dtype for leaf in jax.tree.leaves(found["bfloat16"].train_state)}
    outputs = found["bfloat16"].predict(x[1400:])
    assert outputs.dtype == np.float32
    right = float(np.mean(outputs.argmax(-1) == y[1400:]))
    assert right == pytest.approx(scores["bfloat16"]["accuracy"], abs=1e-6), "judged as it predicts"


def test_resume_is_the_same_run(tmp_path):
    x, y = (part[:200] for part in digits())
    settings = {
        "loss": "categorical_cross_entropy",
        "display": "none",
        "precision": "bfloat16",
        "augment": nn.OneOf((nn.MixUp(0.4, 10), nn.MixUp(1.0, 10))),
    }
    model = nn.MLP((16,), 10, dropout=0.2)
    whole = fit(model, (x, y), epochs=4, **settings)
    halt = LambdaCallback()
    halt.on_epoch_end = lambda epoch, logs: halt.training.stop() if epoch == 1 else None
    fit(model, (x, y), epochs=4, checkpoint=tmp_path, callbacks=[halt], **settings)
    resumed = fit(model, (x, y), epochs=4, checkpoint=tmp_path, resume=True, callbacks=[LambdaCallback()], **settings)
    assert len(resumed.history) == 4
    for a, b in zip(leaves(whole.params), leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_float16_is_refused():
    with pytest.raises(ConfigError, match="precision"):
        FitOptions(precision="float16")
