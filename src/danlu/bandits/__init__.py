"""Logged bandits: what to do in which context, learnt from a log of what was done and what it brought."""

from danlu.bandits.head import Choosing
from danlu.bandits.learn import learn_bandit
from danlu.bandits.log import Log, NamedLog, logged_rows
from danlu.bandits.losses import LoggedReward, PolicyValue, robust_scores
from danlu.bandits.settings import LoggedBandit, bandit_recipe

__all__ = [
    "Choosing",
    "Log",
    "LoggedBandit",
    "LoggedReward",
    "NamedLog",
    "PolicyValue",
    "bandit_recipe",
    "learn_bandit",
    "logged_rows",
    "robust_scores",
]
