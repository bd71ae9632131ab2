"""Why a network answers as it does: which inputs, and which places of an image, its score comes from."""

from danlu.explain.attention import attention_maps, cross_attention
from danlu.explain.cam import grad_cam, split_at_maps
from danlu.explain.path import Attribution, integrated_gradients

__all__ = ["Attribution", "attention_maps", "cross_attention", "grad_cam", "integrated_gradients", "split_at_maps"]
