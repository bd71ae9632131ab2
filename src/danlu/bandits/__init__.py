"""Logged bandits: what to do in which context, learnt from a log of what was done and what it brought; and campaigns, logs of two actions
of which one is to do nothing."""

from danlu.bandits.campaign import NamedCampaign, campaign_rows
from danlu.bandits.head import Choosing
from danlu.bandits.learn import learn_bandit, learn_uplift
from danlu.bandits.log import Log, NamedLog, apart_notice, logged_rows, of_the_items
from danlu.bandits.losses import LoggedReward, PolicyValue, robust_scores
from danlu.bandits.settings import LoggedBandit, Uplift, bandit_recipe
from danlu.bandits.treating import Treating

__all__ = [
    "Choosing",
    "Log",
    "LoggedBandit",
    "LoggedReward",
    "NamedCampaign",
    "NamedLog",
    "PolicyValue",
    "Treating",
    "Uplift",
    "apart_notice",
    "bandit_recipe",
    "campaign_rows",
    "learn_bandit",
    "learn_uplift",
    "logged_rows",
    "of_the_items",
    "robust_scores",
]
