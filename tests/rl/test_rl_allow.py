"""A saved agent or run imports nothing that the user has not named, whatever it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from typer.testing import CliRunner

import danlu
from danlu.artifact import RunDirectory
from danlu.artifact.artifact import sealed
from danlu.artifact.files import json_text
from danlu.blueprint import from_json, to_json
from danlu.cli.app import app
from danlu.errors import ConfigError, DanluError, UntrustedError
from danlu.pipeline import resume
from danlu.pipeline.config import config_from
from danlu.rl import DQN, External, FrameStack, make
from danlu.rl.acting import trained_agent
from danlu.rl.allow import _ALLOWED, allow

MODULE = """
import gymnasium, pathlib
from gymnasium.envs.classic_control import CartPoleEnv
pathlib.Path({marker!r}).write_text("ran")

class Walk(CartPoleEnv):
    pass

gymnasium.register("Walk-v0", entry_point="{name}:Walk", max_episode_steps=20)
"""


PLACE = ("head", "environment")
OLD = Path(__file__).parents[1] / "trained" / "golden" / "version-2" / "agent" / "model"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The name of a module in the working folder, and the file that it writes when it runs."""
    name, marker = f"walks_{tmp_path.name.replace('-', '_')}", tmp_path / "marker"
    (tmp_path / f"{name}.py").write_text(MODULE.format(marker=str(marker), name=name))
    monkeypatch.chdir(tmp_path)
    yield name, marker
    import gymnasium

    sys.modules.pop(name, None)
    gymnasium.registry.pop("Walk-v0", None)
    _ALLOWED.pop(name, None)


def external(name: str, **parameters: Any) -> dict[str, Any]:
    """An environment as a file names it."""
    return {
        "blueprint": "External", "max_steps": 20, "name": name, "parameters": [list(p) for p in parameters.items()], "workers": 0,
    }  # fmt: skip


def saved_agent(folder: Path, environment: dict[str, Any], *where: str) -> Path:
    """An agent that was never trained, in an environment that its file was made to name."""
    agent, env = DQN(hidden=(4,)), make("CartPole-v1")
    params, state, _ = agent.network(env).init(jax.random.key(0), env.observation_space.shape)
    trained_agent(agent, env, params, state).save(folder)
    return named_in(folder, environment, *where)


def named_in(folder: Path, environment: dict[str, Any], *where: str) -> Path:
    """The saved agent with another environment at this place of its document."""
    document = json.loads((folder / "model.json").read_text())
    part = document
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] = environment
    (folder / "model.json").write_text(json.dumps(sealed(document)))
    return folder


def test_loading_an_agent_imports_nothing(module: Any, tmp_path: Path) -> None:
    name, marker = module
    folder = saved_agent(tmp_path / "agent", external(f"{name}:Walk-v0"), *PLACE)
    with pytest.raises(UntrustedError, match=f"needs the module {name} and was not named by you") as caught:
        danlu.load(folder)
    assert caught.value.hint == f"if you trust the code of {name}: --allow {name} (in Python: allow=({name!r},))"
    stack = {"blueprint": "FrameStack", "env": external(f"{name}:Walk-v0"), "frames": 2}
    for number, where in enumerate((PLACE, ("head", "agent", "env"), ("encoder", "space"))):
        with pytest.raises(UntrustedError):  # asks its environment what it shows as it is built
            danlu.load(saved_agent(tmp_path / f"stack{number}", stack, *where))
    for number, environment in enumerate((stack, external(f"{name}:Walk-v0"))):  # an agent of an earlier version
        shutil.copytree(OLD, tmp_path / f"old{number}")
        with pytest.raises(UntrustedError):
            danlu.load(named_in(tmp_path / f"old{number}", environment, "task", "environment"))
    table = tmp_path / "x.csv"
    table.write_text("a,b\n1,2\n")
    for command in (
        ["play", str(folder)],
        ["evaluate", str(folder), "CartPole-v1"],
        ["predict", str(folder), str(table)],
    ):
        assert isinstance(CliRunner().invoke(app, command).exception, UntrustedError)
    assert not marker.exists()
    assert name not in sys.modules
    assert str(tmp_path) not in sys.path
    model = danlu.load(folder, allow=(name,))
    assert marker.read_text() == "ran"
    assert model.next_steps("run", "")[0][-2:] == ("--allow", name)
    assert len(model.play(episodes=1).returns) == 1


def test_a_run_of_someone_else_imports_nothing(module: Any, tmp_path: Path) -> None:
    name, marker = module
    values = {"data": {"source": f"{name}:Walk-v0"}, "agent": {"steps": 64}}
    run = RunDirectory.create(tmp_path, name="run", config=config_from(values).as_dict())
    run.write_json("source.json", {"sha256": None})
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UntrustedError, match=name):
        resume(run.path, display="none", say=lambda line: None)
    for options in (["--resume", str(run.path)], ["--config", "config.json"]):
        assert isinstance(CliRunner().invoke(app, ["train", *options]).exception, UntrustedError)
    assert not marker.exists()


def test_what_the_user_types_is_meant(module: Any, tmp_path: Path) -> None:
    name, marker = module
    assert make(f"{name}:Walk-v0").max_steps == 20
    assert marker.exists()
    assert str(tmp_path) not in sys.path
    assert External(20, f"{name}:Walk-v0").observation_space.shape == (4,)  # imported by now


def test_the_command_finds_a_module_in_the_working_folder(module: Any, tmp_path: Path) -> None:
    name, _ = module
    command = [sys.executable, "-P", "-m", "danlu", "train", f"{name}:Walk-v0", "agent.steps=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "agent.steps" in done.stderr.lower() or "steps is 0" in done.stderr  # found, and refused for its setting
    assert "Traceback" not in done.stderr


def test_parameters_may_name_code_too() -> None:
    import gymnasium

    gymnasium.register("danlu/Shim-v0", entry_point="some_shim_nowhere:Shim")
    gymnasium.register("danlu/Known-v0", entry_point="json.tool:Known")
    for name, parameters in (
        ("danlu/Shim-v0", ()),
        ("danlu/Known-v0", (("env_id", "evilmod:CartPole-v1"),)),
        ("danlu/Known-v0", (("deep", ((1, ("evilmod",)),)),)),
        ("CartPole-v1", (("sutton_barto_reward", "../x.xml"),)),
        ("json.nothing:CartPole-v1", ()),
    ):
        with pytest.raises(UntrustedError, match="not named by you"):
            External(5, name, parameters).observation_space  # noqa: B018
    assert External(5, "FrozenLake-v1", (("map_name", "8x8"),)).observation_space.n == 64
    assert "some_shim_nowhere" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_x", "there is no module no_such_module_x, neither installed nor in"),
        ("no_such.module", "there is no module no_such.module"),
        ("a b", "cannot be allowed; expected the name of a module"),
        ("../evil", "cannot be allowed"),
        ("", "cannot be allowed"),
    ],
)
def test_modules_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        allow((name,))


@pytest.mark.parametrize("line", ["1/0", "raise SystemExit(3)", "import no_such_module_y", "=", "raise KeyError"])
def test_modules_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failing_walks.py").write_text(line)
    with pytest.raises(DanluError, match=r"failing_walks (cannot be imported|needs no_such_module_y)"):
        make("failing_walks:Walk-v0")
    assert os.getcwd() not in sys.path


def test_frame_stack_is_still_built() -> None:
    assert FrameStack(make("CartPole-v1"), 2).observation_space.shape[0] == 2 * 4


def test_a_space_without_bounds_comes_back_from_json() -> None:
    """JSON has no infinity: it is written as null."""
    space = make("CartPole-v1").observation_space
    assert from_json(json.loads(json_text(to_json(space)))) == space
