"""How a training went, as a doctor would say it: findings, each with its evidence and one thing to change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from danlu.engine.examine import Exam

__all__ = ["KINDS", "Finding", "Health"]

KINDS = (
    "not_finite",
    "zero_weights",
    "unscaled_inputs",
    "unscaled_targets",
    "loss_scale",
    "large_weights",
    "rate_too_high",
    "dead_units",
    "saturated_units",
    "exploding_gradients",
    "vanishing_gradients",
    "no_gradient",
    "rate_too_low",
    "class_collapse",
    "no_reward",
    "policy_collapse",
    "won_game",
    "mode_collapse",
    "stuck",
    "shuffled_labels",
    "leakage",
    "overfitting",
)
"""What can be found, causes before what follows from them."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong with a training.

    Attributes:
        kind: one of :data:`KINDS`.
        what: it, in a sentence.
        evidence: what was measured.
        change: one thing to do about it.
        code: the change as arguments of :func:`danlu.fit`; empty where it is no argument.
        settings: the change as settings of ``danlu train``, by their dotted names; empty where it is none.
        members: which members of a population it is about, from 0; empty is all.
    """

    kind: str
    what: str
    evidence: str
    change: str
    code: str = ""
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    members: tuple[int, ...] = ()

    def __str__(self) -> str:
        whose = f" (members {', '.join(str(each) for each in self.members)})" if self.members else ""
        return f"{self.what}{whose}: {self.evidence}. Try: {self.change}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``results.json`` has it."""
        return {**dataclasses.asdict(self), "settings": dict(self.settings), "members": list(self.members)}


@dataclasses.dataclass(frozen=True)
class Health:
    """What was found in a training.

    Attributes:
        findings: causes before what follows from them; empty when nothing is wrong that can be seen.
        exams: of each member, where there was reason to look inside (or it was asked for).
    """

    findings: tuple[Finding, ...] = ()
    exams: tuple[Exam, ...] = ()

    @classmethod
    def of_members(cls, each: Sequence[Sequence[Finding]], exams: Iterable[Exam]) -> Health:
        """The findings of the members together: one of a kind, with the evidence of the first member that has it."""
        found: dict[str, tuple[Finding, list[int]]] = {}
        for number, findings in enumerate(each):
            for finding in findings:
                found.setdefault(finding.kind, (finding, []))[1].append(number)
        findings = [
            finding if len(whose) == len(each) else dataclasses.replace(finding, members=tuple(whose))
            for finding, whose in found.values()
        ]
        return cls(tuple(sorted(findings, key=lambda finding: KINDS.index(finding.kind))), tuple(exams))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the findings."""
        return tuple(finding.kind for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing is wrong with the training that can be seen"

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the findings, and of each layer that was looked at the norms."""
        layers = [[dataclasses.asdict(layer) for layer in exam.layers] for exam in self.exams]
        return {"findings": [finding.as_dict() for finding in self.findings], "layers": layers}
