"""The saved model (JSON + safetensors, no code) and the run directory."""

from danlu.artifact.artifact import FORMAT_VERSION, Artifact, load_artifact, save_artifact
from danlu.artifact.files import write_atomic
from danlu.artifact.run import RunDirectory
from danlu.artifact.tree import flatten_tree, tree_structure, unflatten_like, unflatten_tree

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "RunDirectory",
    "flatten_tree",
    "load_artifact",
    "save_artifact",
    "tree_structure",
    "unflatten_like",
    "unflatten_tree",
    "write_atomic",
]
