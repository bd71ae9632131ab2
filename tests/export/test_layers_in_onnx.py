"""Every layer of nn within a graph: each operation of its trace has a fragment, and the graph computes what the layer does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.export.forest import walked
from danlu.export.graph import Graph
from danlu.export.primitives import Input, written
from danlu.export.runtime import finished, session_of

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

ROOM = Path(__file__).parents[1] / "nn"


def table(name: str) -> Any:
    """A module of the tests of nn, whose tables of layers are read."""
    if str(ROOM) not in sys.path:
        sys.path.append(str(ROOM))
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOM / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


NETS, CASES = table("test_nn_every_model"), table("test_nn_layers").CASES
EVERY = {name: (net, shape, name in NETS.WHOLE) for name, (net, shape) in NETS.NETS.items()}
EVERY |= {f"layer {name}": (case.layer, case.in_shape, case.whole) for name, case in CASES.items()}


def rows_of(shape: Any, whole: bool, rows: int) -> Any:
    random = np.random.default_rng(rows)

    def one(path: Any, sizes: tuple[int, ...]) -> np.ndarray:
        name = path[-1].key if path else ""
        if "mask" in name:
            found = np.ones((rows, *sizes), bool)
            found[..., -1] = random.random((rows, *sizes[:-1])) < 0.5
            return found
        if whole or name == "categorical":
            return random.integers(0, 4, (rows, *sizes)).astype(np.int32)
        return random.normal(size=(rows, *sizes)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(one, shape, is_leaf=lambda each: isinstance(each, tuple))


def compare(name: str) -> None:
    """The outputs of a layer's graph beside its own, for several rows and for one."""
    layer, shape, whole = EVERY[name]
    params, state, _ = layer.init(jax.random.key(0), shape)
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 if leaf.ndim == 1 and leaf.dtype == jnp.float32 else leaf, state
    )  # of norms
    graph, inner, some = Graph(), walked(layer), rows_of(shape, whole, 3)
    names = iter(range(99))
    given = jax.tree.map(
        lambda x: Input(graph.input(f"x{next(names)}", x.dtype, ("rows", *x.shape[1:])), x.dtype, x.shape[1:]), some
    )
    found = jax.tree.leaves(written(graph, lambda x: inner.apply(params, state, x, train=False)[0], given))
    for place, each in enumerate(found):
        graph.output(f"y{place}", each.name, each.dtype, ["rows", *each.shape[1:]])
    session = session_of(finished(graph, {}))
    asked = {each.name for each in session.get_inputs()}
    for rows in (some, jax.tree.map(lambda x: x[:1], some)):
        feed = {f"x{place}": leaf for place, leaf in enumerate(jax.tree.leaves(rows)) if f"x{place}" in asked}
        own = jax.tree.leaves(layer.apply(params, state, rows, train=False)[0])
        for a, b in zip(session.run(None, feed), own, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["layer dense", "layer batch norm", "layer conv transpose"])
def test_some_layers_compute_what_they_do(name: str) -> None:
    compare(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_layer_computes_what_it_does(name: str) -> None:
    compare(name)
