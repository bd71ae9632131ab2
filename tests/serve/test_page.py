"""The page of a service, explanations and games over HTTP: what they answer, refuse, and never show."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from golden_rows import GOLDEN

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

import danlu
from danlu.report.form import as_script_data
from danlu.rl.games import Game, Match
from danlu.rl.games.against import answered
from danlu.serve import ServeOptions, create_app

ROW = {"city": "Roma", "size": 30.0, "day": "2024-03-05"}
EVIL = '</script><img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table, with training rows to compare with."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(GOLDEN / "table-blend" / "model", folder / "artifact")
    rows = pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)
    more = [rows.with_columns(size=pl.lit(size)) for size in (23.0, 40.0, 55.0, 73.9)]
    pl.concat([rows, *more]).write_parquet(folder / "background.parquet")
    return folder


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    models = {
        "flats": run,
        "acts": GOLDEN / "agent" / "model",
        "words": GOLDEN / "text" / "model",
        "writes": GOLDEN / "language" / "model",
    }
    with TestClient(create_app(models, ServeOptions(watch=0))) as found:
        yield found


def held(page: str) -> Any:
    """What the page knows of its model."""
    found = re.search(r'<script type="application/json" id="about">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_knows_the_schema_and_asks_its_own_service_alone(client: TestClient) -> None:
    reply = client.get("/")
    told = held(reply.text)
    assert [field["name"] for field in told["fields"]] == ["city", "size", "day"]
    assert told["explains"] is told["changes"] is True
    assert told["paths"]["predict"].startswith("models/flats/predict")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", reply.text), "nothing is asked of another host"
    assert client.get("/?model=none").status_code == 404


@pytest.mark.parametrize(
    ("asked", "header", "expected"),
    [("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("", "fr, en;q=0.5", "en"), ("&lang=zh", "en", "zh"), ("", "", "en")],
)
def test_its_language_is_the_readers(client: TestClient, asked: str, header: str, expected: str) -> None:
    page = client.get(f"/?model=flats{asked}", headers={"accept-language": header}).text
    assert f'<html lang="{expected}"' in page
    assert ("回答" in page) == (expected == "zh")


def test_what_can_be_asked_beyond_predictions_is_documented(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    kinds = {"flats": {"explain"}, "words": {"explain"}, "acts": {"watch"}, "writes": {"generate"}}
    for name, expected in kinds.items():
        own = {path.rpartition("/")[2] for path in paths if path.startswith(f"/models/{name}/")}
        assert own - {"predict", "reload"} == expected
    body = paths["/models/flats/explain"]["post"]["requestBody"]["content"]["application/json"]
    example = body["examples"]["request"]["value"]
    assert client.post("/models/flats/explain", json={**example, "attributions": False}).status_code == 200


def test_a_record_is_explained_and_its_answer_changed(client: TestClient) -> None:
    told = client.post("/models/flats/explain", json={"records": [ROW], "changes": 2}).json()
    [found] = told["explanations"]
    assert {part["name"] for part in found["parts"]} == {"city", "size", "day"}
    assert sum(part["added"] for part in found["parts"]) == pytest.approx(found["value"] - found["base"])
    assert "alike" not in found, "no training row is shown"
    [change, *_] = found["counterfactuals"]
    before, after = (
        client.post("/models/flats/predict", json=each).json()["predictions"][0]["price"]
        for each in (ROW, {**ROW, **change["changes"]})
    )
    assert before != after == change["answer"]["price"]
    kept = {"records": [ROW], "attributions": False, "keep": ["city", "size"]}
    [none] = client.post("/models/flats/explain", json=kept).json()["explanations"]
    assert none["counterfactuals"] == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"records": 3}, 400, "a list of records"),
        ({"records": [ROW] * 17}, 413, "at most 16"),
        ({"records": [ROW], "changes": 99}, 422, "0 to 6"),
        ({"records": [ROW], "keep": "size"}, 422, "another type"),
        ({"records": [ROW], "keep": ["town"]}, 422, "unknown column to keep 'town'"),
        ({"records": [ROW], "why": 1}, 422, "the option 'why' is unknown"),
        ({"records": [{"city": "Roma"}]}, 422, "lacks 'size', 'day'"),
        ([], 422, "there is no record"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_message(
    client: TestClient, body: Any, status: int, said: str
) -> None:
    reply = client.post("/models/flats/explain", json=body)
    assert (reply.status_code, said in reply.json()["error"]) == (status, True), reply.text


def test_an_answer_comes_with_its_uncertainty_where_it_is_asked_for(client: TestClient) -> None:
    ask = lambda level: client.post(f"/models/flats/predict?level={level}", json=ROW)  # noqa: E731
    assert ask("many").status_code == 422
    assert "expected a share" in ask("2").json()["error"]
    [sure], [unsure] = (ask(level).json()["predictions"] for level in ("0.6", "0.99"))
    assert sure["set"] == ["cheap"]
    assert unsure["set"] == ["cheap", "dear"]
    assert (
        "no set of classes"
        in client.post("/models/acts/predict?level=0.9", json={"observation": [0] * 4}).json()["error"]
    )


@pytest.mark.slow
def test_a_film_of_an_agent(client: TestClient) -> None:
    told = client.post("/models/acts/watch", json={"seed": 1}).json()
    assert told["frames"][0].startswith("data:image/png;base64,")
    assert len(told["actions"]) == len(told["rewards"]) == len(told["value"]) == told["return"]
    assert client.post("/models/acts/watch", json={"seed": -1}).status_code == 422
    assert "does not act" in client.post("/models/flats/watch", json={}).json()["error"]
    assert "no board game" in client.post("/models/acts/play", json={}).json()["error"]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("writes", {"prompt": "the cat", "length": 5, "samples": 2}, 200, "the cat"),
        ("writes", {"prompt": 3}, 422, "another type"),
        ("writes", {"length": 10**9}, 422, "expected 0 to 2,000"),
        ("writes", {"text": ""}, 422, "'text' is unknown"),
        ("writes", [], 400, "expected an object"),
        ("flats", {}, 422, "writes no texts"),
    ],
)
def test_a_language_model_goes_on_writing(client: TestClient, name: str, body: Any, status: int, said: str) -> None:
    reply = client.post(f"/models/{name}/generate", json=body)
    assert (reply.status_code, said in reply.text) == (status, True), reply.text
    if status == 200:
        assert [text[:7] for text in reply.json()["texts"]] == [said] * 2


def test_with_a_token_nothing_of_a_model_is_shown_before_it_is_given(run: Path) -> None:
    with TestClient(create_app({"flats": run}, ServeOptions(watch=0, token="secret"))) as client:
        door = client.get("/")
        assert door.status_code == 401
        assert "size" not in door.text.split("</style>")[1]
        page = client.get("/", headers={"authorization": "Bearer secret"})
        assert held(page.text)["target"] == "price"
        own = re.search(r"script-src ('sha256-[^']+')", page.headers["content-security-policy"])
        assert own
        assert own[1] in door.headers["content-security-policy"], "the door lets the page's script run"
        assert client.get("/", headers={"authorization": "Bearer other"}).status_code == 401


def test_names_of_the_users_cannot_leave_their_place() -> None:
    text = as_script_data({"name": EVIL, "note": "a & b \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["name"] == EVIL


class _Fixed:
    """An agent that plays the first legal move."""

    def choose(self, env: Any, params: Any, state: Any, envs: Any, key: Any) -> Any:
        return envs.observation["legal"].argmax(axis=-1)

    def describe(self, env: Any, params: Any, state: Any, observation: Any) -> dict[str, Any]:
        return {"value": observation["legal"].sum(axis=-1) / 9}


def test_a_game_against_an_agent_is_replayed_from_its_moves_alone() -> None:
    agent: Any = _Fixed()
    how: Any = (agent, Match(game=Game("tic-tac-toe")), {}, {})
    start = answered(*how, [])
    assert (start.board, start.legal, start.played, start.ended) == (("...",) * 3, tuple(range(9)), None, False)
    first = answered(*how, [4])
    assert first.moves == (4, 0)
    assert first.board == ("O..", ".X.", "...")
    assert first.value == pytest.approx(8 / 9)
    second = answered(*how, [4, 0, 2])
    assert second.moves == (4, 0, 2, 1)
    won = answered(*how, [*second.moves, 6])
    assert (won.ended, won.result, won.legal, won.played) == (True, 1, (), 1)
    lost = answered(*how, [0, 3, 1, 4, 2], agent_begins=True)  # the agent made the first, third and fifth move
    assert (lost.ended, lost.result, lost.played) == (True, -1, 2)
    for moves, said in (([9], "move 1 is 9"), ([4, 4], "move 2 is 4"), ([*won.moves, 8], "the game is over")):
        with pytest.raises(danlu.errors.SchemaError, match=said):
            answered(*how, moves)
