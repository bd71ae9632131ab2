"""The receipts of a compression, measured at its end and kept with its run."""

from __future__ import annotations

import dataclasses

from danlu.artifact import RunDirectory
from danlu.compression.bench import Bench
from danlu.compression.receipt import Receipt, Receipts, Stage, receipts
from danlu.compression.told import changes, how_measured, lines_of
from danlu.evaluate import Evidence, Interval
from danlu.evaluate.measures import MEASURES
from danlu.nn.blend import Blend
from danlu.pipeline.again import Again
from danlu.pipeline.compressed import COMPRESSION, compression_of
from danlu.pipeline.once import TrainResult
from danlu.pipeline.parts import keep_part
from danlu.report.receipts import Point, receipts_section
from danlu.trained import Say, Trained

__all__ = ["kept_receipts"]

_ROWS = 256
_OTHERS = 20  # further compressions of the same model in the plot, the latest


def kept_receipts(before: Trained, result: TrainResult, again: Again, bench: Bench, *, say: Say) -> Receipts:
    """Measure a compressed model beside the one before, and what it was after each technique; keep that with the run.

    Every model is judged on the test rows once, when nothing is left to be chosen.
    """
    workshop = bench.used[-1]
    stages = [Stage("before", before, _tested(again, before))]
    between = (
        [] if isinstance(before.network, Blend) else bench.made[:-1]
    )  # of a blend the shares are chosen at the end alone
    for technique, made in zip(bench.techniques, between, strict=False):
        model = dataclasses.replace(result.model, **dict(zip(("network", "params", "state"), made, strict=True)))
        stages.append(Stage(str(technique), model, _tested(again, model)))
    judged = result.judgement
    stages.append(Stage(str(bench.techniques[-1]), result.model, None if judged is None else judged.evidence))
    found = receipts(stages, workshop.inputs(_ROWS), seed=again.config.trainer.seed)
    section = _section(found, result.run)
    keep_part(result.run.path, "receipts", [section], found.as_dict(), say=say)
    return found


def _tested(again: Again, model: Trained) -> Evidence | None:
    """The test of a model, without what else a test looks for."""
    config = again.config.with_setting("evaluate.importance", False).with_setting("evaluate.slices", False)
    judged = again.domain.test(config, again.prepared, model)
    return None if judged is None else judged.evidence


def _section(found: Receipts, run: RunDirectory) -> tuple[str, str]:
    measure = found.stages[0].measure
    engine = "onnxruntime" if all(("onnxruntime", 1) in each.speeds for each in found.stages) else "danlu"
    points = [_point(each, engine) for each in found.stages if each.score is not None]
    return receipts_section(
        [each.name for each in found.stages],
        lines_of(found),
        changes(found),
        [how_measured(found), *found.notes],
        [*points, *(_others(run, measure) if points else ())],
        label=MEASURES[measure].label if measure else "",
        higher=bool(measure) and MEASURES[measure].higher_is_better,
        timed=engine,
    )


def _point(each: Receipt, engine: str) -> Point:
    speed, score = each.speeds.get((engine, 1)), each.score or Interval(float("nan"))
    time = None if speed is None else Interval(1e3 * speed.median, 1e3 * speed.low, 1e3 * speed.high)
    return Point(each.name, each.bytes, score, time)


def _others(run: RunDirectory, measure: str) -> list[Point]:
    """Other compressions of the same model, in the same folder: their sizes and scores. Their times were taken another day."""
    told, found = compression_of(run), []
    for place in sorted(run.path.parent.iterdir(), key=lambda each: each.name):
        other = RunDirectory(place)
        if place == run.path or not (place / COMPRESSION).is_file() or not other.results_path.is_file():
            continue
        own, results = compression_of(other), other.read_json("results.json")
        if told is None or own is None or own["run"] != told["run"] or "receipts" not in results:
            continue
        last = results["receipts"]["stages"][-1]
        if last["measure"] == measure and last["score"] is not None:
            found.append(
                Point(
                    place.name, last["bytes"], Interval(last["score"]["value"], *last["score"]["interval"]), here=False
                )
            )
    return found[-_OTHERS:]
