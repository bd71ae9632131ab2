"""What ties data, network, loss and trainer together."""

from danlu.tasks.folds import fold_numbers, folds_for
from danlu.tasks.learn import Imbalance, Learned, learn_table, plan_for
from danlu.tasks.recipe import Recipe, recipe
from danlu.tasks.table import TableModel

__all__ = [
    "Imbalance",
    "Learned",
    "Recipe",
    "TableModel",
    "fold_numbers",
    "folds_for",
    "learn_table",
    "plan_for",
    "recipe",
]
