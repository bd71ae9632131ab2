"""Loads another library's weights into a network of danlu's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ArtifactError, ConfigError
from danlu.nn.layer import Layer
from danlu.nn.transformer import BERT
from danlu.paths import leaf_paths
from danlu.weights.names import FAMILIES, Family, Row
from danlu.weights.read import read_arrays

__all__ = ["load"]


def load(
    path: str | os.PathLike[str], model: Layer, *, head: bool = True, key: jax.Array | None = None
) -> tuple[Any, Any]:
    """``(params, state)`` of ``model`` from a local file of torchvision's or Hugging Face's weights.

    ========= ========================================== ======================================================
    model     file                                       settings that a file does not tell
    ========= ========================================== ======================================================
    ResNet    torchvision's resnet18 to resnet152        –
    ViT       ViTModel, ViTForImageClassification        ``epsilon=1e-12`` (``layer_norm_eps``), ``num_heads``
    BERT      BertModel, …ForSequenceClassification,     ``segments=2``, ``num_heads``; ``tokens_bias=True`` for masked
              …ForMaskedLM                               words
    GPT       GPT2Model, GPT2LMHeadModel                 ``num_heads``
    ========= ========================================== ======================================================

    Args:
        path: see :func:`danlu.weights.read_arrays`.
        model: a ``ResNet``, ``ViT``, ``BERT`` or ``GPT`` of the file's sizes.
        head: whether the output layer is read too. With False the file may have another head or none: the network's own is drawn
            anew, as one does before fine-tuning on other classes.
        key: a PRNG key for that head; None is ``jax.random.key(0)``.

    Returns:
        ``(params, state)`` in float32, for ``model.apply`` or ``fit(initial=…)``. A BERT with ``segments=0`` gets the first
        segment's vector added to its positions, which is the same for single texts.

    Raises:
        ConfigError: a network of no family above.
        ArtifactError: a file that cannot be read, or arrays that are missing, unexpected or of another shape: all of them in one
            message.

    Example:
        >>> from danlu import nn, weights
        >>> net = nn.ResNet(10)
        >>> params, state = weights.load("resnet18.safetensors", net, head=False)  # doctest: +SKIP
    """
    family = FAMILIES.get(type(model))
    if family is None:
        raise ConfigError(
            f"weights.load received a {type(model).__name__}; expected one of: {', '.join(f.__name__ for f in FAMILIES)}",
            hint="load the network itself, and wrap it (LoRA, Ensemble) afterwards",
        )
    arrays = _canonical(family, read_arrays(path))
    rows = list(family.rows(model))
    if isinstance(model, BERT) and not model.segments:
        _fold_segments(arrays)
    templates = jax.eval_shape(lambda: _init(model, family, arrays, jax.random.key(0)))
    ours = _by_path(templates)
    _check_layout(model, rows, ours, leaf_paths(templates[0]))
    read = rows if head else [row for row in rows if not _fresh(family, row, arrays)]
    missing, wrong, turned = _turned(read, arrays, ours)
    used = {row.theirs for row in rows}
    unexpected = [n for n in arrays if n not in used and not _ignored(family, n, arrays, head=head)]
    if missing or wrong or unexpected:
        hint = _hint(family, rows, [*missing, *wrong, *unexpected])
        raise ArtifactError(_report(path, model, missing, wrong, unexpected), hint=hint)
    new = [path for path in ours if path not in turned]  # a new head, dropout's rates
    if new:
        # Only what is asked for is compiled and drawn.
        draw = jax.jit(lambda key: {path: _by_path(_init(model, family, arrays, key))[path] for path in new})
        turned |= draw(jax.random.key(0) if key is None else key)
    leaves = [[jnp.asarray(turned[path]) for path in leaf_paths(tree)] for tree in templates]
    params, state = (jax.tree.unflatten(jax.tree.structure(t), a) for t, a in zip(templates, leaves, strict=True))
    return params, state


def _init(model: Layer, family: Family, arrays: Mapping[str, np.ndarray], key: jax.Array) -> tuple[Any, Any]:
    return model.init(key, family.in_shape(arrays, model))[:2]


def _check_layout(model: Layer, rows: list[Row], ours: Mapping[str, Any], params: list[str]) -> None:
    """Settings of ours that the other library's model does not have leave arrays without a name."""
    known = {row.ours for row in rows}
    strange = [*(path for path in params if path not in known), *(row.ours for row in rows if row.ours not in ours)]
    if strange:
        raise ConfigError(
            f"this {type(model).__name__} is laid out unlike the models that can be loaded into it: {_listed(strange)}",
            hint="use the settings of the original: norms, biases, positions and pooling as the class's defaults",
        )


def _fresh(family: Family, row: Row, arrays: Mapping[str, np.ndarray]) -> bool:
    """With ``head=False``: the head, and a layer before it that the file does not have (BERT's pooler)."""
    return row.head or (row.theirs not in arrays and row.theirs.startswith(family.heads))


def _by_path(trees: Iterable[Any]) -> dict[str, Any]:
    """The leaves of params and state together; a layer names them differently."""
    return {path: leaf for tree in trees for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)}


def _canonical(family: Family, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under the names of the table: without a prefix, in one spelling."""
    found = {}
    for name, array in arrays.items():
        name = name.removeprefix(family.prefix)
        for old, new in family.renamed:
            if old.startswith("^"):
                name = new + name[len(old) - 1 :] if name.startswith(old[1:]) else name
            else:
                name = name.replace(old, new)
        found[name] = array
    return found


def _fold_segments(arrays: dict[str, np.ndarray]) -> None:
    """For a BERT without segments: every token has the first one's vector, and so has every position."""
    segments = arrays.pop("embeddings.token_type_embeddings.weight", None)
    positions = arrays.get("embeddings.position_embeddings.weight")
    if segments is not None and positions is not None and segments.shape[-1:] == positions.shape[-1:]:
        arrays["embeddings.position_embeddings.weight"] = positions + segments[0]


def _ignored(family: Family, name: str, arrays: Mapping[str, np.ndarray], *, head: bool) -> bool:
    """Buffers; an array that is there twice; and with ``head=False`` whatever output layers the file has."""
    if name.endswith(family.ignored) or (not head and name.startswith(family.heads)):
        return True
    first = dict(family.copies).get(name, "")
    return first in arrays and np.array_equal(arrays[name], arrays[first])


def _turned(
    rows: list[Row], arrays: Mapping[str, np.ndarray], templates: Mapping[str, Any]
) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
    missing, wrong, turned = [], [], {}
    for row in rows:
        if row.theirs not in arrays:
            missing.append(row.theirs)
            continue
        array, expected = row.turn(arrays[row.theirs]), templates[row.ours]
        if array.shape != expected.shape:
            wrong.append(
                f"{row.theirs} ({_text(array.shape)} where the network's {row.ours} has {_text(expected.shape)})"
            )
        turned[row.ours] = array
    return list(dict.fromkeys(missing)), wrong, turned


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


def _report(path: Any, model: Layer, missing: list[str], wrong: list[str], unexpected: list[str]) -> str:
    parts = [
        f"{label}: {_listed(names)}"
        for label, names in (("missing", missing), ("of another shape", wrong), ("unexpected", unexpected))
        if names
    ]
    return f"{Path(path).name} does not fit {type(model).__name__}; " + "; ".join(parts)


def _hint(family: Family, rows: list[Row], names: list[str]) -> str:
    heads = {row.theirs for row in rows if row.head}
    if all(name.split(" ", 1)[0] in heads or name.startswith(family.heads) for name in names):
        return "only the head differs: load(..., head=False) reads the body and draws the network's own head"
    return "give the network the sizes of the file's model (depth, dim, num_layers, vocabulary, context, patch, …)"
