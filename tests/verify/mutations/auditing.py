"""Audits of data."""

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
]
