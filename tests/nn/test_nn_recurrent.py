"""Recurrence against PyTorch and the plain loop; padding, streams, both directions, and the ready-made networks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu.errors import ConfigError, DataError
from danlu.nn import (
    GRU,
    LSTM,
    Bidirectional,
    BiLSTMClassifier,
    CharRNN,
    Dense,
    MaxOverTime,
    Parallel,
    Sequential,
    SimpleRNN,
    TextCNN,
    mask_from_lengths,
    pad,
    stream,
    summary,
)
from danlu.nn.backprop import gradient_check
from danlu.nn.losses import MSE

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
BATCH, TIME, FEATURES, UNITS = 3, 5, 4, 3
RNG = np.random.default_rng(5)
X = RNG.normal(size=(BATCH, TIME, FEATURES))
MASK = np.array([[True] * 5, [True, True, True, False, False], [False, True, False, True, True]])
CELLS = {
    "simple": SimpleRNN(UNITS),
    "relu": SimpleRNN(UNITS, activation="relu"),
    "lstm": LSTM(UNITS),
    "gru": GRU(UNITS),
}
cells = pytest.mark.parametrize("name", sorted(CELLS))


def _params(layer: Any, features: int = FEATURES) -> dict[str, np.ndarray]:
    """Random values in float64, biases too."""
    shapes = jax.eval_shape(lambda key: layer.init(key, (TIME, features))[0], jax.random.key(0))
    return {name: 0.7 * RNG.normal(size=shapes[name].shape) for name in sorted(shapes)}


def _drawn(net: Any, in_shape: Any) -> Any:
    """Random params for a network, and its state of zeros: ``init`` costs a second to compile."""
    params, state = jax.eval_shape(lambda key: net.init(key, in_shape)[:2], jax.random.key(0))
    return jax.tree.map(lambda a: jnp.asarray(0.7 * RNG.normal(size=a.shape), jnp.float32), params), jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), state
    )


def _theirs(torch: Any, layer: Any, params: dict[str, np.ndarray], **options: Any) -> Any:
    """PyTorch's module with our weights; its second bias is 0 but for the GRU's candidate."""
    kind = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[type(layer)]
    if isinstance(layer, SimpleRNN):
        options["nonlinearity"] = layer.activation
    features = params["kernel"].shape[0]
    module = kind(features, layer.units, batch_first=True, dtype=torch.float64, **options)
    _copy(torch, module, params, "l0")
    return module


def _copy(torch: Any, module: Any, params: Any, suffix: str) -> None:
    with torch.no_grad():
        getattr(module, f"weight_ih_{suffix}").copy_(torch.tensor(params["kernel"].T))
        getattr(module, f"weight_hh_{suffix}").copy_(torch.tensor(params["recurrent_kernel"].T))
        getattr(module, f"bias_ih_{suffix}").copy_(torch.tensor(params["bias"]))
        second = getattr(module, f"bias_hh_{suffix}")
        second.zero_()
        if "recurrent_bias" in params:
            second[-len(params["recurrent_bias"]) :] = torch.tensor(params["recurrent_bias"])


@cells
def test_agrees_with_pytorch(name: str, golden: Any) -> None:
    layer, params = CELLS[name], _params(CELLS[name])
    start = [RNG.normal(size=(BATCH, UNITS)) for _ in range(layer.cell.carries)]
    w, w_end = RNG.normal(size=(BATCH, TIME, UNITS)), [RNG.normal(size=(BATCH, UNITS)) for _ in start]

    def theirs(torch: Any) -> dict[str, Any]:
        module = _theirs(torch, layer, params)
        x = torch.tensor(X, requires_grad=True)
        begun = [torch.tensor(part[None], requires_grad=True) for part in start]
        y, end = module(x, tuple(begun) if len(start) == 2 else begun[0])
        end = end if len(start) == 2 else (end,)
        total = sum((e[0] * torch.tensor(v)).sum() for e, v in zip(end, w_end, strict=True))
        (total + (y * torch.tensor(w)).sum()).backward()
        return {
            "y": y, "end": torch.stack([e[0] for e in end]), "x": x.grad,
            "kernel": module.weight_ih_l0.grad.T, "recurrent_kernel": module.weight_hh_l0.grad.T,
            "bias": module.bias_ih_l0.grad, "recurrent_bias": module.bias_hh_l0.grad[-UNITS:],
            "start": torch.stack([s.grad[0] for s in begun]),
        }  # fmt: skip

    expected = golden("torch", theirs)

    def weighted(params: Any, x: Any, start: Any, w: Any, w_end: Any) -> Any:
        y, end = layer.run(params, x, tuple(start))
        total = sum(jnp.sum(e * v) for e, v in zip(end, w_end, strict=True)) + jnp.sum(y * w)
        return total, (y, end)

    run = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1, 2), has_aux=True))
    for double, tolerance in ((True, 1e-10), (False, 1e-5)):
        with jax.enable_x64(double):
            kind = jnp.float64 if double else jnp.float32
            given = jax.tree.map(lambda a, kind=kind: jnp.asarray(a, kind), (params, X, start, w, w_end))
            (_, (ours, our_end)), (d_params, d_x, d_start) = run(*given)
        assert ours.dtype == kind

        found = {"y": ours, "end": np.stack(our_end), "x": d_x, **d_params, "start": np.stack(d_start)}
        for part, array in found.items():
            np.testing.assert_allclose(array, expected[part], rtol=tolerance, atol=3 * tolerance, err_msg=part)


def _plain(layer: Any, params: Any, x: Any, carry: Any, mask: Any) -> Any:
    """The definition, for JAX to differentiate: one step after another, nothing shared with the layers' loops."""
    outputs: list[Any] = [None] * x.shape[1]

    def row(name: str) -> Any:
        return params[name][None]

    for t in reversed(range(x.shape[1])) if layer.reverse else range(x.shape[1]):
        h = carry[0]
        z, r = x[:, t] @ params["kernel"] + row("bias"), h @ params["recurrent_kernel"]
        if isinstance(layer, SimpleRNN):
            new = (jnp.tanh(z + r) if layer.activation == "tanh" else jax.nn.relu(z + r),)
        elif isinstance(layer, LSTM):
            i, f, g, o = jnp.split(z + r, 4, axis=1)
            c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            new = (jax.nn.sigmoid(o) * jnp.tanh(c), c)
        else:
            (z_r, z_u, z_n), (r_r, r_u, r_n) = jnp.split(z, 3, axis=1), jnp.split(r, 3, axis=1)
            u = jax.nn.sigmoid(z_u + r_u)
            n = jnp.tanh(z_n + jax.nn.sigmoid(z_r + r_r) * (r_n + row("recurrent_bias")))
            new = ((1 - u) * n + u * h,)
        carry = tuple(jnp.where(mask[:, t, None], a, b) for a, b in zip(new, carry, strict=True))
        outputs[t] = jnp.where(mask[:, t, None], carry[0], 0)
    return jnp.stack(outputs, axis=1), carry


@pytest.mark.parametrize(
    ("name", "reverse"),
    [("simple", True), ("relu", False), ("lstm", False), ("lstm", True), ("gru", False), ("gru", True)],
)
def test_the_hand_derived_gradient_is_that_of_the_plain_loop(name: str, reverse: bool) -> None:
    """With padding in the middle, at either end, a given carry and errors from the final one; for a population of two."""
    layer = CELLS[name].replace(reverse=reverse)
    mask = jnp.asarray(MASK)
    w, w_end = RNG.normal(size=(BATCH, TIME, UNITS)), RNG.normal(size=(BATCH, UNITS))

    def weighted(forward: Any) -> Any:
        def total(params: Any, x: Any, carry: Any) -> Any:
            y, end = forward(params, x, carry)
            return jnp.sum(y * w) + sum(jnp.sum(e * w_end) for e in end), (y, end)

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)

    def ours(params: Any, x: Any, carry: Any) -> Any:
        y, end = layer.run(params, {"x": x, "mask": mask}, carry)
        assert y["mask"] is mask
        return y["x"], end

    @jax.jit
    def both(*args: Any) -> Any:
        return jax.vmap(weighted(ours))(*args), jax.vmap(weighted(lambda *a: _plain(layer, *a, mask)))(*args)

    with jax.enable_x64(True):
        members = [
            (_params(layer), X + i, tuple(RNG.normal(size=(BATCH, UNITS)) for _ in range(layer.cell.carries)))
            for i in range(2)
        ]
        found, expected = both(*jax.tree.map(lambda *a: jnp.stack(a), *members))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), found, expected)


def test_finite_differences_through_a_padded_stack() -> None:
    net = Sequential((Bidirectional(GRU(2)), LSTM(2, return_sequences=False), Dense(1)))
    x = {"x": jnp.asarray(X), "mask": jnp.asarray(MASK)}
    params, state = _drawn(net, {"x": (TIME, FEATURES), "mask": (TIME,)})
    found = gradient_check(
        net, params, state=state, x=x, y=jnp.asarray([0.0, 1.0, -1.0]), loss=MSE(), directions=1, coordinates=1
    )
    assert found.ok, str(found)


def test_a_padded_row_is_the_row_alone() -> None:
    """Whatever the padding holds and wherever it stands, outputs and gradients are those of the real steps alone."""
    short = jnp.asarray(RNG.normal(size=(1, 3, FEATURES)), jnp.float32)
    places = np.array([[0, 1, 2], [2, 3, 4], [0, 2, 4]])
    x, mask = np.full((3, TIME, FEATURES), 1e3, np.float32), np.zeros((3, TIME), bool)
    for row, place in enumerate(places):
        x[row, place], mask[row, place] = short[0], True
    padded = {"x": jnp.asarray(x), "mask": jnp.asarray(mask)}

    def run(net: Any, params: Any, x: Any) -> Any:
        def total(params: Any) -> Any:
            y = net.apply(params, ((), ()), x)[0]
            return jnp.sum(jnp.sin(y["x"] if isinstance(y, dict) else y)), y

        return jax.value_and_grad(total, has_aux=True)(params)

    compiled = jax.jit(run, static_argnums=0)
    for net in (Bidirectional(LSTM(2)), Bidirectional(GRU(2, return_sequences=False))):
        params, _ = _drawn(net, (TIME, FEATURES))
        (_, y), gradient = compiled(net, params, padded)
        (_, alone), gradient_alone = compiled(net, params, short)
        for row, place in enumerate(places):
            if net.layer.return_sequences:
                np.testing.assert_allclose(y["x"][row, place], alone[0], atol=1e-6)
                assert not np.any(y["x"][row, ~mask[row]])
            else:
                np.testing.assert_allclose(y[row], alone[0], atol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 3 * b, rtol=1e-4, atol=1e-5), gradient, gradient_alone)


def test_a_padded_text_is_the_text_alone() -> None:
    net = TextCNN(9, 2, dim=3, filters=8, widths=(2, 5))
    params, state = _drawn(net, (6,))
    assert net.out_shape((6,)) == (2,)
    texts = [np.array([1, 2, 3], np.int32), np.array([5], np.int32)]
    padded = pad(texts, time=6)
    padded["x"][~padded["mask"]] = 8
    together = jax.jit(net.apply)(params, state, jax.tree.map(jnp.asarray, padded))[0]
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_allclose(row, jax.jit(net.apply)(params, state, text[None])[0][0], atol=1e-6)
    nothing = MaxOverTime().apply({}, {}, {"x": jnp.ones((1, 2, 3)), "mask": jnp.zeros((1, 2), bool)})[0]
    assert not nothing.any()


def test_both_directions_and_padding_agree_with_pytorch(golden: Any) -> None:
    layer, lengths = LSTM(UNITS), np.array([5, 2, 4])
    directions = [_params(layer), _params(layer)]

    def theirs(torch: Any) -> dict[str, Any]:
        module = _theirs(torch, layer, directions[0], bidirectional=True)
        _copy(torch, module, directions[1], "l0_reverse")
        pack = torch.nn.utils.rnn.pack_padded_sequence(
            torch.tensor(X), torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        packed, (h, _) = module(pack)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        return {"y": y, "last": torch.cat([h[0], h[1]], dim=1)}

    expected = golden("torch", theirs)
    with jax.enable_x64(True):
        x = {"x": jnp.asarray(X), "mask": mask_from_lengths(lengths, TIME)}
        params = jax.tree.map(jnp.asarray, tuple(directions))
        y, _ = jax.jit(Bidirectional(layer).apply)(params, ({}, {}), x)
        last, _ = jax.jit(Bidirectional(LSTM(UNITS, return_sequences=False)).apply)(params, ({}, {}), x)
    np.testing.assert_allclose(y["x"], expected["y"], atol=1e-12)
    np.testing.assert_allclose(last, expected["last"], atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_agrees_with_keras(name: str, monkeypatch: pytest.MonkeyPatch, golden: Any) -> None:
    """Keras numbers the GRU's gates u, r, n, and keeps two biases for each."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    layer, params = CELLS[name], _params(CELLS[name])

    def turned(a: np.ndarray) -> np.ndarray:
        parts = np.split(a, layer.cell.gates, axis=-1)
        return np.concatenate([parts[1], parts[0], *parts[2:]] if name == "gru" else parts, axis=-1)

    weights = [turned(params[key]) for key in ("kernel", "recurrent_kernel", "bias")]
    if name == "gru":
        weights[2] = np.stack([weights[2], np.concatenate([np.zeros(2 * UNITS), params["recurrent_bias"]])])

    def theirs(keras: Any) -> dict[str, Any]:
        with jax.numpy_rank_promotion("allow"):
            module = getattr(keras.layers, name.upper())(UNITS, return_sequences=True)
            module.build((None, TIME, FEATURES))
            module.set_weights(weights)
            return {"y": np.asarray(module(X.astype(np.float32)))}

    expected = golden("keras", theirs)["y"]
    ours, _ = layer.apply(jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params), {}, jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_stream_in_pieces_is_the_whole() -> None:
    net = CharRNN(7, dim=3, units=4, num_layers=2, cell="lstm", dropout=0.5)
    params, state = _drawn(net, (TIME,))
    assert net.out_shape((TIME,)) == (TIME, 7)
    x = jnp.asarray(RNG.integers(0, 7, (BATCH, TIME)), jnp.int32)
    whole, _ = jax.jit(net.apply)(params, state, x)
    run = jax.jit(stream, static_argnums=0)
    carry, pieces = None, []
    for start, stop in ((0, 2), (2, 5)):
        # With a mask or without: it is the same stream.
        piece = {"x": x[:, start:stop], "mask": jnp.ones((BATCH, stop - start), bool)}
        y, carry = run(net, params, state, piece if start == 2 else piece["x"], carry)
        pieces.append(y)
    np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), whole, atol=1e-6)
    assert [len(part) for part in carry] == [0, 2, 0, 2, 0, 0]


def test_generation_follows_the_network() -> None:
    net = CharRNN(6, dim=3, units=4, cell="gru")
    params, state = _drawn(net, (4,))
    prompt = jnp.asarray([[1, 2, 3, 0], [5, 5, 4, 2]])
    generate = jax.jit(net.generate, static_argnums=3, static_argnames="temperature")
    greedy = generate(params, state, prompt, 3, jax.random.key(0), temperature=0)
    known = jnp.concatenate([prompt, greedy], axis=1)
    logits = jax.jit(net.apply)(params, state, known)[0]
    np.testing.assert_array_equal(greedy, jnp.argmax(logits[:, 3:-1], axis=-1))
    # One drawn character of many rows has the distribution of the last logits.
    many = jnp.broadcast_to(prompt[:1], (4000, 4))
    drawn = np.asarray(generate(params, state, many, 1, jax.random.key(1), temperature=0.5))[:, 0]
    expected = jax.nn.softmax(logits[0, 3] / 0.5)
    np.testing.assert_allclose(np.bincount(drawn, minlength=6) / 4000, expected, atol=0.03)


def test_the_classifier_learns_from_padded_texts() -> None:
    """The class is whether the first token is one of the upper four; every sequence ends in padding but the longest."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 8, rng.integers(1, 8)) for _ in range(256)]
    x = pad([text.astype(np.int32) for text in texts])
    y = np.array([text[0] >= 4 for text in texts]).astype(np.int32)
    net = BiLSTMClassifier(8, 2, dim=4, units=6)
    fitted = danlu.fit(
        net,
        (x, y),
        loss="categorical_cross_entropy",
        optimizer=danlu.optim.adam(0.03),
        epochs=8,
        batch_size=32,
        display="none",
    )
    assert fitted.history[0]["loss"] > 0.3
    assert fitted.history[-1]["loss"] < 0.1


def test_summary_counts() -> None:
    net = CharRNN(50, dim=8, units=16, num_layers=2)
    table = summary(net, (10,))
    lstm = [(inputs + 16 + 1) * 64 for inputs in (8, 16)]
    assert table.parameters == 50 * 8 + sum(lstm) + 17 * 50
    products = 10 * 2 * (8 * 64 + 16 * 64 + 16 * 64 + 16 * 64 + 16 * 50)
    assert products < table.flops < 1.2 * products
    assert "LSTM(16)" in str(table)


def test_padding_helpers() -> None:
    padded = pad([np.ones((2, 3)), np.ones((4, 3))], time=5)
    assert padded["x"].shape == (2, 5, 3)
    np.testing.assert_array_equal(padded["mask"], mask_from_lengths([2, 4], 5))
    np.testing.assert_array_equal(padded["x"][:, :, 0], padded["mask"])


def _run(layer: Any, x: Any, carry: Any = None) -> Any:
    return layer.run(_drawn(layer, (TIME, FEATURES))[0], x, carry)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTM(0), ConfigError, "LSTM.units is 0"),
        (lambda: SimpleRNN(3, activation="gelu"), ConfigError, "SimpleRNN.activation"),
        (lambda: Bidirectional(Dense(3)), ConfigError, "expected a Recurrent"),
        (lambda: Bidirectional(LSTM(3, reverse=True)), ConfigError, "reverse=False"),
        (lambda: CharRNN(9, cell="ltsm"), ConfigError, "did you mean 'lstm'"),
        (lambda: GRU(3).init(jax.random.key(0), (5,)), DataError, r"expected \(time, features\)"),
        (lambda: _run(GRU(3), jnp.ones((2, 5, 9))), DataError, r"expected \(batch, time, 4\)"),
        (lambda: _run(GRU(3), jnp.ones((2, 4))), DataError, r"one step is \(batch, 1, features\)"),
        (lambda: _run(GRU(3), jnp.ones((2, 0, 4))), DataError, "time >= 1"),
        (lambda: _run(LSTM(3), jnp.ones((2, 5, 4)), (jnp.ones((2, 3)),)), DataError, "carry of shapes"),
        (lambda: _run(GRU(3), {"x": jnp.ones((2, 5, 4)), "mask": jnp.ones((2, 5))}), DataError, "expected bool"),
        (lambda: stream(Bidirectional(GRU(3)), (), (), X), ConfigError, "future steps"),
        (lambda: stream(GRU(3, reverse=True), (), (), X), ConfigError, "future steps"),
        (lambda: stream(Parallel((GRU(3),)), (), (), X), ConfigError, "PerToken"),
        (lambda: TextCNN(9, 2, widths=3), ConfigError, r"TextCNN.widths is 3; expected a list of whole numbers"),
        (lambda: pad([]), DataError, "expected"),
        (lambda: pad([[1, 2], [1]], time=1), DataError, "at most time=1"),
        (lambda: CharRNN(9).generate((), (), jnp.ones((1, 0), int), 3, jax.random.key(0)), DataError, "prompt"),
        (lambda: CharRNN(9).generate((), (), jnp.ones((1, 1), int), 0, jax.random.key(0)), ConfigError, "steps=0"),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
