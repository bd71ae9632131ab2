"""What is measured, for people: the label of each measure and which way is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from danlu.evaluate.metrics import METRICS

__all__ = ["MEASURES", "Measure"]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A measure as it is shown.

    Attributes:
        name: its key in results.
        label: how it is printed.
        higher_is_better: its direction.
    """

    name: str
    label: str
    higher_is_better: bool


_OTHERS: tuple[Measure, ...] = (
    Measure("mse", "MSE (standardised)", False),
    Measure("scaled_mae", "MAE (standardised)", False),
    Measure("mase", "MASE", False),
    Measure("smape", "sMAPE, %", False),
    Measure("pinball", "pinball loss", False),
    Measure("coverage", "coverage of the interval", True),
    Measure("token_loss", "loss (nats a token)", False),
    Measure("perplexity", "perplexity", False),
    Measure("bits_per_character", "bits a character", False),
    Measure("bleu", "BLEU", True),
    Measure("chrf", "chrF", True),
    Measure("map", "mAP@[.5:.95]", True),
    Measure("map50", "mAP@0.5", True),
    Measure("box_f1", "F1 of the boxes shown", True),
    Measure("mean_iou", "mean IoU", True),
    Measure("mean_dice", "mean Dice", True),
    Measure("pixel_accuracy", "pixel accuracy", True),
    Measure("label_precision", "mean AP", True),
    Measure("label_auc", "mean ROC-AUC", True),
    Measure("macro_f1", "macro F1", True),
    Measure("micro_f1", "micro F1", True),
    Measure("exact_match", "exact match", True),
    Measure("return", "mean return", True),
    Measure("sampled_return", "mean return, actions drawn", True),
    Measure("iqm_return", "IQM of the seeds' returns", True),
)

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        **{metric.name: Measure(metric.name, metric.label, metric.higher_is_better) for metric in METRICS.values()},
        **{measure.name: measure for measure in _OTHERS},
    }
)
"""Every measure by its name: the metrics of classes and quantities, and those of other kinds of result."""
