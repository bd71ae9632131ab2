"""Differential privacy: what a training, its statistics or its rounds with clients spend, and the noise that a budget asks for.

>>> spent = Ledger().with_steps("training", noise=1.1, sampling=0.01, steps=1000)
>>> round(spent.epsilon(1e-5), 2), round(spent.epsilon(1e-5, by="rdp"), 2)
(1.52, 1.71)
>>> plan = lambda noise: Ledger().with_steps("training", noise=noise, sampling=0.01, steps=1000)
>>> noise = Budget(epsilon=2.0, delta=1e-5, by="rdp").noise(plan)
>>> round(noise, 2), plan(noise).epsilon(1e-5, by="rdp") <= 2.0
(1.02, True)
"""

from danlu.privacy.budget import Budget, default_delta
from danlu.privacy.ledger import ACCOUNTANTS, NOTHING, Ledger, Mechanism, together
from danlu.privacy.told import privacy_lines

__all__ = ["ACCOUNTANTS", "NOTHING", "Budget", "Ledger", "Mechanism", "default_delta", "privacy_lines", "together"]
