"""danlu's table network as scikit-learn estimators."""

from danlu.estimators.classifier import Classifier
from danlu.estimators.regressor import Regressor

__all__ = ["Classifier", "Regressor"]
