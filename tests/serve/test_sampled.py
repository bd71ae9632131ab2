"""What a model draws, over HTTP: pictures with their labels, and what is refused."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from golden_rows import GOLDEN
from PIL import Image

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

import danlu
from danlu.serve import ServeOptions, create_app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    models = {"paints": GOLDEN / "painting" / "model", "flats": GOLDEN / "table-blend" / "model"}
    with TestClient(create_app(models, ServeOptions(watch=0))) as found:
        yield found


def test_pictures_are_drawn_as_in_python(client: TestClient) -> None:
    reply = client.post("/models/paints/sample", json={"count": 2, "label": "lying", "seed": 3})
    assert reply.status_code == 200
    drawn = danlu.load(GOLDEN / "painting" / "model").sample(2, seed=3, label="lying")
    for told, picture in zip(reply.json()["samples"], drawn, strict=True):
        assert told["label"] == "lying"
        np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(told["image"]))), picture[..., 0])
    assert "/models/paints/sample" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("paints", {"label": "cat"}, 422, "unknown label 'cat'"),
        ("paints", {"count": 999}, 422, "expected 0 to 256"),
        ("paints", {"seed": -1}, 422, "expected 0 to 2,147,483,647"),
        ("paints", {"settings": {"seed": 3}}, 422, "seed is no setting of the drawing"),
        ("paints", {"settings": {"steps": 3}}, 422, "unknown setting of sample"),
        ("paints", [], 400, "expected an object"),
        ("flats", {}, 422, "draws nothing new"),
    ],
)
def test_what_cannot_be_drawn_is_refused(client: TestClient, name: str, body: Any, status: int, said: str) -> None:
    reply = client.post(f"/models/{name}/sample", json=body)
    assert (reply.status_code, said in reply.text) == (status, True), reply.text
