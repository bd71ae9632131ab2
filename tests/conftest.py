"""Settings that every test shares."""

import os
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Nearly all of the default run's time is XLA's, compiling small programs: it is told to hurry. `make test-all` compiles as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("danlu", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("danlu")
jax.config.update("jax_numpy_rank_promotion", "raise")
warnings.filterwarnings("ignore", category=pytest.PytestUnraisableExceptionWarning)
