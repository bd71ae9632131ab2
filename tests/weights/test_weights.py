"""Other libraries' weights: the same logits from the same file, and one clear message when it does not fit."""

from __future__ import annotations

import copy
import functools
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, weights
from danlu.errors import ArtifactError, ConfigError

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file
WORDS, TIME = 11, 6


@functools.cache
def _torchvision() -> Any:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        # A torchvision built for another torch lacks its compiled operators. No ResNet uses them, but the import asks for these.
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
        import torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    return torchvision


def _stirred(model: Any) -> Any:
    """The model with nothing at its initial 0 or 1, running statistics included, and ready for use."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                spread = torch.randn_like(value)
                value.copy_(1 + 0.3 * spread.abs() if "var" in name else value + 0.1 * spread)
    return model.eval()


def _logits(net: nn.Layer, params: Any, state: Any, x: Any) -> np.ndarray:
    return np.asarray(jax.jit(net.apply)(params, state, x)[0])


def _agree(net: nn.Layer, path: Path, x: Any, theirs: Any) -> None:
    params, state = weights.load(path, net)
    ours, expected = _logits(net, params, state, x), theirs.detach().numpy()
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(ours, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@functools.cache
def _bert(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=TIME,
        num_labels=3,
    )
    return _stirred(getattr(transformers, kind)(config))


BERT = nn.BERT(WORDS, TIME, dim=8, num_layers=2, num_heads=2, hidden=12, segments=2)
BERTS = {
    "BertForSequenceClassification": (BERT.replace(head="class", outputs=3), "logits"),
    "BertForMaskedLM": (BERT.replace(head="tokens", tokens_bias=True), "logits"),
}


@pytest.mark.parametrize(
    "kind", ["BertForSequenceClassification", pytest.param("BertForMaskedLM", marks=pytest.mark.slow)]
)
def test_bert_gives_the_logits_of_transformers(kind: str, tmp_path: Path) -> None:
    theirs, (net, _) = _bert(kind), BERTS[kind]
    save_file({n: a for n, a in theirs.state_dict().items() if "decoder" not in n}, tmp_path / "model.safetensors")
    rng = np.random.default_rng(0)
    x, segments = rng.integers(0, WORDS, (2, TIME)), np.array([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
    mask = np.array([[True] * TIME, [True] * 4 + [False] * 2])
    given = {"x": jnp.asarray(x), "mask": jnp.asarray(mask), "segments": jnp.asarray(segments)}
    expected = theirs(
        torch.tensor(x), attention_mask=torch.tensor(mask.astype(int)), token_type_ids=torch.tensor(segments)
    ).logits
    params, state = weights.load(tmp_path, net)
    ours, expected = _logits(net, params, state, given), expected.detach().numpy()
    if ours.ndim == 3:  # what comes out at padding means nothing
        ours, expected = ours[mask], expected[mask]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.slow
def test_a_bert_without_segments_has_the_first_in_its_positions(tmp_path: Path) -> None:
    theirs, net = _bert("BertForSequenceClassification"), BERTS["BertForSequenceClassification"][0].replace(segments=0)
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): a for n, a in theirs.state_dict().items()}
    torch.save(old, tmp_path / "model.bin")
    x = np.random.default_rng(0).integers(0, WORDS, (3, TIME))
    _agree(net, tmp_path / "model.bin", jnp.asarray(x), theirs(torch.tensor(x)).logits)


def test_the_body_of_one_bert_goes_under_another_head(tmp_path: Path) -> None:
    theirs = _bert("BertForMaskedLM")
    save_file({n: a for n, a in theirs.state_dict().items() if "decoder" not in n}, tmp_path / "model.safetensors")
    net = BERTS["BertForSequenceClassification"][0]
    with pytest.raises(ArtifactError, match=r"(?s)missing: pooler.*head=False"):
        weights.load(tmp_path, net)
    one, _ = weights.load(tmp_path, net, head=False, key=jax.random.key(1))
    other, _ = weights.load(tmp_path, net, head=False, key=jax.random.key(2))
    table = theirs.state_dict()["bert.embeddings.word_embeddings.weight"].numpy()
    np.testing.assert_array_equal(one[0][0]["table"], table)
    assert not np.array_equal(one[-1]["kernel"], other[-1]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, one[:-3], other[:-3])


@functools.cache
def _gpt() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_positions=TIME, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return _stirred(transformers.GPT2LMHeadModel(config))


GPT = nn.GPT(WORDS, TIME, dim=8, num_layers=2, num_heads=2)


@pytest.mark.parametrize("prefix", ["transformer.", pytest.param("", marks=pytest.mark.slow)])
def test_gpt_gives_the_logits_of_transformers(prefix: str, tmp_path: Path) -> None:
    theirs = _gpt()
    arrays = {n.replace("transformer.", prefix): a.clone() for n, a in theirs.state_dict().items()}
    arrays["h.0.attn.bias"] = torch.ones(1, 1, TIME, TIME)  # the causal mask, a buffer of older files
    save_file(arrays, tmp_path / "model.safetensors")
    x = np.random.default_rng(0).integers(0, WORDS, (2, TIME))
    _agree(GPT, tmp_path / "model.safetensors", jnp.asarray(x), theirs(torch.tensor(x)).logits)
    arrays["lm_head.weight"] += 1  # a head of its own does not fit a network that shares the table
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"unexpected: lm_head\.weight"):
        weights.load(tmp_path, GPT)


@pytest.mark.parametrize("saved", ["safetensors", pytest.param("pt", marks=pytest.mark.slow)])
def test_vit_gives_the_logits_of_transformers(saved: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=8,
        patch_size=4,
        num_channels=2,
        num_labels=3,
    )
    theirs = _stirred(transformers.ViTForImageClassification(config))
    if saved == "safetensors":  # the names of files and those of state_dict() are not the same
        theirs.save_pretrained(tmp_path)
        path = tmp_path
    else:
        path = tmp_path / "model.pt"
        torch.save(theirs.state_dict(), path)
    net = nn.ViT(3, patch=4, dim=8, num_layers=2, num_heads=2, hidden=12, max_patches=5, epsilon=1e-12)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    _agree(net, path, jnp.asarray(x), theirs(torch.tensor(x.transpose(0, 3, 1, 2))).logits)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_gives_the_logits_of_torchvision(depth: int, tmp_path: Path) -> None:
    theirs = _stirred(getattr(_torchvision().models, f"resnet{depth}")(num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2)))
    _agree(nn.ResNet(5, depth), tmp_path / "resnet.pth", jnp.asarray(x), expected)


class _Block(torch.nn.Module):
    """torchvision's BasicBlock, under its names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outputs)
        self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outputs)
        if stride > 1:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False), torch.nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class _ResNet18(torch.nn.Module):
    """torchvision's ResNet-18 of another width, under its names."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        for stage in range(4):
            channels, stride = width * 2**stage, 2 if stage else 1
            blocks = (_Block(channels // stride, channels, stride), _Block(channels, channels, 1))
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
        self.fc = torch.nn.Linear(8 * width, outputs)

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


RESNET = nn.ResNet(5, width=4)


@functools.cache
def _resnet() -> Any:
    return _stirred(_ResNet18(4, 5))


def test_resnet_gives_the_logits_of_torch_with_torchvisions_names(tmp_path: Path) -> None:
    theirs = _resnet()
    save_file(theirs.state_dict(), tmp_path / "resnet.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 40, 32, 3)).astype(np.float32)
    expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2)))
    _agree(RESNET, tmp_path / "resnet.safetensors", jnp.asarray(x), expected)


def test_half_precision_becomes_float32_and_dropout_gets_its_rates(tmp_path: Path) -> None:
    arrays = {n: a.bfloat16() if a.is_floating_point() else a for n, a in _gpt().state_dict().items() if "lm" not in n}
    save_file(arrays, tmp_path / "a.safetensors")
    params, state = weights.load(tmp_path, GPT.replace(dropout=0.25))
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    table = arrays["transformer.wte.weight"].float().numpy()
    np.testing.assert_array_equal(params[0]["table"], table)
    assert {float(a) for a in jax.tree.leaves(state)} == {0.25}


def _refused(path: Path, net: nn.Layer, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        weights.load(path, net)
    for part in parts:
        assert part in str(caught.value)


def test_what_does_not_fit_is_one_message(tmp_path: Path) -> None:
    arrays = copy.copy(_resnet().state_dict())
    path = tmp_path / "resnet.safetensors"
    save_file(arrays, path)
    _refused(path, nn.ResNet(7, width=4), "fc.weight (32×5 where", "32×7", "head=False")
    params, _ = weights.load(path, nn.ResNet(7, width=4), head=False)
    assert params[6]["kernel"].shape == (32, 7)
    _refused(
        path, nn.ResNet(5, width=8), "of another shape: conv1.weight (7×7×3×4 where", "… (", "sizes of the file's model"
    )
    _refused(path, nn.ResNet(5, 34, width=4), "missing: layer1.2.conv1.weight", "sizes of the file's model")
    arrays["extra.weight"] = arrays.pop("bn1.weight")
    save_file(arrays, path)
    _refused(path, RESNET, "missing: bn1.weight; unexpected: extra.weight")


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    (tmp_path / "a.bin").write_bytes(pickle.dumps(Path("x")))
    (tmp_path / "a.npz").write_bytes(b"")
    torch.save([1, 2], tmp_path / "a.pt")
    for name, message in {
        "a.safetensors": "not a whole safetensors file",
        "a.bin": "cannot be read as weights alone",
        "a.npz": "unknown kind",
        "a.pt": "expected a state_dict",
        "none.pt": "no weights at",
    }.items():
        _refused(tmp_path / name, RESNET, message)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Dense(3), "expected one of: ResNet, GPT, BERT, ViT"),
        (GPT.replace(feed_forward="swiglu"), "laid out unlike"),
        (GPT.replace(positions="rotary", norm="rms"), "laid out unlike"),
        (BERT.replace(norm_first=True), "laid out unlike"),
    ],
)
def test_networks_of_another_kind_are_refused(net: nn.Layer, message: str, tmp_path: Path) -> None:
    save_file({n: a for n, a in _gpt().state_dict().items() if "lm" not in n}, tmp_path / "a.safetensors")
    with pytest.raises((ConfigError, ArtifactError), match=message):
        weights.load(tmp_path, net)
