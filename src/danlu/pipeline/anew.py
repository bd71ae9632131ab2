"""The report of a run written anew, from its data, its saved model and its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ArtifactError, ConfigError
from danlu.pipeline.again import settings_of
from danlu.pipeline.client_files import kept_clients
from danlu.pipeline.crossed import crosses
from danlu.pipeline.domains import domain_of, load_model
from danlu.pipeline.fingerprint import check_unchanged
from danlu.pipeline.once import SEARCH, baseline_seconds, judged, prepare
from danlu.pipeline.private import kept_looks, privacy_section
from danlu.pipeline.record import report_of
from danlu.rl.allow import allow as allow_modules
from danlu.stages import stage
from danlu.trained import Say

__all__ = ["write_anew"]


def write_anew(run: RunDirectory, *, source: Any = None, say: Say = print, allow: Sequence[str] = ()) -> None:
    """Read the data of a finished run, test its model again, and write ``report.html``; the simple models are trained again.

    Args:
        source: the frame or arrays that it learnt from, when it was not a file.
        allow: modules that its environment may import.

    Raises:
        ArtifactError: the run is not finished.
        DataError: the data is not found.
        ConfigError: data that is not what the run was trained on, or a cross-validation.
    """
    if not run.results_path.is_file() or not run.artifact_path.is_dir():
        raise ArtifactError(f"the run {run.path} is not finished", hint=f"continue it: {run.again}")
    config = settings_of(run)
    if crosses(config):
        raise ConfigError(
            f"the run {run.path} is a cross-validation, whose report is made from all of its folds",
            hint=f"danlu train --resume {run.path} tests the finished folds again and writes it",
        )
    if (run.path / SEARCH).is_file():
        say("note: the report is written without its part on the search for settings")
    allow_modules(allow)
    given = config.data.source if source is None else source
    check_unchanged(run, config, given, domain_of)
    with kept_looks(run.path):  # another look at private rows would spend more, and not be what the model knows
        domain, prepared, _ = prepare(config, given, say=lambda line: None, begun=True)
    model, record = load_model(run.path, allow=allow), run.read_json("results.json")
    if config.federated.own:
        of_clients: Any = prepared
        of_clients.owners.versions[:] = kept_clients(run, of_clients.owners)
    limit = config.evaluate.replace(baseline_seconds=baseline_seconds(config, record.get("seconds") or 0.0))
    judgement = judged(config.replace(evaluate=limit), domain, prepared, model)
    with stage("writing the report"):
        sections = privacy_section(record.get("privacy") or {})
        report_of(run, config, domain, prepared, model, judgement, record, run.read_metrics(), sections=sections)
