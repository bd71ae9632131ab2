"""The drift of what a service answers, as data, as a page, and told to a program."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

import danlu
from danlu.serve import ServeOptions, create_app
from danlu.watch import profile_of

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


@pytest.fixture(scope="module")
def model() -> Any:
    found = danlu.load(GOLDEN / "table" / "model")
    schema = found.encoder.schema
    frame = pl.DataFrame(
        {"city": list(schema["city"].categories)[:1] * 100, "size": np.linspace(0, 100, 100), "day": [None] * 100}
    )
    rows = found.read(frame, lenient=True, say=lambda line: None).rows
    return dataclasses.replace(found, profile=profile_of(found, rows=rows, judged=found.encoder.transform(rows)))


def test_rows_of_another_kind_are_named_and_told(model: Any, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    options = ServeOptions(alert=f"tee {told}", alert_every=0.1)
    city = model.encoder.schema["city"].categories[0]
    rows = [{"city": city, "size": 1e6 + i, "day": None} for i in range(60)]
    with TestClient(create_app({"m": model}, options)) as client:
        assert client.get("/drift").json()["rows"] == 0
        assert client.post("/predict", json=rows).status_code == 200
        found = client.get("/drift").json()
        assert found["rows"] == 60
        page = client.get("/models/m/drift", headers={"accept": "text/html"}).text
        assert "The newest 60 rows" in page
        for _ in range(200):
            if told.is_file() and told.read_text():
                break
            time.sleep(0.05)
        assert 'danlu_drift_psi{model="m",of="size"}' in client.get("/metrics").text
    assert "size" in found["drifted"]
    assert "size" in [each["name"] for each in json.loads(told.read_text())["drift"]]


def test_rows_of_files_and_with_a_level_are_watched_too(model: Any) -> None:
    city = model.encoder.schema["city"].categories[0]
    with TestClient(create_app({"m": model}, ServeOptions(watch=0))) as client:
        sent: dict[str, Any] = {
            "content": f"city,size,day\n{city},5,\n{city},6,\n",
            "headers": {"content-type": "text/csv"},
        }
        assert client.post("/predict", **sent).status_code == 200
        assert client.get("/drift").json()["rows"] == 2
        assert [each["rows"] for each in client.get("/drift").json()["each"] if each["name"] == "size"] == [2]


def test_what_was_not_told_is_told_later(model: Any, tmp_path: Path) -> None:
    place = tmp_path / "there"
    told = place / "told.json"
    options = ServeOptions(alert=f"tee {told}", alert_every=0.1)
    city = model.encoder.schema["city"].categories[0]
    with TestClient(create_app({"m": model}, options)) as client:
        client.post("/predict", json=[{"city": city, "size": 1e6 + i, "day": None} for i in range(60)])
        time.sleep(0.5)
        place.mkdir()
        for _ in range(100):
            if told.is_file() and told.read_text():
                break
            time.sleep(0.05)
    assert told.is_file()


def test_a_model_without_a_profile_says_so() -> None:
    with TestClient(create_app({"m": GOLDEN / "table" / "model"})) as client:
        found = client.get("/drift")
    assert found.status_code == 404
    assert "without a profile" in found.text
