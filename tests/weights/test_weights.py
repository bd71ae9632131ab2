"""Other libraries' weights: the same logits from the same file, and one clear message when it does not fit."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from stand_in import StandIn

from danlu import nn, weights
from danlu.errors import ArtifactError, ConfigError

WORDS, TIME = 11, 6
STATE = "state/"


def _stirred(torch: Any, model: Any) -> Any:
    """The model with nothing at its initial 0 or 1, running statistics included, and ready for use."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                spread = torch.randn_like(value)
                value.copy_(1 + 0.3 * spread.abs() if "var" in name else value + 0.1 * spread)
    return model.eval()


def _state(model: Any) -> dict[str, Any]:
    """The arrays of a model, to be recorded beside what it answers."""
    return {STATE + name: array.clone() for name, array in model.state_dict().items()}


def _arrays(recorded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that were recorded, as a file of weights has them."""
    return {name.removeprefix(STATE): array for name, array in recorded.items() if name.startswith(STATE)}


def _logits(net: nn.Layer, params: Any, state: Any, x: Any) -> np.ndarray:
    return np.asarray(jax.jit(net.apply)(params, state, x)[0])


def _agree(net: nn.Layer, path: Path, x: Any, expected: np.ndarray) -> None:
    params, state = weights.load(path, net)
    ours = _logits(net, params, state, jnp.asarray(x))
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(ours, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch where it is installed, else what stands in for its way of saving arrays."""
    if importlib.util.find_spec("torch") is None:
        monkeypatch.setitem(sys.modules, "torch", StandIn)
    return importlib.import_module("torch")


CODES = np.random.default_rng(0).integers(0, WORDS, (2, TIME))
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
MASK = np.array([[True] * TIME, [True] * 4 + [False] * 2])
BERT = nn.BERT(WORDS, TIME, dim=8, num_layers=2, num_heads=2, hidden=12, segments=2)
BERTS = {
    "BertForSequenceClassification": BERT.replace(head="class", outputs=3),
    "BertForMaskedLM": BERT.replace(head="tokens", tokens_bias=True),
}


def _bert(golden: Any, kind: str) -> dict[str, np.ndarray]:
    def theirs(transformers: Any) -> dict[str, Any]:
        import torch

        config = transformers.BertConfig(
            vocab_size=WORDS, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
            max_position_embeddings=TIME, num_labels=3,
        )  # fmt: skip
        model, codes = _stirred(torch, getattr(transformers, kind)(config)), torch.tensor(CODES)
        mask, segments = torch.tensor(MASK.astype(int)), torch.tensor(SEGMENTS)
        logits = model(codes, attention_mask=mask, token_type_ids=segments).logits
        return {"logits": logits, "plain": model(codes).logits, **_state(model)}

    return golden("transformers", theirs, name=kind)


def _without_decoder(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if "decoder" not in name}


@pytest.mark.parametrize("kind", BERTS)
def test_bert_gives_the_logits_of_transformers(kind: str, tmp_path: Path, golden: Any) -> None:
    theirs, net = _bert(golden, kind), BERTS[kind]
    save_file(_without_decoder(_arrays(theirs)), tmp_path / "model.safetensors")
    given = {"x": jnp.asarray(CODES), "mask": jnp.asarray(MASK), "segments": jnp.asarray(SEGMENTS)}
    params, state = weights.load(tmp_path, net)
    ours, expected = _logits(net, params, state, given), theirs["logits"]
    if ours.ndim == 3:  # what comes out at padding means nothing
        ours, expected = ours[MASK], expected[MASK]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_a_bert_without_segments_has_the_first_in_its_positions(tmp_path: Path, golden: Any, torch: Any) -> None:
    kind = "BertForSequenceClassification"
    theirs, net = _bert(golden, kind), BERTS[kind].replace(segments=0)
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): a for name, a in _arrays(theirs).items()}
    torch.save({name: torch.tensor(array) for name, array in old.items()}, tmp_path / "model.bin")
    _agree(net, tmp_path / "model.bin", CODES, theirs["plain"])


def test_the_body_of_one_bert_goes_under_another_head(tmp_path: Path, golden: Any) -> None:
    arrays = _arrays(_bert(golden, "BertForMaskedLM"))
    save_file(_without_decoder(arrays), tmp_path / "model.safetensors")
    net = BERTS["BertForSequenceClassification"]
    with pytest.raises(ArtifactError, match=r"(?s)missing: pooler.*head=False"):
        weights.load(tmp_path, net)
    one, _ = weights.load(tmp_path, net, head=False, key=jax.random.key(1))
    other, _ = weights.load(tmp_path, net, head=False, key=jax.random.key(2))
    np.testing.assert_array_equal(one[0][0]["table"], arrays["bert.embeddings.word_embeddings.weight"])
    assert not np.array_equal(one[-1]["kernel"], other[-1]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, one[:-3], other[:-3])


GPT = nn.GPT(WORDS, TIME, dim=8, num_layers=2, num_heads=2)


def _gpt(golden: Any) -> dict[str, np.ndarray]:
    def theirs(transformers: Any) -> dict[str, Any]:
        import torch

        config = transformers.GPT2Config(
            vocab_size=WORDS, n_positions=TIME, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        model = _stirred(torch, transformers.GPT2LMHeadModel(config))
        return {"logits": model(torch.tensor(CODES)).logits, **_state(model)}

    return golden("transformers", theirs, name="gpt2")


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_gpt_gives_the_logits_of_transformers(prefix: str, tmp_path: Path, golden: Any) -> None:
    theirs = _gpt(golden)
    arrays = {name.replace("transformer.", prefix): array for name, array in _arrays(theirs).items()}
    arrays["h.0.attn.bias"] = np.ones((1, 1, TIME, TIME), np.float32)  # the causal mask, a buffer of older files
    save_file(arrays, tmp_path / "model.safetensors")
    _agree(GPT, tmp_path / "model.safetensors", CODES, theirs["logits"])
    arrays["lm_head.weight"] = arrays["lm_head.weight"] + 1  # a head of its own does not fit where the table is shared
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"unexpected: lm_head\.weight"):
        weights.load(tmp_path, GPT)


@pytest.mark.parametrize("saved", ["safetensors", "pt"])
def test_vit_gives_the_logits_of_transformers(saved: str, tmp_path: Path, golden: Any, torch: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)

    def theirs(transformers: Any) -> dict[str, Any]:
        config = transformers.ViTConfig(
            hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=8, patch_size=4,
            num_channels=2, num_labels=3,
        )  # fmt: skip
        model = _stirred(torch, transformers.ViTForImageClassification(config))
        found = {"logits": model(torch.tensor(x.transpose(0, 3, 1, 2))).logits}
        if saved == "pt":
            return {**found, **_state(model)}
        model.save_pretrained(tmp_path / "theirs")  # the names of files and those of state_dict() are not the same
        [file] = (tmp_path / "theirs").glob("*.safetensors")
        return {**found, **{STATE + name: array for name, array in load_file(file).items()}}

    expected = golden("transformers", theirs)
    arrays, path = _arrays(expected), tmp_path / f"model.{saved}"
    if saved == "pt":
        torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)
    else:
        save_file(arrays, path)
    net = nn.ViT(3, patch=4, dim=8, num_layers=2, num_heads=2, hidden=12, max_patches=5, epsilon=1e-12)
    _agree(net, path, x, expected["logits"])


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that need not be recorded: each name has its own, of a size that keeps a deep network's numbers small."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return noise * np.float32(np.sqrt(1.5 / np.prod(shape[1:])))
    if name.endswith("weight") or "var" in name:
        return 1 + np.float32(0.2) * np.abs(noise)
    return np.float32(0.1) * noise


def _redrawn(torch: Any, model: Any, x: np.ndarray) -> dict[str, Any]:
    """The shapes of a model's arrays, and what it answers when these are drawn by their names."""
    shapes = {name: tuple(a.shape) for name, a in model.state_dict().items() if a.is_floating_point()}
    state = {name: torch.tensor(_drawn(name, shape)) for name, shape in shapes.items()}
    model.load_state_dict(state, strict=False)
    found = {STATE + name: np.array(shape, np.int32) for name, shape in shapes.items()}
    return {**found, "logits": model.eval()(torch.tensor(x.transpose(0, 3, 1, 2)))}


def _drawn_arrays(recorded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: _drawn(name, tuple(map(int, shape))) for name, shape in _arrays(recorded).items()}


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_gives_the_logits_of_torchvision(depth: int, tmp_path: Path, golden: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)

    def theirs(torchvision: Any) -> dict[str, Any]:
        return _redrawn(__import__("torch"), getattr(torchvision.models, f"resnet{depth}")(num_classes=5), x)

    expected = golden("torchvision", theirs)
    save_file(_drawn_arrays(expected), tmp_path / "resnet.safetensors")
    _agree(nn.ResNet(5, depth), tmp_path / "resnet.safetensors", x, expected["logits"])


def _resnet18(torch: Any, width: int, outputs: int) -> Any:
    """torchvision's ResNet-18 of another width, under its names."""

    def conv(inputs: int, outputs: int, size: int, stride: int, padding: int) -> Any:
        return torch.nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)

    class Block(torch.nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, outputs, 3, stride, 1), torch.nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv(outputs, outputs, 3, 1, 1), torch.nn.BatchNorm2d(outputs)
            if stride > 1:
                self.downsample = torch.nn.Sequential(
                    conv(inputs, outputs, 1, stride, 0), torch.nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(3, width, 7, 2, 3), torch.nn.BatchNorm2d(width)
            for stage in range(4):
                channels, stride = width * 2**stage, 2 if stage else 1
                blocks = (Block(channels // stride, channels, stride), Block(channels, channels, 1))
                setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
            self.fc = torch.nn.Linear(8 * width, outputs)

        def forward(self, x: Any) -> Any:
            x = torch.nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))

    return Net()


RESNET = nn.ResNet(5, width=4)
IMAGES = np.random.default_rng(0).normal(size=(2, 40, 32, 3)).astype(np.float32)


def _resnet(golden: Any) -> dict[str, np.ndarray]:
    return golden("torch", lambda torch: _redrawn(torch, _resnet18(torch, 4, 5), IMAGES), name="resnet18")


def test_resnet_gives_the_logits_of_torch_with_torchvisions_names(tmp_path: Path, golden: Any) -> None:
    theirs = _resnet(golden)
    save_file(_drawn_arrays(theirs), tmp_path / "resnet.safetensors")
    _agree(RESNET, tmp_path / "resnet.safetensors", IMAGES, theirs["logits"])


def test_half_precision_becomes_float32_and_dropout_gets_its_rates(tmp_path: Path, golden: Any) -> None:
    given = {name: array for name, array in _arrays(_gpt(golden)).items() if "lm" not in name}
    arrays = {name: array.astype(ml_dtypes.bfloat16) for name, array in given.items()}
    save_file(arrays, tmp_path / "a.safetensors")
    params, state = weights.load(tmp_path, GPT.replace(dropout=0.25))
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(params[0]["table"], arrays["transformer.wte.weight"].astype(np.float32))
    assert {float(a) for a in jax.tree.leaves(state)} == {0.25}


def _refused(path: Path, net: nn.Layer, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        weights.load(path, net)
    for part in parts:
        assert part in str(caught.value)


def test_what_does_not_fit_is_one_message(tmp_path: Path, golden: Any) -> None:
    arrays = _drawn_arrays(_resnet(golden))
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


def test_files_that_are_no_weights_are_refused(tmp_path: Path, torch: Any) -> None:
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
def test_networks_of_another_kind_are_refused(net: nn.Layer, message: str, tmp_path: Path, golden: Any) -> None:
    save_file({n: a for n, a in _arrays(_gpt(golden)).items() if "lm" not in n}, tmp_path / "a.safetensors")
    with pytest.raises((ConfigError, ArtifactError), match=message):
        weights.load(tmp_path, net)
