"""Measuring a prediction honestly: scores with intervals, baselines, comparisons, thresholds and calibration."""

from danlu.evaluate.baselines import BASELINES, Baseline, baselines
from danlu.evaluate.bleu import TranslationCounts, bleu, chrf
from danlu.evaluate.compare import Comparison, compare, conclusion
from danlu.evaluate.decomposition import Decomposition, decomposition
from danlu.evaluate.detection import DetectionCounts, Found
from danlu.evaluate.episodes import Episodes
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.fairness import CRITERIA, Criterion, Fairness, Gap, Group, fairness
from danlu.evaluate.folds import fold_interval
from danlu.evaluate.forecast import Forecasts
from danlu.evaluate.groups import Groups
from danlu.evaluate.importance import Importance, permutation_importance, related_columns
from danlu.evaluate.intervals import Interval, difference, intervals
from danlu.evaluate.labels import LabelRows
from danlu.evaluate.measures import MEASURES, Measure
from danlu.evaluate.metrics import METRICS, PRIMARY, Metric, scores
from danlu.evaluate.quantiles import Quantiles, crps, pinball
from danlu.evaluate.ranking import Ranking
from danlu.evaluate.reliability import (
    Band,
    interquartile_mean,
    learning_curve,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    run_intervals,
)
from danlu.evaluate.residuals import Residuals, residuals
from danlu.evaluate.rows import Rows
from danlu.evaluate.sample import Sample
from danlu.evaluate.segmentation import MaskCounts
from danlu.evaluate.slices import Slice, Slices, worst_slices
from danlu.evaluate.threshold import Calibration, Threshold, calibration, choose_threshold
from danlu.evaluate.tokens import TokenLosses

__all__ = [
    "BASELINES",
    "CRITERIA",
    "MEASURES",
    "METRICS",
    "PRIMARY",
    "Band",
    "Baseline",
    "Calibration",
    "Comparison",
    "Criterion",
    "Decomposition",
    "DetectionCounts",
    "Episodes",
    "Evidence",
    "Fairness",
    "Forecasts",
    "Found",
    "Gap",
    "Group",
    "Groups",
    "Importance",
    "Interval",
    "LabelRows",
    "MaskCounts",
    "Measure",
    "Metric",
    "Quantiles",
    "Ranking",
    "Residuals",
    "Rows",
    "Sample",
    "Slice",
    "Slices",
    "Threshold",
    "TokenLosses",
    "TranslationCounts",
    "baselines",
    "bleu",
    "calibration",
    "choose_threshold",
    "chrf",
    "compare",
    "conclusion",
    "crps",
    "decomposition",
    "difference",
    "fairness",
    "fold_interval",
    "interquartile_mean",
    "intervals",
    "learning_curve",
    "optimality_gap",
    "performance_profile",
    "permutation_importance",
    "pinball",
    "probability_of_improvement",
    "related_columns",
    "residuals",
    "run_intervals",
    "scores",
    "worst_slices",
]
