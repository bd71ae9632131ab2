"""Optimizers, schedules and gradient clipping; every hyper-parameter is an array in the optimizer's state."""

from danlu.optim.adagrad import AdagradState, adagrad
from danlu.optim.adam import AdamState, AdamWState, adam, adamw, yogi
from danlu.optim.base import Optimizer, UpdateFn
from danlu.optim.chain import chain
from danlu.optim.clip import ClipState, NormClipState, clip_by_global_norm, clip_by_norm, clip_by_value
from danlu.optim.decay import WeightDecayState, weight_decay
from danlu.optim.flatten import flatten
from danlu.optim.hyperparameters import (
    apply_updates,
    hyperparameter,
    observe,
    set_hyperparameter,
    with_hyperparameters,
    without_hyperparameters,
)
from danlu.optim.momentum import MomentumState, momentum, nesterov
from danlu.optim.parts import PartsState, by_part, multipliers, set_parts
from danlu.optim.registry import OPTIMIZERS, get_optimizer
from danlu.optim.rmsprop import RMSpropState, rmsprop
from danlu.optim.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Function,
    OneCycle,
    ReduceOnPlateau,
    Restarts,
    Schedule,
    Step,
    WarmUp,
    as_schedule,
    get_schedule,
)
from danlu.optim.sgd import SGDState, sgd

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "AdagradState",
    "AdamState",
    "AdamWState",
    "ClipState",
    "Constant",
    "Cosine",
    "Exponential",
    "Function",
    "MomentumState",
    "NormClipState",
    "OneCycle",
    "Optimizer",
    "PartsState",
    "RMSpropState",
    "ReduceOnPlateau",
    "Restarts",
    "SGDState",
    "Schedule",
    "Step",
    "UpdateFn",
    "WarmUp",
    "WeightDecayState",
    "adagrad",
    "adam",
    "adamw",
    "apply_updates",
    "as_schedule",
    "by_part",
    "chain",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "flatten",
    "get_optimizer",
    "get_schedule",
    "hyperparameter",
    "momentum",
    "multipliers",
    "nesterov",
    "observe",
    "rmsprop",
    "set_hyperparameter",
    "set_parts",
    "sgd",
    "weight_decay",
    "with_hyperparameters",
    "without_hyperparameters",
    "yogi",
]
