"""Random changes to images in training: image by image as layers, and whole batches that are mixed."""

from danlu.nn.augment.boxes import MoveBoxes
from danlu.nn.augment.change import RandomChange
from danlu.nn.augment.choice import RandomChoice, rand_augment
from danlu.nn.augment.geometry import RandomAffine, RandomFlip, RandomMove
from danlu.nn.augment.masks import MoveMasks
from danlu.nn.augment.mix import CutMix, Mix, MixUp, OneOf
from danlu.nn.augment.pixels import RandomColor, RandomErase, Rescale

__all__ = [
    "CutMix",
    "Mix",
    "MixUp",
    "MoveBoxes",
    "MoveMasks",
    "OneOf",
    "RandomAffine",
    "RandomChange",
    "RandomChoice",
    "RandomColor",
    "RandomErase",
    "RandomFlip",
    "RandomMove",
    "Rescale",
    "rand_augment",
]
