"""Models of rows: what they draw, what they say of rows, and the test of made-up rows."""

from __future__ import annotations

import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from danlu.data import infer_schema
from danlu.data.rows import RowEncoder
from danlu.errors import ConfigError
from danlu.generative.rows import (
    Bench,
    Likelihood,
    RowDraws,
    Synthesize,
    begun,
    neighbours_mixed,
    real_rows,
    row_recipe,
)
from danlu.generative.rows.head import condition
from danlu.trained import Trained

KINDS = ("autoregressive", "diffusion", "vae", "flow", "copula")
SMALL = {
    "autoregressive": {"width": 16},
    "diffusion": {"width": 16, "depth": 1},
    "vae": {"width": 16},
    "flow": {"width": 8},
    "copula": {},
}


def frame(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows)
    city = rng.choice(["Bern", "Oslo", "Roma"], rows, p=[0.5, 0.3, 0.2])
    rich = np.where(age + rng.normal(0, 5, rows) + 20 * (city == "Oslo") > 55, "yes", "no")
    pay = np.where(rng.random(rows) < 0.1, np.nan, age * 90 + rng.normal(0, 200, rows)).round(2)
    return pl.DataFrame({"age": age, "city": city, "pay": pl.Series(pay).fill_nan(None), "rich": rich}).with_columns(
        always=1
    )


@pytest.fixture(scope="module")
def table() -> tuple[RowEncoder, dict[str, np.ndarray], dict[str, np.ndarray]]:
    known = frame()
    encoder = RowEncoder.fit(known, infer_schema(known))
    return encoder, encoder.transform(known), encoder.transform(frame(300, seed=1))


def model(kind: str, encoder: RowEncoder, train: dict[str, np.ndarray], **settings: Any) -> Trained:
    """An untrained model; of a copula the fitted one."""
    plan = row_recipe(encoder, 400, settings=Synthesize(kind, **settings), **SMALL[kind])
    network: Any = plan.model
    return Trained(network, *begun(network, encoder, train, 0), encoder, RowDraws())


def test_before_training_columns_are_independent_for_a_network_and_a_flow(table: Any) -> None:
    """Both then give the product of the columns' own densities, which is found here from the shares."""
    encoder, train, _ = table
    own = sum(np.log(cells.share[train["cell"][:, j]]) - train["slope"][:, j] for j, cells in enumerate(encoder.cells))
    for kind in ("autoregressive", "flow"):
        made = model(kind, encoder, train)
        found, _ = made.network.apply(made.params, made.state, jax.tree.map(jnp.asarray, train))
        np.testing.assert_allclose(found, own, atol=2e-3)


@pytest.mark.parametrize("kind", ["autoregressive", pytest.param("vae", marks=pytest.mark.slow), "copula"])
def test_what_is_drawn_has_the_shares_of_training(kind: str, table: Any) -> None:
    encoder, train, _ = table
    drawn = model(kind, encoder, train).head.encoded(model(kind, encoder, train), 1000)
    for j, cells in enumerate(encoder.cells):
        shares = np.bincount(drawn["cell"][:, j], minlength=cells.size) / 1000
        if kind != "vae" or not cells.is_number:
            assert np.abs(shares - cells.share).sum() / 2 < 0.12, encoder.schema.features[j].name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_model_learns_and_draws_rows_that_teach(kind: str, table: Any) -> None:
    from danlu.generative.rows import learn_rows

    encoder, train, test = table
    steps = {"diffusion": 150}.get(kind, 60)
    plan = row_recipe(encoder, 400, settings=Synthesize(kind), epochs=1 if kind == "copula" else steps, patience=steps)
    learned = learn_rows(train, encoder=encoder, plan=plan, validation=test, display="none").model
    before = model(kind, encoder, train)
    inputs = jax.tree.map(jnp.asarray, test)
    if kind != "copula":
        assert learned.answer(inputs).mean() > before.answer(inputs).mean()
    found = Bench(encoder, train, test, 3, "classes").tested(learned.head.encoded(learned, 400)).measures()
    assert found["learnt_accuracy"] > 0.7
    assert found["detectability"] < 0.85


def test_the_first_of_many_rows_are_those_of_fewer(table: Any) -> None:
    encoder, train, _ = table
    made = model("autoregressive", encoder, train)
    few, many = made.sample(3, seed=4), made.sample(1030, seed=4)
    assert few.equals(many.head(3))
    assert not few.equals(made.sample(3, seed=5))


def test_rows_are_drawn_where_they_fit(table: Any) -> None:
    encoder, train, _ = table
    made = model("autoregressive", encoder, train)
    found = made.sample(20, where="city=Oslo,age=30..40")
    assert set(found["city"]) == {"Oslo"}
    assert found["age"].min() >= 30
    assert found["age"].max() <= 40
    assert made.sample(5, where={"pay": [3000, 4000]})["pay"].is_between(3000, 4000).all()
    for where, said in (
        ("town=Oslo", "column of where"),
        ("city=Osla", "did you mean"),
        ("age=old", "expected a number"),
        ("age", "a column with its value"),
        ("always=1", "is the same in every row"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            condition(encoder, where)
        assert caught.value.message
    with pytest.raises(ConfigError, match="expected a condition that more rows fit"):
        made.sample(5, where="age=200..300")
    with pytest.raises(ConfigError, match="--where"):
        made.sample(5, label="Oslo")


def test_the_test_tells_copies_from_rows_of_ones_own(table: Any) -> None:
    encoder, train, test = table
    bench = Bench(encoder, train, test, 3, "classes")
    copies = bench.tested(real_rows(train, bench.wanted)).measures()
    assert copies["closeness"] > 0.95
    assert copies["membership"] > 0.8
    assert copies["learnt_accuracy"] > 0.8
    rng = np.random.default_rng(0)
    noise = {
        "cell": np.stack([rng.permutation(column) for column in train["cell"].T], axis=1),
        "place": train["place"],
    }
    shuffled = bench.tested(noise).measures()
    assert shuffled["detectability"] > 0.7
    assert shuffled["learnt_accuracy"] < copies["learnt_accuracy"] - 0.1
    assert shuffled["membership"] < 0.6
    own = Bench(encoder, None, test, 3, "classes").tested(noise).measures()
    assert "closeness" not in own
    assert "membership" not in own


def test_mixed_neighbours_lie_between(table: Any) -> None:
    encoder, train, test = table
    bench = Bench(encoder, train, test)
    numbers = np.array([cells.is_number for cells in encoder.cells])
    mixed = neighbours_mixed(train, bench.space(train), numbers, 200)
    assert mixed["cell"].shape == (200, 4)
    for j, size in enumerate(encoder.sizes):
        assert mixed["cell"][:, j].min() >= 0
        assert mixed["cell"][:, j].max() < size
    assert not (mixed["place"] < 0).any()
    assert (mixed["place"] < 1).all()


def test_settings_that_a_model_does_not_have_are_refused(table: Any) -> None:
    encoder, _, _ = table
    with pytest.raises(ConfigError, match=r"model\.depth is 3, which a model of rows by synthesize\.model=vae"):
        row_recipe(encoder, 400, settings=Synthesize("vae"), depth=3)


def test_a_gradient_of_single_rows_is_that_of_the_batch(table: Any) -> None:
    """The rows' own gradients, which privacy needs, add up to that of the batch."""
    encoder, train, _ = table
    made = model("autoregressive", encoder, train)
    loss = Likelihood(made.network.replace(dropout=0.0))
    rows = {name: jnp.asarray(values[:5]) for name, values in train.items()}

    def value(params: Any, rows: Any) -> Any:
        return loss(params, made.state, {"x": rows}, jax.random.key(0), train=True)[0].sum()

    whole = jax.grad(value)(made.params, rows)
    single = jax.vmap(lambda row: jax.grad(value)(made.params, jax.tree.map(lambda a: a[None], row)))(rows)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(single), strict=True):
        np.testing.assert_allclose(one, other.sum(axis=0), atol=1e-4)


@pytest.mark.slow
def test_points_on_a_ring_are_found_all() -> None:
    """8 Gaussians on a ring: all of them, nearly all points within 4 standard deviations, nearly the likelihood of the truth."""
    import danlu

    rng = np.random.default_rng(0)
    angles = np.arange(8) * np.pi / 4
    middles = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = middles[rng.integers(0, 8, 4000)] + rng.normal(0, 0.05, (4000, 2))
    quiet: dict[str, Any] = {
        "display": "none",
        "say": lambda line: None,
        "evaluate": {"baselines": False, "report": False},
    }
    with tempfile.TemporaryDirectory() as place:
        result = danlu.train(
            dict(zip("xy", points.T, strict=True)), synthesize={"model": "autoregressive"}, runs=place, **quiet
        )
        drawn = result.model.sample(4000).to_numpy()
    apart = np.linalg.norm(drawn[:, None] - middles[None], axis=2)
    good = apart.min(axis=1) < 0.2
    assert good.mean() > 0.92
    assert np.bincount(apart.argmin(axis=1)[good], minlength=8).min() > 300
    truth = np.log(8) + np.log(2 * np.pi * 0.05**2) + 1
    assert result.scores["negative_log_likelihood"] < truth + 0.5


@pytest.mark.slow
def test_private_rows_are_made_from_noisy_counts(tmp_path: Any) -> None:
    import danlu

    known = frame(500).with_columns(age=pl.Series([*range(18, 80)] * 8 + [4] * 4))
    result = danlu.train(
        known, target="rich", synthesize={"model": "autoregressive"}, private={"epsilon": 3.0}, runs=tmp_path, display="none",
        say=lambda line: None, trainer={"epochs": 1}, model={"width": 8}, evaluate={"report": False},
    )  # fmt: skip
    assert result.model.provenance["privacy"]["epsilon"] <= 3
    assert "closeness" not in result.scores
    assert "membership" not in result.scores
    age = next(column for column in result.model.encoder.schema.columns if column.name == "age")
    assert (age.minimum, age.mean) != (4.0, known["age"].mean()), "the saved schema knows no exact statistic"
    with pytest.raises(ConfigError, match="without noise"):
        danlu.train(
            known, synthesize={"model": "copula"}, private={"epsilon": 3.0}, runs=tmp_path, display="none", say=print
        )
