"""A service over HTTP: what it answers, what it refuses and how, its versions, and what it writes down."""

import asyncio
import dataclasses
import io
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

import danlu
from danlu.errors import ConfigError, DanluError
from danlu.serve import ServeOptions, create_app
from danlu.serve.named import canaries_of, models_of
from danlu.serve.run import Tls, run
from danlu.trained import Trained
from danlu.watch.log import read_asked

ROW = {"city": "Bern", "size": 40.5, "day": "2024-05-01"}
ROOMS = GOLDEN / "table" / "model"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app({"rooms": ROOMS}, ServeOptions(max_rows=20, max_bytes=5000, watch=0))) as found:
        yield found


@pytest.fixture(scope="module")
def model() -> Any:
    """As it is served: its network sees four rows at once, which may change the last digit."""
    return dataclasses.replace(danlu.load(ROOMS), batch=4)


def test_records_are_answered_as_the_model_answers(client: TestClient, model: Any) -> None:
    other = {"city": "Oslo", "size": None, "day": None}
    for body, records in ((ROW, [ROW]), ([ROW, other], [ROW, other]), ({"records": [other]}, [other])):
        told = client.post("/predict", json=body).json()
        assert told["predictions"] == model.respond(records)
        assert told["model"] == "rooms"
    assert client.post("/models/rooms/predict", json=ROW).json()["predictions"] == model.respond([ROW])
    form = client.post("/predict", data={"city": "Bern", "size": "40.5", "day": "2024-05-01"}).json()
    assert form["predictions"] == model.respond([ROW])


def test_a_file_is_answered_as_danlu_predict_answers(client: TestClient, model: Any) -> None:
    file = GOLDEN / "table" / "asked.csv"
    said = model.answers(str(file), say=lambda note: None)
    sent = {"content": file.read_bytes(), "headers": {"content-type": "text/csv"}}
    assert client.post("/predict", **sent).json()["predictions"] == said.to_dicts()
    sent["headers"]["accept"] = "text/csv"
    assert client.post("/predict", **sent).text == said.write_csv()
    form = client.post("/predict", files={"file": ("rooms.csv", file.read_bytes())})
    assert form.json()["predictions"] == said.to_dicts()


def test_json_of_curl_without_a_header_is_json(client: TestClient, model: Any) -> None:
    sent = {"content": json.dumps(ROW), "headers": {"content-type": "application/x-www-form-urlencoded"}}
    assert client.post("/predict", **sent).json()["predictions"] == model.respond([ROW])


def test_a_level_holds_for_a_file_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    file = GOLDEN / "table" / "asked.csv"
    sent: dict[str, Any] = {"content": file.read_bytes(), "headers": {"content-type": "text/csv"}}
    asked: list[Any] = []
    monkeypatch.setattr(Trained, "asking", lambda self, say, **how: asked.append(how) or self)
    assert client.post("/predict?level=0.9", **sent).status_code == 200
    assert asked == [{"sets": 0.9}]
    assert client.post("/predict?level=2", **sent).status_code == 422


def test_a_small_file_of_many_rows_is_too_large(client: TestClient) -> None:
    frame = pl.DataFrame({name: [value] * 10_001 for name, value in ROW.items()})
    file = io.BytesIO()
    frame.write_parquet(file)
    sent = {"content": file.getvalue(), "headers": {"content-type": "application/vnd.apache.parquet"}}
    assert len(file.getvalue()) < 10_000
    assert client.post("/predict", **sent).status_code == 413
    sent["content"] = sent["content"][:-20]
    assert client.post("/predict", **sent).status_code == 422


@pytest.mark.parametrize("kind", ["table", "series", "sequence", "text", "quantity"])
def test_a_file_is_logged_as_the_records_that_it_holds(kind: str, tmp_path: Path) -> None:
    [asked], log = (GOLDEN / kind).glob("asked*"), tmp_path / "log.jsonl"
    model = dataclasses.replace(danlu.load(GOLDEN / kind / "model"), batch=4)
    with TestClient(create_app({"m": model}, ServeOptions(log_inputs=str(log), watch=0))) as client:
        sent: dict[str, Any] = {"content": asked.read_bytes(), "headers": {"content-type": "text/csv"}}
        assert client.post("/predict", **sent).status_code == 200
    [line] = [json.loads(each) for each in log.read_text().splitlines()]
    told = read_asked(model, str(log))
    given = model.read(str(asked), say=lambda note: None).rows
    assert len(told) == len(given) == len(line["inputs"])
    assert not told.refused
    ours, theirs = model.answer_rows(told.rows), model.answer_rows(given)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6), ours, theirs)


def test_a_note_is_said_in_the_callers_language(client: TestClient) -> None:
    far = {**ROW, "size": 1e9}
    [note] = client.post("/predict", json=far).json()["notes"]
    [other] = client.post("/predict", json=far, headers={"accept-language": "zh-CN"}).json()["notes"]
    assert "far outside the training range" in note
    assert re.search("[\u4e00-\u9fff]", other)


CSV = {"content-type": "text/csv"}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no JSON": ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
    "NaN": ({"content": b'{"size": NaN}'}, 400, "NaN is not a JSON number"),
    "a name twice": ({"content": b'{"city": "Bern", "city": "Oslo"}'}, 400, "the same name twice"),
    "half a character": ({"content": b'{"city": "\\ud800"}'}, 400, "half of a character"),
    "deep": ({"content": b"[" * 4000}, 400, "nested too deeply|not JSON"),
    "a number": ({"json": 3}, 400, "expected a record, a list"),
    "no record": ({"json": []}, 422, "there is no record"),
    "a field too few": ({"json": {"city": "Bern"}}, 422, "lacks 'size', 'day'"),
    "a text as number": ({"json": {**ROW, "size": "40"}}, 422, "'size' of record 1 is '40'; expected a number"),
    "true as number": ({"json": {**ROW, "size": True}}, 422, "expected a number"),
    "too large": ({"json": [{**ROW, "city": 10**400}, ROW]}, 422, "too large"),
    "a new level": ({"json": {**ROW, "city": "Berlin"}}, 422, "never seen in training: 'Berlin'"),
    "too many rows": ({"json": [ROW] * 21}, 413, "has 21 rows; expected at most 20"),
    "too many bytes": ({"json": {**ROW, "more": "x" * 6000}}, 413, "expected at most 5,000"),
    "too many bytes, in pieces": ({"content": iter([b"x" * 3000] * 3)}, 413, "more than 5,000 bytes"),
    "a picture": ({"content": b"x", "headers": {"content-type": "image/png"}}, 415, "expected application/json or text/csv"),
    "another file": ({"files": {"f": ("a.exe", b"x")}}, 415, "expected one of .csv"),
    "too many lines": ({"content": b"city,size,day\n" + b"Bern,1,2024-01-01\n" * 21, "headers": CSV}, 413, "21 rows"),
    "no table": ({"content": b"\x00\x01", "headers": CSV}, 422, "the body"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_words(client: TestClient, what: str) -> None:
    sent, status, said = REFUSED[what]
    reply = client.post("/predict", **sent)
    assert reply.status_code == status, reply.text
    assert re.search(said, reply.json()["error"]), reply.text
    assert "/tmp" not in reply.text
    assert "Traceback" not in reply.text


def test_other_addresses_and_verbs_are_refused(client: TestClient) -> None:
    for verb, path, status in (("GET", "/nothing", 404), ("GET", "/predict", 405), ("POST", "/models/x/predict", 404)):
        reply = client.request(verb, path)
        assert reply.status_code == status
        assert reply.json()["error"]


def _odd_bodies(count: int) -> Iterator[bytes]:
    """Bodies that are nearly right: bytes changed, cut, repeated; other values in every place."""
    rng, good = random.Random(0), json.dumps([ROW]).encode()
    values = (None, True, -1, 1e308, 10**400, "", " ", "火", [], {}, [[]], [None], "x" * 300, 0.1, {"a": 1})
    for number in range(count):
        if number % 2:
            record = {**ROW, rng.choice([*ROW, "more"]): rng.choice(values)}
            if rng.random() < 0.3:
                del record[rng.choice(list(ROW))]
            yield json.dumps(
                rng.choice([record, [record], [record, ROW], {"records": record}, [rng.choice(values)]])
            ).encode()
            continue
        body = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(body))
            body[place : place + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        yield bytes(body[: rng.randint(1, len(body))] if rng.random() < 0.3 else body)


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_bodies_are_never_the_services_fault(client: TestClient, count: int) -> None:
    kinds = (
        "application/json",
        "application/json",
        "text/csv",
        "application/x-ndjson",
        "multipart/form-data; boundary=x",
        "text/plain",
    )
    refused = 0
    for number, body in enumerate(_odd_bodies(count)):
        path = ("/predict", "/v2/models/rooms/infer")[number % 7 == 0]
        reply = client.post(path, content=body, headers={"content-type": kinds[number % len(kinds)]})
        assert reply.status_code == 200 or 400 <= reply.status_code < 500, (body, reply.text)
        refused += reply.status_code != 200
    assert refused > count / 3


def test_the_protocol_answers_as_predict_does(client: TestClient, model: Any) -> None:
    about = client.get("/v2/models/rooms").json()
    assert [(each["name"], each["datatype"]) for each in about["inputs"]] == [
        ("city", "BYTES"),
        ("size", "FP64"),
        ("day", "BYTES"),
    ]
    inputs = [{**each, "shape": [1, 1], "data": [[ROW[each["name"]]]]} for each in about["inputs"]]
    told = client.post("/v2/models/rooms/infer", json={"id": "42", "inputs": inputs}).json()
    answer = {each["name"]: each["data"][0] for each in told["outputs"]}
    assert answer == model.respond([ROW])[0]
    assert told["id"] == "42"
    assert told["model_version"] in about["versions"]
    assert [(each["name"], each["datatype"]) for each in told["outputs"]] == [
        (e["name"], e["datatype"]) for e in about["outputs"]
    ]
    one = client.post(
        f"/v2/models/rooms/versions/{about['versions'][0]}/infer",
        json={"inputs": inputs, "outputs": [{"name": "price"}]},
    )
    assert [each["name"] for each in one.json()["outputs"]] == ["price"]
    for path in ("/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/rooms/ready"):
        assert client.get(path).status_code == 200
    assert client.get("/v2/models/rooms/versions/none").status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [2]}, "has 1 values; its shape .* needs 2"),
        ({"datatype": "FP64"}, "expected FP64"),
        ({"datatype": "STRING"}, "expected one of: BOOL, BYTES"),
        ({"shape": [-1]}, "whole numbers, the rows first"),
        ({"data": "Bern"}, "expected a list"),
        ({"name": "town"}, "lacks 'city'"),
        ({"name": 3}, "expected a text"),
        ({"parameters": 3}, "expected an object"),
    ],
)
def test_a_tensor_that_is_not_as_it_says_is_refused(client: TestClient, change: dict[str, Any], said: str) -> None:
    kinds = {"city": "BYTES", "size": "FP64", "day": "BYTES"}
    inputs = [{"name": name, "shape": [1], "datatype": kinds[name], "data": [value]} for name, value in ROW.items()]
    reply = client.post("/v2/models/rooms/infer", json={"inputs": [{**inputs[0], **change}, *inputs[1:]]})
    assert reply.status_code == 400, reply.text
    assert re.search(said, reply.json()["error"])


def test_the_schema_is_the_models(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    record = document["components"]["schemas"]["rooms.Record"]
    assert record["required"] == list(ROW) == list(record["properties"])
    assert record["properties"]["size"]["type"] == ["number", "null"]
    assert "23 … 74" in record["properties"]["size"]["description"]
    assert record["properties"]["city"]["anyOf"][0]["enum"] == ["Oslo", "Roma", "Bern"]
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]["record"][
        "value"
    ]
    assert client.post("/predict", json=example).status_code == 200
    page = client.get("/docs").text
    assert not re.search(r"https?://|src=|@import|url\(", page), "it asks nothing of any other host"


def test_who_may_ask() -> None:
    options = ServeOptions(token="secret", hosts=("localhost",), watch=0)
    with TestClient(create_app({"rooms": ROOMS}, options), base_url="http://localhost") as client:
        assert (
            client.get("/health").status_code
            == client.get("/v2/health/live").status_code
            == client.get("/docs").status_code
            == 200
        )
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic secret"},
            {"authorization": "secret"},
        ):
            reply = client.post("/predict", json=ROW, headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "token" in reply.json()["error"]
            assert (
                client.get("/metrics", headers=headers).status_code
                == client.get("/openapi.json", headers=headers).status_code
                == 401
            )
        mine = {"authorization": "Bearer secret"}
        assert client.post("/predict", json=ROW, headers=mine).status_code == 200
        assert client.post("/predict", json=ROW, headers={**mine, "host": "evil.example"}).status_code == 421
        assert client.post("/predict", json=ROW, headers={**mine, "origin": "https://evil.example"}).status_code == 403
        assert client.post("/predict", json=ROW, headers={**mine, "origin": "http://localhost"}).status_code == 200


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app({"rooms": ROOMS}, ServeOptions(timeout=0.05, watch=0))) as client:

        async def never(*args: Any) -> Any:
            await asyncio.sleep(30)

        monkeypatch.setattr(client.app.state.service, "answer", never)  # type: ignore[attr-defined]
        reply = client.post("/predict", json=ROW)
        assert reply.status_code == 504
        assert "within 0.05 seconds" in reply.json()["error"]


def test_a_busy_service_says_when_to_come_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    [version] = client.app.state.service.models["rooms"].versions  # type: ignore[attr-defined]
    monkeypatch.setattr(version.batcher, "_closed", True)
    reply = client.post("/predict", json=ROW)
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"


def test_a_new_version_is_taken_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    place = tmp_path / "rooms"
    shutil.copytree(ROOMS, place)
    with TestClient(create_app({"rooms": place}, ServeOptions(watch=0))) as client:
        first = client.post("/predict", json=ROW).json()
        assert client.post("/models/rooms/reload").json()["reloaded"] is False
        shutil.rmtree(place)
        shutil.copytree(GOLDEN / "quantity" / "model", place)
        assert client.post("/predict", json=ROW).json() == first, "until it is asked"
        assert client.post("/models/rooms/reload").json()["reloaded"] is True
        second = client.post("/predict", json=ROW).json()
        assert second["version"] != first["version"]
        assert set(second["predictions"][0]) == {"price"}
        (place / "model.json").write_text("{}")
        reply = client.post("/models/rooms/reload")
        assert reply.status_code == 409
        assert "the version before goes on" in reply.json()["error"]
        assert client.post("/predict", json=ROW).json() == second
        counted = client.get("/metrics").text
        assert 'danlu_reloads_total{model="rooms",result="taken"} 1.0' in counted
        assert 'result="refused"} 1.0' in counted


def test_a_change_of_the_files_is_noticed(tmp_path: Path) -> None:
    place = tmp_path / "rooms"
    shutil.copytree(ROOMS, place)
    with TestClient(create_app({"rooms": place}, ServeOptions(watch=0.02))) as client:
        first = client.get("/models/rooms").json()["versions"]
        shutil.copytree(GOLDEN / "quantity" / "model", tmp_path / "new")
        place.rename(tmp_path / "old")
        (tmp_path / "new").rename(place)
        for _ in range(400):
            if client.get("/models/rooms").json()["versions"] != first:
                break
            client.post("/predict", json=ROW).raise_for_status()
        assert client.get("/models/rooms").json()["versions"] != first


def test_a_canary_answers_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = {"rooms": (GOLDEN / "quantity" / "model", 0.25)}
    with TestClient(create_app({"rooms": ROOMS}, ServeOptions(watch=0), canaries=canaries)) as client:
        stable, canary = (each["version"] for each in client.get("/models/rooms").json()["versions"])
        draws = iter([0.0, 0.24, 0.25, 0.9])
        monkeypatch.setattr(random, "random", lambda: next(draws))
        replies = [client.post("/predict", json=ROW) for _ in range(4)]
        assert [reply.json()["version"] for reply in replies] == [canary, canary, stable, stable]
        assert [reply.headers["x-model-version"] for reply in replies] == [canary, canary, stable, stable]


def test_what_is_written_down(tmp_path: Path) -> None:
    audit, inputs = tmp_path / "audit.jsonl", tmp_path / "inputs.jsonl"
    options = ServeOptions(audit=str(audit), log_inputs=str(inputs), watch=0)
    with TestClient(create_app({"rooms": ROOMS}, options)) as client:
        answer = client.post("/predict", json=ROW, headers={"x-request-id": "mine"}).json()["predictions"]
        client.post("/predict", json={**ROW, "city": "Berlin"})
        client.get("/health")
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["status"], line["rows"], line["model"]) for line in lines] == [(200, 1, "rooms"), (422, 1, "rooms")]
    assert lines[0]["request"] == "mine"
    assert lines[0]["ms"] > 0
    assert not re.search("Ber|2024-05", audit.read_text()), "no data"
    [line] = [json.loads(line) for line in inputs.read_text().splitlines()]
    assert line["inputs"] == [ROW]
    assert line["answers"] == answer
    assert line["request"] == "mine"
    assert audit.stat().st_mode & 0o077 == 0


def test_counters_are_prometheus(client: TestClient) -> None:
    client.post("/predict", json=ROW)
    from prometheus_client.parser import text_string_to_metric_families

    found = {each.name: each for each in text_string_to_metric_families(client.get("/metrics").text)}
    assert {
        "danlu_requests",
        "danlu_request_seconds",
        "danlu_batch_rows",
        "danlu_queue_rows",
        "danlu_errors",
        "danlu_rows",
    } <= set(found)
    done = [
        each
        for each in found["danlu_requests"].samples
        if each.labels.get("route") == "/predict" and each.labels["status"] == "200"
    ]
    assert done[0].labels["model"] == "rooms"
    assert done[0].value >= 1


def test_several_models_are_asked_by_their_names() -> None:
    with TestClient(create_app({"a": ROOMS, "b": GOLDEN / "quantity" / "model"}, ServeOptions(watch=0))) as client:
        assert "/models/a/predict, /models/b/predict" in client.post("/predict", json=ROW).json()["error"]
        assert set(client.post("/models/b/predict", json=ROW).json()["predictions"][0]) == {"price"}
        assert "expected one of: a, b" in client.get("/models/c").json()["error"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(each.name for each in GOLDEN.iterdir()))
def test_every_kind_of_model_is_served(kind: str) -> None:
    """Its own example is answered, as by the model; and by the protocol, where the tensors are of one type."""
    model = danlu.load(GOLDEN / kind / "model")
    with TestClient(create_app({"one": GOLDEN / kind / "model"}, ServeOptions(watch=0))) as client:
        content = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        example = content["application/json"]["examples"]["record"]["value"]
        told = client.post("/predict", json=example).json()
        expected = json.loads(json.dumps(model.respond([example], say=lambda note: None)))
        assert _close(told["predictions"], expected)
        about = client.get("/v2/models/one").json()
        assert {each["name"] for each in about["outputs"]} == set(expected[0])
        inputs = [
            {**each, "shape": _shape([example[each["name"]]]), "data": [example[each["name"]]]}
            for each in about["inputs"]
        ]
        reply = client.post("/v2/models/one/infer", json={"inputs": inputs}).json()
        assert {each["name"] for each in reply["outputs"]} == set(expected[0])


def _shape(value: Any) -> list[int]:
    return [len(value), *_shape(value[0])] if isinstance(value, list) else []


def _close(one: Any, other: Any) -> bool:
    """Whether two answers are the same, numbers within what another size of batch may change."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return one == other or (isinstance(one, float) and one == pytest.approx(other, rel=1e-4, abs=1e-5))


def test_names_and_shares_are_checked(tmp_path: Path) -> None:
    assert models_of([f"rooms={ROOMS}", str(ROOMS)]) == {"rooms": ROOMS, "table": ROOMS}
    for given, said in (
        ([f"a b={ROOMS}"], "cannot be the name"),
        ([str(ROOMS)] * 2, "two models are called 'table'"),
        (["none"], "no run"),
    ):
        with pytest.raises(DanluError, match=said):
            models_of(given)
    models = {"a": ROOMS, "b": ROOMS}
    assert canaries_of([f"a={ROOMS}:0.1"], models) == {"a": (ROOMS, 0.1)}
    for given, said in (
        ("x:2", "between 0 and 1"),
        (f"{ROOMS}:0.1", "names no model"),
        (f"c={ROOMS}:0.1", "unknown model"),
        ("a=none:0.1", "no run"),
    ):
        with pytest.raises(DanluError, match=said):
            canaries_of([given], models)


def test_a_locked_key_is_refused_in_words(tmp_path: Path) -> None:
    key, certificate = tmp_path / "a.key", tmp_path / "a.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=a", "-days", "1"]
    if shutil.which("openssl") is None:
        pytest.skip("without openssl")
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with pytest.raises(ConfigError, match="locked with a passphrase") as caught:
        Tls(str(certificate), str(key)).check()
    assert f"openssl pkey -in {key}" in str(caught.value.hint)


def test_others_may_not_ask_a_service_that_nobody_guards() -> None:
    with pytest.raises(ConfigError, match="nothing says who may ask"):
        run({"rooms": ROOMS}, ServeOptions(), host="0.0.0.0")
    with pytest.raises(ConfigError, match="cannot serve at"):
        run({"rooms": ROOMS}, ServeOptions(), host="203.0.113.1", anyone=True)
