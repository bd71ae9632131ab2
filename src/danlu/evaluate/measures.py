"""What is measured, for people: the label of each measure and which way is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from danlu.evaluate.families import DICE, LOSS, MEAN, MEAN_SQUARE, PERCENT, SHARE, Family
from danlu.evaluate.metrics import METRICS

__all__ = ["MEASURES", "Measure"]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A measure as it is shown.

    Attributes:
        name: its key in results.
        label: how it is printed.
        higher_is_better: its direction.
        family: what kind of number it is, from which its interval follows.
    """

    name: str
    label: str
    higher_is_better: bool
    family: Family


_OTHERS: tuple[Measure, ...] = (
    Measure("mse", "MSE (standardised)", False, MEAN_SQUARE),
    Measure("scaled_mae", "MAE (standardised)", False, LOSS),
    Measure("mase", "MASE", False, LOSS),
    Measure("smape", "sMAPE, %", False, LOSS),
    Measure("pinball", "pinball loss", False, LOSS),
    Measure("coverage", "coverage of the interval", True, SHARE),
    Measure("token_loss", "loss (nats a token)", False, LOSS),
    Measure("perplexity", "perplexity", False, LOSS),
    Measure("bits_per_character", "bits a character", False, LOSS),
    Measure("bleu", "BLEU", True, PERCENT),
    Measure("chrf", "chrF", True, PERCENT),
    Measure("map", "mAP@[.5:.95]", True, SHARE),
    Measure("map50", "mAP@0.5", True, SHARE),
    Measure("box_f1", "F1 of the boxes shown", True, DICE),
    Measure("mean_iou", "mean IoU", True, SHARE),
    Measure("mean_dice", "mean Dice", True, DICE),
    Measure("pixel_accuracy", "pixel accuracy", True, SHARE),
    Measure("label_precision", "mean AP", True, SHARE),
    Measure("label_auc", "mean ROC-AUC", True, SHARE),
    Measure("macro_f1", "macro F1", True, DICE),
    Measure("micro_f1", "micro F1", True, DICE),
    Measure("exact_match", "exact match", True, SHARE),
    Measure("return", "mean return", True, MEAN),
    Measure("sampled_return", "mean return, actions drawn", True, MEAN),
    Measure("iqm_return", "IQM of the seeds' returns", True, MEAN),
)

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        **{
            metric.name: Measure(metric.name, metric.label, metric.higher_is_better, metric.family)
            for metric in METRICS.values()
        },
        **{measure.name: measure for measure in _OTHERS},
    }
)
"""Every measure by its name: the metrics of classes and quantities, and those of other kinds of result."""
