"""Explanations of a network's answer: the inputs, words and image regions that its score comes from, and its attention."""

import importlib as _importlib
import sys as _sys
import types as _types
from typing import Any as _Any

from danlu.explain.attention import attention_maps, cross_attention
from danlu.explain.cam import grad_cam, split_at_maps
from danlu.explain.column import Points
from danlu.explain.counterfactual import Change, counterfactuals
from danlu.explain.dependence import Dependence, Effects, accumulated_effects, partial_dependence
from danlu.explain.faithfulness import Faithfulness, faithfulness
from danlu.explain.influence import last_layer_influence
from danlu.explain.interaction import Interaction, interactions
from danlu.explain.path import Attribution, integrated_gradients
from danlu.explain.pixels import pixel_attribution
from danlu.explain.representation import nearest_rows, representation
from danlu.explain.shapley import Shapley, coalition_values, shapley_values
from danlu.explain.smooth import smooth_gradients
from danlu.explain.surrogate import Rule, Surrogate, surrogate_tree
from danlu.explain.tokens import split_to_words, token_attribution, token_vectors, word_attribution

__all__ = [
    "Attribution",
    "Change",
    "Dependence",
    "Effects",
    "Faithfulness",
    "Interaction",
    "Points",
    "Rule",
    "Shapley",
    "Surrogate",
    "accumulated_effects",
    "attention_maps",
    "coalition_values",
    "counterfactuals",
    "cross_attention",
    "faithfulness",
    "grad_cam",
    "integrated_gradients",
    "interactions",
    "last_layer_influence",
    "nearest_rows",
    "partial_dependence",
    "pixel_attribution",
    "representation",
    "shapley_values",
    "smooth_gradients",
    "split_at_maps",
    "split_to_words",
    "surrogate_tree",
    "token_attribution",
    "token_vectors",
    "word_attribution",
]


class _Explain(_types.ModuleType):
    """``danlu.explain(run, rows)`` explains answers; ``danlu.explain.grad_cam`` and the others are what it is made of."""

    def __call__(self, *given: _Any, **how: _Any) -> _Any:
        """See :func:`danlu.pipeline.explain`."""
        return _importlib.import_module("danlu.pipeline").explain(*given, **how)


_sys.modules[__name__].__class__ = _Explain
