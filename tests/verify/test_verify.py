"""Every algorithm agrees with its oracles, room by room; and a wrong one is found out."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from today import part

from danlu import optim
from danlu.errors import ConfigError
from danlu.nn import INITIALIZERS, activations, losses
from danlu.verify import Case, Check, Report, Row, case, relative_error, run_verify, select, verify
from danlu.verify.run import _run

KINDS = (
    "activation",
    "audit",
    "augment",
    "backprop",
    "box",
    "clipping",
    "data",
    "engine",
    "environment",
    "explain",
    "federated",
    "fewshot",
    "forecast",
    "fusion",
    "generative",
    "initializer",
    "layer",
    "loss",
    "metric",
    "model",
    "objective",
    "optimizer",
    "option",
    "penalty",
    "privacy",
    "recommend",
    "bandits",
    "segments",
    "uplift",
    "rl",
    "rows",
    "sampling",
    "schedule",
    "scorecard",
    "secure",
    "start",
)
IN_TURNS = (  # kinds whose rows take seconds together: a third of them in a run, by the commit; their rooms' own tests are all in each
    "augment",
    "bandits",
    "engine",
    "environment",
    "federated",
    "fewshot",
    "layer",
    "loss",
    "metric",
    "model",
    "option",
    "privacy",
    "rl",
    "rows",
    "start",
)


def agree(names: list[str]) -> None:
    report = verify(names)
    assert report.ok, f"\n{report}"
    assert all(row.reason for row in report.rows if row.tolerance > 1e-5)


def names_of(kind: str) -> list[str]:
    return [case.name for case in select(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_algorithm_agrees_with_its_oracles(kind: str) -> None:
    agree(part(names_of(kind)) if kind in IN_TURNS else names_of(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_TURNS)
def test_those_agree_too_whose_turn_it_is_not(kind: str) -> None:
    tried = part(names_of(kind))
    agree([name for name in names_of(kind) if name not in tried])


@pytest.mark.parametrize("kind", IN_TURNS)
def test_each_row_has_its_turn(kind: str) -> None:
    turns = [part(names_of(kind), number=number) for number in range(3)]
    assert all(turns)
    assert sorted(name for turn in turns for name in turn) == sorted(names_of(kind))


def test_every_kind_is_tested() -> None:
    assert {case.name.split(".")[0] for case in select()} == set(KINDS)


def test_every_algorithm_of_the_rooms_has_a_row() -> None:
    names = {case.name for case in select()}
    assert {f"activation.{name}" for name in activations.ACTIVATIONS} <= names
    assert {f"loss.{name}" for name in losses.LOSSES} <= names
    assert {f"optimizer.{name}" for name in optim.OPTIMIZERS if name != "gradient_descent"} <= names
    assert {f"initializer.{name}" for name in INITIALIZERS} <= names
    assert {f"schedule.{name}" for name in optim.SCHEDULES} <= names


def broken_adam(grads: Any, state: Any, params: Any = None) -> Any:
    """Adam as some tutorials have it: without the bias corrections."""
    mean = jax.tree.map(lambda g, m: state.beta1 * m + (1 - state.beta1) * g, grads, state.mean)
    variance = jax.tree.map(lambda g, v: state.beta2 * v + (1 - state.beta2) * g**2, grads, state.variance)
    updates = jax.tree.map(lambda m, v: -state.learning_rate * m / (jnp.sqrt(v) + state.epsilon), mean, variance)
    return updates, state._replace(step=state.step + 1, mean=mean, variance=variance)


def test_a_wrong_algorithm_fails_its_row_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    right = optim.adam
    monkeypatch.setattr(optim, "adam", lambda rate: right(rate)._replace(update=broken_adam))
    path = tmp_path / "report.json"
    assert run_verify("optimizer.adam", json_path=path) == 1
    assert "optimizer.adam" in (shown := capsys.readouterr().out)
    assert "FAIL" in shown
    [row] = json.loads(path.read_text())["rows"]
    assert row["passed"] is False
    assert row["error"] > 0.01
    monkeypatch.undo()
    assert run_verify("optimizer.adam", json_path=path) == 0
    assert json.loads(path.read_text())["ok"] is True


@pytest.mark.parametrize(
    ("row", "owner", "name", "wrong"),
    [
        ("activation.gelu", activations, "gelu", lambda x: x * jax.nn.sigmoid(1.702 * x)),
        ("activation.relu", activations, "relu", lambda x: jnp.where(x > 0, x, jnp.nan * x)),
        ("activation.softplus", activations, "softplus", lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))),
        ("loss.mse", losses, "MSE", lambda: lambda z, y: jnp.square(z - y).mean(1) / 2),
        ("penalty.l2", losses, "l2", lambda params, over: 0.5 * sum(jnp.sum(w**2) for w in jax.tree.leaves(params))),
        ("clipping.by_norm", optim, "clip_by_norm", optim.clip_by_global_norm),
        ("schedule.cosine", optim, "Cosine", lambda peak, steps, final: optim.Exponential(peak, steps, final / peak)),
    ],
)
def test_wrong_algorithms_are_found_out(
    row: str, owner: Any, name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert not verify(row).ok


def test_a_case_that_raises_is_a_row_that_fails() -> None:
    def boom(check: Check) -> None:
        check(1.0, 1.0)
        raise RuntimeError("out of fuel\nand more")

    row = _run(Case("test.boom", boom))
    assert not row.passed
    assert row.note == "RuntimeError: out of fuel"


def test_a_case_that_compares_nothing_fails() -> None:
    row = _run(Case("test.empty", lambda check: None))
    assert not row.passed
    assert row.note == "nothing was compared"
    assert not Report(()).ok


def test_relative_error() -> None:
    assert relative_error([1.0, 2.0], [1.0, 2.5]) == pytest.approx(0.2)
    assert relative_error([1e-6], [0.0]) == pytest.approx(1e-3)
    assert relative_error(np.inf, np.inf) == 0
    assert relative_error(np.inf, -np.inf) == np.inf
    assert relative_error(np.nan, 1.0) == np.inf
    assert relative_error([1.0, 1.0], [1.0]) == np.inf


def test_an_absent_oracle_is_left_out_and_a_present_one_is_named_with_its_version() -> None:
    check = Check()
    assert check.module("danlu_has_no_such_module") is None
    check(1.0, 1.0)
    check(1.0, 1.0, oracle="closed form")
    assert check.oracles == {"numpy": np.__version__, "closed form": ""}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("optimizr", "did you mean 'optimizer'"),
        ("optimizer.adm", "did you mean 'optimizer.adam'"),
        ("adam", "did you mean 'optimizer.adam'"),
    ],
)
def test_unknown_names(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_verify(pattern)
    assert message in str(caught.value)


def test_a_report_that_cannot_be_written(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        run_verify("schedule.constant", json_path=tmp_path / "absent" / "report.json")


def test_registration_is_checked() -> None:
    select()
    with pytest.raises(ConfigError, match="registered twice"):
        case("optimizer.adam")
    with pytest.raises(ConfigError, match="without a reason"):
        case("test.loose", tolerance=1e-2)


def test_the_table_is_80_columns_wide_and_complete() -> None:
    rows = (
        Row("initializer.truncated_normal", 1.26e-3, 1e-2, ("closed form",), "chance"),
        Row("optimizer.adam", float("inf"), 1e-5, ("numpy 2.3", "torch 2.9"), note="ValueError: a long story " * 5),
    )
    report = Report(rows)
    shown = str(report)
    assert all(len(line) <= 80 for line in shown.splitlines())
    for words in (
        "initializer.truncated_normal",
        "1.3e-03",
        "closed form",
        "pass",
        "FAIL",
        "inf",
        "1 of 2 algorithms FAIL",
    ):
        assert words in shown
    data = json.loads(report.to_json())
    assert [row["passed"] for row in data["rows"]] == [True, False]
    assert data["rows"][1]["error"] is None
    assert set(data["versions"]) == {"python", "jax", "numpy"}


def test_importing_it_loads_no_oracle() -> None:
    code = "import danlu.verify, sys; print([m for m in ('torch', 'sklearn', 'optax', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
