"""What ties data, head, loss and metrics together."""

from danlu.tasks.recipe import Recipe, recipe
from danlu.tasks.table import TableTask

__all__ = ["Recipe", "TableTask", "recipe"]
