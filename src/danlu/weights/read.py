"""The arrays of a local file, by the names in it. No code is run and nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import ArtifactError, MissingExtraError

__all__ = ["read_arrays"]

_TORCH = (".pt", ".pth", ".bin")


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array in a file of weights, by name.

    Args:
        path: a ``.safetensors`` file; a folder of them (the parts of one model); or a ``.pt``, ``.pth`` or ``.bin`` file of PyTorch's,
            which needs torch. The latter are pickles: torch reads them with ``weights_only=True``, which builds arrays and
            containers and runs no code. Prefer safetensors where there is a choice.

    Returns:
        NumPy arrays; floating-point ones as float32.

    Raises:
        ArtifactError: no such file, an unknown kind of file, a damaged one, or one that holds something else.
        MissingExtraError: a file of PyTorch's without torch.
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ArtifactError(f"there are no weights at {path}", hint="give a .safetensors file, or a folder of them")
    found: dict[str, np.ndarray] = {}
    for file in files:
        if file.suffix == ".safetensors":
            pairs = _safetensors(file)
        elif file.suffix in _TORCH:
            pairs = _torch(file)
        else:
            raise ArtifactError(f"{file} is of an unknown kind; expected .safetensors or one of {', '.join(_TORCH)}")
        for name, array in pairs:
            floating = np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"
            found[name] = np.asarray(array, np.float32) if floating else array
    return found


def _safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    import ml_dtypes  # noqa: F401  (makes bfloat16 a type of NumPy's)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} is not a whole safetensors file: {error}") from error


def _torch(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        import torch
    except ImportError:
        raise MissingExtraError(
            f"{path} is a file of PyTorch's, and torch is not installed",
            hint="pip install torch, or convert the file to safetensors where torch is",
        ) from None
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or a forbidden pickle
        raise ArtifactError(
            f"{path} cannot be read as weights alone: {(str(error).splitlines() or [''])[0]}",
            hint="save model.state_dict(), not the model; danlu runs no code from a file",
        ) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ArtifactError(f"{path} holds a {type(loaded).__name__}; expected a state_dict of tensors")
    for name, tensor in loaded.items():
        yield str(name), tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype).numpy()
