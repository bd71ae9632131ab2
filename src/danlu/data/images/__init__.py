"""Images: reading them from folders, lists, npz and idx files, with labels or boxes, and making them one size."""

from danlu.data.images.boxes import BoxSet, is_box_source, read_boxes
from danlu.data.images.encode import ImageEncoder
from danlu.data.images.read import ImageSet, is_image_source, read_images
from danlu.data.images.scenes import SHAPES, make_scenes, write_boxes

__all__ = [
    "SHAPES",
    "BoxSet",
    "ImageEncoder",
    "ImageSet",
    "is_box_source",
    "is_image_source",
    "make_scenes",
    "read_boxes",
    "read_images",
    "write_boxes",
]
