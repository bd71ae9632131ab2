"""Signed models: by a trusted key or not at all, in every version; and a change of any file is named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import danlu
from danlu.artifact import load_artifact, sign
from danlu.artifact.signing import SIGNATURE, check_signature
from danlu.cli import main
from danlu.errors import ArtifactError, ConfigError, MissingExtraError, UntrustedError

GOLDEN = Path(__file__).parents[1] / "trained" / "golden"
pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a b", "-f", folder / name], check=True)
    return folder


@pytest.fixture(params=["version-2/table", "version-3/table"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / request.param / "model", tmp_path / "model"))


def test_a_signed_model_loads_by_its_key_alone(model: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UntrustedError, match="is not signed"):
        danlu.load(model, trusted=keys / "mine.pub")
    signer = sign(model, keys / "mine")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", keys / "mine.pub"], capture_output=True, text=True, check=True)
    assert signer == shown.stdout.split()[1]
    danlu.load(model)
    danlu.load(model, trusted=keys / "mine.pub")
    danlu.load(model, trusted=(keys / "mine.pub").read_text())
    with pytest.raises(UntrustedError, match=f"signed by the key {signer.replace('+', '.')}, which is not trusted"):
        danlu.load(model, trusted=keys / "other.pub")
    monkeypatch.setenv("DANLU_TRUSTED", str(keys / "other.pub"))
    with pytest.raises(UntrustedError, match="which is not trusted"):
        danlu.load(model)
    both = keys / "both.pub"
    both.write_text("".join((keys / f"{name}.pub").read_text() for name in ("other", "mine")))
    monkeypatch.setenv("DANLU_TRUSTED", str(both))
    danlu.load(model)


def test_any_changed_file_is_named_and_a_signature_fits_no_other_model(model: Path, keys: Path, tmp_path: Path) -> None:
    sign(model, keys / "mine")
    for place in [each for each in sorted(model.iterdir()) if each.name != SIGNATURE]:
        data = place.read_bytes()
        changed = bytearray(data)
        changed[len(changed) // 2] ^= 1
        for bad in (bytes(changed), data[:-1], data + b" "):
            place.write_bytes(bad)
            with pytest.raises((ArtifactError, UntrustedError), match=re.escape(place.name)):
                load_artifact(model, trusted=keys / "mine.pub")
        place.write_bytes(data)
    signature = (model / SIGNATURE).read_text().splitlines()
    (model / SIGNATURE).write_text("\n".join([*signature[:-2], signature[-2].swapcase(), signature[-1], ""]))
    with pytest.raises(UntrustedError, match=r"does not fit its model\.json"):
        load_artifact(model, trusted=keys / "mine.pub")
    sign(model, keys / "mine")
    load_artifact(model, trusted=keys / "mine.pub")
    other = Path(shutil.copytree(GOLDEN / "version-3" / "text" / "model", tmp_path / "text"))
    shutil.copy(model / SIGNATURE, other)
    with pytest.raises(UntrustedError, match="was changed after it was signed"):
        load_artifact(other, trusted=keys / "mine.pub")


def test_a_signature_for_something_else_does_not_do(model: Path, keys: Path) -> None:
    asked = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", keys / "mine", model / "model.json"]
    subprocess.run(asked, check=True, capture_output=True)
    with pytest.raises(UntrustedError):
        check_signature(model, keys / "mine.pub")


def test_what_cannot_sign_or_be_trusted_is_refused(
    model: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        sign(model, keys / "nobody")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(ConfigError, match="cannot sign"):
        sign(model, tmp_path / "text")
    sign(model, keys / "mine")
    hostile = f"* cert-authority {(keys / 'mine.pub').read_text()}"
    for trusted in ("nobody", tmp_path / "text", hostile, keys / "mine"):
        with pytest.raises(ConfigError, match="public key"):
            check_signature(model, trusted)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="ssh-keygen, which is not installed"):
        check_signature(model, keys / "mine.pub")


def test_the_command(
    model: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["danlu", "sign", str(model), *words])
        with pytest.raises(SystemExit):
            main()
        found = capsys.readouterr()
        return found.out + found.err

    assert "expected either --key" in run()
    assert "is signed by the key SHA256:" in run("--key", str(keys / "mine"))
    assert "as it was signed by the trusted key SHA256:" in run("--trusted", str(keys / "mine.pub"))
    assert "not trusted" in run("--trusted", str(keys / "other.pub"))
