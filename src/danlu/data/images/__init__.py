"""Images: reading them from folders, lists, npz and idx files, with labels, boxes or masks, and making them one size."""

from danlu.data.images.boxes import BoxSet, is_box_source, read_boxes
from danlu.data.images.classes import read_classes
from danlu.data.images.encode import ImageEncoder
from danlu.data.images.files import ImageFiles
from danlu.data.images.labels import LabelSets, is_label_source, read_labels
from danlu.data.images.masks import MaskSet, is_mask_source, read_masks
from danlu.data.images.read import ImageSet, is_image_source, read_images
from danlu.data.images.scenes import SHAPES, make_scenes, write_boxes
from danlu.data.images.shapes import make_masks, write_masks
from danlu.data.images.stream import PixelStream

__all__ = [
    "SHAPES",
    "BoxSet",
    "ImageEncoder",
    "ImageFiles",
    "ImageSet",
    "LabelSets",
    "MaskSet",
    "PixelStream",
    "is_box_source",
    "is_image_source",
    "is_label_source",
    "is_mask_source",
    "make_masks",
    "make_scenes",
    "read_boxes",
    "read_classes",
    "read_images",
    "read_labels",
    "read_masks",
    "write_boxes",
    "write_masks",
]
