"""The examples run by themselves, and show what they say."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from today import others

from danlu.engine import run_steps

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str) -> dict[str, Any]:
    """The names that an example defines, without running it."""
    return runpy.run_path(str(FOLDER / f"{name}.py"))


ARTICLE = ["dqn_loop", "line_fit", "logistic_gradient", "minibatches", "mlp_classifier", "two_layer_regression"]
OPEN = ["contrastive", "gan_on_a_ring", "learn_to_learn", "two_inputs_two_outputs", "variational_autoencoder"]


NOT_TODAY = others(OPEN)  # each learns for seconds; two of them in a run, by the commit


def in_turns(name: str) -> Any:
    """The mark of a test that is slow unless it is its example's turn."""
    return pytest.mark.slow if name in NOT_TODAY else lambda test: test


def test_all_are_there() -> None:
    assert sorted([*ARTICLE, *OPEN]) == EXAMPLES


@pytest.mark.parametrize("name", OPEN)
def test_what_the_engine_carries_is_short(name: str) -> None:
    """What is written for it, without the words that explain it."""
    text = (FOLDER / f"{name}.py").read_text()
    code = text.split('"""', 2)[2]
    assert sum(bool(line.strip()) for line in code.splitlines()) < 60
    assert "danlu.engine." not in code, "the public names are enough"


@in_turns("variational_autoencoder")
def test_an_autoencoder_draws_digits_and_another_beta_compiles_nothing() -> None:
    example = load("variational_autoencoder")
    free, held = example["learn"](0.5, epochs=8), example["learn"](2.0, epochs=8)
    compiled = run_steps._cache_size()
    example["learn"](9.0, epochs=1)
    assert run_steps._cache_size() == compiled
    first, last = free.history[0], free.history[-1]
    assert last["val_loss"] < 0.85 * first["val_loss"]
    assert last["val_loss"] == pytest.approx(last["val_redrawn"] + 0.5 * last["val_kl"], rel=1e-4)
    assert held.history[-1]["val_kl"] < 0.8 * last["val_kl"]


@in_turns("gan_on_a_ring")
def test_the_adversaries_draw_all_eight_gaussians() -> None:
    example = load("gan_on_a_ring")
    fitted = example["learn"](epochs=50)
    modes, near = example["judge"](fitted)
    begun, nowhere = example["judge"](example["learn"](epochs=0))
    assert (begun, modes) == (0, 8)
    assert near > 0.3 > 0.1 > nowhere
    assert {"critic_loss", "critic_slope", "generator_loss"} <= set(fitted.history[0])


@in_turns("contrastive")
def test_views_of_a_picture_find_each_other_without_labels() -> None:
    history = load("contrastive")["learn"](epochs=10).history
    assert history[-1]["val_found"] > 0.15 > 10 / 128
    assert history[-1]["val_loss"] < 0.9 * np.log(128)


@in_turns("two_inputs_two_outputs")
def test_each_output_learns_as_much_as_it_weighs() -> None:
    learn = load("two_inputs_two_outputs")["learn"]
    both, kinds = (learn({"price": c, "kind": 1.0}, epochs=12).history[-1] for c in (1.0, 0.0))
    assert both["val_price"] < 0.2 < 1 < kinds["val_price"]
    assert min(both["val_kind_accuracy"], kinds["val_kind_accuracy"]) > 0.75


@in_turns("learn_to_learn")
def test_a_step_from_learned_weights_draws_a_wave() -> None:
    learn = load("learn_to_learn")["learn"]
    mean, adapted = (learn(epochs=6, steps=steps).history[-1]["val_loss"] for steps in (0, 1))
    assert adapted < 0.6 * mean


@pytest.mark.slow
def test_dqn_learns_what_a_loop_without_its_parts_does_not() -> None:
    example = load("dqn_loop")
    assert example["train"](example["agent"]()) > 0.6


@pytest.mark.parametrize("name", ["line_fit", "logistic_gradient", "minibatches", "two_layer_regression"])
def test_an_example_prints_what_it_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) >= 3
    assert "nan" not in shown


def test_an_example_runs_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "line_fit.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "largest difference" in done.stdout


def test_a_line_has_the_same_weights_in_numpy_and_in_danlu() -> None:
    example = load("line_fit")
    x, y = example["make_points"]()
    by_hand, by_danlu = example["descend"](x, y), example["train"](x, y)
    np.testing.assert_allclose(by_danlu, by_hand, rtol=0, atol=1e-6)
    np.testing.assert_allclose(by_hand, np.polyfit(x[:, 0], y, 1), atol=1e-3)


def test_the_reversed_sign_diverges() -> None:
    example = load("line_fit")
    x, y = example["make_points"]()
    losses = [example["loss"](*example["descend"](x, y, steps=steps, sign=-1.0), x, y) for steps in (0, 10, 20, 40)]
    assert losses == sorted(losses)
    assert losses[-1] > 100 * losses[0]


def test_the_three_logistic_gradients_agree() -> None:
    example = load("logistic_gradient")
    rows = example["make_rows"]()
    by_hand, traced, trained = (example[name](*rows) for name in ("by_hand", "by_trace", "by_training"))
    assert np.abs(by_hand["kernel"]).max() > 0.1
    for name, expected in by_hand.items():
        np.testing.assert_allclose(traced[name], expected, rtol=1e-5, atol=1e-7)
        # A difference of two float32 weights: their rounding, not the gradient's, is what is left.
        np.testing.assert_allclose(trained[name], expected, rtol=1e-5, atol=5e-7)


def test_the_classifier_reads_digits_and_its_splits_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("mlp_classifier")
    splits = example["make_splits"]()
    assert sum(len(y) for _, y in splits.values()) == 1797
    np.testing.assert_allclose(splits["train"][0].mean(axis=0), 0, atol=1e-9)
    assert np.abs(splits["test"][0].mean(axis=0)).max() > 1e-3
    example["main"]()
    shown = capsys.readouterr().out
    score = float(shown.split("test accuracy ")[1].split()[0])
    assert score > 0.93
    assert "1.00 learning rates; without the bias corrections 3.16" in shown


def test_the_two_layers_are_the_least_squares_line() -> None:
    example = load("two_layer_regression")
    x, y = example["make_rows"]()
    train, validation = example["split"](x, y)
    assert len(train[1]) == 300
    pairs = {(*row, value) for row, value in zip(map(tuple, x.tolist()), y.tolist(), strict=True)}
    for inputs, values in (train, validation):
        assert {(*row, value) for row, value in zip(map(tuple, inputs.tolist()), values.tolist(), strict=True)} <= pairs
    fitted = example["fit_two_layers"](train, validation)
    np.testing.assert_allclose(example["collapsed"](fitted.params), example["least_squares"](*train), atol=0.05)
    best = min(row["val_loss"] for row in fitted.history)
    assert fitted.history[fitted.best_epoch]["val_loss"] == best


def test_batches_are_unbiased_and_more_updates_get_further() -> None:
    example = load("minibatches")
    x, y = example["make_rows"]()
    batches = [example["gradient"](x[rows], y[rows]) for rows in np.arange(len(y)).reshape(4, -1)]
    np.testing.assert_allclose(np.mean(batches, axis=0), example["gradient"](x, y), atol=1e-5)
    assert np.std(batches, axis=0).min() > 1e-3
    full, small = example["train"](x, y, len(y)), example["train"](x, y, 32)
    assert (int(full.train_state.step), int(small.train_state.step)) == (10, 640)
    assert small.evaluate((x, y))["loss"] < 0.01 < full.evaluate((x, y))["loss"]
