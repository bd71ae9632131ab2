"""What other libraries call the arrays of danlu's networks: one table a family.

Each row maps one of our arrays to one of theirs, with the change of layout. Paths of ours are those of :mod:`danlu.paths`, in the params or
(running statistics) in the state of the network written out (``net.expanded``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from danlu.nn.attention.positions import LearnedPositions
from danlu.nn.attention.sequence import PerToken
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer
from danlu.nn.norm import LayerNorm
from danlu.nn.transformer import BERT, GPT, ClassToken, Segments, Tied, TransformerBlock, ViT
from danlu.nn.vision import ResNet

__all__ = ["FAMILIES", "Family", "Row"]

Turn = Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """One array: its path of ours, its name of theirs, how theirs becomes ours; ``head``: whether it is the output layer's."""

    ours: str
    theirs: str
    turn: Turn
    head: bool = False


Rows = Iterator[Row]


class Family(NamedTuple):
    """The layout of one kind of model.

    Attributes:
        rows: the table for a network.
        in_shape: the shape of an example, from the file's arrays (under canonical names) and the network.
        prefix: what some files put in front of the body's names.
        renamed: spellings of other versions, and what they are here.
        ignored: ends of names that hold no weights: buffers.
        copies: names under which some files hold an array a second time, and the first.
        heads: beginnings of the names of output layers, of which a file may have others than the network.
    """

    rows: Callable[[Any], Rows]
    in_shape: Callable[[Mapping[str, np.ndarray], Any], tuple[int, ...]]
    prefix: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    heads: tuple[str, ...] = ()


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _transposed(array: np.ndarray) -> np.ndarray:
    """PyTorch's linear layers hold ``(outputs, inputs)``."""
    return array.T


def _kernel(array: np.ndarray) -> np.ndarray:
    """PyTorch's convolutions hold ``(outputs, inputs, height, width)``."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _patches(array: np.ndarray) -> np.ndarray:
    """A convolution over patches as the matrix that it is: rows are a patch's pixels, row by row, channels last."""
    return _kernel(array).reshape(-1, array.shape[0])


def _first(array: np.ndarray) -> np.ndarray:
    """Without the leading axes of length 1."""
    return array.reshape(array.shape[-2:] if array.ndim == 3 and array.shape[1] > 1 else array.shape[-1:])


def _third(index: int) -> Turn:
    """Query, key or value from the three side by side."""

    def turn(array: np.ndarray) -> np.ndarray:
        return np.split(array, 3, axis=-1)[index] if array.shape[-1] % 3 == 0 else array

    return turn


def _linear(ours: str, theirs: str, *, names: tuple[str, str] = ("kernel", "bias"), head: bool = False) -> Rows:
    yield Row(f"{ours}/{names[0]}", f"{theirs}.weight", _transposed, head)
    yield Row(f"{ours}/{names[1]}", f"{theirs}.bias", _same, head)


def _norm(ours: str, theirs: str) -> Rows:
    yield Row(f"{ours}/scale", f"{theirs}.weight", _same)
    yield Row(f"{ours}/bias", f"{theirs}.bias", _same)


def _batch_norm(ours: str, theirs: str) -> Rows:
    yield from _norm(ours, theirs)
    yield Row(f"{ours}/mean", f"{theirs}.running_mean", _same)
    yield Row(f"{ours}/variance", f"{theirs}.running_var", _same)


def _attention(ours: str, theirs: str, output: str) -> Rows:
    for name in ("query", "key", "value"):
        yield from _linear(ours, f"{theirs}.{name}", names=(name, f"{name}_bias"))
    yield from _linear(ours, output, names=("output", "output_bias"))


def _feed_forward(ours: str, up: str, down: str) -> Rows:
    yield from _linear(ours, up, names=("up", "up_bias"))
    yield from _linear(ours, down, names=("down", "down_bias"))


def _layers(layer: Layer) -> list[Layer]:
    return [child for _, child in layer.children()]


def _resnet(net: ResNet) -> Rows:
    """torchvision: ``conv1``, ``bn1``, ``layer1`` to ``layer4``, ``fc``."""
    _, *stages, _, _ = _layers(net.expanded)
    yield Row("0/0/kernel", "conv1.weight", _kernel)
    yield from _batch_norm("0/1", "bn1")
    for s, stage in enumerate(stages, 1):
        for b, block in enumerate(_layers(stage)):
            residual: Any = _layers(block)[0]
            ours, theirs = f"{s}/{b}/0", f"layer{s}.{b}"
            convolutions = [i for i, layer in enumerate(_layers(residual.layer)) if isinstance(layer, Conv)]
            for number, index in enumerate(convolutions, 1):
                yield Row(f"{ours}/0/{index}/kernel", f"{theirs}.conv{number}.weight", _kernel)
                yield from _batch_norm(f"{ours}/0/{index + 1}", f"{theirs}.bn{number}")
            if residual.shortcut is not None:
                yield Row(f"{ours}/1/0/kernel", f"{theirs}.downsample.0.weight", _kernel)
                yield from _batch_norm(f"{ours}/1/1", f"{theirs}.downsample.1")
    yield from _linear(str(len(stages) + 2), "fc", head=True)


def _body(net: Layer) -> Iterator[tuple[str, Layer]]:
    """The layers of a Transformer in their sequence, with their paths; what wraps a layer is taken off."""
    expanded = net.expanded
    layers = expanded.children()
    if isinstance(expanded, Tied):
        yield "0", expanded.embedding
        layers = expanded.body.children()
    for index, (_, layer) in enumerate(layers):
        path = f"1/{index}" if isinstance(expanded, Tied) else str(index)
        yield (f"{path}/0", layer.layer) if isinstance(layer, PerToken) else (path, layer)


def _gpt(net: GPT) -> Rows:
    """GPT-2 of transformers; its linear layers hold ``(inputs, outputs)`` and query, key and value in one."""
    block = 0
    for path, layer in _body(net):
        if isinstance(layer, Embedding):
            yield Row(f"{path}/table", "wte.weight", _same)
        elif isinstance(layer, LearnedPositions):
            yield Row(f"{path}/table", "wpe.weight", _same)
        elif isinstance(layer, TransformerBlock):
            theirs = f"h.{block}"
            yield from _norm(f"{path}/0/0", f"{theirs}.ln_1")
            for index, name in enumerate(("query", "key", "value")):
                yield Row(f"{path}/0/1/{name}", f"{theirs}.attn.c_attn.weight", _third(index))
                yield Row(f"{path}/0/1/{name}_bias", f"{theirs}.attn.c_attn.bias", _third(index))
            yield from _norm(f"{path}/1/0", f"{theirs}.ln_2")
            for ours, name in (("0/1/output", "attn.c_proj"), ("1/1/up", "mlp.c_fc"), ("1/1/down", "mlp.c_proj")):
                yield Row(f"{path}/{ours}", f"{theirs}.{name}.weight", _same)
                yield Row(f"{path}/{ours}_bias", f"{theirs}.{name}.bias", _same)
            block += 1
        elif isinstance(layer, LayerNorm):
            yield from _norm(path, "ln_f")
        elif isinstance(layer, Dense):
            yield Row(f"{path}/kernel", "lm_head.weight", _transposed, True)


def _bert(net: BERT) -> Rows:
    """BERT of transformers, with or without one of its heads."""
    block = 0
    for path, layer in _body(net):
        if isinstance(layer, Embedding):
            yield Row(f"{path}/table", "embeddings.word_embeddings.weight", _same)
        elif isinstance(layer, Segments):
            yield Row(f"{path}/table", "embeddings.token_type_embeddings.weight", _same)
        elif isinstance(layer, LearnedPositions):
            yield Row(f"{path}/table", "embeddings.position_embeddings.weight", _same)
        elif isinstance(layer, TransformerBlock):
            theirs = f"encoder.layer.{block}"
            yield from _attention(f"{path}/0/1", f"{theirs}.attention.self", f"{theirs}.attention.output.dense")
            yield from _norm(f"{path}/0/0", f"{theirs}.attention.output.LayerNorm")
            yield from _feed_forward(f"{path}/1/1", f"{theirs}.intermediate.dense", f"{theirs}.output.dense")
            yield from _norm(f"{path}/1/0", f"{theirs}.output.LayerNorm")
            block += 1
        elif isinstance(layer, LayerNorm) and not (block and net.norm_first):
            yield from _norm(path, "cls.predictions.transform.LayerNorm" if block else "embeddings.LayerNorm")
        elif isinstance(layer, Dense) and net.head == "tokens":
            yield from _linear(path, "cls.predictions.transform.dense")
        elif isinstance(layer, Dense):
            last = layer.activation == "identity"
            yield from _linear(path, "classifier" if last else "pooler.dense", head=last)
    if net.tokens_bias:
        yield Row("2/bias", "cls.predictions.bias", _same)


def _vit(net: ViT) -> Rows:
    """ViT of transformers."""
    layers = dict(_body(net))
    dense = [path for path, layer in layers.items() if isinstance(layer, Dense)]
    yield Row(f"{dense[0]}/kernel", "embeddings.patch_embeddings.projection.weight", _patches)
    yield Row(f"{dense[0]}/bias", "embeddings.patch_embeddings.projection.bias", _same)
    block = 0
    for path, layer in layers.items():
        if isinstance(layer, ClassToken):
            yield Row(f"{path}/token", "embeddings.cls_token", _first)
        elif isinstance(layer, LearnedPositions):
            yield Row(f"{path}/table", "embeddings.position_embeddings", _first)
        elif isinstance(layer, TransformerBlock):
            theirs = f"encoder.layer.{block}"
            yield from _norm(f"{path}/0/0", f"{theirs}.layernorm_before")
            yield from _attention(f"{path}/0/1", f"{theirs}.attention.attention", f"{theirs}.attention.output.dense")
            yield from _norm(f"{path}/1/0", f"{theirs}.layernorm_after")
            yield from _feed_forward(f"{path}/1/1", f"{theirs}.intermediate.dense", f"{theirs}.output.dense")
            block += 1
        elif isinstance(layer, LayerNorm):
            yield from _norm(path, "layernorm")
    yield from _linear(dense[1], "classifier", head=True)


def _image(name: str) -> Callable[[Mapping[str, np.ndarray], Any], tuple[int, ...]]:
    """The smallest image that the network takes, with the file's channels."""

    def in_shape(arrays: Mapping[str, np.ndarray], net: Any) -> tuple[int, ...]:
        side = net.patch if isinstance(net, ViT) else 32
        channels = arrays[name].shape[1] if name in arrays and arrays[name].ndim == 4 else 3
        return side, side, channels

    return in_shape


def _token(arrays: Mapping[str, np.ndarray], net: Any) -> tuple[int, ...]:
    return (1,)


_NORMS = ((".gamma", ".weight"), (".beta", ".bias"))  # the spelling of files converted from TensorFlow

FAMILIES: Mapping[type[Layer], Family] = MappingProxyType(
    {
        ResNet: Family(_resnet, _image("conv1.weight"), ignored=(".num_batches_tracked",), heads=("fc.",)),
        GPT: Family(
            _gpt,
            _token,
            "transformer.",
            ignored=(".attn.bias", ".attn.masked_bias"),
            copies=(("lm_head.weight", "wte.weight"),),
            heads=("lm_head.", "score."),
        ),
        BERT: Family(
            _bert,
            _token,
            "bert.",
            _NORMS,
            ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
            copies=(
                ("cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"),
                ("cls.predictions.decoder.bias", "cls.predictions.bias"),
            ),
            heads=("cls.", "classifier.", "pooler.", "qa_outputs."),
        ),
        ViT: Family(
            _vit,
            _image("embeddings.patch_embeddings.projection.weight"),
            "vit.",
            # state_dict() of transformers 5, whose files keep the older spelling
            (
                ("^layers.", "encoder.layer."),
                (".attention.q_proj.", ".attention.attention.query."),
                (".attention.k_proj.", ".attention.attention.key."),
                (".attention.v_proj.", ".attention.attention.value."),
                (".attention.o_proj.", ".attention.output.dense."),
                (".mlp.fc1.", ".intermediate.dense."),
                (".mlp.fc2.", ".output.dense."),
            ),
            ignored=("embeddings.mask_token",),
            heads=("classifier.", "pooler."),
        ),
    }
)
"""The families that can be loaded, by the class of their network."""
