"""The recipe for texts: what it decides by size, what it refuses, and that its network leaves padding out."""

import jax
import numpy as np
import pytest

from danlu.data.text import TextEncoder
from danlu.errors import ConfigError
from danlu.nn import summary
from danlu.tasks import text_recipe
from danlu.tasks.text import text_network

ENCODER = TextEncoder.fit(["good food", "bad food"] * 4)


def test_small_sets_get_small_batches_and_more_epochs():
    small, large = text_recipe("binary", 300, ENCODER), text_recipe("binary", 200_000, ENCODER)
    assert (small.batch_size, small.epochs, large.batch_size, large.epochs) == (16, 15, 128, 4)
    assert text_recipe("regression", 300, ENCODER).loss == "mse"
    assert text_recipe("multiclass", 300, ENCODER, classes=5).model.out_shape(ENCODER.in_shape) == (2, 5)
    assert text_recipe("binary", 300, ENCODER, epochs=3, width=8).epochs == 3


def test_what_it_cannot_do_is_one_message():
    with pytest.raises(ConfigError, match="ranking"):
        text_recipe("ranking", 300, ENCODER)
    with pytest.raises(ConfigError, match="speed"):
        text_recipe("binary", 300, ENCODER, speed=3)


def test_padding_and_unseen_ngrams_say_nothing():
    network = text_network(ENCODER.tokenizer.size, ENCODER.buckets, 2, width=4)
    params, state, _ = network.init(jax.random.key(0), ENCODER.in_shape)
    texts = ENCODER.transform(["good food", ""])
    outputs = np.asarray(network.apply(params, state, texts)[0])
    assert outputs.shape == (2, 2, 2)
    assert np.array_equal(outputs[0, 0], outputs[1, 0]), "vectors of n-grams start at zero"
    longer = jax.tree.map(lambda array: np.pad(array, ((0, 0), (0, 8))), texts)
    np.testing.assert_allclose(network.apply(params, state, longer)[0], outputs, atol=1e-6)
    assert summary(network, ENCODER.in_shape).parameters > ENCODER.buckets
