"""The baseline for models of texts: a linear model of the words' TF-IDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from danlu.evaluate.baselines import within
from danlu.stages import stage

__all__ = ["tfidf"]


def tfidf(
    texts: Sequence[str],
    labels: np.ndarray,
    asked: Sequence[str],
    *,
    classes: int,
    cut: Callable[[str], list[str]],
    seconds: float | None = None,
) -> tuple[str, np.ndarray | None, int]:
    """Logistic or ridge regression of the TF-IDF of words and of runs of two, case ignored.

    Args:
        texts, labels: to learn from; class codes, or values.
        asked: the texts to predict.
        classes: how many; 0 of values.
        cut: a text's words.
        seconds: about the most that it may take; one that would take longer learns from fewer texts.

    Returns:
        What it is called, the prediction (None where one class alone was learnt from), and from how many texts it learnt.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    name = f"TF-IDF and {'logistic' if classes else 'ridge'} regression"
    words = TfidfVectorizer(tokenizer=cut, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True)

    def attempt(kept: np.ndarray) -> np.ndarray | None:
        if not classes:
            return np.asarray(Ridge(alpha=1.0).fit(inputs[kept], labels[kept]).predict(tested))
        if len(np.unique(labels[kept])) < 2:
            return None
        model = LogisticRegression(C=10.0, max_iter=500).fit(inputs[kept], labels[kept])
        prediction = np.zeros((len(asked), classes))
        prediction[:, model.classes_] = model.predict_proba(tested)
        return prediction

    with stage(name, limit=seconds):
        inputs, tested = words.fit_transform(texts), words.transform(asked)
        prediction, used, _ = within(attempt, len(labels), seconds=seconds)
    return name, prediction, used
