"""What is tried next: Optuna's sampler, asked so that the same study gets the same answer, whoever asks and however often."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from danlu.errors import MissingExtraError
from danlu.pipeline.space import Choice, Place, Span, rounded, written

__all__ = ["distribution_of", "optuna", "sampler_of", "value_of"]


def optuna() -> ModuleType:
    """The library, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("danlu tune needs optuna", hint='pip install "danlu[tune]"') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def distribution_of(place: Place) -> Any:
    """Optuna's description of where a setting is searched."""
    kinds = optuna().distributions
    if isinstance(place, Choice):
        return kinds.CategoricalDistribution([_told(value) for value in place.values])
    if place.integer:
        return kinds.IntDistribution(int(place.low), int(place.high), log=place.log)
    return kinds.FloatDistribution(float(place.low), float(place.high), log=place.log)


def value_of(place: Place, drawn: Any) -> Any:
    """The setting's value for what Optuna drew: with as many digits as are printed, so that what is printed is what was tried."""
    if isinstance(place, Choice):
        return next(value for value in place.values if _told(value) == drawn)
    return drawn if isinstance(place, Span) and place.integer else place.nearest(rounded(drawn))


def _told(value: Any) -> Any:
    """A choice as Optuna's storage holds it."""
    return written(value) if isinstance(value, list | dict | tuple) else value


def sampler_of(seed: int, *, random: int, fixed: Mapping[int, Mapping[str, Any]]) -> Any:
    """A tree-structured Parzen estimator without a memory of its own.

    Optuna's samplers carry a random state from trial to trial, which a killed process takes with it. Here every draw is seeded by the
    study's seed, the trial's number and the setting's name, so the same trials before it give the same trial, in any process.

    Args:
        seed: of the study.
        random: how many trials are drawn without looking at others.
        fixed: the settings that a trial, by its number, is given instead of drawing them.

    Reference:
        Bergstra, Bardenet, Bengio & Kégl, "Algorithms for hyper-parameter optimization" (NeurIPS 2011), section 4.
    """
    library = optuna()

    def inner(number: int, name: str = "") -> Any:
        own = zlib.crc32(f"{seed}/{number}/{name}".encode())
        return library.samplers.TPESampler(seed=own, n_startup_trials=random)

    class Seeded(library.samplers.BaseSampler):  # type: ignore[name-defined]
        """See :func:`sampler_of`."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            space = inner(trial.number).infer_relative_search_space(study, trial)
            return {name: each for name, each in space.items() if name not in fixed.get(trial.number, {})}

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            drawn: dict[str, Any] = inner(trial.number).sample_relative(study, trial, search_space)
            return drawn

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            own = fixed.get(trial.number, {})
            if param_name in own:
                return own[param_name]
            return inner(trial.number, param_name).sample_independent(study, trial, param_name, param_distribution)

    return Seeded()
