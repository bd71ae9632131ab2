"""What looks inside a model sees through codes, masks and copies."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

import danlu
from danlu import nn
from danlu.explain import grad_cam
from danlu.nn.quantized import weights_of

GOLDEN = Path(__file__).parent / "golden" / "version-3"


def test_what_looks_inside_sees_the_network_of_codes_as_real_numbers() -> None:
    model = danlu.load(GOLDEN / "image" / "model")
    network, params, state = model.one
    images = np.load(GOLDEN / "image" / "asked.npy")
    weights = weights_of(network, params, state, images)
    coded = nn.Quantized(network, weights)
    codes, kept = coded.adapt(params, state)
    small = dataclasses.replace(model, network=coded, params=codes, state=kept)
    found, plain, _ = small.one
    assert found == network
    seen = grad_cam(*small.one, images, np.zeros(len(images), int))
    assert seen.shape[0] == len(images)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(params), strict=True):
        assert np.abs(np.asarray(one) - np.asarray(other)).max() <= np.abs(np.asarray(other)).max() / 100
