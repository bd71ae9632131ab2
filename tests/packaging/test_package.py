"""A package answers as danlu does, refuses what does not fit, and is built by its own steps."""

import base64
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import danlu
from danlu.errors import ConfigError
from danlu.export import export
from danlu.packaging import package

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


def made(kind: str, folder: Path) -> Any:
    return package(GOLDEN / kind / "model", folder / kind)


def app_of(folder: Path, **how: Any) -> Any:
    spec = importlib.util.spec_from_file_location("packaged", folder / "server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return TestClient(module.app_of(module.Model(str(folder / "model.onnx"), 1), "m", **how))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("table-blend", tmp_path_factory.mktemp("package")).path


def test_it_answers_as_danlu_does(table: Path) -> None:
    model = danlu.load(GOLDEN / "table-blend" / "model")
    city, *_ = model.encoder.schema["city"].categories
    records = [
        {"city": city, "size": 34.5, "day": "2024-06-22"},
        {"city": None, "size": None, "day": None},
        {"city": "never seen", "size": 1e9, "day": "2024-02-30"},
        {"city": f"  {city.upper()} ", "size": 12, "day": ""},
    ]
    with app_of(table) as client:
        found = client.post("/predict", json={"records": records}).json()["predictions"]
        [one] = client.post("/predict", json=records[0]).json()["predictions"]
    frame = {name: [record[name] for record in records] for name in records[0]}
    expected = model.predict(frame, lenient=True, say=lambda line: None).to_dicts()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine["price"] == theirs["price"]
        for name in theirs:
            if name.startswith("probability"):
                assert mine[name] == pytest.approx(theirs[name], abs=1e-5)
    assert one == found[0]


def test_pictures_come_as_numbers_or_as_a_file(tmp_path: Path) -> None:
    from PIL import Image

    folder = made("image", tmp_path).path
    model = danlu.load(GOLDEN / "image" / "model")
    pixels = np.load(GOLDEN / "image" / "asked.npy")[0]
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(file, "PNG")
    sent = [{"image": pixels.tolist()}, {"image": base64.b64encode(file.getvalue()).decode()}]
    with app_of(folder) as client:
        found = client.post("/predict", json=sent).json()["predictions"]
        bad = client.post("/predict", json=[{"image": "AAAA"}])
    expected = model.predict(pixels[None], say=lambda line: None).to_dicts()[0]
    assert found[0] == found[1]
    assert found[0][model.head.name] == str(expected[model.head.name])
    assert (bad.status_code, bad.json()["error"]) == (
        422,
        "'image' of record 1 is no picture; expected a PNG or JPEG file in base64",
    )


@pytest.mark.parametrize("kind", ["series", "sequence", "quantity"])
def test_the_example_is_answered_as_it_was_kept(kind: str, tmp_path: Path) -> None:
    folder = made(kind, tmp_path).path
    with app_of(folder) as client:
        found = client.post("/predict", content=(folder / "request.json").read_bytes()).json()["predictions"]
    assert found == json.loads((folder / "answer.json").read_text())


def test_bodies_that_do_not_fit_are_refused_in_words(table: Path) -> None:
    with app_of(table) as client:
        for content in (b"", b"{", b"[]", b"[1]", b'"a"', b'{"city": "a"}', b"\xff", b"[" * 100_000):
            found = client.post("/predict", content=content)
            assert 400 <= found.status_code < 500, content[:20]
            assert found.json()["error"]
        record = {"city": "a", "size": "old", "day": None}
        assert client.post("/predict", json=record).json()["error"] == (
            "'size' of record 1 is 'old'; expected a number, or null for an unknown one"
        )
        assert client.get("/nothing").status_code == 404
        assert 'danlu_requests_total{route="/predict",status="422"}' in client.get("/metrics").text


def test_version_2_of_the_protocol(table: Path) -> None:
    with app_of(table) as client:
        told = client.get("/v2/models/m").json()
        assert {each["name"]: each["datatype"] for each in told["inputs"]} == {
            "city": "BYTES",
            "size": "FP64",
            "day": "BYTES",
        }
        tensors = {"city": ["Roma", ""], "size": [30.5, None], "day": ["2024-06-22", ""]}
        kinds = {"city": "BYTES", "size": "FP64", "day": "BYTES"}
        inputs = [{"name": n, "shape": [2], "datatype": kinds[n], "data": data} for n, data in tensors.items()]
        found = client.post("/v2/models/m/infer", json={"id": "7", "inputs": inputs}).json()
        assert found["id"] == "7"
        assert {each["name"]: each["shape"] for each in found["outputs"]}["probabilities"] == [2, 2]
        for wrong in (
            {"inputs": inputs[:1]},
            {"inputs": [{**inputs[0], "datatype": "FP64"}]},
            {"inputs": [{**inputs[0], "shape": [3]}]},
            {},
        ):
            assert client.post("/v2/models/m/infer", json=wrong).status_code == 422
        assert client.get("/v2/models/other").status_code == 404


def test_a_token_is_asked_for(table: Path) -> None:
    with app_of(table, token="secret") as client:
        record = {"city": "a", "size": 1, "day": None}
        assert client.post("/predict", json=record).status_code == 401
        assert client.post("/predict", json=record, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/ready").status_code == 200


def test_what_cannot_be_packaged_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a tokenizer beside its file"):
        made("text", tmp_path)
    for name in ("painting", "agent", "translation"):
        with pytest.raises(ConfigError, match="the server of a package answers rows, and this is a model for"):
            made(name, tmp_path)
    with pytest.raises(ConfigError, match="is there already"):
        package(GOLDEN / "table" / "model", table)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_whole_or_not_there_and_a_run_is_tried_on_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, write = [], Path.write_bytes

    def exported(model: Any, path: Path, **how: Any) -> Any:
        asked.append(model)
        return export(model, path, **how)

    def full(self: Path, data: bytes) -> int:
        if self.name == "kserve.yaml":
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(sys.modules["danlu.packaging.package"], "export", exported)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match="No space left on device; nothing is left of it"):
        package(GOLDEN / "table" / "model", tmp_path / "a" / "out")
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not (tmp_path / "a" / "out").exists()
    assert asked == [GOLDEN / "table" / "model"]  # the folder, beside which its settings say where its data is


@pytest.mark.slow
def test_it_is_built_and_run_by_its_own_steps(table: Path, tmp_path: Path) -> None:
    """The steps of its Dockerfile, in an environment of their own, which has neither danlu nor JAX."""
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    pip = [env / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", table / "requirements.txt"]
    subprocess.run(pip, check=True)
    gone = subprocess.run([env / "bin" / "python", "-c", "import jax"], capture_output=True, check=False, cwd=tmp_path)
    assert gone.returncode
    port = "18931"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen([env / "bin" / "python", "server.py"], cwd=table, env={**clean, "PORT": port})
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{address}/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        data = (table / "request.json").read_bytes()
        with urllib.request.urlopen(f"{address}/predict", data, timeout=10) as answer:
            [found] = json.load(answer)["predictions"]
        [expected] = json.loads((table / "answer.json").read_text())
        assert found == {
            name: value if isinstance(value, str | list) else pytest.approx(value, abs=1e-6)
            for name, value in expected.items()
        }
    finally:
        process.terminate()
        process.wait(10)
