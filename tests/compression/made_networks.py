"""Networks with numbers as variables, for tests that train nothing."""

import jax
import numpy as np


def numbers(net, shape):
    """Variables for the network, positive so that a norm's variance is one."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda: net.init(jax.random.key(0), shape)[:2])
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes[0])
    return params, jax.tree.map(lambda leaf: rng.uniform(0.5, 1, leaf.shape).astype(leaf.dtype), shapes[1])


def answers(net, params, state, x):
    return jax.jit(lambda *given: net.apply(*given)[0])(params, state, x)
