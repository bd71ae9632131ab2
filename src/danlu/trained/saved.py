"""A trained model on disk and back: one way for every kind.

The artifact holds the four parts: ``schema`` (the fields of a row), ``encoder`` and ``head`` as plain data with arrays of their own, and
the network. Models of the format versions 1 and 2 had a layout for each kind; their domain says what their head was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from danlu.artifact import Artifact, save_artifact
from danlu.data.fields import fields_json
from danlu.data.seen import seen_bytes, seen_from
from danlu.errors import ArtifactError, ConfigError, DanluError, DataError
from danlu.evaluate.kept import kept_bytes, kept_from
from danlu.trained.head import Head
from danlu.trained.trained import Trained

__all__ = ["Parts", "load", "save"]

_SEEN, _KEPT = "seen.safetensors", "baselines.safetensors"  # files of the artifact


class Parts(Protocol):
    """The classes that a kind of model is made of, as a domain names them."""

    @property
    def kind(self) -> str: ...
    @property
    def encoder(self) -> Any: ...
    @property
    def head(self) -> type[Head]: ...

    def old_encoder(self, artifact: Artifact) -> Any:
        """What the encoder of a model of format version 1 or 2 was, as its ``state`` would tell it now."""
        ...

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the head of a model of format version 1 or 2 was, as its ``state`` would tell it now."""
        ...


def save(
    trained: Trained,
    folder: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a trained model to a folder.

    Args:
        metrics, provenance: plain data to record with it; None keeps the model's own.

    Raises:
        ArtifactError: a part that cannot be saved, or a folder that cannot be written.
    """
    encoder, encoder_arrays = trained.encoder.state()
    head, head_arrays = trained.head.state()
    return save_artifact(
        folder,
        model=trained.network,
        variables=(trained.params, trained.state),
        task={"kind": trained.kind, "name": trained.task},
        schema=fields_json(trained.fields),
        encoder=encoder,
        encoder_arrays=encoder_arrays,
        head={"kind": trained.head.kind, **head},
        head_arrays=head_arrays,
        metrics=trained.metrics if metrics is None else metrics,
        provenance=trained.provenance if provenance is None else provenance,
        files={
            **({} if trained.seen is None else {_SEEN: seen_bytes(trained.seen)}),
            **({_KEPT: kept_bytes(trained.kept)} if trained.kept else {}),
        },
    )


def load(artifact: Artifact, parts: Parts, reader: Any = None) -> Trained:
    """The model that :func:`save` wrote.

    Args:
        parts: the classes of its kind.
        reader: what reads files for it.

    Raises:
        ArtifactError: what it says of itself is not right.
    """
    try:
        described = artifact.encoder if artifact.head is not None else parts.old_encoder(artifact)
        described = described if isinstance(described, Mapping) else {}
        encoder = parts.encoder.from_state(described, artifact.encoder_arrays)
        told, arrays = (artifact.head, artifact.head_arrays) if artifact.head is not None else parts.old_head(artifact)
        if not isinstance(told, Mapping) or told.get("kind", parts.head.kind) != parts.head.kind:
            raise ArtifactError(f"the saved model is damaged: its head is {str(told)[:80]!r}")
        head = parts.head.from_state(told, arrays)
        head.check(artifact.model, encoder)
        trained = Trained(
            artifact.model,
            artifact.params,
            artifact.state,
            encoder,
            head,
            reader,
            artifact.metrics,
            artifact.provenance,
            seen_from(artifact.files[_SEEN]) if _SEEN in artifact.files else None,
            kept_from(artifact.files[_KEPT]) if _KEPT in artifact.files else {},
        )
    except DanluError:
        raise
    except Exception as error:  # a hostile document may be wrong in any way it likes
        raise ArtifactError(f"the saved model is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    check_variables(trained.network, trained.in_shape, trained.params, trained.state)
    return trained


def check_variables(network: Any, in_shape: Any, params: Any, state: Any) -> None:
    """Refuse a blueprint whose parameters would have other shapes than the arrays that came with it.

    Raises:
        ArtifactError: see above.
    """
    try:
        expected = jax.eval_shape(lambda key: network.init(key, in_shape)[:2], jax.random.key(0))
    except (ConfigError, DataError, TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"the saved blueprint does not fit its inputs: {str(error).splitlines()[0][:200]}"
        ) from error
    for name, want, have in zip(("params", "state"), expected, (params, state), strict=True):
        expected_tree, found_tree = jax.tree.structure(want), jax.tree.structure(have)
        if expected_tree != found_tree:  # type: ignore[operator]
            raise ArtifactError(f"the saved blueprint has other {name} than the arrays that came with it")
        leaves = zip(jax.tree_util.tree_leaves_with_path(want), jax.tree.leaves(have), strict=True)
        for (path, leaf), array in leaves:
            if leaf.shape != np.shape(array):
                raise ArtifactError(
                    f"the saved blueprint expects {name}{jax.tree_util.keystr(path)} of shape {leaf.shape}; the array "
                    f"has {np.shape(array)}",
                    hint="was model.json changed by hand? save the model again",
                )
