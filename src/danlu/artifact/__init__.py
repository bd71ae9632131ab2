"""The saved model (JSON + safetensors, no code) and the run directory."""

from danlu.artifact.artifact import FORMAT_VERSION, Artifact
from danlu.artifact.load import load_artifact
from danlu.artifact.run import RunDirectory
from danlu.artifact.save import save_artifact
from danlu.artifact.signing import sign
from danlu.artifact.tree import flatten_tree, tree_structure, unflatten_tree
from danlu.files import write_atomic

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "RunDirectory",
    "flatten_tree",
    "load_artifact",
    "save_artifact",
    "sign",
    "tree_structure",
    "unflatten_tree",
    "write_atomic",
]
