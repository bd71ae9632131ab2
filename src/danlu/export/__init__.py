"""A trained model for programs without danlu: one file of ONNX with everything in it, StableHLO, or its weights.

``danlu.export(model, path)`` is :func:`~danlu.export.export.export`.
"""

import sys as _sys
import types as _types
from typing import Any as _Any

from danlu.export.export import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]


class _Export(_types.ModuleType):
    """The room, which is called as what it is for."""

    def __call__(self, *given: _Any, **named: _Any) -> Exported:
        return export(*given, **named)


_sys.modules[__name__].__class__ = _Export
