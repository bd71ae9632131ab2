"""Networks of whole numbers: the affine map, products of int8, weights of 8 or 4 bits, training that feels the rounding."""

from danlu.nn.quantized.layer import Quantized, Simulated, weights_of

__all__ = ["Quantized", "Simulated", "weights_of"]
