"""Replay: an update brought back, against NumPy and against the next one; branches; what is not the run; wrong use."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import danlu
from danlu import nn, optim
from danlu.cli import main
from danlu.errors import CheckpointError, ConfigError
from danlu.film.proof import Proof, digest
from danlu.pipeline.branching import CHANGEABLE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 2)).round(3)
TABLE = {"a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "y": np.where(X[:, 0] + X[:, 1] > 0, "up", "down").tolist()}
STEP = 6
HOW = {"display": "none", "say": lambda line: None}
SMALL = {
    "model": {"kind": "network", "members": 2, "width": 8},
    "evaluate": {"baselines": False, "report": False, "importance": False, "slices": False},
    "split": {"folds": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return danlu.train(TABLE, target="y", runs=root, name="a", trainer={"epochs": 3}, **SMALL, **HOW).run


@pytest.fixture(scope="module")
def found(run):
    return danlu.replay(run.path, STEP, source=TABLE)


@pytest.fixture(scope="module")
def branched(run):
    return danlu.replay(run.path, STEP, source=TABLE, say=HOW["say"], trainer={"learning_rate": 6e-4})


def _weights(run):
    return load_file(run.artifact_path / "weights.safetensors")


def _equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_run_is_brought_back_to_the_last_bit(run, found):
    assert found.exact
    assert "Equal to the last bit: its record of 3 epochs, and the weights at the end" in str(found).replace(
        "\n  ", " "
    )
    assert found.proof.kept == found.proof.found == digest(*_saved(run))
    assert max(len(line) for line in str(found).split("\n")) <= 80


def _saved(run):
    model = danlu.load(run.path)
    return model.params, model.state


def test_the_weights_after_the_update_are_those_before_the_next_one(run, found):
    after = danlu.replay(run.path, STEP + 1, source=TABLE, stop=True)
    _equal(found.moment.after, after.moment.params)
    assert int(after.moment.state.step[0]) == STEP + 1
    assert "the training was stopped at this update" in str(after).replace("\n  ", " ")


def test_loss_gradient_and_update_equal_their_definitions(run, found):
    moment, model = found.moment, danlu.load(run.path).network
    for number, share in enumerate(moment.shares):
        state = jax.tree.map(lambda leaf, number=number: leaf[number], moment.state)
        batch = jax.tree.map(lambda leaf, number=number: leaf[number], moment.batch)
        network = model.network if hasattr(model, "network") else model.member

        def loss(params, network=network, state=state, batch=batch):
            key = jax.random.fold_in(state.key, state.step)
            logits, _ = network.apply(params, state.model_state, batch["x"], train=True, key=key)
            each = -jax.nn.log_softmax(logits)[jnp.arange(len(batch["y"])), :, batch["y"]].mean(axis=1)
            return jnp.sum(each * batch["weight"]) / jnp.sum(batch["weight"]), each

        (value, each), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        norm = np.sqrt(sum(float(np.sum(np.square(np.float64(leaf)))) for leaf in jax.tree.leaves(grads)))
        np.testing.assert_allclose([share.loss, share.gradient], [value, norm], rtol=1e-4)
        np.testing.assert_allclose(share.losses, each[batch["weight"] > 0], rtol=1e-4)
        change = jax.tree.map(
            lambda new, old, n=number: np.float64(new[n]) - np.float64(old[n]), moment.after, moment.params
        )
        size = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(change)))
        np.testing.assert_allclose(share.update, size, rtol=1e-4)


def test_the_rows_are_those_of_the_data(found):
    learnt = np.unique(np.concatenate(found.numbers))
    assert learnt.size == sum(len(each) for each in found.numbers)  # two folds share no row
    for numbers, share, y, weight in zip(
        found.numbers, found.moment.shares, found.moment.batch["y"], found.moment.batch["weight"], strict=True
    ):
        names = np.array(sorted(set(TABLE["y"])))[np.asarray(y)[np.asarray(weight) > 0]]
        assert names.tolist() == [TABLE["y"][row - 1] for row in numbers]  # the first row is 1
        assert len(share.losses) == len(numbers)
    row, worst = found.hardest(1)[0]
    assert worst == found.moment.shares[0].losses.max()
    assert row in found.numbers[0]


def test_a_branch_without_a_change_is_the_run_to_the_last_bit(run):
    told = []
    same = danlu.replay(run.path, STEP, source=TABLE, say=told.append, name="same", trainer={"learning_rate": 6e-3})
    assert "the change changed nothing" in told[-1]
    (pair,) = same.compared.pairs
    assert (pair.how, dict(pair.measures)) == ("same", {})
    assert "a and same are the same model" in str(same.compared)
    assert "are the same model" in same.page()
    assert same.settings == {"trainer.learning_rate": (0.006, 0.006)}
    _equal(_weights(run), _weights(same.branch.run))
    times = ("seconds", "rows_per_second")
    rows = [
        [{k: v for k, v in row.items() if k not in times} for row in each.read_metrics()]
        for each in (run, same.branch.run)
    ]
    assert rows[0] == rows[1]


def test_a_branch_has_one_past_and_another_future(run, found, branched):
    branch = branched.branch.run
    assert branch.path == run.path.parent / f"a-branch-{STEP}"
    assert branched.settings == {"trainer.learning_rate": (0.006, 0.0006)}
    assert branch.read_json("config.json")["trainer"]["learning_rate"] == 6e-4
    said = branch.read_json("branch.json")
    assert (said["run"], said["step"], said["exact"]) == (str(run.path.resolve()), STEP, True)
    assert branch.read_json("results.json")["branch"] == said
    old, new = run.read_metrics(), branch.read_metrics()
    ends = [row["step"] for row in old]
    for one, other in zip(old, new, strict=True):
        assert (one["loss"] == other["loss"]) == (one["step"] <= STEP)
    assert ends[0] <= STEP < ends[-1]
    assert any(
        np.any(one != other) for one, other in zip(_weights(run).values(), _weights(branch).values(), strict=True)
    )


def test_a_branch_is_a_run_that_can_be_replayed_and_its_first_update_has_the_new_rate(run, found, branched):
    again = danlu.replay(branched.branch.run.path, STEP, source=TABLE)
    assert again.exact
    _equal(again.moment.params, found.moment.params)
    _equal(again.numbers, found.numbers)
    rates = [each.moment.learning_rate for each in (found, again)]
    np.testing.assert_allclose(rates[1] / rates[0], 0.1, rtol=1e-6)  # of the schedule at the same place
    np.testing.assert_allclose(again.moment.shares[0].update / found.moment.shares[0].update, 0.1, rtol=1e-3)
    with pytest.raises(ConfigError, match="branched off before update 6"):
        danlu.replay(branched.branch.run.path, 2, source=TABLE)


def test_both_futures_are_compared_by_the_same_rows(run, branched):
    (pair,) = branched.compared.pairs
    assert (pair.how, pair.rows) == ("paired", 18)
    assert branched.compared.settings == {"trainer.learning_rate": [None, 6e-4]}
    assert "branched off from" in str(danlu.compare_runs(run.path, branched.branch.run.path))
    page = branched.page()
    assert all(title in page for title in ("Two futures", "What the tests tell", "Epoch by epoch"))
    assert page.count("<svg") >= 4
    assert "the first one is 1" in page  # the row of the data
    assert "from there on trainer.learning_rate 0.006 → 0.0006" in page


@pytest.mark.slow
def test_every_setting_that_can_change_does(run):
    values = {
        "trainer": {
            "weight_decay": 0.3,
            "clip_norm": 0.01,
            "beta2": 0.5,
            "epochs": 4,
            "patience": 30,
            "precision": "bfloat16",
        },
        "model": {"dropout": 0.4},
    }
    found = danlu.replay(run.path, STEP, source=TABLE, say=HOW["say"], name="all", **values)
    assert {*found.settings, "trainer.learning_rate", "augment.*"} == set(CHANGEABLE)
    assert found.settings["trainer.clip_norm"] == (1.0, 0.01)
    state = danlu.replay(found.branch.run.path, STEP, source=TABLE).moment.state
    for name, value in (("weight_decay", 0.3), ("max_norm", 0.01), ("beta2", 0.5)):
        np.testing.assert_allclose(optim.hyperparameter(state.opt_state, name), value, rtol=1e-6)
    rates = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.model_state) if "rate" in str(path[-1])]
    assert rates
    np.testing.assert_allclose(np.concatenate(rates), 0.4, rtol=1e-6)
    assert len(found.branch.run.read_metrics()) == 4


@pytest.mark.slow
def test_a_branch_that_was_killed_at_its_beginning_goes_on_from_there(branched):
    run = branched.branch.run
    kept = _weights(run)
    for folder in (run.artifact_path, run.checkpoints_path):
        shutil.rmtree(folder)
    danlu.pipeline.resume(run.path, source=TABLE, **HOW)
    _equal(kept, _weights(run))


def test_what_is_not_the_run_is_said(run, branched, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "artifact")
    shutil.copytree(branched.branch.run.artifact_path, copy / "artifact")
    other = danlu.replay(copy, STEP, source=TABLE)
    assert not other.exact
    assert "the weights at the end are not" in str(other).replace("\n  ", " ")
    rows = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    rows[1]["loss"] = float(np.nextafter(rows[1]["loss"], 1))
    (copy / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = json.loads((copy / "results.json").read_text())
    results["environment"]["jax"] = "0.0.1"
    (copy / "results.json").write_text(json.dumps(results))
    other = danlu.replay(copy, STEP, source=TABLE)
    assert not other.exact
    told = str(other).replace("\n  ", " ")
    assert f"in epoch 2 loss was {rows[1]['loss']}" in told
    assert "jax was 0.0.1, and is" in told
    assert 'class="conclusion worse"' in other.page()


def test_a_branch_whose_schedule_has_another_form_goes_on(run):
    """The longer training warms up, the shorter one had no room for it: another tree of hyper-parameters."""
    branch = danlu.replay(run.path, 1, source=TABLE, name="longer", say=HOW["say"], trainer={"epochs": 8}).branch.run
    forms = [
        {name for name in load_file(each.checkpoints_path / "last.safetensors") if "learning_rate" in name}
        for each in (run, branch)
    ]
    assert forms[0] != forms[1]
    rows = branch.read_metrics()
    assert len(rows) == 8
    steps = rows[-1]["step"]
    rising = int(0.05 * steps)
    assert rising > 0
    level = int(0.5 * steps)  # a table's rate stays at its peak so long
    share = np.maximum(np.array([row["step"] for row in rows]) - rising - level, 0) / (steps - rising - level)
    np.testing.assert_allclose(
        [row["learning_rate"] for row in rows], 6e-3 * (1 + np.cos(np.pi * share)) / 2, rtol=1e-4, atol=1e-8
    )


def test_a_branch_that_is_refused_leaves_nothing_behind(run, monkeypatch):
    def refused(*args, **how):
        raise CheckpointError("does not fit")

    before = sorted(path.name for path in run.path.parent.iterdir())
    monkeypatch.setattr("danlu.pipeline.branching.train_from", refused)
    with pytest.raises(CheckpointError, match="does not fit"):
        danlu.replay(run.path, STEP, source=TABLE, trainer={"learning_rate": 0.1})
    assert sorted(path.name for path in run.path.parent.iterdir()) == before


def test_the_rate_of_the_update_is_on_the_line_of_the_page():
    from danlu.film.replayed_page import _with_point

    assert _with_point([1, 2, 3], [0.3, 0.2, 0.0], 1.5, 0.29) == ([1, 1.5, 2, 3], [0.3, 0.29, 0.2, 0.0])
    assert _with_point([1, 2], [0.3, 0.2], 1, 0.3) == ([1, 2], [0.3, 0.2])


def test_data_that_was_moved_is_found_where_it_is_said_to_be(tmp_path, capsys, monkeypatch):
    def status(*words):
        monkeypatch.setattr("sys.argv", ["danlu", "replay", str(run), "--step", "1", "--display", "none", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, f"{said.out} {said.err}".replace("\n", " ")

    file, moved = tmp_path / "t.csv", tmp_path / "moved.csv"
    pl.DataFrame(TABLE).write_csv(file)
    run = danlu.train(file, target="y", runs=tmp_path, name="r", trainer={"epochs": 1}, **SMALL, **HOW).run.path
    file.rename(moved)
    code, said = status()
    assert code
    assert f"danlu.replay('{run}', 1, source=…)" in said
    assert "--data FILE" in said
    code, said = status("--data", str(moved))
    assert (code, "Equal to the last bit" in said) == (0, True)
    branch = danlu.replay(run, 1, source=moved, say=HOW["say"], trainer={"learning_rate": 0.1}).branch.run
    assert branch.read_json("config.json")["data"]["source"] == str(moved)
    metrics = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(metrics.replace('"loss": ', '"loss": 1', 1))
    code, said = status("--data", str(moved))
    assert (code, "This is not the run to the last bit" in said) == (1, True)
    moved.write_text(moved.read_text() + "1,2,up\n")
    code, said = status("--data", str(moved))
    assert code
    assert "is not what the run" in said


def test_nothing_compared_is_not_exact():
    nothing = Proof(0, None, "", "", (), whole=False)
    assert not nothing.exact
    assert not nothing.differs
    assert "Nothing was compared" in nothing.sentences[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trainer": {"batch_size": 3}}, "counted in batches"),
        ({"trainer": {"seed": 3}}, "which rows are tested"),
        ({"answers": {"level": 0.8}}, "counts after the training"),
        ({"model": {"width": 9}}, "what the training began with"),
        ({"trainer": {"epochs": 1}}, "would have ended before"),
        ({"trainer": {"clip_norm": None}}, "which takes 1.0, as the run did: nothing would change"),
        ({"trainer": {"learning_rate": -1}}, "learning_rate is -1"),
        ({"trainer": {"momentum": 1}}, "unknown setting"),
    ],
)
def test_what_cannot_change_in_the_middle_is_refused(run, settings, said):
    before = sorted(path.name for path in run.path.parent.iterdir())
    with pytest.raises(ConfigError, match=said):
        danlu.replay(run.path, STEP, source=TABLE, **settings)
    assert sorted(path.name for path in run.path.parent.iterdir()) == before


@pytest.mark.parametrize("step", [-1, True, "6", 10_000])
def test_an_update_that_there_is_not_is_refused(run, step):
    with pytest.raises(ConfigError, match="step is"):
        danlu.replay(run.path, step, source=TABLE)


def test_the_command_line(run, capsys, monkeypatch):
    def said(*words):
        monkeypatch.setattr("sys.argv", ["danlu", "replay", str(run.path), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code != 0
        return capsys.readouterr().err

    assert "needs the update" in said()
    told = said("--step", "3", "trainer.learning_rate=0.1")
    assert "was trained on data in memory" in told
    assert "did you mean trainer.learning_rate" in said("--step", "3", "lr=0.1")


def test_what_was_learnt_is_kept_and_settings_are_taken():
    def state(rate, dropout, l2):
        x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
        network = nn.Sequential((nn.Dense(2), nn.Dropout(dropout), nn.BatchNorm(), nn.Dense(1)))
        fitted = danlu.fit(
            network, x, x[:, 0], loss="mse", optimizer=optim.chain(optim.clip_by_global_norm(rate), optim.adam(rate)),
            batch_size=4, epochs=1, l2=l2, seed=int(100 * rate), display="none",
        )  # fmt: skip
        return fitted.train_state

    one, other = state(0.1, 0.2, 0.5), state(0.3, 0.4, 0.7)
    both = one.with_settings(other)
    _equal(both.params, one.params)
    assert float(both.model_state[1]["rate"]) == pytest.approx(0.4)
    _equal(both.model_state[2], one.model_state[2])
    for name in ("learning_rate", "max_norm"):
        assert float(optim.hyperparameter(both.opt_state, name)) == pytest.approx(0.3)
    _equal(both.opt_state[1].mean, one.opt_state[1].mean)
    assert int(both.opt_state[1].step) == 2
    assert float(both.weights["l2"]) == pytest.approx(0.7)


@pytest.mark.slow
def test_a_fold_is_brought_back_with_its_own_rows_and_seed(tmp_path):
    how = {"model": SMALL["model"], "evaluate": SMALL["evaluate"], "runs": tmp_path, "name": "cv"}
    run = danlu.cross_validate(TABLE, target="y", folds=2, trainer={"epochs": 1}, **how, **HOW).run.path
    assert danlu.replay(run / "folds" / "2", 1, source=TABLE).exact
    assert danlu.replay(run, 1, source=TABLE, say=HOW["say"]).run.path == run / "folds" / "1"
    with pytest.raises(ConfigError, match="is a cross-validation"):
        danlu.replay(run, 1, source=TABLE, trainer={"learning_rate": 0.1})
