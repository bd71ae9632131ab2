"""Where in an image a convolutional network looks."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.nn.combine import Sequential
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["grad_cam", "split_at_maps"]


def split_at_maps(network: Layer, in_shape: Shape) -> tuple[Sequential, int]:
    """The network as a Sequential, and the number of its layers before the one that reads the last maps ``(height, width, k)``.

    Raises:
        ConfigError: a network that is no Sequential (or shorthand for one), or has no such maps.

    Example:
        >>> from danlu.nn import Conv, Dense, GlobalAveragePool
        >>> split_at_maps(Sequential((Conv(4, 3), GlobalAveragePool(), Dense(2))), (8, 8, 1))[1]
        1
    """
    expanded = network.expanded
    if not isinstance(expanded, Sequential):
        raise ConfigError(f"{type(network).__name__} is not a sequence of layers; expected a convolutional network")
    found = 0
    shape: Any = in_shape
    for index, layer in enumerate(expanded.layers):
        shape = layer.out_shape(shape)
        if isinstance(shape, tuple) and len(shape) == 3 and min(shape[:2]) > 1:
            found = index + 1
    if not 0 < found < len(expanded.layers):
        raise ConfigError("the network has no maps (height, width, channels) inside; expected a convolutional network")
    return expanded, found


def grad_cam(network: Layer, params: Params, state: State, images: Any, classes: Any = None) -> np.ndarray:
    """Grad-CAM: ``relu(Σ_k α_k A_k)`` with ``α_k = mean_ij ∂y_c/∂A_kij``, resized to the size of the images.

    ``A_k`` are the last maps before the head and ``y_c`` the logit of class ``c``: a map counts by how much the logit rises with
    it, and what speaks against the class is left out. Each image's map is divided by its largest value (all 0 stays 0).

    Args:
        network: a Sequential of layers, or shorthand for one (LeNet, ResNet, …), with one logit a class.
        images: ``(batch, height, width, channels)``, as the network takes them.
        classes: the class to explain for each image, ``(batch,)``; None is the predicted one.

    Returns:
        float32 ``(batch, height, width)`` in 0 … 1.

    Raises:
        ConfigError: a network without maps.
        DataError: images of another number of axes, a class that does not exist.

    Reference:
        Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization" (ICCV 2017), eqs. 1
        and 2. For a network that ends in a global mean and one dense layer it is the class activation map of Zhou et al. (2016).
    """
    images = jnp.asarray(images)
    if images.ndim != 4:
        raise DataError(f"grad_cam received images of shape {images.shape}; expected (batch, height, width, channels)")
    whole, cut = split_at_maps(network, images.shape[1:])
    chosen = None
    if classes is not None:
        chosen = np.asarray(classes)
        out: Any = whole.out_shape(images.shape[1:])
        units = out[-1]
        if chosen.shape != images.shape[:1] or chosen.min() < 0 or chosen.max() >= units:
            raise DataError(f"classes is {classes!r}; expected one class from 0 to {units - 1} for each image")
    return np.asarray(_maps(whole, cut, params, state, images, chosen))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _maps(whole: Sequential, cut: int, params: Any, state: Any, images: jax.Array, chosen: Any) -> jax.Array:
    body, head = Sequential(whole.layers[:cut]), Sequential(whole.layers[cut:])
    maps, _ = body.apply(params[:cut], state[:cut], images)
    logits, back = jax.vjp(lambda maps: head.apply(params[cut:], state[cut:], maps)[0], maps)
    classes = jnp.argmax(logits, axis=-1) if chosen is None else chosen
    (slopes,) = back(jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype))
    weights = jnp.mean(slopes, axis=(1, 2), keepdims=True)
    seen = jax.nn.relu(jnp.sum(weights * maps, axis=-1))
    seen = jax.image.resize(seen, images.shape[:3], "linear")
    most = jnp.max(seen, axis=(1, 2), keepdims=True)
    return (seen / jnp.where(most > 0, most, 1)).astype(jnp.float32)
