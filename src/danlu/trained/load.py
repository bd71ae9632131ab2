"""A trained model from disk: one way for every kind.

The artifact holds the four parts: ``schema`` (the fields of a row), ``encoder`` and ``head`` as plain data with arrays of their own, and
the network. Models of the format versions 1 and 2 had a layout for each kind; their domain says what their head was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from danlu.artifact import Artifact
from danlu.data.seen import seen_from
from danlu.errors import ArtifactError, ConfigError, DanluError, DataError, first_line
from danlu.evaluate.histograms import profile_from
from danlu.evaluate.kept import kept_from
from danlu.trained.head import Head
from danlu.trained.save import KEPT, PROFILE, SEEN
from danlu.trained.together import Encoders, Mean
from danlu.trained.trained import Trained

__all__ = ["Parts", "check_variables", "load"]


class Parts(Protocol):
    """The classes that a kind of model is made of, as a domain names them."""

    @property
    def kind(self) -> str: ...
    @property
    def encoder(self) -> Any: ...
    @property
    def head(self) -> type[Head]: ...

    def old_encoder(self, artifact: Artifact) -> Any:
        """The encoder of a model of format version 1 or 2, in the form of today's ``state``."""
        ...

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head of a model of format version 1 or 2, in the form of today's ``state``."""
        ...


def load(artifact: Artifact, parts: Parts, reader: Any = None) -> Trained:
    """The model that :func:`danlu.trained.save.save` wrote.

    Args:
        parts: the classes of its kind.
        reader: what reads files for it.

    Raises:
        ArtifactError: its description does not fit its arrays, or is damaged.
    """
    try:
        described = artifact.encoder if artifact.head is not None else parts.old_encoder(artifact)
        described = described if isinstance(described, Mapping) else {}
        if "each" in described:  # of several models that are one
            encoder = Encoders.from_states(parts.encoder, described, artifact.encoder_arrays)
        else:
            encoder = parts.encoder.from_state(described, artifact.encoder_arrays)
        told, arrays = (artifact.head, artifact.head_arrays) if artifact.head is not None else parts.old_head(artifact)
        of = parts.head.kind if not isinstance(told, Mapping) else told.get("kind", parts.head.kind)
        if not isinstance(told, Mapping) or of not in (parts.head.kind, Mean.kind):
            raise ArtifactError(f"the saved model is damaged: its head is {str(told)[:80]!r}")
        is_mean = of == Mean.kind
        head = Mean.from_states(parts.head, told, arrays) if is_mean else parts.head.from_state(told, arrays)
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
            seen_from(artifact.files[SEEN]) if SEEN in artifact.files else None,
            kept_from(artifact.files[KEPT]) if KEPT in artifact.files else {},
            profile_from(artifact.files[PROFILE]) if PROFILE in artifact.files else (),
        )
    except DanluError:
        raise
    except Exception as error:  # a hostile document may be wrong in any way it likes
        raise ArtifactError(f"the saved model is damaged: {type(error).__name__}: {str(error)[:200]}") from error
    check_variables(trained.network, trained.in_shape, trained.params, trained.state)
    return trained


def check_variables(network: Any, in_shape: Any, params: Any, state: Any) -> None:
    """Refuse a blueprint whose parameters have other shapes than the saved arrays.

    Raises:
        ArtifactError: see above.
    """
    try:
        expected = jax.eval_shape(lambda: network.init(jax.random.key(0), in_shape)[:2])
    except (ConfigError, DataError, TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(f"the saved blueprint does not fit its inputs: {first_line(error)}") from error
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
