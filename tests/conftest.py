"""Settings that every test shares."""

import contextlib
import functools
import gc
import os
import sys
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_NUM_CPU_DEVICES", "2"
)  # what is computed goes to the first; some tests divide it between both
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["DANLU_LANGUAGE"] = "en"  # whatever the locale of who runs the tests
# The cores are the workers' already. Threads of polars, OpenMP and BLAS wait by spinning: with two each, tables took twice the time.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Where Python is told to write no bytecode, each of the processes that tests start would compile all of danlu anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("DANLU_PROGRAMS", "0")  # the worker lets go of them itself, by its memory maps
# A cache of compiled programs of the tests' own: empty on a clean clone, so that the time of its first run is everyone's.
os.environ.setdefault("DANLU_CACHE", os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".cache", "xla")))
# Nearly all of the default run's time is XLA's, compiling small programs: it is told to hurry (plain loops take half the
# time of fused kernels to compile, one part a quarter less than up to 32 side by side). `make test-all` compiles as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=true"
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "0"
    else "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest
from golden_values import golden  # noqa: F401  (a fixture of every test's)
from hypothesis import HealthCheck, settings

from danlu.engine import enable_compilation_cache
from danlu.report import svg
from danlu.stages import PlainDisplay

sys.dont_write_bytecode = False
enable_compilation_cache()  # the two workers, and the processes that tests start, share what they compile

if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0":
    # JAX writes each program down in an MLIR context of its own. Loading its dialects and freeing them takes longer than the
    # rest of lowering a small program, so here all share one; where JAX has it otherwise, the tests are only slower.
    # A program that is made while another is being written down has one of its own: in a shared one it would become a part of that other.
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src.interpreters import mlir
        from jax._src.lib.mlir import ir

        new_context, shared_context = mlir.make_ir_context, functools.cache(mlir.make_ir_context)

        def make_ir_context() -> ir.Context:
            try:
                return new_context() if ir.InsertionPoint.current else shared_context()
            except ValueError:  # nothing is being written down
                return shared_context()

        mlir.make_ir_context = make_ir_context

_LAYOUT = "figure.constrained_layout.use"
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0":
    svg._STYLE[_LAYOUT] = (
        False  # more than half of the time of a picture; each training draws about eight, which few tests look at
    )

settings.register_profile("danlu", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("danlu")
PlainDisplay.soon = PlainDisplay.every = (
    3600.0  # signs of life of a slow machine are not what a test looks for on standard error
)
jax.config.update("jax_numpy_rank_promotion", "raise")
warnings.filterwarnings("ignore", category=pytest.PytestUnraisableExceptionWarning)

_MAPS = 40_000  # of the 65,530 memory maps that Linux lets a process have; each compiled program takes some


@pytest.fixture(scope="module")
def laid_out():
    """Pictures as users see them: their axes leave room for what stands beside them."""
    before, svg._STYLE[_LAYOUT] = svg._STYLE[_LAYOUT], True
    yield
    svg._STYLE[_LAYOUT] = before


def pytest_addoption(parser):
    parser.addoption(
        "--record-golden", action="store_true", help="ask the other libraries anew, and keep what they answer"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--record-golden"):
        items[:] = [item for item in items if "golden" in getattr(item, "fixturenames", ())]


def pytest_collection_finish(session):
    """What was imported and collected, more than a million objects, stays: the garbage collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_runtest_teardown(item, nextitem):
    """Let go of compiled programs before a worker that has run thousands of tests runs out of memory maps, and crashes."""
    global _tests
    _tests += 1
    if _tests % 20 == 0 and _maps() > _MAPS:
        jax.clear_caches()
        gc.collect()


_tests = 0


def _maps() -> int:
    try:
        with open("/proc/self/maps", "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0
