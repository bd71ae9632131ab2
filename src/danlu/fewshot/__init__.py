"""Learning from few examples: episodes, learners that compare or adapt, metric learning, and what new classes are told by."""

from danlu.fewshot.answers import Drawn, Quiz
from danlu.fewshot.baselines import Drawings, is_drawn, nearest, pixels
from danlu.fewshot.episodes import Changed, Episode, episodes
from danlu.fewshot.head import METHODS, Shots
from danlu.fewshot.learners import Adapting, Comparing, FirstOrder, Learner, Probing, adapted
from danlu.fewshot.metric import ArcFace, Contrastive, MetricLoss, SupCon, Triplet
from danlu.fewshot.objective import Episodic, Reptile, with_last
from danlu.fewshot.recipe import FewShots, loss_of, objective_of, shot_network, shot_recipe

__all__ = [
    "METHODS",
    "Adapting",
    "ArcFace",
    "Changed",
    "Comparing",
    "Contrastive",
    "Drawings",
    "Drawn",
    "Episode",
    "Episodic",
    "FewShots",
    "FirstOrder",
    "Learner",
    "MetricLoss",
    "Probing",
    "Quiz",
    "Reptile",
    "Shots",
    "SupCon",
    "Triplet",
    "adapted",
    "episodes",
    "is_drawn",
    "loss_of",
    "nearest",
    "objective_of",
    "pixels",
    "shot_network",
    "shot_recipe",
    "with_last",
]
