"""Forecasts: measured against closed forms, beside baselines; a sine is learnt; quantiles hold their share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from danlu.data.series import SeriesEncoder, read_series
from danlu.errors import ConfigError, DataError
from danlu.evaluate import compare
from danlu.evaluate.following import followed
from danlu.evaluate.forecast import (
    Forecasts,
    by_step,
    mase_scale,
    naive_forecast,
    ridge_forecast,
    ridge_weights,
)
from danlu.tasks.forecast import choose_context, forecast_recipe, learn_forecast
from danlu.tasks.quantiles import widening

RNG = np.random.default_rng(6)
LEVELS = (0.1, 0.5, 0.9)


def parts(values, *, context, horizon, cuts):
    table = read_series({"t": np.arange(len(values)), "y": values}, ["y"], time="t")
    encoder = SeriesEncoder.fit(table, cuts[0], context=context, horizon=horizon)
    ends = [None, *cuts, None]
    found = [encoder.windows(table, start, stop) for start, stop in itertools.pairwise(ends)]
    return encoder, found


def learnt(values, *, context, horizon, cuts, **changes):
    encoder, (train, validation, test) = parts(values, context=context, horizon=horizon, cuts=cuts)
    plan = forecast_recipe(train, **changes)
    learned = learn_forecast(train, encoder=encoder, plan=plan, validation=validation, season=1, naive=np.ones((1, 1)))
    return learned, test


def drawn(windows=50, horizon=4, channels=2):
    shape = (windows, horizon, channels)
    truth, bands = RNG.normal(5, 2, shape), np.sort(RNG.normal(5, 2, (*shape, 3)), axis=-1)
    spread, naive = RNG.uniform(1, 2, (windows, channels)), RNG.uniform(1, 2, (windows, channels))
    return Forecasts(truth, RNG.normal(5, 2, shape), spread, naive, np.arange(windows), LEVELS, bands)


def test_measures_are_the_closed_forms():
    f = drawn()
    got = {name: interval.value for name, interval in f.scores().items()}
    error = f.prediction - f.truth
    assert got["mse"] == pytest.approx(np.mean((error / f.spread[:, None]) ** 2))
    assert got["scaled_mae"] == pytest.approx(np.mean(np.abs(error) / f.spread[:, None]))
    assert got["mase"] == pytest.approx(
        np.mean([np.abs(error[i, :, c]).mean() / f.naive[i, c] for i in range(50) for c in (0, 1)])
    )
    assert got["smape"] == pytest.approx(np.mean(200 * np.abs(error) / (np.abs(f.truth) + np.abs(f.prediction))))
    inside = (f.bands[..., 0] <= f.truth) & (f.truth <= f.bands[..., 2])
    assert got["coverage"] == pytest.approx(inside.mean())
    metrics = pytest.importorskip("sklearn.metrics")
    scaled = [(a / f.spread[:, None]).ravel() for a in (f.truth, *np.moveaxis(f.bands, -1, 0))]
    theirs = [metrics.mean_pinball_loss(scaled[0], band, alpha=q) for band, q in zip(scaled[1:], LEVELS, strict=True)]
    assert got["pinball"] == pytest.approx(np.mean(theirs))
    np.testing.assert_allclose(by_step(f, "mse").mean(), got["mse"])
    assert by_step(f, "mse").shape == (4,)


def test_mase_of_the_seasonal_naive_forecast_in_training_is_one():
    x = RNG.normal(size=(200, 1))
    scale = mase_scale(x, 7)
    forecast = naive_forecast(np.stack([x[i : i + 7] for i in range(193)]), 1, 7)
    truth = x[7:][:, None]
    f = Forecasts(truth, forecast, np.ones((193, 1)), np.broadcast_to(scale, (193, 1)), np.arange(193))
    assert f.scores()["mase"].value == pytest.approx(1)
    flat = Forecasts(truth, forecast, np.ones((193, 1)), np.zeros((193, 1)), np.arange(193))
    assert "mase" not in flat.scores(), "no scale, no measure"
    zero = Forecasts(np.zeros((9, 1, 1)), np.zeros((9, 1, 1)), np.ones((9, 1)), np.ones((9, 1)), np.arange(9))
    assert zero.scores()["smape"].value == 0


def test_blocks_give_wider_intervals_than_single_windows_and_the_right_ones():
    """Sums of 20 successive errors, as overlapping windows have: the mean's true spread is known."""
    noise = 5 + RNG.normal(size=4019)
    overlapping = np.convolve(noise, np.ones(20) / 20, "valid")[:, None, None]

    def width(errors, moment, horizon=20):
        wide = np.repeat(errors, horizon, axis=1)
        one = np.ones((len(errors), 1))
        found = Forecasts(np.zeros_like(wide), wide, one, one, moment).scores()["scaled_mae"]
        return (found.high - found.low) / 3.92

    blocks = width(overlapping, np.arange(4000))
    assert blocks == pytest.approx(1 / np.sqrt(4000), rel=0.35)
    assert width(RNG.permutation(overlapping), np.arange(4000)) < blocks / 2, "in any order they are independent"
    doubled = width(np.repeat(overlapping, 2, axis=0), np.repeat(np.arange(4000), 2))
    assert doubled == pytest.approx(blocks), "a second series at the same moments adds nothing new"
    assert np.isnan(width(overlapping[:100], np.arange(100))), "too short to tell"


def test_comparison_is_paired():
    f = drawn(400, 2, 1)
    worse = Forecasts(f.truth, f.prediction + np.sign(f.prediction - f.truth), f.spread, f.naive, f.moment)
    found = compare(f, worse, "the other")
    assert found.verdict == "better"
    assert found.ours < found.theirs
    assert compare(f, f, "itself").verdict == "undecided"
    few = drawn(20, 10, 1)
    found = compare(few, few, "itself")
    assert found.verdict == "undecided"
    assert found.sentence.endswith("20 windows are too few to tell.")
    with pytest.raises(DataError, match="different windows"):
        compare(f, drawn(400, 2, 1), "another")
    with pytest.raises(DataError, match=r"\(windows, horizon, channels\)"):
        Forecasts(f.truth[0], f.prediction[0], f.spread, f.naive, f.moment)


def test_ridge_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    _, (train, _, test) = parts(RNG.normal(size=300).cumsum(), context=10, horizon=3, cuts=(200, 250))
    x, y = (each[..., 0].astype(np.float64) for each in train.arrays())
    mean = x.mean(axis=1, keepdims=True)
    theirs = linear.Ridge(alpha=2.0, fit_intercept=False).fit(x - mean, y - mean)
    (weights,) = ridge_weights(train, targets=1, alphas=(2.0,))
    np.testing.assert_allclose(weights, theirs.coef_.T, rtol=1e-3, atol=1e-4)
    past = test.inputs()
    level = past[..., 0].mean(axis=1, keepdims=True)
    expected = level + theirs.predict(past[..., 0] - level)
    np.testing.assert_allclose(ridge_forecast(weights, past, targets=1)[..., 0], expected, rtol=1e-3, atol=1e-3)


def test_a_sine_is_forecast_almost_exactly():
    values = 100 + 7 * np.sin(2 * np.pi * np.arange(400) / 25)
    learned, test = learnt(values, context=60, horizon=20, cuts=(250, 320), epochs=2)
    forecast, bands = np.split(learned.model.answer(test), [1], axis=-1)
    forecast, truth = forecast[..., 0], test.inverse(test.outputs())
    assert np.abs(forecast - truth).max() < 0.05
    assert (np.diff(bands, axis=-1) >= 0).all()


def test_intervals_hold_their_share_and_the_same_seed_gives_the_same_weights():
    """An autoregression whose best forecast and its spread are known."""
    noise, values = RNG.normal(size=1500), np.zeros(1500)
    for t in range(1, 1500):
        values[t] = 0.8 * values[t - 1] + noise[t]
    options = {"context": 12, "horizon": 2, "cuts": (700, 1100), "epochs": 4, "batch_size": 32}
    learned, test = learnt(values, **options)
    forecast, bands = np.split(learned.model.answer(test), [1], axis=-1)
    forecast, truth = forecast[..., 0], test.inverse(test.outputs())
    inside = ((truth >= bands[..., 0]) & (truth <= bands[..., -1])).mean(axis=(0, 2))
    np.testing.assert_allclose(inside, 0.8, atol=0.08)
    least = np.array([1.0, 1 + 0.64])  # the variances of one and two steps of noise
    assert (np.square(forecast - truth).mean(axis=(0, 2)) < 1.25 * least).all()
    again = learnt(values, **options)[0]
    for one, other in zip(learned.model.params, again.model.params, strict=True):
        np.testing.assert_array_equal(one["kernel"], other["kernel"])


def test_settings_are_checked():
    _, (train, _, _) = parts(np.arange(100.0), context=10, horizon=3, cuts=(70, 85))
    with pytest.raises(ConfigError, match="mse or mae"):
        forecast_recipe(train, loss="huber")
    with pytest.raises(ConfigError, match="fields of a Recipe"):
        forecast_recipe(train, epoch=3)
    with pytest.raises(DataError, match="too few to learn to forecast 50"):
        choose_context(52, 50, 12)
    with pytest.raises(ConfigError, match="the season is 12"):
        naive_forecast(np.zeros((1, 6, 1)), 2, 12)


@pytest.mark.parametrize(("windows", "level"), [(30, 0.8), (200, 0.8), (30, 0.5)])
def test_intervals_fitted_to_few_windows_hold_in_the_mean_what_they_say(windows, level):
    """Of windows that do not overlap; NumPy's quantile at the level alone holds less, by 2 % of 30 windows."""
    rng, held, plain = np.random.default_rng(windows), [], []
    levels = ((1 - level) / 2, 0.5, (1 + level) / 2)
    answers = np.tile([0.0, -1.0, 0.0, 1.0], (windows, 1, 1, 1))
    for _ in range(400):
        truth = rng.normal(size=(windows, 1, 1))
        new = np.abs(rng.normal(size=400))
        # One step ahead, at moments three to a window: as many as there are windows.
        factor = widening(answers, truth, levels, np.linspace(0, (windows - 1) / 3, windows)).widen
        held.append((new <= factor[0]).mean())
        plain.append((new <= np.quantile(np.abs(truth), level)).mean())
    assert np.mean(held) == pytest.approx(level, abs=4 * np.std(held) / 20)
    if windows == 30 and level == 0.8:
        assert np.mean(plain) < level - 3 * np.std(plain) / 20


def test_intervals_follow_a_series_that_becomes_wilder():
    """Errors that grow threefold after the validation part: fixed intervals hold half of what they say, these hold it."""
    rng, ahead, level = np.random.default_rng(3), 4, 0.8
    errors = np.abs(rng.normal(size=(1500, ahead, 1))) * 3
    start = np.full(ahead, 1.28)  # what holds 80 % of normal errors of spread 1
    moments = np.arange(1500)
    found = followed(start, errors, moments, moments, level=level)
    held = (errors <= found)[500:].mean(axis=(0, 2))
    np.testing.assert_allclose(held, level, atol=0.03)
    assert (errors <= 1.28).mean() < 0.4


def test_widths_of_series_at_one_moment_and_of_a_single_window():
    answers = np.tile([0.0, -1.0, 0.0, 1.0], (50, 2, 1, 1))
    truth = np.linspace(0.1, 3, 50)[:, None, None] * np.ones((50, 2, 1))
    found = widening(answers, truth, (0.1, 0.5, 0.9), np.zeros(50)).widen  # 50 series at one moment
    np.testing.assert_allclose(found, np.quantile(truth[:, 0, 0], (51 * 0.8 - 1) / 49))
    single = widening(answers[:1], truth[:1] + 2, (0.1, 0.5, 0.9), np.zeros(1)).widen
    np.testing.assert_allclose(single, 2.1)  # nothing is known beyond it
