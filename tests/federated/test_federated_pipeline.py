"""``danlu federate``: whose rows are whose, parts within each client, what is refused, and a whole run."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import danlu
from danlu.artifact import RunDirectory
from danlu.cli.app import app
from danlu.data import TableEncoder, TargetEncoder, infer_schema, read_table
from danlu.errors import ConfigError, DataError
from danlu.evaluate import Rows
from danlu.evaluate.clients import client_lines, client_scores
from danlu.pipeline.agreed import agreed_encoders
from danlu.pipeline.anew import write_anew
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import DOMAINS
from danlu.pipeline.joined import files_of_clients, joined_files
from danlu.pipeline.owners import Federation, Owners
from danlu.pipeline.private import facts_of_privacy, guarded, privacy_section, private_recipe
from danlu.pipeline.rounds import Rounds
from danlu.pipeline.tables import Tables
from danlu.pipeline.used import check_used
from danlu.privacy import Ledger, privacy_lines
from danlu.tasks import recipe
from danlu.trained import HeldOut, Labels
from danlu.trained.scores import Asked

RNG = np.random.default_rng(0)
SHIFT = {"Bern": 0.0, "Oslo": 0.5, "Rom": -1.0}
HOSPITAL = np.repeat(list(SHIFT), [120, 80, 40])
X = RNG.normal(size=(240, 3))
Z = X[:, 0] + np.array([SHIFT[name] for name in HOSPITAL]) * X[:, 1]
FRAME = pl.DataFrame(
    {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "hospital": HOSPITAL, "y": np.where(Z > 0, "ill", "well")}
)


def config(**federated):
    return config_from({"data": {"target": "y"}, "federated": federated})


def test_each_client_has_rows_of_each_part() -> None:
    asked = config(by="hospital")
    owners = Owners.of(asked, FRAME.height, FRAME["y"], FRAME["hospital"])
    split, few = owners.divide(asked, FRAME, target="y", test=0.2)
    found = owners.parted(split.train, split.validation, split.test)
    assert few == ()
    assert [rows.size for rows in found.rows("train")] == [78, 52, 26]
    assert [rows.size for rows in found.rows("test")] == [24, 16, 8]
    assert np.array_equal(np.sort(np.concatenate([split.train, split.validation, split.test])), np.arange(240))


def test_a_client_of_few_rows_learns_from_all_of_them() -> None:
    asked, frame = config(by="hospital"), FRAME.head(123)
    owners = Owners.of(asked, 123, frame["y"], frame["hospital"])
    split, few = owners.divide(asked, frame, target="y", test=0.2)
    assert few == ("too few rows to divide, so all are learnt from: client Oslo",)
    assert set(split.train.tolist()) >= {120, 121, 122}


def test_rows_without_a_client_are_shared_out_as_the_clients_own_are() -> None:
    owners = Owners.of(config(clients=4, split="classes", classes=1), 240, FRAME["y"])
    owners = owners.parted(np.arange(240), np.arange(0), np.arange(0))
    known = FRAME["y"].to_numpy()
    shared = owners.like(known, known, 240, 0)
    for number in range(4):
        own, theirs = (np.mean(known[codes == number] == "ill") for codes in (owners.train, shared))
        assert own == pytest.approx(theirs, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "hospital", "clients": 3}, "expected one of them"),
        ({"clients": 3, "method": "scaffold", "optimizer": "adamw"}, "plain gradient descent"),
        ({"clients": 3, "local_steps": 3, "local_epochs": 2}, "expected one of them"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(settings, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Federation(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounds": 3}, "federated.rounds is 3, but would not be used: it is not said whose rows are whose"),
        ({"split": "dirichlet"}, "simulated clients: --clients 10"),
        ({"clients": 3, "alpha": 0.1}, "it is of federated.split=dirichlet and quantity"),
        ({"clients": 3, "proximal": 0.1}, "it is of federated.method=fedprox"),
        ({"clients": 3, "tau": 0.1}, "it is of federated.method=fedadam, fedyogi, fedadagrad"),
        ({"clients": 3, "split": "quantity", "classes": 3}, "it is of federated.split=classes"),
    ],
    ids=str,
)
def test_settings_that_are_not_used_are_refused(settings, said) -> None:
    with pytest.raises(ConfigError, match=said):
        check_used(config(**settings), Tables(), "t.csv", DOMAINS)


def test_rows_of_nobody_are_refused() -> None:
    whose = pl.Series("hospital", ["Bern", None, "Oslo"])
    with pytest.raises(DataError, match="1 of 3 rows have no value in 'hospital'"):
        Owners.of(config(by="hospital"), 3, None, whose)
    with pytest.raises(ConfigError, match="divides classes, and the target is a quantity"):
        Owners.of(config(clients=3, split="dirichlet"), 30, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"c": "e"}, "client Rom lacks the column 'c', which client Bern has"),
        ({}, "column 'c' holds texts at client Rom and numbers at client Bern"),
    ],
    ids=["another column", "another kind"],
)
def test_files_of_clients_that_differ_are_named(tmp_path, change, said) -> None:
    for (name,), rows in FRAME.group_by("hospital"):
        rows = rows.drop("hospital")
        if name == "Rom":
            rows = rows.rename(change) if change else rows.with_columns(pl.lit("low").alias("c"))
        rows.write_csv(tmp_path / f"{name}.csv")
    with pytest.raises(DataError, match=said):
        joined_files(files_of_clients(tmp_path), read_table)


def written(folder: Path, **files: str) -> list[Path]:
    for name, values in files.items():
        file = folder / f"{name.replace('__', '/')}.csv"
        file.parent.mkdir(exist_ok=True)
        file.write_text("c,y\n" + "".join(f"{value},{number}\n" for number, value in enumerate(values.split())))
    return files_of_clients(folder)


def test_files_of_one_name_are_two_clients(tmp_path) -> None:
    """A folder of each client with a file of the same name in it."""
    files = written(tmp_path, Bern__data="1 2", Rom__data="3 4")
    assert joined_files(files, read_table).frame["file"].to_list() == ["Bern/data"] * 2 + ["Rom/data"] * 2
    (tmp_path / "Rom" / "data.txt").write_text("c,y\n5,1\n")
    names = joined_files(files_of_clients(tmp_path), read_table).frame["file"].unique().to_list()
    assert set(names) == {"Bern/data.csv", "Rom/data.csv", "Rom/data.txt"}


@pytest.mark.parametrize("values", ["1.5 2.5", "true false", "2024-01-02 2024-02-03", "red blue"])
def test_a_column_without_a_value_at_one_client_is_one_of_gaps(tmp_path, values) -> None:
    files = written(tmp_path, Bern='"" ""', Rom=values)
    alone = read_table(tmp_path / "Rom.csv")
    table = joined_files(files, read_table)
    assert table.frame["c"].to_list() == [None, None, *alone.frame["c"]]
    assert table.formats["c"] == alone.formats["c"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("a b", "holds texts at client Rom and dates at client Bern"),
        ("true false", "holds true and false at client Rom and dates at client Bern"),
        ("12/25/2024 01/31/2024", "holds dates as %m/%d/%Y at client Rom and as %d/%m/%Y at client Bern"),
    ],
)
def test_columns_that_nobody_could_read_later_are_refused(tmp_path, other, said) -> None:
    files = written(tmp_path, Bern="25/12/2024 31/01/2024", Rom=other)
    with pytest.raises(DataError, match=said):
        joined_files(files, read_table)


def test_later_rows_are_read_as_with_any_client(tmp_path) -> None:
    files = written(tmp_path, Bern="1 2", Oslo="1.5 -99", Rom='"2,5" "3,5"')
    found = joined_files(files, read_table).formats["c"].read(pl.Series(["1.5", "2,5"]))
    assert found.to_list() == [1.5, 2.5]
    files = written(tmp_path, Bern="2024-01-02 2024-02-03", Oslo="25/12/2024 31/01/2024", Rom="2024-01-02 2024-02-03")
    found = joined_files(files, read_table).formats["c"].read(pl.Series(["2024-01-02", "03/02/2024"]))
    assert [str(each.date()) for each in found] == ["2024-01-02", "2024-02-03"]


def test_clients_are_told_with_the_worst_first() -> None:
    truth, prediction = np.arange(40.0), np.arange(40.0)
    prediction[30:] += 3
    rows = Rows("regression", truth, prediction)
    codes = np.repeat([0, 1, 2, -1], [10, 20, 9, 1])
    found = client_scores(rows, ("a", "b", "c"), codes, np.array([5, 6, 7]))
    assert [each.name for each in found.clients] == ["c", "a", "b"]
    assert found.worst_tenth == found.clients[0].score.value == pytest.approx(3.0)
    assert found.mean == pytest.approx(1.0)
    assert found.as_dict()["clients"][0]["rows"] == 9
    assert any("over 3 clients: mean 1" in line for line in client_lines(found))
    codes[30:39] = 0
    lines = client_lines(client_scores(rows, ("a", "b", "c"), codes, np.array([5, 6, 7]), theirs=rows))
    assert lines[3].split() == ["c", "0", "–", "–"]  # without test rows


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_head_fitted_to_sums_of_counts_is_that_of_the_rows_together(task, secure) -> None:
    if secure:
        pytest.importorskip("cryptography")
    draw, codes = np.random.default_rng(5), np.repeat([0, 1, 2], [500, 300, 100])
    logits = draw.normal(size=900) * 3
    target, threshold = TargetEncoder("y", task, ("ill", "well")), "f1"
    answers, truth = (
        np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1),
        draw.normal(size=900) < logits / 3,
    )
    if task == "regression":
        target, threshold = TargetEncoder("y", task, (), "float", 10.0, 4.0), "none"
        answers, truth = 10 + 2 * logits, logits / 2 + draw.normal(size=900)
    rounds = Rounds(
        recipe(task, 900, numeric=2),
        Federation(clients=3, secure=secure),
        Owners(("a", "b", "c"), codes, "", validation=codes),
    )
    held = HeldOut(answers, truth)
    told = rounds.told(held, target)
    assert len(told) == 900
    pooled, summed = (Labels(target).fitted(each, threshold=threshold, calibrate="auto") for each in (held, told))
    for level in (0.5, 0.9):
        for_pooled, for_summed = (
            head.scores.reach(Asked(level), np.full(1, 10.0), None)
            if task == "regression"
            else head.scores.limits(Asked(level), 2)
            for head in (pooled, summed)
        )
        np.testing.assert_allclose(for_summed, for_pooled, rtol=0.012 if task == "regression" else 0, atol=0.0026)
    if task == "binary":
        assert pooled.temperature is not None
        assert summed.temperature == pytest.approx(pooled.temperature, rel=0.01)
        assert abs(summed.threshold - pooled.threshold) < 0.05
    assert rounds.told(held, target.__class__("y", "multiclass", ("a", "b", "c"))) is held


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("federated")
    FRAME.write_csv(folder / "hospitals.csv")
    asked = ["federate", str(folder / "hospitals.csv"), "--target", "y", "--by", "hospital", "--rounds", "3"]
    asked += ["--personal-epochs", "1", "model.width=8", "model.members=2", "--name", "one", "--runs", str(folder)]
    result = CliRunner().invoke(app, [*asked, "--display", "none"])
    assert result.exit_code == 0, result.output
    return folder / "one", result.output


@pytest.mark.slow
def test_a_run_of_clients_is_a_run_as_any_other(run) -> None:
    folder, said = run
    results = json.loads((folder / "results.json").read_text())
    assert {each["client"] for each in results["clients"]["clients"]} == set(SHIFT)
    assert {"the same network trained in one place", "a network of each client alone"} <= set(results["baselines"])
    assert "over 3 clients" in said
    assert "The clients" in (folder / "report.html").read_text()
    model = danlu.load(folder)
    assert model.predict(FRAME.drop("hospital", "y").head(2)).height == 2
    own = danlu.load(folder / "clients" / "Rom")
    assert own.predict(FRAME.head(2)).height == 2


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(run) -> None:
    folder, _ = run
    before = (folder / "artifact" / "weights.safetensors").read_bytes()
    result = CliRunner().invoke(app, ["federate", "--resume", str(folder), "--display", "none"])
    assert result.exit_code == 0, result.output
    assert (folder / "artifact" / "weights.safetensors").read_bytes() == before


def test_what_clients_say_gives_the_encoder_of_all_rows() -> None:
    """Means and scales are those of all rows, though nobody saw them together; levels of fewer than three rows are not named."""
    frame = FRAME.with_columns(pl.Series("ward", [*(["a", "b", "c"] * 80)[:239], "rare"]))
    owners = Owners.of(config(by="hospital"), 240, frame["y"], frame["hospital"])
    owners = owners.parted(np.arange(240), np.arange(0), np.arange(0))
    schema = infer_schema(frame, target="y", drop=("hospital",))
    target = TargetEncoder.fit(frame["y"], task="binary")
    found, same, owners, said = agreed_encoders(frame, schema, target, owners)
    whole = TableEncoder.fit(frame, schema)
    assert same is target
    np.testing.assert_allclose(found.transform(frame)["numeric"], whole.transform(frame)["numeric"], atol=1e-4)
    assert "rare" not in found.schema["ward"].categories
    assert "what leaves a client" in said[-1]
    spread = np.quantile(owners.sample["numeric"], [0.1, 0.5, 0.9], axis=0)
    real = np.quantile(whole.transform(frame)["numeric"], [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_allclose(spread, real, atol=0.1)


@pytest.mark.slow
def test_parts_that_stay_with_clients_give_each_a_version_of_its_own(tmp_path) -> None:
    FRAME.write_csv(tmp_path / "hospitals.csv")
    asked = ["federate", str(tmp_path / "hospitals.csv"), "--target", "y", "--by", "hospital", "--rounds", "2"]
    asked += ["--method", "fedrep", "--own", "head", "--local-epochs", "2", "federated.compare=false"]
    asked += ["model.width=8", "model.members=1", "--name", "one", "--runs", str(tmp_path), "--display", "none"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "one" / "results.json").read_text())["clients"]
    shared, *own = (
        danlu.load(tmp_path / "one" / each) for each in ("artifact", *(f"clients/{name}" for name in SHIFT))
    )
    heads = np.stack([each.params["head"] for each in own])
    rows = np.array([each["learnt"] for name in SHIFT for each in told["clients"] if each["client"] == name])
    np.testing.assert_allclose(shared.params["head"], np.tensordot(rows / rows.sum(), heads, 1), rtol=1e-5, atol=1e-6)
    assert np.array_equal(shared.params["kernel_0"], own[0].params["kernel_0"])
    assert not np.array_equal(heads[0], heads[1])
    (tmp_path / "one" / "report.html").unlink()
    write_anew(RunDirectory.open(tmp_path / "one"), say=lambda line: None)
    assert "own version" in (tmp_path / "one" / "report.html").read_text()


def test_two_ways_to_a_version_of_ones_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="either gives each client a version of its own"):
        config(by="hospital", own=["head"], personal_epochs=2)
    with pytest.raises(ConfigError, match="local_epochs is 1, and fedrep"):
        config(by="hospital", own=["head"], method="fedrep")


def test_what_goes_on_with_a_run_and_who_is_lost_are_said_as_they_are(tmp_path) -> None:
    for name, asked, verb in (("one", {"by": "hospital"}, "federate"), ("two", {"by": None}, "train")):
        run = RunDirectory.create(tmp_path, name=name, config={"federated": asked})
        assert run.again == f"danlu {verb} --resume {run.path}"
    said = [Owners.of(config(clients=4, lost=lost), 40, FRAME["y"].head(40)).sums for lost in (0.25, 0.5)]
    assert said == ["1 of 4 clients is lost in each round", "2 of 4 clients are lost in each round"]


@pytest.mark.slow
def test_the_ledger_of_each_client_is_said_and_the_smallest_keeps_to_the_budget() -> None:
    pytest.importorskip("dp_accounting")
    asked = config_from({"data": {"target": "y"}, "federated": {"by": "hospital", "rounds": 4, "local_epochs": 2},
                         "private": {"epsilon": 3.0, "accountant": "rdp"}})  # fmt: skip
    for name, value in (("noise", 1.0), ("personal_epochs", 2)):
        with pytest.raises(ConfigError, match=f"federated.{name} is {value}"):
            guarded(asked.with_setting(f"federated.{name}", value))
    sizes = {"a": 100, "b": 200}
    owners = SimpleNamespace(names=tuple(sizes), sizes=np.array(list(sizes.values())))
    encoder = SimpleNamespace(in_shape={"numeric": (3,)})
    prepared = SimpleNamespace(owners=owners, encoder=encoder, spent=Ledger(), rows={"train": 300})
    plan = private_recipe(guarded(asked), recipe("binary", 300, numeric=3), prepared)
    steps = {name: 8 * round(rows / plan.private.expected) for name, rows in sizes.items()}
    world = {"clients": {"step": np.array(list(steps.values()))}}
    fitted = SimpleNamespace(
        program=SimpleNamespace(gradient=plan.private), train_state=SimpleNamespace(world=world), stopped_by=None
    )
    facts = facts_of_privacy(asked, prepared, fitted)["privacy"]
    assert 2.9 < facts["clients"]["a"] <= 3.0, "the budget is the smallest client's"
    assert facts["clients"]["b"] < facts["clients"]["a"] == facts["epsilon"]
    assert any("epsilon from" in line and "(b) to 3 (a)" in line for line in privacy_lines(facts))
    assert "<th>client</th>" in privacy_section(facts)[0][1]
