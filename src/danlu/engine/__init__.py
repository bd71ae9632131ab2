"""The one trainer: a step, its transformations, and the loop around them."""

from danlu.engine.alternate import Alternate
from danlu.engine.average import Average
from danlu.engine.cache import enable_compilation_cache
from danlu.engine.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradualUnfreezing,
    JSONLogger,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from danlu.engine.checkpoint import load_checkpoint, save_checkpoint
from danlu.engine.doctor import diagnose
from danlu.engine.fit import fit
from danlu.engine.fitted import Fitted, predict_outputs
from danlu.engine.gradient import Accumulated, Around, Gradient, Probed, Whole
from danlu.engine.health import Finding, Health
from danlu.engine.loop import run_steps, unrolled
from danlu.engine.members import fit_folds, fit_population
from danlu.engine.objective import Objective, Supervised
from danlu.engine.options import FitOptions
from danlu.engine.per_example import PerExample
from danlu.engine.population import Population
from danlu.engine.sources import ArraySource, BatchSource, ChunkSource
from danlu.engine.state import Best, TrainState
from danlu.engine.step import Program, step
from danlu.engine.train import train
from danlu.engine.training import Training

__all__ = [
    "Accumulated",
    "Alternate",
    "Around",
    "ArraySource",
    "Average",
    "BatchSource",
    "Best",
    "CSVLogger",
    "Callback",
    "ChunkSource",
    "EarlyStopping",
    "Finding",
    "FitOptions",
    "Fitted",
    "Gradient",
    "GradualUnfreezing",
    "Health",
    "JSONLogger",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Objective",
    "PerExample",
    "Population",
    "Probed",
    "Program",
    "ReduceLROnPlateau",
    "Supervised",
    "TrainState",
    "Training",
    "Whole",
    "diagnose",
    "enable_compilation_cache",
    "fit",
    "fit_folds",
    "fit_population",
    "load_checkpoint",
    "predict_outputs",
    "run_steps",
    "save_checkpoint",
    "step",
    "train",
    "unrolled",
]
