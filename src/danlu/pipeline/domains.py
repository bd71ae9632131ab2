"""The kinds of data that danlu can learn from, and the kind of a given source or saved model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import Artifact, RunDirectory, load_artifact
from danlu.artifact.artifact import is_saved
from danlu.artifact.run import no_run
from danlu.artifact.signing import TRUSTED
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.saved import KIND as FITTED
from danlu.errors import ArtifactError, ConfigError
from danlu.pipeline.agents import Agents
from danlu.pipeline.bandits import Logs
from danlu.pipeline.config import TrainConfig, config_from
from danlu.pipeline.detection import Detections
from danlu.pipeline.domain import Domain, Option
from danlu.pipeline.fewshot import FewShotPictures
from danlu.pipeline.generate import Paintings
from danlu.pipeline.images import Images
from danlu.pipeline.language import LanguageTexts
from danlu.pipeline.mixed import Mixed
from danlu.pipeline.multilabel import LabelledImages
from danlu.pipeline.pairs import PairedRows
from danlu.pipeline.recommend import Recommendations
from danlu.pipeline.segmentation import Segmentations
from danlu.pipeline.segments import Segmented
from danlu.pipeline.sequences import Sequences
from danlu.pipeline.series import SeriesForecasts
from danlu.pipeline.sounds import Sounds
from danlu.pipeline.synthesize import MadeRows
from danlu.pipeline.tables import Tables
from danlu.pipeline.text import Texts
from danlu.pipeline.translation import Translations
from danlu.pipeline.uplift import Uplifts
from danlu.rl.allow import allow as allow_modules
from danlu.trained import Trained
from danlu.trained.load import check_variables
from danlu.trained.load import load as load_trained

__all__ = ["DOMAINS", "domain_of", "load", "load_model", "options", "saved_in", "with_options"]

DOMAINS: tuple[Domain, ...] = (
    Agents(),
    FewShotPictures(),
    PairedRows(),
    Translations(),
    Paintings(),
    MadeRows(),
    SeriesForecasts(),
    Recommendations(),
    Logs(),
    Uplifts(),
    Segmented(),
    Sequences(),
    Detections(),
    Segmentations(),
    LabelledImages(),
    Images(),
    Sounds(),
    LanguageTexts(),
    Texts(),
    Mixed(),
    Tables(),
)
"""The first one that claims a source has it; tables, which claim all, come last."""


def domain_of(config: TrainConfig, source: Any) -> Domain:
    """The domain that ``source`` belongs to."""
    for domain in DOMAINS:
        if domain.claims(config, source):
            return domain
    raise ConfigError(f"{source!r} is not data that danlu can learn from")


def options() -> dict[str, list[tuple[Domain, Option]]]:
    """The options of ``danlu train`` that kinds of data own, by name; several kinds may have one of the same name."""
    found: dict[str, list[tuple[Domain, Option]]] = {}
    for domain in reversed(DOMAINS):
        for option in domain.options:
            found.setdefault(option.name, []).append((domain, option))
    return found


def with_options(values: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Plain nested settings, with the settings of the options added.

    Where several kinds have the option, it is that of the kind that the source is of by all else that is said.

    Args:
        given: the texts that were given, by the options' names.

    Raises:
        ConfigError: a value that is not of the option's type, or that stands for nothing.
    """
    result = {section: dict(part) if isinstance(part, Mapping) else part for section, part in values.items()}
    known = options()
    for name in sorted(given, key=lambda name: len(known[name])):
        chosen = known[name]
        if len(chosen) > 1:
            config = config_from(result)
            kind = domain_of(config, config.data.source)
            chosen = [each for each in chosen if each[0] is kind] or chosen
        for setting, value in chosen[0][1].meaning(given[name]).items():
            section, _, of = setting.partition(".")
            result.setdefault(section, {})[of] = value
    return result


def saved_in(path: str | Path) -> Path:
    """The folder of the saved model in a run directory, or this folder itself.

    Raises:
        ArtifactError: there is none.
    """
    folder, kept = Path(path), Path(path, "artifact")
    if not folder.exists() and not is_saved(folder):
        raise no_run(folder)
    if (folder / "config.json").is_file() and not is_saved(kept):
        raise ArtifactError(f"the run {folder} has no model yet", hint=f"finish it: {RunDirectory(folder).again}")
    return kept if is_saved(kept) else folder


def load(path: str | Path, *, allow: Sequence[str] = (), trusted: str | Path | None = None) -> Any:
    """The trained model of a run directory or of an artifact folder (a :class:`~danlu.trained.Trained`), or what ``fitted.save`` wrote.

    Args:
        path: the folder.
        allow: modules that an agent's environment may import, such as ``("my_package",)`` for ``"my_package:Walk-v0"``; what is
            saved imports nothing by itself.
        trusted: public keys (a file such as ``id_ed25519.pub``, or their text), one of which is to have signed the model; None asks the
            environment variable ``DANLU_TRUSTED``, and without that no signature.

    Raises:
        ArtifactError: there is none, or it is damaged.
        UntrustedError: it needs a module that is not allowed, or no trusted key has signed it.
    """
    allow_modules(allow)
    artifact = load_artifact(saved_in(path), trusted=os.environ.get(TRUSTED) or None if trusted is None else trusted)
    enable_compilation_cache()  # the next process then predicts with the program that this one compiles
    kind = _kind_of(artifact)
    if kind == FITTED:
        fitted = Fitted.of(artifact)
        check_variables(fitted.model, fitted.in_shape, fitted.params, fitted.state)
        return fitted
    for domain in DOMAINS:
        if domain.kind == kind:
            return load_trained(artifact, domain, domain)
    raise ArtifactError(f"{path} holds a model of kind {str(kind)[:40]!r}; this version knows {_kinds()}")


def _kind_of(artifact: Artifact) -> Any:
    """The tag of the domain that a saved model is of."""
    if artifact.head is not None:
        return artifact.task.get("kind") if isinstance(artifact.task, Mapping) else None
    described = artifact.encoder
    return described.get("kind", Tables.kind) if isinstance(described, Mapping) else Tables.kind


def load_model(path: str | Path, *, allow: Sequence[str] = ()) -> Trained:
    """As :func:`load`, for predicting rows of a file.

    Raises:
        ArtifactError: a network without an encoder is there.
    """
    found = load(path, allow=allow)
    if isinstance(found, Fitted):
        raise ArtifactError(
            f"{path} is a network that danlu.fit trained on arrays; it cannot read files",
            hint=f"in Python: danlu.load({str(path)!r})",
        )
    return found


def _kinds() -> str:
    return ", ".join(sorted(domain.kind for domain in DOMAINS))
