"""The ``show`` command."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["show"]


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
) -> None:
    """Show a run: its columns, the settings that differ from the defaults, its scores and its files."""
    from danlu.artifact import RunDirectory
    from danlu.pipeline import load_model
    from danlu.pipeline.past import Past, changed_settings

    directory = RunDirectory.open(run)
    past = Past.of(directory)
    print(f"{past.name}: {past.data}, {past.state}, begun {past.date:%Y-%m-%d %H:%M}")
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
    if directory.results_path.is_file():
        print("\n" + "\n".join(_results(directory.read_json("results.json"))))
    print("\nfiles")
    for path in sorted(path for path in directory.path.rglob("*") if path.is_file()):
        print(f"  {path.relative_to(directory.path)!s:40} {path.stat().st_size:>12,} bytes")
    if model is None:
        print(f"\nit has no model yet; go on with it: danlu train --resume {run}")


def _results(results: dict[str, Any]) -> list[str]:
    """What ``results.json`` says, as the command line said it after the training."""
    from danlu.evaluate import MEASURES, Importance
    from danlu.evaluate.judgement import relied_on

    rows = ", ".join(f"{count:,} {part}" for part, count in (results.get("rows") or {}).items() if count)
    lines = [f"{rows}; {results.get('epochs')} epochs in {results.get('seconds')} s"]
    if results.get("test"):
        lines += ["", "test".ljust(26) + "value".rjust(10) + "95 % interval".rjust(24)]
    for name, value in (results.get("test") or {}).items():
        low, high = (results.get("intervals") or {}).get(name, (None, None))
        between = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        label = MEASURES[name].label if name in MEASURES else name
        shown = "–" if value is None else f"{value:.4g}"
        lines.append(f"  {label:24}{shown:>10}{between:>24}")
    for each in results.get("comparisons") or []:
        lines.append(textwrap.fill(each.get("sentence", ""), 80, break_on_hyphens=False))
    importance = [Importance(**{**each, "columns": tuple(each["columns"])}) for each in results.get("importance") or []]
    lines += [textwrap.fill(each, 80, break_on_hyphens=False) for each in relied_on(importance, most=20)]
    return lines + [f"note: {note}" for note in results.get("notes") or []]
