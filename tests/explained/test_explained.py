"""Single answers of small models of every kind, explained: by definition, within their limits, in 80 columns; or one clear message."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.cli import main
from danlu.errors import ConfigError
from danlu.explained import Explained, Explanations, Part
from danlu.explained.near import Nearness
from danlu.explained.view import wide
from danlu.nn.quantized.plain import unquantized
from danlu.pipeline.explain import rows_asked

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
ROWS = GOLDEN / "table-blend" / "asked.csv"
COLUMNS = ["city", "size", "day"]


def quiet(notice: str) -> None:
    pass


@pytest.fixture(scope="module")
def model() -> Any:
    return danlu.load(GOLDEN / "table-blend" / "model")


@pytest.fixture(scope="module")
def found(model: Any) -> Explanations:
    return danlu.explain(model, str(ROWS), rows=[2, 4], background=str(ROWS), say=quiet)  # type: ignore[operator]


def test_a_value_far_outside_the_training_range_is_told_in_the_answer_of_its_row(model: Any) -> None:
    odd = pl.read_csv(ROWS, try_parse_dates=True).head(2).with_columns(size=pl.Series([10.0, 1e9]))
    fine, far = danlu.explain(model, odd, background=str(ROWS), changes=0, say=quiet)  # type: ignore[operator]
    assert fine.doubts == ()
    assert far.as_dict()["doubts"][0].startswith("size is 1e+09, far outside the training range")
    assert str(far).split("\n")[1].startswith("! size is 1e+09")
    assert "size is 1e+09" in far._repr_html_().split('<p class="doubt">')[1]


@pytest.mark.parametrize("place", [0, 1])  # row 4 has no size
def test_the_values_are_those_of_the_definition_for_what_predict_answers(
    model: Any, found: Explanations, place: int
) -> None:
    frame, each = pl.read_csv(ROWS, try_parse_dates=True), found[place]
    own, code = (1, 3)[place], model.head.target.classes.index(each.data["class"])

    def value(chosen: tuple[str, ...]) -> float:
        mixed = frame.with_columns(frame[[own] * 6][name] for name in chosen)
        return float(model.predict_values(mixed, say=quiet)[:, code].mean())

    for part in each.parts:
        others, expected = [name for name in COLUMNS if name != part.name], 0.0
        for size in range(3):
            weight = math.factorial(size) * math.factorial(2 - size) / 6
            for chosen in itertools.combinations(others, size):
                expected += weight * (value((*chosen, part.name)) - value(chosen))
        assert part.added == pytest.approx(expected, abs=1e-6)
    assert (each.value, each.base) == pytest.approx((value(tuple(COLUMNS)), value(())), abs=1e-6)
    assert abs(each.gap) < 1e-9
    assert each.data["exact"]


def test_every_counterfactual_flips_the_answer_of_predict_within_its_limits(model: Any, found: Explanations) -> None:
    frame, flipped = pl.read_csv(ROWS, try_parse_dates=True), 0
    for each, place in zip(found, (1, 3), strict=True):
        before = model.predict(frame[place], say=quiet)["price"][0]
        for change in each.data["counterfactuals"]:
            row = frame[place].with_columns(pl.lit(value).alias(name) for name, value in change["changes"].items())
            assert model.predict(row, say=quiet)["price"][0] != before
            assert set(change["changes"]) <= {"city", "size"}
            flipped += 1
    assert flipped
    how: dict[str, Any] = {"rows": [2], "background": str(ROWS), "say": quiet}
    none = danlu.explain(model, str(ROWS), keep="city,size", **how)[0]  # type: ignore[operator]
    assert none.data["counterfactuals"] == []
    assert "none within these limits" in str(none)
    with pytest.raises(ConfigError, match="unknown column to keep 'town'"):
        danlu.explain(model, str(ROWS), keep=["town"], **how)  # type: ignore[operator]


def test_it_fits_a_terminal_and_is_plain_data_and_a_page(found: Explanations, tmp_path: Path) -> None:
    assert max(map(wide, str(found).splitlines())) <= 80
    assert "equal within" in str(found)
    data = json.loads(found.write(tmp_path / "why.json").read_text())
    assert sum(part["added"] for part in data[0]["parts"]) == pytest.approx(data[0]["value"] - data[0]["base"])
    page = found.write(tmp_path / "why.html").read_text()
    assert page.count("<svg") == 4
    assert page.count("<svg") == found._repr_html_().count("<svg")
    with pytest.raises(ConfigError, match=r"why\.pdf"):
        found.write(tmp_path / "why.pdf")


def test_names_of_any_length_fit_and_are_escaped() -> None:
    parts = tuple(Part(f"<b>{'字' * 40}{place}", "值" * 30, (-1) ** place / (place + 1), 0.01) for place in range(20))
    whole = sum(part.added for part in parts)
    each = Explained(row="row 1", answer="y = <i>", scored="The y", value=whole, base=0.0, against="of none", parts=parts,
                     method="By hand.", gap=0.0)  # fmt: skip
    assert max(map(wide, str(each).splitlines())) <= 80
    assert "8 other columns" in str(each)
    assert "<i>" not in each._repr_html_()
    assert "misses" in str(dataclasses.replace(each, gap=0.5))


def test_gradients_speak_of_the_network_and_add_up_and_other_weights_say_something_else(model: Any) -> None:
    how: dict[str, Any] = {"rows": [2], "background": str(ROWS), "say": quiet, "method": "gradients"}
    each = danlu.explain(model, str(ROWS), **how)[0]  # type: ignore[operator]
    network = model.part("network").predict_values(str(ROWS), say=quiet)
    code = model.head.target.classes.index(each.data["class"])
    assert each.value == pytest.approx(network[1, code], abs=1e-6)
    assert each.base == pytest.approx(network[:, code].mean(), abs=1e-4)
    assert abs(each.gap) <= 1e-4
    assert "network alone" in each.method
    key = jax.random.key(0)
    other = dataclasses.replace(
        model,
        params=jax.tree.map(lambda leaf: jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape), model.params),
    )
    mixed = danlu.explain(other, str(ROWS), of=each.data["class"], **how)[0]  # type: ignore[operator]
    apart = [abs(a.added - b.added) for a, b in zip(each.parts, mixed.parts, strict=True)]
    assert max(apart) > 0.1 * max(abs(part.added) for part in each.parts)
    smooth = danlu.explain(model, str(ROWS), **{**how, "method": "smoothgrad"})[0]  # type: ignore[operator]
    assert "SmoothGrad" in smooth.method
    for wrong in ({"exact": True}, {"keep": "city"}):
        with pytest.raises(ConfigError, match="would not be used"):
            danlu.explain(model, str(ROWS), **how, **wrong)  # type: ignore[operator]


@pytest.mark.parametrize(
    "kind",
    [
        "series",
        "detection",
        "segmentation",
        "multilabel",
        "language",
        "translation",
        "agent",
        "recommend",
        "bandit",
        "pages",
        "uplift",
    ],
)
def test_other_kinds_get_one_message(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"single answers of a model for .* are not explained"):
        danlu.explain(danlu.load(GOLDEN / kind / "model"), "rows.csv")  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "text", "sequence", "sound"])
def test_pixels_words_and_steps_add_up(kind: str, tmp_path: Path) -> None:
    asked = next(path for path in (GOLDEN / kind).iterdir() if path.name.startswith("asked"))
    source = np.load(asked) if asked.suffix == ".npy" else str(asked)
    model = danlu.load(GOLDEN / kind / "model")
    [each] = danlu.explain(model, source, rows=[1], say=quiet)  # type: ignore[operator]
    answers = model.predict(source, say=quiet)
    assert each.value == pytest.approx(answers[f"probability {each.data['class']}"][0], abs=1e-5)
    assert abs(each.gap) <= 5e-4
    assert sum(part.added for part in each.parts) - each.gap == pytest.approx(each.value - each.base, abs=1e-6)
    assert max(map(wide, str(each).splitlines())) <= 80
    assert "<div class=" in each._repr_html_()
    with pytest.raises(ConfigError, match="for the columns of tables"):
        danlu.explain(model, source, rows=[1], method="shapley", say=quiet)  # type: ignore[operator]


def test_rows_are_named_and_the_first_five_are_taken() -> None:
    told: list[str] = []
    assert rows_asked(None, 9, told.append).tolist() == [0, 1, 2, 3, 4]
    assert "first 5 of 9 rows" in told[0]
    assert rows_asked("2, 4-5", 9).tolist() == [1, 3, 4]
    for wrong in ("0", "1-10", "a", "", []):
        with pytest.raises(ConfigError):
            rows_asked(wrong, 9)


def test_a_quantity_is_reached_as_far_as_it_is_asked_and_the_row_itself_is_most_alike() -> None:
    model, rows = danlu.load(GOLDEN / "quantity" / "model"), str(GOLDEN / "quantity" / "asked.csv")
    known = pl.read_csv(rows).with_columns(price=pl.int_range(6) * 10.0)
    how: dict[str, Any] = {"rows": [1], "background": known, "say": quiet}
    values = model.predict_values(rows, say=quiet)
    bound = float((values[0] + values.max()) / 2)
    each = danlu.explain(model, rows, to=f">={bound}", **how)[0]  # type: ignore[operator]
    assert each.data["counterfactuals"] == [] or each.data["counterfactuals"][0]["answer"]["price"] >= bound
    assert "What would change the answer" in str(each)
    nearest = each.data["alike"][0]
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)
    assert (nearest["row"]["city"], nearest["true"]) == (known["city"][0], "0.0")
    assert "What would change" not in str(danlu.explain(model, rows, **how)[0])  # type: ignore[operator]
    with pytest.raises(ConfigError, match="the quantity to reach"):
        danlu.explain(model, rows, to="dear", **how)  # type: ignore[operator]


def test_an_estimator_is_explained_from_arrays(model: Any, found: Explanations) -> None:
    class Estimator:
        model_ = dataclasses.replace(model, reader=None)

    frame = pl.read_csv(ROWS).select(COLUMNS)
    array = np.array(frame.rows(), dtype=object)
    each = danlu.explain(Estimator(), array, rows=[2], background=frame, say=quiet, changes=0)[0]  # type: ignore[operator]
    assert [part.added for part in each.parts] == pytest.approx([part.added for part in found[0].parts], abs=1e-9)
    with pytest.raises(ConfigError, match=r"expected \(rows, 3\): city, size, day"):
        danlu.explain(Estimator(), array[:, :2], background=frame)  # type: ignore[operator]
    with pytest.raises(ConfigError, match="received a int"):
        danlu.explain(3, array)  # type: ignore[operator]


def test_each_encoded_column_is_known_to_come_from_the_column_that_changes_it() -> None:
    rng = np.random.default_rng(0)
    rows = {
        "text": [
            f"{rng.choice(['red', 'old', 'big'])} thing {rng.choice(['here', 'there'])} number {i % 3}"
            for i in range(60)
        ],
        "code": [f"{'ABC'[i % 3]}{i}" for i in range(60)],
        "gap": [None if i % 7 == 2 else float(i) for i in range(60)],
        "day": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(60)],
        "city": ["Bern", "Oslo", "Roma"] * 20,
        "size": rng.normal(size=60).tolist(),
    }
    frame = danlu.data.read_table(rows).frame
    schema = danlu.data.infer_schema(
        frame.with_columns(y=pl.int_range(60) % 2), target="y", kinds={"text": "text", "code": "categorical"}
    )
    encoder = danlu.data.TableEncoder.fit(frame, schema)
    before, counted = encoder.transform(frame), 0
    assert {array: len(whose) for array, whose in encoder.sources.items()} == {k: v.shape[1] for k, v in before.items()}
    for place, column in enumerate(schema.features):
        order = [(row + 25) % 60 for row in range(60)]
        after = encoder.transform(frame.with_columns(frame[column.name][order]))
        for array, values in after.items():
            changed = np.flatnonzero((values != before[array]).any(axis=0))
            assert set(encoder.sources[array][changed]) <= {place}
            counted += len(changed)
    assert counted == sum(values.shape[1] for values in before.values())


def test_a_row_with_a_wrong_answer_is_what_moved_its_own_answer_most() -> None:
    model, rows = danlu.load(GOLDEN / "quantity" / "model"), pl.read_csv(GOLDEN / "quantity" / "asked.csv")
    values = model.predict_values(rows, say=quiet)
    how: dict[str, Any] = {"rows": [3], "changes": 0, "say": quiet, "influence": 2}
    known = rows.with_columns(price=values + np.eye(6)[2] * 1000)
    each = danlu.explain(model, rows, background=known, **how)[0]  # type: ignore[operator]
    first, second = each.data["moved"]
    assert first["row"]["size"] == rows["size"][2]
    assert first["without"] < -10 * abs(second["without"])
    assert "that moved it most" in str(each)
    assert max(map(wide, str(each).splitlines())) <= 80
    with pytest.raises(ConfigError, match="needs their true answers"):
        danlu.explain(model, rows, background=rows, **how)  # type: ignore[operator]
    with pytest.raises(ConfigError, match="influence would not be used"):
        danlu.explain(model, rows, background=known, method="gradients", **how)  # type: ignore[operator]


def test_how_near_a_row_is_to_training_rows() -> None:
    schema = danlu.data.infer_schema(
        pl.DataFrame({"a": [0.0, 1.0, 2.0] * 7, "b": ["x", "y", "y"] * 7, "t": [0, 1, 1] * 7}), target="t"
    )
    near = Nearness(pl.DataFrame({"a": [0.0, 10.0], "b": ["x", "y"]}), schema)
    asked = pl.DataFrame({"a": [0.0, 0.0, None], "b": ["x", "y", "z"]}, schema={"a": pl.Float64, "b": pl.String})
    np.testing.assert_allclose(near.distance(asked), [0, 0.5, 1], atol=1e-6)


def test_the_command_line(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["danlu", "explain", str(GOLDEN / "table-blend" / "model"), *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    code, out, _ = run(str(ROWS), "--rows", "1", "--background", str(ROWS), "--json", "--changes", "0")
    assert code == 0
    assert json.loads(out)[0]["parts"][0]["name"] == "city"
    code, out, err = run(str(ROWS), "--rows", "1")
    assert (code, out) == (1, "")
    assert "--background FILE" in err
    code, _, err = run(str(ROWS), "-o", "why.pdf")
    assert code == 1
    assert "expected a name in .html" in err


def test_weights_of_whole_numbers_are_looked_into() -> None:
    """A quantised network is explained as the one of real numbers that it stands for, to the last word."""
    folder = GOLDEN.with_name("version-4") / "text"
    model = danlu.load(folder / "model")
    [found] = danlu.explain(model, str(folder / "asked.csv"), rows=[1], say=quiet)  # type: ignore[operator]
    plain = dataclasses.replace(
        model,
        **dict(zip(("network", "params", "state"), unquantized(model.network, model.params, model.state), strict=True)),
    )
    [same] = danlu.explain(plain, str(folder / "asked.csv"), rows=[1], say=quiet)  # type: ignore[operator]
    assert found.as_dict() == same.as_dict()
    assert any(abs(part.added) > 1e-6 for part in found.parts)
    whole = dataclasses.replace(model, network=model.network.replace(activations="dynamic"))
    [told] = danlu.explain(whole, str(folder / "asked.csv"), rows=[1], say=quiet)  # type: ignore[operator]
    assert "real numbers in place of whole ones" in told.as_dict()["method"]
