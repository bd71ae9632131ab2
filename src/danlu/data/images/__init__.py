"""Images: reading them from folders, lists, npz and idx files, and making them one size."""

from danlu.data.images.encode import ImageEncoder
from danlu.data.images.read import ImageSet, is_image_source, read_images

__all__ = ["ImageEncoder", "ImageSet", "is_image_source", "read_images"]
