"""``danlu package``: a trained model as a folder that runs on any machine without danlu."""

from danlu.packaging.package import Packaged, package

__all__ = ["Packaged", "package"]
