"""The few measures of each kind that are looked at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["DIRECTIONLESS", "USUAL", "usual"]

USUAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "roc_auc": ("roc_auc", "accuracy", "f1", "log_loss", "cost", "recall_at_rate", "alert_rate"),
        "average_precision": (
            "average_precision",
            "recall_at_rate",
            "alert_rate",
            "roc_auc",
            "precision",
            "cost",
        ),
        "recall_at_rate": ("recall_at_rate", "alert_rate", "average_precision", "roc_auc", "precision", "cost"),
        "gini": ("gini", "ks", "roc_auc", "log_loss", "cost", "recall_at_rate", "alert_rate"),
        "accuracy": ("accuracy", "balanced_accuracy", "f1", "log_loss", "cost"),
        "rmse": ("rmse", "mae", "r2"),
        "mse": ("mse", "scaled_mae", "mase"),
        "token_loss": ("token_loss", "perplexity", "bits_per_character"),
        "bleu": ("bleu", "chrf"),
        "map": ("map", "map50", "box_f1"),
        "mean_iou": ("mean_iou", "mean_dice", "pixel_accuracy"),
        "dr_value": ("dr_value", "snips_value", "ips_value", "dm_value"),
        "qini": ("qini", "auuc", "uplift_10", "uplift_30", "ate", "value"),
        "ndcg": ("ndcg", "hit_rate", "reciprocal_rank", "catalogue_coverage"),
        "pair_recall": (
            "pair_recall",
            "forth_recall_1",
            "back_recall_1",
            "forth_recall_10",
            "back_recall_10",
            "forth_median_rank",
        ),
        "label_precision": ("label_precision", "macro_f1", "micro_f1", "exact_match"),
    }
)
"""By the measure that models are compared by."""

DIRECTIONLESS = ("set_coverage", "interval_coverage", "coverage", "alert_rate", "nearest")
"""Measures that are best at a value: neither more nor less of them is better."""


def usual(primary: str, names: Iterable[str]) -> list[str]:
    """Which of the measures ``names`` are looked at first; all of them where there are no more than five.

    Args:
        primary: the measure that models are compared by.
        names: the measures that there are.

    Example:
        >>> usual("roc_auc", ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"])
        ['roc_auc', 'accuracy', 'f1', 'log_loss']
        >>> usual("return", ["return", "sampled_return"])
        ['return', 'sampled_return']
    """
    known = list(names)
    others = USUAL["roc_auc"] if "roc_auc" in known else ()  # of classes, compared by a measure of the user's choice
    found = [name for name in dict.fromkeys(USUAL.get(primary, (primary, *others))) if name in known]
    return found if found and len(known) > 5 else known
