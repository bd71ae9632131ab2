"""The summary's numbers, worked by hand, and its public face."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import danlu.nn
import danlu.nn.backprop
import danlu.nn.losses
from danlu.errors import ConfigError
from danlu.nn import MLP, BatchNorm, Dense, Dropout, Embedding, Flatten, Parallel, Residual, Sequential, lift, summary


def test_numbers_by_hand() -> None:
    net = Sequential(
        (
            Parallel((Sequential((Embedding(10, 4), Flatten())), BatchNorm()), inputs=("c", "n")),
            Residual(Dense(11, "relu")),
            Dropout(0.1),
            Dense(2, use_bias=False),
        )
    )
    found = summary(net, {"c": (2,), "n": (3,)})
    by_path = {row.path: row for row in found.rows}
    assert by_path["0/c/0"].parameters == 40
    assert by_path["0/c"].out_shape == (8,)
    assert (by_path["0/n"].parameters, by_path["0/n"].bytes) == (6, 4 * (6 + 6))
    assert by_path["1/layer"].parameters == 11 * 11 + 11
    assert by_path["1/layer"].flops == 11 * (2 * 11 + 1 + 1)
    assert by_path["1"].flops == 11 * 24 + 11
    assert by_path["2"].bytes == 4
    assert by_path["3"].flops == 2 * 2 * 11
    assert found.parameters == 40 + 6 + 132 + 22
    assert found.bytes == 4 * (found.parameters + 6 + 1)
    assert found.flops == sum(row.flops or 0 for row in found.rows if row.path in ("0", "1", "2", "3"))
    params, _, _ = net.init(jax.random.key(0), {"c": (2,), "n": (3,)})
    assert found.parameters == sum(a.size for a in jax.tree.leaves(params))


def test_the_table_fits_a_terminal_and_a_notebook() -> None:
    net = Sequential((MLP((1024,) * 3, 1000, dropout=0.25), Residual(Residual(Residual(Dense(1000, "log_softmax"))))))
    found = summary(net, (1_000_000,))
    assert max(map(len, str(found).splitlines())) <= 80
    assert "1,024,001,024" in str(found)
    assert found._repr_html_().count("<tr>") == len(found.rows) + 1


def test_nothing_is_allocated_and_unknown_work_is_said() -> None:
    # 4 TB of weights: only shapes can be this large here.
    assert summary(Dense(1_000_000), (1_000_000,)).bytes > 4e12
    net = Sequential((lift(lambda key, shape: jnp.zeros(shape), lambda p, x: x * p[None]), Dense(2)))
    found = summary(net, (3,))
    assert found.flops is None
    assert "an unknown number of FLOPs" in str(found)


def test_an_input_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="shortcut"):
        summary(Residual(Dense(3)), (4,))


@pytest.mark.parametrize("module", [danlu.nn, danlu.nn.losses, danlu.nn.backprop])
def test_public_names_are_exact(module: object) -> None:
    listed = module.__all__  # type: ignore[attr-defined]
    assert len(set(listed)) == len(listed)
    assert all(hasattr(module, name) for name in listed)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("danlu.nn")
    }
    assert public <= set(listed)
