"""Models that write and act as files: the same tokens, translations, actions and returns as danlu's own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu import nn
from danlu.data.text import CorpusEncoder, Tokenizer
from danlu.errors import ConfigError
from danlu.export.called import function_of, tried
from danlu.export.export import export
from danlu.export.functions import Run, carried, in_onnxruntime, onnx_of, zeros
from danlu.rl.acting import trained_agent
from danlu.rl.recipes import agent_recipe
from danlu.rl.registry import make
from danlu.rl.value_heads import Histogram
from danlu.tasks import NextToken
from danlu.trained import Trained

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
REFUSED = """
import sys

class Refused:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("danlu", "jax", "jaxlib", "polars"):
            raise ImportError(name)

sys.meta_path.insert(0, Refused())
"""
GREEDY = "ran sat sat sat sat sat sat sat sat sat sat sat sa"  # 50 tokens of the golden language model


def golden(name: str) -> Trained:
    return danlu.load(GOLDEN / name / "model")


def function(model: Trained) -> Any:
    found = function_of(model)
    assert found is not None
    return found


def of_file(model: Trained) -> Run:
    return in_onnxruntime(onnx_of(function(model), model))


@pytest.fixture(scope="module")
def language() -> tuple[Trained, Any, Run]:
    model = golden("language")
    return model, function(model), of_file(model)


def recurrent(cell: str = "lstm") -> Trained:
    """A recurrent language model of random weights, large enough for its answers to differ; it never writes a mark."""
    tokenizer = Tokenizer.fit(["a dog and a cat"], kind="char")
    network = nn.CharRNN(tokenizer.size, dim=8, units=16, num_layers=2, cell=cell)
    params, state, _ = network.init(jax.random.key(3), (12,))
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    params[-1][0]["bias"] = params[-1][0]["bias"].at[:4].set(-1e3)
    return Trained(network, params, state, CorpusEncoder(tokenizer, 12, False), NextToken())


def read_in_pieces(found: Any, run: Run, tokens: np.ndarray, *ends: int) -> np.ndarray:
    """The logits of tokens that are read piece by piece."""
    memory, parts = zeros(found.inputs, len(tokens)), []
    for piece in np.split(tokens, ends, axis=1):
        outputs = run({"tokens": piece, **memory})
        parts.append(outputs["logits"])
        memory = carried(outputs)
    return np.concatenate(parts, axis=1)


def test_pieces_of_a_text_give_the_logits_of_the_whole(language: Any) -> None:
    model, found, run = language
    tokens = np.random.default_rng(0).integers(4, 18, (3, 16), np.int32)
    tokens[1, :5] = 0  # padding in front
    whole = np.asarray(jax.jit(model.forward)({"x": tokens, "mask": tokens != 0}))
    for ends in ((), (1,), (7, 8, 9)):
        pieces = read_in_pieces(found, run, tokens, *ends)
        np.testing.assert_allclose(pieces[tokens != 0], whole[tokens != 0], atol=2e-5)


def test_more_tokens_than_the_context_are_no_numbers(language: Any) -> None:
    _, found, run = language
    logits = read_in_pieces(found, run, np.full((1, 17), 5, np.int32), 16)
    assert np.isfinite(logits[:, :16]).all()
    assert np.isnan(logits[:, 16]).all()


def greedy(found: Any, run: Run, length: int) -> list[int]:
    """The likeliest tokens after an empty prompt, as the how-to page writes them."""
    about, written = found.about, [*found.about["empty"]]
    while len(written) < len(about["empty"]) + length:
        memory, given = zeros(found.inputs, 1), written[-about["read_at_once"] :]
        for _ in range(about["context"] - about["read_at_once"]):
            outputs = run({"tokens": np.asarray([given]), **memory})
            memory, logits = carried(outputs), outputs["logits"][0, -1]
            logits[about["forbidden"]] = -np.inf
            given = [int(logits.argmax())]
            written += given
    return written[len(about["empty"]) :][:length]


def test_the_likeliest_tokens_are_those_of_danlu(language: Any) -> None:
    model, found, run = language
    assert model.encoder.tokenizer.decode(greedy(found, run, 50)) == GREEDY


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_recurrent_language_models_take_and_give_their_state(cell: str) -> None:
    model = recurrent(cell)
    found, run = function(model), of_file(model)
    kept = "hc" if cell == "lstm" else "h"
    assert {each.name for each in found.inputs} == {
        "tokens",
        *(f"past.{layer}.{name}" for layer in "01" for name in kept),
    }
    tokens = np.random.default_rng(0).integers(4, model.encoder.tokenizer.size, (2, 12), np.int32)
    np.testing.assert_allclose(read_in_pieces(found, run, tokens, 5, 6), model.forward(tokens), rtol=1e-4, atol=1e-4)
    assert model.encoder.tokenizer.decode(greedy(found, run, 50)) == model.generate(length=50, temperature=0)[0]
    # The network's own generation never begins anew: its state goes on.
    network: Any = model.network
    drawn = network.generate(model.params, model.state, [found.about["empty"]], 50, jax.random.key(0), temperature=0)
    memory, given, written = zeros(found.inputs, 1), found.about["empty"], []
    for _ in range(50):
        outputs = run({"tokens": np.asarray([given]), **memory})
        memory, given = carried(outputs), [int(outputs["logits"][0, -1].argmax())]
        written += given
    assert written == drawn[0].tolist()


@pytest.mark.slow
def test_lines_end_where_danlu_ends_them() -> None:
    model = recurrent("gru")
    network: Any = model.params[-1][0]
    network["bias"] = network["bias"].at[model.encoder.tokenizer.end_id].set(0.5)
    lines = dataclasses.replace(model, encoder=dataclasses.replace(model.encoder, lines=True))
    found = function(lines)
    assert found.about["prefix"] == found.about["empty"] == [model.encoder.tokenizer.begin_id]
    assert found.about["end"] not in found.about["forbidden"]
    *_, last = found.tried(of_file(lines), [])
    assert last.said.endswith("as danlu does")


def test_translations_are_those_of_danlu() -> None:
    model = golden("translation")
    asked = (GOLDEN / "translation" / "asked.txt").read_text().splitlines()
    known = [each["translation"] for each in json.loads((GOLDEN / "translation" / "answers.json").read_text())]
    inputs = model.encoder.transform([*asked, ""])
    found = of_file(model)({"source": inputs["source"]})
    assert found["tokens"].shape == (3, 2 * inputs["source"].shape[1] + 10)
    target = model.encoder.target
    texts = [target.decode(row[: row.tolist().index(target.end_id)]).strip() for row in found["tokens"]]
    assert texts == [*known, ""]
    assert (found["score"][:2] < 0).all()


def test_actions_and_values_are_those_of_danlu() -> None:
    model, run = golden("agent"), of_file(golden("agent"))
    known = json.loads((GOLDEN / "agent" / "answers.json").read_text())
    seen = pl.read_csv(GOLDEN / "agent" / "asked.csv").to_numpy().astype(np.float32)
    found = run({"observation": seen})
    assert found["action"].tolist() == [each["action"] for each in known]
    np.testing.assert_allclose(found["value"], [each["value"] for each in known], atol=1e-6)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-6)
    anywhere = run({"observation": np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)})
    assert set(anywhere["action"].tolist()) == {0, 1}
    assert anywhere["action"].tolist() == anywhere["probabilities"].argmax(axis=1).tolist()
    assert run({"observation": seen[:1]})["action"].shape == (1,)
    assert model.head.env.action_space.contains(found["action"][0])


AGENTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": ("CartPole-v1", "dqn", {"dueling": True, "head": Histogram(0, 100, 11)}),
    "pictures": ("danlu/Catch-v0", "dqn", {}),
    "whole numbers": ("danlu/GridWorld-v0", "a2c", {}),
    "ppo": ("Pendulum-v1", "ppo", {}),
    "sac": ("Pendulum-v1", "sac", {}),
    "sac of choices": ("CartPole-v1", "sac", {}),
    "td3": ("Pendulum-v1", "td3", {}),
    "ddpg": ("Pendulum-v1", "ddpg", {}),
    "memory": ("CartPole-v1", "recurrent_ppo", {"memory": 8}),
    "cloning": ("CartPole-v1", "bc", {}),
    "board": ("tic-tac-toe", "alphazero", {"gate_every": 2, "environments": 8}),
}


def agent_of(name: str) -> Trained:
    """An agent of random weights."""
    place, algorithm, settings = AGENTS[name]
    env = make(place)
    agent, _ = agent_recipe(env, algorithm, **{"hidden": (8,), **settings})
    env = agent.within(env)
    params, state, _ = agent.network(env).init(jax.random.key(1), agent.in_shape(env))
    return trained_agent(agent, env, params, state)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("format", ["onnx", "stablehlo"])
def test_every_kind_of_agent_answers_as_danlu_does(name: str, format: str) -> None:
    model = agent_of(name)
    found = function(model)
    _, trial, said = tried(found, model, [], "", format)
    assert trial.rows > 500
    assert trial.difference < 1e-5
    assert len(said) == 3
    assert ("past.memory" in {each.name for each in found.inputs}) == (name == "memory")
    assert any("search is not inside" in each for each in found.said) == (name == "board")


def returns_with(model: Trained, run: Run, episodes: int, steps: int) -> np.ndarray:
    """The returns of whole episodes in which a file chooses the actions; the chances are those of ``play_episodes(seed=0)``."""
    env, found, key = model.head.env, function(model), jax.random.key(0)
    begin, advance = jax.jit(env.begin, static_argnums=1), jax.jit(env.advance)
    envs = begin(jax.random.fold_in(key, 0), episodes)
    returns, ended = np.zeros(episodes), np.zeros(episodes, bool)
    for step in range(steps):
        _, env_key = jax.random.split(jax.random.fold_in(key, step + 1))
        outputs = run(dict(zip([each.name for each in found.inputs], jax.tree.leaves(envs.observation), strict=True)))
        action = outputs["action"].astype((env.action_space.shape and np.float32) or np.int32)
        if "next.memory" in outputs:
            action = {"action": action, "memory": outputs["next.memory"]}
        envs, transition = advance(envs, action, env_key)
        now = np.asarray(transition.ended) & ~ended
        returns[now], ended = np.asarray(transition.score)[now], ended | now
        if ended.all():
            return returns
    raise AssertionError("an episode did not end")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["golden", "dqn", "memory", "sac"])
def test_whole_episodes_have_the_returns_of_danlu(name: str) -> None:
    model = golden("agent") if name == "golden" else agent_of(name)
    own = model.play(episodes=5, seed=0)
    found = returns_with(model, of_file(model), 5, model.head.env.max_steps)
    np.testing.assert_allclose(found, own.returns, rtol=1e-4)


def test_a_file_that_answers_otherwise_is_refused(language: Any) -> None:
    _, found, run = language

    def changed(given: Any) -> dict[str, np.ndarray]:
        outputs = run(given)
        return {**outputs, "logits": outputs["logits"] * np.float32(1.01)}

    trial = next(iter(found.tried(changed, [])))
    assert trial.difference is not None
    assert trial.difference > 1e-4


@pytest.mark.slow
def test_a_file_that_acts_or_translates_otherwise_is_refused() -> None:
    model = golden("translation")
    run = of_file(model)
    with pytest.raises(ConfigError, match="the file translates"):
        list(function(model).tried(lambda given: {name: each[::-1] for name, each in run(given).items()}, []))
    agent = golden("agent")
    policy, own = function(agent), of_file(agent)
    with pytest.raises(ConfigError, match="file's action is"):
        list(policy.tried(lambda given: {**(out := own(given)), "action": 1 - out["action"]}, []))


def test_what_is_beside_and_inside_a_file(language: Any) -> None:
    import tokenizers

    model, found, _ = language
    library = tokenizers.Tokenizer.from_str(found.beside["tokenizer"])
    numbers = library.encode("the cat sat.").ids
    assert numbers == model.encoder.tokenizer.encode_one("the cat sat.")
    assert library.decode(numbers) == "the cat sat."
    told = ort.InferenceSession(onnx_of(found, model, "CC0-1.0")).get_modelmeta().custom_metadata_map
    assert told["license"] == "CC0-1.0"
    assert json.loads(told["context"]) == 16
    assert json.loads(told["inputs"])[0] == {"name": "tokens", "type": "int64", "shape": ["rows", "new"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["language", "translation", "agent"])
@pytest.mark.parametrize("format", ["onnx", "stablehlo", "safetensors"])
def test_every_format_holds_every_kind(name: str, format: str, tmp_path: Path) -> None:
    found = export(golden(name), tmp_path / f"m.{format}", format=format)
    assert found.path.stat().st_size > 1000
    assert (found.trial is not None) == (format != "safetensors")
    beside = (tmp_path / "m.tokenizer.json").exists()
    assert beside == (name != "agent" and format != "safetensors")
    if format == "stablehlo":
        told = json.loads((tmp_path / "m.about.json").read_text())
        assert [each["name"] for each in told["outputs"]] == list(found.outputs)


@pytest.mark.slow
def test_the_reader_of_the_page_writes_the_same_in_a_process_without_danlu(language: Any, tmp_path: Path) -> None:
    model, found, _ = language
    (tmp_path / "m.onnx").write_bytes(onnx_of(found, model))
    (tmp_path / "m.tokenizer.json").write_text(found.beside["tokenizer"])
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "export-writing-and-acting.md").read_text()
    reader = page[page.index("class Writer:") : page.index("text = Writer(")]
    imports = "import json, sys\nfrom pathlib import Path\nimport numpy as np, onnxruntime, tokenizers\n"
    said = f"print(json.dumps(Writer({str(tmp_path / 'm.onnx')!r}).write('', 50)))"
    code = "\n".join([REFUSED, imports, reader, said])
    written = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(written) == GREEDY


@pytest.mark.slow
def test_danlu_writes_the_known_tokens() -> None:
    assert golden("language").generate(length=50, temperature=0)[0] == GREEDY


def test_a_network_that_looks_ahead_is_refused_by_name() -> None:
    model = golden("language")
    ahead = nn.Sequential((nn.Embedding(8, 4), nn.Bidirectional(nn.LSTM(4)), nn.Dense(8)))
    with pytest.raises(ConfigError, match="cannot work one token at a time"):
        function_of(Trained(ahead, ({}, {}, {}), ({}, {}, {}), model.encoder, NextToken()))
