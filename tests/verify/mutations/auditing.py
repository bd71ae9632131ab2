"""Audits of data, and attacks on who was in a training."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "auditing/confident.py",
        (
            "one-bound-for-all-classes",
            "confident = found >= bound - 1e-6",
            "confident = found >= bound.mean() - 1e-6",
            "audit.confident_joint",
        ),
        (
            "labels-and-classes-exchanged",
            "np.add.at(joint, (labels[sure], where[sure]), 1)",
            "np.add.at(joint, (where[sure], labels[sure]), 1)",
            "audit.confident_joint",
        ),
        (
            "least-margin-first",
            "wrong[at[np.argsort(-margin)[: off[label, other]]]] = True",
            "wrong[at[np.argsort(margin)[: off[label, other]]]] = True",
            "audit.label_errors",
        ),
    ),
    *of(
        "evaluate/lira.py",
        (
            "delta-not-taken-off",
            "_log_ratio(float(low) - delta, float(high))",
            "_log_ratio(float(low), float(high))",
            "privacy.attack",
        ),
        (
            "spread-of-a-row-by-its-count",
            "alone = squares / np.maximum(count - 1, 1)",
            "alone = squares / count",
            "privacy.attack",
        ),
        (
            "one-guess-fewer",
            "binom.sf(correct - 1, guesses, share)",
            "binom.sf(correct, guesses, share)",
            "privacy.attack",
        ),
    ),
    *of(
        "privacy/ledger.py",
        (
            "steps-left-out",
            "counts.SelfComposedDpEvent(event, self.steps)",
            "counts.SelfComposedDpEvent(event, 1)",
            "privacy.epsilon",
        ),
    ),
]
