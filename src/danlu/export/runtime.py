"""onnxruntime: a graph as the bytes of a file, and a file ready to run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from danlu.errors import ConfigError, MissingExtraError, first_line
from danlu.export.graph import Graph
from danlu.export.simplified import simplified
from danlu.nn.quantized.layer import is_whole

__all__ = ["TOLERANCE", "as_texts", "finished", "needed", "session_of", "tolerance_of"]

TOLERANCE = 1e-5
"""The greatest difference of a probability; of a quantity, over the greater of its size and the target's spread."""
WHOLE_TOLERANCE = 2e-2
"""That of a network that computes with whole numbers: where a number lies between two codes, the last digit of a real one decides, and the
answers of two correct programs are a step apart."""


def tolerance_of(network: Any) -> float:
    """The difference that is allowed for the network of a file."""
    return WHOLE_TOLERANCE if is_whole(network) else TOLERANCE


def needed() -> None:
    """Refuse where the packages are not installed.

    Raises:
        MissingExtraError: see above.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"to write ONNX the package {error.name} is needed", hint="pip install 'danlu[export]'"
        ) from error


def as_texts(plain: Mapping[str, Any]) -> dict[str, str]:
    """Plain data as a file's metadata: each a text, or JSON."""
    return {
        name: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for name, each in plain.items()
    }


def finished(graph: Graph, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of the file, once the graph has been found valid.

    Raises:
        ConfigError: it is not.
    """
    import onnx

    import danlu

    simplified(graph)
    model = graph.model("danlu", as_texts(metadata), danlu.__version__)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConfigError(f"the model cannot be written as ONNX: {first_line(error, 160)}") from error
    return bytes(model.SerializeToString())


def session_of(data: bytes) -> Any:
    """The file, ready to run on one core.

    Raises:
        ConfigError: onnxruntime refuses it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise ConfigError(f"onnxruntime cannot load the file: {first_line(error)}") from error
