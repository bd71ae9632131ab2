"""The ``show`` command."""

from __future__ import annotations

import json
import math
from typing import Any

from danlu.cli.options import OwnRun

__all__ = ["show"]


def show(
    run: OwnRun,
) -> None:
    """Show a run: its columns, the settings that differ from the defaults, its scores and its files."""
    from danlu.artifact import RunDirectory
    from danlu.evaluate.compare import counted
    from danlu.pipeline import load_model
    from danlu.pipeline.branched import Branch
    from danlu.pipeline.past import Past, changed_settings
    from danlu.prose import padded, wrapped

    directory = RunDirectory.open(run)
    past = Past.of(directory)
    print(f"{past.name}: {past.data}, {past.state}, started {past.date:%Y-%m-%d %H:%M}")
    settings = changed_settings(directory.read_json("config.json"))
    print("\nsettings that differ from the defaults")
    print(
        "\n".join(f"  {name}={json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()) or "  none"
    )
    model = load_model(run) if directory.artifact_path.is_dir() else None
    if model is not None:
        print(f"\n{model.purpose}")
        schema = getattr(model.encoder, "schema", None)
        print("" if schema is None else f"{schema}\n", end="")
    if (branch := Branch.of(directory)) is not None:
        print("\n" + wrapped(f"it branched off from {branch}", indent="  "))
    if directory.results_path.is_file():
        print(
            "\n" + "\n".join(_results(directory.read_json("results.json"), "" if model is None else model.head.counted))
        )
    print("\nfiles")
    for path in sorted(directory.path.iterdir()):
        held = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        name = path.name if path.is_file() else f"{path.name}/ ({counted(len(held), 'files')})"
        print(f"  {padded(name, 40)} {sum(each.stat().st_size for each in held):>12,} bytes")
    if model is None:
        print(f"\nit has no model yet; continue it: {directory.again}")


def _results(results: dict[str, Any], counted: str) -> list[str]:
    """What ``results.json`` says, as the command line said it after the training."""
    from danlu.evaluate import Importance, Interval
    from danlu.evaluate.group_lines import fairness_lines, fairness_of, trade_lines
    from danlu.evaluate.group_thresholds import TradeOff
    from danlu.evaluate.judgement import fold_lines, relied_on, score_lines
    from danlu.evaluate.slice_lines import slice_lines
    from danlu.evaluate.slices import Slices
    from danlu.pipeline.health import lines as health_lines
    from danlu.privacy import privacy_lines
    from danlu.prose import wrapped

    rows = ", ".join(f"{count:,} {part}" for part, count in (results.get("rows") or {}).items() if count)
    took = f"{len(results['folds'])} folds" if results.get("folds") else f"{results.get('epochs')} epochs"
    lines = [f"{rows}; {took} in {results.get('seconds')} s"]
    lines += [wrapped(f"{name}: {text}", indent="  ") for name, text in (results.get("answers") or {}).items()]
    lines += [wrapped(note) for note in results.get("model") or []]
    lines += [wrapped(each, indent="  ") for each in health_lines(results.get("health") or {}, most=20)]
    lines += [wrapped(f"privacy: {each}", indent="  ") for each in privacy_lines(results.get("privacy") or {})]
    scores, ends = results.get("test") or {}, results.get("intervals") or {}
    if scores:
        whys = results.get("no_interval") or {}
        found = {
            name: Interval(*map(_number, (value, *ends.get(name, ()))), why=whys.get(name, ""))
            for name, value in scores.items()
        }
        lines += ["", *score_lines("test", found, counted)]
    if results.get("folds"):
        of = results.get("mean_of_folds") or {}
        means = {
            name: Interval(*map(_number, (each["mean"], *each["interval"])), why=each.get("why", ""))
            for name, each in of.items()
        }
        lines += ["", *fold_lines(means, len(results["folds"]), counted)]
    lines += [wrapped(each.get("sentence", "")) for each in results.get("comparisons") or []]
    importance = [Importance(**{**each, "columns": tuple(each["columns"])}) for each in results.get("importance") or []]
    lines += relied_on(importance, most=20)
    for each in results.get("fairness") or []:
        lines += ["", *fairness_lines(fairness_of(each))]
    if results.get("trade_off"):
        lines += ["", *trade_lines(TradeOff.from_dict(results["trade_off"]))]
    if results.get("slices"):
        lines += ["", *slice_lines(Slices.from_dict(results["slices"]))]
    return lines + [wrapped(f"note: {note}", indent="  ") for note in results.get("notes") or []]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
