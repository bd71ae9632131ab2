"""Faults of data that make scores untrue or training worse: an audit before anything is learnt."""

from danlu.auditing.confident import LabelErrors, confident_joint, label_errors
from danlu.auditing.finding import SEVERITIES, Audit, Finding

__all__ = ["SEVERITIES", "Audit", "Finding", "LabelErrors", "confident_joint", "label_errors"]
