"""How often the intervals of a campaign's measures hold, how well each learner puts people in order, and a real campaign.

    python benchmarks/uplift.py [--campaigns 400] [--learners 3] [--hillstrom FILE.csv] [--against-sklift]

Campaigns of known effect are simulated: people of four numbers and a category, a treatment by chance or chosen by one of the numbers,
outcomes of 0 and 1 or with a long tail. The order that is tested is fixed and imperfect. For each size: the share of campaigns whose
interval holds the true measure (of a million people), and its mean width.

The learners are trained on campaigns whose effect is strong, weak, or mixed (some are harmed), 3,000 people each; what is told is the Qini
coefficient of their order on new people, by the known effect, over that of the order by the effect itself.

``--against-sklift`` compares the measures with scikit-uplift's where it is installed. ``--hillstrom`` trains on Kevin Hillstrom's mail
campaign (64,000 people; the women's mail against none, visits), which is not a part of danlu.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.evaluate import intervals
from danlu.evaluate.uplift import Campaign, Gains

RESULTS = Path(__file__).with_name("results") / "uplift.md"
NAMES = ("qini", "auuc", "uplift_10", "uplift_30", "ate", "value")
LEARNERS = ("robust", "transformed", "two")
KINDS = ("strong", "weak", "mixed")


def world(rng: np.random.Generator, rows: int, *, chosen: bool = False, tail: bool = False) -> Campaign:
    """People whose effect goes by ``x``, in an order by ``x`` with noise; the model of outcomes is wrong on purpose."""
    x, z = rng.random(rows), rng.normal(size=rows)
    e = 1 / (1 + np.exp(-0.8 * z)) if chosen else np.full(rows, 0.4)
    treated = rng.random(rows) < e
    mean = 0.2 + 0.1 * (z > 0) + treated * (0.3 * x - 0.05)
    outcome = rng.exponential(mean) if tail else (rng.random(rows) < mean) * 1.0
    values = np.stack([np.full(rows, 0.2), 0.2 + 0.3 * x], axis=1)
    score = x + 0.3 * rng.normal(size=rows)
    return Campaign(treated, outcome, e, values, score, (score > 0.5) * 1.0, cost=0.05)


def coverage(campaigns: int, rows: int, **how: bool) -> dict[str, tuple[float, float]]:
    """Of each measure the share of intervals that hold, and their mean width."""
    truth = world(np.random.default_rng(999), 1_000_000, **how).measures()
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in NAMES}
    rng = np.random.default_rng(rows)
    for _ in range(campaigns):
        for name, each in intervals(world(rng, rows, **how), NAMES).items():
            if each.known:
                found[name].append((each.low <= truth[name] <= each.high, each.high - each.low))
    return {
        name: (float(np.mean([a for a, _ in of])), float(np.mean([b for _, b in of]))) for name, of in found.items()
    }


def people(rng: np.random.Generator, rows: int, kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A campaign as a table, and the effect on each person."""
    x, c, treated = rng.normal(size=(rows, 4)), rng.choice(["a", "b", "c"], rows), rng.random(rows) < 0.5
    effect = {
        "strong": 0.2 * (x[:, 2] > 0) * (c != "b"),
        "weak": 0.05 + 0.04 * np.tanh(x[:, 2]),
        "mixed": 0.1 * (x[:, 0] > 0.5) - 0.08 * (x[:, 3] > 0.5),
    }[kind]
    chance = 0.1 + 0.25 / (1 + np.exp(-(x[:, 0] + x[:, 1] + (c == "a")))) + treated * effect
    columns: dict[str, np.ndarray] = {f"x{each}": x[:, each] for each in range(4)}
    columns |= {"c": c, "mail": treated * 1, "bought": (rng.random(rows) < np.clip(chance, 0, 1)) * 1}
    return columns, effect


def by_effect(score: np.ndarray, effect: np.ndarray) -> float:
    """The area of an order, by the known effect of each person, over that of the best order."""

    def area(of: np.ndarray) -> float:
        gained = np.cumsum(effect[np.argsort(-of, kind="stable")]) / len(effect)
        return float(gained.mean() - gained[-1] / 2)

    return area(score) / area(effect)


def learners(seeds: int, rows: int = 3000) -> dict[str, dict[str, list[float]]]:
    """By kind of effect and learner what the order reaches, for each seed; the linear models beside them."""
    import danlu
    from danlu.evaluate.baselines import linear_model
    from danlu.evaluate.kept import stacked

    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in (*LEARNERS, "two linear models")} for kind in KINDS
    }
    for kind in KINDS:
        for seed in range(seeds):
            table, _ = people(np.random.default_rng(seed), rows, kind)
            asked, effect = people(np.random.default_rng(1000 + seed), 6000, kind)
            for learn in LEARNERS:
                with tempfile.TemporaryDirectory() as place:
                    model = danlu.train(
                        table,
                        uplift={"columns": "mail:bought", "learn": learn},
                        model={"width": 64},
                        split={"test": 0.0},
                        evaluate={"report": False},
                        runs=place,
                        display="none",
                        say=lambda line: None,
                    ).model
                    found[kind][learn].append(by_effect(model.predict_values(pl.DataFrame(asked))["uplift"], effect))
            x, z = (model.encoder.transform(pl.DataFrame(each)) for each in (table, asked))
            both = [
                linear_model("binary", x).fit(stacked(x)[own], table["bought"][own]).predict_proba(stacked(z))[:, 1]
                for own in (table["mail"] == 0, table["mail"] == 1)
            ]
            found[kind]["two linear models"].append(by_effect(both[1] - both[0], effect))
    return found


def with_sklift() -> dict[str, float]:
    """The largest difference to scikit-uplift's numbers on a campaign with people of equal scores."""
    from sklift.metrics import qini_auc_score, qini_curve, uplift_curve

    rng = np.random.default_rng(0)
    treated, outcome, score = rng.random(4000) < 0.3, (rng.random(4000) < 0.3) * 1.0, rng.integers(50, size=4000) / 50
    every, ours = np.ones(4000), Gains(score, treated, outcome, np.full(4000, 0.3))
    share, qini, uplift = ours.curves(every)
    given = (outcome.astype(int), score, treated.astype(int))
    theirs, other = qini_curve(*given), uplift_curve(*given)
    campaign = Campaign(treated, outcome, np.full(4000, 0.3), np.zeros((4000, 2)), score, every)
    return {
        "Qini curve": float(np.abs(qini * treated.sum() - theirs[1]).max()),
        "people": float(np.abs(share * 4000 - theirs[0]).max()),
        "uplift curve": float(np.abs(uplift * 4000 - other[1]).max()),
        "Qini, share of the best order's": abs(campaign.measures()["qini_share"] - qini_auc_score(*given)),
    }


def hillstrom(path: Path, learn: str) -> Any:
    """The test of a model of the women's mail against none on visits."""
    import danlu

    frame = (
        pl.read_csv(path)
        .rename({"treatment": "segment"}, strict=False)
        .filter(pl.col("segment") != "Mens E-Mail")
        .drop("conversion", "spend")
    )
    with tempfile.TemporaryDirectory() as place:
        return danlu.train(
            frame, uplift={"columns": "segment:visit", "learn": learn}, split={"test": 0.5}, runs=place
        ).judgement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=400)
    parser.add_argument("--learners", type=int, default=3, help="seeds of each kind; 0 leaves them out")
    parser.add_argument("--hillstrom", type=Path)
    parser.add_argument("--against-sklift", action="store_true")
    given = parser.parse_args()
    lines = ["# Uplift", "", "`python benchmarks/uplift.py`", ""]
    if given.campaigns:
        lines += [f"## Intervals, {given.campaigns} campaigns each", ""]
        lines += ["| people | campaign | " + " | ".join(NAMES) + " |", "|---|---|" + "---|" * len(NAMES)]
        for rows in (200, 1000):
            for label, how in (("by chance", {}), ("chosen", {"chosen": True}), ("long tail", {"tail": True})):
                found = coverage(given.campaigns, rows, **how)
                cells = " | ".join(f"{100 * found[name][0]:.1f} % ({found[name][1]:.3f})" for name in NAMES)
                lines.append(f"| {rows:,} | {label} | {cells} |")
                print(lines[-1], flush=True)
        lines += ["", "The share that holds the truth, and the mean width.", ""]
    if given.learners:
        lines += [f"## Orders, {given.learners} seeds, 3,000 people to learn from", ""]
        lines += ["| effect | " + " | ".join((*LEARNERS, "two linear models")) + " |", "|---|" + "---|" * 4]
        for kind, of in learners(given.learners).items():
            lines.append(
                f"| {kind} | " + " | ".join(f"{np.mean(each):.2f} ± {np.std(each):.2f}" for each in of.values()) + " |"
            )
            print(lines[-1], flush=True)
        lines += [
            "",
            "The area of the order by the known effect, over that of the best order; the spread is of the seeds.",
            "",
        ]
    if given.against_sklift:
        lines += [
            "## scikit-uplift",
            "",
            *(f"- {name}: differs by {value:.1e}" for name, value in with_sklift().items()),
            "",
        ]
        print("\n".join(lines[-6:]))
    if given.hillstrom:
        for learn in LEARNERS:
            print(learn, hillstrom(given.hillstrom, learn), flush=True)
    RESULTS.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
