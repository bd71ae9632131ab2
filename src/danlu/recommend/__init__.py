"""Recommendation: who gets what next, from who had what."""

from danlu.recommend.baselines import ease
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.head import RecommendHead
from danlu.recommend.interactions import Interactions
from danlu.recommend.learn import learn_recommend
from danlu.recommend.networks import CodeTower, FeatureTower, ImplicitTower, Matcher, SequenceTower
from danlu.recommend.objectives import Ranked, Rated
from danlu.recommend.settings import Recommend, recommend_recipe

__all__ = [
    "CodeTower",
    "FeatureTower",
    "ImplicitTower",
    "Interactions",
    "Matcher",
    "Ranked",
    "Rated",
    "Recommend",
    "RecommendEncoder",
    "RecommendHead",
    "SequenceTower",
    "ease",
    "learn_recommend",
    "recommend_recipe",
]
