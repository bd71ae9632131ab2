"""A trained model for programs without danlu: one file of ONNX with everything in it, StableHLO, or its weights."""

from danlu.export.export import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
