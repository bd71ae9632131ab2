"""Models that draw as files: noise and a label to pixels, as danlu draws them, with the sampler inside."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from golden_rows import GOLDEN

from danlu import load, nn
from danlu.export.drawings import drawing
from danlu.export.functions import in_onnxruntime, onnx_of
from danlu.generative import Diffusion, Painting, RectifiedFlow
from danlu.generative.network import noise_like
from danlu.trained import Trained

pytest.importorskip("onnxruntime")


class Told(nn.Layer):
    """A network that is asked in time, as small as can be: ``x·weight + time + label``."""

    def init(self, key: Any, in_shape: Any) -> Any:
        return {"weight": jax.numpy.float32(0.3)}, {}, in_shape["x"]

    def apply(self, params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return params["weight"] * x["x"] + (x["time"] + x["label"])[:, None, None, None], state


class Encoder:
    in_shape = (2, 2, 1)


def test_a_file_draws_what_danlu_draws_for_the_same_noise() -> None:
    trained = load(GOLDEN / "painting" / "model")
    run = in_onnxruntime(onnx_of(drawing(trained), trained))
    rows = np.arange(4)
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(7), row))(rows)
    noise = np.asarray(noise_like(keys, trained.network.noise_shape(trained.in_shape)))
    found = run({"noise": noise, "label": rows % 2})["pixels"]
    own = trained.sample(4, seed=7)  # each label in turn
    assert np.abs(np.rint(255 * found) - own).max() <= 1
    assert np.abs(found - run({"noise": noise, "label": np.full(4, 2)})["pixels"]).max() > 1e-3


@pytest.mark.parametrize("kind", [Diffusion, RectifiedFlow])
def test_all_steps_of_a_sampler_are_inside(kind: Any) -> None:
    network = kind(Told(), classes=2)
    params, state, _ = network.init(jax.random.key(0), Encoder.in_shape)
    trained: Any = Trained(network, params, state, Encoder(), Painting(("no", "yes")))
    function = drawing(trained)
    (trial,) = function.tried(in_onnxruntime(onnx_of(function, trained)), [])
    assert trial.difference is not None
    assert trial.difference < 1e-5
