"""Agents from a name to a film: training, killed and resumed, the run's folder, the command line, mistakes; and that they learn."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu import rl
from danlu.artifact.artifact import sealed
from danlu.blueprint import to_json
from danlu.cli import main
from danlu.engine import JSONLogger, LambdaCallback
from danlu.engine.progress import shown_columns
from danlu.engine.training import Training
from danlu.errors import ArtifactError, ConfigError, SchemaError
from danlu.pipeline import load, resume
from danlu.pipeline.agents import Agents
from danlu.rl.acting import trained_agent
from danlu.rl.environments import Bandit, CartPole, Pendulum
from danlu.rl.observations import Observations
from danlu.rl.spaces import Box, DictSpace, Discrete
from danlu.trained import Trained

DISPLAY: dict[str, Any] = {"display": "none"}
MEMORY = rl.DQN(
    environments=2,
    train_freq=1,
    gradient_steps=1,
    hidden=(4,),
    learning_starts=12,
    capacity=48,
    batch_size=4,
    n_step=2,
    prioritised=True,
)


class Killed(BaseException):
    """What no one catches."""


def kill_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """The training dies right after it has written its checkpoint for the last time."""
    save, done = Training._save, []

    def save_and_die(self: Training) -> None:
        save(self)
        done.append(1)
        if len(done) == saves:
            raise Killed

    monkeypatch.setattr(Training, "_save", save_and_die)


def identical(ours: Any, theirs: Any) -> None:
    def plain(leaf: Any) -> np.ndarray:
        return np.asarray(jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(plain(a), plain(b)), ours, theirs)


def untimed(history: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "rows_per_second")} for row in history]


def test_a_killed_training_goes_on_as_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of an epoch: network, optimizer, memory, target network and environments are, bit by bit, those of a whole run."""
    options: dict[str, Any] = {"steps": 412, "evaluations": 2, "episodes": 2, "checkpoint_every": 0.0, **DISPLAY}
    whole = rl.fit(MEMORY, CartPole(), checkpoint=tmp_path / "whole", **options)
    assert [row["frames"] for row in whole.fitted.history] == [212, 412]
    for saves in (2, 3):
        with monkeypatch.context() as patch:
            kill_after(patch, saves)
            with pytest.raises(Killed):
                rl.fit(MEMORY, CartPole(), checkpoint=tmp_path / "killed", resume=True, **options)
    resumed = rl.fit(MEMORY, CartPole(), checkpoint=tmp_path / "killed", resume=True, **options)
    identical(resumed.fitted.train_state, whole.fitted.train_state)
    identical(resumed.params, whole.params)
    np.testing.assert_equal(untimed(resumed.fitted.history), untimed(whole.fitted.history))
    again = rl.fit(MEMORY, CartPole(), **options)
    identical(again.fitted.train_state, whole.fitted.train_state)
    other = rl.fit(MEMORY, CartPole(), seed=1, **options)
    assert not (jax.tree.leaves(other.params)[-1] == jax.tree.leaves(whole.params)[-1]).all()


def test_steps_are_counted_honestly_and_wrong_arguments_are_named() -> None:
    for steps in (1, 100, 413):  # those of the warm-up are steps too; at least one iteration
        frames: list[int] = []
        watch = LambdaCallback(on_epoch_end=lambda epoch, row, frames=frames: frames.append(row["frames"]))
        watch_only = {"steps": steps, "evaluations": 3, "episodes": 2, "callbacks": [watch], **DISPLAY}
        rl.fit(MEMORY, CartPole(), **watch_only)
        assert frames[-1] == max(2 * -(-steps // 2), MEMORY.prelude + 2)
        assert len(frames) <= 3
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"steps": 0}, "steps=0"),
        ({"steps": 10, "evaluations": 0}, "evaluations=0"),
        ({"steps": 10, "seed": []}, "no seed"),
        ({"steps": 10, "epochs": 3}, "unknown option of rl.fit 'epochs'"),
        ({"steps": 10, "checkpoint_evry": 3}, "checkpoint_every"),
        ({"steps": 3_000_000_000}, "expected at most 2,147,483,647"),
    ]
    for arguments, message in wrong:
        with pytest.raises(ConfigError) as error:
            rl.fit(MEMORY, CartPole(), **arguments, **DISPLAY)
        assert message in str(error.value)
    with pytest.raises(ConfigError, match="DQN chooses"):
        rl.fit(MEMORY, Pendulum(), steps=10, **DISPLAY)


def test_ppo_learns_which_arm_pays() -> None:
    """Two seeds side by side: from a third of the best to all of it, and each of them can be played."""
    env = Bandit(arms=3, kind="bernoulli", means=(0.1, 1.0, 0.3), horizon=4)
    agent = rl.PPO(environments=16, n_steps=8, minibatches=2, n_epochs=2, hidden=(8,), learning_rate=0.02)
    trained = rl.fit(agent, env, steps=2560, seed=(0, 1), evaluations=2, episodes=16, **DISPLAY)
    chance = rl.play_at_random(env, episodes=200).returns.mean()
    assert chance == pytest.approx(4 * 1.4 / 3, abs=0.3)
    assert trained.play(episodes=50).returns.mean() == 4
    first, second = (jax.tree.leaves(trained.variables(member)[0])[-1] for member in range(2))
    assert not (first == second).all()
    assert (jax.tree.leaves(trained.params)[-1] == (first, second)[trained.best]).all()


# Through the pipeline.


SETTINGS: dict[str, Any] = {
    "agent": {
        "steps": 512,
        "episodes": 6,
        "evaluations": 2,
        "settings": {"environments": 4, "n_steps": 32, "hidden": [8], "minibatches": 2},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return danlu.train(
        "CartPole-v1", runs=tmp_path_factory.mktemp("runs"), name="a", say=lambda line: None, **DISPLAY, **SETTINGS
    )


def command(monkeypatch: pytest.MonkeyPatch, capfd: Any, *arguments: Any) -> tuple[Any, str, str]:
    monkeypatch.setattr(sys, "argv", ["danlu", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    shown = capfd.readouterr()
    return stop.value.code, shown.out, shown.err


def test_a_run_holds_its_record_and_plays_the_same(trained: Any) -> None:
    folder = Path(trained.run.path)
    results = json.loads((folder / "results.json").read_text())
    assert results["rows"] == {"training": 512}
    assert {"return", "sampled_return"} <= set(trained.judgement.scores)
    assert "acting at random" in str(trained.judgement)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["frames"] for row in rows] == [256, 512]
    tested = pl.read_csv(folder / "predictions.csv")
    assert tested.columns == ["episode", "return", "length", "terminated"]
    assert tested["return"].mean() == pytest.approx(trained.judgement.scores["return"].value)
    html = (folder / "report.html").read_text()
    for title in ("One episode", "data:image/gif", "How it learnt", "Where it fails"):
        assert title in html
    loaded = load(folder)
    assert type(loaded) is Trained
    assert loaded.purpose == "acting in CartPole-v1, by PPO"
    for greedy in (True, False):
        ours, theirs = (model.play(episodes=6, seed=3, greedy=greedy) for model in (trained.model, loaded))
        assert ours.returns.tolist() == theirs.returns.tolist()
    assert loaded.head == trained.model.head
    assert loaded.provenance["seed"] == 0
    identical(loaded.params, trained.model.params)


def test_predict_and_evaluate_a_table_of_observations(trained: Any, tmp_path: Path) -> None:
    model = trained.model
    seen = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32).round(3)
    frame = pl.DataFrame(seen, schema=["x", "speed", "angle", "spin"])
    found = model.predict(frame)
    agent, env = model.head.agent, model.head.env
    assert found["action"].to_list() == np.asarray(agent.act(env, model.params, model.state, seen, None)).tolist()
    assert found["action"].to_list() == model.head(model.outputs(seen)).tolist()
    assert found.columns == ["action", "value"]
    frame.write_csv(tmp_path / "seen.csv")
    assert load(trained.run.path).predict(tmp_path / "seen.csv")["action"].to_list() == found["action"].to_list()
    for wrong, message in (
        (frame.drop("x"), "columns speed, angle, spin; expected 4 columns of numbers"),
        (frame.with_columns(x=pl.lit("left")), "expected 4 columns of numbers"),
        (frame.with_columns(x=pl.lit(None, pl.Float64)), "empty cells or NaN"),
    ):
        with pytest.raises(SchemaError, match=message):
            model.predict(wrong)
    with pytest.raises(SchemaError, match="Pendulum-v1 shows"):
        model.evaluate("Pendulum-v1")


def test_evaluate_means_the_environment_it_was_trained_in(trained: Any) -> None:
    """Its name alone means its parameters too."""
    head = trained.model.head
    model = dataclasses.replace(trained.model, head=dataclasses.replace(head, env=head.env.replace(max_steps=3)))
    assert model.evaluate("CartPole-v1").scores["return"].value == 3
    assert model.evaluate(CartPole(max_steps=2)).scores["return"].value == 2


def test_play_writes_a_film(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    from PIL import Image

    film = tmp_path / "film.gif"
    code, out, err = command(monkeypatch, capfd, "play", trained.run.path, "--episodes", 3, "--film", film)
    assert code == 0, err
    assert "of 3 episodes in CartPole-v1" in out
    first = next(line for line in out.splitlines() if line.split()[:1] == ["1"]).split()
    assert f"({first[3]} steps, return {first[2]})" in out, "the film is of the first episode"
    with Image.open(film) as image:
        assert image.format == "GIF"
        assert image.n_frames > 2
    for arguments, message in (
        (["play", trained.run.path, "--episodes", 0], "--episodes is 0"),
        (["play", trained.run.path, "--film", tmp_path / "no" / "film.gif"], "cannot write"),
        (["play", tmp_path], "danlu: "),
    ):
        code, _, err = command(monkeypatch, capfd, *arguments)
        assert (code, message in err, "Traceback" in err) == (1, True, False), err


def test_a_killed_run_resumes_to_the_same_weights(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(trained.run.path)
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            danlu.train("CartPole-v1", runs=folder.parent, name="killed", say=lambda line: None, **DISPLAY, **SETTINGS)
    assert not (folder.parent / "killed" / "artifact").exists()
    again = resume(folder.parent / "killed", say=lambda line: None, **DISPLAY)
    weights = [(folder.parent / name / "artifact" / "weights.safetensors").read_bytes() for name in ("a", "killed")]
    assert weights[0] == weights[1]
    assert again.judgement.scores["return"] == trained.judgement.scores["return"]


def strict(text: str) -> Any:
    def refused(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refused)


def test_a_run_keeps_the_policy_that_it_began_with(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """It is tested beside it, and goes on to the same weights when the run that it is of has gone."""
    clone = tmp_path / "clone"
    shutil.copytree(trained.run.path, clone)
    how: dict[str, Any] = {"runs": tmp_path, "say": lambda line: None, **DISPLAY}
    settings = {"agent": {**SETTINGS["agent"], "steps": 256, "evaluations": 2, "policy": str(clone)}}
    whole = danlu.train("CartPole-v1", name="whole", evaluate={"report": False}, **settings, **how)
    assert "the policy that it began with" in str(whole.judgement)
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            danlu.train("CartPole-v1", name="killed", evaluate={"report": False}, **settings, **how)
    shutil.rmtree(clone)
    again = resume(tmp_path / "killed", say=lambda line: None, **DISPLAY)
    identical(again.model.params, whole.model.params)
    assert str(again.judgement) == str(whole.judgement)
    assert strict((tmp_path / "killed" / "config.json").read_text())["agent"]["policy"] == "policy-clone"
    code, _, err = command(monkeypatch, capfd, "train", "CartPole-v1", "--from", clone, "--runs", tmp_path / "no")
    assert (code, "clone" in err, "Traceback" in err, (tmp_path / "no").exists()) == (1, True, False, False), err


def test_a_record_is_json_where_no_episode_ended(tmp_path: Path) -> None:
    """A mean of no episodes is NaN to the training, null in its record, and no number to show."""
    logger = JSONLogger(tmp_path / "metrics.jsonl")
    logger.on_epoch_end(0, {"return": math.nan, "val_return": 2.0, "val_return_each": [math.inf, 1.0]})
    assert strict(logger.path.read_text()) == {"return": None, "val_return": 2.0, "val_return_each": [None, 1.0]}
    told = {"return": math.nan, **dict.fromkeys("abcd", 1.0), "loss": math.nan, "val_return": 2.0}
    assert shown_columns(told, "val_return") == ["a", "b", "c", "d", "val_return"]
    assert shown_columns(told) == ["a", "b", "c", "d", "loss"]


def test_a_whole_number_is_a_number() -> None:
    """``agent.settings.beta=1`` is 1.0: arrays are made by the type."""
    for agent in (rl.DAgger(beta=1), rl.PPO.of({"log_std": -1, "gae_lambda": 1}), rl.DQN(tau=1)):
        kinds = {
            type(getattr(agent, name)) for name in ("beta", "log_std", "gae_lambda", "tau") if hasattr(agent, name)
        }
        assert kinds == {float}


def test_mistakes_get_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    mistakes = [
        (["CartPole-v1", "agent.algorithm=ppoo"], "did you mean 'ppo'"),
        (["CartPole-v1", "agent.settings.learning_rat=0.1"], "did you mean 'learning_rate'"),
        (["CartPole-v1", "agent.settings.hidden=64"], "PPO.hidden is 64"),
        (["CartPole-v1", "agent.step=100"], "did you mean agent.steps=100?"),
        (["CartPole-v1", "agent.environment.gravty=1"], "did you mean 'gravity'"),
        (["CartPole-v1", "agent.algorithm=dqn", "agent.settings.head=c51"], "DQN.head is 'c51'"),
        (["CartPole-v1", "agent.algorithm=td3"], "continuous actions"),
        (["CartPole-v1", "trainer.epochs=3"], "agent.steps says how long"),
        (["CartPole-v1", "trainer.weight_decay=0.1"], "trainer.weight_decay"),
        (["CartPole-v1", "trainer.precision=bfloat16"], "trainer.precision"),
        (["CartPole-v1", "split.folds=3"], "split.folds"),
        (["CartPole-v1", "--target", "pole"], "there is no target"),
        (["CartPol-v1"], "did you mean 'CartPole-v1'"),
        (["Pendulum-v1", "agent.algorithm=dqn"], "DQN chooses one of several actions"),
    ]
    for arguments, message in mistakes:
        code, _, err = command(monkeypatch, capfd, "train", *arguments, "--runs", tmp_path, "--display", "none")
        assert (code, message in err, "Traceback" in err) == (1, True, False), (arguments, err)
    assert not any(tmp_path.iterdir()), "nothing was begun"


# That they learn, each in its own way.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "env", "steps", "reached"),
    [
        pytest.param(rl.PPO(environments=16, n_steps=64), CartPole(), 40_000, 400, id="ppo-cartpole"),
        pytest.param(rl.A2C(), CartPole(), 120_000, 200, id="a2c-cartpole"),
        pytest.param(rl.REINFORCE(), CartPole(), 200_000, 200, id="reinforce-cartpole"),
        pytest.param(rl.DQN(n_step=3), CartPole(), 30_000, 200, id="dqn-cartpole"),
        pytest.param(rl.SAC(), Pendulum(), 10_000, -200, id="sac-pendulum"),
        pytest.param(rl.TD3(), Pendulum(), 10_000, -250, id="td3-pendulum"),
        pytest.param(rl.DDPG(), Pendulum(), 10_000, -300, id="ddpg-pendulum"),
        pytest.param(
            rl.PPO(learning_rate=1e-3, discount=0.95, scale_rewards=True), Pendulum(), 300_000, -400, id="ppo-pendulum"
        ),
    ],
)
def test_each_algorithm_learns(agent: rl.Agent, env: rl.Environment, steps: int, reached: float) -> None:
    """The median of three seeds: one alone may have bad luck."""
    trained = rl.fit(agent, env, steps=steps, **{**DISPLAY, "seed": [0, 1, 2], "episodes": 20})
    each = [rl.play_episodes(agent, env, *trained.variables(i), episodes=50).returns.mean() for i in range(3)]
    assert np.median(each) >= reached


def test_an_agent_without_values_answers_for_a_table() -> None:
    """Behaviour cloning does not say what a state is worth; its actions are told all the same."""
    model = dataclasses.replace(untrained(rl.BehaviourCloning(hidden=(4,)), CartPole()), reader=Agents())
    found = model.predict({name: [0.1, -0.1] for name in "abcd"})
    assert found.columns == ["action"]
    assert found.height == 2


def untrained(agent: rl.Agent, env: rl.Environment) -> Trained:
    env = agent.within(env)
    params, state, _ = agent.network(env).init(jax.random.key(0), agent.in_shape(env))
    return trained_agent(agent, env, params, state)


def test_records_of_any_observations_are_answered() -> None:
    """Several arrays of an agent that remembers; whole numbers must be of the space."""
    mindful = untrained(rl.RecurrentPPO(hidden=(4,), memory=2), CartPole())
    assert [(field.name, field.shape) for field in mindful.fields] == [("memory", (2,)), ("observation", (4,))]
    (told,) = mindful.respond([{"memory": [0, 0], "observation": [0.1, 0, 0, 0]}])
    assert set(told) == {"action", "memory 0", "memory 1", "value"}
    places = Observations(DictSpace((("arm", DictSpace((("at", Discrete(3)),))),)), ())
    assert places.rows([{"arm/at": 2}, {"arm/at": 0}], print)["arm"]["at"].tolist() == [2, 0]
    for wrong in (3, 1.5, -1, [1], "left"):
        with pytest.raises(SchemaError, match="'arm/at' of record 2"):
            places.rows([{"arm/at": 2}, {"arm/at": wrong}], print)
    picture = Observations(Box(0, 255, (1,), "uint8"), (1,))
    with pytest.raises(SchemaError, match="expected whole numbers 0 to 255"):
        picture.rows([{"observation": [256]}], print)


def test_an_answer_that_outputs_alone_do_not_say_is_refused() -> None:
    head = untrained(rl.SAC(hidden=(4,)), Pendulum()).head
    with pytest.raises(ConfigError, match="outputs of the network of SAC do not determine"):
        head(np.zeros((2, 2)))


def test_a_saved_agent_that_does_not_fit_its_environment_is_refused(tmp_path: Path) -> None:
    untrained(rl.DQN(hidden=(4,)), CartPole()).save(tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    for name, value, message in (
        ("environment", to_json(Pendulum()), "does not fit its environment"),
        ("environment", to_json(rl.FrameStack(CartPole(), 2)), "its environment shows"),
        ("agent", to_json(rl.DQN(hidden=(5,))), "not the one that the saved agent has"),
        ("agent", to_json(CartPole()), "is a CartPole in a CartPole"),
        ("agent", None, "is a NoneType in a CartPole"),
        ("environment", {"blueprint": "Nothing"}, "damaged"),
    ):
        changed = {**document, "head": {**document["head"], name: value}}
        (tmp_path / "model.json").write_text(json.dumps(sealed(changed)))
        with pytest.raises(ArtifactError, match=message):
            load(tmp_path)
    changed = {**document, "encoder": {**document["encoder"], "space": 3}}
    (tmp_path / "model.json").write_text(json.dumps(sealed(changed)))
    with pytest.raises(ArtifactError, match="expected a space"):
        load(tmp_path)
