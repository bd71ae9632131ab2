"""Whole rows of a table as numbers that can be turned back: what models that make rows learn from and write with."""

from danlu.data.rows.cells import Cells, category_cells, number_cells
from danlu.data.rows.encoder import RowEncoder
from danlu.data.rows.fresh import Fresh
from danlu.data.rows.written import Written

__all__ = ["Cells", "Fresh", "RowEncoder", "Written", "category_cells", "number_cells"]
