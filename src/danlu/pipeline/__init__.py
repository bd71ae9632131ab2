"""The whole way from a file to a trained model in a run directory, and back to predictions."""

from danlu.pipeline.audit import audit
from danlu.pipeline.card import card
from danlu.pipeline.compare import compare_runs
from danlu.pipeline.config import TrainConfig, config_from, override
from danlu.pipeline.continual import train_on
from danlu.pipeline.crossed import CrossValidation, crosses, is_crossed
from danlu.pipeline.domains import load, load_model, with_options
from danlu.pipeline.example import example_table
from danlu.pipeline.explain import explain
from danlu.pipeline.fewshot import similar, with_support
from danlu.pipeline.health import diagnose
from danlu.pipeline.mlflow import log_to_mlflow
from danlu.pipeline.plain import load_config
from danlu.pipeline.presets import preset
from danlu.pipeline.rehearsal import Rehearsal, rehearse
from danlu.pipeline.train import TrainResult, cross_validate, resume, train, train_from
from danlu.tasks.private import private_from

__all__ = [
    "CrossValidation",
    "Rehearsal",
    "TrainConfig",
    "TrainResult",
    "audit",
    "card",
    "compare_runs",
    "config_from",
    "cross_validate",
    "crosses",
    "diagnose",
    "example_table",
    "explain",
    "is_crossed",
    "load",
    "load_config",
    "load_model",
    "log_to_mlflow",
    "override",
    "preset",
    "private_from",
    "rehearse",
    "resume",
    "similar",
    "train",
    "train_from",
    "train_on",
    "with_options",
    "with_support",
]
